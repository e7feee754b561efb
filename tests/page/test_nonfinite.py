"""Where a NaN came from: the certificate names the terms that brought it in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from playwright.sync_api import Page, expect
from torch import nn

import convtrace as ct

Open = Callable[..., Page]
HERE = "NaN (not a number) or infinity (∞) came in here:"


def ones(padding: int = 0) -> nn.Conv2d:
    layer = nn.Conv2d(2, 1, 2, padding=padding, bias=False)
    nn.init.ones_(layer.weight)
    return layer


def notes(page: Page) -> list[str]:
    """What the certificate says below its first line."""
    return page.locator(".certificate .note").all_inner_texts()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_the_term_that_brought_it_in_is_named(open_page: Open, tmp_path: Path, bad: float) -> None:
    x = torch.arange(18.0).reshape(1, 2, 3, 3)
    x[0, 1, 2, 1] = bad
    ct.trace(ones(), x).save(tmp_path / "page.html", start="conv2d[0,0,1,1]")
    text = "NaN" if bad != bad else "∞"
    assert notes(open_page(tmp_path / "page.html")) == [
        HERE,
        f"input[0,1,2,1] × weight[0,1,1,0]:  {text} × 1 = {text}".replace("  ", " "),
    ]


def test_of_many_a_few_are_named_and_the_others_counted(open_page: Open, tmp_path: Path) -> None:
    layer = nn.Conv2d(3, 1, 2, bias=False)
    ct.trace(layer, torch.full((1, 3, 2, 2), torch.nan)).save(tmp_path / "page.html")
    said = notes(open_page(tmp_path / "page.html"))
    assert (said[0], len(said), said[-1]) == (HERE, 10, "and 4 more")


def test_a_weight_over_padding_is_told_from_a_term(open_page: Open, tmp_path: Path) -> None:
    layer = ones(padding=1)
    with torch.no_grad():
        layer.weight[0, 0, 0, 0] = torch.nan
    ct.trace(layer, torch.ones(1, 2, 3, 3)).save(tmp_path / "page.html")
    said = notes(open_page(tmp_path / "page.html"))
    assert said[0] == HERE
    assert "weight[0,0,0,0] = NaN, over padding" in said[1]
    assert said[1].endswith("0 × NaN = NaN")


def test_a_finite_sum_says_nothing_of_it(open_page: Open, tmp_path: Path) -> None:
    x: Any = torch.arange(18.0).reshape(1, 2, 3, 3)
    x[0, 1, 2, 2] = torch.nan
    ct.trace(ones(), x).save(tmp_path / "page.html")
    page = open_page(tmp_path / "page.html")
    expect(page.locator(".certificate")).not_to_contain_text("NaN")
