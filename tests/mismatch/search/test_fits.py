"""Fitted numbers: the fewest that do, and all of the names that do with as few."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from mismatch.wrong import numbers
from torch import Tensor

import convtrace as ct


def report_of(mine: Tensor, *reference: Tensor, **settings: Any) -> ct.Report:
    report = ct.diff(mine, reference, **settings)
    assert isinstance(report, ct.Report)
    return report


def test_one_factor_comes_before_a_factor_and_a_shift() -> None:
    """With a single channel, a scaled bias is a shift of the input as well."""
    x, weight, bias = numbers(2, 8, 12, 7), numbers(1, 8, 5, 3), numbers(1)
    mine = F.conv2d(x, weight, bias) * 1.01
    (cause,) = report_of(mine, x, weight, bias).causes
    assert (cause.id, cause.proved) == ("output.scaled", True)


def test_a_slope_is_no_proof_where_every_number_is_negative() -> None:
    x, weight = numbers(1, 4, 28), numbers(1, 4, 3).abs()
    bias = torch.tensor([-40.0])
    report = report_of(F.conv1d(x, weight, bias) * 1.01, x, weight, bias)
    assert {row[0].id for row in report.explanations} == {"activation.fused", "output.scaled"}
    assert not any(cause.proved for row in report.explanations for cause in row)


def test_numbers_of_half_precision_that_are_too_large_are_no_rounding() -> None:
    x, weight = numbers(2, 8, 14, 14).bfloat16(), numbers(16, 8, 3, 3).bfloat16()
    right = F.conv2d(x.double(), weight.double())
    report = report_of((right * 1.01).bfloat16(), x, weight)
    assert report.verdict == "mismatch"
    assert report.explanations[0][0].id.endswith("scaled")
    summed = F.conv2d(x, weight)
    assert report_of(summed, x, weight).verdict in ("exact", "rounding")


def test_a_fit_proves_nothing_where_other_weights_would_give_the_same() -> None:
    """All windows on a ramp are one window and a constant: any weights give a line."""
    ramp = torch.arange(49.0).reshape(1, 1, 7, 7)
    weight = numbers(1, 1, 3, 3)
    other = report_of(F.conv2d(ramp, weight + numbers(1, 1, 3, 3, seed=4) / 9), ramp, weight)
    assert other.verdict == "mismatch"
    assert not other.proved
    pixel = torch.zeros(3, 2, 7)
    pixel[0, :, 3] = 1
    weight = numbers(2, 2, 1)
    other = report_of(F.conv1d(pixel, weight + numbers(2, 2, 1, seed=4) / 9), pixel, weight)
    assert other.verdict == "mismatch"
    assert not other.proved


def test_an_input_shifted_with_its_padding_is_no_proof_with_one_channel() -> None:
    x, weight = numbers(1, 1, 5), numbers(1, 1, 5)
    settings = {"padding": 2, "dilation": 2}
    mine = F.conv_transpose1d(x, weight, **settings) * 1.1 + 0.3
    report = report_of(mine, x, weight, transposed=True, **settings)
    assert not any(c.id == "input.shifted_padded" and c.proved for c in report.causes)
