"""The file of a page: safe with any name, within its budget, and the same each time."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import convtrace as ct
from convtrace.demo import DemoOptions, run_stack
from convtrace.errors import OutOfRangeError, UnknownStepError, UsageError
from convtrace.models.digits import digit, digits
from convtrace.render.page.files import is_page, page_html, trace_page
from convtrace.render.page.packing import is_packable, packed


class Parts(HTMLParser):
    """Splits a page into the contents of its script and style elements, and the rest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None], str]] = []
        self._open: tuple[str, dict[str, str | None]] | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open = (tag, dict(attrs))
        self.found.append((tag, dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        self._open = None

    def handle_data(self, data: str) -> None:
        if self._open:
            tag, attrs, text = self.found.pop()
            self.found.append((tag, attrs, text + data))


def parts(content: bytes, tag: str) -> list[tuple[dict[str, str | None], str]]:
    found = Parts(content.decode()).found
    return [(attributes, text) for name, attributes, text in found if name == tag]


def document(content: bytes) -> Any:
    (text,) = [text for a, text in parts(content, "script") if a["type"] == "application/json"]
    return json.loads(text)


def demo_page(**options: Any) -> bytes:
    return page_html(trace_page(run_stack(DemoOptions()), **options))


def test_the_policy_allows_nothing_but_what_the_file_holds() -> None:
    content = demo_page()
    ((_, style),) = parts(content, "style")
    (script,) = [text for a, text in parts(content, "script") if a["type"] == "module"]
    (policy,) = [a["content"] for a, _ in parts(content, "meta") if "http-equiv" in a]
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    for rule, text in (("script-src", script), ("style-src", style)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert "connect-src" not in rules
    assert not re.search(rb"""(src|href)\s*=\s*["']?(https?:)?//""", content)


NAMES = ["</script><script>alert(1)</script>", "<!--", '"><img src=x onerror=alert(1)>', "a\u2028b"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_cannot_leave_its_text(name: str) -> None:
    content = demo_page(title=name)
    tags = [tag for tag, _, _ in Parts(content.decode()).found]
    assert tags == [*"html head meta meta meta meta title style body div script script".split()]
    assert document(content)["title"] == name


def test_the_first_receipt_is_there_as_text_without_the_program() -> None:
    trace = run_stack(DemoOptions())
    trace_text = trace.why("conv1[0,0,0,0]").text(lang="en")
    content = page_html(trace_page(trace), first=trace.why("conv1[0,0,0,0]"))
    ((_, text),) = parts(content, "pre")
    assert text == trace_text


def test_the_same_trace_gives_the_same_bytes() -> None:
    assert demo_page() == demo_page()


def test_a_receipt_is_a_page_too(tmp_path: Path) -> None:
    receipt = run_stack(DemoOptions()).why("conv2[0,0,0,0]")
    receipt.save(tmp_path / "one.html", lang="ko", theme="dark")
    found = document((tmp_path / "one.html").read_bytes())
    assert (found["start"], found["lang"], found["theme"]) == ("conv2[0,0,0,0]", "ko", "dark")
    assert found["trace"]["receipts"][0]["exact"] == 270


def test_is_page_knows_its_own(tmp_path: Path) -> None:
    mine, other = tmp_path / "a.html", tmp_path / "b.html"
    mine.write_bytes(demo_page())
    other.write_text("<!doctype html><title>convtrace</title>")
    assert (is_page(mine), is_page(other), is_page(tmp_path / "none")) == (True, False, False)


def test_start_is_checked() -> None:
    trace = run_stack(DemoOptions())
    with pytest.raises(UnknownStepError):
        trace_page(trace, start="conv9[0,0,0,0]")
    with pytest.raises(OutOfRangeError):
        trace_page(trace, start="conv1[0,0,0,9]")
    with pytest.raises(UnknownStepError):
        trace_page(trace, steps=["conv9"], budget=0)


def test_an_unknown_option_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="budget"):
        run_stack(DemoOptions()).save(tmp_path / "page.html", megabytes=3)


# Numbers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("array", "kind"),
    [
        (np.array([0.5, -1e30], np.float32), "f4"),
        (np.array([0.1, np.nan, np.inf]), "f8"),
        (np.array([0.5, np.nan, -np.inf]), "f4"),
        (np.array([1e300]), "f8"),
        (np.array([-128, 127], np.int64), "i1"),
        (np.array([128], np.uint8), "i2"),
        (np.array([2**31 - 1]), "i4"),
        (np.array([2**53]), "f8"),
        (np.array([True, False]), "u1"),
    ],
    ids=str,
)
def test_packed_numbers_are_the_numbers(array: np.ndarray, kind: str) -> None:
    found = packed(array)
    assert found.type == kind
    back = np.frombuffer(base64.b64decode(found.data), dtype=f"<{kind}")
    np.testing.assert_array_equal(back.astype(np.float64), array.astype(np.float64))
    assert is_packable(array)


def test_what_float64_cannot_hold_is_not_packed() -> None:
    assert not is_packable(np.array([2**53 + 1]))
    assert not is_packable(np.array([1j]))


# The budget --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large() -> ct.Trace:
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1),
        nn.MaxPool2d(2), nn.Conv2d(32, 64, 3),
    ]  # fmt: skip
    return ct.trace(nn.Sequential(*layers), torch.randn(1, 3, 32, 32))


