"""Pairs of causes: all of them on a few elements, most of them by one matrix product each.

What the taps read and the weights are separate, so that K changes of the one and L of the other
make K x L pairs out of K + L gathers. What follows the sum costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from convtrace.mismatch.computing.setup import Positions, Setup
from convtrace.mismatch.computing.stages import Stage, Sums
from convtrace.mismatch.search.change import Change
from convtrace.mismatch.search.composed import of_inputs, of_outputs, of_weights

if TYPE_CHECKING:
    from convtrace.mismatch.search.search import Changes, Search

Array = NDArray[Any]

FEW = 2
"""Elements that pairs are tried on by one matrix product each."""


class _Side:
    """One or two changes of one side, and the numbers that they give at the sample."""

    def __init__(self, changes: tuple[Change, ...], setup: Setup, numbers: Array) -> None:
        self.changes, self.setup, self.numbers = changes, setup, numbers


def promising(search: Search, candidates: Sequence[Change]) -> Iterator[Changes]:
    """Yield the pairs that reproduce the first sample, before they are looked at more closely."""
    base, at = search.base, search.samples[0]
    origin = base.origin(at)
    sides = {side: [c for c in candidates if c.side == side] for side in ("x", "w", "y", "xw")}
    after = [c for c in candidates if c.side == "after"]
    finished = [(c, s) for c in after if (s := c.make(base)) is not None]
    reads = list(_gathered(base, sides["x"], origin, "x"))
    factors = list(_gathered(base, sides["w"], origin, "w"))
    plain_read, plain_factors = base.read(origin), base.factors(origin[1])
    search.tick()
    yield from _two_sided(search, reads, factors, origin)
    search.tick()
    # What follows the sum, with everything before it.
    before = [(r.changes, _sums(r.numbers, plain_factors, origin, base)) for r in reads]
    before += [(r.changes, _sums(plain_read, r.numbers, origin, base)) for r in factors]
    for change in sides["xw"]:
        setup = change.make(base)
        if setup is not None and (sums := _linear(setup, at)) is not None:
            before.append(((change,), sums))
    for move in sides["y"]:
        if (setup := move.make(base)) is not None:
            sums = base.linear(setup.origin(at))
            yield from _followed(search, [((move,), sums)], finished)
    yield from _followed(search, before, finished)
    search.tick()
    yield from _twice_after(search, after, finished)
    search.tick()
    made = {side: list(made_of(search, sides[side])) for side in ("x", "w", "y")}
    yield from of_outputs(search, made)
    search.tick()
    yield from of_weights(search, made["w"])
    search.tick()
    yield from of_inputs(search, made["x"])
    search.tick()


def made_of(search: Search, changes: Sequence[Change]) -> Iterator[tuple[Change, Setup]]:
    """Yield changes with their setups.

    Where most elements are right, two changes of one side that each spoil these will hardly undo
    each other there and nowhere else: those that do are left out.
    """
    for change in changes:
        setup = change.make(search.base)
        if setup is not None and (not search.mostly_right or search.spares(change)):
            yield change, setup


def _gathered(base: Setup, changes: Sequence[Change], at: Positions, side: str) -> Iterator[_Side]:
    for change in changes:
        setup = change.make(base)
        if setup is None:
            continue
        try:
            numbers = setup.read(at) if side == "x" else setup.factors(at[1])
        except (IndexError, ValueError):
            continue
        yield _Side((change,), setup, numbers)


def _sums(read: Array, factors: Array, at: Positions, setup: Setup) -> Sums:
    with np.errstate(all="ignore"):
        products = read * factors
        return Sums(products.sum(-1), np.abs(products).sum(-1), at, setup)


def _linear(setup: Setup, at: Positions) -> Sums | None:
    try:
        return setup.linear(setup.origin(at))
    except (IndexError, ValueError):
        return None


def _hits(search: Search, sums: Sums, first: int = 0) -> Array:
    """Tell which rows may reproduce the first sample, from one of its elements on."""
    target = search.targets[0][first : first + sums.values.shape[-1]]
    with np.errstate(all="ignore"):
        return np.asarray(search.judge.plausible(sums, target).all(-1))


def _two_sided(
    search: Search, reads: list[_Side], factors: list[_Side], at: Positions
) -> Iterator[Changes]:
    """Pair every change of what is read with every change of the weights."""
    if not reads or not factors:
        return
    size = max(1, 2_000_000 // reads[0].numbers.size)
    for start in range(0, len(reads), size):
        rows = reads[start : start + size]
        search.tried += len(rows) * len(factors)
        hits = np.ones((len(rows), len(factors)), dtype=np.bool_)
        for one in range(min(FEW, len(at[0]))):
            left = np.stack([row.numbers[one] for row in rows])
            right = np.stack([row.numbers[one] for row in factors])
            with np.errstate(all="ignore"):
                values, magnitude = left @ right.T, np.abs(left) @ np.abs(right).T
            place = tuple(axis[one : one + 1] for axis in at)
            bare = Sums(values[..., None], magnitude[..., None], place, search.base)
            hits &= _hits(search, search.base.finish(bare), one)
            if not hits.any():
                break
        for k, j in np.argwhere(hits):
            yield rows[k].changes + factors[j].changes


def _followed(
    search: Search,
    before: Sequence[tuple[Changes, Sums]],
    finished: Sequence[tuple[Change, Setup]],
) -> Iterator[Changes]:
    """Pair changes of sums, all with the same output positions, with what follows them."""
    if not before:
        return
    search.tried += len(finished) * len(before)
    shape = before[0][1].values.shape
    sums = Sums(
        np.stack([one.values for _, one in before]),
        np.stack([np.broadcast_to(one.magnitude, shape) for _, one in before]),
        before[0][1].at,
        search.base,
        np.stack([np.broadcast_to(one.extra, shape) for _, one in before]),
    )
    for change, setup in finished:
        try:
            found = setup.finish(sums)
        except (IndexError, ValueError):
            continue
        for row in np.flatnonzero(_hits(search, found)).tolist():
            yield (*before[row][0], change)


def _twice_after(
    search: Search, after: list[Change], finished: Sequence[tuple[Change, Setup]]
) -> Iterator[Changes]:
    """Pair changes of what follows the sum.

    Where the second one adds a stage in front or at the end, it does so for all first ones at once.
    """
    base, bare = search.base, search.base_sums[0]
    done = [(change, setup.finish(bare)) for change, setup in finished]
    first = [((change,), sums) for change, sums in done]
    early: list[tuple[Changes, Sums]] = []
    late: list[tuple[Change, tuple[Stage, ...]]] = []
    others: list[Change] = []
    for change, setup in finished:
        more = len(setup.stages) - len(base.stages)
        if not _same_but_stages(base, setup) or more <= 0:
            others.append(change)
        elif setup.stages[: len(base.stages)] == base.stages:
            late.append((change, setup.stages[len(base.stages) :]))
        elif setup.stages[more:] == base.stages:
            early.append(((change,), base.but(stages=setup.stages[:more]).finish(bare)))
        else:
            others.append(change)
    for pair in _followed(search, early, finished):
        if pair[0].id != pair[1].id:
            yield pair[1], pair[0]
    ends = [(change, base.but(stages=stages)) for change, stages in late]
    for pair in _followed(search, first, ends):
        if pair[0].id != pair[1].id:
            yield pair
    for change, setup in finished:
        for other in others:
            if other is change or other.id == change.id:
                continue
            search.tried += 1
            both = other.make(setup)
            if both is not None and _hits(search, both.finish(bare)):
                yield change, other


def _same_but_stages(left: Setup, right: Setup) -> bool:
    return all(
        getattr(left, name) is value for name, value in vars(right).items() if name != "stages"
    )
