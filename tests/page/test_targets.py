"""On a phone, whatever is pressed is large enough: 24 × 24 pixels (WCAG 2.2, 2.5.8)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from playwright.sync_api import Page
from torch import nn

import convtrace as ct
from convtrace.demo import DemoOptions, run_stack

Open = Callable[..., Page]
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "is_mobile": True,
    "has_touch": True,
}
SMALL = """least => [...document.querySelectorAll("button, select, input, summary, textarea")]
    .filter(element => element.checkVisibility() && !element.closest(".visually-hidden"))
    .map(element => [element.outerHTML.slice(0, 80), element.getBoundingClientRect()])
    .filter(([, { width, height }]) => width < least || height < least)
    .map(([text, { width, height }]) => `${text} ${width} × ${height}`)"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("targets")
    run_stack(DemoOptions(bias=True)).save(folder / "demo.html")
    # Letters as small as they become.
    large = ct.trace(nn.Conv2d(2, 2, 11, padding=5), torch.randn(1, 2, 40, 40))
    large.save(folder / "large.html", start="conv2d[0,0,9,9]")
    return {"demo": folder / "demo.html", "large": folder / "large.html"}


@pytest.mark.parametrize(
    ("file", "presses"),
    [
        ("demo", ()),
        ("demo", (".bar-of-tools button", ".playground [aria-expanded]", ".more")),
        ("demo", (".bar-of-tools button:nth-child(2)", ".bar-of-tools button:nth-child(3)")),
        ("demo", (".bar-of-tools button:last-child",)),
        ("large", ("summary",)),
    ],
)
def test_nothing_that_is_pressed_is_small(
    open_page: Open, files: dict[str, Path], file: str, presses: tuple[str, ...]
) -> None:
    page = open_page(files[file], **PHONE)
    for selector in presses:
        page.locator(selector).first.click()
    assert page.evaluate(SMALL, 24) == []
    assert page.evaluate(SMALL, 200) != []  # it finds what is smaller than that
    wide = "document.documentElement.scrollWidth"
    assert page.evaluate(wide) == PHONE["viewport"]["width"]


def test_what_is_wider_than_the_screen_fades_where_there_is_more(
    open_page: Open, files: dict[str, Path]
) -> None:
    fades = """all => all.filter(row => getComputedStyle(row).maskImage !== "none")
        .map(row => row.scrollWidth > row.clientWidth)"""
    large, demo = (open_page(files[name], **PHONE) for name in ("large", "demo"))
    rows = large.locator(".lines > .row")
    large.wait_for_timeout(100)
    shown = rows.evaluate_all(fades)
    assert shown
    assert all(shown)
    rows.evaluate_all("all => all.forEach(row => row.scrollLeft = 9999)")
    large.wait_for_timeout(100)
    assert rows.evaluate_all(fades) == []  # nothing more is there
    assert demo.locator(".lines > .row").evaluate_all(fades) == []
