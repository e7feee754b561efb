"""The widget and the displayed page in JupyterLab, and in a notebook that was exported."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, FrameLocator, Locator, Page, expect

CELLS = (
    """\
from convtrace.demo import DemoOptions, run_stack
trace = run_stack(DemoOptions())
widget = trace.widget(lang="en")
widget""",
    "print('selected', widget.selected)",
    "widget.selected = 'conv1[0,1,0,1]'",
    "trace",
    "trace.why('conv1[0,0,0,0]')",
    "widget",
)
"""What the notebook runs, cell by cell."""

SETTINGS = {
    # Cells that are out of sight stay on the page.
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
    "@jupyterlab/apputils-extension/themes": {"theme": "JupyterLab Dark"},
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false"},
}
SLOW = 30_000
"""Milliseconds that a kernel may take to start, or JupyterLab to be drawn."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a notebook whose cells have not run."""
    try:
        import jupyterlab  # noqa: F401  only whether it is there
        import nbconvert  # noqa: F401  likewise
    except ImportError:
        if os.environ.get("CI"):
            raise
        pytest.skip("no JupyterLab: `make install` brings it")
    folder = tmp_path_factory.mktemp("jupyter")
    code = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": []}
    cells = [{**code, "id": f"cell-{n}", "source": source} for n, source in enumerate(CELLS)]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = {
        "cells": cells,
        "metadata": {"kernelspec": kernel},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    (folder / "demo.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    for name, settings in SETTINGS.items():
        file = folder / "settings" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(settings), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    """The address of the notebook in a JupyterLab that runs on this machine."""
    token = secrets.token_hex(16)
    environment = {
        **os.environ,
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    options = [
        "--ServerApp.ip=127.0.0.1",
        "--ServerApp.port=0",
        f"--ServerApp.root_dir={folder}",
        f"--IdentityProvider.token={token}",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.expose_app_in_browser=True",
    ]
    with subprocess.Popen(
        [*command, *options], cwd=folder, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        said: list[str] = []
        for line in process.stderr:
            said.append(line)
            if found := re.search(r"http://127\.0\.0\.1:(\d+)/", line):
                break
        else:
            pytest.fail("JupyterLab did not start:\n" + "".join(said))
        reader = threading.Thread(target=process.stderr.read)  # so that it never has to wait
        reader.start()
        yield f"http://127.0.0.1:{found[1]}/lab/tree/demo.ipynb?token={token}"
        process.terminate()
        process.wait(timeout=20)
        reader.join()


@pytest.fixture(scope="module")
def elsewhere() -> list[str]:
    """Addresses on other machines that the pages asked for."""
    return []


@pytest.fixture(scope="module")
def page(browser: Browser, address: str, elsewhere: list[str]) -> Iterator[Page]:
    """The notebook, with its kernel running and its cells not yet."""
    context = browser.new_context(locale="en-US", viewport={"width": 1200, "height": 900})
    page = context.new_page()
    page.on(
        "request",
        lambda asked: (
            None
            if asked.url.startswith(("http://127.0.0.1:", "data:", "blob:", "about:"))
            else elsewhere.append(asked.url)
        ),
    )
    page.goto(address)
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=SLOW)
    expect(page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]')).to_be_attached(
        timeout=SLOW
    )
    yield page
    context.close()


def run_cell(page: Page, number: int) -> Locator:
    """Run one cell and return its output."""
    cell = page.locator(".jp-Notebook .jp-Cell").nth(number)
    cell.locator(".jp-InputPrompt").click()
    page.keyboard.press("Control+Enter")
    expect(cell.locator(".jp-InputPrompt")).to_have_text(re.compile(r"\[\d+\]"), timeout=SLOW)
    return cell.locator(".jp-OutputArea")


def heading(place: Locator | FrameLocator, text: str) -> None:
    """Expect the receipt of a number."""
    expect(place.get_by_role("heading", name=text)).to_be_visible(timeout=10_000)


def test_the_widget_shows_a_receipt_and_both_sides_select(page: Page) -> None:
    shown = run_cell(page, 0)
    heading(shown, "conv1[0,0,0,0] = 24")
    shown.locator('[data-address="input[0,1,1,1]"]').first.click()
    heading(shown, "input[0,1,1,1] = 13")
    expect(run_cell(page, 1)).to_contain_text("selected input[0,1,1,1]")
    run_cell(page, 2)
    heading(shown, "conv1[0,1,0,1] = 108")
    page.screenshot(path="/tmp/x/nb/widget.png")
    shown.locator('[data-address="input[0,1,1,1]"]').first.hover()
    page.screenshot(path="/tmp/x/nb/widget1.png")
    print(
        shown.locator(".convtrace").evaluate(
            """e => { const r = []; while (e && e !== document.body) { const c = getComputedStyle(e); r.push([e.className, c.contain, c.overflow, c.transform, c.position].join(' | ')); e = e.parentElement; } return r.join('\\n'); }"""
        )
    )


def test_a_trace_and_a_receipt_show_themselves_in_frames(page: Page) -> None:
    for cell in (3, 4):
        frame = run_cell(page, cell).frame_locator("iframe")
        heading(frame, "conv1[0,0,0,0] = 24")
        page.screenshot(path=f"/tmp/x/nb/frame{cell}.png")
        print(frame.locator(".convtrace").evaluate("e => getComputedStyle(e).backgroundColor"))
    print(
        page.evaluate(
            "() => [getComputedStyle(document.documentElement).colorScheme, document.body.dataset.jpThemeLight, getComputedStyle(document.querySelector('iframe')).colorScheme]"
        )
    )


def test_two_views(page: Page) -> None:
    shown = run_cell(page, 5)
    heading(shown, "conv1[0,1,0,1] = 108")
    shown.locator('[data-address="input[0,0,0,2]"]').first.click()
    for cell in (0, 5):
        heading(page.locator(".jp-Notebook .jp-Cell").nth(cell), "input[0,0,0,2] = 2")
