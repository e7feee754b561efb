"""Among which numbers a step chose: max pooling, the largest along an axis, the larger of two."""

from __future__ import annotations

import math
from collections.abc import Mapping

from convtrace.address import Address
from convtrace.rules.layouts import Among
from convtrace.rules.reach import REACH
from convtrace.rules.reading import Chain, Read
from convtrace.step import Step

_OF_TWO = {"maximum": "largest", "minimum": "smallest"}
_OF_MANY = {"amax": "largest", "max": "largest", "amin": "smallest", "min": "smallest"}


def among(step: Step, index: tuple[int, ...]) -> Among | None:
    """Say among which numbers a step chose one; None where it chose in another way.

    Args:
        step: The step.
        index: Position in its output.

    Example:
        >>> import torch, convtrace as ct
        >>> pooled = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1), torch.nn.MaxPool2d(3, padding=1))
        >>> step = ct.trace(pooled, torch.ones(1, 1, 5, 5)).step("1")
        >>> among(step, (0, 0, 0, 1)).count, str(among(step, (0, 0, 0, 1)).first)
        (6, '0[0,0,0,2]')
    """
    if step.kind in _OF_TWO:
        read = REACH[step.kind](step) or {}
        ends = [_ends(step, role, read, index) for role in ("self", "other")]
        if any(end is None for end in ends):
            return None
        first, last = (end[0] for end in ends if end is not None)
        return Among(_OF_TWO[step.kind], 2, first, last)
    pools = step.kind.startswith(("max_pool", "adaptive_max_pool"))
    if (not pools and step.kind not in _OF_MANY) or step.kind not in REACH:
        return None
    found = _ends(step, "self", REACH[step.kind](step) or {}, index)
    if found is None:
        return None
    first, last, count = found
    return Among(_OF_MANY.get(step.kind, "largest"), count, first, last)


def _ends(
    step: Step, role: str, chains: Mapping[str, Chain | None], index: tuple[int, ...]
) -> tuple[Address, Address, int] | None:
    """Return the first and the last number of an operand that is read, and how many are."""
    chain, value = chains.get(role), step.values.get(role)
    if chain is None or len(chain) != 1 or value is None:
        return None
    axes = [_places(read, index, n) for read, n in zip(chain[0], value.shape, strict=True)]
    if not all(axes):
        return None
    first, last = (tuple(places[end] for places in axes) for end in (0, -1))
    return Address(value.name, first), Address(value.name, last), math.prod(map(len, axes))


def _places(read: Read, index: tuple[int, ...], size: int) -> list[int]:
    """List the positions that are read on one axis of an operand, without padding."""
    places = set(read.fixed)
    for line in read.lines:
        turn, phase = divmod(index[line.axis], len(line.taps))
        taps = [tap + turn * line.advance for tap in line.taps[phase]]
        places = {place + tap for place in places for tap in taps}
    return sorted(place for place in places if 0 <= place < size)
