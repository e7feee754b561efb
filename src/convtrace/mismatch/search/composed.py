"""Pairs of changes of one side: what they give at one element, a row for each pair.

Two changes of what is read, or of the weights, are made one after the other, and no matrix product
does that for many of them. But where one of them only moves or changes numbers, the positions that
the other one leads to serve for all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from convtrace.mismatch.computing.setup import Map, Positions, Setup
from convtrace.mismatch.computing.stages import Sums
from convtrace.mismatch.search.change import Change
from convtrace.mismatch.search.slots import slot

if TYPE_CHECKING:
    from convtrace.mismatch.search.search import Changes, Search

Array = NDArray[Any]
Made = Sequence[tuple[Change, Setup]]
"""Changes, each with the setup that it makes of the base."""

FULL = 2**18
"""Numbers of rows that are judged together: more would leave the processor's cache."""


class _Rows:
    """Pairs with their numbers, judged so many at a time.

    Args:
        search: The search.
        at: The element, followed back through rearrangements of the output.
        other: What the rows are multiplied by, `(terms,)`.
    """

    def __init__(self, search: Search, at: Positions, other: Array) -> None:
        self.search, self.at, self.other = search, at, other
        self.pairs: list[Changes] = []
        self.numbers: list[Array] = []

    def add(self, pair: Changes, numbers: Array) -> Iterator[Changes]:
        """Add a pair; yield those that may reproduce the element as soon as they are judged."""
        self.search.tried += 1
        self.pairs.append(pair)
        self.numbers.append(numbers.reshape(-1))
        if len(self.pairs) * self.other.size >= FULL:
            yield from self.judged()

    def judged(self) -> Iterator[Changes]:
        """Yield the pairs that may reproduce the element, of those that were not judged yet."""
        pairs, rows = self.pairs, self.numbers
        self.pairs, self.numbers = [], []
        if not pairs:
            return
        table = np.stack(rows)
        with np.errstate(all="ignore"):
            values, magnitude = table @ self.other, np.abs(table) @ np.abs(self.other)
        hits = _plausible(self.search, values, magnitude, self.at)
        yield from (pairs[row] for row in np.flatnonzero(hits).tolist())


def _plausible(search: Search, values: Array, magnitude: Array, at: Positions) -> Array:
    """Tell which rows may reproduce the first element of the sample."""
    base = search.base
    sums = base.finish(Sums(values[:, None], magnitude[:, None], at, base))
    with np.errstate(all="ignore"):
        found = search.judge.plausible(sums, search.targets[0][:1])
    return np.asarray(np.broadcast_to(found, (len(values), 1))[:, 0])


def _first(search: Search) -> Positions:
    return tuple(axis[:1] for axis in search.samples[0])


def _more(base: Setup, setup: Setup, names: tuple[str, ...]) -> tuple[tuple[Any, ...], ...] | None:
    """Return what a setup appends to fields of the base; None where it changes anything else."""
    for name, value in vars(setup).items():
        before = getattr(base, name)
        if name not in names:
            if value is not before:
                return None
        elif value[: len(before)] != before:
            return None
    return tuple(getattr(setup, name)[len(getattr(base, name)) :] for name in names)


def _through(steps: Sequence[Map], index: Positions, shape: tuple[int, ...]) -> Positions:
    for step in reversed(steps):
        index = step(index, shape)
    return index


class Element:
    """What the base reads at the first element of the sample, found once for all changes.

    Args:
        search: The search.
    """

    def __init__(self, search: Search) -> None:
        self.base = base = search.base
        self.at = base.origin(_first(search))
        self.index, self.valid = base.reached(self.at)
        self.values = base.x[base.moved(self.index)]
        self.taps = base.taps(self.at[1])
        self.weights = base.weight[_through(base.w_maps, self.taps, base.weight.shape)]
        self.read, self.factors = base.read(self.at)[0], base.factors(self.at[1])[0]

    def read_by(self, setup: Setup) -> Array:
        """Return what the taps of a setup read."""
        if not _alike(self.base, setup, ("x_maps", "x_ops", "fill")):
            return setup.read(self.at)
        values = self.values
        if setup.x_maps is not self.base.x_maps:
            values = setup.x[setup.moved(self.index)]
        for op in setup.x_ops:
            values = op(values, self.index)
        return setup.laid(values, self.valid)

    def factors_by(self, setup: Setup) -> Array:
        """Return the weights of a setup."""
        if not _alike(self.base, setup, ("w_maps", "w_ops")):
            return setup.factors(self.at[1])
        values = self.weights
        if setup.w_maps is not self.base.w_maps:
            values = setup.weight[_through(setup.w_maps, self.taps, setup.weight.shape)]
        for op in setup.w_ops:
            values = op(values, self.taps)
        shape = (1, setup.terms, *setup.kernel)
        return values if values.size == self.read.size else np.broadcast_to(values, shape)


def _alike(left: Setup, right: Setup, but: tuple[str, ...]) -> bool:
    """Whether two setups are the same but for some fields."""
    mine = vars(left)
    return all(mine[name] is value or name in but for name, value in vars(right).items())


def of_one(search: Search, candidates: Sequence[Change]) -> Iterator[Change]:
    """Yield the changes of what is read, or of the weights, that may reproduce the element.

    Also those for which it takes more than a row to tell.
    """
    one = Element(search)
    rows = {"x": _Rows(search, one.at, one.factors), "w": _Rows(search, one.at, one.read)}
    for change in candidates:
        if change.side not in rows:
            yield change
            continue
        setup = change.make(one.base)
        if setup is None:
            continue
        if setup.stages is not one.base.stages or setup.y_maps is not one.base.y_maps:
            yield change
            continue
        try:
            numbers = one.read_by(setup) if change.side == "x" else one.factors_by(setup)
        except (IndexError, ValueError):
            continue  # the change does not suit these shapes
        for (found,) in rows[change.side].add((change,), numbers):
            yield found
    for side in rows.values():
        for (found,) in side.judged():
            yield found


