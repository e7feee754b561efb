"""Convolution: 1-d, 2-d and 3-d, grouped, dilated, transposed, batched or not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from convtrace.address import Address
from convtrace.certify import certify
from convtrace.geometry import Axis, Tap, input_group, taps
from convtrace.receipt import Receipt
from convtrace.rules.pulling import Pulled, Run
from convtrace.step import Step

if TYPE_CHECKING:
    import torch


def axes_of(attributes: Mapping[str, Any], kernel: tuple[int, ...]) -> tuple[Axis, ...]:
    """Return the settings of each axis of a canonical convolution.

    Args:
        attributes: `stride`, `padding`, `dilation`, `output_padding` (one entry an axis) and
            `transposed`.
        kernel: Kernel size of each axis, `(kH, kW)` in 2-d.
    """
    return tuple(
        Axis(size, stride, padding, dilation, attributes["transposed"], extra)
        for size, stride, padding, dilation, extra in zip(
            kernel,
            attributes["stride"],
            attributes["padding"],
            attributes["dilation"],
            attributes["output_padding"],
            strict=True,
        )
    )


def channel_counts(step: Step) -> tuple[int, int]:
    """Return `(C_in, C_out)` of a convolution step."""
    weight, groups = step.values["weight"].shape, step.attributes["groups"]
    if step.attributes["transposed"]:
        return weight[0], weight[1] * groups
    return weight[1] * groups, weight[0]


@dataclass(frozen=True)
class Window:
    """The layout of a convolution's receipt: which tap of which axis reads what.

    Attributes:
        channels: Input channels, as numbered in the whole input.
        axes: Settings of each spatial axis.
        sizes: Input size of each spatial axis.
        output: Output position on each spatial axis.
        taps: Taps of each axis.
        sample: `(n,)`, or `()` for an input without batch axis.
        output_channel: Output channel, counted from 0.
        input_name: Name of the input.
        weight_name: Name of the weight.
        weight_channel: Position of the output channel in the weight, within its group if
            transposed.
        groups: Number of groups.
    """

    channels: range
    axes: tuple[Axis, ...]
    sizes: tuple[int, ...]
    output: tuple[int, ...]
    taps: tuple[tuple[Tap, ...], ...]
    sample: tuple[int, ...]
    output_channel: int
    input_name: str
    weight_name: str
    weight_channel: int
    groups: int

    @property
    def transposed(self) -> bool:
        """Whether this is a transposed convolution."""
        return self.axes[0].transposed

    def source(self, position: tuple[int, ...]) -> Address | None:
        """Address of the input that a term reads, or None on padding."""
        channel, *kernel = position
        places = [axis[k].source for axis, k in zip(self.taps, kernel, strict=True)]
        if None in places:
            return None
        spatial = tuple(place for place in places if place is not None)
        return Address(self.input_name, (*self.sample, self.channels[channel], *spatial))

    def weight(self, position: tuple[int, ...]) -> Address:
        """Address of a term's weight."""
        channel, *kernel = position
        if self.transposed:
            return Address(self.weight_name, (self.channels[channel], self.weight_channel, *kernel))
        return Address(self.weight_name, (self.weight_channel, channel, *kernel))


