"""Running a recorded operator again, on other operands: positions, or the same in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from convtrace.frontends.torch_record import Held, Record

Replay = Callable[[Mapping[str, torch.Tensor]], torch.Tensor]
"""Computes the output of a step from operands by role."""

_VIEWS = frozenset({"view", "unsafe_view", "reshape_alias"})
_IDENTITIES = frozenset({"to_copy", "clone", "contiguous"})
_RANDOM = frozenset({"native_dropout", "bernoulli", "rand_like", "randn_like", "rrelu_with_noise"})


def bound_arguments(record: Record) -> dict[str, Any]:
    """Return the arguments of an operator by their names in its schema."""
    if record.operator is None:
        return {}
    bound: dict[str, Any] = {}
    for number, argument in enumerate(record.operator._schema.arguments):
        if number < len(record.args):
            bound[argument.name] = record.args[number]
        elif argument.name in record.kwargs:
            bound[argument.name] = record.kwargs[argument.name]
        elif argument.has_default_value():
            bound[argument.name] = argument.default_value
    return bound


def tensor_roles(bound: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Return the tensors among named arguments by role: `tensors.0`, … for those in a list."""
    roles: dict[str, torch.Tensor] = {}
    for name, value in bound.items():
        if isinstance(value, torch.Tensor):
            roles[name] = value
        elif isinstance(value, list | tuple):
            for place, part in enumerate(value):
                if isinstance(part, torch.Tensor):
                    roles[f"{name}.{place}"] = part
    return roles


def kind_of(record: Record) -> str:
    """Return the canonical kind of an operator: its name without underscores around it."""
    return record.op.split("::")[-1].strip("_")


def replay_operator(record: Record, number: int) -> Replay | None:
    """Return what runs an operator again.

    Args:
        record: The operator.
        number: Which of its outputs to return.

    Returns:
        The function, or None where running again cannot give the same: random numbers, and memory
        that was written indirectly.
    """
    operator, kind = record.operator, kind_of(record)
    if operator is None or kind in _RANDOM:
        return None
    schema = operator._schema.arguments
    writes = {a.name for a in schema if a.alias_info is not None and a.alias_info.is_write}
    bound = bound_arguments(record)
    shape = record.outputs[number].tensor.shape

    def replay(operands: Mapping[str, torch.Tensor]) -> torch.Tensor:
        if kind in _IDENTITIES:
            return operands["self"]
        if kind == "copy":
            return operands["src"].expand(shape)
        if kind in _VIEWS:  # the strides of the operands need not be those of the run
            return operands["self"].reshape(shape)
        arguments: dict[str, Any] = {}
        for name, value in bound.items():
            if isinstance(value, torch.Tensor):
                tensor = operands[name]
                arguments[name] = tensor.clone() if name in writes else tensor
            elif isinstance(value, list | tuple):
                arguments[name] = [
                    operands.get(f"{name}.{place}", part) for place, part in enumerate(value)
                ]
            else:
                arguments[name] = value
        if kind in ("native_batch_norm", "cudnn_batch_norm") and arguments["training"]:
            arguments["running_mean"] = arguments["running_var"] = None
        if "dtype" in arguments and isinstance(arguments["dtype"], torch.dtype):
            floats = [t.dtype for t in operands.values() if t.is_floating_point()]
            if floats and arguments["dtype"].is_floating_point:
                arguments["dtype"] = floats[0]
        result = operator(
            *(arguments[a.name] for a in schema if not a.kwarg_only),
            **{a.name: arguments[a.name] for a in schema if a.kwarg_only},
        )
        return result[number] if isinstance(result, list | tuple) else result

    return replay


def positions(held: Held, offset: int) -> torch.Tensor:
    """Number the elements of a tensor, in float64 (which every operator takes)."""
    shape = held.data.shape
    return torch.arange(offset, offset + shape.numel(), dtype=torch.float64, device="cpu").reshape(
        shape
    )
