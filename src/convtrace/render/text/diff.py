"""A report of `convtrace.diff` as text: verdict, causes, worst elements, tolerance."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from convtrace.catalog import choose_language, messages
from convtrace.mismatch.report import Cause, Pattern, Report
from convtrace.render.look import Look, name
from convtrace.render.numbers import about, grouped, resolve, show
from convtrace.render.text.receipt import receipt_line
from convtrace.render.text.verdict import describe

INDENT = "  "

COUNTS = frozenset({"count", "of"})
"""Placeholders that hold numbers of things, whose thousands are parted."""

Kind = Literal["text", "item", "also", "line"]
Part = tuple[Kind, str]
"""A sentence, one of a list, what is said of the one before, or a line that is not to be broken."""


def report_text(report: Report, lang: str | None = None) -> str:
    """Write a report as plain text.

    Args:
        report: The report.
        lang: `en` or `ko`; None takes the locale's.
    """
    look = Look(choose_language(lang))
    lines = [heading(report, look)]
    for number, block in enumerate(blocks(report, look)):
        lines += [""] if number else []
        for kind, text in block:
            lines += _lines(kind, text, look)
    return "\n".join(lines)


def _lines(kind: Kind, text: str, look: Look) -> list[str]:
    if kind == "line":
        return [INDENT + text]
    if kind == "text":
        return look.wrap(text)
    first, *rest = look.wrap(text, INDENT + INDENT)
    return [first if kind == "also" else f"{INDENT}• {first.strip()}", *rest]


def heading(report: Report, look: Look) -> str:
    """Say what came out, in a line."""
    verdict = look.say(f"verdict.{report.verdict}")
    return look.say("diff.headline", name=name(report.name), verdict=verdict)


def blocks(report: Report, look: Look) -> list[list[Part]]:
    """Return what is said below the headline: blocks of parts, the first of which may be empty."""
    compared = not math.isnan(report.inside)
    first: list[Part] = [*_elements(report, look), *_remarks(report, look)]
    worst: list[Part] = []
    if report.verdict != "exact" and report.worst and compared:
        certified = any(receipt.verdict == "mismatch" for receipt in report.worst)
        sums = report.verdict == "mismatch" and not certified
        worst.append(("text", look.say("diff.worst_sum" if sums else "diff.worst")))
        worst.extend(("line", receipt_line(receipt, look.lang)) for receipt in report.worst)
    end: list[Part] = []
    if report.arithmetic is not None:
        text = describe(report.arithmetic, look)
        end.append(("text", look.say("diff.arithmetic", arithmetic=text)))
    if report.tolerance is not None and compared:
        end.append(("text", look.say("diff.tolerance")))
        end.append(("line", report.tolerance.code))
    return [first, *(block for block in (_causes(report, look), worst, end) if block)]


def _remarks(report: Report, look: Look) -> Iterator[Part]:
    for key, values in report.notes:
        yield "text", look.say(key, **_words(values, look))
    if report.found:
        listed = ", ".join(
            look.say("diff.setting", name=key, value=_value(report.settings[key], look))
            for key in report.found
        )
        known = report.explanations or report.verdict != "mismatch"
        yield "text", look.say("diff.settings" if known else "diff.settings_shape", settings=listed)


def _elements(report: Report, look: Look) -> Iterator[Part]:
    """Say how many elements are inside their bounds, and how all of them are spread."""
    if math.isnan(report.inside):
        return
    wrong = round((1 - report.inside) * report.count)
    words = {
        "count": grouped(report.count),
        "wrong": grouped(wrong),
        "share": _percent(wrong / max(report.count, 1)),
        "ratio": grouped(about(report.ratio)),
        "format": report.arithmetic.result if report.arithmetic else "",
    }
    if report.verdict == "exact":
        key = "exact" if report.arithmetic else "integers"
    elif report.arithmetic is None:
        key = "integers_some" if wrong else "integers"
    elif wrong:
        key = "some" if math.isfinite(report.ratio) else "infinite"
    else:
        key = "hidden" if report.verdict == "mismatch" else "all"
    yield "text", look.say(f"diff.inside.{key}", **words)
    spread = report.spread
    if spread is not None and not wrong and report.verdict in ("rounding", "mismatch"):
        usual = "usual" if spread.usual else "drift" if spread.drift else "unusual"
        numbers = {"size": spread.size, "expected": spread.expected, "drift": spread.drift}
        numbers = {name: about(number) for name, number in numbers.items()}
        yield "text", look.say(f"diff.spread.{usual}", **numbers)


def _percent(share: float) -> str:
    """Write a share in per cent; what is not all does not become 100."""
    text = f"{100 * share:.3g}"
    return "> 99.9" if text == "100" and share < 1 else text


def _causes(report: Report, look: Look) -> list[Part]:
    """Name the causes, or say what the residual looks like."""
    found = report.explanations
    rounding = report.verdict != "mismatch"
    if not found:
        if rounding:
            return []
        if report.pattern is None:
            return [("text", look.say("diff.causes.unknown_shape"))]
        return _pattern(report.pattern, look)
    if len(found) == 1:
        proved = all(cause.proved for cause in found[0])
        if found[0][0].id == "deterministic.not":
            return [("text", look.say("diff.causes.seen")), ("item", cause_text(found[0][0], look))]
        key = "rounding" if rounding else "proved" if proved else "likely"
        if len(found[0]) > 1 and not rounding:
            key += "_pair"
        said = look.say(f"diff.causes.{key}", count=grouped(report.count))
        return [("text", said), *(("item", cause_text(cause, look)) for cause in found[0])]
    if report.same and not rounding:
        key = "same" if report.proved else "same_likely"
        said = look.say(f"diff.causes.{key}", count=grouped(report.count))
        texts = dict.fromkeys(_together(causes, look) for causes in found)
        return [("text", said), *(("item", text) for text in texts)]
    functions = dict.fromkeys(report.functions)
    key = "ambiguous_rounding" if rounding else "ambiguous"
    parts: list[Part] = [("text", look.say(f"diff.causes.{key}", count=len(functions)))]
    for function in functions:
        names = [c for c, of in zip(found, report.functions, strict=True) if of == function]
        parts.append(("item", _together(names[0], look)))
        others = (look.say("diff.causes.also", cause=_together(c, look)) for c in names[1:])
        parts.extend(("also", text) for text in others)
    return parts if rounding else [*parts, ("text", _apart(report, look))]


def _apart(report: Report, look: Look) -> str:
    """Say which input tells causes apart."""
    apart = report.apart
    if apart is None:
        return look.say(f"diff.apart.{'settings' if report.expected_shape else 'none'}")
    shape = _value(tuple(apart.x.shape), look)
    if apart.weight is None:
        return look.say("diff.apart.x", shape=shape)
    key = "channels" if apart.channels else "weights"
    weights = _value(tuple(apart.weight.shape), look)
    return look.say(f"diff.apart.{key}", shape=shape, weights=weights)


def _together(causes: Sequence[Cause], look: Look) -> str:
    """Say what causes are that act together."""
    return " ".join(cause_text(cause, look) for cause in causes)


def cause_text(cause: Cause, look: Look) -> str:
    """Say in one sentence what a cause is."""
    values = cause.parameters
    key = f"diff.cause.{cause.id}"
    if cause.id == "kernel.flipped" and values.get("all") and len(values["axes"]) > 1:
        key += "_all"
    elif cause.id == "kernel.reshaped" and not values["stored"]:
        key += "_back"
    elif cause.id in ("input.layout", "output.layout") and values["stored"]:
        key += "_stored"
    elif cause.id == "padding.missing" and "left" in values:
        key += "_rest"
    elif cause.id == "quantized.accumulator" and not values["wraps"]:
        key += "_saturates"
    return look.say(key, **_words(values, look))


def _pattern(pattern: Pattern, look: Look) -> list[Part]:
    said = look.say("diff.causes.unknown")
    listed = (look.say(key, **_words(values, look)) for key, values in pattern.findings)
    return [("text", said), *(("item", text) for text in listed)]


def _words(values: Mapping[str, Any], look: Look) -> dict[str, str]:
    """Write the values of a message in the reader's language."""
    return {
        key: grouped(value)
        if key in COUNTS and isinstance(value, int)
        # What is "about" something needs neither a mark nor many digits.
        else about(value, 3)
        if key == "slope"
        else _value(value, look)
        for key, value in values.items()
    }


def _value(value: Any, look: Look) -> str:
    if isinstance(value, str):
        known = messages(look.lang)
        slug = "".join(c if c.isalnum() else "_" for c in value).strip("_")
        for place in ("axis", "word"):
            if (found := known.get(f"diff.{place}.{slug}")) is not None:
                return found
        return name(value)
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, (int, float)):
        if 0 < abs(abs(value) - 1) < 1e-4:  # a factor that is hardly one has to show it
            return resolve([value], abs(value) - 1, narrow=False)[0].marked
        return show(value).marked
    if isinstance(value, Sequence):
        rows: Sequence[Any] = value  # pyright: ignore[reportUnknownVariableType]
        if rows and all(isinstance(one, str) for one in rows):
            return ", ".join(_value(one, look) for one in rows)
        inner = ", ".join(_value(one, look) for one in rows)
        return f"({inner})"
    return name(str(value))
