"""Uses as text: every number that one number went into, with what it brought in there."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from convtrace.catalog import choose_language
from convtrace.projection import Use, Uses
from convtrace.render.look import QUIET, WIDTH, Look, kind_name, name
from convtrace.render.numbers import ABOUT, DIGITS, MINUS, Column, Scale
from convtrace.render.text.printing import print_lines

if TYPE_CHECKING:
    from convtrace.graph import Trace

LIMIT = 20
"""Rows that are shown unless the reader asks for another number."""

NO_SHARE = "—"
_GAP = "   "


def print_uses(
    uses: Uses,
    trace: Trace,
    console: Console,
    lang: str | None = None,
    limit: int = LIMIT,
    to: str | None = None,
) -> None:
    """Print uses, in colour where the console has any; lines are never wrapped."""
    print_lines(console, lambda width: uses_lines(uses, trace, lang, limit, to=to, width=width))


def uses_text(
    uses: Uses,
    trace: Trace,
    lang: str | None = None,
    limit: int = LIMIT,
    *,
    to: str | None = None,
    width: int = WIDTH,
) -> str:
    """Write uses as plain text.

    Args:
        uses: What `trace.uses` returned.
        trace: The trace that it came from.
        lang: `en` or `ko`; None takes the locale's.
        limit: Most rows to show.
        to: The step that was asked for; None for the next ones.
        width: Cells of a line.
    """
    return "\n".join(
        line.plain for line in uses_lines(uses, trace, lang, limit, to=to, width=width)
    )


def uses_lines(
    uses: Uses,
    trace: Trace,
    lang: str | None = None,
    limit: int = LIMIT,
    *,
    to: str | None = None,
    width: int = WIDTH,
) -> list[Text]:
    """Write uses as lines of styled text; `uses_text` has the arguments."""
    found = trace.inputs.get(uses.source.step) or trace.parameters.get(uses.source.step)
    value = found or trace.step(uses.source.step).value
    look = Look(choose_language(lang), DIGITS, value.dtype != "float64", width)
    number = look.identify(uses.value)
    heading = f"{name(uses.source)} {number.sign} {number.text}"
    lines = [Text(heading, "bold").append(f"   {look.say(f'uses.origin.{value.origin}')}", QUIET)]
    lines += [*_where(uses, trace, to, look), Text()]
    chosen = largest(uses, limit)
    if chosen:
        lines += [*_table(chosen, look), Text()]
    remarks: list[str] = []
    if len(chosen) < len(uses):
        remarks.append(look.say("uses.cut", shown=len(chosen), count=len(uses)))
    if chosen:
        remarks.append(look.say("uses.legend", value=number.marked))
    if any(math.isnan(use.share) for use in chosen):
        remarks.append(look.say("uses.no_share"))
    if to is not None or any(trace.step(step).status == "gates" for step in uses.steps):
        remarks.append(look.say("uses.frozen"))
    if uses.opaque:
        remarks.append(look.say("uses.opaque", steps=", ".join(map(name, uses.opaque))))
    if any(ABOUT in line.plain for line in lines):
        remarks.append(look.say("shown.rounded"))
    return lines + [Text(line, QUIET) for remark in remarks for line in look.wrap(remark)]


def largest(uses: Uses, limit: int) -> list[Use]:
    """Return all rows in order; or, where they are more than the limit, the largest ones."""
    if len(uses) <= limit:
        return list(uses)
    sizes = np.abs(np.concatenate([uses.coefficients[step] for step in uses.steps]))
    order = np.argsort(-np.where(np.isnan(sizes), np.inf, sizes), kind="stable")[:limit]
    return [uses[int(place)] for place in order]


def _where(uses: Uses, trace: Trace, to: str | None, look: Look) -> list[Text]:
    """Say how many numbers it went into, by step."""
    if not len(uses):
        key = "nowhere" if to is None else "nowhere_to"
        key = "unknown" if to is None and uses.opaque else key
        return [Text(line) for line in look.wrap(look.say(f"uses.{key}", step=name(to or "")))]
    key = ("next" if to is None else "to") + ("_one" if len(uses) == 1 else "")
    lines = [Text(line) for line in look.wrap(look.say(f"uses.{key}", count=len(uses)))]
    wide = max(cell_len(name(step)) for step in uses.steps)
    for step in uses.steps:
        made = trace.step(step)
        total = math.prod(made.shape)
        count = look.say("uses.of", count=len(uses.coefficients[step]), total=total)
        gap = " " * (wide - cell_len(name(step))) + _GAP
        lines.append(Text(f"  {name(step)}{gap}{kind_name(made.kind)}{_GAP}{count}"))
    return lines


def _table(chosen: list[Use], look: Look) -> list[Text]:
    columns = [
        _column([use.coefficient for use in chosen], look),
        _column([use.product for use in chosen], look),
        _shares([use.share for use in chosen]),
    ]
    heads = [look.say(f"uses.heading.{key}") for key in ("coefficient", "product", "share")]
    first = look.say("uses.heading.address")
    wide = max(cell_len(text) for text in (first, *(name(use.address) for use in chosen)))
    line = first + " " * (wide - cell_len(first))
    for head, column in zip(heads, columns, strict=True):
        room = max(cell_len(head), cell_len(column[0]))
        line += _GAP + " " * (room - cell_len(head)) + head
    lines = [Text(line, QUIET)]
    for number, use in enumerate(chosen):
        line = name(use.address)
        line += " " * (wide - cell_len(line))
        for head, column in zip(heads, columns, strict=True):
            room = max(cell_len(head), cell_len(column[number]))
            line += _GAP + " " * (room - cell_len(column[number])) + column[number]
        lines.append(Text(line))
    return lines


def _column(numbers: list[float], look: Look) -> list[str]:
    scale = Scale.of(numbers, look.digits, narrow=look.narrow)
    shown = [scale.show(number) for number in numbers]
    column = Column.of(one.text for one in shown)
    return [f"{ABOUT if one.rounded else ' '}{column.put(one.text)}" for one in shown]


def _shares(shares: list[float]) -> list[str]:
    texts = [NO_SHARE if math.isnan(share) else _percent(share) for share in shares]
    wide = max(map(len, texts))
    return [text.rjust(wide) for text in texts]


def _percent(share: float) -> str:
    if math.isinf(share):
        return f"{MINUS if share < 0 else ''}∞ %"
    return f"{share * 100:.1f} %".replace("-", MINUS)
