"""Contributions as text: one number, the pixels and biases that it is the sum of, and the check."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from convtrace.address import Address
from convtrace.catalog import choose_language
from convtrace.render.look import QUIET, SUM, WIDTH, WRONG, Look, name
from convtrace.render.numbers import (
    ABOUT,
    DIGITS,
    MINUS,
    Column,
    Scale,
    Shown,
    about,
    resolve,
    sum_sign,
)
from convtrace.render.text.heatmap import draw, heat_maps, legend
from convtrace.render.text.ledger import Amount, Row, compose, pad
from convtrace.render.text.printing import print_lines
from convtrace.rules import SOFTMAX

if TYPE_CHECKING:
    from convtrace.graph import Trace
    from convtrace.split import Split
    from convtrace.step import Step

LIMIT = 12
"""Pixel terms and biases that are shown unless the reader asks for another number."""

UNITS = {
    "float8_e4m3fn": 2.0**-4,
    "float8_e5m2": 2.0**-3,
    "float16": 2.0**-11,
    "bfloat16": 2.0**-8,
    "float32": 2.0**-24,
    "float64": 2.0**-53,
}
"""What rounding changes a number by at most, as a part of it, by element type."""

_MOST = 2000
"""A residual of more than so many roundings of the sum of all sizes is not taken for rounding."""


def print_contributions(
    split: Split,
    trace: Trace,
    console: Console,
    lang: str | None = None,
    limit: int = LIMIT,
    at: Sequence[str] = (),
) -> None:
    """Print a split, in colour where the console has any; lines are never wrapped."""
    print_lines(
        console, lambda width: contributions_lines(split, trace, lang, limit, at=at, width=width)
    )


def contributions_text(
    split: Split,
    trace: Trace,
    lang: str | None = None,
    limit: int = LIMIT,
    *,
    at: Sequence[str] = (),
    width: int = WIDTH,
) -> str:
    """Write a split as plain text.

    Args:
        split: What `trace.contributions` returned.
        trace: The trace that it came from.
        lang: `en` or `ko`; None takes the locale's.
        limit: Most pixel terms, and most biases, to show.
        at: Steps that the walk was asked to stop at.
        width: Cells of a line.
    """
    lines = contributions_lines(split, trace, lang, limit, at=at, width=width)
    return "\n".join(line.plain for line in lines)


def contributions_lines(
    split: Split,
    trace: Trace,
    lang: str | None = None,
    limit: int = LIMIT,
    *,
    at: Sequence[str] = (),
    width: int = WIDTH,
) -> list[Text]:
    """Write a split as lines of styled text; `contributions_text` has the arguments."""
    look = Look(choose_language(lang), DIGITS, split.dtype != "float64", width)
    terms = {key: array(tensor) for key, tensor in maps_of(split, trace).items()}
    lines = [Text(_headline(split, look), "bold"), *_quiet([_what(split)], look), Text()]
    lines += [*_parts(split, terms, look), Text()]
    maps = [heat_maps(key, numbers, width) for key, numbers in terms.items() if numbers.any()]
    for drawn in maps:
        lines += draw(drawn, look)
    if maps:
        lines += [*legend([one for drawn in maps for one in drawn], look), Text()]
    lines += _largest(terms, trace, limit, look)
    lines += _biases(split, trace, limit, look)
    remarks = _remarks(split, trace, at)
    if any(ABOUT in line.plain for line in lines):
        remarks.append(("shown.rounded", {}))
    return [*lines, *_quiet(remarks, look), Text(), *check(split, trace, look)]


def maps_of(split: Split, trace: Trace | None) -> dict[str, Any]:
    """Return the tensors of terms: of the inputs, then of the stops, each in the trace's order."""
    if trace is None:
        return {**split.inputs, **split.stops}
    found = {name: split.inputs[name] for name in trace.inputs if name in split.inputs}
    return found | {name: split.stops[name] for name in trace.steps if name in split.stops}


def array(tensor: Any) -> NDArray[np.float64]:
    """Return a tensor of the split as float64."""
    return tensor.detach().double().cpu().numpy()


def agrees(split: Split, trace: Trace | None) -> bool | None:
    """Whether the terms add up to the number, up to rounding; None where NaN or infinity is in."""
    if not math.isfinite(split.scale + split.reported):
        return None
    return abs(split.residual) <= min(_MOST * unit(split, trace), 0.2) * split.scale


