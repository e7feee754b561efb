"""Fused operators of onnxruntime are parted into standard ones, with the numbers that they made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from onnx_models import Builder
from torch.nn import functional

import convtrace as ct
from convtrace.step import Inside

X = np.random.default_rng(3).normal(size=(1, 4, 6, 7)).astype(np.float32)


def saved(builder: Builder, output: str, folder: Path, shape: Any = X.shape) -> Path:
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)
    graph = helper.make_graph(
        builder.nodes, "fused", [x], [onnx.ValueInfoProto(name=output)], builder.weights
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    path = folder / "fused.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


def fused(builder: Builder, op: str, *inputs: str, **more: Any) -> str:
    return builder.node(op, *inputs, name=f"/{op}", domain="com.microsoft", **more)


@pytest.mark.parametrize(
    ("name", "given", "kind"),
    [
        ("Relu", [], "relu"),
        ("LeakyRelu", [0.2], "leaky_relu"),
        ("Clip", [0.0, 0.5], "clamp"),
        ("Sigmoid", [], "sigmoid"),
        ("Tanh", [], "tanh"),
        ("HardSigmoid", [0.3, 0.4], "hardsigmoid"),
    ],
)
def test_a_fused_convolution_is_a_convolution_and_its_activation(
    name: str, given: list[float], kind: str, tmp_path: Path
) -> None:
    builder = Builder()
    more = {"activation_params": given} if given else {}
    weight, bias = builder.normal("w", 6, 2, 3, 3), builder.normal("b", 6)
    settings = {"group": 2, "pads": [1, 1, 1, 1], "strides": [1, 2], "activation": name, **more}
    y = fused(builder, "FusedConv", "x", weight, bias, **settings)
    trace = ct.from_onnx(saved(builder, y, tmp_path), X)
    inside, last = trace.steps.values()
    assert (inside.kind, last.kind) == ("convolution", kind)
    assert (inside.name, last.name) == ("/FusedConv/Conv", "/FusedConv")
    w, b = (torch.from_numpy(trace.steps[inside.name].values[r].data) for r in ("weight", "bias"))
    expected = functional.conv2d(torch.from_numpy(X), w, b, stride=(1, 2), padding=1, groups=2)
    np.testing.assert_allclose(inside.value.box((...,)), expected.numpy(), atol=1e-5)


def test_what_lies_inside_was_reported_by_nobody(tmp_path: Path) -> None:
    builder = Builder()
    y = fused(builder, "FusedConv", "x", builder.normal("w", 6, 4, 3, 3), activation="Relu")
    trace = ct.from_onnx(saved(builder, y, tmp_path), X)
    inside = trace.steps["/FusedConv/Conv"]
    assert isinstance(inside.value, Inside)
    receipt = trace.why("/FusedConv/Conv[0,2,1,1]")
    assert (receipt.verdict, receipt.reporter) == ("exact", "exact")
    assert "onnxruntime" not in receipt.text("en")
    assert trace.why("/FusedConv[0,2,1,1]").reporter == "onnxruntime"
    shape = trace.steps["/FusedConv"].shape
    verdicts = {trace.why("/FusedConv", at).verdict for at in np.ndindex(*shape)}
    assert verdicts == {"exact"}


def test_contributions_go_through_a_fused_convolution(tmp_path: Path) -> None:
    builder = Builder()
    weight, bias = builder.normal("w", 6, 4, 3, 3), builder.normal("b", 6)
    y = fused(builder, "FusedConv", "x", weight, bias, activation="Relu")
    trace = ct.from_onnx(saved(builder, y, tmp_path), X)
    values = trace.steps["/FusedConv"].value.box((...,))
    at = np.unravel_index(int(values.argmax()), values.shape)
    split = trace.contributions(f"/FusedConv[{','.join(map(str, at))}]")
    assert abs(split.residual) < 1e-5
    assert split.total > 0


def test_a_summand_comes_before_the_activation(tmp_path: Path) -> None:
    builder = Builder()
    weight, bias = builder.normal("w", 4, 4, 3, 3), builder.normal("b", 4)
    y = fused(builder, "FusedConv", "x", weight, bias, "x", pads=[1] * 4, activation="Relu")
    trace = ct.from_onnx(saved(builder, y, tmp_path), X)
    assert [step.kind for step in trace.steps.values()] == ["convolution", "add", "relu"]


@pytest.mark.parametrize(
    ("op", "more", "kinds"),
    [
        ("Gelu", {}, ["gelu"]),
        ("FastGelu", {}, ["gelu"]),
        ("QuickGelu", {"alpha": 1.0}, ["sigmoid", "mul"]),
        ("QuickGelu", {}, ["mul", "sigmoid", "mul"]),
    ],
)
def test_fused_functions_are_parted(
    op: str, more: dict[str, Any], kinds: list[str], tmp_path: Path
) -> None:
    builder = Builder()
    x = builder.conv("x", "conv", 4, 4, 1, 1)
    trace = ct.from_onnx(saved(builder, fused(builder, op, x, **more), tmp_path), X)
    assert [step.kind for step in trace.steps.values()] == ["convolution", *kinds]


def test_a_fused_product_with_a_factor_is_parted(tmp_path: Path) -> None:
    builder = Builder()
    x = builder.conv("x", "conv", 4, 4, 1, 1)
    weight = builder.normal("m", 5, 7)
    y = fused(builder, "FusedMatMul", x, weight, transB=1, alpha=0.5)
    trace = ct.from_onnx(saved(builder, y, tmp_path), X)
    assert [step.kind for step in trace.steps.values()] == ["convolution", "matmul", "mul"]


def test_a_norm_with_a_skip_is_a_sum_and_a_norm(tmp_path: Path) -> None:
    builder = Builder()
    x = builder.conv("x", "conv", 4, 4, 1, 1)
    flat = builder.node("Reshape", x, builder.weight("shape", np.array([1, 4, 42])))
    scales = builder.normal("gamma", 42), builder.normal("beta", 42)
    y = fused(builder, "SkipLayerNormalization", flat, flat, *scales, epsilon=1e-5)
    trace = ct.from_onnx(saved(builder, y, tmp_path), X)
    kinds = [step.kind for step in trace.steps.values()]
    assert kinds[-2:] == ["add", "native_layer_norm"]


def test_what_cannot_be_parted_stays_the_node_that_it_is(tmp_path: Path) -> None:
    builder = Builder()
    x = builder.conv("x", "conv", 4, 4, 1, 1)
    y = fused(builder, "FusedMatMul", x, x, transA=1, transBatchA=0)
    path = saved(builder, y, tmp_path)
    trace = ct.from_onnx(path, X)
    assert [step.kind for step in trace.steps.values()] == ["convolution", "permute", "matmul"]
    builder = Builder()
    x = builder.conv("x", "conv", 4, 4, 1, 1)
    ends = (("start", [0]), ("end", [6]), ("axis", [3]))
    square = builder.node("Slice", x, *(builder.weight(n, np.array(v)) for n, v in ends))
    y = fused(builder, "Inverse", square)
    trace = ct.from_onnx(saved(builder, y, tmp_path), X)
    assert list(trace.steps.values())[-1].kind == "com.microsoft::Inverse"
