"""Terms as a list, one line each: value × weight = product, and the addresses of both."""

from __future__ import annotations

from rich.text import Text

from convtrace.receipt import Receipt, Term
from convtrace.render.cut import Choice
from convtrace.render.look import KERNEL, PADDING, QUIET, WINDOW, WRONG, Look, name
from convtrace.render.numbers import Column, Scale, Shown, product_sign, sum_sign
from convtrace.render.text.gradients import hides_weights, label_key, missing
from convtrace.render.text.ledger import Amount, Row, compose, pad, widest


def listing(
    receipt: Receipt, choice: Choice, foot: list[Row], sums: list[Shown], look: Look
) -> list[Text]:
    """Write the chosen terms one a line.

    Args:
        receipt: The receipt.
        choice: Which terms.
        foot: Rows below the last channel: bias, rest and total.
        sums: Sum of each channel of `choice`, as shown; used where channels are whole.
        look: Language, digits, width.
    """
    terms = [[receipt.term(position) for position in row] for row in choice.positions]
    lines = _Lines(receipt, [term for row in terms for term in row], look)
    each = receipt.products[0].size
    labels = [_label(receipt, choice, place, look) for place in range(len(terms))]
    if each == 1:
        start = widest(labels) + 2
        starts = [pad(Text(label, "bold"), start) for label in labels]
        return compose(
            [*(lines.row(row[0], head)[0] for row, head in zip(terms, starts, strict=True)), *foot],
            gap=1,
        )
    rows: list[Row] = []
    for row, label, total in zip(terms, labels, sums, strict=True):
        rows.append(Row(Text(label, "bold")))
        written = [lines.row(term, Text("  ")) for term in row]
        rows += [one for one, _ in written]
        if choice.whole:
            products = [product for _, product in written if product]
            rows.append(Row(amount=Amount(total.text, sum_sign(products, total), "Σ")))
        rows.append(Row())
    return compose([*rows, *foot], gap=1)


def _label(receipt: Receipt, choice: Choice, place: int, look: Look) -> str:
    """Name a channel, and say how much of it is shown; nothing where the terms have no channels."""
    key = label_key(receipt)
    if key is None:
        return ""
    label = look.say(key, n=receipt.layout.channels[choice.channels[place]])
    shown, each = len(choice.positions[place]), receipt.products[0].size
    if shown == each:
        return label
    return look.say("receipt.partial", label=label, shown=shown, count=each)


class _Lines:
    """Writes terms in columns, each with a scale of its own."""

    def __init__(self, receipt: Receipt, terms: list[Term], look: Look) -> None:
        self.receipt = receipt
        here = [term for term in terms if self._reads(term)]
        self.inputs = Scale.of([t.value for t in here], look.digits, narrow=look.narrow)
        self.weights = Scale.of([t.weight for t in terms], look.digits, narrow=look.narrow)
        self.products = Scale.of([t.product for t in here], look.digits, narrow=look.narrow)
        self.left = Column.of([PADDING, *(self.inputs.show(t.value).marked for t in here)])
        self.right = Column.of(self.weights.show(t.weight).marked for t in terms)
        self.nothing = look.say(missing(receipt)[0])
        self.culprits = set(receipt.culprits)

    def row(self, term: Term, head: Text) -> tuple[Row, Shown | None]:
        """Write one term; returns its product as shown, or None on padding."""
        bad = term.position in self.culprits
        weight = self.weights.show(term.weight)
        product = None
        body = head.copy()
        if self._reads(term):
            value, product = self.inputs.show(term.value), self.products.show(term.product)
            body.append(self.left.put(value.marked), WRONG if bad else WINDOW)
            amount = Amount(product.text, product_sign(value, weight, product), style="")
        else:
            body.append(self.left.put(PADDING), QUIET)
            amount = Amount(PADDING, style=QUIET)
        body.append(" × ")
        if hides_weights(self.receipt) and product is None:
            body.append(self.right.put(PADDING), QUIET)
        else:
            body.append(self.right.put(weight.marked), WRONG if bad else KERNEL)
        return Row(body, amount, self._addresses(term)), product

    def _reads(self, term: Term) -> bool:
        """Whether there is a number to read: at a shut gate there is, though nothing passes."""
        return bool(self.receipt.present[term.position]) or term.source is not None

    def _addresses(self, term: Term) -> Text:
        source = name(term.source) if term.source else self.nothing
        if term.weight_address is None:
            return Text(source, QUIET)
        return Text(f"{source} × {name(term.weight_address)}", QUIET)
