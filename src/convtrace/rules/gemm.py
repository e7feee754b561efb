"""Sums of products as ONNX files have them: scaled, transposed, broadcast; sums of many."""

from __future__ import annotations

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


def why_gemm(step: Step, index: tuple[int, ...], reporter: str) -> Receipt:
    """Explain one number of `alpha·A·B + beta·C`; a weight that is scaled is no stored number."""
    row, column = index
    attributes, first, second = step.attributes, step.values["mat1"], step.values["mat2"]
    everything = slice(None)
    inputs = first.box((everything, row) if attributes["transA"] else (row, everything))
    weights = second.box((column, everything) if attributes["transB"] else (everything, column))
    alpha, beta = attributes["alpha"], attributes["beta"]
    count = range(inputs.size)
    sources = [(k, row) if attributes["transA"] else (row, k) for k in count]
    stored = [(column, k) if attributes["transB"] else (k, column) for k in count]
    bias, address = None, None
    if "self" in step.values and beta:
        added = step.values["self"]
        at = broadcast(index, added.shape)
        bias = added.item(at) * beta if beta != 1 else added.item(at)
        address = Address(added.name, at) if beta == 1 else None
    scaled = weights.astype(np.float64) * alpha if alpha != 1 else weights
    # Scaling rounds: once for the sum, once for what is added, perhaps once for each factor.
    size = float(np.abs(inputs.astype(np.float64) * scaled).sum()) + abs(bias or 0.0)
    return certify(
        step,
        index,
        inputs=inputs,
        weights=scaled,
        present=np.ones(inputs.shape, dtype=np.bool_),
        layout=Listed(
            tuple(Address(first.name, at) for at in sources),
            tuple(Address(second.name, at) if alpha == 1 else None for at in stored),
        ),
        bias=bias,
        bias_address=address,
        reporter=reporter,
        slack=4 * unit_of(step) * size if (alpha, beta) != (1, 1) else 0.0,
    )


def pull_gemm(run: Run, cotangent: torch.Tensor) -> Pulled:
    """Pull through `alpha·A·B + beta·C`; of two computed factors as `mul` shares them."""
    attributes = run.step.attributes
    left, right = run.operands["mat1"], run.operands["mat2"]
    left = left.transpose(0, 1) if attributes["transA"] else left
    right = right.transpose(0, 1) if attributes["transB"] else right
    shares = product_shares(run, "mat1", "mat2")
    found: dict[str, torch.Tensor] = {}
    if "mat1" in shares:
        part = cotangent @ right.transpose(0, 1) * (attributes["alpha"] * shares["mat1"])
        found["mat1"] = part.transpose(0, 1) if attributes["transA"] else part
    if "mat2" in shares:
        part = left.transpose(0, 1) @ cotangent * (attributes["alpha"] * shares["mat2"])
        found["mat2"] = part.transpose(0, 1) if attributes["transB"] else part
    if "self" in run.operands:
        shape = tuple(run.operands["self"].shape)
        found["self"] = unbroadcast(cotangent * attributes["beta"], shape)
    return Pulled(found, halved=len(shares) == 2)


def why_matmul(step: Step, index: tuple[int, ...], reporter: str) -> Receipt:
    """Explain one number of a matrix product whose leading axes are broadcast.

    As in NumPy, a first factor with one axis is a row, a second one a column, and the output
    lacks that axis.
    """
    first, second = step.values["self"], step.values["mat2"]
    place = list(index)
    column = (place.pop(),) if len(second.shape) > 1 else ()
    row = (place.pop(),) if len(first.shape) > 1 else ()
    left = broadcast(tuple(place), first.shape[:-2])
    right = broadcast(tuple(place), second.shape[:-2])
    inputs = first.box((*left, *row, slice(None)))
    count = range(inputs.size)
    return certify(
        step,
        index,
        inputs=inputs,
        weights=second.box((*right, slice(None), *column)),
        present=np.ones(inputs.shape, dtype=np.bool_),
        layout=Listed(
            tuple(Address(first.name, (*left, *row, k)) for k in count),
            tuple(Address(second.name, (*right, k, *column)) for k in count),
        ),
        reporter=reporter,
    )


def pull_matmul(run: Run, cotangent: torch.Tensor) -> Pulled:
    """Pull through such a product: to each factor what PyTorch's derivative says of it."""
    import torch

    shares = product_shares(run, "self", "mat2")
    with torch.enable_grad():
        leaves = {role: run.operands[role].detach().requires_grad_() for role in shares}
        product = torch.matmul(*({**run.operands, **leaves}[role] for role in ("self", "mat2")))
    parts = torch.autograd.grad(
        product, list(leaves.values()), cotangent, create_graph=cotangent.requires_grad
    )
    found = {role: part * shares[role] for role, part in zip(leaves, parts, strict=True)}
    return Pulled(found, halved=len(shares) == 2)


def why_add_n(step: Step, index: tuple[int, ...], reporter: str) -> Receipt:
    """Explain one number of a sum of several tensors: one term each."""
    values = list(step.values.values())
    places = [broadcast(index, value.shape) for value in values]
    inputs: list[Any] = [value.item(at) for value, at in zip(values, places, strict=True)]
    sources = tuple(Address(value.name, at) for value, at in zip(values, places, strict=True))
    return certify(
        step,
        index,
        inputs=np.array(inputs),
        weights=np.ones(len(inputs), dtype=np.int64),
        present=np.ones(len(inputs), dtype=np.bool_),
        layout=Listed(sources, (None,) * len(sources)),
        reporter=reporter,
    )


def pull_add_n(run: Run, cotangent: torch.Tensor) -> Pulled:
    """Pull through such a sum: the cotangent itself, to each."""
    return Pulled(
        {role: unbroadcast(cotangent, tuple(x.shape)) for role, x in run.operands.items()}
    )
