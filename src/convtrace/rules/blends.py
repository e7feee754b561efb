"""Products and mixtures in one operator: addcmul, addcdiv, lerp, glu, prod.

A product of computed numbers is shared as `mul` shares it; what divides, mixes or gates is frozen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from convtrace.address import Address
from convtrace.certify import certify
from convtrace.receipt import Receipt
from convtrace.rules.layouts import Listed
from convtrace.rules.pointwise import broadcast, product_shares, unit_of
from convtrace.rules.pulling import Pulled, Run, unbroadcast
from convtrace.step import Step

if TYPE_CHECKING:
    import torch

_Part = tuple[Address, float, float, Address | None]
"""Source, value, weight, and the address of the weight where it is a stored number."""


def why_addcmul(step: Step, index: tuple[int, ...], reporter: str) -> Receipt:
    """Explain one number of `self + value·tensor1·tensor2`, or of `… / tensor2`."""
    (start, a), (first, b), (second, c) = (
        _at(step, role, index) for role in ("self", "tensor1", "tensor2")
    )
    factor = float(step.attributes["value"])
    divides = step.kind == "addcdiv"
    with np.errstate(all="ignore"):
        weight = float(factor * (1 / np.float64(c) if divides else np.float64(c)))
    stored = second if factor == 1 and not divides else None
    parts: list[_Part] = [(start, a, 1.0, None), (first, b, weight, stored)]
    return _receipt(step, index, parts, reporter, rounded=4)


def pull_addcmul(run: Run, cotangent: torch.Tensor) -> Pulled:
    """Pull through `self + value·tensor1·tensor2`; a divisor is frozen."""
    first, second = run.operands["tensor1"], run.operands["tensor2"]
    scaled = cotangent * run.step.attributes["value"]
    found = {"self": cotangent}
    halved = False
    if run.step.kind == "addcdiv":
        found["tensor1"] = scaled / second
    else:
        shares = product_shares(run, "tensor1", "tensor2")
        halved = len(shares) == 2
        partners = {"tensor1": second, "tensor2": first}
        for role, share in shares.items():
            found[role] = scaled * partners[role] * share
    return Pulled(
        {role: unbroadcast(part, tuple(run.operands[role].shape)) for role, part in found.items()},
        halved=halved,
    )


def why_lerp(step: Step, index: tuple[int, ...], reporter: str) -> Receipt:
    """Explain one number of `lerp`: `(1 − weight)·self + weight·end`."""
    (start, a), (end, b) = (_at(step, role, index) for role in ("self", "end"))
    mixed = "weight" in step.values
    weight = _at(step, "weight", index)[1] if mixed else float(step.attributes["weight"])
    parts: list[_Part] = [(start, a, 1.0 - weight, None), (end, b, weight, None)]
    return _receipt(step, index, parts, reporter, rounded=8)


def pull_lerp(run: Run, cotangent: torch.Tensor) -> Pulled:
    """Pull through `lerp`; what says how much of each is frozen."""
    mixed = run.operands.get("weight")
    weight: Any = run.step.attributes["weight"] if mixed is None else mixed
    parts = {"self": cotangent * (1 - weight), "end": cotangent * weight}
    return Pulled(
        {role: unbroadcast(part, tuple(run.operands[role].shape)) for role, part in parts.items()}
    )


def why_glu(step: Step, index: tuple[int, ...], reporter: str) -> Receipt:
    """Explain one number of `glu`: one half of the channels times the sigmoid of the other."""
    source = step.values["self"]
    axis = step.attributes["dim"] % len(source.shape)
    half = source.shape[axis] // 2
    beside = (*index[:axis], index[axis] + half, *index[axis + 1 :])
    with np.errstate(over="ignore"):  # far below zero the sigmoid is 0
        gate = float(1 / (1 + np.exp(-np.float64(source.item(beside).real))))
    value = float(source.item(index).real)
    part: _Part = (Address(source.name, index), value, gate, None)
    return _receipt(step, index, [part], reporter, rounded=16)


def pull_glu(run: Run, cotangent: torch.Tensor) -> Pulled:
    """Pull through `glu`: the half that goes through the sigmoid is a gate, and frozen."""
    import torch

    x, axis = run.operands["self"], run.step.attributes["dim"]
    _, gate = x.chunk(2, axis)
    found = torch.cat([cotangent * torch.sigmoid(gate), torch.zeros_like(cotangent)], axis)
    return Pulled({"self": found})


def why_prod(step: Step, index: tuple[int, ...], reporter: str) -> Receipt:
    """Explain one number of `prod`: each of the n factors stands for an n-th of the product."""
    source = step.values["self"]
    places = _factors(step, index)
    values = [float(source.item(place).real) for place in places]
    weights = [math.prod(values[:k] + values[k + 1 :]) / len(values) for k in range(len(values))]
    parts: list[_Part] = [
        (Address(source.name, place), value, weight, None)
        for place, value, weight in zip(places, values, weights, strict=True)
    ]
    found = _receipt(step, index, parts, reporter, rounded=2 * len(values))
    return replace(found, notes=(*found.notes, ("note.shared", {"count": len(values)})))


def pull_prod(run: Run, cotangent: torch.Tensor) -> Pulled:
    """Pull through `prod`: each of the n factors gets an n-th of the product."""
    import torch

    assert run.step.replay is not None
    with torch.enable_grad():
        x = run.operands["self"].detach().requires_grad_()
        product = run.step.replay({"self": x})
    (found,) = torch.autograd.grad(product, x, cotangent, create_graph=cotangent.requires_grad)
    count = x.numel() // max(product.numel(), 1)
    return Pulled({"self": found / count}, halved=count > 1)


def _factors(step: Step, index: tuple[int, ...]) -> list[tuple[int, ...]]:
    """List the positions whose numbers are multiplied."""
    shape = step.values["self"].shape
    dim = step.attributes.get("dim")
    if dim is None:
        return [tuple(map(int, place)) for place in np.ndindex(shape)]
    axis = dim % len(shape)
    rest = index if len(index) < len(shape) else (*index[:axis], *index[axis + 1 :])
    return [(*rest[:axis], k, *rest[axis:]) for k in range(shape[axis])]


def _at(step: Step, role: str, index: tuple[int, ...]) -> tuple[Address, float]:
    value = step.values[role]
    place = broadcast(index, value.shape)
    return Address(value.name, place), float(value.item(place).real)


def _receipt(
    step: Step, index: tuple[int, ...], parts: Sequence[_Part], reporter: str, *, rounded: int
) -> Receipt:
    """Certify terms whose weights the framework computed itself, with so many roundings."""
    sizes = sum(abs(value * weight) for _, value, weight, _ in parts)
    return certify(
        step,
        index,
        inputs=np.array([value for _, value, _, _ in parts]),
        weights=np.array([weight for _, _, weight, _ in parts]),
        present=np.ones(len(parts), dtype=np.bool_),
        layout=Listed(
            tuple(source for source, _, _, _ in parts), tuple(stored for *_, stored in parts)
        ),
        reporter=reporter,
        slack=rounded * unit_of(step) * sizes if math.isfinite(sizes) else 0.0,
    )
