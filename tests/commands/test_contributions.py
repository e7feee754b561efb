"""`convtrace contributions`, and `why --nonfinite`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

import convtrace as ct
from convtrace.cli import main
from convtrace.commands import saving
from convtrace.errors import FileError
from convtrace.graph import Trace
from convtrace.models.digits import digit, digits
from convtrace.split import Split

NET = """
import torch
from torch import nn

class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 2)

    def forward(self, x, y):
        return self.conv(x).sum() - y.sum()

class Bad(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 2)
        with torch.no_grad():
            self.conv.weight[0, 0, 0, 1] = float("nan")

    def forward(self, x):
        return self.conv(x)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "net.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), env={"LC_ALL": "C.UTF-8"})


def output_of(*arguments: str) -> str:
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def message_of(*arguments: str) -> str:
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    return result.stderr.removeprefix("convtrace: ")


def split_here(**options: Any) -> Split:
    with torch.no_grad():
        return ct.trace(digits(), digit()).contributions("fc[0,8]", **options)


def test_it_answers_in_both_languages() -> None:
    text = output_of("contributions", "digits", "fc[0,8]")
    assert "fc[0,8] = 6.723915\n" in text
    assert "rounding: the terms add up to the number." in text
    korean = output_of("contributions", "digits", "fc[0,8]", "--lang", "ko")
    assert "항을 모두 더하면 그 값이 됩니다." in korean
    difference = output_of("contributions", "digits", "fc[0,8]", "--minus", "fc[0,3]")
    assert "fc[0,8] − fc[0,3] ≈ 11.1772" in difference


def test_npy_is_the_map_of_the_first_input(folder: Path) -> None:
    text = output_of("contributions", "digits", "fc[0,8]", "--float64", "--output", "x.npy")
    assert "Written: x.npy, the terms of input." in text
    expected = split_here(dtype=torch.float64).inputs["input"].numpy()
    assert np.array_equal(np.load("x.npy"), expected)
    two = ("contributions", "net.py:Two", "sub[]", "--random", "1,1,3,3", "--random", "2")
    assert "the first of 2 maps" in output_of(*two, "--output", "y.npy")
    assert np.load("y.npy").shape == (1, 1, 3, 3)
    assert sorted(file.name for file in folder.iterdir() if file.is_file()) == [
        "net.py",
        "x.npy",
        "y.npy",
    ]


def test_json_holds_everything() -> None:
    output_of("contributions", "digits", "fc[0,8]", "--at", "relu1", "--output", "x.json")
    found = json.loads(Path("x.json").read_text("utf-8"))
    split = split_here(at="relu1")
    assert found["target"] == [{"address": "fc[0,8]", "factor": 1.0}]
    assert found["biases"] == pytest.approx(dict(split.biases))
    assert found["inputs"] == {}
    assert found["stops"]["relu1"]["shape"] == [1, 4, 8, 8]
    terms = np.array(found["stops"]["relu1"]["terms"]).reshape(1, 4, 8, 8)
    assert terms == pytest.approx(split.stops["relu1"].double().numpy())
    assert terms.sum() + sum(found["biases"].values()) == pytest.approx(found["total"])
    assert found["reported"] - found["total"] == pytest.approx(found["residual"], abs=1e-12)


def test_nan_is_a_text_in_json() -> None:
    arguments = ("contributions", "net.py:Bad", "conv[0,0,0,0]", "--random", "1,1,3,3")
    assert "cannot be checked" in " ".join(output_of(*arguments, "--output", "x.json").split())
    found = json.loads(Path("x.json").read_text("utf-8"))
    assert found["reported"] == found["inputs"]["input"]["terms"][1] == "NaN"


def test_a_sum_that_does_not_agree_is_told_by_the_exit_status(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    true = Trace.contributions

    def mistaken(self: Trace, *arguments: Any, **options: Any) -> Split:
        return replace(true(self, *arguments, **options), reported=0.0)

    monkeypatch.setattr(Trace, "contributions", mistaken)
    result = call("contributions", "digits", "fc[0,8]")
    assert result.exit_code == 1
    assert "!! MISMATCH" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fc"], ["names a whole tensor", "fc[0,9]"]),
        (["fc[0,10]"], ["no such number"]),
        (["fc[0,8"], ["not an address"]),
        (["fc[0,8]", "--minus", "fc[0,-1]"], ["not an address"]),
        (["fd[0,8]"], ["nothing in this trace", "fc"]),
        (["input[0,0,0,0]"], ["was given, not computed", "convtrace uses"]),
        (["fc[0,8]", "--at", "convX"], ["nothing in this trace", "conv1"]),
        (["fc[0,8]", "--at", "input"], ["--at input"]),
        (["fc[0,8]", "--output", "x.txt"], ["--output x.txt", ".npy", ".json"]),
        (["fc[0,8]", "--output", "no/x.npy"], ["cannot write no/x.npy", "no folder no"]),
        (["fc[0,8]", "--limit", "0"], ["--limit"]),
        ([], ["Missing argument", "Example:"]),
    ],
)
def test_bad_input_gets_a_message(arguments: list[str], words: list[str]) -> None:
    message = message_of("contributions", "digits", *arguments)
    for word in words:
        assert word in message


def test_a_folder_is_no_file_to_write(folder: Path) -> None:
    (folder / "x.npy").mkdir()
    assert "it is a folder" in message_of("contributions", "digits", "fc[0,8]", "--output", "x.npy")


def test_a_file_is_written_whole_or_not_at_all(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "x.npy").write_bytes(b"before")

    def full(stream: Any, *_: Any, **__: Any) -> None:
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(FileError, match=r"cannot write x\.npy: No space left"):
        saving.save("x.npy", b"", np.zeros(3))
    assert (folder / "x.npy").read_bytes() == b"before"
    assert sorted(file.name for file in folder.iterdir()) == ["net.py", "x.npy"]

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        saving.save("x.npy", b"", np.zeros(3))
    assert sorted(file.name for file in folder.iterdir()) == ["net.py", "x.npy"]


# Where NaN began ---------------------------------------------------------------------------------


def test_why_nonfinite_shows_the_first_receipt() -> None:
    text = output_of("why", "net.py:Bad", "--nonfinite", "--random", "1,1,3,3")
    assert "conv[0,0,0,0] = NaN" in text
    assert "conv.weight[0,0,0,1] = NaN" in text


def test_why_nonfinite_says_that_every_number_is_finite() -> None:
    assert "Every number of this run is finite: 2,026 numbers" in output_of(
        "why", "digits", "--nonfinite"
    )
    assert "모든 수가 유한합니다" in output_of("why", "digits", "--nonfinite", "--lang", "ko")


def test_why_nonfinite_takes_no_address() -> None:
    assert "were both given" in message_of("why", "digits", "conv1[0,0,0,0]", "--nonfinite")
