"""Rounding of kernels that transform their numbers first: FFT and Winograd.

They round in proportion to the largest sums, not to each one, so that the bound of adding one
product after the other is not theirs. Winograd's grows with the tile: F(2×2, 3×3) stays below 4
units of the largest sum, F(4×4, 3×3) below 70 and F(6×6, 3×3) below 130, for one channel; over
several channels these errors average out.

Sources:
    Error of Winograd's algorithm by tile size: Barabasz, Anderson, Soodhalter and Gregg,
    arXiv:1803.10986.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.exact import FORMATS
from convtrace.mismatch.computing.stages import Sums
from convtrace.mismatch.judging.elements import Compared
from convtrace.mismatch.question.problem import Problem

Array = NDArray[Any]

FEW, FEW_TERMS = 16, 512
"""Largest residual in units of the largest sum: at any number of terms n, and times √n."""

ALONE = 40
"""How many times the mean size the largest residual may have: a transform spares no element."""


def transformed(problem: Problem, right: Compared, linear: Sums) -> int | None:
    """Say how large residuals are that look like those of a kernel that transforms its numbers.

    Such residuals are everywhere, as large in each channel as its largest sums make them, and
    unrelated to the values: no bug that anyone could find.

    Args:
        problem: What was asked.
        right: The observed output against the right one.
        linear: The sums before what follows them.

    Returns:
        The largest residual in units of the largest sum of its channel; None if they do not look
        like that.
    """
    if problem.arithmetic is None or not np.isfinite(right.residual).all():
        return None
    unit = FORMATS[problem.arithmetic.accumulate].unit
    values = _rows(right.values)
    scale = unit * _rows(linear.magnitude * np.ones(right.values.shape)).max(1, keepdims=True)
    if right.values.std() == 0 or not (scale > 0).all():
        return None
    units = _rows(right.residual) / scale
    largest = float(np.abs(units).max())
    if largest > max(FEW, FEW_TERMS / math.sqrt(problem.count)):
        return None
    live = (values != 0) | (units != 0)  # a ReLU leaves nothing to round
    left, size = units[live], math.sqrt(float(np.mean(units[live] ** 2)))
    if np.count_nonzero(left) < 0.4 * left.size or largest > ALONE * size:
        return None
    together = abs(float(np.corrcoef(values[live], left)[0, 1]))
    rows = np.sqrt((units**2).sum(1) / np.maximum(live.sum(1), 1))
    rows = rows[live.any(1)]
    usual = together < 0.5 and bool(rows.max() <= 8 * np.median(rows))
    return math.ceil(largest) if usual else None


def _rows(array: Array) -> Array:
    """Return numbers as one row for each channel."""
    return np.moveaxis(array, 1, 0).reshape(array.shape[1], -1)
