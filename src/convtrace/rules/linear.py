"""Fully connected layers and matrix products: rows times columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from convtrace.address import Address
from convtrace.certify import certify
from convtrace.receipt import Receipt
from convtrace.rules.layouts import Listed
from convtrace.rules.pointwise import broadcast, product_shares
from convtrace.rules.pulling import Dependents, Pulled, Run, unbroadcast
from convtrace.step import Step

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Row:
    """The layout of a linear layer's receipt: one row of the weight, one row of the input.

    Attributes:
        channels: Input features.
        input_name: Name of the input.
        leading: Position on the axes before the features.
        weight_name: Name of the weight.
        feature: Output feature, counted from 0.
    """

    channels: range
    input_name: str
    leading: tuple[int, ...]
    weight_name: str
    feature: int

    def source(self, position: tuple[int, ...]) -> Address:
        """Address of the input feature that a term reads."""
        return Address(self.input_name, (*self.leading, position[0]))

    def weight(self, position: tuple[int, ...]) -> Address:
        """Address of a term's weight."""
        return Address(self.weight_name, (self.feature, position[0]))


def why(step: Step, index: tuple[int, ...], reporter: str) -> Receipt:
    """Explain one output number of `torch.nn.functional.linear`.

    Args:
        step: A linear layer.
        index: `(*leading, feature)`.
        reporter: Who computed the reported values.

    Returns:
        The receipt; its arrays have shape `(in_features,)`.
    """
    *leading, feature = index
    source, weight, bias = step.values["input"], step.values["weight"], step.values.get("bias")
    inputs = source.box((*leading, slice(None)))
    return certify(
        step,
        index,
        inputs=inputs,
        weights=weight.box((feature, slice(None))),
        present=np.ones(inputs.shape, dtype=np.bool_),
        layout=Row(range(inputs.size), source.name, tuple(leading), weight.name, feature),
        bias=None if bias is None else bias.item((feature,)),
        bias_address=None if bias is None else Address(bias.name, (feature,)),
        reporter=reporter,
    )


def pull(run: Run, cotangent: torch.Tensor) -> Pulled:
    """Pull a cotangent through a linear layer: times the weight, and the bias."""
    bias = run.operands.get("bias")
    added = 0.0 if bias is None else unbroadcast(cotangent, tuple(bias.shape)) * bias
    return Pulled({"input": cotangent @ run.operands["weight"]}, added)


def uses(step: Step, role: str, index: tuple[int, ...]) -> Dependents | None:
    """List the outputs that one input, weight or bias of a linear layer went into."""
    shape = step.shape
    if role == "input":
        *leading, feature = index
        weight = step.values["weight"].box((slice(None), feature))
        places = np.empty((shape[-1], len(shape)), dtype=np.int64)
        places[:, :-1] = leading
        places[:, -1] = np.arange(shape[-1])
        return Dependents(places, weight.astype(np.float64))
    feature = index[0]
    places = np.argwhere(np.ones(shape[:-1], dtype=np.bool_))
    places = np.concatenate([places, np.full((len(places), 1), feature)], axis=1)
    if role == "bias":
        return Dependents(places, np.ones(len(places)))
    inputs = step.values["input"].box((*(slice(None),) * (len(shape) - 1), index[1]))
    return Dependents(places, inputs.astype(np.float64).ravel())


_FACTORS = {"mm": ("self", "mat2"), "bmm": ("self", "mat2"), "addmm": ("mat1", "mat2")}


def why_product(step: Step, index: tuple[int, ...], reporter: str) -> Receipt:
    """Explain one number of a matrix product: a row of the first times a column of the second."""
    first, second = (step.values[role] for role in _FACTORS[step.kind])
    *batch, row, column = index
    inputs = first.box((*batch, row, slice(None)))
    count = range(inputs.size)
    bias, bias_address = None, None
    if step.kind == "addmm":
        added = step.values["self"]
        at = broadcast(index, added.shape)
        bias, bias_address = added.item(at), Address(added.name, at)
    return certify(
        step,
        index,
        inputs=inputs,
        weights=second.box((*batch, slice(None), column)),
        present=np.ones(inputs.shape, dtype=np.bool_),
        layout=Listed(
            tuple(Address(first.name, (*batch, row, k)) for k in count),
            tuple(Address(second.name, (*batch, k, column)) for k in count),
        ),
        bias=bias,
        bias_address=bias_address,
        reporter=reporter,
    )


def pull_product(run: Run, cotangent: torch.Tensor) -> Pulled:
    """Pull through a matrix product; of two computed factors as `mul` shares them."""
    first, second = _FACTORS[run.step.kind]
    shares = product_shares(run, first, second)
    left, right = run.operands[first], run.operands[second]
    found: dict[str, torch.Tensor] = {}
    if first in shares:
        found[first] = shares[first] * (cotangent @ right.transpose(-1, -2))
    if second in shares:
        found[second] = shares[second] * (left.transpose(-1, -2) @ cotangent)
    if run.step.kind == "addmm":
        found["self"] = unbroadcast(cotangent, tuple(run.operands["self"].shape))
    return Pulled(found, halved=len(shares) == 2)
