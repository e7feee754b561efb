"""A trace is not alone: other watchers, other threads, other traces, hooks, backward."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch_judge import (
    TwoConvs,
    assert_certified,
    assert_explained,
    assert_nothing_mismatches,
    assert_receipt_holds,
    exact_conv2d,
)

import convtrace as ct

aten = torch.ops.aten


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


class CountsOperators(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.convolutions = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.convolutions += func is aten.convolution.default
        return func(*args, **(kwargs or {}))


class CountsFunctions(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.convolutions = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.convolutions += func in (F.conv2d, torch.conv2d)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("mode", [CountsOperators, CountsFunctions])
def test_a_mode_of_the_user_around_the_trace_sees_the_run_too(mode: Any) -> None:
    model, x = TwoConvs(), torch.randn(1, 2, 6, 6)
    with mode() as counter:
        trace = ct.trace(model, x)
    assert counter.convolutions == 2
    assert_certified(trace, "conv2", returned=model(x), exact=model.exact(x))


@pytest.mark.parametrize("mode", [CountsOperators, CountsFunctions])
def test_a_mode_of_the_user_inside_the_model_sees_the_run_too(mode: Any) -> None:
    model, x = TwoConvs(), torch.randn(1, 2, 6, 6)
    counter = mode()

    def inside(x: Tensor) -> Tensor:
        with counter:
            return model(x)

    trace = ct.trace(inside, x)
    assert counter.convolutions == 2
    assert_certified(trace, "model.conv2", returned=model(x), exact=model.exact(x))


class Doubles(TorchDispatchMode):
    """Changes what convolutions return."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        return result * 2 if func is aten.convolution.default else result


def test_a_mode_that_changes_results_is_never_a_certified_lie() -> None:
    conv, x = nn.Conv2d(1, 1, 3), torch.randn(1, 1, 4, 4)
    with Doubles():
        trace = ct.trace(conv, x)
    receipt = trace.why("conv2d[0,0,0,0]")
    assert receipt.reported == 2 * conv(x)[0, 0, 0, 0].item()
    assert receipt.verdict == "mismatch"


def test_a_trace_inside_a_traced_model_gives_two_right_traces() -> None:
    inner_model, outer_conv = TwoConvs(), nn.Conv2d(2, 2, 3)
    x = torch.randn(1, 2, 6, 6)
    inner_traces: list[ct.Trace] = []

    def outer(x: Tensor) -> Tensor:
        inner_traces.append(ct.trace(inner_model, x))
        return outer_conv(x)

    trace = ct.trace(outer, x)
    exact = exact_conv2d(x, outer_conv)
    assert_certified(trace, "outer_conv", returned=outer_conv(x), exact=exact)
    (inner,) = inner_traces
    assert_certified(inner, "conv2", returned=inner_model(x), exact=inner_model.exact(x))
    assert list(inner.steps) == ["conv1", "relu", "conv2"]


def test_asking_a_trace_inside_a_traced_model_does_not_disturb_either() -> None:
    conv, x = nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"), torch.randn(1, 2, 6, 6)
    earlier = ct.trace(conv, x)

    def model(x: Tensor) -> Tensor:
        assert_receipt_holds(earlier, earlier.why("pad[0,0,0,0]"))
        y = conv(x)
        assert_receipt_holds(earlier, earlier.why("conv2d[0,0,0,0]"))
        return y

    trace = ct.trace(model, x)
    assert list(trace.steps) == ["conv.pad", "conv"]
    assert_nothing_mismatches(trace)


def test_traces_in_several_threads_keep_their_names_and_numbers() -> None:
    barrier = threading.Barrier(4)

    def wait(*_: Any) -> None:
        barrier.wait(timeout=30)

    models = [nn.Sequential() for _ in range(4)]
    for number, model in enumerate(models):
        model.add_module(f"conv{number}", nn.Conv2d(2, 2, 3))
        model.add_module("relu", nn.ReLU())
        # Every thread is inside its convolution before any thread runs its operator.
        model[0].register_forward_pre_hook(wait)
    inputs = [torch.randn(1, 2, 5, 5) for _ in models]
    with ThreadPoolExecutor(4) as pool:
        traces = list(pool.map(ct.trace, models, inputs))
    for number, (model, trace, x) in enumerate(zip(models, traces, inputs, strict=True)):
        conv = model[0]
        conv._forward_pre_hooks.clear()
        assert list(trace.steps) == [f"conv{number}", "relu"]
        exact = exact_conv2d(x, conv)
        assert_certified(trace, f"conv{number}", returned=conv(x), exact=exact)


