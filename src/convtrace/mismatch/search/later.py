"""Outputs that lack their first or last rows: windows begin later or end earlier."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from convtrace.mismatch.causes.maps import axis_names
from convtrace.mismatch.question.problem import Problem
from convtrace.mismatch.report import Cause

Sides = tuple[tuple[int, int], ...]
"""Padding before and after each axis; negative where the input is cut."""

FEWER = 2
"""Most places of an axis that an output may lack."""


def later(problem: Problem) -> Iterator[tuple[Problem, Cause]]:
    """Yield convolutions with fewer windows than fit, and what that is called.

    Loops that begin at 1 or end one too early give such outputs, and a convolution of stride 1 of
    which every other number is kept from the second on.
    """
    import torch

    attributes, pads = problem.attributes, problem.attributes["padding"]
    axes = len(pads)
    seen = tuple(problem.raw["observed"].shape)
    lack = [a - b for a, b in zip(problem.shape[-axes:], seen[-axes:], strict=False)]
    same = len(seen) == len(problem.shape) and seen[:-axes] == problem.shape[:-axes]
    if attributes["transposed"] or not same or min(lack) < 0 or not 0 < max(lack) <= FEWER:
        return
    strides, x = attributes["stride"], torch.as_tensor(problem.raw["x"])
    rows = [
        range(max(s, 2)) if n == 1 else range(s * n + 1) if n else (0,)
        for n, s in zip(lack, strides, strict=True)
    ]
    for by in itertools.product(*rows):
        sides = _sides(problem, by, seen[-axes:])
        part = x
        for axis, (low, high) in enumerate(sides, start=-axes):
            end = x.shape[axis] + min(high, 0)
            part = part.movedim(axis, 0)[max(-low, 0) : max(end, 0)].movedim(0, axis)
        if 0 in part.shape:
            continue
        padding = tuple((max(low, 0), max(high, 0)) for low, high in sides)
        other = problem.but(
            raw={**problem.raw, "x": part},
            attributes={**attributes, "padding": padding},
            shape=seen,
        )
        yield other, _named(problem, by, sides)


def _sides(problem: Problem, by: tuple[int, ...], size: tuple[int, ...]) -> Sides:
    """Return the padding of windows that begin so much later, exactly as far as they reach."""
    attributes, axes = problem.attributes, len(by)
    kernel, x = problem.raw["weight"].shape[-axes:], problem.raw["x"].shape[-axes:]
    found: list[tuple[int, int]] = []
    for axis, (low, _) in enumerate(attributes["padding"]):
        extent = attributes["dilation"][axis] * (kernel[axis] - 1) + 1
        reach = (size[axis] - 1) * attributes["stride"][axis] + extent
        found.append((low - by[axis], reach - (low - by[axis]) - x[axis]))
    return tuple(found)


def _named(problem: Problem, by: tuple[int, ...], sides: Sides) -> Cause:
    """Name windows that begin so much later."""
    pads, strides = problem.attributes["padding"], problem.attributes["stride"]
    names = axis_names(len(by))
    within = {b for b in by if b}
    if len(within) == 1 and all(b < s for b, s in zip(by, strides, strict=True)):
        axes = tuple(name for name, b in zip(names, by, strict=True) if b)
        return Cause("stride.phase", {"by": within.pop(), "axes": axes}, proved=True)
    # What the last stride leaves over may be padding or not.
    ends = [
        min(after, high + s - 1)
        for (_, after), (_, high), s in zip(pads, sides, strides, strict=True)
    ]
    given = {
        "low": tuple(low for low, _ in sides),
        "high": tuple(ends),
        "right_low": tuple(low for low, _ in pads),
        "right_high": tuple(high for _, high in pads),
        "axes": names,
    }
    return Cause("padding.amount", given, proved=True)
