"""One element of the output: what single changes make of it, found once for all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np
from numpy.typing import NDArray

from convtrace.mismatch.computing.memory import empty
from convtrace.mismatch.computing.setup import Map, Op, Positions, Setup
from convtrace.mismatch.computing.stages import Sums
from convtrace.mismatch.search.change import Change

if TYPE_CHECKING:
    from convtrace.mismatch.search.search import Changes, Search

Array = NDArray[Any]

FULL = 2**18
"""Numbers of rows that are judged together: more would leave the processor's cache."""


class Element:
    """What the base reads at one element, and what changes make of it.

    Args:
        search: The search.
        place: Position of the element, one array `(1,)` for each axis.
    """

    def __init__(self, search: Search, place: Positions) -> None:
        self._search, self.base, self.place = ref(search), search.base, place
        self.target = search.judge.observed[place]
        base = search.base
        self.at = base.origin(self.place)
        self.index, self.valid = base.reached(self.at)
        self.values = base.x[base.moved(self.index)]
        self.taps = base.taps(self.at[1])
        self.weights = base.weight[through(base.w_maps, self.taps, base.weight.shape)]
        self.read, self.factors = base.read(self.at)[0], base.factors(self.at[1])[0]
        self.width = float(np.linalg.norm(self.read)), float(np.linalg.norm(self.factors))
        self._rows: dict[Change, Array | None] = {}
        self._changed: dict[tuple[Any, ...], Array] = {}

    @property
    def search(self) -> Search:
        """The search, which is not kept alive: whatever it holds has to go when it is over."""
        found = self._search()
        assert found is not None
        return found

    def row(self, change: Change) -> Array | None:
        """Return what taps read, or the weights, with a change of the one or the other.

        None where the change does not suit these shapes.
        """
        if change not in self._rows:
            self.rows((change,))
        return self._rows[change]

    def _read_by(self, setup: Setup) -> Array:
        """Return what the taps of a setup read."""
        if not alike(self.base, setup, ("x_maps", "x_ops", "fill", "stages")):
            return setup.read(self.at)
        if setup.x_maps is self.base.x_maps:
            values = self._after("x", self.values, setup.x_ops, self.index)
        else:
            values = setup.x[setup.moved(self.index)]
            for op in setup.x_ops:
                values = op(values, self.index)
        return setup.laid(values, self.valid)

    def _after(self, side: str, values: Array, ops: tuple[Op, ...], index: Positions) -> Array:
        """Return what operations make of what the base reads, or of its weights.

        They are done once: inputs and weights that are rounded are candidates alone and together.
        """
        key = (side, *ops)
        if key not in self._changed:
            for op in ops:
                values = op(values, index)
            self._changed[key] = values
        return self._changed[key]

    def _factors_by(self, setup: Setup) -> Array:
        """Return the weights of a setup."""
        if not alike(self.base, setup, ("w_maps", "w_ops", "stages")):
            return setup.factors(self.at[1])
        if setup.w_maps is self.base.w_maps:
            values = self._after("w", self.weights, setup.w_ops, self.taps)
        else:
            values = setup.weight[through(setup.w_maps, self.taps, setup.weight.shape)]
            for op in setup.w_ops:
                values = op(values, self.taps)
        return filled(values, (1, setup.terms, *setup.kernel))

    def bare(self, setup: Setup) -> Sums:
        """Return the bare sum of a setup that has other operands, or none but the base's."""
        base, read, factors = self.base, self.read, self.factors
        if not alike(base, setup, ("w_maps", "w_ops", "stages")):
            read = self._read_by(setup.but(w_maps=base.w_maps, w_ops=base.w_ops)).reshape(-1)
        if not alike(base, setup, ("x_maps", "x_ops", "fill", "stages")):
            changed = setup.but(x_maps=base.x_maps, x_ops=base.x_ops, fill=base.fill)
            factors = self._factors_by(changed).reshape(-1)
        with np.errstate(all="ignore"):
            products = read * factors
            return Sums(products.sum()[None], np.abs(products).sum()[None], self.at, setup)

    @cached_property
    def alone(self) -> Sums:
        """The bare sum of the base."""
        return self.bare(self.base)

    @cached_property
    def done(self) -> Sums:
        """What the base makes of it."""
        return self.base.finish(self.alone)

    def rows(self, changes: Sequence[Change]) -> tuple[list[Change], Array]:
        """Return the changes of one side that suit these shapes, and a row for each."""
        table, suited = empty((len(changes), self.read.size)), list[Change]()
        for change in changes:
            row = table[len(suited)]
            if change in self._rows:
                if (known := self._rows[change]) is None:
                    continue
                row[:] = known
            else:
                self._rows[change] = None
                if not self._laid(change, row):
                    continue
                self._rows[change] = row
            suited.append(change)
        return suited, table[: len(suited)]

    def _laid(self, change: Change, row: Array) -> bool:
        """Lay what taps read, or the weights, with a change into a row; tell whether it fits."""
        setup = self.search.made(change)
        if setup is None:
            return False
        try:
            found = self._read_by(setup) if change.side == "x" else self._factors_by(setup)
        except (IndexError, ValueError):
            return False
        if found.size != row.size:
            return False
        row[:] = found.reshape(-1)
        return True

    def sums(self, rows: Array, side: str) -> tuple[Array, Array]:
        """Return the sums of rows, and Σ|w·x| or a little more than that."""
        other, width = (self.factors, self.width[1]) if side == "x" else (self.read, self.width[0])
        with np.errstate(all="ignore"):
            return rows @ other, np.sqrt(np.einsum("ij,ij->i", rows, rows)) * width

    def plausible(self, values: Array, magnitude: Array, at: Positions | None = None) -> Array:
        """Tell which sums may reproduce the element, by what follows them in the base.

        Args:
            values: The sums.
            magnitude: Σ|w·x| of each, or more.
            at: Where they come from, where that is elsewhere.
        """
        sums = Sums(values[..., None], magnitude[..., None], at or self.at, self.base)
        return self.hits(self.base.finish(sums))

    def hits(self, sums: Sums) -> Array:
        """Tell which numbers, the last axis being one long, may reproduce the element."""
        with np.errstate(all="ignore"):
            found = self.search.judge.plausible(sums, self.target)
        return np.broadcast_to(found, sums.values.shape)[..., 0]


