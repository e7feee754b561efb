"""What the residual of the right setup says: whether a candidate explains it, and how surely."""

from __future__ import annotations

import math
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.mismatch.judging.elements import BLOCK, Compared, sums_up

Array = NDArray[Any]

MOST_BITS = 24.0
"""Bits that one element can tell."""

ENOUGH_ELEMENTS = 4096
"""Elements that evidence is counted on; more would not change what it says."""

LEFT = 0.25
"""Share of the squares of the wrong elements' residuals that an explanation may leave."""


class Evidence:
    """The wrong elements and their residuals.

    Args:
        observed: The observed output.
        residual: Observed - right, of all elements.
        wrong: Which elements are wrong.
        badness: How wrong each is.
        furthest: Place of the largest badness among all elements in a row, where it is known.
    """

    def __init__(
        self,
        observed: Array,
        residual: Array,
        wrong: Array,
        badness: Array,
        furthest: int | None = None,
    ) -> None:
        self.observed, self.residual = observed, residual
        self.wrong, self.badness = wrong, badness
        self._furthest = furthest

    @cached_property
    def furthest(self) -> int:
        """Place of the largest ratio, which may be NaN or infinite."""
        return int(np.argmax(self.badness)) if self._furthest is None else self._furthest

    @property
    def _worst(self) -> int:
        """Place of the largest ratio that is a number."""
        ratio = self.badness.reshape(-1)
        if math.isfinite(ratio[self.furthest]):
            return self.furthest  # a NaN, or an infinity, would have come first
        return int(np.argmax(np.where(np.isfinite(ratio), ratio, -1.0)))

    def explains(self, result: Compared) -> bool:
        """Whether a candidate takes most of the residual away, and not only allows for it."""
        if result.finite and self._explained(result.left):
            return True
        if result.finite and self.squares is not None:
            before, around = self.squares
            left = result.left  # of all elements, which is no less than of those that are wrong
            if not (left <= LEFT * before and (around == 0 or left <= around)):
                left = self._left(result)
            return left <= LEFT * before and (around == 0 or left <= around)
        before, left, observed = self.residual, result.residual, self.observed
        usable = self.wrong & np.isfinite(before) & np.isfinite(left) & np.isfinite(observed)
        if not usable.any():
            return True
        before, left, observed = before[usable], left[usable], observed[usable]
        # Divided by the largest first, as squares of tiny and of huge numbers leave float64.
        most = float(np.abs(before).max())
        if float(np.sum((left / most) ** 2)) > LEFT * float(np.sum((before / most) ** 2)):
            return False
        around = observed - observed.mean()
        most = max(float(np.abs(around).max()), float(np.abs(left).max()))
        if most == 0 or not around.any():
            return True
        return float(np.sum((left / most) ** 2)) <= float(np.sum((around / most) ** 2))

    def _explained(self, left: float) -> bool:
        """Whether what is left is little next to what some of the wrong elements show alone.

        Squares of all of them are no less, nor are those of distances from their own mean.
        """
        before, around = self._some
        return left <= LEFT * before and left <= around

    @cached_property
    def _some(self) -> tuple[float, float]:
        """Squares of residuals and of distances from the mean, of some of the wrong elements."""
        wrong = self.wrong.reshape(-1)
        place = slice(0, BLOCK)
        if wrong.size > BLOCK:
            first = int(np.argmax(wrong))
            place = slice(first, first + BLOCK)
        chosen = wrong[place]
        residual, seen = (row.reshape(-1)[place][chosen] for row in (self.residual, self.observed))
        if not (sums_up(residual) and sums_up(seen) and seen.size):
            return 0.0, 0.0
        around = seen - seen.mean()
        with np.errstate(all="ignore"):
            sizes = (float(np.einsum("i,i->", row, row)) for row in (residual, around))
            before, spread = (size if 1e-200 < size < 1e200 else 0.0 for size in sizes)
        lost = 1e-9 * float(np.abs(seen).max()) ** 2 * seen.size
        return before, spread if spread > lost else 0.0

    @cached_property
    def squares(self) -> tuple[float, float] | None:
        """Sums of squares of the residuals and of the observed numbers around their mean.

        Only of the wrong elements; None where numbers are not finite, tiny or huge.
        """
        count = int(np.count_nonzero(self.wrong))
        if not count:
            return None
        # Around one of them first, as squares of large numbers would drown small differences.
        middle = float(self.observed.reshape(-1)[int(np.argmax(self.wrong))])
        before = total = squares = 0.0
        flat, seen = self.residual.reshape(-1), self.observed.reshape(-1)
        for start in range(0, flat.size, BLOCK):
            residual = flat[start : start + BLOCK]
            around = seen[start : start + BLOCK] - middle
            before += self._sum(residual, residual, start=start)
            squares += self._sum(around, around, start=start)
            total += self._sum(around, start=start)
        around = squares - total * total / count
        if not (1e-200 < before < 1e200 and squares < 1e200):
            return None
        # Where nearly all is taken away again, what is left are the digits that were lost.
        return (before, around) if squares == 0 or around > 1e-9 * squares > 1e-200 else None

    @cached_property
    def _all(self) -> bool:
        return bool(self.wrong.all())

    def _sum(self, *rows: Array, start: int) -> float:
        """Return the sum of products of some elements in a row, of the wrong ones only."""
        if not self._all:
            chosen = self.wrong.reshape(-1)[start : start + rows[0].size]
            rows = (*rows, chosen.astype(np.float64))
        with np.errstate(all="ignore"):
            return float(np.einsum(f"{','.join('i' * len(rows))}->", *rows))

    def _left(self, result: Compared) -> float:
        """Return the sum of squares of what a candidate leaves of the wrong elements."""
        start, total = 0, 0.0
        for block in result.blocks():
            row = np.broadcast_to(block.residual, block.observed.shape).reshape(-1)
            total += self._sum(row, row, start=start)
            start += row.size
        return total

    def tight(self, bound: Array, wrong: Array | None = None) -> bool:
        """Whether bounds are smaller than the spread of what was observed.

        Args:
            bound: Of all elements, or of a sample of them.
            wrong: Which of them are wrong; None where all of them are given.
        """
        wrong = self.wrong if wrong is None else wrong
        of_wrong = np.broadcast_to(bound, wrong.shape)[wrong]
        of_wrong = of_wrong[np.isfinite(of_wrong)]
        if not of_wrong.size:
            return True
        middle = float(np.median(of_wrong))
        # What some elements are apart makes up for part of what all are, and mostly is enough.
        if middle**2 * np.count_nonzero(self.wrong) < self._some[1]:
            return True
        return middle < self._spread or not of_wrong.any()

    @cached_property
    def _spread(self) -> float:
        """Standard deviation of what was observed in wrong elements."""
        if self.squares is not None:
            return math.sqrt(self.squares[1] / np.count_nonzero(self.wrong))
        observed = self.observed[self.wrong & np.isfinite(self.observed)]
        return float((observed - observed.mean()).std()) if observed.size else math.inf

    def bits(self, tried: int) -> float:
        """Estimate how unlikely a chance hit is, in bits, after so many candidates."""
        return self._bits - math.log2(max(tried, 2))

    @cached_property
    def _bits(self) -> float:
        """Bits that the elements say.

        Elements that are off by one and the same amount say the same thing, and small whole
        numbers agree by chance more often than fractions do. But which of many whole numbers are
        off, and which are not, is said by all of them.
        """
        off, ratio = self.residual.reshape(-1), self.badness.reshape(-1)
        seen = self.observed.reshape(-1)
        if off.size > ENOUGH_ELEMENTS:
            draw = np.append(_drawn(off.size), self._worst)
            off, ratio, seen = off[draw], ratio[draw], seen[draw]
        # Where nothing is rounded, bounds are 0, and whatever is off is infinitely far out.
        ratio = np.where(np.isposinf(ratio), 2.0**MOST_BITS, ratio)
        known = np.isfinite(off) & np.isfinite(ratio)
        usable = known & (ratio > 1)
        if not usable.any():
            return 0.0
        most, where = MOST_BITS, 0.0
        observed = self.observed.reshape(-1)[:ENOUGH_ELEMENTS]
        observed = observed[np.isfinite(observed)]
        if observed.size and (observed == np.rint(observed)).all():
            low, high = float(observed.min()), float(observed.max())
            most = min(most, math.log2(2 + high - low))
            where = _which(usable[known & (seen > low) & (seen < high)])
        off, ratio = off[usable], ratio[usable]
        step = float(np.abs(off).max()) * 1e-6
        _, first = np.unique(np.rint(off / step), return_index=True)
        bits = max(float(np.minimum(np.log2(ratio[first]) + 1, most).sum()), where)
        return min(bits, most * (len(np.unique(observed)) - 1))  # one number proves nothing


@lru_cache(maxsize=16)
def _drawn(size: int) -> Array:
    """Draw places in a row; it takes long to start to."""
    return np.random.default_rng(0).integers(0, size, ENOUGH_ELEMENTS)


def _which(wrong: Array) -> float:
    """Return the bits that it takes to say which of some elements are wrong."""
    share = float(np.mean(wrong)) if wrong.size else 0.0
    if share in (0.0, 1.0):
        return 0.0
    return -wrong.size * (share * math.log2(share) + (1 - share) * math.log2(1 - share))
