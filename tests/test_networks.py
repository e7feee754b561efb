"""The check that writes docs/en/networks.md, on three small networks."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest

ROOT = Path(__file__).resolve().parents[1]


def _load_script() -> ModuleType:
    path = ROOT / "scripts" / "check_networks.py"
    spec = importlib.util.spec_from_file_location("check_networks", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


script = cast(Any, _load_script())


@pytest.mark.parametrize("name", ["digits (trained)", "U-Net", "1-d audio"])
def test_receipts_of_every_kind_of_step_hold_and_outputs_conserve(name: str) -> None:
    result = script.check(name, receipts=60, outputs=2)
    assert result.wrong == ()
    assert result.certified == result.receipts > 0
    assert result.reached == ()
    assert result.recorded <= 1e-7
    assert result.float64 <= 1e-15


def test_a_receipt_that_is_not_certified_fails_the_check() -> None:
    result = script.Result("x", 1, 1, 5, 4, ("…",), (), (), 0.0, 0.0)
    assert not result.holds


@pytest.mark.parametrize(("recorded", "double"), [(2e-7, 0.0), (0.0, 2e-15), (float("nan"), 0.0)])
def test_too_much_left_over_fails_the_check(recorded: float, double: float) -> None:
    result = script.Result("x", 1, 1, 5, 5, (), (), (), recorded, double)
    assert not result.holds


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_the_page_lists_every_network_that_the_script_knows(lang: str) -> None:
    text = (ROOT / "docs" / lang / "networks.md").read_text(encoding="utf-8")
    rows = [line.split(" | ")[0].removeprefix("| ") for line in text.splitlines()]
    assert [row for row in rows if row in script.NETWORKS] == list(script.NETWORKS)


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_the_page_is_what_the_script_writes_of_its_results(lang: str) -> None:
    made = script.page([script.Result("x", 7, 3, 9, 9, (), ("softmax",), (), 2e-9, 3e-17)], lang)
    head = made.splitlines()
    shown = (ROOT / "docs" / lang / "networks.md").read_text(encoding="utf-8").splitlines()
    assert "| x | 7 | 3 | 9 / 9 | `softmax` | 2.0e-09 | 3.0e-17 |" in head
    rows = {line for line in shown if line.startswith("| ") and " / " in line}
    assert [line for line in shown if line not in rows] == [
        line for line in head if " / " not in line or not line.startswith("| ")
    ]