def window(step: Step, index: tuple[int, ...]) -> Window:
    """Find the window of one output number.

    Args:
        step: A convolution.
        index: Output position, `(n, c_out, *spatial)`, without `n` where the input has no batch.
    """
    weight_shape = step.values["weight"].shape
    batched = step.attributes["batched"]
    sample, (output_channel, *output) = index[:batched], index[batched:]
    sizes = step.values["input"].shape[batched + 1 :]
    axes = axes_of(step.attributes, weight_shape[2:])
    channels_in, channels_out = channel_counts(step)
    groups = step.attributes["groups"]
    transposed = step.attributes["transposed"]
    return Window(
        channels=input_group(output_channel, channels_out, channels_in, groups),
        axes=axes,
        sizes=sizes,
        output=tuple(output),
        taps=tuple(
            taps(axis, size, place) for axis, size, place in zip(axes, sizes, output, strict=True)
        ),
        sample=sample,
        output_channel=output_channel,
        input_name=step.operands["input"],
        weight_name=step.operands["weight"],
        weight_channel=output_channel % (channels_out // groups) if transposed else output_channel,
        groups=groups,
    )


def why(step: Step, index: tuple[int, ...], reporter: str) -> Receipt:
    """Explain one output number of a convolution.

    Args:
        step: A convolution.
        index: Output position, `(n, c_out, *spatial)`; checked by the caller.
        reporter: Who computed the reported values.

    Returns:
        The receipt; its arrays have shape `(C_in / groups, *kernel)`.
    """
    layout = window(step, index)
    first, last = layout.channels.start, layout.channels.stop
    kernel_axes = len(layout.axes)
    if layout.transposed:
        weights = step.values["weight"].box(
            (slice(first, last), layout.weight_channel) + (slice(None),) * kernel_axes
        )
    else:
        weights = step.values["weight"].box(
            (layout.weight_channel, slice(None)) + (slice(None),) * kernel_axes
        )
    hits = [[t.source for t in axis if t.source is not None] for axis in layout.taps]
    present = np.ones(weights.shape, dtype=np.bool_)
    whole = all(len(h) == len(axis) for h, axis in zip(hits, layout.taps, strict=True))
    if whole and not layout.transposed:
        steps = tuple(
            slice(h[0], h[-1] + 1, axis.dilation) for h, axis in zip(hits, layout.axes, strict=True)
        )
        inputs = step.values["input"].box((*layout.sample, slice(first, last), *steps))
    else:
        inputs = np.zeros(weights.shape, dtype=_dtype_of(step))
        for axis, row in enumerate(layout.taps):
            shape = [1] * present.ndim
            shape[axis + 1] = -1
            present &= np.array([t.source is not None for t in row]).reshape(shape)
        if all(hits):
            low = [min(h) for h in hits]
            box = step.values["input"].box(
                (
                    *layout.sample,
                    slice(first, last),
                    *(slice(a, max(h) + 1) for a, h in zip(low, hits, strict=True)),
                )
            )
            found = [[t.kernel for t in axis if t.source is not None] for axis in layout.taps]
            local = [[i - a for i in h] for a, h in zip(low, hits, strict=True)]
            every = range(len(layout.channels))
            inputs[np.ix_(every, *found)] = box[np.ix_(every, *local)]
    bias = step.values.get("bias")
    at = (layout.output_channel,)
    return certify(
        step,
        index,
        inputs=inputs,
        weights=weights,
        present=present,
        layout=layout,
        bias=None if bias is None else bias.item(at),
        bias_address=None if bias is None else Address(bias.name, at),
        reporter=reporter,
    )


def pull(run: Run, cotangent: torch.Tensor) -> Pulled:
    """Pull a cotangent through a convolution: the transposed convolution of it, and the bias."""
    import torch

    attributes = run.step.attributes
    x, weight, bias = run.operands["input"], run.operands["weight"], run.operands.get("bias")
    pads = attributes["padding"]
    low = [a for a, _ in pads]
    uneven = any(a != b for a, b in pads)
    if not weight.is_floating_point():  # PyTorch has no backward pass of integers
        x, weight = x.to(cotangent.dtype), weight.to(cotangent.dtype)
    if not attributes["batched"]:
        x, cotangent = x.unsqueeze(0), cotangent.unsqueeze(0)
    shape = x.shape
    extras = list(attributes["output_padding"])
    if uneven and attributes["transposed"]:
        # What was cropped unevenly is put back, and what was added is taken off.
        around = [n for (a, b), e in [*zip(pads, extras, strict=True)][::-1] for n in (a, b - e)]
        cotangent = torch.nn.functional.pad(cotangent, around)
        low = extras = [0] * len(pads)
    elif uneven:
        x = torch.nn.functional.pad(x, [p for pair in pads[::-1] for p in pair])
        low = [0] * len(pads)
    found = torch.ops.aten.convolution_backward.default(
        cotangent,
        x,
        weight,
        None,
        list(attributes["stride"]),
        low,
        list(attributes["dilation"]),
        attributes["transposed"],
        extras,
        attributes["groups"],
        [True, False, False],
    )[0]
    if uneven and not attributes["transposed"]:
        for axis, (before, _) in enumerate(pads, 2):
            found = found.narrow(axis, before, shape[axis])
    added: Any = 0.0
    if bias is not None:
        reduce = [axis for axis in range(cotangent.dim()) if axis != 1]
        added = cotangent.sum(reduce) * bias
    return Pulled({"input": found if attributes["batched"] else found.squeeze(0)}, added)


def _dtype_of(step: Step) -> str:
    name = step.values["input"].dtype
    return "float64" if "float" in name else name
