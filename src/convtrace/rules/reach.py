"""Which positions of each operand one number of a step reads, axis by axis: a table by kind.

A rule answers with a `Reading` for each operand: for each axis of the operand, how the positions
that are read follow from the position in the output. `convtrace.receptive` composes these.
A kind that is not in the table makes the receptive field unknown from there on.

Sources:
    Positions follow the index law of `convtrace.geometry`, and for resampling and adaptive pools
    PyTorch's aten/src/ATen/native/UpSample.h and AdaptivePooling.h.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from types import MappingProxyType

from convtrace.geometry import Axis
from convtrace.rules.conv import axes_of, channel_counts
from convtrace.rules.reach_moves import MOVES
from convtrace.rules.reach_onnx import ONNX
from convtrace.rules.reading import Chain, Line, Read, Rule, broadcast, same, whole, window
from convtrace.step import Step

_CONVOLUTIONS = ("convolution", "qlinear_conv", "conv_integer", "qdq_conv")

# Windows -----------------------------------------------------------------------------------------


def window_axes(step: Step) -> tuple[Axis, ...]:
    """Return the settings of the axes that a window of fixed size slides along."""
    if step.kind in _CONVOLUTIONS:
        return axes_of(step.attributes, step.values["weight"].shape[2:])
    if step.kind not in WINDOWS or step.kind.startswith("adaptive"):
        return ()
    count = _dimensions(step.kind)
    kernel, padding, dilation = (
        _spread(step.attributes.get(name) or default, count)
        for name, default in (("kernel_size", 1), ("padding", 0), ("dilation", 1))
    )
    stride = _spread(step.attributes.get("stride") or kernel, count)
    pads = zip(padding, step.attributes.get("padding_end", padding), strict=True)
    return tuple(map(Axis, kernel, stride, pads, dilation))


def sliding_axes(step: Step) -> range:
    """Return the axes, of operand and output, that a window of some kind slides along."""
    if step.kind not in WINDOWS:
        return range(0)
    axes = len(step.shape)
    if step.kind in _CONVOLUTIONS:
        return range(axes - len(step.attributes["stride"]), axes)
    return range(axes - _dimensions(step.kind), axes)


def _dimensions(kind: str) -> int:
    """Return the number in the name of an operator.

    Example:
        >>> _dimensions("adaptive_avg_pool2d")
        2
    """
    found = re.search(r"(\d)d", kind)
    assert found, kind
    return int(found[1])


def _spread(value: int | tuple[int, ...], count: int) -> tuple[int, ...]:
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * count if len(values) == 1 else values


def _convolution(step: Step) -> Mapping[str, Chain]:
    shape, batched = step.values["input"].shape, step.attributes["batched"]
    reads = same(len(shape))
    groups = step.attributes["groups"]
    inputs, outputs = (count // groups for count in channel_counts(step))
    if groups == 1:
        reads[batched] = whole(shape[batched])
    else:
        reads[batched] = Read((Line(batched, inputs, (tuple(range(inputs)),) * outputs),))
    for number, axis in enumerate(window_axes(step), batched + 1):
        reads[number] = window(number, axis)
    found: dict[str, Chain] = {"input": (tuple(reads),)}
    if "self" in step.values:  # what a quantized convolution makes before it is rounded
        found["self"] = (tuple(same(len(shape))),)
    return found


def _pool(step: Step) -> Mapping[str, Chain]:
    shape, axes = step.values["self"].shape, window_axes(step)
    reads = same(len(shape))
    for number, axis in enumerate(axes, len(shape) - len(axes)):
        all_of_it = axis.extent > shape[number] + sum(axis.padding)  # ceil_mode lets it overhang
        reads[number] = whole(shape[number]) if all_of_it else window(number, axis)
    return {"self": (tuple(reads),)}


def _adaptive_pool(step: Step) -> Mapping[str, Chain]:
    shape, out = step.values["self"].shape, step.shape
    reads = same(len(shape))
    for number in sliding_axes(step):
        size, count = shape[number], out[number]
        common = math.gcd(size, count)
        taps = tuple(
            tuple(range(o * size // count, -(-(o + 1) * size // count)))
            for o in range(count // common)
        )
        line = Line(number, size // common, taps)
        reads[number] = whole(size) if count == 1 else Read((line,))
    return {"self": (tuple(reads),)}


def _upsample(step: Step) -> Mapping[str, Chain]:
    shape, out = step.values["self"].shape, step.shape
    names = {1: ("scales",), 2: ("scales_h", "scales_w"), 3: ("scales_d", "scales_h", "scales_w")}
    scales = names[len(shape) - 2]
    reads = same(len(shape))
    for number, name in enumerate(scales, 2):
        corners = bool(step.attributes.get("align_corners"))
        scale = step.attributes.get(name)
        if corners:
            ratio = Fraction(shape[number] - 1, max(out[number] - 1, 1))
        elif scale:
            ratio = 1 / Fraction(scale).limit_denominator(1024)
        else:
            ratio = Fraction(shape[number], out[number])
        taps = tuple(_sample(step.kind, o, ratio, corners) for o in range(ratio.denominator))
        reads[number] = Read((Line(number, ratio.numerator, taps),))
    return {"self": (tuple(reads),)}


def _sample(kind: str, output: int, ratio: Fraction, corners: bool) -> tuple[int, ...]:
    """List the positions that resampling reads with a weight other than zero."""
    if "nearest" in kind:
        half = Fraction(1, 2) if "exact" in kind else 0
        return (math.floor((output + half) * ratio),)
    center = output * ratio if corners else (output + Fraction(1, 2)) * ratio - Fraction(1, 2)
    first = math.floor(center)
    if center == first:
        return (first,)
    return tuple(range(first - 1, first + 3)) if "cubic" in kind else (first, first + 1)


# Sums, products, statistics ----------------------------------------------------------------------


def _over(role: str, axes: Callable[[Step, int], set[int]]) -> Rule:
    """Read some axes as a whole and the others at the output's position."""

    def rule(step: Step) -> Mapping[str, Chain] | None:
        shape = step.values[role].shape
        if len(step.shape) != len(shape):
            return None  # a by-product: the statistics themselves
        every = axes(step, len(shape))
        reads = same(len(shape))
        return {role: (tuple(whole(n) if a in every else reads[a] for a, n in enumerate(shape)),)}

    return rule


