"""TorchScript, compilers and function transforms: receipts hold, names stay those of the model."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch_judge import (
    TwoConvs,
    assert_certified,
    assert_convolutions_certified,
    assert_explained,
    double,
    exact_conv2d,
)

import convtrace as ct

# TorchScript still runs but announces its end.
scripted = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def _compile_script(model: nn.Module, x: Tensor) -> Any:
    return torch.jit.script(model)


def _compile_trace(model: nn.Module, x: Tensor) -> Any:
    return torch.jit.trace(model, x)


@scripted
@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("convert", [_compile_script, _compile_trace])
def test_torchscript_modules_are_named_by_their_path_in_every_run(
    convert: Callable[[nn.Module, Tensor], Any], grad: bool
) -> None:
    model, x = TwoConvs().eval(), torch.randn(1, 2, 6, 6)
    script = convert(model, x)
    with torch.set_grad_enabled(grad):
        for _ in range(3):  # TorchScript changes how it runs after it has watched a run
            trace = assert_explained(script, x, name="conv2", exact=model.exact(x))
    assert trace.step("conv2").operands["weight"] == "conv2.weight"
    assert trace.step("conv1").operands["input"] == "input"


@torch.jit.ignore
def _unused() -> None:
    """Keep this module importable where TorchScript is off."""


def scripted_function(x: Tensor, weight: Tensor) -> Tensor:
    if x.sum() > 0:
        return torch.conv2d(x, weight, stride=[2, 2])
    return torch.conv2d(x, weight)


@scripted
@pytest.mark.parametrize("sign", [1, -1])
def test_a_scripted_function_shows_the_branch_that_ran(sign: int) -> None:
    function = torch.jit.script(scripted_function)
    x, weight = sign * torch.rand(1, 2, 6, 6), torch.randn(2, 2, 3, 3)
    stride = 2 if sign > 0 else 1
    exact = F.conv2d(*double(x, weight), stride=stride)
    trace = assert_explained(function, x, weight, exact=exact)
    assert trace.step("conv2d").attributes["stride"] == (stride, stride)
    assert trace.step("conv2d").operands["weight"] == "input:2"


@scripted
def test_a_scripted_module_inside_a_plain_one_keeps_its_path() -> None:
    inner = TwoConvs()
    model = nn.Sequential(torch.jit.script(inner), nn.ReLU())
    x = torch.randn(1, 2, 6, 6)
    trace = ct.trace(model, x)
    assert_certified(trace, "0.conv2", returned=inner(x), exact=inner.exact(x))


@scripted
def test_a_frozen_scripted_module_gives_certified_receipts() -> None:
    model, x = TwoConvs().eval(), torch.randn(1, 2, 6, 6)
    frozen = torch.jit.freeze(torch.jit.script(model))
    trace = ct.trace(frozen, x)
    assert_convolutions_certified(trace, 8)
    assert len([s for s in trace.steps.values() if s.kind == "convolution"]) == 2
    assert torch.equal(trace.output, frozen(x))


def test_an_fx_graph_keeps_its_names() -> None:
    model, x = TwoConvs(), torch.randn(1, 2, 6, 6)
    assert_explained(torch.fx.symbolic_trace(model), x, name="conv2", exact=model.exact(x))


def test_an_exported_program_gives_certified_receipts() -> None:
    model, x = TwoConvs().eval(), torch.randn(1, 2, 6, 6)
    module = torch.export.export(model, (x,)).module()
    trace = ct.trace(module, x)
    assert_convolutions_certified(trace, 8)
    last = [step for step in trace.steps.values() if step.kind == "convolution"][-1]
    assert_certified(trace, last.name, returned=model(x), exact=model.exact(x))
    assert last.operands["weight"] == "conv2.weight"


def test_a_compiled_model_runs_eagerly_and_the_trace_says_so() -> None:
    model, x = TwoConvs(), torch.randn(1, 2, 6, 6)
    compiled = torch.compile(model, backend="eager")
    returned = model(x)
    trace = ct.trace(compiled, x)
    assert_certified(trace, "conv2", returned=returned, exact=model.exact(x))
    assert "compiled" in trace.notes


def test_a_model_compiled_in_place_runs_eagerly_and_the_trace_says_so() -> None:
    model, x = TwoConvs(), torch.randn(1, 2, 6, 6)
    returned, exact = model(x), model.exact(x)
    model.compile(backend="eager")
    trace = ct.trace(model, x)
    assert_certified(trace, "conv2", returned=returned, exact=exact)
    assert "compiled" in trace.notes


def test_a_compiled_function_runs_eagerly_and_the_trace_says_so() -> None:
    conv, x = nn.Conv2d(2, 2, 3), torch.randn(1, 2, 5, 5)
    compiled = torch.compile(lambda x: conv(x).relu(), backend="eager")
    trace = ct.trace(compiled, x)
    assert_certified(trace, "conv", returned=conv(x), exact=exact_conv2d(x, conv))
    assert "compiled" in trace.notes


def test_a_compiled_part_of_a_model_runs_eagerly_and_the_trace_says_so() -> None:
    conv, x = nn.Conv2d(2, 2, 3), torch.randn(1, 2, 5, 5)
    model = nn.Sequential(torch.compile(conv, backend="eager"), nn.ReLU())
    trace = ct.trace(model, x)
    (step,) = [step for step in trace.steps.values() if step.kind == "convolution"]
    assert_certified(trace, step.name, returned=conv(x), exact=exact_conv2d(x, conv))
    assert "compiled" in trace.notes


def test_a_model_that_was_compiled_and_run_before_is_still_traced() -> None:
    model, x = TwoConvs(), torch.randn(1, 2, 6, 6)
    compiled = torch.compile(model, backend="eager")
    compiled(x)
    trace = ct.trace(compiled, x)
    assert_certified(trace, "conv2", returned=model(x), exact=model.exact(x))


def test_functional_call_uses_the_tensors_that_it_was_given() -> None:
    model, x = TwoConvs(), torch.randn(1, 2, 6, 6)
    tensors = {name: torch.randn_like(p) for name, p in model.named_parameters()}
    hidden = torch.relu(F.conv2d(x, tensors["conv1.weight"], tensors["conv1.bias"], padding=1))
    exact = F.conv2d(*double(hidden, tensors["conv2.weight"], tensors["conv2.bias"]), stride=2)
    assert_explained(
        lambda x: torch.func.functional_call(model, tensors, x), x, name="model.conv2", exact=exact
    )


@pytest.mark.parametrize("mode", ["zeros", "circular"])
def test_vmap_over_a_model_gives_certified_receipts(mode: str) -> None:
    conv = nn.Conv2d(2, 3, 3, padding=1, padding_mode=mode)
    x = torch.randn(4, 2, 5, 5)
    trace = ct.trace(torch.vmap(conv), x)
    assert_convolutions_certified(trace, 12)
    assert torch.equal(trace.output, torch.vmap(conv)(x))


def test_vmap_over_weights_gives_certified_receipts() -> None:
    weights, x = torch.randn(3, 2, 2, 3, 3), torch.randn(1, 2, 5, 5)
    trace = ct.trace(torch.vmap(lambda w: F.conv2d(x, w, padding="same")), weights)
    assert_convolutions_certified(trace, 12)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_branch_on_data_shows_the_convolution_that_ran(sign: int) -> None:
    first, second = nn.Conv2d(2, 2, 3), nn.Conv2d(2, 2, 3)
    x = sign * torch.rand(1, 2, 5, 5)
    trace = ct.trace(lambda x: first(x) if x.sum() > 0 else second(x), x)
    name, conv = ("first", first) if sign > 0 else ("second", second)
    assert [s.name for s in trace.steps.values() if s.kind == "convolution"] == [name]
    assert_certified(trace, name, returned=conv(x), exact=exact_conv2d(x, conv))


@pytest.mark.parametrize("sign", [1, -1])
def test_a_branch_by_torch_cond_shows_the_convolution_that_ran(sign: int) -> None:
    first, second = torch.randn(2, 2, 3, 3), torch.randn(2, 2, 3, 3)
    x = sign * torch.rand(1, 2, 5, 5)

    def model(x: Tensor) -> Tensor:
        return torch.cond(
            x.sum() > 0, lambda x: F.conv2d(x, first), lambda x: F.conv2d(x, second), (x,)
        )

    weight = first if sign > 0 else second
    trace = ct.trace(model, x)
    exact = F.conv2d(*double(x, weight))
    assert_certified(trace, "conv2d", returned=F.conv2d(x, weight), exact=exact)


def test_gradients_inside_a_model_are_recorded_beside_the_convolution() -> None:
    conv, x = nn.Conv2d(1, 2, 3), torch.randn(1, 1, 5, 5)

    def model(x: Tensor) -> Tensor:
        x = x.clone().requires_grad_()
        y = conv(x)
        (slope,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        return conv(x + 0.1 * slope)

    trace = ct.trace(model, x)
    assert_convolutions_certified(trace, 12)
    assert {"conv", "conv:2"} <= set(trace.steps)


def test_a_function_gradient_of_a_convolution_gives_certified_receipts() -> None:
    weight, x = torch.randn(2, 1, 3, 3), torch.randn(1, 1, 5, 5)
    trace = ct.trace(torch.func.grad(lambda x: F.conv2d(x, weight).square().sum()), x)
    assert_convolutions_certified(trace, 6)


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing_gives_certified_receipts(reentrant: bool) -> None:
    model, x = TwoConvs(), torch.randn(1, 2, 6, 6, requires_grad=True)
    assert_explained(
        lambda x: checkpoint(model, x, use_reentrant=reentrant),
        x,
        name="model.conv2",
        exact=model.exact(x),
    )


class Squared(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight).square()

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[None, None]:
        return None, None


def test_a_custom_autograd_function_shows_the_convolution_in_it() -> None:
    weight = torch.randn(2, 2, 3, 3, requires_grad=True)
    x = torch.randn(1, 2, 5, 5)
    trace = ct.trace(lambda x: Squared.apply(x, weight), x)
    plain = F.conv2d(x, weight).detach()
    assert_certified(trace, "conv2d", returned=plain, exact=F.conv2d(*double(x, weight)))
