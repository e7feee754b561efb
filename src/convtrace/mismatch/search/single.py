"""Single changes at one element: most of them by one matrix product for all of a side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from convtrace.mismatch.computing.setup import Setup
from convtrace.mismatch.computing.stages import Sums
from convtrace.mismatch.search.change import Change
from convtrace.mismatch.search.element import Element, Rows, alike
from convtrace.mismatch.search.near import LAW, Laws

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
    for change, setup in left:
        if _may(one, setup):
            yield change


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


def _may(one: Element, setup: Setup) -> bool:
    """Whether a setup may reproduce the element."""
    try:
        if alike(one.base, setup, ("stages",)):
            sums = replace(one.alone, setup=setup)
        elif alike(one.base, setup, OPERANDS):
            sums = one.bare(setup)
        else:
            sums = setup.linear(setup.origin(one.place))
        return bool(one.hits(setup.finish(sums)).all())
    except (IndexError, ValueError):
        return False  # the change does not suit these shapes
