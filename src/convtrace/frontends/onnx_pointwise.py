"""ONNX operators that work element by element.

Sources:
    https://onnx.ai/onnx/operators/ gives each formula and the defaults of its attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch.nn import functional

from convtrace.frontends.onnx_forms import Call, Form, Tensors, Translator

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


def _swish(call: Call) -> Form:
    alpha = call.get("alpha", 1.0)
    return _unary("silu", {"alpha": alpha}, call, lambda z: z * torch.sigmoid(alpha * z))


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
                return _limited(kind, {side: number.item()}, call.name(own))
        return None

    return translate


def _limited(kind: str, limit: Mapping[str, Any], name: str) -> Form:
    return Form(kind, limit, {"self": name}, lambda o: torch.clamp(o["self"], **limit))


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


POINTWISE: Mapping[str, Translator] = MappingProxyType(
    {
        "Relu": _plain("relu", torch.relu),
        "Sigmoid": _plain("sigmoid", torch.sigmoid),
        "Tanh": _plain("tanh", torch.tanh),
        "HardSwish": _plain("hardswish", functional.hardswish),
        "Softplus": _plain("softplus", lambda z: torch.logaddexp(z, torch.zeros_like(z))),
        "Mish": _plain("mish", functional.mish),
        "Swish": _swish,
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
    }
)
"""Translators by operator type."""
