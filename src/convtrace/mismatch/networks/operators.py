"""Steps of an opened trace, made to run again by PyTorch's operators of the same name.

A saved trace holds what a step did in its run. To judge another network, a step has to do the same
with other numbers; its kind and its settings say how.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from convtrace.step import Step

if TYPE_CHECKING:
    import torch

Replay = Callable[[Mapping[str, Any]], Any]

_TUPLES = (list, tuple)


def operator_of(step: Step) -> Replay | None:
    """Return what runs a step again, from its kind and its settings; None where nothing does."""
    import torch

    if step.kind == "convolution":
        from convtrace.frontends.convolution_replay import replay_convolution

        return replay_convolution(step.attributes)
    if step.kind == "linear":
        return lambda o: torch.nn.functional.linear(o["input"], o["weight"], o.get("bias"))
    packet = getattr(torch.ops.aten, step.kind, None) or getattr(
        torch.ops.aten, f"_{step.kind}", None
    )
    if packet is None:
        return None
    for name in packet.overloads():
        if name.endswith("out"):
            continue
        replay = _bound(getattr(packet, name), step)
        if replay is not None:
            return replay
    return None


def _bound(operator: Any, step: Step) -> Replay | None:
    """Bind an overload to a step's operands and settings; None where it takes others."""
    schema = operator._schema.arguments
    known = {argument.name for argument in schema}
    roles = set(step.values)
    settings = {name: value for name, value in step.attributes.items() if name in known}
    if not roles <= known or not set(step.attributes) - {"output"} <= known:
        return None
    for argument in schema:
        given = argument.name in roles or argument.name in settings
        if not given and not argument.has_default_value():
            return None
    output = step.attributes.get("output")

    def replay(operands: Mapping[str, torch.Tensor]) -> torch.Tensor:
        arguments: dict[str, Any] = {}
        for argument in schema:
            if argument.name in operands:
                arguments[argument.name] = operands[argument.name]
            elif argument.name in settings:
                value = settings[argument.name]
                arguments[argument.name] = list(value) if isinstance(value, _TUPLES) else value
        result = operator(**arguments)
        return result[output or 0] if isinstance(result, _TUPLES) else result

    return replay
