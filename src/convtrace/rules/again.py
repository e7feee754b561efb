"""Operators that are linear, or select, and are asked by running them again.

Pooling, means, sums and resampling differ in many details (rounding of sizes, what a divisor
counts, where a sample lies). None of that is written down a second time here: PyTorch's own
derivative of the operator at one output number is the list of its coefficients.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from convtrace.address import Address
from convtrace.certify import certify
from convtrace.errors import NoValueError
from convtrace.receipt import Receipt
from convtrace.rules.layouts import Chosen, Listed
from convtrace.rules.pointwise import unit_of
from convtrace.rules.pulling import Pulled, Run
from convtrace.step import Step
from convtrace.tables import Coefficients

if TYPE_CHECKING:
    import torch


_FROZEN = "grid"
"""Role of an operand that says where to read, and is frozen."""


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
        if role != _FROZEN and (operand.is_floating_point() or role in run.step.moved)
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


def pull_max_pool(run: Run, cotangent: torch.Tensor) -> Pulled:
    """Pull through a 2-d max pool: each number goes back to the largest of its window."""
    import torch

    x, settings = run.operands["self"], run.step.attributes
    arguments = [
        list(settings[name]) for name in ("kernel_size", "stride", "padding", "dilation")
    ] + [settings["ceil_mode"]]
    # The largest numbers are found several times faster in this layout, and are the same ones.
    fast = x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x
    places = torch.ops.aten.max_pool2d_with_indices.default(fast, *arguments)[1].contiguous()
    found = torch.ops.aten.max_pool2d_with_indices_backward.default(
        cotangent.contiguous(), x.contiguous(), *arguments, places
    )
    return Pulled({"self": found})


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
    found = _tabulated(step, index) if step.table is not None else _derived(step, index)
    if step.kind.startswith("upsample"):
        found = _with_broken_neighbours(step, index, found)
    sources = tuple(Address(step.operands[role], place) for role, place, _ in found.terms)
    weights = [weight for _, _, weight in found.terms]
    values = [float(step.values[role].item(place).real) for role, place, _ in found.terms]
    with np.errstate(all="ignore"):
        size = float(np.abs(np.array(weights) * np.array(values)).sum()) if weights else 0.0
    if step.kind.startswith(("upsample", "grid_sampler")):
        # Coefficients follow from coordinates, whose rounding grows with the size of the map.
        read = [value for role, value in step.values.items() if role != _FROZEN]
        wholes = [value.box((slice(None),) * len(value.shape)) for value in read]
        longest = max(*step.shape[2:], *(n for whole in wholes for n in whole.shape[2:]))
        size += max(float(np.abs(whole).max()) for whole in wholes) * longest
    return certify(
        step,
        index,
        inputs=np.array(values, dtype=np.float64),
        weights=np.array(weights, dtype=np.float64),
        present=np.ones(len(values), dtype=np.bool_),
        layout=_layout(step, index, sources),
        bias=None if values else found.number,  # a number that was filled in
        reporter=reporter,
        slack=8 * unit_of(step) * size,
    )


def _layout(step: Step, index: tuple[int, ...], sources: tuple[Address, ...]) -> Listed:
    if step.status != "selects" or not sources:
        return Listed(sources, (None,) * len(sources))
    from convtrace.rules.choices import among  # needed by few kinds, and slow to import

    chosen = among(step, index)
    weights = (None,) * len(sources)
    return Listed(sources, weights) if chosen is None else Chosen(sources, weights, chosen)


class _Found(NamedTuple):
    """What one number of a step is made of.

    Attributes:
        terms: Role, position and coefficient of each number that counts.
        number: The number itself; where there are terms, it is not asked for.
    """

    terms: list[tuple[str, tuple[int, ...], float]]
    number: float


def _with_broken_neighbours(step: Step, index: tuple[int, ...], found: _Found) -> _Found:
    """Add the NaN and infinities that resampling multiplies by 0, where that made NaN.

    A sample that lies on a number needs no other one; PyTorch reads the neighbours all the same,
    up to two places away, and 0 x infinity is NaN.
    """
    source = step.values["self"]
    if not found.terms or not np.isnan(step.value.item(index)):
        return found
    places = np.array([place for _, place, _ in found.terms])
    if not np.isfinite([source.item(place) for _, place, _ in found.terms]).all():
        return found
    first = np.maximum(places.min(0)[2:] - 2, 0)
    box = source.box((*index[:2], *map(slice, first.tolist(), (places.max(0)[2:] + 3).tolist())))
    broken = [(*index[:2], *map(int, at + first)) for at in np.argwhere(~np.isfinite(box))]
    return found._replace(terms=[*found.terms, *(("self", place, 0.0) for place in broken)])


def _tabulated(step: Step, index: tuple[int, ...]) -> _Found:
    """Look the terms up in the table that was saved with the trace."""
    assert isinstance(step.table, Coefficients)
    terms = step.table.terms(index)
    return _Found(terms, math.nan if terms else step.table.fill(index))


def _derived(step: Step, index: tuple[int, ...]) -> _Found:
    """Run the step again and differentiate."""
    if step.replay is None:
        raise NoValueError(f"{step.name} cannot be run again, so its terms cannot be listed")
    import torch

    operands: dict[str, torch.Tensor] = {}
    for role, value in step.values.items():
        tensor = value.tensor()
        operands[role] = tensor.double() if tensor.is_floating_point() else tensor
    leaves = {
        role: tensor.requires_grad_() for role, tensor in operands.items() if is_leaf(role, tensor)
    }
    with torch.enable_grad():
        number = step.replay(operands)[index]
    grads = _derivatives(number, leaves) if number.requires_grad else (None,) * len(leaves)
    terms = [
        (role, place, float(grad[place]))
        for role, grad in zip(leaves, grads, strict=True)
        if grad is not None
        for place in map(tuple, grad.nonzero().tolist())
    ]
    return _Found(terms, float(number.detach()))


def is_leaf(role: str, operand: torch.Tensor) -> bool:
    """Whether an operand of such a step has coefficients."""
    return role != _FROZEN and operand.is_floating_point()


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
