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
from playwright.sync_api import Browser, expect

APP = """\
import marimo

app = marimo.App()


@app.cell
def _():
    import marimo as mo

    from convtrace.demo import DemoOptions, run_stack

    widget = mo.ui.anywidget(run_stack(DemoOptions()).widget(lang="en"))
    widget
    return mo, widget


@app.cell
def _(mo, widget):
    mo.md("selected " + widget.value["selected"])
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


def test_the_widget_shows_a_receipt_and_tells_what_is_selected(
    browser: Browser, address: str
) -> None:
    context = browser.new_context(locale="en-US")
    page = context.new_page()
    page.goto(address)
    first = page.get_by_role("heading", name="conv1[0,0,0,0] = 24")
    expect(first).to_be_visible(timeout=SLOW)
    page.locator('[data-address="input[0,1,1,1]"]').first.click()
    expect(page.get_by_role("heading", name="input[0,1,1,1] = 13")).to_be_visible()
    expect(page.get_by_text("selected input[0,1,1,1]")).to_be_visible(timeout=SLOW)
    context.close()
