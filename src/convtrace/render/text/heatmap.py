"""A map of signed numbers as text: one cell a position, its sign and a digit for its size.

The sign is always written, so a map is read without colour. A map that is too large is cut into
blocks, and each cell is then the sum of a block: terms are added, so a sum of them is honest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.text import Text

from convtrace.render.look import QUIET, WINDOW, Look, name
from convtrace.render.numbers import MINUS

STEPS = 9
"""Sizes that a cell tells apart; 9 is the largest of the map."""

ZERO, NONFINITE, SUMMED = "·", "!", "Σ"
"""What stands in the place of an exact 0, of NaN or infinity, and of an axis that was summed."""

MOST_ROWS = 32
MOST_PLANES = 4
"""Rows of a map, and maps of one tensor, that are shown; more are added up."""

NEGATIVE = "#CC79A7"
_WIDE, _NARROW = 3, 2


@dataclass(frozen=True)
class HeatMap:
    """What is drawn for one plane of a tensor, or for the sum of several.

    Attributes:
        label: The plane, e.g. `input[0,0,↓,→]`: rows go down, columns to the right.
        cells: Numbers that are drawn, in float64.
        block: Positions along each axis that a cell stands for.
        planes: Planes that were added up.
    """

    label: str
    cells: NDArray[np.float64]
    block: int
    planes: int


def heat_maps(
    tensor: str, terms: NDArray[np.float64], width: int, *, rows: int = MOST_ROWS
) -> list[HeatMap]:
    """Choose what to draw of a tensor: its planes one by one if these are few, else their sum.

    A plane is spanned by the last two axes. Planes that hold nothing but zeros are left out.

    Args:
        tensor: Its name.
        terms: Its numbers.
        width: Cells of a line.
        rows: Most rows of a map.
    """
    if terms.size == 0:
        return []
    planes = terms.reshape((-1, *_last(terms.shape)))
    lead = terms.shape[:-2]
    used = np.flatnonzero(planes.any(axis=(1, 2)))
    if len(used) == 0:
        used = np.arange(1)
    block = _block(planes.shape[1:], width, rows)
    if len(used) <= MOST_PLANES:
        chosen = [(np.unravel_index(int(at), lead) if lead else (), planes[at], 1) for at in used]
        labels = [[str(int(p)) for p in place] for place, _, _ in chosen]
        return [
            HeatMap(_label(tensor, label, terms.ndim), _blocks(plane, block), block, count)
            for label, (_, plane, count) in zip(labels, chosen, strict=True)
        ]
    places = np.stack(np.unravel_index(used, lead))
    label = [str(int(axis[0])) if (axis == axis[0]).all() else SUMMED for axis in places]
    with np.errstate(invalid="ignore"):
        total = planes.sum(axis=0)
    return [HeatMap(_label(tensor, label, terms.ndim), _blocks(total, block), block, len(used))]


def draw(maps: Sequence[HeatMap], look: Look) -> list[Text]:
    """Draw maps of one tensor, all on one scale: what 9 stands for is written beside the name."""
    largest = max((_largest(one.cells) for one in maps), default=0.0)
    nine = look.show(largest)
    lines: list[Text] = []
    for one in maps:
        heading = Text().append(name(one.label), "bold")
        if largest:
            heading.append(f"   9 {nine.sign} {nine.text}", QUIET)
        if one.planes > 1:
            heading.append("   " + look.say("contributions.map.planes", count=one.planes), QUIET)
        lines += [heading, *_rows(one, largest, look.width), Text()]
    return lines


def legend(maps: Sequence[HeatMap], look: Look) -> list[Text]:
    """Say what the digits and marks of these maps stand for."""
    remarks = [look.say("contributions.map.digits")]
    summed = any(one.planes > 1 for one in maps)
    if summed:
        remarks.append(look.say("contributions.map.summed"))
    blocks = {one.label.split("[")[0]: one.block for one in maps if one.block > 1}
    for tensor, block in blocks.items():
        remarks.append(look.say("contributions.map.block", name=name(tensor), block=block))
    if summed or blocks:
        remarks.append(look.say("contributions.map.cancels"))
    if not all(np.isfinite(one.cells).all() for one in maps):
        remarks.append(look.say("contributions.map.nonfinite"))
    return [Text(line, QUIET) for remark in remarks for line in look.wrap(remark)]


def cell(value: float, largest: float) -> str:
    """Write one number as its sign and a digit from 0 to 9.

    Args:
        value: The number.
        largest: What 9 stands for.

    Example:
        >>> cell(0.5, 0.9), cell(-0.9, 0.9), cell(-0.01, 0.9), cell(0.0, 0.9)
        ('+5', '−9', '−0', '·')
    """
    if not np.isfinite(value):
        return NONFINITE
    if not value:
        return ZERO
    return f"{'+' if value > 0 else MINUS}{_level(value, largest)}"


def _rows(drawn: HeatMap, largest: float, width: int) -> list[Text]:
    rows, columns = drawn.cells.shape
    numbers = [str(row * drawn.block) for row in range(rows)]
    margin = max(map(len, numbers)) + 2
    wide = _WIDE if margin + columns * _WIDE <= width else _NARROW
    head = [" "] * (columns * wide)
    longest = len(str((columns - 1) * drawn.block))
    every = 1 if longest < wide else 5
    for column in range(0, columns, every):
        text = str(column * drawn.block)
        end = (column + 1) * wide
        start = max(end - len(text), 0)
        head[start : start + len(text)] = text
    lines = [Text((" " * margin + "".join(head)).rstrip(), QUIET)]
    for number, row in zip(numbers, drawn.cells, strict=True):
        line = Text(number.rjust(margin - 1) + " ", QUIET)
        line = Text().append_text(line)
        for value in row.tolist():
            line.append(" " * (wide - 2))
            line.append(cell(value, largest).rjust(2), _style(value, largest))
        lines.append(line)
    return lines


def _style(value: float, largest: float) -> str:
    if not value or not np.isfinite(value):
        return QUIET
    colour = WINDOW if value > 0 else NEGATIVE
    level = _level(value, largest)
    strength = "bold reverse " if level >= 6 else "bold " if level >= 3 else ""
    return strength + colour


def _level(value: float, largest: float) -> int:
    return min(int(abs(value) / largest * STEPS + 0.5), STEPS)


def _largest(cells: NDArray[np.float64]) -> float:
    finite = cells[np.isfinite(cells)]
    return float(np.abs(finite).max()) if finite.size else 0.0


def _last(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return rows and columns of a plane; a tensor of fewer axes is one row."""
    return (shape[-2] if len(shape) > 1 else 1, shape[-1] if shape else 1)


def _label(tensor: str, lead: Sequence[str], axes: int) -> str:
    last = ["↓", "→"][2 - min(axes, 2) :]
    return f"{tensor}[{','.join([*lead, *last])}]"


def _block(shape: tuple[Any, ...], width: int, most_rows: int) -> int:
    """Return the side of the blocks that a plane is cut into, 1 where it fits as it is."""
    rows, columns = shape
    most = max((width - 6) // _NARROW, 1)
    return max(-(-rows // most_rows), -(-columns // most), 1)


def _blocks(plane: NDArray[np.float64], block: int) -> NDArray[np.float64]:
    if block == 1:
        return plane
    rows, columns = plane.shape
    with np.errstate(invalid="ignore"):
        down = np.add.reduceat(plane, np.arange(0, rows, block), axis=0)
        return np.add.reduceat(down, np.arange(0, columns, block), axis=1)
