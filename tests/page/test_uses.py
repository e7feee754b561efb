"""Where a number goes: the page lists the uses that Python lists, and leads there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Browser, Locator, Page, expect
from torch import nn

import convtrace as ct
from convtrace.demo import DemoOptions, run_stack
from convtrace.models.digits import digit, digits
from convtrace.server import Server

Open = Callable[..., Page]


class Block(nn.Module):
    """Numbers that are read in several ways: by a convolution, a norm, a sum, a concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, padding=1)
        self.norm = nn.BatchNorm2d(2).eval()
        self.pool = nn.AvgPool2d(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(x)
        return self.pool(torch.cat([self.conv(y) + y, torch.relu(y)], 1))


def block() -> ct.Trace:
    torch.manual_seed(0)
    return ct.trace(Block().eval(), torch.randn(1, 2, 6, 6))


def padded() -> ct.Trace:
    return run_stack(DemoOptions(height=5, width=5, padding=1, stride=2, bias=True, weights="seed"))


CASES = {
    "a pixel": (padded, "input[0,1,2,3]"),
    "a pixel in a corner": (padded, "input[0,0,0,0]"),
    "a weight": (padded, "conv1.weight[1,0,0,1]"),
    "a bias": (padded, "conv2.bias[1]"),
    "transposed": (
        lambda: run_stack(DemoOptions(transposed=True, stride=2, weights="seed")),
        "input[0,1,2,2]",
    ),
    "groups": (
        lambda: run_stack(DemoOptions(in_channels=4, out_channels=4, groups=2, weights="seed")),
        "input[0,2,1,1]",
    ),
    "through a gate": (lambda: ct.trace(digits(), digit()), "conv2[0,5,2,2]"),
    "the largest of a pool": (lambda: ct.trace(digits(), digit()), "relu2[0,5,2,1]"),
    "a linear layer": (lambda: ct.trace(digits(), digit()), "flatten[0,30]"),
    "several readers": (block, "norm[0,1,3,3]"),
    "of a sum": (block, "conv[0,0,2,2]"),
}


def rows(section: Locator) -> list[tuple[str, float, float]]:
    """Read the table of one step, on all its pages: output, factor, product."""
    found: list[tuple[str, float, float]] = []
    while True:
        expect(section.locator('.used-in tbody td:not([aria-label*=" = "])')).to_have_count(0)
        for row in section.locator(".used-in tbody tr").all():
            cells = row.locator("td")
            labels = [cell.get_attribute("aria-label") or "" for cell in cells.all()]
            numbers = [
                float(label.split(" = ")[1].split(",")[0].replace("−", "-")) for label in labels
            ]
            output = cells.last.get_attribute("data-address") or ""
            found.append((output, numbers[1], numbers[2]))
        after = section.get_by_role("button", name="Next")
        if not after.count() or after.is_disabled():
            return found
        after.click()


@pytest.mark.parametrize("name", CASES)
def test_the_uses_are_those_of_python(name: str, open_page: Open, tmp_path: Path) -> None:
    make, address = CASES[name]
    trace = make()
    trace.save(tmp_path / "page.html", start=address)
    page = open_page(tmp_path / "page.html")
    onward = page.get_by_text("Where does this number go?")
    if onward.count():
        onward.click()
    uses = trace.uses(address)
    # A factor of 0 (a closed gate) is shown on the page, and left out by Python.
    seen = [row for step in uses.steps for row in rows(section(page, step)) if row[1]]
    wanted = [use for use in uses if use.coefficient]
    assert wanted
    assert [output for output, _, _ in seen] == [str(use.address) for use in wanted]
    for (_, factor, product), use in zip(seen, wanted, strict=True):
        assert factor == pytest.approx(use.coefficient, rel=1e-6, abs=1e-12)
        assert product == pytest.approx(use.product, rel=1e-6, abs=1e-12)


def section(page: Page, step: str) -> Locator:
    return page.get_by_role("region", name=f"What {step} made of it", exact=True)


def test_what_is_marked_is_said(open_page: Open, tmp_path: Path) -> None:
    run_stack(DemoOptions()).save(tmp_path / "page.html", start="input[0,0,1,1]")
    page = open_page(tmp_path / "page.html")
    expect(page.get_by_text("conv1 used it 8 times.")).to_be_visible()
    captions = page.locator(".used figcaption")
    expect(captions).to_have_text(
        [f"conv1: output channel {n} on yellow: made with it (4)" for n in (0, 1)]
    )
    expect(page.locator(".given > figure figcaption")).to_have_text("input: channel 0")
    page.get_by_role("button", name="Next").first.click()
    expect(page.locator("h1")).to_have_text("input[0,1,1,1] = 13")


def test_a_kernel_says_between_which_channels_it_stands(open_page: Open, tmp_path: Path) -> None:
    options = DemoOptions(in_channels=4, out_channels=4, groups=2, weights="random")
    run_stack(options).save(tmp_path / "page.html", start="conv1.weight[3,1,0,0]")
    page = open_page(tmp_path / "page.html")
    caption = page.locator(".given > figure figcaption")
    expect(caption).to_have_text("conv1.weight: output channel 3, input channel 3")


def test_every_number_of_a_use_can_be_followed_by_keyboard(open_page: Open, tmp_path: Path) -> None:
    run_stack(DemoOptions()).save(tmp_path / "page.html", start="input[0,0,1,1]")
    for presses, heading in (
        (("ArrowRight",), "conv1.weight[0,0,1,1] = 0.25"),
        (("ArrowRight", "ArrowRight"), "conv1[0,0,0,0] = 24"),
        (("End", "ArrowDown"), "conv1[0,0,0,1] = 27"),
    ):
        page = open_page(tmp_path / "page.html")
        page.locator(".used-in td[tabindex='0']").focus()
        for key in presses:
            page.keyboard.press(key)
        page.keyboard.press("Enter")
        expect(page.locator("h1")).to_have_text(heading)


def test_a_product_of_a_use_says_its_factors(open_page: Open, tmp_path: Path) -> None:
    run_stack(DemoOptions()).save(tmp_path / "page.html", start="input[0,0,1,1]")
    page = open_page(tmp_path / "page.html")
    page.locator(".used-in [data-address='conv1[0,1,0,0]#product[0,1,1]']").hover()
    expect(page.locator(".detail")).to_contain_text(
        "input[0,0,1,1] × conv1.weight[1,0,1,1]:  4 × 1 = 4"
    )


@pytest.fixture
def served() -> Iterator[tuple[ct.Trace, str, Server]]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    trace = ct.trace(model, torch.randn(1, 3, 80, 80))
    addresses = (f"1[0,2,20,{column}]" for column in range(20, 60))
    address = next(address for address in addresses if len(trace.uses(address)))
    server = Server(trace, lang="en", start=address)
    thread = threading.Thread(target=server.run)
    thread.start()
    yield trace, address, server
    server.stop()
    thread.join(timeout=20)


def test_a_server_is_asked_for_what_does_not_come_along(
    browser: Browser, served: tuple[ct.Trace, str, Server]
) -> None:
    trace, address, server = served
    context = browser.new_context(locale="en-US")
    page = context.new_page()
    page.goto(server.url)
    page.get_by_text("Where does this number go?").click()
    (use,) = trace.uses(address)
    shown = section(page, "2")
    expect(shown.locator(".used-in tbody tr")).to_have_count(1, timeout=20_000)
    ((output, factor, product),) = rows(shown)
    assert (output, factor) == (str(use.address), 1)
    assert product == pytest.approx(use.product, rel=1e-6)
    context.close()
