"""Rounding of kernels that transform their numbers first: FFT and Winograd.

They round in proportion to the largest sums, not to each one, so that the bound of adding one
product after the other is not theirs. Winograd's grows with the tile: F(2×2, 3×3) stays below 4
units of the largest sum, F(4×4, 3×3) below 70 and F(6×6, 3×3) below 130, for one channel; over
several channels these errors average out. Where an input is empty in some places and full in
others, as behind a ReLU, or weights are pruned, the largest sum says little: the error then goes by
what the whole tile holds, most of which lies outside the window of the number.

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
from convtrace.mismatch.computing.setup import Setup
from convtrace.mismatch.computing.stages import Sums
from convtrace.mismatch.judging.elements import Compared
from convtrace.mismatch.question.problem import Problem

Array = NDArray[Any]

FEW, FEW_TERMS = 16, 512
"""Largest residual in units of the largest sum: at any number of terms n, and times √n."""

ALONE, APART = 40, 70
"""How many times the mean size the largest residual may have: a transform spares no element. In
units of what a tile holds, F(4×4, 3×3) of a few numbers that are not zero comes to 57."""

BESIDE = 5
"""Places beside a window that may lie in its tile: 8 a side is the widest tile in use."""

USUAL, MOST = 20, 260
"""Mean and largest residual in units of what a tile holds: F(6×6, 3×3) stays below 17 and 251."""

LIGHT = 1e-3
"""Tiles that hold less of the fullest one's numbers have errors that bounds cover."""


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
    if _too_far(problem, right, linear, unit):
        return None
    values = _rows(right.values)
    scale = unit * _rows(linear.magnitude * np.ones(right.values.shape)).max(1, keepdims=True)
    if right.values.std() == 0 or not (scale > 0).all():
        return None
    units = _rows(right.residual) / scale
    largest = float(np.abs(units).max())
    most = max(FEW, FEW_TERMS / math.sqrt(problem.count))
    even = _spread_evenly(values, units, most=most, alone=ALONE)
    if not even and not _by_tile(problem, right, unit):
        return None
    return math.ceil(largest)


def _too_far(problem: Problem, right: Compared, linear: Sums, unit: float) -> bool:
    """Whether one residual alone is larger than any kernel makes it that transforms its numbers.

    What a tile holds is no more than all its places with the largest input would.
    """
    setup, residual = problem.setup, right.residual.reshape(-1)
    ends = int(np.argmax(residual)), int(np.argmin(residual))
    at = max(ends, key=lambda place: abs(float(residual[place])))
    size = abs(float(residual[at])) / unit
    if size <= max(FEW, FEW_TERMS / math.sqrt(problem.count)) * float(np.max(linear.magnitude)):
        return False
    value = abs(float(right.observed.reshape(-1)[at]) - float(residual[at]))
    places = math.prod(taps + 2 * BESIDE for taps in setup.kernel)
    largest = max(setup.statistics.high, -setup.statistics.low)
    held = math.sqrt(float(np.einsum("i,i->", *(2 * [setup.weight.reshape(-1)]))) * places)
    return size > 1.001 * MOST * max(held * largest, value)


def _spread_evenly(
    values: Array, units: Array, *, most: float, alone: float, usual: float = math.inf
) -> bool:
    """Whether residuals are everywhere, none too large, and unrelated to the values.

    Args:
        values: Right values, one row for each channel.
        units: Residuals in units of what they should go by.
        most: The largest that a residual may be.
        alone: How many times the mean size it may have.
        usual: The largest that residuals may be in the mean.
    """
    largest = float(np.abs(units).max())
    if largest > most:
        return False
    live = (values != 0) | (units != 0)  # a ReLU leaves nothing to round
    left, size = units[live], math.sqrt(float(np.mean(units[live] ** 2)))
    if np.count_nonzero(left) < 0.4 * left.size or largest > alone * size or size > usual:
        return False
    together = abs(float(np.corrcoef(values[live], left)[0, 1]))
    rows = np.sqrt((units**2).sum(1) / np.maximum(live.sum(1), 1))
    rows = rows[live.any(1)]
    return together < 0.5 and bool(rows.max() <= 8 * np.median(rows))


def _by_tile(problem: Problem, right: Compared, unit: float) -> bool:
    """Whether residuals go by what the tile around each number holds, as Winograd's do."""
    setup = problem.setup
    plain = not setup.transposed and set(setup.stride) == {1} == set(setup.dilation)
    if not plain or not 1 < max(setup.kernel) < 8:
        return False
    held = _held(setup)
    full = held > LIGHT * held.max()
    scale = unit * np.maximum(held, np.abs(right.values))
    units = np.where(full, right.residual / np.where(full, scale, 1.0), 0.0)
    light = ~full & (np.abs(right.residual) > MOST * unit * np.maximum(held, held.max() * LIGHT))
    values = np.where(full, right.values, 0.0)
    if light.any():
        return False
    return _spread_evenly(_rows(values), _rows(units), most=MOST, alone=APART, usual=USUAL)


def _held(setup: Setup) -> Array:
    """Return the root of what weights and the inputs around each window come to, squared.

    Returns:
        √Σ‖w‖²·‖x‖², summed over the channels that a number reads; x is what lies in its window and
        up to `BESIDE` places beside it. Has the shape of the output.
    """
    squares = setup.x**2
    for axis, (taps, low, size) in enumerate(zip(setup.kernel, setup.low, setup.size, strict=True)):
        total = np.insert(np.cumsum(squares, axis + 2), 0, 0.0, axis + 2)
        ends = np.arange(size) - low
        first, last = (
            np.clip(ends + by, 0, setup.x.shape[axis + 2]) for by in (-BESIDE, taps + BESIDE)
        )
        squares = np.take(total, last, axis + 2) - np.take(total, first, axis + 2)
    groups, each = setup.groups, setup.terms
    weights = (setup.weight**2).reshape(groups, -1, each, math.prod(setup.kernel)).sum(3)
    parts = np.maximum(squares, 0.0).reshape(len(setup.x), groups, each, -1)
    return np.sqrt(np.matmul(weights, parts)).reshape(setup.shape)


def _rows(array: Array) -> Array:
    """Return numbers as one row for each channel."""
    return np.moveaxis(array, 1, 0).reshape(array.shape[1], -1)
