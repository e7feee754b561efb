"""Whichever way a convolution is called, its receipts hold against torch in float64."""

import dataclasses
import functools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
import transformers
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

import convtrace as ct
from torch_judge import (
    CERTIFIED,
    assert_certified,
    assert_convolutions_certified,
    assert_explained,
    assert_nothing_mismatches,
    assert_receipt_holds,
    in_float64,
    places,
)

aten = torch.ops.aten

# Old weight and spectral norm, and TorchScript, still run but announce their end.
deprecated = pytest.mark.filterwarnings("ignore:.*deprecated:FutureWarning")
scripted = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def double(*tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(tensor.detach().double() for tensor in tensors)


def exact_conv2d(x: Tensor, conv: nn.Conv2d, **changes: Any) -> Tensor:
    """Compute a zero-padded `nn.Conv2d` in float64."""
    settings: dict[str, Any] = {
        "weight": conv.weight.detach().double(),
        "bias": None if conv.bias is None else conv.bias.detach().double(),
        "stride": conv.stride,
        "padding": conv.padding,
        "dilation": conv.dilation,
        "groups": conv.groups,
        **changes,
    }
    return F.conv2d(x.detach().double(), **settings)


# Modules and functions ---------------------------------------------------------------------------

MODULES = {
    "1d": (nn.Conv1d(2, 3, 3, stride=2, padding=1, dilation=2), F.conv1d, (2, 2, 11)),
    "2d": (nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), groups=2), F.conv2d, (2, 4, 7, 6)),
    "3d": (nn.Conv3d(2, 2, 2, padding=1, dilation=(1, 2, 1)), F.conv3d, (1, 2, 3, 5, 4)),
    "depthwise": (nn.Conv2d(3, 6, 3, groups=3), F.conv2d, (1, 3, 5, 5)),
    "pointwise": (nn.Conv2d(5, 4, 1, bias=False), F.conv2d, (1, 5, 3, 3)),
}


@pytest.mark.parametrize("batched", [True, False], ids=["batched", "unbatched"])
@pytest.mark.parametrize("key", MODULES)
def test_a_module_gives_certified_receipts(key: str, batched: bool) -> None:
    conv, function, shape = MODULES[key]
    x = torch.randn(shape if batched else shape[1:])
    bias = None if conv.bias is None else conv.bias.detach().double()
    exact = function(
        x.double(),
        conv.weight.detach().double(),
        bias,
        conv.stride,
        conv.padding,
        conv.dilation,
        conv.groups,
    )
    assert_explained(conv, x, name=function.__name__, exact=exact)


TRANSPOSED = {
    "1d": (nn.ConvTranspose1d(2, 3, 4, stride=3, padding=1, output_padding=2), (2, 2, 5)),
    "2d": (nn.ConvTranspose2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), groups=2), (2, 4, 5, 4)),
    "3d": (nn.ConvTranspose3d(2, 2, 2, stride=2, dilation=(1, 2, 1)), (1, 2, 3, 2, 3)),
    "depthwise": (nn.ConvTranspose2d(3, 3, 3, stride=2, groups=3), (1, 3, 4, 4)),
}


@pytest.mark.parametrize("batched", [True, False], ids=["batched", "unbatched"])
@pytest.mark.parametrize("key", TRANSPOSED)
def test_a_transposed_module_gives_certified_receipts(key: str, batched: bool) -> None:
    conv, shape = TRANSPOSED[key]
    x = torch.randn(shape if batched else shape[1:])
    function = getattr(F, f"conv_transpose{len(shape) - 2}d")
    assert conv.bias is not None
    exact = function(
        *double(x, conv.weight, conv.bias),
        conv.stride,
        conv.padding,
        conv.output_padding,
        conv.groups,
        conv.dilation,
    )
    assert_explained(conv, x, name=function.__name__, exact=exact)


def test_a_transposed_module_takes_the_output_size_that_it_is_asked_for() -> None:
    conv = nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1, bias=False)
    x = torch.randn(1, 2, 4, 4)
    exact = F.conv_transpose2d(*double(x, conv.weight), None, 2, 1, (1, 0))
    trace = assert_explained(
        conv, x, name="conv_transpose2d", exact=exact, output_size=[8, 7]
    )
    assert trace.step("conv_transpose2d").attributes["output_padding"] == (1, 0)


# PyTorch warns once a process that an odd total is padded in a copy. The receipt has no copy.
even_kernels = pytest.mark.filterwarnings("ignore:Using padding='same' with even:UserWarning")


