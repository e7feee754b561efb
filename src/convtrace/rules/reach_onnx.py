"""Reach of the forms that ONNX brings along, and of steps that pick or put numbers by index.

Sources:
    https://onnx.ai/onnx/operators/onnx__Resize.html (positions and roundings of resampling)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from types import MappingProxyType

from convtrace.rules.reading import Chain, Line, Read, Rule, broadcast, same, whole
from convtrace.step import Step


def _resize(step: Step) -> Mapping[str, Chain] | None:
    shape, out = step.values["self"].shape, step.shape
    reads = same(len(shape))
    for axis, scale in enumerate(step.attributes["scales"]):
        if shape[axis] == out[axis] and scale == 1:
            continue
        line = _resampled(step, shape[axis], out[axis], scale)
        if line is None:
            return None
        reads[axis] = Read((Line(axis, *line),))
    return {"self": (tuple(reads),)}


def _resampled(
    step: Step, size: int, out: int, scale: float
) -> tuple[int, tuple[tuple[int, ...], ...]] | None:
    """Return what a period moves, and what is read at each place of it."""
    position = step.attributes["coordinate_transformation_mode"]
    if position.startswith("pytorch") and out == 1:
        return 0, ((0,),)
    if position == "align_corners":
        ratio, shift = Fraction(size - 1, max(out - 1, 1)), Fraction(0)
    else:
        ratio = 1 / Fraction(scale).limit_denominator(1024)
        shift = Fraction(0) if position == "asymmetric" else ratio / 2 - Fraction(1, 2)
    if position == "half_pixel_symmetric":
        shift += Fraction(size, 2) * (1 - Fraction(out) / (size / ratio))
    taps = tuple(_taps(step, o * ratio + shift) for o in range(ratio.denominator))
    return (ratio.numerator, taps) if all(taps) else None


def _taps(step: Step, at: Fraction) -> tuple[int, ...]:
    """List the positions that are read with a weight other than zero."""
    mode, below = step.attributes["mode"], math.floor(at)
    if mode == "nearest":
        half = at - below == Fraction(1, 2)
        rounding = step.attributes["nearest_mode"]
        if rounding in ("floor", "ceil"):
            return (below if rounding == "floor" else math.ceil(at),)
        near = math.floor(at + Fraction(1, 2))
        return (below if half and rounding == "round_prefer_floor" else near,)
    if at == below:
        return (below,)
    return tuple(range(below - 1, below + 3)) if mode == "cubic" else (below, below + 1)


def _strided_slice(step: Step) -> Mapping[str, Chain]:
    reads = same(len(step.shape))
    settings = (step.attributes[name] for name in ("dims", "starts", "steps"))
    for axis, start, stride in zip(*settings, strict=True):
        reads[axis] = Read((Line(axis, stride, ((start,),)),))
    return {"self": (tuple(reads),)}


def _gemm(step: Step) -> Mapping[str, Chain]:
    found: dict[str, Chain] = {}
    for role, flag, own in (("mat1", "transA", 0), ("mat2", "transB", 1)):
        shape = step.values[role].shape
        summed = (1 - own) ^ bool(step.attributes[flag])
        found[role] = (
            tuple(whole(n) if a == summed else Read((Line(own),)) for a, n in enumerate(shape)),
        )
    if "self" in step.values:
        found["self"] = (broadcast(step.values["self"].shape, step.shape),)
    return found


def product_of(left: str, right: str) -> Rule:
    """Read rows of one operand and columns of the other, whose leading axes are broadcast."""

    def rule(step: Step) -> Mapping[str, Chain]:
        first, second = step.values[left].shape, step.values[right].shape
        axes, ranks = len(step.shape), (len(first), len(second))
        column = axes - 1 if ranks[1] > 1 else None
        row = axes - 1 - (column is not None) if ranks[0] > 1 else None
        lead = step.shape[: axes - (row is not None) - (column is not None)]
        rows = [whole(first[-1])]
        columns = [whole(second[-2] if column is not None else second[0])]
        if row is not None:
            rows = [*broadcast(first[:-2], lead), Read((Line(row),)), *rows]
        if column is not None:
            columns = [*broadcast(second[:-2], lead), *columns, Read((Line(column),))]
        return {left: (tuple(rows),), right: (tuple(columns),)}

    return rule


def _glu(step: Step) -> Mapping[str, Chain]:
    shape = step.values["self"].shape
    axis = step.attributes["dim"] % len(shape)
    reads = same(len(shape))
    reads[axis] = Read((Line(axis, 1, ((0, shape[axis] // 2),)),))
    return {"self": (tuple(reads),)}


def _along(step: Step) -> Mapping[str, Chain]:
    """Read the axis that is sorted as a whole."""
    shape = step.values["self"].shape
    reads = same(len(shape))
    if shape:
        axis = step.attributes.get("dim", -1) % len(shape)
        reads[axis] = whole(shape[axis])
    return {"self": (tuple(reads),)}


def _grid_sample(step: Step) -> Mapping[str, Chain]:
    """Read any position of the map: where, only the grid knows."""
    source, grid = step.values["input"].shape, step.values["grid"].shape
    places = [Read((Line(0),)), *(Read((Line(axis),)) for axis in range(2, len(grid)))]
    return {
        "input": ((*same(2), *map(whole, source[2:])),),
        "grid": ((*places, whole(grid[-1])),),
    }


def _put(step: Step) -> Mapping[str, Chain]:
    """Read the place itself, and of what is put there any number."""
    return {
        role: (tuple(same(len(value.shape))) if role == "self" else tuple(map(whole, value.shape)),)
        for role, value in step.values.items()
    }


ONNX: Mapping[str, Rule] = MappingProxyType(
    {
        "resize": _resize,
        "strided_slice": _strided_slice,
        "gemm": _gemm,
        "matmul": product_of("self", "mat2"),
        **dict.fromkeys(("qlinear_matmul", "matmul_integer"), product_of("input", "weight")),
        "glu": _glu,
        **dict.fromkeys(("sort", "topk", "kthvalue", "cummax", "cummin"), _along),
        **dict.fromkeys(("grid_sampler_2d", "grid_sampler_3d"), _grid_sample),
        **dict.fromkeys(
            "index_put index_put_impl index_copy index_fill index_add scatter scatter_add "
            "scatter_reduce slice_scatter select_scatter masked_scatter".split(),
            _put,
        ),
    }
)
"""Rules by kind of step."""
