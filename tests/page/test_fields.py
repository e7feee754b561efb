"""The strip of layers: what a number was made of is what Python says, for steps of every kind."""

from __future__ import annotations

import itertools
import random
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from playwright.sync_api import Browser, Page, expect
from test_reached import NETWORKS, conv
from torch import nn

import convtrace as ct
from convtrace.models.digits import digit, digits
from convtrace.reached import Reached, above, below
from convtrace.render.page.files import page_file, trace_page
from convtrace.server import Server

LABELS = """async ([source, text, addresses]) => {
    const url = URL.createObjectURL(new Blob([source], {type: "text/javascript"}));
    const program = await import(url);
    const place = document.createElement("div");
    const [state, remove] = program.mount(place, JSON.parse(text));
    const found = {};
    for (const address of addresses) {
        state.select(address);
        await new Promise(done => setTimeout(done));
        found[address] = [...place.querySelectorAll(".layer")].map(one => [
            one.querySelector(".layer-name").textContent,
            one.querySelector(".visually-hidden").textContent,
        ]);
    }
    remove();
    return found;
}"""


@pytest.fixture(scope="module")
def blank(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(locale="en-US")
    yield page
    page.close()


def shown(page: Page, trace: ct.Trace, addresses: list[str]) -> dict[str, dict[str, str]]:
    """Read what the strip says of each layer, for some selected numbers."""
    document = msgspec.json.encode(trace_page(trace)).decode()
    found = page.evaluate(LABELS, [page_file("page.js").decode(), document, addresses])
    return {
        address: {name: said.replace("\u2060", "") for name, said in layers}
        for address, layers in found.items()
    }


def assert_said(text: str, reached: Reached | None, shape: tuple[int, ...], verb: str) -> None:
    """Compare a sentence with what is reached."""
    if reached is None:
        assert "nothing to do" in text
    elif not reached.known:
        assert "cannot be told" in text
    elif re.search(rf"{verb} all of", text):
        assert reached.boxes == (tuple(frozenset(range(size)) for size in shape),), text
    else:
        said = re.search(rf"{verb} .*\[([^\]]*)\]", text)
        assert said, text
        axes = [_positions(axis) for axis in re.findall(r"{.*?}|[^ ,]+", said[1])]
        if len(reached.boxes) == 1:
            assert tuple(axes) == reached.boxes[0], text
        else:
            spans = tuple((min(axis), max(axis)) for axis in axes)
            assert spans == reached.spans, text


def _positions(text: str) -> frozenset[int]:
    runs = [[int(end) for end in run.split("–")] for run in text.strip("{}").split(", ")]
    return frozenset(itertools.chain(*(range(ends[0], ends[-1] + 1) for ends in runs)))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_strip_says_of_every_layer_what_python_says(name: str, blank: Page) -> None:
    network, shape = NETWORKS[name]
    trace = ct.trace(network, torch.ones(shape))
    top = list(trace.steps.values())[-1]
    draw = random.Random(0)
    chosen = [
        *(ct.Address(top.name, index) for index in _some(top.shape, draw)),
        *(ct.Address("input", index) for index in _some(shape, draw)),
    ]
    seen = shown(blank, trace, [str(address) for address in chosen])
    for address in chosen:
        made_of = address.step == top.name
        expected = (below if made_of else above)(trace, address)
        for layer in {"input", *trace.steps} - {address.step}:
            said, whole = seen[str(address)][layer], trace.tensor(layer).shape
            assert_said(said, expected.get(layer), whole, "made of" if made_of else "went into")


def _some(shape: tuple[int, ...], draw: random.Random) -> list[tuple[int, ...]]:
    every = list(itertools.product(*map(range, shape)))
    return draw.sample(every, min(len(every), 6))


def test_what_cannot_be_told_is_said(blank: Page) -> None:
    network = nn.Sequential(conv(2, 2, 2), nn.Unfold(2), nn.Fold((4, 4), 2), conv(2, 1, 2))
    trace = ct.trace(network, torch.ones(1, 2, 5, 5))
    top = list(trace.steps)[-1]
    (layers,) = shown(blank, trace, [f"{top}[0,0,0,0]"]).values()
    assert "cannot be told here" in layers["input"]


def test_a_server_says_what_the_page_cannot_tell(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a network whose readings are too long for the page, it asks for the layers it shows."""
    monkeypatch.setattr("convtrace.render.page.files.readings", lambda *_: [])
    network, shape = NETWORKS["max pool"]
    trace = ct.trace(network, torch.ones(shape))
    server = Server(trace, lang="en", start="1[0,1,1,1]")
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        page = browser.new_page(locale="en-US")
        page.goto(server.url)
        legend: Any = page.locator(".strip .legend")
        expect(legend).to_have_text(
            "The number shown was made of input[0, 0–\u20601, 2–\u20604, 2–\u20604]."
        )
        page.close()
    finally:
        server.stop()
        thread.join(timeout=20)


def test_assert_said_notices_another_position() -> None:
    found = Reached(((frozenset({0}), frozenset({1, 2})),))
    assert_said("The number shown was made of x[0, 1–2].", found, (1, 4), "made of")
    with pytest.raises(AssertionError):
        assert_said("The number shown was made of x[0, 1–3].", found, (1, 4), "made of")


def test_the_line_below_the_strip_says_what_its_blue_means(
    open_page: Callable[..., Page], tmp_path: Path
) -> None:
    ct.trace(digits(), digit()).save(tmp_path / "page.html", start="pool[0,2,1,1]")
    page: Any = open_page(tmp_path / "page.html")
    legend = page.locator(".strip .legend")
    expect(legend).to_have_text("The number shown was made of input[0, 0, 1–\u20606, 1–\u20606].")
    page.locator("button.layer", has_text="conv2").hover()
    expect(legend).to_have_text("The number shown was made of conv2[0, 2, 2–\u20603, 2–\u20603].")
    page.locator("button.layer", has_text="fc").focus()
    page.mouse.move(0, 0)
    expect(legend).to_have_text("The number shown went into all of fc.")
