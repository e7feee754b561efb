"""Any callable is a model, with any inputs and outputs; what cannot be traced is refused."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
import transformers
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.testing._internal.two_tensor import TwoTensor
from torch_judge import CERTIFIED, assert_certified, assert_explained, double, exact_conv2d

import convtrace as ct
from convtrace.step import Value


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


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
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return super().__torch_function__(func, types, args, kwargs or {})


def test_an_input_may_be_a_tensor_subclass_with_its_own_torch_function() -> None:
    conv = nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect")
    x = torch.randn(1, 2, 5, 5)
    padded = F.pad(x.double(), (1, 1, 1, 1), mode="reflect")
    assert_explained(conv, x.as_subclass(Shouting), exact=exact_conv2d(padded, conv, padding=0))


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

    class Holder:
        def __init__(self) -> None:
            self.net = conv

        def __call__(self, x: Tensor) -> Tensor:
            return self.net(x)

    exact = exact_conv2d(x, conv)
    assert_explained(closure, x, name="conv", exact=exact)
    assert_explained(uses_a_global, x, name="conv_of_this_module", exact=exact)
    assert_explained(Holder(), x, name="net", exact=exact)
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


def test_a_network_given_as_an_argument_has_names() -> None:
    net, x = nn.Sequential(nn.Conv2d(2, 2, 3)), torch.randn(1, 2, 5, 5)
    trace = ct.trace(lambda net, x: net(x), net, x)
    assert trace.step("net.0").operands["weight"] == "net.0.weight"


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


def test_fake_tensors_have_no_numbers() -> None:
    with FakeTensorMode():
        conv, x = nn.Conv2d(2, 2, 3), torch.randn(1, 2, 5, 5)
        with pytest.raises(ct.NoValueError):
            ct.trace(conv, x).why("conv2d[0,0,0,0]")


@pytest.mark.parametrize("where", ["input", "weight"])
def test_tensors_that_hold_others_are_refused_or_read(where: str) -> None:
    conv, x = nn.Conv2d(2, 2, 3), torch.randn(1, 2, 5, 5)
    exact = exact_conv2d(x, conv)
    if where == "weight":
        conv.weight = nn.Parameter(TwoTensor(conv.weight.detach(), conv.weight.detach()))
    else:
        x = TwoTensor(x, x)
    try:
        receipt = ct.trace(conv, x).why("conv2d[0,0,0,0]")
    except ct.NoValueError:
        return
    assert receipt.exact == pytest.approx(exact[0, 0, 0, 0].item(), rel=1e-12)


@pytest.mark.filterwarnings("ignore:.*(quantiz|TypedStorage)")
def test_quantized_tensors_beside_a_convolution_are_refused_when_they_are_asked_for() -> None:
    conv, x = nn.Conv2d(2, 2, 3), torch.randn(1, 2, 5, 5)
    trace = ct.trace(
        lambda x: conv(torch.quantize_per_tensor(x, 0.1, 0, torch.quint8).dequantize()), x
    )
    assert trace.why("conv[0,0,0,0]").verdict in CERTIFIED
    with pytest.raises(ct.NoValueError):
        trace.value("quantize_per_tensor[0,0,0,0]")


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


@pytest.mark.parametrize("keep", ["everything", "convolutions"])
def test_a_model_without_convolution_is_refused_with_what_ran(keep: Any) -> None:
    with pytest.raises(ct.NoConvolutionError, match=r"addmm.*relu"):
        ct.trace(nn.Sequential(nn.Linear(3, 2), nn.ReLU()), torch.randn(1, 3), keep=keep)


def test_wrong_channels_are_refused_with_both_numbers() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(5, 4, 3))
    with pytest.raises(
        ct.ModelError, match=r"(?s)RuntimeError while 1 ran.*5 channels.*4 channels"
    ):
        ct.trace(model, torch.randn(1, 3, 8, 8))


def test_fold_and_unfold_beside_a_convolution_are_shown_as_what_they_are() -> None:
    conv, x = nn.Conv2d(2, 2, 3), torch.randn(1, 2, 6, 6)

    def model(x: Tensor) -> Tensor:
        columns = F.unfold(x, 2, stride=2)
        return conv(F.fold(columns, (6, 6), 2, stride=2))

    trace = assert_explained(model, x, name="conv", exact=exact_conv2d(x, conv))
    assert "unfold" in trace.steps
    assert "fold" in trace.steps


# What is bad, or looks so ------------------------------------------------------------------------


def test_a_generator_is_refused_since_nothing_of_it_ran() -> None:
    conv = nn.Conv2d(1, 1, 1)

    def model(x: Tensor) -> Any:
        yield conv(x)

    x = torch.randn(1, 1, 3, 3)
    with pytest.raises(ct.NoConvolutionError, match=r"(?s)generator.*list\(model\(x\)\)"):
        ct.trace(model, x)
    assert ct.trace(lambda x: list(model(x)), x).why("conv2d[0,0,1,2]").verdict in CERTIFIED


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_a_nested_tensor_is_refused_with_the_step_that_made_it() -> None:
    conv = nn.Conv2d(1, 2, 3)
    trace = ct.trace(
        lambda x: torch.nested.nested_tensor([conv(x)[0]] * 2), torch.randn(1, 1, 5, 5)
    )
    with pytest.raises(ct.NoValueError, match=r"(?s)nested.*to_padded_tensor"):
        trace.why("conv[0,0,0,0]")


class _Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return 2 * ctx.saved_tensors[0] * gradients[0]


class _Outside(torch.autograd.Function):
    """Leaves PyTorch on the way."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.from_numpy(x.detach().numpy() ** 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0]


