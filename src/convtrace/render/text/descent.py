"""The descent: a number, the numbers that made it, and so on down to the pixels, as a tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from convtrace.catalog import say
from convtrace.receipt import Receipt, Term
from convtrace.render.cut import add
from convtrace.render.look import QUIET, WIDTH, Look, name
from convtrace.render.numbers import ABOUT, MINUS, Scale, Shown, sum_sign

if TYPE_CHECKING:
    from rich.console import Group
    from rich.tree import Tree

    from convtrace.graph import Trace

MOST_CHANNELS = 8
MOST_TERMS = 16
MOST_NUMBERS = 8
"""Channels, terms of a channel, and numbers below a number that are shown; the rest is counted."""

MOST_OPENED = 18
"""Terms that a number right above the input may have to be opened beside others."""

_GUIDE_WIDTH = 4  # of rich.tree


def descent(trace: Trace, receipt: Receipt, lang: str, width: int = WIDTH) -> Group:
    """Draw the way from one number down to the numbers that were given.

    A number splits into its input channels, a channel into its products, and each number that is
    multiplied there has a branch of its own. Right above the input every branch is opened, as long
    as that stays readable; elsewhere only the first one is, and the others are single lines that
    end in `…`.

    Args:
        trace: The run.
        receipt: Receipt of the number at the top.
        lang: `en` or `ko`.
        width: Columns of the terminal.

    Returns:
        A tree that `rich` prints, and below it what its marks mean.
    """
    from rich.console import Group
    from rich.text import Text

    drawing = _Drawing(trace, lang, width)
    tree = drawing.branch(receipt, depth=0)
    if not drawing.unopened:
        return Group(tree)
    return Group(tree, Text("\n" + say("demo.descent.unopened", lang), QUIET))


def equation(receipt: Receipt, lang: str) -> str:
    """Write a number as the sum of its channels and its bias.

    Args:
        receipt: Receipt of the number.
        lang: `en` or `ko`.

    Returns:
        For example `conv2[0,0,0,0] = 270 = 30 + 240`; `≈` where what is shown is rounded.
    """
    look = _look(receipt, lang)
    sums = receipt.channel_sums.tolist()
    shown = sums[:MOST_CHANNELS]
    bias = [] if receipt.bias is None else [receipt.bias]
    scale = Scale.of([receipt.reported, *shown, *bias], look.digits, narrow=look.narrow)
    total = scale.show(receipt.reported)
    start = f"{name(receipt.address)} {total.sign} {total.text}"
    if not sums or (len(sums) == 1 and not bias):
        return start
    parts = [scale.show(number) for number in (*shown, *bias)]
    texts = [part.text for part in parts]
    if bias:
        texts[-1] = say("demo.descent.bias", lang, value=texts[-1])
    if len(shown) < len(sums):
        texts.insert(len(shown), "…")
        sign = ABOUT if any(one.rounded for one in (*parts, total)) else "="
    else:
        sign = sum_sign(parts, total)
    return f"{start} {sign} {_plus(texts)}"


@dataclass
class _Drawing:
    trace: Trace
    lang: str
    width: int
    unopened: int = 0

    def branch(self, receipt: Receipt, depth: int) -> Tree:
        """Draw a number and everything below it."""
        from rich.text import Text
        from rich.tree import Tree

        tree = Tree(Text(equation(receipt, self.lang)), guide_style=QUIET, highlight=False)
        channels = len(receipt.layout.channels)
        shown = min(channels, MOST_CHANNELS)
        most = max(1, MOST_NUMBERS // max(shown, 1))
        first = True
        for place in range(shown):
            terms = _channel_terms(receipt, place)
            read = [term for term in terms if term.source is not None]
            label = Text(self._channel(receipt, place, terms))
            node = tree.add(label)
            if self._is_given(read):
                if read:
                    label.append("\n")
                    label.append(self._addresses(read[:MOST_TERMS], depth + 2), QUIET)
                continue
            for term in read[:most]:
                assert term.source is not None
                below = self.trace.why(term.source)
                if first or self._is_short(below):
                    node.add(self.branch(below, depth + 2))
                else:
                    node.add(Text(f"{equation(below, self.lang)} …"))
                    self.unopened += 1
                first = False
            if len(read) > most:
                node.add(Text(self._say("numbers", shown=most, count=len(read)), QUIET))
        if channels > shown:
            tree.add(Text(self._rest_of_channels(receipt, shown), QUIET))
        return tree

    def _is_short(self, receipt: Receipt) -> bool:
        """Whether a number is made of few given ones, so that it may be opened beside others."""
        return receipt.products.size <= MOST_OPENED and self._is_given(receipt.terms)

    def _say(self, key: str, **values: object) -> str:
        return say(f"demo.descent.{key}", self.lang, **values)

    def _channel(self, receipt: Receipt, place: int, terms: Sequence[Term]) -> str:
        """Write the sum of one channel: `24×0.25 + 27×0.25 = 6.75`."""
        read = [term for term in terms if term.source is not None]
        missing = len(terms) - len(read)
        shown = read[:MOST_TERMS]
        show = _look(receipt, self.lang).show
        total = show(receipt.channel_sums[place].item())
        factors = [(show(term.value), show(term.weight)) for term in shown]
        products = [f"{_factor(value)}×{_factor(weight)}" for value, weight in factors]
        if len(read) > len(shown):
            products.append("…")
            sign = total.sign
        else:
            sign = "=" if _adds_up(factors, total) else ABOUT
        text = f"{' + '.join(products) or '0'} {sign} {total.text}"
        if not read:
            text = "0"
        line = self._say(
            "channel",
            step=name(self._below(terms, receipt)),
            channel=receipt.layout.channels[place],
            sum=text,
        )
        if missing:
            transposed = getattr(receipt.layout, "transposed", False)
            key = "no_input" if transposed else "padding"
            line += f" {self._say(key, count=missing)}"
        if len(read) > len(shown):
            rest = show(add([term.product for term in read[MOST_TERMS:]])).marked
            line += f" {self._say('terms', shown=len(shown), count=len(read), rest=rest)}"
        return line

    def _below(self, terms: Sequence[Term], receipt: Receipt) -> str:
        return next(
            (term.source.step for term in terms if term.source is not None),
            self.trace.step(receipt.address.step).operands.get("input", ""),
        )

    def _rest_of_channels(self, receipt: Receipt, shown: int) -> str:
        hidden = add(receipt.products[shown:].ravel().tolist())
        rest = _look(receipt, self.lang).show(hidden).marked
        count = len(receipt.layout.channels)
        return self._say("channels", shown=shown, count=count, rest=rest)

    def _is_given(self, terms: Sequence[Term]) -> bool:
        return all(term.source is None or term.source.step in self.trace.inputs for term in terms)

    def _addresses(self, terms: Sequence[Term], level: int) -> str:
        """Lay out addresses in a grid, as many in a line as fit, so that none is broken."""
        texts = [name(term.source) for term in terms if term.source]
        wide = max((len(text) for text in texts), default=1)
        room = self.width - level * _GUIDE_WIDTH + _GUIDE_WIDTH
        across = max(1, (room + 1) // (wide + 1))
        rows = [texts[at : at + across] for at in range(0, len(texts), across)]
        return "\n".join(" ".join(text.ljust(wide) for text in row).rstrip() for row in rows)


def _channel_terms(receipt: Receipt, place: int) -> list[Term]:
    each = receipt.products[place].size
    return receipt.terms[place * each : (place + 1) * each]


def _plus(texts: Sequence[str]) -> str:
    """Join summands; `+ −3` becomes `− 3`."""
    first, *others = texts
    joined = first
    for text in others:
        joined += f" {MINUS} {text[1:]}" if text.startswith(MINUS) else f" + {text}"
    return joined


def _factor(shown: Shown) -> str:
    return f"({shown.text})" if shown.text.startswith(MINUS) else shown.text


def _adds_up(factors: Sequence[tuple[Shown, Shown]], total: Shown) -> bool:
    """Whether a reader who multiplies and adds the texts gets the text of the total."""
    products: list[Fraction] = []
    for value, weight in factors:
        if value.fraction is None or weight.fraction is None:
            return not total.rounded
        products.append(value.fraction * weight.fraction)
    return total.fraction is None or sum(products, Fraction()) == total.fraction


def _look(receipt: Receipt, lang: str) -> Look:
    return Look.of(receipt, lang, MOST_TERMS, WIDTH)
