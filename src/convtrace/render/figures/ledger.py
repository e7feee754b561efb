"""Rows with a number at their end, in one column that is added downwards to the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from convtrace.receipt import Receipt
from convtrace.render.cut import Choice
from convtrace.render.drawing.measure import aligned, width_of
from convtrace.render.drawing.pen import BODY, RESULT, Pen
from convtrace.render.drawing.scene import EMPTY, Block, Box, Label, below, beside, widened
from convtrace.render.look import name
from convtrace.render.numbers import Scale, Shown, sum_sign
from convtrace.rules.conv import Window


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the ledger.

    Attributes:
        left: What stands left of the column.
        text: The number.
        sign: `=` or `≈`.
        symbol: `Σ` before a sum.
        role: What the number is, e.g. `sum`.
        total: Whether it is the result: larger, under a line.
        note: Whether the row has no number, only what stands on its left.
        tail: What stands right of the column.
    """

    left: Block
    text: str = ""
    sign: str = ""
    symbol: str = ""
    role: str = ""
    total: bool = False
    note: bool = False
    tail: Block = EMPTY


def ledger(pen: Pen, entries: Sequence[Entry], *, gap: float = 10, above: float = 6) -> Block:
    """Lay rows out, their numbers aligned on the decimal point.

    Args:
        pen: What to draw with.
        entries: The rows.
        gap: Points between what stands on the left and the column.
        above: Points between rows.
    """
    plain = [entry.text for entry in entries if not entry.total]
    texts = iter(aligned(plain))
    totals = [entry.text for entry in entries if entry.total]
    shown = [next(texts) if not entry.total else entry.text for entry in entries]
    column = max(
        [width_of(text, BODY) for text in shown]
        + [width_of(text, RESULT, bold=True) for text in totals]
    )
    symbols = 13.0 if any(entry.symbol for entry in entries) else 0.0
    left = max((entry.left.width for entry in entries if not entry.note), default=0.0)
    rows: list[Block] = []
    for entry, text in zip(entries, shown, strict=True):
        if entry.note:
            rows.append(entry.left)
            continue
        size = RESULT if entry.total else BODY
        ink = pen.theme.sum if entry.total or entry.symbol else pen.theme.ink
        number = Label(column, 1.02 * size, text, size, ink, entry.total, "end", entry.role)
        amount = Block(column, 1.4 * size, (number,))
        sign = widened(pen.text(entry.sign, BODY), 13, "left")
        symbol = widened(pen.text(entry.symbol, BODY), symbols, "left")
        parts = [widened(entry.left, left + gap, "left"), symbol, sign, amount]
        if entry.tail is not EMPTY:
            parts.append(widened(entry.tail, entry.tail.width + gap, "right"))
        row = beside(parts)
        if entry.total:
            start = left + gap
            line = Box(start, 0, symbols + 13 + column, 0.8, pen.theme.ink)
            rule = Block(row.width, 1.5, (line,))
            row = below([rule, row], 2)
        rows.append(row)
    return below(rows, above)


def foot(
    receipt: Receipt, choice: Choice, parts: Sequence[Shown], scale: Scale, pen: Pen
) -> list[Entry]:
    """Return the rows below the terms: what is not shown, the bias, the result.

    Args:
        receipt: The receipt.
        choice: Which of its terms are shown.
        parts: The numbers above, as shown.
        scale: How the numbers of the column are written.
        pen: What to draw with.
    """
    rows: list[Entry] = []
    parts = list(parts)
    if choice.rest is not None:
        rest = scale.show(choice.rest)
        parts.append(rest)
        label = pen.say("receipt.rest", count=choice.count - choice.shown)
        rows.append(Entry(pen.text(label), rest.text, rest.sign, role="rest"))
    if receipt.bias is not None:
        bias = scale.show(receipt.bias)
        parts.append(bias)
        label = pen.say("receipt.constant")
        if receipt.bias_address:
            label = pen.say("receipt.bias", address=name(receipt.bias_address))
        rows.append(Entry(pen.text(label), bias.text, bias.sign, role="bias"))
    elif isinstance(receipt.layout, Window) or receipt.kind == "linear":
        rows.append(Entry(pen.quiet(pen.say("receipt.no_bias")), note=True))
    total = scale.show(receipt.exact)
    label = pen.text(pen.say("receipt.total"), bold=True)
    rows.append(Entry(label, total.text, sum_sign(parts, total), role="total", total=True))
    return rows
