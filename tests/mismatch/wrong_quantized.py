"""Quantized convolutions: zero points, rounding, saturation, overflow."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mismatch.wrong import Question, case

QUANT: dict[str, Any] = {
    "x_scale": 0.05,
    "x_zero": 12,
    "w_scale": 0.02,
    "w_zero": 0,
    "y_scale": 0.3,
    "y_zero": -7,
}


def integers(low: int, high: int, *shape: int, seed: int = 0) -> Tensor:
    return torch.randint(low, high, shape, generator=torch.Generator().manual_seed(seed))


X = integers(-128, 128, 2, 4, 9, 9)
W = integers(-127, 128, 6, 4, 3, 3, seed=1)
B = integers(-3000, 3000, 6, seed=2)


def total(x: Tensor, w: Tensor, bias: Tensor | None = B, fill: float = 0.0) -> Tensor:
    """Return the accumulators of numbers less their zero points."""
    padded = F.pad(x.double(), (1, 1, 1, 1), value=fill)
    return F.conv2d(padded, w.double(), None if bias is None else bias.double())


def requantized(acc: Tensor, rounding: str = "even", **changes: Any) -> Tensor:
    """Return the integers of the output before saturation."""
    q = {**QUANT, **changes}
    w_scale = torch.as_tensor(q["w_scale"], dtype=torch.double).reshape(1, -1, 1, 1)
    scaled = acc * q["x_scale"] * w_scale / q["y_scale"]
    if rounding == "even":
        found = scaled.round()
    elif rounding == "away":
        found = torch.trunc(scaled + torch.copysign(torch.tensor(0.5), scaled))
    elif rounding == "cut":
        found = scaled.trunc()
    else:
        found = scaled.floor()
    return found + q["y_zero"]


def saturated(values: Tensor, low: int = -128, high: int = 127) -> Tensor:
    return values.clamp(low, high).to(torch.int8)


def ask(mine: Tensor, **more: Any) -> Question:
    reference = (X.to(torch.int8), W.to(torch.int8), B.to(torch.int32))
    return Question(mine, reference, {"padding": 1, "quantization": {**QUANT, **more}})


@case("pytorch/pytorch/issues/42312", "quantized.zero_point")
def zero_point_of_the_input_ignored() -> Question:
    return ask(saturated(requantized(total(X, W))))


@case("AyoubMDL/onnx_quantize/pull/51", "quantized.zero_point")
def zero_point_of_the_output_ignored() -> Question:
    return ask(saturated(requantized(total(X - 12, W), y_zero=0)))


@case("apache/tvm/pull/4807", "quantized.padding")
def padded_with_zero_instead_of_the_zero_point() -> Question:
    return ask(saturated(requantized(total(X - 12, W, fill=-12.0))))


@case("pytorch/executorch/pull/13576", "quantized.padding")
def padding_value_zero_in_the_stored_numbers() -> Question:
    wrong = saturated(requantized(total(X + 5, W, fill=5.0), x_zero=-5))
    return ask(wrong, x_zero=-5)


@case("ROCm/aiter/pull/4637", "quantized.rounding")
def cut_off_instead_of_rounded() -> Question:
    return ask(saturated(requantized(total(X - 12, W), "cut")))


@case("apache/tvm/pull/3531", "quantized.rounding")
def rounded_down() -> Question:
    return ask(saturated(requantized(total(X - 12, W), "floor")))


@case("ROCm/aiter/pull/4637", "quantized.saturation")
def wrapped_instead_of_saturated() -> Question:
    values = requantized(total(X - 12, W), y_scale=0.1)
    return ask(((values + 128) % 256 - 128).to(torch.int8), y_scale=0.1)


@case("ARM-software/CMSIS-NN/pull/220", "quantized.accumulator")
def accumulator_of_sixteen_bits() -> Question:
    acc = (total(X - 12, W) + 2**15) % 2**16 - 2**15
    return ask(saturated(requantized(acc)))


@case("openvinotoolkit/openvino/pull/11658", "quantized.accumulator")
def accumulator_that_saturates_at_sixteen_bits() -> Question:
    acc = total(X - 12, W).clamp(-(2**15), 2**15 - 1)
    return ask(saturated(requantized(acc)))


def _pairs(kernel: int, order: str) -> Question:
    """Add products of unsigned inputs and signed weights in pairs, as `vpmaddubsw` does."""
    quant = {"x_scale": 0.02, "w_scale": 0.01, "y_scale": 0.08 * kernel**2, "y_zero": 0}
    x = integers(0, 256, 1, 4, 8, 8, seed=5)
    w = integers(-128, 128, 5, 4, kernel, kernel, seed=6)
    columns = F.unfold(x.double(), kernel).to(torch.int64)  # channels, then taps
    rows = w.flatten(1)
    if order == "channels":
        turn = torch.arange(rows.shape[1]).reshape(4, -1).T.reshape(-1)
        columns, rows = columns[:, turn], rows[:, turn]
    products = rows[None, :, :, None] * columns[:, None]
    sums = (products[:, :, 0::2] + products[:, :, 1::2]).clamp(-(2**15), 2**15 - 1).sum(2)
    scaled = (sums * (0.02 * 0.01 / quant["y_scale"])).round().clamp(-128, 127)
    size = 9 - kernel
    return Question(
        scaled.reshape(1, 5, size, size).to(torch.int8),
        (x.to(torch.uint8), w.to(torch.int8)),
        {"quantization": quant},
    )


@case("uxlfoundation/oneDNN/issues/518", "quantized.accumulator_pairs")
def pairs_of_channels_that_saturate_in_sixteen_bits() -> Question:
    return _pairs(1, "channels")


@case("microsoft/onnxruntime/issues/16105", "quantized.accumulator_pairs")
def pairs_of_channels_of_each_tap_that_saturate() -> Question:
    return _pairs(3, "channels")


@case("microsoft/onnxruntime/pull/24220", "quantized.accumulator_pairs")
def pairs_of_taps_that_saturate_in_sixteen_bits() -> Question:
    return _pairs(3, "kernel")


@case("pytorch/pytorch/issues/56331", "quantized.limits")
def saturated_at_the_limits_of_another_type() -> Question:
    values = requantized(total(X - 12, W))
    return ask(values.clamp(0, 127).to(torch.int8))


@case("pytorch/pytorch/issues/76390", "quantized.scale")
def scale_of_the_first_channel_for_all() -> Question:
    scales = [0.02, 0.013, 0.031, 0.008, 0.025, 0.017]
    wrong = saturated(requantized(total(X - 12, W), w_scale=0.02))
    return ask(wrong, w_scale=scales)


@case("IntelLabs/distiller/issues/317", "bias.missing")
def bias_lost_in_quantization() -> Question:
    return ask(saturated(requantized(total(X - 12, W, bias=None))))


@case("google/XNNPACK/pull/8647", "input.signed", "input.unsigned")
def signed_numbers_read_as_unsigned() -> Question:
    x = integers(0, 256, 1, 3, 8, 8, seed=5)
    w = integers(-20, 20, 4, 3, 3, 3, seed=6)
    wrong = F.conv2d(torch.where(x > 127, x - 256, x).double(), w.double()).to(torch.int32)
    return Question(wrong, (x.to(torch.uint8), w.to(torch.int8)), {})


@case("google/XNNPACK/pull/8647", "input.signed")
def bytes_read_as_signed_before_the_zero_point_is_subtracted() -> Question:
    x = integers(0, 256, 2, 4, 9, 9, seed=5)
    read = torch.where(x > 127, x - 256, x)
    quant = {**QUANT, "x_zero": 128, "y_scale": 0.9}
    wrong = saturated(requantized(total(read - 128, W), y_scale=0.9))
    reference = (x.to(torch.uint8), W.to(torch.int8), B.to(torch.int32))
    return Question(wrong, reference, {"padding": 1, "quantization": quant})


@case("apache/tvm/issues/13364", "quantized.zero_point")
def zero_point_subtracted_from_products_but_not_on_edges() -> Question:
    acc = total(X, W, fill=12.0)
    return ask(saturated(requantized(acc)))


@case("tenstorrent/tt-metal/issues/56290", "quantized.accumulator", "output.integers")
def integer_output_wrapped_at_eight_bits() -> Question:
    x = integers(0, 20, 1, 3, 8, 8, seed=5)
    w = integers(-9, 9, 4, 3, 3, 3, seed=6)
    acc = F.conv2d(x.double(), w.double())
    wrong = ((acc + 128) % 256 - 128).to(torch.int32)
    return Question(wrong, (x.to(torch.int32), w.to(torch.int32)), {})


@case("pytorch/pytorch/issues/23874", "quantized.bias_scale")
def bias_in_units_of_the_output() -> Question:
    scales = {"x_scale": 0.05, "y_scale": 0.3}
    bias = (B * scales["x_scale"] / scales["y_scale"]).round()
    return ask(saturated(requantized(total(X - 12, W, bias))))


@case("tensorflow/tensorflow/issues/102943", "quantized.rounding_twice")
def rounded_after_the_multiplier_and_after_the_shift() -> Question:
    scales = {"x_scale": 0.05, "w_scale": 0.02, "y_scale": 0.021}
    factor = torch.tensor(0.05 * 0.02 / 0.021, dtype=torch.double)
    mantissa, exponent = torch.frexp(factor)

    def away(values: Tensor) -> Tensor:
        return torch.trunc(values + torch.copysign(torch.tensor(0.5), values))

    acc = total(X - 12, W)
    twice = away(away(acc * mantissa) * 2.0 ** exponent.item())
    return ask(saturated(twice - 7), **scales)


@case("ROCm/aiter/pull/4637", "quantized.rounding", "quantized.rounding_early")
def halves_rounded_up() -> Question:
    scales = {"x_scale": 0.5, "w_scale": 0.25, "y_scale": 64.0}
    up = torch.floor(total(X - 12, W) * 0.5 * 0.25 / 64 + 0.5)
    return ask(saturated(up - 7), **scales)
