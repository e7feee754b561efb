"""ONNX operators that add up along axes: reductions, softmax, norms and matrix products.

Sources:
    https://onnx.ai/onnx/operators/ gives each formula and the defaults of its attributes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch.nn import functional

from convtrace.frontends.onnx_forms import Call, Form, Tensors, Translator

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
    return Form(
        kind, {}, call.operands("self", "mat2"), lambda o: torch.matmul(o["self"], o["mat2"])
    )


LAYERS: Mapping[str, Translator] = MappingProxyType(
    {
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
