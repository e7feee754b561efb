"""Planes of a tensor: its numbers in rows and columns, a slice for each depth, perhaps cropped.

Spatial axes are brought to three, (depth, row, column): a 1-d tensor is one row of one slice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from convtrace.render.drawing.grid import Cell, Frame, Measures, grid, numbered
from convtrace.render.drawing.pen import SMALL, Pen
from convtrace.render.drawing.scene import Block, below, beside
from convtrace.render.look import PADDING
from convtrace.render.numbers import ABOUT, MINUS, Scale
from convtrace.step import Number, Value

Place = tuple[int, int, int]
"""Depth, row and column, counted from 0 in the tensor; outside of it lies padding."""

MOST = 14
"""Positions along an axis that are drawn with their numbers; of a longer axis, a part is."""

AROUND = 2
"""Positions that are drawn on either side of what matters, where an axis is cut."""

MOST_SLICES = 4


def place_of(spatial: Sequence[int]) -> Place:
    """Bring a position to three axes.

    Example:
        >>> place_of((4,)), place_of((1, 2))
        ((0, 0, 4), (0, 1, 2))
    """
    depth, row, column = (*(0,) * (3 - len(spatial)), *spatial)
    return depth, row, column


def sizes_of(spatial: Sequence[int]) -> Place:
    """Bring sizes to three axes."""
    depth, rows, columns = (*(1,) * (3 - len(spatial)), *spatial)
    return depth, rows, columns


@dataclass(frozen=True, slots=True)
class View:
    """Which part of a tensor is drawn.

    Attributes:
        sizes: Sizes of the tensor.
        ranges: Positions that are drawn on each axis; those outside are padding.
    """

    sizes: Place
    ranges: tuple[range, range, range]

    @property
    def cropped(self) -> bool:
        """Whether positions of the tensor are left out."""
        return any(
            shown.start > 0 or shown.stop < size
            for shown, size in zip(self.ranges, self.sizes, strict=True)
        )

    @property
    def places(self) -> Iterable[Place]:
        """Every position that is drawn."""
        depths, rows, columns = self.ranges
        return ((d, r, c) for d in depths for r in rows for c in columns)

    def inside(self, place: Place) -> bool:
        """Whether a position lies in the tensor."""
        return all(0 <= at < size for at, size in zip(place, self.sizes, strict=True))


def view(
    sizes: Place,
    matter: Iterable[Place],
    padding: Sequence[tuple[int, int]] = ((0, 0),) * 3,
    most: int = MOST,
) -> View:
    """Choose what to draw: everything that is small, else what lies around what matters.

    Args:
        sizes: Sizes of the tensor.
        matter: Positions that must be drawn; they may lie on padding. Without any, all is drawn.
        padding: Positions of padding before and after each axis.
        most: Positions along an axis up to which all are drawn.
    """
    places = list(matter)
    ranges: list[range] = []
    for axis, (size, (low, high)) in enumerate(zip(sizes, padding, strict=True)):
        start, stop = -max(low, 0), size + max(high, 0)
        seen = [place[axis] for place in places]
        first, last = min(seen, default=0), max(seen, default=0)
        start, stop = min(start, first), max(stop, last + 1)
        if seen and stop - start > (most if axis else min(most, MOST_SLICES)):
            around = min(AROUND, most // 3) if axis else 0
            start, stop = max(start, first - around), min(stop, last + 1 + around)
        ranges.append(range(start, stop))
    return View(sizes, (ranges[0], ranges[1], ranges[2]))


@dataclass(frozen=True, slots=True)
class Marks:
    """What is marked in a plane.

    Attributes:
        fills: Colours behind cells.
        frames: Outlines around boxes, each (first place, last place, colour, dashed).
        role: What the numbers are.
        instead: Texts in the place of numbers.
    """

    fills: Mapping[Place, str] = field(default_factory=dict)
    frames: Sequence[tuple[Place, Place, str, bool]] = ()
    role: str = ""
    instead: Mapping[Place, str] | None = None


def read(value: Value, lead: Sequence[int], shown: View) -> dict[Place, Number]:
    """Read the numbers of a view.

    Args:
        value: The tensor.
        lead: Positions on the axes before the spatial ones.
        shown: The view.
    """
    spatial = len(value.shape) - len(lead)
    inner = [
        slice(max(r.start, 0), min(r.stop, size))
        for r, size in zip(shown.ranges, shown.sizes, strict=True)
    ]
    box = np.asarray(value.box((*lead, *inner[3 - spatial :])))
    numbers = box.reshape((*(1,) * (3 - spatial), *box.shape))
    corner = [part.start for part in inner]
    return {
        (d + corner[0], r + corner[1], c + corner[2]): numbers[d, r, c].item()
        for d, r, c in np.ndindex(numbers.shape)
    }


@dataclass(frozen=True, slots=True)
class Written:
    """Numbers of one or several planes, written on one scale.

    Attributes:
        texts: By plane and place.
        measures: Size of a cell.
        rounded: Whether any of them lost digits.
    """

    texts: tuple[Mapping[Place, str], ...]
    measures: Measures
    rounded: bool

    @property
    def all(self) -> list[str]:
        """Every text."""
        return [text for plane in self.texts for text in plane.values()]


def write(pen: Pen, planes: Sequence[Mapping[Place, Number]], digits: int = 4) -> Written:
    """Write the numbers of planes that belong together.

    Args:
        pen: What to draw with.
        planes: Numbers by place.
        digits: Significant digits.
    """
    values = [number for plane in planes for number in plane.values()]
    scale = Scale.of(values, digits, narrow=pen.look.narrow)
    shown = [{place: scale.show(number) for place, number in plane.items()} for plane in planes]
    texts = tuple({place: one.text for place, one in plane.items()} for plane in shown)
    every = [text for plane in texts for text in plane.values()]
    rounded = any(one.rounded for plane in shown for one in plane.values())
    return Written(texts, Measures.of(every, square=True), rounded)


def plane(
    pen: Pen,
    shown: View,
    texts: Mapping[Place, str],
    measures: Measures,
    marks: Marks,
    *,
    aligned_with: Sequence[str] = (),
    indexed: bool = True,
    down: bool = False,
) -> Block:
    """Draw a view of a tensor; the slices of a 3-d one stand beside each other.

    Args:
        pen: What to draw with.
        shown: The view.
        texts: Numbers by place.
        measures: Size of a cell.
        marks: What is marked.
        aligned_with: Numbers of other planes that these align with.
        indexed: Whether rows and columns are numbered.
        down: Whether slices stand below each other instead.
    """
    slices = [
        _slice(pen, shown, depth, texts, measures, marks, aligned_with, indexed)
        for depth in shown.ranges[0]
    ]
    if shown.sizes[0] == 1 and len(slices) == 1:
        return slices[0]
    named = [
        below([pen.quiet(pen.say("axis.depth", n=str(depth).replace("-", MINUS))), block], 1)
        for depth, block in zip(shown.ranges[0], slices, strict=True)
    ]
    return below(named, 5) if down else beside(named, 8, "top")


def _slice(
    pen: Pen,
    shown: View,
    depth: int,
    texts: Mapping[Place, str],
    measures: Measures,
    marks: Marks,
    aligned_with: Sequence[str],
    indexed: bool,
) -> Block:
    _, rows, columns = shown.ranges
    instead = marks.instead or {}
    cells: list[list[Cell]] = []
    for row in rows:
        line: list[Cell] = []
        for column in columns:
            place = (depth, row, column)
            text = instead.get(place, texts.get(place, ""))
            outside = not shown.inside(place)
            line.append(
                Cell(
                    PADDING if outside and not text else text,
                    marks.fills.get(place),
                    hatched=outside,
                    role=marks.role,
                )
            )
        cells.append(line)
    frames = [
        Frame(
            first[1] - rows.start,
            first[2] - columns.start,
            last[1] - rows.start,
            last[2] - columns.start,
            ink,
            1.2 if dashed else 1.8,
            dashed,
        )
        for first, last, ink, dashed in marks.frames
        if first[0] <= depth <= last[0] and _fits(first, last, rows, columns)
    ]
    block = grid(pen, cells, measures, frames, texts=aligned_with)
    if not indexed:
        return block
    minus = {number: str(number).replace("-", MINUS) for number in (*rows, *columns)}
    down = {number: minus[row] for number, row in enumerate(rows)} if shown.sizes[1] > 1 else {}
    across = {number: minus[column] for number, column in enumerate(columns)}
    return numbered(pen, block, measures, down, across)


def _fits(first: Place, last: Place, rows: range, columns: range) -> bool:
    return (
        rows.start <= first[1]
        and last[1] < rows.stop
        and columns.start <= first[2]
        and last[2] < columns.stop
    )


def titled(
    pen: Pen, title: str, block: Block, *, bold: bool = True, rounded: bool = False
) -> Block:
    """Write a title above a block, with `≈` where its numbers are rounded."""
    title = f"{title} {ABOUT}" if rounded else title
    return below([pen.text(title, SMALL + 0.5, bold=bold), block], 1)
