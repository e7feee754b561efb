"""Memory is used again as soon as nobody looks at it, and never before."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from convtrace.mismatch.computing.memory import Memory, wide

SHAPE = (512, 512)


def _place(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def test_memory_of_an_array_that_is_gone_is_used_again() -> None:
    memory = Memory()
    first = memory.empty(SHAPE)
    place = _place(first)
    del first
    again = memory.empty((500, 512))
    assert _place(again) == place
    assert (again.shape, again.dtype, again.flags.c_contiguous) == ((500, 512), np.float64, True)


@pytest.mark.parametrize("how", ["itself", "view of a view", "tensor", "list"])
def test_memory_that_somebody_looks_at_is_left_alone(how: str) -> None:
    memory = Memory()
    first = memory.empty(SHAPE)
    place = _place(first)
    held = {
        "itself": first,
        "view of a view": first.T[3:][::2],
        "tensor": torch.from_numpy(first)[7],
        "list": [first],
    }[how]
    del first
    assert _place(memory.empty(SHAPE)) != place
    del held
    assert _place(memory.empty(SHAPE)) == place


def test_no_more_is_kept_than_was_said_and_small_arrays_are_not() -> None:
    memory = Memory(most=2**21)
    arrays = [memory.empty(SHAPE) for _ in range(3)]
    assert len({_place(array) for array in arrays}) == 3
    assert sum(array.base is not None for array in arrays) == 1
    assert memory.empty((10, 10)).base is None


def test_a_wide_copy_has_the_numbers_of_the_array() -> None:
    array = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    array[3, 4] = np.nan
    copy = wide(array)
    assert copy.dtype == np.float64
    np.testing.assert_array_equal(copy, array)
    copy[0] = 7.0
    assert not (array[0] == 7.0).any()
