"""The backward pass of a convolution: what the gradients of its input, weight and bias are made of.

Along one axis the forward pass multiplies input `i` and kernel tap `k` into output `o`, where the
index law ties the three together. The gradient of each of the three is a sum over the same
products, with the gradient of the output in place of the output:

    gradient of input i     sum over k of  gradient of output o x weight k
    gradient of weight k    sum over o of  gradient of output o x input i, and over the samples
    gradient of the bias    sum over o of  gradient of output o, and over the samples

So the first is a transposed convolution with the same weight (of a transposed convolution, a plain
one), and the second a correlation. Both read `convtrace.geometry`; no index is worked out here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.address import Address
from convtrace.certify import certify
from convtrace.exact import FORMATS
from convtrace.geometry import Axis, Tap, input_group, tap
from convtrace.receipt import Receipt
from convtrace.rules import conv
from convtrace.step import Step


@dataclass(frozen=True)
class Correlation:
    """The layout of a weight's gradient: at each position, an input meets a gradient.

    The arrays have shape `(N, *positions)`. The positions are those of the output's gradient; for
    a transposed convolution, which spreads each input over the output, those of the input.

    Attributes:
        channels: Samples of the batch.
        batched: Whether the operands have a batch axis.
        transposed: Whether the convolution is a transposed one.
        axes: Settings of each axis.
        taps: What each position reads in the other operand, for each axis.
        kernel: Position in the kernel.
        input_name: Name of the input.
        input_channel: Its channel.
        gradient_name: Name of the gradient of the output.
        gradient_channel: Its channel.
    """

    channels: range
    batched: bool
    transposed: bool
    axes: tuple[Axis, ...]
    taps: tuple[tuple[Tap, ...], ...]
    kernel: tuple[int, ...]
    input_name: str
    input_channel: int
    gradient_name: str
    gradient_channel: int

    def source(self, position: tuple[int, ...]) -> Address | None:
        """Address of the input that a term reads, or None on padding."""
        places = position[1:] if self.transposed else self._other(position)
        if places is None or (self.transposed and self._other(position) is None):
            return None
        return self._address(self.input_name, self.input_channel, position[0], places)

    def weight(self, position: tuple[int, ...]) -> Address | None:
        """Address of a term's gradient, or None where the output was cropped."""
        places = self._other(position) if self.transposed else position[1:]
        if places is None:
            return None
        return self._address(self.gradient_name, self.gradient_channel, position[0], places)

    def _other(self, position: tuple[int, ...]) -> tuple[int, ...] | None:
        found = [axis[p].source for axis, p in zip(self.taps, position[1:], strict=True)]
        places = tuple(place for place in found if place is not None)
        return places if len(places) == len(found) else None

    def _address(self, name: str, channel: int, sample: int, places: tuple[int, ...]) -> Address:
        return Address(name, (*((sample,) if self.batched else ()), channel, *places))


@dataclass(frozen=True)
class Positions:
    """The layout of a bias's gradient: the gradient of its channel at every output position.

    Attributes:
        channels: Samples of the batch.
        batched: Whether the gradient has a batch axis.
        gradient_name: Name of the gradient of the output.
        channel: Its channel.
    """

    channels: Sequence[int]
    batched: bool
    gradient_name: str
    channel: int

    def source(self, position: tuple[int, ...]) -> Address:
        """Address of the gradient that a term is."""
        sample = position[:1] if self.batched else ()
        return Address(self.gradient_name, (*sample, self.channel, *position[1:]))

    def weight(self, position: tuple[int, ...]) -> None:
        """A sum has no weights."""


def why(step: Step, index: tuple[int, ...], reporter: str) -> Receipt:
    """Explain one number of the gradient of a convolution's input, weight or bias.

    Args:
        step: A `convolution_gradient`; `of` says which, and the other attributes are those of the
            convolution.
        index: Position in the gradient.
        reporter: Who computed the reported values.

    Returns:
        The receipt. Its arrays have shape `(C_out / groups, *kernel)` for an input, and
        `(N, *positions)` for a weight and a bias, where `N` is 1 without a batch axis.
    """
    of = step.attributes["of"]
    if of == "input":
        return _why_input(step, index, reporter)
    return (
        _why_weight(step, index, reporter) if of == "weight" else _why_bias(step, index, reporter)
    )


def _why_input(step: Step, index: tuple[int, ...], reporter: str) -> Receipt:
    """Explain it as a number of the convolution that goes the other way."""
    other_way = {
        **step.attributes,
        "transposed": not step.attributes["transposed"],
        "output_padding": (0,) * len(step.attributes["stride"]),
    }
    values = {"input": step.values["gradient"], "weight": step.values["weight"]}
    return conv.why(replace(step, attributes=other_way, values=values), index, reporter)


