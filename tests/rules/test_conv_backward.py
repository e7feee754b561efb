"""Gradients of convolutions: every element, against nested loops and against autograd."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from strategies import Drawn, convolutions, examples, whole_numbers
from torch import nn

import convtrace as ct

Pair = tuple[str, str]


def backward(drawn: Drawn, dtype: str, gradient: torch.Tensor) -> ct.Trace:
    """Trace a drawn convolution and the backward pass of sum(output * gradient)."""
    x, weight, bias = drawn.tensors(dtype)
    for tensor in (weight, bias):
        if tensor is not None:
            tensor.requires_grad_()

    def run(x: torch.Tensor) -> torch.Tensor:
        return drawn.call(x, weight, bias)

    return ct.trace(run, x, backward=True, loss=lambda y: (y * gradient).sum())


def terms_by_loops(drawn: Drawn) -> dict[str, dict[Any, Counter[Pair]]]:
    """List, by nested loops, which two numbers every product of every gradient is made of."""
    found: dict[str, dict[Any, Counter[Pair]]] = {"input": {}, "weight": {}, "bias": {}}
    for index in drawn.loops.indices():
        output = ct.Address(f"{drawn.name}.grad", index)
        channel = (index[-drawn.weight.ndim + 1],)
        found["bias"].setdefault(channel, Counter())[(str(output), "None")] += 1
        for product in drawn.loops.products(index):
            if product.source is None:
                continue
            source = ct.Address("input", product.source)
            weight = ct.Address("weight", product.weight)
            found["input"].setdefault(product.source, Counter())[(str(output), str(weight))] += 1
            found["weight"].setdefault(product.weight, Counter())[(str(source), str(output))] += 1
    return found


@examples(25)
@given(drawn=convolutions(uneven=False))
def test_every_gradient_has_the_products_that_nested_loops_find(drawn: Drawn) -> None:
    gradient = torch.from_numpy(whole_numbers(3, drawn.loops.shape)).double()
    trace = backward(drawn, "float64", gradient)
    expected = terms_by_loops(drawn)
    arrays = {"input": drawn.x, "weight": drawn.weight, "bias": drawn.bias}
    numbers = {
        **{str(ct.Address("input", i)): int(drawn.x[i]) for i in np.ndindex(drawn.x.shape)},
        **{
            str(ct.Address("weight", i)): int(drawn.weight[i])
            for i in np.ndindex(drawn.weight.shape)
        },
        **{
            str(ct.Address(f"{drawn.name}.grad", i)): int(gradient[i])
            for i in np.ndindex(gradient.shape)
        },
        "None": 1,
    }
    for name, array in arrays.items():
        if array is None:
            assert f"{name}.grad" not in trace.gradients
            continue
        for index in np.ndindex(array.shape):
            receipt = trace.why(f"{name}.grad", index)
            pairs = expected[name].get(index, Counter())
            shown = Counter(
                (str(term.source), str(term.weight_address))
                for term in receipt.terms
                if receipt.present[term.position]
            )
            assert shown == pairs
            total = sum(
                (Fraction(numbers[a] * numbers[b]) * n for (a, b), n in pairs.items()), Fraction(0)
            )
            assert receipt.exact == total
            assert receipt.verdict == "exact"
            for term in receipt.terms:
                if receipt.present[term.position]:
                    assert numbers[str(term.source)] == term.value
                    assert numbers[str(term.weight_address)] == term.weight


@examples(25)
@given(drawn=convolutions(uneven=False))
def test_every_gradient_is_what_autograd_leaves_in_grad(drawn: Drawn) -> None:
    gradient = torch.from_numpy(whole_numbers(5, drawn.loops.shape)).double()
    trace = backward(drawn, "float64", gradient)
    tensors = dict(zip(("input", "weight", "bias"), drawn.tensors("float64"), strict=True))
    leaves = {name: t.requires_grad_() for name, t in tensors.items() if t is not None}
    (drawn.call(*tensors.values()) * gradient).sum().backward()
    for name, leaf in leaves.items():
        assert leaf.grad is not None
        made = trace.gradients[f"{name}.grad"].value.tensor()
        assert torch.equal(made, leaf.grad)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@examples(10)
@given(drawn=convolutions(uneven=False))
def test_rounded_gradients_lie_inside_their_bounds(dtype: str, drawn: Drawn) -> None:
    if drawn.crashes(dtype):
        return
    kind = getattr(torch, dtype)
    generator = torch.Generator().manual_seed(0)
    gradient = torch.randn(drawn.loops.shape, generator=generator).to(kind)
    try:
        trace = backward(drawn, dtype, gradient)
    except ct.ModelError as error:
        if "not implemented" not in str(error):  # some builds lack the kernel
            raise
        return
    for name in ("input.grad", "weight.grad", "bias.grad"):
        if name in trace.gradients:
            for index in list(np.ndindex(trace.gradients[name].shape))[:20]:
                assert trace.why(name, index).verdict in ("exact", "rounding")


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_padding_modes_go_back_through_the_pad(mode: str, axes: int) -> None:
    torch.manual_seed(0)
    kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1]
    net = nn.Sequential(kind(2, 2, 3, padding=1, padding_mode=mode, dtype=torch.float64))
    x = torch.randn(2, 2, *[4] * axes, dtype=torch.float64)
    trace = ct.trace(net, x, backward=True, loss=lambda y: (y**2).sum())
    leaf = x.clone().requires_grad_()
    (net(leaf) ** 2).sum().backward()
    assert leaf.grad is not None
    for index in np.ndindex(x.shape):
        receipt = trace.why("input.grad", index)
        assert receipt.reported == leaf.grad[index].item()
        assert receipt.verdict in ("exact", "rounding")
        names = {term.source.step for term in receipt.terms if term.source}
        assert names == {"0.grad" if mode == "zeros" else "0.pad.grad"}


def test_the_weight_gradient_is_grouped_by_samples() -> None:
    conv = nn.Conv2d(1, 1, 2, bias=False)
    x = torch.arange(27.0).reshape(3, 1, 3, 3)
    trace = ct.trace(conv, x, backward=True, loss=lambda y: y.sum())
    receipt = trace.why("weight.grad[0,0,1,1]")
    assert list(receipt.layout.channels) == [0, 1, 2]
    # Each sample adds up the lower right four of its nine numbers.
    assert receipt.channel_sums.tolist() == [24, 60, 96]
    assert receipt.reported == 180


def test_a_wrong_gradient_is_a_mismatch() -> None:
    conv = nn.Conv2d(1, 1, 2)
    trace = ct.trace(conv, torch.randn(1, 1, 3, 3), backward=True, loss=lambda y: y.sum())
    assert trace.why("weight.grad[0,0,0,0]").verdict in ("exact", "rounding")
    made = trace.gradients["weight.grad"].value.tensor()
    with torch.no_grad(), torch.autograd._unsafe_preserve_version_counter(made):
        made += 1
    assert trace.why("weight.grad[0,0,0,0]").verdict == "mismatch"
