"""All elements together in formats of 16 bits: what rounding explains, and what it does not."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import conv2d

import convtrace as ct


def drawn(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def added_in(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Convolve 1×1, each product and each sum rounded to the type of the tensors."""
    total = torch.zeros(len(x), len(weight), *x.shape[2:], dtype=x.dtype)
    for channel in range(x.shape[1]):
        total = total + x[:, channel : channel + 1] * weight[:, channel, 0, 0][None, :, None, None]
    return total


@pytest.mark.parametrize(
    ("outputs", "seed"), [(1, 21), (1, 24), (1, 29), (1, 31), (1, 38), (2, 30), (4, 0)]
)
def test_few_numbers_that_were_added_in_16_bits_are_no_bug(outputs: int, seed: int) -> None:
    """All but the last fit some small mistake by chance, such as weights of 8 bits."""
    x = drawn(1, 9, 1, 2, seed=seed).bfloat16()
    weight = drawn(outputs, 9, 1, 1, seed=seed + 1000).bfloat16()
    assert ct.diff(added_in(x, weight), (x, weight)).verdict in ("exact", "rounding")


def test_weights_that_are_one_percent_off_are_no_rounding_of_float16_sums() -> None:
    x, weight, bias = (
        drawn(1, 4, 10, 11, seed=1).half(),
        drawn(6, 4, 3, 3, seed=2),
        drawn(6, seed=3).half(),
    )
    noisy = (weight + 0.01 * drawn(*weight.shape, seed=9)).half()
    wrong = conv2d(x.float(), noisy.float(), bias.float(), padding=1).half()
    assert ct.diff(wrong, (x, weight.half(), bias), padding=1).verdict == "mismatch"
