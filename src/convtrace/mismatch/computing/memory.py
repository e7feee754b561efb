"""Memory for large arrays that is used again: fresh memory costs more than what is computed in it.

The system hands memory out page by page, when it is first touched, and takes it back when an array
is gone. A diagnosis has a dozen arrays of an output's size, each of which would pay for that anew.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]

LEAST, MOST = 2**20, 2**25
"""Bytes of an array from which on, and up to which, its memory is used again."""

KEPT = 3 * 2**25
"""Bytes that are kept at most, between diagnoses as well."""

STEP = 2**21
"""Bytes of a large page; what is kept is a multiple of it, and fits arrays of similar sizes."""


class Memory:
    """Blocks of memory that arrays are laid into, each as soon as nobody looks at it any more.

    An array that is laid into a block refers to it, as do all views of the array and all tensors
    that share its numbers. A block that nothing but this list refers to is free.

    Args:
        most: Bytes that are kept at most.
    """

    def __init__(self, most: int = KEPT) -> None:
        self.most = most
        self._blocks: list[Array] = [np.empty(0, dtype=np.uint8)]
        self._lock = Lock()
        self._alone = self._references(0)
        self._blocks.clear()

    def _references(self, number: int) -> int:
        return sys.getrefcount(self._blocks[number])

    def empty(self, shape: Sequence[int], dtype: DTypeLike = np.float64) -> Array:
        """Return an array with arbitrary numbers in it, as `np.empty` does."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if not LEAST <= size <= MOST:
            return np.empty(shape, dtype=dtype)
        with self._lock:
            block = self._free(size)
            if block is None:
                return np.empty(shape, dtype=dtype)
            return block[:size].view(dtype).reshape(shape)

    def _free(self, size: int) -> Array | None:
        """Return a block for so many bytes; None where as much as may be is in use."""
        sizes = [block.size for block in self._blocks]
        fits = [
            number
            for number, room in enumerate(sizes)
            if size <= room <= 2 * size + STEP and self._references(number) == self._alone
        ]
        if fits:
            return self._blocks[min(fits, key=lambda number: sizes[number])]
        size = -(-size // STEP) * STEP
        if sum(sizes) + size > self.most:
            return None
        self._blocks.append(np.empty(size, dtype=np.uint8))
        return self._blocks[-1]


MEMORY = Memory()
"""What all diagnoses share."""


def empty(shape: Sequence[int], dtype: DTypeLike = np.float64) -> Array:
    """Return an array with arbitrary numbers in it, in memory that was used before if there is."""
    return MEMORY.empty(shape, dtype)


def wide(array: Array) -> Array:
    """Return a copy in float64."""
    found = empty(array.shape)
    with np.errstate(all="ignore"):
        found[...] = array
    return found
