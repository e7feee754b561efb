"""Every number of the views beside the equation can be selected by mouse, touch and keyboard."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Page, expect
from torch import nn

import convtrace as ct
from convtrace.demo import DemoOptions, run_stack
from convtrace.models.digits import digit, digits

Open = Callable[..., Page]
SHARES, USES = "Which pixels did it come from?", "Where does this number go?"


def demo() -> ct.Trace:
    return run_stack(DemoOptions())


def of_digit() -> ct.Trace:
    return ct.trace(digits(), digit())


def large() -> ct.Trace:
    torch.manual_seed(0)
    return ct.trace(nn.Conv2d(2, 2, 3), torch.randn(1, 2, 20, 20))


VIEWS = {
    "a grid of shares": (demo, "conv2[0,0,0,0]", SHARES, ".shares .grid"),
    "a map of shares": (of_digit, "fc[0,8]", SHARES, ".shares canvas"),
    "a grid of uses": (demo, "input[0,0,1,1]", None, ".used .planes .grid"),
    "a map of uses": (large, "input[0,0,9,9]", None, ".used canvas"),
    "a table of uses": (demo, "conv1[0,0,0,0]", USES, ".used-in"),
    "a grid of the input": (demo, "input[0,0,1,1]", None, ".given > figure .grid"),
    "a map of the input": (large, "input[0,0,9,9]", None, ".given > figure canvas"),
    "a kernel": (demo, "conv2.weight[0,1,0,0]", None, ".given > figure .grid"),
}


@pytest.mark.parametrize("way", ["mouse", "touch", "keyboard"])
@pytest.mark.parametrize("view", VIEWS)
def test_a_number_shows_its_receipt(view: str, way: str, open_page: Open, tmp_path: Path) -> None:
    make, start, question, place = VIEWS[view]
    make().save(tmp_path / "page.html", start=start)
    page = open_page(tmp_path / "page.html", has_touch=way == "touch")
    if question:
        page.get_by_text(question).click()
    target = page.locator(place).first
    if way == "keyboard":
        key = by_keyboard(page, place)
    elif "canvas" in place:
        target.scroll_into_view_if_needed()
        box = target.bounding_box()
        assert box
        (page.mouse.click if way == "mouse" else page.touchscreen.tap)(box["x"] + 3, box["y"] + 3)
        key = "conv2d[0,0,0,0]" if "used" in place else "input[0,0,0,0]"
    else:
        cell = target.locator("td[data-address]").last
        key = cell.get_attribute("data-address") or ""
        (cell.click if way == "mouse" else cell.tap)()
    heading = page.locator("h1")
    expect(heading).not_to_contain_text(f"{start} ")
    shown = re.split(" [=≈] ", heading.inner_text())[0]
    assert shown == key.replace(f"{start}#share", "input")
    if shown.partition("[")[0] != start.partition("[")[0]:
        trail = page.get_by_role("navigation", name="The way down to this number")
        expect(trail.get_by_role("listitem").first).to_have_text(start)


def by_keyboard(page: Page, place: str) -> str:
    """Go to a view with the tab key, then to the number beside, and follow it."""
    inside = f"document.activeElement.closest({place!r}) !== null"
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate(inside):
            break
    assert page.evaluate(inside), "the tab key does not lead there"
    page.keyboard.press("End")
    page.keyboard.press("ArrowDown")
    key = page.evaluate("document.activeElement.getAttribute('data-address')")
    page.keyboard.press("Enter")
    return key


NUMBERS = (
    "td:not([aria-label*='padding']), .sum, .result, .amount, .looked, canvas, .map-scale span"
)


@pytest.mark.parametrize("view", VIEWS)
def test_every_number_drawn_has_an_address(view: str, open_page: Open, tmp_path: Path) -> None:
    make, start, question, place = VIEWS[view]
    make().save(tmp_path / "page.html", start=start)
    page = open_page(tmp_path / "page.html")
    if question:
        page.get_by_text(question).click()
    expect(page.locator(place).first).to_be_visible()
    drawn = page.locator(NUMBERS).evaluate_all(
        "all => all.map(one => [one.textContent, one.dataset.address ?? null])"
    )
    assert len(drawn) > 3
    assert [text for text, address in drawn if not address and text != "0"] == []
    addresses = {address for _, address in drawn if address and "#" not in address}
    trace = make()
    for address in addresses:
        trace.value(address)


def test_outlines_on_maps_lie_around_the_window_and_the_number(
    open_page: Open, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    trace = ct.trace(nn.Sequential(nn.Conv2d(2, 2, 3)), torch.randn(1, 2, 20, 20))
    trace.save(tmp_path / "page.html", start="0[0,1,7,4]")
    page = open_page(tmp_path / "page.html")
    assert outlined(page, ".plane.input", 20) == (7, 9, 4, 6)
    assert outlined(page, ".plane.output", 18) == (7, 7, 4, 4)
    output = page.locator(".plane.output canvas")
    output.scroll_into_view_if_needed()
    box = output.bounding_box()
    assert box
    output.click(position={"x": box["width"] * 3.5 / 18, "y": box["height"] * 12.5 / 18})
    expect(page.get_by_role("heading", level=1)).to_contain_text("0[0,1,12,3]")
    assert outlined(page, ".plane.input", 20) == (12, 14, 3, 5)
    assert outlined(page, ".plane.output", 18) == (12, 12, 3, 3)


def test_the_number_under_the_pointer_is_the_one_that_a_click_chooses(
    open_page: Open, tmp_path: Path
) -> None:
    # The pointer moves by parts of a pixel, a click has whole ones: at an edge they may differ.
    torch.manual_seed(0)
    ct.trace(nn.Conv2d(1, 1, 3), torch.randn(1, 1, 58, 58)).save(tmp_path / "page.html")
    page = open_page(tmp_path / "page.html")
    output = page.locator(".plane.output canvas")
    output.scroll_into_view_if_needed()
    for n in range(1, 13):
        box = output.bounding_box()
        assert box
        x = math.floor(box["x"] + box["width"] * n / 56) + 0.9
        page.mouse.move(x, box["y"] + box["height"] * (n + 0.5) / 56)
        pointed = page.locator(".detail").inner_text().split(" = ")[0]
        page.mouse.down()
        page.mouse.up()
        expect(page.locator("h1 .address")).to_have_text(pointed)


def outlined(page: Page, plane: str, size: int) -> tuple[int, ...]:
    """First and last row, first and last column in the first outline of a map."""
    map_box = page.locator(f"{plane} canvas").first.bounding_box()
    box = page.locator(f"{plane} .marks i").first.bounding_box()
    assert map_box
    assert box
    cell = map_box["width"] / size
    ends: list[int] = []
    for start, length in (("y", "height"), ("x", "width")):
        low = (box[start] - map_box[start]) / cell
        assert low == pytest.approx(round(low), abs=0.1)
        assert box[length] / cell == pytest.approx(round(box[length] / cell), abs=0.1)
        ends += [round(low), round(low + box[length] / cell) - 1]
    return tuple(ends)
