"""`convtrace draw`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from convtrace.cli import main


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["draw", *arguments], env={"LC_ALL": "C.UTF-8"})


def drawn(*arguments: str) -> str:
    """Draw `figure.svg` of the digits network and return its text."""
    result = call("digits", *arguments, "-o", "figure.svg")
    assert result.exit_code == 0, result.output
    assert "Written: figure.svg" in result.stdout
    return Path("figure.svg").read_text(encoding="utf-8")


def test_an_address_alone_draws_its_receipt() -> None:
    assert 'class="headline"' in drawn("conv2[0,5,3,3]")
    assert "conv2[0,5,3,3] = −0.49129507" in drawn("conv2[0,5,3,3]")


def test_no_address_draws_the_stack() -> None:
    assert "receptive field" in drawn()


@pytest.mark.parametrize(
    ("figure", "address", "words"),
    [
        ("layer", "conv2[0,5,3,3]", "Showing 3 of 16 output channels."),
        ("stack", "pool[0,3,1,2]", "Hatched parts lie on padding."),
        ("window", "conv1[0,1,0,3]", "Dashes show the next windows"),
        ("groups", "conv2[0,5,3,3]", "Output channel 5 reads all input channels, 0 to 3"),
        ("scatter", "input[0,0,2,3]", "Scattering"),
        ("contributions", "fc[0,8]", "biases of 3 steps"),
        ("receipt", "fc[0,8]", "Showing 24 of 144 terms"),
    ],
)
def test_every_figure_is_drawn(figure: str, address: str, words: str) -> None:
    assert words in drawn(address, "--figure", figure)


def test_the_language_the_theme_and_the_width_are_heard() -> None:
    text = drawn("conv2[0,5,3,3]", "--theme", "dark", "--width", "120")
    assert 'width="120mm"' in text
    assert 'fill="#17191D"' in text
    result = call("digits", "conv2[0,5,3,3]", "-o", "figure.svg", "--lang", "ko", "--mono")
    assert "figure.svg 파일을 썼습니다" in result.stdout
    assert "합계" in Path("figure.svg").read_text(encoding="utf-8")


def test_a_step_takes_the_place_of_an_address() -> None:
    assert "conv2[0,0,3,3] = " in drawn("--step", "conv2", "--figure", "layer")


def test_pixels_per_inch_are_heard() -> None:
    assert call("digits", "fc[0,8]", "-o", "a.png", "--dpi", "72").exit_code == 0
    assert call("digits", "fc[0,8]", "-o", "b.png", "--dpi", "144").exit_code == 0
    with Image.open("a.png") as small, Image.open("b.png") as large:
        assert large.width == pytest.approx(2 * small.width, abs=2)


def test_other_suffixes_are_saved_too() -> None:
    assert call("digits", "conv2[0,5,3,3]", "-o", "why.json").exit_code == 0
    assert json.loads(Path("why.json").read_text())["address"] == "conv2[0,5,3,3]"
    assert call("digits", "fc[0,8]", "-o", "map.npy", "--figure", "contributions").exit_code == 0
    assert np.load("map.npy").shape == (1, 1, 8, 8)
    options = ["--step", "conv1", "--option", "frames=2"]
    assert call("digits", "-o", "walk.gif", *options).exit_code == 0
    with Image.open("walk.gif") as film:
        assert getattr(film, "n_frames", 1) == 2


def test_a_gif_is_an_animation_whether_it_is_said_or_not() -> None:
    options = ("--option", "frames=2")
    assert call("digits", "-o", "said.gif", "--figure", "animation", *options).exit_code == 0
    assert call("digits", "-o", "unsaid.gif", *options).exit_code == 0
    assert Path("said.gif").read_bytes() == Path("unsaid.gif").read_bytes()


def test_an_equation_is_text() -> None:
    for suffix in ("md", "tex"):
        arguments = ["digits", "conv2[0,5,3,3]", "-o", f"why.{suffix}", "--figure", "equation"]
        assert call(*arguments).exit_code == 0
        assert "\\sum_{c=0}^{3}" in Path(f"why.{suffix}").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "a.bmp"], "cannot save a trace as .bmp"),
        (["-o", "none/a.svg"], "there is no folder none"),
        (["fc", "-o", "a.svg"], "not an address"),
        (["fc[0,8]", "-o", "a.svg", "--step", "fc"], "Give one of them."),
        (["-o", "a.svg", "--figure", "receipt"], "Add its address in quotes"),
        (["-o", "a.npy", "--figure", "contributions"], "about one number"),
        (["fc[0,8]", "-o", "a.svg", "--figure", "equation"], "Choose .tex or .md"),
        (["fc[0,8]", "-o", "a.svg", "--option", "seconds"], "this is not NAME=VALUE"),
        (["fc[0,8]", "-o", "a.svg", "--option", "wdth=3"], "wdth = 3 is no option"),
        (["-o", "a.svg", "--step", "conv1", "--option", "frames=3"], "no option of figure='stack'"),
        (["-o", "a.svg", "--width", "5"], "Give at least"),
        (["fc[0,8]", "-o", "a.png", "--dpi", "1"], "too small to read"),
        (["-o", "a.gif", "--option", "seconds=soon"], "seconds = 'soon'\n  It is a number."),
        (["-o", "a.gif", "--option", "seconds=NaN"], "from 0.02 to 60 seconds"),
        (["fc[0,8]", "-o", "a.svg", "--option", "theme=dark"], "Write --theme dark."),
        (["fc[0,8]", "-o", "a.svg", "--option", "file=b.svg"], "this is no option of a form"),
        (["fc[0,8]", "-o", "a.gif"], "Leave the address out and write --step fc."),
        (["-o", "a" * 300 + ".svg"], "Give it another name."),
        (["-o", "a\0.svg"], "Give it another name."),
        (["-o", ""], "Give the name of a file."),
        (["-o", "a.gif", "--step", "input"], "'input' was given to the model, and is no step"),
    ],
)
def test_bad_input_is_told_and_leaves_no_file(arguments: list[str], message: str) -> None:
    result = call("digits", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not list(Path().iterdir())


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("none/a.svg", "there is no folder none"),
        ("/proc/a.svg", "no file can be made in the folder /proc"),
        ("a.jpeg", "cannot save a receipt as .jpeg"),
        ("a", "cannot save a receipt as a file without a suffix"),
    ],
)
def test_a_file_that_cannot_be_written_is_noticed_before_the_model_runs(
    file: str, message: str
) -> None:
    if file.startswith("/proc") and not Path("/proc/self").exists():
        pytest.skip("no folder that takes no files")
    Path("net.py").write_text("raise ValueError('the model ran')")
    result = call("net.py:net", "conv[0,0,0,0]", "-o", file)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "the model ran" not in result.stderr
    assert "the model ran" in call("net.py:net", "conv[0,0,0,0]", "-o", "a.svg").stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["-o", "a.svg", "--option", "wdth=3"],
        ["-o", "a.xlsx", "--option", "seconds=3"],
        ["-o", "a.gif", "--option", "seconds=soon"],
    ],
)
def test_an_option_that_a_form_does_not_have_is_noticed_before_the_model_runs(
    arguments: list[str],
) -> None:
    Path("net.py").write_text("raise ValueError('the model ran')")
    result = call("net.py:net", *arguments)
    assert result.exit_code == 2
    assert "the model ran" not in result.stderr
    assert arguments[-1].partition("=")[0] in result.stderr


def test_a_figure_that_cannot_be_drawn_leaves_the_file_as_it_was() -> None:
    Path("a.svg").write_text("before")
    assert call("digits", "-o", "a.svg", "--width", "5").exit_code == 2
    assert Path("a.svg").read_text() == "before"
