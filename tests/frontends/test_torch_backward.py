"""Traces with a backward pass: names of gradients, what is left as it was, ways to call it."""

from __future__ import annotations

import copy
import random
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import convtrace as ct
from convtrace.frontends.torch_recorder import Recorder


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


class Block(nn.Module):
    """A residual block whose convolution is used twice, with ReLUs that overwrite."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, stride=2, padding=1)
        self.bn = nn.BatchNorm2d(4)
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(2)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn(self.stem(x)))
        y = self.relu(self.conv(x))
        y = self.conv(y)
        return self.fc(self.pool(self.relu(x + y)).mean((2, 3)))


def cross_entropy(output: Tensor) -> Tensor:
    return functional.cross_entropy(output, torch.tensor([1, 2]))


def assert_gradients_are_autograds(trace: ct.Trace, model: nn.Module, x: Tensor, loss: Any) -> None:
    leaf = x.detach().clone().requires_grad_()
    again = {n: p for n, p in model.named_parameters() if p.requires_grad}
    expected = torch.autograd.grad(loss(model(leaf)), [leaf, *again.values()])
    for name, gradient in zip(["input", *again], expected, strict=True):
        assert torch.equal(trace.gradients[f"{name}.grad"].value.tensor(), gradient), name


def assert_certified(trace: ct.Trace, *, each: int = 12, opaque: tuple[str, ...] = ()) -> None:
    """Every gradient is explained and fits, at a dozen drawn positions of each."""
    generator = np.random.default_rng(0)
    assert trace.gradients
    for name, step in trace.gradients.items():
        places = list(np.ndindex(step.shape))
        for place in generator.permutation(len(places))[:each]:
            receipt = trace.why(name, places[place])
            if name in opaque:
                assert receipt.verdict is None
                continue
            assert receipt.verdict in ("exact", "rounding"), (name, places[place])
            for term in receipt.terms:
                if term.source is not None:
                    assert trace.value(term.source) == term.value
                if term.weight_address is not None:
                    assert trace.value(term.weight_address) == term.weight


# A whole network ---------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_residual_block_is_explained_down_to_the_pixels(
    training: bool, dtype: torch.dtype
) -> None:
    model = Block().to(dtype).train(training)
    x = torch.randn(2, 2, 9, 9, dtype=dtype)
    trace = ct.trace(model, x, backward=True, loss=cross_entropy)
    assert_gradients_are_autograds(trace, model, x, cross_entropy)
    assert_certified(trace)


def test_a_convolution_used_twice_has_the_sum_of_two_gradients() -> None:
    trace = ct.trace(Block().eval(), torch.randn(2, 2, 9, 9), backward=True, loss=cross_entropy)
    receipt = trace.why("conv.weight.grad[0,0,1,1]")
    parts = [str(term.source) for term in receipt.terms]
    assert parts == ["conv.weight.grad@conv:2[0,0,1,1]", "conv.weight.grad@conv[0,0,1,1]"]
    first = trace.why(parts[1])
    assert {t.weight_address.step for t in first.terms if t.weight_address} == {"conv.grad"}
    assert {t.source.step for t in first.terms if t.source} == {"relu"}


def test_gradients_come_in_the_order_of_the_backward_pass() -> None:
    conv = nn.Conv2d(1, 1, 2)
    trace = ct.trace(conv, torch.randn(1, 1, 3, 3), backward=True, loss=torch.sum)
    names = ["sum.grad", "conv2d.grad", "input.grad", "weight.grad", "bias.grad"]
    assert list(trace.gradients) == names
    start = trace.why("sum.grad[]")
    assert (start.reported, start.terms, start.verdict) == (1, [], "exact")


# The forward run is not changed ------------------------------------------------------------------


def test_the_forward_run_is_the_same_with_and_without_a_backward_pass() -> None:
    model, x = Block().eval(), torch.randn(2, 2, 9, 9)
    with_loss = lambda x: cross_entropy(model(x))  # noqa: E731 - named by its model, not itself
    plain, both = ct.trace(with_loss, x), ct.trace(with_loss, x, backward=True)
    assert list(plain.steps) == list(both.steps)
    for name, step in plain.steps.items():
        assert dict(step.operands) == dict(both.steps[name].operands)
        assert torch.equal(step.value.tensor(), both.steps[name].value.tensor())
    address = "model.fc[0,1]"
    first, second = plain.contributions(address), both.contributions(address)
    assert first.total == second.total
    assert dict(first.biases) == dict(second.biases)
    assert torch.equal(first.inputs["input"], second.inputs["input"])
    for asked in ("input[0,0,4,4]", "model.conv.weight[0,0,1,1]"):
        assert list(plain.uses(asked)) == list(both.uses(asked))


def test_the_1_that_a_pass_begins_with_is_no_step_of_the_forward_run() -> None:
    conv = nn.Conv2d(1, 1, 2)
    model = lambda x: conv(x).sum() + conv(x).sum()  # noqa: E731 - a sum passes its gradient on
    trace = ct.trace(model, torch.randn(1, 1, 3, 3), backward=True)
    assert list(trace.steps) == ["conv", "sum", "conv:2", "sum:2", "add"]
    assert list(trace.gradients)[:3] == ["add.grad", "sum.grad", "sum:2.grad"]


def test_contributions_and_uses_of_a_gradient_say_that_they_are_of_the_forward_run() -> None:
    trace = ct.trace(nn.Conv2d(1, 1, 2), torch.randn(1, 1, 3, 3), backward=True, loss=torch.sum)
    for ask in (trace.contributions, trace.uses):
        with pytest.raises(ct.UsageError, match=r"weight\.grad is a gradient"):
            ask("weight.grad[0,0,0,0]")
    with pytest.raises(ct.UsageError, match="is a gradient"):
        trace.uses("input[0,0,0,0]", to="input.grad")


def test_without_a_backward_pass_the_plain_recorder_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[type] = []
    entered = Recorder.__enter__

    def enter(self: Recorder) -> Recorder:
        seen.append(type(self))
        return entered(self)

    monkeypatch.setattr(Recorder, "__enter__", enter)
    trace = ct.trace(nn.Conv2d(1, 1, 2), torch.randn(1, 1, 3, 3))
    assert seen == [Recorder]
    assert not trace.gradients
    with pytest.raises(ct.UnknownStepError):
        trace.why("weight.grad[0,0,0,0]")


# Ways to call it ---------------------------------------------------------------------------------


def test_a_step_function_may_run_the_backward_pass_itself() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    target = torch.tensor([0, 1])

    def train_step(x: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x), target)
        loss.backward()
        optimizer.step()
        return loss

    before = [p.detach().clone() for p in model.parameters()]
    trace = ct.trace(train_step, torch.randn(2, 1, 3, 3), backward=True)
    assert_certified(trace)
    assert "model.0.weight.grad" in trace.gradients
    for parameter, known in zip(model.parameters(), before, strict=True):
        assert torch.equal(parameter, known)
        assert parameter.grad is None


@pytest.mark.parametrize("foreach", [True, False])
@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.RMSprop])
def test_what_an_optimizer_knows_is_put_back(kind: Any, foreach: bool) -> None:
    conv = nn.Conv2d(1, 1, 2)
    optimizer = kind(conv.parameters(), foreach=foreach)

    def train_step(x: Tensor) -> None:
        optimizer.zero_grad()
        conv(x).square().mean().backward()
        optimizer.step()

    x = torch.randn(1, 1, 3, 3)
    for _ in range(2):  # before its first step, an optimizer knows nothing
        before = copy.deepcopy(optimizer.state_dict())
        ct.trace(train_step, x, backward=True)
        after = optimizer.state_dict()
        assert after["param_groups"] == before["param_groups"]
        assert after["state"].keys() == before["state"].keys()
        for number, known in before["state"].items():
            for name, value in known.items():
                assert torch.equal(torch.as_tensor(after["state"][number][name]), value)
        train_step(x)


def test_each_backward_pass_of_a_run_has_its_own_gradients() -> None:
    conv = nn.Conv2d(1, 1, 2)

    def twice(x: Tensor) -> None:
        conv(x).sum().backward()
        (conv(x) ** 2).sum().backward()

    trace = ct.trace(twice, torch.randn(1, 1, 3, 3), backward=True)
    assert_certified(trace)
    assert {"conv.weight.grad", "conv.weight.grad:2"} <= set(trace.gradients)


def test_a_given_gradient_starts_the_pass() -> None:
    conv = nn.Conv2d(1, 1, 2)
    given = torch.arange(4.0).reshape(1, 1, 2, 2)
    trace = ct.trace(lambda x: conv(x).backward(given), torch.randn(1, 1, 3, 3), backward=True)
    assert trace.value("conv.grad[0,0,1,0]") == 2
    assert_certified(trace)


def test_gradients_that_were_asked_for_by_name_are_explained() -> None:
    conv = nn.Conv2d(1, 1, 2)

    def ask(x: Tensor) -> Any:
        return torch.autograd.grad((conv(x) * conv(x)).sum(), [conv.weight, x])

    trace = ct.trace(ask, torch.randn(1, 1, 3, 3), backward=True)
    assert_certified(trace)
    assert torch.equal(trace.gradients["conv.weight.grad"].value.tensor(), trace.output[0])
    assert torch.equal(trace.gradients["input.grad"].value.tensor(), trace.output[1])


def test_a_penalty_on_gradients_is_run_and_what_has_no_rule_is_opaque() -> None:
    conv = nn.Conv2d(1, 1, 2)

    def penalty(x: Tensor) -> Tensor:
        (gradient,) = torch.autograd.grad(conv(x).tanh().sum(), x, create_graph=True)
        return (gradient**2).sum()

    trace = ct.trace(penalty, torch.randn(1, 1, 3, 3), backward=True)
    assert trace.why("sum:2[]").verdict in ("exact", "rounding")
    assert str(trace.why("pow[0,0,0,0]").terms[0].source) == "input.grad[0,0,0,0]"
    assert trace.why("input.grad[0,0,0,0]").verdict in ("exact", "rounding")
    assert trace.why("conv.grad.grad[0,0,0,0]").verdict is None
    assert "conv.weight.grad" in trace.gradients


def test_a_model_that_returns_its_loss_beside_other_things_needs_no_loss() -> None:
    conv = nn.Conv2d(1, 1, 2)

    def model(x: Tensor) -> dict[str, Tensor]:
        y = conv(x)
        return {"loss": y.sum(), "logits": y}

    trace = ct.trace(model, torch.randn(1, 1, 3, 3), backward=True)
    assert next(iter(trace.gradients)) == "sum.grad"


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_the_callers_modes_do_not_stop_it(mode: Callable[[], Any]) -> None:
    conv = nn.Conv2d(1, 1, 2)
    with mode():
        x = torch.randn(1, 1, 3, 3)
        trace = ct.trace(conv, x, backward=True, loss=torch.sum)
        assert_certified(trace)
    assert not x.requires_grad


def test_frozen_parameters_have_no_gradient() -> None:
    conv = nn.Conv2d(1, 1, 2)
    conv.weight.requires_grad_(False)
    trace = ct.trace(conv, torch.randn(1, 1, 3, 3), backward=True, loss=torch.sum)
    assert set(trace.gradients) == {"sum.grad", "conv2d.grad", "input.grad", "bias.grad"}
    assert not conv.weight.requires_grad


def test_whole_number_inputs_have_no_gradient() -> None:
    conv = nn.Conv2d(1, 1, 2)
    x = torch.ones(1, 1, 3, 3, dtype=torch.int64)
    trace = ct.trace(lambda x: conv(x.float()).sum(), x, backward=True)
    assert "input.grad" not in trace.gradients
    assert_certified(trace)


def test_an_input_that_the_model_overwrites_still_has_a_gradient() -> None:
    conv = nn.Conv2d(1, 1, 2)
    x = torch.randn(1, 1, 3, 3)
    before = x.clone()
    trace = ct.trace(lambda x: conv(x.mul_(2).relu_()).sum(), x, backward=True)
    assert_certified(trace)
    assert trace.why("input.grad[0,0,1,1]").terms[0].weight == 2
    assert torch.equal(x, before)


def test_functions_with_a_derivative_of_their_own_are_opaque_unless_they_pass_it_on() -> None:
    class Round(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.round()

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            return gradients[0]

    class Halve(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x * 1

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            return gradients[0] / 2

    conv = nn.Conv2d(1, 1, 2)
    x = torch.randn(1, 1, 3, 3)
    trace = ct.trace(lambda x: (Halve.apply(Round.apply(conv(x))) ** 2).sum(), x, backward=True)
    assert_certified(trace, opaque=("round.grad",))
    assert "HalveBackward" in trace.why("round.grad[0,0,0,0]").text("en")
    assert trace.why("conv.grad[0,0,0,0]").kind == "gradient_passed"


def test_a_hook_of_the_models_own_is_shown_by_name() -> None:
    conv = nn.Conv2d(1, 1, 2)

    def hooked(x: Tensor) -> Tensor:
        y = conv(x)
        y.register_hook(lambda gradient: gradient * 2)
        return y.sum()

    trace = ct.trace(hooked, torch.randn(1, 1, 3, 3), backward=True)
    assert_certified(trace, opaque=("conv.grad",))
    assert (trace.value("conv.grad@sum[0,0,0,0]"), trace.value("conv.grad[0,0,0,0]")) == (1, 2)


def several_outputs(x: Tensor) -> Tensor:
    first, second = x.chunk(2, 1)
    stacked = torch.stack([first, second]).unbind(0)
    return stacked[0] * first + torch.cat([first, second]).sum()


OPERATORS: dict[str, Callable[[Tensor], Tensor]] = {
    **{
        name: getattr(functional, name)
        for name in (
            "relu relu6 leaky_relu gelu silu elu selu softplus mish hardswish hardsigmoid hardtanh "
            "logsigmoid softsign tanhshrink"
        ).split()
    },
    **{name: getattr(torch, name) for name in "sigmoid tanh exp sqrt abs square".split()},
    "softmax": lambda x: functional.softmax(x, 1),
    "log_softmax": lambda x: functional.log_softmax(x, 1),
    "max_pool": lambda x: functional.max_pool2d(x, 2),
    "avg_pool": lambda x: functional.avg_pool2d(x, 2, padding=1),
    "adaptive_avg_pool": lambda x: functional.adaptive_avg_pool2d(x, 2),
    "adaptive_max_pool": lambda x: functional.adaptive_max_pool2d(x, 2),
    "batch_norm": lambda x: functional.batch_norm(x, None, None, training=True),
    "layer_norm": lambda x: functional.layer_norm(x, x.shape[1:]),
    "group_norm": lambda x: functional.group_norm(x, 2),
    "instance_norm": functional.instance_norm,
    "nearest": lambda x: functional.interpolate(x, scale_factor=2),
    "bilinear": lambda x: functional.interpolate(x, scale_factor=2, mode="bilinear"),
    "bicubic": lambda x: functional.interpolate(x, size=7, mode="bicubic"),
    "pixel_shuffle": lambda x: functional.pixel_shuffle(x, 2),
    "permute": lambda x: x.permute(0, 2, 3, 1).reshape(2, -1)[:, 3:],
    "index": lambda x: x[:, [0, 0, 3]],
    "roll": lambda x: x.roll(1, -1).flip(-2),
    "product": lambda x: x * x.mean((2, 3), keepdim=True),
    "quotient": lambda x: x / (1 + x.square()),
    "minus": lambda x: 3 - 2 * x - x.mean(),
    "matmul": lambda x: x @ x.transpose(-1, -2),
    "linear": lambda x: functional.linear(x, torch.ones(3, x.shape[-1])),
    "where": lambda x: torch.where(x > 0, x, -2 * x),
    "norm": lambda x: functional.normalize(x, dim=1),
    "amax": lambda x: x.amax((2, 3)),
    "std": lambda x: x.std(),
    "pow": lambda x: x**3,
    "cumsum": lambda x: x.cumsum(1),
    "einsum": lambda x: torch.einsum("nchw,nkhw->nck", x, x),
    "several outputs": several_outputs,
}


@pytest.mark.parametrize("name", OPERATORS)
def test_gradients_go_back_through(name: str) -> None:
    conv = nn.Conv2d(2, 4, 3, padding=1)

    def model(x: Tensor) -> Tensor:
        y = OPERATORS[name](conv(x).abs() + 0.1 if name == "sqrt" else conv(x))
        return (y * torch.linspace(-1, 1, y.numel()).reshape(y.shape)).sum()

    assert_certified(ct.trace(model, torch.randn(2, 2, 4, 4), backward=True), each=6)


# Left as it was ----------------------------------------------------------------------------------


def snapshot(model: nn.Module, *others: Tensor) -> list[Any]:
    tensors = [*model.parameters(), *model.buffers(), *others]
    return [
        torch.get_rng_state().tolist(),
        [(id(t), t.detach().clone().tolist(), t.requires_grad, t._version) for t in tensors],
        [(id(t.grad), None if t.grad is None else t.grad.tolist()) for t in tensors if t.is_leaf],
        [dict(m._forward_hooks) for m in model.modules()],
        [dict(t._backward_hooks or {}) for t in tensors],
        model.training,
    ]


class Dropping(Block):
    """Draws random numbers, and may fail on the way back."""

    def __init__(self, *, fails: bool) -> None:
        super().__init__()
        self.fails = fails

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(functional.dropout(x, 0.5, training=True))
        if self.fails:
            y.register_hook(_fail)
        return y


def _fail(gradient: Tensor) -> Tensor:
    raise ZeroDivisionError("on the way back")


@pytest.mark.parametrize("fails", [False, True])
def test_everything_is_as_it_was(fails: bool) -> None:
    model = Dropping(fails=fails)
    model.stem.weight.grad = torch.randn_like(model.stem.weight)
    model.fc.bias.requires_grad_(False)
    x = torch.randn(2, 2, 9, 9)
    wanted = torch.randn(2, 2, 9, 9, requires_grad=True)
    wanted.grad = torch.ones_like(wanted)
    for given in (x, wanted):
        before = snapshot(model, x, wanted)
        if fails:
            with pytest.raises(ct.ModelError, match="on the way back"):
                ct.trace(model, given, backward=True, loss=cross_entropy)
        else:
            assert_certified(ct.trace(model, given, backward=True, loss=cross_entropy), each=3)
        assert snapshot(model, x, wanted) == before


def test_what_led_to_the_input_is_not_differentiated() -> None:
    conv, x = nn.Conv2d(1, 1, 2), torch.randn(1, 1, 3, 3, requires_grad=True)
    made = x.exp()
    trace = ct.trace(conv, made, backward=True, loss=torch.sum)
    assert "input.grad" in trace.gradients
    assert x.grad is None
    made.sum().backward()  # its graph is still there
    assert x.grad is not None


def test_hooks_on_the_graph_are_removed() -> None:
    conv = nn.Conv2d(1, 1, 2)
    kept: list[Tensor] = []

    def model(x: Tensor) -> Tensor:
        kept.append(conv(x))
        return kept[0].sum()

    trace = ct.trace(model, torch.randn(1, 1, 3, 3), backward=True)
    before = len(trace.gradients)
    kept[0].pow(2).sum().grad_fn  # noqa: B018 - the node that the model left is still usable
    assert len(trace.gradients) == before


# What does not fit -------------------------------------------------------------------------------


def test_an_output_of_many_numbers_asks_for_a_loss() -> None:
    with pytest.raises(ct.UsageError, match=r"shape \(1, 1, 2, 2\)[\s\S]*loss=lambda"):
        ct.trace(nn.Conv2d(1, 1, 2), torch.randn(1, 1, 3, 3), backward=True)


def test_a_loss_without_a_gradient_says_why() -> None:
    conv = nn.Conv2d(1, 1, 2)
    with pytest.raises(ct.UsageError, match="the loss has no gradient"):
        ct.trace(lambda x: conv(x).detach().sum(), torch.randn(1, 1, 3, 3), backward=True)


@pytest.mark.parametrize(
    "options", [{"loss": torch.sum}, {"backward": True, "keep": "convolutions"}]
)
def test_options_that_do_not_fit_together_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ct.UsageError, match="backward=True"):
        ct.trace(nn.Conv2d(1, 1, 2), torch.randn(1, 1, 3, 3), **options)


def test_checkpointed_blocks_do_not_double_the_forward_run() -> None:
    from torch.utils.checkpoint import checkpoint

    conv = nn.Conv2d(1, 1, 3, padding=1)

    def model(x: Tensor) -> Tensor:
        found = checkpoint(lambda y: conv(y).relu(), x, use_reentrant=False)
        assert isinstance(found, Tensor)
        return found.sum()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trace = ct.trace(model, torch.randn(1, 1, 3, 3), backward=True)
    assert [step.kind for step in trace.steps.values()] == ["convolution", "relu", "sum"]
    assert_certified(trace)


def test_the_first_nan_of_a_backward_pass_is_found() -> None:
    conv = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.zeros_(conv.weight)
    x = torch.randn(1, 1, 2, 2)
    trace = ct.trace(lambda x: conv(x).square().sqrt().sum(), x, backward=True)
    found = trace.first_nonfinite()
    assert found is not None
    assert found.address.step in trace.gradients


def write_program(seed: int) -> Callable[[Tensor], Tensor]:
    """A loss behind a few writes into slices, drawn from a seed; several overlap."""
    generator = random.Random(seed)
    conv = nn.Conv2d(1, 2, 3, padding=1)
    blank = generator.random() < 0.5
    plan = [
        (generator.randrange(len(WRITES)), generator.randrange(2), generator.randrange(4))
        for _ in range(generator.randint(2, 4))
    ]
    between = [generator.random() < 0.4 for _ in plan]

    def model(x: Tensor) -> Tensor:
        y = conv(x)
        z = torch.zeros_like(y) if blank else y * 1.5
        for (write, channel, place), read in zip(plan, between, strict=True):
            WRITES[write](z, y, channel, place)
            if read:
                z = torch.tanh(z) + 0.25
        return (z * z + y).sum()

    return model


def _set(z: Tensor, y: Tensor, c: int, k: int) -> None:
    z[:, c] = y[:, 1 - c] * 2


def _add(z: Tensor, y: Tensor, c: int, k: int) -> None:
    z[:, c, k] += y[:, c, k]


def _scale(z: Tensor, y: Tensor, c: int, k: int) -> None:
    z[:, :, k] *= y[:, :, k].detach()


def _set_all(z: Tensor, y: Tensor, c: int, k: int) -> None:
    z[...] = y * 3


def _negate(z: Tensor, y: Tensor, c: int, k: int) -> None:
    z[:, c].neg_()


def _narrow(z: Tensor, y: Tensor, c: int, k: int) -> None:
    z.narrow(2, k, 1).add_(y.narrow(2, k, 1))


def _from_itself(z: Tensor, y: Tensor, c: int, k: int) -> None:
    z[:, :, :, k] = z[:, :, :, (k + 1) % 4] * 0.5


def _one_number(z: Tensor, y: Tensor, c: int, k: int) -> None:
    z[:, c, k, k] = y.mean()


def _diagonal(z: Tensor, y: Tensor, c: int, k: int) -> None:
    z.diagonal(dim1=2, dim2=3).copy_(y.diagonal(dim1=2, dim2=3))


def _same_twice(z: Tensor, y: Tensor, c: int, k: int) -> None:
    part = y[:, c]
    z[:, 0] = part
    z[:, 1] = part


def _transposed(z: Tensor, y: Tensor, c: int, k: int) -> None:
    z.transpose(2, 3)[:, c] = y[:, c]


WRITES = [
    _set,
    _add,
    _scale,
    _set_all,
    _negate,
    _narrow,
    _from_itself,
    _one_number,
    _diagonal,
    _same_twice,
    _transposed,
]


@pytest.mark.parametrize("seed", range(12))
def test_gradients_through_writes_into_slices_are_explained(seed: int) -> None:
    torch.manual_seed(seed)
    trace = ct.trace(write_program(seed), torch.randn(1, 1, 4, 4), backward=True)
    assert_certified(trace, each=3)


def test_the_gradient_of_a_slice_that_was_overwritten_is_zero() -> None:
    conv = nn.Conv2d(1, 1, 2)

    def model(x: Tensor) -> Tensor:
        y = conv(x)
        z = y * 2
        z[:, :, 0] = 5 * y[:, :, 1]
        return z.sum()

    trace = ct.trace(model, torch.randn(1, 1, 3, 3), backward=True)
    assert trace.gradients["mul.grad"].value.tensor().tolist() == [[[[0, 0], [1, 1]]]]
    assert_certified(trace)
    over, under = trace.why("mul.grad[0,0,0,1]"), trace.why("mul.grad[0,0,1,1]")
    assert (over.exact, under.exact) == (0, 1)
    (term,) = under.terms
    assert str(term.source) == "write.grad[0,0,1,1]"


def test_a_tensor_that_was_written_to_two_slices_has_a_sum_but_no_parts() -> None:
    conv = nn.Conv2d(1, 2, 2)

    def model(x: Tensor) -> Tensor:
        y = conv(x).mean(1)
        z = torch.zeros(1, 2, 2, 2)
        z[:, 0] = y
        z[:, 1] = y
        return (z * z).sum()

    trace = ct.trace(model, torch.randn(1, 1, 3, 3), backward=True)
    verdicts = {
        name: trace.why(name, (0,) * len(g.shape)).verdict for name, g in trace.gradients.items()
    }
    assert "mismatch" not in verdicts.values()
    assert verdicts["mean.grad"] in ("exact", "rounding")


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointed_segments_have_no_wrong_receipt(reentrant: bool) -> None:
    from torch.utils.checkpoint import checkpoint

    first, second = nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1)

    def model(x: Tensor) -> Tensor:
        found = checkpoint(lambda y: second(y).relu(), first(x), use_reentrant=reentrant)
        assert isinstance(found, Tensor)
        return found.sum()

    trace = ct.trace(model, torch.randn(1, 1, 4, 4), backward=True)
    names = ["first", "second", "relu", "sum"]
    assert list(trace.steps) == names
    opaque = ("second.weight.grad", "second.bias.grad", "first.grad", "backward.grad:2")
    hidden = (*opaque, "first.grad:2") if reentrant else ()
    assert_certified(trace, opaque=hidden)
    for name in ("first.weight.grad", "first.bias.grad", "input.grad"):
        assert trace.why(name, (0,) * len(trace.gradients[name].shape)).verdict is not None
