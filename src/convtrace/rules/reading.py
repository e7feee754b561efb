"""The form in which a rule says which positions of an operand one number of a step reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from convtrace.geometry import Axis
from convtrace.step import Step


@dataclass(frozen=True, slots=True)
class Line:
    """Positions on one operand axis that follow one axis of the output.

    At output position `o = turn*period + phase` they are `taps[phase] + turn*advance`.

    Attributes:
        axis: Axis of the output, counted from 0.
        advance: Operand positions that one period moves.
        taps: Positions that are read at output positions 0 … period − 1.
    """

    axis: int
    advance: int = 1
    taps: tuple[tuple[int, ...], ...] = ((0,),)


@dataclass(frozen=True, slots=True)
class Read:
    """Positions that are read on one operand axis: every sum of one of `fixed` and one per line.

    Attributes:
        lines: What follows the output's position.
        fixed: What does not; `range(size)` reads the whole axis.
    """

    lines: tuple[Line, ...] = ()
    fixed: tuple[int, ...] | range = (0,)


Reading = tuple[Read, ...]
"""One `Read` for each axis of an operand."""

Chain = tuple[Reading, ...]
"""Readings one after another, the operand's own first; `()` where no value is read."""

Rule = Callable[[Step], Mapping[str, Chain | None] | None]
"""Chains by role. None, for a step or a role: it cannot be told. What is left out is read whole."""


def same(axes: int) -> list[Read]:
    """Read the position of the output, on every axis."""
    return [Read((Line(axis),)) for axis in range(axes)]


def whole(size: int) -> Read:
    """Read all positions of an axis."""
    return Read((), range(size))


def window(number: int, axis: Axis) -> Read:
    """Read what the index law says, on padding and beyond the border too.

    Args:
        number: Axis of the output, counted from 0.
        axis: Settings of the window.

    Example:
        >>> window(2, Axis(kernel=3, stride=2, padding=(1, 1))).lines
        (Line(axis=2, advance=2, taps=((-1, 0, 1),)),)
        >>> window(2, Axis(kernel=3, stride=2, transposed=True)).lines
        (Line(axis=2, advance=1, taps=((0, -1), (0,))),)
    """
    low, stride = axis.padding[0], axis.stride
    offsets = [k * axis.dilation for k in range(axis.kernel)]
    if not axis.transposed:
        return Read((Line(number, stride, (tuple(k - low for k in offsets),)),))
    phases = (
        tuple((o + low - k) // stride for k in offsets if (o + low - k) % stride == 0)
        for o in range(stride)
    )
    return Read((Line(number, 1, tuple(phases)),))


def broadcast(shape: tuple[int, ...], out: tuple[int, ...]) -> Reading:
    """Read an operand that is spread over a larger shape, or repeated in it.

    Example:
        >>> broadcast((1, 3), (2, 4, 3)) == (Read(), Read((Line(axis=2),)))
        True
    """
    reads: list[Read] = []
    for axis, size in enumerate(shape, len(out) - len(shape)):
        if size == out[axis]:
            reads.append(Read((Line(axis),)))
        elif size == 1:
            reads.append(Read())
        elif out[axis] % size == 0:
            reads.append(Read((Line(axis, 0, tuple((i,) for i in range(size))),)))
        else:
            reads.append(whole(size))
    return tuple(reads)
