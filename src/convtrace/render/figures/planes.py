"""Planes of a tensor: its numbers in rows and columns, a slice for each depth, perhaps cropped.

Spatial axes are brought to three, (depth, row, column): a 1-d tensor is one row of one slice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from convtrace.render.drawing.grid import LEFT_OUT, Cell, Frame, Measures, grid, numbered
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
        gaps: Positions among them that are left out, on each axis; one `…` stands for them.
    """

    sizes: Place
    ranges: tuple[range, range, range]
    gaps: tuple[range, range, range] = (range(0), range(0), range(0))

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
        depths, rows, columns = ([at for at in self.lines(a) if at is not None] for a in range(3))
        return ((d, r, c) for d in depths for r in rows for c in columns)

    def lines(self, axis: int) -> list[int | None]:
        """List the positions that are drawn on an axis, None for those that are left out."""
        drawn, gap = self.ranges[axis], self.gaps[axis]
        if not gap:
            return [*drawn]
        before, after = range(drawn.start, gap.start), range(gap.stop, drawn.stop)
        return [*before, None, *after]

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


def without_middle(shown: View, matter: Iterable[Place], ends: int) -> View:
    """Leave out the middle of what matters on the rows and columns where that is long.

    Args:
        shown: The view.
        matter: Positions that matter.
        ends: How many of their rows and columns are drawn at either end.
    """
    gaps = [range(0)]
    for axis in (1, 2):
        lines = sorted({place[axis] for place in matter})
        long = len(lines) > 2 * ends + 1
        gaps.append(range(lines[ends - 1] + 1, lines[-ends]) if long else range(0))
    return View(shown.sizes, shown.ranges, (gaps[0], gaps[1], gaps[2]))


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
    d, r, c = (part.start for part in inner)
    return {
        place: numbers[place[0] - d, place[1] - r, place[2] - c].item()
        for place in shown.places
        if shown.inside(place)
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
    rows, columns = shown.lines(1), shown.lines(2)
    instead = marks.instead or {}
    cells: list[list[Cell]] = []
    for row in rows:
        line: list[Cell] = []
        for column in columns:
            if row is None or column is None:
                line.append(Cell(LEFT_OUT, role="left-out"))
                continue
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
            rows.index(first[1]),
            columns.index(first[2]),
            rows.index(last[1]),
            columns.index(last[2]),
            ink,
            1.2 if dashed else 1.8,
            dashed,
        )
        for first, last, ink, dashed in marks.frames
        if first[0] <= depth <= last[0]
        and {first[1], last[1]} <= {*rows}
        and {first[2], last[2]} <= {*columns}
    ]
    block = grid(pen, cells, measures, frames, texts=aligned_with)
    if not indexed:
        return block
    down, across = (
        {number: _index(at) for number, at in enumerate(lines)} for lines in (rows, columns)
    )
    return numbered(pen, block, measures, down if shown.sizes[1] > 1 else {}, across)


def _index(position: int | None) -> str:
    return LEFT_OUT if position is None else str(position).replace("-", MINUS)


def titled(
    pen: Pen, title: str, block: Block, *, bold: bool = True, rounded: bool = False
) -> Block:
    """Write a title above a block, with `≈` where its numbers are rounded."""
    title = f"{title} {ABOUT}" if rounded else title
    return below([pen.text(title, SMALL + 0.5, bold=bold), block], 1)
