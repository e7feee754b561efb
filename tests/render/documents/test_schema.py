"""The published JSON Schema, and every document judged by it."""

import importlib.util
import json
from pathlib import Path
from typing import Any, cast

import jsonschema
import msgspec
import numpy as np
import pytest
import torch
from saved_traces import TRACES
from torch import nn

import convtrace as ct
from convtrace.render.documents import answers, document
from convtrace.storage import SavedTrace

ROOT = Path(__file__).resolve().parents[3]
FILE = ROOT / "docs" / "schema" / "convtrace.schema.json"


def _script() -> Any:
    path = ROOT / "scripts" / "make_schema.py"
    spec = importlib.util.spec_from_file_location("make_schema", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return cast(Any, module)


@pytest.fixture(scope="module")
def judge() -> jsonschema.Draft202012Validator:
    schema = json.loads(FILE.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_published_schema_is_what_the_structs_say() -> None:
    assert FILE.read_text(encoding="utf-8") == _script().schema()


def test_every_property_of_the_schema_says_what_it_is() -> None:
    schema = json.loads(FILE.read_text(encoding="utf-8"))
    elsewhere = ("SavedArithmetic", "PairDocument")  # whose descriptions say where to look
    silent = [
        f"{name}.{key}"
        for name, one in schema["$defs"].items()
        if name not in elsewhere
        for key, value in one.get("properties", {}).items()
        if "description" not in value and key not in ("format", "version")
    ]
    assert silent == []


def _saved(thing: Any, file: Path) -> Any:
    thing.save(file)
    return json.loads(file.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", TRACES)
def test_receipts_and_traces_of_every_kind_are_valid(
    name: str, judge: jsonschema.Draft202012Validator, tmp_path: Path
) -> None:
    trace = TRACES[name]()
    judge.validate(_saved(trace, tmp_path / "trace.json"))
    for step in trace.steps.values():
        at = tuple(size // 2 for size in step.shape)
        judge.validate(_saved(trace.why(step.name, at), tmp_path / "why.json"))


def test_splits_uses_and_reports_are_valid_and_read_back(
    judge: jsonschema.Draft202012Validator, tmp_path: Path
) -> None:
    trace = TRACES["digits"]()
    split, uses = trace.contributions("fc[0,8]"), trace.uses("input[0,0,2,3]")
    told = _saved(split, tmp_path / "split.json")
    judge.validate(told)
    back = msgspec.convert(told, answers.SplitDocument)
    terms = np.array(back.inputs["input"].terms).reshape(back.inputs["input"].shape)
    np.testing.assert_array_equal(terms, split.inputs["input"].double().numpy())
    assert (back.total, back.residual) == (split.total, split.residual)
    told = _saved(uses, tmp_path / "uses.json")
    judge.validate(told)
    assert [row["address"] for row in told["uses"]] == [str(use.address) for use in uses]
    x, w = torch.randn(1, 1, 5, 5), torch.randn(1, 1, 2, 2)
    y = nn.functional.conv2d(x, w.flip(-1))
    report = ct.diff(y, (x, w))
    assert isinstance(report, ct.Report)
    assert report.verdict == "mismatch"
    judge.validate(_saved(report, tmp_path / "report.json"))


def test_the_document_of_a_saved_trace_is_valid(
    judge: jsonschema.Draft202012Validator, tmp_path: Path
) -> None:
    import zipfile

    TRACES["block"]().save(tmp_path / "x.convtrace")
    with zipfile.ZipFile(tmp_path / "x.convtrace") as archive:
        told = json.loads(archive.read("trace.json"))
    judge.validate(told)
    assert msgspec.convert(told, SavedTrace).steps[0].name == "stem"


@pytest.mark.parametrize(
    "change", [{"verdict": "right"}, {"more": 1}, {"shape": "x"}, {"format": "other"}]
)
def test_the_schema_finds_a_document_that_is_wrong(
    change: dict[str, Any], judge: jsonschema.Draft202012Validator, tmp_path: Path
) -> None:
    told = _saved(TRACES["demo"]().why("conv2[0,0,0,0]"), tmp_path / "why.json")
    assert judge.is_valid(told)
    assert not judge.is_valid({**told, **change})


def test_a_receipt_reads_back_with_the_structs(tmp_path: Path) -> None:
    receipt = TRACES["nonfinite"]().why("0[0,0,2,2]")
    told = _saved(receipt, tmp_path / "why.json")
    assert msgspec.convert(told, document.ReceiptDocument) == document.receipt_document(receipt)
