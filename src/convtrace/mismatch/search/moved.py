"""Pairs of a rearrangement of the output and a change of what is read, or of the weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from convtrace.mismatch.computing.setup import Positions, Setup
from convtrace.mismatch.computing.stages import Sums
from convtrace.mismatch.search.change import Change
from convtrace.mismatch.search.element import alike, filled, through
from convtrace.mismatch.search.near import LAW, Laws

if TYPE_CHECKING:
    from convtrace.mismatch.search.search import Changes, Search

Array = NDArray[Any]
Made = Sequence[tuple[Change, Setup]]


class _Moved:
    """Where the numbers of the first element come from, after each rearrangement of the output.

    Args:
        search: The search.
        moves: The rearrangements.
    """

    def __init__(self, search: Search, moves: Made) -> None:
        self.search, self.base = search, search.base
        self.moves = [move for move, _ in moves]
        origins = [setup.origin(search.element.place) for _, setup in moves]
        base = self.base
        self.at: Positions = tuple(
            np.concatenate([np.broadcast_to(origin[axis], 1) for origin in origins])
            for axis in range(base.axes + 2)
        )
        # Many rearrangements lead to one channel.
        self.channels, self.which = np.unique(self.at[1], return_inverse=True)
        self.index, self.valid = base.reached(self.at)
        self.values = base.x[base.moved(self.index)]
        self.taps = base.taps(self.channels)
        self.weights = base.weight[through(base.w_maps, self.taps, base.weight.shape)]
        self.read, self.factors = base.read(self.at), base.factors(self.channels)
        self.widths = _widths(self.read), _widths(self.factors)

    def with_read(self, change: Change, setup: Setup) -> Iterator[Changes]:
        """Pair a change of what is read with the rearrangements."""
        base, shape = self.base, (len(self.moves), self.base.terms, *self.base.kernel)
        if alike(base, setup, ("x_maps", "x_ops", "fill")):
            values = self.values
            if setup.x_maps is not base.x_maps:
                values = setup.x[setup.moved(self.index)]
            for op in setup.x_ops:
                values = op(values, self.index)
            read = setup.laid(filled(values, shape), self.valid)
        else:
            read = setup.read(self.at)
        sizes = _widths(read) * self.widths[1][self.which]
        yield from self._found(change, _products(read, self.factors[self.which]), sizes)

    def with_factors(self, change: Change, setup: Setup) -> Iterator[Changes]:
        """Pair a change of the weights with the rearrangements."""
        base, shape = self.base, (len(self.channels), self.base.terms, *self.base.kernel)
        if alike(base, setup, ("w_maps", "w_ops")):
            values = self.weights
            if setup.w_maps is not base.w_maps:
                values = setup.weight[through(setup.w_maps, self.taps, setup.weight.shape)]
            for op in setup.w_ops:
                values = op(values, self.taps)
            factors = filled(values, shape).reshape(len(self.channels), -1)
        else:
            factors = setup.factors(self.channels)
        sizes = self.widths[0] * _widths(factors)[self.which]
        yield from self._found(change, _products(self.read, factors[self.which]), sizes)

    def with_laws(self, laws: Made) -> Iterator[Changes]:
        """Pair changes of where taps fall with the rearrangements."""
        if not laws:
            return
        base, one = self.base, self.search.element
        seen = Laws(self.at, [setup for _, setup in laws])
        self.search.tried += len(laws) * len(self.moves)
        for number, move in enumerate(self.moves):
            near = seen.near(number)
            factors = self.factors[self.which[number]]
            found, sizes = near.sums(near.numbers(base), factors)
            hits = one.plausible(found, sizes, near.at)
            yield from ((laws[n][0], move) for n in np.flatnonzero(hits).tolist())

    def _found(self, change: Change, values: Array, sizes: Array) -> Iterator[Changes]:
        self.search.tried += len(self.moves)
        with np.errstate(all="ignore"):
            sums = self.base.finish(Sums(values, sizes, self.at, self.base))
            found = self.search.judge.plausible(sums, self.search.element.target)
        for row in np.flatnonzero(np.broadcast_to(found, len(self.moves))).tolist():
            yield change, self.moves[row]


def of_outputs(search: Search, made: Mapping[str, Made]) -> Iterator[Changes]:
    """Pair every rearrangement of the output with every change of input and weights."""
    if not made["y"]:
        return
    base, moved = search.base, _Moved(search, made["y"])
    laws = [(c, s) for c, s in made["x"] if alike(base, s, LAW)]
    yield from moved.with_laws(laws)
    taken = {change for change, _ in laws}
    for side, pair in (("x", moved.with_read), ("w", moved.with_factors)):
        for change, setup in made[side]:
            if change in taken:
                continue
            try:
                yield from pair(change, setup)
            except (IndexError, ValueError):
                continue  # the change does not suit these shapes


def _widths(rows: Array) -> Array:
    with np.errstate(all="ignore"):
        return np.sqrt(np.einsum("ij,ij->i", rows, rows))


def _products(left: Array, right: Array) -> Array:
    with np.errstate(all="ignore"):
        return np.einsum("ij,ij->i", left, right)
