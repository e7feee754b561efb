"""Elements compared in blocks, in one piece, and by parts of Σ|w·x|."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import convtrace as ct
from convtrace.arithmetic import plain
from convtrace.mismatch.computing.setup import Setup
from convtrace.mismatch.computing.stages import Act, Add, Sums, rounded, spacing
from convtrace.mismatch.computing.whole import linear_whole, whole
from convtrace.mismatch.judging import elements
from convtrace.mismatch.judging.elements import Compared, compared


def _layer(channels: int = 32, size: int = 9) -> tuple[Setup, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(2, channels, size, size, generator=draw)
    weight = torch.randn(6, channels, 3, 3, generator=draw)
    bias = torch.randn(6, generator=draw)
    setup = Setup(
        x=x.double().numpy(),
        weight=weight.double().numpy(),
        bias=bias.double().numpy(),
        stride=(1, 1),
        low=(1, 1),
        dilation=(1, 1),
        size=(size, size),
        modes=("zeros", "zeros"),
        stages=(Add(bias.double().numpy()), Act("relu")),
    )
    return setup, F.conv2d(x, weight, bias, padding=1).relu()


def _compared(sums: Sums, observed: Any, dtype: str = "float32", **more: Any) -> Compared:
    return compared(np.asarray(observed, dtype=np.float64), sums, plain(dtype), 289, dtype, **more)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("odd", [None, np.nan, np.inf])
def test_blocks_of_elements_are_judged_as_all_of_them_at_once(
    monkeypatch: pytest.MonkeyPatch, dtype: str, odd: float | None, strict: bool
) -> None:
    setup, out = _layer()
    observed = out.double().numpy().copy()
    observed[0, 1, 2] += 1e-3
    if odd is not None:
        observed[1, 2, 3, 4] = odd
    sums = whole(setup)
    once = _compared(sums, observed, dtype, strict=strict, most=2.0)
    monkeypatch.setattr(elements, "BLOCK", 100)
    many = _compared(sums, observed, dtype, strict=strict, most=2.0)
    assert len(list(many.blocks())) == -(-observed.size // 100)
    for name in ("residual", "bound", "own", "quotient", "ratio", "inside"):
        assert np.array_equal(getattr(once, name), getattr(many, name), equal_nan=True), name
    assert once.all_inside == many.all_inside == bool(once.inside.all())
    assert many.size == pytest.approx(once.size)
    assert many.mean == pytest.approx(once.mean)


def test_a_part_of_the_magnitudes_judges_too_strictly_and_never_too_loosely() -> None:
    setup, out = _layer(channels=64)
    full = linear_whole(setup)
    part = linear_whole(setup, values=full.values, share=8)
    assert (part.magnitude <= full.magnitude).all()
    assert part.magnitude.mean() == pytest.approx(np.mean(full.magnitude) / 8, rel=0.1)
    loose, strict = (_compared(whole(setup, s), out.double().numpy()) for s in (full, part))
    assert (strict.bound <= loose.bound).all()
    assert strict.all_inside  # a right output is so far inside that a part tells


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("groups", [1, 2])
def test_parts_of_magnitudes_are_lower_bounds_for_every_kind_of_layer(
    transposed: bool, groups: int
) -> None:
    setup, _ = _layer(channels=8)
    weight = setup.weight[:, : 8 // groups] if not transposed else setup.weight[:6, :6]
    if transposed:
        weight = np.resize(setup.weight, (8, 6 // groups, 3, 3))
    other = setup.but(weight=weight, groups=groups, transposed=transposed, size=(9, 9))
    full, part = linear_whole(other), linear_whole(other, share=2)
    assert (part.magnitude <= np.asarray(full.magnitude) * (1 + 1e-6)).all()
    assert np.array_equal(part.values, full.values)


@pytest.mark.parametrize("how", ["even", "away", "cut"])
@pytest.mark.parametrize("name", ["bfloat16", "tf32", "float16", "float32"])
def test_rounding_by_bits_is_rounding_by_spacings(name: str, how: str) -> None:
    draw = np.random.default_rng(0)
    ties = 1 + np.arange(64) * 2.0**-12
    values = np.concatenate([draw.normal(size=2000), ties, -ties, [0.0, -0.0]])
    unit = spacing(values, name)
    quotient = values / unit
    expected = {
        "even": np.rint(quotient),
        "away": np.trunc(quotient + np.copysign(0.5, quotient)),
        "cut": np.trunc(quotient),
    }[how]
    assert np.array_equal(rounded(values, name, how), expected * unit)


def test_rounding_by_bits_leaves_tiny_huge_and_odd_numbers_to_the_slow_way() -> None:
    found = rounded(np.array([1e-45, 1e39, np.inf, np.nan, 3.39e38]), "bfloat16")
    assert found[0] == 0
    assert np.isinf(found[1:3]).all()
    assert np.isnan(found[3])
    assert found[4] == 3.3895313892515355e38  # the largest bfloat16


@pytest.mark.parametrize("where", [(0, 0, 0, 0), (0, 99, 20, 31)])
def test_one_wrong_element_of_a_long_layer_is_found(where: tuple[int, ...]) -> None:
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(1, 64, 32, 32, generator=draw)
    weight = torch.randn(128, 64, 3, 3, generator=draw) / 24
    out = F.conv2d(x, weight, padding=1)
    right = ct.diff(out, (x, weight), padding=1)
    assert right.verdict == "rounding"
    out[where] += 0.05
    report = ct.diff(out, (x, weight), padding=1)
    assert isinstance(report, ct.Report)
    assert report.verdict == "mismatch"
    assert report.worst[0].address.index == where
    assert report.pattern is not None
    assert report.pattern.wrong == 1
