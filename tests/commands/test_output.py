"""What is written survives an output whose encoding lacks our signs."""

import io
import os
import sys
from pathlib import Path

import pytest

import convtrace
from convtrace import catalog
from convtrace.commands.output import make_console, prepare_streams
from convtrace.render.numbers import MINUS


class Stream(io.TextIOWrapper):
    """Standard output in one encoding."""

    def __init__(self, encoding: str) -> None:
        super().__init__(io.BytesIO(), encoding=encoding)

    def text(self) -> str:
        self.flush()
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue().decode(self.encoding)


def write(monkeypatch: pytest.MonkeyPatch, encoding: str, text: str) -> str:
    stream = Stream(encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    prepare_streams()
    make_console("never").print(text, soft_wrap=True)
    return stream.text().rstrip(os.linesep)


def test_a_minus_stays_a_minus_in_every_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    for encoding in ("ascii", "latin-1", "cp1252", "cp437"):
        assert write(monkeypatch, encoding, f"{MINUS}0.5 × 2") in ("-0.5 x 2", "-0.5 × 2")


def test_encodings_that_have_our_signs_keep_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for encoding in ("utf-8", "euc-kr"):
        assert write(monkeypatch, encoding, "3 × 3 ≤ 한국어") == "3 × 3 ≤ 한국어"


def test_every_sign_of_the_english_output_has_a_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    home = Path(convtrace.__file__).parent
    texts = [*catalog.messages("en").values()]
    texts += [file.read_text("utf-8") for file in sorted(home.glob("render/*.py"))]
    texts += [file.read_text("utf-8") for file in [home / "cli.py", *home.glob("commands/*.py")]]
    signs = sorted({c for text in texts for c in text if not c.isascii() and not "가" <= c <= "힣"})
    assert len(signs) > 5
    lost = [sign for sign in signs if "?" in write(monkeypatch, "ascii", sign)]
    assert lost == []


def test_the_console_never_takes_brackets_for_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    assert write(monkeypatch, "utf-8", "conv1[0,1,0,0] [red]") == "conv1[0,1,0,0] [red]"