def unit(split: Split, trace: Trace | None) -> float:
    """Return the relative rounding of the coarsest numbers that the walk met.

    Without a trace, of the terms that it ended at.
    """
    if split.dtype in UNITS:
        return UNITS[split.dtype]
    terms = (str(tensor.dtype).removeprefix("torch.") for tensor in maps_of(split, None).values())
    kinds = terms if trace is None else (step.dtype for step in trace.steps.values())
    found = (UNITS.get(kind, 0.0) for kind in kinds)
    return max([UNITS["float64"], *found])


def _quiet(messages: Sequence[tuple[str, Mapping[str, Any]]], look: Look) -> list[Text]:
    return [Text(line, QUIET) for key, v in messages for line in look.wrap(look.say(key, **v))]


def target(split: Split) -> str:
    """Write what was split: `fc[0,8]` or `fc[0,8] − fc[0,3]`."""
    text = ""
    for address, factor in split.target:
        sign = f" {MINUS} " if factor < 0 else " + " if text else ""
        text += f"{sign}{name(address)}"
    return text.strip()


def _headline(split: Split, look: Look) -> str:
    number = look.identify(split.reported) if len(split.target) == 1 else look.show(split.reported)
    return f"{target(split)} {number.sign} {number.text}"


def _what(split: Split) -> tuple[str, dict[str, Any]]:
    key = "number" if len(split.target) == 1 else "difference"
    return f"contributions.what.{key}", {}


@dataclass(frozen=True, slots=True)
class Part:
    """What one tensor, or all biases, bring to a number.

    Attributes:
        label: What it is.
        amount: How much.
        note: A remark, perhaps empty.
    """

    label: str
    amount: Shown
    note: str = ""


def parts_of(
    split: Split, terms: Mapping[str, NDArray[np.float64]], look: Look
) -> tuple[list[Part], Shown, str]:
    """Say how a number splits: inputs, stops, biases; then their total, and `=` or `≈`."""
    sums = [float(numbers.sum()) for numbers in terms.values()]
    bias = sum(split.biases.values())
    scale = Scale.of([*sums, bias, split.total], look.digits, narrow=look.narrow)
    parts: list[Part] = []
    for (key, numbers), amount in zip(terms.items(), sums, strict=True):
        kind = "opaque" if key in split.opaque else "stop" if key in split.stops else "input"
        label = look.say(f"contributions.part.{kind}", step=name(key))
        used = int(np.count_nonzero(numbers))
        note = look.say("contributions.part.used", used=f"{used:,}", count=f"{numbers.size:,}")
        parts.append(Part(label, scale.show(amount), note))
    if split.biases:
        one = "_one" if len(split.biases) == 1 else ""
        label = look.say(f"contributions.part.biases{one}", count=len(split.biases))
        parts.append(Part(label, scale.show(bias)))
    total = scale.show(split.total)
    return parts, total, sum_sign([part.amount for part in parts], total)


def _parts(split: Split, terms: Mapping[str, NDArray[np.float64]], look: Look) -> list[Text]:
    """Write how the number splits: inputs, stops, biases, total."""
    parts, total, sign = parts_of(split, terms, look)
    rows = [
        Row(Text(part.label), Amount(part.amount.text, part.amount.sign), Text(part.note, QUIET))
        for part in parts
    ]
    amount = Amount(total.text, sign, style=f"bold {SUM}")
    return compose([*rows, Row(rule=True), Row(Text(look.say("receipt.total"), "bold"), amount)])


def _largest(
    terms: Mapping[str, NDArray[np.float64]], trace: Trace, limit: int, look: Look
) -> list[Text]:
    """Write the largest pixel terms, with their addresses."""
    found: list[tuple[Address, float]] = []
    count, rest = 0, 0.0
    for key, numbers in terms.items():
        flat = numbers.ravel()
        sizes = np.abs(flat)
        order = np.argsort(-np.where(np.isnan(sizes), np.inf, sizes), kind="stable")[:limit]
        for at in order[flat[order] != 0]:
            index = tuple(int(place) for place in np.unravel_index(int(at), numbers.shape))
            found.append((Address(key, index), float(flat[at])))
        count += int(np.count_nonzero(flat))
        rest += float(flat.sum())
    found.sort(key=lambda one: math.inf if math.isnan(one[1]) else abs(one[1]), reverse=True)
    found = found[:limit]
    if not found:
        return []
    rest -= sum(number for _, number in found)
    heading = look.say("contributions.largest")
    lines = [Text(heading, "bold")]
    scale = Scale.of([number for _, number in found], look.digits, narrow=look.narrow)
    values = [look.show(trace.value(address)).marked for address, _ in found]
    column = Column.of(values)
    wide = max(cell_len(name(address)) for address, _ in found)
    rows: list[Row] = []
    for (address, number), value in zip(found, values, strict=True):
        shown = scale.show(number)
        body = pad(Text(name(address)), wide + 2)
        body.append(look.say("contributions.holds", value=column.put(value)), QUIET)
        rows.append(Row(body, Amount(_signed(shown.text, number), shown.sign)))
    lines += compose(rows)
    if count > len(found):
        values_of = {"shown": len(found), "count": count, "rest": look.show(rest).marked}
        lines += _quiet([("contributions.cut", values_of)], look)
    return [*lines, Text()]


