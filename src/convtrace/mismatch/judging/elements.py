"""The judge of single elements: each residual against the bound of its own terms."""

from __future__ import annotations

import math
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


@dataclass(frozen=True, eq=False)
class Compared:
    """An observed output against computed numbers.

    Attributes:
        observed: The observed numbers.
        values: The computed numbers, in float64.
        bound: The most by which rounding can set them apart.
        typical: By how much it usually does; never zero.
        own: What our own float64 sums may be off by.
    """

    observed: Array
    values: Array
    bound: Array
    typical: Array
    own: Array

    @cached_property
    def residual(self) -> Array:
        """Observed - computed."""
        with np.errstate(all="ignore"):
            found = self.observed - self.values
        equal = self.observed == self.values  # two infinities of one sign
        nans = np.isnan(self.observed) & np.isnan(self.values)
        return np.where(equal | nans, 0.0, found)

    @cached_property
    def ratio(self) -> Array:
        """|residual| / bound of each element; 0 where both are equal."""
        size = np.abs(self.residual)
        with np.errstate(all="ignore"):
            found = np.where(size == 0, 0.0, size / self.bound)
        return np.where(np.isnan(found), np.inf, found)

    @cached_property
    def inside(self) -> Array:
        """Which elements are inside their bound."""
        return self.ratio <= 1

    @cached_property
    def quotient(self) -> Array:
        """Residual in units of what is typical, 0 where it is not finite."""
        with np.errstate(all="ignore"):
            found = self.residual / self.typical
        return np.where(np.isfinite(found), found, 0.0)

    @property
    def size(self) -> float:
        """Root of the mean square of `quotient`."""
        with np.errstate(all="ignore"):
            return float(np.sqrt(np.mean(self.quotient**2))) if self.quotient.size else 0.0

    def nearest(self, result: str) -> Array:
        """Which elements are certainly the correctly rounded numbers of a format."""
        spare = half_spacing(self.values, result) - self.own
        return (np.abs(self.residual) <= spare) | (self.observed == self.values)


def compared(
    observed: Array,
    sums: Sums,
    arithmetic: Arithmetic | None,
    count: int,
    stored: str,
    most: float = math.inf,
) -> Compared:
    """Compare an observed output with sums.

    Args:
        observed: The observed numbers.
        sums: What should have come out.
        arithmetic: Formats of the computation; None for integers, which have no rounding.
        count: Summands of one number.
        stored: Format of the operands as they are stored.
        most: Largest multiple of what is typical that counts as inside, however loose the bound.
    """
    values = sums.values
    magnitude = np.asarray(sums.magnitude)
    own = own_error(count, magnitude)
    if arithmetic is None:
        bound = np.broadcast_to(np.asarray(sums.extra, dtype=np.float64), values.shape)
        return Compared(observed, values, bound, np.maximum(bound, 1.0), own)
    steps = count + 8 * (len(sums.setup.stages) > 1)
    furthest = np.abs(values) + sums.extra
    bound = bounds(arithmetic, steps, magnitude, furthest, stored, partials=count)
    usual = typical(arithmetic, steps, magnitude, values, stored)
    bound, usual = bound + sums.extra, usual + sums.extra
    if most < math.inf:
        bound = np.minimum(bound, most * usual + own)
    return Compared(observed, values, bound, usual, own)


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
