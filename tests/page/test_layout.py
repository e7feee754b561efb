"""What stands where: decimal points below each other, nothing cut off, nothing touching."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Page
from torch import nn

from convtrace.demo import DemoOptions, run_stack
from convtrace.frontends.torch import trace as torch_trace
from convtrace.models.digits import digit, digits

Open = Callable[..., Page]

SIZES = {
    "phone": (390, 844),
    "tablet": (820, 1180),
    "laptop": (1280, 800),
    "projector": (1920, 1080),
}

STATES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "first view": ("demo", "", ()),
    "random weights": ("random", "", ()),
    "64 channels": ("wide", "", ()),
    "a 7 by 7 kernel": ("kernel", "", ()),
    "a linear layer": ("digits", "", ("button.layer:has-text('fc')",)),
    "playground": ("random", "", (".bar-of-tools button:nth-child(1)",)),
    "player": ("demo", "", (".bar-of-tools button:nth-child(2)",)),
    "code": ("demo", "", (".bar-of-tools button:nth-child(3)",)),
    "an output to find": ("demo", "practice=3.0", (".practice form button:last-child",) * 3),
    "a product to find": ("demo", "practice=3.1", (".practice form button:last-child",)),
    "a shape to find": ("demo", "practice=3.2", (".practice form button:last-child",) * 2),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("layout")
    torch.manual_seed(0)
    wide = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1))
    random = DemoOptions(height=5, width=5, kernel_size=3, padding=1, weights="seed", bias=True)
    traces = {
        "demo": run_stack(DemoOptions()),
        "random": run_stack(random),
        "wide": torch_trace(wide, torch.randn(1, 64, 12, 12)),
        "digits": torch_trace(digits(), digit()),
        "kernel": torch_trace(nn.Sequential(nn.Conv2d(2, 1, 7)), torch.randn(1, 2, 12, 12)),
    }
    for name, trace in traces.items():
        trace.save(folder / f"{name}.html", lang="en")
    return {name: folder / f"{name}.html" for name in traces}


def opened(open_page: Open, files: dict[str, Path], state: str, size: str, lang: str) -> Page:
    name, link, presses = STATES[state]
    width, height = SIZES[size]
    fragment = f"#v=1&lang={lang}" + (f"&{link}" if link else "")
    page = open_page(files[name], fragment=fragment, viewport={"width": width, "height": height})
    for selector in presses:
        page.locator(selector).first.click()
    page.mouse.move(0, 0)
    return page


POINTS = r"""selector => [...document.querySelectorAll(selector)].flatMap(table => {
  const rows = [...table.rows];
  return rows[0] ? [...rows[0].cells].map((_, c) => rows.flatMap(row => {
    const text = row.cells[c] && row.cells[c].firstChild;
    if (!text || text.nodeType !== 3 || !/^−?\d+(\.\d+)?$/.test(text.data)) return [];
    const range = document.createRange();
    const at = text.data.indexOf(".");
    range.setStart(text, 0);
    range.setEnd(text, at < 0 ? text.data.length : at);
    return [range.getBoundingClientRect().right];
  })) : [];
})"""
"""Where the whole part of each number ends, column by column."""

SUMS = r"""() => [...document.querySelectorAll(".sum[data-address]")].flatMap(sum => {
  const text = document.createTreeWalker(sum, NodeFilter.SHOW_TEXT).nextNode();
  if (!text) return [];
  if (!/^−?\d+(\.\d+)?$/.test(text.data)) return [];
  const range = document.createRange();
  const at = text.data.indexOf(".");
  range.setStart(text, 0);
  range.setEnd(text, at < 0 ? text.data.length : at);
  return [range.getBoundingClientRect().right];
})"""


@pytest.mark.parametrize("state", STATES)
def test_decimal_points_stand_below_each_other(
    open_page: Open, files: dict[str, Path], state: str
) -> None:
    page = opened(open_page, files, state, "laptop", "en")
    for width, height in (SIZES["laptop"], SIZES["phone"]):
        page.set_viewport_size({"width": width, "height": height})
        for column in page.evaluate(POINTS, ".grid"):
            assert not column or max(column) - min(column) < 1.5, column
        sums = page.evaluate(SUMS)
        assert not sums or max(sums) - min(sums) < 1.5, sums


def test_the_measure_of_decimal_points_notices_a_shift(
    open_page: Open, files: dict[str, Path]
) -> None:
    page = opened(open_page, files, "first view", "laptop", "en")
    cell = page.locator(".products td").first
    cell.evaluate("e => { e.style.paddingRight = '0px'; }")
    columns = page.evaluate(POINTS, ".products")
    assert any(column and max(column) - min(column) > 1.5 for column in columns)
    page.locator(".sum").first.evaluate("e => { e.style.paddingRight = '20px'; }")
    sums = page.evaluate(SUMS)
    assert max(sums) - min(sums) > 1.5


CUT = """() => {
  const found = [];
  const width = document.documentElement.clientWidth;
  for (const e of document.querySelectorAll(".convtrace *")) {
    if (e.closest(".visually-hidden, pre, svg") || e.matches(".visually-hidden")) continue;
    const box = e.getBoundingClientRect();
    if (box.width && (box.right > width + 1 || box.left < -1)) found.push(["beside", e.outerHTML]);
    const style = getComputedStyle(e);
    const hides = style.overflowX !== "visible" && !e.matches("select, input");
    if (hides && e.scrollWidth > e.clientWidth + 1) {
      found.push(["cut off", e.outerHTML]);
    }
  }
  const controls = [...document.querySelectorAll("button, select, input, summary")]
    .filter(e => !e.closest(".visually-hidden, .stepper, .plane, .editor"))
    .filter(e => !e.matches(".visually-hidden") && e.getClientRects().length);
  const boxes = controls.map(e => e.getBoundingClientRect());
  boxes.forEach((a, n) => boxes.slice(n + 1).forEach((b, m) => {
    const apart = Math.max(a.left - b.right, b.left - a.right, a.top - b.bottom, b.top - a.bottom);
    if (apart < 2) found.push(["touching", controls[n].outerHTML, controls[n + 1 + m].outerHTML]);
  }));
  for (const e of document.querySelectorAll(".convtrace :is(.label, .name, .heading, h1, p)")) {
    const [box, letters] = [e.getBoundingClientRect(), parseFloat(getComputedStyle(e).fontSize)];
    if (box.width < 4 * letters && box.height > 4 * letters) found.push(["squeezed", e.outerHTML]);
  }
  return found.map(all => all.map(text => text.slice(0, 120)).join(": "));
}"""
"""Elements beyond the screen, cut off or squeezed into a column, and controls that touch."""


@pytest.mark.parametrize("state", STATES)
def test_nothing_is_cut_off_and_nothing_touches(
    open_page: Open, files: dict[str, Path], state: str
) -> None:
    for lang in ("en", "ko"):
        page = opened(open_page, files, state, "laptop", lang)
        for size, (width, height) in SIZES.items():
            if (state, size) == ("a 7 by 7 kernel", "phone"):
                continue  # seven numbers side by side: the row scrolls
            page.set_viewport_size({"width": width, "height": height})
            assert page.evaluate(CUT) == [], (lang, width)


def test_the_measure_of_cuts_notices_them(open_page: Open, files: dict[str, Path]) -> None:
    page = opened(open_page, files, "first view", "laptop", "en")
    page.evaluate("document.querySelector('.lines').style.width = '200px'")
    assert any(found.startswith("cut off") for found in page.evaluate(CUT))
    page.evaluate("document.querySelector('.bar-of-tools').style.gap = '0'")
    assert any(found.startswith("touching") for found in page.evaluate(CUT))
    page.evaluate("document.querySelector('h1').style.width = '1em'")
    assert any(found.startswith("squeezed") for found in page.evaluate(CUT))


def test_the_first_view_answers_without_scrolling(open_page: Open, files: dict[str, Path]) -> None:
    for size in ("phone", "laptop", "projector"):
        page = opened(open_page, files, "first view", size, "en")
        for selector in (".result", ".output td.selected"):
            box = page.locator(selector).bounding_box()
            assert box is not None
            assert box["y"] + box["height"] <= SIZES[size][1], (size, selector)


def test_the_verdict_stands_beside_the_total_where_there_is_room(
    open_page: Open, files: dict[str, Path]
) -> None:
    for size, beside in (("laptop", True), ("phone", False)):
        page = opened(open_page, files, "first view", size, "en")
        total, verdict = (page.locator(one).bounding_box() for one in (".result", ".certificate"))
        assert total is not None
        assert verdict is not None
        assert (verdict["y"] < total["y"] + total["height"]) == beside
        assert verdict["x"] < total["x"]


def test_every_row_of_a_grid_column_is_as_wide_as_in_the_other_channels(
    open_page: Open, files: dict[str, Path]
) -> None:
    page = opened(open_page, files, "64 channels", "laptop", "en")
    for role in ("input", "kernel", "products"):
        lefts = page.locator(f".lines .grid.{role}").evaluate_all(
            "all => all.map(e => Math.round(e.getBoundingClientRect().left))"
        )
        assert len(lefts) == 2
        assert max(lefts) - min(lefts) <= 1, (role, lefts)


@pytest.mark.parametrize("state", STATES)
def test_paper_shows_all_of_it_in_black_on_white(
    open_page: Open, files: dict[str, Path], state: str
) -> None:
    page = opened(open_page, files, state, "laptop", "en")
    page.set_viewport_size({"width": 718, "height": 1000})  # A4 with Chromium's usual margins
    page.get_by_role("button", name="Dark").click()
    page.emulate_media(media="print")
    assert [found for found in page.evaluate(CUT) if not found.startswith("touching")] == []
    ground = page.locator(".convtrace").first.evaluate("e => getComputedStyle(e).backgroundColor")
    assert ground == "rgb(255, 255, 255)"
    for selector in (".bar .switches", ".bar-of-tools", ".detail"):
        assert not any(one.is_visible() for one in page.locator(selector).all())


LIGHT = """canvas => {
  const copy = Object.assign(document.createElement("canvas"), {width: 50, height: 50});
  const pen = copy.getContext("2d", {willReadFrequently: true});
  pen.drawImage(canvas, 0, 0, 50, 50);
  const {data} = pen.getImageData(0, 0, 50, 50);
  let sum = 0;
  for (let n = 0; n < data.length; n += 4) sum += data[n] + data[n + 1] + data[n + 2];
  return sum / (data.length / 4) / 3;
}"""
"""Mean lightness of a map, from 0 to 255."""


def test_maps_of_a_dark_page_are_light_on_paper(open_page: Open, files: dict[str, Path]) -> None:
    page = opened(open_page, files, "64 channels", "laptop", "en")
    page.get_by_role("button", name="Dark").click()
    canvas = page.locator(".plane.input canvas").first
    page.wait_for_timeout(100)
    assert canvas.evaluate(LIGHT) < 110
    page.emulate_media(media="print")
    page.wait_for_timeout(100)
    assert canvas.evaluate(LIGHT) > 180
    page.emulate_media(media="screen")
    page.wait_for_timeout(100)
    assert canvas.evaluate(LIGHT) < 110
