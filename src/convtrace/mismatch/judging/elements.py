"""The judge of single elements: each residual against the bound of its own terms.

An output has millions of elements, and memory that was not used before costs more than arithmetic.
What is computed of all elements is computed in blocks, and kept only where it is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.arithmetic import Arithmetic
from convtrace.exact import FORMATS
from convtrace.mismatch.computing.stages import Sums, half_spacing
from convtrace.mismatch.judging.bounds import bounds, own_error, typical

Array = NDArray[Any]

BLOCK = 2**15
"""Elements that are computed at once: their numbers stay in the processor's cache."""


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
    def residual(self) -> Array:
        """Observed - computed."""
        with np.errstate(all="ignore"):
            found = self.observed - self.values
        if sums_up(found):
            return found
        equal = self.observed == self.values  # two infinities of one sign
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
        return found + self.extra if np.ndim(self.extra) or self.extra else found

    @cached_property
    def bound(self) -> Array:
        """The most by which rounding can set them apart."""
        rule, arithmetic = self.rule, self.rule.arithmetic
        if arithmetic is None:
            found = np.broadcast_to(np.asarray(self.extra, dtype=np.float64), self.values.shape)
        else:
            narrows = arithmetic.result != arithmetic.accumulate
            furthest = np.abs(self.values) + self.extra if narrows else self.values
            found = bounds(
                arithmetic, rule.steps, self.magnitude, furthest, rule.stored, partials=rule.count
            )
            if np.ndim(self.extra) or self.extra:
                found = found + self.extra
            if rule.most < math.inf:
                found = np.minimum(found, rule.most * self.typical + self.own)
        if np.ndim(self.spare) or self.spare:
            found = np.maximum(found - self.spare, 0.0)
        if rule.whole:
            found = np.where(self.observed == np.rint(self.observed), found, 0.0)
        return found

    @cached_property
    def ratio(self) -> Array:
        """|residual| / bound of each element; 0 where both are equal."""
        size = np.abs(self.residual)
        with np.errstate(all="ignore"):
            found = size / self.bound
        if sums_up(found):
            return found
        found = np.where(size == 0, 0.0, found)
        return np.where(np.isnan(found), np.inf, found)

    @cached_property
    def quotient(self) -> Array:
        """Residual in units of what is typical, 0 where it is not finite."""
        with np.errstate(all="ignore"):
            found = self.residual / self.typical
        return found if sums_up(found) else np.where(np.isfinite(found), found, 0.0)

    def nearest(self, result: str) -> Array:
        """Which elements are certainly the correctly rounded numbers of a format."""
        spare = half_spacing(self.values, result) - self.own
        return (np.abs(self.residual) <= spare) | (self.observed == self.values)


