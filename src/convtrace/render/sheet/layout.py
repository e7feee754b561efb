"""Where each number of a tensor stands in a spreadsheet, and safe names for sheets and cells.

A sheet holds one tensor, or all of them below each other. The last two axes of a tensor make blocks
of rows and columns; the axis before them goes across, all others down:

    1-d      (C,)              one column
    2-d      (rows, columns)   one block
    4-d      (N, C, H, W)      one block a channel, samples below each other
    weight   (C_out, C_in, kH, kW)   one kernel for each pair of channels, input channels across
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from convtrace.render.look import name as printable

MOST_ROWS, MOST_COLUMNS = 1_048_576, 16_384
"""Rows and columns of a sheet in the .xlsx format."""

LONGEST_NAME = 31
"""Characters of the name of a sheet in the .xlsx format."""

GUIDE = "convtrace"
"""Name of the first sheet."""

TOGETHER = "network"
"""Name of the sheet that holds all tensors, where one does."""

TITLE_ROWS = 3
"""Rows above the first block: what the tensor is, a link to the guide, and an empty one."""

Cell = tuple[int, int]
"""Row and column, counted from 0."""


@dataclass(frozen=True)
class Layout:
    """The cells of one tensor.

    Attributes:
        sheet: Name of the sheet.
        shape: Shape of the tensor.
        top: Row of its title.
    """

    sheet: str
    shape: tuple[int, ...]
    top: int = 0

    @property
    def block(self) -> tuple[int, int]:
        """Rows and columns of one block."""
        rows, columns = (*self.shape, 1, 1)[:2] if len(self.shape) < 2 else self.shape[-2:]
        return rows, columns

    @property
    def across(self) -> int:
        """Blocks side by side."""
        return self.shape[-3] if len(self.shape) > 2 else 1

    @property
    def down(self) -> int:
        """Rows of blocks."""
        return math.prod(self.shape[:-3])

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns that it needs."""
        rows, columns = self.block
        return TITLE_ROWS + self.down * (rows + 3), self.across * (columns + 2)

    def corner(self, outer: tuple[int, ...]) -> Cell:
        """Return the first cell of a block.

        Args:
            outer: Position on all axes but the last two.
        """
        rows, columns = self.block
        *above, across = outer or (0,)
        down = 0
        for position, size in zip(above, self.shape, strict=False):
            down = down * size + position
        return self.top + TITLE_ROWS + 2 + down * (rows + 3), 1 + across * (columns + 2)

    def cell(self, index: tuple[int, ...]) -> Cell:
        """Return the cell of one number."""
        row, column = self.corner(index[:-2])
        down, across = (*index, 0, 0)[:2] if len(index) < 2 else index[-2:]
        return row + down, column + across


def column_name(column: int) -> str:
    """Write a column as spreadsheets do.

    Example:
        >>> column_name(0), column_name(25), column_name(26), column_name(16383)
        ('A', 'Z', 'AA', 'XFD')
    """
    text, left = "", column + 1
    while left:
        left, letter = divmod(left - 1, 26)
        text = chr(ord("A") + letter) + text
    return text


def reference(sheet: str, first: Cell, last: Cell | None = None) -> str:
    """Write a reference to a cell, or to a range of cells.

    Example:
        >>> reference("conv1", (2, 1)), reference("it's", (0, 0), (1, 1))
        ("'conv1'!B3", "'it''s'!A1:B2")
    """
    text = f"'{sheet.replace(chr(39), chr(39) * 2)}'!{column_name(first[1])}{first[0] + 1}"
    if last is None or last == first:
        return text
    return f"{text}:{column_name(last[1])}{last[0] + 1}"


class SheetNames:
    """Names of sheets: what a spreadsheet allows, each used once."""

    def __init__(self) -> None:
        self._taken: set[str] = {"history"}  # Excel keeps this name for itself

    def take(self, wanted: str) -> str:
        """Return a name like the one that is wanted.

        Example:
            >>> names = SheetNames()
            >>> names.take("layer1/conv"), names.take("=layer1:conv"), names.take("LAYER1_CONV")
            ('layer1_conv', '_layer1_conv', 'LAYER1_CONV~2')
        """
        clean = re.sub(r"[\[\]:*?/\\]", "_", printable(wanted)).strip("'") or "_"
        if clean[0] in "=+-@":
            clean = "_" + clean[1:]
        name, number = _cut(clean, LONGEST_NAME), 1
        while name.lower() in self._taken:
            number += 1
            end = f"~{number}"
            name = _cut(clean, LONGEST_NAME - len(end)) + end
        self._taken.add(name.lower())
        return name


def _cut(text: str, length: int) -> str:
    """Cut a text as a spreadsheet counts it: a character beyond the 65,536th is two."""
    units = text.encode("utf-16-le", "surrogatepass")[: 2 * length]
    return units.decode("utf-16-le", "ignore")


def harmless(text: str) -> str:
    """Write a text so that no spreadsheet takes it for a formula, even after a copy as CSV.

    Example:
        >>> harmless("=1+1"), harmless("conv1"), harmless("@SUM(A1)")
        ("'=1+1", 'conv1', "'@SUM(A1)")
    """
    clean = printable(text)
    return f"'{clean}" if clean.lstrip()[:1] in tuple("=+-@|%") else clean
