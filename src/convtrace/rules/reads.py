"""What one number of a step reads, also at the borders, and of what the model holds.

`convtrace.rules.reach` says it for the inputs of a step, and as if padding went on for ever, which
is what a receptive field needs. Here it is made complete for one number: padding that repeats
numbers reads the numbers that it repeats, and weights, biases and statistics are read where they
belong. `convtrace.reached` follows these readings through a network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from convtrace.geometry import Axis, output_size, tap
from convtrace.rules.conv import channel_counts
from convtrace.rules.reach import REACH, window_axes
from convtrace.rules.reach_moves import pads_of
from convtrace.rules.reading import Chain, Line, Read, Reading, broadcast, same, whole
from convtrace.step import Step


def reads_of(step: Step) -> Mapping[str, Chain | None] | None:
    """Say which positions of each operand one number of a step reads.

    Args:
        step: Any step.

    Returns:
        Chains by role, for every operand; None for a role, or for the step, where it cannot be
        told. Positions outside the operand are padding without numbers.

    Example:
        >>> import numpy as np
        >>> import convtrace as ct
        >>> trace = ct.from_arrays(np.ones((1, 2, 4, 4)), np.ones((3, 2, 2, 2)))
        >>> reads_of(trace.step("conv2d"))["weight"][0][:2]
        (Read(lines=(Line(axis=1, advance=1, taps=((0,),)),), fixed=(0,)), \
Read(lines=(), fixed=range(0, 2)))
    """
    rule = REACH.get(step.kind)
    chains: Mapping[str, Chain | None] | None = rule(step) if rule else None
    more = _HELD.get(step.kind)
    if chains is None and more is None:
        return None
    found = {**(chains or {}), **(more(step) if more else {})}
    every = {role: (tuple(map(whole, value.shape)),) for role, value in step.values.items()}
    return {role: found.get(role, every[role]) for role in step.values}


_LONGEST_SUM = 256

_Held = Callable[[Step], Mapping[str, Chain] | Mapping[str, Chain | None]]


def _convolution(step: Step) -> Mapping[str, Chain]:
    """Read the kernels of the output channel, where they lie on inputs, and its bias."""
    weight, groups = step.values["weight"].shape, step.attributes["groups"]
    channel = int(step.attributes["batched"])
    transposed = step.attributes["transposed"]
    inputs, outputs = (count // groups for count in channel_counts(step))
    sizes = step.values["input"].shape[channel + 1 :]
    kernel = [
        Read((Line(number, 0, _taps_on_inputs(axis, size, step.shape[number])),))
        for number, (axis, size) in enumerate(
            zip(window_axes(step), sizes, strict=True), channel + 1
        )
    ]
    if transposed:
        own = Read((Line(channel, inputs, (tuple(range(inputs)),) * outputs),))
        other = Read((Line(channel, 0, tuple((c,) for c in range(outputs))),))
        chain: Reading = (own, other, *kernel)
    else:
        chain = (Read((Line(channel),)), whole(weight[1]), *kernel)
    found: dict[str, Chain] = {"weight": (chain,)}
    if "bias" in step.values:
        found["bias"] = ((Read((Line(channel),)),),)
    return found


def _taps_on_inputs(axis: Axis, size: int, outputs: int) -> tuple[tuple[int, ...], ...]:
    """List, for each output position, the taps that read an input and no padding."""
    return tuple(
        tuple(k for k in range(axis.kernel) if tap(axis, size, o, k).source is not None)
        for o in range(outputs)
    )


def _linear(step: Step) -> Mapping[str, Chain]:
    last = Read((Line(len(step.shape) - 1),))
    weight = step.values["weight"].shape
    found: dict[str, Chain] = {"weight": ((last, whole(weight[1])),)}
    if "bias" in step.values:
        found["bias"] = ((last,),)
    return found


def _added(step: Step) -> Mapping[str, Chain]:
    """Read what a matrix product is added to, with broadcasting."""
    return {"self": (broadcast(step.values["self"].shape, step.shape),)}


def _by_channel(step: Step) -> Mapping[str, Chain]:
    """Read scale, shift and statistics of the channel."""
    vectors = [role for role, value in step.values.items() if role != "input" and value.shape]
    return {role: ((Read((Line(1),)),),) for role in vectors if len(step.shape) > 1}


def _by_last_axes(step: Step) -> Mapping[str, Chain]:
    """Read scale and shift of the position on the normalised axes."""
    first = len(step.shape) - len(step.attributes["normalized_shape"])
    roles = [role for role in ("weight", "bias") if role in step.values]
    return {role: (tuple(same(len(step.shape))[first:]),) for role in roles}


def _weight_norm(step: Step) -> Mapping[str, Chain]:
    """Read all weights of a channel, for their length, and its gain."""
    axis = step.attributes.get("dim", 0) % len(step.shape)
    rows = [Read((Line(a),)) if a == axis else whole(n) for a, n in enumerate(step.shape)]
    gain = step.values["g"].shape
    return {"v": (tuple(rows),), "g": (broadcast(gain, step.shape),)}


def _unfolded(step: Step) -> Mapping[str, Chain]:
    """Read the number that stands in the patch (last axis) at the kernel position (axis before)."""
    shape = step.values["self"].shape
    lead = len(shape) - 3
    settings = (step.attributes[name] for name in ("kernel_size", "dilation", "padding", "stride"))
    axes = [Axis(k, s, (p, p), d) for k, d, p, s in zip(*settings, strict=True)]
    rows, columns = axes
    wide = output_size(columns, shape[-1])
    places = rows.kernel * columns.kernel
    down = tuple(
        (k * rows.dilation - rows.padding[0],)
        for k in range(rows.kernel)
        for _ in range(columns.kernel)
    )
    right = tuple((k * columns.dilation - columns.padding[0],) for k in range(columns.kernel))
    along = tuple((o * columns.stride,) for o in range(wide))
    return {
        "self": (
            (
                *same(lead),
                Read((Line(lead, 1, ((0,),) * places),)),
                Read((Line(lead, 0, down), Line(lead + 1, rows.stride, ((0,),) * wide))),
                Read((Line(lead, 0, right), Line(lead + 1, 0, along))),
            ),
        )
    }


def _running(step: Step) -> Mapping[str, Chain | None]:
    """Read all positions up to that of the output; of long axes that is too much to list."""
    shape = step.values["self"].shape
    reads = same(len(shape))
    if shape:
        axis = step.attributes["dim"] % len(shape)
        if shape[axis] > _LONGEST_SUM:
            return {"self": None}
        taps = tuple(tuple(range(o + 1)) for o in range(shape[axis]))
        reads[axis] = Read((Line(axis, 0, taps),))
    return {"self": (tuple(reads),)}


def _folded_pad(step: Step) -> Mapping[str, Chain]:
    """Read the number that padding repeats; constant padding reads none."""
    role = "self" if "self" in step.values else "input"
    shape = step.values[role].shape
    fold = _FOLDS.get(step.kind.partition("_pad")[0]) or _FOLDS.get(step.attributes.get("mode", ""))
    if fold is None:
        return {}
    reads = same(len(shape))
    for axis, (low, high) in enumerate(pads_of(step)):
        if low or high:
            size = shape[axis]
            taps = tuple((fold(o - low, size),) for o in range(step.shape[axis]))
            reads[axis] = Read((Line(axis, 0, taps),))
    return {role: (tuple(reads),)}


def _reflect(place: int, size: int) -> int:
    turned = abs(place) % max(2 * size - 2, 1)
    return min(turned, 2 * size - 2 - turned) if size > 1 else 0


def _replicate(place: int, size: int) -> int:
    return min(max(place, 0), size - 1)


def _wrap(place: int, size: int) -> int:
    return place % size


_FOLDS: Mapping[str, Callable[[int, int], int]] = MappingProxyType(
    {
        **dict.fromkeys(("reflect", "reflection"), _reflect),
        **dict.fromkeys(("replicate", "replication", "edge"), _replicate),
        **dict.fromkeys(("circular", "wrap"), _wrap),
    }
)
"""Which position a padding mode repeats, by its names in PyTorch and ONNX."""

_HELD: Mapping[str, _Held] = MappingProxyType(
    {
        **dict.fromkeys(("convolution", "qlinear_conv", "conv_integer", "qdq_conv"), _convolution),
        "linear": _linear,
        **dict.fromkeys(("addmm", "baddbmm"), _added),
        **{
            f"{brand}_batch_norm{end}": _by_channel
            for brand in ("native", "cudnn", "miopen")
            for end in ("", "_legit", "_legit_no_training")
        },
        "native_group_norm": _by_channel,
        "native_layer_norm": _by_last_axes,
        "weight_norm_interface": _weight_norm,
        "im2col": _unfolded,
        "cumsum": _running,
        "pad": _folded_pad,
        **{f"{way}_pad{d}d": _folded_pad for way in ("reflection", "replication") for d in "123"},
    }
)
"""What completes or replaces the rules of `REACH`, by kind."""
