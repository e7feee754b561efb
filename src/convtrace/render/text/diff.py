"""A report of `convtrace.diff` as text: verdict, causes, worst elements, tolerance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from convtrace.catalog import choose_language, messages
from convtrace.mismatch.report import Cause, Pattern, Report
from convtrace.render.look import Look, name
from convtrace.render.numbers import about, show
from convtrace.render.text.receipt import receipt_line
from convtrace.render.text.verdict import describe

INDENT = "  "


def report_text(report: Report, lang: str | None = None) -> str:
    """Write a report as plain text.

    Args:
        report: The report.
        lang: `en` or `ko`; None takes the locale's.
    """
    return "\n".join(report_lines(report, Look(choose_language(lang))))


def report_lines(report: Report, look: Look) -> list[str]:
    """Write a report as lines."""
    verdict = look.say(f"verdict.{report.verdict}")
    lines = [look.say("diff.headline", name=name(report.name), verdict=verdict)]
    lines += _elements(report, look)
    for key, values in report.notes:
        lines += look.wrap(look.say(key, **_words(values, look)))
    if report.found:
        listed = ", ".join(
            look.say("diff.setting", name=key, value=_value(report.settings[key], look))
            for key in report.found
        )
        lines += look.wrap(look.say("diff.settings", settings=listed))
    lines += _causes(report, look)
    if report.verdict != "exact" and report.worst and not math.isnan(report.inside):
        certified = any(receipt.verdict == "mismatch" for receipt in report.worst)
        sums = report.verdict == "mismatch" and not certified
        lines += ["", look.say("diff.worst_sum" if sums else "diff.worst")]
        lines += [INDENT + receipt_line(receipt, look.lang) for receipt in report.worst]
    if report.arithmetic is not None:
        text = describe(report.arithmetic, look)
        lines += ["", *look.wrap(look.say("diff.arithmetic", arithmetic=text))]
    if report.tolerance is not None and not math.isnan(report.inside):
        lines += look.wrap(look.say("diff.tolerance"))
        lines.append(INDENT + report.tolerance.code)
    return lines


def _elements(report: Report, look: Look) -> list[str]:
    """Say how many elements are inside their bounds, and how all of them are spread."""
    if math.isnan(report.inside):
        return []
    wrong = round((1 - report.inside) * report.count)
    words = {
        "count": report.count,
        "wrong": wrong,
        "share": _percent(wrong / max(report.count, 1)),
        "ratio": about(report.ratio),
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
    lines = look.wrap(look.say(f"diff.inside.{key}", **words))
    spread = report.spread
    if spread is not None and not wrong and report.verdict in ("rounding", "mismatch"):
        usual = "usual" if spread.usual else "unusual"
        lines += look.wrap(
            look.say(
                f"diff.spread.{usual}", size=about(spread.size), expected=about(spread.expected)
            )
        )
    return lines


def _percent(share: float) -> str:
    """Write a share in per cent; what is not all does not become 100."""
    text = f"{100 * share:.3g}"
    return "> 99.9" if text == "100" and share < 1 else text


def _causes(report: Report, look: Look) -> list[str]:
    """Name the causes, or say what the residual looks like."""
    found = report.explanations
    if not found:
        if report.verdict != "mismatch":
            return []
        if report.pattern is None:
            return ["", *look.wrap(look.say("diff.causes.unknown_shape"))]
        return ["", *_pattern(report.pattern, look)]
    rounding = report.verdict != "mismatch"
    if len(found) == 1:
        proved = all(cause.proved for cause in found[0])
        key = "rounding" if rounding else "proved" if proved else "likely"
        if len(found[0]) > 1 and not rounding:
            key += "_pair"
        lines = ["", *look.wrap(look.say(f"diff.causes.{key}", count=report.count))]
        return lines + [line for cause in found[0] for line in _item(cause, look)]
    key = "ambiguous_rounding" if rounding else "ambiguous"
    lines = ["", *look.wrap(look.say(f"diff.causes.{key}", count=len(found)))]
    for causes in found:
        lines += _wrapped(" ".join(cause_text(cause, look) for cause in causes), look)
    if rounding:
        return lines
    if report.apart is None:
        return lines + look.wrap(look.say("diff.apart.none"))
    key = "x" if report.apart.weight is None else "weights"
    shape = _value(tuple(report.apart.x.shape), look)
    return lines + look.wrap(look.say(f"diff.apart.{key}", shape=shape))


def _item(cause: Cause, look: Look) -> list[str]:
    return _wrapped(cause_text(cause, look), look)


def _wrapped(text: str, look: Look) -> list[str]:
    first, *rest = look.wrap(text, INDENT + INDENT)
    return [f"{INDENT}• {first.strip()}", *rest]


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
    elif cause.id == "quantized.accumulator" and not values["wraps"]:
        key += "_saturates"
    return look.say(key, **_words(values, look))


def _pattern(pattern: Pattern, look: Look) -> list[str]:
    lines = look.wrap(look.say("diff.causes.unknown"))
    for key, values in pattern.findings:
        lines += _wrapped(look.say(key, **_words(values, look)), look)
    return lines


def _words(values: Mapping[str, Any], look: Look) -> dict[str, str]:
    """Write the values of a message in the reader's language."""
    return {key: _value(value, look) for key, value in values.items()}


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
        return show(value).marked
    if isinstance(value, Sequence):
        rows: Sequence[Any] = value  # pyright: ignore[reportUnknownVariableType]
        if rows and all(isinstance(one, str) for one in rows):
            return ", ".join(_value(one, look) for one in rows)
        inner = ", ".join(_value(one, look) for one in rows)
        return f"({inner})"
    return name(str(value))