def _biases(split: Split, trace: Trace, limit: int, look: Look) -> list[Text]:
    """Write what each step added by itself, in the order the steps ran."""
    if not split.biases:
        return [*_quiet([("contributions.no_biases", {})], look), Text()]
    largest = sorted(split.biases, key=lambda key: -abs(split.biases[key]))[:limit]
    chosen = [key for key in trace.steps if key in largest]
    scale = Scale.of([split.biases[key] for key in chosen], look.digits, narrow=look.narrow)
    rows: list[Row] = []
    for key in chosen:
        shown = scale.show(split.biases[key])
        amount = Amount(_signed(shown.text, split.biases[key]), shown.sign)
        rows.append(Row(Text(name(key)), amount))
    lines = [Text(look.say("contributions.biases"), "bold"), *compose(rows)]
    if len(chosen) < len(split.biases):
        rest = sum(number for key, number in split.biases.items() if key not in chosen)
        values = {"shown": len(chosen), "count": len(split.biases), "rest": look.show(rest).marked}
        lines += _quiet([("contributions.cut", values)], look)
    return [*lines, Text()]


def _signed(text: str, number: float) -> str:
    return f"+{text}" if number > 0 else text


def _remarks(split: Split, trace: Trace, at: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    remarks: list[tuple[str, dict[str, Any]]] = []
    if any(_freezes(step) for step in trace.steps.values()):
        remarks.append(("contributions.frozen", {}))
    shared = [step for step in split.opaque if trace.step(step).kind in SOFTMAX]
    others = [step for step in split.opaque if step not in shared]
    if others:
        remarks.append(("contributions.opaque", {"steps": ", ".join(map(name, others))}))
    if shared:
        read = [one for step in shared for one in trace.step(step).operands.values()]
        words = {"steps": ", ".join(map(name, shared)), "logits": ", ".join(map(name, read))}
        remarks.append(("contributions.softmax", words))
    if split.halved:
        remarks.append(("contributions.halved", {"steps": ", ".join(map(name, split.halved))}))
    unmet = [step for step in at if step not in split.stops]
    if unmet:
        remarks.append(("contributions.unmet", {"steps": ", ".join(map(name, unmet))}))
    return remarks


def _freezes(step: Step) -> bool:
    """Whether a step is a gate, or chooses by size: another input would be treated otherwise."""
    return step.status == "gates" or (step.status == "selects" and step.sources is None)


def check(split: Split, trace: Trace | None, look: Look) -> list[Text]:
    """Write the conservation line: total, reported, residual, and what it is judged by."""
    agreed = agrees(split, trace)
    if agreed is None:
        return [Text(line, WRONG) for line in look.wrap(look.say("contributions.nonfinite"))]
    total, reported = look.identify(split.total), look.identify(split.reported)
    if split.residual:
        total, reported = resolve([split.total, split.reported], split.residual, narrow=look.narrow)
    recorded = trace.reporter if trace is not None else "other"
    who = "again" if split.dtype != "as recorded" else recorded
    key = who if who in ("again", "torch", "onnxruntime") else "other"
    first = look.say("contributions.total", value=total.marked)
    second = look.say(f"contributions.reported.{key}", value=reported.marked, dtype=split.dtype)
    lines = [Text(f"{first} · {second}", "" if agreed else WRONG)]
    ratio = abs(split.residual) / split.scale if split.scale else 0.0
    values = {
        "residual": about(split.residual),
        "scale": look.show(split.scale).marked,
        "ratio": about(ratio),
        "unit": about(unit(split, trace)),
    }
    if split.residual:
        lines += map(Text, look.wrap(look.say("contributions.residual", **values)))
    verdict = "exact" if not split.residual else "rounding" if agreed else "mismatch"
    style = f"bold {SUM}" if agreed else WRONG
    sentence = look.say(f"contributions.verdict.{verdict}", **values)
    return lines + [Text(line, style) for line in look.wrap(sentence)]
