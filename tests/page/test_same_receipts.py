"""The page makes the receipts that Python makes, of every number, from the built file."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from playwright.sync_api import Browser, Page
from torch import nn

import convtrace as ct
from convtrace.demo import DemoOptions, run_stack
from convtrace.graph import Trace
from convtrace.models.digits import digit, digits
from convtrace.render.documents.document import receipt_document
from convtrace.render.page.files import page_file, trace_page


@pytest.fixture(scope="module")
def program(browser: Browser) -> Iterator[Page]:
    """A blank page into which the program was loaded as a module."""
    page = browser.new_page()
    page.evaluate(
        "async source => { const url = URL.createObjectURL(new Blob([source], "
        "{type: 'text/javascript'})); window.program = await import(url); }",
        page_file("page.js").decode(),
    )
    yield page
    page.close()


class Mixed(nn.Module):
    """Steps of many kinds: norm with a bias, sum of two branches, mean, pool, cat."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1, stride=2, groups=2)
        self.norm = nn.BatchNorm2d(4).eval()
        self.up = nn.ConvTranspose2d(4, 2, 3, stride=2, padding=1, output_padding=1)
        self.fc = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.norm(self.conv(x)))
        z = self.up(y) + x
        z = nn.functional.avg_pool2d(torch.cat([z, x, x.abs()], 1), 2)
        return self.fc(z.mean((2, 3)))


def traces() -> dict[str, Any]:
    def mixed() -> Trace:
        torch.manual_seed(0)
        model = Mixed().eval()
        with torch.no_grad():
            model.norm.running_mean.normal_()  # type: ignore[union-attr]  # it has one
        return ct.trace(model, torch.randn(1, 2, 6, 6))

    def wide(dtype: torch.dtype) -> Trace:
        torch.manual_seed(1)
        layer = nn.Conv2d(3, 2, 3, padding=1).to(dtype)
        return ct.trace(layer, torch.randn(1, 3, 4, 5, dtype=dtype))

    def broken() -> Trace:
        x = np.arange(18, dtype=np.float32).reshape(1, 2, 3, 3)
        x[0, 1, 1, 1] = np.inf
        w = np.ones((1, 2, 2, 2), np.float32)
        y = np.full((1, 1, 2, 2), np.inf, np.float32)
        return ct.from_arrays(x, w, observed=y)

    return {
        "the demo": lambda: run_stack(DemoOptions(padding=1, bias=True, weights="seed")),
        "digits": lambda: ct.trace(digits(), digit()),
        "many kinds": mixed,
        "float64": lambda: wide(torch.float64),
        "bfloat16": lambda: wide(torch.bfloat16),
        "infinity": broken,
        "a mismatch": lambda: ct.from_arrays(
            [[[[1.0, 2.0]]]], [[[[3.0, 4.0]]]], observed=np.array([[[[12.0]]]])
        ),
        "whole numbers": lambda: ct.from_arrays(
            np.arange(9, dtype=np.int8).reshape(1, 1, 3, 3),
            np.full((1, 1, 2, 2), 40, np.int8),
            observed=np.full((1, 1, 2, 2), 64, np.int8),
        ),
    }


@pytest.mark.parametrize("make", traces().values(), ids=traces())
def test_every_receipt_is_the_one_that_python_makes(program: Page, make: Any) -> None:
    trace: Trace = make()
    made = receipts_of(program, trace)
    for address, document in made.items():
        assert_same(document, json.loads(msgspec.json.encode(receipt_document(trace.why(address)))))
    assert len(made) == sum(math.prod(step.shape) for step in trace.steps.values())


def test_assert_same_notices_another_bound(program: Page) -> None:
    trace = ct.trace(digits(), digit())
    address, document = next(iter(receipts_of(program, trace).items()))
    expected = json.loads(msgspec.json.encode(receipt_document(trace.why(address))))
    with pytest.raises(AssertionError):
        assert_same(document, {**expected, "bound": expected["bound"] * 1.01})


def receipts_of(program: Page, trace: Trace) -> dict[str, Any]:
    """Let the program make the receipt of every number of every step."""
    document = msgspec.json.encode(trace_page(trace)).decode()
    steps = [[name, list(step.shape)] for name, step in trace.steps.items()]
    found = program.evaluate(
        """([text, steps]) => {
          const place = document.createElement("div");
          const [state, remove] = window.program.mount(place, JSON.parse(text));
          const said = (key, value) => typeof value === "number" && !Number.isFinite(value)
            ? (Number.isNaN(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity") : value;
          const found = {};
          for (const [step, shape] of steps) {
            const count = shape.reduce((a, b) => a * b, 1);
            for (let n = 0; n < count; n += 1) {
              const index = [];
              for (let axis = shape.length - 1, rest = n; axis >= 0; axis -= 1) {
                index.unshift(rest % shape[axis]);
                rest = Math.floor(rest / shape[axis]);
              }
              const receipt = state.source.receipt({ step, index });
              found[receipt.address] = JSON.parse(JSON.stringify(receipt, said));
            }
          }
          remove();
          return JSON.stringify(found);
        }""",
        [document, steps],
    )
    return json.loads(found)


def assert_same(found: Any, expected: Any) -> None:
    """Compare two receipts; errors that are estimated need not have the same last digit."""
    where = expected["address"]
    for field, wanted in expected.items():
        value = found[field]
        if field in ("bound", "typical") and isinstance(wanted, float):
            assert value == pytest.approx(wanted, rel=1e-9, abs=1e-300), (where, field)
        else:
            assert value == wanted, (where, field)
    assert found.keys() == expected.keys()
