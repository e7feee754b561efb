"""The table of terms adds up to what PyTorch returned, and no name in it is a formula."""

from __future__ import annotations

import csv
import io
from collections import OrderedDict, defaultdict
from pathlib import Path

import pytest
import torch
from torch import nn

import convtrace as ct
from convtrace.errors import UnknownStepError, UsageError
from convtrace.render.documents.terms_csv import HEAD, receipt_csv, trace_csv


def rows_of(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))


def network() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(3)
    layers = OrderedDict(conv=nn.Conv2d(2, 3, 3, padding=1, stride=2), relu=nn.ReLU())
    return nn.Sequential(layers).double(), torch.randn(2, 2, 5, 4, dtype=torch.float64)


def test_products_of_each_number_add_up_to_what_pytorch_returned() -> None:
    model, x = network()
    sums: dict[str, float] = defaultdict(float)
    for row in rows_of(trace_csv(ct.trace(model, x), step="conv")):
        sums[row["address"]] += float(row["product"])
    out = model[0](x)
    expected = {
        f"conv[{','.join(map(str, at))}]": out[tuple(at)].item()
        for at in torch.ones_like(out).nonzero().tolist()
    }
    assert sums == pytest.approx(expected, rel=1e-12)


def test_every_factor_is_the_number_at_its_address() -> None:
    model, x = network()
    trace = ct.trace(model, x)
    rows = rows_of(receipt_csv(trace.why("conv[1,2,0,1]")))
    assert [row["channel"] for row in rows] == ["0"] * 9 + ["1"] * 9 + ["bias"]
    for row in rows:
        assert trace.value(row["weight_address"]) == float(row["weight"])
        if row["source"]:
            assert trace.value(row["source"]) == float(row["value"])
    assert sum(not row["source"] for row in rows) == 2 * 3 + 1  # the row above the input, the bias


def test_a_trace_without_a_chosen_step_has_all_of_them() -> None:
    model, x = network()
    found = {row["address"].partition("[")[0] for row in rows_of(trace_csv(ct.trace(model, x)))}
    assert found == {"conv", "relu"}


def test_a_number_without_terms_keeps_its_row() -> None:
    model, x = network()
    (row,) = rows_of(receipt_csv(ct.trace(model, x).why("input[0,0,0,0]")))
    assert float(row["reported"]) == x[0, 0, 0, 0].item()
    assert list(row) == list(HEAD)


def test_names_that_begin_like_a_formula_are_made_harmless() -> None:
    model = nn.Sequential(OrderedDict({'=HYPERLINK("x")': nn.Conv2d(1, 1, 1)}))
    for row in rows_of(trace_csv(ct.trace(model, torch.ones(1, 1, 1, 1)))):
        assert row["address"] == '\'=HYPERLINK("x")[0,0,0,0]'
        assert not [cell for key, cell in row.items() if "address" in key and cell[0] in "=+-@"]


def test_too_many_rows_name_a_step_that_fits(tmp_path: Path) -> None:
    trace = ct.trace(nn.Conv2d(8, 64, 3), torch.zeros(1, 8, 40, 40))
    with pytest.raises(UsageError, match=r"rows of terms(.|\n)*conv2d, (.|\n)*\.save"):
        trace.save(tmp_path / "terms.csv")
    assert not list(tmp_path.iterdir())


def test_an_unknown_step_is_named() -> None:
    model, x = network()
    with pytest.raises(UnknownStepError, match="conv9"):
        trace_csv(ct.trace(model, x), step="conv9")
