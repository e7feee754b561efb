"""The widget: the page's messages, and `selected`."""

import json
import sys
from typing import Any

import pytest
import torch

import convtrace as ct
from convtrace.errors import (
    AddressError,
    MissingDependencyError,
    OutOfRangeError,
    UnknownStepError,
)
from convtrace.widget import TraceWidget


@pytest.fixture
def trace() -> ct.Trace:
    torch.manual_seed(0)
    return ct.trace(torch.nn.Conv2d(2, 3, 3), torch.randn(1, 2, 6, 6))


@pytest.fixture
def widget(trace: ct.Trace) -> TraceWidget:
    return trace.widget(lang="ko")


def test_the_page_of_the_trace_is_what_the_widget_shows(widget: TraceWidget):
    page = json.loads(widget.page)
    assert page["format"] == "convtrace.page"
    assert page["lang"] == "ko"
    assert [step["name"] for step in page["trace"]["steps"]] == ["conv2d"]


def test_selected_begins_at_the_first_convolution_and_can_be_set(
    widget: TraceWidget, trace: ct.Trace
):
    assert widget.selected == "conv2d[0,0,0,0]"
    widget.selected = "conv2d[0,2,3,1]"
    assert widget.receipt.exact == trace.why("conv2d[0,2,3,1]").exact


@pytest.mark.parametrize(
    ("address", "error"),
    [
        ("conv2d[0,3,0,0]", OutOfRangeError),
        ("nothing[0]", UnknownStepError),
        ("conv2d", AddressError),
    ],
)
def test_an_address_that_is_none_is_refused_and_selected_stays(
    widget: TraceWidget, address: str, error: type[Exception]
):
    with pytest.raises(error):
        widget.selected = address
    assert widget.selected == "conv2d[0,0,0,0]"


def test_a_question_of_the_page_is_answered_under_its_own_id(
    widget: TraceWidget, trace: ct.Trace, monkeypatch: pytest.MonkeyPatch
):
    sent: list[Any] = []
    monkeypatch.setattr(widget, "send", sent.append)
    question = {"ask": "receipt", "address": "conv2d[0,1,1,1]"}
    widget._handle_custom_msg({"id": "view:1", "question": question}, [])
    assert [message["id"] for message in sent] == ["view:1"]
    assert json.loads(sent[0]["reply"])["reported"] == trace.value("conv2d[0,1,1,1]")


def test_messages_of_others_are_left_alone(widget: TraceWidget, monkeypatch: pytest.MonkeyPatch):
    sent: list[Any] = []
    monkeypatch.setattr(widget, "send", sent.append)
    widget._handle_custom_msg({"type": "anywidget-command"}, [])
    widget._handle_custom_msg("text", [])
    assert sent == []


def test_its_numbers_are_asked_for_and_not_sent_along():
    trace = ct.trace(torch.nn.Conv2d(3, 64, 3), torch.randn(1, 3, 128, 128))
    assert len(trace.widget().page) < 1_000_000


def test_without_its_extra_the_error_says_what_to_install(
    trace: ct.Trace, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delitem(sys.modules, "convtrace.widget")
    monkeypatch.setitem(sys.modules, "anywidget", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "convtrace\[widget\]"'):
        trace.widget()


def test_outputs_of_a_small_trace_stay_small(trace: ct.Trace):
    assert len(trace._repr_html_()) < 300_000
    assert len(trace.why("conv2d[0,0,0,0]")._repr_html_()) < 300_000
