"""Padding: how much, on which side, of what kind."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from operator import add
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.mismatch.causes.maps import axis_names, blanked
from convtrace.mismatch.computing.setup import Setup
from convtrace.mismatch.computing.stages import Local, Sums
from convtrace.mismatch.computing.statistics import Statistics
from convtrace.mismatch.search.change import Change

Array = NDArray[Any]


def amounts(setup: Setup) -> Iterator[Change]:
    """Padding missing, on the other side, one more or less."""
    if setup.transposed:
        return
    low, high = setup.low, tuple(map(add, setup.high(), setup.spare or (0,) * setup.axes))
    most = [min(e, 12) for e in setup.extent]
    choices = [list(range(min(-2, p), max(m, p) + 2)) for m, p in zip(most, low, strict=True)]
    count = 1
    for row in choices:
        count *= len(row)
    if count <= 256:
        rows = list(itertools.product(*choices))
    else:
        rows = [tuple(p + by for p in low) for by in range(-4, 5)]
        rows += [(value,) * setup.axes for value in choices[0]]
        # All of an axis's padding before it, all of it behind it, or as it should be.
        ends = [dict.fromkeys((p, h, 0, p + h)) for p, h in zip(low, high, strict=True)]
        rows += list(itertools.product(*ends))
        for axis, row in enumerate(choices):
            rows += [(*low[:axis], value, *low[axis + 1 :]) for value in row]
    for row in dict.fromkeys(rows):
        if row == low:
            continue
        yield _moved(setup, row, low, high)


def _moved(
    setup: Setup, row: tuple[int, ...], low: tuple[int, ...], high: tuple[int, ...]
) -> Change:
    after = tuple(h + p - r for h, p, r in zip(high, low, row, strict=True))
    changed = [a for a, (r, p) in enumerate(zip(row, low, strict=True)) if r != p]
    shifts = {row[a] - low[a] for a in changed}
    names = axis_names(setup.axes)
    usual = row == high or (setup.axes > 1 and row == tuple(reversed(low)))
    if setup.axes > 1 and row == tuple(reversed(low)):
        id_, cost = "padding.axes", 1.1
    elif min(row) >= 0 and min(after) >= 0:
        # As much padding as it should be, but elsewhere.
        id_, cost = "padding.side", 1.0
    elif not any(row):
        id_, cost = "padding.missing", 1.1
    else:
        id_, cost = "padding.amount", 1.2 + 0.5 * (min(row) < 0)
    if not usual:
        cost += 0.1 * len(shifts) + 0.05 * sum(abs(s) for s in shifts)
        cost += 0.1 * (0 < len(changed) < setup.axes)
    parameters = {
        "low": row,
        "high": after,
        "right_low": low,
        "right_high": high,
        "axes": tuple(names[a] for a in changed),
    }
    return Change(id_, "x", lambda s: s.but(low=row), parameters, cost)


def modes(setup: Setup) -> Iterator[Change]:
    """Zeros instead of reflection, reflection instead of zeros, and so on."""
    if not _padded(setup):
        return
    names = axis_names(setup.axes)
    for mode in ("zeros", "reflect", "replicate", "circular", "symmetric"):
        if (mode,) * setup.axes != setup.modes:
            yield _mode(setup, (mode,) * setup.axes, 1.0, mode=mode)
        if setup.axes > 1:
            for axis in range(setup.axes):
                row = (*setup.modes[:axis], mode, *setup.modes[axis + 1 :])
                if row != setup.modes:
                    yield _mode(setup, row, 1.5, mode=mode, axes=(names[axis],))


def _mode(setup: Setup, row: tuple[str, ...], cost: float, /, **parameters: object) -> Change:
    given = {"axes": axis_names(setup.axes), **parameters, "right": setup.modes[0]}
    return Change("padding.mode", "x", lambda s: s.but(modes=row), given, cost)


def _padded(setup: Setup) -> bool:
    return not setup.transposed and (
        any(p > 0 for p in setup.low) or any(p > 0 for p in setup.high())
    )


def values(setup: Setup) -> Iterator[Change]:
    """Another constant than zero around the input."""
    if not _padded(setup):
        return
    seen = setup.statistics
    if not seen.finite:
        seen = Statistics(setup.x[np.isfinite(setup.x)])
    known: dict[float, str] = {1.0: "one", -1.0: "minus one", 0.5: "half", 255.0: "255"}
    known |= {128.0: "128", -128.0: "−128", 127.0: "127", 1e-6: "1e−6", -1e9: "−1e9"}
    if seen.array.size:
        known[seen.low] = "minimum"
        known[seen.high] = "maximum"
        known[seen.mean] = "mean"
    known.pop(setup.fill, None)
    for value, word in known.items():
        if all(mode == "zeros" for mode in setup.modes):
            yield Change(
                "padding.value",
                "x",
                lambda s, v=value: s.but(fill=v),
                {"value": value, "word": word},
                1.2,
            )


def borders(setup: Setup) -> Iterator[Change]:
    """Outputs that reach into the padding are left out: zero, or the bias alone."""
    if not _padded(setup):
        return
    words = ("zero", "bias") if setup.stages else ("zero",)
    for word in words:

        def make(s: Setup, word: str = word) -> Setup:
            def blank(sums: Sums) -> Sums:
                outside = np.zeros((), dtype=np.bool_)
                for axis in range(s.axes):
                    place = sums.at[axis + 2]
                    first = place * s.stride[axis] - s.low[axis]
                    last = first + s.extent[axis] - 1
                    outside = outside | (first < 0) | (last >= s.x.shape[axis + 2])
                return blanked(sums, outside)

            stage = Local(blank)
            stages = (stage, *s.stages) if word == "bias" else (*s.stages, stage)
            return s.but(stages=stages)

        yield Change("padding.border_blank", "after", make, {"left": word}, 1.3)

    for word in words:
        yield Change("padding.missing", "x", _unpadded(word), {"left": word}, 1.35)

    def mean_of_valid(s: Setup) -> Setup:
        """Scale each sum up by the share of taps that fall on the input (partial convolution)."""

        def scale(sums: Sums) -> Sums:
            share: Array = np.ones(())
            for axis in range(s.axes):
                place = sums.at[axis + 2]
                hits = 0.0
                for tap in range(s.kernel[axis]):
                    at = place * s.stride[axis] - s.low[axis] + tap * s.dilation[axis]
                    hits = hits + ((at >= 0) & (at < s.x.shape[axis + 2]))
                share = share * hits / s.kernel[axis]
            factor = 1 / np.maximum(share, 1e-9)
            return sums.to(sums.values * factor, sums.magnitude * factor)

        return s.but(stages=(Local(scale), *s.stages))

    yield Change("padding.renormalised", "after", mean_of_valid, {}, 1.6)


def _unpadded(word: str) -> Callable[[Setup], Setup]:
    """Return a change that computes what fits without padding and leaves the rest as it was."""

    def make(setup: Setup) -> Setup:
        low = (0,) * setup.axes

        def rest(sums: Sums) -> Sums:
            outside = np.zeros((), dtype=np.bool_)
            for axis in range(setup.axes):
                last = sums.at[axis + 2] * setup.stride[axis] + setup.extent[axis] - 1
                outside = outside | (last >= setup.x.shape[axis + 2])
            return blanked(sums, outside)

        stage = Local(rest)
        stages = (stage, *setup.stages) if word == "bias" else (*setup.stages, stage)
        return setup.but(low=low, stages=stages)

    return make