def _why_weight(step: Step, index: tuple[int, ...], reporter: str) -> Receipt:
    """Explain it as a sum over samples and positions of input times gradient."""
    source, gradient = step.values["input"], step.values["gradient"]
    layout = _correlation(step, index)
    batched = layout.batched
    everything: tuple[Any, ...] = (slice(None),) * (batched + len(layout.taps))
    inputs = source.box((*everything[:batched], layout.input_channel, *everything[batched:]))
    factors = gradient.box((*everything[:batched], layout.gradient_channel, *everything[batched:]))
    if not batched:
        inputs, factors = inputs[None], factors[None]
    if layout.transposed:
        factors, present = _gather(factors, layout.taps)
    else:
        inputs, present = _gather(inputs, layout.taps)
    return certify(
        step,
        index,
        inputs=inputs,
        weights=factors,
        present=present,
        layout=layout,
        reporter=reporter,
        slack=_partial_sums(step, inputs, factors),
    )


def _correlation(step: Step, index: tuple[int, ...]) -> Correlation:
    source, gradient = step.values["input"], step.values["gradient"]
    attributes = step.attributes
    batched, transposed, groups = (attributes[n] for n in ("batched", "transposed", "groups"))
    first, second, *kernel = index
    inputs, outputs = source.shape[batched], gradient.shape[batched]
    if transposed:
        input_channel = first
        gradient_channel = input_group(first, inputs, outputs, groups)[second]
    else:
        input_channel = input_group(first, outputs, inputs, groups)[second]
        gradient_channel = first
    # Each position of one operand meets the kernel number `k` at one place of the other operand,
    # as a convolution's output position does.
    met, here = (gradient, source) if transposed else (source, gradient)
    axes = conv.axes_of({**attributes, "transposed": False}, step.shape[2:])
    return Correlation(
        channels=range(source.shape[0] if batched else 1),
        batched=batched,
        transposed=transposed,
        axes=axes,
        taps=tuple(
            tuple(tap(axis, size, place, k) for place in range(count))
            for axis, size, count, k in zip(
                axes, met.shape[batched + 1 :], here.shape[batched + 1 :], kernel, strict=True
            )
        ),
        kernel=tuple(kernel),
        input_name=source.name,
        input_channel=input_channel,
        gradient_name=gradient.name,
        gradient_channel=gradient_channel,
    )


def _gather(
    values: NDArray[Any], taps: tuple[tuple[Tap, ...], ...]
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Read at every position what its tap meets; 0 where it meets nothing."""
    shape = (len(values), *map(len, taps))
    present = np.ones(shape, dtype=np.bool_)
    for axis, row in enumerate(taps, 1):
        along = [1] * len(shape)
        along[axis] = -1
        present &= np.array([t.source is not None for t in row]).reshape(along)
    places = [[t.source or 0 for t in row] for row in taps]
    found = values[np.ix_(range(len(values)), *places)]
    return np.where(present, found, np.zeros((), dtype=found.dtype)), present


def _why_bias(step: Step, index: tuple[int, ...], reporter: str) -> Receipt:
    """Explain it as the sum of a channel's gradients over samples and positions."""
    gradient = step.values["gradient"]
    batched: bool = step.attributes["batched"]
    everything: tuple[Any, ...] = (slice(None),) * len(step.attributes["stride"])
    inputs = gradient.box((*((slice(None),) if batched else ()), index[0], *everything))
    inputs = inputs if batched else inputs[None]
    ones = np.ones(inputs.shape, dtype=np.int64)
    return certify(
        step,
        index,
        inputs=inputs,
        weights=ones,
        present=np.ones(inputs.shape, dtype=np.bool_),
        layout=Positions(range(len(inputs)), batched, gradient.name, index[0]),
        reporter=reporter,
        slack=_partial_sums(step, inputs, ones),
    )


def _partial_sums(step: Step, inputs: NDArray[Any], factors: NDArray[Any]) -> float:
    """Bound what half-precision kernels lose that store the sum so far after each sample."""
    if step.arithmetic is None or step.arithmetic.result == step.arithmetic.accumulate:
        return 0.0
    stored = FORMATS[step.arithmetic.result]
    size = float(np.abs(inputs.astype(np.float64) * factors.astype(np.float64)).sum())
    return 2 * (len(inputs) + 1) * (stored.unit * size + stored.smallest)
