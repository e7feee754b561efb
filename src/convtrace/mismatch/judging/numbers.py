"""The judge of single elements: each residual against the bound of its own terms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.arithmetic import Arithmetic
from convtrace.exact import FORMATS, gamma
from convtrace.mismatch.computing.stages import half_spacing
from convtrace.mismatch.judging.bounds import (
    added_narrowly,
    bound_line,
    bounds,
    own_error,
    typical,
    typical_line,
)

Array = NDArray[Any]


@dataclass(frozen=True)
class Rule:
    """How far rounding may go.

    Attributes:
        arithmetic: Formats of the computation; None for integers, which have no rounding.
        steps: Roundings that a summand passes through.
        count: Summands of one number.
        stored: Format of the operands as they are stored.
        most: Largest multiple of what is typical that counts as inside, however loose the bound.
        whole: Whether nothing but integers can be observed.
    """

    arithmetic: Arithmetic | None
    steps: int
    count: int
    stored: str
    most: float = math.inf
    whole: bool = False

    @cached_property
    def multiple(self) -> float | None:
        """The multiple of what is typical that a bound is; None where one does not tell."""
        arithmetic = self.arithmetic
        if arithmetic is None or self.most == math.inf:
            return None
        line = bound_line(arithmetic, self.steps, self.stored)
        usual = typical_line(arithmetic, self.steps, self.stored)
        own = gamma(self.count + 2, FORMATS["float64"].unit)
        multiple = self.most + own / usual[0]
        if line is None or multiple * usual[0] > line[0] or multiple * usual[1] > line[1]:
            return None
        return multiple


@dataclass(frozen=True)
class Totals:
    """What some elements come to.

    Attributes:
        quotient: Sum of `quotient`.
        squares: Sum of its squares.
        inside: Whether all elements are inside their bound.
        finite: Whether computed numbers are finite; False may be said of huge numbers, too.
    """

    quotient: float
    squares: float
    inside: bool
    finite: bool


def total(rows: Sequence[Totals]) -> Totals:
    """Return what several parts come to."""
    return Totals(
        sum(row.quotient for row in rows),
        sum(row.squares for row in rows),
        all(row.inside for row in rows),
        all(row.finite for row in rows),
    )


@dataclass(frozen=True, eq=False)
class Numbers:
    """Some elements: what was observed, what was computed, and what errors are in proportion to.

    Attributes:
        rule: How far rounding may go.
        observed: The observed numbers.
        values: The computed numbers, in float64.
        magnitude: Σ|w·x|, carried through what follows the sum.
        extra: What the computed numbers may be off by besides.
        spare: By how much they lie beyond a limit that they were cut at.
    """

    rule: Rule
    observed: Array
    values: Array
    magnitude: Array
    extra: Array | float
    spare: Array | float

    @cached_property
    def _plain(self) -> tuple[Array, Array, float] | None:
        """Residuals, quotients and the sum of these, if it is finite.

        Then no residual is NaN or infinite, nor is what they are divided by NaN.
        """
        if self.rule.arithmetic is None:
            return None
        with np.errstate(all="ignore"):
            residual = self.observed - self.values
            quotient = residual / self.typical
            total = float(np.sum(quotient))
        return (residual, quotient, total) if math.isfinite(total) else None

    @cached_property
    def residual(self) -> Array:
        """Observed - computed; 0 where both are the same infinity, or NaN."""
        if "_plain" in vars(self) and self._plain is not None:
            return self._plain[0]
        with np.errstate(all="ignore"):
            found = self.observed - self.values
        if sums_up(found):
            return found
        equal = self.observed == self.values
        nans = np.isnan(self.observed) & np.isnan(self.values)
        return np.where(equal | nans, 0.0, found)

    @cached_property
    def own(self) -> Array:
        """What our own float64 sums may be off by."""
        return own_error(self.rule.count, self.magnitude)

    @cached_property
    def typical(self) -> Array:
        """By how much rounding usually sets them apart; never zero."""
        rule = self.rule
        if rule.arithmetic is None:
            return np.maximum(self.bound, 1.0)
        found = typical(rule.arithmetic, rule.steps, self.magnitude, self.values, rule.stored)
        return found + self.extra if _some(self.extra) else found

    @cached_property
    def bound(self) -> Array:
        """The most by which rounding can set them apart."""
        rule, arithmetic = self.rule, self.rule.arithmetic
        if arithmetic is None:
            found = np.broadcast_to(np.asarray(self.extra, dtype=np.float64), self.values.shape)
        elif rule.multiple is not None and not _some(self.extra):
            found = rule.multiple * self.typical
        else:
            narrows = arithmetic.result != arithmetic.accumulate
            furthest = np.abs(self.values) + self.extra if narrows else self.values
            found = bounds(
                arithmetic,
                rule.steps,
                self.magnitude,
                furthest,
                rule.stored,
                partials=rule.count,
                slack=added_narrowly(rule.count),
            )
            if _some(self.extra):
                found = found + self.extra
            if rule.most < math.inf:
                found = np.minimum(found, rule.most * self.typical + self.own)
        if _some(self.spare):
            found = np.maximum(found - self.spare, 0.0)
        if rule.whole:
            found = np.where(self.observed == np.rint(self.observed), found, 0.0)
        return found

    @cached_property
    def ratio(self) -> Array:
        """|residual| / bound of each element; 0 where both are equal."""
        size = np.abs(self.residual)
        with np.errstate(all="ignore"):
            found = np.divide(size, self.bound, out=size)
        # Where bounds are not 0, and no NaN went in, none comes out.
        if (self._plain is not None and self._positive) or sums_up(found):
            return found
        found = np.where(self.residual == 0, 0.0, found)
        return np.where(np.isnan(found), np.inf, found)

    @property
    def _positive(self) -> bool:
        """Whether no bound is 0."""
        return self.rule.arithmetic is not None and not self.rule.whole and not _some(self.spare)

    @cached_property
    def quotient(self) -> Array:
        """Residual in units of what is typical, 0 where it is not finite."""
        if self._plain is not None:
            return self._plain[1]
        with np.errstate(all="ignore"):
            found = self.residual / self.typical
        return np.where(np.isfinite(found), found, 0.0)

    @cached_property
    def inside(self) -> bool:
        """Whether all of them are inside their bound."""
        if self._plain is None or "ratio" in vars(self):
            return bool(self.ratio.size == 0 or self.ratio.max() <= 1)
        multiple = self.rule.multiple
        if multiple is not None and self._positive and not _some(self.extra) and self.quotient.size:
            # Bounds are a multiple of what is typical, and so is what may be the most.
            return max(float(self.quotient.max()), -float(self.quotient.min())) <= multiple
        return bool((np.abs(self.residual) <= self.bound).all())

    def totals(self) -> Totals:
        """Sum up."""
        row = self.quotient.reshape(-1)
        total = float(row.sum()) if self._plain is None else self._plain[2]
        finite = self._plain is not None or sums_up(self.values)
        return Totals(total, product(row, row), self.inside, finite)

    def loose(self, least: float) -> float:
        """Return the most by which a bound exceeds two units of the result, if above `least`."""
        if self.rule.arithmetic is None or float(self.bound.max()) <= least:
            return least
        with np.errstate(all="ignore"):
            rest = self.bound - 2 * FORMATS[self.rule.arithmetic.result].unit * np.abs(self.values)
        most = float(rest.max())
        if not math.isfinite(most):
            most = float(np.max(rest, where=np.isfinite(rest), initial=-math.inf))
        return max(most, least)

    def nearest(self, result: str) -> Array:
        """Which elements are certainly the correctly rounded numbers of a format."""
        spare = half_spacing(self.values, result) - self.own
        return (np.abs(self.residual) <= spare) | (self.observed == self.values)


def product(left: Array, right: Array) -> float:
    """Return the sum of products; by NumPy itself, as threads of a BLAS would wait."""
    if left.shape != right.shape:
        left, right = np.broadcast_arrays(left, right)
    with np.errstate(all="ignore"):
        return float(np.einsum("i,i->", left.reshape(-1), right.reshape(-1)))


def _some(numbers: Array | float) -> bool:
    """Whether numbers are more than a single zero."""
    return bool(np.ndim(numbers) or numbers)


def sums_up(numbers: Array) -> bool:
    """Whether numbers have a finite sum, so that none of them is NaN or infinite."""
    with np.errstate(all="ignore"):
        return bool(np.isfinite(np.sum(numbers)))
