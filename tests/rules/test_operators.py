"""Rules that are held to one another: one number, the whole step, and PyTorch in float64.

Every operator stands behind a convolution. Its receipt lists terms; the pull of the whole step
gives every operand number a coefficient; both have to say the same, and to add up to what PyTorch
makes of the recorded operands in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import convtrace as ct
from convtrace.rules import pull_of, rule_of
from convtrace.split import Numbers

Function = Callable[[Tensor], Tensor]
FIRST = torch.zeros(1, 2, 6, 6, dtype=torch.long)


def _put(y: Tensor) -> Tensor:
    z = torch.zeros_like(y)
    z[:, [0, 2]] = y[:, [1, 3]]
    return z


def _assign(y: Tensor) -> Tensor:
    z = y.clone()
    z[:, 1:3] = y[:, :2] * 2
    z[:, 0, 0] = 0.5
    return z * 1


def _through_a_view(y: Tensor) -> Tensor:
    y = y.clone()
    y[:, 1, 2:].mul_(2)
    return y * 1


def _attend(y: Tensor, **options: Any) -> Tensor:
    return F.scaled_dot_product_attention(y, y.flip(1), y + 1, **options)


OPERATORS: dict[str, Function] = {
    "reciprocal": lambda y: (y.abs() + 1).reciprocal(),
    "log": lambda y: (y.abs() + 1).log(),
    "log2": lambda y: (y.abs() + 1).log2(),
    "log1p": lambda y: torch.log1p(y.abs()),
    "sine": torch.sin,
    "cosine": torch.cos,
    "threshold": lambda y: F.threshold(y, 0.1, -0.2),
    "softshrink": lambda y: F.softshrink(y, 0.2),
    "hardshrink": lambda y: F.hardshrink(y, 0.2),
    "addcmul": lambda y: torch.addcmul(y, y.flip(1), torch.sigmoid(y), value=0.5),
    "addcmul of two computed": lambda y: torch.addcmul(y, y.flip(1), y.flip(2)),
    "addcdiv": lambda y: torch.addcdiv(y, y.flip(1), y.abs() + 1, value=0.5),
    "lerp": lambda y: torch.lerp(y, y.flip(1), 0.3),
    "lerp by a tensor": lambda y: torch.lerp(y, y.flip(1), torch.sigmoid(y)),
    "lerp, spread": lambda y: torch.lerp(y, y[:, :1], torch.linspace(0, 1, 6).to(y)),
    "glu": lambda y: F.glu(y, 1),
    "glu, last axis": lambda y: F.glu(y, -1),
    "product over an axis": lambda y: y.prod(1),
    "product over an axis that is kept": lambda y: y.prod(-2, keepdim=True),
    "product of all": lambda y: (y / y.abs()).prod(),
    "filled": lambda y: torch.empty_like(y).fill_(0.4),
    "filled with a computed number": lambda y: torch.empty_like(y).fill_(y[0, 1, 2, 3]),
    "zeros": torch.zeros_like,
    "full": lambda y: torch.full_like(y, 0.3),
    "attention": _attend,
    "causal attention": lambda y: _attend(y, is_causal=True),
    "attention with a mask": lambda y: _attend(y, attn_mask=torch.ones(6, 6).tril().bool()),
    "attention with a bias": lambda y: _attend(
        y, attn_mask=torch.linspace(-1, 1, 6).expand(6, 6).to(y)
    ),
    "attention with a scale": lambda y: _attend(y, scale=0.3),
    "softmax times values": lambda y: torch.softmax(y @ y.transpose(2, 3), -1) @ y,
    "grid sample": lambda y: F.grid_sample(
        y, torch.linspace(-1, 1, 50).reshape(1, 5, 5, 2).to(y), align_corners=False
    ),
    "grid sample by a flow": lambda y: F.grid_sample(
        y, torch.tanh(y[:, :2].permute(0, 2, 3, 1)), align_corners=True
    ),
    "index put": _put,
    "index put, added": lambda y: y.index_put(
        (torch.tensor([0]), torch.tensor([1])), y[:, 2], accumulate=True
    ),
    "index copy": lambda y: y.index_copy(1, torch.tensor([2, 0]), y[:, 1:3] * 2),
    "index add": lambda y: y.index_add(1, torch.tensor([2, 2]), y[:, 1:3], alpha=3),
    "index fill": lambda y: y.index_fill(1, torch.tensor([1]), 0.5),
    "scatter": lambda y: y.scatter(1, FIRST[:, :1], y[:, 1:2] * 2),
    "scatter a number": lambda y: y.scatter(1, FIRST[:, :1], 0.7),
    "scatter and add": lambda y: y.scatter_add(1, FIRST, y[:, 1:3]),
    "slice scatter": lambda y: y.slice_scatter(y[:, 1:2] * 3, 1, 2, 3),
    "masked scatter": lambda y: y.masked_scatter(y > 0, y.flip(1)),
    "largest": lambda y: y.max(),
    "largest over an axis": lambda y: y.max(1).values,
    "smallest over an axis": lambda y: y.min(3, keepdim=True).values,
    "sort": lambda y: y.sort(1, descending=True).values,
    "top k": lambda y: y.topk(2, 1).values,
    "k-th": lambda y: y.kthvalue(2, 1).values,
    "median": lambda y: y.median(2).values,
    "running largest": lambda y: y.cummax(1).values,
    "LP pool": lambda y: F.lp_pool2d(y, 2, 3, stride=2),
    "LP pool, cubes": lambda y: F.lp_pool2d(y.abs() + 1, 3, 2),
    "max unpool": lambda y: F.max_unpool2d(*F.max_pool2d(y, 2, return_indices=True), 2),
    "slices that are assigned": _assign,
    "a view that is overwritten": _through_a_view,
}  # fmt: skip


class Behind(nn.Module):
    """An operator behind a convolution."""

    def __init__(self, then: Function) -> None:
        super().__init__()
        self.conv, self.then = nn.Conv2d(2, 4, 3, padding=1), then

    def forward(self, x: Tensor) -> Tensor:
        return self.then(self.conv(x))


def run(then: Function) -> ct.Trace:
    torch.manual_seed(0)
    model = Behind(then).eval()
    with torch.no_grad():
        return ct.trace(model, torch.randn(1, 2, 6, 6))


def last_of(trace: ct.Trace) -> ct.Step:
    return list(trace.steps.values())[-1]


def drawn(shape: tuple[int, ...], count: int = 5) -> list[tuple[int, ...]]:
    draw = torch.Generator().manual_seed(1)
    return [
        tuple(int(torch.randint(size, (), generator=draw)) for size in shape) for _ in range(count)
    ]


@pytest.mark.parametrize("then", OPERATORS.values(), ids=OPERATORS)
def test_one_number_is_certified_and_its_sources_hold_what_it_says(then: Function) -> None:
    trace = run(then)
    for step in trace.steps.values():
        if rule_of(step).why is None:
            continue
        for index in drawn(step.shape):
            receipt = trace.why(step.name, index)
            finite = math.isfinite(receipt.reported.real)  # a mask is minus infinity
            assert receipt.verdict in ("exact", "rounding") or not finite, repr(receipt)
            for term in receipt.terms:
                assert term.source is None or trace.value(term.source) == term.value


@pytest.mark.parametrize("then", OPERATORS.values(), ids=OPERATORS)
def test_one_number_and_the_whole_step_agree(then: Function) -> None:
    trace = run(then)
    numbers = Numbers(list(trace.steps.values()), trace.inputs, None)
    for step in trace.steps.values():
        pull = pull_of(step)
        if pull is None or not step.operands:
            continue
        for index in drawn(step.shape, 2):
            cotangent = torch.zeros(step.shape)
            cotangent[index] = 1
            ran = numbers.run(step)
            pulled = pull(ran, cotangent)
            whole: dict[tuple[str, tuple[int, ...]], float] = {}
            for role, part in pulled.cotangents.items():
                product = part * ran.operands[role]
                for place in map(tuple, product.nonzero().tolist()):
                    key = (step.operands[role], place)
                    whole[key] = whole.get(key, 0.0) + float(product[place])
            receipt = trace.why(step.name, index)
            element: dict[tuple[str, tuple[int, ...]], float] = {}
            for term in receipt.terms:
                if term.source is not None and term.product:
                    key = (term.source.step, term.source.index)
                    element[key] = element.get(key, 0.0) + float(term.product.real)
            if pulled.halved or step.kind == "bmm":  # a receipt goes on to the first factor
                assert sum(element.values()) == pytest.approx(sum(whole.values()), rel=1e-5)
                continue
            total = sum(float(abs(v)) for v in element.values()) + 1e-3
            assert whole == pytest.approx(element, rel=1e-5, abs=1e-6 * total)
            added = float(torch.as_tensor(pulled.bias).sum())
            assert added == pytest.approx(float((receipt.bias or 0).real), abs=1e-6 * total)


@pytest.mark.parametrize("then", OPERATORS.values(), ids=OPERATORS)
def test_the_exact_sum_is_what_pytorch_makes_of_the_operands_in_float64(then: Function) -> None:
    trace = run(then)
    judged = then(trace.step("conv").value.tensor().double())
    step = last_of(trace)
    for index in drawn(step.shape):
        receipt = trace.why(step.name, index)
        assert float(receipt.exact.real) == pytest.approx(float(judged[index]), rel=3e-6, abs=1e-7)


@pytest.mark.parametrize("then", OPERATORS.values(), ids=OPERATORS)
def test_a_number_is_the_sum_of_its_parts(then: Function) -> None:
    trace = run(then)
    step = last_of(trace)
    for index in drawn(step.shape, 3):
        address = ct.Address(step.name, index)
        for dtype, most in ((None, 3e-7), (torch.float64, 1e-15)):
            split = trace.contributions(address, dtype=dtype)
            assert split.opaque == ()
            assert abs(split.residual) <= most * split.scale


def test_a_factor_of_zero_leaves_the_product_to_the_others() -> None:
    trace = run(lambda y: (y * torch.tensor([0.0, 1, 1, 1]).reshape(1, 4, 1, 1)).prod(1))
    split = trace.contributions("prod[0,2,3]")
    assert split.reported == split.total == 0
    assert "prod" in split.halved


@pytest.mark.parametrize("kind", ["softmax", "log_softmax"])
def test_of_a_softmax_the_reader_is_sent_to_the_logits(kind: str) -> None:
    trace = run(lambda y: getattr(F, kind)(y, 1))
    receipt = trace.why(f"{kind}[0,1,2,3]")
    assert receipt.verdict is None
    assert receipt.notes[0][0] == "note.softmax"
    assert "Ask for the logits" in str(receipt)
    assert "로짓" in receipt.text(lang="ko")


def test_attention_that_drops_at_random_has_no_rule() -> None:
    trace = run(_attend)
    step = next(s for s in trace.steps.values() if "attention" in s.kind)
    assert rule_of(step).why is not None
    dropping = ct.Step(
        step.name, step.kind, {**step.attributes, "dropout_p": 0.5}, step.values, step.value
    )
    assert rule_of(dropping).why is None


def test_what_was_written_through_a_view_is_found_behind_it() -> None:
    trace = run(_through_a_view)
    (write,) = (step for step in trace.steps.values() if step.kind == "write")
    old, new = (trace.why(write.name, (0, 1, row, 3)).terms[0].source for row in (1, 2))
    assert str(old) == "clone[0,1,1,3]"
    assert str(new) == "mul[0,0,3]"


def test_a_write_that_nobody_saw_has_no_rule() -> None:
    def then(y: Tensor) -> Tensor:
        y = y.clone()
        view = y[:, 1]
        view.detach().numpy()[:] = 7  # behind PyTorch's back
        view.mul_(2)
        return y * 1

    trace = run(then)
    (write,) = (step for step in trace.steps.values() if step.kind == "write")
    receipt = trace.why(write.name, (0, 1, 2, 3))
    assert receipt.verdict in (None, "exact")
    assert not math.isnan(float(receipt.reported.real))
