"""Outputs computed part by part, and in float32, against those in one piece and in float64."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from convtrace.arithmetic import plain
from convtrace.mismatch.computing.setup import Setup
from convtrace.mismatch.computing.stages import Act, Add, Local, Norm, Stage, Store
from convtrace.mismatch.computing.whole import Whole, boxes, linear_whole, whole
from convtrace.mismatch.judging import elements
from convtrace.mismatch.judging.elements import compared


def _setup(*stages: Stage, **more: Any) -> Setup:
    draw = np.random.default_rng(0)
    return Setup(
        x=draw.normal(size=(2, 8, 9, 7)),
        weight=draw.normal(size=(6, 8, 3, 3)),
        bias=None,
        stride=(1, 1),
        low=(1, 1),
        dilation=(1, 1),
        size=(9, 7),
        modes=("zeros",) * 2,
        stages=stages,
    ).but(**more)


BIAS = np.linspace(-1.0, 1.0, 6)
STAGES: dict[str, tuple[Stage, ...]] = {
    "bare": (),
    "bias": (Add(BIAS),),
    "rows": (Add(np.arange(9.0), axis=2),),
    "norm": (Add(BIAS), Norm(BIAS, BIAS[::-1], BIAS / 3, BIAS**2)),
    "limits": (Add(BIAS), Act("relu6")),
    "stored": (Add(BIAS), Store("bfloat16"), Act("gelu")),
}


@pytest.mark.parametrize("most", [1, 20, 63, 130, 400, 10**6])
@pytest.mark.parametrize("shape", [(2, 6, 9, 7), (1, 1, 5), (3, 2, 1, 1), (2, 3, 2, 3, 4)])
def test_boxes_are_all_elements_in_the_order_of_memory(shape: tuple[int, ...], most: int) -> None:
    array = np.arange(np.prod(shape)).reshape(shape)
    rows = [
        (array[place].reshape(-1), array.reshape(-1)[flat]) for place, flat in boxes(shape, most)
    ]
    assert all(np.array_equal(left, right) for left, right in rows)
    assert np.array_equal(np.concatenate([row for row, _ in rows]), array.reshape(-1))
    assert max(len(row) for row, _ in rows) <= most


@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("strict", [False, True])
def test_parts_of_an_output_are_judged_as_the_whole(
    monkeypatch: pytest.MonkeyPatch, name: str, narrow: bool, strict: bool
) -> None:
    setup = _setup(*STAGES[name])
    linear = linear_whole(setup, narrow=narrow)
    draw = np.random.default_rng(1)
    exact = whole(setup).values
    observed = exact + 1e-6 * draw.normal(size=exact.shape)
    observed[1, 2, 3, 4] += 1.0
    observed[0, 0, 0, 0] = np.nan
    parts = Whole(setup, linear)
    assert parts.divides
    rule = plain("float32"), 73, "float32", 4.0
    once = compared(observed, whole(setup, linear), *rule, strict=strict)
    monkeypatch.setattr(elements, "BLOCK", 100)
    for keep in (False, True):
        many = compared(observed, parts, *rule, strict=strict, keep=keep)
        assert len(list(many.blocks())) > 10
        for what in ("ratio", "residual", "bound", "own", "quotient", "values", "inside"):
            left, right = getattr(once, what), getattr(many, what)
            assert np.allclose(left, right, rtol=1e-12, atol=0, equal_nan=True), what
        assert many.loose == pytest.approx(once.loose, rel=1e-12)
        assert many.size == pytest.approx(once.size)
        assert many.mean == pytest.approx(once.mean)
        assert many.finite == once.finite
        assert not many.all_inside


def test_sums_over_all_elements_are_those_of_its_residuals(monkeypatch: pytest.MonkeyPatch) -> None:
    setup = _setup(*STAGES["bias"])
    exact = whole(setup).values
    observed = exact + 1e-7 * np.random.default_rng(2).normal(size=exact.shape)
    residual = observed - exact
    for block, looked in itertools.product((100, 10**6), (False, True)):
        monkeypatch.setattr(elements, "BLOCK", block)
        found = compared(
            observed, Whole(setup, linear_whole(setup)), plain("float32"), 73, "float32"
        )
        if looked:
            assert found.ratio.shape == exact.shape
        assert found.all_inside
        assert found.left == pytest.approx((residual**2).sum())
        assert found.along[0] == pytest.approx((residual * exact).sum())
        assert found.along[1] == pytest.approx((exact**2).sum())


def test_what_looks_at_more_than_single_numbers_is_not_divided() -> None:
    last = Local(lambda sums: sums.to(sums.values - sums.values.mean(), sums.magnitude))
    for setup in (_setup(last), _setup(y_maps=(lambda at, shape: at,))):
        parts = Whole(setup, linear_whole(setup))
        assert not parts.divides
        found = compared(whole(setup).values, parts, plain("float32"), 73, "float32")
        assert found.all_inside
        assert not found.residual.any()


@pytest.mark.parametrize("low", [(0, 0), (1, 2), (2, 0)])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("cut", [0, 1])
def test_padding_on_both_sides_and_cut_outputs_are_those_of_pytorch(
    low: tuple[int, int], stride: int, cut: int
) -> None:
    setup = _setup(low=low, stride=(stride, stride))
    out = F.conv2d(
        torch.from_numpy(setup.x), torch.from_numpy(setup.weight), stride=stride, padding=low
    )[..., : -cut or None, :].numpy()
    found = linear_whole(setup.but(size=out.shape[2:]))
    assert np.allclose(found.values, out, rtol=1e-12, atol=1e-12)
    narrow = linear_whole(setup.but(size=out.shape[2:]), narrow=True)
    assert narrow.values.dtype == np.float32
    assert np.allclose(narrow.values, out, rtol=0, atol=1e-4)
