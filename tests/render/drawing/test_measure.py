"""Widths of texts: never less than what a font takes."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ImageFont

from convtrace.catalog import LANGUAGES, messages
from convtrace.render.drawing.measure import aligned, width_of, wrap

FILES = {
    ("DejaVu Sans", False): ("DejaVuSans.ttf", 0),
    ("DejaVu Sans", True): ("DejaVuSans-Bold.ttf", 0),
    ("Noto Sans CJK KR", False): ("NotoSansCJK-Regular.ttc", 1),
    ("Noto Sans CJK KR", True): ("NotoSansCJK-Bold.ttc", 1),
}
PLACES = ["/usr/share/fonts", "/usr/local/share/fonts"]


@cache
def font(family: str, bold: bool) -> ImageFont.FreeTypeFont:
    name, index = FILES[family, bold]
    for place in PLACES:
        for path in Path(place).rglob(name):
            return ImageFont.truetype(str(path), 1000, index=index)
    pytest.skip(f"{name} is not installed; on Debian: apt install fonts-noto-cjk fonts-dejavu")


def assert_fits(text: str, family: str, bold: bool) -> None:
    """Assert that a font draws a text no wider than it was measured."""
    drawn = font(family, bold).getlength(text) / 100
    assert drawn <= width_of(text, 10.0, bold=bold) + 0.01, text


@pytest.mark.parametrize(("family", "bold"), FILES)
@pytest.mark.parametrize("lang", LANGUAGES)
def test_no_message_is_wider_than_it_is_measured(lang: str, family: str, bold: bool) -> None:
    for text in messages(lang).values():
        assert_fits(text, family, bold)


@pytest.mark.parametrize(("family", "bold"), FILES)
@given(number=st.one_of(st.floats(), st.integers()))
def test_no_number_is_wider_than_it_is_measured(family: str, bold: bool, number: float) -> None:
    assert_fits(repr(number).replace("-", "−"), family, bold)


@pytest.mark.parametrize("family", ["DejaVu Sans", "Noto Sans CJK KR"])
@given(text=st.text(st.characters(min_codepoint=33, max_codepoint=126)))
def test_no_name_is_wider_than_it_is_measured(family: str, text: str) -> None:
    assert_fits(text, family, bold=False)


def test_the_check_can_fail_as_a_wider_text_does_not_fit() -> None:
    drawn = font("DejaVu Sans", False).getlength("WW") / 100
    assert drawn > width_of("W", 10.0)


@given(words=st.lists(st.text("ab한", min_size=1, max_size=9)), width=st.floats(5, 400))
def test_wrapping_keeps_every_word_and_no_line_of_several_is_too_wide(
    words: list[str], width: float
) -> None:
    lines = wrap(" ".join(words), 10.0, width)
    assert " ".join(lines) == " ".join(words)
    assert all(width_of(line, 10.0) <= width for line in lines if " " in line)


def test_padded_numbers_end_in_equal_tails() -> None:
    texts = ["9", "10.25", "−0.5", "1.5e−12", "NaN"]
    whole = aligned(texts)
    assert [text.rstrip("\u2007\u2008") for text in whole] == texts
    tails = [width_of(text[len(text.split(".")[0].rstrip("\u2007\u2008")) :], 10) for text in whole]
    assert max(tails) - min(tails[:3]) < 4
