"""What a candidate has to reproduce, and how exactly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.arithmetic import Arithmetic
from convtrace.exact import FORMATS, gamma
from convtrace.mismatch.computing.stages import Sums
from convtrace.mismatch.computing.whole import Whole
from convtrace.mismatch.judging.elements import Compared, compared, sums_up

Array = NDArray[Any]

FURTHEST = 4.0
"""How far out of the spread of rounding a single element may lie."""

LARGE = 2**26
"""Products from which on a pass is long."""


def is_long(observed: Array, arithmetic: Arithmetic | None, count: int) -> bool:
    """Whether a pass over a layer is long, and float32 will do for a first look."""
    fits = arithmetic is not None and FORMATS[arithmetic.accumulate].precision <= 24
    return fits and observed.size * count > LARGE


@dataclass(frozen=True, eq=False)
class Judge:
    """What a candidate has to reproduce, and how exactly.

    Attributes:
        observed: The observed output, `(N, C_out, *spatial)`.
        arithmetic: Formats of the computation; None for integers.
        count: Summands of one number.
        stored: Format of the operands as they are stored.
        limit: Largest spread that rounding explains, in units of what is typical.
    """

    observed: Array
    arithmetic: Arithmetic | None
    count: int
    stored: str
    limit: float = math.inf

    @property
    def long(self) -> bool:
        """Whether a pass is long and float32 will do for it."""
        return is_long(self.observed, self.arithmetic, self.count)

    def compare(self, sums: Sums | Whole, target: Array) -> Compared:
        """Compare part of the observed output with sums."""
        most = FURTHEST * self.limit
        if self.arithmetic is not None and FORMATS[self.arithmetic.result].precision < 24:
            most = max(most, 1.0)  # where most sums are 0, the others are still rounded to results
        rule = (self.arithmetic, self.count, self.stored, most)
        finite = self.finite if target is self.observed else None
        return compared(target, sums, *rule, strict=True, finite=finite)

    @cached_property
    def finite(self) -> bool:
        """Whether what was observed has a finite sum, so that no number is NaN or infinite."""
        return sums_up(self.observed)

    def plausible(self, sums: Sums, target: Array) -> Array:
        """Tell quickly which numbers may be inside their bound; none that are is left out."""
        if self.arithmetic is None:
            return np.abs(sums.values - target) <= sums.extra
        share, last, least, more = self._slack
        return np.abs(sums.values - target) <= (
            share * sums.magnitude
            + last * (np.abs(sums.values) + np.abs(target))
            + (more * sums.extra + least)
        )

    @cached_property
    def _slack(self) -> tuple[float, float, float, float]:
        """What errors may be of Σ|w·x|, of the results, at least, and of what is off besides."""
        assert self.arithmetic is not None
        accumulate, result = FORMATS[self.arithmetic.accumulate], FORMATS[self.arithmetic.result]
        operands, stored = FORMATS[self.arithmetic.operands], FORMATS[self.stored]
        own = gamma(self.count + 10, 2.0**-53)
        error = gamma(self.count + 10, accumulate.unit) + own
        usual = math.sqrt(self.count + 10) * accumulate.unit
        if operands.precision < stored.precision:
            error += 3 * operands.unit * (1 + error)
            usual += operands.unit
        if self.arithmetic.partial_sums:
            error += gamma(self.count, result.unit) * (1 + error)
            usual += math.sqrt(self.count) * result.unit
        least = 2 * self.count * max(accumulate.smallest, result.smallest)
        most = max(FURTHEST * self.limit, 1.0)
        if most * usual + own >= error:
            return 1.001 * error, 2 * result.unit, least, 1.0
        return 1.001 * (most * usual + own), 2 * most * result.unit, most * least, most

    def accepts(self, found: Compared) -> bool:
        """Whether all elements are inside their bound, and all together spread like rounding."""
        return found.all_inside and found.size <= self.limit
