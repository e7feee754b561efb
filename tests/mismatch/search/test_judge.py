"""The quick look at a number leaves none out that the judge would accept."""

from __future__ import annotations

import math

import numpy as np
import pytest

from convtrace.arithmetic import Arithmetic
from convtrace.mismatch.computing.setup import Setup
from convtrace.mismatch.computing.stages import Add, Affine, Sums
from convtrace.mismatch.computing.whole import grid
from convtrace.mismatch.search.judge import Judge

RAN = {
    "float32": Arithmetic("float32", "float32", "float32"),
    "float16 results": Arithmetic("float16", "float32", "float16"),
    "bfloat16 sums": Arithmetic("bfloat16", "bfloat16", "bfloat16"),
    "tf32": Arithmetic("tf32", "float32", "float32"),
    "stored parts": Arithmetic("float16", "float32", "float16", partial_sums=True),
}


@pytest.mark.parametrize("ran", RAN)
@pytest.mark.parametrize("limit", [math.inf, 3.0, 0.4])
@pytest.mark.parametrize("stages", [1, 3])
def test_what_the_judge_accepts_is_plausible(ran: str, limit: float, stages: int) -> None:
    draw = np.random.default_rng(7)
    shape, count = (1, 3, 40, 50), 300
    one = Affine(np.ones(1), np.zeros(1))
    setup = Setup(
        np.ones(shape),
        np.ones((3, 3, 1, 1)),
        None,
        (1, 1),
        (0, 0),
        (1, 1),
        shape[2:],
        stages=(Add(np.zeros(3)), one, one)[:stages],
    )
    values = draw.normal(size=shape) * 10.0 ** draw.integers(-9, 4, shape)
    magnitude = np.abs(values) * 10.0 ** draw.random(shape)
    extra = np.where(draw.random(shape) < 0.5, 0.0, 1e-3 * magnitude)
    sums = Sums(values, magnitude, grid(shape), setup, extra)
    judge = Judge(np.zeros(shape), RAN[ran], count, "float32", limit)
    # Errors of all sizes, so that many lie just inside and just outside of their bounds.
    target = values + magnitude * draw.normal(size=shape) * 10.0 ** (3 - 11 * draw.random(shape))
    inside = judge.compare(sums, target).ratio <= 1
    assert 0.05 < inside.mean() < 0.97
    plausible = np.asarray(judge.plausible(sums, target))
    assert not (inside & ~plausible).any()
    if ran == "float32" and stages == 1:
        assert plausible.mean() < 3 * inside.mean()  # and few others are let through


def test_a_limit_makes_the_quick_look_closer() -> None:
    setup = Setup(
        np.ones((1, 1, 1, 9)), np.ones((1, 1, 1, 1)), None, (1, 1), (0, 0), (1, 1), (1, 9)
    )
    magnitude = np.full((1, 1, 1, 9), 1.0)
    sums = Sums(np.zeros((1, 1, 1, 9)), magnitude, grid((1, 1, 1, 9)), setup)
    target = 10.0 ** np.arange(-8.0, 1.0).reshape(1, 1, 1, 9)
    near, far = (
        int(Judge(target, RAN["float32"], 2304, "float32", limit).plausible(sums, target).sum())
        for limit in (0.5, math.inf)
    )
    assert near < far
