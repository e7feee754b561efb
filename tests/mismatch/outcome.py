"""Judges reports of `ct.diff` by what is known of each case."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import convtrace as ct
from mismatch import (
    right,
    unknown,
    wrong_after,
    wrong_memory,
    wrong_pairs,
    wrong_places,
    wrong_quantized,
    wrong_weights,
)
from mismatch.wrong import CASES, Case, Question

FILES = (wrong_weights, wrong_places, wrong_memory, wrong_after, wrong_quantized, wrong_pairs)


@dataclass(frozen=True)
class Outcome:
    """What came of one case.

    Attributes:
        kind: `wrong`, `right` or `unknown`.
        name: The case.
        good: Whether the report says what is known.
        accused: Whether a right output was called a bug, or a wrong cause proved.
        said: The report, in short.
        seconds: How long it took.
    """

    kind: str
    name: str
    good: bool
    accused: bool
    said: str
    seconds: float = 0.0

    def __str__(self) -> str:
        mark = "ok  " if self.good else "ACCUSED" if self.accused else "MISS"
        return f"{mark} {self.seconds:5.2f} s  {self.kind}: {self.name}: {self.said}"


@dataclass(frozen=True)
class Figures:
    """The figures of a run."""

    named: int
    wrong: int
    accused: int
    right: int
    falsely_proved: int
    unknown: int

    @property
    def acceptable(self) -> bool:
        enough = self.named >= 0.95 * self.wrong
        return enough and not self.accused and not self.falsely_proved

    def __str__(self) -> str:
        return (
            f"causes named first: {self.named} of {self.wrong} "
            f"({100 * self.named / max(self.wrong, 1):.1f} %)\n"
            f"right outputs called a bug: {self.accused} of {self.right}\n"
            f"wrong causes asserted as proved: {self.falsely_proved} of {self.wrong} wrong and "
            f"{self.unknown} unknown"
        )


def ask(question: Question) -> ct.Report:
    report = ct.diff(question.mine, question.reference, **question.settings)
    assert isinstance(report, ct.Report)
    return report


def judge_case(case: Case) -> Outcome:
    """Judge the report of a wrong convolution: its cause has to come first."""
    report = ask(case.make())
    first = {cause.id for cause in report.explanations[0]} if report.explanations else set[str]()
    proved = {c.id for causes in report.explanations for c in causes if c.proved}
    together, alone = first == set(case.causes), len(first) == 1 and first <= case.causes
    good = together if case.all else alone
    falsely = bool(proved - case.causes)
    return Outcome("wrong", case.name, good, falsely, said(report))


def judge_right(name: str, question: Question, verdicts: tuple[str, ...]) -> Outcome:
    """Judge the report of a right convolution: it must not be called a bug."""
    report = ask(question)
    good = report.verdict in verdicts
    return Outcome("right", name, good, report.verdict == "mismatch", said(report))


def judge_unknown(name: str, question: Question) -> Outcome:
    """Judge the report of a wrong convolution whose cause is not listed: no cause, a pattern."""
    report = ask(question)
    proved = any(c.proved for c in report.causes)
    good = report.verdict == "mismatch" and not report.causes and report.pattern is not None
    return Outcome("unknown", name, good, proved, said(report))


def said(report: ct.Report) -> str:
    parts: list[str] = []
    for causes in report.explanations:
        row = [f"{c.id}{'!' if c.proved else '?'} {dict(c.parameters)}" for c in causes]
        parts.append(" + ".join(row))
    return f"{report.verdict} | " + " | ".join(parts)


def judge_all(only: str = "", every: int = 1) -> list[Outcome]:
    """Judge every case, or every nth one, or those with a word in their names."""
    cases = [case for case in CASES if only in case.name][::every]
    outcomes = [_caught(judge_case, case) for case in cases]
    rights = [row for row in right.rows() if only in row[0]][::every]
    outcomes += [_caught(judge_right, *row) for row in rights]
    unknowns = [row for row in unknown.rows() if only in row[0]][::every]
    return outcomes + [_caught(judge_unknown, *row) for row in unknowns]


def _caught(judge: Callable[..., Outcome], *row: Any) -> Outcome:
    start = time.perf_counter()
    try:
        outcome = judge(*row)
    except Exception as error:  # noqa: BLE001 - a case that raises has failed
        kind = judge.__name__.removeprefix("judge_").replace("case", "wrong")
        name = getattr(row[0], "name", row[0])
        outcome = Outcome(kind, name, False, kind == "right", f"{type(error).__name__}: {error}")
    return replace(outcome, seconds=time.perf_counter() - start)


def summary(outcomes: list[Outcome]) -> Figures:
    wrong = [o for o in outcomes if o.kind == "wrong"]
    rights = [o for o in outcomes if o.kind == "right"]
    unknowns = [o for o in outcomes if o.kind == "unknown"]
    return Figures(
        named=sum(o.good for o in wrong),
        wrong=len(wrong),
        accused=sum(o.accused for o in rights),
        right=len(rights),
        falsely_proved=sum(o.accused for o in (*wrong, *unknowns)),
        unknown=len(unknowns),
    )


def mutations() -> Iterator[tuple[str, bool]]:
    """Break the checker in several ways; yield each with whether a case notices.

    Unbroken, all cases are as they should be; so is each of them in the tests.
    """
    from convtrace.mismatch.judging import numbers
    from convtrace.mismatch.search import search

    def loose(function: Any) -> Any:
        return lambda *args, **kwargs: 1e6 * function(*args, **kwargs)

    wide = {name: loose(getattr(numbers, name)) for name in ("bounds", "typical")}
    diagnosis, causes = "convtrace.mismatch.diagnosis", "convtrace.mismatch.causes"
    breaks: list[tuple[str, Any]] = [
        ("bounds a million times too wide", mock.patch.multiple(numbers, **wide)),
        ("no lower precision known", mock.patch(f"{diagnosis}.possible", _no_precision)),
        ("kernels never flipped", mock.patch(f"{causes}.kernel.reverse", return_value=_as_it_is)),
        ("no candidates", mock.patch(f"{diagnosis}.candidates", return_value=[])),
        ("every survivor accepted", mock.patch.object(search.Judge, "accepts", return_value=True)),
        ("pairs never tried", mock.patch.object(search.Search, "pairs", return_value=[])),
    ]
    for name, patch in breaks:
        with patch:
            try:
                noticed = not all(outcome.good for outcome in judge_all(every=4))
            except Exception:  # noqa: BLE001 - a checker that breaks down is noticed, too
                noticed = True
        yield name, noticed


def _no_precision(problem: Any, change: Any) -> bool:
    return not change.id.startswith("precision.")


def _as_it_is(index: Any, shape: Any) -> Any:
    return index
