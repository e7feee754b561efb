"""A window as grids: input × kernel = products, Σ, one band for each input channel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len
from rich.text import Text

from convtrace.receipt import Receipt
from convtrace.render.look import KERNEL, PADDING, QUIET, WINDOW, WRONG, Look, name
from convtrace.render.numbers import ABOUT, Column, Scale, Shown, product_sign, sum_sign
from convtrace.render.text.gradients import headings, hides_weights, kernel_key, label_key
from convtrace.render.text.ledger import Amount, Row, compose, pad, widest


@dataclass(frozen=True, slots=True)
class Spacing:
    """How far apart things stand. The first of `SPACINGS` that fits is taken.

    Attributes:
        digits: Fewest significant digits to fall back to.
        compact: Whether a channel's label stands above its grids, and its sum below them.
        gap: Cells between two numbers of a grid.
        around: Cells on either side of `×` and `=`.
    """

    digits: int
    compact: bool
    gap: int
    around: int


SPACINGS = (
    Spacing(5, compact=False, gap=2, around=2),
    Spacing(4, compact=False, gap=2, around=1),
    Spacing(3, compact=True, gap=2, around=1),
    Spacing(3, compact=True, gap=1, around=1),
)
"""Where even the last one is too wide, the window is listed term by term instead."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One of the three kinds of grids, in all channels.

    Attributes:
        heading: What stands over them.
        cells: Numbers, `(channels, kD, kH, kW)`; None on padding.
        column: How a number is aligned in its cell.
        gap: Cells between two numbers.
        style: Colour of the numbers.
    """

    heading: str
    cells: NDArray[Any]
    column: Column
    gap: int
    style: str

    @classmethod
    def of(
        cls,
        heading: str,
        cells: NDArray[Any],
        present: NDArray[np.bool_],
        style: str,
        look: Look,
    ) -> Kind:
        """Write the numbers of one kind, on one scale."""
        there = present.ravel().tolist()
        values = cells.ravel().tolist()
        scale = Scale.of(
            [v for v, p in zip(values, there, strict=True) if p], look.digits, narrow=look.narrow
        )
        shown = np.empty(cells.size, dtype=object)
        for place, (value, here) in enumerate(zip(values, there, strict=True)):
            shown[place] = scale.show(value) if here else None
        rounded = any(one and one.rounded for one in shown)
        texts = [PADDING, *(one.text for one in shown if one)]
        return cls(
            f"{heading} {ABOUT}" if rounded else heading,
            shown.reshape(cells.shape),
            Column.of(texts),
            0,
            style,
        )

    @property
    def width(self) -> int:
        """Width of a grid, in cells."""
        columns = self.cells.shape[-1]
        return max(self.column.width * columns + self.gap * (columns - 1), cell_len(self.heading))

    def line(self, place: tuple[int, int, int], bad: set[tuple[int, ...]]) -> Text:
        """Write one row of one grid; `place` is (channel, slice, row)."""
        text = Text()
        for number, one in enumerate(self.cells[place]):
            if number:
                text.append(" " * self.gap)
            if one is None:
                text.append(self.column.put(PADDING), QUIET)
            else:
                style = WRONG if (*place, number) in bad else self.style
                text.append(self.column.put(one.text), style)
        return pad(text, self.width)


def grids(
    receipt: Receipt, channels: Sequence[int], foot: list[Row], sums: list[Shown], look: Look
) -> list[Text] | None:
    """Write channels as grids, with as many digits as fit.

    Args:
        receipt: A receipt with one, two or three kernel axes.
        channels: Positions of the channels on the first axis.
        foot: Rows below the last channel: bias, rest and total.
        sums: Sum of each of `channels`, as shown.
        look: Language, digits, width.

    Returns:
        The lines, or None where the grids are too wide.
    """
    most = look.digits
    assert most is not None
    written: dict[int, tuple[Kind, Kind, Kind]] = {}
    for spacing in SPACINGS:
        for digits in range(most, spacing.digits - 1, -1):
            fewer = replace(look, digits=digits)
            if digits not in written:
                written[digits] = _kinds(receipt, channels, fewer)
            table = _Table(receipt, channels, fewer, spacing, written[digits])
            if table.least > look.width:
                continue  # most tables are too wide; writing one takes longer than measuring it
            lines = compose(
                [*table.rows(sums), *foot], column_at=table.products_at if spacing.compact else 0
            )
            if widest(lines[n].plain for n in table.numbered) <= look.width:
                return lines
    return None


def _kinds(receipt: Receipt, channels: Sequence[int], look: Look) -> tuple[Kind, Kind, Kind]:
    """Write the numbers of input, kernel and products; the gaps between them are not yet known."""
    inner = receipt.products.shape[1:]
    shape = (len(channels), *(1,) * (3 - len(inner)), *inner)
    present = receipt.present[list(channels)].reshape(shape)
    everywhere = present | (not hides_weights(receipt))

    def kind(key: str, array: NDArray[Any], there: NDArray[np.bool_], style: str) -> Kind:
        heading = look.say(f"{headings(receipt)}.{key}")
        return Kind.of(heading, array[list(channels)].reshape(shape), there, style, look)

    return (
        kind("input", receipt.inputs, present, WINDOW),
        kind("kernel", receipt.weights, everywhere, KERNEL),
        kind("products", receipt.products, present, ""),
    )


class _Table:
    """The bands of all channels that are shown."""

    def __init__(
        self,
        receipt: Receipt,
        channels: Sequence[int],
        look: Look,
        spacing: Spacing,
        kinds: tuple[Kind, Kind, Kind],
    ) -> None:
        self.receipt, self.channels, self.look = receipt, channels, look
        self.spacing, self.compact = spacing, spacing.compact
        inner = receipt.products.shape[1:]
        self.shape = (len(channels), *(1,) * (3 - len(inner)), *inner)
        self.input, self.kernel, self.products = (replace(kind, gap=spacing.gap) for kind in kinds)
        key = label_key(receipt) or "axis.channel"
        numbers = [receipt.layout.channels[channel] for channel in channels]
        self.labels = [look.say(key, n=number) for number in numbers]
        self.slices = [look.say("axis.depth", n=n) for n in range(self.shape[1])]
        if self.shape[1] == 1:
            self.slices = [""]
        self.label = widest(self.labels) + 2
        self.slice = widest(self.slices) + 2 if self.shape[1] > 1 else 0
        self.indent = 2 if self.compact else self.label
        self.indent += self.slice
        self.between = 2 * spacing.around + 1
        self.products_at = self.indent + self.input.width + self.kernel.width + 2 * self.between
        self.least = self.products_at + (1 if self.compact else self.products.width + 3)
        """Cells that the widest row takes at least: the products, and with them a sum beside."""
        self.numbered: list[int] = []
        """Rows whose width counts; lines of words may be longer."""

    def rows(self, sums: list[Shown]) -> list[Row]:
        """Return the rows of all channels."""
        heading = Text(" " * self.indent)
        for number, kind in enumerate((self.input, self.kernel, self.products)):
            if number:
                heading.append(" " * self.between)
            heading.append_text(pad(Text(kind.heading, QUIET), kind.width))
        rows = [Row(heading)]
        for place, total in enumerate(sums):
            if place:
                rows.append(Row())
            if self.compact:
                rows.append(Row(Text(self.labels[place], "bold")))
            for row in self._channel(place, total):
                self.numbered.append(len(rows))
                rows.append(row)
            rows += self._reads(place)
        rows.append(Row())
        return rows

    def _channel(self, place: int, total: Shown) -> Iterator[Row]:
        number = self.channels[place]
        bad = {
            (place, *(0,) * (4 - len(position)), *position[1:])
            for position in self.receipt.culprits
            if position[0] == number
        }
        _, depth, height, _ = self.shape
        products: list[Shown] = [one for one in self.products.cells[place].flat if one]
        amount = Amount(total.text, sum_sign(products, total), "Σ")
        sign = self._sign(place)
        for slice_ in range(depth):
            for row in range(height):
                here = (place, slice_, row)
                middle = row == height // 2
                line = self._head(place, slice_, row)
                line.append_text(self.input.line(here, bad))
                line.append(("×" if middle else " ").center(self.between))
                line.append_text(self.kernel.line(here, bad))
                line.append((sign if middle else " ").center(self.between))
                line.append_text(self.products.line(here, bad))
                last = middle and slice_ == depth - 1 and not self.compact
                yield Row(line, amount if last else None)
        if self.compact:
            yield Row(amount=amount)

    def _head(self, place: int, slice_: int, row: int) -> Text:
        """Write what stands left of a row of grids: channel and slice, on the first row of each."""
        label = self.labels[place] if slice_ == row == 0 and not self.compact else ""
        head = pad(Text(label, "bold"), self.indent - self.slice)
        head.append_text(pad(Text(self.slices[slice_] if row == 0 else ""), self.slice))
        return head

    def _sign(self, place: int) -> str:
        """Return `=` if every product shown is that of the factors shown."""
        kinds = (self.input, self.kernel, self.products)
        triples = zip(*(kind.cells[place].flat for kind in kinds), strict=True)
        signs = [product_sign(x, w, product) for x, w, product in triples if x]
        return ABOUT if ABOUT in signs else "="

    def _reads(self, place: int) -> list[Row]:
        """Say which addresses the window and the kernel slice have, from corner to corner."""
        number = self.channels[place]
        receipt, look = self.receipt, self.look
        corner = tuple(size - 1 for size in receipt.products.shape[1:])
        first, last = (number, *(0 for _ in corner)), (number, *corner)
        present = [(number, *p) for p in np.argwhere(receipt.present[number]).tolist()]
        parts: list[str] = []
        if present:
            ends = [receipt.layout.source(position) for position in (present[0], present[-1])]
            parts.append(look.say("receipt.reads", reads=_ends(ends)))
        else:
            parts.append(look.say("receipt.nothing"))
        kernel = [receipt.layout.weight(position) for position in (first, last)]
        if all(kernel):
            parts.append(look.say(kernel_key(receipt), kernel=_ends(kernel)))
        indent = " " * self.indent
        line = indent + " · ".join(parts)
        texts = [line] if cell_len(line) <= look.width else [indent + part for part in parts]
        return [Row(Text(text, QUIET)) for text in texts]


def _ends(addresses: Sequence[Any]) -> str:
    first, last = (name(address) for address in addresses)
    return first if first == last else f"{first} … {last}"
