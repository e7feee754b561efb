"""One file for each family of operators; a table maps kinds of steps to their rules.

Each rule answers the same questions about a step:

    why(step, index, reporter) -> Receipt     one number and every multiplication that made it
    pull(run, cotangent)       -> Pulled      the whole step at once, for contributions
    uses(step, role, index)    -> Dependents  the inverse: where an operand number went
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from convtrace.receipt import Receipt
from convtrace.step import Status, Step

if TYPE_CHECKING:
    from convtrace.rules.pulling import DependentsOf, Pull

Why = Callable[[Step, tuple[int, ...], str], Receipt | None]
"""Explains one number of a step; None where that cannot be told after all."""


@dataclass(frozen=True)
class Rule:
    """What is known of a kind of step.

    Functions are named as `file.function` of this folder, and a file is imported when the first of
    its functions is asked for: one number of a saved trace needs one file of twenty.

    Attributes:
        status: What a receipt can say of it.
        explaining: Name of `why`; None where the step is shown as a formula.
        pulling: Name of `pull`; None where the walk stops.
        listing: Name of `uses`; None leaves it to the pull, turned round.
    """

    status: Status
    explaining: str | None = None
    pulling: str | None = None
    listing: str | None = None

    @property
    def why(self) -> Why | None:
        """Explains one number; None where the step is shown as a formula."""
        return _function(self.explaining)

    @property
    def pull(self) -> Pull | None:
        """Pulls a cotangent through the whole step; None where the walk stops."""
        return _function(self.pulling)

    @property
    def uses(self) -> DependentsOf | None:
        """Lists where an operand number went; None leaves it to the pull, turned round."""
        return _function(self.listing)


@cache
def _function(name: str | None) -> Any:
    if name is None:
        return None
    file, function = name.split(".")
    return getattr(import_module(f"convtrace.rules.{file}"), function)


_CONSTANTS = (
    "fill zero zeros_like ones_like full_like rand_like randn_like randint_like new_zeros new_ones "
    "new_full"
).split()
"""Kinds whose operands lend their shape only; the value of `fill` may be a computed number."""

_ATTENTION = tuple(
    f"scaled_dot_product_{way}"
    for way in (
        "flash_attention_for_cpu",
        "flash_attention",
        "efficient_attention",
        "cudnn_attention",
    )
)
"""Kinds that compute `softmax(scale·Q·Kᵀ + mask)·V` in one operator."""

MOVE = Rule("selects", "moves.why", "moves.pull")
"""The rule of every step that only moves numbers."""

_GATE = Rule("gates", "pointwise.why_gate", "pointwise.pull_gate")
_AGAIN = Rule("linear", "again.why", "again.pull")
_SELECT = Rule("selects", "again.why", "again.pull")
_PRODUCT = Rule("gates", "linear.why_product", "linear.pull_product")

RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "convolution": Rule("linear", "conv.why", "conv.pull", "conv_uses.uses"),
        "linear": Rule("linear", "linear.why", "linear.pull", "linear.uses"),
        "add": Rule("linear", "pointwise.why_sum", "pointwise.pull_sum"),
        "sub": Rule("linear", "pointwise.why_sum", "pointwise.pull_sum"),
        "rsub": Rule("linear", "pointwise.why_sum", "pointwise.pull_sum"),
        "mul": Rule("gates", "pointwise.why_product", "pointwise.pull_product"),
        "div": Rule("gates", "pointwise.why_quotient", "pointwise.pull_quotient"),
        "max_pool2d_with_indices": Rule("selects", "again.why", "again.pull_max_pool"),
        "relu": Rule("gates", "pointwise.why_relu", "pointwise.pull_relu"),
        "native_batch_norm": Rule("linear", "norm.why_batch_norm", "norm.pull_batch_norm"),
        "native_layer_norm": Rule("gates", "norm.why_own_statistics", "norm.pull_layer_norm"),
        "native_group_norm": Rule("gates", "norm.why_own_statistics", "norm.pull_group_norm"),
        **dict.fromkeys(["mm", "bmm", "addmm"], _PRODUCT),
        "gemm": Rule("gates", "gemm.why_gemm", "gemm.pull_gemm"),
        "matmul": Rule("gates", "gemm.why_matmul", "gemm.pull_matmul"),
        "add_n": Rule("linear", "gemm.why_add_n", "gemm.pull_add_n"),
        "convolution_gradient": Rule("linear", "conv_backward.why"),
        "linear_gradient": Rule("linear", "backward.why_linear"),
        "gradient_start": Rule("linear", "backward.why_start"),
        "gradient_passed": Rule("selects", "backward.why_passed"),
        "gradient_sum": Rule("linear", "gemm.why_add_n"),
        "resize": _AGAIN,
        "erf": _GATE,
        **dict.fromkeys(
            ["qlinear_conv", "qlinear_matmul"],
            Rule("gates", "quantized.why_qlinear", "quantized_pull.pull_product"),
        ),
        **dict.fromkeys(
            ["conv_integer", "matmul_integer"],
            Rule("linear", "quantized.why_integer", "quantized_pull.pull_product"),
        ),
        "qdq_conv": Rule("gates", "quantized.why_qdq", "quantized_pull.pull_quantize"),
        "quantize_linear": Rule("gates", "quantized.why_quantize", "quantized_pull.pull_quantize"),
        "dequantize_linear": Rule(
            "linear", "quantized.why_dequantize", "quantized_pull.pull_dequantize"
        ),
        **dict.fromkeys(
            ["addcmul", "addcdiv"], Rule("gates", "blends.why_addcmul", "blends.pull_addcmul")
        ),
        "lerp": Rule("gates", "blends.why_lerp", "blends.pull_lerp"),
        "glu": Rule("gates", "blends.why_glu", "blends.pull_glu"),
        "prod": Rule("gates", "blends.why_prod", "blends.pull_prod"),
        **dict.fromkeys(_CONSTANTS, Rule("linear", "constants.why", "constants.pull")),
        **dict.fromkeys(_ATTENTION, Rule("gates", "attention.why", "attention.pull")),
        **dict.fromkeys(
            "gelu silu sigmoid tanh hardtanh hardswish hardsigmoid leaky_relu prelu_kernel elu "
            "softplus mish clamp clamp_min clamp_max exp sqrt rsqrt abs pow native_dropout "
            "log_sigmoid_forward celu sign reciprocal log log2 log10 log1p expm1 exp2 sin cos tan "
            "atan asinh erfc threshold softshrink hardshrink square".split(),
            _GATE,
        ),
        **dict.fromkeys(
            "mean sum avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d "
            "adaptive_avg_pool3d upsample_nearest1d upsample_nearest2d upsample_nearest3d "
            "upsample_linear1d upsample_bilinear2d upsample_trilinear3d upsample_bicubic2d "
            "cumsum neg im2col col2im grid_sampler_2d grid_sampler_3d index_add scatter_add "
            "scatter_reduce".split(),
            _AGAIN,
        ),
        **dict.fromkeys(
            "max_pool1d max_pool3d_with_indices adaptive_max_pool2d "
            "adaptive_max_pool3d amax amin maximum minimum masked_fill where max min sort topk "
            "kthvalue median cummax cummin index_put index_put_impl index_copy index_fill scatter "
            "slice_scatter select_scatter diagonal_scatter masked_scatter masked_select".split(),
            _SELECT,
        ),
    }
)
"""Rules by kind of step. A kind without a rule is opaque."""

SOFTMAX = frozenset({"softmax", "log_softmax", "safe_softmax"})
"""Kinds that have no exact sum by class; the numbers before them, the logits, have."""

GATES = frozenset({"sigmoid", "hardsigmoid", "softmax", "safe_softmax", "tanh"})
"""Kinds whose output, in a product, is the gate rather than the signal."""


def rule_of(step: Step) -> Rule:
    """Return what is known of a step; nothing is, of an opaque one."""
    if step.sources is not None:
        cut = step.value.is_integer and not step.values[step.moved[0]].is_integer
        return Rule("opaque") if cut else MOVE  # a cast to whole numbers is no move
    found = _of_kind(step.kind)
    if step.attributes.get("output", 0):
        return Rule("opaque")  # a second output: indices, statistics
    if step.attributes.get("reduce", "sum") != "sum":
        return Rule("opaque")  # scattered numbers that are multiplied, or the largest of them
    if step.kind in _ATTENTION and not _function("attention.is_plain")(step):
        return Rule("opaque")
    if (found == _GATE or found.explaining == _AGAIN.explaining) and not _is_real(step):
        return Rule("opaque")
    return found


def _is_real(step: Step) -> bool:
    """Whether a step computes real numbers from a tensor of real numbers."""
    first = step.values.get("self") or step.values.get("input")
    operands = [first] if first is not None else []
    return bool(operands) and all("float" in v.dtype for v in (*operands, step.value))


def pull_of(step: Step) -> Pull | None:
    """Return what pulls a cotangent through a step, or None where the walk stops.

    It stops at complex numbers: a real number below cannot have a complex part of it.
    """
    if step.value.is_complex or any(value.is_complex for value in step.values.values()):
        return None
    return rule_of(step).pull


def uses_of(step: Step) -> DependentsOf | None:
    """Return what lists where an operand number went, or None to leave it to the pull."""
    return rule_of(step).uses


def status_of(kind: str, *, moves_numbers: bool) -> Status:
    """Return the status of a kind of step."""
    return "selects" if moves_numbers else _of_kind(kind).status


def _of_kind(kind: str) -> Rule:
    found = RULES.get(kind)
    if found is None and kind.endswith("_gradient"):
        status = _of_kind(kind.removesuffix("_gradient")).status
        return Rule("gates" if status == "gates" else "linear", "backward.why")
    return found or Rule("opaque")
