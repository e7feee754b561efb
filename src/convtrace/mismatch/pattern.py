"""What a residual looks like whose cause is unknown: where it lies, and what it goes with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.mismatch.causes.maps import axis_names
from convtrace.mismatch.computing.setup import Setup
from convtrace.mismatch.judging.elements import Compared
from convtrace.mismatch.report import Note, Pattern

Array = NDArray[Any]


def pattern(setup: Setup, found: Compared, wrong: Array) -> Pattern:
    """Describe where the wrong elements lie and what their residuals go with."""
    places, hit = np.flatnonzero(wrong), _hit(wrong)
    count = len(places)
    bad, residual = (part.reshape(-1)[places] for part in (found.observed, found.residual))
    findings = [
        *_share(count, wrong.size),
        *_values(found, wrong, bad, residual),
        *_channels(hit[1]),
        *_samples(hit[0]),
        *_borders(setup, wrong, hit),
        *_phases(setup, hit),
        *_blocks(count, hit),
        *_linear(found.values.reshape(-1)[places], residual),
    ]
    return Pattern(tuple(findings), count, int(wrong.size))


def _hit(wrong: Array) -> list[Array]:
    """Return for each axis at which of its places any element is wrong."""
    columns = wrong.reshape(-1, wrong.shape[-1]).any(0)  # whole rows of memory at a time
    rows = wrong.any(-1)
    rest = [tuple(a for a in range(rows.ndim) if a != axis) for axis in range(rows.ndim)]
    return [*(np.logical_or.reduce(rows, axis=axes) for axes in rest), np.asarray(columns)]


def _share(count: int, of: int) -> Iterator[Note]:
    if count == of:
        yield "diff.pattern.all", {"count": count}
    else:
        yield "diff.pattern.some", {"count": count, "of": of}


def _values(found: Compared, wrong: Array, bad: Array, residual: Array) -> Iterator[Note]:
    """Zeros, one number, NaN, or old numbers where the wrong elements are."""
    if not bad.size:
        return
    nans = int((~np.isfinite(bad)).sum())
    if nans:
        yield "diff.pattern.nonfinite", {"count": nans}
    if (bad == 0).all():
        yield "diff.pattern.zeros", {}
    elif bad.size > 1 and (bad == bad[0]).all():
        yield "diff.pattern.constant", {"value": float(bad[0])}
    if bad.size > 1 and np.isfinite(residual).all():
        spread, first = float(np.abs(residual - residual[0]).max()), abs(float(residual[0]))
        if 2 * spread < first:  # or no bound can be wider than the one and far from the other
            most = float(found.bound[wrong].max())
            if spread <= 2 * most and first > 4 * most:
                yield "diff.pattern.offset", {"value": float(residual[0])}


def _channels(hit: Array) -> Iterator[Note]:
    count = len(hit)
    if count < 2:
        return
    bad = np.flatnonzero(hit)
    if 0 < len(bad) < count:
        words = {"channels": _ranges(bad), "count": len(bad), "of": count}
        yield "diff.pattern.channels", words
        first, last = int(bad[0]), int(bad[-1])
        if last == count - 1 and len(bad) == count - first and first:
            for block in (128, 64, 32, 16, 8, 4):
                if first % block == 0:
                    yield "diff.pattern.channel_tail", {"first": first, "block": block}
                    break


def _samples(hit: Array) -> Iterator[Note]:
    count = len(hit)
    if count < 2:
        return
    bad = np.flatnonzero(hit)
    if 0 < len(bad) < count:
        yield "diff.pattern.samples", {"samples": _ranges(bad), "count": len(bad), "of": count}


def _borders(setup: Setup, wrong: Array, hit: list[Array]) -> Iterator[Note]:
    """The first or last rows or columns only."""
    names = axis_names(setup.axes)
    inner = np.ones(wrong.shape, dtype=np.bool_)
    touched = False
    for axis in range(setup.axes):
        size = wrong.shape[axis + 2]
        low, high = _reach(setup, axis)
        keep = np.zeros(size, dtype=np.bool_)
        keep[low : max(size - high, low)] = True
        shape = [1] * wrong.ndim
        shape[axis + 2] = -1
        inner &= keep.reshape(shape)
        touched |= bool(low or high)
    if touched and not (wrong & inner).any() and inner.any():
        yield "diff.pattern.border", {}
    for axis, name in enumerate(names):
        size = wrong.shape[axis + 2]
        if size < 2:
            continue
        bad = np.flatnonzero(hit[axis + 2])
        if not 0 < len(bad) < size:
            continue
        words = {"axis": name, "places": _ranges(bad), "count": len(bad), "of": size}
        if bad[-1] == size - 1 and len(bad) == size - bad[0]:
            yield "diff.pattern.end", words
            for block in (64, 32, 16, 8, 4):
                if bad[0] % block == 0 and bad[0]:
                    tail = {"axis": name, "first": int(bad[0]), "block": block}
                    yield "diff.pattern.vector_tail", tail
                    break
        elif bad[0] == 0 and len(bad) == bad[-1] + 1:
            yield "diff.pattern.start", words
        elif (np.diff(bad) == 1).all() and (len(bad) > 1 or _filled(wrong, axis + 2, bad)):
            yield "diff.pattern.band", words


def _filled(wrong: Array, axis: int, places: Array) -> bool:
    """Whether at least half of the elements at these places of an axis are wrong."""
    return float(np.take(wrong, places, axis=axis).mean()) >= 0.5


def _reach(setup: Setup, axis: int) -> tuple[int, int]:
    """Count the outputs at both ends whose windows reach into the padding."""
    size, n = setup.size[axis], setup.x.shape[axis + 2]
    places = np.arange(size)
    first = places * setup.stride[axis] - setup.low[axis]
    if setup.transposed:
        return 0, 0
    last = first + setup.extent[axis] - 1
    return int((first < 0).sum()), int((last >= n).sum())


def _phases(setup: Setup, hit: list[Array]) -> Iterator[Note]:
    """Every second, third, … row or column only."""
    for axis, name in enumerate(axis_names(setup.axes)):
        along = hit[axis + 2]
        size = len(along)
        for period in sorted({2, 3, 4, 8, setup.stride[axis]}):
            if period < 2 or size < 2 * period:
                continue
            phases = [bool(along[p::period].any()) for p in range(period)]
            full = all(along[p::period].all() for p in range(period) if phases[p])
            if any(phases) and not all(phases) and full:
                places = ", ".join(str(p) for p in range(period) if phases[p])
                yield "diff.pattern.phase", {"axis": name, "period": period, "phases": places}
                break


def _blocks(count: int, hit: list[Array]) -> Iterator[Note]:
    """One box that holds all wrong elements and little else: a tile."""
    if count < 2:
        return
    ends = np.array([np.flatnonzero(row)[[0, -1]] for row in hit])
    low, high = ends[:, 0], ends[:, 1] + 1
    size = high - low
    share = count / int(np.prod(size))
    if share > 0.7 and (size < np.array([len(row) for row in hit])).sum() >= 2:
        box = ", ".join(f"{a}:{b}" for a, b in zip(low.tolist(), high.tolist(), strict=True))
        yield "diff.pattern.tile", {"box": box, "size": "×".join(map(str, size.tolist()))}


def _linear(values: Array, residual: Array) -> Iterator[Note]:
    """Residuals that go with the right value."""
    usable = np.isfinite(values) & np.isfinite(residual)
    if not usable.all():
        values, residual = values[usable], residual[usable]
    if len(values) < 8 or not values.std() or not residual.std():
        return
    together = float(np.corrcoef(values, residual)[0, 1])
    if abs(together) > 0.9:
        slope = float((values * residual).sum() / (values * values).sum())
        words = {"slope": slope, "correlation": round(together, 4)}
        yield "diff.pattern.proportional", words
    elif abs(together) < 0.05:
        yield "diff.pattern.unrelated", {}


def _ranges(numbers: Array) -> str:
    """Write sorted numbers with ranges: `0, 4–7`.

    Example:
        >>> _ranges(np.array([0, 4, 5, 6, 7]))
        '0, 4–7'
    """
    parts: list[str] = []
    rows = np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1)
    for row in rows[:12]:
        first, last = int(row[0]), int(row[-1])
        parts.append(str(first) if first == last else f"{first}–{last}")
    return ", ".join(parts) + (", …" if len(rows) > 12 else "")
