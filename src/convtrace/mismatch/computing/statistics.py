"""What the numbers of an array come to, found in one look for all who ask."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

BLOCK = 2**15
"""Numbers that stay in the processor's cache."""


@dataclass(frozen=True, eq=False)
class Statistics:
    """The ends, the mean and the spread of an array, each found when it is first asked for.

    Attributes:
        array: The array, which is not empty.
        stored: The same numbers as they were given, where that is in float32.
    """

    array: Array
    stored: Array | None = None

    @cached_property
    def _ends(self) -> tuple[float, float, float]:
        """The smallest number, the largest one, and the sum; one look at memory for all three."""
        flat, total = self.array.reshape(-1), 0.0
        low, high = math.inf, -math.inf
        with np.errstate(all="ignore"):
            for start in range(0, flat.size, BLOCK):
                some = flat[start : start + BLOCK]
                low, high = min(low, float(some.min())), max(high, float(some.max()))
                total += float(some.sum())
        return low, high, total

    @property
    def finite(self) -> bool:
        """Whether the sum is finite, so that no number is NaN or infinite."""
        return math.isfinite(self._ends[2])

    @property
    def low(self) -> float:
        """The smallest number."""
        return self._ends[0] if self.finite else float(self.array.min())

    @property
    def high(self) -> float:
        """The largest number."""
        return self._ends[1] if self.finite else float(self.array.max())

    @property
    def mean(self) -> float:
        """The mean."""
        return self._ends[2] / self.array.size

    @cached_property
    def spread(self) -> float:
        """The standard deviation."""
        flat, total = self.array.reshape(-1), 0.0
        for start in range(0, flat.size, BLOCK):
            around = flat[start : start + BLOCK] - self.mean
            total += float(np.einsum("i,i->", around, around))
        return math.sqrt(total / flat.size)

    @cached_property
    def whole(self) -> bool:
        """Whether all numbers are integers."""
        few = self.array.reshape(-1)[:256]  # fractions show soon
        with np.errstate(invalid="ignore"):
            return all(bool((np.rint(part) == part).all()) for part in (few, self.array))
