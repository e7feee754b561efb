"""How wide a text can be, whichever font the reader has.

The widths are the larger of DejaVu Sans (as wide as common sans-serif faces get) and Noto Sans CJK
KR, in hundredths of the size, with the most that kerning adds. So a text that fits here fits with
Helvetica, Arial, Noto and Malgun Gothic too, and no font has to be read to lay a figure out.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache

ASCENT, DESCENT = 0.93, 0.27
"""Room above and below the baseline, as parts of the size."""

LEADING = 1.4
"""Distance between lines, as a part of the size."""

FIGURE, POINT = "\u2007", "\u2008"
"""Blanks as wide as a digit and as a decimal point."""

_CHARACTERS = (
    " !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz"
    "{|}~−×·≈≤≥±…→←↓↑Σγν∞√²—–’“”\u2007\u2008\u00a0"
)
_REGULAR = (
    "32 41 48 84 64 96 78 28 43 40 50 84 32 42 32 43 64 64 64 64 64 64 64 64 64 64 34 34 84 84 84 "
    "54 100 72 69 70 77 64 58 78 76 30 54 66 59 87 75 82 64 82 70 66 62 74 69 99 69 62 69 43 48 40 "
    "84 56 61 62 64 55 64 62 40 64 64 28 28 58 30 98 64 64 64 64 42 53 40 64 60 82 60 60 53 64 34 "
    "64 84 84 100 57 100 100 100 100 100 100 100 100 100 64 60 56 100 100 42 100 54 32 52 52 64 32 "
    "32"
)
_BOLD = (
    "35 46 58 84 70 101 88 33 47 46 53 84 38 42 38 41 70 70 70 70 70 70 70 70 70 70 40 40 84 84 84 "
    "59 101 80 77 76 85 69 69 83 84 38 57 78 64 100 84 87 76 87 79 73 71 82 78 111 78 73 73 47 47 "
    "46 84 57 63 68 72 60 72 68 45 72 72 35 35 67 35 105 72 69 72 72 50 60 48 72 66 93 65 66 59 72 "
    "37 72 84 84 100 60 100 100 100 100 100 100 100 100 100 69 69 69 100 100 44 100 55 38 66 66 70 "
    "38 35"
)
_WIDTHS = {
    bold: dict(zip(_CHARACTERS, map(int, table.split()), strict=True))
    for bold, table in ((False, _REGULAR), (True, _BOLD))
}
_OTHER, _EMOJI = 105, 145
"""Of letters that are not in the table: Hangul is one em wide, a picture letter wider."""


@lru_cache(maxsize=8192)
def width_of(text: str, size: float, *, bold: bool = False) -> float:
    """Return what a text takes at most, in points.

    Args:
        text: One line.
        size: Size of the letters, in points.
        bold: Whether they are bold.

    Example:
        >>> width_of("24", 10.0), width_of("계산", 10.0)
        (12.8, 21.0)
    """
    table = _WIDTHS[bold]
    total = sum(table.get(letter) or _width(letter) for letter in text)
    return total * size / 100


def _width(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return _EMOJI if ord(letter) >= 0x1F000 else _OTHER


def wrap(text: str, size: float, width: float, *, bold: bool = False) -> list[str]:
    r"""Break a sentence into lines that fit, at blanks; a word that is longer stands alone.

    Example:
        >>> wrap("a word, and another", 10.0, 60.0)
        ['a word, and', 'another']
    """
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if line and width_of(longer, size, bold=bold) > width:
            lines.append(line)
            line = word
        else:
            line = longer
    return [*lines, line]


def aligned(texts: Sequence[str]) -> list[str]:
    """Pad numbers on the right, so that their decimal points align where they end on one line.

    Example:
        >>> [len(text) for text in aligned(["9", "10.25", "−0.5"])]
        [4, 5, 5]
    """
    tails = [_tail(text) for text in texts]
    longest = max((len(tail) for tail in tails), default=0)
    padded: list[str] = []
    for text, tail in zip(texts, tails, strict=True):
        point = POINT if longest and not tail else ""
        padded.append(text + point + FIGURE * (longest - len(tail) - len(point)))
    return padded


@lru_cache(maxsize=8192)
def _tail(text: str) -> str:
    """Return what stands from the decimal point on."""
    if text.endswith(")"):  # a complex number
        return ""
    at = min((text.index(mark) for mark in ".e" if mark in text), default=len(text))
    return text[at:]
