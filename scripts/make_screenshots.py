"""Take the pictures of the page that the docs show, from what the page really draws.

    python scripts/make_screenshots.py [folder]

The main states, at phone, laptop and projector size, in both languages and themes. They are looked
at before they are committed; fonts differ from machine to machine, so they are not compared.
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

import convtrace as ct
from convtrace.demo import DemoOptions, run_stack
from convtrace.models.digits import digit, digits

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "page"))

from conftest import FLAGS, find_browser  # noqa: E402  (the browser that the tests use)

SIZES = {"phone": (390, 844), "laptop": (1280, 800), "projector": (1920, 1080)}
COLOURS = 256
"""Colours of a picture: enough for smooth letters, and for every colour that has a meaning."""


@dataclass(frozen=True)
class Shot:
    """One picture.

    Attributes:
        name: Name of the file, without language and suffix.
        file: `demo` or `digits`.
        size: One of `SIZES`.
        start: Address of the number that is shown.
        theme: `light` or `dark`.
        opens: Which of the questions below the receipt is opened, counted from 0.
        link: Fragment of the address: a playground, an exercise.
        presses: Buttons that are pressed, as selectors.
    """

    name: str
    file: str
    size: str
    start: str
    theme: str = "light"
    opens: int | None = None
    link: str = ""
    presses: tuple[str, ...] = ()


SHOTS = (
    Shot("page-first", "demo", "laptop", "conv1[0,0,0,0]"),
    Shot("page-phone", "demo", "phone", "conv1[0,0,0,0]"),
    Shot("page-dark", "demo", "laptop", "conv2[0,1,0,0]", theme="dark"),
    Shot("page-digits", "digits", "projector", "conv2[0,5,3,3]"),
    Shot("page-shares", "digits", "laptop", "fc[0,8]", opens=0),
    Shot("page-pixel", "demo", "laptop", "input[0,0,1,1]"),
    Shot("page-playground", "demo", "laptop", "conv1[0,0,0,0]", presses=(".bar-of-tools button",)),
    Shot(
        "page-practice",
        "demo",
        "laptop",
        "conv1[0,0,0,0]",
        link="#v=1&practice=2.3",
        presses=(".practice form button:last-child",) * 2,
    ),
)


def pages(folder: Path) -> Iterator[tuple[Shot, str, Path]]:
    """Write the pages that are shown."""
    traces = {"demo": run_stack(DemoOptions()), "digits": ct.trace(digits(), digit())}
    for shot in SHOTS:
        for lang in ("en", "ko"):
            file = folder / f"{shot.name}.{lang}.html"
            traces[shot.file].save(
                file, lang=lang, theme=shot.theme, start=shot.start, title="convtrace"
            )
            yield shot, lang, file


def take(browser: Browser, shot: Shot, file: Path) -> bytes:
    """Take one picture."""
    width, height = SIZES[shot.size]
    page = browser.new_page(viewport={"width": width, "height": height})
    page.goto(file.as_uri() + shot.link)
    page.wait_for_selector("h1")
    for selector in shot.presses:
        page.locator(selector).first.click()
    if shot.opens is not None:
        page.locator("summary").nth(shot.opens).click()
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        page.mouse.move(0, 0)
    content = page.screenshot()
    page.close()
    return content


def small(content: bytes) -> bytes:
    """Reduce the colours of a picture."""
    out = io.BytesIO()
    whole = Image.open(io.BytesIO(content)).convert("RGB")
    # This way of choosing keeps rare colours, such as the green of one small square.
    reduced = whole.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    reduced.save(out, "PNG", optimize=True)
    return out.getvalue()


def main() -> None:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images"
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=FLAGS)
        for shot, lang, file in pages(Path(folder)):
            picture = target / f"{shot.name}.{lang}.png"
            picture.write_bytes(small(take(browser, shot, file)))
            print(f"{picture.name}  {picture.stat().st_size / 1000:.0f} kB")
        browser.close()


if __name__ == "__main__":
    main()
