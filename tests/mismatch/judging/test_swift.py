"""The swift look at an output says what the look at any output says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from convtrace.arithmetic import plain
from convtrace.mismatch.computing.setup import Setup
from convtrace.mismatch.computing.stages import Act, Add, Affine, Norm, Stage
from convtrace.mismatch.computing.whole import Whole, linear_whole
from convtrace.mismatch.judging import elements
from convtrace.mismatch.judging.elements import Compared, compared


def _layer(*stages: Stage) -> Whole:
    draw = np.random.default_rng(0)
    x, weight = draw.normal(size=(2, 7, 12, 11)), draw.normal(size=(5, 7, 3, 3))
    sizes = ((1, 1), (1, 1), (1, 1), (12, 11))
    setup = Setup(x, weight, None, *sizes, modes=("zeros", "zeros"), stages=stages)
    return Whole(setup, linear_whole(setup, narrow=True))


def _bias() -> Add:
    return Add(np.random.default_rng(1).normal(size=5))


def _norm() -> Norm:
    gamma, beta, mean, var = np.random.default_rng(2).normal(size=(4, 5))
    return Norm(gamma, beta, mean, var**2)


def _affine(*, one: bool = False) -> Affine:
    return Affine(*np.random.default_rng(3).normal(size=(2, 1 if one else 5)))


def _both(
    monkeypatch: pytest.MonkeyPatch, sums: Whole, observed: Any, **more: Any
) -> tuple[Compared, Compared]:
    """Compare by a swift look, in several blocks, and by the other one."""
    monkeypatch.setattr(elements, "BLOCK", 150)
    swift, usual = (
        compared(observed, sums, plain("float32"), 64, "float32", **more) for _ in range(2)
    )
    assert swift._swift() is not None
    monkeypatch.setattr(usual, "_swift", lambda: None)
    return swift, usual


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize(
    "stages", [(), (_bias(),), (_bias(), _norm()), (_affine(), _bias()), (_affine(one=True),)]
)
def test_a_swift_look_says_what_the_usual_one_says(
    monkeypatch: pytest.MonkeyPatch, stages: tuple[Stage, ...], keep: bool
) -> None:
    sums = _layer(*stages)
    observed = sums.sums.values.astype(np.float32).astype(np.float64)
    observed[1, 2, 3, 4] += 1e-2
    swift, usual = _both(monkeypatch, sums, observed, keep=keep)
    for name in ("ratio", "residual"):
        np.testing.assert_allclose(getattr(swift, name), getattr(usual, name), rtol=1e-12)
    for name in ("size", "mean", "loose", "along", "left"):
        assert getattr(swift, name) == pytest.approx(getattr(usual, name), rel=1e-9), name
    assert swift.finite is usual.finite is True
    assert swift.all_inside is usual.all_inside is False
    assert not swift.inside[1, 2, 3, 4]
    assert swift.inside.sum() == observed.size - 1


@pytest.mark.parametrize("off", [0.0, 1e-3, 1e-1, np.nan, np.inf])
@pytest.mark.parametrize("stages", [(_bias(),), (_bias(), _norm()), (_affine(one=True),)])
def test_a_candidate_is_accepted_by_either_look(
    monkeypatch: pytest.MonkeyPatch, stages: tuple[Stage, ...], off: float
) -> None:
    sums = _layer(*stages)
    observed = sums.sums.values.astype(np.float32).astype(np.float64)
    observed[1, 4, 11, 10] += off
    swift, usual = _both(monkeypatch, sums, observed, most=8.0, strict=True)
    assert swift.all_inside is usual.all_inside is (off == 0)
    assert swift.size == pytest.approx(usual.size, rel=1e-9)
    if not off:
        assert swift.left == pytest.approx(usual.left, rel=1e-9)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_left_to_the_usual_look(
    monkeypatch: pytest.MonkeyPatch, odd: float
) -> None:
    sums = _layer(_bias())
    observed = sums.sums.values.astype(np.float32).astype(np.float64)
    observed[0, 3, 2, 1] = odd
    swift, usual = _both(monkeypatch, sums, observed)
    np.testing.assert_array_equal(swift.ratio, usual.ratio)
    assert not swift.inside[0, 3, 2, 1]
    assert not swift.finite


def test_outputs_of_other_stages_and_formats_are_looked_at_as_usual() -> None:
    sums = _layer(_bias(), Act("relu"))
    rows = (sums.sums.values, sums, plain("float32"), 64, "float32")
    assert compared(*rows)._swift() is None
    sums = _layer(_bias())
    observed = sums.sums.values
    assert compared(observed, sums, plain("float16"), 64, "float16")._swift() is None
    assert compared(observed, sums, None, 64, "float32")._swift() is None
    assert compared(observed.T.copy().T, sums, plain("float32"), 64, "float32")._swift() is None
