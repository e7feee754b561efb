"""The summary of a trace: shape, parameters, multiply-accumulates and receptive field of each step.

Multiply-accumulates are counted as usual: one for each weight that an output number of a
convolution takes, whether it falls on padding or not; for a transposed convolution one for each
weight that an input number meets, also where the output is cropped. Linear layers, matrix
products and attention count the same way. Biases, norms, pools and elementwise steps count none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from convtrace.geometry import Axis, output_formula, output_size
from convtrace.receptive import Field, receptive_fields
from convtrace.rules.conv import channel_counts
from convtrace.rules.reach import sliding_axes, window_axes
from convtrace.rules.reach_moves import pads_of
from convtrace.step import Step, Value

if TYPE_CHECKING:
    from convtrace.graph import Trace


@dataclass(frozen=True, slots=True)
class Formula:
    """How the size of an output along some of its axes came about.

    Attributes:
        axes: Axes of the output with this formula, counted from 0.
        names: Their names: `depth`, `row`, `column`; `place` where there is but one; `other`
            for an axis that is not spatial.
        text: The formula with its numbers filled in, `⌊(8 + 1 + 1 − 1·(3 − 1) − 1) / 1⌋ + 1 = 8`.
    """

    axes: tuple[int, ...]
    names: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Row:
    """What a summary says of one step.

    Attributes:
        name: Name of the step.
        kind: Canonical kind.
        shape: Shape of the output.
        formulas: Formulas of its spatial sizes, one for all axes that agree; none for kinds whose
            sizes follow no window and no padding.
        parameters: Elements of the parameters that are read here for the first time. Running
            statistics and other buffers are not parameters.
        shared: Elements of the parameters that an earlier step has read already.
        macs: Multiply-accumulates, or None for kinds that are not counted.
        fields: Receptive field in each input that it depends on.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    formulas: tuple[Formula, ...]
    parameters: int
    shared: int
    macs: int | None
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over the rows of a summary.

    Attributes:
        steps: Number of steps.
        parameters: Elements of all parameters that were read, shared ones once.
        macs: Multiply-accumulates.
    """

    steps: int
    parameters: int
    macs: int


def summarize(trace: Trace) -> tuple[Row, ...]:
    """Summarize every step of a trace, in the order they ran.

    Args:
        trace: Any trace.

    Example:
        >>> import convtrace as ct
        >>> trace = ct.from_arrays([[[1.0, 2.0, 3.0]]], [[[1.0, 10.0]]])
        >>> row, = summarize(trace)
        >>> row.shape, row.formulas[0].text, row.macs, row.fields[0].axes[0].size
        ((1, 1, 2), '⌊(3 + 0 + 0 − 1·(2 − 1) − 1) / 1⌋ + 1 = 2', 4, 2)
    """
    fields = receptive_fields(trace)
    seen: set[str] = set()
    rows: list[Row] = []
    for step in trace.steps.values():
        parameters = {value.name: math.prod(value.shape) for value in _parameters(step, trace)}
        first = sum(count for name, count in parameters.items() if name not in seen)
        shared = sum(count for name, count in parameters.items() if name in seen)
        seen |= parameters.keys()
        rows.append(
            Row(
                name=step.name,
                kind=step.kind,
                shape=step.shape,
                formulas=tuple(_grouped(_formulas(step), step)),
                parameters=first,
                shared=shared,
                macs=macs(step),
                fields=fields[step.name],
            )
        )
    return tuple(rows)


def totals(rows: Iterable[Row]) -> Totals:
    """Add up the rows of a summary."""
    every = tuple(rows)
    return Totals(
        len(every), sum(row.parameters for row in every), sum(row.macs or 0 for row in every)
    )


def macs(step: Step) -> int | None:
    """Count the multiply-accumulates of a step; None for kinds that are not counted.

    Example:
        >>> import convtrace as ct
        >>> trace = ct.from_arrays([[[1.0, 2.0]]], [[[1.0, 10.0, 100.0]]], transposed=True)
        >>> macs(trace.step("conv_transpose1d"))  # 2 inputs, 3 weights each
        6
    """
    outputs = math.prod(step.shape)
    if step.kind == "convolution":
        numbers = outputs
        channels, other = channel_counts(step)
        if step.attributes["transposed"]:
            numbers, channels = math.prod(step.values["input"].shape), other
        kernel = step.values["weight"].shape[2:]
        return numbers * (channels // step.attributes["groups"]) * math.prod(kernel)
    if step.kind == "linear":
        return outputs * step.values["input"].shape[-1]
    if step.kind in _LEFT_FACTORS:
        return outputs * step.values[_LEFT_FACTORS[step.kind]].shape[-1]
    if step.kind.startswith("scaled_dot_product") and not step.attributes.get("output", 0):
        query, key = step.values["query"].shape, step.values["key"].shape
        return math.prod(query[:-1]) * key[-2] * query[-1] + outputs * key[-2]
    return None


_LEFT_FACTORS = {
    "mm": "self",
    "bmm": "self",
    "matmul": "self",
    "addmm": "mat1",
    "baddbmm": "batch1",
}
"""Matrix products, and the role of their left factor."""

_STATISTICS = ("running_mean", "running_var")


def _parameters(step: Step, trace: Trace) -> Iterator[Value]:
    for role, value in step.values.items():
        given = value.origin == "parameter" and role not in _STATISTICS
        if given and (trace.reporter != "torch" or value.is_parameter):
            yield value


def _formulas(step: Step) -> Iterator[tuple[int, str]]:
    """Yield output axis and formula of every size that a window or padding decided."""
    axes = window_axes(step)
    if axes:
        shape = step.values["input" if "input" in step.values else "self"].shape
        for number, axis in zip(sliding_axes(step), axes, strict=True):
            yield number, _window_formula(axis, shape[number], step.shape[number])
    elif step.kind.endswith(("pad", "pad_nd", "pad1d", "pad2d", "pad3d")):
        shape = step.values["input" if "input" in step.values else "self"].shape
        for number, (low, high) in enumerate(pads_of(step)):
            if low or high:
                parts = (f"{'−' if pad < 0 else '+'} {abs(pad)}" for pad in (low, high))
                yield number, f"{shape[number]} {' '.join(parts)} = {step.shape[number]}"


def _window_formula(axis: Axis, size: int, count: int) -> str:
    """Write the size of a window's output; pools with `ceil_mode` round up.

    PyTorch leaves out a last window that would begin in the padding behind the input:
    aten/src/ATen/native/Pool.h, `pooling_output_shape`.
    """
    if output_size(axis, size) == count:
        return output_formula(axis, size)
    law, _, _ = output_formula(axis, size).rpartition(" = ")
    up = law.replace("⌊", "⌈").replace("⌋", "⌉")
    low, high = axis.padding
    more = -(-(size + low + high - axis.extent) // axis.stride) + 1 - count
    return f"{up} − {more} = {count}" if more else f"{up} = {count}"


_AXIS_NAMES = {1: ("place",), 2: ("row", "column"), 3: ("depth", "row", "column")}


def _grouped(formulas: Iterator[tuple[int, str]], step: Step) -> Iterator[Formula]:
    """Say once what several axes have in common."""
    axes: dict[str, list[int]] = {}
    for number, text in formulas:
        axes.setdefault(text, []).append(number)
    spatial = sliding_axes(step) or range(2, len(step.shape))
    names = dict(zip(spatial, _AXIS_NAMES.get(len(spatial), ()), strict=False))
    for text, numbers in axes.items():
        yield Formula(tuple(numbers), tuple(names.get(n, "other") for n in numbers), text)