def test_a_model_that_runs_in_another_thread_leaves_the_names_alone() -> None:
    model, x = TwoConvs(), torch.randn(1, 2, 6, 6)
    inside, go_on = threading.Event(), threading.Event()

    def stop_inside_conv2(*_: Any) -> None:
        if threading.current_thread() is bystander:
            inside.set()
            go_on.wait(30)

    def let_it_finish_inside_conv1(*_: Any) -> None:
        if threading.current_thread() is not bystander:
            go_on.set()
            bystander.join()

    def traced(x: Tensor) -> Tensor:
        bystander.start()
        inside.wait(30)
        return model(x)

    bystander = threading.Thread(target=lambda: model(x))
    model.conv1.register_forward_pre_hook(let_it_finish_inside_conv1)
    model.conv2.register_forward_pre_hook(stop_inside_conv2)
    trace = ct.trace(traced, x)
    assert list(trace.steps) == ["model.conv1", "model.relu", "model.conv2"]


def test_one_trace_answers_in_several_threads() -> None:
    model, x = TwoConvs(), torch.randn(1, 2, 6, 6)
    trace = ct.trace(model, x)
    addresses = [f"conv2[0,{c},{r},0]" for c in (0, 1) for r in (0, 1)] * 8
    with ThreadPoolExecutor(8) as pool:
        reported = [receipt.reported for receipt in pool.map(trace.why, addresses)]
    assert reported == [trace.value(address) for address in addresses]


class Recursive(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, padding=1)

    def forward(self, x: Tensor, depth: int = 3) -> Tensor:
        x = self.conv(x)
        return self(x, depth - 1) if depth > 1 else x


def test_a_module_that_calls_itself_numbers_its_calls() -> None:
    model, x = Recursive(), torch.randn(1, 2, 5, 5)
    before_last = model(x, depth=2)
    exact = exact_conv2d(before_last, model.conv)
    trace = assert_explained(model, x, name="conv:3", exact=exact)
    assert list(trace.steps) == ["conv", "conv:2", "conv:3"]


def test_backward_and_double_backward_work_on_what_a_trace_returned() -> None:
    model, x = TwoConvs(), torch.randn(1, 2, 6, 6, requires_grad=True)
    trace = ct.trace(model, x)
    (slope,) = torch.autograd.grad(trace.output.square().sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(slope.square().sum(), x)
    (plain,) = torch.autograd.grad(model(x).square().sum(), x, create_graph=True)
    assert torch.equal(slope, plain)
    assert torch.equal(second, torch.autograd.grad(plain.square().sum(), x)[0])
    assert_certified(trace, "conv2", returned=model(x).detach(), exact=model.exact(x))


def test_a_hook_that_changes_the_output_is_a_step_after_the_convolution() -> None:
    model, x = TwoConvs(), torch.randn(1, 2, 6, 6)
    model.conv1.register_forward_hook(lambda module, args, output: output * 3)
    trace = ct.trace(model, x)
    returned = F.conv2d(x, model.conv1.weight, model.conv1.bias, padding=1)
    exact = exact_conv2d(x, model.conv1)
    assert_certified(trace, "conv1", returned=returned, exact=exact)
    times = trace.step(trace.step("relu").operands["self"])
    assert (times.kind, times.operands["self"]) == ("mul", "conv1")
    assert torch.equal(trace.output, model(x))


def test_a_hook_that_changes_the_input_is_a_step_before_the_convolution() -> None:
    conv, x = nn.Conv2d(2, 2, 3), torch.randn(1, 2, 5, 5)
    conv.register_forward_pre_hook(lambda module, args: (args[0] + 1,))
    trace = assert_explained(conv, x, exact=exact_conv2d(x + 1, conv))
    assert trace.step(trace.step("conv2d").operands["input"]).kind == "add"


@pytest.mark.filterwarnings("ignore:Full backward hook:UserWarning")
def test_backward_hooks_leave_names_and_receipts_alone() -> None:
    model, x = TwoConvs(), torch.randn(1, 2, 6, 6, requires_grad=True)
    slopes: list[Any] = []
    model.conv1.register_full_backward_hook(lambda module, into, out: slopes.append(out))
    trace = ct.trace(model, x)
    assert {"conv1", "conv2"} <= set(trace.steps)
    exact = exact_conv2d(x, model.conv1)
    returned = F.conv2d(x, model.conv1.weight, model.conv1.bias, padding=1)
    assert_certified(trace, "conv1", returned=returned, exact=exact)
    assert not slopes
    trace.output.sum().backward()
    assert slopes
