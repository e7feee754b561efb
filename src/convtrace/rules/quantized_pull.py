"""Contributions through quantized operators.

A quantized number stands for `scale * (q - zero point)`. Rounding and saturation are a gate,
frozen at its value: the integer less its zero point, divided by what it was before rounding.
Zero points go into what the step adds itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from convtrace.rules.pointwise import product_shares
from convtrace.rules.pulling import Pulled, Run

if TYPE_CHECKING:
    import torch


def along(numbers: torch.Tensor, like: torch.Tensor, axis: int) -> torch.Tensor:
    """Shape one number, or one for each channel, so that it broadcasts along an axis."""
    shape = [1] * like.dim()
    if numbers.numel() > 1:
        shape[axis] = -1
    return numbers.reshape(shape)


def requantize_tensor(
    total: torch.Tensor, operands: Mapping[str, torch.Tensor], axis: int, low: int, high: int
) -> torch.Tensor:
    """Turn accumulators into quantized numbers: scaled in float32, rounded, shifted, saturated.

    Args:
        total: Accumulators, in float64.
        operands: Scales and the output's zero point, by role.
        axis: Axis of the output channels.
        low: Smallest number of the type.
        high: Largest number of the type.
    """
    total = (total + 2**31).remainder(2**32) - 2**31
    scales = (operands[f"{role}_scale"].float() for role in ("input", "weight", "output"))
    first, second, divisor = scales
    scale = first.reshape(()) * second / divisor.reshape(())
    q = (total.float() * along(scale, total, axis)).round().double()
    if "output_zero_point" in operands:
        q = q + operands["output_zero_point"].double().reshape(())
    return q.clamp(low, high)


def pull_product(run: Run, cotangent: torch.Tensor) -> Pulled:
    """Pull through a convolution or a matrix product of quantized numbers."""
    import torch

    operands, convolves = run.operands, "groups" in run.step.attributes
    dtype = cotangent.dtype if cotangent.is_floating_point() else torch.float32
    g, axis = cotangent.double(), 1 if convolves else -1
    shares = product_shares(run, "input", "weight")
    x, w = operands["input"].double(), operands["weight"].double()
    zeros = {
        "input": _zero(operands, "input_zero_point", x, 0),
        "weight": _zero(operands, "weight_zero_point", w, 0 if convolves else -1),
    }
    leaves = {"input": x - zeros["input"], "weight": w - zeros["weight"]}
    with torch.enable_grad():
        leaves = {role: leaf.requires_grad_() for role, leaf in leaves.items()}
        products = _convolve(run, leaves) if convolves else leaves["input"] @ leaves["weight"]
    total = products.detach()
    bias = operands.get("bias")
    if bias is not None:
        total = total + along(bias.double(), total, axis)
    added: Any = 0.0
    if "output_scale" in operands:
        scale = operands["input_scale"].double().reshape(()) * operands["weight_scale"].double()
        scale = along(scale / operands["output_scale"].double().reshape(()), total, axis)
        zero = _zero(operands, "output_zero_point", total, axis)
        before = total * scale
        gate = torch.where(before == 0, 1.0, (run.output.double() - zero) / before)
        added = (g * zero).sum()
        g = g * gate * scale
    if bias is not None:
        added = added + (g * along(bias.double(), total, axis)).sum()
    found: dict[str, torch.Tensor] = {}
    pulled = torch.autograd.grad(
        products, [leaves[role] for role in shares], g, create_graph=g.requires_grad
    )
    for (role, share), part in zip(shares.items(), pulled, strict=True):
        added = added - share * (part * zeros[role]).sum()
        found[role] = (share * part).to(dtype)
    return Pulled(found, added, halved=len(shares) == 2)


def pull_quantize(run: Run, cotangent: torch.Tensor) -> Pulled:
    """Pull through QuantizeLinear: rounding and saturation are a gate."""
    import torch

    x = run.operands["self"]
    g = cotangent.to(x.dtype)
    axis = run.step.attributes["axis"]
    zero = _zero(run.operands, "zero_point", x, axis)
    scale = along(run.operands["scale"].to(x.dtype), x, axis)
    quotient = (run.output.to(x.dtype) - zero) / x
    gate = torch.where(x == 0, 1 / scale, quotient)
    return Pulled({"self": g * gate}, (g * zero).sum())


def pull_dequantize(run: Run, cotangent: torch.Tensor) -> Pulled:
    """Pull through DequantizeLinear: times the scale; the zero point is the step's own."""
    axis = run.step.attributes["axis"]
    scale = run.operands["scale"].to(cotangent.dtype)
    g = cotangent * along(scale, cotangent, axis)
    return Pulled({"self": g}, -(g * _zero(run.operands, "zero_point", g, axis)).sum())


def _zero(
    operands: Mapping[str, torch.Tensor], role: str, like: torch.Tensor, axis: int
) -> torch.Tensor:
    """Return zero points in the form and type of a tensor; 0 where they are left out."""
    if role not in operands:
        return like.new_zeros(())
    return along(operands[role].to(like.dtype), like, axis)


def _convolve(run: Run, leaves: Mapping[str, torch.Tensor]) -> torch.Tensor:
    import torch

    attributes = run.step.attributes
    pads = [p for pair in attributes["padding"][::-1] for p in pair]
    return torch.ops.aten.convolution.default(
        torch.nn.functional.pad(leaves["input"], pads),
        leaves["weight"],
        None,
        list(attributes["stride"]),
        [0] * len(attributes["stride"]),
        list(attributes["dilation"]),
        False,
        [0] * len(attributes["stride"]),
        attributes["groups"],
    )
