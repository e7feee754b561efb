"""The page of a ResNet-50 from `convtrace serve`: how soon it opens, and what it asks for."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from playwright.sync_api import Browser, Page

import convtrace as ct
from benchmarks.memory import resnet50
from convtrace.server import Server

# Whether the heading names a number, and its value.
SHOWN = """address => {
  const [name, value] = document.querySelector("h1").textContent.split(/ [=≈] /);
  return name === address && value !== undefined;
}"""

# Bytes of the answers so far, the page itself included.
SIZES = """[...performance.getEntriesByType("navigation"),
  ...performance.getEntriesByType("resource")].map(entry => entry.encodedBodySize)"""


@contextmanager
def serving(trace: ct.Trace) -> Iterator[Server]:
    """Serve a trace."""
    server = Server(trace, lang="en")
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join()


def descend(page: Page) -> list[float]:
    """Go from the last step down to the input; milliseconds from each click to its receipt."""
    steps = page.locator(".strip select")
    steps.select_option(index=steps.locator("option").count() - 1)
    taken: list[float] = []
    cells = page.locator(".grid.input td.follows")
    cells.first.wait_for()
    while cells.count():
        cell = cells.nth(cells.count() // 2)
        address = cell.get_attribute("data-address")
        before = time.perf_counter()
        cell.click()
        page.wait_for_function(SHOWN, arg=address)
        taken.append(1000 * (time.perf_counter() - before))
        page.wait_for_load_state("networkidle")
    return taken


def served(browser: Browser, blank: float) -> list[tuple[str, float]]:
    """Measure the page of a ResNet-50 of full width, 224×224.

    Args:
        browser: Where it is opened.
        blank: Milliseconds until a blank page is painted.

    Returns:
        By key: `first` receipt, as a ratio to a blank page; `requests` and `megabytes` until the
        page is at rest; `heap`, megabytes of the tab's JavaScript then; `select`, milliseconds from
        a choice to its receipt, the median and the `slowest` of a descent to the pixels.
    """
    with torch.inference_mode():
        trace = ct.trace(resnet50().eval(), torch.randn(1, 3, 224, 224))
    with serving(trace) as server:
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        page = context.new_page()
        page.goto(server.url)
        page.locator(".equation").wait_for()
        page.wait_for_load_state("networkidle")
        first = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        page.wait_for_timeout(500)
        sizes = page.evaluate(SIZES)
        heap = page.evaluate("performance.memory.usedJSHeapSize") / 1e6
        taken = descend(page)
        context.close()
    return [
        ("first", first / blank),
        ("requests", len(sizes)),
        ("megabytes", sum(sizes) / 1e6),
        ("heap", heap),
        ("select", statistics.median(taken)),
        ("slowest", max(taken)),
    ]