@even_kernels
@pytest.mark.parametrize("dilation", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4, (2, 5)])
def test_padding_same_works_for_even_kernels_and_dilation(kernel: Any, dilation: int) -> None:
    conv = nn.Conv2d(2, 2, kernel, padding="same", dilation=dilation)
    x = torch.randn(1, 2, 6, 7)
    sizes = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    pads = [((k - 1) * dilation // 2, (k - 1) * dilation - (k - 1) * dilation // 2) for k in sizes]
    padded = F.pad(x.double(), [*pads[1], *pads[0]])
    trace = assert_explained(conv, x, exact=exact_conv2d(padded, conv, padding=0))
    assert trace.step("conv2d").attributes["padding"] == tuple(pads)
    assert trace.step("conv2d").operands["input"] == "input"


@even_kernels
@pytest.mark.parametrize("axes", [1, 3])
def test_padding_same_works_in_1_and_3_dimensions_without_a_batch(axes: int) -> None:
    conv = getattr(nn, f"Conv{axes}d")(2, 2, 4, padding="same")
    x = torch.randn(2, *range(5, 5 + axes))
    padded = F.pad(x.double(), [1, 2] * axes)
    exact = getattr(F, f"conv{axes}d")(padded, *double(conv.weight, conv.bias))
    trace = assert_explained(conv, x, name=f"conv{axes}d", exact=exact)
    assert trace.step(f"conv{axes}d").attributes["padding"] == ((1, 2),) * axes


def test_padding_valid_pads_nothing() -> None:
    conv = nn.Conv2d(2, 2, 3, padding="valid", stride=2)
    x = torch.randn(1, 2, 6, 7)
    trace = assert_explained(conv, x, exact=exact_conv2d(x, conv, padding=0))
    assert trace.step("conv2d").attributes["padding"] == ((0, 0), (0, 0))


@pytest.mark.parametrize("padding", [1, (2, 1), "same"])
@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_every_padding_mode_gives_certified_receipts(mode: str, padding: Any) -> None:
    conv = nn.Conv2d(2, 3, (3, 2), padding=padding, padding_mode=mode)
    x = torch.randn(2, 2, 5, 6)
    sides = conv._reversed_padding_repeated_twice
    padded = F.pad(x.double(), sides, mode=mode)
    trace = assert_explained(conv, x, exact=exact_conv2d(padded, conv, padding=0))
    pad = trace.step("pad")
    assert (pad.attributes["mode"], pad.operands["input"]) == (mode, "input")
    assert trace.step("conv2d").operands["input"] == "pad"


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_circular_padding_is_traced_to_the_input_in_every_dimension(axes: int) -> None:
    conv = getattr(nn, f"Conv{axes}d")(1, 1, 3, padding=1, padding_mode="circular", bias=False)
    x = torch.arange(4.0**axes).reshape(1, 1, *[4] * axes)
    trace = ct.trace(conv, x)
    corner = trace.why(f"conv{axes}d", (0,) * (axes + 2)).terms[0].source
    assert corner is not None
    source = trace.why(corner).terms[0].source
    assert str(source) == f"input[0,0,{','.join(['3'] * axes)}]"


@pytest.mark.parametrize("value", [0.0, 1.5])
def test_pad_before_a_convolution_is_a_step_of_its_own(value: float) -> None:
    weight = torch.randn(2, 1, 3, 3)
    x = torch.randn(1, 1, 4, 4)

    def model(x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, (2, 0, 1, -1), value=value), weight)

    exact = F.conv2d(F.pad(x.double(), (2, 0, 1, -1), value=value), weight.double())
    trace = assert_explained(model, x, exact=exact)
    assert list(trace.steps) == ["pad", "conv2d"]
    assert trace.why("pad[0,0,0,0]").reported == value
    assert str(trace.why("pad[0,0,1,2]").terms[0].source) == "input[0,0,0,0]"


def test_settings_may_be_lists_of_one_number() -> None:
    x, weight = torch.randn(1, 2, 7, 7), torch.randn(2, 2, 3, 3)
    exact = F.conv2d(*double(x, weight), stride=2, padding=1)
    assert_explained(
        lambda x: F.conv2d(x, weight, stride=[2], padding=[1], dilation=[1]), x, exact=exact
    )


# Raw operators -----------------------------------------------------------------------------------


def _conv_tbc(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """`conv_tbc` (time, batch, channels), in the order of the other functions."""
    time_batch_channels = x[:, :, 0].permute(2, 0, 1).contiguous()
    return torch.conv_tbc(time_batch_channels, w[:, :, 0].permute(2, 1, 0).contiguous(), b, 1)


_ONE, _TWO = [1, 1], [2, 2]
RAW: dict[str, tuple[Callable[..., Tensor], dict[str, Any]]] = {
    "torch.conv2d": (lambda x, w, b: torch.conv2d(x, w, b, 2, 1), {}),
    "torch.convolution": (
        lambda x, w, b: torch.convolution(x, w, b, _TWO, _ONE, _ONE, False, [0, 0], 1),
        {},
    ),
    "torch._convolution": (
        lambda x, w, b: torch._convolution(
            x, w, b, _TWO, _ONE, _ONE, False, [0, 0], 1, False, False, True, True
        ),
        {},
    ),
    "aten.conv2d": (lambda x, w, b: aten.conv2d(x, w, b, _TWO, _ONE), {}),
    "aten.conv2d.padding": (
        lambda x, w, b: aten.conv2d.padding(x, w, b, _ONE, "same"),
        {"stride": 1},
    ),
    "aten.convolution": (
        lambda x, w, b: aten.convolution.default(x, w, b, _TWO, _ONE, _ONE, False, [0, 0], 1),
        {},
    ),
    "aten.convolution with keywords": (
        lambda x, w, b: aten.convolution(
            input=x,
            weight=w,
            bias=b,
            stride=[2],
            padding=[1],
            dilation=[1],
            transposed=False,
            output_padding=[0],
            groups=1,
        ),
        {},
    ),
    "aten.convolution.out": (
        lambda x, w, b: aten.convolution.out(
            x, w, b, _TWO, _ONE, _ONE, False, [0, 0], 1, out=torch.empty(2, 4, 4, 3)
        ),
        {},
    ),
    "aten._convolution": (
        lambda x, w, b: aten._convolution(
            x, w, b, _TWO, _ONE, _ONE, False, [0, 0], 1, False, False, False, False
        ),
        {},
    ),
    "aten.convolution_overrideable": (
        lambda x, w, b: aten.convolution(x, w, b, _TWO, _ONE, _ONE, False, [0, 0], 1),
        {},
    ),
    "aten.mkldnn_convolution": (
        lambda x, w, b: torch.mkldnn_convolution(x, w, b, _ONE, _TWO, _ONE, 1),
        {},
    ),
    "aten.thnn_conv2d": (lambda x, w, b: aten.thnn_conv2d(x, w, [3, 3], b, _TWO, _ONE), {}),
    "aten._slow_conv2d_forward": (
        lambda x, w, b: aten._slow_conv2d_forward(x, w, [3, 3], b, _TWO, _ONE),
        {},
    ),
    "aten.slow_conv_dilated2d": (
        lambda x, w, b: aten.slow_conv_dilated2d(x, w, [3, 3], b, _TWO, _ONE, _ONE),
        {},
    ),
}


@pytest.mark.parametrize("inference", [False, True], ids=["normal", "inference_mode"])
@pytest.mark.parametrize("key", RAW)
def test_a_raw_operator_gives_certified_receipts(key: str, inference: bool) -> None:
    operator, changes = RAW[key]
    weight, bias = torch.randn(4, 3, 3, 3), torch.randn(4)
    x = torch.randn(2, 3, 7, 6)
    exact = F.conv2d(*double(x, weight, bias), **{"stride": 2, "padding": 1, **changes})
    with torch.inference_mode(inference):
        trace = assert_explained(
            lambda x: operator(x, weight, bias), x, name="conv2d", exact=exact
        )
    step = trace.step("conv2d")
    assert (step.operands["weight"], step.operands["bias"]) == ("weight", "bias")


RAW_TRANSPOSED: dict[str, Callable[..., Tensor]] = {
    "torch.convolution": lambda x, w, b: torch.convolution(
        x, w, b, _TWO, _ONE, _ONE, True, _ONE, 1
    ),
    "aten.conv_transpose2d.input": lambda x, w, b: aten.conv_transpose2d.input(
        x, w, b, _TWO, _ONE, _ONE
    ),
    "aten.slow_conv_transpose2d": lambda x, w, b: aten.slow_conv_transpose2d(
        x, w, [3, 3], b, _TWO, _ONE, _ONE, _ONE
    ),
}


@pytest.mark.parametrize("key", RAW_TRANSPOSED)
def test_a_raw_transposed_operator_gives_certified_receipts(key: str) -> None:
    weight, bias = torch.randn(3, 4, 3, 3), torch.randn(4)
    x = torch.randn(2, 3, 4, 5)
    exact = F.conv_transpose2d(*double(x, weight, bias), 2, 1, 1)
    assert_explained(
        lambda x: RAW_TRANSPOSED[key](x, weight, bias), x, name="conv_transpose2d", exact=exact
    )


RAW_3D: dict[str, Callable[..., Tensor]] = {
    "aten.slow_conv3d": lambda x, w, b: aten.slow_conv3d(x, w, [2, 2, 2], b, [1] * 3, [1] * 3),
    "aten.slow_conv3d_forward": lambda x, w, b: aten.slow_conv3d_forward(
        x, w, [2, 2, 2], b, [1] * 3, [1] * 3
    ),
    "aten.slow_conv_dilated3d": lambda x, w, b: aten.slow_conv_dilated3d(
        x, w, [2, 2, 2], b, [1] * 3, [1] * 3, [1] * 3
    ),
}


@pytest.mark.parametrize("key", RAW_3D)
def test_a_raw_3d_operator_gives_certified_receipts(key: str) -> None:
    weight, bias = torch.randn(2, 2, 2, 2, 2), torch.randn(2)
    x = torch.randn(1, 2, 3, 4, 3)
    exact = F.conv3d(*double(x, weight, bias), padding=1)
    assert_explained(lambda x: RAW_3D[key](x, weight, bias), x, name="conv3d", exact=exact)


def test_conv_tbc_gives_certified_receipts() -> None:
    time, batch, channels = 6, 2, 3
    x, weight = torch.randn(time, batch, channels), torch.randn(3, channels, 4)
    bias = torch.randn(4)
    exact = F.conv1d(
        x.double().permute(1, 2, 0), weight.double().permute(2, 1, 0), bias.double(), padding=1
    )
    trace = ct.trace(lambda x: torch.conv_tbc(x, weight, bias, 1), x)
    (step,) = [step for step in trace.steps.values() if step.kind == "convolution"]
    for index in places(step.shape, 6):
        receipt = trace.why(step.name, index)
        assert_receipt_holds(trace, receipt)
        assert receipt.products.size == 3 * channels
        if step.shape == (time, batch, 4):
            index = (index[1], index[2], index[0])
        assert receipt.exact == pytest.approx(exact[index].item(), rel=1e-12, abs=1e-12)


# Weights that are computed -----------------------------------------------------------------------


def test_weight_norm_gives_the_weight_that_ran() -> None:
    conv = parametrizations.weight_norm(nn.Conv2d(2, 3, 3))
    x = torch.randn(1, 2, 5, 5)
    trace = assert_explained(conv, x, exact=exact_conv2d(x, conv))
    # The recorded weight is computed, and the two tensors that it comes from are named.
    weight = trace.step(trace.step("conv2d").operands["weight"])
    assert set(weight.operands.values()) == {
        "parametrizations.weight.original0",
        "parametrizations.weight.original1",
    }


@deprecated
def test_old_weight_norm_gives_the_weight_that_ran() -> None:
    conv = nn.utils.weight_norm(nn.Conv2d(2, 3, 3))
    x = torch.randn(1, 2, 5, 5)
    trace = assert_explained(conv, x, exact=exact_conv2d(x, conv))
    weight = trace.step(trace.step("conv2d").operands["weight"])
    assert set(weight.operands.values()) == {"weight_v", "weight_g"}


@pytest.mark.parametrize("training", [True, False])
def test_spectral_norm_gives_the_weight_that_ran(training: bool) -> None:
    conv = parametrizations.spectral_norm(nn.Conv2d(2, 3, 3)).train(training)
    x = torch.randn(1, 2, 5, 5)
    trace = ct.trace(conv, x)
    with torch.no_grad():
        returned = conv(x)  # in training mode each run moves the vectors: ours first, then this
        assert torch.equal(returned, trace.output)
    step = trace.step("conv2d")
    assert_certified(trace, "conv2d", returned=returned, exact=in_float64(step))


@deprecated
@pytest.mark.parametrize("training", [True, False])
def test_old_spectral_norm_gives_the_weight_that_ran(training: bool) -> None:
    conv = nn.utils.spectral_norm(nn.Conv2d(2, 3, 3)).train(training)
    x = torch.randn(1, 2, 5, 5)
    trace = ct.trace(conv, x)
    returned = conv(x)
    assert torch.equal(returned, trace.output)
    assert_certified(trace, "conv2d", returned=returned, exact=in_float64(trace.step("conv2d")))


class Symmetric(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight + weight.flip(-1)


def test_a_custom_parametrization_gives_the_weight_that_ran() -> None:
    conv = nn.Conv2d(2, 2, 3)
    parametrize.register_parametrization(conv, "weight", Symmetric())
    x = torch.randn(1, 2, 5, 5)
    trace = assert_explained(conv, x, exact=exact_conv2d(x, conv))
    add = trace.step(trace.step("conv2d").operands["weight"])
    assert add.kind == "add"
    assert "parametrizations.weight.original" in add.operands.values()


def test_pruning_gives_the_masked_weight() -> None:
    conv = prune.random_unstructured(nn.Conv2d(2, 3, 3), "weight", amount=0.5)
    x = torch.randn(1, 2, 5, 5)
    trace = assert_explained(conv, x, exact=exact_conv2d(x, conv))
    mask = trace.step(trace.step("conv2d").operands["weight"])
    assert set(mask.operands.values()) == {"weight_orig", "weight_mask"}


# TorchScript, compilers, function transforms -----------------------------------------------------


class TwoConvs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 3, 3, padding=1)
        self.conv2 = nn.Conv2d(3, 2, (2, 3), stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(torch.relu(self.conv1(x)))

    def exact(self, x: Tensor) -> Tensor:
        """Output of the second convolution in float64, on what the first one returned."""
        return exact_conv2d(torch.relu(self.conv1(x)), self.conv2)


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
    assert_certified(
        trace, "0.conv2", returned=inner(x), exact=inner.exact(x)
    )


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
    compiled = torch.compile(lambda x: conv(x), backend="eager")
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
    assert_certified(
        trace, "conv2d", returned=plain, exact=F.conv2d(*double(x, weight))
    )


# Number formats, modes, memory -------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("transposed", [False, True])
def test_every_float_format_gives_certified_receipts(dtype: torch.dtype, transposed: bool) -> None:
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    function = F.conv_transpose2d if transposed else F.conv2d
    conv = kind(6, 4, 3, stride=2, padding=1).to(dtype)
    x = torch.randn(2, 6, 7, 7, dtype=dtype)
    assert conv.bias is not None
    exact = function(*double(x, conv.weight, conv.bias), stride=2, padding=1)
    assert_explained(conv, x, name=function.__name__, exact=exact)


@even_kernels
@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize("padding", [1, "same"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_shows_the_format_that_ran(
    dtype: torch.dtype, padding: Any, inference: bool
) -> None:
    conv = nn.Conv2d(3, 4, 4, padding=padding)
    x = torch.randn(1, 3, 6, 6)
    rounded = nn.Conv2d(3, 4, 4, padding=padding).to(dtype).double()
    rounded.load_state_dict({k: v.to(dtype) for k, v in conv.state_dict().items()})
    with torch.autocast("cpu", dtype), torch.inference_mode(inference):
        returned = conv(x)
        trace = ct.trace(conv, x)
        short = ct.trace(conv, x, keep="convolutions")
    exact = rounded(x.to(dtype).double()).detach()
    for each in (trace, short):
        assert_certified(each, "conv2d", returned=returned, exact=exact)
    step = trace.step("conv2d")
    assert {value.dtype for value in step.values.values()} == {str(dtype).removeprefix("torch.")}
    assert trace.step(step.operands["input"]).operands["self"] == "input"
    assert_nothing_mismatches(trace)


def test_a_weight_that_autocast_had_cached_is_the_one_that_ran() -> None:
    conv, x = nn.Conv2d(3, 4, 3), torch.randn(1, 3, 6, 6)
    with torch.autocast("cpu", torch.bfloat16):
        returned = conv(x)
        assert_certified(
            ct.trace(conv, x),
            "conv2d",
            returned=returned,
            exact=F.conv2d(
                *(t.detach().bfloat16().double() for t in (x, conv.weight, conv.bias))
            ),
        )


@pytest.mark.parametrize("context", [torch.inference_mode, torch.no_grad, torch.enable_grad])
@pytest.mark.parametrize("padding", [1, "same", "reflect"])
def test_grad_modes_give_certified_receipts(context: Any, padding: Any) -> None:
    mode, sides = ("reflect", 1) if padding == "reflect" else ("zeros", padding)
    conv = nn.Conv2d(2, 3, 3, padding=sides, padding_mode=mode)
    x = torch.randn(2, 5, 5)
    padded = F.pad(x.double(), (1, 1, 1, 1), mode="reflect" if mode == "reflect" else "constant")
    with context():
        assert_explained(conv, x, exact=exact_conv2d(padded, conv, padding=0))


@even_kernels
def test_inference_mode_inside_a_model_gives_certified_receipts() -> None:
    conv, x = nn.Conv2d(2, 2, 2, padding="same"), torch.randn(1, 2, 5, 5)

    @torch.inference_mode()
    def model(x: Tensor) -> Tensor:
        return conv(x)

    padded = F.pad(x.double(), (0, 1, 0, 1))
    assert_explained(model, x, name="conv", exact=exact_conv2d(padded, conv, padding=0))


@pytest.mark.parametrize(
    ("axes", "memory"), [(2, torch.channels_last), (3, torch.channels_last_3d)]
)
def test_channels_last_gives_certified_receipts(axes: int, memory: torch.memory_format) -> None:
    conv = getattr(nn, f"Conv{axes}d")(3, 4, 3, padding=1).to(memory_format=memory)
    x = torch.randn(2, 3, *[5] * axes).to(memory_format=memory)
    exact = getattr(F, f"conv{axes}d")(*double(x, conv.weight, conv.bias), padding=1)
    assert_explained(conv, x, name=f"conv{axes}d", exact=exact)


STRIDED: dict[str, Callable[[], Tensor]] = {
    "transposed": lambda: torch.randn(2, 3, 6, 5).transpose(2, 3),
    "expanded": lambda: torch.randn(1, 3, 1, 6).expand(2, 3, 5, 6),
    "every second": lambda: torch.randn(4, 6, 10, 12)[::2, ::2, ::2, ::2],
    "flipped": lambda: torch.randn(2, 3, 5, 6).flip(3),
    "unfolded": lambda: torch.randn(2, 3, 7, 6).unfold(2, 5, 2)[:, :, 0].transpose(2, 3),
}


@pytest.mark.parametrize("key", STRIDED)
def test_inputs_of_any_strides_give_certified_receipts(key: str) -> None:
    conv, x = nn.Conv2d(3, 2, 3), STRIDED[key]()
    assert_explained(conv, x, exact=exact_conv2d(x, conv))


@even_kernels
@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
@pytest.mark.parametrize("padding", [0, "same"])
def test_a_complex_convolution_is_shown_as_three_real_ones(dtype: torch.dtype, padding: Any) -> None:
    conv = nn.Conv2d(2, 2, 2, padding=padding, dtype=dtype)
    x = torch.randn(1, 2, 4, 4, dtype=dtype)
    trace = ct.trace(conv, x)
    assert torch.equal(trace.output, conv(x))
    real = [step for step in trace.steps.values() if step.kind == "convolution"]
    assert len(real) == 3
    assert_convolutions_certified(trace, 12)
    assert_nothing_mismatches(trace)


INTEGERS = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("dtype", INTEGERS)
def test_integer_convolutions_are_exact(dtype: torch.dtype, batched: bool) -> None:
    weight, bias = torch.randint(0, 3, (2, 3, 2, 2)).to(dtype), torch.tensor([1, 2], dtype=dtype)
    x = torch.randint(0, 4, (2, 3, 5, 5) if batched else (3, 5, 5)).to(dtype)
    exact = F.conv2d(*double(x, weight, bias), padding=1)
    trace = assert_explained(lambda x: F.conv2d(x, weight, bias, padding=1), x, exact=exact)
    receipt = trace.why("conv2d", (0,) * len(exact.shape))
    assert (receipt.verdict, receipt.residual, type(receipt.exact)) == ("exact", 0, int)


def test_an_integer_sum_that_wraps_is_certified_with_a_note() -> None:
    weight = torch.full((1, 1, 2, 2), 100, dtype=torch.int8)
    x = torch.full((1, 1, 2, 2), 3, dtype=torch.int8)
    receipt = ct.trace(lambda x: F.conv2d(x, weight), x).why("conv2d[0,0,0,0]")
    assert receipt.exact == 1200
    assert (receipt.reported - receipt.exact) % 256 == 0
    assert receipt.notes


def test_denormal_flushing_is_allowed_for_where_it_is_on() -> None:
    weight = torch.full((1, 1, 1, 1), 2.0**-20)
    x = torch.full((1, 1, 1, 1), 2.0**-110)
    on = torch.set_flush_denormal(True)
    default = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        trace = ct.trace(lambda x: F.conv2d(x, weight), x)
        verdict = trace.why("conv2d[0,0,0,0]").verdict
    finally:
        torch.set_default_dtype(default)
        torch.set_flush_denormal(False)
    assert on
    assert verdict in CERTIFIED


def test_a_default_device_does_not_matter() -> None:
    conv, x = nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"), torch.randn(1, 2, 4, 4)
    with torch.device("meta"):
        trace = ct.trace(conv, x)
        assert_convolutions_certified(trace, 4)
        assert_receipt_holds(trace, trace.why("pad[0,0,0,0]"))


# Callables, inputs, outputs ----------------------------------------------------------------------


class Output(NamedTuple):
    features: Tensor
    hidden: tuple[Tensor, ...]


@dataclasses.dataclass
class Result:
    logits: Tensor


class Plain:
    """A result that PyTorch knows nothing of."""

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


OUTPUTS: dict[str, tuple[Callable[[Tensor], Any], Callable[[Any], Tensor]]] = {
    "tuple": (lambda y: (y, 3), lambda out: out[0]),
    "list": (lambda y: [None, [y]], lambda out: out[1][0]),
    "dict": (lambda y: {"logits": y}, lambda out: out["logits"]),
    "named tuple": (lambda y: Output(y, (y,)), lambda out: out.features),
    "dataclass": (Result, lambda out: out.logits),
    "object": (Plain, lambda out: out.logits),
    "ModelOutput": (
        lambda y: transformers.modeling_outputs.ImageClassifierOutputWithNoAttention(logits=y),
        lambda out: out.logits,
    ),
}


@pytest.mark.parametrize("key", OUTPUTS)
def test_a_model_may_return_anything(key: str) -> None:
    wrap, pick = OUTPUTS[key]
    conv, x = nn.Conv2d(2, 2, 3), torch.randn(1, 2, 5, 5)
    model: Callable[[Tensor], Any] = lambda x: wrap(conv(x))  # noqa: E731 a closure is the subject
    trace = assert_explained(model, x, name="conv", exact=exact_conv2d(x, conv), pick=pick)
    assert type(trace.output) is type(model(x))


@pytest.mark.parametrize("key", OUTPUTS)
def test_what_follows_the_last_convolution_is_recorded_whatever_is_returned(key: str) -> None:
    wrap, _ = OUTPUTS[key]
    conv, x = nn.Conv2d(2, 2, 3), torch.randn(1, 2, 5, 5)
    trace = ct.trace(lambda x: wrap(F.relu(conv(x))), x)
    assert list(trace.steps) == ["conv", "relu"]


def test_a_model_may_return_nothing() -> None:
    conv, x = nn.Conv2d(2, 2, 3), torch.randn(1, 2, 5, 5)

    def model(x: Tensor) -> None:
        conv(x)

    trace = ct.trace(model, x)
    assert_certified(trace, "conv", returned=conv(x), exact=exact_conv2d(x, conv))


class TakesMuch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3)

    def forward(self, batch: Any, *, scale: Tensor | None = None) -> Tensor:
        x = batch["pixels"][0] if isinstance(batch, dict) else batch
        return self.conv(x if scale is None else x * scale)


def test_inputs_may_be_keywords() -> None:
    model, x, scale = TakesMuch(), torch.randn(1, 2, 5, 5), torch.tensor(2.0)
    exact = exact_conv2d(x * scale, model.conv)
    trace = assert_explained(model, name="conv", exact=exact, batch=x, scale=scale)
    assert list(trace.inputs) == ["input", "input:2"]


def test_inputs_may_be_nested() -> None:
    model, x = TakesMuch(), torch.randn(1, 2, 5, 5)
    trace = assert_explained(
        model, {"pixels": [x], "id": 3}, name="conv", exact=exact_conv2d(x, model.conv)
    )
    assert trace.step("conv").operands["input"] == "input"


def test_an_input_may_be_a_parameter() -> None:
    conv, x = nn.Conv2d(2, 2, 3), nn.Parameter(torch.randn(1, 2, 5, 5))
    trace = assert_explained(conv, x, exact=exact_conv2d(x, conv))
    assert trace.step("conv2d").operands["input"] == "input"


class Tagged(torch.Tensor):
    """A tensor subclass as users write them."""


def test_an_input_may_be_a_tensor_subclass() -> None:
    conv, x = nn.Conv2d(2, 2, 3), torch.randn(1, 2, 5, 5)
    trace = assert_explained(conv, x.as_subclass(Tagged), exact=exact_conv2d(x, conv))
    assert trace.step("conv2d").operands["input"] == "input"


class Shouting(torch.Tensor):
    """A tensor subclass with a `__torch_function__` of its own."""

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return super().__torch_function__(func, types, args, kwargs or {})


def test_an_input_may_be_a_tensor_subclass_with_its_own_torch_function() -> None:
    conv = nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect")
    x = torch.randn(1, 2, 5, 5)
    padded = F.pad(x.double(), (1, 1, 1, 1), mode="reflect")
    assert_explained(
        conv, x.as_subclass(Shouting), exact=exact_conv2d(padded, conv, padding=0)
    )


def test_the_input_may_be_the_weight_as_well() -> None:
    x = torch.randn(2, 2, 3, 3)
    trace = assert_explained(
        lambda a: F.conv2d(a, a, padding=1), x, exact=F.conv2d(*double(x, x), padding=1)
    )
    step = trace.step("conv2d")
    assert (step.operands["input"], step.operands["weight"]) == ("input", "input")


conv_of_this_module = nn.Conv2d(2, 2, 3)


def test_callables_of_every_sort_are_models() -> None:
    conv, other, x = conv_of_this_module, nn.Conv2d(2, 2, 1), torch.randn(1, 2, 5, 5)

    def closure(x: Tensor) -> Tensor:
        return conv(x)

    def uses_a_global(x: Tensor) -> Tensor:
        return conv_of_this_module(x)

    class Callable_:
        def __init__(self) -> None:
            self.net = conv

        def __call__(self, x: Tensor) -> Tensor:
            return self.net(x)

    exact = exact_conv2d(x, conv)
    assert_explained(closure, x, name="conv", exact=exact)
    assert_explained(uses_a_global, x, name="conv_of_this_module", exact=exact)
    assert_explained(Callable_(), x, name="net", exact=exact)
    assert_explained(conv.forward, x, exact=exact)
    assert_explained(functools.partial(conv), x, exact=exact)
    assert_explained(functools.partial(closure, x), name="conv", exact=exact)
    assert_explained(functools.partial(functools.partial(conv.forward), x), exact=exact)
    assert_explained(torch.no_grad()(closure), x, name="conv", exact=exact)
    assert_explained(lambda x: other(conv(x)), x, name="conv", exact=exact, pick=lambda _: conv(x))


def test_a_method_of_a_plain_object_is_a_model() -> None:
    class Pipeline:
        def __init__(self) -> None:
            self.net = nn.Conv2d(2, 2, 3)

        def predict(self, x: Tensor) -> Tensor:
            return self.net(x)

    pipeline, x = Pipeline(), torch.randn(1, 2, 5, 5)
    assert_explained(pipeline.predict, x, name="net", exact=exact_conv2d(x, pipeline.net))


def test_modules_in_a_list_that_a_function_uses_have_names() -> None:
    layers, x = [nn.Conv2d(2, 2, 3), nn.Conv2d(2, 2, 1)], torch.randn(1, 2, 5, 5)

    def model(x: Tensor) -> Tensor:
        for layer in layers:
            x = layer(x)
        return x

    trace = ct.trace(model, x)
    convolutions = [step for step in trace.steps.values() if step.kind == "convolution"]
    assert [step.name for step in convolutions] == ["layers.0", "layers.1"]


def test_a_closure_over_a_name_that_is_not_bound_yet_is_a_model() -> None:
    conv, x = nn.Conv2d(2, 2, 3), torch.randn(1, 2, 5, 5)

    def model(x: Tensor) -> Tensor:
        return conv(x) if x.dim() == 4 else later(x)

    trace = ct.trace(model, x)
    later = conv
    assert trace.step("conv").kind == "convolution"


def test_a_method_other_than_forward_is_a_model() -> None:
    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 2, 3)

        def encode(self, x: Tensor) -> Tensor:
            return self.conv(x)

    model, x = Encoder(), torch.randn(1, 2, 5, 5)
    assert_explained(model.encode, x, name="conv", exact=exact_conv2d(x, model.conv))


# Other watchers, threads, recursion --------------------------------------------------------------


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

    class Slow(nn.Module):
        def __init__(self, number: int) -> None:
            super().__init__()
            setattr(self, f"conv{number}", nn.Conv2d(2, 2, 3))
            self.number = number

        def forward(self, x: Tensor) -> Tensor:
            barrier.wait(timeout=30)
            y = getattr(self, f"conv{self.number}")(x)
            barrier.wait(timeout=30)
            return torch.relu(y)

    models = [Slow(number) for number in range(4)]
    inputs = [torch.randn(1, 2, 5, 5) for _ in models]
    with ThreadPoolExecutor(4) as pool:
        traces = list(pool.map(ct.trace, models, inputs))
    for number, (trace, x) in enumerate(zip(traces, inputs, strict=True)):
        conv = getattr(models[number], f"conv{number}")
        assert list(trace.steps) == [f"conv{number}", "relu"]
        exact = exact_conv2d(x, conv)
        assert_certified(trace, f"conv{number}", returned=conv(x), exact=exact)


def test_a_model_that_runs_in_another_thread_leaves_the_trace_alone() -> None:
    model, bystander = TwoConvs(), nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU())
    x = torch.randn(1, 2, 6, 6)
    stop = threading.Event()

    def keep_running() -> None:
        while not stop.is_set():
            bystander(x)

    thread = threading.Thread(target=keep_running)
    thread.start()
    try:
        traces = [ct.trace(model, x) for _ in range(20)]
    finally:
        stop.set()
        thread.join()
    assert [list(trace.steps) for trace in traces] == [["conv1", "relu", "conv2"]] * 20


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


# What cannot be traced, and what can all the same ------------------------------------------------


def test_a_lazy_module_is_refused_with_the_remedy_and_then_works() -> None:
    model, x = nn.Sequential(nn.LazyConv2d(3, 3), nn.ReLU()), torch.randn(1, 2, 5, 5)
    with pytest.raises(ct.UsageError, match=r"(?s)0.*lazy.*[Rr]un the model once"):
        ct.trace(model, x)
    assert isinstance(model[0], nn.LazyConv2d)
    model(x)
    trace = ct.trace(model, x)
    assert_certified(trace, "0", returned=model[0](x), exact=exact_conv2d(x, model[0]))


@pytest.mark.parametrize("where", ["input", "model", "both"])
def test_the_meta_device_has_no_numbers(where: str) -> None:
    model = nn.Sequential(nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2))
    x = torch.randn(1, 2, 5, 5)
    model = model.to("meta") if where in ("model", "both") else model
    x = x.to("meta") if where in ("input", "both") else x
    with pytest.raises(ct.NoValueError, match="meta"):
        ct.trace(model, x).why("0[0,0,0,0]")


def test_a_sparse_input_is_refused() -> None:
    with pytest.raises(ct.NoValueError, match=r"(?s)sparse.*dense"):
        ct.trace(nn.Conv2d(1, 1, 1), torch.randn(1, 1, 3, 3).to_sparse())


def test_an_empty_input_is_refused() -> None:
    with pytest.raises(ct.EmptyTensorError, match=r"\(0, 1, 3, 3\)"):
        ct.trace(nn.Conv2d(1, 1, 1), torch.randn(0, 1, 3, 3))


def test_an_empty_convolution_on_the_way_does_not_spoil_the_others() -> None:
    conv, x = nn.Conv2d(2, 2, 3), torch.randn(1, 2, 5, 5)
    head = nn.Conv2d(2, 1, 1)

    def detect(x: Tensor) -> tuple[Tensor, Tensor]:
        found = conv(x)
        return found, head(found[:0])  # no detections

    trace = ct.trace(detect, x)
    assert_certified(trace, "conv", returned=conv(x), exact=exact_conv2d(x, conv))


def test_a_model_without_convolution_is_refused_with_what_ran() -> None:
    with pytest.raises(ct.NoConvolutionError, match=r"(?s)addmm|linear.*relu"):
        ct.trace(nn.Sequential(nn.Linear(3, 2), nn.ReLU()), torch.randn(1, 3))


def test_wrong_channels_are_refused_with_both_numbers() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(5, 4, 3))
    with pytest.raises(ct.ModelError, match=r"(?s)RuntimeError while 1 ran.*5 channels.*4 channels"):
        ct.trace(model, torch.randn(1, 3, 8, 8))


