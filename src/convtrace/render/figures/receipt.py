"""The figure of a receipt: headline, terms, result, verdict."""

from __future__ import annotations

from dataclasses import replace

from convtrace.receipt import Receipt
from convtrace.render.cut import Choice, choose
from convtrace.render.drawing.pen import BODY, HEAD, TEXT_WIDTH, Pen
from convtrace.render.drawing.scene import Block, Label, below
from convtrace.render.figures.bands import bands
from convtrace.render.figures.listed import listed
from convtrace.render.look import UNBROKEN, Look, name
from convtrace.render.numbers import ABOUT
from convtrace.render.text.receipt import given
from convtrace.render.text.verdict import SHOWN_CULPRITS, verdict_lines
from convtrace.render.text.words import introduction
from convtrace.rules.conv import Window

LIMIT, LIST_LIMIT = 64, 24
"""Terms that are shown unless the caller asks for another number: in grids, and one a line."""


def receipt_figure(receipt: Receipt, pen: Pen, *, limit: int | None = None) -> Block:
    """Draw a receipt.

    Args:
        receipt: The receipt.
        pen: What to draw with.
        limit: Most terms to show; the rest is summed up and said so. None chooses.

    Raises:
        UsageError: Its window is too large to be read in a figure.
    """
    pen = replace(pen, look=replace(pen.look, width=UNBROKEN))
    head = headline(receipt, pen)
    if receipt.verdict is None:
        return below([head, pen.paragraph(given(receipt, pen.look), TEXT_WIDTH, BODY)], 4)
    choice = choose(receipt, limit or LIMIT)
    single = receipt.products.size == len(receipt.products)
    in_bands = isinstance(receipt.layout, Window) and choice.whole and not single
    if not in_bands and limit is None:
        choice = choose(receipt, LIST_LIMIT)
    parts: list[Block] = []
    if receipt.present.any() or receipt.status != "selects":
        parts.append((bands if in_bands else listed)(receipt, choice, pen))
    width = max([TEXT_WIDTH, head.width, *(part.width for part in parts)])
    where = pen.paragraph(introduction(receipt, pen.look)[:1], width)
    parts = [below([head, where], 2), *parts]
    remarks = _remarks(receipt, choice, pen, parts)
    if remarks:
        parts.append(pen.paragraph(remarks, width))
    parts.append(verdict(receipt, pen, width))
    return below(parts, 12)


def look_of(receipt: Receipt, lang: str) -> Look:
    """Return how the numbers of a receipt are written in figures."""
    return Look.of(receipt, lang, LIMIT, UNBROKEN)


def headline(receipt: Receipt, pen: Pen) -> Block:
    """Write the address and the number that was returned."""
    wrong = receipt.verdict in ("mismatch", "nonfinite")
    text = f"{name(receipt.address)} = {pen.look.identify(receipt.reported).text}"
    ink = pen.theme.wrong if wrong else pen.theme.ink
    return pen.text(text, HEAD, bold=True, ink=ink, role="headline")


def verdict(receipt: Receipt, pen: Pen, width: float) -> Block:
    """Write the exact sum, what was returned, and what that says."""
    wrong = receipt.verdict in ("mismatch", "nonfinite")
    lines = [line.plain for line in verdict_lines(receipt, pen.look, culprits=SHOWN_CULPRITS)]
    first = pen.paragraph(
        lines[:1], width, BODY, ink=pen.theme.wrong if wrong else pen.theme.ink, bold=wrong
    )
    return below([first, pen.paragraph(lines[1:], width)], 2) if lines[1:] else first


def _remarks(receipt: Receipt, choice: Choice, pen: Pen, parts: list[Block]) -> list[str]:
    """Explain the marks that occur, and say what was left out."""
    remarks: list[str] = []
    if choice.rest is not None:
        several = receipt.products.size > len(receipt.products)
        key = "channels" if choice.whole and several else "terms"
        remarks.append(
            pen.say(
                f"shown.{key}_culprits" if receipt.culprits else f"shown.{key}",
                shown=choice.shown,
                count=choice.count,
                channels=len(choice.channels),
                of=len(receipt.products),
                rest=pen.look.show(choice.rest).marked,
            )
        )
    if isinstance(receipt.layout, Window) and not receipt.present.all():
        key = "figure.no_input" if receipt.layout.transposed else "shown.padding"
        remarks.append(pen.say(key))
    labels = (shape for part in parts for shape in part.shapes if isinstance(shape, Label))
    if any(ABOUT in label.text for label in labels):
        remarks.append(pen.say("shown.rounded"))
    return remarks
