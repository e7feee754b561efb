"""Terms as a list, one a line: value × weight = product, and the address of what was read."""

from __future__ import annotations

from convtrace.receipt import Receipt, Term
from convtrace.render.cut import Choice
from convtrace.render.drawing.frame import too_large
from convtrace.render.drawing.grid import Cell, Measures, grid
from convtrace.render.drawing.pen import SMALL, Pen
from convtrace.render.drawing.scene import Block, beside, widened
from convtrace.render.figures.ledger import Entry, foot, ledger
from convtrace.render.look import PADDING, name
from convtrace.render.numbers import Scale, Shown, product_sign
from convtrace.rules.conv import Window

MOST = 80
"""Lines that fill the longest page that is drawn."""

_INSTEAD = "limit=24 shows fewer. As .md, .txt or .json, the receipt lists every term."


def listed(receipt: Receipt, choice: Choice, pen: Pen) -> Block:
    """Draw the chosen terms one a line.

    Args:
        receipt: The receipt.
        choice: Which terms.
        pen: What to draw with.

    Raises:
        UsageError: There are too many for a page.
    """
    if choice.shown > MOST:
        raise too_large(f"{choice.shown} terms, one a line", _INSTEAD)
    look, theme = pen.look, pen.theme
    terms = [receipt.term(position) for row in choice.positions for position in row]
    here = [term for term in terms if receipt.present[term.position]]
    values = Scale.of([t.value for t in here], look.digits, narrow=look.narrow)
    weights = Scale.of([t.weight for t in terms], look.digits, narrow=look.narrow)
    extra = [number for number in (choice.rest, receipt.bias) if number is not None]
    column = [*(t.product for t in here), *extra, receipt.exact]
    scale = Scale.of(column, look.digits, narrow=look.narrow)
    left = tuple(values.show(t.value).marked for t in here)
    right = tuple(weights.show(t.weight).marked for t in terms)
    sizes = Measures.of(left, square=True), Measures.of(right, square=True)
    channels = isinstance(receipt.layout, Window)
    entries: list[Entry] = []
    shown: list[Shown] = []
    for term in terms:
        reads = bool(receipt.present[term.position])
        bad = term.position in set(receipt.culprits)
        ink = theme.wrong if bad else None
        fill = theme.behind(theme.wrong if bad else theme.window)
        value = values.show(term.value)
        weight = weights.show(term.weight)
        cell = Cell(value.marked, fill, ink, role="input")
        if not reads:
            cell = Cell(PADDING, hatched=True, role="input")
        factor = Cell(weight.marked, theme.behind(theme.kernel), ink, role="kernel")
        boxes = [
            grid(pen, [[cell]], sizes[0], texts=left),
            pen.text("×"),
            grid(pen, [[factor]], sizes[1], texts=right),
        ]
        if channels:
            label = pen.text(pen.say("axis.channel", n=term.channel), SMALL + 1, bold=True)
            boxes.insert(0, widened(label, label.width + 6, "left"))
        row = beside(boxes, 5)
        tail = pen.quiet(_addresses(term, receipt, pen))
        if not reads:
            entries.append(Entry(row, PADDING, "=", role="product", tail=tail))
            continue
        product = scale.show(term.product)
        shown.append(product)
        sign = product_sign(value, weight, product)
        entries.append(Entry(row, product.text, sign, role="product", tail=tail))
    return ledger(pen, [*entries, *foot(receipt, choice, shown, scale, pen)], above=3)


def _addresses(term: Term, receipt: Receipt, pen: Pen) -> str:
    transposed = isinstance(receipt.layout, Window) and receipt.layout.transposed
    nothing = pen.say("receipt.no_input" if transposed else "receipt.padding")
    source = name(term.source) if term.source else nothing
    return source if term.weight_address is None else f"{source} × {name(term.weight_address)}"
