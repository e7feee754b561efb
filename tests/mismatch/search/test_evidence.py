"""How surely numbers say that an explanation is no chance hit."""

from __future__ import annotations

import numpy as np
import pytest

from convtrace.arithmetic import plain
from convtrace.mismatch.computing.setup import Setup
from convtrace.mismatch.computing.stages import Sums
from convtrace.mismatch.computing.whole import grid
from convtrace.mismatch.judging.elements import Compared, compared
from convtrace.mismatch.search.evidence import Evidence


def _of_integers(wrong: int, size: int = 486) -> Evidence:
    """Return the evidence of whole numbers of which some are off by one."""
    draw = np.random.default_rng(1)
    observed = draw.integers(-100, 100, size).astype(np.float64)
    off = np.zeros(size)
    off[draw.choice(size, wrong, replace=False)] = 1.0
    badness = np.where(off != 0, np.inf, 0.0)
    return Evidence(observed, off, off != 0, badness)


def test_which_of_many_whole_numbers_are_off_by_one_says_more_than_that_some_are() -> None:
    assert _of_integers(80).bits(500) > 100
    assert _of_integers(1).bits(500) < 10
    assert _of_integers(486).bits(500) < 10  # all are off by the same: that is said once


def test_numbers_at_the_limits_of_a_type_say_nothing_of_where_it_is_wrong() -> None:
    draw = np.random.default_rng(2)
    observed = np.where(draw.random(400) < 0.5, -128.0, 127.0)
    off = np.where(draw.random(400) < 0.3, 1.0, 0.0)
    evidence = Evidence(observed, off, off != 0, np.where(off != 0, np.inf, 0.0))
    assert evidence.bits(500) < 10


@pytest.mark.parametrize("share", [1.0, 0.5, 0.01])
@pytest.mark.parametrize("constant", [False, True])
def test_sums_of_squares_of_the_wrong_elements_are_those_of_their_numbers(
    share: float, constant: bool
) -> None:
    draw = np.random.default_rng(3)
    observed, residual = 1e6 + draw.normal(size=(2, 3, 200, 70)), draw.normal(size=(2, 3, 200, 70))
    wrong = draw.random(observed.shape) < share
    if constant:
        observed[wrong] = 0.0
    evidence = Evidence(observed, residual, wrong, np.where(wrong, 9.0, 0.1))
    assert evidence.squares is not None
    before, around = evidence.squares
    assert before == pytest.approx(float((residual[wrong] ** 2).sum()), rel=1e-9)
    expected = float(((observed[wrong] - observed[wrong].mean()) ** 2).sum())
    assert around == pytest.approx(expected, rel=1e-9)


def test_an_explanation_has_to_take_most_of_the_residual_away() -> None:
    draw = np.random.default_rng(4)
    observed, residual = draw.normal(size=(1, 2, 300, 80)), draw.normal(size=(1, 2, 300, 80))
    wrong = np.ones(observed.shape, dtype=np.bool_)
    evidence = Evidence(observed, residual, wrong, 9.0 * wrong)
    for left, explains in ((0.4, True), (0.6, False)):
        assert evidence.explains(_compared(observed, observed - left * residual)) is explains


def _compared(observed: np.ndarray, values: np.ndarray) -> Compared:
    one = np.ones((2, 1, 1, 1))
    setup = Setup(np.ones((1, 1, 300, 80)), one, None, (1, 1), (0, 0), (1, 1), (300, 80))
    sums = Sums(values, np.ones(values.shape), grid(values.shape), setup)
    return compared(observed, sums, plain("float32"), 10, "float32")