def test_inside_of_a_custom_autograd_function_is_what_it_runs() -> None:
    conv, x = nn.Conv2d(1, 2, 3), torch.randn(1, 1, 5, 5)
    trace = ct.trace(lambda x: _Square.apply(conv(x)), x)
    split = trace.contributions("mul[0,1,2,0]")
    assert trace.why("mul[0,1,2,0]").verdict in CERTIFIED
    assert abs(split.residual) <= 2e-7 * split.scale


def test_a_custom_function_that_leaves_pytorch_ends_the_descent_and_says_so() -> None:
    conv, x = nn.Conv2d(1, 1, 3, padding=1), torch.randn(1, 1, 5, 5)
    trace = ct.trace(lambda x: conv(_Outside.apply(conv(x))), x)
    source = trace.why("conv:2[0,0,2,2]").terms[0].source
    assert source is not None
    assert trace.why(source).notes[0][0] == "note.given.constant"
    assert trace.contributions("conv:2[0,0,2,2]").inputs == {}


def test_sparse_and_meta_tensors_on_the_way_are_named_when_they_are_asked_for() -> None:
    conv, x = nn.Conv2d(1, 1, 3, padding=1), torch.randn(1, 1, 5, 5)
    sparse = ct.trace(lambda x: conv(x)[0, 0].to_sparse() @ torch.ones(5, 5), x)
    with pytest.raises(ct.NoValueError, match="to_sparse"):
        sparse.why(list(sparse.steps)[-1], (0, 0))
    meta = ct.trace(lambda x: conv(x).to("meta"), x)
    assert meta.why("conv[0,0,1,1]").verdict in CERTIFIED
    with pytest.raises(ct.NoValueError, match=r"(?s)to has no numbers.*meta"):
        meta.why("to[0,0,0,0]")


@pytest.mark.filterwarnings("ignore:ComplexHalf")
def test_a_half_precision_complex_number_can_be_read() -> None:
    value = Value("x", torch.tensor([1 + 2j, 3 - 4j]).to(torch.complex32))
    assert value.item((1,)) == 3 - 4j


def test_numbers_of_a_generator_are_shown_as_they_were_drawn() -> None:
    conv, x = nn.Conv2d(1, 1, 1), torch.randn(1, 1, 3, 3)
    draw = torch.Generator().manual_seed(3)
    trace = ct.trace(lambda x: conv(x) + torch.rand(1, 1, 3, 3, generator=draw), x)
    drawn = torch.rand(1, 1, 3, 3, generator=torch.Generator().manual_seed(3))
    assert trace.value("rand[0,0,1,2]") == drawn[0, 0, 1, 2].item()
    split = trace.contributions("add[0,0,1,2]")
    assert split.biases["rand"] == pytest.approx(drawn[0, 0, 1, 2].item())


@pytest.mark.filterwarnings("ignore:.*(quantiz|TypedStorage|torch.ao)")
def test_a_convolution_that_pytorch_quantized_is_refused_with_the_cause() -> None:
    model = nn.Sequential(
        torch.ao.nn.quantized.Quantize(0.1, 0, torch.quint8), torch.ao.nn.quantized.Conv2d(1, 1, 1)
    )
    with pytest.raises(ct.NoConvolutionError, match=r"(?s)quantized by PyTorch.*from_onnx"):
        ct.trace(model, torch.randn(1, 1, 3, 3))
