"""What a run overwrites in place is recorded as it was read; what changes later is noticed."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_judge import (
    assert_certified,
    assert_convolutions_certified,
    assert_nothing_mismatches,
    assert_receipt_holds,
)

import convtrace as ct


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def exact_conv2d(x: Tensor, conv: nn.Conv2d) -> Tensor:
    weight, bias = conv.weight.detach().double(), conv.bias
    return F.conv2d(
        x.detach().double(),
        weight,
        None if bias is None else bias.detach().double(),
        conv.stride,
        conv.padding,
        conv.dilation,
        conv.groups,
    )


@pytest.fixture(params=["everything", "convolutions"])
def keep(request: pytest.FixtureRequest) -> Any:
    return request.param


# Overwritten while the model runs ----------------------------------------------------------------


def test_relu_in_place_does_not_change_the_convolution_before_it(keep: Any) -> None:
    conv, x = nn.Conv2d(2, 3, 3), torch.randn(1, 2, 6, 6)
    model = nn.Sequential(conv, nn.ReLU(inplace=True), nn.Conv2d(3, 2, 1))
    trace = ct.trace(model, x, keep=keep)
    before = conv(x)
    assert (before < 0).any()
    assert_certified(trace, "0", returned=before, exact=exact_conv2d(x, conv))
    hidden = before.relu()
    assert_certified(trace, "2", returned=model(x), exact=exact_conv2d(hidden, model[2]))


def test_relu_in_place_is_a_step_that_reads_the_convolution() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(inplace=True))
    trace = ct.trace(model, torch.randn(1, 2, 6, 6))
    assert trace.step("1").operands == {"self": "0"}
    assert_nothing_mismatches(trace)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 2, 3, padding=1)
        self.conv2 = nn.Conv2d(2, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        x += x.clone()
        y = self.conv2(x)
        y += x
        x *= 0  # nobody may notice
        return y.relu_().mul_(2)


def test_sums_in_place_do_not_change_what_was_read(keep: Any) -> None:
    model, x = Residual(), torch.randn(1, 2, 6, 6)
    trace = ct.trace(model, x, keep=keep)
    first = model.conv1(x)
    assert_certified(trace, "conv1", returned=first, exact=exact_conv2d(x, model.conv1))
    exact = exact_conv2d(first * 2, model.conv2)
    assert_certified(trace, "conv2", returned=model.conv2(first * 2), exact=exact)
    assert_nothing_mismatches(trace)


def test_slices_written_in_place_are_what_the_next_convolution_reads(keep: Any) -> None:
    conv, x = nn.Conv2d(2, 2, 3), torch.randn(1, 2, 6, 6)

    def model(x: Tensor) -> Tensor:
        buffer = torch.zeros(1, 2, 6, 6)
        buffer[:, 0] = x[:, 1]
        buffer[:, 1, 2:] = 7
        buffer[:, 1, :2] -= 1
        y = conv(buffer)
        buffer[:] = float("nan")
        return y

    made = torch.stack([x[:, 1], torch.full((1, 6, 6), 7.0)], 1)
    made[:, 1, :2] = -1
    trace = ct.trace(model, x, keep=keep)
    assert_certified(trace, "conv", returned=model(x), exact=exact_conv2d(made, conv))


def test_a_convolution_whose_output_is_written_by_slices_keeps_its_own_numbers(keep: Any) -> None:
    conv, x = nn.Conv2d(2, 2, 3), torch.randn(1, 2, 6, 6)

    def model(x: Tensor) -> Tensor:
        y = conv(x)
        y[:, 0, ::2] = 0
        y[y < 0] = 0
        return y

    trace = ct.trace(model, x, keep=keep)
    assert_certified(trace, "conv", returned=conv(x), exact=exact_conv2d(x, conv))
    assert torch.equal(trace.output, model(x))


WRITES: dict[str, Callable[[Tensor], Any]] = {
    "add_": lambda t: t.add_(1),
    "copy_": lambda t: t.copy_(torch.ones_like(t)),
    "zero_": lambda t: t.zero_(),
    "fill_": lambda t: t.fill_(3),
    "out=": lambda t: torch.mul(t, 2, out=t),
    "index_put_": lambda t: t.index_put_((torch.tensor([0]),), torch.tensor(5.0)),
    "masked_fill_": lambda t: t.masked_fill_(t > 0, 0),
    "scatter_": lambda t: t.scatter_(1, torch.zeros(1, 1, 6, 6, dtype=torch.int64), 9.0),
    "clamp_": lambda t: t.clamp_(max=0.1),
    "normal_": lambda t: t.normal_(),
    "view": lambda t: t.view(-1).mul_(3),
    "select": lambda t: t[0, 1].neg_(),
    "detach": lambda t: t.detach().sub_(4),
    "data": lambda t: t.data.mul_(-2),
    "foreach": lambda t: torch._foreach_add_([t], 1.0),
    "relu_": F.relu_,
    "leaky_relu": lambda t: F.leaky_relu(t, inplace=True),
    "dropout": lambda t: F.dropout(t, 0.5, training=True, inplace=True),
    "squeeze_": lambda t: t.squeeze_(0).add_(1).unsqueeze_(0),
    "transpose_": lambda t: t.transpose_(2, 3).mul_(torch.rand(6, 6)),
    "set_": lambda t: t.set_(torch.ones(1, 2, 6, 6)),
    "numbers of a view of a view": lambda t: t[:, 1:].transpose(2, 3)[..., ::2].mul_(5),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_tensor_overwritten_after_a_convolution_read_it_shows_what_was_read(
    write: Callable[[Tensor], Any], keep: Any
) -> None:
    conv, x = nn.Conv2d(2, 2, 3), torch.randn(1, 2, 6, 6)

    def model(x: Tensor) -> Tensor:
        hidden = x * 2
        y = conv(hidden)
        write(hidden)
        return y

    trace = ct.trace(model, x, keep=keep)
    assert_certified(trace, "conv", returned=conv(x * 2), exact=exact_conv2d(x * 2, conv))


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_tensor_overwritten_between_two_convolutions_shows_each_what_it_read(
    write: Callable[[Tensor], Any], keep: Any
) -> None:
    conv, other, x = nn.Conv2d(2, 2, 3), nn.Conv2d(2, 1, 2), torch.randn(1, 2, 6, 6)
    read: list[Tensor] = []

    def model(x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = x * 2
        first = conv(hidden)
        write(hidden)
        read.append(hidden.clone())
        return first, other(hidden)

    trace = ct.trace(model, x, keep=keep)
    (hidden,) = read
    assert_certified(trace, "conv", returned=conv(x * 2), exact=exact_conv2d(x * 2, conv))
    exact = exact_conv2d(hidden, other)
    assert_certified(trace, "other", returned=other(hidden), exact=exact)
    assert_nothing_mismatches(trace)


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_convolution_whose_output_is_overwritten_keeps_its_own_numbers(
    write: Callable[[Tensor], Any], keep: Any
) -> None:
    conv, x = nn.Conv2d(2, 2, 3, padding=1), torch.randn(1, 2, 6, 6)

    def model(x: Tensor) -> Tensor:
        with torch.no_grad():
            y = conv(x)
            write(y)
            return y.clone()

    trace = ct.trace(model, x, keep=keep)
    assert_certified(trace, "conv", returned=conv(x).detach(), exact=exact_conv2d(x, conv))
    assert_nothing_mismatches(trace)


HANDLES: dict[str, Callable[[Tensor], Tensor]] = {
    "detach": lambda t: t.detach(),
    "data": lambda t: t.data,
    "view": lambda t: t.view(1, 2, 6, 6),
    "alias": torch.ops.aten.alias,
    "view_as": lambda t: t.view_as(t),
    "slice": lambda t: t[:],
    "expand": lambda t: t.expand(1, 2, 6, 6),
}


@pytest.mark.parametrize("handle", HANDLES.values(), ids=HANDLES)
def test_another_handle_of_an_overwritten_tensor_shows_the_new_numbers(
    handle: Callable[[Tensor], Tensor], keep: Any
) -> None:
    conv, x = nn.Conv2d(2, 2, 3), torch.randn(1, 2, 6, 6)

    def model(x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = x * 2
        other = handle(hidden)
        first = conv(other)
        hidden.add_(1)
        return first, conv(other)

    trace = ct.trace(model, x, keep=keep)
    exact = exact_conv2d(x * 2, conv)
    assert_certified(trace, "conv", returned=conv(x * 2), exact=exact)
    exact = exact_conv2d(x * 2 + 1, conv)
    assert_certified(trace, "conv:2", returned=conv(x * 2 + 1), exact=exact)


@pytest.mark.parametrize("handle", HANDLES.values(), ids=HANDLES)
def test_a_tensor_overwritten_through_another_handle_shows_the_new_numbers(
    handle: Callable[[Tensor], Tensor], keep: Any
) -> None:
    if handle is HANDLES["expand"]:
        handle = HANDLES["slice"]
    conv, x = nn.Conv2d(2, 2, 3), torch.randn(1, 2, 6, 6)

    def model(x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = x * 2
        other = handle(hidden)
        first = conv(hidden)
        other.add_(1)
        return first, conv(hidden)

    trace = ct.trace(model, x, keep=keep)
    assert_certified(trace, "conv", returned=conv(x * 2), exact=exact_conv2d(x * 2, conv))
    exact = exact_conv2d(x * 2 + 1, conv)
    assert_certified(trace, "conv:2", returned=conv(x * 2 + 1), exact=exact)


def test_a_descent_through_a_slice_write_says_where_it_stops() -> None:
    conv, x = nn.Conv2d(1, 1, 1), torch.randn(1, 1, 4, 4)

    def model(x: Tensor) -> Tensor:
        buffer = torch.zeros(1, 1, 4, 4)
        buffer[:, :, 1:3] = x[:, :, 1:3]
        return conv(buffer)

    trace = ct.trace(model, x)
    source = trace.why("conv[0,0,1,1]").terms[0].source
    assert source is not None
    assert trace.value(source) == x[0, 0, 1, 1].item()
    assert trace.why(source).status in ("opaque", "selects")


def test_the_input_overwritten_by_the_model_keeps_the_numbers_it_was_given(keep: Any) -> None:
    conv, x = nn.Conv2d(2, 2, 3), torch.randn(1, 2, 6, 6)
    given = x.clone()

    def model(x: Tensor) -> Tensor:
        first = conv(x)
        x.mul_(-1)
        return first + conv(x)

    trace = ct.trace(model, x, keep=keep)
    assert_certified(trace, "conv", returned=conv(given), exact=exact_conv2d(given, conv))
    exact = exact_conv2d(-given, conv)
    assert_certified(trace, "conv:2", returned=conv(-given), exact=exact)
    assert trace.value("input[0,0,0,0]") == given[0, 0, 0, 0].item()
    assert trace.step("conv").operands["input"] == "input"


def test_the_input_overwritten_before_the_convolution_is_not_called_input(keep: Any) -> None:
    conv, x = nn.Conv2d(2, 2, 3), torch.randn(1, 2, 6, 6)
    given = x.clone()

    def model(x: Tensor) -> Tensor:
        return conv(x.mul_(2))

    trace = ct.trace(model, x, keep=keep)
    exact = exact_conv2d(given * 2, conv)
    assert_certified(trace, "conv", returned=conv(given * 2), exact=exact)
    assert trace.step("conv").operands["input"] != "input"


PARAMETER_WRITES: dict[str, Callable[[nn.Conv2d], Any]] = {
    "data": lambda conv: conv.weight.data.clamp_(-0.1, 0.1),
    "no_grad": lambda conv: torch.no_grad()(conv.weight.clamp_)(-0.1, 0.1),
    "detach": lambda conv: conv.weight.detach().clamp_(-0.1, 0.1),
    "slice": lambda conv: conv.weight.data[:, :1].zero_(),
    "copy_": lambda conv: conv.weight.data.copy_(torch.ones_like(conv.weight)),
    "renorm": lambda conv: setattr(
        conv.weight, "data", torch.renorm(conv.weight.data, p=2, dim=0, maxnorm=0.1)
    ),
    "init": lambda conv: nn.init.ones_(conv.weight),
    "reset": lambda conv: conv.reset_parameters(),
    "load_state_dict": lambda conv: conv.load_state_dict(
        {name: torch.ones_like(p) for name, p in conv.state_dict().items()}
    ),
}


class Constrained(nn.Module):
    """A network that limits its own weights while it runs, as max-norm constraints do."""

    def __init__(self, write: Callable[[nn.Conv2d], Any]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3)
        self.write = write
        self.used: list[tuple[Tensor, Tensor]] = []

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first = self.conv(x)
        self.write(self.conv)
        bias = self.conv.bias
        assert bias is not None
        self.used.append((self.conv.weight.detach().clone(), bias.detach().clone()))
        return first, self.conv(x)


@pytest.mark.parametrize("write", PARAMETER_WRITES.values(), ids=PARAMETER_WRITES)
def test_a_weight_overwritten_by_the_model_shows_each_call_the_weight_that_ran(
    write: Callable[[nn.Conv2d], Any], keep: Any
) -> None:
    model, x = Constrained(write), torch.randn(1, 2, 6, 6)
    exact = exact_conv2d(x, model.conv)
    trace = ct.trace(model, x, keep=keep)
    first, second = (out.detach() for out in trace.output)
    assert_certified(trace, "conv", returned=first, exact=exact)
    ((weight, bias),) = model.used
    assert_certified(
        trace, "conv:2", returned=second, exact=F.conv2d(x.double(), weight.double(), bias.double())
    )


def test_a_buffer_overwritten_by_the_model_shows_the_numbers_that_ran(keep: Any) -> None:
    class Averaged(nn.Module):
        """Convolves with a moving average of its kernel."""

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("kernel", torch.randn(2, 2, 3, 3))

        def forward(self, x: Tensor) -> Tensor:
            self.kernel.mul_(0.5).add_(1.0)
            return F.conv2d(x, self.kernel)

    model, x = Averaged(), torch.randn(1, 2, 6, 6)
    ran = model.kernel * 0.5 + 1
    trace = ct.trace(model, x, keep=keep)
    returned, exact = F.conv2d(x, ran), F.conv2d(x.double(), ran.double())
    assert_certified(trace, "conv2d", returned=returned, exact=exact)


def test_batch_norm_in_training_mode_gives_certified_convolutions(keep: Any) -> None:
    conv, x = nn.Conv2d(2, 3, 3), torch.randn(4, 2, 6, 6)
    model = nn.Sequential(conv, nn.BatchNorm2d(3), nn.ReLU(inplace=True), nn.Conv2d(3, 1, 1))
    trace = ct.trace(model, x, keep=keep)
    assert_certified(trace, "0", returned=conv(x), exact=exact_conv2d(x, conv))
    assert_convolutions_certified(trace, 10)


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_an_output_given_with_out_is_recorded_as_it_was_then(
    memory: torch.memory_format, keep: Any
) -> None:
    weight, x = torch.randn(2, 2, 3, 3), torch.randn(1, 2, 6, 6)
    shared = torch.empty(1, 2, 4, 4).to(memory_format=memory)

    def model(x: Tensor) -> Tensor:
        results = [
            torch.ops.aten.convolution.out(
                x * k, weight, None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1, out=shared
            ).clone()
            for k in (1, 2)
        ]
        return torch.cat(results)

    trace = ct.trace(model, x, keep=keep)
    for name, k in (("conv2d", 1), ("conv2d:2", 2)):
        returned = F.conv2d(x * k, weight)
        exact = F.conv2d((x * k).double(), weight.double())
        assert_certified(trace, name, returned=returned, exact=exact)


def test_memory_that_is_used_again_does_not_mix_numbers_up(keep: Any) -> None:
    conv, x = nn.Conv2d(2, 2, 3, padding=1), torch.randn(1, 2, 6, 6)

    def model(x: Tensor) -> Tensor:
        for _ in range(20):
            x = torch.tanh(conv(x))
            torch.randn(1, 2, 6, 6).add_(1)  # freed at once, its address is free again
            x.mul_(0.9)
        return x

    trace = ct.trace(model, x, keep=keep)
    assert sum(step.kind == "convolution" for step in trace.steps.values()) == 20
    assert_convolutions_certified(trace, 40)
    assert_nothing_mismatches(trace)


# Changed after the trace -------------------------------------------------------------------------


def _step_of(optimizer: Callable[..., torch.optim.Optimizer]) -> Callable[[nn.Module], None]:
    def change(model: nn.Module) -> None:
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer(model.parameters()).step()

    return change


WEIGHT_CHANGES: dict[str, Callable[[nn.Module], Any]] = {
    "SGD": _step_of(lambda p: torch.optim.SGD(p, lr=0.1)),
    "Adam": _step_of(lambda p: torch.optim.Adam(p, lr=0.1)),
    "Adam, foreach": _step_of(lambda p: torch.optim.Adam(p, lr=0.1, foreach=True)),
    "add_": lambda model: torch.no_grad()(model.conv.weight.add_)(1),
    "one element": lambda model: torch.no_grad()(model.conv.weight[0, 0, 0, 0].add_)(1),
    "detach": lambda model: model.conv.weight.detach().zero_(),
    "load_state_dict": lambda model: model.load_state_dict(
        {name: torch.ones_like(value) for name, value in model.state_dict().items()}
    ),
    "init": lambda model: nn.init.zeros_(model.conv.weight),
    "resize_": lambda model: model.conv.weight.detach().resize_(1, 1, 1, 1),
}


class OneConv(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).relu()


@pytest.mark.parametrize("asked_before", [False, True])
@pytest.mark.parametrize("change", WEIGHT_CHANGES.values(), ids=WEIGHT_CHANGES)
def test_a_weight_changed_after_the_trace_is_noticed_and_named(
    change: Callable[[nn.Module], Any], asked_before: bool, keep: Any
) -> None:
    model, x = OneConv(), torch.randn(1, 2, 6, 6)
    trace = ct.trace(model, x, keep=keep)
    if asked_before:
        trace.why("conv[0,0,0,0]")
    change(model)
    with pytest.raises(ct.TensorChangedError, match=r"^conv\.weight was overwritten"):
        trace.why("conv[0,0,0,0]")
    with pytest.raises(ct.TensorChangedError, match=r"^conv\.weight was overwritten"):
        trace.value("conv.weight[0,0,0,0]")


INPUT_CHANGES: dict[str, Callable[[Tensor], Any]] = {
    "zero_": lambda t: t.zero_(),
    "one element": lambda t: t[0, 1, 2].__setitem__(3, 9.0),
    "copy_": lambda t: t.copy_(torch.ones_like(t)),
    "view": lambda t: t.view(-1).add_(1),
    "out=": lambda t: torch.add(t, 1, out=t),
    "transpose_": lambda t: t.transpose_(2, 3),
    "resize_": lambda t: t.resize_(1, 1, 2, 2),
    "no_grad": lambda t: torch.no_grad()(t.add_)(1),
}


@pytest.mark.parametrize("asked_before", [False, True])
@pytest.mark.parametrize("change", INPUT_CHANGES.values(), ids=INPUT_CHANGES)
def test_an_input_changed_after_the_trace_is_noticed_and_named(
    change: Callable[[Tensor], Any], asked_before: bool, keep: Any
) -> None:
    x = torch.randn(1, 2, 6, 6)
    trace = ct.trace(OneConv(), x, keep=keep)
    if asked_before:
        trace.why("conv[0,0,0,0]")
    change(x)
    with pytest.raises(ct.TensorChangedError, match=r"^input was overwritten"):
        trace.why("conv[0,0,0,0]")
    with pytest.raises(ct.TensorChangedError, match=r"^input was overwritten"):
        trace.value("input[0,0,0,0]")


def test_an_output_changed_after_the_trace_is_noticed_and_named(keep: Any) -> None:
    conv = nn.Conv2d(2, 2, 3)
    trace = ct.trace(conv, torch.randn(1, 2, 6, 6), keep=keep)
    with torch.no_grad():
        trace.output.add_(1)
    with pytest.raises(ct.TensorChangedError, match=r"^conv2d was overwritten"):
        trace.why("conv2d[0,0,0,0]")


def test_running_statistics_changed_after_the_trace_stay_as_they_were_in_it() -> None:
    bn = nn.BatchNorm2d(2).eval()
    model = nn.Sequential(nn.Conv2d(2, 2, 3), bn)
    trace = ct.trace(model, torch.randn(1, 2, 6, 6))
    bn.train()(torch.randn(4, 2, 3, 3))
    assert bn.running_mean is not None
    assert bn.running_mean[0] != 0
    assert trace.value("1.running_mean[0]") == 0
    assert trace.why("1[0,1,2,2]").verdict in ("exact", "rounding")


def test_a_weight_replaced_after_the_trace_leaves_the_trace_as_it_was(keep: Any) -> None:
    model, x = OneConv(), torch.randn(1, 2, 6, 6)
    returned, exact = model.conv(x).detach(), exact_conv2d(x, model.conv)
    trace = ct.trace(model, x, keep=keep)
    new = {name: torch.zeros_like(value) for name, value in model.state_dict().items()}
    model.load_state_dict(new, assign=True)
    assert_certified(trace, "conv", returned=returned, exact=exact)
    assert trace.step("conv").operands["weight"] == "conv.weight"


def test_a_model_changed_after_the_trace_leaves_the_names_as_they_were() -> None:
    model, x = nn.Sequential(OneConv(), nn.Conv2d(2, 1, 1)), torch.randn(1, 2, 6, 6)
    trace = ct.trace(model, x)
    del model[0]
    model.add_module("7", nn.Conv2d(1, 1, 1))
    assert list(trace.steps) == ["0.conv", "0", "1"]
    assert_nothing_mismatches(trace)


def _fused_step(tensor: Tensor) -> None:
    parameter = tensor.detach().requires_grad_()
    parameter.grad = torch.ones_like(parameter)
    torch.optim.SGD([parameter], lr=0.1, fused=True).step()


UNNOTICED: dict[str, Callable[[Tensor], Any]] = {
    "data": lambda t: t.data.add_(1),
    "numpy": lambda t: t.detach().numpy().__iadd__(1),
    "data =": lambda t: setattr(t, "data", t.data + 1),
    "fused SGD": _fused_step,
}


@pytest.mark.parametrize("what", ["input", "weight"])
@pytest.mark.parametrize("change", UNNOTICED.values(), ids=UNNOTICED)
def test_a_change_behind_the_version_counter_is_never_certified(
    change: Callable[[Tensor], Any], what: str, keep: Any
) -> None:
    model, x = OneConv(), torch.randn(1, 2, 6, 6)
    trace = ct.trace(model, x, keep=keep)
    before = trace.why("conv[0,0,0,0]").exact
    change(x if what == "input" else model.conv.weight)
    try:
        receipt = trace.why("conv[0,0,0,0]")
    except ct.TensorChangedError:
        return
    assert receipt.verdict == "mismatch" or receipt.exact == before


@pytest.mark.parametrize("what", ["input", "output"])
def test_an_inference_tensor_changed_after_the_trace_does_not_change_it(
    what: str, keep: Any
) -> None:
    with torch.inference_mode():
        model, x = OneConv(), torch.randn(1, 2, 6, 6)
        trace = ct.trace(model, x, keep=keep)
        before = trace.value("conv[0,0,0,0]"), trace.value("input[0,0,0,0]")
        (x if what == "input" else trace.output).add_(1)
    receipt = trace.why("conv[0,0,0,0]")
    assert receipt.verdict in ("exact", "rounding")
    assert (receipt.reported, receipt.terms[0].value) == before


def test_tensors_that_only_gain_gradients_have_not_changed(keep: Any) -> None:
    model, x = OneConv(), torch.randn(1, 2, 6, 6, requires_grad=True)
    trace = ct.trace(model, x, keep=keep)
    trace.output.sum().backward()
    model.zero_grad()
    model.eval()
    assert_receipt_holds(trace, trace.why("conv[0,0,0,0]"))


def test_running_the_model_again_leaves_the_trace_as_it_was(keep: Any) -> None:
    model, x = Residual(), torch.randn(1, 2, 6, 6)
    trace = ct.trace(model, x, keep=keep)
    first = {i: trace.why("conv2", (0, 0, i, i)).exact for i in range(6)}
    model(torch.randn(1, 2, 6, 6))
    ct.trace(model, torch.randn(1, 2, 6, 6))
    assert {i: trace.why("conv2", (0, 0, i, i)).exact for i in range(6)} == first
    assert_convolutions_certified(trace, 10)


def test_an_array_that_was_given_out_cannot_change_the_trace() -> None:
    trace = ct.trace(OneConv(), torch.randn(1, 2, 6, 6))
    receipt = trace.why("conv[0,0,0,0]")
    for array in (receipt.inputs, receipt.weights, receipt.products):
        array[...] = 7
    assert_receipt_holds(trace, trace.why("conv[0,0,0,0]"))
