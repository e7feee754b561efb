"""Whichever way a convolution is called, its receipts hold against torch in float64."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch_judge import (
    CERTIFIED,
    assert_certified,
    assert_convolutions_certified,
    assert_explained,
    assert_nothing_mismatches,
    assert_receipt_holds,
    double,
    exact_conv2d,
    in_float64,
    places,
)

import convtrace as ct

aten = torch.ops.aten


# Old weight and spectral norm still run but announce their end.
deprecated = pytest.mark.filterwarnings("ignore:.*deprecated:FutureWarning")

# PyTorch warns once a process that an odd total is padded in a copy. The receipt has no copy.
even_kernels = pytest.mark.filterwarnings("ignore:Using padding='same' with even:UserWarning")


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


# Modules and functions ---------------------------------------------------------------------------

MODULES = {
    "1d": (nn.Conv1d(2, 3, 3, stride=2, padding=1, dilation=2), F.conv1d, (2, 2, 11)),
    "2d": (
        nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), groups=2),
        F.conv2d,
        (2, 4, 7, 6),
    ),
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
    trace = assert_explained(conv, x, name="conv_transpose2d", exact=exact, output_size=[8, 7])
    assert trace.step("conv_transpose2d").attributes["output_padding"] == (1, 0)


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
        trace = assert_explained(lambda x: operator(x, weight, bias), x, name="conv2d", exact=exact)
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
            exact=F.conv2d(*(t.detach().bfloat16().double() for t in (x, conv.weight, conv.bias))),
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
def test_a_complex_convolution_is_shown_as_three_real_ones(
    dtype: torch.dtype, padding: Any
) -> None:
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


SUBNORMAL = {torch.bfloat16: (-130, 100), torch.float16: (-20, 10), torch.float32: (-140, 100)}


@pytest.mark.parametrize("flush", [False, True], ids=["kept", "flushed"])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("dtype", SUBNORMAL)
def test_inputs_that_the_processor_takes_for_zero_are_allowed_for(
    dtype: torch.dtype, transposed: bool, flush: bool
) -> None:
    # The bfloat16 instructions of many processors read subnormal numbers as zero, always; with
    # set_flush_denormal so do all others. Large weights make what is lost that way large.
    tiny, large = (2.0**exponent for exponent in SUBNORMAL[dtype])
    x, weight = torch.full((1, 2, 4, 4), tiny, dtype=dtype), torch.full((2, 2, 3, 3), large)
    function = F.conv_transpose2d if transposed else F.conv2d
    torch.set_flush_denormal(flush)
    try:
        trace = ct.trace(lambda x: function(x, weight.to(dtype)), x)
    finally:
        torch.set_flush_denormal(False)
    for index in places(trace.output.shape, 4):
        assert_receipt_holds(trace, trace.why(function.__name__, index))


def test_a_default_device_does_not_matter() -> None:
    conv, x = nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"), torch.randn(1, 2, 4, 4)
    with torch.device("meta"):
        trace = ct.trace(conv, x)
        assert_convolutions_certified(trace, 4)
        assert_receipt_holds(trace, trace.why("pad[0,0,0,0]"))
