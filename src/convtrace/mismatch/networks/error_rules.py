"""What the arithmetic that ran may have added to a step that is run again, kind by kind.

A rule returns two sizes for each number: the most that rounding can have made of it, with what the
operands bring in, and the size that it usually has.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from convtrace.arithmetic import Arithmetic
from convtrace.exact import FORMATS, gamma
from convtrace.mismatch.judging.bounds import bounds, typical
from convtrace.step import Step

if TYPE_CHECKING:
    import torch

SUMS = frozenset("convolution linear mm bmm addmm matmul gemm".split())
"""Kinds whose numbers are sums of products of two operands."""


@dataclass(frozen=True)
class Work:
    """One step that is run again.

    Attributes:
        step: The step.
        replay: What runs it.
        operands: What it reads, by role: `value`, `error`, `usual`.
        values: The values of these.
        value: What it makes of them.
        arithmetic: The arithmetic to bound its error for.
    """

    step: Step
    replay: Callable[[Mapping[str, Any]], Any]
    operands: Mapping[str, Any]
    values: Mapping[str, torch.Tensor]
    value: torch.Tensor
    arithmetic: Arithmetic

    @property
    def unit(self) -> float:
        """Unit roundoff, of the coarsest format on the way."""
        names = (self.arithmetic.accumulate, self.arithmetic.result)
        return max(FORMATS[name].unit for name in names)

    @property
    def tiny(self) -> float:
        """What rounding near zero may make."""
        return FORMATS[self.arithmetic.result].smallest

    def sizes(self, which: str) -> dict[str, Any]:
        """Errors of the operands that have one, by role: `error` or `usual`."""
        import torch

        found: dict[str, Any] = {}
        for role, operand in self.operands.items():
            size = getattr(operand, which)
            if not isinstance(size, float) or size:
                wide = torch.as_tensor(size, dtype=torch.float64)
                found[role] = wide.expand(operand.value.shape)
        return found

    def both(self, carry: Callable[[str], Any], own: Any, usual: Any = None) -> tuple[Any, Any]:
        """Add what operands bring in to what the step itself makes."""
        usual = own / 4 if usual is None else usual
        return carry("error") + own, carry("usual") + usual


def rule_for(step: Step) -> Callable[[Work], tuple[Any, Any]]:
    """Return what bounds the error of a step, and says how large it usually is."""
    if step.sources is not None:
        return _move
    if step.kind in SUMS:
        return _sum_of_products
    return _RULES.get(step.kind, anything)


def _only(operands: Mapping[str, Any], errors: Mapping[str, Any]) -> dict[str, Any]:
    """Put errors in the place of operands; zeros where an operand has none."""
    import torch

    found: dict[str, Any] = {}
    for role, operand in operands.items():
        if role in errors:
            found[role] = errors[role]
        else:
            moved = operand.is_floating_point()
            found[role] = torch.zeros_like(operand) if moved else operand
    return found


def _move(work: Work) -> tuple[Any, Any]:
    def carry(which: str) -> Any:
        errors = work.sizes(which)
        if not errors:
            return 0.0
        moved = work.replay(_only(work.values, errors))
        return (moved - work.replay(_only(work.values, {}))).abs()

    stored = work.step.dtype
    read = [work.step.values[role].dtype for role in work.step.moved]
    coarser = stored in FORMATS and any(
        name in FORMATS and FORMATS[name].precision > FORMATS[stored].precision for name in read
    )
    if not coarser:
        return work.both(carry, 0.0)
    fmt = FORMATS[stored]
    return work.both(carry, fmt.unit * work.value.abs() + fmt.smallest)


def _sum_of_products(work: Work) -> tuple[Any, Any]:
    import torch

    replay, values = work.replay, work.values
    sizes = {role: value.abs() for role, value in values.items()}
    magnitude = replay(sizes).abs()
    count = terms(work.step)
    stored = max(
        (v.dtype for v in work.step.values.values() if v.dtype in FORMATS),
        key=lambda name: FORMATS[name].precision,
        default="float64",
    )
    exact, around = work.value.numpy(), magnitude.numpy()
    own = torch.from_numpy(np.asarray(bounds(work.arithmetic, count, around, exact, stored, count)))
    usual = torch.from_numpy(np.asarray(typical(work.arithmetic, count, around, exact, stored)))
    error: Any = own
    for role, brought in work.sizes("error").items():
        error = error + replay({**_without_bias(sizes, role), role: brought}).abs()
    squares = usual.square()
    for role, brought in work.sizes("usual").items():
        rest = {r: v.square() for r, v in _without_bias(sizes, role).items()}
        squares = squares + replay({**rest, role: brought.square()}).abs()
    return error, squares.sqrt()


def _without_bias(sizes: Mapping[str, torch.Tensor], role: str) -> dict[str, torch.Tensor]:
    """Leave out what is only added, unless it is what brings the error in."""
    import torch

    added = [name for name in ("bias", "self") if name in sizes and len(sizes) == 3]
    return {
        name: torch.zeros_like(size) if name in added and name != role else size
        for name, size in sizes.items()
    }


def terms(step: Step) -> int:
    """Count the summands of one number of a sum of products, the bias included."""
    values, kind = step.values, step.kind
    more = int("bias" in values or (kind in ("addmm", "gemm") and "self" in values))
    if kind == "convolution":
        weight = values["weight"].shape
        groups, transposed = step.attributes["groups"], step.attributes["transposed"]
        channels = weight[0] // groups if transposed else weight[1]
        return channels * math.prod(weight[2:]) + more
    if kind == "linear":
        return values["weight"].shape[-1] + more
    second = values["mat2"].shape
    return (second[-1] if step.attributes.get("transB") else second[-2:][0]) + more


def _pointwise(work: Work) -> tuple[Any, Any]:
    """Bound a function of one number: it moves by no more than it does at the ends."""
    z = work.values["self"]

    def carry(which: str) -> Any:
        error = work.sizes(which).get("self")
        if error is None:
            return 0.0
        ends = [work.replay({**work.values, "self": z + sign * error}) for sign in (1, -1)]
        return ((ends[0] - work.value).abs()).maximum((ends[1] - work.value).abs())

    if work.step.kind in _EXACT:
        return work.both(carry, 0.0)
    own = 32 * work.unit * (work.value.abs() + z.abs()) + 8 * work.tiny
    if work.step.kind in ("sigmoid", "exp", "softplus", "elu", "log_sigmoid_forward"):
        own = own + 32 * work.unit
    return work.both(carry, own)


_EXACT = frozenset("relu hardtanh clamp clamp_min clamp_max abs neg sign".split())


def _norm(work: Work) -> tuple[Any, Any]:
    if work.step.attributes.get("training", False):
        return anything(work)
    values = work.values
    shape = [1, -1] + [1] * (values["input"].dim() - 2)
    scale = (values["running_var"] + work.step.attributes["eps"]).rsqrt()
    if "weight" in values:
        scale = scale * values["weight"]
    size = (scale * values["running_mean"]).abs()
    if "bias" in values:
        size = size + values["bias"].abs()
    scale = scale.abs().reshape(shape)

    def carry(which: str) -> Any:
        return work.sizes(which).get("input", 0.0) * scale

    own = 8 * work.unit * (values["input"].abs() * scale + size.reshape(shape)) + 8 * work.tiny
    return work.both(carry, own)


def _signed(work: Work) -> tuple[Any, Any]:
    """Bound a sum or a difference of operands, each with a factor."""
    alpha = abs(work.step.attributes.get("alpha", 1))
    scaled = "self" if work.step.kind == "rsub" else "other"

    def carry(which: str) -> Any:
        total: Any = 0.0
        for role, error in work.sizes(which).items():
            total = total + error * (alpha if role == scaled else 1)
        return total

    own = 2 * work.unit * work.value.abs() + work.tiny
    if alpha != 1 or "other" not in work.values:
        sizes = [v.abs() * (alpha if role == scaled else 1) for role, v in work.values.items()]
        more = sum(sizes) + abs(complex(work.step.attributes.get("other", 0))) * alpha
        own = own + 2 * work.unit * more
    return work.both(carry, own)


def _product(work: Work) -> tuple[Any, Any]:
    first = work.values["self"].abs()
    second = work.values.get("other")
    factor: Any = abs(work.step.attributes["other"]) if second is None else second.abs()

    def carry(which: str) -> Any:
        errors = work.sizes(which)
        left, right = errors.get("self", 0.0), errors.get("other", 0.0)
        return left * factor + right * first + left * right

    return work.both(carry, 4 * work.unit * work.value.abs() + work.tiny)


def _quotient(work: Work) -> tuple[Any, Any]:
    second = work.values.get("other")
    divisor: Any = abs(work.step.attributes["other"]) if second is None else second.abs()

    def carry(which: str) -> Any:
        errors = work.sizes(which)
        below = errors.get("other", 0.0)
        return (errors.get("self", 0.0) + work.value.abs() * below) / divisor

    return work.both(carry, 8 * work.unit * work.value.abs() + work.tiny)


def _linear(work: Work) -> tuple[Any, Any]:
    """Bound a sum with factors of its own, none of them negative: means, pools, resampling."""
    role = "self" if "self" in work.values else next(iter(work.values))
    x = work.values[role]
    zeros = {r: v for r, v in work.values.items() if r != role}
    widened = 2 if "bicubic" in work.step.kind or work.step.kind == "resize" else 1

    def carry(which: str) -> Any:
        error = work.sizes(which).get(role)
        return 0.0 if error is None else widened * work.replay({**zeros, role: error}).abs()

    count = max(x.numel() // max(work.value.numel(), 1), 16)
    kernel = work.step.attributes.get("kernel_size")
    if isinstance(kernel, tuple):
        count = max(count, math.prod(kernel))  # pyright: ignore[reportUnknownArgumentType]  # attributes are open
    if work.step.kind == "cumsum":
        count = max(x.shape)
    size = widened * work.replay({**zeros, role: x.abs()}).abs()
    own = (gamma(count, work.unit) + 8 * work.unit) * size + work.tiny
    if work.step.kind.startswith(("upsample", "resize")):
        # Factors follow from coordinates, whose rounding grows with the size of the map.
        own = own + 8 * work.unit * float(x.abs().max()) * max(work.value.shape[2:])
    return work.both(carry, own, math.sqrt(count) * work.unit * size + work.tiny)


def _select(work: Work) -> tuple[Any, Any]:
    """Bound the choice of one operand: |max a - max b| is at most max |a - b|."""
    sign = -1.0 if work.step.kind in ("amin", "minimum") else 1.0

    def carry(which: str) -> Any:
        errors = work.sizes(which)
        if not errors:
            return 0.0
        found = work.replay({r: sign * e for r, e in _only(work.values, errors).items()})
        return found.nan_to_num(0.0, 0.0, 0.0).abs()

    return work.both(carry, 0.0)


def anything(work: Work) -> tuple[Any, Any]:
    """Estimate for a step without a bound: how far float32 and small changes move it."""
    import torch

    finite = torch.where(work.value.isfinite(), work.value, 0.0)
    largest = float(finite.abs().max()) if finite.numel() else 0.0
    coarse = {r: v.float() if v.is_floating_point() else v for r, v in work.values.items()}
    try:
        moved = (work.replay(coarse).double() - work.value).nan_to_num(0.0, 0.0, 0.0)
        rounding = float(moved.abs().max()) * max(work.unit / FORMATS["float32"].unit, 1.0)
    except RuntimeError:
        rounding = 0.0
    generator = torch.Generator().manual_seed(0)

    def carry(which: str) -> Any:
        errors = work.sizes(which)
        most = 0.0
        for _ in range(3 if errors else 0):
            changed = dict(work.values)
            for role, error in errors.items():
                sign = torch.rand(error.shape, generator=generator, dtype=torch.float64) * 2 - 1
                changed[role] = changed[role] + sign.sign() * error
            moved = (work.replay(changed) - work.value).nan_to_num(0.0, 0.0, 0.0)
            most = max(most, float(moved.abs().max()))
        return 4 * most

    return work.both(carry, 8 * rounding + 64 * work.unit * largest + work.tiny)


_RULES: dict[str, Callable[[Work], tuple[Any, Any]]] = {
    "native_batch_norm": _norm,
    "masked_fill": _move,
    "add": _signed,
    "sub": _signed,
    "rsub": _signed,
    "add_n": _signed,
    "mul": _product,
    "div": _quotient,
    **dict.fromkeys(
        "relu gelu silu sigmoid tanh hardtanh hardswish hardsigmoid leaky_relu prelu_kernel elu "
        "softplus mish clamp clamp_min clamp_max exp sqrt abs pow log_sigmoid_forward celu "
        "sign neg erf".split(),
        _pointwise,
    ),
    **dict.fromkeys(
        "mean sum avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d "
        "adaptive_avg_pool3d upsample_nearest1d upsample_nearest2d upsample_nearest3d "
        "upsample_linear1d upsample_bilinear2d upsample_trilinear3d upsample_bicubic2d resize "
        "cumsum im2col col2im".split(),
        _linear,
    ),
    **dict.fromkeys(
        "max_pool1d max_pool2d_with_indices max_pool3d_with_indices adaptive_max_pool2d "
        "adaptive_max_pool3d amax amin maximum minimum where".split(),
        _select,
    ),
}
"""Rules by kind of step; a kind that has none is estimated."""
