"""Maps: from one layer to the next the whole plane is seen, and nothing of the old one stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Locator, Page, expect
from torch import nn

import convtrace as ct

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    layers = (nn.Conv2d(2, 2, 3, padding=1, stride=4), nn.Conv2d(2, 2, 3, dilation=2))
    path = tmp_path_factory.mktemp("maps") / "page.html"
    ct.trace(nn.Sequential(*layers), torch.randn(1, 2, 64, 64)).save(path, start="0[0,0,1,1]")
    return path


@pytest.fixture
def page(open_page: Open, file: Path) -> Page:
    return open_page(file)


def frame(maps: Locator) -> tuple[float, float, float]:
    """Side of the first map, and width of its window and distance from the left, in pixels."""
    canvas = maps.first.locator("canvas").bounding_box()
    window = maps.first.locator("i.window").bounding_box()
    assert canvas
    assert window
    return canvas["width"], window["width"], window["x"] - canvas["x"]


def test_a_map_of_another_size_is_seen_whole(page: Page) -> None:
    side, wide, left = frame(page.locator(".equation .plane.input"))
    cell = side / 64
    assert (wide, left) == (pytest.approx(3 * cell, abs=0.6), pytest.approx(3 * cell, abs=0.6))
    page.locator("button.layer", has_text="1").last.click()
    expect(page.locator("h1")).to_contain_text("1[0,0,1,1]")
    side, wide, left = frame(page.locator(".equation .plane.input"))
    cell = side / 16
    assert (wide, left) == (pytest.approx(5 * cell, abs=0.6), pytest.approx(cell, abs=0.6))


def test_maps_that_are_gone_are_forgotten(page: Page) -> None:
    """No signal still tells a map that left the page, and so keeps it and its picture."""
    session = page.context.new_cdp_session(page)

    def pictures() -> int:
        session.send("HeapProfiler.collectGarbage")
        kind = session.send("Runtime.evaluate", {"expression": "HTMLCanvasElement.prototype"})
        found = session.send(
            "Runtime.queryObjects",
            {"prototypeObjectId": kind["result"]["objectId"], "objectGroup": "found"},
        )
        count = session.send(
            "Runtime.callFunctionOn",
            {
                "objectId": found["objects"]["objectId"],
                "functionDeclaration": "function () { return this.length; }",
            },
        )
        session.send("Runtime.releaseObjectGroup", {"objectGroup": "found"})
        return count["result"]["value"]

    def there_and_back() -> int:
        for layer in ("input", "0"):
            page.locator(".layer-name").get_by_text(layer, exact=True).click()
            expect(page.locator("h1")).to_contain_text(f"{layer}[0,0,")
            page.wait_for_timeout(100)
        return pictures()

    first = there_and_back()
    assert [there_and_back() for _ in range(3)] == [first] * 3


def test_a_frame_shows_where_the_pixels_of_a_large_image_lie(page: Page) -> None:
    page.locator("summary").first.click()
    side, wide, left = frame(page.locator(".shares .plane"))
    cell = side / 64
    assert (wide, left) == (pytest.approx(3 * cell, abs=1), pytest.approx(3 * cell, abs=1))


def test_no_contribution_at_all_needs_no_scale(open_page: Open, tmp_path: Path) -> None:
    ct.trace(nn.Conv2d(1, 1, 2), torch.zeros(1, 1, 3, 3)).save(tmp_path / "page.html")
    page = open_page(tmp_path / "page.html")
    page.locator("summary").first.click()
    expect(page.locator(".shares .looked")).to_contain_text("contributes 0")
    assert page.locator(".map-scale").count() == 0


def test_samples_are_left_out_of_shapes_of_one_and_two_axes(
    open_page: Open, tmp_path: Path
) -> None:
    shapes = {}
    for axes, layer in enumerate((nn.Conv1d(2, 3, 3), nn.Conv2d(2, 3, 3), nn.Conv3d(2, 3, 3)), 1):
        ct.trace(layer, torch.ones(1, 2, *[5] * axes)).save(tmp_path / f"{axes}.html")
        shown = open_page(tmp_path / f"{axes}.html").locator(".layer-shape")
        shapes[axes] = shown.all_inner_texts()
    assert shapes == {
        1: ["2 × 5", "3 × 3"],
        2: ["2 × 5 × 5", "3 × 3 × 3"],
        3: ["2 × 5 × 5 × 5", "3 × 3 × 3 × 3"],
    }
    ct.trace(nn.Conv3d(2, 3, 3), torch.ones(2, 5, 5, 5)).save(tmp_path / "alone.html")
    shown = open_page(tmp_path / "alone.html").locator(".layer-shape")
    assert shown.all_inner_texts() == ["2 × 5 × 5 × 5", "3 × 3 × 3 × 3"]
