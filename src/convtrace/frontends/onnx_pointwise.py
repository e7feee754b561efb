"""ONNX operators that work element by element, and norms, reductions and matrix products.

Sources:
    https://onnx.ai/onnx/operators/ gives each formula and the defaults of its attributes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch.nn import functional

from convtrace.frontends.onnx_forms import Call, Form, Replay, Tensors, Translator

Unary = Callable[[torch.Tensor], torch.Tensor]


def _unary(kind: str, attributes: Mapping[str, Any], call: Call, function: Unary) -> Form:
    return Form(
        kind, attributes, {"self": call.name(0)}, lambda operands: function(operands["self"])
    )


def _plain(kind: str, function: Unary) -> Translator:
    """Translate a function of one number that has no settings."""
    return lambda call: _unary(kind, {}, call, function)


def _leaky_relu(call: Call) -> Form:
    slope = call.get("alpha", 0.01)
    return _unary(
        "leaky_relu",
        {"negative_slope": slope},
        call,
        lambda z: torch.where(z >= 0, z, slope * z),
    )


def _elu(call: Call) -> Form:
    selu = call.node.op == "Selu"
    alpha = call.get("alpha", 1.6732632423543772 if selu else 1.0)
    scale = call.get("gamma", 1.0507009873554805) if selu else 1.0
    attributes = {"alpha": alpha, "scale": scale}
    return _unary(
        "elu",
        attributes,
        call,
        lambda z: scale * torch.where(z > 0, z, alpha * torch.expm1(z.clamp(max=0))),
    )


def _hard_sigmoid(call: Call) -> Form:
    alpha, beta = call.get("alpha", 0.2), call.get("beta", 0.5)
    return _unary(
        "hardsigmoid",
        {"alpha": alpha, "beta": beta},
        call,
        lambda z: (alpha * z + beta).clamp(0, 1),
    )


def _gelu(call: Call) -> Form:
    approximate = call.get("approximate", "none")
    return _unary(
        "gelu",
        {"approximate": approximate},
        call,
        lambda z: functional.gelu(z, approximate=approximate),
    )


def _clip(call: Call) -> Form | None:
    """Translate Clip; its limits are attributes before operator set 11, then inputs."""
    if not call.settled(1) or not call.settled(2):
        return None
    limits: dict[str, Any] = {}
    for place, name in ((1, "min"), (2, "max")):
        limit = call.get(name)
        if call.has(place):
            limit = call.array(place).item()
        limits[name] = limit
    if limits == {"min": None, "max": None}:
        return None
    return _unary("clamp", limits, call, lambda z: torch.clamp(z, limits["min"], limits["max"]))


def _limit(kind: str, side: str) -> Translator:
    """Translate Max and Min of a computed tensor and one stored number."""

    def translate(call: Call) -> Form | None:
        if len(call.node.inputs) != 2:
            return None
        for own, other in ((0, 1), (1, 0)):
            number = call.constant(other)
            if number is not None and number.size == 1 and call.constant(own) is None:
                limit = {side: number.item()}
                operands = {"self": call.name(own)}
                return Form(kind, limit, operands, lambda o: torch.clamp(o["self"], **limit))
        return None

    return translate


def _pow(call: Call) -> Form | None:
    exponent = call.constant(1)
    if exponent is None or exponent.size != 1 or exponent.item() <= 0:
        return None
    power = exponent.item()
    return _unary("pow", {"exponent": power}, call, lambda z: torch.pow(z, power))


def _prelu(call: Call) -> Form | None:
    """Translate PRelu with one slope, or one slope for each channel."""
    shape, slope = call.shape, call.array(1).shape
    axes = [len(shape) - len(slope) + axis for axis, size in enumerate(slope) if size > 1]
    if axes not in ([], [1]) or call.constant(1) is None:
        return None
    return Form(
        "prelu_kernel",
        {},
        call.operands("self", "weight"),
        lambda o: torch.where(o["self"] >= 0, o["self"], o["weight"] * o["self"]),
    )


def _binary(kind: str, function: Callable[[Any, Any], Any]) -> Translator:
    def translate(call: Call) -> Form | None:
        return Form(
            kind, {}, call.operands("self", "other"), lambda o: function(o["self"], o["other"])
        )

    return translate


def _sum_of_many(call: Call) -> Form | None:
    count = len(call.node.inputs)
    if count == 2:
        return _binary("add", torch.add)(call)
    roles = [f"tensors.{number}" for number in range(count)]

    def replay(operands: Tensors) -> torch.Tensor:
        total = operands[roles[0]]
        for role in roles[1:]:
            total = total + operands[role]
        return total

    return Form("add_n", {}, call.operands(*roles), replay)


# Reductions --------------------------------------------------------------------------------------


def _reduction(kind: str, function: Callable[..., torch.Tensor]) -> Translator:
    def translate(call: Call) -> Form | None:
        if not call.settled(1):
            return None
        dims = call.ints(1, "axes") or ()
        if not dims and call.get("noop_with_empty_axes", 0):
            return None
        axes = len(call.shape)
        where = tuple(sorted(d % axes for d in dims)) or tuple(range(axes))
        keep = bool(call.get("keepdims", 1))
        return Form(
            kind,
            {"dim": where, "keepdim": keep},
            {"self": call.name(0)},
            lambda operands: function(operands["self"], where, keepdim=keep),
        )

    return translate


def _softmax(kind: str, function: Callable[..., torch.Tensor]) -> Translator:
    """Translate Softmax; before operator set 13 it runs over all axes from `axis` on."""

    def translate(call: Call) -> Form | None:
        shape = call.shape
        old = call.node.version < 13
        axis = call.get("axis", 1 if old else -1) % max(len(shape), 1)

        def replay(operands: Tensors) -> torch.Tensor:
            z = operands["self"]
            if not old:
                return function(z, axis)
            return function(z.reshape(math.prod(shape[:axis]), -1), 1).reshape(z.shape)

        dim = tuple(range(axis, len(shape))) if old else axis
        return Form(kind, {"dim": dim}, {"self": call.name(0)}, replay)

    return translate


# Norms -------------------------------------------------------------------------------------------


def _batch_norm(call: Call) -> Form | None:
    """Translate BatchNormalization with stored statistics."""
    trains = call.get("training_mode", 0) or not call.get("spatial", 1)
    if call.number != 0 or trains or not all(call.settled(n) for n in (1, 2, 3, 4)):
        return None
    eps = call.get("epsilon", 1e-5)

    def replay(operands: Tensors) -> torch.Tensor:
        return functional.batch_norm(
            operands["input"],
            operands["running_mean"],
            operands["running_var"],
            operands["weight"],
            operands["bias"],
            eps=eps,
        )

    operands = call.operands("input", "weight", "bias", "running_mean", "running_var")
    attributes = {"training": False, "momentum": call.get("momentum", 0.9), "eps": eps}
    return Form("native_batch_norm", attributes, operands, replay)


def _group_norm(call: Call) -> Form | None:
    """Translate InstanceNormalization, which has a group for each channel, and groups."""
    channels = call.shape[1]
    groups = call.get("num_groups", channels)
    if call.array(1).shape != (channels,):
        return None  # before operator set 21 a scale could stand for a whole group
    eps = call.get("epsilon", 1e-5)
    attributes = {
        "N": call.shape[0],
        "C": channels,
        "HxW": math.prod(call.shape[2:]),
        "group": groups,
        "eps": eps,
    }

    def replay(operands: Tensors) -> torch.Tensor:
        return functional.group_norm(
            operands["input"], groups, operands["weight"], operands["bias"], eps
        )

    return Form("native_group_norm", attributes, call.operands("input", "weight", "bias"), replay)


def _layer_norm(call: Call) -> Form | None:
    shape = call.shape
    normalized = shape[call.get("axis", -1) % len(shape) :]
    scales = [call.array(place).shape for place in (1, 2) if call.has(place)]
    if call.number != 0 or any(scale != normalized for scale in scales):
        return None
    eps = call.get("epsilon", 1e-5)

    def replay(operands: Tensors) -> torch.Tensor:
        return functional.layer_norm(
            operands["input"], normalized, operands.get("weight"), operands.get("bias"), eps
        )

    return Form(
        "native_layer_norm",
        {"normalized_shape": normalized, "eps": eps},
        call.operands("input", "weight", "bias"),
        replay,
    )


# Matrix products ---------------------------------------------------------------------------------


def _gemm(call: Call) -> Form | None:
    """Translate Gemm: a linear layer where it is one, else `alpha·A·B + beta·C`."""
    flips = (bool(call.get("transA", 0)), bool(call.get("transB", 0)))
    alpha, beta = call.get("alpha", 1.0), call.get("beta", 1.0)
    bias = call.array(2).shape if call.has(2) else None
    width = call.output.shape[1]
    given = call.constant(1) is not None and call.settled(2)
    plain = flips == (False, True) and alpha == 1 and (bias is None or beta == 1)
    if plain and given and bias in (None, (width,)):
        return Form(
            "linear",
            {},
            call.operands("input", "weight", "bias"),
            lambda o: functional.linear(o["input"], o["weight"], o.get("bias")),
        )
    attributes = {"alpha": alpha, "beta": beta, "transA": flips[0], "transB": flips[1]}

    def replay(operands: Tensors) -> torch.Tensor:
        left = operands["mat1"].T if flips[0] else operands["mat1"]
        right = operands["mat2"].T if flips[1] else operands["mat2"]
        product = alpha * (left @ right)
        return product + beta * operands["self"] if "self" in operands else product

    return Form("gemm", attributes, call.operands("mat1", "mat2", "self"), replay)


def _matmul(call: Call) -> Form | None:
    shapes = call.shape, call.array(1).shape
    axes = tuple(map(len, shapes))
    kind = "mm" if axes == (2, 2) else "matmul"
    if axes == (3, 3) and shapes[0][0] == shapes[1][0]:
        kind = "bmm"
    replay: Replay = lambda o: torch.matmul(o["self"], o["mat2"])  # noqa: E731  # one line, as above
    return Form(kind, {}, call.operands("self", "mat2"), replay)


POINTWISE: Mapping[str, Translator] = MappingProxyType(
    {
        "Relu": _plain("relu", torch.relu),
        "Sigmoid": _plain("sigmoid", torch.sigmoid),
        "Tanh": _plain("tanh", torch.tanh),
        "HardSwish": _plain("hardswish", functional.hardswish),
        "Softplus": _plain("softplus", lambda z: torch.logaddexp(z, torch.zeros_like(z))),
        "Mish": _plain("mish", functional.mish),
        "Swish": _plain("silu", functional.silu),
        "Erf": _plain("erf", torch.erf),
        "Exp": _plain("exp", torch.exp),
        "Sqrt": _plain("sqrt", torch.sqrt),
        "Abs": _plain("abs", torch.abs),
        "Neg": _plain("neg", torch.neg),
        "LeakyRelu": _leaky_relu,
        "PRelu": _prelu,
        "Elu": _elu,
        "Selu": _elu,
        "HardSigmoid": _hard_sigmoid,
        "Gelu": _gelu,
        "Clip": _clip,
        "Max": _limit("clamp_min", "min"),
        "Min": _limit("clamp_max", "max"),
        "Pow": _pow,
        "Add": _binary("add", torch.add),
        "Sub": _binary("sub", torch.sub),
        "Mul": _binary("mul", torch.mul),
        "Div": _binary("div", torch.div),
        "Sum": _sum_of_many,
        "ReduceMean": _reduction("mean", torch.mean),
        "ReduceSum": _reduction("sum", torch.sum),
        "ReduceMax": _reduction("amax", torch.amax),
        "ReduceMin": _reduction("amin", torch.amin),
        "Softmax": _softmax("softmax", torch.softmax),
        "LogSoftmax": _softmax("log_softmax", torch.log_softmax),
        "BatchNormalization": _batch_norm,
        "InstanceNormalization": _group_norm,
        "GroupNormalization": _group_norm,
        "LayerNormalization": _layer_norm,
        "Gemm": _gemm,
        "MatMul": _matmul,
    }
)
"""Translators by operator type."""
