"""Kernels that transform their numbers first are right, and small mistakes are not taken for them.

The transforms of Winograd's F(4×4, 3×3) are those of Lavin and Gray, arXiv:1509.09308.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

import convtrace as ct
from convtrace.mismatch.report import Report

Array = NDArray[np.float32]

INTO = """
4  0 -5  0 1 0
0 -4 -4  1 1 0
0  4 -4 -1 1 0
0 -2 -1  2 1 0
0  2 -1 -2 1 0
0  4  0 -5 0 1
"""
BACK = """
1 1  1 1  1 0
0 1 -1 2 -2 0
0 1  1 4  4 0
0 1 -1 8 -8 1
"""
KERNEL = [
    [1 / 4, 0, 0],
    [-1 / 6, -1 / 6, -1 / 6],
    [-1 / 6, 1 / 6, -1 / 6],
    [1 / 24, 1 / 12, 1 / 6],
    [1 / 24, -1 / 12, 1 / 6],
    [0, 0, 1],
]


def table(text: str) -> Array:
    return np.array([row.split() for row in text.strip().splitlines()], dtype=np.float32)


def winograd(x: Array, weight: Array) -> Array:
    """Convolve with padding 1 by F(4×4, 3×3) in float32; sizes are multiples of 4."""
    into, back, kernel = table(INTO), table(BACK), np.array(KERNEL, dtype=np.float32)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    turned = np.einsum("ij,ocjk,lk->ocil", kernel, weight, kernel)
    out = np.zeros((len(x), len(weight), *x.shape[2:]), dtype=np.float32)
    for row in range(0, x.shape[2], 4):
        for column in range(0, x.shape[3], 4):
            tile = padded[:, :, row : row + 6, column : column + 6]
            tile = np.einsum("ij,ncjk,lk->ncil", into, tile, into)
            product = np.einsum("ocil,ncil->noil", turned, tile)
            made = np.einsum("ij,nojk,lk->noil", back, product, back)
            out[:, :, row : row + 4, column : column + 4] = made
    return out


def layer(channels: int) -> tuple[Array, Array]:
    draw = np.random.default_rng(channels)
    x = np.maximum(draw.normal(size=(2, channels, 16, 16)), 0).astype(np.float32)
    return x, draw.normal(size=(4, channels, 3, 3)).astype(np.float32)


def report_of(mine: Array, reference: tuple[Array, Array]) -> Report:
    report = ct.diff(mine, reference, padding=1)
    assert isinstance(report, Report)
    return report


@pytest.mark.parametrize("channels", [1, 2, 3, 8])
def test_winograd_with_large_tiles_is_rounding(channels: int) -> None:
    x, weight = layer(channels)
    report = report_of(winograd(x, weight), (x, weight))
    assert report.verdict == "rounding"
    assert not report.causes


def test_what_lies_beyond_the_bound_of_direct_sums_is_said() -> None:
    x, weight = layer(1)
    report = report_of(winograd(x, weight), (x, weight))
    assert report.inside < 1
    notes = dict(report.notes)
    assert notes["diff.note.transform"]["units"] <= 70
    assert "Winograd" in report.text("en")
    assert "Winograd" in report.text("ko")


@pytest.mark.parametrize("channels", [3, 32, 128])
@pytest.mark.parametrize("wide", [False, True], ids=["few numbers", "of many sizes"])
def test_an_input_that_is_full_in_some_places_only_is_told_by_what_its_tiles_hold(
    channels: int, wide: bool
) -> None:
    draw = np.random.default_rng(channels)
    x = draw.normal(size=(1, channels, 24, 24))
    x = x * np.exp(2 * draw.normal(size=x.shape)) if wide else np.maximum(x - 1.3, 0)
    weight = draw.normal(size=(8, channels, 3, 3)) * (draw.uniform(size=(8, channels, 3, 3)) < 0.25)
    x, weight = x.astype(np.float32), weight.astype(np.float32)
    report = report_of(winograd(x, weight), (x, weight))
    assert report.verdict == "rounding"
    assert not report.causes


@pytest.mark.parametrize("channels", [1, 8, 64])
def test_a_small_mistake_is_no_transform(channels: int) -> None:
    x, weight = layer(channels)
    draw = np.random.default_rng(0)
    other = (weight * (1 + 1e-4 * draw.normal(size=weight.shape))).astype(np.float32)
    report = report_of(winograd(x, other), (x, weight))
    assert report.verdict == "mismatch"
    assert not any(cause.proved for cause in report.causes)
