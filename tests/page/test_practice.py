"""Practice: what is hidden can be worked out from what is shown, and PyTorch agrees."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from page_reading import channel_sums, number, numbers, problems
from playwright.sync_api import Page, expect
from torch import Tensor

from convtrace.demo import DemoOptions, run_stack

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("practice") / "demo.html"
    run_stack(DemoOptions()).save(path)
    return path


def grids(page: Page, name: str) -> list[Tensor]:
    """Read the grids of this name: one for each channel. Padding counts as 0."""
    found = []
    for grid in page.get_by_role("grid", name=re.compile(f": {name}$")).all():
        rows = grid.locator("tr").evaluate_all(
            "rows => rows.map(r => [...r.cells].map(c => c.getAttribute('aria-label')))"
        )
        values = [[number(label) if " = " in label else 0.0 for label in row] for row in rows]
        found.append(torch.tensor(values))
    return found


def window(page: Page) -> list[Tensor]:
    """Read the marked numbers of each channel, in order."""
    found = []
    for grid in page.get_by_role("grid", name="input, window marked").all():
        labels = grid.locator("td.window").evaluate_all(
            "cells => cells.map(c => c.getAttribute('aria-label'))"
        )
        found.append(torch.tensor([number(x) if " = " in x else 0.0 for x in labels]))
    return found


def worked_out(page: Page) -> list[float]:
    """Work the answer out from what is on the page."""
    question = page.locator(".lead").inner_text()
    if "How many rows" in question:
        return shape(question)
    kernels = grids(page, "kernel")
    products = [read * kernel.flatten() for read, kernel in zip(window(page), kernels, strict=True)]
    if "question mark" in question:
        shown = page.get_by_role("grid", name="products").locator("td").all_inner_texts()
        hidden = [n for n, text in enumerate(shown) if text.strip() == "?"]
        return [products[0][hidden[0]].item()]
    bias = re.search(r"bias of this channel is (−?\d+)", question)
    return [
        sum(product.sum().item() for product in products)
        + (float(bias[1].replace("−", "-")) if bias else 0)
    ]


def shape(question: str) -> list[float]:
    """Let PyTorch make the output that is asked for."""
    sizes = re.search(r"(\d+) channels, (\d+) rows and (\d+) columns", question)
    settings = re.search(
        r"(\d+) × \d+ kernel, stride (\d+), padding (\d+)(?:, which crops here)?, dilation (\d+)",
        question,
    )
    assert sizes is not None
    assert settings is not None
    reads, rows, columns = map(int, sizes.groups())
    kernel, stride, padding, dilation = map(int, settings.groups())
    kind = torch.nn.ConvTranspose2d if "transposed" in question else torch.nn.Conv2d
    layer = kind(reads, 1, kernel, stride=stride, padding=padding, dilation=dilation)
    return [float(size) for size in layer(torch.zeros(1, reads, rows, columns)).shape[2:]]


def answer(page: Page, values: list[float]) -> None:
    for field, value in zip(page.locator("form input").all(), values, strict=True):
        field.fill(f"{value:g}")
    page.keyboard.press("Enter")


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("level", [1, 2, 3])
def test_the_answer_follows_from_what_is_shown(
    open_page: Open, file: Path, level: int, seed: int
) -> None:
    page = open_page(file, fragment=f"#v=1&practice={level}.{seed}")
    right = worked_out(page)
    answer(page, [value + 1000 for value in right])
    expect(page.get_by_text("Not yet.")).to_be_visible()
    answer(page, right)
    expect(page.get_by_text("Right. Here is the receipt.")).to_be_visible()
    expect(page.get_by_text("this page computed")).to_be_visible()


def test_hints_come_before_the_answer(open_page: Open, file: Path) -> None:
    page = open_page(file, fragment="#v=1&practice=2.0")
    expected = worked_out(page)
    expect(page.locator(".practice .products")).to_have_count(0)
    expect(page.get_by_text("exact sum")).to_have_count(0)
    for _ in range(3):
        page.get_by_role("button", name="Hint").click()
    expect(page.locator(".practice .products").first).to_be_visible()
    page.get_by_role("button", name="Show the answer").click()
    expect(page.get_by_text("Here is the receipt.")).to_contain_text(
        f"{expected[0]:g}".replace("-", "−")
    )
    expect(page.locator(".result")).to_have_text(f"{expected[0]:g}".replace("-", "−"))


def test_nothing_on_the_page_gives_the_answer_away(open_page: Open, file: Path) -> None:
    page = open_page(file, fragment="#v=1&practice=1.1")
    hidden = page.locator("td", has_text="?")
    expect(hidden).to_have_attribute("aria-label", "hidden number = ?")
    hidden.hover()
    product = f"{worked_out(page)[0]:g}".replace("-", "−")
    assert f"= {product}" not in page.locator(".detail").all_inner_texts()
    assert not any(address.startswith("conv1[") for address in numbers(page))


@pytest.mark.parametrize("seed", [0, 3, 6])
@pytest.mark.parametrize("level", [1, 2, 3])
def test_the_output_is_marked_and_hidden_and_its_neighbours_are_right(
    open_page: Open, file: Path, level: int, seed: int
) -> None:
    page = open_page(file, fragment=f"#v=1&practice={level}.{seed}")
    expected = worked_out(page)[0]
    question = page.locator(".lead").inner_text()
    asked = re.search(r"channel (\d+), row (\d+), column (\d+)", question)
    assert asked is not None
    channel, row, column = map(int, asked.groups())
    output = page.get_by_role("grid", name=f"output channel {channel}")
    marked = output.locator("tr").nth(row).locator("td").nth(column)
    expect(marked).to_have_text("?")
    expect(marked).to_have_attribute("aria-selected", "true")
    expect(page.locator(".result")).to_have_text("?")
    before = numbers(page)
    assert f"conv1[0,{channel},{row},{column}]" not in before
    answer(page, [expected])
    expect(page.get_by_text("Right. Here is the receipt.")).to_be_visible()
    after = numbers(page)
    assert after[f"conv1[0,{channel},{row},{column}]"] == expected
    around = {name: value for name, value in before.items() if name.startswith("conv1[")}
    assert around == {name: after[name] for name in around}


def test_sums_of_the_channels_are_blank_until_the_hints_come_to_them(
    open_page: Open, file: Path
) -> None:
    page = open_page(file, fragment="#v=1&practice=2.0")
    products = [
        read * kernel.flatten()
        for read, kernel in zip(window(page), grids(page, "kernel"), strict=True)
    ]
    for hint in range(3):
        assert channel_sums(page) == []
        blanks = page.locator(".channel-sum").get_by_role("img", name="not shown yet")
        expect(blanks).to_have_count(len(products))
        expect(page.locator(".practice .products")).to_have_count(len(products) if hint > 1 else 0)
        page.get_by_role("button", name="Hint").click()
    assert channel_sums(page) == [product.sum().item() for product in products]


def test_around_a_hidden_product_nothing_else_tells_it(open_page: Open, file: Path) -> None:
    page = open_page(file, fragment="#v=1&practice=2.1")
    assert channel_sums(page) == []
    expect(page.locator(".result")).to_have_count(0)
    output = page.locator(".output td")
    assert output.count() > 1
    assert set(output.all_inner_texts()) == {""}
    expect(page.locator(".output td.selected")).to_have_count(1)
    expect(page.locator(".practice")).not_to_contain_text("exact")


@pytest.mark.parametrize("lang", ["en", "ko"])
@pytest.mark.parametrize("seed", [2, 5, 8, 11, 14])
def test_a_shape_is_drawn_as_large_as_it_is(
    open_page: Open, file: Path, seed: int, lang: str
) -> None:
    page = open_page(file, fragment=f"#v=1&practice=3.{seed}&lang=en")
    question = page.locator(".lead").inner_text()
    found = re.search(
        r"(\d+) rows and (\d+) columns.* (\d+) × \d+ kernel, stride \d+, padding (\d+)", question
    )
    dilated = re.search(r"dilation (\d+)", question)
    assert found is not None
    assert dilated is not None
    rows, columns, kernel, padding = map(int, found.groups())
    transposed = "transposed" in question
    pad = 0 if transposed else padding
    if lang == "ko":
        page.get_by_role("button", name="한국어").click()
    drawing, weights = page.locator(".drawing").all()
    assert drawing.locator("rect").count() == (rows + 2 * pad) * (columns + 2 * pad)
    assert drawing.locator("rect:not(.pad)").count() == rows * columns
    assert drawing.locator("rect.tap").count() == (0 if transposed else kernel**2)
    assert weights.locator("rect").count() == kernel**2
    reach = weights.locator("rect").evaluate_all(
        "all => Math.max(...all.map(e => +e.getAttribute('x'))) / 14"
    )
    assert round(reach) == int(dilated[1]) * (kernel - 1)
    expect(page.locator(".unknown")).to_have_text("? × ?")
    label = drawing.get_attribute("aria-label")
    assert label is not None
    assert str(rows) in label
    assert str(columns) in label


def test_practice_works_by_keyboard_alone(open_page: Open, file: Path) -> None:
    page = open_page(file)
    page.get_by_role("button", name="Try it yourself").focus()
    page.keyboard.press("Enter")
    field = page.locator("form input").first
    expect(field).to_be_focused()
    page.keyboard.type("x")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Type a number")).to_be_visible()
    answer(page, worked_out(page))
    following = page.get_by_role("button", name="Next exercise")
    expect(following).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Check")).to_be_visible()
    expect(field).to_be_focused()
    expect(field).to_have_value("")


def test_a_link_gives_the_same_exercise(open_page: Open, file: Path) -> None:
    page = open_page(file)
    page.get_by_role("button", name="Try it yourself").click()
    page.get_by_label("Level").select_option("2")
    page.wait_for_function("() => location.hash.includes('practice=2.')")
    fragment = page.evaluate("location.hash")
    other = open_page(file, fragment=fragment)
    for reader in (page, other):
        expect(reader.locator(".lead")).not_to_be_empty()
    assert page.locator(".lead").inner_text() == other.locator(".lead").inner_text()
    assert numbers(page) == numbers(other)


def test_the_way_back_leads_to_the_number_that_was_shown(open_page: Open, file: Path) -> None:
    page = open_page(file, fragment="#v=1&at=conv1:0,1,0,1")
    before = page.locator("h1").inner_text()
    page.get_by_role("button", name="Try it yourself").click()
    page.get_by_role("button", name="Back to the network").click()
    expect(page.locator("h1")).to_have_text(before)
    expect(page.get_by_text("torch returned")).to_be_visible()


@pytest.mark.parametrize(("lang", "theme"), [("en", "light"), ("ko", "dark")])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_axe_finds_nothing_in_practice(
    open_page: Open, file: Path, lang: str, theme: str, seed: int
) -> None:
    page = open_page(file, color_scheme=theme, fragment=f"#v=1&practice=2.{seed}&lang={lang}")
    page.locator("form button").last.click()
    assert problems(page) == []
    while page.locator("form button").count() > 1:
        page.locator("form button").last.click()
    assert problems(page) == []
