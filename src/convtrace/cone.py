"""The cone below a number: which positions of the tensors below it can matter for it.

On each axis of a tensor that is the interval from the first to the last position that some path
leads to, as in `convtrace.receptive`; positions below 0, or past the last one, lie on padding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from convtrace.address import Address
from convtrace.intervals import Interval, Part, hull
from convtrace.receptive import Paths
from convtrace.step import Step, Value

if TYPE_CHECKING:
    from convtrace.graph import Trace


@dataclass(frozen=True, slots=True)
class _Above:
    """The steps of a run from one tensor on, as a run of which that tensor is the input."""

    inputs: Mapping[str, Value]
    steps: Mapping[str, Step]

    def check(self) -> None:
        """Do nothing: the whole run was checked before."""


def cone(
    trace: Trace, address: Address, names: Sequence[str]
) -> Mapping[str, tuple[Interval, ...] | None]:
    """Find the positions of tensors that a number can depend on.

    Args:
        trace: Any trace.
        address: A number that a step made.
        names: Inputs and steps below it.

    Returns:
        By name, the first and last position on each axis; None where nothing of the tensor is
        read, or where it cannot be told.

    Example:
        >>> import numpy as np
        >>> import convtrace as ct
        >>> trace = ct.from_arrays(np.ones((1, 1, 5, 5)), np.ones((1, 1, 3, 3)), padding=1)
        >>> cone(trace, Address("conv2d", (0, 0, 0, 2)), ["input"])
        {'input': ((0, 0), (0, 0), (-1, 1), (1, 3))}
    """
    trace.check()
    order = list(trace.steps)
    last = order.index(address.step)
    found: dict[str, tuple[Interval, ...] | None] = {}
    for name in names:
        if name == address.step:
            found[name] = tuple((place, place) for place in address.index)
            continue
        start = order.index(name) + 1 if name in trace.steps else 0
        value = trace.steps[name].value if name in trace.steps else trace.inputs[name]
        above = _Above({name: value}, {key: trace.steps[key] for key in order[start : last + 1]})
        # Paths asks a trace for no more than this.
        parts = Paths(cast("Any", above)).parts(address.step, name)
        spans = [_span(axis, address.index) for axis in parts or ()]
        known = tuple(span for span in spans if span is not None)
        found[name] = known if known and len(known) == len(value.shape) else None
    return found


def _span(parts: Sequence[Part], index: tuple[int, ...]) -> Interval | None:
    """Return the interval that all paths together lead to, on one axis."""
    found: list[Interval | None] = []
    for part in parts:
        if part.fixed:
            found.append(part.fixed)
            continue
        bounds = [law.at(index[axis]) for axis, law in part.laws]
        known = [bound for bound in bounds if bound is not None]
        if len(known) == len(bounds):
            found.append((sum(low for low, _ in known), sum(high for _, high in known)))
    return hull(found)
