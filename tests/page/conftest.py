"""Chromium for the tests of the page: no network, and an error on the page fails the test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


def find_browser() -> str | None:
    """Return the path of a Chromium of the system, or None."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next(filter(None, map(shutil.which, names)), None)


@pytest.fixture(scope="session")
def browser_type_launch_args(
    browser_type_launch_args: dict[str, Any], browser_type: Any
) -> dict[str, Any]:
    """Launch the system's browser, else playwright's own; without either, skip, but not in CI."""
    path = find_browser() or browser_type.executable_path
    if not Path(path).exists():
        reason = "no Chromium: `make browser` installs one"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return {**browser_type_launch_args, "executable_path": path, "args": FLAGS}


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Return a function that opens a file with the network off."""
    contexts = []
    problems: list[str] = []

    def open_file(file: Path, *, fragment: str = "", **options: Any) -> Page:
        context = browser.new_context(offline=True, locale="en-US", **options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "console",
            lambda said: problems.append(said.text) if said.type in ("error", "warning") else None,
        )
        page.on(
            "request",
            lambda asked: (
                None
                if asked.url.startswith(("file:", "data:", "blob:"))
                else problems.append(f"asked for {asked.url}")
            ),
        )
        page.goto(file.as_uri() + fragment)
        page.wait_for_selector("h1")
        return page

    yield open_file
    for context in contexts:
        context.close()
    assert not problems, problems
