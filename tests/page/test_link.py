"""The link: whoever opens it sees the same number; garbage in it does no harm."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import msgspec
import numpy as np
import pytest
from page_reading import numbers
from PIL import Image
from playwright.sync_api import Page, expect

import convtrace as ct
from convtrace.demo import DemoOptions, run_stack
from convtrace.models.digits import digit, digits
from convtrace.render.documents.document import receipt_document

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("link") / "demo.html"
    run_stack(DemoOptions()).save(path)
    return path


def fragment_of(page: Page, part: str) -> str:
    page.wait_for_function("part => location.hash.includes(part)", arg=part)
    return page.evaluate("location.hash")


def test_the_first_view_leaves_the_address_alone(open_page: Open, file: Path) -> None:
    page = open_page(file)
    page.wait_for_timeout(400)
    assert page.evaluate("location.hash") == ""


def test_a_link_shows_the_same_number_with_its_trail(open_page: Open, file: Path) -> None:
    page = open_page(file)
    page.locator("button.layer", has=page.get_by_text("conv2", exact=True)).click()
    page.get_by_role("gridcell", name="conv1[0,1,0,1] =").click()
    fragment = fragment_of(page, "at=conv1:0,1,0,1")
    other = open_page(file, fragment=fragment)
    assert other.locator("h1").inner_text() == page.locator("h1").inner_text()
    other.locator(".trail button").click()
    expect(other.get_by_role("heading", name="conv2[0,0,0,0] = 270")).to_be_visible()


def test_a_link_holds_language_and_theme(open_page: Open, file: Path) -> None:
    page = open_page(file)
    page.get_by_role("button", name="한국어").click()
    page.get_by_role("button", name="어둡게").click()
    other = open_page(file, fragment=fragment_of(page, "theme=dark"))
    expect(other.get_by_role("button", name="한국어")).to_have_attribute("aria-pressed", "true")
    expect(other.locator(".convtrace")).to_have_attribute("data-theme", "dark")


def test_a_link_shows_the_same_rows_of_a_long_sum(open_page: Open, tmp_path: Path) -> None:
    ct.trace(digits(), digit()).save(tmp_path / "digits.html", start="fc[0,8]")
    page = open_page(tmp_path / "digits.html")
    for _ in range(2):
        page.get_by_role("button", name="Next", exact=True).first.click()
    rows = page.locator(".row > .name").all_inner_texts()
    assert "feature 12" in rows
    again = open_page(tmp_path / "digits.html", fragment=fragment_of(page, "from=12"))
    assert again.locator(".row > .name").all_inner_texts() == rows
    # Another number begins with its first rows.
    again.locator("button.layer", has_text="conv2").click()
    expect(again.locator(".row > .name").nth(1)).to_have_text("channel 0")


def test_a_link_holds_settings_and_edits_of_the_playground(open_page: Open, file: Path) -> None:
    page = open_page(file)
    page.get_by_role("button", name="Change it").click()
    page.get_by_role("textbox", name="conv1 padding").fill("1")
    page.get_by_role("gridcell", name="conv1.weight[0,0,1,1] =").click()
    page.keyboard.type("−7.25\n")
    fragment = fragment_of(page, "=-7.25")
    other = open_page(file, fragment=fragment)
    expect(other.get_by_role("textbox", name="conv1 padding")).to_have_value("1")
    assert numbers(other) == numbers(page)
    assert numbers(other)["conv1.weight[0,0,1,1]"] == -7.25
    assert len(fragment) < 200


def test_a_link_from_an_exercise_holds_the_playground_around_it(
    open_page: Open, file: Path
) -> None:
    page = open_page(file)
    page.get_by_role("button", name="한국어").click()
    page.locator(".bar-of-tools button").first.click()
    page.locator("[data-address='conv1.weight[0,0,1,1]']").click()
    page.keyboard.type("−7.25\n")
    page.locator("button.layer", has=page.get_by_text("conv2", exact=True)).click()
    before, shown = numbers(page), page.locator("h1").inner_text()
    page.get_by_role("button", name="직접 풀어 보기").click()
    question = page.locator(".lead").inner_text()
    other = open_page(file, fragment=fragment_of(page, "practice="))
    expect(other.locator(".lead")).to_have_text(question)
    other.get_by_role("button", name="신경망으로 돌아가기").click()
    expect(other.locator("h1")).to_have_text(shown)
    assert numbers(other) == before
    assert "-7.25" in fragment_of(other, "play=")


def test_a_link_with_an_image_of_ones_own_shows_it(open_page: Open, file: Path) -> None:
    pixels = np.arange(36, dtype=np.uint8).reshape(6, 6) * 7
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    page = open_page(file)
    page.get_by_role("button", name="Change it").click()
    for name in ("input rows", "input columns"):
        page.get_by_role("textbox", name=name).fill("6")
    page.locator("input[type=file]").set_input_files(
        {"name": "mine.png", "mimeType": "image/png", "buffer": buffer.getvalue()}
    )
    expect(page.get_by_role("gridcell", name="input[0,0,5,5] = 245")).to_be_visible()
    other = open_page(file, fragment=fragment_of(page, "own!"))
    assert numbers(other) == numbers(page)
    read = [[numbers(other)[f"input[0,0,{r},{c}]"] for c in range(6)] for r in range(6)]
    assert np.array_equal(read, pixels)


def test_a_link_pasted_into_the_open_page_is_followed(open_page: Open, file: Path) -> None:
    page = open_page(file)
    page.evaluate("location.hash = '#v=1&at=conv2:0,1,0,0'")
    expect(page.locator("h1")).to_contain_text("conv2[0,1,0,0]")
    page.evaluate("location.hash = ''")


@pytest.mark.parametrize(
    "fragment",
    [
        "#",
        "#v=1",
        "#v=9&at=conv2:0,0,0,0",
        "#v=1&at=nothing:0,0&play=~~~&practice=99999999.1",
        "#v=1&play=2x3x3~0~conv1:2.k99",
        "#v=1&at=%E0%A4%A&lang=xx&theme=url(x)&order=%00",
        "#v=1&at=<img src=x onerror=alert(1)>:0",
    ],
)
def test_garbage_in_a_link_does_no_harm(open_page: Open, file: Path, fragment: str) -> None:
    page = open_page(file, fragment=fragment)
    expect(page.locator("h1")).not_to_be_empty()
    assert page.locator("img").count() == 0


def test_the_link_and_the_code_are_copied(open_page: Open, file: Path) -> None:
    page = open_page(file, permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Code and link").click()
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_text("Copied.")).to_be_visible()
    link = page.evaluate("navigator.clipboard.readText()")
    assert link.startswith(file.as_uri())
    assert "at=conv1:0,0,0,0" in link
    page.get_by_role("button", name="JSON").click()
    page.get_by_role("button", name="Copy", exact=True).click()
    page.wait_for_timeout(100)
    copied = json.loads(page.evaluate("navigator.clipboard.readText()"))
    trace = run_stack(DemoOptions())
    assert copied == msgspec.to_builtins(receipt_document(trace.why("conv1[0,0,0,0]")))


def test_a_frame_without_an_address_still_works(
    open_page: Open, file: Path, tmp_path: Path
) -> None:
    from html import escape

    frame = escape(file.read_text(encoding="utf-8"))
    outer = tmp_path / "outer.html"
    outer.write_text(
        "<!doctype html><meta charset=utf-8><h1>notebook</h1>"
        '<iframe sandbox="allow-scripts" style="width:100%;height:800px" '
        f'srcdoc="{frame}"></iframe>',
        encoding="utf-8",
    )
    inner = open_page(outer).frame_locator("iframe")
    inner.get_by_role("button", name="Change it").click()
    inner.get_by_role("gridcell", name="input[0,0,0,0] =").click()
    inner.get_by_label("New value of input[0,0,0,0]").fill("4")
    expect(inner.get_by_role("heading", name="conv1[0,0,0,0] = 25")).to_be_visible()
    inner.get_by_role("button", name="Code and link").click()
    expect(inner.get_by_role("button", name="Copy link")).to_have_count(0)
    inner.get_by_role("button", name="Copy", exact=True).click()
    expect(inner.get_by_role("status").filter(has_text="cop")).to_be_visible()


@pytest.mark.parametrize("form", ["Text", "LaTeX"])
def test_the_receipt_is_there_in_other_forms(open_page: Open, file: Path, form: str) -> None:
    page = open_page(file)
    page.get_by_role("button", name="Code and link").click()
    page.get_by_role("button", name=form).click()
    text = page.locator(".code pre").inner_text()
    assert "24" in text
    if form == "Text":
        assert "channel 0   0×0.25 + 1×0.25 + 3×0.25 + 4×0.25 = 2\n" in text
        assert "exact sum 24 · torch returned 24 · exact" in text
    else:
        assert r"c = 0:\quad& 0 \cdot 0.25 + 1 \cdot 0.25 + 3 \cdot 0.25 + 4 \cdot 0.25 = 2" in text
        assert r"&= 2 + 22 = 24" in text
