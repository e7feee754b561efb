"""Fully connected layers: every input times its own weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from convtrace.address import Address
from convtrace.certify import certify
from convtrace.receipt import Receipt
from convtrace.rules.pulling import Pulled, Run
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
    added = 0.0 if bias is None else (cotangent * bias).sum()
    return Pulled({"input": cotangent @ run.operands["weight"]}, added)
