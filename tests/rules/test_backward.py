"""The chain rule and linear layers backwards, on numbers that can be checked by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import convtrace as ct
from convtrace.rules import rule_of


def whole(*shape: int, seed: int) -> Tensor:
    return torch.randint(-4, 5, shape, generator=torch.Generator().manual_seed(seed)).float()


class Linear(nn.Module):
    """A convolution with a kernel of one number, which is 1, and a linear layer behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 1, bias=False)
        self.fc = nn.Linear(3, 2)
        with torch.no_grad():
            self.conv.weight.fill_(1)
            self.fc.weight.copy_(whole(2, 3, seed=1))
            self.fc.bias.copy_(whole(2, seed=2))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(x))


def test_gradients_of_a_linear_layer_are_what_nested_loops_add_up() -> None:
    net, x, gradient = Linear(), whole(2, 1, 4, 3, seed=3), whole(2, 1, 4, 2, seed=4)
    trace = ct.trace(net, x, backward=True, loss=lambda y: (y * gradient).sum())
    rows = [(n, 0, h) for n in range(2) for h in range(4)]
    for k in range(2):
        bias = trace.why("fc.bias.grad", (k,))
        assert [str(t.source) for t in bias.terms] == [
            f"fc.grad[{n},0,{h},{k}]" for n, _, h in rows
        ]
        assert bias.exact == sum(gradient[(*row, k)].item() for row in rows)
        for i in range(3):
            weight = trace.why("fc.weight.grad", (k, i))
            assert [t.product for t in weight.terms] == [
                x[(*row, i)].item() * gradient[(*row, k)].item() for row in rows
            ]
            assert {t.source.step for t in weight.terms if t.source} == {"conv"}
    for row in rows:
        for i in range(3):
            receipt = trace.why("conv.grad", (*row, i))
            assert [t.product for t in receipt.terms] == [
                gradient[(*row, k)].item() * net.fc.weight[k, i].item() for k in range(2)
            ]
            assert [str(t.weight_address) for t in receipt.terms] == [
                f"fc.weight[{k},{i}]" for k in range(2)
            ]
            assert receipt.verdict == "exact"


def through(function: object, x: Tensor) -> ct.Trace:
    conv = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.ones_(conv.weight)
    assert callable(function)
    return ct.trace(lambda x: function(conv(x)).sum(), x, backward=True)


def test_a_closed_gate_is_one_term_with_the_factor_0() -> None:
    trace = through(torch.relu, torch.tensor([[[[-1.0, 2.0]]]]))
    shut, opened = trace.why("conv.grad[0,0,0,0]"), trace.why("conv.grad[0,0,0,1]")
    assert [(t.value, t.weight) for t in shut.terms] == [(1, 0)]
    assert [(t.value, t.weight) for t in opened.terms] == [(1, 1)]
    assert shut.status == opened.status == "gates"


def test_a_pixel_in_several_windows_has_a_term_for_each() -> None:
    trace = through(lambda y: nn.functional.avg_pool2d(y, 2, 1), torch.ones(1, 1, 3, 3))
    receipt = trace.why("conv.grad[0,0,1,1]")
    assert [t.weight for t in receipt.terms] == [0.25] * 4
    assert sorted(str(t.source) for t in receipt.terms) == [
        f"avg_pool2d.grad[0,0,{h},{w}]" for h in range(2) for w in range(2)
    ]


def test_the_other_factor_of_a_product_has_its_address() -> None:
    trace = through(lambda y: y * y.mean(), torch.tensor([[[[2.0, 4.0]]]]))
    (term,) = trace.why("conv.grad@mul[0,0,0,1]").terms
    assert (term.weight, str(term.weight_address)) == (3, "mean[]")


def test_a_number_that_nothing_was_made_of_has_no_terms() -> None:
    trace = through(lambda y: y[..., :1], torch.tensor([[[[2.0, 4.0]]]]))
    receipt = trace.why("conv.grad[0,0,0,1]")
    assert (receipt.terms, receipt.exact, receipt.verdict) == ([], 0, "exact")
    assert "made no difference" in receipt.text("en")
    assert receipt.channel_sums.tolist() == []


def test_an_operator_without_a_second_derivative_is_asked_in_another_way() -> None:
    trace = through(nn.functional.hardsigmoid, torch.tensor([[[[-5.0, 1.0]]]]))
    assert trace.why("conv.grad[0,0,0,0]").terms[0].weight == 0
    assert trace.why("conv.grad[0,0,0,1]").terms[0].weight == pytest.approx(1 / 6)


def test_every_kind_of_gradient_has_a_rule_and_others_have_none() -> None:
    trace = through(torch.relu, torch.ones(1, 1, 1, 1))
    assert all(rule_of(step).why for step in trace.gradients.values())
    assert not any(step.kind.endswith("_gradient") for step in trace.steps.values())
    assert np.isfinite(trace.value("input.grad[0,0,0,0]"))
