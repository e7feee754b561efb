"""Following numbers: by keyboard, by mouse, back again, and the other way round."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Locator, Page, expect
from torch import nn

import convtrace as ct
from convtrace.demo import DemoOptions, run_stack
from convtrace.models.digits import digit, digits

Open = Callable[..., Page]


@pytest.fixture
def demo(open_page: Open, tmp_path: Path) -> Page:
    run_stack(DemoOptions()).save(tmp_path / "page.html", start="conv2[0,0,0,0]")
    return open_page(tmp_path / "page.html")


def heading(page: Page) -> str:
    return page.locator("h1").inner_text()


def test_the_keyboard_alone_leads_down_to_a_pixel(demo: Page) -> None:
    assert heading(demo) == "conv2[0,0,0,0] = 270"
    for expected in ("conv1[0,0,0,0] = 24", "input[0,0,0,0] = 0"):
        for _ in range(30):
            demo.keyboard.press("Tab")
            if demo.evaluate("document.activeElement.closest('.input') !== null"):
                break
        demo.keyboard.press("Enter")
        expect(demo.locator("h1")).to_have_text(expected)
        assert demo.evaluate("document.activeElement.tagName") == "H1"
    demo.keyboard.press("Escape")
    expect(demo.locator("h1")).to_have_text("conv1[0,0,0,0] = 24")


def test_arrow_keys_move_within_a_grid_that_is_one_tab_stop(demo: Page) -> None:
    grid = demo.get_by_role("grid", name="channel 0: input, window marked")
    assert grid.locator("td[tabindex='0']").count() == 1
    grid.locator("td[tabindex='0']").focus()
    demo.keyboard.press("ArrowRight")
    demo.keyboard.press("ArrowDown")
    focused = demo.evaluate("document.activeElement.getAttribute('aria-label')")
    assert focused == "conv1[0,0,1,1] = 36"
    demo.keyboard.press("Enter")
    expect(demo.locator("h1")).to_have_text("conv1[0,0,1,1] = 36")


def test_the_trail_leads_back(demo: Page) -> None:
    demo.locator("[data-address='conv1[0,1,0,1]']").first.click()
    demo.locator("[data-address='input[0,1,2,2]']").first.click()
    trail = demo.get_by_role("navigation", name="The way down to this number")
    expect(trail.get_by_role("listitem")).to_have_text(
        ["conv2[0,0,0,0]", "conv1[0,1,0,1]", "input[0,1,2,2]"]
    )
    trail.get_by_role("button", name="conv2[0,0,0,0]").click()
    expect(demo.locator("h1")).to_have_text("conv2[0,0,0,0] = 270")
    expect(trail).to_have_count(0)


def test_a_pixel_lights_up_every_number_that_used_it(demo: Page) -> None:
    demo.get_by_role("button", name="input 2 × 3 × 3").click()
    demo.locator("[data-address='input[0,0,0,1]']").click()
    lit = demo.locator(".lit").evaluate_all("cells => cells.map(c => c.dataset.address)")
    assert lit == [f"conv1[0,{c},0,{x}]" for c in (0, 1) for x in (0, 1)]


def test_a_weight_lights_up_every_number_that_used_it(demo: Page) -> None:
    demo.locator("[data-address='conv2.weight[0,1,0,0]']").click()
    expect(demo.locator("h1")).to_have_text("conv2.weight[0,1,0,0] = 0.5")
    lit = demo.locator(".lit").evaluate_all("cells => cells.map(c => c.dataset.address)")
    assert lit == ["conv2[0,0,0,0]"]


def test_pointing_at_a_product_lights_up_its_factors(demo: Page) -> None:
    demo.locator("[data-address='conv2[0,0,0,0]#product[1,0,1]']").hover()
    lit = set(demo.locator(".lit").evaluate_all("cells => cells.map(c => c.dataset.address)"))
    assert {"conv1[0,1,0,1]", "conv2.weight[0,1,0,1]"} <= lit
    expect(demo.locator(".detail")).to_contain_text("108 × 0.5 = 54")


def test_every_number_drawn_has_an_address_and_a_name(demo: Page) -> None:
    bare = demo.evaluate(
        "[...document.querySelectorAll('td, .sum, .result')].filter(e => e.textContent.trim() && "
        "!(e.dataset.address && e.getAttribute('aria-label'))).length"
    )
    assert bare == 0


def test_the_shares_of_the_pixels_are_the_contributions(open_page: Open, tmp_path: Path) -> None:
    trace = ct.trace(digits(), digit())
    trace.save(tmp_path / "page.html", start="fc[0,8]")
    page = open_page(tmp_path / "page.html")
    page.get_by_text("Which pixels did it come from?").click()
    split = trace.contributions("fc[0,8]")
    canvas = page.locator(".shares canvas")
    canvas.focus()
    values = split.inputs["input"].reshape(8, 8)
    for key, row, column in (("Home", 0, 0), ("ArrowDown", 1, 0), ("ArrowRight", 1, 1)):
        canvas.press(key)
        assert_named(canvas, f"fc[0,8]#share[0,0,{row},{column}]", values[row, column])
    for _ in range(2):
        canvas.press("ArrowRight")
    assert_named(canvas, "fc[0,8]#share[0,0,1,3]", values[1, 3])
    canvas.press("Enter")
    expect(page.locator("h1")).to_contain_text("input[0,0,1,3]")


def assert_named(element: Locator, address: str, value: float) -> None:
    label = element.get_attribute("aria-label") or ""
    assert f"{address} = " in label
    shown = label.split(" = ")[1].split(". ")[0].replace("−", "-")
    assert float(shown) == pytest.approx(float(value), rel=1e-5, abs=1e-9)


def test_names_from_a_model_stay_text(open_page: Open, tmp_path: Path) -> None:
    name = "<img src=x onerror=alert(1)><b>"
    model = nn.Sequential(OrderedDict([(name, nn.Conv2d(1, 1, 2))]))
    ct.trace(model, torch.ones(1, 1, 3, 3)).save(tmp_path / "page.html", title=name)
    page = open_page(tmp_path / "page.html")
    expect(page.locator("h1")).to_contain_text(f"{name}[0,0,0,0]")
    assert page.locator("img, b").count() == 0
    assert page.title() == name


def test_what_was_left_out_is_said(open_page: Open, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3))
    trace = ct.trace(model, torch.randn(1, 1, 32, 32))
    trace.save(tmp_path / "page.html", budget=40_000)
    page = open_page(tmp_path / "page.html")
    expect(page.get_by_text("Not all numbers fit into 0.04 MB")).to_be_visible()
    page.get_by_role("button", name="2 8 × 28 × 28").click()
    expect(page.get_by_text("left out of this file to keep it small")).to_be_visible()


def test_switching_to_korean_changes_every_sentence(demo: Page) -> None:
    demo.get_by_role("button", name="한국어").click()
    expect(demo.get_by_role("group", name="채널 0")).to_be_visible()
    expect(demo.get_by_text("입력 채널 2개에서 나온 합을 모두 더한 값입니다.")).to_be_visible()
    assert demo.locator(".convtrace").get_attribute("lang") == "ko"
    demo.get_by_role("button", name="EN").click()
    expect(demo.get_by_role("group", name="channel 0")).to_be_visible()
