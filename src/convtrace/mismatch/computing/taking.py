"""Numbers of an array by their positions: what fancy indexing takes, at a fraction of its price."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def taken(array: Array, index: tuple[Array, ...]) -> Array:
    """Return `array[index]` for an index of integer arrays, one for each axis.

    Places in memory are computed first, which is soon done where indices are mostly broadcast.

    Raises:
        IndexError: A position is outside the array.

    Example:
        >>> taken(np.arange(6).reshape(2, 3), (np.array([[0], [1]]), np.array([2, 0]))).tolist()
        [[2, 0], [5, 3]]
    """
    if not array.flags.c_contiguous or len(index) != array.ndim or not array.size:
        return array[index]
    parts: list[Array] = []
    step = array.size
    for size, axis in zip(array.shape, index, strict=True):
        if not axis.size or axis.dtype.kind not in "iu" or int(axis.min()) < 0:
            return array[index]
        if int(axis.max()) >= size:
            raise IndexError(f"position {int(axis.max())} is outside an axis of {size}")
        step //= size
        parts.append(axis * step if step > 1 else axis)
    return np.take(array.reshape(-1), total(parts))


def total(parts: Sequence[Array]) -> Array:
    """Return the sum of integers that broadcast, the small ones first.

    Only the last sum is then as large as all of it.
    """
    first, *rest = sorted(parts, key=lambda part: part.size)
    for part in rest:
        first = first + part
    return first


def through(array: Array, maps: Sequence[Any]) -> Array | None:
    """Return an array after rearrangements; None where one of them knows single positions only.

    Args:
        array: The array.
        maps: Maps of positions; those with a method `whole` rearrange an array at once as well.
    """
    if not all(hasattr(step, "whole") for step in maps):
        return None
    for step in maps:
        array = step.whole(array)
    return array


def laid_out(array: Array, index: tuple[Array, ...]) -> Array | None:
    """Return `array[index]` as a view, where the axes are only turned, swapped, cut or thinned out.

    Returns:
        The view; None where it takes more than that, or positions are negative.

    Example:
        >>> laid_out(np.arange(6).reshape(2, 3), np.ix_([1, 0], [0, 2])).tolist()
        [[3, 5], [0, 2]]
    """
    dims = len(index)
    if dims != array.ndim or any(axis.ndim != dims for axis in index):
        return None
    to: list[int] = []
    slices: list[slice] = []
    for size, axis in zip(array.shape, index, strict=True):
        long = [d for d in range(dims) if axis.shape[d] > 1]
        if len(long) > 1:
            return None
        if not axis.size:
            return None
        row = axis.reshape(-1)
        first, last = int(row[0]), int(row[-1])
        step = int(row[1]) - first if len(row) > 1 else 1
        if step == 0 or min(first, last) < 0 or max(first, last) >= size:
            return None
        if len(row) > 1 and not (np.diff(row) == step).all():
            return None
        end = last + (1 if step > 0 else -1)
        slices.append(slice(first, None if end < 0 else end, step))
        to.append(long[0] if long else -1)
    free = [d for d in range(dims) if d not in to]
    order = [d if d >= 0 else free.pop(0) for d in to]
    if sorted(order) != list(range(dims)):
        return None
    return array[tuple(slices)].transpose([order.index(d) for d in range(dims)])
