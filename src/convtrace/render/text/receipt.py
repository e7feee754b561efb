"""A receipt as text, for terminals and for `print`."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from convtrace.catalog import choose_language
from convtrace.receipt import Receipt
from convtrace.render.cut import Choice, choose
from convtrace.render.look import QUIET, SUM, WIDTH, Look, kind_name, name
from convtrace.render.numbers import ABOUT, Scale, Shown, sum_sign
from convtrace.render.text.gradients import is_framed, is_gradient, missing
from convtrace.render.text.grid import grids
from convtrace.render.text.ledger import Amount, Row
from convtrace.render.text.printing import print_lines
from convtrace.render.text.terms import listing
from convtrace.render.text.verdict import (
    SHOWN_CULPRITS,
    alone,
    line_of_sum,
    returned_text,
    verdict_lines,
)
from convtrace.render.text.words import accumulator, headline, introduction
from convtrace.rules.conv import Window
from convtrace.step import Number


def receipt_text(
    receipt: Receipt, lang: str | None = None, limit: int | None = 64, *, width: int = WIDTH
) -> str:
    """Write a receipt as plain text.

    Args:
        receipt: The receipt.
        lang: `en` or `ko`; None takes the locale's.
        limit: Most terms to show; None shows all terms, with all their digits.
        width: Cells of a line, as long as it can be parted.
    """
    return "\n".join(line.plain for line in receipt_lines(receipt, lang, limit, width=width))


def print_receipt(
    receipt: Receipt, console: Console, lang: str | None = None, limit: int | None = 64
) -> None:
    """Print a receipt, in colour where the console has any.

    Lines are never wrapped: a narrow terminal does that itself, without losing a number.
    """
    print_lines(console, lambda width: receipt_lines(receipt, lang, limit, width=width))


def receipt_line(receipt: Receipt, lang: str | None = None) -> str:
    """Write a receipt in one line: `conv1[0,0,0,0] = 24   torch returned 24 · exact`."""
    look = Look.of(receipt, choose_language(lang), 64, WIDTH)
    if receipt.verdict is None:
        return f"{headline(receipt, look)}   {_origin(receipt, look)}"
    start = f"{name(receipt.address)} {line_of_sum(receipt, look)}   "
    if alone(receipt):
        return start + look.say("line.alone")
    returned = returned_text(receipt, look.identify(receipt.reported), look)
    return f"{start}{returned} · {look.say(f'verdict.{receipt.verdict}')}"


def receipt_lines(
    receipt: Receipt, lang: str | None = None, limit: int | None = 64, *, width: int = WIDTH
) -> list[Text]:
    """Write a receipt as lines of styled text; `receipt_text` has the arguments."""
    look = Look.of(receipt, choose_language(lang), limit, width)
    lines = [Text(headline(receipt, look), "bold")]
    if receipt.verdict is None:
        for sentence in given(receipt, look):
            lines += map(Text, look.wrap(sentence))
        return lines
    lines += map(Text, introduction(receipt, look))
    choice = choose(receipt, limit)
    if receipt.products.size and (receipt.present.any() or receipt.status != "selects"):
        lines += [Text(), *_terms(receipt, choice, look)]
    if lines[-1].plain:
        lines.append(Text())
    remarks = _remarks(receipt, choice, look, "\n".join(line.plain for line in lines))
    lines += [Text(line, QUIET) for remark in remarks for line in look.wrap(remark)]
    if remarks:
        lines.append(Text())
    culprits = None if limit is None else SHOWN_CULPRITS
    return lines + verdict_lines(receipt, look, culprits=culprits)


def _terms(receipt: Receipt, choice: Choice, look: Look) -> list[Text]:
    """Write the terms as grids where these are readable, else as a list."""
    totals: list[Number] = receipt.channel_sums[choice.channels].tolist()
    extra = [
        number for number in (choice.rest, receipt.bias, accumulator(receipt)) if number is not None
    ]
    scale = Scale.of([*totals, *extra, receipt.exact], look.digits, narrow=look.narrow)
    sums = [scale.show(total) for total in totals]
    single = receipt.products.size == len(receipt.products)
    framed = is_framed(receipt)
    if framed and choice.whole and not single and look.digits:
        foot = _foot(receipt, choice, sums, scale, look)
        if lines := grids(receipt, choice.channels, foot, sums, look):
            return lines
    products = [receipt.products[p] for row in choice.positions for p in row]
    parts = sums if choice.whole and not single else [scale.show(p.item()) for p in products]
    return listing(receipt, choice, _foot(receipt, choice, parts, scale, look), sums, look)


def _foot(
    receipt: Receipt, choice: Choice, parts: list[Shown], scale: Scale, look: Look
) -> list[Row]:
    """Return the rows below the channels: what is not shown, the bias, the total."""
    rows: list[Row] = []
    parts = list(parts)
    layered = isinstance(receipt.layout, Window) or receipt.kind == "linear"
    layered = layered and not is_gradient(receipt)
    if choice.rest is not None:
        rest = scale.show(choice.rest)
        parts.append(rest)
        label = look.say("receipt.rest", count=choice.count - choice.shown)
        rows.append(Row(Text(label), Amount(rest.text, rest.sign)))
    if receipt.bias is None:
        if layered:
            rows.append(Row(Text(look.say("receipt.no_bias"), QUIET)))
        if len(parts) == 1:
            return rows
    else:
        bias = scale.show(receipt.bias)
        parts.append(bias)
        label = look.say("receipt.constant")
        if receipt.bias_address:
            label = look.say("receipt.bias", address=name(receipt.bias_address))
        rows.append(Row(Text(label), Amount(bias.text, bias.sign)))
    added = accumulator(receipt)
    quantized = added is not None and added != receipt.exact
    total = scale.show(added if added is not None and quantized else receipt.exact)
    sign = sum_sign(parts, total)
    style = "" if quantized else f"bold {SUM}"
    key = "receipt.accumulator" if quantized else "receipt.total"
    rows += [
        Row(rule=True),
        Row(Text(look.say(key), "bold"), Amount(total.text, sign, style=style)),
    ]
    if quantized:
        made = scale.show(receipt.exact)
        amount = Amount(made.text, made.sign, style=f"bold {SUM}")
        rows.append(Row(Text(look.say("receipt.quantized"), "bold"), amount))
    return rows


def _remarks(receipt: Receipt, choice: Choice, look: Look, text: str) -> list[str]:
    """Explain the marks that occur in the text, and say what was left out."""
    remarks: list[str] = []
    if choice.rest is not None:
        several = receipt.products.size > len(receipt.products)
        key = "channels" if choice.whole and several else "terms"
        remarks.append(
            look.say(
                f"shown.{key}_culprits" if receipt.culprits else f"shown.{key}",
                shown=choice.shown,
                count=choice.count,
                channels=len(choice.channels),
                of=len(receipt.products),
                rest=look.show(choice.rest).marked,
            )
        )
    if is_framed(receipt) and not receipt.present.all():
        remarks.append(look.say(missing(receipt)[1]))
    rounded = ABOUT in text
    if rounded:
        key = "rounded" if look.digits is not None else "rounded_sums"
        remarks.append(look.say(f"shown.{key}"))
    if look.digits is not None and (rounded or choice.rest is not None):
        remarks.append(look.say("shown.all"))
    return remarks


def given(receipt: Receipt, look: Look) -> list[str]:
    """Say where a number comes from that has no terms."""
    sentences: list[str] = []
    for key, values in receipt.notes:
        words = {k: name(v) if isinstance(v, str) else v for k, v in values.items()}
        alone = key == "note.opaque" and not values.get("operands")
        sentences.append(look.say("note.opaque_source" if alone else key, **words))
    return sentences


def _origin(receipt: Receipt, look: Look) -> str:
    if any(key.startswith("note.given.") for key, _ in receipt.notes):
        return look.say(f"line.{receipt.kind}")
    return look.say("line.opaque", kind=kind_name(receipt.kind))
