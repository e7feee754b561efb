"""Tables of steps: what PyTorch says of every number of a step, asked once, for a saved trace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from convtrace.rules import again, backward, pointwise, rule_of
from convtrace.rules.matrix import Function, coefficients, numpy_of
from convtrace.step import Step
from convtrace.tables import Curve, Table

if TYPE_CHECKING:
    import torch


def table_of(step: Step) -> Table | None:
    """Return what PyTorch says of every number of a step.

    Args:
        step: Any step.

    Returns:
        Its table; None where its rule needs none, or where it has none: the step cannot be run
        again.
    """
    if step.table is not None or step.replay is None:
        return step.table
    rule = rule_of(step).why
    if rule is pointwise.why_gate:
        return _curve(step)
    if rule is again.why:
        operands = {role: _wide(value.tensor()) for role, value in step.values.items()}
        leaves = [role for role, x in operands.items() if again.is_leaf(role, x)]
        return coefficients(step.replay, operands, leaves, linear=step.status == "linear")
    if rule is backward.why:
        try:
            return coefficients(*_chain(step), linear=False)
        except (RuntimeError, ValueError, NotImplementedError):
            return None  # PyTorch has no such derivative for this operator
    return None


def _chain(step: Step) -> tuple[Function, dict[str, torch.Tensor], list[str]]:
    """Return a gradient as a function of the gradients that it is made of, which is linear."""
    import torch

    replay, of = step.replay, step.attributes["of"]
    assert replay is not None
    wide = {role: _wide(value.tensor()) for role, value in step.values.items()}
    gradients = {role: x for role, x in wide.items() if role.split(".")[0] == "gradient"}
    operands = {role: x for role, x in wide.items() if role not in gradients}

    def pulled(cotangents: Mapping[str, torch.Tensor]) -> torch.Tensor:
        operand = operands[of].detach().requires_grad_()
        made = list(replay({**operands, of: operand}))
        given = [x.reshape(y.shape) for x, y in zip(cotangents.values(), made, strict=True)]
        return torch.autograd.grad(made, operand, given, create_graph=True)[0]

    return pulled, gradients, list(gradients)


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor


def _curve(step: Step) -> Curve:
    """Run an elementwise function in float64, at every number and at zero."""
    import torch

    assert step.replay is not None
    operands = {role: _wide(value.tensor()) for role, value in step.values.items()}
    z = operands["self"]
    # PyTorch's kernels for many numbers and for one may differ in the last bit. With gaps between
    # the numbers it takes the one that `why` of a run takes.
    apart = torch.stack([z, z], -1)[..., 0]
    with torch.no_grad():
        values = step.replay({**operands, "self": apart})
        zeros = step.replay({**operands, "self": torch.zeros_like(z)})
    return Curve(numpy_of(values), _smallest(numpy_of(zeros)))


def _smallest(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return one number along every axis along which all are equal."""
    for axis in range(numbers.ndim):
        first = numbers.take([0], axis)
        if np.array_equal(np.broadcast_to(first, numbers.shape), numbers, equal_nan=True):
            numbers = first
    return numbers
