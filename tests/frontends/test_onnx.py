"""ONNX files: the file's own graph, onnxruntime's numbers, the same receipts as anywhere."""

from __future__ import annotations

import itertools
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from onnx_models import Builder, assert_certified, optimised, random_receipts, save

import convtrace as ct
from convtrace.frontends import onnx_steps
from convtrace.frontends.onnx_forms import Form
from convtrace.graph import Trace

RANDOM = np.random.default_rng(7)
START = RANDOM.bit_generator.state


@pytest.fixture(autouse=True)
def same_numbers() -> None:
    """Begin every test with the same random numbers, whichever tests ran before it."""
    RANDOM.bit_generator.state = START


def floats(*shape: int) -> Any:
    return RANDOM.normal(size=shape).astype(np.float32)


def scalar(number: float) -> Any:
    return np.array(number, dtype=np.float32)


def whole(*numbers: int) -> Any:
    return np.array(numbers, dtype=np.int64)


def trace_of(model: Any, folder: Path, **inputs: Any) -> Trace:
    return ct.from_onnx(save(model, folder), inputs)


def resnet_like(build: Builder) -> str:
    """Stem, max pool, a block with a skip, a block with stride and a projection, head."""
    y = build.node("Relu", build.norm(build.conv("x", "stem", 8, 3, 3, 3, pads=[1] * 4), "bn", 8))
    y = build.node("MaxPool", y, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4, name="pool")
    a = build.node("Relu", build.norm(build.conv(y, "a1", 8, 8, 3, 3, pads=[1] * 4), "bn1", 8))
    a = build.norm(build.conv(a, "a2", 8, 8, 3, 3, pads=[1] * 4), "bn2", 8)
    y = build.node("Relu", build.node("Add", y, a, name="skip1"))
    b = build.conv(y, "b1", 12, 8, 3, 3, pads=[1] * 4, strides=[2, 2])
    b = build.node("Add", b, build.conv(y, "b0", 12, 8, 1, 1, strides=[2, 2]), name="skip2")
    y = build.node("GlobalAveragePool", build.node("Relu", b), name="mean")
    y = build.node("Flatten", y, name="flat")
    weights = build.normal("fc.weight", 5, 12), build.normal("fc.bias", 5)
    return build.node("Gemm", y, *weights, transB=1, name="fc")


def unet_like(build: Builder) -> str:
    """Down, up by a transposed convolution and by resizing, skips by concatenation."""
    first = build.node("LeakyRelu", build.conv("x", "d1", 6, 3, 3, 3, pads=[1] * 4))
    y = build.node("AveragePool", first, kernel_shape=[2, 2], strides=[2, 2], name="down")
    y = build.node("HardSwish", build.conv(y, "d2", 10, 3, 3, 3, pads=[1] * 4, group=2))
    gates = build.node(
        "Sigmoid", build.conv(build.node("GlobalAveragePool", y), "se", 10, 10, 1, 1)
    )
    y = build.node("Mul", y, gates, name="gated")
    parts = [y, build.normal("up.weight", 10, 6, 2, 2), build.normal("up.bias", 6)]
    up = build.node("ConvTranspose", *parts, strides=[2, 2], name="up")
    size = build.weight("size", np.array([1, 1, 2, 2], dtype=np.float32))
    wide = build.node("Resize", y, "", size, mode="linear", name="wide")
    y = build.node("Concat", first, up, wide, axis=1, name="joined")
    y = build.node("Pad", y, build.weight("pads", whole(0, 0, 1, 1, 0, 0, 1, 1)), mode="reflect")
    return build.conv(y, "last", 2, 22, 3, 3)


NETWORKS = {"resnet": resnet_like, "unet": unet_like}


@pytest.fixture(params=sorted(NETWORKS))
def network(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Trace, Path, Any]:
    build = Builder(3)
    x = floats(2, 3, 16, 16)
    path = save(build.model({"x": x}, NETWORKS[request.param](build)), tmp_path)
    return ct.from_onnx(path, {"x": x}), path, x


# Networks ----------------------------------------------------------------------------------------


