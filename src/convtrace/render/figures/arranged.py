"""Panels with signs between them, arranged so that they fit the paper."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from convtrace.render.drawing.pen import Pen
from convtrace.render.drawing.scene import Block, below, beside
from convtrace.render.figures.planes import MOST

ARROW = "→"
"""Stands for an arrow, which points to the next panel."""

_SIZES = (MOST, 8, 5, 3)
"""Positions along an axis up to which all are drawn; fewer on narrow paper."""

_GAP = 10.0


@dataclass(frozen=True, slots=True)
class Panels:
    """Panels in the order in which they are read.

    Attributes:
        blocks: The panels.
        signs: What stands between each and the next: a sign, or `ARROW`.
        words: What the marks in them mean.
    """

    blocks: Sequence[Block]
    signs: Sequence[str]
    words: Sequence[str]


def arranged(pen: Pen, draw: Callable[[int], Panels]) -> tuple[Block, Sequence[str]]:
    """Put panels in a row, or below each other, whichever fits; else draw less of each.

    Args:
        pen: What to draw with; it knows how much room there is.
        draw: Draws the panels; it is given how many positions of an axis may be drawn.

    Returns:
        The picture, and the words that belong to it. Where nothing fits, it is the smallest.
    """
    picture, words = Block(0, 0), ()
    for most in _SIZES:
        panels = draw(most)
        for each in (4, 2, 1):
            picture, words = _rows(pen, panels, each), panels.words
            if picture.width <= pen.room:
                return picture, words
    return picture, words


def _rows(pen: Pen, panels: Panels, each: int) -> Block:
    """Put `each` panels on a row; the sign before a row stands at its beginning, or above it."""
    rows: list[Block] = []
    for start in range(0, len(panels.blocks), each):
        parts: list[Block] = []
        for number in range(start, min(start + each, len(panels.blocks))):
            if number and (number > start or each > 1):
                parts.append(_sign(pen, panels.signs[number - 1], down=False))
            parts.append(panels.blocks[number])
        if start and each == 1:
            rows.append(_sign(pen, panels.signs[start - 1], down=True))
        rows.append(beside(parts, _GAP))
    return below(rows, _GAP if each > 1 else 4)


def _sign(pen: Pen, sign: str, *, down: bool) -> Block:
    return pen.arrow(18, down=down) if sign == ARROW else pen.sign(sign)
