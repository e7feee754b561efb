"""Which arithmetic explains an output that the one that was assumed does not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.arithmetic import Arithmetic
from convtrace.exact import FORMATS
from convtrace.mismatch.computing.setup import Positions, Setup
from convtrace.mismatch.computing.stages import Sums
from convtrace.mismatch.computing.statistics import Statistics
from convtrace.mismatch.computing.whole import linear_whole, whole
from convtrace.mismatch.judging.elements import Compared, compared, sums_up
from convtrace.mismatch.judging.spread import MARGIN, expected_size
from convtrace.mismatch.question.problem import Problem
from convtrace.mismatch.report import Cause
from convtrace.mismatch.search.change import Change
from convtrace.mismatch.search.sample import anywhere

Array = NDArray[Any]

NEARLY = 3.0
"""Roundings of a sum of absolute values that storing a few parts of a sum may amount to."""


FEW = 16
"""Elements that an arithmetic has to allow before all of them are judged by it."""


def lower(problem: Problem) -> Iterator[Arithmetic]:
    """List arithmetics that add in a lower precision than the assumed one, from the finest on.

    Operands of lower precision are not among them: how they were rounded can be tried, and is.
    """
    if (assumed := problem.arithmetic) is None:
        return
    result = stored_format(problem)
    seen = {assumed}
    ladder = [
        Arithmetic("float32", "float32", _narrower("float32", result)),
        Arithmetic("float16", "float16", "float16"),
        Arithmetic("float32", "float16", "float16"),
        Arithmetic("bfloat16", "bfloat16", "bfloat16"),
        Arithmetic("float32", "bfloat16", "bfloat16"),
    ]
    for one in ladder:
        finer = FORMATS[one.operands].precision > FORMATS[assumed.operands].precision
        if one in seen or finer:
            continue
        if FORMATS[one.accumulate].precision < 24 and result != one.result:
            continue  # what such an accumulator holds lies on its grid
        seen.add(one)
        yield one


def _narrower(left: str, right: str) -> str:
    return min(left, right, key=lambda name: FORMATS[name].precision)


def stored_format(problem: Problem) -> str:
    """Return the narrowest format that holds every observed number: what it was once stored in."""
    values = problem.observed
    if not sums_up(values):
        values = values[np.isfinite(values)]
    if values.size < 8 or Statistics(values).whole:
        return problem.arithmetic.result if problem.arithmetic else "float64"
    for name in ("bfloat16", "float16", "float32"):
        if name in problem.grids:
            return name
    return problem.arithmetic.result if problem.arithmetic else "float64"


def fitting(problem: Problem, right: Compared) -> Arithmetic | None:
    """Return the arithmetic in whose rounding the residuals lie as its rounding does, if any."""
    assumed = problem.arithmetic
    listed = list(lower(problem))
    if assumed is None or not listed or not np.isfinite(right.residual).all():
        return None
    at = anywhere(right.shape, 32, seed=5)
    far = _furthest(right)
    listed = [one for one in listed if _allows(problem, one, far)]
    narrow = FORMATS[assumed.result].precision < 24
    if not listed or not (narrow or _everywhere(right)):
        return None
    linear = linear_whole(problem.setup)
    nearly = narrow and _nearly(assumed, right, whole(problem.setup, linear))
    if not nearly and not _everywhere(right):
        return None
    for one in listed:
        setup = problem.setup.but(held=problem.but(arithmetic=one).held)
        sums = whole(setup, replace(linear, setup=setup))
        found = compared(problem.observed, sums, one, problem.count, problem.stored)
        if not found.all_inside:
            continue
        expected = expected_size(problem.setup, at, one, problem.count, problem.stored)
        if (nearly or expected / 16 <= found.size) and found.size <= MARGIN * expected:
            return one
    return None


def _furthest(right: Compared) -> Positions:
    """Return the positions of the elements that are furthest out."""
    size = np.abs(right.residual).reshape(-1)
    few = np.argpartition(size, -min(FEW, size.size))[-min(FEW, size.size) :]
    return tuple(np.unravel_index(few, right.shape))


def _allows(problem: Problem, ran: Arithmetic, at: Positions) -> bool:
    """Whether the elements at some positions lie inside the bounds of an arithmetic."""
    sums = problem.setup.but(held=problem.but(arithmetic=ran).held).sample(at)
    observed = problem.observed[at]
    return compared(observed, sums, ran, problem.count, problem.stored).all_inside


def _nearly(arithmetic: Arithmetic, right: Compared, sums: Sums) -> bool:
    """Whether results are so little off that parts of a sum may have been stored as they are."""
    result = FORMATS[arithmetic.result]
    slack = NEARLY * (result.unit * sums.magnitude + result.smallest)
    return bool((np.abs(right.residual) <= slack).all())


def rounds_everywhere(problem: Problem, setup: Setup) -> bool:
    """Whether what an explanation leaves lies as rounding of the problem's arithmetic does."""
    sums = whole(setup)
    found = compared(problem.observed, sums, problem.arithmetic, problem.count, problem.stored)
    return _everywhere(found)


def _everywhere(right: Compared) -> bool:
    """Whether residuals are as large in one place as in another, and unrelated to the values."""
    residual, values = right.residual, right.values
    if residual.size < 8:
        return False
    quotient = residual / np.maximum(right.own, np.finfo(np.float64).tiny)  # by Σ|w·x|
    if np.mean(quotient != 0) < 0.3:
        return False
    for axis in range(residual.ndim):
        rows = np.moveaxis(quotient, axis, 0).reshape(quotient.shape[axis], -1)
        if rows.shape[1] < 16:
            continue
        size = np.sqrt((rows**2).mean(1))
        if size.max() > 5 * np.median(size):
            return False
    spread = float(values.std()) * float(residual.std())
    if not spread:
        return True
    together = float(np.mean((values - values.mean()) * (residual - residual.mean()))) / spread
    return abs(together) < 0.7


def arithmetic_of(problem: Problem, causes: tuple[Cause, ...]) -> Arithmetic:
    """Return the arithmetic that causes of lower precision amount to."""
    assumed = problem.arithmetic
    assert assumed is not None
    operands, result = assumed.operands, assumed.result
    for cause in causes:
        name = str(cause.parameters["format"])
        if cause.id == "precision.result" or "result" in str(cause.parameters.get("of", "")):
            result = _narrower(result, name)
        if cause.id == "precision.operands":
            operands = _narrower(operands, name)
    accumulate = assumed.accumulate
    if FORMATS[operands].precision <= 24 and FORMATS[accumulate].precision > 24:
        accumulate = "float32"
    return Arithmetic(operands, accumulate, result)


def possible(problem: Problem, change: Change) -> bool:
    """Whether a change can be what ran: a lower precision if it is lower and results lie on it."""
    name = change.parameters.get("format")
    if not change.id.startswith("precision.") or name is None:
        return True
    assumed = problem.arithmetic
    if assumed is None:
        return False
    if change.id == "precision.operands":
        if FORMATS[name].precision >= FORMATS[assumed.operands].precision:
            return False
        if "result" not in str(change.parameters["of"]):
            return True
    if FORMATS[name].precision >= FORMATS[assumed.result].precision:
        return False
    return name in problem.grids
