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
