"""Quantized operators: integer receipts, equal to the last bit to nested loops and onnxruntime."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx_models import Builder, assert_certified, random_receipts, save

import convtrace as ct
from convtrace.graph import Trace
from convtrace.receipt import Receipt
from convtrace.rules import rule_of
from convtrace.step import Step, Value

LIMITS = {"uint8": (0, 255), "int8": (-128, 127)}


def trace_of(build: Builder, folder: Path, *outputs: str, **inputs: Any) -> Trace:
    return ct.from_onnx(save(build.model(inputs, *outputs, version=21), folder), inputs)


def single(*numbers: float) -> Any:
    """Return one float32, or several."""
    return np.array(numbers if len(numbers) > 1 else numbers[0], dtype=np.float32)


def drawn(random: Any, dtype: str, *shape: int, part: int = 1) -> Any:
    low, high = LIMITS[dtype]
    middle = (low + high + 1) // 2
    return random.integers(
        middle + (low - middle) // part, middle + (high + 1 - middle) // part, shape
    ).astype(dtype)


def noted(receipt: Receipt, name: str) -> dict[str, Any]:
    found = [values for key, values in receipt.notes if key == f"note.quantized.{name}"]
    assert len(found) == 1, receipt.notes
    return found[0]


def accumulate(x: Any, w: Any, zeros: Any, settings: dict[str, Any]) -> dict[Any, int]:
    """Convolve integers by nested loops, with Python's own numbers."""
    pads, strides = settings.get("pads", [0] * 4), settings.get("strides", [1, 1])
    dilations, groups = settings.get("dilations", [1, 1]), settings.get("group", 1)
    samples, _, rows, columns = x.shape
    outputs, channels, *kernel = w.shape
    sizes = [
        (size + pads[a] + pads[a + 2] - dilations[a] * (kernel[a] - 1) - 1) // strides[a] + 1
        for a, size in enumerate((rows, columns))
    ]
    weight_zeros = np.broadcast_to(zeros[1], (outputs,))
    found: dict[Any, int] = {}
    for n, o, i, j in itertools.product(range(samples), range(outputs), *map(range, sizes)):
        total, first = 0, o // (outputs // groups) * channels
        for c, p, q in itertools.product(range(channels), range(kernel[0]), range(kernel[1])):
            r = i * strides[0] - pads[0] + p * dilations[0]
            s = j * strides[1] - pads[1] + q * dilations[1]
            if 0 <= r < rows and 0 <= s < columns:
                value = int(x[n, first + c, r, s]) - int(zeros[0])
                total += value * (int(w[o, c, p, q]) - int(weight_zeros[o]))
        found[n, o, i, j] = total
    return found


def requantize(total: int, scales: Any, zero: int, dtype: str) -> int:
    """Scale in float32, round halves to even, shift, saturate."""
    first, second, divisor = (np.float32(scale) for scale in scales)
    scaled = float(np.float32(total) * (first * second / divisor))
    below = int(np.floor(scaled))
    rest = scaled - below
    rounded = below + (rest > 0.5 or (rest == 0.5 and below % 2 == 1))
    low, high = LIMITS[dtype]
    return min(max(rounded + zero, low), high)


SETTINGS: list[dict[str, Any]] = [
    {},
    {"pads": [1, 0, 1, 2]},
    {"strides": [2, 1], "pads": [0, 1, 2, 0]},
    {"dilations": [1, 2], "group": 2, "pads": [1, 1, 1, 1]},
]


