"""What numbers come to, against NumPy's own look at all of them."""

from __future__ import annotations

import numpy as np
import pytest

from convtrace.mismatch.computing import statistics
from convtrace.mismatch.computing.setup import Setup
from convtrace.mismatch.computing.statistics import Statistics


def test_ends_mean_and_spread_are_those_of_all_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "BLOCK", 7)
    array = np.random.default_rng(0).normal(size=(3, 4, 5))
    seen = Statistics(array)
    assert (seen.low, seen.high) == (array.min(), array.max())
    assert seen.mean == pytest.approx(array.mean(), rel=1e-12)
    assert seen.spread == pytest.approx(array.std(), rel=1e-12)
    assert seen.finite
    assert not seen.whole
    assert Statistics(np.rint(array)).whole


def test_a_single_fraction_behind_many_integers_is_found() -> None:
    array = np.ones(1000)
    array[-1] = 0.5
    assert not Statistics(array).whole


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_end_up_where_numpy_puts_them(odd: float) -> None:
    array = np.arange(12.0)
    array[5] = odd
    seen = Statistics(array)
    assert not seen.finite
    np.testing.assert_array_equal([seen.low, seen.high], [array.min(), array.max()])


def test_another_input_has_statistics_of_its_own() -> None:
    x, weight = np.arange(9.0).reshape(1, 1, 3, 3), np.ones((1, 1, 1, 1))
    setup = Setup(x, weight, None, (1, 1), (0, 0), (1, 1), (3, 3), seen=(Statistics(x),))
    assert setup.statistics is setup.but(stride=(2, 2)).statistics
    assert setup.but(x=2 * x).statistics.high == 16
