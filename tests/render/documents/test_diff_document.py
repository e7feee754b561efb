"""Reports of `ct.diff` as files: JSON judged by the published schema, pages that can be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import numpy as np
import pytest
import torch
from mismatch.wrong import layer
from two_networks import image, small

import convtrace as ct
from convtrace.mismatch.networks.report import ModelReport
from convtrace.render.documents.diff_document import ModelReportDocument, ReportDocument

SCHEMA = Path(__file__).resolve().parents[3] / "docs" / "schema" / "convtrace.schema.json"


@pytest.fixture(scope="module")
def judge() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def ambiguous() -> ct.Report:
    right = layer(3, 8, n=2, padding=1)
    report = ct.diff(right.run(x=right.x.flip(0)), (right.x, right.weight, right.bias), padding=1)
    assert isinstance(report, ct.Report)
    return report


@pytest.fixture(scope="module")
def networks() -> ModelReport:
    model, wrong = small(), small()
    with torch.no_grad():
        wrong.block1.conv1.weight.copy_(model.block1.conv1.weight.flip(2, 3))
        report = ct.diff(ct.trace(wrong, image()), ct.trace(model, image()))
    assert isinstance(report, ModelReport)
    return report


def told(report: Any, file: Path) -> Any:
    report.save(file)
    return json.loads(file.read_text(encoding="utf-8"))


def test_json_of_a_report_says_which_causes_are_one_function(
    ambiguous: ct.Report, judge: jsonschema.Draft202012Validator, tmp_path: Path
) -> None:
    found = told(ambiguous, tmp_path / "report.json")
    judge.validate(found)
    assert found["functions"] == [0, 0, 1]
    assert found["proved"] is False
    back = msgspec.convert(found, ReportDocument)
    assert back.apart is not None
    assert ambiguous.apart is not None
    x = np.array(back.apart.x.data).reshape(back.apart.x.shape)
    np.testing.assert_array_equal(x, ambiguous.apart.x)
    assert len(back.apart.outputs) == len(back.explanations) == 3


def test_json_of_two_networks_is_as_the_schema_says(
    networks: ModelReport, judge: jsonschema.Draft202012Validator, tmp_path: Path
) -> None:
    found = told(networks, tmp_path / "report.json")
    judge.validate(found)
    back = msgspec.convert(found, ModelReportDocument)
    assert back.first == "block1.conv1"
    assert back.causes[0].id == "kernel.flipped"
    assert not judge.is_valid({**found, "pairs": [{**found["pairs"][0], "verdict": "right"}]})


@pytest.mark.parametrize("lang", ["en", "ko"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_page_of_one_convolution_has_its_causes_in_a_list(
    ambiguous: ct.Report, lang: str, theme: str, tmp_path: Path
) -> None:
    ambiguous.save(tmp_path / "report.html", lang=lang, theme=theme)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert f'<html lang="{lang}">' in page
    assert f"color-scheme:{theme}" in page
    assert page.count("<li>") == 2
    assert page.count("<li class=also>") == 1
    assert page.count("<details>") == 2 + len(ambiguous.explanations)
    assert page.count("<h2>") == 2
    for receipt in ambiguous.worst:
        assert str(receipt.address) in page
    assert "http" not in page


def test_a_page_says_the_same_as_the_text(ambiguous: ct.Report, tmp_path: Path) -> None:
    ambiguous.save(tmp_path / "report.html", lang="en")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    text = " ".join(ambiguous.text("en").replace("•", "").split())
    for sentence in ("Samples are in reverse order.", "which of 2 causes", "tells them apart"):
        assert sentence in text
        assert sentence in page
