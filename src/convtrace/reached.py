"""What one number can depend on, and what can depend on it: exact positions, tensor by tensor.

Where `convtrace.receptive` says it for all numbers of a step at once, by laws that go on beyond
the borders, this says it for one: dilation leaves gaps, padding ends at the border, and of a
tensor that branches read in several ways, every way counts. "Can" means for some numbers: a max
pool can depend on its whole window, although it took one number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from convtrace.address import Address
from convtrace.intervals import Interval
from convtrace.rules.reading import Chain, Line, Read, Reading
from convtrace.rules.reads import reads_of
from convtrace.step import Step

if TYPE_CHECKING:
    from convtrace.graph import Trace

Positions = frozenset[int]
Box = tuple[Positions, ...]
"""Positions by axis; every combination of them counts."""

MOST_BOXES = 16
"""Ways of reading that are kept apart; of more, all combinations count."""


@dataclass(frozen=True, slots=True)
class Reached:
    """What of one tensor is reached.

    Attributes:
        boxes: Positions; those of all boxes together. Empty where nothing is reached.
        known: False where it cannot be told; then `boxes` is empty.
        padding: Positions of padding on each axis, which the steps that read the tensor read
            beside those of the tensor; empty where there are none. Not told by `above`.
    """

    boxes: tuple[Box, ...]
    known: bool = True
    padding: Box = ()

    @property
    def spans(self) -> tuple[Interval, ...] | None:
        """First and last position on each axis; None where nothing is known to be reached."""
        if not self.boxes:
            return None
        axes = zip(*self.boxes, strict=True)
        return tuple((min(map(min, sets)), max(map(max, sets))) for sets in axes)


def below(trace: Trace, address: Address) -> Mapping[str, Reached]:
    """Find what one number can depend on.

    Args:
        trace: Any trace.
        address: A number of it.

    Returns:
        By name, every tensor that it can depend on, itself included.

    Example:
        >>> import numpy as np
        >>> import convtrace as ct
        >>> trace = ct.from_arrays(np.ones((1, 1, 5, 5)), np.ones((1, 1, 3, 3)), padding=1)
        >>> below(trace, ct.Address("conv2d", (0, 0, 0, 2)))["input"].spans
        ((0, 0), (0, 0), (0, 1), (1, 3))
        >>> below(trace, ct.Address("conv2d", (0, 0, 0, 2)))["input"].padding
        (frozenset(), frozenset(), frozenset({-1}), frozenset())
    """
    trace.check()
    found = {address.step: [_one(address.index)]}
    padding: dict[str, Box] = {}
    unknown: set[str] = set()
    for step in reversed(list(trace.steps.values())):
        if step.name not in found and step.name not in unknown:
            continue
        chains = reads_of(step)
        for role, value in step.values.items():
            chain = chains[role] if chains is not None else None
            if chain == ():
                continue
            if chain is None or step.name in unknown:
                unknown.add(value.name)
                continue
            for box in found[step.name]:
                read = _read(box, chain)
                if inside := _inside(read, value.shape):
                    _add(found.setdefault(value.name, []), inside)
                    if _pads(step):
                        _widen(padding, value.name, read, value.shape)
    return _reached(found, unknown, padding)


def above(trace: Trace, address: Address) -> Mapping[str, Reached]:
    """Find what can depend on one number.

    Args:
        trace: Any trace.
        address: A number of it, also one that the model holds.

    Returns:
        By name, every tensor that can depend on it, itself included.
    """
    trace.check()
    found = {address.step: [_one(address.index)]}
    unknown: set[str] = set()
    for step in trace.steps.values():
        chains: Mapping[str, Chain | None] | None = None
        for role, value in step.values.items():
            if value.name not in found and value.name not in unknown:
                continue
            chains = chains or reads_of(step)
            chain = chains[role] if chains is not None else None
            if chain == ():
                continue
            if chain is None or value.name in unknown:
                unknown.add(step.name)
                continue
            for box in found[value.name]:
                made = _made(box, chain, step)
                if made:
                    _add(found.setdefault(step.name, []), made)
    return _reached(found, unknown)


def _one(index: Iterable[int]) -> Box:
    return tuple(frozenset((place,)) for place in index)


def _reached(
    found: Mapping[str, list[Box]],
    unknown: set[str],
    padding: Mapping[str, Box] = MappingProxyType({}),
) -> Mapping[str, Reached]:
    every = {
        name: Reached(tuple(boxes), padding=padding.get(name, ()))
        for name, boxes in found.items()
        if boxes
    }
    return every | {name: Reached((), known=False) for name in unknown}


def _add(boxes: list[Box], box: Box) -> None:
    """Add a box to others, and put those together that make one box."""
    for n, other in enumerate(boxes):
        differ = [axis for axis, (a, b) in enumerate(zip(box, other, strict=True)) if a != b]
        inside = all(box[axis] <= other[axis] for axis in differ)
        around = all(other[axis] <= box[axis] for axis in differ)
        if inside:
            return
        if around or len(differ) == 1 or len(boxes) >= MOST_BOXES:
            del boxes[n]
            _add(boxes, tuple(a | b for a, b in zip(box, other, strict=True)))
            return
    boxes.append(box)


def _positions(line: Line, place: int) -> Iterable[int]:
    """Positions that a line reads at one position of its axis."""
    turn, phase = divmod(place, len(line.taps))
    return (tap + turn * line.advance for tap in line.taps[phase])


def _lines(line: Line, places: Positions) -> set[int]:
    return {read for place in places for read in _positions(line, place)}


def _sums(read: Read, box: Box, but: Line | None = None) -> set[int]:
    """Return every sum of one of `fixed` and one position per line, but for one line."""
    sums = set(read.fixed)
    for line in read.lines:
        if line is not but:
            moves = _lines(line, box[line.axis])
            sums = moves if sums == {0} else {low + move for low in sums for move in moves}
    return sums


def _read(box: Box, chain: Chain) -> Box:
    """Return the positions that a box of the output reads, also where no operand is."""
    for reading in reversed(chain):
        box = tuple(frozenset(_sums(read, box)) for read in reading)
    return box


def _inside(box: Box, shape: tuple[int, ...]) -> Box | None:
    """Return the part of a box in which there are numbers; None where there is none."""
    inside = tuple(
        frozenset(place for place in places if 0 <= place < size)
        for places, size in zip(box, shape, strict=True)
    )
    return inside if all(inside) else None


def _pads(step: Step) -> bool:
    """Whether what a step reads outside of an operand is padding, and not another operand."""
    if step.kind == "convolution":
        return not step.attributes["transposed"]
    return "pool" in step.kind or "pad" in step.kind or step.kind.endswith("conv")


def _widen(padding: dict[str, Box], name: str, box: Box, shape: tuple[int, ...]) -> None:
    """Add the positions of a box that lie outside of a tensor."""
    outside = tuple(
        frozenset(place for place in places if not 0 <= place < size)
        for places, size in zip(box, shape, strict=True)
    )
    if any(outside):
        before = padding.get(name) or outside
        padding[name] = tuple(a | b for a, b in zip(before, outside, strict=True))


def _made(box: Box, chain: Chain, step: Step) -> Box | None:
    """Return the positions of the output that read a box of an operand."""
    shapes = [step.shape]
    for reading in reversed(chain[1:]):
        shapes.append(tuple(_size(read, shapes[-1]) for read in reading))
    for reading, shape in zip(chain, reversed(shapes), strict=True):
        turned = _turned(box, reading, shape)
        if turned is None:
            return None
        box = turned
    return box


def _size(read: Read, shape: tuple[int, ...]) -> int:
    """Positions of an axis in between, which a reshape goes through."""
    return 1 + max(_sums(read, tuple(frozenset(range(size)) for size in shape)))


def _turned(box: Box, reading: Reading, shape: tuple[int, ...]) -> Box | None:
    """Return the positions of what reads, given those that are read."""
    whole = tuple(frozenset(range(size)) for size in shape)
    made = list(whole)
    for read, wanted in zip(reading, box, strict=True):
        if not read.lines and wanted.isdisjoint(read.fixed):
            return None
        for line in read.lines:
            others = _sums(read, whole, but=line)
            starts = {place - other for place in wanted for other in others}
            made[line.axis] &= frozenset(
                place
                for place in whole[line.axis]
                if not starts.isdisjoint(_positions(line, place))
            )
    return tuple(made) if all(made) else None
