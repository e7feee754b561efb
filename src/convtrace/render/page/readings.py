"""What the steps of a page read, so that it can show what each number was made of.

The page follows convolutions and linear layers by the index law itself. How any other step reads
its operands is written here, from `convtrace.rules.reads`: it fits every number of the step, and
most steps of a network read in the same few ways, so that it takes little room.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec

from convtrace.render.page.numbers import BY_LAW
from convtrace.rules.reading import Chain, Line, Read
from convtrace.rules.reads import reads_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from convtrace.graph import Trace
    from convtrace.step import Step

LEAST_BYTES = 50_000
"""Bytes that readings may take in any page; in a large one, a tenth of its budget."""


class LineDocument(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Positions on one operand axis that follow one axis of the output.

    At output position `turn*period + phase` they are those of the phase, plus `turn*advance`.

    Attributes:
        axis: Axis of the output.
        advance: Operand positions that one period moves.
        runs: Phases in a row: how many, by how much their positions move from one to the next,
            and the positions of the first.
    """

    axis: int
    advance: int
    runs: list[list[int]]


class ReadDocument(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Positions that are read on one operand axis: every sum of a fixed one and one per line.

    Attributes:
        lines: What follows the output's position.
        fixed: What does not: first position and count, of each run.
    """

    lines: list[LineDocument]
    fixed: list[list[int]]


class ReadingsDocument(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """How steps read some of their operands.

    Attributes:
        steps: Names of the steps.
        roles: Roles of the operands.
        chain: Readings one after another, the operand's own first. Each has one entry for each
            axis: the axis of the output whose position is read, or what else is read.
    """

    steps: list[str]
    roles: list[str]
    chain: list[list[int | ReadDocument]]


def readings(trace: Trace, most: int) -> list[ReadingsDocument]:
    """Write how the steps of a trace read their operands.

    Args:
        trace: The run.
        most: Bytes that it may take. Of a step that does not fit, the page says that it cannot
            tell; so it does where a step has no rule.
    """
    alike: dict[bytes, ReadingsDocument] = {}
    by_chain: dict[tuple[bytes, tuple[str, ...]], ReadingsDocument] = {}
    left = most
    for step in trace.steps.values():
        if step.kind in BY_LAW:
            continue
        alike.clear()
        for role, chain in _chains(step):
            written = [[_read(read) for read in reading] for reading in chain]
            key = msgspec.json.encode(written)
            found = alike.setdefault(key, ReadingsDocument([step.name], [], written))
            found.roles.append(role)
        for key, found in alike.items():
            known = by_chain.get((key, tuple(found.roles)))
            cost = len(step.name) + 3 + (0 if known else len(key) + 40)
            if cost > left:
                continue
            left -= cost
            if known:
                known.steps.append(step.name)
            else:
                by_chain[key, tuple(found.roles)] = found
    return list(by_chain.values())


def _chains(step: Step) -> Iterator[tuple[str, Chain]]:
    for role, chain in (reads_of(step) or {}).items():
        if chain is not None:
            yield role, chain


def _read(read: Read) -> int | ReadDocument:
    if len(read.lines) == 1 and tuple(read.fixed) == (0,):
        line = read.lines[0]
        if line.advance == 1 and line.taps == ((0,),):
            return line.axis
    return ReadDocument([_line(line) for line in read.lines], _fixed(read.fixed))


def _line(line: Line) -> LineDocument:
    runs: list[list[int]] = []
    for phase, taps in enumerate(line.taps):
        if runs:
            count, shift, *first = runs[-1]
            before = line.taps[phase - 1]
            moves = {b - a for a, b in zip(before, taps, strict=False)} or {0}
            alike = len(before) == len(taps) and len(moves) == 1
            if alike and (count == 1 or moves == {shift}):
                runs[-1] = [count + 1, moves.pop(), *first]
                continue
        runs.append([1, 0, *taps])
    return LineDocument(line.axis, line.advance, runs)


def _fixed(fixed: tuple[int, ...] | range) -> list[list[int]]:
    places = sorted(set(fixed))
    cuts = [0, *(n for n, (a, b) in enumerate(pairwise(places), 1) if b != a + 1), len(places)]
    return [[places[low], high - low] for low, high in pairwise(cuts) if high > low]