def numbers(page: Any) -> dict[str, np.ndarray]:
    """Collect the numbers of a page; NaN where one was left out."""
    trace = page.trace
    tensors = [*trace.inputs, *trace.parameters, *(step.output for step in trace.steps)]
    found = {}
    for tensor in tensors:
        whole = np.full(tensor.shape, np.nan)
        if tensor.data is not None:
            whole[...] = np.array(tensor.data, dtype=np.float64).reshape(tensor.shape)
        for box in page.boxes.get(tensor.name, ()):
            where = tuple(slice(a, a + n) for a, n in zip(box.start, box.shape, strict=True))
            values = np.frombuffer(base64.b64decode(box.data), dtype=f"<{box.type}")
            whole[where] = values.reshape(box.shape)
        found[tensor.name] = whole
    return found


def test_with_room_for_everything_everything_is_there(large: ct.Trace) -> None:
    page = trace_page(large)
    assert page.trace.left_out == []
    for name, array in numbers(page).items():
        np.testing.assert_array_equal(array, np.asarray(large.tensor(name).tensor()), name)


@pytest.mark.parametrize("budget", [300_000, 150_000, 60_000])
def test_a_budget_is_kept_and_what_is_left_out_is_listed(large: ct.Trace, budget: int) -> None:
    page = trace_page(large, budget=budget)
    empty = trace_page(large, budget=0)
    grown = len(page_html(page)) - len(page_html(empty))
    assert grown < budget * 1.1
    found = numbers(page)
    absent = [name for name, array in found.items() if np.isnan(array).any()]
    assert page.trace.left_out == absent
    assert page.wanted > budget


def test_one_number_of_each_step_can_be_followed_within_any_budget(large: ct.Trace) -> None:
    page = trace_page(large, budget=150_000)
    found = numbers(page)
    carried = {columns.step for columns in page.receipts}
    for name, step in large.steps.items():
        if step.kind != "convolution":
            assert name in carried
            continue
        middle = (0, 0, step.shape[2] // 2, step.shape[3] // 2)
        for term in large.why(name, middle).terms:
            for address in (term.source, term.weight_address):
                assert address is None or not np.isnan(found[address.step][address.index])


def test_chosen_steps_come_first(large: ct.Trace) -> None:
    last = list(large.steps)[-1]
    without = numbers(trace_page(large, budget=150_000))[last]
    chosen = numbers(trace_page(large, budget=150_000, steps=[last]))[last]
    assert np.isnan(chosen).sum() < np.isnan(without).sum()


def test_a_live_page_carries_little_and_makes_nothing_beforehand(large: ct.Trace) -> None:
    page = trace_page(large, budget=20_000, live=True)
    assert page.receipts == []
    assert len(page_html(page)) - len(page_html(trace_page(large, budget=0, live=True))) < 25_000


def test_the_digits_fit_with_every_receipt() -> None:
    page = trace_page(ct.trace(digits(), digit()))
    assert page.trace.left_out == []
    assert {columns.step for columns in page.receipts} == {"relu1", "relu2", "pool", "flatten"}
