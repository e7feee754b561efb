"""Outputs of another shape: which setting it is, and that data may hide it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mismatch.wrong import numbers
from torch import Tensor

import convtrace as ct

X, WEIGHT = numbers(2, 3, 9, 9), numbers(4, 3, 3, 3, seed=1)


def report_of(mine: Tensor, *reference: Tensor, **settings: Any) -> ct.Report:
    report = ct.diff(mine, reference or (X, WEIGHT), **settings)
    assert isinstance(report, ct.Report)
    return report


@pytest.mark.parametrize("given", [{}, {"padding": 0}], ids=["found", "given"])
@pytest.mark.parametrize(
    ("rows", "low", "high"),
    [(slice(1, None), (-1, -1), (0, 0)), (slice(-1), (0, 0), (-1, -1))],
    ids=["begins late", "ends early"],
)
def test_a_loop_that_is_one_short_is_a_cut_of_the_input(
    rows: slice, low: tuple[int, int], high: tuple[int, int], given: dict[str, int]
) -> None:
    report = report_of(F.conv2d(X, WEIGHT)[:, :, rows, rows], **given)
    (cause,) = report.causes
    assert (cause.id, cause.proved) == ("padding.amount", True)
    assert (cause.parameters["low"], cause.parameters["high"]) == (low, high)


def test_numbers_kept_from_the_second_on_are_a_phase() -> None:
    report = report_of(F.conv2d(X, WEIGHT)[:, :, 1::2, 1::2], stride=2)
    (cause,) = report.causes
    assert (cause.id, cause.parameters["by"]) == ("stride.phase", 1)


def test_one_more_on_every_side_is_tried_where_sides_differ() -> None:
    pads = ((3, 1), (1, 2))
    padded = F.pad(X, (pads[1][0], pads[1][1], pads[0][0], pads[0][1]))
    report = report_of(F.conv2d(padded, WEIGHT), padding=((2, 0), (0, 1)))
    (cause,) = report.causes
    assert cause.id == "padding.amount"
    assert tuple(zip(cause.parameters["low"], cause.parameters["high"], strict=True)) == pads


def test_a_single_setting_is_found_among_many_axes() -> None:
    x, weight = numbers(1, 2, 8, 8, 7), numbers(2, 2, 3, 3, 3)
    settings: dict[str, Any] = {"padding": (2, 1, 0), "dilation": (2, 1, 1)}
    report = report_of(F.conv3d(x, weight, stride=2, **settings), x, weight, stride=1, **settings)
    assert [(cause.id, cause.proved) for cause in report.causes] == [("stride.wrong", True)]


def test_weights_of_one_tap_hide_which_setting_it_is() -> None:
    weight = torch.zeros(1, 2, 1, 4)
    weight[0, :, 0, 1] = torch.tensor([1.0, -2.0])
    mine = F.conv2d(X[:, :2], weight)
    report = report_of(mine, X[:, :2], weight, padding=0, dilation=(1, 2))
    assert report.ambiguous
    assert not any(cause.proved for row in report.explanations for cause in row)
    assert "dilation.ignored" in {row[0].id for row in report.explanations}
    assert "random" in report.text("en")
    assert "난수" in report.text("ko")


def test_what_a_stride_leaves_over_is_padding_in_the_name_too() -> None:
    x = numbers(1, 3, 12, 12)
    mine = F.conv2d(x[:, :, 1:, 1:], WEIGHT[..., :1, :1], stride=3)
    report = report_of(mine, x, WEIGHT[..., :1, :1], stride=3, padding=0)
    rows = {row[0].id: row[0].parameters for row in report.explanations}
    assert rows["padding.amount"]["right_high"] == (0, 0)


def test_sums_of_nothing_but_zeros_leave_room_for_rounding() -> None:
    draw = np.random.default_rng(1)
    x = torch.from_numpy(np.maximum(draw.normal(size=(1, 2, 9, 13)) - 1.3, 0)).float()
    weight = torch.zeros(8, 2, 1, 1)
    weight[3, 0], weight[6, 1] = 0.7, -0.4
    bias = numbers(8)
    mine = F.conv2d(x, weight, bias, stride=(4, 3))
    report = report_of(mine, x, weight, bias, stride=(3, 2), padding=0)
    assert report.causes
    assert report.causes[0].id.startswith("stride")
