"""The page of `convtrace serve` in Chromium: it asks for what the reader looks at."""

import math
import re
import threading
from collections.abc import Iterator
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


@pytest.fixture(scope="module")
def server(trace: ct.Trace) -> Iterator[Server]:
    served = Server(trace, lang="en", start="3[0,7,20,30]")
    thread = threading.Thread(target=served.run)
    thread.start()
    yield served
    served.stop()
    thread.join(timeout=20)


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
    server = Server(trace, lang="en", start="3[0,7,20,30]")
    thread = threading.Thread(target=server.run)
    thread.start()
    context = browser.new_context()
    page = context.new_page()
    page.goto(server.url)
    heading(page, "3[0,7,20,30]", trace)
    server.stop()
    thread.join(timeout=20)
    page.locator('[data-address="2[0,0,20,30]"]').first.click()
    expect(page.get_by_text("has stopped")).to_be_visible()
    context.close()


def test_only_what_is_looked_at_is_asked_for(browser: Browser, server: Server, trace: ct.Trace):
    context = browser.new_context(locale="en-US")
    page = context.new_page()
    asked: list[dict[str, Any]] = []
    page.on("request", lambda sent: asked.append(sent.post_data_json) if sent.post_data else None)
    with page.expect_response(server.url) as answer:
        page.goto(server.url)
    heading(page, "3[0,7,20,30]", trace)
    assert len(answer.value.body()) < 1_000_000
    boxes = [math.prod(question["shape"]) for question in asked if question["ask"] == "box"]
    everything = sum(math.prod(step.shape) for step in trace.steps.values())
    assert asked
    assert sum(boxes) < everything / 4
    context.close()
