"""Pairs of changes of one side: what they give at one element.

Two changes of what is read, or of the weights, are made one after the other, and no matrix product
does that for many of them. But most changes either say where taps fall (a law), or rearrange
numbers (a map), or change them (an op). One of a kind is made of all the others at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from convtrace.mismatch.computing.setup import Positions, Setup
from convtrace.mismatch.search.change import Change
from convtrace.mismatch.search.element import Element, Rows, alike, filled, more, through
from convtrace.mismatch.search.near import LAW, Laws
from convtrace.mismatch.search.slots import slot

if TYPE_CHECKING:
    from convtrace.mismatch.search.search import Changes, Search

Array = NDArray[Any]
Made = Sequence[tuple[Change, Setup]]
"""Changes, each with the setup that it makes of the base."""


@dataclass
class _Kinds:
    """Changes of one side by what they do, each with the setup that it makes of the base."""

    laws: list[tuple[Change, Setup]] = field(default_factory=list[tuple[Change, Setup]])
    maps: list[tuple[Change, Setup]] = field(default_factory=list[tuple[Change, Setup]])
    ops: list[tuple[Change, Setup]] = field(default_factory=list[tuple[Change, Setup]])
    others: list[tuple[Change, Setup]] = field(default_factory=list[tuple[Change, Setup]])


def of_weights(search: Search, made: Made) -> Iterator[Changes]:
    """Pair changes of the weights with each other, in the order in which they are usually made."""
    base, one = search.base, search.element
    rows, kinds = Rows(one, "w"), _Kinds()
    for change, setup in made:
        moves = more(base, setup, ("w_maps",)) is not None
        changes = more(base, setup, ("w_ops",)) is not None
        kind = kinds.ops if changes else kinds.maps if moves else kinds.others
        kind.append((change, setup))
    shape = (base.terms, *base.kernel)
    # All maps, then ops on the numbers that they lead to, wherever these come in the order.
    inner = [
        through(s.w_maps[len(base.w_maps) :], one.taps, base.weight.shape) for _, s in kinds.maps
    ]
    for first, setup in kinds.maps:
        later = [n for n, (second, _) in enumerate(kinds.maps) if slot(second) > slot(first)]
        for some, index in _stacked(inner, later):
            try:
                values = base.weight[through(setup.w_maps, index, base.weight.shape)]
                for op in base.w_ops:
                    values = op(values, one.taps)
            except (IndexError, ValueError):
                continue
            table = filled(values, (len(some), *shape)).reshape(len(some), -1)
            yield from rows.some([(first, kinds.maps[n][0]) for n in some], table)
    before = [change for change, _ in (*kinds.maps, *kinds.ops)]
    yield from _changed(one, "w", kinds.ops, before, one.taps)
    yield from _singly(rows, kinds.others, made)


def _stacked(
    places: Sequence[Positions], some: Sequence[int]
) -> Iterator[tuple[list[int], Positions]]:
    """Lay positions of one shape on top of each other; yield which, and the positions."""
    shapes: dict[tuple[tuple[int, ...], ...], list[int]] = {}
    for n in some:
        shapes.setdefault(tuple(np.shape(axis) for axis in places[n]), []).append(n)
    for chosen in shapes.values():
        yield (
            chosen,
            tuple(np.concatenate(axes) for axes in zip(*(places[n] for n in chosen), strict=True)),
        )


def _changed(
    one: Element, side: str, ops: Made, before: Sequence[Change], index: Positions
) -> Iterator[Changes]:
    """Make each change of numbers of the rows that other changes give.

    Args:
        one: The element.
        side: Whether the numbers are what taps read (`x`) or weights (`w`).
        ops: The changes of numbers.
        before: The other changes.
        index: Positions that the numbers come from, as the other changes leave them.
    """
    name = "x_ops" if side == "x" else "w_ops"
    known = len(getattr(one.base, name))
    changes, table = one.rows(before)
    if not changes:
        return
    ranks = np.array([slot(change) for change in changes])
    rows = Rows(one, side)
    numeric = {change for change, _ in ops}
    mapped = np.array([change not in numeric for change in changes])
    stack = table.reshape(len(changes), one.base.terms, *one.base.kernel)
    for change, setup in ops:
        rank = slot(change)
        # Of two changes of numbers, the one that comes first is made first.
        chosen = np.flatnonzero((ranks != rank) & (mapped | (ranks < rank)))
        if not len(chosen):
            continue
        values = stack if len(chosen) == len(stack) else stack[chosen]
        try:
            for op in getattr(setup, name)[known:]:
                values = op(values, index)
        except (IndexError, ValueError):
            continue
        if side == "x" and one.valid is not None:
            values = np.where(one.valid, values, _fills(one, change, changes, chosen))
        found = filled(values, (len(chosen), *stack.shape[1:])).reshape(len(chosen), -1)
        pairs = [
            (changes[n], change) if ranks[n] < rank else (change, changes[n])
            for n in chosen.tolist()
        ]
        yield from rows.some(pairs, found)


def _fills(one: Element, change: Change, others: Sequence[Change], chosen: Array) -> Array:
    """Return the padding's value with a change of numbers and each of some other changes."""
    found = [_fill(one.search, change, others[n]) for n in chosen.tolist()]
    return np.array(found).reshape(-1, *(1,) * (one.base.axes + 1))


def _fill(search: Search, left: Change, right: Change) -> float:
    """Return the value of the padding with two changes."""
    base, first, second = search.base, search.made(left), search.made(right)
    assert first is not None
    assert second is not None
    if base.fill in (first.fill, second.fill):
        return float(second.fill if first.fill == base.fill else first.fill)
    early, late = (first, right) if slot(left) < slot(right) else (second, left)
    both = late.make(early)
    return float(base.fill if both is None else both.fill)


