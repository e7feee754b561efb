"""ONNX operators on quantized numbers, and the pattern of float operators that stands for one.

Sources:
    QLinearConv, ConvInteger, QLinearMatMul, MatMulInteger, QuantizeLinear, DequantizeLinear:
    https://onnx.ai/onnx/operators/
    QDQ: https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch

from convtrace.frontends.convolution_replay import replay_convolution
from convtrace.frontends.onnx_forms import Call, Form, Replay, Tensors, Translator
from convtrace.frontends.onnx_run import Node
from convtrace.frontends.onnx_windows import convolution_attributes
from convtrace.rules.quantized import LIMITS
from convtrace.rules.quantized_pull import along, requantize_tensor

_QLINEAR = (
    "input input_scale input_zero_point weight weight_scale weight_zero_point output_scale "
    "output_zero_point bias"
).split()


def _qlinear_conv(call: Call) -> Form | None:
    attributes = convolution_attributes(call, call.shape, call.array(3).shape)
    attributes["dtype"] = call.output.dtype.name
    replay = _requantized(replay_convolution(attributes), 1, attributes["dtype"])
    return Form("qlinear_conv", attributes, call.operands(*_QLINEAR), replay)


def _qlinear_matmul(call: Call) -> Form | None:
    if not _rows_by_columns(call, 3):
        return None
    attributes = {"dtype": call.output.dtype.name}
    replay = _requantized(_matrix_product, -1, attributes["dtype"])
    return Form("qlinear_matmul", attributes, call.operands(*_QLINEAR[:-1]), replay)


def _conv_integer(call: Call) -> Form | None:
    attributes = convolution_attributes(call, call.shape, call.array(1).shape)
    operands = call.operands("input", "weight", "input_zero_point", "weight_zero_point")
    return Form("conv_integer", attributes, operands, _centred(replay_convolution(attributes)))


def _matmul_integer(call: Call) -> Form | None:
    if not _rows_by_columns(call, 1):
        return None
    operands = call.operands("input", "weight", "input_zero_point", "weight_zero_point")
    return Form("matmul_integer", {}, operands, _centred(_matrix_product))


def _rows_by_columns(call: Call, place: int) -> bool:
    """Whether the second factor is one matrix, and the first has one scale and one zero point."""
    names = [call.name(2), *([call.name(1)] if place > 1 else [])]
    values = [call.run.values[name] for name in names if name in call.run.values]
    return call.array(place).ndim == 2 and all(value.size == 1 for value in values)


def _matrix_product(operands: Tensors) -> torch.Tensor:
    return operands["input"] @ operands["weight"]


def _centred(replay: Replay) -> Replay:
    """Run on float64, in which sums of products of bytes are exact, less the zero points."""

    def again(operands: Tensors) -> torch.Tensor:
        x, w = operands["input"].double(), operands["weight"].double()
        axis = 0 if w.dim() > 2 else -1
        if "input_zero_point" in operands:
            x = x - operands["input_zero_point"].double()
        if "weight_zero_point" in operands:
            w = w - along(operands["weight_zero_point"].double(), w, axis)
        parts = {"input": x, "weight": w}
        if "bias" in operands:
            parts["bias"] = operands["bias"].double()
        return replay(parts)

    return again


def _requantized(replay: Replay, axis: int, dtype: str) -> Replay:
    centred = _centred(replay)
    return lambda operands: requantize_tensor(centred(operands), operands, axis, *LIMITS[dtype])


# Into quantized numbers and out of them ----------------------------------------------------------


def _axis(call: Call) -> int | None:
    """Return the axis that scales go along; None where there are several scales on an axis."""
    if call.array(1).ndim > 1 or call.get("block_size", 0):
        return None
    return call.get("axis", 1) % max(len(call.shape), 1)


def _quantize(call: Call) -> Form | None:
    axis, dtype = _axis(call), call.output.dtype.name
    if axis is None or dtype not in LIMITS or call.array(0).dtype != "float32":
        return None
    operands = call.operands("self", "scale", "zero_point")
    attributes: dict[str, Any] = {"axis": axis, "dtype": dtype}
    low, high = LIMITS[dtype]

    def replay(values: Tensors) -> torch.Tensor:
        x = values["self"]
        q = (x / along(values["scale"].to(x.dtype), x, axis)).round()
        if "zero_point" in values:
            q = q + along(values["zero_point"].to(x.dtype), x, axis)
        return q.clamp(low, high)

    found = _convolution_before(call)
    if found is not None:
        settings, more = found
        return Form("qdq_conv", {**attributes, **settings}, {**operands, **more}, replay)
    return Form("quantize_linear", attributes, operands, replay)


def _dequantize(call: Call) -> Form | None:
    axis = _axis(call)
    if axis is None or call.output.dtype != "float32":
        return None

    def replay(values: Tensors) -> torch.Tensor:
        scale = values["scale"]
        x = values["self"].to(scale.dtype)
        if "zero_point" in values:
            x = x - along(values["zero_point"].to(scale.dtype), x, axis)
        return x * along(scale, x, axis)

    operands = call.operands("self", "scale", "zero_point")
    return Form("dequantize_linear", {"axis": axis}, operands, replay)


def _convolution_before(call: Call) -> tuple[dict[str, Any], dict[str, str]] | None:
    """Find a convolution of dequantized numbers whose output is quantized here.

    A ReLU may stand between the two.

    Returns:
        The settings of the convolution, and the quantized operands by role; None where this is
        not the pattern, or its scales are not those of an integer convolution.
    """
    makers = {name: node for node in call.run.nodes for name in node.outputs if name}
    maker = makers.get(call.name(0))
    relu = maker is not None and maker.title == "Relu"
    if maker is not None and relu:
        maker = makers.get(maker.inputs[0])
    if maker is None or maker.title != "Conv" or call.array(1).size != 1:
        return None
    operands: dict[str, str] = {}
    roles = zip(("input", "weight", "bias"), maker.inputs, (None, 0, 0), strict=False)
    for role, name, axis in roles:
        source = makers.get(name)
        if source is None or not _readable(source, call, axis):
            return None
        names = zip(_roles(role), source.inputs, strict=False)
        operands.update({part: own for part, own in names if own})
    values = call.run.values
    if "bias" in operands:
        product = values[operands["input_scale"]] * values[operands["weight_scale"]].ravel()
        zero = values.get(operands.pop("bias_zero_point", ""))
        scale = values[operands.pop("bias_scale")].ravel()
        if (scale != product).any() or (zero is not None and zero.any()):
            return None
    shapes = [values[operands[role]].shape for role in ("input", "weight")]
    attributes = convolution_attributes(Call(maker, 0, call.run), *shapes)
    return {**attributes, "relu": relu}, operands


def _roles(role: str) -> tuple[str, str, str]:
    return (role, f"{role}_scale", f"{role}_zero_point")


def _readable(node: Node, call: Call, axis: int | None) -> bool:
    """Whether a node dequantizes whole tensors, or channels along the axis that has them."""
    if node.title != "DequantizeLinear" or node.attributes.get("block_size", 0):
        return False
    scale = call.run.values.get(node.inputs[1])
    source = call.run.values.get(node.inputs[0])
    if scale is None or source is None or source.dtype.kind not in "iu":
        return False
    return scale.size == 1 or (
        axis is not None and node.attributes.get("axis", 1) % source.ndim == axis
    )


QUANTIZED: Mapping[str, Translator] = MappingProxyType(
    {
        "QLinearConv": _qlinear_conv,
        "QLinearMatMul": _qlinear_matmul,
        "ConvInteger": _conv_integer,
        "MatMulInteger": _matmul_integer,
        "QuantizeLinear": _quantize,
        "DequantizeLinear": _dequantize,
    }
)
"""Translators by operator type."""
