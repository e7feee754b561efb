"""From a problem to the report: judge every element, then look for the cause."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.arithmetic import Arithmetic
from convtrace.exact import FORMATS
from convtrace.mismatch.causes import candidates
from convtrace.mismatch.causes.activation import leaves_one
from convtrace.mismatch.computing.stages import Sums
from convtrace.mismatch.computing.whole import Whole, linear_whole
from convtrace.mismatch.judging.elements import BLOCK, Compared, compared
from convtrace.mismatch.judging.spread import MARGIN
from convtrace.mismatch.judging.transform import transformed
from convtrace.mismatch.judging.verdict import judged
from convtrace.mismatch.naming import named, proves, unproved_settings
from convtrace.mismatch.pattern import pattern
from convtrace.mismatch.question.problem import Problem
from convtrace.mismatch.report import Cause, Report
from convtrace.mismatch.search.fits import beyond, fitted, numbers
from convtrace.mismatch.search.judge import Judge, is_long
from convtrace.mismatch.search.precision import (
    arithmetic_of,
    fitting,
    lower,
    possible,
    rounds_everywhere,
)
from convtrace.mismatch.search.sample import anywhere
from convtrace.mismatch.search.search import Changes, Found, Search
from convtrace.mismatch.search.shapes import begun_later, misshapen, other_settings

Array = NDArray[Any]

ENOUGH = 64
"""Right elements that tell which arithmetic ran."""

FEW = 24
"""Elements of a long output that are looked at before all of them are."""

SMALL = 32
"""Elements of an output in half precision up to which rounding may look like any small mistake."""

BROAD = frozenset({"output.by_channel", "kernel.by_channel", "bias.other"})
"""Fits with a number for each channel: two listed causes together may be what they fit."""


def diagnose(problem: Problem, tick: Callable[[], None]) -> Report:
    """Judge an output, and name the cause where it is wrong."""
    with np.errstate(all="ignore"):  # candidates may overflow, and are then no explanation
        return _diagnosed(problem, tick)


def _diagnosed(problem: Problem, tick: Callable[[], None]) -> Report:
    if problem.observed.shape != problem.setup.shape:
        return misshapen(problem, tick, diagnose)
    surely = _surely_wrong(problem)
    linear = linear_whole(problem.setup, narrow=surely)
    sums = Whole(problem.setup, linear)
    found = _compared(problem, sums, keep=surely)
    report, wrong = judged(problem, sums, found)
    tick()
    if report.verdict == "mismatch" and (flushed := _flushed(problem, linear, wrong)) is not None:
        return flushed
    if (shaken := _shaken(problem, report, found)) is not None:
        return shaken
    usual = report.spread is None or report.spread.usual
    if report.verdict != "mismatch" and usual:
        return report
    if not problem.extra.get("settled"):
        settled = other_settings(problem, tick)
        if settled is not None:
            return diagnose(settled, tick)
        if (begun := begun_later(problem, tick, diagnose)) is not None:
            return begun
    return explained(problem, report, wrong, found, linear, tick)


def _surely_wrong(problem: Problem) -> bool:
    """Whether a few elements prove a long output wrong, so that float32 will do for the rest."""
    if not is_long(problem.observed, problem.arithmetic, problem.count):
        return False
    every = anywhere(problem.observed.shape, FEW, seed=9)
    for part in (slice(None, None, 4), slice(None)):  # mostly the first ones tell
        at = tuple(axis[part] for axis in every)
        sums = problem.setup.sample(at)
        few = compared(
            problem.observed[at], sums, problem.arithmetic, problem.count, problem.stored
        )
        if float(few.ratio.max()) > 1:
            return True
    return False


def _compared(problem: Problem, sums: Whole, *, keep: bool) -> Compared:
    stored, count = problem.stored, problem.count
    return compared(problem.observed, sums, problem.arithmetic, count, stored, keep=keep)


def _flushed(problem: Problem, linear: Sums, wrong: Array) -> Report | None:
    """Report an output whose only fault is that subnormal numbers were flushed to zero."""
    assumed = problem.arithmetic
    if assumed is None or assumed.flushes:
        return None
    least = max(FORMATS[name].smallest_exponent for name in (assumed.accumulate, assumed.result))
    most = problem.count * 2.0**least
    first = int(np.argmax(wrong))
    if not (wrong.any() and abs(float(problem.observed.reshape(-1)[first])) <= 4 * most):
        return None
    at = np.unravel_index([first], wrong.shape)
    if not abs(float(problem.setup.sample(at).values[0])) <= 4 * most:
        return None
    if not (np.abs(problem.observed[wrong]) <= most).all():
        return None
    ran = replace(assumed, flushes=True)
    other = problem.but(arithmetic=ran)
    report, _ = judged(other, Whole(problem.setup, linear), _again(problem, ran, linear))
    return None if report.verdict == "mismatch" else report


def _shaken(problem: Problem, report: Report, found: Compared) -> Report | None:
    """Report a callable whose two runs differ by more than rounding explains."""
    for key, values in problem.notes:
        if key == "diff.note.nondeterministic" and values["largest"] > 2 * float(
            np.nanmax(found.bound)
        ):
            cause = Cause("deterministic.not", {"largest": values["largest"]}, proved=True)
            return replace(report, verdict="mismatch", explanations=((cause,),))
    return None


def explained(
    problem: Problem,
    report: Report,
    wrong: Array,
    right: Compared,
    linear: Sums,
    tick: Callable[[], None],
) -> Report:
    """Add the causes to a report, or the pattern of the residual."""
    judge = judge_of(problem, report)
    hidden = not wrong.any()
    badness = right.ratio
    if hidden:
        # Every element is inside its bound, but together they are further out than rounding goes.
        badness = np.abs(right.quotient) / judge.limit
        wrong = badness > 0.5 * badness.max()
    usable = wrong if right.finite else wrong & np.isfinite(problem.observed)
    observed = problem.observed.reshape(-1)
    same = np.count_nonzero(usable) > 1 and observed[-1] == observed[0]
    same = same and bool((observed == observed[0]).all())
    if not usable.any():
        return replace(report, pattern=pattern(problem.setup, right, wrong))
    most = None if hidden else right.furthest
    search = Search(problem.setup, judge, wrong, badness, tick, linear, right.residual, most)
    listed = [c for c in candidates(problem.setup, problem.observed) if possible(problem, c)]
    if same:  # one number everywhere: what made it left no trace in it, with few exceptions
        listed = [c for c in listed if leaves_one(c)]
    found = search.verify(search.singles(listed))
    if same and not found:
        return replace(report, pattern=pattern(problem.setup, right, wrong))
    few = observed.size <= SMALL and not (len(found) == 1 and proves(found[0]))
    ran = fitting(problem, right) if _is_half(problem) and (few or not found) else None
    larger = ran is not None and not few and _larger(problem, right)
    if ran is not None and not larger:
        return _ran(problem, ran, linear)  # a cause can be found for half-precision rounding
    # A fit can be all that a listed cause is and more, so that it is no rival of one.
    fits = [] if found else _fits(search, right)
    if ran is not None and not (fits and numbers(fits[0].changes[0]) == 1):
        return _ran(problem, ran, linear)
    if fits and fits[0].changes[0].id in BROAD and not problem.extra.get("shallow"):
        found = search.verify(search.pairs(listed))
    found = found or fits
    if found:
        return _named(problem, report, found, search)
    ran = fitting(problem, right)
    if ran is not None:
        return _ran(problem, ran, linear)
    if problem.extra.get("shallow"):
        return replace(report, verdict="mismatch")
    found = search.verify(search.pairs(listed))
    if found:
        return _named(problem, report, found, search)
    below = list(lower(problem))
    if below and (hidden or not _holds(right, wrong, judge.limit)):
        lost = _in_lower_precision(problem, below, listed, tick)
        if lost is not None:
            return lost
    if (units := transformed(problem, right, linear)) is not None:
        notes = (*report.notes, ("diff.note.transform", {"units": units}))
        return replace(report, verdict="rounding", notes=notes)
    return replace(report, verdict="mismatch", pattern=pattern(problem.setup, right, wrong))


def _fits(search: Search, right: Compared) -> list[Found]:
    """Return fits that reproduce an output: all of those that do with a single number, or one.

    A fitted number is tried as the simple one that it may stand for, then as it is.
    """
    likely = search.singles(fitted(search, right))
    for count in sorted({numbers(changes[0]) for changes in likely}):
        forms: dict[str, list[Changes]] = {}
        for changes in likely:
            if numbers(changes[0]) == count:
                forms.setdefault(changes[0].id, []).append(changes)
        for row in itertools.zip_longest(*forms.values()):
            found = search.verify(changes for changes in row if changes is not None)
            if found:
                found = found if count == 1 else found[:1]
                weak = any(beyond(search, one.changes[0]) < 1 for one in found)
                return [replace(one, bits=0.0) for one in found] if weak else found
    return []


def _is_half(problem: Problem) -> bool:
    assumed = problem.arithmetic
    return assumed is not None and FORMATS[assumed.result].precision < 24


def _larger(problem: Problem, right: Compared) -> bool:
    """Whether numbers of half precision are larger by more than rounding one way makes them."""
    assert problem.arithmetic is not None
    above, below = right.along
    return 0 < below < np.inf and above / below > 2 * FORMATS[problem.arithmetic.result].unit


def _ran(problem: Problem, ran: Arithmetic, linear: Sums) -> Report:
    """Report that another arithmetic ran than was assumed."""
    cause = Cause("precision.arithmetic", {"arithmetic": ran.describe()})
    verdict = "mismatch" if problem.explicit else "rounding"
    other = problem.but(arithmetic=ran)
    report, _ = judged(other, Whole(problem.setup, linear), _again(problem, ran, linear))
    return replace(report, verdict=verdict, explanations=((cause,),))


def judge_of(problem: Problem, report: Report) -> Judge:
    """Return what candidates are judged by."""
    limit = float("inf") if report.spread is None else MARGIN * report.spread.expected
    return Judge(problem.observed, problem.arithmetic, problem.count, problem.stored, limit)


def _again(problem: Problem, arithmetic: Any, linear: Sums) -> Compared:
    setup = problem.but(arithmetic=arithmetic).setup
    sums = Whole(setup, replace(linear, setup=setup))
    return compared(problem.observed, sums, arithmetic, problem.count, problem.stored)


def _named(problem: Problem, report: Report, found: list[Found], search: Search) -> Report:
    """Put what was found into the report."""
    names = unproved_settings(named(found, search.base), problem.found)
    report = names.into(replace(report, verdict="mismatch"))
    explanations = names.explanations
    rounds = [
        all(c.id in ("precision.operands", "precision.result") for c in causes)
        for causes in explanations
    ]
    if all(rounds) and not problem.explicit and problem.arithmetic is not None:
        # A lower precision than the dtypes promise is no bug; it is what ran.
        ran = arithmetic_of(problem, explanations[0])
        linear = search.linear or linear_whole(problem.setup)
        sums = Whole(problem.setup, linear)
        again, _ = judged(problem.but(arithmetic=ran), sums, _again(problem, ran, linear))
        if again.verdict != "mismatch":
            return names.into(replace(again, verdict="rounding"))
        return replace(report, verdict="rounding", arithmetic=ran)
    return report


def _holds(right: Compared, wrong: Array, limit: float) -> bool:
    """Whether many right elements spread as the arithmetic says, so that no lower one ran."""
    quotient, wrong = right.quotient.reshape(-1), wrong.reshape(-1)
    count = near = 0
    for start in range(0, wrong.size, BLOCK):
        some = quotient[start : start + BLOCK][~wrong[start : start + BLOCK]]
        some = some[some != 0]  # zeros behind a ReLU are right in any arithmetic
        count, near = count + some.size, near + np.count_nonzero(np.abs(some) <= 2 * limit)
    return count >= max(ENOUGH, wrong.size // 20) and bool(near >= 0.9 * count)


def _in_lower_precision(
    problem: Problem,
    below: list[Arithmetic],
    listed: list[Any],
    tick: Callable[[], None],
) -> Report | None:
    """Look for single causes in an output that was summed in a lower precision as well.

    Operands in a lower precision are not tried here: how they were rounded is a candidate, so that
    the pair of it and a cause was tried before. The bound of such an arithmetic alone would hide
    every second mistake that is smaller than it.
    """
    for ran in below:
        other = problem.but(arithmetic=ran)
        linear = linear_whole(other.setup)
        sums = Whole(other.setup, linear)
        right = compared(problem.observed, sums, ran, problem.count, problem.stored)
        report, bad = judged(other, sums, right)
        if report.verdict != "mismatch":
            continue
        judge = judge_of(other, report)
        search = Search(other.setup, judge, bad, right.ratio, tick, linear, right.residual)
        usual = [c for c in listed if not c.id.startswith("precision.")]
        found = search.verify(search.singles(usual))
        if found and rounds_everywhere(other, found[0].setup):
            return _named(other.but(explicit=True), report, found, search)
    return None
