"""Bounds, setups and fits against their scalar forms, nested loops and PyTorch."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from convtrace.arithmetic import Arithmetic
from convtrace.exact import FORMATS, round_to
from convtrace.mismatch.causes import candidates
from convtrace.mismatch.computing.setup import Setup, into
from convtrace.mismatch.computing.stages import ACTIVATIONS, Add, rounded
from convtrace.mismatch.computing.whole import whole
from convtrace.mismatch.judging.bounds import added_narrowly, bounds, own_error
from convtrace.mismatch.judging.spread import add_in_order
from convtrace.mismatch.search.fits import nice
from convtrace.mismatch.search.sample import anywhere
from convtrace.mismatch.search.search import applied

NAMES = sorted(FORMATS)


@given(
    st.sampled_from(NAMES),
    st.sampled_from(["float32", "float64", "float16", "bfloat16"]),
    st.sampled_from(["float32", "float64", "float16", "bfloat16"]),
    st.integers(1, 5000),
    st.floats(1e-6, 1e6),
    st.floats(-1, 1),
)
def test_bounds_of_arrays_are_those_of_single_numbers(
    operands: str, accumulate: str, result: str, count: int, magnitude: float, share: float
) -> None:
    arithmetic = Arithmetic(operands, accumulate, result)
    value = share * magnitude
    one = arithmetic.bound(count, magnitude, value, stored="float64")
    found = bounds(arithmetic, count, np.array([magnitude]), np.array([value]), "float64")
    own = own_error(count, np.array([magnitude]))
    assert one <= found[0]
    # A step of the result's spacing may lie between the two.
    slack = 2 * FORMATS[result].unit * (magnitude + one)
    assert found[0] <= one * (1 + 1e-5) + 2 * own[0] + slack


@given(st.floats(-1e4, 1e4), st.sampled_from(NAMES))
def test_rounding_of_arrays_is_that_of_single_numbers(value: float, name: str) -> None:
    assert rounded(np.array([value]), name)[0] == round_to(value, lambda: 0, FORMATS[name])


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_padding_modes_are_those_of_pytorch(mode: str) -> None:
    x = torch.arange(1.0, 6.0)[None, None]
    source, met = into(np.arange(-3, 8), 5, "zeros" if mode == "constant" else mode)
    mine = x.numpy()[0, 0][source]
    if met is not None:
        mine = np.where(met, mine, 0)
    assert mine.tolist() == F.pad(x, (3, 3), mode=mode)[0, 0].tolist()


def _setup(transposed: bool, groups: int, axes: int, seed: int) -> tuple[Setup, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    kernel, size = (3, 2, 2)[:axes], (6, 7, 5)[:axes]
    c_in, c_out = 4, 6
    shape = (c_in, c_out // groups) if transposed else (c_out, c_in // groups)
    x = torch.randn(2, c_in, *size, generator=draw, dtype=torch.double)
    weight = torch.randn(*shape, *kernel, generator=draw, dtype=torch.double)
    bias = torch.randn(c_out, generator=draw, dtype=torch.double)
    stride, dilation, low = (2, 1, 2)[:axes], (1, 2, 1)[:axes], (1, 0, 1)[:axes]
    name = f"conv_transpose{axes}d" if transposed else f"conv{axes}d"
    out = getattr(F, name)(
        x, weight, bias, stride=stride, padding=low, dilation=dilation, groups=groups
    )
    setup = Setup(
        x=x.numpy(),
        weight=weight.numpy(),
        bias=bias.numpy(),
        stride=stride,
        low=low,
        dilation=dilation,
        size=tuple(out.shape[2:]),
        groups=groups,
        transposed=transposed,
        modes=("zeros",) * axes,
        stages=(Add(bias.numpy()),),
    )
    return setup, out


@pytest.mark.parametrize(
    ("transposed", "groups", "axes"), list(itertools.product([False, True], [1, 2], [1, 2, 3]))
)
def test_a_setup_computes_what_pytorch_computes(transposed: bool, groups: int, axes: int) -> None:
    setup, out = _setup(transposed, groups, axes, seed=axes)
    assert np.allclose(whole(setup).values, out.numpy(), rtol=1e-12, atol=1e-12)
    at = anywhere(setup.shape, 20)
    assert np.allclose(setup.sample(at).values, out.numpy()[at], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("transposed", "groups", "axes"), list(itertools.product([False, True], [1, 2], [1, 2, 3]))
)
def test_every_candidate_gives_the_same_numbers_in_a_sample_and_in_whole(
    transposed: bool, groups: int, axes: int
) -> None:
    setup, _ = _setup(transposed, groups, axes, seed=7)
    at = anywhere(setup.shape, 12, seed=3)
    listed = candidates(setup)
    assert len(listed) > 100
    for change in listed[::3]:
        changed = applied(setup, (change,))
        if changed is None:
            continue
        sampled, all_of_it = changed.sample(at), whole(changed)
        assert np.allclose(
            np.broadcast_to(sampled.values, at[0].shape),
            all_of_it.values[at],
            rtol=1e-9,
            atol=1e-9,
            equal_nan=True,
        ), change
        known = np.broadcast_to(all_of_it.magnitude, setup.shape)[at]
        assert np.allclose(sampled.magnitude, known, rtol=1e-4, atol=1e-9), change


def test_numbers_added_in_order_are_rounded_at_each_step() -> None:
    row = np.array([[1.0, 2.0**-24, 2.0**-24, 2.0**-24]])
    assert add_in_order(row, "float32")[0] == 1.0
    assert add_in_order(row, "float64")[0] > 1.0
    assert add_in_order(np.array([[1.0, 2.0**-9, 2.0**-9]]), "bfloat16")[0] == 1.0


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_no_activation_is_steeper_than_it_says(name: str) -> None:
    function, steepest = ACTIVATIONS[name]
    x = np.linspace(-9, 9, 20001)
    y = function(x)
    assert np.abs(np.diff(y) / np.diff(x)).max() <= steepest * (1 + 1e-6)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("relu6", F.relu6),
        ("silu", F.silu),
        ("gelu", F.gelu),
        ("hardswish", F.hardswish),
        ("hardsigmoid", F.hardsigmoid),
        ("elu", F.elu),
        ("selu", F.selu),
        ("softplus", F.softplus),
        ("mish", F.mish),
        ("softsign", F.softsign),
        ("leaky_relu", F.leaky_relu),
    ],
)
def test_activations_are_those_of_pytorch(name: str, function: object) -> None:
    x = torch.linspace(-6, 6, 301, dtype=torch.double)
    assert callable(function)
    assert np.allclose(ACTIVATIONS[name][0](x.numpy()), function(x).numpy(), atol=1e-8)


def test_a_fitted_number_becomes_the_simple_one_that_it_stands_for() -> None:
    assert nice(0.3333333) == 1 / 3
    assert nice(-255.00001) == -255.0
    assert nice(0.123457) == 0.123457


@pytest.mark.parametrize("count", [1, 30, 1000, 20000])
def test_sums_of_absolute_values_in_float32_are_no_smaller_than_their_slack_allows(
    count: int,
) -> None:
    draw = np.random.default_rng(count)
    # Exponents that differ, and a first summand that all others are rounded next to.
    factors = draw.uniform(1, 2, (2, count)) * 2.0 ** draw.integers(-6, 1, (2, count))
    factors[0, 0] = count
    exact = float((factors[0] * factors[1]).sum())
    first, second = factors.astype(np.float32)
    found = float(np.cumsum(first * second, dtype=np.float32)[-1])
    assert exact <= found * (1 + added_narrowly(count))
