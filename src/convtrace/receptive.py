"""Receptive fields: which input positions a number of a step can depend on.

The field of a number is, on each spatial axis of an input, the interval from the first to the last
input position that some path through the network leads to. Padding is not cut off: positions below
0, or past the last one, lie on it. Where branches meet, one interval spans both. An axis of an
input is spatial if a convolution or a pool slides along it somewhere in the network.

Each step is visited once: what its operands reach, seen through the way it reads them.

Sources:
    Araujo, Norris and Sim, "Computing receptive fields of convolutional neural networks",
    Distill, 2019, https://distill.pub/2019/computing-receptive-fields. Size, stride and start are
    theirs; phases, axes that merge or split, and unaligned branches are ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from convtrace.intervals import Law, NotTellableError, Part, covers, hull, join, settle, through
from convtrace.rules.reach import REACH, sliding_axes
from convtrace.rules.reading import Chain, whole
from convtrace.step import Step, Value

if TYPE_CHECKING:
    from convtrace.graph import Trace


@dataclass(frozen=True, slots=True)
class AxisField:
    """The receptive field along one spatial axis of an input, in input positions.

    Attributes:
        axis: Axis of the input, counted from 0.
        input_size: Positions of the input on this axis.
        size: Positions of the field, the largest of all outputs and channels, not cut off at the
            border; 0 where nothing is read. None: it differs from output to output in no simple
            way.
        strides: Input positions between neighbouring outputs, on average. One entry; several
            where branches that move differently meet; none where the field follows no one axis
            of the output.
        start: First position of the field of output position 0; negative on padding. None where
            that output reads nothing.
        whole: Every output reads the whole axis, by its operation and not by the size of its
            window.
    """

    axis: int
    input_size: int
    size: int | None
    strides: tuple[Fraction, ...]
    start: int | None
    whole: bool = False

    @property
    def aligned(self) -> bool:
        """Whether all branches move alike."""
        return len(self.strides) < 2


@dataclass(frozen=True, slots=True)
class Field:
    """The receptive field of a step in one input.

    Attributes:
        input: Name of the input.
        axes: One entry for each spatial axis of the input; empty if the field is unknown.
        unknown_since: Name of the step through which it became unknown, or None.
    """

    input: str
    axes: tuple[AxisField, ...]
    unknown_since: str | None = None


@dataclass(frozen=True, slots=True)
class _Unknown:
    since: str


_ITSELF = Law(1, ((0, 0),))

_SOME = -1
"""Stands for the axis of an input that a window slides along, where it is unknown which."""

_Reach = dict[str, tuple[tuple[Part, ...], ...] | _Unknown]
"""By input: for each of its axes where paths lead, or through which step that became unknown."""


def receptive_fields(trace: Trace) -> Mapping[str, tuple[Field, ...]]:
    """Find the receptive field of every step.

    Args:
        trace: Any trace.

    Returns:
        For each step, its fields in the inputs that it depends on, in the order of the inputs.
        An input without a spatial axis has none.
    """
    paths = Paths(trace)
    return {name: tuple(paths.fields(step)) for name, step in trace.steps.items()}


class Paths:
    """Where the paths from every step of a trace lead in its inputs.

    Args:
        trace: Any trace.
    """

    def __init__(self, trace: Trace) -> None:
        trace.check()
        self._inputs = trace.inputs
        self._reach: dict[str, _Reach] = {
            name: {name: tuple((Part(((axis, _ITSELF),)),) for axis in range(len(value.shape)))}
            for name, value in trace.inputs.items()
        }
        self._spatial: dict[str, set[int]] = {name: set() for name in trace.inputs}
        for step in trace.steps.values():
            self._visit(step)

    def parts(self, step: str, name: str = "input") -> tuple[tuple[Part, ...], ...] | None:
        """Return where paths lead on each axis of an input; None where that is unknown."""
        reach = self._reach[step].get(name, ())
        return None if isinstance(reach, _Unknown) else reach

    def _visit(self, step: Step) -> None:
        """Find where paths lead from one step; those of its operands are known."""
        operands = {role: self._of(step, role, value) for role, value in step.values.items()}
        self._mark_spatial(step, operands)
        found: _Reach = {}
        if any(operands.values()):
            rule = REACH.get(step.kind)
            chains = rule(step) if rule else None
            for name, value in self._inputs.items():
                reads = {role: reach for role, o in operands.items() if (reach := o.get(name))}
                if reads:
                    found[name] = _combine(step, value.shape, reads, chains)
        self._reach[step.name] = {name: reach for name, reach in found.items() if reach}

    def _of(self, step: Step, role: str, value: Value) -> _Reach:
        known = self._reach.get(value.name)
        if known is not None:
            return known
        if step.kind == "convolution" and role == "input" and value.origin == "constant":
            return dict.fromkeys(self._inputs, _Unknown(value.name))  # made by what was not kept
        return {}

    def _mark_spatial(self, step: Step, operands: Mapping[str, _Reach]) -> None:
        sliding = sliding_axes(step)
        if not sliding:
            return
        role = "input" if "input" in operands else "self"
        for name, reach in operands[role].items():
            if isinstance(reach, _Unknown):
                self._spatial[name].add(_SOME)
                continue
            for axis, parts in enumerate(reach):
                if any(out in sliding for part in parts for out, _ in part.laws):
                    self._spatial[name].add(axis)

    def fields(self, step: Step) -> Iterator[Field]:
        """Yield the receptive field of a step in each input that it depends on."""
        for name, reach in self._reach[step.name].items():
            spatial, sizes = self._spatial[name], self._inputs[name].shape
            if isinstance(reach, _Unknown):
                if spatial:
                    yield Field(name, (), reach.since)
                continue
            axes = sorted(spatial - {_SOME})
            crowded = _crowded([reach[axis] for axis in axes])
            found = [_report(a, sizes[a], reach[a], step.shape, crowded) for a in axes]
            if found:
                yield Field(name, tuple(found))


def _combine(
    step: Step,
    sizes: tuple[int, ...],
    reads: Mapping[str, tuple[tuple[Part, ...], ...] | _Unknown],
    chains: Mapping[str, Chain | None] | None,
) -> tuple[tuple[Part, ...], ...] | _Unknown:
    """Find where paths lead in one input, through all operands of a step."""
    branches: list[tuple[tuple[Part, ...], ...]] = []
    try:
        for role, reach in reads.items():
            every = (tuple(map(whole, step.values[role].shape)),)
            chain = chains.get(role, every) if chains is not None else None
            if chain == ():
                continue
            if isinstance(reach, _Unknown):
                return reach
            if chain is None:
                return _Unknown(step.name)
            branches.append(tuple(_follow(parts, chain, step.shape) for parts in reach))
        if not branches:
            return ()
        return tuple(
            join((part for branch in branches for part in branch[axis]), size)
            for axis, size in enumerate(sizes)
        )
    except NotTellableError:
        return _Unknown(step.name)


def _follow(parts: tuple[Part, ...], chain: Chain, shape: tuple[int, ...]) -> tuple[Part, ...]:
    for reading in chain:
        parts = tuple(found for part in parts if (found := through(part, reading, shape)))
    if len(chain) > 1:
        parts = tuple(found for part in parts if (found := settle(part, shape)))
    return parts


def _crowded(spatial: list[tuple[Part, ...]]) -> set[int]:
    """Return the axes of a tensor that stand for more than one spatial axis of an input."""
    seen: set[int] = set()
    crowded: set[int] = set()
    for parts in spatial:
        axes = {axis for part in parts for axis, _ in part.laws}
        crowded |= seen & axes
        seen |= axes
    return crowded


def _report(
    axis: int,
    input_size: int,
    parts: tuple[Part, ...],
    shape: tuple[int, ...],
    crowded: set[int],
) -> AxisField:
    if not parts:
        return AxisField(axis, input_size, 0, (), None)
    first = hull(map(_at_origin, parts))
    start = first and first[0]
    if len(parts) == 1 and parts[0].fixed:
        low, high = parts[0].fixed
        everything = covers(parts[0].fixed, input_size)
        return AxisField(axis, input_size, high - low + 1, (Fraction(0),), start, everything)
    axes = {out for part in parts for out, _ in part.laws}
    moving = {(out, law) for part in parts for out, law in part.laws if law.advance}
    along = {out for out, _ in moving}
    steady = (
        len(along) == 1
        and not along & crowded
        and all(_is_steady(law, shape[out]) for out, law in moving)
    )
    still = any(not part.laws for part in parts)  # a branch that reads one interval for all outputs
    strides = {law.stride for _, law in moving} | ({Fraction(0)} if still else set())
    return AxisField(
        axis,
        input_size,
        _largest(parts, shape, axes),
        tuple(sorted(strides)) if steady else (),
        start,
    )


def _is_steady(law: Law, size: int) -> bool:
    """Return whether the interval stays near where its stride says, and does not jump back."""
    if law.period < size:
        return True
    seen = [(o, bound) for o, bound in enumerate(law.bounds) if bound]
    longest = max(high - low + 1 for _, (low, high) in seen)
    apart = [low - law.stride * o for o, (low, _) in seen]
    return max(apart) - min(apart) <= longest + abs(law.stride)


def _at_origin(part: Part) -> tuple[int, int] | None:
    """Return the interval of position 0 on every axis."""
    if part.fixed:
        return part.fixed
    bounds = [bound for _, law in part.laws if (bound := law.at(0))]
    if len(bounds) < len(part.laws):
        return None
    return sum(low for low, _ in bounds), sum(high for _, high in bounds)


def _largest(parts: tuple[Part, ...], shape: tuple[int, ...], axes: set[int]) -> int | None:
    """Return the largest size of all outputs; of all phases, where the parts move alike."""
    if len(parts) == 1:
        return 1 + sum(
            max(
                (
                    bound[1] - bound[0]
                    for bound in map(law.at, range(min(law.period, shape[axis])))
                    if bound
                ),
                default=-1,
            )
            for axis, law in parts[0].laws
        )
    if len(axes) != 1:
        return None
    size = shape[next(iter(axes))]
    spans = (hull(p.fixed or p.laws[0][1].at(o) for p in parts) for o in range(size))
    return max((high - low + 1 for low, high in filter(None, spans)), default=0)
