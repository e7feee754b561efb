"""`convtrace diff`."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from two_networks import Port, export, image, small

import convtrace as ct
from convtrace.cli import main

FILE = """
import torch
from two_networks import Port, small

def port():
    return Port(small(), "no relu").eval()

def conv(x, w, b):
    return torch.nn.functional.conv2d(x, w, b, 2, 1)

def swapped(x, w, b):
    return conv(x, w.transpose(2, 3), b)

def raises(x, w, b):
    raise ValueError("out of paper")

def noisy(x, w, b):
    return conv(x + torch.rand(()), w, b)

def wrong_model(x):
    raise ValueError("no ink")

def noisy_model(x):
    return small()(x + torch.rand_like(x))
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write one convolution and two networks in every form, once."""
    folder = tmp_path_factory.mktemp("diff")
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 3, 9, 9, generator=generator)
    w = torch.randn(4, 3, 3, 3, generator=generator)
    b = torch.randn(4, generator=generator)
    y = torch.conv2d(x, w, b, 2, 1)
    nan = y.clone()
    nan[0, 1, 2, 3] = float("nan")
    arrays = {
        "x": x,
        "w": w,
        "b": b,
        "y": y,
        "flipped": torch.conv2d(x, w.flip(2, 3), b, 2, 1),
        "nan": nan,
        "empty": torch.zeros(0, 3, 9, 9),
        "odd": torch.randn(3, 4, 40, 2, generator=generator),
        "half": y.half(),
        "wide": torch.conv2d(x.double(), w.double(), b.double(), 2, 1),
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array.numpy())
    whole = np.full((1, 1, 3, 3), 2**31 - 1, np.int32)
    np.save(folder / "xi.npy", whole)
    np.save(folder / "wi.npy", np.full((1, 1, 3, 3), 2, np.int32))
    with np.errstate(over="ignore"):
        wrapped = (whole.astype(np.int64).sum() * 2).astype(np.int32)
    np.save(folder / "yi.npy", wrapped.reshape(1, 1, 1, 1))
    (folder / "net.py").write_text(FILE, "utf-8")
    model = small()
    export(model, folder / "right.onnx")
    torch.save(model.state_dict(), folder / "right.pt")
    trace = ct.trace(model, image())
    trace.save(folder / "right.convtrace")
    np.save(folder / "image.npy", image().numpy())
    np.save(folder / "conv.npy", trace.step("block2.conv1").value.tensor().numpy())
    with torch.no_grad():
        model.block2.conv1.weight.copy_(model.block2.conv1.weight.flip(3))
    export(model, folder / "wrong.onnx")
    torch.save(model.state_dict(), folder / "wrong.pt")
    ct.trace(model, image()).save(folder / "wrong.convtrace")
    (folder / "broken.onnx").write_bytes((folder / "right.onnx").read_bytes()[:900])
    return folder


@pytest.fixture(autouse=True)
def here(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(files)


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["diff", *arguments], env={"LC_ALL": "C.UTF-8"})


def output_of(*arguments: str, status: int = 0) -> str:
    result = call(*arguments)
    assert result.exit_code == status, result.output + result.stderr
    return result.stdout


def assert_refused(*arguments: str, text: str) -> None:
    """Check that bad input gets one message, exit status 2, and no traceback."""
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert text in result.stderr, result.stderr
    assert "Traceback" not in result.stderr
    assert "fault of convtrace" not in result.stderr
    assert len(result.stderr.strip().splitlines()) > 1, "nothing says what to do"


ARRAYS = ("--x", "x.npy", "--weight", "w.npy", "--bias", "b.npy", "--stride", "2", "--padding", "1")
IMAGE = ("--input", "image.npy", "--weights", "right.pt")


# One convolution ---------------------------------------------------------------------------------


def test_a_right_output_is_rounding_and_a_flipped_kernel_is_named() -> None:
    assert "rounding" in output_of("y.npy", *ARRAYS, "--fail-on", "mismatch")
    text = output_of("flipped.npy", *ARRAYS, "--fail-on", "mismatch", status=1)
    assert "mismatch" in text
    assert "flipped" in text
    assert "proved" in text
    assert "뒤집" in output_of("flipped.npy", *ARRAYS, "--lang", "ko")


def test_nothing_fails_unless_it_is_asked_to() -> None:
    output_of("flipped.npy", *ARRAYS)
    output_of("y.npy", *ARRAYS, "--fail-on", "rounding", status=1)


def test_settings_that_are_not_given_are_searched_for() -> None:
    text = output_of("y.npy", *ARRAYS[:6])
    assert "stride (2, 2)" in text
    assert "rounding" in text


@pytest.mark.parametrize("padding", ["1,1", "1:1,1:1"])
def test_settings_are_read_in_every_form(padding: str) -> None:
    assert "rounding" in output_of("y.npy", *ARRAYS[:6], "--stride", "2,2", "--padding", padding)


def test_a_function_is_called_with_the_arrays() -> None:
    assert "rounding" in output_of("net.py:conv", *ARRAYS)
    assert "mismatch" in output_of("net.py:swapped", *ARRAYS)


def test_other_precisions_are_rounding() -> None:
    for name in ("half.npy", "wide.npy"):
        text = output_of(name, *ARRAYS, "--fail-on", "mismatch")
        assert "rounding" in text or "exact" in text


def test_nan_on_one_side_is_a_mismatch() -> None:
    assert "mismatch" in output_of("nan.npy", *ARRAYS, "--fail-on", "mismatch", status=1)


def test_integers_that_wrap_are_said_to() -> None:
    result = call("yi.npy", "--x", "xi.npy", "--weight", "wi.npy")
    assert result.exit_code in (0, 2)
    assert "Traceback" not in result.stderr
    assert "fault" not in result.stderr


def test_a_function_that_is_not_deterministic_is_said_so() -> None:
    text = output_of("net.py:noisy", *ARRAYS)
    assert "determin" in text or "twice" in text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("odd.npy", *ARRAYS[:6]), "(3, 4, 40, 2)"),
        (("empty.npy", *ARRAYS), "empty"),
        (("y.npy", "--x", "empty.npy", *ARRAYS[2:]), "empty"),
        (("net.py:raises", *ARRAYS), "out of paper"),
        (("net.py:nothing", *ARRAYS), "nothing"),
        (("missing.npy", *ARRAYS), "missing.npy"),
        (("broken.onnx", *ARRAYS), "broken.onnx"),
        (("y.npy", "--x", "x.npy"), "--weight"),
        (("y.npy", "--weight", "w.npy"), "--x"),
        (("y.npy", "net.py:port", *ARRAYS), "REFERENCE"),
        (("y.npy", *ARRAYS[:8], "--padding", "a"), "--padding"),
        (("y.npy", *ARRAYS, "--arithmetic", "float12"), "float12"),
        (("y.npy", *ARRAYS, "--activation", "roll"), "roll"),
    ],
)
def test_bad_arrays_get_one_message(arguments: tuple[str, ...], text: str) -> None:
    assert_refused(*arguments, text=text)


# Networks ----------------------------------------------------------------------------------------


def test_an_export_is_compared_with_its_model() -> None:
    text = output_of("right.onnx", "two_networks:small", *IMAGE, "--fail-on", "mismatch")
    assert text.startswith("rounding")
    text = output_of("wrong.onnx", "two_networks:small", *IMAGE, "--fail-on", "mismatch", status=1)
    assert "block2.bn1" in text
    assert "/block2/conv1/Conv" in text
    assert "flipped along columns" in text
    assert "block2.conv1.weight" in text
    assert "검사 대상" in output_of("wrong.onnx", "two_networks:small", *IMAGE, "--lang", "ko")


@pytest.mark.parametrize("right", ["right.onnx", "right.convtrace", "two_networks:small"])
@pytest.mark.parametrize("wrong", ["wrong.onnx", "wrong.convtrace", "wrong.pt"])
def test_every_form_is_compared_with_every_other(wrong: str, right: str) -> None:
    if wrong == "wrong.pt" and right != "two_networks:small":
        assert_refused(wrong, right, "--input", "image.npy", text="wrong.pt")
        return
    weights = IMAGE[2:] if right == "two_networks:small" else ()
    text = output_of(wrong, right, *IMAGE[:2], *weights, "--fail-on", "mismatch", status=1)
    assert "block2/conv1" in text or "block2.conv1" in text
    assert "flipped along columns" in text


def test_a_missing_step_is_named() -> None:
    text = output_of("net.py:port", "two_networks:small", "--random", "1,3,16,16")
    assert "Mine lacks the step block2.relu" in text


def test_one_step_is_compared_with_an_array() -> None:
    step = ("--step", "block2.conv1")
    text = output_of("conv.npy", "two_networks:small", *IMAGE, *step, "--fail-on", "mismatch")
    assert "rounding" in text
    text = output_of("conv.npy", "wrong.convtrace", *step)
    assert "flipped" in text


def test_one_step_of_two_networks_is_compared_alone() -> None:
    text = output_of("wrong.onnx", "right.onnx", *IMAGE[:2], "--step", "/block1/conv1/Conv")
    assert "1 step compared" in text
    assert_refused(
        "wrong.onnx", "right.onnx", *IMAGE[:2], "--step", "/conv9/Conv", text="nearest names"
    )


def test_all_shows_every_pair() -> None:
    few = output_of("wrong.onnx", "right.onnx", *IMAGE[:2])
    every = output_of("wrong.onnx", "right.onnx", *IMAGE[:2], "--all")
    assert "Showing" in few
    assert "Showing 7 of 16" in few
    assert "Showing 7" not in every
    assert "maxpool" in every
    assert "maxpool" not in few.split("\n\n")[-3]


def test_a_model_that_is_not_deterministic_is_said_so() -> None:
    text = output_of("net.py:noisy_model", "two_networks:small", "--random", "1,3,16,16")
    assert "mine is not deterministic" in text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("broken.onnx", "two_networks:small", *IMAGE), "broken.onnx"),
        (("right.onnx", "broken.onnx", *IMAGE[:2]), "broken.onnx"),
        (("right.onnx", "two_networks:small"), "input"),
        (("right.onnx", "right.onnx"), "no input for right.onnx"),
        (("right.onnx", "two_networks:small", "--random", "1,4,16,16"), "4"),
        (("net.py:wrong_model", "two_networks:small", *IMAGE), "no ink"),
        (("two_networks:small",), "nothing to compare"),
        (("right.onnx", "two_networks:small", *IMAGE, "--stride", "2"), "--stride"),
        (("right.onnx", "two_networks:small", *IMAGE, "--random", "1,3,16,16"), "--random"),
        (("y.npy", "two_networks:small", *IMAGE), "convolutions"),
        (("conv.npy", "two_networks:small", *IMAGE, "--step", "conv9"), "nearest names"),
        (("right.convtrace", "x.npy"), "x.npy"),
        (("right.onnx", "missing.onnx", *IMAGE[:2]), "missing.onnx"),
        (("right.onnx", "two_networks:small", *IMAGE, "--mine-weights", "right.pt"), "right.onnx"),
        (("wrong.pt", "two_networks:small", *IMAGE, "--mine-weights", "right.pt"), "wrong.pt"),
        (("right.onnx", "two_networks:small", *IMAGE, "--output", "report.xyz"), ".xyz"),
        (("right.onnx", "two_networks:small", *IMAGE, "--output", "no/report.json"), "no"),
    ],
)
def test_bad_networks_get_one_message(arguments: tuple[str, ...], text: str) -> None:
    assert_refused(*arguments, text=text)


# Files -------------------------------------------------------------------------------------------


def test_json_holds_the_report(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    output_of("wrong.onnx", "right.onnx", *IMAGE[:2], "--output", str(file))
    found = json.loads(file.read_text("utf-8"))
    assert (found["format"], found["verdict"]) == ("convtrace.model_report", "mismatch")
    assert found["first"] == "/block2/conv1/Conv"
    assert [cause["id"] for cause in found["causes"]] == ["kernel.flipped"]
    assert found["causes"][0]["proved"] is True
    assert {pair["verdict"] for pair in found["pairs"]} <= {"exact", "rounding", "mismatch"}
    assert found["worst"][0]["format"] == "convtrace.receipt"
    output_of("flipped.npy", *ARRAYS, "--output", str(file))
    found = json.loads(file.read_text("utf-8"))
    assert (found["format"], found["verdict"]) == ("convtrace.report", "mismatch")
    assert found["explanations"][0][0]["id"] == "kernel.flipped"
    assert found["tolerance"]["atol"] > 0


class Page(HTMLParser):
    """Collects tags and texts, and what is loaded from elsewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self.loads += [value for name, value in attrs if name in ("src", "href")]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("lang", ["en", "ko"])
