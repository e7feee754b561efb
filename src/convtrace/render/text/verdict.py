"""The last lines of a receipt: exact sum, what was returned, and what the difference means."""

from __future__ import annotations

import math

from rich.cells import cell_len
from rich.text import Text

from convtrace.address import Address
from convtrace.arithmetic import Arithmetic
from convtrace.receipt import Receipt, Verdict
from convtrace.render.look import QUIET, SUM, WRONG, Look, keep, name
from convtrace.render.numbers import ABOUT, Shown, about, resolve
from convtrace.step import Number

STYLES: dict[Verdict, str] = {
    "exact": SUM,
    "rounding": SUM,
    "mismatch": WRONG,
    "nonfinite": WRONG,
}
SHOWN_CULPRITS = 8


def verdict_lines(receipt: Receipt, look: Look, *, culprits: int | None) -> list[Text]:
    """Write the verdict and what it means.

    Args:
        receipt: A receipt with a verdict.
        look: Language, digits, width.
        culprits: Most terms with NaN or infinity to name; None names all.
    """
    assert receipt.verdict is not None
    lines: list[Text] = []
    if alone(receipt):
        text = _exact(receipt, _sum(receipt, look), look)
        lines = _joined([Text(text, SUM), Text(look.say("verdict.alone"))], look)
        return lines + [Text(t, QUIET) for t in look.wrap(look.say("verdict.alone_why"))]
    exact, returned = _compared(receipt, look)
    style = STYLES[receipt.verdict]
    lines += _joined(
        [
            Text(_exact(receipt, exact, look), SUM),
            Text(returned_text(receipt, returned, look)),
            Text(look.say(f"verdict.{receipt.verdict}"), style),
        ],
        look,
    )
    if receipt.verdict == "mismatch":
        lines += [Text(t, WRONG) for t in look.wrap(look.say("verdict.loud"))]
    for sentence in _sentences(receipt, look):
        lines += map(Text, look.wrap(sentence))
    lines += _culprits(receipt, look, culprits)
    for key, values in receipt.notes:
        known = {"reported": receipt.reported, **values}
        shown = {k: look.show(v).text if _is_number(v) else v for k, v in known.items()}
        lines += map(Text, look.wrap(look.say(key, **shown)))
    if receipt.verdict in ("rounding", "mismatch") and receipt.arithmetic:
        text = look.say("verdict.arithmetic", arithmetic=describe(receipt.arithmetic, look))
        lines += [Text(t, QUIET) for t in look.wrap(text)]
    return lines


def _joined(parts: list[Text], look: Look) -> list[Text]:
    """Join parts by dots, in one line where they fit; a line break comes after a dot."""
    lines = [Text()]
    for number, part in enumerate(parts):
        dot = " ·" if number < len(parts) - 1 else ""
        if lines[-1] and cell_len(f"{lines[-1].plain} {part.plain}{dot}") > look.width:
            lines.append(Text())
        if lines[-1]:
            lines[-1].append(" ")
        lines[-1].append_text(part).append(dot)
    return lines


def alone(receipt: Receipt) -> bool:
    """Whether there was nothing to compare the exact sum with."""
    return receipt.reporter == "exact" and receipt.verdict == "exact"


def returned_text(receipt: Receipt, value: Shown, look: Look) -> str:
    """Write `torch returned 24`."""
    known = ("torch", "onnxruntime", "observed")
    key = receipt.reporter if receipt.reporter in known else "other"
    return look.say(f"verdict.returned.{key}", value=value.marked, reporter=name(receipt.reporter))


def describe(arithmetic: Arithmetic, look: Look) -> str:
    """Name the arithmetic that a bound assumes, as `Arithmetic.describe` does in English."""
    parts = [
        look.say("arithmetic.operands", format=arithmetic.operands),
        look.say("arithmetic.accumulate", format=arithmetic.accumulate),
    ]
    if arithmetic.partial_sums:
        parts.append(look.say("arithmetic.partial", format=arithmetic.result))
    if arithmetic.result != arithmetic.accumulate:
        parts.append(look.say("arithmetic.result", format=arithmetic.result))
    return ", ".join(parts)


