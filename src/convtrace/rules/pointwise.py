"""Elementwise operators: sums, products, ReLU."""

from __future__ import annotations

from typing import Any

import numpy as np

from convtrace.address import Address
from convtrace.certify import certify
from convtrace.receipt import Receipt
from convtrace.rules.layouts import Listed
from convtrace.step import Number, Step, Value

_SIGNS = {"add": (1, 1), "sub": (1, -1), "rsub": (-1, 1)}
"""Signs of `self` and `other`; `alpha` multiplies `other`, for `rsub` it multiplies `self`."""


def broadcast(index: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the position of an operand that an output position reads.

    Args:
        index: Output position.
        shape: Shape of the operand, aligned with the output at the last axis.

    Example:
        >>> broadcast((0, 3, 5, 6), (4, 1, 7))
        (3, 0, 6)
    """
    last = index[len(index) - len(shape) :]
    return tuple(0 if size == 1 else place for place, size in zip(last, shape, strict=True))


def why_sum(step: Step, index: tuple[int, ...], reporter: str) -> Receipt:
    """Explain one number of `add` or `sub`: one term an operand."""
    alpha = step.attributes.get("alpha", 1)
    first, second = _SIGNS[step.kind]
    factors = {"self": first, "other": second}
    factors["self" if step.kind == "rsub" else "other"] *= alpha
    bias: Number | None = None
    if "other" not in step.values:
        bias = step.attributes["other"] * factors["other"]
    roles = [role for role in ("self", "other") if role in step.values]
    return _listed(
        step,
        index,
        [(step.values[role], factors[role], None) for role in roles],
        reporter,
        bias,
    )


def why_product(step: Step, index: tuple[int, ...], reporter: str) -> Receipt:
    """Explain one number of `mul`: one term, `other` times `self`."""
    source = step.values["self"]
    other = step.values.get("other")
    if other is None:
        return _listed(step, index, [(source, step.attributes["other"], None)], reporter)
    at = broadcast(index, other.shape)
    return _listed(step, index, [(source, other.item(at), Address(other.name, at))], reporter)


def why_relu(step: Step, index: tuple[int, ...], reporter: str) -> Receipt:
    """Explain one number of `relu`: its source, through a gate that is open (1) or shut (0)."""
    source = step.values["self"]
    value = source.item(index)
    gate = 0 if value.real < 0 else 1
    return _listed(step, index, [(source, gate, None)], reporter)


def _listed(
    step: Step,
    index: tuple[int, ...],
    parts: list[tuple[Value, Number, Address | None]],
    reporter: str,
    bias: Number | None = None,
) -> Receipt:
    places = [broadcast(index, value.shape) for value, _, _ in parts]
    inputs: list[Any] = [
        value.item(place) for (value, _, _), place in zip(parts, places, strict=True)
    ]
    return certify(
        step,
        index,
        inputs=np.array(inputs),
        weights=np.array([weight for _, weight, _ in parts]),
        present=np.ones(len(parts), dtype=np.bool_),
        layout=Listed(
            tuple(
                Address(value.name, place)
                for (value, _, _), place in zip(parts, places, strict=True)
            ),
            tuple(address for _, _, address in parts),
        ),
        bias=bias,
        reporter=reporter,
    )
