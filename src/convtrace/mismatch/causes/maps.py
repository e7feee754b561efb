"""Maps of positions that causes are made of."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from convtrace.mismatch.computing.setup import Map, Positions

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


def misread(axes: tuple[int, ...], *, stored: bool) -> Map:
    """Read memory in the wrong order of axes: a reshape where a transposition was needed.

    Args:
        axes: The other order.
        stored: True: the numbers lie in memory in the other order, and are read as if in the right
            one, `old.transpose(axes).reshape(shape)`. False: they lie in the right order and are
            read as if in the other one, `old.reshape(shape[axes]).transpose(inverse)`.
    """
    inverse = tuple(int(a) for a in np.argsort(axes))

    def step(index: Positions, shape: tuple[int, ...]) -> Positions:
        other = tuple(shape[a] for a in axes)
        if stored:
            place = unravel(ravel(index, shape), other)
            return tuple(place[a] for a in inverse)
        return unravel(ravel(tuple(index[a] for a in axes), other), shape)

    return step


def ravel(index: Positions, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the places in memory of positions."""
    flat = np.zeros((), dtype=np.int64)
    for axis, place in enumerate(index):
        flat = flat + place * math.prod(shape[axis + 1 :])
    return flat


def unravel(flat: NDArray[np.int64], shape: tuple[int, ...]) -> Positions:
    """Return the positions of places in memory."""
    found: list[NDArray[np.int64]] = []
    for size in reversed(shape):
        found.append(flat % size)
        flat = flat // size
    return tuple(reversed(found))
