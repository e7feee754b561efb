"""The figure of a stack: the receptive field of one number, through the layers below it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise, product

from convtrace.address import Address
from convtrace.errors import UsageError
from convtrace.graph import Trace
from convtrace.intervals import Interval
from convtrace.reached import Box as Places
from convtrace.reached import Reached
from convtrace.reached import below as reached_below
from convtrace.render.drawing.pen import SMALL, Pen
from convtrace.render.drawing.scene import Block, Box, Shape, Stroke, below, widened
from convtrace.render.figures.page import page
from convtrace.render.look import name
from convtrace.render.numbers import MINUS
from convtrace.step import Step

COUNTS = (7, 5, 4, 3, 2)
"""Tensors that are drawn; fewer where the paper is narrow."""

CELLS = 16
"""Positions along an axis up to which each is drawn as a cell."""

SIDE, SMALLEST, STRIP = 104.0, 26.0, 12.0
"""Points of the largest plane's side, of the smallest, and of the height of a 1-d one."""

NARROW = 350.0
"""Points of a paper on which planes are drawn smaller."""

FINEST = 1.0
"""Points of a position from which on holes are drawn; smaller ones are only told."""

_GAP, _SHIFT, _BEHIND = 34.0, 2.5, 2


@dataclass(frozen=True, slots=True)
class Panel:
    """One tensor of the stack.

    Attributes:
        name: Its name.
        shape: Its shape.
        span: First and last position on each axis that matter; None where that is unknown.
        padding: Positions of padding that are read beside them, on each axis.
        reads: Which of them are read, axis by axis; those of all entries together. Empty where
            that is unknown.
        settings: How it was made, in a few words.
    """

    name: str
    shape: Sequence[int]
    span: tuple[Interval, ...] | None
    padding: Places
    reads: tuple[Places, ...]
    settings: str

    @property
    def plane(self) -> tuple[int, int]:
        """Rows and columns."""
        return (self.shape[-2] if len(self.shape) > 3 else 1, self.shape[-1])

    @property
    def outline(self) -> tuple[Interval, ...]:
        """First and last position on each spatial axis that are outlined, those of padding too."""
        spans = (self.span or ())[2:]
        beside = self.padding[2:] or (frozenset[int](),) * len(spans)
        return tuple(
            (min(low, *outside), max(high, *outside)) if outside else (low, high)
            for (low, high), outside in zip(spans, beside, strict=True)
        )

    @property
    def inner(self) -> int:
        """Positions of the tensor inside of the outline, on the spatial axes."""
        pairs = zip(self.outline, self.shape[2:], strict=True)
        return math.prod(min(high, size - 1) - max(low, 0) + 1 for (low, high), size in pairs)

    @property
    def read(self) -> int:
        """Positions that are read, on the spatial axes."""
        return len({place for one in self.reads for place in product(*one[2:])})

    @property
    def holes(self) -> bool:
        """Whether there are positions in the span that are not read."""
        return bool(self.span and self.reads) and self.read < self.inner


