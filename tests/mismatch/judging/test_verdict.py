"""What an outside judge found: false accusations, false alarms, and causes under a wrong name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mismatch.wrong import numbers
from torch import Tensor, nn

import convtrace as ct
from convtrace.errors import ShapeError, UsageError
from convtrace.mismatch.causes import candidates
from convtrace.mismatch.question.sides import ask

PLAIN = {"stride": 1, "padding": 0}
X, W, B = numbers(1, 2, 8, 8), numbers(3, 2, 3, 3) / 5, numbers(3)


def report_of(*args: Any, **kwargs: Any) -> ct.Report:
    report = ct.diff(*args, **kwargs)
    assert isinstance(report, ct.Report)
    return report


def uniform(low: float, high: float) -> Tensor:
    draw = torch.Generator().manual_seed(5)
    return low + (high - low) * torch.rand(1, 3, 6, 6, generator=draw)


# No cause is asserted that only the bound allows for ---------------------------------------------


def test_random_fractions_behind_dead_sums_are_not_called_integers() -> None:
    report = report_of(uniform(0, 1), (X, W, B - 9), **PLAIN, activation="relu")
    assert report.verdict == "mismatch"
    assert not report.causes


def test_random_fractions_of_tiny_inputs_are_not_called_integers() -> None:
    report = report_of(uniform(-0.9, 0.9), (X * 1e-8, W), **PLAIN)
    assert report.verdict == "mismatch"
    assert not report.causes


def test_sums_that_were_truncated_are_called_integers() -> None:
    report = report_of((20 * F.conv2d(X, W)).trunc(), (20 * X, W), **PLAIN)
    assert {cause.id for cause in report.causes} == {"output.integers"}
    assert report.causes[0].parameters["how"] == "truncated"


def test_a_bound_that_holds_the_whole_output_proves_nothing() -> None:
    draw = np.random.default_rng(301)
    x = draw.standard_normal((1, 2, 8, 8)).astype("f4")
    w = (draw.standard_normal((3, 2, 3, 3)) / 18**0.5).astype("f4")
    b = draw.standard_normal(3).astype("f4")
    right = F.conv2d(*map(torch.from_numpy, (x, w, b))).relu().numpy()
    noise = np.random.default_rng(1).uniform(0, 0.3, right.shape)
    mine = (right + (right == 0) * noise).astype("f4")
    report = report_of(mine, (x, w, b), **PLAIN, activation="relu")
    assert report.verdict == "mismatch"
    assert not report.causes


@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_one_number_everywhere_is_a_pattern_and_no_cause(
    value: float, activation: str | None
) -> None:
    mine = torch.full((1, 3, 6, 6), value)
    report = report_of(mine, (X, W), **PLAIN, activation=activation)
    assert not report.causes
    assert report.pattern is not None
    found = dict(report.pattern.findings)
    assert ("diff.pattern.constant" if value else "diff.pattern.zeros") in found


def test_tf32_and_float16_operands_that_agree_are_listed_together() -> None:
    low = F.conv2d(X.half().float(), W.half().float())
    report = report_of(low, (X, W), **PLAIN)
    assert report.verdict == "rounding"
    assert {c.parameters["format"] for c in report.causes} == {"tf32", "float16"}
    assert not any(cause.proved for cause in report.causes)


def test_float16_is_told_from_tf32_by_a_subnormal_number() -> None:
    x = X * torch.logspace(-9, 0, 64).reshape(1, 1, 8, 8)
    low = F.conv2d(x.half().float(), (W * 1e-2).half().float())
    report = report_of(low, (x, W * 1e-2), **PLAIN)
    assert {cause.parameters["format"] for cause in report.causes} == {"float16"}


def test_an_arithmetic_that_only_its_bound_speaks_for_is_not_proved() -> None:
    right = F.conv2d(X, W)
    noisy = (right * (1 + 2**-6 * (2 * uniform(0, 1) - 1))).bfloat16().float()
    assert not any(cause.proved for cause in report_of(noisy, (X, W), **PLAIN).causes)


# No right output is called a bug ------------------------------------------------------------------

ACTIVATIONS = ("silu", "sigmoid", "tanh", "gelu", "hardswish", "softplus", "mish", "elu", "relu6")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", [*ACTIVATIONS, "leaky_relu"])
def test_a_half_precision_layer_with_an_activation_is_right(name: str, dtype: torch.dtype) -> None:
    x, w, b = 4 * numbers(1, 8, 12, 12).to(dtype), (numbers(8, 8, 3, 3) / 8).to(dtype), numbers(8)
    mine = getattr(F, name)(F.conv2d(x, w, b.to(dtype), padding=1))
    report = report_of(mine, (x, w, b.to(dtype)), stride=1, padding=1, activation=name)
    assert report.verdict in ("exact", "rounding")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_half_precision_layer_without_its_activation_is_wrong(dtype: torch.dtype) -> None:
    x, w = 4 * numbers(1, 8, 12, 12).to(dtype), (numbers(8, 8, 3, 3) / 8).to(dtype)
    report = report_of(F.conv2d(x, w), (x, w), **PLAIN, activation="silu")
    assert [cause.id for cause in report.causes] == ["activation.missing"]


def normed(dtype: torch.dtype) -> nn.Module:
    module = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU()).eval()
    with torch.no_grad():
        module[0].weight.copy_(numbers(8, 3, 3, 3) / 5)
        module[1].running_mean.copy_(numbers(8))
        module[1].running_var.copy_(numbers(8).abs() + 0.5)
    return module.to(dtype)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_half_precision_layer_with_a_norm_is_right(dtype: torch.dtype) -> None:
    module, x = normed(dtype), numbers(2, 3, 12, 12).to(dtype)
    assert report_of(module(x).detach(), module, x=x).verdict in ("exact", "rounding")


def test_changes_of_a_norm_that_another_change_took_out_do_not_apply() -> None:
    module = normed(torch.float32)
    x = numbers(2, 3, 12, 12)
    setup = ask(
        module(x).detach(),
        module,
        x=x,
        given={},
        mode=None,
        activation=None,
        norm=None,
        quantization=None,
        arithmetic=None,
        step=None,
    ).setup
    changes = {change.id: change for change in candidates(setup)}
    assert changes["activation.before_norm"].make(setup) is not None
    bare = changes["norm.missing"].make(setup)
    assert bare is not None
    assert changes["activation.before_norm"].make(bare) is None


def test_subnormal_results_may_be_flushed_to_zero() -> None:
    x = X * 1e-38
    mine = F.conv2d(x.double(), W.double()).float()
    mine[mine.abs() < torch.finfo(torch.float32).tiny] = 0
    report = report_of(mine, (x, W), **PLAIN)
    assert report.verdict == "rounding"
    assert report.arithmetic is not None
    assert report.arithmetic.flushes
    wrong = report_of(torch.zeros_like(mine) + 1e-30, (x, W), **PLAIN)
    assert wrong.verdict == "mismatch"


# Names --------------------------------------------------------------------------------------------

NORM = {
    "weight": numbers(8, seed=1).abs() + 0.5,
    "bias": numbers(8, seed=2),
    "mean": numbers(8, seed=3),
    "var": numbers(8, seed=4).abs() + 0.2,
    "eps": 1e-5,
}
WIDE = numbers(8, 2, 3, 3) / 5


def with_norm(mean: Tensor, var: Tensor) -> ct.Report:
    sums = F.conv2d(X, WIDE)
    mine = F.batch_norm(sums, mean, var, NORM["weight"], NORM["bias"], eps=1e-5)
    return report_of(mine, (X, WIDE), **PLAIN, norm=NORM)


def test_a_norm_without_its_variance_is_named() -> None:
    (cause,) = with_norm(NORM["mean"], torch.ones(8)).causes
    assert (cause.id, cause.parameters["part"]) == ("norm.parts_missing", "var")


def test_a_standard_deviation_given_as_variance_is_named() -> None:
    assert [c.id for c in with_norm(NORM["mean"], NORM["var"].sqrt()).causes] == ["norm.root_twice"]


def test_statistics_of_the_batch_divided_by_one_less_are_named() -> None:
    sums = F.conv2d(X, WIDE)
    report = with_norm(sums.mean((0, 2, 3)), sums.var((0, 2, 3)))
    assert [cause.id for cause in report.causes] == ["norm.training_unbiased"]


def test_a_fitted_factor_a_channel_is_not_proved_where_a_norm_is_meant() -> None:
    report = with_norm(numbers(8, seed=7), numbers(8, seed=8).abs() + 0.3)
    assert not any(cause.proved for cause in report.causes)


def test_a_bias_of_some_channels_is_told_by_their_numbers() -> None:
    bias = numbers(5)
    weight, some = numbers(5, 2, 3, 3), bias.clone()
    some[0] = 0
    report = report_of(F.conv2d(X, weight, some), (X, weight, bias), **PLAIN)
    assert "output channels 1–4 only" in str(report)


def test_one_wrong_slice_is_told_by_its_number() -> None:
    x, w = numbers(1, 2, 4, 4, 5), numbers(3, 2, 3, 3, 3)
    mine = F.conv3d(x, w, padding=1)
    mine[:, :, 2] = numbers(1, 3, 4, 5, seed=4)
    report = report_of(mine, (x, w), stride=1, padding=1)
    assert report.pattern is not None
    assert dict(report.pattern.findings)["diff.pattern.band"]["places"] == "2"


# Bad input ----------------------------------------------------------------------------------------


def test_a_norm_of_another_size_is_an_error() -> None:
    ones = torch.ones(2)
    norm = {"weight": ones, "bias": ones, "mean": ones, "var": ones}
    with pytest.raises(ShapeError, match=r"var +\(2,\)[\s\S]*3 channels"):
        ct.diff(F.conv2d(X, W), (X, W), **PLAIN, norm=norm)


def test_fractions_are_no_quantized_input() -> None:
    scales = {"x_scale": 1, "w_scale": 1, "y_scale": 1}
    with pytest.raises(UsageError, match="x is not quantized"):
        ct.diff(F.conv2d(X, W), (X, W), **PLAIN, quantization=scales)


def test_a_quantization_without_all_scales_is_an_error() -> None:
    x, w = torch.ones(1, 1, 3, 3, dtype=torch.int8), torch.ones(1, 1, 3, 3, dtype=torch.int8)
    mine = torch.full((1, 1, 1, 1), 9, dtype=torch.int8)
    with pytest.raises(UsageError, match="w_scale, y_scale"):
        ct.diff(mine, (x, w), **PLAIN, quantization={"x_scale": 1})
