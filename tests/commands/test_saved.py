"""Saved traces on the command line: MODEL may be a `.convtrace` file."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

import convtrace as ct
from convtrace.cli import main
from convtrace.models.digits import digit, digits


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    with torch.no_grad():
        ct.trace(digits().eval(), digit()).save("saved.convtrace")
    return tmp_path


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), prog_name="convtrace")


def body(result: Result) -> str:
    """What follows the lines that say what ran."""
    return result.output.split("\n\n", 1)[1]


@pytest.mark.parametrize(
    "arguments",
    [
        ["why", "conv2[0,5,3,3]"],
        ["why", "conv2[0,5,3,3]", "--all", "--lang", "ko"],
        ["why", "--nonfinite"],
        ["contributions", "fc[0,8]", "--minus", "fc[0,3]"],
        ["uses", "input[0,0,2,3]", "--to", "fc"],
        ["summary"],
    ],
)
def test_every_verb_says_of_a_saved_trace_what_it_says_of_the_model(
    arguments: list[str], folder: Path
) -> None:
    verb, *rest = arguments
    saved, model = call(verb, "saved.convtrace", *rest), call(verb, "digits", *rest)
    assert saved.exit_code == model.exit_code == 0, saved.output
    assert body(saved) == body(model)


def test_the_first_lines_say_what_was_opened(folder: Path) -> None:
    text = call("why", "saved.convtrace", "fc[0,1]").output
    assert text.startswith("trace  saved.convtrace · 7 steps, opened without the model\n")
    assert "input  float32 (1, 1, 8, 8)" in text
    korean = call("why", "saved.convtrace", "fc[0,1]", "--lang", "ko").output
    assert "saved.convtrace · 연산 7개, 모델 없이 열었음" in korean


@pytest.mark.parametrize(
    "option",
    [
        ["--input", "x.npy"],
        ["--random", "1,1,8,8"],
        ["--weights", "x.safetensors"],
        ["--train"],
        ["--seed", "3"],
    ],
)
def test_options_of_a_model_do_not_go_with_a_saved_trace(option: list[str], folder: Path) -> None:
    result = call("why", "saved.convtrace", "fc[0,1]", *option)
    assert result.exit_code == 2
    assert f"{option[0]} does not go with a saved trace" in result.output


def test_a_file_that_is_not_there_or_not_a_trace_gets_a_message(folder: Path) -> None:
    assert "nearest names" in call("why", "saves.convtrace", "fc[0,1]").output
    Path("bad.convtrace").write_bytes(b"PK\x03\x04 and more")
    result = call("summary", "bad.convtrace")
    assert result.exit_code == 2
    assert "is cut off or damaged" in result.output


@pytest.mark.parametrize(
    "arguments", [["why", "conv2[0,0,0,0]"], ["summary"], ["why", "pool[0,0,0,0]"]]
)
def test_torch_is_not_imported(arguments: list[str], folder: Path) -> None:
    verb, *rest = arguments
    code = (
        "import sys\n"
        "from convtrace.cli import main\n"
        f"try: main({[verb, 'saved.convtrace', *rest]!r})\n"
        "except SystemExit as done: assert not done.code, done.code\n"
        "assert 'convtrace.frontends.saved' in sys.modules\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
