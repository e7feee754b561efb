"""Numbers by their positions, against NumPy's fancy indexing."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convtrace.mismatch.computing.taking import laid_out, taken

ARRAY = np.arange(2.0 * 3 * 4 * 5).reshape(2, 3, 4, 5)


@given(st.data())
def test_numbers_are_taken_as_fancy_indexing_takes_them(data: st.DataObject) -> None:
    shape = data.draw(st.sampled_from([(7,), (1, 3, 2), (4, 1, 1, 5)]))
    index: list[np.ndarray] = []
    for size in ARRAY.shape:
        kept = tuple(n if data.draw(st.booleans()) else 1 for n in shape)
        draw = np.random.default_rng(data.draw(st.integers(0, 99)))
        lowest = -size if data.draw(st.integers(0, 9)) == 0 else 0
        index.append(draw.integers(lowest, size, kept))
    assert np.array_equal(taken(ARRAY, tuple(index)), ARRAY[tuple(index)])


@pytest.mark.parametrize("axis", range(4))
def test_positions_outside_one_axis_raise_though_memory_goes_on_behind_it(axis: int) -> None:
    index = [np.zeros(2, dtype=np.int64) for _ in range(4)]
    index[axis][1] = ARRAY.shape[axis]
    with pytest.raises(IndexError):
        taken(ARRAY, tuple(index))


def test_arrays_that_do_not_lie_in_a_row_are_taken_from_as_well() -> None:
    index = np.ix_([1, 0], [2, 2], [0], [4, 1])
    for array in (ARRAY[:, ::-1], np.broadcast_to(ARRAY[:, :1], ARRAY.shape), ARRAY[..., ::2]):
        at = (*index[:3], index[3] % array.shape[3])
        assert np.array_equal(taken(array, at), array[at])


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_turned_swapped_and_cut_axes_are_views(order: tuple[int, ...]) -> None:
    cube = np.arange(27.0).reshape(3, 3, 3)
    rows = ([0, 1, 2], [2, 1, 0], [0, 2], [1], [2, 0])
    for picked in itertools.product(rows, repeat=3):
        grid = np.ix_(*picked)
        index = tuple(grid[d] for d in order)
        found = laid_out(cube, index)
        assert found is not None
        assert found.base is not None
        assert np.array_equal(found, cube[index])


def test_what_is_no_view_is_left_to_others() -> None:
    grid = np.ix_(range(3), range(3), range(3))
    cube = np.arange(27.0).reshape(3, 3, 3)
    uneven = np.ix_([0, 1, 1], range(3), range(3))
    repeated = np.ix_([0, 0, 0], range(3), range(3))
    for index in (
        (grid[0], grid[0], grid[2]),  # a diagonal
        ((grid[0] + grid[1]) % 3, grid[1], grid[2]),
        (-1 - grid[0], grid[1], grid[2]),  # counted from the end
        (grid[0] + 1, grid[1], grid[2]),  # beyond the end
        uneven,
        repeated,
        (grid[0], grid[1]),
    ):
        assert laid_out(cube, index) is None
