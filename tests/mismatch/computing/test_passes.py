"""Convolutions of whole layers, against PyTorch's own in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from convtrace.mismatch.computing import passes
from convtrace.mismatch.computing.passes import Operand, convolved, leaves_float32
from convtrace.mismatch.computing.setup import Setup
from convtrace.mismatch.computing.whole import linear_whole


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 2])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 3), (3, 2)])
def test_products_of_blocks_are_the_convolution(
    monkeypatch: pytest.MonkeyPatch, axes: int, padding: int, stride: int, dilation: int
) -> None:
    draw = torch.Generator().manual_seed(axes)
    x = torch.randn(2, 4, *(11, 9, 8)[:axes], generator=draw, dtype=torch.double)
    weight = torch.randn(5, 4, *(2, 3, 2)[:axes], generator=draw, dtype=torch.double)
    row, apart, pads = (stride,) * axes, (dilation,) * axes, (padding,) * axes
    expected = torch.ops.aten.convolution.default(
        x, weight, None, row, pads, apart, False, (0,) * axes, 1
    )
    for block in (1, 300):  # one row at a time, and a few, the last ones fewer
        monkeypatch.setattr(passes, "BLOCK", block)
        found = convolved(x, weight, row, apart, 1, pads)
        assert found.shape == expected.shape
        assert torch.allclose(found, expected, rtol=0, atol=1e-12)


def test_an_operand_keeps_its_signs_after_it_was_asked_for_without_them() -> None:
    array = np.array([[-1.5, 2.0, -3.0]])
    one = Operand(array)
    signed, bare = (one.tensor(absolute=a, narrow=True) for a in (False, True))
    assert bare.tolist() == [[1.5, 2.0, 3.0]]
    assert bare.dtype == torch.float32
    again = one.tensor(absolute=False, narrow=True)
    assert again.tolist() == [[-1.5, 2.0, -3.0]]
    assert array.tolist() == [[-1.5, 2.0, -3.0]]
    assert one.tensor(absolute=True, narrow=False).dtype == torch.float64
    assert array.tolist() == [[-1.5, 2.0, -3.0]]
    assert signed.shape == array.shape


def test_numbers_that_were_given_in_float32_are_read_and_left_as_they_are() -> None:
    stored = np.random.default_rng(0).normal(size=(2, 6, 5)).astype(np.float32)
    kept = stored.copy()
    one = Operand(stored.astype(np.float64), stored)
    expected = Operand(stored.astype(np.float64))
    order = np.array([3, 3, 0, 5])
    for absolute in (True, False, True):
        for narrow in (True, False):
            pairs = [(one, expected), (one.part(2, 1), expected.part(2, 1))]
            pairs.append(tuple(o.channels(order, narrow=narrow) for o in (one, expected)))
            for mine, other in pairs:
                found, right = (o.tensor(absolute=absolute, narrow=narrow) for o in (mine, other))
                assert found.dtype == right.dtype
                assert torch.equal(found, right)
    assert np.array_equal(stored, kept)
    assert one.tensor(absolute=False, narrow=True).data_ptr() == stored.ctypes.data


@pytest.mark.parametrize("odd", [np.nan, np.inf, 1e20])
def test_numbers_that_were_given_in_float32_but_leave_its_range_are_added_in_float64(
    odd: float,
) -> None:
    stored = np.array([[1.0, odd]], dtype=np.float32)
    found = Operand(stored.astype(np.float64), stored).tensor(absolute=False, narrow=True)
    assert found.dtype == torch.float64


@pytest.mark.parametrize("scale", [1e-20, 1e20, 1e-60, 1e200])
def test_numbers_beyond_the_range_of_float32_stay_in_float64(scale: float) -> None:
    found = Operand(np.array([scale, -2 * scale])).tensor(absolute=True, narrow=True)
    assert found.dtype == torch.float64
    assert found.tolist() == [scale, 2 * scale]


def test_products_that_are_too_small_for_float32_are_not_lost() -> None:
    x = np.ones((1, 1, 4, 4))
    x[..., :2, :2] = 1e-30
    setup = Setup(
        x=x,
        weight=np.full((1, 1, 1, 1), 1e-14),
        bias=None,
        stride=(1, 1),
        low=(0, 0),
        dilation=(1, 1),
        size=(4, 4),
        modes=("zeros",) * 2,
    )
    found = np.asarray(linear_whole(setup).magnitude)
    assert np.allclose(found, x * 1e-14, rtol=1e-6, atol=0)


def test_zeros_alone_are_no_reason_for_float64() -> None:
    magnitude = np.zeros(3, dtype=np.float32)
    assert not leaves_float32(magnitude, np.array([0.0, 1.0]), np.array([0.5]))
    assert not leaves_float32(magnitude, np.zeros(2), np.ones(1))
    assert leaves_float32(magnitude, np.array([1e-20, 1.0]), np.array([1e-14, 1.0]))
    assert not leaves_float32(magnitude.astype(np.float64), np.array([1e-20]), np.array([1e-14]))
