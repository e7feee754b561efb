"""`convtrace page`, and the page that `convtrace demo` writes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from convtrace.cli import main
from convtrace.commands.demo import PAGE


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def output_of(*arguments: str) -> str:
    result = call(*arguments)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def document(file: Path) -> Any:
    found = re.search(r'id="convtrace-document">(.*?)</script>', file.read_text(encoding="utf-8"))
    assert found is not None
    return json.loads(found[1])


def test_page_writes_a_file_and_says_where(folder: Path) -> None:
    text = output_of("page", "digits", "--output", "digits.html", "--start", "fc[0,8]")
    assert re.search(r"digits\.html \(0\.\d MB\) opens in any browser\.", text)
    page = document(folder / "digits.html")
    assert (page["title"], page["start"], page["lang"]) == ("convtrace: digits", "fc[0,8]", "en")


def test_page_takes_a_budget_and_steps(folder: Path) -> None:
    output_of("page", "digits", "--budget", "0.005", "--step", "fc", "--lang", "ko")
    page = document(folder / "page.html")
    assert page["budget"] == 5000
    assert page["lang"] == "ko"
    assert "conv2" in page["trace"]["leftOut"]
    assert "fc" not in page["trace"]["leftOut"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--budget", "nan"], "--budget nan: this is no size"),
        (["--budget", "inf"], "Give the megabytes that the numbers may take, e.g. 5."),
        (["--step", "nope"], "nothing in this trace is called 'nope'"),
        (["--start", "nope[0]"], "nothing in this trace is called 'nope'"),
    ],
)
def test_bad_options_are_told_and_leave_no_page(
    arguments: list[str], message: str, folder: Path
) -> None:
    result = call("page", "digits", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not list(folder.iterdir())


MODELS = """
from torch import nn

def stack(): return nn.Sequential(
    nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular"), nn.Conv2d(4, 2, 3)
)
def wide(): return nn.Sequential(nn.Conv2d(3, 32, 3))
def relu(): return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
"""

UNSUITABLE = {
    "another step": (("relu", "1,3,8,8"), "1 is another step (relu)"),
    "too many channels": (
        ("wide", "1,3,8,8"),
        "of 0, channels out is 32, and a playground",
    ),
    "two samples": (("stack", "2,3,8,8"), "input holds 2. Give one sample"),
    "too wide": (("stack", "1,3,8,65"), "of input, size is 65, and a playground goes up to 64"),
    "too small a budget": (("stack", "1,3,8,8", "--budget", "0.0001"), "do not fit into --budget"),
}


@pytest.mark.parametrize(("arguments", "reason"), UNSUITABLE.values(), ids=UNSUITABLE)
def test_a_network_that_suits_no_playground_is_told_why(
    arguments: tuple[str, ...], reason: str, folder: Path
) -> None:
    (folder / "nets.py").write_text(MODELS, encoding="utf-8")
    name, shape, *more = arguments
    call_of = ["page", f"nets.py:{name}", "--random", shape, "--playground", *more]
    result = call(*call_of)
    assert result.exit_code == 0
    assert (folder / "page.html").exists()
    assert "The page was written, but without a playground: " in result.stderr
    assert reason in result.stderr
    assert "convtrace page --playground" in result.stderr
    assert "playground" not in result.stdout
    korean = call(*call_of, "--lang", "ko")
    assert "놀이터는 넣지 못했습니다" in korean.stderr
    assert "{" not in korean.stderr


def test_a_network_that_suits_the_playground_is_told_nothing(folder: Path) -> None:
    (folder / "nets.py").write_text(MODELS, encoding="utf-8")
    result = call("page", "nets.py:stack", "--random", "1,3,8,8", "--playground")
    assert (result.exit_code, result.stderr) == (0, "")
    assert call("page", "digits").stderr == ""
    assert call("page", "--playground").stderr == ""


def test_page_refuses_another_suffix_before_anything_slow() -> None:
    result = call("page", "no_such_module:x", "--output", "page.pdf")
    assert result.exit_code == 2
    assert "does not end in .html" in result.stderr


def test_the_demo_writes_its_page_and_says_where(folder: Path) -> None:
    assert f"can be followed: {PAGE}\n" in output_of("demo")
    page = document(folder / PAGE)
    assert page["start"] == "conv1[0,0,0,0]"


def test_the_demo_replaces_its_own_page(folder: Path) -> None:
    output_of("demo")
    output_of("demo", "--layers", "1", "--lang", "ko")
    assert document(folder / PAGE)["lang"] == "ko"


def test_the_demo_leaves_a_file_of_someone_else_alone(folder: Path) -> None:
    (folder / PAGE).write_text("mine")
    assert "no page was written" in output_of("demo")
    assert (folder / PAGE).read_text() == "mine"


def test_the_demo_writes_where_it_is_told_and_nowhere_else(folder: Path) -> None:
    output_of("demo", "--page", "other.html")
    assert [file.name for file in folder.iterdir()] == ["other.html"]


def test_the_demo_writes_no_page_if_told_so(folder: Path) -> None:
    assert "followed" not in output_of("demo", "--no-page")
    assert list(folder.iterdir()) == []


def test_the_playground_needs_no_model(folder: Path) -> None:
    output_of("page", "--playground", "--output", "play.html")
    text = (folder / "play.html").read_text(encoding="utf-8")
    assert '<div id="convtrace" data-playground>' in text
    assert [step["name"] for step in document(folder / "play.html")["trace"]["steps"]] == [
        "conv1",
        "conv2",
    ]


def test_without_a_model_and_without_the_playground_there_is_nothing_to_show() -> None:
    result = call("page")
    assert result.exit_code == 2
    assert "no MODEL was named" in result.stderr
    assert "convtrace page --playground" in result.stderr