def test_outputs_equal_those_of_a_default_run_within_rounding(network: Any) -> None:
    trace, path, x = network
    (expected,) = optimised(path, {"x": x})
    np.testing.assert_allclose(trace.output, expected, rtol=1e-4, atol=1e-5)


def test_two_hundred_numbers_over_all_steps_are_certified(network: Any) -> None:
    trace, _, _ = network
    assert not [step for step in trace.steps.values() if step.status == "opaque"]
    for receipt in random_receipts(trace, 200):
        assert_certified(receipt)
        assert receipt.reporter == "onnxruntime"


def test_contributions_of_random_outputs_add_up(network: Any) -> None:
    trace, _, _ = network
    last = list(trace.steps.values())[-1]
    off: list[float] = []
    for _ in range(15):
        index = tuple(int(RANDOM.integers(n)) for n in last.shape)
        split = trace.contributions(ct.Address(last.name, index))
        assert split.scale > 0
        assert not split.opaque
        off.append(abs(split.residual) / split.scale)
        split = trace.contributions(ct.Address(last.name, index), dtype=torch.float64)
        assert abs(split.residual) <= 1e-15 * split.scale
    # What is left is onnxruntime's own rounding in float32; 198 products make the last number.
    assert np.median(off) <= 1e-7
    assert max(off) <= 2e-7


