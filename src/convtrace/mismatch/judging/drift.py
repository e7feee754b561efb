"""The judge of what goes with the values: a small error that is the same everywhere.

Rounding goes up as often as down, so over thousands of elements it has nothing to do with the value
that it is the rounding of. An output that is three millionths too large has an error that hides
under the bound and under the spread of every single element, and yet all of its errors go one way.

What may do that without being wrong has to be left alone. Numbers that repeat round the same way in
every element; so the terms of a sample are added one after the other, and what drifts there may
drift. Kernels with constants of their own (Winograd, FFT) scale by a few units. Adders that cut off
in the place of rounding make every sum smaller, though never larger.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.arithmetic import Arithmetic
from convtrace.exact import FORMATS
from convtrace.mismatch.computing.setup import Setup
from convtrace.mismatch.computing.stages import LIMITS, Act, Add, rounded
from convtrace.mismatch.judging.elements import Compared
from convtrace.mismatch.judging.spread import add_in_order

Array = NDArray[Any]

FLOOR = 24.0
"""Units that any kernel may scale its results by."""

MARGIN = 4.0
"""By how much a drift may exceed that of the sample."""

ELEMENTS, DISTINCT, GROUPS = 1024, 256, 4
"""Elements, different numbers among them, and groups of them that it takes to tell."""

SIGMA = 8.0
"""Standard errors that the groups' drift has to be away from none."""

LANES = 4
"""Summands that an adder takes at once, at least, before it cuts off."""


def drift(setup: Setup, found: Compared, arithmetic: Arithmetic, count: int) -> float:
    """Return by what share of the values residuals go with them; 0 where that may be rounding.

    Args:
        setup: What is computed.
        found: The output against it; values are exact sums.
        arithmetic: Formats of the computation.
        count: Summands of one number.
    """
    one = arithmetic.operands == arithmetic.accumulate == arithmetic.result == "float32"
    simple = all(
        isinstance(stage, Add) or (isinstance(stage, Act) and stage.name in LIMITS)
        for stage in setup.stages
    )
    if not (one and simple and found.finite) or math.prod(found.shape) < ELEMENTS:
        return 0.0
    unit = FORMATS["float32"].unit
    slope = _slope(found)
    if not abs(slope) > FLOOR * unit:
        return 0.0
    cut_off = 0.0 if slope > 0 else count / LANES * unit
    if abs(slope) <= FLOOR * unit + cut_off + MARGIN * _simulated(setup):
        return 0.0
    return slope if _everywhere(found, slope) else 0.0


def _slope(found: Compared) -> float:
    """Fit residuals by a multiple of the values."""
    above, below = found.along
    return above / below if 0 < below < math.inf and math.isfinite(above) else 0.0


def _simulated(setup: Setup, samples: int = 96) -> float:
    """Return the largest drift of a sample whose terms are added one after the other."""
    draw = np.random.default_rng(17)
    at = tuple(draw.integers(0, size, samples) for size in setup.shape)
    origin = setup.origin(at)
    read, factors = setup.read(origin), setup.factors(origin[1])
    exact = (read * factors).sum(1)
    products = rounded(read * factors, "float32")
    taps = math.prod(setup.kernel)
    crossed = products.reshape(len(exact), -1, taps).swapaxes(1, 2).reshape(len(exact), -1)
    square = float((exact**2).sum())
    if not square:
        return math.inf
    return max(
        abs(float(((add_in_order(order, "float32") - exact) * exact).sum())) / square
        for order in (products, crossed, products[:, ::-1])
    )


def _everywhere(found: Compared, slope: float) -> bool:
    """Whether the drift is the same in all channels, rows and columns, and no chance."""
    values, residual = found.values, found.residual
    moved = residual != 0
    if len(np.unique(values[moved])) < DISTINCT or len(np.unique(residual[moved])) < DISTINCT:
        return False
    told = 0
    for axis in range(values.ndim):
        rest = tuple(a for a in range(values.ndim) if a != axis)
        square = (values * values).sum(rest)
        if not (square > 0).all():
            square, kept = square[square > 0], square > 0
            each = (values * residual).sum(rest)[kept] / square
        else:
            each = (values * residual).sum(rest) / square
        if len(each) < GROUPS:
            continue
        error = float(each.std(ddof=1)) / math.sqrt(len(each))
        if not abs(float(each.mean())) > SIGMA * error or not (each * slope > 0).all():
            return False
        told += 1
    return told > 0
