"""Causes by the words that they are named with, where one function has likelier and odder ones."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import convtrace as ct


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def report_of(mine: Any, reference: Any, **settings: Any) -> ct.Report:
    report = ct.diff(mine, reference, **settings)
    assert isinstance(report, ct.Report)
    return report


def test_colours_of_stacked_images_in_reverse_are_one_cause() -> None:
    x, weight = numbers(1, 6, 9, 9), numbers(5, 6, 3, 3, seed=1)
    report = report_of(F.conv2d(x[:, [2, 1, 0, 5, 4, 3]], weight), (x, weight))
    assert [cause.id for cause in report.causes] == ["input.channels_permuted"]
    assert report.causes[0].parameters["order"] == (2, 1, 0, 5, 4, 3)
    assert report.proved


def test_a_mean_over_three_channels_is_no_root_of_nine_taps() -> None:
    x, kernel = numbers(1, 3, 8, 8), numbers(1, 1, 3, 3, seed=1)
    weight = kernel.repeat(1, 3, 1, 1)
    report = report_of(F.conv2d(x.mean(1, keepdim=True), kernel), (x, weight))
    assert report.causes[0].id == "output.averaged"
    assert report.causes[0].parameters["word"] == "mean of input channels"


def test_another_bias_is_named_for_the_channels_that_are_wrong_only() -> None:
    x, weight, bias = (numbers(2, 6, 14, 14), numbers(8, 6, 3, 3, seed=1), numbers(8, seed=2))
    halves = [part.half() for part in (x, weight, bias)]
    mine = F.conv2d(*(part.float() for part in halves), padding=1)
    mine[:, 3] += 0.25
    report = report_of(mine.half(), tuple(halves), padding=1)
    assert [cause.id for cause in report.causes] == ["bias.other"]
    assert report.causes[0].parameters["channels"] == (3,)


def test_sums_that_wrap_in_fewer_bits_than_any_framework_adds_in_are_an_overflow() -> None:
    draw = torch.Generator().manual_seed(0)
    x = torch.randint(-128, 128, (1, 16, 6, 6), generator=draw)
    weight = torch.randint(-128, 128, (4, 16, 3, 3), generator=draw)
    sums = F.conv2d(x.double(), weight.double()).to(torch.int64)
    mine = ((sums + 2**15) % 2**16 - 2**15).to(torch.int16)
    assert bool((mine != sums).any())
    report = report_of(mine, (x.to(torch.int8), weight.to(torch.int8)))
    assert report.verdict == "mismatch"
    assert [(c.id, c.parameters["name"]) for c in report.causes] == [
        ("quantized.accumulator", "int16")
    ]


def test_sums_in_the_type_of_the_operands_are_right_and_the_overflow_is_named() -> None:
    x = torch.arange(72).reshape(1, 2, 6, 6).to(torch.uint8)
    weight = torch.ones(2, 2, 3, 3, dtype=torch.uint8)
    sums = F.conv2d(x.double(), weight.double()).to(torch.int64)
    assert int(sums.max()) > 255
    report = report_of((sums % 256).to(torch.uint8), (x, weight))
    assert report.verdict == "rounding"
    assert [cause.id for cause in report.causes] == ["quantized.accumulator"]


def test_inputs_cut_off_and_rounded_down_are_told_apart_by_negative_fractions() -> None:
    x = 200 * numbers(1, 3, 8, 8).abs()
    weight = numbers(4, 3, 3, 3, seed=1)
    report = report_of(F.conv2d(x.trunc(), weight), (x, weight))
    ways = {cause.parameters["how"] for cause in report.causes}
    assert ways == {"towards zero", "down"}
    assert report.apart is not None
    assert bool((report.apart.x < 0).any())
    cut, down = (torch.as_tensor(output) for output in report.apart.outputs)
    x = torch.as_tensor(report.apart.x)
    made = F.conv2d(x.trunc(), weight.double()), F.conv2d(x.floor(), weight.double())
    assert torch.allclose(cut, made[0])
    assert torch.allclose(down, made[1])
    assert not torch.allclose(cut, down)
