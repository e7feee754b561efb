"""The live formula of one number of a trace, from the addresses in its receipt.

A formula names the cells that the number was made from, so that a spreadsheet computes it again
when a cell changes. A number whose receipt holds for this input only (a division, a norm by the
data's own statistics, an opaque step) has none; its value is written instead.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from convtrace.address import Address
from convtrace.geometry import taps
from convtrace.receipt import Receipt, Term
from convtrace.render.sheet.layout import Cell, reference
from convtrace.rules.reach import window_axes
from convtrace.step import Number, Step

Place = Callable[[Address], tuple[str, Cell]]
"""Returns the sheet and the cell of an address."""

LONGEST_FORMULA = 8192
"""Characters of a formula in the .xlsx format."""

_GATES: Mapping[str, str] = MappingProxyType(
    {
        "relu": "MAX(0,{x})",
        "sigmoid": "1/(1+EXP(-{x}))",
        "silu": "{x}/(1+EXP(-{x}))",
        "tanh": "TANH({x})",
        "exp": "EXP({x})",
        "sqrt": "SQRT({x})",
        "abs": "ABS({x})",
        "gelu": "{x}*NORMSDIST({x})",
        "hardtanh": "MIN(MAX({x},{min_val}),{max_val})",
        "leaky_relu": "MAX({x},0)+{negative_slope}*MIN({x},0)",
    }
)
"""Formulas of steps that gate a number by itself. `{x}` is the cell that they read; the other
names are settings of the step."""


def formula(step: Step, receipt: Receipt, place: Place) -> str | None:
    """Write the formula of one number, without `=`.

    Args:
        step: The step that made it.
        receipt: Its receipt.
        place: Finds the cell of an address.

    Returns:
        The formula, or None where none would stay true when a cell changes.
    """
    if step.kind.startswith("max_pool") and len(receipt.terms) == 1:
        return _largest(step, receipt.address.index, place)
    if step.kind in _GATES and len(receipt.terms) == 1:
        return _gate(step, receipt, place)
    by_constant = step.kind in ("mul", "div") and "other" not in step.operands
    live = by_constant or receipt.status == "linear"
    moves = receipt.status == "selects" and step.sources is not None
    if not (live or moves or _is_product(receipt)):
        return None
    if receipt.verdict is None and not receipt.terms:
        return None
    return _sum(receipt, place)


def _gate(step: Step, receipt: Receipt, place: Place) -> str | None:
    """Write the formula of a step that gates a number by itself."""
    source, settings = receipt.terms[0].source, step.attributes
    if source is None or settings.get("approximate", "none") != "none":
        return None
    try:
        return _GATES[step.kind].format_map({**settings, "x": _cell(source, place)})
    except KeyError:
        return None  # other runtimes name their settings otherwise


def _is_product(receipt: Receipt) -> bool:
    """Whether every factor of a gate is a number with an address of its own."""
    terms = receipt.terms
    return bool(terms) and receipt.status == "gates" and all(t.weight_address for t in terms)


def _sum(receipt: Receipt, place: Place) -> str | None:
    parts: list[str] = []
    for _, group in itertools.groupby(receipt.terms, lambda term: term.position[:1]):
        found = _products([term for term in group if term.source is not None], place)
        if found is None:
            return None
        parts += found
    bias = receipt.bias
    if receipt.bias_address is not None:
        parts.append(_cell(receipt.bias_address, place))
    elif bias is not None and bias != 0:
        if not _is_plain(bias):
            return None
        parts.append(_text(bias))
    signed = [part if part.startswith("-") else f"+{part}" for part in parts]
    return "".join(signed).removeprefix("+") or "0"


def _products(terms: Sequence[Term], place: Place) -> list[str] | None:
    """Write the products of one channel: ranges where the cells make rectangles."""
    if not terms:
        return []
    reads = [place(term.source) for term in terms if term.source is not None]
    box = rectangle(reads)
    if all(term.weight_address is not None for term in terms):
        factors = [place(t.weight_address) for t in terms if t.weight_address is not None]
        other = rectangle(factors)
        if box and other and len(terms) > 1 and _are_parallel(reads, factors):
            return [f"SUMPRODUCT({reference(*box)},{reference(*other)})"]
        pairs = zip(reads, factors, strict=True)
        return [f"{reference(*read)}*{reference(*factor)}" for read, factor in pairs]
    weights = [term.weight for term in terms]
    if not all(map(_is_plain, weights)):
        return None
    if box and len(set(weights)) == 1:
        whole = reference(*box) if len(terms) == 1 else f"SUM({reference(*box)})"
        return [whole if weights[0] == 1 else f"{_text(weights[0])}*{whole}"]
    return [
        f"{_text(weight)}*{reference(*read)}" for weight, read in zip(weights, reads, strict=True)
    ]


def _largest(step: Step, index: tuple[int, ...], place: Place) -> str | None:
    """Write a maximum over every cell of its window, not only over the one that won today."""
    axes, shape = window_axes(step), step.values["self"].shape
    if not axes:
        return None
    before = len(shape) - len(axes)
    hits = [
        [tap.source for tap in taps(axis, size, output) if tap.source is not None]
        for axis, size, output in zip(axes, shape[before:], index[before:], strict=True)
    ]
    name = step.operands["self"]
    cells = [place(Address(name, (*index[:before], *inner))) for inner in itertools.product(*hits)]
    box = rectangle(cells)
    return f"MAX({reference(*box) if box else ','.join(reference(*cell) for cell in cells)})"


def rectangle(cells: Sequence[tuple[str, Cell]]) -> tuple[str, Cell, Cell] | None:
    """Return the sheet and the corners of the range that holds just these cells, if there is one.

    Example:
        >>> rectangle([("a", (0, 0)), ("a", (0, 1))]), rectangle([("a", (0, 0)), ("a", (0, 2))])
        (('a', (0, 0), (0, 1)), None)
    """
    sheets = {sheet for sheet, _ in cells}
    rows, columns = ([cell[axis] for _, cell in cells] for axis in (0, 1))
    first, last = (min(rows), min(columns)), (max(rows), max(columns))
    area = (last[0] - first[0] + 1) * (last[1] - first[1] + 1)
    if len(sheets) > 1 or area != len(cells) or len({cell for _, cell in cells}) != area:
        return None
    return sheets.pop(), first, last


def _are_parallel(one: Sequence[tuple[str, Cell]], other: Sequence[tuple[str, Cell]]) -> bool:
    """Whether two ranges pair their cells in the same order."""
    pairs = zip(one, other, strict=True)
    return len({(a[0] - b[0], a[1] - b[1]) for (_, a), (_, b) in pairs}) == 1


def _cell(address: Address, place: Place) -> str:
    return reference(*place(address))


def _is_plain(number: Number) -> bool:
    return not isinstance(number, complex) and math.isfinite(number)


def _text(number: Number) -> str:
    """Write a constant of a formula with every digit."""
    assert not isinstance(number, complex)
    return f"{number:.17g}"
