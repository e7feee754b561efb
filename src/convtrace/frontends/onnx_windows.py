"""ONNX operators that slide a window: convolutions and pools.

Sources:
    Conv, ConvTranspose, MaxPool, AveragePool: https://onnx.ai/onnx/operators/
    The sizes and the pads of `auto_pad` are given there in formulas; they are followed here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch.nn import functional

from convtrace.frontends.convolution import canonical, pads_of
from convtrace.frontends.convolution_replay import replay_convolution
from convtrace.frontends.onnx_forms import Call, Form, Tensors, Translator

Pads = tuple[tuple[int, int], ...]


def explicit_pads(
    call: Call,
    sizes: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> Pads:
    """Return the pads (low, high) of each axis, whichever way a node gives them.

    `SAME_UPPER` and `SAME_LOWER` make an output of `ceil(size / stride)`; where the pads are odd
    in number, the one too many comes last or first.
    """
    mode = call.get("auto_pad", "NOTSET")
    axes = len(kernel)
    if mode == "VALID":
        return ((0, 0),) * axes
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        found: list[tuple[int, int]] = []
        for size, taps, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
            extent = dilation * (taps - 1) + 1
            total = max((math.ceil(size / stride) - 1) * stride + extent - size, 0)
            found.append(_halves(total, odd_last=mode == "SAME_UPPER"))
        return tuple(found)
    flat = call.get("pads", (0,) * (2 * axes))
    return tuple(zip(flat[:axes], flat[axes:], strict=True))


def _halves(total: int, *, odd_last: bool) -> tuple[int, int]:
    small = total // 2
    return (small, total - small) if odd_last else (total - small, small)


def convolution_attributes(
    call: Call, shape: tuple[int, ...], weight: tuple[int, ...]
) -> dict[str, Any]:
    """Return the canonical attributes of Conv and its integer relatives.

    Args:
        call: The node.
        shape: Shape of the input.
        weight: Shape of the weight.
    """
    return _canonical(call, shape, weight, _window(call, shape[2:], weight[2:]))


class _Window(NamedTuple):
    """How a window slides: one entry for each of its axes."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: Pads


def _window(call: Call, sizes: Sequence[int], kernel: Sequence[int]) -> _Window:
    """Read how the window of a node slides over axes of these sizes."""
    ones = (1,) * len(kernel)
    strides, dilations = tuple(call.get("strides", ones)), tuple(call.get("dilations", ones))
    pads = explicit_pads(call, sizes, kernel, strides, dilations)
    return _Window(tuple(kernel), strides, dilations, pads)


def _canonical(
    call: Call, shape: tuple[int, ...], weight: tuple[int, ...], window: _Window, **more: Any
) -> dict[str, Any]:
    kernel, strides, dilations, pads = window
    attributes, _ = canonical(
        call.node.op,
        shape,
        weight,
        stride=strides,
        padding=pads_of(pads, kernel, strides, dilations),
        dilation=dilations,
        groups=call.get("group", 1),
        **more,
    )
    return attributes


def _convolution(call: Call) -> Form | None:
    attributes = convolution_attributes(call, call.shape, call.array(1).shape)
    operands = call.operands("input", "weight", "bias")
    return Form("convolution", attributes, operands, replay_convolution(attributes))


def _transposed(call: Call) -> Form | None:
    """Translate ConvTranspose; `output_shape` and `SAME` decide the pads from the sizes."""
    shape, weight = call.shape, call.array(1).shape
    axes = len(weight) - 2
    window = _window(call, shape[2:], weight[2:])
    _, strides, dilations, pads = window
    extras = call.get("output_padding", (0,) * axes)
    mode = call.get("auto_pad", "NOTSET")
    wanted = call.get("output_shape")
    if wanted is None and mode in ("SAME_UPPER", "SAME_LOWER"):
        wanted = tuple(n * stride for n, stride in zip(shape[2:], strides, strict=True))
    if wanted is not None:
        found: list[tuple[int, int]] = []
        for axis, size in enumerate(wanted[-axes:]):
            extent = dilations[axis] * (weight[axis + 2] - 1) + 1
            full = strides[axis] * (shape[axis + 2] - 1) + extent + extras[axis]
            found.append(_halves(max(full - size, 0), odd_last=mode == "SAME_UPPER"))
        pads = tuple(found)
    # What is cropped at the end and what is added there is one number: cropping less is adding.
    added = tuple(e + a - b for (a, b), e in zip(pads, extras, strict=True))
    if any(a != b for a, b in pads) and all(
        0 <= e < max(s, d) for e, s, d in zip(added, strides, dilations, strict=True)
    ):
        extras, pads = added, tuple((a, a) for a, _ in pads)
    window = window._replace(pads=pads)
    attributes = _canonical(call, shape, weight, window, transposed=True, output_padding=extras)
    operands = call.operands("input", "weight", "bias")
    return Form("convolution", attributes, operands, replay_convolution(attributes))


# Pools -------------------------------------------------------------------------------------------