def test_html_is_one_section_of_its_own(tmp_path: Path, lang: str, theme: str) -> None:
    model, port = small(), Port(small(), "no relu").eval()
    report = ct.diff(port, model, inputs=(image(),))
    report.save(tmp_path / "report.html", lang=lang, theme=theme)  # type: ignore[union-attr]  # both save
    page = Page((tmp_path / "report.html").read_text("utf-8"))
    assert not page.open
    assert not page.loads
    assert page.tags.count("section") == 1
    assert page.tags.count("tr") == len(report.pairs) + 1  # type: ignore[union-attr]  # of networks
    text = " ".join(page.texts)
    assert "block2.relu" in text
    assert "MISMATCH" in text


def test_names_are_escaped_in_html(tmp_path: Path) -> None:
    report = ct.diff(small(), small(), x=image())
    from dataclasses import replace

    pairs = tuple(replace(pair, mine="<script>x</script>") for pair in report.pairs)  # type: ignore[union-attr]  # of networks
    replace(report, pairs=pairs).save(tmp_path / "report.html")  # type: ignore[union-attr, type-var]  # of networks
    assert "<script>" not in (tmp_path / "report.html").read_text("utf-8")


def test_text_holds_every_pair(tmp_path: Path) -> None:
    file = tmp_path / "report.txt"
    output_of("wrong.onnx", "right.onnx", *IMAGE[:2], "--output", str(file))
    text = file.read_text("utf-8")
    assert "maxpool" in text
    assert "Showing 7" not in text
