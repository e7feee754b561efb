"""The page in a browser, as ratios to a blank page in the same run.

A blank page is a file with one button and a line of text that the button changes.

- *First receipt*: from the start of the navigation to the first frame with something in it. Both
  files are opened in turn.
- *Choosing*: from a click, by the clock of the event itself, until the frame that shows what it did
  is painted. The same real mouse button is pressed and released over both pages, which stay open
  beside each other; one click here, one click there, so that a busy machine slows both. The mouse
  arrives, and the button goes down, well before: what hovering does is over by then. A blank page
  changes one text. Headless Chromium begins a frame as soon as one is needed, so neither page waits
  for a screen. *Bare* is the same for a copy of our view that only replaces its texts
  (`bare.py`): what is left is our program's.
- *Editing*: in a playground of two layers, 8 channels and 32×32, from the event that changes a
  number of the first kernel until the frame with both layers computed anew is painted, in
  milliseconds.
- *Idle*, *elements*, *dropped*: of our page alone.
- *Server*: a ResNet-50 from `convtrace serve` (`served.py`).
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from playwright.sync_api import Browser, Page, sync_playwright
from rich.progress import Progress
from torch import nn

import convtrace as ct
from benchmarks.bare import write_bare
from benchmarks.served import served
from convtrace.demo import DemoOptions, run_stack

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "page"))

from conftest import FLAGS, find_browser  # noqa: E402  (the browser that the tests use)

BLANK = """<!doctype html><meta charset="utf-8"><title>blank</title>
<h1 data-address="x">24</h1><button>choose</button>
<script>document.querySelector("button").onclick = () => {
  document.querySelector("h1").textContent = String(Math.random()); };</script>
"""

# Makes `painted` the time from the next event until the frame with its effect was painted, in
# milliseconds. The message of a channel is handled after the frame was painted.
ARM = """type => {
  window.painted = new Promise(done => addEventListener(type, event => {
    requestAnimationFrame(() => {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => done(performance.now() - event.timeStamp);
      port2.postMessage(0);
    });
  }, { capture: true, once: true }));
}"""

# A place in one of the elements, not in the one that is selected already.
PLACE = """selector => {
  const cells = [...document.querySelectorAll(selector)].filter(
    cell => !cell.classList.contains("selected"));
  const cell = cells[Math.floor(Math.random() * cells.length)];
  cell.scrollIntoView({ block: "nearest" });
  const box = cell.getBoundingClientRect();
  const place = (low, size) => low + (0.1 + 0.8 * Math.random()) * size;
  return [place(box.left, box.width), place(box.top, box.height)];
}"""

REST = 50
"""Milliseconds between what the mouse does."""

# Gaps between frames while a map is zoomed and panned, in milliseconds.
PAN = """canvas => new Promise(done => {
  const gaps = [];
  let last = 0, n = 0;
  const box = canvas.getBoundingClientRect();
  const send = (type, more) => {
    const Kind = type === "wheel" ? WheelEvent : PointerEvent;
    const at = { clientX: box.left + 90 + (n % 60), clientY: box.top + 90 + (n % 40) };
    canvas.dispatchEvent(new Kind(type,
      { bubbles: true, cancelable: true, pointerId: 1, ...at, ...more }));
  };
  canvas.focus();
  canvas.setPointerCapture = () => {};
  const step = now => {
    if (last) gaps.push(now - last);
    last = now;
    if (n < 30) send("wheel", { deltaY: -60 });
    else if (n === 30) send("pointerdown");
    else send("pointermove");
    n += 1;
    n < 120 ? requestAnimationFrame(step) : done(gaps);
  };
  requestAnimationFrame(step);
})"""


@dataclass(frozen=True)
class Row:
    """One result.

    Attributes:
        key: What was measured.
        value: The number.
        target: The most that it should be, or None.
    """

    key: str
    value: float
    target: float | None


@contextmanager
def opened(browser: Browser, file: Path) -> Iterator[Page]:
    """Open a file in a browser context of its own."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, offline=True)
    page = context.new_page()
    page.goto(file.as_uri())
    page.wait_for_selector("h1")
    yield page
    context.close()


def first_paint(browser: Browser, file: Path) -> float:
    """Milliseconds from the start of the navigation to the first frame with the number in it."""
    with opened(browser, file) as page:
        return started(page, "first-contentful-paint")


def ready(browser: Browser, file: Path) -> float:
    """Milliseconds from the start of the navigation until the page can be used."""
    with opened(browser, file) as page:
        blank = page.locator("#convtrace").count() == 0
        return started(page, "first-contentful-paint" if blank else "convtrace")


def started(page: Page, name: str) -> float:
    """Wait for an entry of the page's own clock; milliseconds from the start of the navigation."""
    page.wait_for_function("name => performance.getEntriesByName(name).length > 0", arg=name)
    return page.evaluate("name => performance.getEntriesByName(name)[0].startTime", name)


@contextmanager
def clicking(browser: Browser, file: Path, selector: str) -> Iterator[Callable[[], float]]:
    """Open a page; the function clicks somewhere and returns the milliseconds to the paint."""
    with opened(browser, file) as page:

        def click() -> float:
            page.mouse.move(*page.evaluate(PLACE, selector))
            page.wait_for_timeout(REST)
            page.mouse.down()
            page.wait_for_timeout(REST)
            page.evaluate(ARM, "click")
            page.mouse.up()
            return page.evaluate("window.painted")

        page.wait_for_timeout(500)
        yield click


