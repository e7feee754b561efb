"""Pairs of causes: all of them at one element, most of them by one matrix product.

What the taps read and the weights are separate, so that K changes of the one and L of the other
make K x L pairs out of K + L gathers. What follows the sum costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from convtrace.mismatch.computing.setup import Positions, Setup
from convtrace.mismatch.computing.stages import Add, Norm, Stage, Sums
from convtrace.mismatch.search.change import Change
from convtrace.mismatch.search.composed import Made, of_inputs, of_weights
from convtrace.mismatch.search.element import Element, alike
from convtrace.mismatch.search.moved import of_outputs

if TYPE_CHECKING:
    from convtrace.mismatch.search.search import Changes, Search

Array = NDArray[Any]
Before = tuple[list["Changes"], Sums]
"""Changes of what comes before the stages, and the bare sum of each, `(changes, 1)`."""


def promising(search: Search, candidates: Sequence[Change]) -> Iterator[Changes]:
    """Yield the pairs that may reproduce one element, before they are looked at more closely."""
    one = search.element
    made = {
        side: list(made_of(search, [c for c in candidates if c.side == side]))
        for side in ("x", "w", "y", "xw", "after")
    }
    search.tick()
    reads = one.rows([change for change, _ in made["x"]])
    factors = one.rows([change for change, _ in made["w"]])
    yield from _two_sided(one, reads, factors)
    search.tick()
    for changes, sums in (_before(one, reads, factors, made["xw"]), _moved(one, made["y"])):
        yield from _followed(one, changes, sums, made["after"])
    search.tick()
    yield from _twice_after(one, made["after"])
    search.tick()
    yield from of_outputs(search, made)
    search.tick()
    yield from of_weights(search, made["w"])
    search.tick()
    yield from of_inputs(search, made["x"])
    search.tick()


def made_of(search: Search, changes: Sequence[Change]) -> Iterator[tuple[Change, Setup]]:
    """Yield changes with their setups.

    Where most elements are right, two changes that each spoil these will hardly undo each other
    there and nowhere else: those that do are left out.
    """
    for change in search.spared(changes) if search.mostly_right else changes:
        if (setup := search.made(change)) is not None:
            yield change, setup


def _two_sided(
    one: Element, reads: tuple[list[Change], Array], factors: tuple[list[Change], Array]
) -> Iterator[Changes]:
    """Pair every change of what is read with every change of the weights."""
    (rows, left), (columns, right) = reads, factors
    one.search.tried += len(rows) * len(columns)
    if not rows or not columns:
        return
    with np.errstate(all="ignore"):
        values = left @ right.T
        widths = [np.sqrt(np.einsum("ij,ij->i", side, side)) for side in (left, right)]
    hits = one.plausible(values, np.outer(*widths))
    yield from ((rows[k], columns[j]) for k, j in np.argwhere(hits).tolist())


def _before(
    one: Element,
    reads: tuple[list[Change], Array],
    factors: tuple[list[Change], Array],
    both: Made,
) -> Before:
    """Return every change of what is read, of the weights or of both."""
    values, sizes = zip(one.sums(reads[1], "x"), one.sums(factors[1], "w"), strict=True)
    changes = [(change,) for change in (*reads[0], *factors[0])]
    more: list[Sums] = []
    for change, setup in both:
        try:
            more.append(setup.linear(setup.origin(one.place)))
        except (IndexError, ValueError):
            continue
        changes.append((change,))
    return changes, Sums(
        np.concatenate([*values, *(sums.values for sums in more)])[:, None],
        np.concatenate([*sizes, *(sums.magnitude for sums in more)])[:, None],
        one.at,
        one.base,
    )


def _moved(one: Element, moves: Made) -> Before:
    """Return every rearrangement of the output."""
    base = one.base
    places: list[Positions] = [setup.origin(one.place) for _, setup in moves]
    if not places:
        none = np.zeros((0, 1))
        return [], Sums(none, none, one.at, base)
    at = tuple(
        np.concatenate([np.broadcast_to(place[axis], 1) for place in places])
        for axis in range(len(one.place))
    )
    sums = base.linear(at)
    rows = tuple(axis[:, None] for axis in at)
    return [(move,) for move, _ in moves], Sums(
        sums.values[:, None], sums.magnitude[:, None], rows, base
    )


def _followed(
    one: Element, before: Sequence[Changes], sums: Sums, finished: Made
) -> Iterator[Changes]:
    """Pair changes of sums with what follows them."""
    one.search.tried += len(finished) * len(before)
    if not before:
        return
    for change, setup in finished:
        try:
            found = setup.finish(sums)
        except (IndexError, ValueError):
            continue
        for row in np.flatnonzero(one.hits(found)).tolist():
            yield (*before[row], change)


def _twice_after(one: Element, finished: Made) -> Iterator[Changes]:
    """Pair changes of what follows the sum.

    Where the second one adds a stage in front or at the end, it does so for all first ones at once.
    """
    base, search = one.base, one.search
    bare = base.linear(one.at)
    early: list[tuple[Change, Sums]] = []
    late: list[tuple[Change, Setup]] = []
    others: list[Change] = []
    last: set[Change] = set()
    for change, setup in finished:
        more = len(setup.stages) - len(base.stages)
        stages: tuple[Stage, ...] = setup.stages
        if not alike(base, setup, ("stages",)) or more <= 0:
            others.append(change)
        elif stages[: len(base.stages)] == base.stages:
            late.append((change, base.but(stages=stages[len(base.stages) :])))
            if not any(isinstance(stage, (Add, Norm)) for stage in late[-1][1].stages):
                last.add(change)
        elif stages[more:] == base.stages:
            early.append((change, base.but(stages=stages[:more]).finish(bare)))
        else:
            others.append(change)
    first = [(change, setup.finish(bare)) for change, setup in finished]
    for change, other in _one_by_one(one, early, finished):
        yield other, change
    yield from _one_by_one(one, first, late)
    for change, setup in finished:
        # What changes a stage of the base does so whatever comes last: that pair was tried.
        for other in () if change in last else others:
            if other is change or other.id == change.id:
                continue
            search.tried += 1
            both = other.make(setup)
            if both is not None and one.hits(both.finish(bare)):
                yield change, other


def _one_by_one(
    one: Element, first: Sequence[tuple[Change, Sums]], later: Made
) -> Iterator[tuple[Change, Change]]:
    """Pair changes whose numbers are known with what follows them; never two of one kind."""
    if not first:
        return
    shape = first[0][1].values.shape
    rows = [
        np.stack([np.broadcast_to(part, shape) for part in parts])
        for parts in zip(*((s.values, s.magnitude, s.extra) for _, s in first), strict=True)
    ]
    sums = Sums(rows[0], rows[1], one.at, one.base, rows[2])
    for pair in _followed(one, [(change,) for change, _ in first], sums, later):
        if pair[0].id != pair[1].id:
            yield pair[0], pair[1]