def _exact(receipt: Receipt, exact: Shown, look: Look) -> str:
    alone = receipt.products.size == 1 and receipt.bias is None
    return look.say("verdict.value" if alone else "verdict.sum", exact=exact.marked)


def _sum(receipt: Receipt, look: Look) -> Shown:
    return look.identify(receipt.exact) if look.digits is None else look.show(receipt.exact)


def _compared(receipt: Receipt, look: Look) -> tuple[Shown, Shown]:
    """Write exact sum and returned number so that their difference shows."""
    residual, exact, reported = receipt.residual, receipt.exact, receipt.reported
    if not residual:
        return look.identify(reported), look.identify(reported)
    if look.digits is None:
        return look.show(exact), look.show(reported)
    if isinstance(residual, complex):
        return look.identify(exact), look.identify(reported)
    if isinstance(residual, float) and math.isfinite(residual):
        pair = [float(exact.real), float(reported.real)]
        shown = resolve(pair, residual, narrow=look.narrow)
        return shown[0], shown[1]
    return look.show(exact), look.identify(reported)


def _sentences(receipt: Receipt, look: Look) -> list[str]:
    """Say in words how far apart the two numbers are, and whether rounding explains it."""
    arithmetic, residual = receipt.arithmetic, receipt.residual
    if not math.isfinite(abs(residual)):
        finite = math.isfinite(abs(receipt.reported))
        return [look.say("verdict.finite")] if finite and receipt.verdict == "mismatch" else []
    if not residual:
        return []
    size = (_apart if receipt.verdict == "mismatch" else _about)(residual, look)
    if arithmetic is None:
        return [look.say("verdict.integer", residual=size)] if receipt.verdict == "mismatch" else []
    words = {
        "residual": size,
        "format": arithmetic.result,
        "bound": about(receipt.bound),
        "typical": about(receipt.typical),
    }
    if receipt.verdict == "exact":
        return [look.say("verdict.nearest", **words)]
    if receipt.verdict == "rounding":
        unusual = abs(residual) > 10 * receipt.typical
        return [look.say("verdict.large" if unusual else "verdict.ordinary", **words)]
    if receipt.verdict == "mismatch" and math.isfinite(receipt.bound):
        ratio = abs(residual) / receipt.bound if receipt.bound else math.inf
        return [look.say("verdict.ratio", ratio=about(ratio), **words)]
    return []


def _about(residual: Number, look: Look) -> str:
    if isinstance(residual, int):
        return look.show(abs(residual)).text
    return about(abs(residual))


def _apart(residual: Number, look: Look) -> str:
    """Write how far a wrong result is off: exactly where that is short, else marked with ≈."""
    shown = look.show(abs(residual))
    return f"≈{shown.text}" if shown.rounded else shown.text


def _culprits(receipt: Receipt, look: Look, most: int | None) -> list[Text]:
    """Name the terms that brought in NaN or infinity."""
    if not receipt.culprits:
        return []
    lines = [Text(t, WRONG) for t in look.wrap(look.say("verdict.culprits"))]
    named = receipt.culprits if most is None else receipt.culprits[:most]
    for position in named:
        term = receipt.term(position)
        here = bool(receipt.present[position])
        weight_is_bad = not math.isfinite(abs(term.weight)) and term.weight_address is not None
        address: Address | None = term.weight_address if weight_is_bad else term.source
        value, weight = look.identify(term.value).text, look.identify(term.weight).text
        result = look.identify(term.product if here else math.nan).text
        words = {
            "address": name(address) if address else "",
            "own": weight if weight_is_bad else value,
            "product": keep(f"{value} × {weight} = {result}"),
        }
        key = "verdict.culprit.term" if here else "verdict.culprit.padding"
        sentence = look.say(key, **words) if address else str(words["product"])
        lines += [Text(t) for t in look.wrap(sentence, indent="  ")]
    if len(receipt.culprits) > len(named):
        count = len(receipt.culprits) - len(named)
        lines.append(Text("  " + look.say("verdict.culprit.more", count=count)))
    return lines


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | complex) and not isinstance(value, bool)


def line_of_sum(receipt: Receipt, look: Look) -> str:
    """Write `= 24`, or `≈ 0.412063`."""
    shown = look.show(receipt.exact)
    return f"{ABOUT if shown.rounded else '='} {shown.text}"
