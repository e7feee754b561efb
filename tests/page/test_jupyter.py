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

from convtrace.demo import DemoOptions, run_stack

try:
    import jupyterlab  # noqa: F401  only whether it is there
    import nbformat
    from nbconvert import HTMLExporter
except ImportError:
    if os.environ.get("CI"):
        raise
    pytest.skip("no JupyterLab: `make install` brings it", allow_module_level=True)

CELLS = (
    """\
from convtrace.demo import DemoOptions, run_stack
trace = run_stack(DemoOptions())
widget = trace.widget(lang="en")
widget""",
    "print('selected', widget.selected)",
    "widget.selected = 'conv1[0,1,0,1]'",
    "widget",
    "trace",
    "trace.why('conv1[0,0,0,0]')",
)
"""What the notebook runs, cell by cell."""

SETTINGS = {
    # Cells that are out of sight stay on the page.
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
    "@jupyterlab/apputils-extension/themes": {"theme": "JupyterLab Dark"},
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false"},
}
READY = """async () => {
  const session = jupyterapp.shell.currentWidget?.sessionContext;
  await session?.ready;
  return session?.session?.kernel?.status === "idle";
}"""
"""Whether the kernel of the notebook takes cells."""

BACKGROUND = "element => getComputedStyle(element).backgroundColor"
LIGHT, DARK = "rgb(255, 255, 255)", "rgb(21, 24, 28)"

SLOW = 60_000
"""Milliseconds that a kernel may take to start, or JupyterLab to be drawn."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a notebook whose cells have not run."""
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
    """The notebook, with its kernel running, and of its cells the one that shows the widget."""
    context = browser.new_context(
        locale="en-US", viewport={"width": 1200, "height": 900}, color_scheme="null"
    )
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
    page.wait_for_function(READY, timeout=SLOW)
    heading(run_cell(page, 0), "conv1[0,0,0,0] = 24")
    yield page
    context.close()


def run_cell(page: Page, number: int) -> Locator:
    """Run one cell, as its menu would, and return its output when it has run."""
    cell = page.locator(".jp-Notebook .jp-Cell").nth(number)
    cell.locator(".jp-InputPrompt").click()
    expect(cell).to_have_class(re.compile("jp-mod-active"))
    page.evaluate("() => jupyterapp.commands.execute('notebook:run-cell')")
    expect(cell.locator(".jp-InputPrompt")).to_have_text(re.compile(r"\[\d+\]"), timeout=SLOW)
    return cell.locator(".jp-OutputArea")


