"""The figure of contributions: a map of terms over an image, its scale, and the sum."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from convtrace.graph import Trace
from convtrace.render.drawing.pen import BODY, SMALL, TEXT_WIDTH, Pen
from convtrace.render.drawing.scene import (
    EMPTY,
    Block,
    Box,
    Label,
    Shape,
    Stroke,
    below,
    beside,
)
from convtrace.render.drawing.theme import ink_on
from convtrace.render.figures.ledger import Entry, ledger
from convtrace.render.figures.page import page
from convtrace.render.look import name
from convtrace.render.numbers import MINUS
from convtrace.render.text.contributions import agrees, array, check, maps_of, parts_of, target
from convtrace.render.text.heatmap import NONFINITE, HeatMap, cell, heat_maps

if TYPE_CHECKING:
    from convtrace.split import Split

MOST = 56
"""Cells along a side of a map; a larger tensor is drawn in blocks."""

SIDE, LARGEST, WRITTEN = 200.0, 20.0, 13.0
"""Points of a map's longer side, of a cell at most, and of one that holds its sign and a digit."""

MOST_MAPS = 6

_UNDER = 0.25


def contributions_figure(split: Split, trace: Trace | None, pen: Pen) -> Block:
    """Draw the terms of a split as maps, and what they add up to.

    Args:
        split: What `trace.contributions` returned.
        trace: The run, whose inputs are drawn beside the maps; None leaves them out.
        pen: What to draw with.
    """
    terms = {key: array(tensor) for key, tensor in maps_of(split, trace).items()}
    maps = [
        (key, one)
        for key, numbers in terms.items()
        if numbers.ndim >= 2 and numbers.any()
        for one in heat_maps(key, numbers, 2 * MOST + 6, rows=MOST)
    ]
    left_out = maps[MOST_MAPS:]
    maps = maps[:MOST_MAPS]
    rows: list[Block] = []
    for key in dict.fromkeys(key for key, _ in maps):
        mine = [one for other, one in maps if other == key]
        part = _part(mine)
        image = _image(trace, key, part, pen) if trace is not None else None
        rows.append(_maps(mine, part, image, pen))
    picture = below([*rows, _sum(split, terms, pen)], 14)
    number = pen.look.identify(split.reported)
    headline = f"{target(split)} = {number.text}"
    width = max(picture.width, TEXT_WIDTH)
    bad = agrees(split, trace) is False
    ink = pen.theme.wrong if bad else pen.theme.ink
    texts = [line.plain for line in check(split, trace, pen.look)]
    verdict = [pen.paragraph(texts[:1], width, BODY, ink=ink, bold=bad)]
    verdict.append(pen.paragraph(texts[1:], width, ink=ink if bad else None))
    whole = below([picture, below(verdict, 2)], 10)
    key = "number" if len(split.target) == 1 else "difference"
    words = [pen.say(f"contributions.what.{key}"), *_remarks([one for _, one in maps], pen)]
    if left_out:
        words.append(pen.say("figure.maps_left_out", count=len(left_out)))
    words.append(pen.say("contributions.frozen"))
    return page(pen, headline, [], whole, words)


def _remarks(maps: Sequence[HeatMap], pen: Pen) -> list[str]:
    remarks = [pen.say("figure.map")] if maps else []
    blocks = {one.label.split("[")[0]: one.block for one in maps if one.block > 1}
    for tensor, block in blocks.items():
        remarks.append(pen.say("figure.map_block", name=name(tensor), block=block))
    if any(one.planes > 1 for one in maps):
        remarks.append(pen.say("contributions.map.summed"))
    if not all(np.isfinite(one.cells).all() for one in maps):
        remarks.append(pen.say("contributions.map.nonfinite"))
    return remarks


def _part(maps: Sequence[HeatMap]) -> tuple[slice, slice]:
    """Return the rows and columns that are drawn: those with terms, where these are few."""
    shape = maps[0].cells.shape
    if any(one.cells.shape != shape for one in maps):
        return slice(0, None), slice(0, None)
    used = np.any([one.cells != 0 for one in maps], axis=0)
    found: list[slice] = []
    for axis, size in enumerate(shape):
        places = np.flatnonzero(used.any(axis=1 - axis))
        first, last = (int(places[0]), int(places[-1])) if len(places) else (0, size - 1)
        few = 2 * (last - first + 1) <= size
        found.append(slice(max(first - 1, 0), last + 2) if few else slice(0, size))
    rows, columns = found
    return rows, columns


def _maps(
    maps: Sequence[HeatMap], part: tuple[slice, slice], image: Block | None, pen: Pen
) -> Block:
    """Draw the maps of one tensor on one scale, with the input beside them."""
    largest = max((_largest(one.cells) for one in maps), default=0.0)
    blocks = [image] if image else []
    for one in maps:
        title = pen.text(name(one.label), SMALL + 0.5, bold=True)
        heads = [title]
        if one.planes > 1:
            heads.append(pen.quiet(pen.say("contributions.map.planes", count=one.planes)))
        cells = one.cells[part]
        if cells.shape != one.cells.shape:
            ends = [
                f"{at.start * one.block}–{(at.start + size) * one.block - 1}"
                for at, size in zip(part, cells.shape, strict=True)
            ]
            heads.append(pen.quiet(pen.say("figure.part", rows=ends[0], columns=ends[1])))
        blocks.append(below([*heads, _map(cells, largest, pen)], 1))
    lines = [beside(blocks[at : at + 3], 14, "top") for at in range(0, len(blocks), 3)]
    return below([below(lines, 10), _scale(largest, pen)], 8)


def _side(rows: int, columns: int) -> float:
    return min(SIDE / max(rows, columns), LARGEST)


