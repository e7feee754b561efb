"""The rounding bound of `Arithmetic`, for all elements of an output at once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.arithmetic import Arithmetic
from convtrace.exact import FORMATS, gamma
from convtrace.mismatch.computing.stages import half_spacing

Array = NDArray[Any]


def bounds(
    arithmetic: Arithmetic,
    count: int,
    magnitude: Array,
    values: Array,
    stored: str,
    partials: int = 0,
    slack: float = 1e-6,
) -> Array:
    """Bound |stored result - exact sum| for each element, as `Arithmetic.bound` does for one.

    Args:
        arithmetic: What ran.
        count: Number of summands, the bias included.
        magnitude: Sum of their absolute values.
        values: The exact sums.
        stored: Format of the operands as they are stored.
        partials: Where partial sums are stored: through how many of them a summand passes.
        slack: By what share `magnitude` may be too small (`added_narrowly`).

    Returns:
        The bounds, plus what the float64 sums that they are compared with may be off by.
    """
    if (line := bound_line(arithmetic, count, stored, slack)) is not None:
        share, least = line
        found = np.asarray(magnitude * share)
        found += least
        return found
    result = FORMATS[arithmetic.result]
    share, tiny = _share(arithmetic, count, stored), _tiny(arithmetic)
    size = magnitude * (1 + slack)
    error = share * size + count * tiny
    if arithmetic.partial_sums:
        error = error + gamma(partials, result.unit) * (size + error) + partials * result.smallest
    if arithmetic.result != arithmetic.accumulate:
        with np.errstate(all="ignore"):
            error = error + half_spacing(np.abs(values) + error, arithmetic.result)
        if arithmetic.flushes:
            error = error + math.ldexp(1.0, result.smallest_exponent)
    return error + own_error(count, size)


def added_narrowly(count: int) -> float:
    """Return by what share Σ|w·x| may be too small that was added in float32.

    Each |w| and |x| is rounded once to float32, each product once, and a summand passes through at
    most `count` - 1 additions: none of the summands, which are all positive, shrinks by more than
    `count` + 2 roundings together, hence (1 - u)**(count + 2) Σ|w·x| is the least that comes out,
    and the share that is missing is at most gamma of as many (Higham, Accuracy and Stability of
    Numerical Algorithms, 2nd edition, lemma 3.1). Products that leave float32 are no part of it:
    they are added in float64.
    """
    return gamma(count + 2, FORMATS["float32"].unit) + 1e-6


def bound_line(
    arithmetic: Arithmetic, count: int, stored: str, slack: float = 1e-6
) -> tuple[float, float] | None:
    """Return which share of Σ|w·x| the bound is, and what is added to it; None if it is not so."""
    if arithmetic.partial_sums or arithmetic.result != arithmetic.accumulate:
        return None
    share = _share(arithmetic, count, stored) + gamma(count + 2, FORMATS["float64"].unit)
    return share * (1 + slack), count * _tiny(arithmetic)


def _share(arithmetic: Arithmetic, count: int, stored: str) -> float:
    """Return what the error of a sum is of Σ|w·x|."""
    operands, share = FORMATS[arithmetic.operands], 0.0
    if operands.precision < FORMATS[stored].precision:
        share = 2 * operands.unit + operands.unit**2
    return share + gamma(count, FORMATS[arithmetic.accumulate].unit) * (1 + share)


def _tiny(arithmetic: Arithmetic) -> float:
    """Return what the error of one summand is at least."""
    accumulate = FORMATS[arithmetic.accumulate]
    if arithmetic.flushes:
        return math.ldexp(1.0, accumulate.smallest_exponent)
    return accumulate.smallest


def own_error(count: int, magnitude: Array) -> Array:
    """Bound the error of our own float64 sums."""
    return gamma(count + 2, FORMATS["float64"].unit) * magnitude


def typical(
    arithmetic: Arithmetic, count: int, magnitude: Array, values: Array, stored: str
) -> Array:
    """Return the size that rounding usually has at each element, never zero."""
    line = typical_line(arithmetic, count, stored)
    scale = np.asarray(magnitude * line[0])
    if arithmetic.result != arithmetic.accumulate:
        scale += half_spacing(values, arithmetic.result)
    scale += line[1]
    return scale


def typical_line(arithmetic: Arithmetic, count: int, stored: str) -> tuple[float, float]:
    """Return what is typical as a share of Σ|w·x|, and what is added to it.

    Where results are stored in a narrower format, half of its spacing comes on top.
    """
    result, operands = FORMATS[arithmetic.result], FORMATS[arithmetic.operands]
    share = math.sqrt(count) * FORMATS[arithmetic.accumulate].unit
    if operands.precision < FORMATS[stored].precision:
        share += operands.unit
    if arithmetic.partial_sums:
        share += math.sqrt(count) * result.unit / 2
    return share, FORMATS[arithmetic.accumulate].smallest
