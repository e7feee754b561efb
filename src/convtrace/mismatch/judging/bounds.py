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
) -> Array:
    """Bound |stored result - exact sum| for each element, as `Arithmetic.bound` does for one.

    Args:
        arithmetic: What ran.
        count: Number of summands, the bias included.
        magnitude: Sum of their absolute values.
        values: The exact sums.
        stored: Format of the operands as they are stored.
        partials: Where partial sums are stored: through how many of them a summand passes.

    Returns:
        The bounds, plus what the float64 sums that they are compared with may be off by.
    """
    accumulate, result = FORMATS[arithmetic.accumulate], FORMATS[arithmetic.result]
    operands = FORMATS[arithmetic.operands]
    share = 0.0  # what the error is of the magnitude
    if operands.precision < FORMATS[stored].precision:
        share = 2 * operands.unit + operands.unit**2
    share += gamma(count, accumulate.unit) * (1 + share)
    tiny = accumulate.smallest
    if arithmetic.flushes:
        tiny = math.ldexp(1.0, accumulate.smallest_exponent)
    if not arithmetic.partial_sums and arithmetic.result == arithmetic.accumulate:
        share = (share + gamma(count + 2, FORMATS["float64"].unit)) * (1 + 1e-6)
        found = np.asarray(magnitude * share)
        found += count * tiny
        return found
    size = magnitude * (1 + 1e-6)
    error = share * size + count * tiny
    if arithmetic.partial_sums:
        error = error + gamma(partials, result.unit) * (size + error) + partials * result.smallest
    if arithmetic.result != arithmetic.accumulate:
        with np.errstate(all="ignore"):
            error = error + half_spacing(np.abs(values) + error, arithmetic.result)
        if arithmetic.flushes:
            error = error + math.ldexp(1.0, result.smallest_exponent)
    return error + own_error(count, size)


def own_error(count: int, magnitude: Array) -> Array:
    """Bound the error of our own float64 sums."""
    return gamma(count + 2, FORMATS["float64"].unit) * magnitude


def typical(
    arithmetic: Arithmetic, count: int, magnitude: Array, values: Array, stored: str
) -> Array:
    """Return the size that rounding usually has at each element, never zero."""
    result, operands = FORMATS[arithmetic.result], FORMATS[arithmetic.operands]
    scale = math.sqrt(count) * FORMATS[arithmetic.accumulate].unit * magnitude
    if operands.precision < FORMATS[stored].precision:
        scale = scale + operands.unit * magnitude
    if arithmetic.partial_sums:
        scale = scale + math.sqrt(count) * result.unit * magnitude / 2
    if arithmetic.result != arithmetic.accumulate:
        scale = scale + half_spacing(values, arithmetic.result)
    scale = np.asarray(scale)
    scale += FORMATS[arithmetic.accumulate].smallest
    return scale