def stack_figure(trace: Trace, address: Address, pen: Pen) -> Block:
    """Draw the tensors below a number, and in each what the number can depend on.

    Args:
        trace: The run.
        address: The number.
        pen: What to draw with.

    Raises:
        UsageError: No tensor below it has rows and columns.
    """
    if address.step not in trace.steps:
        raise UsageError(
            f"{address} was not made by a step of the network, so nothing lies below it\n"
            f"  Choose a number of one of: {', '.join(list(trace.steps)[:8])}, …"
        )
    path = _path(trace, address)
    chosen = _chosen(trace, path, COUNTS[0])
    if not chosen:
        raise UsageError(
            f"no tensor below {address} has channels and positions to draw\n"
            "  figure='receipt' explains the number itself."
        )
    reads = reached_below(trace, address)
    every = {one: _panel(trace, one, reads, pen) for one in chosen}
    panels, picture = list(every.values()), _picture(list(every.values()), pen)
    for most in COUNTS[1:]:
        if picture.width <= pen.room:
            break
        chosen = [one for one in _chosen(trace, path, most) if one in every]
        panels = [every[one] for one in chosen]
        picture = _picture(panels, pen)
    value = pen.look.identify(trace.value(address)).text
    left_out = sum(_is_drawable(_shape(trace, one)) for one in path) - len(chosen)
    words = [pen.say("figure.stack")]
    if any(any(panel.padding[2:]) for panel in panels):
        words.append(pen.say("figure.stack_padding"))
    holes = [panel for panel in panels if panel.holes]
    largest = max(max(panel.plane) for panel in panels)
    fine = [panel for panel in holes if min(_cell(panel, largest, pen)) < FINEST]
    if len(fine) < len(holes):
        words.append(pen.say("figure.stack_holes"))
    if fine:
        words.append(pen.say("figure.stack_fine", names=", ".join(name(p.name) for p in fine)))
    if left_out:
        words.append(pen.say("figure.stack_left_out", count=left_out))
    return page(pen, f"{name(address)} = {value}", [], picture, words)


def _path(trace: Trace, address: Address) -> list[str]:
    """List the tensors from an input up to the step, along the first operand of each."""
    made = trace.steps
    names = [address.step]
    while names[-1] in made:
        operands = made[names[-1]].operands.values()
        below_it = [one for one in operands if one in made or one in trace.inputs]
        if not below_it:
            break
        names.append(below_it[0])
    return names[::-1]


def _chosen(trace: Trace, path: Sequence[str], most: int) -> list[str]:
    """Choose what is drawn: all if that is few, else where the sizes change, else the ends."""
    drawable = [one for one in path if _is_drawable(_shape(trace, one))]
    if len(drawable) <= most:
        return drawable
    changing = [
        one
        for number, one in enumerate(drawable)
        if number in (0, len(drawable) - 1)
        or (one in trace.steps and trace.steps[one].kind == "convolution")
        or _shape(trace, one)[2:] != _shape(trace, drawable[number - 1])[2:]
    ]
    if len(changing) <= most:
        return changing
    sizes: dict[tuple[int, ...], str] = {}
    for one in changing:
        sizes[_shape(trace, one)[2:]] = one
    last = [changing[0], *(one for one in sizes.values() if one != changing[0])]
    if last[-1] != changing[-1]:
        last.append(changing[-1])
    half = most // 2
    return last if len(last) <= most else [*last[: most - half], *last[-half:]]


def _is_drawable(shape: tuple[int, ...]) -> bool:
    return 3 <= len(shape) <= 5


def _shape(trace: Trace, tensor: str) -> tuple[int, ...]:
    step = trace.steps.get(tensor)
    return step.shape if step else trace.inputs[tensor].shape


def _panel(trace: Trace, tensor: str, reads: Mapping[str, Reached], pen: Pen) -> Panel:
    step = trace.steps.get(tensor)
    shape, settings = _shape(trace, tensor), _settings(step, pen) if step else ""
    found = reads.get(tensor, Reached(()))
    return Panel(tensor, shape, found.spans, found.padding, found.boxes, settings)


def _settings(step: Step, pen: Pen) -> str:
    """Name a step's kind, and the settings of a convolution that differ from the usual."""
    if step.kind != "convolution":
        return name(step.kind.removesuffix("_with_indices"))
    weight = step.values["weight"].shape[2:]
    kernel = "×".join(map(str, weight))
    parts = [pen.say("figure.kernel", kernel=kernel)]
    for key, usual in (("stride", 1), ("dilation", 1)):
        values = set(step.attributes[key])
        if values != {usual}:
            text = "×".join(map(str, step.attributes[key])) if len(values) > 1 else values.pop()
            parts.append(pen.say(f"figure.{key}", **{key: text}))
    if step.attributes["transposed"]:
        parts.insert(0, pen.say("figure.transposed_word"))
    return ", ".join(parts)


