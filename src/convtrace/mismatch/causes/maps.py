"""Maps of positions that causes are made of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.mismatch.computing.setup import Map, Positions
from convtrace.mismatch.computing.stages import Sums
from convtrace.mismatch.computing.taking import total

SPATIAL = {1: ("columns",), 2: ("rows", "columns"), 3: ("depth", "rows", "columns")}
"""Names of the spatial axes."""


def axis_names(count: int) -> tuple[str, ...]:
    """Return the names of the spatial axes; the catalogue has their words."""
    return SPATIAL.get(count, tuple(f"axis {n}" for n in range(count)))


def reverse(axes: tuple[int, ...]) -> Map:
    """Count backwards on some axes."""

    def step(index: Positions, shape: tuple[int, ...]) -> Positions:
        return tuple(shape[a] - 1 - i if a in axes else i for a, i in enumerate(index))

    return step


def roll(axis: int, by: int) -> Map:
    """Count from another beginning on one axis, and around its end."""

    def step(index: Positions, shape: tuple[int, ...]) -> Positions:
        return tuple((i + by) % shape[a] if a == axis else i for a, i in enumerate(index))

    return step


def order(axis: int, places: NDArray[np.int64]) -> Map:
    """Take the numbers of one axis from given places."""

    def step(index: Positions, shape: tuple[int, ...]) -> Positions:
        return tuple(places[i] if a == axis else i for a, i in enumerate(index))

    return step


def only(axis: int, place: int) -> Map:
    """Take all numbers of one axis from one place."""

    def step(index: Positions, shape: tuple[int, ...]) -> Positions:
        return tuple(0 * i + place % shape[a] if a == axis else i for a, i in enumerate(index))

    return step


def permute(axes: tuple[int, ...]) -> Map:
    """Swap axes of equal size: the new array is `old.transpose(axes)`."""

    def step(index: Positions, shape: tuple[int, ...]) -> Positions:
        found = list(index)
        for new, old in enumerate(axes):
            found[old] = index[new]
        return tuple(found)

    return step


@dataclass(frozen=True, eq=False)
class Misread:
    """Memory read in the wrong order of axes: a reshape where a transposition was needed.

    Attributes:
        axes: The other order.
        stored: True: the numbers lie in memory in the other order, and are read as if in the right
            one, `old.transpose(axes).reshape(shape)`. False: they lie in the right order and are
            read as if in the other one, `old.reshape(shape[axes]).transpose(inverse)`.
    """

    axes: tuple[int, ...]
    stored: bool

    @cached_property
    def inverse(self) -> tuple[int, ...]:
        """The order of axes that undoes the other one."""
        return tuple(self.axes.index(a) for a in range(len(self.axes)))

    def __call__(self, index: Positions, shape: tuple[int, ...]) -> Positions:
        """Return where numbers came from."""
        other = tuple(shape[a] for a in self.axes)
        if self.stored:
            place = unravel(ravel(index, shape), other)
            return tuple(place[a] for a in self.inverse)
        return unravel(ravel(tuple(index[a] for a in self.axes), other), shape)

    def whole(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return all numbers of an array as they are read."""
        if self.stored:
            return array.transpose(self.axes).reshape(array.shape)
        other = tuple(array.shape[a] for a in self.axes)
        return array.reshape(other).transpose(self.inverse)


def packed(block: int, *, stored: bool) -> Map:
    """Read memory as if channels lay in blocks, behind the spatial axes, or as if they did not.

    Args:
        block: Channels of a block.
        stored: True: they do, and are read as if they did not. False: the other way round.
    """

    def step(index: Positions, shape: tuple[int, ...]) -> Positions:
        other = (shape[0], shape[1] // block, *shape[2:], block)
        if stored:
            n, c, *places, within = unravel(ravel(index, shape), other)
            return (n, c * block + within, *places)
        n, c, *places = index
        return unravel(ravel((n, c // block, *places, c % block), other), shape)

    return step


def pitch(length: int) -> Map:
    """Read rows as if they were of another length than they are, the last two axes being these."""

    def step(index: Positions, shape: tuple[int, ...]) -> Positions:
        *rest, row, column = index
        first = ravel((*rest, 0 * row, 0 * column), shape)
        return unravel((first + row * length + column) % math.prod(shape), shape)

    return step


def blanked(sums: Sums, where: NDArray[np.bool_]) -> Sums:
    """Return sums that are nothing in some places; nothing has no rounding."""
    return sums.to(
        np.where(where, 0.0, sums.values),
        np.where(where, 0.0, sums.magnitude),
        np.where(where, 0.0, sums.extra),
    )


def divisors(count: int) -> list[int]:
    """Return what divides a number, but 1 and itself.

    Example:
        >>> divisors(12)
        [2, 3, 4, 6]
    """
    return [n for n in range(2, count // 2 + 1) if count % n == 0]


def ravel(index: Positions, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the places in memory of positions."""
    return total([place * math.prod(shape[axis + 1 :]) for axis, place in enumerate(index)])


def unravel(flat: NDArray[np.int64], shape: tuple[int, ...]) -> Positions:
    """Return the positions of places in memory."""
    found: list[NDArray[np.int64]] = []
    for size in reversed(shape):
        rest = flat // size
        found.append(flat - rest * size)  # a remainder takes longer than a product
        flat = rest
    return tuple(reversed(found))
