"""The page of one receipt calls things by the same names as the page of the whole network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Page, expect
from torch import nn

import convtrace as ct
from convtrace.demo import DemoOptions, run_stack

Open = Callable[..., Page]
WORDS = ".heading, .name, .rest p, .rest .label, .bias .label"


def layers(kind: str) -> tuple[ct.Trace, str]:
    torch.manual_seed(0)
    if kind == "the demo":
        return run_stack(DemoOptions()), "conv1[0,0,0,0]"
    if kind == "many channels":
        return ct.trace(nn.Conv2d(24, 2, 3), torch.randn(1, 24, 12, 12)), "conv2d[0,0,0,0]"
    network = nn.Sequential(nn.Conv1d(1, 24, 1), nn.Flatten(), nn.Linear(24, 2))
    return ct.trace(network, torch.randn(1, 1, 1)), "2[0,0]"


@pytest.mark.parametrize("kind", ["the demo", "many channels", "a linear layer"])
def test_rows_columns_and_rest_have_the_names_they_have_elsewhere(
    open_page: Open, tmp_path: Path, kind: str
) -> None:
    trace, address = layers(kind)
    trace.save(tmp_path / "whole.html", start=address)
    trace.why(address).save(tmp_path / "one.html")
    whole, one = (open_page(tmp_path / name) for name in ("whole.html", "one.html"))
    assert one.locator(WORDS).all_text_contents() == whole.locator(WORDS).all_text_contents()
    assert "kernel" in one.locator(WORDS).all_text_contents()


def test_a_step_without_channels_still_speaks_of_terms(open_page: Open, tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(1, 1, 2), nn.AvgPool2d(2))
    ct.trace(network, torch.ones(1, 1, 3, 3)).why("1[0,0,0,0]").save(tmp_path / "one.html")
    page = open_page(tmp_path / "one.html")
    expect(page.locator(".name").nth(1)).to_have_text("0[0,0,0,0]")
    expect(page.locator(".headings")).to_contain_text("factor")
