"""Worksheets in a browser: what is printed, what can be filled in, what a screen reader gets."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from page_reading import problems
from playwright.sync_api import Page

from convtrace.exercises import worksheets
from convtrace.render.worksheet.files import worksheets_html

Open = Callable[..., Page]


def written(folder: Path, lang: str, level: int, count: int = 2) -> Path:
    file = folder / "sheet.html"
    file.write_bytes(worksheets_html(worksheets(level=level, seed=5, count=count), lang=lang))
    return file


def printed(page: Page, paper: str, file: Path) -> list[str]:
    """Print to PDF and read the text of each page back."""
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext is not installed; on Debian: apt install poppler-utils")
    page.pdf(path=file, format=paper)
    done = subprocess.run(["pdftotext", "-layout", file, "-"], capture_output=True, check=True)
    return done.stdout.decode().split("\f")[:-1]


@pytest.mark.parametrize("paper", ["A4", "Letter"])
@pytest.mark.parametrize(("lang", "level"), [("en", 1), ("ko", 3)])
def test_each_sheet_and_each_key_begins_a_page_and_no_exercise_is_torn(
    open_page: Open, tmp_path: Path, lang: str, level: int, paper: str
) -> None:
    page = open_page(written(tmp_path, lang, level))
    texts = printed(page, paper, tmp_path / "sheet.pdf")
    heads = page.locator("h2").all_inner_texts()
    assert len(heads) == 4
    tops = [text.strip().splitlines()[0].strip() for text in texts]
    assert [top for top in tops if top in heads] == heads
    assert all(text.count(head) <= 1 for text in texts for head in heads)
    exercise = r"^Exercise \d" if lang == "en" else r"^문제 \d"
    for top in tops:
        assert top in heads or re.search(exercise, top), top  # a page begins with an exercise
    found = [one for text in texts for one in re.findall(exercise, text, re.MULTILINE)]
    assert len(found) == 4 * 7


def test_nothing_is_wider_than_the_page(open_page: Open, tmp_path: Path) -> None:
    page = open_page(written(tmp_path, "ko", 3), viewport={"width": 640, "height": 900})
    page.emulate_media(media="print")
    widest = page.evaluate(
        "Math.max(...[...document.querySelectorAll('table, p, .blanks')]"
        ".map(one => one.getBoundingClientRect().right))"
    )
    assert widest <= 640


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_axe_finds_nothing_in_a_worksheet(open_page: Open, tmp_path: Path, lang: str) -> None:
    assert not problems(open_page(written(tmp_path, lang, 3)))


def test_blanks_can_be_filled_in_by_keyboard_and_are_printed(
    open_page: Open, tmp_path: Path
) -> None:
    page = open_page(written(tmp_path, "en", 1, count=1))
    page.get_by_label("Name").fill("Emmy")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Output [0,0]"
    page.keyboard.type("4711")
    text = "".join(printed(page, "A4", tmp_path / "sheet.pdf"))
    assert "4711" in text
    assert "Emmy" in text
