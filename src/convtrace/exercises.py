"""Draws the exercises of worksheets: small whole numbers, and one convolution each.

The same level, seed and number of a sheet always give the same sheet, and every number of a class
another one.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.errors import UsageError
from convtrace.frontends.arrays import from_arrays
from convtrace.graph import Trace
from convtrace.render.worksheet.sheet import Exercise, Kind, Worksheet
from convtrace.step import Step

KINDS: tuple[Kind, ...] = (
    "output",
    "channel_sum",
    "missing_weight",
    "shape",
    "parameters",
    "transposed",
    "dilated",
)
"""What can be asked, in the order of a sheet."""

_WHOLE = ("output", "transposed", "dilated")
"""Kinds that ask for every output number; one is worked out in the key."""

LEVELS = (1, 2, 3)
MOST_SHEETS = 200


@dataclass(frozen=True)
class _Range:
    """Whole numbers, both ends included."""

    low: int
    high: int

    def draw(self, rng: random.Random, shape: Sequence[int]) -> NDArray[np.int64]:
        """Draw an array of them."""
        count = int(np.prod(shape))
        drawn = [rng.randint(self.low, self.high) for _ in range(count)]
        return np.array(drawn, dtype=np.int64).reshape(shape)


_PIXELS = {1: _Range(0, 5), 2: _Range(0, 9), 3: _Range(-5, 9)}
_WEIGHTS = {1: _Range(0, 2), 2: _Range(-1, 3), 3: _Range(-3, 3)}


def worksheets(
    *,
    level: int = 1,
    seed: int = 0,
    count: int = 1,
    kinds: Sequence[str] = KINDS,
) -> list[Worksheet]:
    """Draw the worksheets of a class, each different.

    Args:
        level: 1 (no padding, small numbers), 2 (padding, more channels, bias) or 3 (strides,
            negative numbers, groups).
        seed: Another seed gives other sheets; the same seed the same ones.
        count: Number of sheets.
        kinds: What is asked, of `KINDS`, in this order.

    Raises:
        UsageError: An option is none of these.

    Example:
        >>> sheets = worksheets(level=2, seed=7, count=30)
        >>> len(sheets), sheets[29].number, sheets[0].exercises[0].kind
        (30, 30, 'output')
    """
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds:
        raise UsageError(
            f"no such exercise: {', '.join(unknown) or 'none was named'}\n"
            f"  There are {', '.join(KINDS)}."
        )
    if level not in LEVELS:
        raise UsageError(f"level = {level}\n  It is 1 (easiest), 2 or 3.")
    if not 1 <= count <= MOST_SHEETS:
        raise UsageError(f"count = {count}\n  At least 1 and at most {MOST_SHEETS} sheets.")
    drawn: list[Worksheet] = []
    for number in range(1, count + 1):
        rng = random.Random(f"convtrace worksheet {seed} {level} {number}")  # noqa: S311  (exercises are no secrets)
        exercises = tuple(_DRAW[kind](rng, level) for kind in KINDS if kind in kinds)
        ordered = sorted(exercises, key=lambda exercise: list(kinds).index(exercise.kind))
        drawn.append(Worksheet(tuple(ordered), level, seed, number, count))
    return drawn


def _exercise(
    kind: Kind,
    rng: random.Random,
    level: int,
    *,
    size: tuple[int, int],
    kernel: tuple[int, int],
    reads: int = 1,
    writes: int = 1,
    bias: bool = False,
    at: tuple[int, int] | None = None,
    hide: bool = False,
    **settings: Any,
) -> Exercise:
    """Draw the numbers of a convolution."""
    groups, transposed = settings.get("groups", 1), settings.get("transposed", False)
    first, second = (reads, writes // groups) if transposed else (writes, reads // groups)
    x = _PIXELS[level].draw(rng, (1, reads, *size))
    weight = _WEIGHTS[level].draw(rng, (first, second, *kernel))
    if not weight.any():
        weight[..., 0, 0] = 1
    offset = _Range(-2, 3).draw(rng, (writes,)) if bias else None
    trace = from_arrays(x, weight, offset, **settings)
    (step,) = trace.steps.values()
    if at is None:
        at = _telling(trace, step) if kind in _WHOLE else (0, 0)
    chosen = (0, 0, *at)
    hidden = None
    if hide:
        hidden = _hide(rng, x, trace.why(step.name, chosen))
        if hidden is None:  # every pixel of the window is 0, so that no weight can be found
            return _exercise(
                kind, rng, level, size=size, kernel=kernel, reads=reads, writes=writes, bias=bias,
                at=at, hide=True, **settings,
            )  # fmt: skip
    return Exercise(kind, trace, chosen, hidden)


def _telling(trace: Trace, step: Step) -> tuple[int, int]:
    """Return the row and column of the output number that shows most: it is worked out in the key.

    It meets the most inputs, and of those the most numbers that are not 0; the first if several do.
    """

    def shows(place: tuple[int, int]) -> tuple[int, int]:
        receipt = trace.why(step.name, (0, 0, *place))
        return int(receipt.present.sum()), int((receipt.products != 0).sum())

    rows, columns = step.shape[-2:]
    return max(itertools.product(range(rows), range(columns)), key=shows)


def _hide(rng: random.Random, x: NDArray[np.int64], receipt: Any) -> tuple[int, ...] | None:
    """Choose a weight that the output tells: it is multiplied by a pixel other than 0."""
    terms = [term for term in receipt.terms if term.source is not None and term.value]
    return rng.choice(terms).weight_address.index if terms else None


def _output(rng: random.Random, level: int) -> Exercise:
    if level == 1:
        return _exercise("output", rng, level, size=(4, 4), kernel=(3, 3))
    if level == 2:
        return _exercise("output", rng, level, size=(3, 3), kernel=(2, 2), padding=1, bias=True)
    return _exercise(
        "output", rng, level, size=(4, 4), kernel=(3, 3), stride=2, padding=1, reads=2, bias=True
    )


def _channel_sum(rng: random.Random, level: int) -> Exercise:
    pad = int(level == 3)
    row, column = rng.randrange(2), rng.randrange(2)  # the window lies on the input
    return _exercise(
        "channel_sum", rng, level, size=(3, 3), kernel=(2, 2), reads=min(level + 1, 3),
        at=(pad + row, pad + column), bias=level > 1, padding=pad,
    )  # fmt: skip


def _missing_weight(rng: random.Random, level: int) -> Exercise:
    side = 2 if level < 3 else 3
    return _exercise(
        "missing_weight", rng, level, size=(3, 3), kernel=(side, side), reads=1 + (level == 2),
        at=(rng.randrange(4 - side), rng.randrange(4 - side)), hide=True,
    )  # fmt: skip


def _shape(rng: random.Random, level: int) -> Exercise:
    size = (rng.choice([6, 8, 10, 12, 16]), rng.choice([7, 9, 11, 14, 15]))
    side = rng.choice([2, 3] if level == 1 else [3, 5])
    settings: dict[str, Any] = {}
    if level > 1:
        settings = {"stride": rng.choice([1, 2, 3]), "padding": rng.choice([1, 2])}
    if level > 2:
        settings["dilation"] = rng.choice([1, 2])
        settings["transposed"] = rng.random() < 0.5
        side = 3
    reads, writes = rng.choice([1, 2, 3]), rng.choice([4, 6, 8, 16])
    return _exercise(
        "shape", rng, level, size=size, kernel=(side, side), reads=reads, writes=writes, **settings
    )


def _parameters(rng: random.Random, level: int) -> Exercise:
    side = rng.choice([1, 2, 3] if level == 1 else [3, 5])
    groups = rng.choice([2, 4]) if level == 3 else 1
    reads, writes = rng.choice([1, 2, 3, 4]) * groups, rng.choice([2, 4, 5, 8]) * groups
    return _exercise(
        "parameters", rng, level, size=(8, 8), kernel=(side, side), reads=reads, writes=writes,
        bias=level == 1 or rng.random() < 0.5, groups=groups,
    )  # fmt: skip


def _transposed(rng: random.Random, level: int) -> Exercise:
    settings: dict[str, Any] = {"stride": {1: 2, 2: 1, 3: 2}[level], "transposed": True}
    side = 3 if level == 3 else 2
    if level == 3:
        settings["padding"] = 1
    return _exercise("transposed", rng, level, size=(2, 2), kernel=(side, side), **settings)


def _dilated(rng: random.Random, level: int) -> Exercise:
    if level == 1:
        return _exercise("dilated", rng, level, size=(4, 4), kernel=(2, 2), dilation=2)
    if level == 2:
        return _exercise("dilated", rng, level, size=(5, 5), kernel=(3, 3), dilation=2)
    return _exercise(
        "dilated", rng, level, size=(5, 5), kernel=(2, 2), dilation=2, stride=2, padding=1
    )


_DRAW: Mapping[str, Callable[[random.Random, int], Exercise]] = MappingProxyType(
    {
        "output": _output,
        "channel_sum": _channel_sum,
        "missing_weight": _missing_weight,
        "shape": _shape,
        "parameters": _parameters,
        "transposed": _transposed,
        "dilated": _dilated,
    }
)
