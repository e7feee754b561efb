"""Intervals of input positions, how they move along a tensor, and how steps combine them.

Along one axis of a tensor an interval moves by a law

    low(o + period) = low(o) + advance        high(o + period) = high(o) + advance

in whole numbers, so a transposed convolution, whose windows differ from phase to phase, is exact.
`convtrace.receptive` follows such laws through a network.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from convtrace.rules.reading import Line, Read, Reading

Interval = tuple[int, int]
"""First and last input position."""

LONGEST_PERIOD = 1 << 16
MOST_PARTS = 8


class NotTellableError(Exception):
    """The reach has no form in these terms."""


@dataclass(frozen=True, slots=True)
class Law:
    """An interval of input positions that moves along one axis of a tensor.

    Attributes:
        advance: Input positions that the interval moves in one period.
        bounds: Interval at positions 0 … period − 1; None where nothing is read.

    Example:
        >>> Law(1, ((0, 2), (1, 2))).at(-1)
        (0, 1)
    """

    advance: int
    bounds: tuple[Interval | None, ...]

    @property
    def period(self) -> int:
        """Positions after which the law repeats."""
        return len(self.bounds)

    @property
    def stride(self) -> Fraction:
        """Input positions between neighbours, on average over a period."""
        return Fraction(self.advance, self.period)

    def at(self, position: int) -> Interval | None:
        """Return the interval of any position, also of one outside the tensor."""
        turn, phase = divmod(position, len(self.bounds))
        found = self.bounds[phase]
        return found and (found[0] + turn * self.advance, found[1] + turn * self.advance)

    def over(self, positions: Iterable[int]) -> Interval | None:
        """Return the interval that spans those of all these positions."""
        if isinstance(positions, range) and len(positions) > 2 * self.period:
            ends = (positions[: self.period], positions[-self.period :])
            return hull(self.over(end) for end in ends)
        return hull(map(self.at, positions))


@dataclass(frozen=True, slots=True)
class Part:
    """Where paths lead on one input axis: the sum of one law for each axis of the tensor.

    Attributes:
        laws: Laws by axis of the tensor, in order of the axes.
        fixed: The interval if it depends on no axis; else None.
    """

    laws: tuple[tuple[int, Law], ...]
    fixed: Interval | None = None


def hull(intervals: Iterable[Interval | None]) -> Interval | None:
    """Return the smallest interval that holds all of these."""
    known = [found for found in intervals if found is not None]
    return (min(low for low, _ in known), max(high for _, high in known)) if known else None


def law_of(advance: int, bounds: Iterable[Interval | None]) -> Law:
    """Make a law with the shortest period that says the same."""
    full = tuple(bounds)
    if len(full) > LONGEST_PERIOD:
        raise NotTellableError
    for period in range(1, len(full)):
        if len(full) % period or advance * period % len(full):
            continue
        short = Law(advance * period // len(full), full[:period])
        if all(short.at(o) == full[o] for o in range(period, len(full))):
            return short
    return Law(advance, full)


def _sum(one: Law, other: Law) -> Law:
    """Add two laws along the same axis."""
    period = math.lcm(one.period, other.period)
    advance = (one.stride + other.stride) * period
    return law_of(int(advance), (_add(one.at(o), other.at(o)) for o in range(period)))


def _span(one: Law, other: Law) -> Law:
    """Span two laws of equal stride along the same axis."""
    period = math.lcm(one.period, other.period)
    return law_of(int(one.stride * period), (hull((one.at(o), other.at(o))) for o in range(period)))


def _add(one: Interval | None, other: Interval | None) -> Interval | None:
    return (one[0] + other[0], one[1] + other[1]) if one and other else None


def through(part: Part, reading: Reading, shape: tuple[int, ...]) -> Part | None:
    """Return where paths lead from the output of a step, given where they lead from an operand.

    Args:
        part: Where they lead from the operand.
        reading: How the step reads the operand.
        shape: Shape of the output.

    Returns:
        None where nothing is read.

    Raises:
        NotTellableError: Several axes of the output decide together, in a way that is no sum.
    """
    fixed = part.fixed or (0, 0)
    laws: dict[int, Law] = {}
    for axis, law in part.laws:
        constant, moving = _compose(law, reading[axis], shape)
        if constant is None:
            return None
        fixed = (fixed[0] + constant[0], fixed[1] + constant[1])
        for out, found in moving:
            laws[out] = _sum(laws[out], found) if out in laws else found
    return _part(laws, fixed)


def _part(laws: dict[int, Law], fixed: Interval) -> Part | None:
    """Make a part in its one form: no law that stands still, and the rest with the first law."""
    moving: list[tuple[int, Law]] = []
    for axis, law in sorted(laws.items()):
        if not any(law.bounds):
            return None
        if law.advance or law.period > 1:
            moving.append((axis, law))
        else:
            fixed = _add(fixed, law.at(0)) or fixed
    if not moving:
        return Part((), fixed)
    axis, law = moving[0]
    moving[0] = (axis, Law(law.advance, tuple(_add(bound, fixed) for bound in law.bounds)))
    return Part(tuple(moving))


def settle(part: Part, shape: tuple[int, ...]) -> Part | None:
    """Let each law repeat as soon as it does on the tensor itself.

    After a reshape a law may go on beyond the end of an axis as the reshaped tensor did. What
    counts there is how it would go on along this axis.
    """
    return _part(
        {axis: _settled(law, shape[axis]) for axis, law in part.laws}, part.fixed or (0, 0)
    )


def _settled(law: Law, size: int) -> Law:
    if law.period < size:
        return law
    seen = [law.at(position) for position in range(size)]
    for period in range(1, size // 2 + 1):
        here, there = seen[0], seen[period]
        if here and there:
            short = Law(there[0] - here[0], tuple(seen[:period]))
            if all(short.at(position) == seen[position] for position in range(size)):
                return short
    return Law(0, (seen[0],)) if size == 1 else law


def _compose(
    law: Law, read: Read, shape: tuple[int, ...]
) -> tuple[Interval | None, list[tuple[int, Law]]]:
    """Follow a law along an operand axis through the way in which that axis is read.

    Returns:
        What is the same everywhere, and what follows each axis of the output.
    """
    # A line whose every position is one and the same phase of the law adds to what the others do.
    apart = [line for line in read.lines if line.taps == ((0,),) and line.advance % law.period == 0]
    joint = [line for line in read.lines if line not in apart]
    moving = [
        (line.axis, Law(law.advance * line.advance // law.period, ((0, 0),))) for line in apart
    ]
    if not joint:
        return law.over(read.fixed), moving
    moving += [(line.axis, _follow(law, line, read.fixed)) for line in joint]
    if len(joint) == 1:
        return (0, 0), moving
    base = law.at(0)
    if base is None or not _is_sum(law, joint, [shape[line.axis] for line in joint]):
        raise NotTellableError
    more = len(joint) - 1  # each law has the base in it
    return (-more * base[0], -more * base[1]), moving


def _is_sum(law: Law, lines: list[Line], sizes: list[int]) -> bool:
    """Return whether the law, at every sum of one position per line, is a sum over the lines."""
    if math.prod(sizes) > LONGEST_PERIOD or any(len(taps) != 1 for ln in lines for taps in ln.taps):
        return False
    base = law.at(0)
    sums = [(0, base)]
    for line, size in zip(lines, sizes, strict=True):
        turns = (divmod(o, len(line.taps)) for o in range(size))
        places = [line.taps[phase][0] + turn * line.advance for turn, phase in turns]
        moves = [(place, _add(law.at(place), base and (-base[0], -base[1]))) for place in places]
        sums = [(at + place, _add(so_far, move)) for at, so_far in sums for place, move in moves]
    return all(found is not None and law.at(at) == found for at, found in sums)


def _follow(law: Law, line: Line, fixed: Iterable[int]) -> Law:
    turns = law.period // math.gcd(law.period, line.advance)
    if turns * len(line.taps) > LONGEST_PERIOD:
        raise NotTellableError
    bounds = (
        hull(law.at(tap + turn * line.advance + offset) for tap in taps for offset in fixed)
        for turn in range(turns)
        for taps in line.taps
    )
    return law_of(law.advance * (turns * line.advance // law.period), bounds)


def join(parts: Iterable[Part], size: int) -> tuple[Part, ...]:
    """Join what the branches into a step reach on one input axis.

    Args:
        parts: Where the paths of all branches lead.
        size: Input positions on this axis.

    Returns:
        One part if the branches move alike; if they do not, one for each way of moving.

    Raises:
        NotTellableError: There are too many ways.
    """
    joined: dict[object, Part] = {}
    for part in parts:
        if len(part.laws) > 1:
            joined[part] = part
            continue
        key = [(axis, law.stride) for axis, law in part.laws]
        joined[tuple(key)] = _join_two(joined.get(tuple(key)), part)
    still = joined.get(())
    if still and still.fixed and covers(still.fixed, size):
        return (still,)
    if len(joined) > MOST_PARTS:
        raise NotTellableError
    return tuple(joined.values())


def _join_two(one: Part | None, other: Part) -> Part:
    if one is None or one == other:
        return other
    if not one.laws:
        return Part((), hull((one.fixed, other.fixed)))
    axis, law = one.laws[0]
    return Part(((axis, _span(law, other.laws[0][1])),))


def covers(interval: Interval, size: int) -> bool:
    """Return whether the interval holds every input position."""
    return interval[0] <= 0 and interval[1] >= size - 1