def test_the_descent_reaches_the_pixels(network: Any) -> None:
    trace, _, _ = network
    name = list(trace.steps)[-1]
    address = ct.Address(name, (0,) * len(trace.steps[name].shape))
    seen: list[str] = []
    while address.step not in trace.inputs:
        seen.append(address.step)
        found = [term.source for term in trace.why(address).terms if term.source]
        address = found[len(found) // 2]
    assert len(seen) >= 3


def test_uses_of_a_pixel_are_found(network: Any) -> None:
    trace, _, _ = network
    assert len(trace.uses("x[0,0,3,3]")) > 0


def test_a_file_that_pytorch_exported_gives_what_pytorch_computes(tmp_path: Path) -> None:
    layers = [
        torch.nn.Conv2d(2, 4, 3, padding=1, stride=2),
        torch.nn.BatchNorm2d(4),
        torch.nn.SiLU(),
        torch.nn.ConvTranspose2d(4, 2, 3, stride=2, output_padding=1, bias=False),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(2, 3),
    ]
    model = torch.nn.Sequential(*layers).eval()
    x = torch.randn(2, 2, 9, 9)
    path = tmp_path / "model.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (x,), str(path), dynamo=False, input_names=["image"])
    trace = ct.from_onnx(path, x)
    torch.testing.assert_close(torch.as_tensor(trace.output), model(x).detach())
    assert list(trace.inputs) == ["image"]
    assert "3.weight" in trace.parameters
    for receipt in random_receipts(trace, 60):
        assert_certified(receipt)


# Convolutions and pools --------------------------------------------------------------------------


def same_pads(sizes: Any, kernel: Any, strides: Any, *, upper: bool) -> list[int]:
    """Follow the formula of the operator's text with nested loops and no numpy."""
    low: list[int] = []
    high: list[int] = []
    for size, taps, stride in zip(sizes, kernel, strides, strict=True):
        total = max((-(-size // stride) - 1) * stride + taps - size, 0)
        small, large = total // 2, total - total // 2
        low.append(small if upper else large)
        high.append(large if upper else small)
    return low + high


SIZES = list(itertools.product((6, 7), (1, 2, 3, 4), (1, 2, 3)))


@pytest.mark.parametrize("op", ["Conv", "MaxPool", "AveragePool"])
@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"])
def test_auto_pad_is_the_same_as_explicit_pads(op: str, mode: str, tmp_path: Path) -> None:
    for size, taps, stride in SIZES:
        if op != "Conv" and taps < stride:
            continue  # onnxruntime asks for negative pads here, and refuses them
        sizes, kernel, strides = (size, size + 3), (taps, 2), (stride, 2)
        pads = [0, 0, 0, 0]
        if mode.startswith("SAME"):
            pads = same_pads(sizes, kernel, strides, upper=mode == "SAME_UPPER")
        build = Builder(size)
        x = floats(1, 2, *sizes)
        first = build.conv("x", "first", 2, 2, 1, 1)
        inputs = [first]
        if op == "Conv":
            inputs.append(build.normal("w", 3, 2, *kernel))
        more: dict[str, Any] = {"strides": strides, "kernel_shape": kernel}
        build.node(op, *inputs, name="auto", auto_pad=mode, **more)
        build.node(op, *inputs, name="explicit", pads=pads, **more)
        trace = trace_of(build.model({"x": x}, *(n.output[0] for n in build.nodes)), tmp_path, x=x)
        auto, explicit = trace.steps["auto"], trace.steps["explicit"]
        assert auto.attributes == explicit.attributes
        np.testing.assert_array_equal(auto.value.data, explicit.value.data)
        if op == "Conv":
            assert auto.attributes["padding"] == ((pads[0], pads[2]), (pads[1], pads[3]))
        for receipt in random_receipts(trace, 12):
            assert_certified(receipt)


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"])
def test_auto_pad_of_transposed_convolutions_gives_certified_receipts(
    mode: str, tmp_path: Path
) -> None:
    for taps, stride in itertools.product((2, 3, 4), (1, 2, 3)):
        if mode.startswith("SAME") and taps < stride:
            continue  # nothing to crop: the output is smaller than asked for
        build = Builder(taps)
        x = floats(1, 2, 4, 5)
        weight = build.normal("w", 2, 3, taps, 3)
        build.node("ConvTranspose", "x", weight, name="up", strides=[stride, 2], auto_pad=mode)
        trace = trace_of(build.model({"x": x}, build.nodes[-1].output[0]), tmp_path, x=x)
        step = trace.steps["up"]
        assert step.kind == "convolution"
        if mode.startswith("SAME"):
            assert step.shape[2:] == (4 * stride, 5 * 2)
        assert not trace.notes[1:]
        for receipt in random_receipts(trace, 25):
            assert_certified(receipt)


def test_the_odd_pad_of_a_transposed_convolution_is_on_the_side_that_was_asked_for(
    tmp_path: Path,
) -> None:
    build = Builder()
    build.weight("w", np.array([[[1, 10, 100]]], dtype=np.float32))
    for mode in ("SAME_UPPER", "SAME_LOWER"):
        build.node("ConvTranspose", "x", "w", name=mode, strides=[2], auto_pad=mode)
    x = np.array([[[1, 2]]], dtype=np.float32)
    trace = trace_of(build.model({"x": x}, *(n.output[0] for n in build.nodes)), tmp_path, x=x)
    # Before cropping: 1 10 102 20 200.
    assert trace.steps["SAME_UPPER"].value.data.tolist() == [[[1, 10, 102, 20]]]
    assert trace.steps["SAME_LOWER"].value.data.tolist() == [[[10, 102, 20, 200]]]
    terms = trace.why("SAME_LOWER[0,0,1]").terms
    assert [term.product for term in terms if term.source] == [2, 100]


F, W, S = floats, whole, scalar
CASES: list[tuple[str, str, list[Any], dict[str, Any]]] = [
    ("convolution", "Conv", [F(6, 2, 3, 2), F(6)], {"pads": [0, 1, 2, 3], "group": 2}),
    ("convolution", "Conv", [F(3, 4, 2, 2)], {"dilations": [2, 3], "strides": [1, 2]}),
    ("convolution", "ConvTranspose", [F(4, 2, 3, 3), F(4)], {"group": 2, "dilations": [2, 1]}),
    ("convolution", "ConvTranspose", [F(4, 3, 3, 3)], {"strides": [2, 2], "pads": [1, 0, 0, 2]}),
    (
        "convolution",
        "ConvTranspose",
        [F(4, 3, 3, 3)],
        {"strides": [2, 2], "output_shape": [14, 18], "output_padding": [1, 1]},
    ),
    ("max_pool2d_with_indices", "MaxPool", [], {"kernel_shape": [3, 3], "pads": [0, 1, 1, 2]}),
    (
        "max_pool2d_with_indices",
        "MaxPool",
        [],
        {"kernel_shape": [3, 2], "strides": [2, 3], "ceil_mode": 1, "dilations": [1, 2]},
    ),
    (
        "avg_pool2d",
        "AveragePool",
        [],
        {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1},
    ),
    (
        "avg_pool2d",
        "AveragePool",
        [],
        {"kernel_shape": [3, 3], "pads": [0, 1, 1, 2], "count_include_pad": 1},
    ),
    ("mean", "GlobalAveragePool", [], {}),
    ("amax", "GlobalMaxPool", [], {}),
    ("relu", "Relu", [], {}),
    ("leaky_relu", "LeakyRelu", [], {"alpha": 0.2}),
    ("prelu_kernel", "PRelu", [F(4, 1, 1)], {}),
    ("clamp", "Clip", [S(-0.5), S(1)], {}),
    ("clamp", "Clip", ["", S(0.5)], {}),
    ("clamp_min", "Max", [S(0.1)], {}),
    ("clamp_max", "Min", [S(0.1)], {}),
    ("hardswish", "HardSwish", [], {}),
    ("hardsigmoid", "HardSigmoid", [], {"alpha": 0.3}),
    ("sigmoid", "Sigmoid", [], {}),
    ("tanh", "Tanh", [], {}),
    ("elu", "Elu", [], {"alpha": 0.7}),
    ("elu", "Selu", [], {}),
    ("gelu", "Gelu", [], {}),
    ("gelu", "Gelu", [], {"approximate": "tanh"}),
    ("softplus", "Softplus", [], {}),
    ("mish", "Mish", [], {}),
    ("erf", "Erf", [], {}),
    ("exp", "Exp", [], {}),
    ("abs", "Abs", [], {}),
    ("neg", "Neg", [], {}),
    ("pow", "Pow", [S(2)], {}),
    ("add", "Add", [F(4, 1, 1)], {}),
    ("sub", "Sub", [F(1, 4, 7, 9)], {}),
    ("mul", "Mul", ["self"], {}),
    ("div", "Div", [F(4, 1, 1)], {}),
    ("add", "Sum", ["x"], {}),
    ("add_n", "Sum", ["x", "self", F(4, 1, 1)], {}),
    ("mean", "ReduceMean", [W(2, 3)], {"keepdims": 0}),
    ("sum", "ReduceSum", [W(-1)], {}),
    ("native_batch_norm", "BatchNormalization", [F(4), F(4), F(4), abs(F(4))], {}),
    ("native_group_norm", "InstanceNormalization", [F(4), F(4)], {}),
    ("native_layer_norm", "LayerNormalization", [F(7, 9), F(7, 9)], {"axis": 2}),
    ("matmul", "MatMul", [F(9, 5)], {}),
    ("pad", "Pad", [W(0, 0, 1, 2, 0, 0, 3, 0), S(2.5)], {}),
    ("pad", "Pad", [W(0, 0, -1, 2, 0, 0, 3, -2)], {}),
    ("pad", "Pad", [W(1, 2, 2, 1), "", W(2, 3)], {"mode": "reflect"}),
    ("pad", "Pad", [W(0, 1, 1, 2, 0, 0, 3, 0)], {"mode": "edge"}),
    ("pad", "Pad", [W(0, 0, 1, 2, 0, 0, 3, 0)], {"mode": "wrap"}),
    ("cat", "Concat", ["x"], {"axis": 1}),
    ("slice", "Slice", [W(1), W(6), W(2), W(2)], {}),
    ("strided_slice", "Slice", [W(-1, 0), W(-100, 2), W(3, 2), W(-2, 1)], {}),
    ("view", "Reshape", [W(2, -1)], {}),
    ("view", "Flatten", [], {}),
    ("permute", "Transpose", [], {"perm": [0, 2, 3, 1]}),
    ("unsqueeze", "Unsqueeze", [W(1)], {}),
    ("clone", "Identity", [], {}),
    ("clone", "Dropout", [], {}),
    ("to_copy", "Cast", [], {"to": onnx.TensorProto.DOUBLE}),
    ("index_select", "Gather", [W(3, 0, -1)], {"axis": 1}),
    ("select", "Gather", [np.array(-1)], {"axis": 2}),
    ("expand", "Expand", [W(3, 1, 1, 1, 1)], {}),
    ("repeat", "Tile", [W(1, 2, 1, 3)], {}),
    ("pixel_shuffle", "DepthToSpace", [], {"blocksize": 2, "mode": "CRD"}),
    ("depth_to_space", "DepthToSpace", [], {"blocksize": 2}),
    ("upsample_bilinear2d", "Resize", ["", S([1, 1, 1.7, 0.6])], {"mode": "linear"}),
    ("upsample_bicubic2d", "Resize", ["", S([1, 1, 1.7, 2])], {"mode": "cubic"}),
    ("resize", "Resize", ["", S([1, 1, 3, 0.5])], {"mode": "nearest"}),
    (
        "upsample_bilinear2d",
        "Resize",
        ["", "", W(2, 4, 13, 20)],
        {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
    ),
    (
        "upsample_nearest2d",
        "Resize",
        ["", S([1, 1, 2, 3])],
        {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
    ),
    (
        "resize",
        "Resize",
        ["", S([1, 1, 2.3, 1.9])],
        {"mode": "linear", "coordinate_transformation_mode": "half_pixel_symmetric"},
    ),
    (
        "resize",
        "Resize",
        ["", S([1, 1, 1.5, 0.7])],
        {"mode": "cubic", "exclude_outside": 1, "cubic_coeff_a": -0.5},
    ),
]


@pytest.mark.parametrize(
    ("kind", "op", "weights", "settings"),
    CASES,
    ids=[f"{number}-{op}" for number, (_, op, _, _) in enumerate(CASES)],
)
def test_a_node_becomes_the_step_that_pytorch_would_run(
    kind: str, op: str, weights: list[Any], settings: dict[str, Any], tmp_path: Path
) -> None:
    build = Builder(5)
    first = build.conv("x", "first", 4, 4, 1, 1)
    names = [first]
    for number, weight in enumerate(weights):
        given = weight if isinstance(weight, str) else build.weight(f"w{number}", weight)
        names.append(first if given == "self" else given)
    last = build.node(op, *names, name="it", **settings)
    x = floats(2, 4, 7, 9)
    trace = trace_of(build.model({"x": x}, last), tmp_path, x=x)
    step = trace.steps["it"]
    assert step.kind == kind
    assert step.replay is not None
    assert "difference" not in step.attributes
    for receipt in random_receipts(trace, 40):
        assert_certified(receipt)


# The graph ---------------------------------------------------------------------------------------


def test_the_trace_says_who_computed_and_that_nothing_was_optimised(network: Any) -> None:
    trace, _, _ = network
    assert trace.reporter == "onnxruntime"
    assert trace.notes == ("unoptimised",)


def test_steps_have_the_names_of_their_nodes_and_values_are_other_names(tmp_path: Path) -> None:
    build = Builder()
    first = build.conv("x", "stem[0]/Conv", 2, 1, 1, 1)
    second = build.node("Relu", first)
    third = build.node("Relu", second)
    twice = [build.node("Neg", third, name="conv[0]"), build.node("Abs", third, name="conv_0_")]
    last = build.node("Add", *twice, name="x")
    x = floats(1, 1, 2, 2)
    trace = trace_of(build.model({"x": x}, last), tmp_path, x=x)
    assert list(trace.steps) == ["stem_0_/Conv", "relu", "relu:2", "neg", "abs", "add"]
    assert trace.aliases[third] == "relu:2"
    assert trace.value(f"{last}[0,0,1,1]") == trace.value("add[0,0,1,1]")
    assert list(trace.inputs) == ["x"]
    assert list(trace.parameters) == ["stem_0_/Conv.weight", "stem_0_/Conv.bias"]
    bias = trace.why("stem_0_/Conv[0,1,0,0]").bias_address
    assert bias == ct.Address("stem_0_/Conv.bias", (1,))


def test_what_does_not_depend_on_the_input_is_a_constant_and_no_step(tmp_path: Path) -> None:
    build = Builder()
    y = build.conv("x", "conv", 4, 2, 1, 1)
    shape = build.node("Shape", y)
    batch = build.node("Gather", shape, build.weight("zero", np.array(0)), axis=0)
    batch = build.node("Unsqueeze", batch, build.weight("axis", whole(0)))
    rest = build.node("Constant", value=helper.make_tensor("rest", 7, [1], [-1]))
    flat = build.node("Reshape", y, build.node("Concat", batch, rest, axis=0), name="flat")
    bias = build.node("Mul", build.weight("half", floats(16)), build.weight("two", scalar(2)))
    last = build.node("Add", flat, bias, name="last")
    x = floats(3, 2, 2, 2)
    trace = trace_of(build.model({"x": x}, last), tmp_path, x=x)
    assert list(trace.steps) == ["conv", "flat", "last"]
    assert trace.parameters[bias].origin == "constant"
    assert trace.parameters["conv.weight"].origin == "parameter"
    assert trace.steps["flat"].kind == "view"
    assert trace.why("last[1,3]").terms[1].source == ct.Address(bias, (3,))


def test_an_operator_without_a_form_is_opaque_and_the_trace_goes_on(tmp_path: Path) -> None:
    build = Builder()
    y = build.conv("x", "conv", 2, 1, 1, 1)
    odd = build.node("LpNormalization", y, axis=1, name="odd")
    parts = build.node("SplitToSequence", odd, axis=1, name="parts")
    one = build.node("SequenceAt", parts, build.weight("place", np.array(1)), name="one")
    last = build.node("Softmax", build.node("Relu", one), name="last")
    x = floats(1, 1, 2, 3)
    trace = trace_of(build.model({"x": x}, last), tmp_path, x=x)
    assert list(trace.steps) == ["conv", "odd", "one", "relu", "last"]
    assert trace.steps["odd"].kind == "onnx::LpNormalization"
    assert trace.steps["odd"].operands == {"0": "conv"}
    assert trace.steps["one"].operands["0"] == "odd"  # a list of tensors stands for its own
    assert trace.why("odd[0,1,0,0]").verdict is None
    assert trace.steps["last"].status == "opaque"
    split = trace.contributions("relu[0,0,0,0]")
    assert split.opaque == ("one",) or split.total == split.reported == 0


def test_an_inner_graph_is_opaque_and_names_what_it_reads(tmp_path: Path) -> None:
    build = Builder()
    y = build.conv("x", "conv", 1, 1, 1, 1)
    flag = build.node(
        "Greater", build.node("ReduceSum", y, keepdims=0), build.weight("z", scalar(0))
    )
    branches = {
        f"{name}_branch": helper.make_graph(
            [helper.make_node(op, [y], [name])], name, [], [onnx.ValueInfoProto(name=name)]
        )
        for name, op in (("then", "Relu"), ("else", "Neg"))
    }
    last = build.node("If", flag, name="either", **branches)
    x = floats(1, 1, 2, 2)
    trace = trace_of(build.model({"x": x}, last), tmp_path, x=x)
    assert trace.steps["either"].status == "opaque"
    assert set(trace.steps["either"].operands.values()) == {"greater", "conv"}


def test_a_node_with_several_outputs_is_several_steps(tmp_path: Path) -> None:
    build = Builder()
    y = build.conv("x", "conv", 4, 1, 1, 1)
    first, second = build.node("Split", y, outputs=2, name="split", axis=1, num_outputs=2)
    best, places = build.node("MaxPool", second, outputs=2, name="best", kernel_shape=[2, 2])
    x = floats(1, 1, 3, 3)
    trace = trace_of(build.model({"x": x}, first, best, places), tmp_path, x=x)
    assert list(trace.steps) == ["conv", "split", "split.1", "best", "best.1"]
    assert trace.why("split.1[0,1,2,2]").terms[0].source == ct.Address("conv", (0, 3, 2, 2))
    assert trace.why("best[0,0,0,0]").verdict == "exact"
    assert trace.steps["best.1"].status == "opaque"
    assert sorted(trace.output) == sorted([first, best, places])


def test_a_step_that_gives_another_result_when_run_again_is_opaque_and_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(call: Any) -> Form:
        return Form("relu", {}, {"self": call.name(0)}, lambda o: torch.relu(o["self"]) + 1)

    monkeypatch.setattr(onnx_steps, "TRANSLATORS", {**onnx_steps.TRANSLATORS, "Relu": wrong})
    build = Builder()
    last = build.node("Relu", build.conv("x", "conv", 1, 1, 1, 1), name="it")
    x = floats(1, 1, 2, 2)
    trace = trace_of(build.model({"x": x}, last), tmp_path, x=x)
    assert trace.steps["it"].status == "opaque"
    assert "instead of" in trace.steps["it"].attributes["difference"]
    assert trace.notes == ("unoptimised", "differing")


def test_older_operator_sets_have_attributes_where_newer_ones_have_inputs(tmp_path: Path) -> None:
    build = Builder()
    y = build.conv("x", "conv", 2, 1, 1, 1)
    y = build.node("Upsample", y, mode="nearest", scales=[1.0, 1.0, 2.0, 3.0])
    y = build.node("Pad", y, pads=[0, 0, 1, 0, 0, 0, 0, 2], value=1.5)
    y = build.node("Clip", y, min=-0.5, max=2.0)
    y = build.node("Slice", y, axes=[2, 3], starts=[1, 1], ends=[4, -1])
    y = build.node("Unsqueeze", y, axes=[0])
    y = build.node("Squeeze", y, axes=[0])
    y = build.node("ReduceMean", y, axes=[2], keepdims=0)
    y = build.node("Dropout", y)
    x = floats(1, 1, 3, 3)
    trace = trace_of(build.model({"x": x}, y, version=8), tmp_path, x=x)
    kinds = [step.kind for step in trace.steps.values()]
    assert kinds[:5] == ["convolution", "upsample_nearest2d", "pad", "clamp", "strided_slice"]
    assert kinds[5:] == ["unsqueeze", "squeeze", "mean", "clone"]
    for receipt in random_receipts(trace, 90):
        assert_certified(receipt)


def test_half_precision_is_certified_by_its_own_arithmetic(tmp_path: Path) -> None:
    build = Builder()
    build.weight("w", floats(3, 2, 3, 3).astype(np.float16))
    build.weight("b", floats(3).astype(np.float16))
    last = build.node("Relu", build.node("Conv", "x", "w", "b", name="conv"), name="relu")
    x = floats(1, 2, 5, 5).astype(np.float16)
    trace = trace_of(build.model({"x": x}, last), tmp_path, x=x)
    assert trace.steps["conv"].dtype == "float16"
    for receipt in random_receipts(trace, 40):
        assert_certified(receipt)


@pytest.mark.parametrize("axes", [1, 3])
def test_convolutions_of_one_and_three_axes(axes: int, tmp_path: Path) -> None:
    build = Builder()
    y = build.conv("x", "conv", 4, 1, *[3] * axes, group=2, pads=[1, 0] * axes)
    last = build.node("MaxPool", y, name="pool", kernel_shape=[2] * axes)
    last = build.node("AveragePool", last, name="mean", kernel_shape=[2] * axes)
    x = floats(1, 2, *[6] * axes)
    trace = trace_of(build.model({"x": x}, last), tmp_path, x=x)
    for receipt in random_receipts(trace, 30):
        assert_certified(receipt)


@pytest.mark.parametrize("flips", list(itertools.product((0, 1), repeat=2)))
@pytest.mark.parametrize("factors", [(1.0, 1.0), (0.3, 2.0)])
def test_matrix_products_in_all_forms_add_up(
    flips: tuple[int, int], factors: tuple[float, float], tmp_path: Path
) -> None:
    build = Builder()
    y = build.conv("x", "conv", 2, 1, 1, 1)
    y = build.node("Reshape", y, build.weight("shape", whole(*((6, 4) if flips[0] else (4, 6)))))
    weight = build.normal("w", *((5, 6) if flips[1] else (6, 5)))
    bias = build.normal("b", 5)
    more = {"transA": flips[0], "transB": flips[1], "alpha": factors[0], "beta": factors[1]}
    last = build.node("Gemm", y, weight, bias, name="gemm", **more)
    x = floats(1, 1, 3, 4)
    trace = trace_of(build.model({"x": x}, last), tmp_path, x=x)
    for receipt in random_receipts(trace, 60):
        assert_certified(receipt)
    split = trace.contributions("gemm[1,2]", dtype=torch.float64)
    assert abs(split.residual) <= 1e-15 * split.scale


def test_inputs_may_be_tensors_lists_or_one_array_without_a_name(tmp_path: Path) -> None:
    build = Builder()
    path = save(build.model({"x": (1, [1, 1, 2, 2])}, build.conv("x", "c", 1, 1, 1, 1)), tmp_path)
    x = floats(1, 1, 2, 2)
    first = ct.from_onnx(path, x)
    x_before = x.copy()
    for given in (torch.from_numpy(x), x.tolist(), {"x": x}):
        np.testing.assert_array_equal(ct.from_onnx(path, given).output, first.output)
    x += 1  # the trace has a copy of its own
    np.testing.assert_array_equal(first.inputs["x"].data, x_before)


def test_unknown_sizes_are_those_of_the_input_that_is_given(tmp_path: Path) -> None:
    build = Builder()
    last = build.conv("x", "conv", 2, 1, 3, 3, auto_pad="SAME_UPPER")
    path = save(build.model({"x": (1, ["N", 1, None, "width"])}, last), tmp_path)
    for shape in ((1, 1, 4, 5), (3, 1, 8, 2)):
        trace = ct.from_onnx(path, {"x": floats(*shape)})
        assert trace.steps["conv"].shape == (shape[0], 2, *shape[2:])


def test_an_input_with_a_stored_value_may_be_left_out_or_given(tmp_path: Path) -> None:
    build = Builder()
    last = build.node("Conv", "x", build.weight("w", scalar([[[[2]]]])), name="conv")
    model = build.model({"x": (1, [1, 1, 1, 1]), "w": (1, [1, 1, 1, 1])}, last)
    path = save(model, tmp_path)
    x = scalar([[[[3]]]])
    assert ct.from_onnx(path, x).value("conv[0,0,0,0]") == 6
    given = ct.from_onnx(path, {"x": x, "w": scalar([[[[5]]]])})
    assert given.value("conv[0,0,0,0]") == 15
    assert list(given.inputs) == ["x", "w"]


def test_local_functions_are_taken_apart(tmp_path: Path) -> None:
    body = [helper.make_node("Neg", ["a"], ["b"]), helper.make_node("Relu", ["b"], ["c"])]
    sets = [helper.make_opsetid("", 20)]
    build = Builder()
    last = build.node("Twist", build.conv("x", "conv", 1, 1, 1, 1), domain="local", name="twist")
    model = build.model({"x": (1, [1, 1, 2, 2])}, last, domains={"local": 1})
    model.functions.append(helper.make_function("local", "Twist", ["a"], ["c"], body, sets))
    trace = trace_of(model, tmp_path, x=floats(1, 1, 2, 2))
    assert [step.kind for step in trace.steps.values()] == ["convolution", "neg", "relu"]


def test_weights_in_a_file_beside_the_model_are_read(tmp_path: Path) -> None:
    build = Builder()
    model = build.model({"x": (1, [1, 2, 9, 9])}, build.conv("x", "conv", 8, 2, 3, 3))
    x = floats(1, 2, 9, 9)
    expected = trace_of(model, tmp_path, x=x).output
    path = tmp_path / "outside.onnx"
    onnx.save(
        model, str(path), save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    assert (tmp_path / "weights.bin").stat().st_size > 0
    trace = ct.from_onnx(path, x)
    np.testing.assert_array_equal(trace.output, expected)
    assert_certified(trace.why("conv[0,7,3,3]"))


def test_the_slope_of_a_swish_counts(tmp_path: Path) -> None:
    build = Builder()
    conv = build.conv("x", "c", 2, 1, 2, 2)
    y = build.node("Swish", conv, name="swish", alpha=1.5)
    x = np.random.default_rng(0).normal(size=(1, 1, 3, 3)).astype(np.float32)
    path = save(build.model({"x": x}, y, version=24), tmp_path)
    try:
        trace = ct.from_onnx(path, {"x": x})
    except ct.ModelError:
        pytest.skip("this version of onnxruntime has no Swish")
    assert trace.notes == ("unoptimised",)
    made = trace.steps["c"].value.tensor().double()
    right = made * torch.sigmoid(1.5 * made)
    receipt = trace.why("swish[0,1,1,0]")
    assert receipt.verdict in ("exact", "rounding")
    assert receipt.exact == pytest.approx(float(right[0, 1, 1, 0]))
