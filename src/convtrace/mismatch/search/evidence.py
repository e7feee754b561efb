"""What the residual of the right setup says: whether a candidate explains it, and how surely."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
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
    """

    def __init__(self, observed: Array, residual: Array, wrong: Array, badness: Array) -> None:
        self.observed, self.residual = observed, residual
        self.wrong, self.badness = wrong, badness

    def explains(self, result: Compared) -> bool:
        """Whether a candidate takes most of the residual away, and not only allows for it."""
        if result.finite and self._squares is not None:
            before, around = self._squares
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

    @cached_property
    def _squares(self) -> tuple[float, float] | None:
        """Sums of squares of the residuals and of the observed numbers around their mean.

        Only of the wrong elements; None where numbers are not finite, tiny or huge.
        """
        if not (self.wrong.any() and sums_up(self.residual) and sums_up(self.observed)):
            return None
        before = self._square(self.residual)
        mean = self._total(self.observed) / np.count_nonzero(self.wrong)
        around = self._square(self.observed, mean)
        usual = all(1e-200 < square < 1e200 for square in (before, around))
        return (before, around) if usual else None

    @cached_property
    def _all(self) -> bool:
        return bool(self.wrong.all())

    def _rows(self, numbers: Array) -> Iterator[tuple[Array, Array | None]]:
        """Yield numbers block by block, and which of them are wrong; None where all are."""
        flat, wrong = numbers.reshape(-1), self.wrong.reshape(-1)
        for start in range(0, flat.size, BLOCK):
            part = slice(start, start + BLOCK)
            yield flat[part], None if self._all else wrong[part]

    def _total(self, numbers: Array) -> float:
        """Return the sum of the wrong elements."""
        rows = self._rows(numbers)
        return sum(float((row if wrong is None else row * wrong).sum()) for row, wrong in rows)

    def _left(self, result: Compared) -> float:
        """Return the sum of squares of what a candidate leaves of the wrong elements."""
        wrong, start, total = self.wrong.reshape(-1), 0, 0.0
        for block in result.blocks():
            row = np.broadcast_to(block.residual, block.observed.shape).reshape(-1)
            kept = row if self._all else row * wrong[start : start + row.size]
            start += row.size
            with np.errstate(all="ignore"):
                total += float(np.einsum("i,i->", kept, kept))
        return total

    def _square(self, numbers: Array, mean: float = 0.0) -> float:
        """Return the sum of squares of the wrong elements."""
        total = 0.0
        for row, wrong in self._rows(numbers):
            around = row - mean if mean else row
            kept = around if wrong is None else around * wrong
            with np.errstate(all="ignore"):
                total += float(np.einsum("i,i->", kept, kept))
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
        return float(np.median(of_wrong)) < self._spread or not of_wrong.any()

    @cached_property
    def _spread(self) -> float:
        """Standard deviation of what was observed in wrong elements."""
        if self._squares is not None:
            return math.sqrt(self._squares[1] / np.count_nonzero(self.wrong))
        observed = self.observed[self.wrong & np.isfinite(self.observed)]
        return float((observed - observed.mean()).std()) if observed.size else math.inf

    def bits(self, tried: int) -> float:
        """Estimate how unlikely a chance hit is, in bits, after so many candidates."""
        return self._bits - math.log2(max(tried, 2))

    @cached_property
    def _bits(self) -> float:
        """Bits that the elements say.

        Elements that are off by one and the same amount say the same thing, and small whole
        numbers agree by chance more often than fractions do.
        """
        off, ratio = self.residual.reshape(-1), self.badness.reshape(-1)
        if off.size > ENOUGH_ELEMENTS:
            draw = np.random.default_rng(0).integers(0, off.size, ENOUGH_ELEMENTS)
            finite = ratio if sums_up(ratio) else np.where(np.isfinite(ratio), ratio, -1.0)
            draw = np.append(draw, int(np.argmax(finite)))
            off, ratio = off[draw], ratio[draw]
        # Where nothing is rounded, bounds are 0, and whatever is off is infinitely far out.
        ratio = np.where(np.isposinf(ratio), 2.0**MOST_BITS, ratio)
        usable = np.isfinite(off) & np.isfinite(ratio) & (ratio > 1)
        if not usable.any():
            return 0.0
        off, ratio = off[usable], ratio[usable]
        most = MOST_BITS
        observed = self.observed.reshape(-1)[:ENOUGH_ELEMENTS]
        observed = observed[np.isfinite(observed)]
        if observed.size and (observed == np.rint(observed)).all():
            most = min(most, math.log2(2 + float(observed.max() - observed.min())))
        step = float(np.abs(off).max()) * 1e-6
        _, first = np.unique(np.rint(off / step), return_index=True)
        bits = float(np.minimum(np.log2(ratio[first]) + 1, most).sum())
        return min(bits, most * (len(np.unique(observed)) - 1))  # one number proves nothing
