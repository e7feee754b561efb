"""Causes that compute the same function are listed together, and told apart where that can be."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

import convtrace as ct
from mismatch.wrong import Layer, layer


def report_of(right: Layer, mine: torch.Tensor) -> ct.Report:
    question = right.ask(mine)
    report = ct.diff(question.mine, question.reference, **question.settings)
    assert isinstance(report, ct.Report)
    return report


def ids(report: ct.Report) -> list[str]:
    return [causes[0].id for causes in report.explanations]


def test_a_factor_goes_by_the_names_of_all_that_it_may_have_scaled() -> None:
    right = layer(3, 8, padding=1, bias=False)
    report = report_of(right, right.run(x=right.x / 255))
    assert ids(report) == ["input.scaled", "kernel.scaled", "output.scaled"]
    assert report.functions == (0, 0, 0)
    assert report.same
    assert report.proved
    assert report.apart is None
    assert not any(cause.proved for cause in report.causes)


def test_a_bias_sets_a_scaled_output_apart_from_a_scaled_input() -> None:
    right = layer(3, 8, padding=1)
    assert ids(report_of(right, right.run(x=right.x / 255))) == ["input.scaled", "kernel.scaled"]
    assert "output.scaled" in ids(report_of(right, right.run() * 0.37))


def test_channels_in_reverse_order_may_be_those_of_the_input_or_of_the_kernels() -> None:
    right = layer(3, 8, padding=1)
    report = report_of(right, right.run(weight=right.weight.flip(1)))
    assert ids(report) == ["input.channels_reversed", "kernel.channels_reversed"]
    assert report.same


def test_three_samples_tell_a_reversed_batch_of_two_from_a_shifted_one() -> None:
    right = layer(3, 8, n=2, padding=1)
    report = report_of(right, right.run(x=right.x.flip(0)))
    assert ids(report) == [
        "input.samples_reversed",
        "output.samples_reversed",
        "input.samples_shifted",
    ]
    assert report.functions == (0, 0, 1)
    assert not report.same
    assert not report.proved
    apart = report.apart
    assert apart is not None
    assert apart.x.shape[0] == 3
    x = torch.from_numpy(apart.x)
    given = {"weight": right.weight.double(), "bias": right.bias.double(), "padding": 1}
    reverse, shifted = (F.conv2d(x[[*order]], **given).numpy() for order in ((2, 1, 0), (1, 2, 0)))
    np.testing.assert_allclose(apart.outputs[0], reverse, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(apart.outputs[1], reverse, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(apart.outputs[2], shifted, rtol=1e-12, atol=1e-12)


def test_one_channel_hides_an_order_and_several_channels_are_offered() -> None:
    right = layer(1, 8, padding=1)
    wrong = right.weight.permute(2, 3, 1, 0).reshape(right.weight.shape)
    report = report_of(right, right.run(weight=wrong))
    orders = [causes[0].parameters["order"] for causes in report.explanations]
    assert orders == ["HWIO", "IHWO", "HWOI"]
    apart = report.apart
    assert apart is not None
    assert apart.channels
    weight = torch.from_numpy(apart.weight)
    assert weight.shape == (8, 3, 3, 3)
    wrong = weight.permute(2, 3, 1, 0).reshape(weight.shape)
    expected = F.conv2d(torch.from_numpy(apart.x), wrong, torch.from_numpy(apart.bias), padding=1)
    np.testing.assert_allclose(apart.outputs[0], expected.numpy(), rtol=1e-12)
    assert len({output.tobytes() for output in apart.outputs}) == 3


def test_two_fits_of_one_factor_are_one_name() -> None:
    right = layer(4, 6, padding=1, bias=False)
    report = report_of(right, right.run() * 0.731)
    assert ids(report) == ["input.scaled", "kernel.scaled", "output.scaled"]


def test_a_mean_over_as_many_as_there_are_channels_may_be_a_plain_factor() -> None:
    right = layer(6, 10, (3, 3), (9, 9))
    report = report_of(right, right.run() * 0.1)
    assert ids(report) == ["output.averaged", "output.scaled"]
    assert report.same


def test_one_name_alone_is_proved() -> None:
    right = layer(4, 6, padding=1)
    report = report_of(right, right.run(weight=right.weight.flip(2, 3)))
    assert ids(report) == ["kernel.flipped"]
    assert report.proved
    assert report.causes[0].proved
    assert not report.same


def test_names_of_one_function_are_said_to_be_so_in_both_languages() -> None:
    right = layer(3, 8, padding=1, bias=False)
    report = report_of(right, right.run(x=right.x / 255))
    english, korean = " ".join(report.text("en").split()), " ".join(report.text("ko").split())
    assert "one function alone reproduces all" in english
    assert "no input of this layer can tell them apart" in english
    assert "The weights are multiplied by" in english
    assert "어떤 입력을 넣어도 가릴 수 없습니다" in korean
    batch = layer(3, 8, n=2, padding=1)
    text = report_of(batch, batch.run(x=batch.x.flip(0))).text("en")
    assert "which of 2 causes" in text
    assert "The same for every input of this layer: Samples of the output" in " ".join(text.split())
