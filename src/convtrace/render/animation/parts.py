"""What frames are made of: grids at their places, rows of the picture, and the film itself."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from convtrace.render.drawing.pen import BODY
from convtrace.render.drawing.scene import Box, Label, Shape
from convtrace.render.drawing.theme import Theme

Place = tuple[int, int]
"""Row and column of a cell."""


@dataclass(frozen=True)
class Field:
    """A grid of cells at its place in the picture.

    Attributes:
        x, y: Upper left corner, in points.
        width, height: Of one cell.
        first: Row and column of the upper left cell; negative where padding is drawn.
        count: Rows and columns.
    """

    x: float
    y: float
    width: float
    height: float
    first: Place
    count: Place

    @property
    def right(self) -> float:
        """Where it ends on the right."""
        return self.x + self.count[1] * self.width

    @property
    def bottom(self) -> float:
        """Where it ends below."""
        return self.y + self.count[0] * self.height

    def holds(self, at: Place) -> bool:
        """Whether a cell is drawn."""
        return all(0 <= p - f < n for p, f, n in zip(at, self.first, self.count, strict=True))

    def box(self, at: Place, fill: str | None, stroke: str | None, weight: float = 0.5) -> Box:
        """Draw the ground of a cell."""
        row, column = at[0] - self.first[0], at[1] - self.first[1]
        x, y = self.x + column * self.width, self.y + row * self.height
        return Box(x, y, self.width, self.height, fill, stroke, weight)

    def text(self, at: Place, text: str, ink: str, *, bold: bool = False, role: str = "") -> Label:
        """Write the number of a cell."""
        box = self.box(at, None, None)
        x, y = box.x + self.width / 2, box.y + self.height / 2 + 0.36 * BODY
        return Label(x, y, text, BODY, ink, bold, "middle", role)

    def outline(self, cells: Sequence[Place], ink: str) -> Box:
        """Draw a frame around the cells and all between them."""
        rows, columns = ([cell[axis] for cell in cells] for axis in (0, 1))
        start = self.box((min(rows), min(columns)), None, None)
        end = self.box((max(rows), max(columns)), None, None)
        return Box(
            start.x, start.y, end.x + end.width - start.x, end.y + end.height - start.y,
            None, ink, 1.8,
        )  # fmt: skip


@dataclass
class Film:
    """An animation before it is written.

    Attributes:
        width, height: Size in points.
        theme: Its colours.
        lang: `en` or `ko`.
        still: What never changes.
        moments: What each frame shows besides; what is drawn over by later shapes comes first.
        kept: What is there from each frame on.
        title: What it shows.
    """

    width: float
    height: float
    theme: Theme
    lang: str
    still: list[Shape] = field(default_factory=list[Shape])
    moments: list[list[Shape]] = field(default_factory=list[list[Shape]])
    kept: list[list[Shape]] = field(default_factory=list[list[Shape]])
    title: str = ""

    def frame(self, number: int) -> list[Shape]:
        """Return every shape of one frame but the still ones."""
        return [*itertools.chain(*self.kept[: number + 1]), *self.moments[number]]


@dataclass(frozen=True)
class Band:
    """One row of the picture: a channel of the input, or one depth of it.

    Attributes:
        channel: Its number among the channels that are read.
        plane: Position on the axis of the receipt's arrays that runs over bands.
        depth: Depth that is read, or None where there is none, or where it is padding.
        source: The numbers of the input that are shown, two-dimensional.
    """

    channel: int
    plane: int
    depth: int | None
    source: NDArray[np.generic]
