"""The player moves the window: by buttons, by keys, by itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from page_reading import problems
from playwright.sync_api import Page, expect

from convtrace.demo import DemoOptions, run_stack

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("player") / "demo.html"
    run_stack(DemoOptions()).save(path)
    return path


@pytest.fixture
def page(open_page: Open, file: Path) -> Page:
    page = open_page(file)
    page.get_by_role("button", name="Play").click()
    return page


def shows(page: Page, text: str) -> None:
    expect(page.get_by_role("heading", name=text, exact=True)).to_be_visible()


def test_steps_go_through_every_row_and_channel(page: Page) -> None:
    shows(page, "conv1[0,0,0,0] = 24")
    expect(page.get_by_role("button", name="Back", exact=True)).to_be_disabled()
    seen = []
    for _ in range(7):
        page.get_by_role("button", name="Next", exact=True).click()
        page.wait_for_timeout(30)
        seen.append(page.locator("h1").inner_text())
    trace = run_stack(DemoOptions())
    places = ["0,0,0,1", "0,0,1,0", "0,0,1,1", "0,1,0,0", "0,1,0,1", "0,1,1,0", "0,1,1,1"]
    assert seen == [f"conv1[{p}] = {trace.value(f'conv1[{p}]'):g}" for p in places]
    expect(page.get_by_role("button", name="Next", exact=True)).to_be_disabled()
    page.get_by_role("button", name="Back", exact=True).click()
    shows(page, "conv1[0,1,1,0] = 144" if trace.value("conv1[0,1,1,0]") == 144 else seen[5])


def test_arrow_keys_move_the_window_and_the_focus_stays(page: Page) -> None:
    button = page.locator(".player").get_by_role("button", name="Play")
    button.focus()
    for key, text in (
        ("ArrowRight", "conv1[0,0,0,1] = 27"),
        ("ArrowDown", "conv1[0,0,1,1] = 36"),
        ("ArrowLeft", "conv1[0,0,1,0] = 33"),
        ("ArrowUp", "conv1[0,0,0,0] = 24"),
        ("ArrowUp", "conv1[0,0,0,0] = 24"),
    ):
        page.keyboard.press(key)
        shows(page, text)
        expect(button).to_be_focused()


def test_playing_goes_on_by_itself_and_stops_at_the_end(page: Page) -> None:
    page.get_by_label("Speed").select_option("8")
    play = page.locator(".player").get_by_role("button", name="Play")
    play.click()
    expect(page.locator(".player").get_by_role("button", name="Pause")).to_be_visible()
    shows(page, f"conv1[0,1,1,1] = {run_stack(DemoOptions()).value('conv1[0,1,1,1]'):g}")
    expect(play).to_be_visible()


def test_pause_stops_it(page: Page) -> None:
    page.get_by_label("Speed").select_option("8")
    page.locator(".player").get_by_role("button", name="Play").click()
    page.locator(".player").get_by_role("button", name="Pause").click()
    before = page.locator("h1").inner_text()
    page.wait_for_timeout(400)
    assert page.locator("h1").inner_text() == before


def test_nothing_glides_where_motion_is_not_welcome(open_page: Open, file: Path) -> None:
    durations = {}
    for motion in ("reduce", "no-preference"):
        page = open_page(file, reduced_motion=motion)
        page.get_by_role("button", name="Play").click()
        durations[motion] = page.locator(".grid td").first.evaluate(
            "e => getComputedStyle(e).transitionDuration"
        )
    assert durations["reduce"] == "0s"
    assert durations["no-preference"] != "0s"


def test_axe_finds_nothing_in_player_and_code(page: Page) -> None:
    page.get_by_role("button", name="Code and link").click()
    assert problems(page) == []