def test_fold_and_unfold_beside_a_convolution_are_shown_as_what_they_are() -> None:
    conv, x = nn.Conv2d(2, 2, 3), torch.randn(1, 2, 6, 6)

    def model(x: Tensor) -> Tensor:
        columns = F.unfold(x, 2, stride=2)
        return conv(F.fold(columns, (6, 6), 2, stride=2))

    trace = assert_explained(model, x, name="conv", exact=exact_conv2d(x, conv))
    assert "unfold" in trace.steps
    assert "fold" in trace.steps


# Real networks -----------------------------------------------------------------------------------


def _resnet(kind: str) -> transformers.PreTrainedModel:
    return transformers.ResNetForImageClassification(
        transformers.ResNetConfig(
            embedding_size=8,
            hidden_sizes=[8, 16, 16],
            depths=[2, 1, 1],
            layer_type=kind,
            num_labels=5,
        )
    )


NETWORKS: dict[str, Callable[[], transformers.PreTrainedModel]] = {
    "ResNet, basic": lambda: _resnet("basic"),
    "ResNet, bottleneck": lambda: _resnet("bottleneck"),
    "ConvNeXt": lambda: transformers.ConvNextForImageClassification(
        transformers.ConvNextConfig(
            hidden_sizes=[8, 16, 16, 24], depths=[1, 1, 2, 1], num_labels=5, image_size=64
        )
    ),
    "MobileNetV2": lambda: transformers.MobileNetV2ForImageClassification(
        transformers.MobileNetV2Config(depth_multiplier=0.35, image_size=64, num_labels=5)
    ),
}