def _picture(panels: Sequence[Panel], pen: Pen) -> Block:
    """Draw the panels in a row, and lines from each field to the next."""
    largest = max(max(panel.plane) for panel in panels)
    drawn = [_plane(panel, largest, pen) for panel in panels]
    heads = [_labels(panel, panel is panels[-1], pen) for panel in panels]
    tall = max(plane.height for plane, _ in drawn)
    high = max(head.height for head in heads)
    shapes: list[Shape] = []
    boxes: list[tuple[float, float, float, float] | None] = []
    x = 0.0
    for (plane, field), head in zip(drawn, heads, strict=True):
        width = max(plane.width, head.width)
        left, top = x + (width - plane.width) / 2, high + 6 + (tall - plane.height) / 2
        shapes += widened(head, width, "middle").at(x, high - head.height)
        shapes += plane.at(left, top)
        boxes.append(
            None
            if field is None
            else (left + field[0], top + field[1], left + field[2], top + field[3])
        )
        x += width + _GAP
    lines: list[tuple[tuple[float, float], ...]] = []
    for one, other in pairwise(boxes):
        if one and other:
            lines += [((one[2], one[1]), (other[0], other[1]))]
            lines += [((one[2], one[3]), (other[0], other[3]))]
    shapes.append(Stroke(tuple(lines), pen.theme.quiet, 0.5, dashed=True))
    return Block(x - _GAP, high + 6 + tall, tuple(shapes))


def _labels(panel: Panel, last: bool, pen: Pen) -> Block:
    """Write name, shape, how it was made, and which positions matter."""
    lines = [pen.text(name(panel.name), SMALL + 0.5, bold=True, role="tensor")]
    lines.append(pen.quiet(" × ".join(map(str, panel.shape[1:])), role="shape"))
    if panel.settings:
        lines.append(pen.quiet(panel.settings))
    if panel.span:
        key = "figure.itself" if last else "figure.field"
        lines.append(pen.quiet(pen.say(key, field=_field(panel)), role="field"))
        lines += [pen.quiet(text, role="padding") for text in _padding(panel, pen)]
    if panel.holes:
        values = {"count": f"{panel.read:,}", "of": f"{panel.inner:,}"}
        lines.append(pen.quiet(pen.say("figure.some_read", **values), role="read"))
    return below(lines, 0, "middle")


def _field(panel: Panel) -> str:
    """Write the first and last position that are read along each spatial axis."""
    assert panel.span is not None
    return ", ".join(_written(low, high) for low, high in panel.span[2:])


def _padding(panel: Panel, pen: Pen) -> list[str]:
    """Write which positions of padding are read, a line for each spatial axis that has some."""
    axes = panel.padding[2:]
    names = ("depth", "row", "column")[-len(axes) :] if len(axes) > 1 else ("place",)
    texts: list[str] = []
    for axis, outside in zip(names, axes, strict=False):
        runs = [_written(run[0], run[-1]) for run in _runs(sorted(outside))]
        if runs:
            where = pen.say(f"axis.{axis}", n=", ".join(runs))
            texts.append(pen.say("figure.field_padding", where=where))
    return texts


def _written(low: int, high: int) -> str:
    first, last = (str(place).replace("-", MINUS) for place in (low, high))
    return first if low == high else f"{first}…{last}"