def clicks(
    browser: Browser, blank: Path, file: Path, selector: str, count: int = 100
) -> tuple[list[float], list[float]]:
    """Milliseconds from a click to the painted frame: of a blank page, and of ours, in turn."""
    with (
        clicking(browser, blank, "button") as plain,
        clicking(browser, file, selector) as ours,
    ):
        for click in (plain, ours) * 5:
            click()
        pairs = [(plain(), ours()) for _ in range(count)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def edits(browser: Browser, file: Path, count: int = 60) -> list[float]:
    """Milliseconds from a change of a weight to the painted frame with all that follows from it."""
    with opened(browser, file) as page:
        page.locator(".kernel td.editable").first.click()
        page.keyboard.type("0.5")
        page.wait_for_timeout(500)
        times: list[float] = []
        for n in range(count + 5):
            page.wait_for_timeout(REST)
            page.evaluate(ARM, "input")
            page.keyboard.press("Backspace" if n % 2 else "5")
            times.append(page.evaluate("window.painted"))
        return times[5:]


def busy(browser: Browser, file: Path, seconds: float = 3.0) -> float:
    """Part of the time in which the main thread works while nobody does anything."""
    with opened(browser, file) as page:
        page.wait_for_timeout(1000)
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable")

        def worked() -> float:
            metrics = session.send("Performance.getMetrics")["metrics"]
            return next(one["value"] for one in metrics if one["name"] == "ScriptDuration")

        before = worked()
        page.wait_for_timeout(seconds * 1000)
        return (worked() - before) / seconds


def elements(browser: Browser, file: Path) -> int:
    """Elements of the document."""
    with opened(browser, file) as page:
        return page.evaluate("document.querySelectorAll('*').length")


def dropped(browser: Browser, file: Path) -> float:
    """Part of the frames that were dropped while a map was zoomed and panned."""
    with opened(browser, file) as page:
        gaps = page.locator("canvas").first.evaluate(PAN)
        usual = statistics.median(gaps)
        return sum(gap > 1.5 * max(usual, 1000 / 60) for gap in gaps) / len(gaps)


def ratio(
    times: Callable[[Path], list[float]], file: Path, blank: Path, rounds: int
) -> list[float]:
    """Return the ratios of the medians, round by round."""
    return [statistics.median(times(file)) / statistics.median(times(blank)) for _ in range(rounds)]


def write_pages(folder: Path) -> dict[str, Path]:
    """Write the pages that are measured."""
    torch.manual_seed(0)
    wide = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1))
    large = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1))
    blank = folder / "blank.html"
    blank.write_text(BLANK, encoding="utf-8")
    pages = {
        "demo": run_stack(DemoOptions()),
        "wide": ct.trace(wide, torch.randn(1, 64, 56, 56)),
        "large": ct.trace(large, torch.randn(1, 1, 512, 512)),
    }
    for name, trace in pages.items():
        trace.save(folder / f"{name}.html", lang="en", start=None)
    layers = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1))
    editable = ct.trace(layers, torch.randn(1, 8, 32, 32))
    editable.save(folder / "playground.html", lang="en", playground=True)
    names = (*pages, "playground")
    return {"blank": blank, **{name: folder / f"{name}.html" for name in names}}


CELLS = {"demo": ".output td", "wide": ".output canvas"}
"""What is chosen: a number of the output, cell by cell or on the map."""


def measure(rounds: int = 7) -> list[Row]:
    """Measure everything."""
    with (
        tempfile.TemporaryDirectory() as folder,
        sync_playwright() as playwright,
        Progress(transient=True) as progress,
    ):
        browser = playwright.chromium.launch(executable_path=find_browser(), args=FLAGS)
        pages = write_pages(Path(folder))
        blank = pages["blank"]
        task = progress.add_task("page", total=8)

        def paint(file: Path) -> list[float]:
            return [first_paint(browser, file) for _ in range(3)]

        def use(file: Path) -> list[float]:
            return [ready(browser, file) for _ in range(3)]

        rows = [
            Row("first", statistics.median(ratio(paint, pages["demo"], blank, rounds)), 1.5),
            Row("ready", statistics.median(ratio(use, pages["demo"], blank, rounds)), None),
        ]
        progress.advance(task)
        for name, selector in CELLS.items():
            base, taken = clicks(browser, blank, pages[name], selector)
            rows.append(
                Row(f"click.{name}", statistics.median(taken) / statistics.median(base), 3.0)
            )
            rows.append(Row(f"late.{name}", _late(taken) / _late(base), 4.0))
            copy = Path(folder) / f"{name}.bare.html"
            with opened(browser, pages[name]) as page:
                write_bare(page, selector, copy)
            base, taken = clicks(browser, blank, copy, selector)
            rows.append(
                Row(f"bare.{name}", statistics.median(taken) / statistics.median(base), None)
            )
            progress.advance(task)
        taken = edits(browser, pages["playground"])
        rows.append(Row("edit", statistics.median(taken), 50.0))
        rows.append(Row("edit.late", _late(taken), 50.0))
        progress.advance(task)
        rows.append(Row("idle", busy(browser, pages["demo"]), 0.0))
        progress.advance(task)
        most = max(elements(browser, pages[name]) for name in ("demo", "wide", "large"))
        rows.append(Row("elements", most, 1500))
        progress.advance(task)
        rows.append(Row("dropped", dropped(browser, pages["large"]), 0.0))
        progress.advance(task)
        base = statistics.median(paint(blank))
        rows.extend(Row(f"server.{key}", value, None) for key, value in served(browser, base))
        progress.advance(task)
        browser.close()
    return rows


def _late(times: list[float]) -> float:
    """95th percentile."""
    return statistics.quantiles(times, n=20)[-1]


if __name__ == "__main__":
    for row in measure():
        print(f"{row.key:12} {row.value:8.3g}   at most {row.target}")
