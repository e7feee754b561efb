"""Worksheets for paper: exercises with blanks, and the same with the answers filled in.

What it says is in `content`. A PDF is drawn here, as pages of A4; HTML is written by `markup`.
Every answer is looked up in a trace or in one of its receipts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from convtrace.graph import Trace
from convtrace.receipt import Receipt
from convtrace.render.drawing.measure import width_of
from convtrace.render.drawing.pen import BODY, HEAD, SMALL, Pen
from convtrace.render.drawing.scene import MM, Block, Label, Scene, Shape, Stroke, below
from convtrace.render.drawing.theme import LIGHT
from convtrace.render.look import Look
from convtrace.step import Step

PAGE = (210 * MM, 297 * MM)
"""Width and height of A4, in points."""

MARGIN = 18 * MM
WIDTH = PAGE[0] - 2 * MARGIN
"""Room for an exercise."""

_TITLE, _NAME, _FOOTER, _GAP = 26.0, 20.0, 24.0, 15.0

Kind = Literal[
    "output", "channel_sum", "missing_weight", "shape", "parameters", "transposed", "dilated"
]


@dataclass(frozen=True)
class Exercise:
    """One exercise: a convolution, and what of it is asked.

    Attributes:
        kind: What is asked.
        trace: One step, the convolution.
        at: Output position that is asked; where all are, the one that the key works out.
        hidden: Position of the weight that is asked, or None.
    """

    kind: Kind
    trace: Trace
    at: tuple[int, ...]
    hidden: tuple[int, ...] | None = None

    @property
    def step(self) -> Step:
        """The convolution."""
        (step,) = self.trace.steps.values()
        return step

    def receipt(self, at: tuple[int, ...] | None = None) -> Receipt:
        """Return the receipt of an output number; None takes the one that is asked."""
        return self.trace.why(self.step.name, self.at if at is None else at)


@dataclass(frozen=True)
class Worksheet:
    """One sheet for one person.

    Attributes:
        exercises: In the order they are asked.
        level: 1 to 3.
        seed: What they were drawn with.
        number: Number of the sheet, counted from 1.
        count: Number of sheets of the class.
    """

    exercises: tuple[Exercise, ...]
    level: int
    seed: int
    number: int
    count: int


def pages(sheets: Sequence[Worksheet], lang: str) -> Iterator[Scene]:
    """Draw all pages: every sheet first, then every answer key.

    Args:
        sheets: The worksheets.
        lang: `en` or `ko`.
    """
    for solved in (False, True):
        for sheet in sheets:
            yield from _sheet(sheet, lang, solved=solved)


def _sheet(sheet: Worksheet, lang: str, *, solved: bool) -> Iterator[Scene]:
    from convtrace.render.worksheet.exercises import draw

    pen = Pen(LIGHT, Look(lang, digits=None))
    header = _TITLE if solved else _TITLE + _NAME
    room = PAGE[1] - 2 * MARGIN - header - _FOOTER
    columns: list[list[Block]] = [[]]
    used = 0.0
    for number, exercise in enumerate(sheet.exercises, 1):
        block = draw(exercise, number, pen, WIDTH, solved=solved)
        if columns[-1] and used + _GAP + block.height > room:
            columns.append([])
            used = 0.0
        used += block.height + (_GAP if columns[-1] else 0.0)
        columns[-1].append(block)
    for number, blocks in enumerate(columns, 1):
        whole = below(blocks, _GAP)
        shapes = [
            *_header(sheet, pen, solved=solved),
            *whole.at(MARGIN, MARGIN + header),
            *_footer(sheet, pen, number, len(columns), solved=solved),
        ]
        head = title(sheet, pen.look, solved=solved)
        described = " ".join(s.text for s in whole.shapes if isinstance(s, Label))
        yield Scene(*PAGE, tuple(shapes), LIGHT.ground, head, described, lang)


def title(sheet: Worksheet, look: Look, *, solved: bool) -> str:
    """Return the heading of a sheet or of its key."""
    which = look.say("worksheet.sheet", level=sheet.level, number=sheet.number, count=sheet.count)
    return f"{look.say('worksheet.key' if solved else 'worksheet.title')} · {which}"


def _header(sheet: Worksheet, pen: Pen, *, solved: bool) -> Iterator[Shape]:
    head = pen.text(title(sheet, pen.look, solved=solved), HEAD, bold=True)
    yield from head.at(MARGIN, MARGIN)
    y = MARGIN + head.height + 10
    if not solved:
        name, date = pen.say("worksheet.name"), pen.say("worksheet.date")
        yield from _blank(pen, name, MARGIN, y, WIDTH * 0.6)
        yield from _blank(pen, date, MARGIN + WIDTH * 0.65, y, WIDTH * 0.35)


def _blank(pen: Pen, label: str, x: float, y: float, width: float) -> Iterator[Shape]:
    """Write a label and a line to write on."""
    yield Label(x, y, label, BODY, pen.theme.ink)
    start = x + width_of(label, BODY) + 6
    yield Stroke((((start, y + 2), (x + width, y + 2)),), pen.theme.quiet)


def _footer(sheet: Worksheet, pen: Pen, page: int, pages: int, *, solved: bool) -> Iterator[Shape]:
    y = PAGE[1] - MARGIN
    text = pen.say("worksheet.foot", seed=sheet.seed, level=sheet.level, number=sheet.number)
    ink = pen.theme.quiet
    yield Label(MARGIN, y, text, SMALL, ink)
    side = pen.say("worksheet.key") + " " if solved else ""
    yield Label(PAGE[0] - MARGIN, y, f"{side}{page}/{pages}", SMALL, ink, anchor="end")