def _pool_settings(call: Call) -> tuple[dict[str, Any], Pads]:
    kernel, strides, dilations, pads = _window(
        call, call.shape[2:], call.attributes["kernel_shape"]
    )
    attributes: dict[str, Any] = {
        "kernel_size": kernel,
        "stride": strides,
        "padding": tuple(low for low, _ in pads),
        "dilation": dilations,
        "ceil_mode": bool(call.get("ceil_mode", 0)),
    }
    if any(low != high for low, high in pads):
        attributes["padding_end"] = tuple(high for _, high in pads)
    return attributes, pads


def _overhang(call: Call, attributes: Mapping[str, Any], pads: Pads) -> list[int]:
    """Count the positions by which the last windows reach beyond the padding (`ceil_mode`)."""
    shape, out = call.shape[2:], call.output.shape[2:]
    windows = zip(
        attributes["kernel_size"], attributes["stride"], attributes["dilation"], strict=True
    )
    ends = [(n - 1) * s + d * (k - 1) + 1 for n, (k, s, d) in zip(out, windows, strict=True)]
    return [
        max(end - size - sum(pair), 0) for end, size, pair in zip(ends, shape, pads, strict=True)
    ]


def _flat(pads: Pads, more: Sequence[int] | None = None) -> list[int]:
    """Write pads as PyTorch takes them: last axis first."""
    pairs = [(a, b + m) for (a, b), m in zip(pads, more or (0,) * len(pads), strict=True)]
    return [p for pair in pairs[::-1] for p in pair]


def _max_pool(call: Call) -> Form | None:
    axes = len(call.shape) - 2
    if call.number != 0 or axes not in (1, 2, 3):
        return None
    attributes, pads = _pool_settings(call)
    around = _flat(pads, _overhang(call, attributes, pads))
    out = tuple(slice(size) for size in call.output.shape)
    pool = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)[axes - 1]

    window = (attributes["kernel_size"], attributes["stride"], 0, attributes["dilation"])

    def replay(operands: Tensors) -> torch.Tensor:
        x = operands["self"]
        wide = x if x.is_floating_point() else x.double()
        y = pool(functional.pad(wide, around, value=-math.inf), *window)
        return y[out].to(x.dtype)

    kind = "max_pool1d" if axes == 1 else f"max_pool{axes}d_with_indices"
    read = {"self": call.name(0)}
    if call.output.dtype.kind == "f":
        return Form(kind, attributes, read, replay)

    def fill(operands: Tensors) -> torch.Tensor:
        """Move positions to where the largest whole numbers of this run went."""
        numbers = torch.as_tensor(call.array(0)).double()
        padded = functional.pad(numbers, around, value=-math.inf)
        _, chosen = pool(padded, *window, return_indices=True)
        places = functional.pad(operands["self"], around, value=-1).flatten(2)
        return places.gather(2, chosen.flatten(2)).reshape(chosen.shape)[out]

    return Form(kind, attributes, read, replay, ("self",), fill)


def _average_pool(call: Call) -> Form | None:
    axes = len(call.shape) - 2
    if axes not in (1, 2, 3):
        return None
    attributes, pads = _pool_settings(call)
    everywhere = bool(call.get("count_include_pad", 0))
    attributes["count_include_pad"] = everywhere
    more = _overhang(call, attributes, pads)
    around, outside = _flat(pads), _flat(((0, 0),) * axes, more)
    out = tuple(slice(size) for size in call.output.shape)
    convolve = (functional.conv1d, functional.conv2d, functional.conv3d)[axes - 1]

    def add(x: torch.Tensor) -> torch.Tensor:
        single = x.reshape(-1, 1, *x.shape[2:])
        ones = torch.ones(1, 1, *attributes["kernel_size"], dtype=x.dtype)
        y = convolve(single, ones, stride=attributes["stride"], dilation=attributes["dilation"])
        return y.reshape(*x.shape[:2], *y.shape[2:])[out]

    def replay(operands: Tensors) -> torch.Tensor:
        x = operands["self"]
        counted = functional.pad(torch.ones_like(x[:1, :1]), around, value=float(everywhere))
        sums = add(functional.pad(functional.pad(x, around), outside))
        return sums / add(functional.pad(counted, outside))[:1, :1]

    return Form(f"avg_pool{axes}d", attributes, {"self": call.name(0)}, replay)


def _global(kind: str) -> Translator:
    def translate(call: Call) -> Form | None:
        dims = tuple(range(2, len(call.shape)))
        function = {"mean": torch.mean, "amax": torch.amax}[kind]
        return Form(
            kind,
            {"dim": dims, "keepdim": True},
            {"self": call.name(0)},
            lambda operands: function(operands["self"], dims, keepdim=True),
        )

    return translate


WINDOWS: Mapping[str, Translator] = MappingProxyType(
    {
        "Conv": _convolution,
        "ConvTranspose": _transposed,
        "MaxPool": _max_pool,
        "AveragePool": _average_pool,
        "GlobalAveragePool": _global("mean"),
        "GlobalMaxPool": _global("amax"),
    }
)
"""Translators by operator type."""
