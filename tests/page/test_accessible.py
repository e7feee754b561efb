"""axe-core finds nothing in any state, in both themes and languages, on every size of screen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Page

from convtrace.demo import DemoOptions, run_stack
from convtrace.frontends.torch import trace as torch_trace
from convtrace.models.digits import digit, digits

AXE = Path(__file__).resolve().parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
Open = Callable[..., Page]

STATES = {
    "first view": (),
    "a pixel": ("[data-address='input[0,0,0,1]']",),
    "a weight": ("[data-address='conv1.weight[0,0,0,0]']",),
    "a linear layer": ("button.layer:has-text('fc')",),
    "a pool": ("button.layer:has-text('pool')",),
    "many channels": ("button.layer:has-text('conv2')", "summary"),
    "shares": ("button.layer:has-text('fc')", "summary"),
    "uses": ("button.layer:has-text('conv2')", "details:nth-of-type(2) summary"),
}
SIZES = {"phone": (390, 844), "laptop": (1280, 800), "projector": (1920, 1080)}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    run_stack(DemoOptions(padding=1, bias=True)).save(folder / "demo.html")
    torch_trace(digits(), digit()).save(folder / "digits.html")
    return {"demo": folder / "demo.html", "digits": folder / "digits.html"}


def problems(page: Page) -> list[str]:
    if not AXE.exists():
        pytest.skip("axe-core is not installed: `make page` installs it")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']}: {one['help']}: {node['html'][:160]}"
        for one in found["violations"]
        for node in one["nodes"][:3]
    ]


@pytest.mark.parametrize(("lang", "theme"), [("en", "light"), ("ko", "dark")])
@pytest.mark.parametrize("state", STATES)
def test_axe_finds_nothing(
    open_page: Open, files: dict[str, Path], state: str, lang: str, theme: str
) -> None:
    needs_digits = state in ("a linear layer", "a pool", "many channels", "shares", "uses")
    file = files["digits" if needs_digits else "demo"]
    page = open_page(file, color_scheme=theme)
    if lang == "ko":
        page.get_by_role("button", name="한국어").click()
    for selector in STATES[state]:
        page.locator(selector).first.click()
    assert problems(page) == []


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_axe_finds_nothing_on_any_screen(
    open_page: Open, files: dict[str, Path], size: tuple[int, int]
) -> None:
    viewport = {"width": size[0], "height": size[1]}
    page = open_page(files["demo"], viewport=viewport)
    assert problems(page) == []
    wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0, "the page scrolls sideways"


def test_axe_finds_nothing_in_uses_that_are_shown_rounded(open_page: Open, tmp_path: Path) -> None:
    torch.manual_seed(0)
    file = tmp_path / "page.html"
    torch_trace(torch.nn.Conv2d(1, 2, 3), torch.randn(1, 1, 5, 5)).save(file)
    page = open_page(file)
    page.locator("[data-address='input[0,0,0,0]']").first.click()
    used = page.locator(".use-table .before[data-text$='≈']")
    used.first.wait_for()
    assert problems(page) == []


def test_axe_can_find_something(open_page: Open, files: dict[str, Path]) -> None:
    page = open_page(files["demo"])
    page.evaluate("document.querySelector('.bar').innerHTML = '<button></button>'")
    assert any("button-name" in problem for problem in problems(page))
