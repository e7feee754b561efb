"""The canonical convolution: one form for every way of saying it, made at the door."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from convtrace.errors import EmptyTensorError, ShapeError
from convtrace.geometry import Axis, output_formula, output_size
from convtrace.rules.conv import axes_of

Ints = int | Sequence[int]


def per_axis(name: str, value: Ints, axes: int) -> tuple[int, ...]:
    """Spread an int, or a sequence of one or `axes` ints, over the axes.

    Raises:
        ShapeError: The sequence has another length, or holds no ints.

    Example:
        >>> per_axis("stride", 2, axes=3)
        (2, 2, 2)
    """
    numbers = _whole(value)
    if len(numbers) == 1:
        numbers *= axes
    if len(numbers) != axes:
        raise ShapeError(
            f"{name} does not fit {axes} spatial axes\n"
            f"  {name} = {value!r}\n"
            f"  Give one whole number, or {axes} of them."
        )
    return numbers


def _whole(value: Any) -> tuple[int, ...]:
    """Read a whole number, or several, of any library; `()` where it is something else."""
    try:
        return (operator.index(value),)
    except TypeError:
        pass
    try:
        return () if isinstance(value, str) else tuple(operator.index(v) for v in value)
    except TypeError:
        return ()


def pads_of(
    padding: str | Ints | Sequence[tuple[int, int]],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
) -> tuple[tuple[int, int], ...]:
    """Turn any way of giving padding into (low, high) an axis.

    `"same"` pads `dilation*(kernel - 1)` in all, the odd one after the last element, as PyTorch
    does at stride 1.

    Raises:
        ShapeError: The padding does not fit the axes, or `"same"` meets a stride.

    Example:
        >>> pads_of("same", kernel=(3, 2), stride=(1, 1), dilation=(1, 1))
        ((1, 1), (0, 1))
        >>> pads_of([(0, 1), (2, 2)], kernel=(3, 3), stride=(1, 1), dilation=(1, 1))
        ((0, 1), (2, 2))
    """
    if isinstance(padding, str):
        if padding == "valid":
            return ((0, 0),) * len(kernel)
        if padding == "same":
            if any(step != 1 for step in stride):
                raise ShapeError(
                    "padding='same' needs stride 1\n"
                    f"  stride = {stride}\n"
                    "  Frameworks disagree about SAME with a stride; give the padding in numbers,\n"
                    "  as (low, high) an axis, e.g. padding=[(0, 1), (0, 1)]."
                )
            totals = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
            return tuple((total // 2, total - total // 2) for total in totals)
        raise ShapeError(
            f"unknown padding: {padding!r}\n"
            "  Padding is 'same', 'valid', a number, one number an axis, or (low, high) an axis."
        )
    given = _listed(padding)
    if isinstance(given, Sequence) and any(hasattr(p, "__len__") for p in given):
        pairs = tuple(per_axis("padding (low, high)", p, 2) for p in given)
        if len(pairs) != len(kernel):
            raise ShapeError(
                f"padding has {len(pairs)} (low, high) pairs for {len(kernel)} spatial axes\n"
                f"  padding = {given!r}"
            )
        return tuple((low, high) for low, high in pairs)
    return tuple((p, p) for p in per_axis("padding", given, len(kernel)))


def _listed(value: Any) -> Any:
    """Turn an array or a tensor into numbers or lists of numbers; leave anything else."""
    return value.tolist() if hasattr(value, "tolist") else value


def canonical(
    name: str,
    input_shape: tuple[int, ...],
    weight_shape: tuple[int, ...],
    bias_shape: tuple[int, ...] | None = None,
    *,
    stride: Ints = 1,
    padding: str | Ints | Sequence[tuple[int, int]] = 0,
    dilation: Ints = 1,
    groups: int = 1,
    transposed: bool = False,
    output_padding: Ints = 0,
) -> tuple[dict[str, Any], tuple[int, ...]]:
    """Check a convolution and write it in its canonical form.

    Args:
        name: Name of the layer, for messages.
        input_shape: `(N, C_in, *spatial)`, or `(C_in, *spatial)` without a batch.
        weight_shape: `(C_out, C_in / groups, *kernel)`; transposed
            `(C_in, C_out / groups, *kernel)`.
        bias_shape: `(C_out,)`, or None.
        stride: One number, or one an axis. So with `dilation` and `output_padding`.
        padding: Any form that `pads_of` takes.
        dilation: Distance between taps.
        groups: Number of groups.
        transposed: Whether this is a transposed convolution.
        output_padding: Transposed only.

    Returns:
        The attributes of the step, and the shape of the output.

    Raises:
        ShapeError: Shapes and settings disagree.
        EmptyTensorError: A shape has a zero in it.
    """
    axes = max(len(weight_shape) - 2, 0)
    count = _whole(groups)
    if len(count) != 1:
        raise ShapeError(f"{name}: groups must be a whole number\n  groups = {groups!r}")
    (groups,) = count
    if axes < 1 or len(input_shape) not in (axes + 1, axes + 2):
        raise ShapeError(
            f"{name}: input and weight disagree on the number of axes\n"
            f"  input   {input_shape}: {len(input_shape)} axes\n"
            f"  weight  {weight_shape}: {axes} spatial axes\n"
            f"  A {max(axes, 1)}-d convolution takes (N, C_in, *spatial) or (C_in, *spatial), and "
            "a weight\n  of (C_out, C_in / groups, *kernel)."
        )
    for label, shape in (("input", input_shape), ("weight", weight_shape)):
        if 0 in shape:
            raise EmptyTensorError(
                f"{name}: the {label} is empty\n"
                f"  {label} {shape}\n"
                "  Give it at least one number on every axis."
            )
    batched = len(input_shape) == axes + 2
    kernel = weight_shape[2:]
    strides = per_axis("stride", stride, axes)
    dilations = per_axis("dilation", dilation, axes)
    extras = per_axis("output_padding", output_padding, axes)
    pads = pads_of(padding, kernel, strides, dilations)
    for label, numbers in (("stride", strides), ("dilation", dilations), ("groups", (groups,))):
        if min(numbers) < 1:
            raise ShapeError(f"{name}: {label} must be at least 1\n  {label} = {numbers}")
    if any(extra and not transposed for extra in extras):
        raise ShapeError(
            f"{name}: output_padding belongs to transposed convolutions\n"
            f"  output_padding = {extras}, transposed = False"
        )
    channels = input_shape[batched]
    reads = weight_shape[0] if transposed else weight_shape[1] * groups
    out_channels = weight_shape[1] * groups if transposed else weight_shape[0]
    if channels != reads:
        which = "C_in" if transposed else "C_in / groups"
        total = f"{reads}" if transposed or groups == 1 else f"{weight_shape[1]}·{groups} = {reads}"
        raise ShapeError(
            f"{name}: input and weight disagree on input channels\n"
            f"  input   {input_shape}: C_in = {channels}\n"
            f"  weight  {weight_shape}: {which} = {weight_shape[0 if transposed else 1]}, "
            f"groups = {groups}, so C_in = {total}\n"
            f"  Pass an input with {reads} {'channel' if reads == 1 else 'channels'}, "
            f"or a layer made for {channels}."
        )
    if channels % groups or out_channels % groups:
        raise ShapeError(
            f"{name}: groups must divide the channels\n"
            f"  C_in = {channels}, C_out = {out_channels}, groups = {groups}"
        )
    if bias_shape is not None and bias_shape != (out_channels,):
        raise ShapeError(
            f"{name}: the bias needs one number an output channel\n"
            f"  bias {bias_shape}, C_out = {out_channels}"
        )
    attributes: dict[str, Any] = {
        "stride": strides,
        "padding": pads,
        "dilation": dilations,
        "groups": groups,
        "transposed": transposed,
        "output_padding": extras,
        "batched": batched,
    }
    spatial = input_shape[batched + 1 :]
    out: list[int] = []
    for number, (axis, size) in enumerate(zip(axes_of(attributes, kernel), spatial, strict=True)):
        _check_axis(name, number + batched + 1, axis, size)
        out.append(output_size(axis, size))
    return attributes, (*input_shape[:batched], out_channels, *out)


def _check_axis(name: str, number: int, axis: Axis, size: int) -> None:
    """Raise `ShapeError` where the kernel does not fit axis `number` of the input."""
    if output_size(axis, size) < 1:
        raise ShapeError(
            f"{name}: the kernel does not fit axis {number} of the input\n"
            f"  input {size}, kernel {axis.kernel}, stride {axis.stride}, padding {axis.padding}, "
            f"dilation {axis.dilation}\n"
            f"  output size = {output_formula(axis, size)}\n"
            "  Use a larger input, more padding, or a smaller kernel."
        )


def function_name(axes: int, transposed: bool) -> str:
    """Return the PyTorch function of such a convolution, e.g. `conv2d`."""
    return f"conv_transpose{axes}d" if transposed else f"conv{axes}d"
