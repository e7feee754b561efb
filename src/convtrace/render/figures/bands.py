"""A window as grids, one band for each input channel: input × kernel = products, Σ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.receipt import Receipt
from convtrace.render.cut import Choice
from convtrace.render.drawing.frame import too_large
from convtrace.render.drawing.grid import Cell, Measures, grid
from convtrace.render.drawing.pen import SMALL, Pen
from convtrace.render.drawing.scene import Block, below, beside, widened
from convtrace.render.figures.ledger import Entry, foot, ledger
from convtrace.render.look import PADDING, name
from convtrace.render.numbers import ABOUT, Scale, Shown, product_sign, sum_sign

WIDEST = 600.0
"""Points that three grids and their sum may take side by side; else they stand below each other."""

FEWEST_DIGITS = 3
MOST_ROWS = 120
"""Rows of cells in all channels together, which fill the longest page that is drawn."""

_INSTEAD = (
    "limit=16 shows fewer. As .md, .txt or .json, the receipt lists every term.\n"
    "  --figure window shows where the window lies (in Python: figure='window')."
)


@dataclass(frozen=True, slots=True)
class Kind:
    """One of the three kinds of grids, in all channels.

    Attributes:
        heading: What stands over them.
        cells: Numbers, `(channels, kD, kH, kW)`; None where there is no input.
        measures: Size of a cell.
        fill: Colour behind the numbers, or None.
        role: What they are.
        texts: All of them, as texts.
    """

    heading: str
    cells: NDArray[Any]
    measures: Measures
    fill: str | None
    role: str
    texts: tuple[str, ...]

    def grid(self, pen: Pen, place: tuple[int, int], bad: set[tuple[int, ...]]) -> Block:
        """Draw one grid; `place` is (channel, slice)."""
        rows = [
            [self._cell(pen, one, (*place, row, column) in bad) for column, one in enumerate(line)]
            for row, line in enumerate(self.cells[place])
        ]
        return grid(pen, rows, self.measures, texts=self.texts)

    def _cell(self, pen: Pen, one: Shown | None, bad: bool) -> Cell:
        if one is None:
            return Cell(PADDING, hatched=True, role=self.role)
        if bad:
            theme = pen.theme
            return Cell(
                one.text, theme.behind(theme.wrong), theme.wrong, bold=False, role=self.role
            )
        return Cell(one.text, self.fill, role=self.role)


def bands(receipt: Receipt, choice: Choice, pen: Pen) -> Block:
    """Draw the terms of a convolution as grids.

    Args:
        receipt: A receipt with one, two or three kernel axes.
        choice: Which channels are shown, each as a whole.
        pen: What to draw with.

    Raises:
        UsageError: One kernel is too large for the page.
    """
    rows = len(choice.channels) * (1 + receipt.products[0].size // receipt.products.shape[-1])
    if rows > MOST_ROWS:
        raise too_large(f"{choice.shown} terms in {len(choice.channels)} channels", _INSTEAD)
    most = pen.look.digits or 17
    narrowest: Block | None = None
    for stacked in (False, True):
        for digits in range(most, FEWEST_DIGITS - 1, -1):
            table = _Table(
                receipt, choice, replace(pen, look=replace(pen.look, digits=digits)), stacked
            )
            if table.width <= WIDEST:
                narrowest = table.block()
                if narrowest.width <= pen.room:
                    return narrowest
    if narrowest is not None:
        return narrowest
    kernel = " × ".join(map(str, receipt.products.shape[1:]))
    raise too_large(f"a kernel of {kernel} numbers", _INSTEAD)


class _Table:
    """The bands of all channels that are shown."""

    def __init__(self, receipt: Receipt, choice: Choice, pen: Pen, stacked: bool) -> None:
        self.receipt, self.choice, self.pen, self.stacked = receipt, choice, pen, stacked
        inner = receipt.products.shape[1:]
        self.shape = (len(choice.channels), *(1,) * (3 - len(inner)), *inner)
        present = self._band(receipt.present)
        theme = pen.theme
        everywhere = np.ones(self.shape, dtype=np.bool_)
        self.kinds = (
            self._kind("input", receipt.inputs, present, theme.behind(theme.window)),
            self._kind("kernel", receipt.weights, everywhere, theme.behind(theme.kernel)),
            self._kind("products", receipt.products, present, None),
        )
        grids = [kind.measures.width * self.shape[-1] + 2 for kind in self.kinds]
        heads = [pen.quiet(kind.heading).width for kind in self.kinds]
        self.widths = [max(pair) for pair in zip(grids, heads, strict=True)]
        channels = receipt.layout.channels
        self.labels = [
            pen.text(pen.say("axis.channel", n=channels[at]), SMALL + 1, bold=True)
            for at in choice.channels
        ]

    @property
    def width(self) -> float:
        """Width of the grids and what stands left of them."""
        if self.stacked:
            return max(self.widths)
        return sum(self.widths) + 40 + max(label.width for label in self.labels)

    def block(self) -> Block:
        """Draw everything down to the result."""
        receipt, choice, pen = self.receipt, self.choice, self.pen
        totals = receipt.channel_sums[choice.channels].tolist()
        extra = [number for number in (choice.rest, receipt.bias) if number is not None]
        look = pen.look
        scale = Scale.of([*totals, *extra, receipt.exact], look.digits, narrow=look.narrow)
        sums = [scale.show(total) for total in totals]
        entries: list[Entry] = []
        for place, total in enumerate(sums):
            products: list[Shown] = [one for one in self.kinds[2].cells[place].flat if one]
            sign = sum_sign(products, total)
            entries.append(Entry(self._channel(place), total.text, sign, "Σ", "sum"))
        return ledger(pen, [*entries, *foot(receipt, choice, sums, scale, pen)], above=9)

    def _band(self, array: NDArray[Any]) -> NDArray[Any]:
        return array[self.choice.channels].reshape(self.shape)

    def _kind(
        self, role: str, array: NDArray[Any], present: NDArray[np.bool_], fill: str | None
    ) -> Kind:
        look = self.pen.look
        there = present.ravel().tolist()
        values = self._band(array).ravel().tolist()
        here = [value for value, p in zip(values, there, strict=True) if p]
        scale = Scale.of(here, look.digits, narrow=look.narrow)
        shown = np.empty(len(values), dtype=object)
        for place, (value, p) in enumerate(zip(values, there, strict=True)):
            shown[place] = scale.show(value) if p else None
        texts = tuple(one.text for one in shown if one)
        heading = look.say(f"receipt.heading.{role}")
        if any(one and one.rounded for one in shown):
            heading = f"{heading} {ABOUT}"
        measures = Measures.of(texts, square=True)
        return Kind(heading, shown.reshape(self.shape), measures, fill, role, texts)

    def _channel(self, place: int) -> Block:
        """Draw one channel: its label, its grids, and the addresses that they hold."""
        pen = self.pen
        number = self.choice.channels[place]
        bad = {
            (place, *(0,) * (4 - len(position)), *position[1:])
            for position in self.receipt.culprits
            if position[0] == number
        }
        heads = [pen.quiet(kind.heading) for kind in self.kinds]
        slices: list[Block] = []
        for slice_ in range(self.shape[1]):
            grids = [kind.grid(pen, (place, slice_), bad) for kind in self.kinds]
            signs = ["×", self._sign(place)]
            row = self._join(grids, heads if slice_ == 0 and place == 0 else None, signs)
            if self.shape[1] > 1:
                row = below([pen.quiet(pen.say("axis.depth", n=slice_)), row], 1)
            slices.append(row)
        block = below([below(slices, 5), below([pen.quiet(t) for t in self._reads(number)])], 2)
        if self.stacked:
            return below([self.labels[place], block], 2)
        label = max(one.width for one in self.labels) + 8
        tall = slices[0]
        first = Block(block.width, block.height, block.shapes, tall.middle)
        return beside([widened(self.labels[place], label, "left"), first])

    def _join(self, grids: Sequence[Block], heads: Sequence[Block] | None, signs: list[str]) -> Any:
        pen = self.pen
        if self.stacked:
            tops = heads or [pen.quiet(kind.heading) for kind in self.kinds]
            marks = ["", *signs]
            return below(
                [
                    below([pen.quiet(f"{mark} {_text(top)}".strip()), one], 1)
                    for mark, top, one in zip(marks, tops, grids, strict=True)
                ],
                5,
            )
        wide = [widened(one, width, "left") for one, width in zip(grids, self.widths, strict=True)]
        blocks = [wide[0], pen.text(signs[0]), wide[1], pen.text(signs[1]), wide[2]]
        row = beside(blocks, 6)
        if heads is None:
            return row
        spaced = [
            widened(head, width, "left") for head, width in zip(heads, self.widths, strict=True)
        ]
        gaps = [pen.text(sign) for sign in signs]
        empty = [Block(gap.width, 0) for gap in gaps]
        top = beside([spaced[0], empty[0], spaced[1], empty[1], spaced[2]], 6)
        both = below([top, row], 1)
        return Block(both.width, both.height, both.shapes, top.height + 1 + row.middle)

    def _sign(self, place: int) -> str:
        """Return `=` if every product shown is that of the factors shown."""
        triples = zip(*(kind.cells[place].flat for kind in self.kinds), strict=True)
        signs = [product_sign(x, w, product) for x, w, product in triples if x]
        return ABOUT if ABOUT in signs else "="

    def _reads(self, number: int) -> list[str]:
        """Say which addresses the window and the kernel slice have, from corner to corner."""
        receipt, pen = self.receipt, self.pen
        corner = tuple(size - 1 for size in receipt.products.shape[1:])
        present = [(number, *p) for p in np.argwhere(receipt.present[number]).tolist()]
        if present:
            ends = [receipt.layout.source(position) for position in (present[0], present[-1])]
            parts = [pen.say("receipt.reads", reads=_ends(ends))]
        else:
            parts = [pen.say("receipt.nothing")]
        kernel = [receipt.layout.weight((number, *(0 for _ in corner)))]
        kernel.append(receipt.layout.weight((number, *corner)))
        if all(kernel):
            parts.append(pen.say("receipt.kernel", kernel=_ends(kernel)))
        line = " · ".join(parts)
        return [line] if pen.quiet(line).width <= sum(self.widths) else parts


def _ends(addresses: Sequence[Any]) -> str:
    first, last = (name(address) for address in addresses)
    return first if first == last else f"{first} … {last}"


def _text(block: Block) -> str:
    return getattr(block.shapes[0], "text", "")
