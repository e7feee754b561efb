"""What a figure is made of: boxes, texts and lines, in points, from the upper left corner.

A figure is drawn once, as a `Scene`; SVG, PNG, PDF and TikZ are four ways of writing it down.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from convtrace.render.drawing.measure import ASCENT, DESCENT, width_of

Anchor = Literal["start", "middle", "end"]
"""Which point of a text its position is."""

Point = tuple[float, float]

MM = 72 / 25.4
"""Points in a millimetre."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle.

    Attributes:
        x, y: Upper left corner.
        width, height: Its size.
        fill: Colour `#rrggbb`, or None.
        stroke: Colour of its outline, or None.
        weight: Thickness of the outline.
        dashed: Whether the outline is dashed.
    """

    x: float
    y: float
    width: float
    height: float
    fill: str | None = None
    stroke: str | None = None
    weight: float = 0.5
    dashed: bool = False

    def moved(self, dx: float, dy: float) -> Box:
        """Return the box at another place."""
        return Box(
            self.x + dx,
            self.y + dy,
            self.width,
            self.height,
            self.fill,
            self.stroke,
            self.weight,
            self.dashed,
        )


@dataclass(frozen=True, slots=True)
class Label:
    """A text on one line.

    Attributes:
        x, y: Where it is anchored, on its baseline.
        text: What it says.
        size: Size of the letters.
        ink: Colour `#rrggbb`.
        bold: Whether it is bold.
        anchor: Which point of it lies at `x`.
        role: What it is, e.g. `product`; a class name in SVG.
        font: Name of its font, where it is not that of the whole drawing.
    """

    x: float
    y: float
    text: str
    size: float
    ink: str
    bold: bool = False
    anchor: Anchor = "start"
    role: str = ""
    font: str = ""

    def moved(self, dx: float, dy: float) -> Label:
        """Return the text at another place."""
        return Label(
            self.x + dx,
            self.y + dy,
            self.text,
            self.size,
            self.ink,
            self.bold,
            self.anchor,
            self.role,
            self.font,
        )

    @property
    def room(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of what it can cover at most."""
        width = width_of(self.text, self.size, bold=self.bold)
        left = self.x - {"start": 0.0, "middle": width / 2, "end": width}[self.anchor]
        return left, self.y - ASCENT * self.size, left + width, self.y + DESCENT * self.size


@dataclass(frozen=True, slots=True)
class Stroke:
    """Lines, or a filled shape.

    Attributes:
        lines: Each a list of points.
        ink: Colour `#rrggbb` of the lines, or of the inside.
        weight: Thickness of the lines.
        dashed: Whether they are dashed.
        filled: Whether the inside is filled instead.
    """

    lines: tuple[tuple[Point, ...], ...]
    ink: str
    weight: float = 0.5
    dashed: bool = False
    filled: bool = False

    def moved(self, dx: float, dy: float) -> Stroke:
        """Return the lines at another place."""
        lines = tuple(tuple((x + dx, y + dy) for x, y in line) for line in self.lines)
        return replace(self, lines=lines)


Shape = Box | Label | Stroke


@dataclass(frozen=True, slots=True)
class Block:
    """Shapes that are moved as one.

    Attributes:
        width, height: Room that it takes; every shape lies inside.
        shapes: What it is made of, in the order they are drawn.
        axis: Height of the line on which it is aligned with others beside it.
    """

    width: float
    height: float
    shapes: tuple[Shape, ...] = ()
    axis: float | None = None

    @property
    def middle(self) -> float:
        """Height of the line on which it is aligned."""
        return self.height / 2 if self.axis is None else self.axis

    def at(self, x: float, y: float) -> Iterable[Shape]:
        """Yield its shapes, with its corner at a place."""
        return self.shapes if not x and not y else (shape.moved(x, y) for shape in self.shapes)


EMPTY = Block(0, 0)


def beside(
    blocks: Sequence[Block], gap: float = 0, align: Literal["top", "middle"] = "middle"
) -> Block:
    """Put blocks in a row, their axes (or their upper edges) on one line."""
    axis = max((block.middle for block in blocks), default=0) if align == "middle" else 0
    shapes: list[Shape] = []
    x = low = 0.0
    for number, block in enumerate(blocks):
        x += gap if number else 0
        y = axis - block.middle if align == "middle" else 0
        shapes += block.at(x, y)
        x += block.width
        low = max(low, y + block.height)
    return Block(x, low, tuple(shapes), axis if align == "middle" else None)


def below(
    blocks: Sequence[Block], gap: float = 0, align: Literal["left", "middle", "right"] = "left"
) -> Block:
    """Put blocks under each other."""
    width = max((block.width for block in blocks), default=0)
    part = {"left": 0.0, "middle": 0.5, "right": 1.0}[align]
    shapes: list[Shape] = []
    y = 0.0
    for number, block in enumerate(blocks):
        y += gap if number else 0
        shapes += block.at((width - block.width) * part, y)
        y += block.height
    return Block(width, y, tuple(shapes))


def padded(block: Block, left: float, top: float, right: float, bottom: float) -> Block:
    """Add room on the sides of a block."""
    if not (left or top or right or bottom):
        return block
    axis = None if block.axis is None else block.axis + top
    return Block(
        block.width + left + right, block.height + top + bottom, tuple(block.at(left, top)), axis
    )


def widened(block: Block, width: float, align: Literal["left", "middle", "right"]) -> Block:
    """Give a block at least this width."""
    spare = max(width - block.width, 0)
    left = spare * {"left": 0.0, "middle": 0.5, "right": 1.0}[align]
    return padded(block, left, 0, spare - left, 0)


@dataclass(frozen=True, slots=True)
class Scene:
    """A figure, ready to be written.

    Attributes:
        width, height: Its size.
        shapes: What is drawn, in this order.
        ground: Colour of the ground, `#rrggbb`.
        title: What it shows, in one line.
        description: The same in words, for those who cannot see it.
        lang: `en` or `ko`.
        scale: By what it is multiplied when it is shown; 1 is its natural size.
    """

    width: float
    height: float
    shapes: tuple[Shape, ...]
    ground: str
    title: str
    description: str
    lang: str
    scale: float = 1.0

    @property
    def labels(self) -> list[Label]:
        """Its texts."""
        return [shape for shape in self.shapes if isinstance(shape, Label)]
