"""Linear layers in one form, whichever operators a runtime makes them of.

PyTorch runs `linear`, or `addmm` where it is called so; an exported file has `MatMul` and `Add`, or
`Gemm`. Two networks can only be compared layer by layer where these are one step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from convtrace.step import Step, Value

if TYPE_CHECKING:
    import torch

_FACTORS = {
    "mm": ("self", "mat2", None),
    "matmul": ("self", "mat2", None),
    "addmm": ("mat1", "mat2", "self"),
    "gemm": ("mat1", "mat2", "self"),
}
"""By kind: the roles of the input, the weights, and what is added."""


def linear_layers(steps: Sequence[Step], dynamic: frozenset[str]) -> list[Step]:
    """Return the steps with products by given weights as linear layers, their summand with them.

    Args:
        steps: Steps in the order they ran.
        dynamic: Names of the values that depend on an input.
    """
    readers: dict[str, list[Step]] = {}
    for step in steps:
        for name in dict.fromkeys(step.operands.values()):
            readers.setdefault(name, []).append(step)
    found: dict[str, Step] = {step.name: step for step in steps}
    for step in steps:
        layer = _layer(step, dynamic)
        if layer is None:
            continue
        following = readers.get(step.name, [])
        added = _summand(following[0], layer, dynamic) if len(following) == 1 else None
        if added is not None and "bias" not in layer.values:
            last = following[0]
            values = {**layer.values, "bias": added}
            del found[step.name]
            found[last.name] = replace(layer, name=last.name, values=values, value=last.value)
        else:
            found[step.name] = layer
    return list(found.values())


def _layer(step: Step, dynamic: frozenset[str]) -> Step | None:
    """Return a product by given weights as a linear layer; None where it is none."""
    if step.kind not in _FACTORS:
        return None
    left, right, added = _FACTORS[step.kind]
    settings = step.attributes
    plain = all(settings.get(name, 1) == 1 for name in ("alpha", "beta"))
    weight, x = step.values[right], step.values[left]
    if not plain or settings.get("transA") or weight.name in dynamic or x.name not in dynamic:
        return None
    bias = step.values.get(added) if added is not None else None
    if len(weight.shape) != 2 or (bias is not None and not _fits(bias, step, dynamic)):
        return None
    stored = weight.tensor()
    values = {
        "input": x,
        "weight": Value(weight.name, stored if settings.get("transB") else stored.T, weight.origin),
    }
    if bias is not None:
        values["bias"] = bias
    return replace(step, kind="linear", attributes={}, values=values, replay=_run, sources=None)


def _summand(step: Step, layer: Step, dynamic: frozenset[str]) -> Value | None:
    """Return what a step adds to each output of a layer; None where it does something else."""
    if step.kind != "add" or step.attributes.get("alpha", 1) != 1 or step.shape != layer.shape:
        return None
    others = [value for value in step.values.values() if value.name != layer.name]
    return others[0] if len(others) == 1 and _fits(others[0], step, dynamic) else None


def _fits(bias: Value, step: Step, dynamic: frozenset[str]) -> bool:
    return bias.name not in dynamic and bias.shape == step.shape[-1:]


def _run(operands: Mapping[str, Any]) -> torch.Tensor:
    import torch

    return torch.nn.functional.linear(operands["input"], operands["weight"], operands.get("bias"))
