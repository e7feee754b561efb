"""Rearrangements of whole arrays are those that their positions say."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from convtrace.mismatch.causes.maps import Misread, reverse
from convtrace.mismatch.computing.taking import through
from convtrace.mismatch.computing.whole import grid

ARRAY = np.arange(2.0 * 3 * 4 * 5).reshape(2, 3, 4, 5)


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("axes", list(itertools.permutations(range(4)))[1::3])
def test_memory_read_in_another_order_is_the_same_at_once_and_by_positions(
    axes: tuple[int, ...], stored: bool
) -> None:
    step = Misread(axes, stored)
    inverse = np.argsort(axes)
    other = ARRAY.reshape([ARRAY.shape[a] for a in axes]).transpose(inverse)
    expected = ARRAY.transpose(axes).reshape(ARRAY.shape) if stored else other
    by_positions = ARRAY[step(grid(ARRAY.shape), ARRAY.shape)]
    assert np.array_equal(by_positions, expected)
    assert np.array_equal(step.whole(ARRAY), expected)


def test_rearrangements_follow_one_another_as_they_are_made() -> None:
    first, second = Misread((0, 2, 3, 1), stored=True), Misread((0, 3, 1, 2), stored=False)
    at = first(second(grid(ARRAY.shape), ARRAY.shape), ARRAY.shape)
    found = through(ARRAY, (first, second))
    assert found is not None
    assert np.array_equal(found, ARRAY[at])
    assert not np.array_equal(found, first.whole(ARRAY))


def test_a_map_that_knows_single_positions_only_is_left_to_them() -> None:
    assert through(ARRAY, (Misread((0, 2, 3, 1), stored=True), reverse((1,)))) is None
