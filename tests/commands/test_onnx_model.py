"""An ONNX file as MODEL on the command line."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from onnx import TensorProto
from onnx_models import Builder, optimised, save

from convtrace.cli import main

X = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    builder = Builder()
    y = builder.node("Relu", builder.conv("x", "c", 2, 1, 3, 3), name="relu")
    save(builder.model({"x": X}, y), tmp_path)
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "wide.npy", X.astype(np.float64) + 1e-12)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), env={"LC_ALL": "C.UTF-8"})


def message_of(*arguments: str) -> str:
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    return result.stderr


def test_why_reports_what_onnxruntime_returned(folder: Path) -> None:
    result = call("why", "model.onnx", "relu[0,1,1,0]", "--input", "x.npy", "--all")
    assert result.exit_code == 0, result.output
    (right,) = optimised(folder / "model.onnx", {"x": X})
    assert float(right[0, 1, 1, 0]) == 0
    assert "relu[0,1,1,0] = 0\n" in result.stdout
    assert "onnxruntime returned" in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("contributions", "model.onnx", "relu[0,1,1,0]"),
        ("uses", "model.onnx", "x[0,0,1,1]"),
        ("summary", "model.onnx"),
        ("page", "model.onnx"),
    ],
)
@pytest.mark.parametrize("lang", ["en", "ko"])
def test_every_verb_takes_an_onnx_file(arguments: tuple[str, ...], lang: str) -> None:
    result = call(*arguments, "--random", "1,1,4,4", "--lang", lang)
    assert result.exit_code == 0, result.output
    assert "onnxruntime" in result.stdout


def test_float64_numbers_are_rounded_to_the_type_of_the_file_and_a_note_says_so() -> None:
    result = call("why", "model.onnx", "relu[0,0,0,0]", "--input", "wide.npy")
    assert result.exit_code == 0, result.output
    assert "rounded to float32" in result.stdout


def test_without_an_input_the_message_gives_one_that_fits() -> None:
    message = message_of("why", "model.onnx", "relu[0,0,0,0]")
    assert "x  float32 (1, 1, 4, 4)" in message
    assert "--random 1,1,4,4" in message


def test_an_input_too_many_is_no_input_to_be_dropped() -> None:
    shapes = ("--random", "1,1,4,4", "--random", "1,1,4,4")
    assert "2 inputs for model.onnx" in message_of("why", "model.onnx", "relu[0,0,0,0]", *shapes)


@pytest.mark.parametrize("option", [("--weights", "a.pt"), ("--train",), ("--backward",)])
def test_options_that_an_onnx_file_has_no_use_for_are_refused(option: tuple[str, ...]) -> None:
    message = message_of("why", "model.onnx", "relu[0,0,0,0]", "--random", "1,1,4,4", *option)
    assert f"{option[0]} does not go with an ONNX file" in message


def test_whole_numbers_are_not_made_of_random_ones(folder: Path) -> None:
    builder = Builder()
    cast = builder.node("Cast", "x", to=TensorProto.FLOAT)
    save(builder.model({"x": X.astype(np.uint8)}, builder.conv(cast, "c", 1, 1, 2, 2)), folder)
    message = message_of("why", "model.onnx", "c[0,0,0,0]", "--random", "1,1,4,4")
    assert "x has another type than the model takes" in message
