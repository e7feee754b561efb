"""Transposed convolutions: the kernel's direction, cropping, output padding."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.mismatch.causes.maps import axis_names, blanked
from convtrace.mismatch.computing.setup import Setup
from convtrace.mismatch.computing.stages import Local, Sums
from convtrace.mismatch.search.change import Change

Array = NDArray[Any]


def laws(setup: Setup) -> Iterator[Change]:
    """Crops on the other side, and inputs repeated where zeros belong between them."""
    if not setup.transposed:
        return
    names = axis_names(setup.axes)
    if any(s > 1 for s in setup.stride):
        yield Change("transposed.gaps_filled", "x", lambda s: s.but(filled=True), {}, 1.4)
    low, high = setup.low, setup.high()
    ranges = [range(-2, e + s + 1) for e, s in zip(setup.extent, setup.stride, strict=True)]
    rows = list(itertools.product(*ranges))
    if len(rows) > 300:
        rows = [tuple(p + by for p in low) for by in range(-3, 4)]
        for axis, row in enumerate(ranges):
            rows += [(*low[:axis], value, *low[axis + 1 :]) for value in row]
        rows.append(high)
    for row in dict.fromkeys(rows):
        if row == low:
            continue
        changed = [a for a, (r, p) in enumerate(zip(row, low, strict=True)) if r != p]
        after = tuple(h + p - r for h, p, r in zip(high, low, row, strict=True))
        if row == high:
            id_, cost = "transposed.crop_side", 1.0
        elif not any(row) and any(low):
            id_, cost = "transposed.crop_side", 1.1
        else:
            id_, cost = (
                "transposed.crop",
                1.2 + 0.1 * sum(abs(r - p) for r, p in zip(row, low, strict=True)),
            )
        parameters = {
            "low": row,
            "high": after,
            "right_low": low,
            "right_high": high,
            "axes": tuple(names[a] for a in changed),
        }
        yield Change(id_, "x", lambda s, r=row: s.but(low=r), parameters, cost)


def edges(setup: Setup) -> Iterator[Change]:
    """The rows that output padding adds are zero, or the bias alone, instead of computed."""
    if not setup.transposed:
        return
    names = axis_names(setup.axes)
    for width in range(1, max(setup.stride) + 1):
        choices: list[tuple[int, ...]] = [tuple(range(setup.axes))]
        if setup.axes > 1:
            choices += [(a,) for a in range(setup.axes)]
        for axes in choices:
            for word in ("zero", "bias") if setup.stages else ("zero",):
                make = _blank(width, axes, word)
                parameters = {
                    "width": width,
                    "left": word,
                    "axes": tuple(names[a] for a in axes),
                }
                cost = 1.1 + 0.2 * (len(axes) < setup.axes) + 0.1 * width
                yield Change("transposed.output_padding", "after", make, parameters, cost)


def _blank(width: int, axes: tuple[int, ...], word: str) -> Any:
    def make(setup: Setup) -> Setup:
        def stage(sums: Sums) -> Sums:
            outside = np.zeros((), dtype=np.bool_)
            for axis in axes:
                outside = outside | (sums.at[axis + 2] >= setup.size[axis] - width)
            return blanked(sums, outside)

        found = Local(stage)
        stages = (found, *setup.stages) if word == "bias" else (*setup.stages, found)
        return setup.but(stages=stages)

    return make
