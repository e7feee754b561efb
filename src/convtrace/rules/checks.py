"""Whether a step that was read from a file is one: what rules take for granted."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from convtrace.errors import ConvtraceError, ShapeError
from convtrace.geometry import Axis, output_size
from convtrace.rules.conv import axes_of, channel_counts
from convtrace.step import Step

if TYPE_CHECKING:
    from convtrace.rules.reading import Chain

_CONVOLUTIONS = frozenset({"convolution", "qlinear_conv", "conv_integer"})

_LARGEST = 1 << 16
"""The largest stride, pad or dilation of a convolution that is believed."""


def check_step(step: Step) -> None:
    """Raise if the settings of a convolution do not fit its tensors.

    What another kind of step lacks shows when it is asked.

    Raises:
        ShapeError: They do not fit.
    """
    if step.kind in _CONVOLUTIONS:
        with _as_shape_error():
            _check_convolution(step)


def check_reads(step: Step) -> None:
    """Raise if a step cannot say what it reads, which receptive fields are made of.

    Raises:
        ShapeError: Its settings do not fit its tensors.
    """
    from convtrace.rules.reach import REACH, window_axes

    rule = REACH.get(step.kind)
    if rule is None:
        return
    with _as_shape_error():
        for axis in window_axes(step):
            _check_axis(axis)
        for role, chain in (rule(step) or {}).items():
            _check_chain(step, role, chain or ())


@contextmanager
def _as_shape_error() -> Generator[None]:
    """Turn whatever a rule raises over settings that it cannot read into one error."""
    try:
        yield
    except ConvtraceError:
        raise
    except Exception as error:
        raise ShapeError(f"{type(error).__name__}: {error}") from error


def _check_chain(step: Step, role: str, chain: Chain) -> None:
    """Raise if a step does not say of every axis of an operand what it reads there."""
    if not chain:
        return
    axes = [line.axis for read in chain[-1] for line in read.lines]
    if len(chain[0]) != len(step.values[role].shape) or max(axes, default=-1) >= len(step.shape):
        raise ShapeError(f"{role} {step.values[role].shape} does not make {step.shape}")


def _check_axis(axis: Axis) -> None:
    numbers = (axis.kernel, axis.stride, axis.dilation, *axis.padding)
    positive = (axis.kernel, axis.stride, axis.dilation)
    whole = all(type(number) is int and abs(number) <= _LARGEST for number in numbers)
    if not whole or min(positive) < 1 or len(axis.padding) != 2:
        raise ShapeError(f"{axis} is no window")


def _check_convolution(step: Step) -> None:
    settings: dict[str, Any] = {
        name: step.attributes[name]
        for name in ("stride", "padding", "dilation", "output_padding", "groups", "transposed")
    }
    batched = step.attributes["batched"]
    source, weight = step.values["input"].shape, step.values["weight"].shape
    axes, groups = len(weight) - 2, settings["groups"]
    numbers = [*settings["stride"], *settings["dilation"], *settings["output_padding"], groups]
    numbers += [pad for pair in settings["padding"] for pad in pair]
    positive = [*settings["stride"], *settings["dilation"], groups]
    if (
        axes < 1
        or type(batched) is not bool
        or type(settings["transposed"]) is not bool
        or any(type(number) is not int or abs(number) > _LARGEST for number in numbers)
        or min(positive) < 1
        or len(source) != axes + 1 + batched
    ):
        raise ShapeError(f"settings {settings} do not fit the weight {weight}")
    inputs, outputs = channel_counts(step)
    sizes = tuple(
        output_size(axis, size)
        for axis, size in zip(
            axes_of(step.attributes, weight[2:]), source[batched + 1 :], strict=True
        )
    )
    expected = (*source[:batched], outputs, *sizes)
    bias = step.values.get("bias")
    if (
        source[batched] != inputs
        or inputs % groups
        or outputs % groups
        or step.shape != expected
        or (bias is not None and bias.shape != (outputs,))
    ):
        raise ShapeError(f"input {source} and weight {weight} make {expected}, not {step.shape}")