def _named_axes(step: Step, axes: int) -> set[int]:
    """Return the axes that `dim` names: all of them where it names none."""
    dim = step.attributes.get("dim")
    if dim is None or dim == ():
        return set(range(axes))
    return {d % axes for d in (dim if isinstance(dim, tuple) else (dim,))}


def _batch_axes(step: Step, axes: int) -> set[int]:
    return set(range(axes)) - {1} if step.attributes.get("training", False) else set()


def _layer_axes(step: Step, axes: int) -> set[int]:
    return set(range(axes - len(step.attributes["normalized_shape"]), axes))


def _reduce(step: Step) -> Mapping[str, Chain]:
    shape = step.values["self"].shape
    gone = _named_axes(step, len(shape)) if shape else set[int]()
    kept = len(step.shape) == len(shape)
    reads: list[Read] = []
    for axis, size in enumerate(shape):
        place = axis if kept else axis - sum(g < axis for g in gone)
        reads.append(whole(size) if axis in gone else Read((Line(place),)))
    return {"self": (tuple(reads),)}


def _matrix_product(left: str, right: str) -> Rule:
    """Rows of the left operand times columns of the right one, behind the same leading axes."""

    def rule(step: Step) -> Mapping[str, Chain] | None:
        lead, chains = step.shape[:-2], {}
        for role, own in ((left, -2), (right, -1)):
            shape = step.values[role].shape
            if shape[:-2] != lead or len(shape) < 2:
                return None
            reads = same(len(shape))
            reads[-3 - own] = whole(shape[-3 - own])
            chains[role] = (tuple(reads),)
        return chains

    return rule


def _attention(step: Step) -> Mapping[str, Chain | None] | None:
    query, key, value = (step.values[role].shape for role in ("query", "key", "value"))
    if len(step.shape) != len(query) or step.attributes.get("output", 0):
        return None
    lead = same(len(query) - 2) if query[:-2] == key[:-2] else [whole(n) for n in key[:-2]]
    column = Read((Line(len(query) - 1),))
    return {
        "query": ((*same(len(query) - 1), whole(query[-1])),),
        "key": ((*lead, whole(key[-2]), whole(key[-1])),),
        "value": ((*lead, whole(value[-2]), column),),
    }