def of_inputs(search: Search, made: Made) -> Iterator[Changes]:
    """Pair changes of what is read with each other, in the order in which they are usually made."""
    base, one = search.base, search.element
    kinds, channels = _Kinds(), []
    for change, setup in made:
        if more(base, setup, ("x_maps",)) is not None:
            kinds.maps.append((change, setup))
        elif alike(base, setup, ("x_ops", "fill", "stages")) and setup.x_ops is not base.x_ops:
            known = setup.x_ops[: len(base.x_ops)] == base.x_ops
            (kinds.ops if known else kinds.others).append((change, setup))
        elif alike(base, setup, LAW):
            kinds.laws.append((change, setup))
        elif alike(base, setup, ("reads",)):
            channels.append((change, setup))
        else:
            kinds.others.append((change, setup))
    yield from _elsewhere(search, kinds, channels)
    yield from _of_laws(search, kinds.laws)
    yield from _of_maps(search, kinds.maps, channels)
    before = [change for change, _ in (*kinds.maps, *kinds.ops)]
    yield from _changed(one, "x", kinds.ops, before, one.index)
    for change, setup in channels:
        yield from _changed(one, "x", kinds.ops, [change], setup.reached(one.at)[0])
    yield from _singly(Rows(one, "x"), kinds.others, made)


def _elsewhere(search: Search, kinds: _Kinds, channels: Made) -> Iterator[Changes]:
    """Pair every law with every change of the numbers that taps then fall on."""
    if not kinds.laws:
        return
    base, one = search.base, search.element
    near = Laws(one.at, [setup for _, setup in kinds.laws]).near(0)
    ranks = np.array([slot(change) for change, _ in kinds.laws])
    filling = np.array([setup.fill != base.fill for _, setup in kinds.laws])
    for change, setup in (*kinds.maps, *kinds.ops, *channels):
        rank = slot(change)
        try:
            values = near.numbers(setup)
        except (IndexError, ValueError):
            continue
        fill = near.fill
        if setup.fill != base.fill:
            fill = np.full(len(fill), float(setup.fill))
            for n in np.flatnonzero(filling).tolist():
                fill[n] = _fill(search, change, kinds.laws[n][0])
        paired = np.flatnonzero(ranks != rank)
        search.tried += len(paired)
        found, sizes = near.sums(values, one.factors, fill)
        for n in paired[one.plausible(found[paired], sizes[paired])].tolist():
            law = kinds.laws[n][0]
            yield (law, change) if ranks[n] < rank else (change, law)


def _of_laws(search: Search, laws: Made) -> Iterator[Changes]:
    """Pair laws with each other."""
    one, base = search.element, search.base
    pairs: list[Changes] = []
    setups: list[Setup] = []
    ranks = [slot(change) for change, _ in laws]
    for (first, setup), place in zip(laws, ranks, strict=True):
        for (second, _), rank in zip(laws, ranks, strict=True):
            if rank > place and (both := second.make(setup)) is not None:
                pairs.append((first, second))
                setups.append(both)
    if not pairs:
        return
    search.tried += len(pairs)
    near = Laws(one.at, setups).near(0)
    found = one.plausible(*near.sums(near.numbers(base), one.factors))
    yield from (pairs[n] for n in np.flatnonzero(found).tolist())


def _of_maps(search: Search, maps: Made, channels: Made) -> Iterator[Changes]:
    """Pair rearrangements of the input with each other, and with other channels that are read."""
    base, one = search.base, search.element
    rows, known = Rows(one, "x"), len(base.x_maps)
    after = [(c, through(s.x_maps[known:], one.index, base.x.shape), one.index) for c, s in maps]
    for change, setup in channels:
        index, _ = setup.reached(one.at)
        after.append((change, index, index))
    inner = [index for _, index, _ in after]
    for first, setup in maps:
        rank = slot(first)
        # Whichever comes first of a rearrangement and the channels that are read, it is the input
        # that is rearranged.
        later = [
            n
            for n, (second, _, _) in enumerate(after)
            if slot(second) > rank or (n >= len(maps) and slot(second) != rank)
        ]
        for some, index in _stacked(inner, later):
            try:
                values = base.x[through(setup.x_maps, index, base.x.shape)]
                for op in base.x_ops:
                    values = op(values, one.index)
            except (IndexError, ValueError):
                continue
            values = filled(values, (len(some), base.terms, *base.kernel))
            if one.valid is not None:
                values = np.where(one.valid, values, base.fill)
            pairs = [
                (first, after[n][0]) if rank < slot(after[n][0]) else (after[n][0], first)
                for n in some
            ]
            yield from rows.some(pairs, values.reshape(len(some), -1))


def _singly(rows: Rows, others: Made, made: Made) -> Iterator[Changes]:
    """Pair changes that are of no kind with all of their side, one pair at a time."""
    one, odd = rows.one, {change for change, _ in others}
    for change, setup in others:
        for other, own in made:
            early, late = slot(change), slot(other)
            if early == late or (other in odd and early > late):
                continue
            pair = (change, other) if early < late else (other, change)
            both = pair[1].make(setup if early < late else own)
            if both is None:
                continue
            try:
                found = both.read(one.at) if rows.side == "x" else both.factors(one.at[1])
            except (IndexError, ValueError):
                continue
            if found.size == one.read.size:
                yield from rows.add(pair, found)
    yield from rows.judged()
