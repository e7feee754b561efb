"""What a trace of a PyTorch run holds, and how its steps, inputs and parameters are called."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_judge import assert_nothing_mismatches, assert_receipt_holds

import convtrace as ct


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def names(trace: ct.Trace) -> list[str]:
    return list(trace.steps)


def snippet() -> tuple[nn.Module, Tensor]:
    """Return the two layers of the snippet that started the project, and its input."""
    model = nn.Sequential()
    for name in ("conv1", "conv2"):
        conv = nn.Conv2d(2, 2, 2, bias=False)
        kernels = torch.tensor([[0.25, 0.5], [1.0, 2.0]])
        conv.weight.data = kernels[:, :, None, None].expand(2, 2, 2, 2).clone()
        model.add_module(name, conv)
    return model, torch.arange(18.0).reshape(1, 2, 3, 3)


# The snippet -------------------------------------------------------------------------------------


def test_the_snippet_gives_the_numbers_that_a_reader_can_check() -> None:
    trace = ct.trace(*snippet())
    out1 = [trace.value(f"conv1[0,{c},{i},{j}]") for c in (0, 1) for i in (0, 1) for j in (0, 1)]
    assert out1 == [24, 27, 33, 36, 96, 108, 132, 144]
    assert [trace.value(f"conv2[0,{c},0,0]") for c in (0, 1)] == [270, 1080]


def test_the_receipt_of_the_snippet_is_the_one_of_the_design() -> None:
    receipt = ct.trace(*snippet()).why("conv2[0,0,0,0]")
    assert [(term.value, term.weight, term.product) for term in receipt.terms] == [
        (24, 0.25, 6),
        (27, 0.25, 6.75),
        (33, 0.25, 8.25),
        (36, 0.25, 9),
        (96, 0.5, 48),
        (108, 0.5, 54),
        (132, 0.5, 66),
        (144, 0.5, 72),
    ]
    assert receipt.channel_sums.tolist() == [30, 240]
    assert (receipt.exact, receipt.reported, receipt.residual) == (270, 270, 0)
    assert (receipt.verdict, receipt.bias) == ("exact", None)


def test_every_term_of_the_snippet_leads_down_to_the_pixels() -> None:
    trace = ct.trace(*snippet())
    for term in trace.why("conv2[0,0,0,0]").terms:
        assert term.source is not None
        below = trace.why(term.source)
        assert below.reported == term.value
        assert {leaf.source.step for leaf in below.terms if leaf.source} == {"input"}


# What is recorded --------------------------------------------------------------------------------


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, padding=1)
        self.norm = nn.BatchNorm2d(2)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)) + x)


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 2, 3, stride=2, padding=1)
        self.blocks = nn.ModuleList([Block(), Block()])
        self.heads = nn.ModuleDict({"class": nn.Linear(2, 3)})

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.heads["class"](x.mean((2, 3)))


@pytest.fixture
def network() -> tuple[nn.Module, Tensor]:
    return Network().eval(), torch.randn(2, 1, 8, 8)


def test_steps_stand_in_the_order_they_ran(network: Any) -> None:
    assert names(ct.trace(*network)) == [
        "stem",
        "blocks.0.conv",
        "blocks.0.norm",
        "blocks.0.add",
        "blocks.0",
        "blocks.1.conv",
        "blocks.1.norm",
        "blocks.1.add",
        "blocks.1",
        "mean",
        "heads.class",
    ]


def test_a_step_names_its_operands(network: Any) -> None:
    trace = ct.trace(*network)
    assert dict(trace.step("stem").operands) == {
        "input": "input",
        "weight": "stem.weight",
        "bias": "stem.bias",
    }
    add = trace.step("blocks.1.add").operands
    assert set(add.values()) == {"blocks.1.norm", "blocks.0"}
    assert trace.step("blocks.1.conv").operands["input"] == "blocks.0"


def test_a_step_names_the_class_of_the_module_that_ran_it(network: Any) -> None:
    trace = ct.trace(*network)
    classes = {name: trace.step(name).module for name in ("stem", "blocks.0.add", "blocks.0")}
    assert classes == {"stem": "Conv2d", "blocks.0.add": "Block", "blocks.0": "Block"}


def test_a_convolution_has_canonical_settings() -> None:
    conv = nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2)
    step = ct.trace(conv, torch.randn(1, 4, 7, 7)).step("conv2d")
    assert dict(step.attributes) == {
        "stride": (2, 1),
        "padding": ((1, 1), (0, 0)),
        "dilation": (1, 2),
        "groups": 2,
        "transposed": False,
        "output_padding": (0, 0),
        "batched": True,
    }
    assert (step.kind, step.status, step.shape, step.dtype) == (
        "convolution",
        "linear",
        (1, 6, 4, 5),
        "float32",
    )


def test_settings_are_plain_numbers() -> None:
    def model(x: Tensor) -> Tensor:
        size = x.shape[-1] // 4
        return F.conv2d(x, torch.ones(1, 1, 2, 2), stride=size, padding=(size, True))

    step = ct.trace(model, torch.randn(1, 1, 8, 8)).step("conv2d")
    numbers = [*step.attributes["stride"], *step.attributes["dilation"], step.attributes["groups"]]
    numbers += [side for pair in step.attributes["padding"] for side in pair]
    assert {type(number) for number in numbers} == {int}


def test_keeping_convolutions_only_keeps_nothing_else(network: Any) -> None:
    trace = ct.trace(*network, keep="convolutions")
    assert names(trace) == ["stem", "blocks.0.conv", "blocks.1.conv"]
    assert_receipt_holds(trace, trace.why("blocks.1.conv[0,0,0,0]"))


def test_keeping_convolutions_only_says_where_the_descent_stops(network: Any) -> None:
    trace = ct.trace(*network, keep="convolutions")
    source = trace.why("blocks.1.conv[0,0,1,1]").terms[0].source
    assert source is not None
    receipt = trace.why(source)
    assert receipt.verdict is None
    assert receipt.notes


def test_every_step_has_a_receipt_that_holds_or_says_that_it_is_opaque(network: Any) -> None:
    assert_nothing_mismatches(ct.trace(*network), count=8)


def test_the_output_of_the_model_is_returned_as_it_is(network: Any) -> None:
    model, x = network
    assert torch.equal(ct.trace(model, x).output, model(x))


def test_bookkeeping_that_nobody_reads_is_no_step() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout())
    trace = ct.trace(model, torch.randn(2, 1, 5, 5))
    assert names(trace)[:2] == ["0", "1"]
    assert not any("num_batches" in name or "running" in name for name in names(trace))


def test_the_progress_callback_is_called_for_every_operator(network: Any) -> None:
    calls: list[int] = []
    trace = ct.trace(*network, on_operator=lambda: calls.append(1))
    assert len(calls) >= len(trace.steps)


def test_a_trace_is_short_to_print(network: Any) -> None:
    assert repr(ct.trace(*network)) == "Trace(11 steps, 3 of them convolutions)"


# Names -------------------------------------------------------------------------------------------


def test_a_model_that_is_one_convolution_is_named_by_its_function() -> None:
    trace = ct.trace(nn.ConvTranspose1d(1, 1, 2), torch.randn(1, 1, 4))
    assert names(trace) == ["conv_transpose1d"]
    assert trace.step("conv_transpose1d").operands["weight"] == "weight"


def test_functions_that_no_module_owns_are_named_by_what_they_are() -> None:
    weight = torch.randn(1, 1, 2, 2)

    def model(x: Tensor) -> Tensor:
        y = F.conv2d(x, weight)
        y = torch.relu(y) * 2 - y
        return F.conv2d(y, weight) + F.conv2d(y, weight)

    trace = ct.trace(model, torch.randn(1, 1, 5, 5))
    assert names(trace) == ["conv2d", "relu", "mul", "sub", "conv2d:2", "conv2d:3", "add"]
    assert trace.step("conv2d").operands["weight"] == "weight"


def test_functions_inside_a_module_carry_its_path() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Inner()

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x) + 1

    class Inner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kernel = nn.Parameter(torch.randn(1, 1, 2, 2))

        def forward(self, x: Tensor) -> Tensor:
            return F.relu(F.conv2d(F.conv2d(x, self.kernel), self.kernel))

    trace = ct.trace(Model(), torch.randn(1, 1, 5, 5))
    assert names(trace) == ["inner.conv2d", "inner.conv2d:2", "inner", "add"]
    assert trace.step("inner.conv2d").operands["weight"] == "inner.kernel"


def test_a_module_called_again_is_numbered() -> None:
    conv = nn.Conv2d(2, 2, 1)
    model = nn.Sequential(conv, nn.ReLU(), conv, nn.ReLU(), conv)
    assert names(ct.trace(model, torch.randn(1, 2, 3, 3))) == ["0", "1", "0:2", "3", "0:3"]


def test_a_shared_weight_has_one_name() -> None:
    first, second = nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1)
    second.weight = first.weight
    trace = ct.trace(nn.Sequential(first, second), torch.randn(1, 2, 3, 3))
    assert trace.step("1").operands["weight"] == "0.weight"
    assert trace.step("1").operands["bias"] == "1.bias"


@pytest.mark.parametrize("passing", [nn.Identity(), nn.Dropout(), nn.Flatten(3), nn.Sequential()])
def test_a_module_that_passes_its_input_on_leaves_the_name_before_it(passing: nn.Module) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 2, 1)
            self.passing = passing

        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(self.passing(self.conv(x)))

    model = Model().eval()
    x = torch.randn(1, 2, 3, 3)
    trace = ct.trace(model, x)
    assert "conv" in names(trace)
    assert trace.step("conv").operands["input"] == "input"
    assert trace.value("passing[0,0,0,0]") == model.conv(x)[0, 0, 0, 0].item()


def test_a_module_that_passes_the_input_of_the_model_on_can_be_addressed() -> None:
    model = nn.Sequential(nn.Identity(), nn.Conv2d(1, 1, 1))
    x = torch.randn(1, 1, 3, 3)
    trace = ct.trace(model, x)
    assert trace.value("0[0,0,1,2]") == x[0, 0, 1, 2].item()
    assert trace.why("0[0,0,1,2]").reported == x[0, 0, 1, 2].item()


def test_a_module_is_another_name_of_the_step_that_made_its_output() -> None:
    model = nn.Sequential(nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU()), nn.Conv2d(1, 1, 1))
    trace = ct.trace(model, torch.randn(1, 1, 3, 3))
    assert names(trace) == ["0.0", "0.1", "1"]
    assert trace.step("0") is trace.step("0.1")
    assert trace.value("0[0,0,0,0]") == trace.value("0.1[0,0,0,0]")
    assert str(trace.why("0[0,0,0,0]").address) == "0.1[0,0,0,0]"


def test_inputs_are_numbered_in_order() -> None:
    def model(x: Tensor, weight: Tensor, *, bias: Tensor) -> Tensor:
        return F.conv2d(x, weight, bias)

    x, weight, bias = torch.randn(1, 1, 3, 3), torch.randn(2, 1, 2, 2), torch.randn(2)
    trace = ct.trace(model, x, weight, bias=bias)
    assert dict(trace.step("conv2d").operands) == {
        "input": "input",
        "weight": "input:2",
        "bias": "input:3",
    }
    assert list(trace.inputs) == ["input", "input:2", "input:3"]


def test_an_input_given_twice_is_one_input() -> None:
    x = torch.randn(1, 1, 3, 3)
    trace = ct.trace(lambda a, b: F.conv2d(a, b, padding=1), x, x)
    assert dict(trace.step("conv2d").operands) == {"input": "input", "weight": "input"}


@pytest.mark.parametrize("keep", ["everything", "convolutions"])
def test_an_input_that_no_convolution_reads_can_still_be_addressed(keep: Any) -> None:
    weight = torch.ones(1, 1, 1, 1)
    x, unused = torch.randn(1, 1, 3, 3), torch.tensor([5.0, 6.0])
    trace = ct.trace(lambda x, unused: F.conv2d(x * 2, weight), x, unused, keep=keep)
    assert trace.value("input:2[1]") == 6
    assert trace.value("input[0,0,2,2]") == x[0, 0, 2, 2].item()


def test_a_parameter_can_be_addressed() -> None:
    model, x = snippet()
    trace = ct.trace(model, x)
    assert trace.value("conv1.weight[1,1,0,0]") == 2
    receipt = trace.why("conv1.weight[1,1,0,0]")
    assert (receipt.reported, receipt.verdict, receipt.terms) == (2, None, [])


def test_tensors_of_a_closure_are_called_by_their_names() -> None:
    kernel, offset = torch.randn(1, 1, 2, 2), torch.randn(1)
    trace = ct.trace(lambda x: F.conv2d(x, kernel, offset), torch.randn(1, 1, 3, 3))
    assert set(trace.parameters) == {"kernel", "offset"}


def test_tensors_without_a_name_are_called_after_their_step() -> None:
    trace = ct.trace(lambda x: F.conv2d(x, *_hidden()), torch.randn(1, 1, 3, 3))
    operands = trace.step("conv2d").operands
    assert operands["weight"] != operands["bias"]
    assert trace.value(f"{operands['bias']}[0]") == 3


_HIDDEN = (torch.ones(1, 1, 2, 2), torch.tensor([3.0]))


def _hidden() -> tuple[Tensor, Tensor]:
    return _HIDDEN


CLASHES: dict[str, Callable[[], nn.Module]] = {
    "a module called input": lambda: nn.Sequential(_named("input", nn.Conv2d(1, 1, 1))),
    "a module called weight": lambda: _named("weight", nn.Conv2d(1, 1, 1)),
    "a module called conv2d": lambda: _named("conv2d", nn.Sequential(nn.Conv2d(1, 1, 1))),
    "a module called relu": lambda: _named("relu", nn.Conv2d(1, 1, 1)),
    "a module called like a second call": lambda: _named("relu:2", nn.Conv2d(1, 1, 1)),
    "a module with blanks in its name": lambda: _named("my conv", nn.Conv2d(1, 1, 1)),
    "a module with brackets in its name": lambda: _named("conv[0]", nn.Conv2d(1, 1, 1)),
    "a module with Korean in its name": lambda: _named("합성곱", nn.Conv2d(1, 1, 1)),
}


def _named(name: str, module: nn.Module) -> nn.Module:
    model = nn.Sequential()
    model.add_module(name, module)
    return model


@pytest.mark.parametrize("key", CLASHES)
def test_names_that_clash_or_are_odd_stay_apart(key: str) -> None:
    model, x = CLASHES[key](), torch.randn(1, 1, 3, 3)
    trace = ct.trace(lambda x: torch.relu(torch.relu(model(x))), x)
    everything = [*trace.steps, *trace.inputs, *trace.parameters]
    assert len(everything) == len(set(everything))
    for name, step in trace.steps.items():
        receipt = trace.why(name, (0, 0, 1, 2))
        assert receipt.reported == step.value.data[0, 0, 1, 2].item()
        assert_receipt_holds(trace, receipt)


@pytest.mark.parametrize("key", CLASHES)
def test_every_address_of_a_receipt_can_be_written_and_read_back(key: str) -> None:
    trace = ct.trace(CLASHES[key](), torch.randn(1, 1, 3, 3))
    (step,) = trace.steps.values()
    receipt = trace.why(step.name, (0, 0, 1, 2))
    for address in (receipt.address, receipt.terms[0].source, receipt.terms[0].weight_address):
        assert address is not None
        assert trace.value(str(address)) == trace.value(address)


def test_a_module_made_while_the_model_runs_is_named_by_its_function() -> None:
    def model(x: Tensor) -> Tensor:
        return nn.Conv2d(1, 1, 2)(x)

    trace = ct.trace(model, torch.randn(1, 1, 3, 3))
    assert names(trace)[-1] == "conv2d"  # before it stands what filled its weight
    assert_nothing_mismatches(trace)


def test_names_do_not_depend_on_what_happens_to_the_model_later() -> None:
    first, second = nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1)
    model, x = nn.Sequential(first, second), torch.randn(1, 1, 3, 3)
    trace = ct.trace(model, x)
    first.weight, second.weight = second.weight, first.weight
    assert trace.step("0").operands["weight"] == "0.weight"
    assert trace.step("1").operands["weight"] == "1.weight"


def test_the_shape_of_a_step_does_not_depend_on_what_happens_to_its_tensors_later() -> None:
    x = torch.randn(1, 1, 3, 4)
    trace = ct.trace(nn.Conv2d(1, 1, 1), x)
    x.transpose_(2, 3)
    assert trace.step("conv2d").shape == (1, 1, 3, 4)
    with pytest.raises(ct.TensorChangedError, match=r"^input"):
        trace.why("conv2d[0,0,0,0]")


# Steps that only move numbers --------------------------------------------------------------------


MOVES: dict[str, Callable[[Tensor], Tensor]] = {
    "flatten": lambda t: t.flatten(1),
    "transpose": lambda t: t.transpose(2, 3),
    "slice": lambda t: t[:, 1:, ::2],
    "cat": lambda t: torch.cat([t, t * 2], 1),
    "stack": lambda t: torch.stack([t, t], 1),
    "chunk": lambda t: t.chunk(2, 1)[1],
    "flip": lambda t: t.flip(3),
    "roll": lambda t: t.roll(1, 2),
    "expand": lambda t: t[:, :1].expand(1, 5, 3, 3),
    "pixel_shuffle": lambda t: F.pixel_shuffle(t, 2),
    "pad": lambda t: F.pad(t, (1, 2), value=3.0),
    "reflect": lambda t: F.pad(t, (1, 1, 1, 1), mode="reflect"),
    "to": lambda t: t.double(),
    "clone": lambda t: t.clone(),
    "index_select": lambda t: t.index_select(1, torch.tensor([3, 0])),
    "squeeze_": lambda t: t.clone().squeeze_(0),
    "unsqueeze_": lambda t: t.clone().unsqueeze_(0),
    "transpose_": lambda t: t.clone().transpose_(1, 2),
    "movedim": lambda t: t.movedim(1, 3),
    "repeat": lambda t: t.repeat(1, 2, 1, 1),
    "repeat_interleave": lambda t: t.repeat_interleave(2, 1),
}


@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)
def test_a_number_that_was_only_moved_leads_to_where_it_was(
    move: Callable[[Tensor], Tensor],
) -> None:
    conv, x = nn.Conv2d(1, 4, 1), torch.randn(1, 1, 3, 3)
    trace = ct.trace(lambda x: move(conv(x)), x)
    assert torch.equal(trace.output, move(conv(x)))
    assert_nothing_mismatches(trace, count=12)


@pytest.mark.parametrize("when", ["in the model", "after the trace"])
def test_an_index_that_is_overwritten_later_does_not_mislead(when: str) -> None:
    conv, x, index = nn.Conv2d(1, 4, 1), torch.randn(1, 1, 3, 3), torch.tensor([3, 0])

    def model(x: Tensor) -> Tensor:
        y = conv(x).index_select(1, index)
        if when == "in the model":
            index.zero_()
        return y

    trace = ct.trace(model, x)
    if when == "after the trace":
        index.zero_()
    try:
        source = trace.why("index_select[0,0,1,1]").terms[0].source
    except ct.TensorChangedError:
        assert when == "after the trace"
    else:
        assert str(source) == "conv[0,3,1,1]"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("key", ["x + 0.1", "x * 0.1", "x - 0.1", "0.1 - x", "x + 0.1 * x"])
def test_arithmetic_with_plain_numbers_is_certified(key: str, dtype: torch.dtype) -> None:
    conv, x = nn.Conv2d(1, 4, 1, dtype=dtype), torch.randn(1, 1, 3, 3, dtype=dtype)
    operations: dict[str, Callable[[Tensor], Tensor]] = {
        "x + 0.1": lambda t: t + 0.1,
        "x * 0.1": lambda t: t * 0.1,
        "x - 0.1": lambda t: t - 0.1,
        "0.1 - x": lambda t: 0.1 - t,
        "x + 0.1 * x": lambda t: torch.add(t, t, alpha=0.1),
    }
    trace = ct.trace(lambda x: operations[key](conv(x)), x)
    assert_nothing_mismatches(trace, count=12)


OPERATORS: dict[str, Callable[[Tensor], Any]] = {
    "to int": lambda t: t.int(),
    "to bool": lambda t: t.bool(),
    "view as int": lambda t: t.view(torch.int32),
    "sum of bool": lambda t: (t > 0).sum(1),
    "mean of int": lambda t: t.int().sum(),
    "power": lambda t: t**2,
    "power of": lambda t: 2**t,
    "sqrt": lambda t: t.abs().sqrt(),
    "rsqrt": lambda t: t.abs().add(0.1).rsqrt(),
    "reciprocal": lambda t: 1 / t,
    "log": lambda t: t.abs().log(),
    "masked_fill": lambda t: t.masked_fill(t > 0, 0.0),
    "where": lambda t: torch.where(t > 0, t, 0.5),
    "where, two": lambda t: torch.where(t > 0, t, t * 2),
    "clamp": lambda t: t.clamp(-0.1, 0.3),
    "gather": lambda t: t.gather(1, torch.tensor([[[[3]]]])),
    "sort": lambda t: t.sort(1)[0],
    "topk": lambda t: t.flatten(1).topk(3)[0],
    "index": lambda t: t[:, [0, 2]],
    "mask": lambda t: t[t > 0],
    "cumsum": lambda t: t.cumsum(1),
    "matmul": lambda t: t @ t,
    "einsum": lambda t: torch.einsum("nchw,nchv->nhwv", t, t),
    "mean": lambda t: t.mean((2, 3), keepdim=True),
    "var": lambda t: t.var((2, 3)),
    "amax": lambda t: t.amax((2, 3)),
    "norm": lambda t: t.norm(dim=1),
    "lerp": lambda t: torch.lerp(t, t * 2, 0.3),
    "addcmul": lambda t: torch.addcmul(t, t, t, value=0.1),
    "maximum": lambda t: torch.maximum(t, -t),
    "as_strided": lambda t: t.as_strided((2, 2), (1, 9)),
    "complex": lambda t: torch.complex(t, t).abs(),
    "fft": lambda t: torch.fft.rfft2(t).real,
    "stft": lambda t: torch.stft(
        t.flatten().repeat(4), 8, window=torch.hann_window(8), return_complex=True
    ).abs(),
    "lstm": lambda t: nn.LSTM(3, 2)(t[0])[0],
    "attention": lambda t: F.scaled_dot_product_attention(t, t, t),
    "layer_norm": lambda t: F.layer_norm(t, (3, 3)),
    "group_norm": lambda t: F.group_norm(t, 2),
    "instance_norm": F.instance_norm,
    "max_pool2d": lambda t: F.max_pool2d(t, 2, 1, padding=1),
    "avg_pool2d": lambda t: F.avg_pool2d(t, 2, 1, padding=1),
    "adaptive_avg_pool2d": lambda t: F.adaptive_avg_pool2d(t, 2),
    "interpolate": lambda t: F.interpolate(t, scale_factor=2.5, mode="bilinear"),
    "nearest": lambda t: F.interpolate(t, size=(5, 4)),
    "grid_sample": lambda t: F.grid_sample(t, torch.zeros(1, 2, 2, 2), align_corners=False),
    "gelu": F.gelu,
    "silu": F.silu,
    "softplus": F.softplus,
    "hardswish": F.hardswish,
    "prelu": lambda t: F.prelu(t, torch.tensor([0.2])),
    "glu": lambda t: F.glu(t, 1),
    "softmax": lambda t: t.softmax(1),
    "dropout": lambda t: F.dropout(t, 0.5),
    "cross_entropy": lambda t: F.cross_entropy(t.flatten(1), torch.tensor([1])),
    "linear": lambda t: F.linear(t, torch.ones(2, 3), torch.ones(2)),
    "bool out": lambda t: t > 0,
    "argmax": lambda t: t.argmax(1),
    "item": lambda t: t * t.sum().item(),
}


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
def test_what_follows_a_convolution_has_receipts_that_hold_or_is_opaque(
    operator: Callable[[Tensor], Any],
) -> None:
    conv, x = nn.Conv2d(1, 4, 1), torch.randn(1, 1, 3, 3)
    trace = ct.trace(lambda x: operator(conv(x)), x)
    assert "conv" in trace.steps
    assert_nothing_mismatches(trace, count=6)


def test_infinity_that_was_filled_in_is_named_as_such() -> None:
    conv, x = nn.Conv2d(1, 4, 1), torch.randn(1, 1, 3, 3)
    trace = ct.trace(lambda x: conv(x).masked_fill(x > -9, float("-inf")), x)
    receipt = trace.why("masked_fill[0,1,2,2]")
    assert (receipt.verdict, receipt.reported) == ("nonfinite", float("-inf"))
    assert receipt.notes == (("note.nonfinite_bias", {"value": float("-inf")}),)


# Asking for what is not there --------------------------------------------------------------------


def test_an_unknown_step_is_refused_with_the_nearest_names(network: Any) -> None:
    with pytest.raises(ct.UnknownStepError, match=r"(?s)'blocks\.0\.cnv'.*blocks\.0\.conv"):
        ct.trace(*network).why("blocks.0.cnv[0,0,0,0]")


def test_a_position_out_of_range_is_refused_with_the_shape(network: Any) -> None:
    with pytest.raises(ct.OutOfRangeError, match=r"(?s)stem\[0,2,0,0\].*\(2, 2, 4, 4\)"):
        ct.trace(*network).why("stem[0,2,0,0]")


def test_something_that_cannot_be_called_is_no_model() -> None:
    with pytest.raises(ct.UsageError, match="int cannot be called"):
        ct.trace(3, torch.randn(1))  # type: ignore[arg-type]  # no model


def test_a_wrong_keep_is_refused() -> None:
    with pytest.raises(ct.UsageError, match="'all'"):
        ct.trace(nn.Conv2d(1, 1, 1), torch.randn(1, 1, 1, 1), keep="all")  # type: ignore[arg-type]  # no such way


def test_too_few_arguments_are_an_error_of_the_model() -> None:
    with pytest.raises(ct.ModelError, match="TypeError"):
        ct.trace(nn.Conv2d(1, 1, 1))
