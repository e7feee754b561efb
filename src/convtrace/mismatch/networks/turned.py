"""Networks whose numbers lie with channels last, told as if channels came first.

A port from Keras or JAX, or a file for a runtime that likes NHWC, makes the same numbers with other
axes. Between a transposition and the one that takes it back, each step is turned: it reads and
makes NCHW, and does inside what it did. Then it can be compared like any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from convtrace.step import Inside, Step, Unobserved, Value

if TYPE_CHECKING:
    import torch

    from convtrace.graph import Trace


@dataclass(frozen=True, eq=False)
class TurnedStep(Step):
    """A step that reads or makes channels last, told with channels first.

    Attributes:
        own: The step as it ran.
        turned: Roles of its operands that lie with channels last.
        makes: Whether its output does.
    """

    own: Step | None = None
    turned: frozenset[str] = frozenset()
    makes: bool = True


def first(count: int) -> tuple[int, ...]:
    """Return the order of axes that brings the last of so many to the second place.

    Example:
        >>> first(4), last(4)
        ((0, 3, 1, 2), (0, 2, 3, 1))
    """
    return (0, count - 1, *range(1, count - 1))


def last(count: int) -> tuple[int, ...]:
    """Return the order of axes that brings the second of so many to the last place."""
    return (0, *range(2, count), 1)


def channels_last(trace: Trace, inputs: frozenset[str] = frozenset()) -> frozenset[str]:
    """Return the names of values whose channels come last.

    Args:
        trace: The run.
        inputs: Inputs that are given in this way.
    """
    found: set[str] = set(inputs)
    for step in trace.steps.values():
        roles = [role for role, value in step.values.items() if value.name in found]
        axes = len(step.shape)
        if axes not in (4, 5):
            continue
        if _transposes(step, last(axes)) and not roles:
            found.add(step.name)
        elif roles and all(len(step.values[role].shape) == axes for role in roles):
            back = _transposes(step, first(axes))
            if not back and (step.kind != "convolution" or step.attributes.get("channels_last")):
                found.add(step.name)
    return frozenset(found)


def _transposes(step: Step, order: tuple[int, ...]) -> bool:
    """Whether a step does nothing but transpose axes in this order."""
    if step.sources is None or len(step.values) != 1:
        return False
    value = next(iter(step.values.values()))
    if len(value.shape) != len(order) or isinstance(value, Unobserved):
        return False
    if tuple(value.shape[axis] for axis in order) != step.shape:
        return False
    if isinstance(step.value, Unobserved):
        return step.kind in ("permute", "transpose")
    ours, theirs = step.value.tensor(), value.tensor().permute(order)
    return bool(((ours == theirs) | ((ours != ours) & (theirs != theirs))).all())


def computing(trace: Trace, names: frozenset[str]) -> int:
    """Count the steps among these that compute something, and do not only move numbers."""
    return sum(name in trace.steps and trace.steps[name].sources is None for name in names)


def turned_value(value: Value) -> Value:
    """Return a value with its last axis as its second."""
    order = first(len(value.shape))
    if isinstance(value, Inside):
        return Inside(value.name, np.transpose(value.data, order))
    if isinstance(value, Unobserved):
        back = last(len(order))

        def compute(index: tuple[int, ...]) -> Any:
            return value.item(tuple(index[axis] for axis in back))

        return Unobserved(value.name, tuple(value.shape[a] for a in order), value.dtype, compute)
    data: Any = value.data
    data = np.transpose(data, order) if isinstance(data, np.ndarray) else data.permute(order)
    return Value(value.name, data, value.origin)


def turn_all(steps: Iterable[Step], names: frozenset[str]) -> list[Step]:
    """Return steps told with channels first; transpositions that are nothing then are left out."""
    if not names:
        return list(steps)
    found: list[Step] = []
    same: dict[str, Value] = {}
    for step in steps:
        made = turn(step, names)
        values = {role: same.get(value.name, value) for role, value in made.values.items()}
        if values != dict(made.values):
            made = replace(made, values=values)
        if isinstance(made, TurnedStep) and _is_nothing(made):
            same[made.name] = next(iter(made.values.values()))
        else:
            found.append(made)
    return found


def _is_nothing(step: TurnedStep) -> bool:
    """Whether a step is a transposition from one order of axes to the other."""
    if step.own is None or step.makes == bool(step.turned):
        return False
    axes = len(step.shape)
    return _transposes(step.own, last(axes) if step.makes else first(axes))


def turn(step: Step, names: frozenset[str]) -> Step:
    """Return a step told with channels first, where anything of it has them last."""
    roles = frozenset(role for role, value in step.values.items() if value.name in names)
    makes = step.name in names
    if not roles and not makes:
        return step
    values = {
        role: turned_value(value) if role in roles else value for role, value in step.values.items()
    }
    value = turned_value(step.value) if makes else step.value
    parts: dict[str, Any] = {name: getattr(step, name) for name in _FIELDS}
    parts |= {"values": values, "value": value}
    found = TurnedStep(**parts, own=step, turned=roles, makes=makes)
    return replace(found, replay=None if step.replay is None else _replay(found))


_FIELDS = "name kind attributes status module arithmetic replay sources moved table".split()


def _replay(step: TurnedStep) -> Any:
    def run(operands: Mapping[str, torch.Tensor]) -> torch.Tensor:
        own = step.own
        assert own is not None
        assert own.replay is not None
        made = own.replay({role: inner(step, role, value) for role, value in operands.items()})
        return outer(step, made)

    return run


def inner(step: TurnedStep, role: str, tensor: Any) -> Any:
    """Return an operand as the step itself reads it."""
    plain = role not in step.turned or not hasattr(tensor, "permute") or not tensor.dim()
    return tensor if plain else tensor.permute(last(tensor.dim()))


def outer(step: TurnedStep, tensor: Any) -> Any:
    """Return what the step itself makes as others read it."""
    plain = not step.makes or not hasattr(tensor, "permute") or not tensor.dim()
    return tensor if plain else tensor.permute(first(tensor.dim()))
