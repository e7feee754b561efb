"""The share of the result: the split that Python makes, with its sum, its scale and its signs."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Browser, Page, expect
from torch import nn

import convtrace as ct
from convtrace.demo import DemoOptions, run_stack
from convtrace.models.digits import digit, digits
from convtrace.server import Server

Open = Callable[..., Page]
TITLE = "Which pixels did it come from?"


@pytest.fixture
def of_digit(open_page: Open, tmp_path: Path) -> Page:
    ct.trace(digits(), digit()).save(tmp_path / "page.html", start="fc[0,8]")
    page = open_page(tmp_path / "page.html")
    page.get_by_text(TITLE).click()
    return page


def number(text: str) -> float:
    return float(text.replace("−", "-").replace("≈", "").replace("+", ""))


def test_pixels_and_biases_add_up_and_what_is_rounded_says_so(of_digit: Page) -> None:
    split = ct.trace(digits(), digit()).contributions("fc[0,8]")
    line = of_digit.locator(".split")
    text = line.inner_text()
    assert re.fullmatch(r"pixels ≈\S+ \+ biases ≈\S+ ≈ \S+", text), text
    pixels, biases, total = line.locator(".amount").all_inner_texts()
    assert number(pixels) == pytest.approx(float(split.inputs["input"].double().sum()), rel=1e-5)
    assert number(biases) == pytest.approx(sum(split.biases.values()), rel=1e-5)
    assert number(total) == pytest.approx(split.total, rel=1e-6)
    returned = of_digit.locator(".shares .note").inner_text()
    assert re.search(r"torch returned ≈6\.7239151\d* · they differ by \S+: rounding", returned)


def test_a_sum_that_is_exact_is_shown_with_an_equals_sign(open_page: Open, tmp_path: Path) -> None:
    run_stack(DemoOptions()).save(tmp_path / "page.html", start="conv2[0,0,0,0]")
    page = open_page(tmp_path / "page.html")
    page.get_by_text(TITLE).click()
    expect(page.locator(".split")).to_have_text("pixels 270 + biases 0 = 270")
    expect(page.locator(".shares .note")).to_have_count(0)


def test_the_scale_has_zero_in_the_middle_and_signed_ends(of_digit: Page) -> None:
    shares = ct.trace(digits(), digit()).contributions("fc[0,8]").inputs["input"].double()
    low, zero, high = of_digit.locator(".map-scale span").all_inner_texts()
    assert (low[:2], zero, high[:2]) == ("≈−", "0", "≈+")
    largest = float(shares.abs().max())
    assert number(high) == -number(low) == pytest.approx(largest, rel=5e-3)
    middle = of_digit.locator(".map-scale .bar").evaluate("e => getComputedStyle(e).background")
    assert middle.index("255, 255, 255") > 0


def test_the_number_that_is_looked_at_is_written_with_its_sign(of_digit: Page) -> None:
    shares = ct.trace(digits(), digit()).contributions("fc[0,8]").inputs["input"].double()
    looked = of_digit.locator(".looked")
    flat = int(shares.abs().argmax())
    row, column = divmod(flat % 64, 8)
    expect(looked).to_contain_text(f"Largest: input[0,0,{row},{column}] = 1 contributes ≈+")
    canvas = of_digit.locator(".shares canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box
    cell = box["width"] / 8
    for row, column in ((1, 3), (2, 5), (6, 3)):
        of_digit.mouse.move(box["x"] + (column + 0.5) * cell, box["y"] + (row + 0.5) * cell)
        value = float(shares[0, 0, row, column])
        expect(looked).to_contain_text(f"input[0,0,{row},{column}] = ")
        said = looked.inner_text().rpartition(" ")[2]
        assert number(said) == pytest.approx(value, rel=1e-5)
        assert ("−" in said) == (value < 0)
        assert ("+" in said) == (value > 0)


def test_cells_of_a_map_have_a_sign_that_is_no_colour(of_digit: Page) -> None:
    """The middle of a cell, where its sign stands, differs from its corner."""
    shares = ct.trace(digits(), digit()).contributions("fc[0,8]").inputs["input"][0, 0]
    inked = of_digit.locator(".shares canvas").evaluate(
        """canvas => {
          const { width, height } = canvas;
          const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
          const cell = width / 8;
          const at = (x, y) => {
            const first = 4 * (Math.floor(y) * width + Math.floor(x));
            return data.slice(first, first + 3).join();
          };
          return [...Array(64).keys()].map(n => {
            const [left, top] = [(n % 8) * cell, Math.floor(n / 8) * cell];
            const corner = at(left + 4, top + 4);
            for (let y = 8; y < cell - 8; y += 1)
              for (let x = 8; x < cell - 8; x += 1)
                if (at(left + x, top + y) !== corner) return true;
            return false;
          });
        }"""
    )
    assert inked == [bool(value) for value in shares.flatten()]


def test_channels_that_are_not_shown_are_summed(open_page: Open, tmp_path: Path) -> None:
    torch.manual_seed(0)
    trace = ct.trace(nn.Conv2d(6, 1, 2, bias=False), torch.randn(1, 6, 3, 3))
    trace.save(tmp_path / "page.html", start="conv2d[0,0,0,1]")
    page = open_page(tmp_path / "page.html")
    page.get_by_text(TITLE).click()
    expect(page.locator(".shares figure")).to_have_count(4)
    parts = trace.contributions("conv2d[0,0,0,1]").inputs["input"][0].double()
    order = parts.abs().sum((1, 2)).argsort(descending=True)
    rest = float(parts[order[4:]].sum())
    captions = page.locator(".shares figcaption").all_inner_texts()
    assert [int(caption.split()[2][:-1]) for caption in captions] == sorted(order[:4].tolist())
    said = page.get_by_text("Showing the 4 of 6 channels").inner_text()
    shown = said.split("contribute ")[1].split(" ")[0]
    assert number(shown) == pytest.approx(rest, rel=1e-5)


def test_every_number_of_the_split_has_an_address(of_digit: Page) -> None:
    assert bare(of_digit, ".shares") == []
    of_digit.evaluate("document.querySelector('.looked').removeAttribute('data-address')")
    assert bare(of_digit, ".shares") != []


def bare(page: Page, place: str) -> list[str]:
    """List texts with digits that stand in no element with an address, nor name a channel."""
    page.wait_for_selector(f"{place} .looked")  # the last line of what is worked out when asked for
    return page.evaluate(
        """place => {
          const root = document.querySelector(place);
          const walk = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
          const found = [];
          while (walk.nextNode()) {
            const { data, parentElement } = walk.currentNode;
            const named = parentElement.closest("[data-address], figcaption, .used > p, .pager");
            if (/[1-9]/.test(data) && !named) found.push(data);
          }
          return found;
        }""",
        place,
    )


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[ct.Trace, Server]]:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8).eval(), nn.GELU(), nn.Conv2d(8, 2, 3)
    )
    trace = ct.trace(model, torch.randn(1, 3, 64, 64))
    server = Server(trace, lang="en", start="3[0,1,20,30]")
    thread = threading.Thread(target=server.run)
    thread.start()
    yield trace, server
    server.stop()
    thread.join(timeout=20)


def test_a_server_splits_what_the_page_cannot(
    browser: Browser, served: tuple[ct.Trace, Server]
) -> None:
    trace, server = served
    context = browser.new_context(locale="en-US")
    page = context.new_page()
    page.goto(server.url)
    page.get_by_text(TITLE).click()
    expect(page.locator(".split")).to_be_visible()
    pixels, biases, _ = page.locator(".split .amount").all_inner_texts()
    split = trace.contributions("3[0,1,20,30]")
    assert number(pixels) == pytest.approx(float(split.inputs["input"].double().sum()), rel=1e-5)
    assert number(biases) == pytest.approx(sum(split.biases.values()), rel=1e-5)
    context.close()