def heading(place: Locator | FrameLocator, text: str) -> None:
    """Expect the receipt of a number."""
    expect(place.get_by_role("heading", name=text)).to_be_visible(timeout=SLOW // 3)


def test_the_widget_shows_a_receipt_and_both_sides_select(page: Page) -> None:
    shown = run_cell(page, 0)
    shown.locator('[data-address="input[0,1,1,1]"]').first.click()
    heading(shown, "input[0,1,1,1] = 13")
    expect(run_cell(page, 1)).to_contain_text("selected input[0,1,1,1]")
    run_cell(page, 2)
    heading(shown, "conv1[0,1,0,1] = 108")
    assert shown.locator(".convtrace").evaluate(BACKGROUND) == DARK  # as JupyterLab's


def test_two_views_of_a_widget_show_the_same_number(page: Page) -> None:
    shown = run_cell(page, 3)
    shown.locator(".convtrace h1").wait_for()
    shown.locator('[data-address="input[0,0,0,2]"]').first.click()
    for number in (0, 3):
        heading(page.locator(".jp-Notebook .jp-Cell").nth(number), "input[0,0,0,2] = 2")


def test_a_trace_and_a_receipt_show_themselves_in_frames(page: Page) -> None:
    for number in (4, 5):
        shown = run_cell(page, number).frame_locator("iframe")
        heading(shown, "conv1[0,0,0,0] = 24")
        assert shown.locator(".convtrace").evaluate(BACKGROUND) == DARK  # as JupyterLab's
    frame = page.locator(".jp-Cell iframe").first
    assert frame.get_attribute("sandbox") == "allow-scripts"


def test_frames_and_widgets_follow_the_theme_of_the_notebook(page: Page) -> None:
    heading(run_cell(page, 4).frame_locator("iframe"), "conv1[0,0,0,0] = 24")
    cells = page.locator(".jp-Notebook .jp-Cell")
    places = [cells.nth(0), cells.nth(4).frame_locator("iframe")]
    for theme, colour in (("JupyterLab Light", LIGHT), ("JupyterLab Dark", DARK)):
        change = "theme => jupyterapp.commands.execute('apputils:change-theme', { theme })"
        page.evaluate(change, theme)
        for place in places:
            expect(place.locator(".convtrace")).to_have_css("background-color", colour)


def test_a_notebook_that_is_not_trusted_shows_a_receipt_as_text(
    browser: Browser, address: str, folder: Path
) -> None:
    notebook = notebook_of({"trace": run_stack(DemoOptions())._repr_html_()})
    (folder / "sent.ipynb").write_text(nbformat.writes(notebook), encoding="utf-8")
    context = browser.new_context(locale="en-US")
    page = context.new_page()
    page.goto(address.replace("demo.ipynb", "sent.ipynb"))
    shown = page.locator(".jp-OutputArea-output")
    expect(shown).to_contain_text("exact sum 24 · torch returned 24", timeout=SLOW)
    expect(shown).to_contain_text("trust this notebook")
    assert shown.locator("iframe").count() == 0
    context.close()


def test_after_a_restart_the_widget_says_so_and_how_to_go_on(page: Page) -> None:
    cell = page.locator(".jp-Notebook .jp-Cell").nth(0)
    cell.scroll_into_view_if_needed()
    page.evaluate("() => jupyterapp.shell.currentWidget.sessionContext.restartKernel()")
    expect(cell.get_by_text("kernel was restarted or has ended")).to_be_visible(timeout=SLOW)
    expect(cell.get_by_text("run the cell again")).to_be_visible()
    cell.locator('[data-address="input[0,0,1,0]"]').first.click()  # it came along
    heading(cell, "input[0,0,1,0] = 3")
    page.wait_for_function(READY, timeout=SLOW)
    heading(run_cell(page, 0), "conv1[0,0,0,0] = 24")
    expect(cell.get_by_text("kernel was restarted or has ended")).to_have_count(0)


def test_nothing_asked_for_another_machine(page: Page, elsewhere: list[str]) -> None:
    assert page.url.startswith("http://127.0.0.1:")
    assert elsewhere == []


def notebook_of(outputs: dict[str, str]) -> nbformat.NotebookNode:
    """A notebook whose cells have run: by source, the HTML that they show."""
    cells = [
        nbformat.v4.new_code_cell(
            source,
            outputs=[
                nbformat.v4.new_output("execute_result", {"text/html": shown}, execution_count=1)
            ],
            execution_count=1,
        )
        for source, shown in outputs.items()
    ]
    return nbformat.v4.new_notebook(cells=cells)


@pytest.mark.parametrize(("theme", "colour"), [("light", LIGHT), ("dark", DARK)])
def test_an_exported_notebook_needs_neither_network_nor_kernel(
    tmp_path: Path, browser: Browser, theme: str, colour: str
) -> None:
    notebook = notebook_of({"trace": run_stack(DemoOptions())._repr_html_()})
    exported, _ = HTMLExporter(theme=theme).from_notebook_node(notebook)
    file = tmp_path / "demo.html"
    file.write_text(exported, encoding="utf-8")
    context = browser.new_context(offline=True, color_scheme="null")
    page = context.new_page()
    page.goto(file.as_uri(), wait_until="commit")
    frame = page.frame_locator("iframe")
    heading(frame, "conv1[0,0,0,0] = 24")
    frame.locator('[data-address="input[0,1,1,1]"]').first.click()
    heading(frame, "input[0,1,1,1] = 13")
    expect(frame.locator(".convtrace")).to_have_css("background-color", colour)
    context.close()