class Rows:
    """Pairs of changes of one side, each with its numbers, judged many at a time.

    Args:
        one: The element.
        side: Whether the numbers are what taps read (`x`) or weights (`w`).
    """

    def __init__(self, one: Element, side: str) -> None:
        self.one, self.side = one, side
        self.pairs: list[Changes] = []
        self.numbers: list[Array] = []

    def add(self, pair: Changes, numbers: Array) -> Iterator[Changes]:
        """Add a pair; yield those that may reproduce the element as soon as they are judged."""
        self.one.search.tried += 1
        self.pairs.append(pair)
        self.numbers.append(numbers.reshape(-1))
        if len(self.pairs) * numbers.size >= FULL:
            yield from self.judged()

    def judged(self) -> Iterator[Changes]:
        """Yield the pairs that may reproduce the element, of those that were not judged yet."""
        pairs, rows = self.pairs, self.numbers
        self.pairs, self.numbers = [], []
        if pairs:
            yield from self.some(pairs, np.stack(rows), counted=True)

    def some(
        self, pairs: Sequence[Changes], table: Array, *, counted: bool = False
    ) -> Iterator[Changes]:
        """Yield the pairs that may reproduce the element, whose numbers are rows of a table."""
        if not counted:
            self.one.search.tried += len(pairs)
        found = self.one.plausible(*self.one.sums(table, self.side))
        yield from (pairs[row] for row in np.flatnonzero(found).tolist())


def through(steps: Sequence[Map], index: Positions, shape: tuple[int, ...]) -> Positions:
    """Follow positions back through rearrangements."""
    for step in reversed(steps):
        index = step(index, shape)
    return index


def filled(values: Array, shape: tuple[int, ...]) -> Array:
    """Return numbers in their shape, where they were given for some axes only."""
    return values if values.shape == shape else np.broadcast_to(values, shape)


def alike(left: Setup, right: Setup, but: tuple[str, ...]) -> bool:
    """Whether two setups are the same but for some fields."""
    mine = vars(left)
    for name, value in vars(right).items():  # a generator would take twice as long
        if mine[name] is not value and name not in but:
            return False
    return True


def more(base: Setup, setup: Setup, names: tuple[str, ...]) -> tuple[tuple[Any, ...], ...] | None:
    """Return what a setup appends to fields of the base; None where it changes anything else."""
    for name, value in vars(setup).items():
        before = getattr(base, name)
        if name not in names:
            if value is not before:
                return None
        elif value[: len(before)] != before:
            return None
    return tuple(getattr(setup, name)[len(getattr(base, name)) :] for name in names)
