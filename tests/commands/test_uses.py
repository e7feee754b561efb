"""`convtrace uses`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

import convtrace as ct
from convtrace.cli import main
from convtrace.graph import Trace
from convtrace.models.digits import digit, digits


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def trace() -> Trace:
    with torch.no_grad():
        return ct.trace(digits(), digit())


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), env={"LC_ALL": "C.UTF-8"})


def output_of(*arguments: str) -> str:
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_it_answers_in_both_languages() -> None:
    text = output_of("uses", "digits", "input[0,0,2,3]", "--limit", "3")
    assert "input[0,0,2,3] = 0.8125   given as input" in text
    assert "Showing 3 of 36" in text
    korean = output_of("uses", "digits", "input[0,0,2,3]", "--to", "fc", "--lang", "ko")
    assert "전체 10개 중 10개" in korean


@pytest.mark.parametrize("address", ["input[0,0,2,3]", "conv1.weight[2,0,1,1]", "conv1.bias[0]"])
def test_npy_and_json_hold_every_row(trace: Trace, address: str) -> None:
    output_of("uses", "digits", address, "--output", "u.npy")
    output_of("uses", "digits", address, "--output", "u.json")
    rows, found = np.load("u.npy"), json.loads(Path("u.json").read_text("utf-8"))
    expected = trace.uses(address)
    assert len(rows) == len(found["uses"]) == len(expected)
    assert (found["source"], found["steps"]) == (address, list(expected.steps))
    for row, entry, use in zip(rows, found["uses"], expected, strict=True):
        assert row["address"] == entry["address"] == str(use.address)
        assert row["coefficient"] == entry["coefficient"] == use.coefficient
        assert row["product"] == entry["product"] == use.product
        assert row["made"] == entry["made"] == trace.value(use.address)
        if np.isnan(use.share):
            assert entry["share"] == "NaN"
        else:
            assert row["share"] == entry["share"] == use.share


def test_a_number_that_goes_nowhere_makes_an_empty_file() -> None:
    assert "It went into no number" in output_of("uses", "digits", "fc[0,0]", "--output", "u.npy")
    assert len(np.load("u.npy")) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["input"], ["names a whole tensor"]),
        (["input[0,0,9,9]"], ["no such number"]),
        (
            ["fc[0,0]", "--to", "conv1"],
            ["conv1 does not depend on fc[0,0]", "Name a step that ran after it"],
        ),
        (["input[0,0,2,3]", "--to", "fd"], ["nothing in this trace"]),
        (["input[0,0,2,3]", "--output", "u"], ["--output u"]),
    ],
)
def test_bad_input_gets_a_message(arguments: list[str], words: list[str]) -> None:
    result = call("uses", "digits", *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    for word in words:
        assert word in result.stderr
