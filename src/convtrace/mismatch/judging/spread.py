"""The judge of all elements together: how far residuals may spread if only rounding made them.

The proved bound of one element grows with the number of its terms and is loose. What adding really
does is simulated: the terms of a sample of elements are added one after the other in the arithmetic
that is assumed, which is the worst order in use. An output whose residuals are several times larger
than that was not made by rounding alone.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.arithmetic import Arithmetic
from convtrace.exact import FORMATS
from convtrace.mismatch.computing.setup import Setup
from convtrace.mismatch.computing.stages import rounded
from convtrace.mismatch.judging.bounds import typical

Array = NDArray[Any]

MARGIN = 4.0
"""By how much residuals may exceed the simulation: kernels round in more places than it does."""

FLOOR = 2.0
"""Units of Σ|w·x| that any kernel may be off by, however well its numbers fit the simulation.
Half of it in formats of 16 bits, whose units are large, where there are `MANY` elements."""

MANY = 64

SAMPLE = 32


def expected_size(
    setup: Setup, at: tuple[Array, ...], arithmetic: Arithmetic, count: int, stored: str
) -> float:
    """Simulate the size of rounding, in units of what is typical.

    Args:
        setup: What is computed.
        at: Output positions, each `(samples,)`.
        arithmetic: Formats of the computation.
        count: Summands of one number.
        stored: Format of the operands as they are stored.

    Returns:
        The root of the mean square of residual / typical: the larger one of two orders of adding,
        and never less than `FLOOR` units of Σ|w·x|.
    """
    at = tuple(axis[:SAMPLE] for axis in at)
    origin = setup.origin(at)
    read, factors = setup.read(origin), setup.factors(origin[1])
    products = read * factors
    exact = products.sum(1)
    magnitude = np.abs(products).sum(1)
    usual = typical(arithmetic, count, magnitude, exact, stored)
    if FORMATS[arithmetic.operands].precision < FORMATS[stored].precision:
        products = rounded(read, arithmetic.operands) * rounded(factors, arithmetic.operands)
    largest = 0.0
    with np.errstate(all="ignore"):
        products = rounded(products, arithmetic.accumulate)
        taps = math.prod(setup.kernel)
        crossed = products.reshape(len(exact), -1, taps).swapaxes(1, 2).reshape(len(exact), -1)
        for order in (products, crossed):
            total = add_in_order(order, arithmetic.accumulate)
            total = rounded(total, arithmetic.result)
            quotient = (total - exact) / usual
            quotient = quotient[np.isfinite(quotient) & (magnitude > 0)]  # no rounding in zeros
            if quotient.size:
                largest = max(largest, float(np.sqrt(np.mean(quotient**2))))
        added = FORMATS[arithmetic.accumulate]
        halved = added.precision < 24 and math.prod(setup.shape) >= MANY
        least = (FLOOR / 2 if halved else FLOOR) * added.unit * magnitude / usual
        least = least[np.isfinite(least) & (magnitude > 0)]
    if not least.size:  # a sample of sums of nothing but zeros
        return FLOOR / math.sqrt(count)
    return max(largest, float(least.max()))


def add_in_order(products: Array, name: str) -> Array:
    """Add rows one number after the other, each sum rounded to a format."""
    if name in ("float16", "float32", "float64"):
        return np.cumsum(products.astype(name), axis=1)[:, -1].astype(np.float64)
    total = np.zeros(len(products))
    for column in products.T:
        total = rounded(total + column, name)
    return total
