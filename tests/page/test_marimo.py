"""The widget in a marimo app."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

APP = """\
import marimo

app = marimo.App()


@app.cell
def _():
    import marimo as mo

    from convtrace.demo import DemoOptions, run_stack

    trace = run_stack(DemoOptions())
    widget = mo.ui.anywidget(trace.widget(lang="en"))
    widget
    return mo, trace, widget


@app.cell
def _(mo, widget):
    mo.md("selected " + widget.value["selected"])
    return


@app.cell
def _(mo, widget):
    def choose(_):
        widget.widget.selected = "conv1[0,1,0,1]"
        return widget.widget.selected

    button = mo.ui.button(label="choose", on_click=choose)
    button
    return (button,)


@app.cell
def _(button, mo):
    mo.md(f"read back {button.value}")
    return


@app.cell
def _(trace):
    trace
    return


if __name__ == "__main__":
    app.run()
"""
SLOW = 60_000
"""Milliseconds that a kernel may take to start, or marimo to be drawn."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the app, which runs on this machine."""
    try:
        import marimo  # noqa: F401  only whether it is there
    except ImportError:
        if os.environ.get("CI"):
            raise
        pytest.skip("no marimo: `make install` brings it")
    folder = tmp_path_factory.mktemp("marimo")
    (folder / "app.py").write_text(APP, encoding="utf-8")
    (folder / "marimo").mkdir()
    (folder / "marimo" / "marimo.toml").write_text('[display]\ntheme = "dark"\n', encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "marimo", "run", "app.py", "--headless", "--no-token"]
    options = ["--host", "127.0.0.1", "--port", str(port)]
    environment = {
        **os.environ,
        "HOME": str(folder),
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
        "MARIMO_SKIP_UPDATE_CHECK": "1",
        "XDG_CACHE_HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
        "XDG_STATE_HOME": str(folder),
    }
    with subprocess.Popen(
        [*command, *options],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    ) as process:
        assert process.stdout is not None
        said: list[str] = []
        for line in process.stdout:
            said.append(line)
            if re.search(rf"http://\S+:{port}", line):
                break
        else:
            pytest.fail("marimo did not start:\n" + "".join(said))
        reader = threading.Thread(target=process.stdout.read)  # so that it never has to wait
        reader.start()
        yield f"http://127.0.0.1:{port}"
        process.terminate()
        process.wait(timeout=20)
        reader.join()


@pytest.fixture(scope="module")
def page(browser: Browser, address: str) -> Iterator[Page]:
    """The app, with its cells run."""
    context = browser.new_context(locale="en-US", color_scheme="null")
    page = context.new_page()
    page.goto(address)
    shown = page.get_by_role("heading", name="conv1[0,0,0,0] = 24")
    expect(shown.first).to_be_visible(timeout=SLOW)
    yield page
    context.close()


def test_the_widget_shows_a_receipt_and_tells_what_is_selected(page: Page) -> None:
    page.locator('[data-address="input[0,1,1,1]"]').first.click()
    expect(page.get_by_role("heading", name="input[0,1,1,1] = 13")).to_be_visible()
    expect(page.get_by_text("selected input[0,1,1,1]")).to_be_visible(timeout=SLOW)


def test_what_python_selects_is_shown_and_read_back(page: Page) -> None:
    page.get_by_role("button", name="choose").click()
    expect(page.get_by_role("heading", name="conv1[0,1,0,1] = 108")).to_be_visible(timeout=SLOW)
    expect(page.get_by_text("read back conv1[0,1,0,1]")).to_be_visible(timeout=SLOW)


def test_the_widget_and_the_frame_of_a_trace_are_as_dark_as_marimo(page: Page) -> None:
    page.locator("iframe.convtrace-frame").scroll_into_view_if_needed()  # drawn when it is seen
    frame = page.frame_locator("iframe.convtrace-frame")
    expect(frame.get_by_role("heading", name="conv1[0,0,0,0] = 24")).to_be_visible(timeout=SLOW)
    for place in (page, frame):
        shown = place.locator(".convtrace").first
        expect(shown).to_have_css("background-color", "rgb(21, 24, 28)")