class Compared:
    """An observed output against computed numbers.

    Args:
        numbers: All elements.
    """

    def __init__(self, numbers: Numbers) -> None:
        self.numbers = numbers
        self.observed, self.values = numbers.observed, numbers.values

    @cached_property
    def _flat(self) -> Numbers | None:
        """All elements in a row; None where they are few, or not all parts have one shape."""
        n, shape = self.numbers, self.values.shape
        if n.values.size <= BLOCK or np.shape(n.observed) != shape:
            return None

        def row(part: Any) -> Any:
            return part if np.ndim(part) == 0 else np.broadcast_to(part, shape).reshape(-1)

        rows = (n.observed, n.values, n.magnitude, n.extra, n.spare)
        return Numbers(n.rule, *(row(part) for part in rows))

    def at(self, places: Any) -> Numbers:
        """Return some elements, given by their places in memory or by a slice of these."""
        n = self._flat
        if n is None:
            return self.numbers

        def some(part: Any) -> Any:
            return part if np.ndim(part) == 0 else part[places]

        rows = (n.observed, n.values, n.magnitude, n.extra, n.spare)
        return Numbers(n.rule, *(some(part) for part in rows))

    def blocks(self) -> Iterator[Numbers]:
        """Yield all elements, so many at a time."""
        if self._flat is None:
            yield self.numbers
            return
        for start in range(0, self.values.size, BLOCK):
            yield self.at(slice(start, start + BLOCK))

    def _whole(self, part: Callable[[Numbers], Array]) -> Array:
        """Compute something of all elements, in their shape."""
        if self._flat is None:
            return np.broadcast_to(part(self.numbers), np.shape(self.numbers.residual))
        found = np.empty(self.values.size)
        for number, block in enumerate(self.blocks()):
            found[number * BLOCK : (number + 1) * BLOCK] = part(block)
        return found.reshape(self.values.shape)

    @cached_property
    def finite(self) -> bool:
        """Whether no number is NaN or infinite; False may be said of huge numbers, too."""
        return sums_up(self.observed) and sums_up(self.values)

    @cached_property
    def residual(self) -> Array:
        """Observed - computed."""
        return self._whole(lambda block: block.residual)

    @cached_property
    def bound(self) -> Array:
        """The most by which rounding can set them apart."""
        return self._whole(lambda block: block.bound)

    @cached_property
    def own(self) -> Array:
        """What our own float64 sums may be off by."""
        return self._whole(lambda block: block.own)

    @cached_property
    def quotient(self) -> Array:
        """Residual in units of what is typical, 0 where it is not finite."""
        return self._whole(lambda block: block.quotient)

    @cached_property
    def ratio(self) -> Array:
        """|residual| / bound of each element; 0 where both are equal."""
        return self._whole(lambda block: block.ratio)

    @cached_property
    def inside(self) -> Array:
        """Which elements are inside their bound."""
        return self.ratio <= 1

    @property
    def all_inside(self) -> bool:
        """Whether every element is inside its bound."""
        return self._moments[2]

    @cached_property
    def _moments(self) -> tuple[float, float, bool]:
        """Sum of `quotient`, of its squares, and whether all elements are inside their bound."""
        total, squares, inside = 0.0, 0.0, True
        for block in self.blocks():
            row = block.quotient.reshape(-1)
            total += float(row.sum())
            inside = inside and bool((block.ratio <= 1).all())
            with np.errstate(all="ignore"):
                squares += float(np.einsum("i,i->", row, row))  # threads of BLAS would wait
        return total, squares, inside

    @property
    def size(self) -> float:
        """Root of the mean square of `quotient`."""
        return math.sqrt(self._moments[1] / max(np.size(self.numbers.residual), 1))

    @property
    def mean(self) -> float:
        """Mean of `quotient`."""
        return self._moments[0] / max(np.size(self.numbers.residual), 1)


def compared(
    observed: Array,
    sums: Sums,
    arithmetic: Arithmetic | None,
    count: int,
    stored: str,
    most: float = math.inf,
    *,
    strict: bool = False,
) -> Compared:
    """Compare an observed output with sums.

    Args:
        observed: The observed numbers.
        sums: What should have come out.
        arithmetic: Formats of the computation; None for integers, which have no rounding.
        count: Summands of one number.
        stored: Format of the operands as they are stored.
        most: Largest multiple of what is typical that counts as inside, however loose the bound.
        strict: Whether bounds shrink by what lies beyond a limit, and hold for integers only where
            nothing else can come out: what a candidate has to meet.
    """
    steps = count + 8 * (len(sums.setup.stages) > 1)
    rule = Rule(arithmetic, steps, count, stored, most, strict and sums.whole)
    spare = sums.spare if strict else 0.0
    magnitude = np.asarray(sums.magnitude)
    return Compared(Numbers(rule, observed, sums.values, magnitude, sums.extra, spare))


def sums_up(numbers: Array) -> bool:
    """Whether numbers have a finite sum, so that none of them is NaN or infinite."""
    with np.errstate(all="ignore"):
        return bool(np.isfinite(np.sum(numbers)))


def holds_nonfinite(sums: Sums, arithmetic: Arithmetic, observed: Array) -> Array:
    """Tell where NaN or infinity was observed and is what the terms make of it.

    Kernels that split sums may make NaN of an infinity, but never the other way round. Where the
    magnitude leaves the format, the sum may have overflowed on the way.
    """
    values = sums.values
    fits = np.isnan(observed) & ~np.isfinite(values)
    fits |= np.isinf(observed) & (observed == values)
    largest = min(FORMATS[arithmetic.accumulate].largest, FORMATS[arithmetic.result].largest)
    with np.errstate(all="ignore"):
        over = np.asarray(sums.magnitude) * (1 + 1e-6) >= largest
    return fits | (~np.isfinite(observed) & over)
