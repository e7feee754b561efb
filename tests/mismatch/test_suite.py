"""Wrong convolutions are named, right ones are not accused; the script check_causes.py does all."""

from __future__ import annotations

from unittest import mock

import pytest

from mismatch import right, unknown
from mismatch.outcome import Figures, judge_case, judge_right, judge_unknown, summary
from mismatch.wrong import CASES, GITHUB, Case

SINGLE = [case for case in CASES if not case.all]
PAIRS = [case for case in CASES if case.all]
RIGHT = list(right.rows())
UNKNOWN = list(unknown.rows())


@pytest.mark.parametrize("case", SINGLE, ids=lambda case: case.name)
def test_a_mistake_that_was_reported_is_named_first(case: Case) -> None:
    outcome = judge_case(case)
    assert outcome.good, outcome
    assert not outcome.accused, outcome


@pytest.mark.parametrize("case", PAIRS[:4], ids=lambda case: case.name)
def test_two_mistakes_at_once_are_both_named(case: Case) -> None:
    outcome = judge_case(case)
    assert outcome.good, outcome


@pytest.mark.parametrize("row", RIGHT[::2], ids=lambda row: row[0])
def test_a_right_output_is_not_called_a_bug(row: right.Row) -> None:
    outcome = judge_right(*row)
    assert outcome.good, outcome


@pytest.mark.parametrize("row", UNKNOWN[::5], ids=lambda row: row[0])
def test_an_unknown_cause_is_not_named(row: unknown.Row) -> None:
    outcome = judge_unknown(*row)
    assert outcome.good, outcome


def test_every_case_cites_a_public_thread() -> None:
    assert len(CASES) >= 100
    for case in CASES:
        owner, name, kind, number = case.report.split("/")
        assert kind in ("issues", "pull"), case
        assert number.isdigit(), case
        assert GITHUB + f"{owner}/{name}" == f"https://github.com/{owner}/{name}"


def test_names_of_cases_are_all_different() -> None:
    assert len({case.name for case in CASES}) == len(CASES)


def test_figures_below_the_aim_are_not_acceptable() -> None:
    assert Figures(95, 100, 0, 10, 0, 5).acceptable
    assert not Figures(94, 100, 0, 10, 0, 5).acceptable
    assert not Figures(100, 100, 1, 10, 0, 5).acceptable
    assert not Figures(100, 100, 0, 10, 1, 5).acceptable


def test_the_suite_notices_a_checker_without_candidates() -> None:
    with mock.patch("convtrace.mismatch.diagnosis.candidates", return_value=[]):
        figures = summary([judge_case(case) for case in SINGLE[:6]])
    assert not figures.acceptable