@pytest.mark.parametrize("types", [("uint8", "uint8"), ("uint8", "int8"), ("int8", "int8")])
@pytest.mark.parametrize("settings", SETTINGS, ids=["plain", "pads", "strides", "groups"])
@pytest.mark.parametrize("each", [False, True], ids=["one-scale", "scale-per-channel"])
def test_every_number_of_qlinearconv_is_exact(
    types: tuple[str, str], settings: dict[str, Any], each: bool, tmp_path: Path
) -> None:
    random = np.random.default_rng(11)
    x = drawn(random, types[0], 1, 4, 5, 6)
    # Half the range: kernels without VNNI add pairs of products in 16 bits, which saturate.
    w = drawn(random, types[1], 4, 4 // settings.get("group", 1), 2, 3, part=2)
    zeros = [drawn(random, d).reshape(()) for d in (types[0], types[1], types[0])]
    scales = [single(0.037), single(0.0041), single(0.09)]
    if each:
        scales[1] = random.uniform(0.001, 0.01, 4).astype(np.float32)
        zeros[1] = np.zeros(4, dtype=types[1])
    bias = random.integers(-4000, 4000, 4).astype(np.int32)
    build = Builder()
    names = [
        build.weight(name, array)
        for name, array in [
            ("xs", scales[0]), ("xz", zeros[0]), ("w", w), ("ws", scales[1]), ("wz", zeros[1]),
            ("ys", scales[2]), ("yz", zeros[2]), ("b", bias),
        ]
    ]  # fmt: skip
    last = build.node("QLinearConv", "x", *names, name="q", **settings)
    trace = trace_of(build, tmp_path, last, x=x)
    totals = accumulate(x, w, zeros, settings)
    assert trace.steps["q"].shape == tuple(n + 1 for n in max(totals))
    weight_scales = np.broadcast_to(scales[1], (4,))
    for index, products in totals.items():
        receipt = trace.why("q", index)
        total = products + int(bias[index[1]])
        own = (scales[0], weight_scales[index[1]], scales[2])
        assert receipt.products.sum() == products
        assert receipt.bias == bias[index[1]]
        assert noted(receipt, "accumulator_bias")["accumulator"] == total
        assert receipt.exact == requantize(total, own, int(zeros[2]), types[0])
        assert receipt.reported == receipt.exact
        assert (receipt.verdict, receipt.residual, receipt.bound) == ("exact", 0, 0.0)


def small_qlinearconv(
    folder: Path, x: Any, weight: int, scales: Any, zero: int, bias: int | None = None
) -> Trace:
    """Make a convolution of single numbers: x times the weight, plus a bias."""
    build = Builder()
    inputs = [
        build.weight("xs", single(scales[0])),
        build.weight("xz", np.array(0, dtype=x.dtype)),
        build.weight("w", np.array([[[weight]]], dtype=np.int8)),
        build.weight("ws", single(scales[1])),
        build.weight("wz", np.array(0, dtype=np.int8)),
        build.weight("ys", single(scales[2])),
        build.weight("yz", np.array(zero, dtype=x.dtype)),
    ]
    if bias is not None:
        inputs.append(build.weight("b", np.array([bias], dtype=np.int32)))
    return trace_of(build, folder, build.node("QLinearConv", "x", *inputs, name="q"), x=x)


def test_halves_go_to_the_even_number(tmp_path: Path) -> None:
    x = np.arange(-4, 5, dtype=np.int8).reshape(1, 1, -1)
    trace = small_qlinearconv(tmp_path, x, 1, (1, 1, 2), 0)
    receipts = [trace.why("q", (0, 0, n)) for n in range(9)]
    assert [r.exact for r in receipts] == [-2, -2, -1, 0, 0, 0, 1, 2, 2]
    assert all(r.verdict == "exact" for r in receipts)
    assert noted(receipts[1], "rounded") == {
        "scaled": -1.5, "rounded": -2, "zero_point": 0, "shifted": -2
    }  # fmt: skip


@pytest.mark.parametrize(("weight", "kept", "lies"), [(127, 127, 12700), (-127, -128, -12700)])
def test_what_leaves_the_range_saturates_and_says_so(
    weight: int, kept: int, lies: int, tmp_path: Path
) -> None:
    x = np.full((1, 1, 2), 100, dtype=np.int8)
    receipt = small_qlinearconv(tmp_path, x, weight, (1, 1, 1), 0).why("q[0,0,1]")
    assert receipt.exact == receipt.reported == kept
    assert receipt.verdict == "exact"
    words = noted(receipt, "saturated")
    assert (words["shifted"], words["kept"], words["low"], words["high"]) == (lies, kept, -128, 127)


def test_an_accumulator_that_float32_cannot_hold_is_rounded_first(tmp_path: Path) -> None:
    x = np.array([[[1, 2, 3]]], dtype=np.int8)
    # 2^24 + 1 rounds to 2^24 in float32: scaled by 1.5 / 2^24 it is 1.5, not a bit more.
    trace = small_qlinearconv(tmp_path, x, 1, (1.5, 2.0**-24, 1), 0, bias=2**24)
    receipt = trace.why("q[0,0,0]")
    assert noted(receipt, "accumulator_bias")["accumulator"] == 2**24 + 1
    assert noted(receipt, "rounded")["scaled"] == 1.5
    assert receipt.exact == receipt.reported == 2


def test_an_accumulator_that_leaves_32_bits_wraps_and_says_so(tmp_path: Path) -> None:
    x = np.full((1, 1, 1), 2, dtype=np.int8)
    trace = small_qlinearconv(tmp_path, x, 1, (1, 2.0**-26, 1), 0, bias=2**31 - 1)
    receipt = trace.why("q[0,0,0]")
    assert noted(receipt, "wrapped") == {"exact": 2**31 + 1, "accumulator": 1 - 2**31}
    assert receipt.exact == receipt.reported == -32


def test_another_integer_than_the_arithmetic_gives_is_a_mismatch(tmp_path: Path) -> None:
    x = np.array([[[5, 6]]], dtype=np.int8)
    step = small_qlinearconv(tmp_path, x, 3, (1, 1, 1), 0).steps["q"]
    wrong = replace(step, value=Value("q", step.value.data + 1))
    receipt = explain(wrong, (0, 0, 1))
    assert (receipt.exact, receipt.reported, receipt.residual) == (18, 19, 1)
    assert receipt.verdict == "mismatch"


def explain(step: Step, index: tuple[int, ...]) -> Receipt:
    why = rule_of(step).why
    assert why is not None
    return why(step, index, "onnxruntime")


@pytest.mark.parametrize("settings", SETTINGS, ids=["plain", "pads", "strides", "groups"])
def test_every_number_of_convinteger_is_exact(settings: dict[str, Any], tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    x = drawn(random, "uint8", 2, 4, 4, 5)
    w = drawn(random, "uint8", 2, 4 // settings.get("group", 1), 2, 2)
    zeros = (np.array(7, dtype=np.uint8), np.array(130, dtype=np.uint8))
    build = Builder()
    names = [build.weight("w", w), build.weight("xz", zeros[0]), build.weight("wz", zeros[1])]
    trace = trace_of(
        build, tmp_path, build.node("ConvInteger", "x", *names, name="q", **settings), x=x
    )
    for index, total in accumulate(x, w, zeros, settings).items():
        receipt = trace.why("q", index)
        assert receipt.exact == receipt.reported == total
        assert receipt.verdict == "exact"


def test_terms_on_padding_are_zero_whatever_the_zero_point_is(tmp_path: Path) -> None:
    build = Builder()
    names = [
        build.weight("w", np.array([[[2, 3, 4]]], dtype=np.int8)),
        build.weight("xz", np.array(100, dtype=np.uint8)),
    ]
    x = np.array([[[101, 103]]], dtype=np.uint8)
    last = build.node("ConvInteger", "x", *names, name="q", pads=[1, 1])
    receipt = trace_of(build, tmp_path, last, x=x).why("q[0,0,0]")
    assert receipt.inputs.tolist() == [[0, 1, 3]]
    assert receipt.products.tolist() == [[0, 3, 12]]
    assert [str(t.source) if t.source else None for t in receipt.terms] == [
        None, "x[0,0,0]", "x[0,0,1]"
    ]  # fmt: skip
    assert receipt.exact == receipt.reported == 15


def test_matrix_products_of_integers_are_exact(tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    build = Builder()
    x = drawn(random, "uint8", 1, 3, 2, 6)
    names = [build.weight("k", drawn(random, "int8", 3, 3, 1, 1)), build.weight("z", np.uint8(9))]
    build.node("ConvInteger", "x", *names, name="conv")  # so that there is a convolution
    w = build.weight("w", drawn(random, "int8", 6, 4, part=2))
    integer = build.node("MatMulInteger", "x", w, "z", name="integer")
    parts = [
        build.weight("xs", single(0.02)), "z", w, build.weight("ws", single(0.1, 0.2, 0.3, 0.4)),
        build.weight("wz", np.zeros(4, dtype=np.int8)), build.weight("ys", single(0.5)),
        build.weight("yz", np.uint8(100)),
    ]  # fmt: skip
    linear = build.node("QLinearMatMul", "x", *parts, name="linear")
    outputs = [build.nodes[0].output[0], integer, linear]
    trace = trace_of(build, tmp_path, *outputs, x=x)
    for name in ("integer", "linear"):
        for index in np.ndindex(trace.steps[name].shape):
            assert trace.why(name, index).verdict == "exact"


def test_the_largest_of_whole_numbers_is_followed_to_its_source(tmp_path: Path) -> None:
    build = Builder()
    x = np.array([[[[1, 7, 3], [2, 5, 9]]]], dtype=np.int8)
    pooled = build.node("MaxPool", "x", name="pool", kernel_shape=[2, 2], pads=[0, 1, 0, 0])
    kernel = build.weight("w", np.array([[[[2]]]], dtype=np.int8))
    last = build.node("ConvInteger", pooled, kernel, name="q")
    trace = trace_of(build, tmp_path, last, x=x)
    found = [trace.why("pool", (0, 0, 0, n)) for n in range(3)]
    assert [str(r.terms[0].source) for r in found] == ["x[0,0,1,0]", "x[0,0,0,1]", "x[0,0,1,2]"]
    assert [r.exact for r in found] == [2, 7, 9]
    assert all(r.verdict == "exact" for r in found)


# Into quantized numbers and out of them ----------------------------------------------------------


def quantized(folder: Path, x: Any, scale: Any, zero: Any, *, axis: int = 1) -> Trace:
    """Make a convolution that copies, QuantizeLinear and DequantizeLinear."""
    build = Builder()
    channels = x.shape[1]
    copy = np.eye(channels, dtype=np.float32).reshape(channels, channels, 1, 1)
    y = build.node("Conv", "x", build.weight("w", copy), name="copy")
    names = build.weight("scale", scale), build.weight("zero", zero)
    y = build.node("QuantizeLinear", y, *names, name="quantize", axis=axis)
    y = build.node("DequantizeLinear", y, *names, name="back", axis=axis)
    return trace_of(build, folder, y, x=x)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16"])
def test_quantizing_and_back_is_exact(dtype: str, tmp_path: Path) -> None:
    random = np.random.default_rng(8)
    x = (random.normal(size=(1, 2, 6, 6)) * 3).astype(np.float32)
    x[0, 0, 0, :4] = [0.0, -0.0, 3.4e38, -3.4e38]
    trace = quantized(tmp_path, x, single(0.03), np.array(20, dtype=dtype))
    for name, index in itertools.product(("quantize", "back"), np.ndindex(x.shape)):
        assert trace.why(name, index).verdict == "exact", (name, index)
    receipt = trace.why("quantize[0,1,2,3]")
    value = float(x[0, 1, 2, 3])
    assert receipt.inputs.tolist() == [value]
    assert receipt.exact == round(value / 0.03) + 20
    assert "saturated" in trace.why("quantize[0,0,0,2]").notes[-1][0]


def test_scales_of_channels_are_those_of_their_axis(tmp_path: Path) -> None:
    x = np.full((1, 3, 1, 2), 6.0, dtype=np.float32)
    zeros = np.array([0, 1, 2], dtype=np.int8)
    trace = quantized(tmp_path, x, single(1, 2, 3), zeros, axis=-3)
    assert [trace.why("quantize", (0, n, 0, 1)).exact for n in range(3)] == [6, 4, 4]
    back = trace.why("back[0,2,0,1]")
    assert (back.inputs.tolist(), back.weights.tolist()) == ([2], [3])
    assert back.terms[0].weight_address == ct.Address("scale", (2,))
    assert trace.why("quantize", (0, 0, 0, 0)).verdict == "exact"


def test_halves_are_quantized_to_the_even_number(tmp_path: Path) -> None:
    x = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5], dtype=np.float32).reshape(1, 1, 1, -1)
    trace = quantized(tmp_path, x, single(1), np.array(0, dtype=np.int8))
    receipts = [trace.why("quantize", (0, 0, 0, n)) for n in range(6)]
    assert [r.exact for r in receipts] == [-2, -2, 0, 0, 2, 2]
    assert all(r.verdict == "exact" for r in receipts)


def test_nan_has_no_integer_and_is_pointed_at(tmp_path: Path) -> None:
    x = np.array([np.nan, np.inf, 1.0], dtype=np.float32).reshape(1, 1, 1, -1)
    trace = quantized(tmp_path, x, single(1), np.array(0, dtype=np.int8))
    receipt = trace.why("quantize[0,0,0,0]")
    assert (receipt.verdict, receipt.culprits) == ("nonfinite", ((0,),))
    assert trace.why("quantize[0,0,0,1]").exact == 127


# QDQ ---------------------------------------------------------------------------------------------


def qdq(
    folder: Path, *, relu: bool = False, bias_scale: float = 1.0, output_scale: float = 0.02
) -> Trace:
    """Make a convolution between DequantizeLinear and QuantizeLinear."""
    build = Builder(3)
    random = build.random
    x = random.normal(size=(1, 3, 8, 9)).astype(np.float32)
    scales = random.uniform(0.001, 0.01, 5).astype(np.float32)
    names = build.weight("xs", single(0.02)), build.weight("xz", np.uint8(128))
    y = build.node("QuantizeLinear", "x", *names, name="qx")
    y = build.node("DequantizeLinear", y, *names, name="dx")
    kernel = [
        build.weight("w", random.integers(-127, 128, (5, 3, 3, 3)).astype(np.int8)),
        build.weight("ws", scales),
    ]
    kernel.append(build.weight("wz", np.zeros(5, dtype=np.int8)))
    bias = [
        build.weight("b", random.integers(-3000, 3000, 5).astype(np.int32)),
        build.weight("bs", single(0.02) * scales * single(bias_scale)),
    ]
    floats = [build.node("DequantizeLinear", *part, axis=0) for part in (kernel, bias)]
    y = build.node("Conv", y, *floats, name="conv", pads=[1, 1, 1, 1])
    y = build.node("Relu", y) if relu else y
    out = build.weight("ys", single(output_scale)), build.weight("yz", np.uint8(100))
    y = build.node("QuantizeLinear", y, *out, name="qy")
    return trace_of(build, folder, build.node("DequantizeLinear", y, *out, name="dy"), x=x)


@pytest.mark.parametrize("relu", [False, True])
def test_a_convolution_between_quantizers_has_an_integer_receipt(
    relu: bool, tmp_path: Path
) -> None:
    trace = qdq(tmp_path, relu=relu)
    step = trace.steps["qy"]
    assert step.kind == "qdq_conv"
    found = [trace.why("qy", index) for index in np.ndindex(step.shape)]
    assert all(r.verdict == "exact" for r in found)
    assert {r.products.dtype.kind for r in found} == {"i"}
    receipt = trace.why("qy[0,1,3,4]")
    assert {t.source.step for t in receipt.terms if t.source} == {"qx"}
    assert {t.weight_address.step for t in receipt.terms if t.weight_address} == {"w"}
    assert receipt.bias_address == ct.Address("b", (1,))
    if relu:
        assert min(r.exact.real for r in found) == 100
    for receipt in random_receipts(trace, 100):
        assert_certified(receipt)


def test_a_bias_of_another_scale_is_no_integer_convolution(tmp_path: Path) -> None:
    trace = qdq(tmp_path, bias_scale=1.5)
    assert trace.steps["qy"].kind == "quantize_linear"
    for receipt in random_receipts(trace, 100):
        assert_certified(receipt)


def test_the_rounding_of_floats_may_decide_a_half_and_that_is_said(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    build = Builder()
    scales = np.float32(0.1), np.float32(0.3)
    xq = random.integers(-100, 101, (1, 2, 20, 20)).astype(np.int8)
    wq = random.integers(-3, 4, (1, 2, 3, 3)).astype(np.int8)
    zero = build.weight("zero", np.int8(0))
    x = build.node("DequantizeLinear", "xq", build.weight("xs", scales[0]), zero)
    w = build.node("DequantizeLinear", build.weight("wq", wq), build.weight("ws", scales[1]), zero)
    y = build.node("Conv", x, w, name="conv")
    # Odd accumulators come out next to a half.
    out = build.weight("ys", np.float32(2 * scales[0] * scales[1] * 16)), zero
    last = build.node("QuantizeLinear", y, *out, name="qy")
    trace = trace_of(build, tmp_path, last, xq=xq)
    verdicts: set[str | None] = set()
    for index in np.ndindex(trace.steps["qy"].shape):
        receipt = trace.why("qy", index)
        verdicts.add(receipt.verdict)
        if receipt.verdict == "rounding":
            assert abs(receipt.residual) == receipt.bound == 1
            assert abs(noted(receipt, "tie")["scaled"] % 1 - 0.5) < 1e-5
    assert verdicts == {"exact", "rounding"}


def test_a_wrong_integer_between_quantizers_is_a_mismatch(tmp_path: Path) -> None:
    step = qdq(tmp_path).steps["qy"]
    wrong = replace(step, value=Value("qy", step.value.data + np.uint8(1)))
    receipt = explain(wrong, (0, 1, 3, 4))
    assert (receipt.verdict, receipt.residual) == ("mismatch", 1)


# Contributions and texts -------------------------------------------------------------------------


def test_contributions_add_up_through_quantized_steps(tmp_path: Path) -> None:
    random = np.random.default_rng(6)
    build = Builder()
    names = build.weight("xs", single(0.02)), build.weight("xz", np.uint8(120))
    y = build.node("QuantizeLinear", "x", *names, name="qx")
    for number in range(2):
        kernel = random.integers(-60, 60, (3, 3, 3, 3)).astype(np.int8)
        parts = [
            *names, build.weight(f"w{number}", kernel),
            build.weight(f"ws{number}", single(0.01)), build.weight(f"wz{number}", np.int8(3)),
            *names, build.weight(f"b{number}", random.integers(-99, 99, 3).astype(np.int32)),
        ]  # fmt: skip
        y = build.node("QLinearConv", y, *parts, name=f"q{number}", pads=[1, 1, 1, 0])
    last = build.node("DequantizeLinear", y, *names, name="out")
    x = random.normal(size=(1, 3, 6, 6)).astype(np.float32)
    trace = trace_of(build, tmp_path, last, x=x)
    for index in ((0, 0, 0, 0), (0, 2, 3, 2), (0, 1, 5, 3)):
        split = trace.contributions(ct.Address("out", index))
        assert abs(split.residual) <= 1e-6 * split.scale
        split = trace.contributions(ct.Address("out", index), dtype=torch.float64)
        assert abs(split.residual) <= 1e-15 * split.scale
        assert not split.opaque
        assert split.reported == pytest.approx(trace.value(ct.Address("out", index)))


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_receipts_are_written_in_both_languages(lang: str, tmp_path: Path) -> None:
    trace = qdq(tmp_path, relu=True, output_scale=0.002)
    saturated = next(
        index
        for index in np.ndindex(trace.steps["qy"].shape)
        if any(key.endswith("saturated") for key, _ in trace.why("qy", index).notes)
    )
    places = [("qx", (0, 0, 0, 0)), ("dy", (0, 1, 2, 3)), ("qy", (0, 1, 2, 3)), ("qy", saturated)]
    texts = [trace.why(name, index).text(lang) for name, index in places]
    assert all("onnxruntime" in text for text in texts)
    assert "255" in texts[-1]


@pytest.mark.parametrize(
    ("lang", "added", "made"),
    [("en", "accumulator", "after scale"), ("ko", "누산값", "스케일·반올림")],
)
def test_the_foot_of_a_quantized_receipt_holds_the_sum_of_its_terms(
    lang: str, added: str, made: str, tmp_path: Path
) -> None:
    build = Builder()
    x = np.arange(10, 20, dtype=np.uint8).reshape(1, 2, 5, 1)
    weight = build.weight("w", np.full((1, 2, 2, 1), 3, dtype=np.int8))
    zero, scale = build.weight("z", np.uint8(10)), build.weight("s", single(0.5))
    parts = (scale, zero, weight, scale, build.weight("n", np.int8(0)), scale, zero)
    out = build.node("QLinearConv", "x", *parts, name="conv")
    receipt = trace_of(build, tmp_path, out, x=x).why("conv[0,0,1,0]")
    lines = receipt.text(lang=lang).splitlines()
    (foot,) = (line for line in lines if line.startswith(added) and "=" in line)
    (result,) = (line for line in lines if line.startswith(made))
    assert foot.split()[-1] == str(int(receipt.products.sum())) == "48"
    assert result.split()[-1] == str(receipt.exact) == "34"