def _plane(
    panel: Panel, largest: int, pen: Pen
) -> tuple[Block, tuple[float, float, float, float] | None]:
    """Draw one tensor as a plane; returns where the field lies on it, too."""
    theme = pen.theme
    rows, columns = panel.plane
    unit, down = _cell(panel, largest, pen)
    wide, tall = columns * unit, rows * down
    field: tuple[float, float, float, float] | None = None
    if panel.span:
        low, high = panel.outline[-1]
        first, last = panel.outline[-2] if len(panel.shape) > 3 else (0, 0)
        field = (low * unit, first * down, (high + 1) * unit, (last + 1) * down)
    behind = min(panel.shape[1] - 1, _BEHIND) * _SHIFT
    left = max(-field[0], 0) + 1 if field else 1.0
    top = (max(-field[1], 0) if field else 0) + 1
    right = max(wide + behind, field[2] if field else 0)
    low_edge = max(tall + behind, field[3] if field else 0)
    shapes: list[Shape] = [
        Box(n * _SHIFT, n * _SHIFT, wide, tall, theme.ground, theme.rule)
        for n in range(min(panel.shape[1] - 1, _BEHIND), 0, -1)
    ]
    shapes.append(Box(0, 0, wide, tall, theme.ground, theme.rule))
    if field:
        shapes += _field_shapes(field, wide, tall, pen)
        if panel.holes and min(unit, down) >= FINEST:
            shapes += _holes(panel, unit, down, pen)
    if max(rows, columns) <= CELLS:
        lines = [((n * unit, 0.0), (n * unit, tall)) for n in range(1, columns)]
        lines += [((0.0, n * down), (wide, n * down)) for n in range(1, rows)]
        shapes.append(Stroke(tuple(lines), theme.rule, 0.3))
    if field:
        x, y, end, low_end = field
        shapes.append(Box(x, y, end - x, low_end - y, None, theme.window, 1.4))
        field = (x + left, y + top, end + left, low_end + top)
    block = Block(left + right + 1, top + low_edge + 1, tuple(s.moved(left, top) for s in shapes))
    return block, field


def _cell(panel: Panel, largest: int, pen: Pen) -> tuple[float, float]:
    """Return width and height of one position of a tensor, in points."""
    rows, columns = panel.plane
    most = SIDE if pen.room > NARROW else NARROW / 5
    side = SMALLEST + (most - SMALLEST) * (max(rows, columns) / largest) ** 0.5
    unit = side / max(rows, columns)
    return unit, (STRIP if len(panel.shape) == 3 else max(rows * unit, 2.0)) / rows


def _field_shapes(
    field: tuple[float, float, float, float], wide: float, tall: float, pen: Pen
) -> list[Shape]:
    """Draw the inside of a field: tinted where there are numbers, hatched on padding."""
    x, y, end, low_end = field
    shapes: list[Shape] = []
    if x < 0 or y < 0 or end > wide or low_end > tall:
        shapes.append(pen.hatched(end - x, low_end - y).moved(x, y))
    inner = (max(x, 0.0), max(y, 0.0), min(end, wide), min(low_end, tall))
    if inner[0] < inner[2] and inner[1] < inner[3]:
        fill = pen.theme.behind(pen.theme.window)
        shapes.append(Box(inner[0], inner[1], inner[2] - inner[0], inner[3] - inner[1], fill))
    return shapes


def _holes(panel: Panel, unit: float, down: float, pen: Pen) -> list[Shape]:
    """Take the tint away where nothing is read, one box for a run of such positions in a row."""
    rows, columns = panel.plane
    first, last = panel.outline[-2] if len(panel.shape) > 3 else (0, 0)
    low, high = panel.outline[-1]
    across = range(max(low, 0), min(high, columns - 1) + 1)
    shapes: list[Shape] = []
    for row in range(max(first, 0), min(last, rows - 1) + 1):
        read = {
            column
            for one in panel.reads
            if len(panel.shape) < 4 or row in one[-2]
            for column in one[-1]
        }
        shapes += [
            Box(run[0] * unit, row * down, len(run) * unit, down, pen.theme.ground)
            for run in _runs(column for column in across if column not in read)
        ]
    return shapes


def _runs(numbers: Iterable[int]) -> list[list[int]]:
    """Part rising numbers where one is left out.

    Example:
        >>> _runs([1, 2, 4, 7, 8])
        [[1, 2], [4], [7, 8]]
    """
    pairs = enumerate(numbers)
    return [[n for _, n in run] for _, run in groupby(pairs, lambda pair: pair[1] - pair[0])]