def _elementwise(step: Step) -> Mapping[str, Chain]:
    """Read every operand at the output's position, with broadcasting."""
    return {
        role: (broadcast(value.shape, step.shape),)
        for role, value in step.values.items()
        if len(value.shape) <= len(step.shape)
    }


def _only(*roles: str) -> Rule:
    """Read some operands element by element, and of the others the shape only."""

    def rule(step: Step) -> Mapping[str, Chain]:
        read = _elementwise(step)
        return {role: read.get(role, ()) if role in roles else () for role in step.values}

    return rule


_POINTWISE = """
    abs acos acosh add add_n addcdiv addcmul alias angle asin asinh atan atan2 atanh bernoulli
    bitwise_and bitwise_not bitwise_or bitwise_xor ceil celu clamp clamp_max clamp_min clone complex
    contiguous copysign cos cosh deg2rad dequantize_linear detach div elu eq erf erfc erfinv exp
    exp2 expm1 floor
    floor_divide fmax fmin fmod frac ge gelu gt hardsigmoid hardswish hardtanh heaviside hypot imag
    isfinite isinf isnan le leaky_relu lerp log log10 log1p log2 log_sigmoid_forward logaddexp
    logical_and logical_not logical_or logical_xor logit lt masked_fill maximum minimum mish mul
    nan_to_num native_dropout ne neg polar pow prelu prelu_kernel quantize_linear real reciprocal
    relu relu6 hardshrink softshrink
    remainder round rrelu rrelu_with_noise rsqrt rsub selu sgn sigmoid sign silu sin sinc sinh
    softplus sqrt square sub tan tanh threshold to to_copy trunc where xlogy
""".split()

_REDUCTIONS = """
    all amax amin any argmax argmin linalg_vector_norm logsumexp max mean median min nanmean nansum
    norm prod std sum var
""".split()

_ATTENTION = """
    attention_math cudnn_attention efficient_attention flash_attention flash_attention_for_cpu
    fused_attention_overrideable
""".split()

WINDOWS: Mapping[str, Rule] = MappingProxyType(
    {
        **dict.fromkeys(_CONVOLUTIONS, _convolution),
        **{f"max_pool{d}d{end}": _pool for d in "123" for end in ("", "_with_indices")},
        **{f"avg_pool{d}d": _pool for d in "123"},
        **{f"adaptive_{way}_pool{d}d": _adaptive_pool for way in ("avg", "max") for d in "123"},
    }
)
"""Kinds that slide a window along the last axes of their first operand."""

REACH: Mapping[str, Rule] = MappingProxyType(
    {
        **MOVES,
        **ONNX,
        **WINDOWS,
        **dict.fromkeys(_POINTWISE, _elementwise),
        **dict.fromkeys(_REDUCTIONS, _reduce),
        **{f"upsample_nearest{exact}{d}d": _upsample for d in "123" for exact in ("", "_exact")},
        **{f"upsample_{k}": _upsample for k in ("linear1d", "bilinear2d", "bicubic2d")},
        "upsample_trilinear3d": _upsample,
        **{
            f"{brand}_batch_norm{end}": _over("input", _batch_axes)
            for brand in ("native", "cudnn", "miopen")
            for end in ("", "_legit", "_legit_no_training")
        },
        "native_layer_norm": _over("input", _layer_axes),
        "native_group_norm": _over("input", lambda _, axes: set(range(1, axes))),
        **{f"{log}softmax": _over("self", _named_axes) for log in ("", "log_", "safe_")},
        "linear": _over("input", lambda _, axes: {axes - 1}),
        **dict.fromkeys(("mm", "bmm"), _matrix_product("self", "mat2")),
        "addmm": _matrix_product("mat1", "mat2"),
        "baddbmm": _matrix_product("batch1", "batch2"),
        **{f"scaled_dot_product_{way}": _attention for way in _ATTENTION},
        "copy": _only("src"),
        **{
            f"{what}_like": _only()
            for what in ("empty", "zeros", "ones", "full", "rand", "randn", "randint")
        },
        **{f"new_{what}": _only() for what in ("empty", "zeros", "ones", "full")},
        **{what: _only() for what in ("fill", "zero")},
    }
)
"""Rules by kind of step."""