def _liven(model: nn.Module) -> None:
    """Give weights scales at which the signal neither fades nor explodes."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)


@pytest.fixture(scope="module", params=NETWORKS)
def network(request: pytest.FixtureRequest) -> Iterator[transformers.PreTrainedModel]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = NETWORKS[request.param]()
        _liven(model)
        yield model.eval()


@pytest.mark.parametrize("keep", ["everything", "convolutions"])
def test_fifty_numbers_of_a_real_network_are_certified(
    network: transformers.PreTrainedModel, keep: Any
) -> None:
    x = torch.randn(1, 3, 64, 64)
    plain = network(x)
    trace = ct.trace(network, x, keep=keep)
    assert torch.equal(trace.output.logits, plain.logits)
    assert_convolutions_certified(trace, 50)


def test_every_convolution_module_of_a_real_network_has_its_step(
    network: transformers.PreTrainedModel,
) -> None:
    trace = ct.trace(network, torch.randn(1, 3, 64, 64))
    modules = [name for name, m in network.named_modules() if isinstance(m, nn.Conv2d)]
    steps = [step.name for step in trace.steps.values() if step.kind == "convolution"]
    assert sorted(steps) == sorted(modules)


def test_no_step_of_a_real_network_mismatches(network: transformers.PreTrainedModel) -> None:
    trace = ct.trace(network, torch.randn(1, 3, 64, 64))
    assert_nothing_mismatches(trace, count=2)
