"""Single changes at one element: most of them by one matrix product for all of a side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import is_
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.mismatch.computing.setup import Setup
from convtrace.mismatch.computing.stages import Sums
from convtrace.mismatch.search.change import Change
from convtrace.mismatch.search.element import Element, Rows, alike
from convtrace.mismatch.search.near import LAW, Laws

Array = NDArray[Any]

OPERANDS = ("x_maps", "x_ops", "fill", "w_maps", "w_ops", "stages")
"""Fields that say what the operands are, but not which of them meet."""


def of_one(one: Element, candidates: Sequence[Change]) -> Iterator[Change]:
    """Yield the changes that may reproduce an element."""
    search = one.search
    made = [(c, setup) for c in candidates if (setup := search.made(c)) is not None]
    left: list[tuple[Change, Setup]] = []
    plain: dict[str, list[Change]] = {"x": [], "w": []}
    moves: list[tuple[Change, Setup]] = []
    laws: list[tuple[Change, Setup]] = []
    for change, setup in made:
        usual = setup.stages is search.base.stages
        if change.side in plain and usual and setup.y_maps is search.base.y_maps:
            if change.side == "x" and alike(search.base, setup, LAW):
                laws.append((change, setup))
            else:
                plain[change.side].append(change)
        elif change.side == "y" and alike(search.base, setup, ("y_maps",)):
            moves.append((change, setup))
        else:
            left.append((change, setup))
    for side, changes in plain.items():
        suited, table = one.rows(changes)
        for (found,) in Rows(one, side).some([(c,) for c in suited], table):
            yield found
    yield from _elsewhere(one, laws)
    yield from _moved(one, moves)
    yield from _finished(one, left)


def _elsewhere(one: Element, laws: Sequence[tuple[Change, Setup]]) -> Iterator[Change]:
    """Yield the changes of where taps fall that may reproduce the element."""
    if not laws:
        return
    base, near = one.base, Laws(one.at, [setup for _, setup in laws]).near(0)
    one.search.tried += len(laws)
    hits = one.plausible(*near.sums(near.numbers(base), one.factors))
    yield from (laws[n][0] for n in np.flatnonzero(hits).tolist())


def _moved(one: Element, moves: Sequence[tuple[Change, Setup]]) -> Iterator[Change]:
    """Yield the rearrangements of the output that may reproduce the element."""
    if not moves:
        return
    base = one.base
    origins = [setup.origin(one.place) for _, setup in moves]
    at = tuple(
        np.concatenate([np.broadcast_to(origin[axis], 1) for origin in origins])
        for axis in range(len(one.place))
    )
    sums = one.search.known(base, at)
    found = base.finish(base.linear(at) if sums is None else sums)
    rows = Sums(
        found.values[:, None],
        np.broadcast_to(found.magnitude, found.values.shape)[:, None],
        at,
        base,
        np.broadcast_to(found.extra, found.values.shape)[:, None],
    )
    yield from (moves[n][0] for n in np.flatnonzero(one.hits(rows)).tolist())


def _finished(one: Element, others: Sequence[tuple[Change, Setup]]) -> Iterator[Change]:
    """Yield the changes of anything else that may reproduce the element."""
    suited: list[Change] = []
    rows: list[tuple[float, float, float]] = []
    for change, setup in others:
        try:
            sums = _sums(one, setup)
        except (IndexError, ValueError):
            continue  # the change does not suit these shapes
        suited.append(change)
        rows.append((_number(sums.values), _number(sums.magnitude), _number(sums.extra)))
    if suited:
        values, magnitude, extra = np.array(rows).T[:, :, None]
        hits = one.hits(Sums(values, magnitude, one.at, one.base, extra))
        yield from (suited[n] for n in np.flatnonzero(hits).tolist())


def _sums(one: Element, setup: Setup) -> Sums:
    """Return what a setup makes of the element."""
    if alike(one.base, setup, ("stages",)):
        known, stages = one.base.stages, setup.stages
        before = one.alone
        if len(stages) > len(known) and all(map(is_, stages, known)):
            before, stages = one.done, stages[len(known) :]
        parts = (before.values, before.magnitude, before.at, setup, before.extra, before.spare)
        sums = Sums(*parts, before.whole)
        for stage in stages:
            sums = stage(sums)
        return sums
    if alike(one.base, setup, OPERANDS):
        return setup.finish(one.bare(setup))
    origin = setup.origin(one.place)
    return setup.finish(one.search.known(setup, origin) or setup.linear(origin))


def _number(part: Array | float) -> float:
    """Return the only number of an array."""
    return part if isinstance(part, float) else float(np.asarray(part).reshape(-1)[0])
