"""Draws one exercise on paper, with its blanks or with its answers."""

from __future__ import annotations

from convtrace.render.drawing.grid import Cell, Frame, Measures, grid, numbered
from convtrace.render.drawing.pen import SMALL, Pen
from convtrace.render.drawing.scene import Block, Label, Stroke, below, beside, padded
from convtrace.render.worksheet.content import Blank, Table, content
from convtrace.render.worksheet.sheet import Exercise

_LINE = 10.5
"""Size of the letters of questions, in points."""

_SPACE = 16.0
"""Between grids that stand side by side."""


def draw(exercise: Exercise, number: int, pen: Pen, width: float, *, solved: bool) -> Block:
    """Draw an exercise.

    Args:
        exercise: What is asked.
        number: Its number on the sheet.
        pen: What to draw with.
        width: Room for it, in points.
        solved: Whether the answers are filled in.
    """
    said = content(exercise, pen.look, solved=solved)
    text = pen.paragraph([f"{number}. {said.question}"], width, _LINE, ink=pen.theme.ink)
    parts: list[Block] = []
    if said.operands:
        rows = [
            beside([_grid(pen, source), _sign(pen, "*"), _grid(pen, kernel)], _SPACE)
            for source, kernel in said.operands
        ]
        parts.append(below(rows, 8))
    if said.output:
        parts += [_sign(pen, "="), _grid(pen, said.output)]
    if said.blanks:
        parts.append(_lines(pen, said.blanks, across=not said.operands))
    picture = beside(parts, 2 * _SPACE if said.blanks else _SPACE)
    if said.reasons:
        picture = below([picture, pen.paragraph(said.reasons, width - 14, SMALL)], 4)
    return below([text, padded(picture, 14, 0, 0, 0)], 6)


def _grid(pen: Pen, table: Table) -> Block:
    """Draw a grid under its heading, with the numbers of its rows and columns."""
    colour: str = getattr(pen.theme, "sum" if table.role == "output" else table.role)
    ink = colour if table.solved else None
    rows, columns = len(table.cells), len(table.cells[0])
    role = "answer" if table.solved else table.role
    cells = [
        [Cell(text, ink=ink, bold=table.solved, role=role) for text in row] for row in table.cells
    ]
    every = [text for row in table.cells for text in row]
    measures = Measures.of(["−00", *every], size=_LINE, square=True)
    outline = Frame(0, 0, rows - 1, columns - 1, colour)
    block = numbered(
        pen,
        grid(pen, cells, measures, [outline], size=_LINE),
        measures,
        {row: str(row) for row in range(rows)},
        {column: str(column) for column in range(columns)},
    )
    title = pen.text(table.title, SMALL, ink=colour if colour != pen.theme.kernel else "#8A5F00")
    whole = below([title, block])
    return Block(whole.width, whole.height, whole.shapes, title.height + block.middle)


def _sign(pen: Pen, sign: str) -> Block:
    return pen.text(sign, 14)


def _lines(pen: Pen, blanks: tuple[Blank, ...], *, across: bool) -> Block:
    """Draw lines to write on, one for each blank, or the answers on them."""
    blocks: list[Block] = []
    for blank in blanks:
        text = pen.text(blank.label, _LINE)
        shapes = list(text.shapes)
        start, end = text.width + 5, text.width + 60
        shapes.append(Stroke((((start, text.height), (end, text.height)),), pen.theme.quiet))
        if blank.answer is not None:
            middle, y = (start + end) / 2, 1.02 * _LINE
            ink = pen.theme.sum
            shapes.append(Label(middle, y, blank.answer, _LINE, ink, True, "middle", "answer"))
        blocks.append(Block(end, text.height + 1, tuple(shapes)))
    return beside(blocks, _SPACE) if across else below(blocks, 8, "right")
