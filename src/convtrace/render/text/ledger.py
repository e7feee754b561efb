"""Rows with a number at their end, all in one column that is read, and added, downwards."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.text import Text

from convtrace.render.look import QUIET, SUM
from convtrace.render.numbers import Column


@dataclass(frozen=True, slots=True)
class Amount:
    """A number in the column.

    Attributes:
        text: The number, or the mark of a term without input.
        sign: `=`, `≈` or nothing.
        symbol: `Σ` before a sum.
        style: Its colour.
    """

    text: str
    sign: str = "="
    symbol: str = ""
    style: str = SUM


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the ledger.

    Attributes:
        body: What stands left of the column. Without an amount, it may be longer.
        amount: The number in the column.
        tail: What stands right of the column.
        rule: Whether a line is drawn across the column instead, over a total.
    """

    body: Text = field(default_factory=Text)
    amount: Amount | None = None
    tail: Text = field(default_factory=Text)
    rule: bool = False


def compose(rows: Sequence[Row], *, gap: int = 3, column_at: int = 0) -> list[Text]:
    """Lay the rows out, their numbers aligned on the decimal point.

    Args:
        rows: The rows.
        gap: Cells between the longest body and the column.
        column_at: Where the column begins at the earliest.
    """
    amounts = [row.amount for row in rows if row.amount]
    bodies = [cell_len(row.body.plain) for row in rows if row.amount]
    start = max([column_at, *(width + gap for width in bodies)])
    column = Column.of(amount.text for amount in amounts)
    symbols = any(amount.symbol for amount in amounts)
    lines: list[Text] = []
    for row in rows:
        line = Text().append_text(row.body)  # a copy would give its colour to the whole line
        if row.amount or row.rule:
            line.append(" " * (start - cell_len(line.plain)))
        if row.rule:
            line.append("─" * (column.width + (4 if symbols else 2)), QUIET)
        if row.amount:
            symbol = f"{row.amount.symbol:1} " if symbols else ""
            line.append(f"{symbol}{row.amount.sign:1} ")
            line.append(column.put(row.amount.text), row.amount.style)
        if row.tail:
            line.append("   ")
            line.append_text(row.tail)
        line.rstrip()
        lines.append(line)
    return lines


def pad(text: Text, width: int) -> Text:
    """Fill a text up with blanks to a number of cells."""
    return Text().append_text(text).append(" " * max(width - cell_len(text.plain), 0))


def widest(texts: Iterable[str]) -> int:
    """Return the cells of the widest text."""
    return max(map(cell_len, texts), default=0)
