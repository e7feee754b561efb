"""Which elements candidates are tried on."""

from __future__ import annotations

import numpy as np
import pytest

from convtrace.mismatch.search.sample import MANY, positions, telling


@pytest.mark.parametrize("size", [4096, MANY * 2])
@pytest.mark.parametrize("share", [1.0, 0.5, 1e-3])
def test_three_of_four_elements_are_wrong_ones_and_the_worst_is_the_first(
    size: int, share: float
) -> None:
    draw = np.random.default_rng(0)
    wrong = draw.random((size // 64, 64)) < share
    badness = np.where(wrong, 2 + draw.random(wrong.shape), 0.5)
    at = positions(wrong, badness, 64)
    assert badness[at][0] == badness.max()
    assert len(set(zip(*(axis.tolist() for axis in at), strict=True))) == len(at[0])
    bad = int(wrong[at].sum())
    assert bad == (64 if share == 1 else min(48, int(wrong.sum())))
    assert len(at[0]) == 64 or share == 1e-3


@pytest.mark.parametrize("size", [4096, MANY * 2])
def test_the_only_element_is_a_wrong_one(size: int) -> None:
    wrong = np.zeros(size, dtype=np.bool_)
    wrong[size // 3] = True
    (place,) = positions(wrong, wrong * 9.0, 1)
    assert place.tolist() == [size // 3]


def test_a_few_right_elements_among_many_are_found() -> None:
    wrong = np.ones(MANY * 2, dtype=np.bool_)
    wrong[[5, 7, 11]] = False
    (places,) = positions(wrong, wrong * 9.0, 64)
    assert set(places.tolist()) >= {5, 7, 11}
    assert len(places) == 64


def test_an_element_that_a_limit_cut_off_gives_way_to_one_with_a_number_of_its_own() -> None:
    observed = np.array([0.0, 0.0, 3.5, 0.0, 1.25, 7.0])
    wrong = np.array([True, True, True, True, True, False])
    badness = np.array([9.0, 5.0, 2.0, 4.0, 3.0, 0.1])
    (places,) = telling((np.array([0, 1, 5]),), (np.array([0, 2, 3, 4]),), observed, wrong, badness)
    assert places.tolist() == [4, 0, 1, 5]  # the worst one of those that are told apart


def test_where_all_numbers_are_alike_the_worst_element_stays_the_first() -> None:
    observed, wrong = np.zeros(5), np.ones(5, dtype=np.bool_)
    few = (np.array([3, 1]),)
    (places,) = telling(few, (np.array([0, 2]),), observed, wrong, np.arange(5.0))
    assert places.tolist() == [3, 1]
