"""The pen: a theme, a language, and texts of a few sizes as blocks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from convtrace.render.drawing.measure import LEADING, aligned, width_of, wrap
from convtrace.render.drawing.scene import Block, Box, Label, Stroke, below
from convtrace.render.drawing.theme import Theme
from convtrace.render.look import Look, name

HEAD, RESULT, BODY, SMALL = 13.0, 15.0, 9.0, 7.5
"""Sizes of letters in points: headline, result, numbers, remarks."""

TEXT_WIDTH = 400.0
"""Width in points at which sentences are broken, where the figure is not wider."""


@dataclass(frozen=True, slots=True)
class Pen:
    """What a figure is drawn with.

    Attributes:
        theme: Colours.
        look: Language and digits.
        room: Points that a figure may be wide, so that its letters can be read on paper.
    """

    theme: Theme
    look: Look
    room: float = math.inf

    def say(self, key: str, **values: Any) -> str:
        """Return a message of the catalogue."""
        return self.look.say(key, **values)

    def text(
        self,
        text: str,
        size: float = BODY,
        *,
        ink: str | None = None,
        bold: bool = False,
        role: str = "",
    ) -> Block:
        """Write one line."""
        text = name(text)
        height = LEADING * size
        label = Label(0, 1.02 * size, text, size, ink or self.theme.ink, bold, "start", role)
        shapes = (label,) if text else ()
        return Block(width_of(text, size, bold=bold), height, shapes, height / 2)

    def sign(self, sign: str) -> Block:
        """Write `×` or `*` between pictures, the latter as large as the former, and as high."""
        if sign != "*":
            return self.text(sign, HEAD)
        size = 1.5 * HEAD
        label = Label(0, 1.05 * size, sign, size, self.theme.ink)
        return Block(width_of(sign, size), LEADING * HEAD, (label,), LEADING * HEAD / 2)

    def quiet(self, text: str, size: float = SMALL, *, role: str = "") -> Block:
        """Write one line that explains."""
        return self.text(text, size, ink=self.theme.quiet, role=role)

    def paragraph(
        self,
        texts: Sequence[str],
        width: float,
        size: float = SMALL,
        *,
        ink: str | None = None,
        bold: bool = False,
    ) -> Block:
        """Write sentences, each beginning a line, broken at a width."""
        width = min(width, self.room)
        lines = [
            self.text(line, size, ink=ink or self.theme.quiet, bold=bold)
            for text in texts
            for line in wrap(name(text), size, width, bold=bold)
        ]
        return below(lines)

    def numbers(
        self, texts: Sequence[str], *, size: float = BODY, bold: bool = False, role: str = ""
    ) -> list[Block]:
        """Write numbers as blocks of one width, which align on the decimal point."""
        whole = aligned(texts)
        width = max((width_of(text, size, bold=bold) for text in whole), default=0)
        height = LEADING * size
        return [
            Block(
                width,
                height,
                (Label(width, 1.02 * size, text, size, self.theme.ink, bold, "end", role),),
                height / 2,
            )
            for text in whole
        ]

    def box(self, width: float, height: float, **look: Any) -> Block:
        """Draw a rectangle."""
        return Block(width, height, (Box(0, 0, width, height, **look),))

    def hatched(self, width: float, height: float, *, every: float = 3.2) -> Stroke:
        """Draw the diagonal lines of padding, inside a rectangle."""
        return hatching(width, height, self.theme.rule, every)

    def arrow(self, length: float, *, down: bool = False, ink: str | None = None) -> Block:
        """Draw an arrow to the right, or down."""
        ink = ink or self.theme.quiet
        head = 4.0
        along = (((0.0, 3.0), (length - head, 3.0)),)
        tip = (((length - head, 0.6), (length, 3.0), (length - head, 5.4)),)
        if down:
            along = tuple(tuple((y, x) for x, y in line) for line in along)
            tip = tuple(tuple((y, x) for x, y in line) for line in tip)
        shapes = (Stroke(along, ink, 0.8), Stroke(tip, ink, filled=True))
        return Block(6.0, length, shapes) if down else Block(length, 6.0, shapes)


def hatching(width: float, height: float, ink: str, every: float = 3.2) -> Stroke:
    """Return diagonal lines that fill a rectangle.

    Example:
        >>> hatching(3.0, 3.0, "#000000", 3.0).lines
        (((0.0, 3.0), (3.0, 0.0)),)
    """
    lines: list[tuple[tuple[float, float], ...]] = []
    at = every
    while at < width + height:
        start = (max(at - height, 0.0), min(at, height))
        end = (min(at, width), max(at - width, 0.0))
        if start != end:
            lines.append((start, end))
        at += every
    return Stroke(tuple(lines), ink, 0.4)
