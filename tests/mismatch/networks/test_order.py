"""Tensors that are joined in another order, as a decoder joins its shortcut and its own."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

import convtrace as ct
from convtrace.mismatch.networks.report import ModelReport


class Decoder(nn.Module):
    def __init__(self, *, shortcut_first: bool) -> None:
        super().__init__()
        self.shortcut_first = shortcut_first
        self.down = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.side = nn.Conv2d(3, 4, 3, padding=1)
        self.up = nn.ConvTranspose2d(6, 5, 2, stride=2)
        self.join = nn.Conv2d(9, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        side, up = torch.relu(self.side(x)), self.up(torch.relu(self.down(x)))
        parts = [side, up] if self.shortcut_first else [up, side]
        return torch.relu(self.join(torch.cat(parts, 1)))


class Named(nn.Module):
    """A port that calls its layers otherwise."""

    def __init__(self, model: Decoder, *, shortcut_first: bool, weights_too: bool) -> None:
        super().__init__()
        self.shortcut_first = shortcut_first
        self.a, self.b, self.c = model.down, model.side, model.up
        self.d = copy.deepcopy(model.join)
        if weights_too:
            weight = self.d.weight.data
            self.d.weight.data = torch.cat([weight[:, 4:], weight[:, :4]], 1)

    def forward(self, x: Tensor) -> Tensor:
        side, up = torch.relu(self.b(x)), self.c(torch.relu(self.a(x)))
        parts = [side, up] if self.shortcut_first else [up, side]
        return torch.relu(self.d(torch.cat(parts, 1)))


@pytest.fixture
def reference() -> Decoder:
    torch.manual_seed(0)
    return Decoder(shortcut_first=True).eval()


def report_of(mine: nn.Module, reference: nn.Module) -> ModelReport:
    x = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    report = ct.diff(mine.eval(), reference, inputs=(x,))
    assert isinstance(report, ModelReport)
    return report


def assert_order_is_named(report: ModelReport) -> None:
    assert report.verdict == "mismatch"
    assert [(cause.id, cause.proved) for cause in report.causes] == [("model.order", True)]
    assert report.first is not None
    assert report.first.reference == "cat"
    assert [pair.reference for pair in report.wrong] == ["cat"]


def test_the_order_is_named_where_all_names_are_the_same(reference: Decoder) -> None:
    mine = copy.deepcopy(reference)
    mine.shortcut_first = False
    report = report_of(mine, reference)
    assert_order_is_named(report)
    assert "cat joins the same tensors in another order: mine up, relu" in report.text("en")
    assert "다른 순서로 이어 붙입니다" in report.text("ko")


def test_the_order_is_named_in_a_port_with_other_names(reference: Decoder) -> None:
    assert_order_is_named(
        report_of(Named(reference, shortcut_first=False, weights_too=False), reference)
    )


def test_another_order_is_right_where_the_weights_follow_it(reference: Decoder) -> None:
    report = report_of(Named(reference, shortcut_first=False, weights_too=True), reference)
    assert report.verdict == "rounding"
    assert not report.causes


def test_weights_in_another_order_alone_are_wrong(reference: Decoder) -> None:
    report = report_of(Named(reference, shortcut_first=True, weights_too=True), reference)
    assert report.verdict == "mismatch"
    assert report.first is not None
    assert report.first.reference == "join"
