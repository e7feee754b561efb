"""What a page asks of a trace, and what it is answered."""

import base64
import json
from typing import Any

import numpy as np
import pytest
import torch

import convtrace as ct
from convtrace.live import MOST_NUMBERS, Live


def small() -> ct.Trace:
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(2, 3, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2)
    )
    return ct.trace(model, torch.randn(1, 2, 6, 6))


def ask(live: Live, **question: Any) -> dict[str, Any]:
    return json.loads(live.answer(json.dumps(question)))


def numbers(box: dict[str, Any]) -> np.ndarray:
    data = np.frombuffer(base64.b64decode(box["data"]), dtype="<" + box["type"])
    return data.reshape(box["shape"])


def test_a_box_holds_the_numbers_of_the_tensor():
    trace = small()
    box = ask(Live(trace), ask="box", name="0", start=[0, 1, 2, 0], shape=[1, 2, 3, 6])
    assert box["start"] == [0, 1, 2, 0]
    np.testing.assert_array_equal(
        numbers(box), trace.tensor("0").box((slice(0, 1), slice(1, 3), slice(2, 5), slice(0, 6)))
    )


@pytest.mark.parametrize("address", ["0[0,2,5,5]", "1[0,0,0,0]", "2[0,1,2,2]", "input[0,0,0,0]"])
def test_a_receipt_is_the_one_of_the_trace(address: str):
    trace = small()
    receipt = ask(Live(trace), ask="receipt", address=address)
    expected = trace.why(address)
    assert receipt["reported"] == expected.reported
    assert receipt["products"] == expected.products.ravel().tolist()
    assert receipt["verdict"] == expected.verdict


@pytest.mark.parametrize(
    ("question", "kind", "words"),
    [
        ({"ask": "receipt", "address": "0[0,9,0,0]"}, "OutOfRangeError", "position 9 on axis 1"),
        ({"ask": "receipt", "address": "nothing[0]"}, "UnknownStepError", "nothing"),
        ({"ask": "receipt", "address": "0[0"}, "AddressError", "not an address"),
        (
            {"ask": "box", "name": "0", "start": [0, 0, 0, 5], "shape": [1, 1, 1, 2]},
            "OutOfRangeError",
            "no such box of 0",
        ),
        (
            {"ask": "box", "name": "0", "start": [0, 0], "shape": [1, 1]},
            "OutOfRangeError",
            "shape of 0: (1, 3, 6, 6)",
        ),
        (
            {"ask": "box", "name": "0", "start": [-1, 0, 0, 0], "shape": [1, 1, 1, 1]},
            "ValidationError",
            "start",
        ),
        ({"ask": "run", "code": "1"}, "ValidationError", "run"),
        ({"ask": "receipt", "address": "0[0,0,0,0]", "more": 1}, "ValidationError", "more"),
        ([], "ValidationError", "array"),
    ],
)
def test_what_cannot_be_answered_is_said(question: Any, kind: str, words: str):
    reply = json.loads(Live(small()).answer(json.dumps(question)))
    assert reply["error"]["kind"] == kind
    assert words in reply["error"]["message"]


def test_text_that_is_no_json_is_said():
    assert json.loads(Live(small()).answer(b"{"))["error"]["kind"] == "DecodeError"


def test_a_box_of_too_many_numbers_is_refused():
    side = 600
    trace = ct.from_arrays(np.zeros((1, 3, side, side), np.float32), np.zeros((1, 3, 1, 1)))
    live = Live(trace)
    reply = ask(live, ask="box", name="input", start=[0, 0, 0, 0], shape=[1, 3, side, side])
    assert f"at most {MOST_NUMBERS:,}" in reply["error"]["message"]
    assert "data" in ask(live, ask="box", name="input", start=[0, 0, 0, 0], shape=[1, 1, 9, 9])


def test_a_split_is_the_one_of_the_trace():
    trace = small()
    split = ask(Live(trace), ask="split", address="2[0,1,2,2]")
    expected = trace.contributions("2[0,1,2,2]")
    found = numbers(split["inputs"]["input"])
    np.testing.assert_array_equal(found, expected.inputs["input"].double().numpy())
    assert split["pixels"] == pytest.approx(found.sum())
    assert split["biases"] == pytest.approx(sum(expected.biases.values()))


def test_what_has_no_split_is_said():
    model = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.Softmax(1))
    trace = ct.trace(model, torch.randn(1, 2, 6, 6))
    assert ask(Live(trace), ask="split", address="1[0,0,0,0]")["inputs"] is None


def test_the_reach_of_a_number_is_that_of_the_trace():
    trace = small()
    found = ask(Live(trace), ask="reach", address="1[0,1,2,2]", names=["input", "0", "2"])
    assert found["below"]["input"] == [[[[0, 0]], [[0, 1]], [[1, 3]], [[1, 3]]]]
    assert found["below"]["0"] == [[[[0, 0]], [[1, 1]], [[2, 2]], [[2, 2]]]]
    assert found["above"] == {"2": [[[[0, 0]], [[1, 1]], [[1, 1]], [[1, 1]]]]}


def test_gaps_and_what_cannot_be_told_are_said():
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 1, 2, dilation=2), torch.nn.Unfold(2), torch.nn.Fold((4, 4), 2)
    )
    trace = ct.trace(model, torch.ones(1, 1, 6, 6))
    found = ask(Live(trace), ask="reach", address="0[0,0,0,0]", names=["input", "1", "2"])
    assert found["below"]["input"][0][2] == [[0, 0], [2, 2]]
    assert found["above"]["1"] is not None
    assert found["above"]["2"] is None
