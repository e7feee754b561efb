"""The page of `convtrace serve` in Chromium: it asks for what the reader looks at."""

import math
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from playwright.sync_api import Browser, Page, expect

import convtrace as ct
from convtrace.server import Server


@pytest.fixture(scope="module")
def trace() -> ct.Trace:
    """A network whose numbers do not come along with the page."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 32, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(32, 32, 3, padding=1),
    )
    return ct.trace(model, torch.randn(1, 3, 96, 96))


@contextmanager
def serving(trace: ct.Trace, start: str | None = None) -> Iterator[Server]:
    """Serve a trace for a while."""
    served = Server(trace, lang="en", start=start)
    thread = threading.Thread(target=served.run)
    thread.start()
    try:
        yield served
    finally:
        served.stop()
        thread.join(timeout=20)


@contextmanager
def opened(browser: Browser, server: Server) -> Iterator[tuple[Page, list[dict[str, Any]]]]:
    """Open a server's page; the list holds what it asks."""
    context = browser.new_context(locale="en-US")
    page = context.new_page()
    asked: list[dict[str, Any]] = []
    page.on("request", lambda sent: asked.append(sent.post_data_json) if sent.post_data else None)
    page.goto(server.url)
    try:
        yield page, asked
    finally:
        context.close()


@pytest.fixture(scope="module")
def server(trace: ct.Trace) -> Iterator[Server]:
    with serving(trace, "3[0,7,20,30]") as served:
        yield served


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    problems: list[str] = []
    context = browser.new_context(locale="en-US")
    opened = context.new_page()
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.goto(server.url)
    yield opened
    context.close()
    assert not problems, problems


def heading(page: Page, address: str, trace: ct.Trace) -> None:
    """Expect the receipt of a number, with the value that PyTorch returned."""
    shown = page.get_by_role("heading", name=re.compile(re.escape(address) + " [=≈]"))
    expect(shown).to_be_visible()
    number = float(re.split("[=≈] ", shown.inner_text())[1].replace("−", "-"))
    assert number == pytest.approx(trace.value(address), rel=1e-4)


def test_a_number_that_did_not_come_along_is_explained(page: Page, trace: ct.Trace) -> None:
    heading(page, "3[0,7,20,30]", trace)
    expect(page.get_by_text("showing")).not_to_have_count(0)


def test_the_descent_asks_the_server_step_by_step(page: Page, trace: ct.Trace) -> None:
    heading(page, "3[0,7,20,30]", trace)
    for address in ("2[0,0,20,30]", "1[0,0,", "0[0,0,"):
        cell = page.locator(f'[data-address^="{address}"]').first
        whole = cell.get_attribute("data-address")
        assert whole is not None
        cell.click()
        heading(page, whole, trace)


def test_a_server_that_has_stopped_is_said(browser: Browser, trace: ct.Trace) -> None:
    with serving(trace, "3[0,7,20,30]") as server, opened(browser, server) as (page, _):
        heading(page, "3[0,7,20,30]", trace)
        page.wait_for_load_state("networkidle")
        server.stop()
        page.wait_for_timeout(500)
        page.locator('[data-address="2[0,0,20,30]"]').first.click()
        expect(page.get_by_text("The server has stopped.")).to_be_visible()
        expect(page.get_by_text("run `convtrace serve` again")).to_be_visible()


def test_only_what_is_looked_at_is_asked_for(browser: Browser, server: Server, trace: ct.Trace):
    with opened(browser, server) as (page, asked):
        heading(page, "3[0,7,20,30]", trace)
        page.wait_for_load_state("networkidle")
        assert len(page.content()) < 1_000_000
        boxes = [math.prod(question["shape"]) for question in asked if question["ask"] == "box"]
        assert 0 < sum(boxes) < sum(math.prod(step.shape) for step in trace.steps.values()) / 4


def test_the_first_receipt_comes_with_the_page(browser: Browser, server: Server, trace: ct.Trace):
    with opened(browser, server) as (page, asked):
        heading(page, "3[0,7,20,30]", trace)
        page.wait_for_load_state("networkidle")
        assert {question["ask"] for question in asked} == {"box"}


def test_small_maps_are_filled_with_the_numbers_of_the_server(browser: Browser) -> None:
    torch.manual_seed(0)
    numbers = torch.randint(9, (1, 600, 7, 7)).float()
    trace = ct.trace(torch.nn.Conv2d(600, 8, 3, padding=1), numbers)
    with serving(trace, "conv2d[0,2,3,3]") as server, opened(browser, server) as (page, _):
        for place in ("0,0,0,0", "0,1,6,6"):
            value = trace.value(f"input[{place}]")
            cell = page.locator(f'.input [data-address="input[{place}]"]')
            expect(cell).to_have_text(f"{value:.0f}")


def test_a_map_of_more_numbers_than_one_answer_may_hold_comes_in_tiles(browser: Browser) -> None:
    torch.manual_seed(0)
    trace = ct.trace(torch.nn.Conv2d(1, 1, 3), torch.randn(1, 1, 1300, 1300))
    with serving(trace) as server, opened(browser, server) as (page, asked):
        far = page.locator(".plane.input canvas").first
        far.focus()
        far.press("End")  # the last number of the row that the window begins in
        expect(far).to_have_attribute("aria-label", re.compile(r"input\[0,0,0,1299\] = "))
        page.wait_for_load_state("networkidle")
    boxes = [(box["name"], math.prod(box["shape"])) for box in asked]
    assert max(size for _, size in boxes) <= 1 << 18
    assert sum(size for name, size in boxes if name == "input") == 1300 * 1300