def of_outputs(search: Search, made: Mapping[str, Made]) -> Iterator[Changes]:
    """Pair every rearrangement of the output with every change of input and weights."""
    base, at = search.base, _first(search)
    moves = [(move, setup.origin(at)) for move, setup in made["y"]]
    if not moves:
        return
    places = tuple(
        np.concatenate([np.broadcast_to(origin[axis], 1) for _, origin in moves])
        for axis in range(len(at))
    )
    read, factors = base.read(places), base.factors(places[1])
    for side in ("x", "w"):
        for change, setup in made[side]:
            search.tried += len(moves)
            try:
                left = setup.read(places) if side == "x" else read
                right = factors if side == "x" else setup.factors(places[1])
            except (IndexError, ValueError):
                continue
            with np.errstate(all="ignore"):
                products = left * right
                sums = Sums(products.sum(1), np.abs(products).sum(1), places, base)
                found = search.judge.plausible(base.finish(sums), search.targets[0][:1])
            for row in np.flatnonzero(np.broadcast_to(found, len(moves))).tolist():
                yield change, moves[row][0]


def of_weights(search: Search, made: Made) -> Iterator[Changes]:
    """Pair changes of the weights with each other, in the order in which they are usually made."""
    base = search.base
    at = base.origin(_first(search))
    index, shape = base.taps(at[1]), (base.terms, *base.kernel)
    rows = _Rows(search, at, base.read(at)[0])
    plain = [(c, s, slot(c), _more(base, s, ("w_maps", "w_ops"))) for c, s in made]
    for second, _, rank, later in plain:
        inner = None if later is None else _through(later[0], index, base.weight.shape)
        for first, setup, place, sooner in plain:
            if rank <= place:
                continue
            try:
                if inner is not None and later is not None and sooner is not None:
                    values = base.weight[_through(setup.w_maps, inner, base.weight.shape)]
                    for op in (*setup.w_ops, *later[1]):
                        values = op(values, index)
                    numbers = values
                    if values.size != rows.other.size:
                        numbers = np.broadcast_to(values, (1, *shape))
                elif (both := second.make(setup)) is not None:
                    numbers = both.factors(at[1])
                else:
                    continue
            except (IndexError, ValueError):
                continue
            yield from rows.add((first, second), numbers)
    yield from rows.judged()


def of_inputs(search: Search, made: Made) -> Iterator[Changes]:
    """Pair changes of what is read with each other, in the order in which they are usually made."""
    base = search.base
    at = base.origin(_first(search))
    rows = _Rows(search, at, base.factors(at[1])[0])
    maps: list[tuple[Change, Setup]] = []
    numbers: list[tuple[Change, Setup]] = []
    laws: list[tuple[Change, Setup]] = []
    for change, setup in made:
        moves = _more(base, setup, ("x_maps",)) is not None
        changes = _more(base, setup, ("x_ops",)) is not None
        (numbers if changes else maps if moves else laws).append((change, setup))
    for change, setup in (*laws, *maps):
        yield from _with_numbers(rows, base, (change, setup), numbers, at)
    for change, setup in (*laws, *maps):
        yield from _with_maps(rows, base, (change, setup), maps, at)
    for lists in (laws, numbers):
        ranks = [slot(change) for change, _ in lists]
        for (first, setup), place in zip(lists, ranks, strict=True):
            for (second, _), rank in zip(lists, ranks, strict=True):
                if rank > place and (both := second.make(setup)) is not None:
                    try:
                        found = both.read(at)
                    except (IndexError, ValueError):
                        continue
                    yield from rows.add((first, second), found)
    yield from rows.judged()


def _with_numbers(
    rows: _Rows, base: Setup, one: tuple[Change, Setup], numbers: Made, at: Positions
) -> Iterator[Changes]:
    """Pair a change of positions with changes of the numbers that are read there."""
    place, setup = one
    try:
        values, index, valid = setup.gather(at)
    except (IndexError, ValueError):
        return
    more = setup.x_ops[len(base.x_ops) :]
    mine = slot(place)
    for change, changed in numbers:
        if (rank := slot(change)) == mine:
            continue
        mine_first = (*setup.x_ops, *changed.x_ops[len(base.x_ops) :])
        found = values
        for op in (*changed.x_ops, *more) if rank < mine else mine_first:
            found = op(found, index)
        pair = (change, place) if rank < mine else (place, change)
        # Numbers may be changed before or after padding is laid around them.
        yield from rows.add(pair, setup.laid(found, valid))


def _with_maps(
    rows: _Rows, base: Setup, one: tuple[Change, Setup], maps: Made, at: Positions
) -> Iterator[Changes]:
    """Pair a change of positions with rearrangements of the input."""
    place, setup = one
    try:
        index, valid = setup.reached(at)
        inner = _through(setup.x_maps[len(base.x_maps) :], index, setup.x.shape)
        mine, law = slot(place), _more(base, setup, ("x_maps",)) is None
        for change, changed in maps:
            if (rank := slot(change)) < mine:
                source = _through(changed.x_maps, inner, setup.x.shape)
                pair = (change, place)
            elif law and rank > mine:
                more = changed.x_maps[len(base.x_maps) :]
                source = setup.moved(_through(more, index, setup.x.shape))
                pair = (place, change)
            else:
                continue
            values = setup.x[source]
            for op in setup.x_ops:
                values = op(values, index)
            yield from rows.add(pair, setup.laid(values, valid))
    except (IndexError, ValueError):
        return
