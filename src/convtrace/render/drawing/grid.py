"""Grids of cells: numbers of a tensor in rows and columns, with the cells that matter marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from convtrace.render.drawing.measure import aligned, width_of
from convtrace.render.drawing.pen import BODY, SMALL, Pen
from convtrace.render.drawing.scene import Block, Box, Label, Shape, padded
from convtrace.render.look import PADDING

PLAIN = 10.0
"""Side of a cell without a number, in points."""

LEFT_OUT = "…"
"""Stands in a row or column that itself stands for several, which are left out."""

_AROUND = 4.0
_TALL = 1.75


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell.

    Attributes:
        text: Its number; empty where none is written.
        fill: Colour behind it, or None.
        ink: Colour of the number, or None for that of texts.
        hatched: Whether it is padding.
        bold: Whether the number is bold.
        role: What it is, e.g. `input`.
    """

    text: str = ""
    fill: str | None = None
    ink: str | None = None
    hatched: bool = False
    bold: bool = False
    role: str = ""


@dataclass(frozen=True, slots=True)
class Frame:
    """An outline around a rectangle of cells.

    Attributes:
        top, left, bottom, right: First and last row and column, counted from 0, inclusive.
        ink: Its colour.
        weight: Its thickness.
        dashed: Whether it is dashed.
    """

    top: int
    left: int
    bottom: int
    right: int
    ink: str
    weight: float = 1.6
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Measures:
    """The size of a cell.

    Attributes:
        width, height: Of a cell, in points.
        numbers: Width of the widest number.
    """

    width: float
    height: float
    numbers: float

    @classmethod
    def of(cls, texts: Sequence[str], *, size: float = BODY, square: bool = False) -> Measures:
        """Measure the cells of numbers that share a form.

        Args:
            texts: Every number.
            size: Size of the letters.
            square: Whether cells are at least as wide as high.
        """
        wide = max((width_of(text, size) for text in aligned([*texts, PADDING])), default=0.0)
        height = _TALL * size
        width = wide + 2 * _AROUND
        return cls(max(width, height) if square else width, height, wide)

    @classmethod
    def plain(cls, side: float = PLAIN) -> Measures:
        """Measure cells without numbers."""
        return cls(side, side, 0.0)


def grid(
    pen: Pen,
    cells: Sequence[Sequence[Cell]],
    measures: Measures,
    frames: Sequence[Frame] = (),
    *,
    size: float = BODY,
    texts: Sequence[str] = (),
) -> Block:
    """Draw a grid; its numbers align on the decimal point in every column.

    Args:
        pen: What to draw with.
        cells: Rows of cells.
        measures: Size of a cell.
        frames: Outlines on top.
        size: Size of the numbers.
        texts: Numbers of other grids that these are aligned with.
    """
    wide, high = measures.width, measures.height
    theme = pen.theme
    written = [cell.text for row in cells for cell in row]
    padded_texts = aligned([*written, *texts])[: len(written)]
    # The block of numbers is centred in its cell, and every number ends where the widest does.
    end = wide / 2 + measures.numbers / 2
    base = high / 2 + 0.36 * size
    boxes: list[Shape] = []
    labels: list[Shape] = []
    at = 0
    for number, row in enumerate(cells):
        top = number * high
        for place, cell in enumerate(row):
            left = place * wide
            boxes.append(Box(left, top, wide, high, cell.fill, theme.rule))
            if cell.hatched:
                boxes.append(pen.hatched(wide, high).moved(left, top))
            if cell.text in (PADDING, LEFT_OUT):
                ink, middle = cell.ink or theme.quiet, left + wide / 2
                labels.append(
                    Label(middle, top + base, cell.text, size, ink, False, "middle", cell.role)
                )
            elif cell.text:
                labels.append(
                    Label(
                        left + end,
                        top + base,
                        padded_texts[at],
                        size,
                        cell.ink or theme.ink,
                        cell.bold,
                        "end",
                        cell.role,
                    )
                )
            at += 1
    outlines = [
        Box(
            frame.left * wide,
            frame.top * high,
            (frame.right - frame.left + 1) * wide,
            (frame.bottom - frame.top + 1) * high,
            None,
            frame.ink,
            frame.weight,
            frame.dashed,
        )
        for frame in frames
    ]
    columns = max((len(row) for row in cells), default=0)
    block = Block(columns * wide, len(cells) * high, (*boxes, *outlines, *labels))
    return padded(block, 1, 1, 1, 1)


def numbered(
    pen: Pen, block: Block, measures: Measures, rows: Mapping[int, str], columns: Mapping[int, str]
) -> Block:
    """Write the numbers of rows on the left of a grid, and those of columns above it.

    Args:
        pen: What to draw with.
        block: What `grid` returned.
        measures: Size of its cells.
        rows: By row of the grid, what to write.
        columns: By column of the grid.
    """
    size, ink = SMALL - 1, pen.theme.quiet
    left = max((width_of(text, size) for text in rows.values()), default=-4.0) + 4
    top = 1.3 * size if columns else 0.0
    wide, high = measures.width, measures.height
    shapes: list[Shape] = list(block.at(left, top))
    for row, text in rows.items():
        y = top + 1 + (row + 0.5) * high + 0.36 * size
        shapes.append(Label(left - 3, y, text, size, ink, False, "end", "index"))
    for column, text in columns.items():
        x = left + 1 + (column + 0.5) * wide
        shapes.append(Label(x, top - 0.27 * size, text, size, ink, False, "middle", "index"))
    return Block(left + block.width, top + block.height, tuple(shapes), top + block.height / 2)
