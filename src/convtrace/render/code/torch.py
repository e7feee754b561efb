"""Scripts in PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from convtrace.render.code.dialect import arithmetic, kind_of, pool_settings, spatial
from convtrace.render.code.text import call
from convtrace.step import Step

_UNARY = {
    "relu": "F.relu({x})",
    "sigmoid": "torch.sigmoid({x})",
    "tanh": "torch.tanh({x})",
    "silu": "F.silu({x})",
}


class Torch:
    """Says steps in PyTorch."""

    name = "torch"
    title = "PyTorch"
    reserved = ("torch", "F", "show", "returned", "result")

    def head(self, kinds: set[str]) -> list[str]:
        """Return the imports."""
        return ["import torch", "import torch.nn.functional as F"]

    def array(self, variable: str, numbers: NDArray[Any], role: str, dtype: str) -> list[str]:
        """Make a tensor of the type that ran."""
        return call(f"{variable} = torch.tensor(", numbers, f"dtype=torch.{dtype})")

    def numpy(self, variable: str, axes: int) -> str:
        """Return the tensor itself: its axes are in this order already."""
        return variable

    def step(self, step: Step, variables: Mapping[str, str], made: str) -> list[str] | None:
        """Write a step."""
        kind, a = kind_of(step), step.attributes
        x = variables.get("input") or variables.get("self", "")
        if kind in ("convolution", "transposed"):
            return _convolution(step, variables, made)
        if kind in _UNARY:
            return [f"{made} = {_UNARY[kind].format(x=x)}"]
        if kind == "reshape":
            return [f"{made} = {x}.reshape{step.shape}"]
        if kind == "pad" and a["mode"] in ("constant", "reflect", "replicate", "circular"):
            pads = [n for pair in a["padding"][::-1] for n in pair]
            while pads[-2:] == [0, 0]:
                pads = pads[:-2]
            value = f", value={a['value']!r}" if a.get("value") else ""
            return [f"{made} = F.pad({x}, {pads}, mode={a['mode']!r}{value})"]
        if kind.startswith("max_pool"):
            s = pool_settings(step)
            return [
                f"{made} = F.max_pool{_axes(kind)}({x}, {s['kernel_size']}, {s['stride']}, "
                f"{s['padding']}, {s['dilation']}, ceil_mode={a['ceil_mode']})"
            ]
        if kind.startswith("avg_pool") and not a.get("divisor_override"):
            s = pool_settings(step)
            return [
                f"{made} = F.avg_pool{_axes(kind)}({x}, {s['kernel_size']}, {s['stride']}, "
                f"{s['padding']}, {a['ceil_mode']}, {a['count_include_pad']})"
            ]
        if kind == "linear":
            bias = f", {variables['bias']}" if "bias" in variables else ""
            return [f"{made} = F.linear({x}, {variables['weight']}{bias})"]
        if kind == "native_batch_norm" and not a["training"]:
            roles = ("running_mean", "running_var", "weight", "bias")
            parts = ", ".join(variables.get(role, "None") for role in roles)
            return [f"{made} = F.batch_norm({x}, {parts}, eps={a['eps']!r})"]
        text = arithmetic(step, variables)
        return None if text is None else [f"{made} = {text}"]


def _axes(kind: str) -> str:
    return next(axes for axes in ("1d", "2d", "3d") if axes in kind)


def _convolution(step: Step, variables: Mapping[str, str], made: str) -> list[str] | None:
    a, axes = step.attributes, spatial(step)
    x, lines = variables["input"], list[str]()
    low = tuple(pad[0] for pad in a["padding"])
    if any(first != last or first < 0 for first, last in a["padding"]):
        flat = [n for pair in a["padding"][::-1] for n in pair]
        if a["transposed"]:
            return None  # PyTorch itself crops alike on both ends
        lines.append(f"{made} = F.pad({x}, {flat})")
        x, low = made, (0,) * axes
    function = f"conv{'_transpose' * a['transposed']}{axes}d"
    settings = f"stride={a['stride']}, padding={low}, dilation={a['dilation']}"
    if a["groups"] > 1:
        settings += f", groups={a['groups']}"
    if a["transposed"] and any(a["output_padding"]):
        settings += f", output_padding={a['output_padding']}"
    weight, bias = variables["weight"], variables.get("bias", "None")
    return [*lines, f"{made} = F.{function}({x}, {weight}, {bias},", f"    {settings})"]
