"""Operators that are linear, or select, and are asked by running them again.

Pooling, means, sums and resampling differ in many details (rounding of sizes, what a divisor
counts, where a sample lies). None of that is written down a second time here: PyTorch's own
derivative of the operator at one output number is the list of its coefficients.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from convtrace.address import Address
from convtrace.certify import certify
from convtrace.errors import NoValueError
from convtrace.receipt import Receipt
from convtrace.rules.layouts import Listed
from convtrace.rules.pointwise import unit_of
from convtrace.rules.pulling import Pulled, Run
from convtrace.step import Step

if TYPE_CHECKING:
    import torch


def pull(run: Run, cotangent: torch.Tensor) -> Pulled:
    """Pull through a step that is linear in its operands, or selects among them.

    The derivative of such an operator is the operator transposed. What the step adds itself (a
    fill value, say) is what it makes of zeros.
    """
    import torch

    assert run.step.replay is not None
    # Numbers that were given with the model count as well, as what the step adds itself.
    # So do whole numbers that are only moved, e.g. the pixels of an image before a cast.
    leaves = {
        role: (
            operand.detach() if operand.is_floating_point() else operand.to(cotangent.dtype)
        ).requires_grad_()
        for role, operand in run.operands.items()
        if operand.is_floating_point() or role in run.step.moved
    }
    roles = list(leaves)
    with torch.enable_grad():
        again = run.step.replay({**run.operands, **leaves})
    if not again.requires_grad:
        return Pulled({}, (cotangent * again).sum())
    grads = torch.autograd.grad(
        again,
        list(leaves.values()),
        cotangent,
        allow_unused=True,
        create_graph=cotangent.requires_grad,
    )
    # PyTorch's stubs promise tensors here, but an operand that is not used has no derivative.
    given: list[tuple[str, torch.Tensor | None]] = list(zip(roles, grads, strict=True))
    found = {role: grad for role, grad in given if grad is not None}
    added: Any = 0.0
    if run.step.attributes.get("value"):
        zeros = {
            role: torch.zeros_like(operand) if role in leaves else operand
            for role, operand in run.operands.items()
        }
        added = (cotangent * run.step.replay(zeros)).sum()
    return Pulled(found, added)


def why(step: Step, index: tuple[int, ...], reporter: str) -> Receipt:
    """Explain one number of such a step: the sources that count, each with its coefficient.

    Args:
        step: The step.
        index: Position in its output.
        reporter: Who computed the reported values.

    Returns:
        The receipt; its arrays have shape `(terms,)`. Coefficients are computed in float64, so
        the verdict allows for the rounding of the framework's own.

    Raises:
        NoValueError: The step cannot be run again.
    """
    import torch

    if step.replay is None:
        raise NoValueError(f"{step.name} cannot be run again, so its terms cannot be listed")
    operands: dict[str, torch.Tensor] = {}
    for role, value in step.values.items():
        tensor = value.tensor()
        operands[role] = tensor.double() if tensor.is_floating_point() else tensor
    leaves = {
        role: tensor.requires_grad_()
        for role, tensor in operands.items()
        if tensor.is_floating_point()
    }
    with torch.enable_grad():
        number = step.replay(operands)[index]
    grads = _derivatives(number, leaves) if number.requires_grad else (None,) * len(leaves)
    sources: list[Address] = []
    weights: list[float] = []
    values: list[float] = []
    for role, grad in zip(leaves, grads, strict=True):
        if grad is None:
            continue
        for place in map(tuple, grad.nonzero().tolist()):
            sources.append(Address(step.operands[role], place))
            weights.append(float(grad[place]))
            values.append(float(leaves[role].detach()[place]))
    size = float(np.abs(np.array(weights) * np.array(values)).sum()) if weights else 0.0
    if step.kind.startswith("upsample"):
        # Coefficients follow from coordinates, whose rounding grows with the size of the map.
        largest = max(float(leaf.detach().abs().max()) for leaf in leaves.values())
        size += largest * max(step.shape[2:])
    return certify(
        step,
        index,
        inputs=np.array(values, dtype=np.float64),
        weights=np.array(weights, dtype=np.float64),
        present=np.ones(len(values), dtype=np.bool_),
        layout=Listed(tuple(sources), (None,) * len(sources)),
        bias=None if values else float(number.detach()),  # a number that was filled in
        reporter=reporter,
        slack=8 * unit_of(step) * size,
    )


def _derivatives(
    output: torch.Tensor,
    leaves: Mapping[str, torch.Tensor],
    cotangent: torch.Tensor | None = None,
    *,
    create_graph: bool = False,
) -> tuple[torch.Tensor | None, ...]:
    """Differentiate by each leaf; None for one that the output does not depend on."""
    import torch

    return torch.autograd.grad(
        output, list(leaves.values()), cotangent, allow_unused=True, create_graph=create_graph
    )
