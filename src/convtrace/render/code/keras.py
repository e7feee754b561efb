"""Scripts in Keras 3, which keeps channels last; TensorFlow orders its axes alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from convtrace.render.code.dialect import (
    arithmetic,
    is_simple_pool,
    kind_of,
    pool_settings,
)
from convtrace.render.code.text import call
from convtrace.step import Step

_NOTES = """\
# Where the axes differ. PyTorch keeps channels first, Keras and TensorFlow keep them last:
#   input, output        PyTorch (N, C, H, W)           Keras (N, H, W, C)
#   kernel               PyTorch (C_out, C_in, kH, kW)  Keras (kH, kW, C_in, C_out)
#   transposed kernel    PyTorch (C_in, C_out, kH, kW)  Keras (kH, kW, C_out, C_in)
#   Dense or linear      PyTorch (out, in)              Keras (in, out)
# Flatten after a convolution reads the channels last in Keras, so channels are put first before.
# KERAS_BACKEND=torch, jax or tensorflow chooses what computes."""

_UNARY = {
    "relu": "ops.relu({x})",
    "sigmoid": "ops.sigmoid({x})",
    "tanh": "ops.tanh({x})",
    "silu": "ops.silu({x})",
}


class Keras:
    """Says steps in Keras."""

    name = "keras"
    title = "Keras"
    reserved = ("keras", "ops", "np", "show", "returned", "result")

    def head(self, kinds: set[str]) -> list[str]:
        """Return the imports, and where axes differ."""
        return [*_NOTES.splitlines(), "", "import numpy as np", "from keras import ops"]

    def array(self, variable: str, numbers: NDArray[Any], role: str, dtype: str) -> list[str]:
        """Make a float64 tensor, with channels last where it is no vector."""
        lines = call(f"{variable} = np.array(", numbers, f"dtype=np.{numbers.dtype})")
        order = _order(role, numbers.ndim)
        text = variable if order is None else f"{variable}.transpose{order}"
        kind = "float64" if numbers.dtype.kind == "f" else str(numbers.dtype)
        return [*lines, f'{variable} = ops.convert_to_tensor({text}, dtype="{kind}")']

    def numpy(self, variable: str, axes: int) -> str:
        """Return the numbers with channels first again."""
        text = f"ops.convert_to_numpy({variable})"
        return text if axes < 3 else f"np.moveaxis({text}, -1, 1)"

    def step(self, step: Step, variables: Mapping[str, str], made: str) -> list[str] | None:
        """Write a step."""
        kind, a = kind_of(step), step.attributes
        weight = step.values.get("weight")
        if weight is not None and weight.origin == "step" and len(weight.shape) > 1:
            return None  # its axes are those of an output, not those of a kernel
        x = variables.get("input") or variables.get("self", "")
        if kind in ("convolution", "transposed"):
            return _convolution(step, variables, made) if a["batched"] else None
        if kind in _UNARY:
            return [f"{made} = {_UNARY[kind].format(x=x)}"]
        if kind == "reshape":
            return _reshape(step, x, made)
        if kind == "pad" and a["mode"] in ("constant", "reflect") and not a.get("value"):
            first, channels, *rest = (tuple(pair) for pair in a["padding"])
            pads = (first, *rest, channels)
            return [f'{made} = ops.pad({x}, {pads}, mode="{a["mode"]}")']
        if "_pool" in kind and "adaptive" not in kind and is_simple_pool(step):
            s, which = pool_settings(step), "max" if kind.startswith("max") else "average"
            return [
                f"{made} = ops.{which}_pool({x}, {s['kernel_size']}, strides={s['stride']}, "
                'padding="valid")'
            ]
        if kind == "linear":
            bias = f" + {variables['bias']}" if "bias" in variables else ""
            return [f"{made} = ops.matmul({x}, {variables['weight']}){bias}"]
        if kind == "native_batch_norm" and not a["training"] and "weight" in variables:
            mean, variance = variables["running_mean"], variables["running_var"]
            return [
                f"{made} = ({x} - {mean}) / ops.sqrt({variance} + {a['eps']!r})",
                f"{made} = {made} * {variables['weight']} + {variables['bias']}",
            ]
        shapes = {value.shape for value in step.values.values()}
        text = arithmetic(step, variables) if len(shapes) == 1 else None
        return None if text is None else [f"{made} = {text}"]


def _order(role: str, axes: int) -> tuple[int, ...] | None:
    """Return the order of axes that Keras has, or None where it is the same."""
    if role == "linear":
        return (1, 0)
    if axes < 3:
        return None
    if role == "weight":
        return (*range(2, axes), 1, 0)
    return (0, *range(2, axes), 1)


def _reshape(step: Step, x: str, made: str) -> list[str]:
    before, after = len(step.values["self"].shape), len(step.shape)
    source = x if before < 3 else f"ops.moveaxis({x}, -1, 1)"
    text = f"ops.reshape({source}, {step.shape})"
    return [f"{made} = {text if after < 3 else f'ops.moveaxis({text}, 1, -1)'}"]


def _convolution(step: Step, variables: Mapping[str, str], made: str) -> list[str] | None:
    a = step.attributes
    x, weight = variables["input"], variables["weight"]
    bias = [f"{made} = {made} + {variables['bias']}"] if "bias" in variables else []
    if not a["transposed"]:
        if any(n < 0 for pair in a["padding"] for n in pair):
            return None
        strided = any(n > 1 for n in a["stride"])
        if strided and any(n > 1 for n in a["dilation"]):
            return None  # Keras allows one of them
        lines: list[str] = []
        if any(n for pair in a["padding"] for n in pair):
            pads = ((0, 0), *(tuple(pair) for pair in a["padding"]), (0, 0))
            lines.append(f"{made} = ops.pad({x}, {pads})")
            x = made
        settings = f'strides={a["stride"]}, padding="valid", dilation_rate={a["dilation"]}'
        return [*lines, f"{made} = ops.conv({x}, {weight}, {settings})", *bias]
    if a["groups"] > 1 or any(n > 1 for n in a["dilation"]):
        return None  # Keras has no groups there
    sizes = zip(
        step.values["input"].shape[2:], step.values["weight"].shape[2:], a["stride"],
        a["padding"], step.shape[2:], strict=True,
    )  # fmt: skip
    cuts = [":"]
    more: list[tuple[int, int]] = []
    for n, k, stride, (low, high), size in sizes:
        made_size = (n - 1) * stride + max(k, stride)
        if low < 0 or high < 0:
            return None
        cuts.append(f"{low}:{low + size}")
        more.append((0, max(low + size - made_size, 0)))
    lines = [
        f'{made} = ops.conv_transpose({x}, {weight}, {a["stride"]}, padding="valid")',
    ]
    if any(end for _, end in more):
        lines.append(f"{made} = ops.pad({made}, {((0, 0), *more, (0, 0))})")
    lines.append(f"{made} = {made}[{', '.join(cuts)}]")
    return [*lines, *bias]
