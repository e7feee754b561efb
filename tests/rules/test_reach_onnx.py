"""Which positions a step of an ONNX file reads, judged by the pixels that count for its numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from onnx_models import Builder, save

import convtrace as ct
from convtrace.receptive import Paths, hull, receptive_fields

SIZE = 24


def traced(make: Callable[[Builder, str], str], folder: Path) -> ct.Trace:
    """Trace a node behind a strided convolution whose weights and input are above zero."""
    build = Builder()
    x = build.random.uniform(0.5, 1, (1, 2, SIZE, SIZE)).astype(np.float32)
    weight = build.random.uniform(0.5, 1, (3, 2, 3, 2)).astype(np.float32)
    conv = build.node("Conv", "x", build.weight("w", weight), strides=[2, 1], name="conv")
    return ct.from_onnx(save(build.model({"x": x}, make(build, conv)), folder), {"x": x})


def assert_reached(trace: ct.Trace, *, axes: tuple[int, ...] = (2, 3)) -> None:
    """Assert that the law of the last step names just the pixels with a term, in the middle."""
    step = list(trace.steps.values())[-1]
    parts = Paths(trace).parts(step.name, "x")
    assert parts is not None
    middle = tuple(size // 2 for size in step.shape)
    for index in (middle, tuple(place - (place > 2) for place in middle)):
        split = trace.contributions(ct.Address(step.name, index))
        found = split.inputs["x"].nonzero()
        for axis in axes:
            spans: list[tuple[int, int] | None] = []
            for part in parts[axis]:
                low, high = part.fixed or (0, 0)
                for number, law in part.laws:
                    span = law.over([index[number]])
                    assert span is not None
                    low, high = low + span[0], high + span[1]
                spans.append((low, high))
            hit = (int(found[:, axis].min()), int(found[:, axis].max()))
            assert hull(spans) == hit, (step, index, axis)


def _resize(**settings: Any) -> Callable[[Builder, str], str]:
    def make(build: Builder, x: str) -> str:
        scales = build.weight("s", np.array([1, 1, 2, 1.5], dtype=np.float32))
        return build.node("Resize", x, "", scales, **settings)

    return make


RESIZES = {
    f"{mode}, {position}, {rounding}": _resize(
        mode=mode, coordinate_transformation_mode=position, nearest_mode=rounding
    )
    for mode, roundings in {
        "nearest": ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"],
        "linear": ["floor"],
        "cubic": ["floor"],
    }.items()
    for position in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
    for rounding in roundings
}


@pytest.mark.parametrize("make", RESIZES.values(), ids=RESIZES)
def test_a_resize_reads_the_pixels_that_count(
    make: Callable[[Builder, str], str], tmp_path: Path
) -> None:
    assert_reached(traced(make, tmp_path))


def _slice(starts: list[int], ends: list[int], steps: list[int]) -> Callable[[Builder, str], str]:
    def make(build: Builder, x: str) -> str:
        names = ("starts", "ends", "axes", "steps")
        lists = (starts, ends, [2, 3], steps)
        parts = [build.weight(n, np.array(v)) for n, v in zip(names, lists, strict=True)]
        return build.node("Slice", x, *parts)

    return make


def _matmul(build: Builder, x: str) -> str:
    return build.node("MatMul", x, build.weight("m", np.ones((SIZE - 1, 5), np.float32)))


def _sum(build: Builder, x: str) -> str:
    return build.node("Sum", x, build.node("Relu", x), x)


@pytest.mark.parametrize(
    "make",
    [_slice([1, 2], [9, 20], [2, 3]), _slice([8, -1], [0, 3], [-1, -2]), _sum],
    ids=["forward", "backward", "sum"],
)
def test_a_slice_and_a_sum_read_the_pixels_that_count(
    make: Callable[[Builder, str], str], tmp_path: Path
) -> None:
    assert_reached(traced(make, tmp_path))


def test_a_matrix_product_reads_a_whole_row(tmp_path: Path) -> None:
    assert_reached(traced(_matmul, tmp_path))


@pytest.mark.parametrize(("transposed", "shape"), [(0, (3, 4)), (1, (4, 3))])
def test_gemm_reads_a_whole_row(transposed: int, shape: tuple[int, int], tmp_path: Path) -> None:
    def make(build: Builder, x: str) -> str:
        pooled = build.node("Flatten", build.node("GlobalAveragePool", x))
        weight = build.weight("m", np.ones(shape, np.float32))
        return build.node("Gemm", pooled, weight, transB=transposed)

    trace = traced(make, tmp_path)
    (field,) = receptive_fields(trace)[list(trace.steps)[-1]]
    assert [axis.size for axis in field.axes] == [SIZE - 1, SIZE]  # the stride misses the last row


@pytest.mark.parametrize("op", ["QLinearConv", "ConvInteger", "QDQ"])
def test_a_quantized_convolution_reads_its_window(op: str, tmp_path: Path) -> None:
    build = Builder()
    x = build.random.integers(30, 200, (1, 2, 11, 10)).astype(np.uint8)
    weight = build.weight("w", build.random.integers(3, 9, (3, 2, 3, 2)).astype(np.int8))
    settings: dict[str, Any] = {"strides": [2, 1], "pads": [1, 0, 0, 1], "dilations": [1, 2]}
    zero, scale = build.weight("z", np.uint8(10)), build.weight("s", np.float32(0.5))
    none = build.weight("n", np.int8(0))
    if op == "ConvInteger":
        build.node(op, "x", weight, zero, none, name="conv", **settings)
    elif op == "QLinearConv":
        parts = (scale, zero, weight, scale, none, build.weight("t", np.float32(99)), zero)
        build.node(op, "x", *parts, name="conv", **settings)
    else:
        float_x = build.node("DequantizeLinear", "x", scale, zero)
        float_w = build.node("DequantizeLinear", weight, scale, none)
        made = build.node("Conv", float_x, float_w, name="conv", **settings)
        build.node("QuantizeLinear", made, build.weight("t", np.float32(99)), zero)
    (output,) = build.nodes[-1].output
    trace = ct.from_onnx(save(build.model({"x": x}, output), tmp_path), {"x": x})
    (field,) = receptive_fields(trace)[list(trace.steps)[-1]]
    assert [(axis.size, axis.strides[0], axis.start) for axis in field.axes] == [
        (3, 2, -1),
        (3, 1, 0),
    ]


# What the operators of PyTorch without a window read ---------------------------------------------


def test_glu_reads_its_place_and_no_other(tmp_path: Path) -> None:
    conv = torch.nn.Conv2d(1, 4, 3)
    trace = ct.trace(lambda x: F.glu(conv(x), 1), torch.rand(1, 1, 9, 9))
    (field,) = receptive_fields(trace)["glu"]
    assert [(axis.size, axis.start) for axis in field.axes] == [(3, 0), (3, 0)]


@pytest.mark.parametrize(
    ("then", "whole"),
    [
        (lambda y: y.sort(2).values, [True, False]),
        (lambda y: y.topk(2, 3).values, [False, True]),
        (lambda y: F.grid_sample(y, torch.zeros(1, 4, 4, 2), align_corners=False), [True, True]),
        (lambda y: y.index_put((torch.tensor([0]),), y[0] * 2), [True, True]),
        (lambda y: y.scatter(1, torch.zeros(1, 1, 7, 7, dtype=torch.long), y * 2), [True, True]),
    ],
    ids=["sort", "topk", "grid sample", "index put", "scatter"],
)
def test_what_may_read_any_place_of_an_axis_reaches_all_of_it(then: Any, whole: list[bool]) -> None:
    conv = torch.nn.Conv2d(1, 4, 3)
    trace = ct.trace(lambda x: then(conv(x)), torch.rand(1, 1, 9, 9))
    (field,) = receptive_fields(trace)[list(trace.steps)[-1]]
    assert [axis.whole for axis in field.axes] == whole