def _cell(row: int, column: int, shape: tuple[int, ...], side: float, fill: str) -> Box:
    """Draw a cell; it reaches under its neighbours, so that no ground shines through."""
    wide = side + (_UNDER if column < shape[1] - 1 else 0)
    tall = side + (_UNDER if row < shape[0] - 1 else 0)
    return Box(column * side, row * side, wide, tall, fill)


def _map(cells: NDArray[np.float64], largest: float, pen: Pen) -> Block:
    """Draw one map; the sign of a cell is written, or where it is too small, marked."""
    rows, columns = cells.shape
    side = _side(rows, columns)
    theme = pen.theme
    boxes: list[Shape] = []
    labels: list[Shape] = []
    strokes: list[tuple[tuple[float, float], ...]] = []
    for row, line in enumerate(cells.tolist()):
        for column, value in enumerate(line):
            x, y = column * side, row * side
            part = value / largest if largest and math.isfinite(value) else 0.0
            fill = theme.over(part) if part else None
            if fill:
                boxes.append(_cell(row, column, cells.shape, side, fill))
            if side >= WRITTEN and value:
                text = cell(value, largest)
                ink = ink_on(fill or theme.ground)
                size = min(side * 0.5, BODY)
                at = (x + side / 2, y + side / 2 + 0.36 * size)
                labels.append(Label(*at, text, size, ink, False, "middle", "term"))
            elif value < 0:
                inset = side * 0.3
                middle = y + side / 2
                strokes.append(((x + inset, middle), (x + side - inset, middle)))
            elif not math.isfinite(value):
                labels.append(
                    Label(
                        x + side / 2, y + side, NONFINITE, side, theme.wrong, True, "middle", "term"
                    )
                )
    frame = Box(0, 0, columns * side, rows * side, None, theme.rule)
    marks = Stroke(tuple(strokes), theme.ink, 0.4)
    bars = [marks] if strokes else []
    return Block(columns * side, rows * side, (*boxes, frame, *bars, *labels))


def _scale(largest: float, pen: Pen) -> Block:
    """Draw the scale: from the most negative to the most positive term."""
    theme, steps, wide, high = pen.theme, 9, 10.0, 9.0
    shapes: list[Shape] = []
    for number in range(-steps, steps + 1):
        x = (number + steps) * wide
        shapes.append(Box(x, 0, wide, high, theme.over(number / steps)))
        if number < 0:
            shapes.append(Stroke((((x + 3, high / 2), (x + 7, high / 2)),), theme.ink, 0.4))
    width = (2 * steps + 1) * wide
    shapes.append(Box(0, 0, width, high, None, theme.rule))
    shown = pen.look.show(largest)
    texts = ((0.0, f"{MINUS}{shown.text}"), (width / 2, "0"), (width, f"+{shown.text}"))
    for x, text in texts:
        y = high + SMALL * 1.1
        shapes.append(Label(x, y, text, SMALL, theme.ink, False, "middle", "scale"))
    block = Block(width, high + SMALL * 1.4, tuple(shapes))
    room = pen.text(texts[2][1], SMALL).width / 2 + 1
    return Block(
        width + 2 * room, block.height, tuple(shape.moved(room, 0) for shape in block.shapes)
    )


def _image(trace: Trace, tensor: str, part: tuple[slice, slice], pen: Pen) -> Block | None:
    """Draw the input that a map belongs to, in greys or in colour; of a large one, some pixels."""
    value = trace.inputs.get(tensor)
    if value is None or len(value.shape) != 4 or value.shape[0] != 1:
        return None
    if value.shape[1] not in (1, 3):
        return None
    every = -(-max(value.shape[2:]) // MOST)
    pixels = (slice(None, None, every),) * 2
    numbers = np.asarray(value.box((0, slice(None), *pixels)), dtype=np.float64)[:, *part]
    low, high = float(numbers.min()), float(numbers.max())
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        return None
    levels = ((numbers - low) / (high - low) * 255 + 0.5).astype(int)
    levels = levels if len(levels) == 3 else levels.repeat(3, axis=0)
    rows, columns = levels.shape[1:]
    side = _side(rows, columns)
    colours = levels.transpose(1, 2, 0).tolist()
    shapes: list[Shape] = [
        _cell(row, column, (rows, columns), side, "#{:02X}{:02X}{:02X}".format(*colour))
        for row, line in enumerate(colours)
        for column, colour in enumerate(line)
    ]
    shapes.append(Box(0, 0, columns * side, rows * side, None, pen.theme.rule))
    heads = [pen.text(name(tensor), SMALL + 0.5, bold=True)]
    if every > 1:
        heads.append(pen.quiet(pen.say("figure.image_every", every=every)))
    ends = {"low": pen.look.show(low).marked, "high": pen.look.show(high).marked}
    picture = Block(columns * side, rows * side, tuple(shapes))
    return below([*heads, picture, pen.quiet(pen.say("figure.image", **ends))], 1)


def _sum(split: Split, terms: Mapping[str, NDArray[np.float64]], pen: Pen) -> Block:
    """Write how the number splits: inputs, stops, biases, total."""
    parts, total, sign = parts_of(split, terms, pen.look)
    entries = [
        Entry(
            pen.text(part.label),
            part.amount.text,
            part.amount.sign,
            role="part",
            tail=pen.quiet(part.note) if part.note else EMPTY,
        )
        for part in parts
    ]
    label = pen.text(pen.say("receipt.total"), bold=True)
    entries.append(Entry(label, total.text, sign, role="total", total=True))
    return ledger(pen, entries, above=2)


def _largest(cells: NDArray[np.float64]) -> float:
    finite = cells[np.isfinite(cells)]
    return float(np.abs(finite).max()) if finite.size else 0.0
