"""ONNX Resize and Upsample: each output position is a weighted sum of positions, axis by axis.

The weights follow the operator's text and onnxruntime's way of computing positions, in float32.
Where a node does what PyTorch's resampling does, it has PyTorch's name for it.

Sources:
    https://onnx.ai/onnx/operators/onnx__Resize.html (positions, roundings, cubic coefficients)
    https://onnx.ai/onnx/operators/onnx__Upsample.html
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from convtrace.frontends.onnx_forms import Call, Form, Tensors, Translator

_F = np.float32


@dataclass(frozen=True)
class _Way:
    """How a node resamples.

    Attributes:
        mode: `nearest`, `linear` or `cubic`.
        position: How output positions become input positions.
        rounding: How `nearest` rounds them.
        cubic: Coefficient of the cubic.
        exclude: Whether what lies outside has no weight, rather than the border's value.
    """

    mode: str
    position: str
    rounding: str
    cubic: float
    exclude: bool


def _resize(call: Call) -> Form | None:
    """Translate Resize and Upsample."""
    way, scales = _way(call), _scales(call)
    if way is None or scales is None:
        return None
    sizes, out = call.shape, call.output.shape
    axes = [a for a, (n, m) in enumerate(zip(sizes, out, strict=True)) if n != m or scales[a] != 1]
    samples = {a: _samples(way, sizes[a], out[a], scales[a]) for a in axes}
    kind, attributes = _name(way, sizes, out, scales, axes)

    def replay(operands: Tensors) -> torch.Tensor:
        x = operands["self"]
        for axis, (places, weights) in samples.items():
            spread = [-1 if a == axis else 1 for a in range(len(sizes))]
            columns = zip(torch.as_tensor(places.T), torch.as_tensor(weights.T), strict=True)
            parts = [
                x.index_select(axis, place) * weight.to(x.dtype).reshape(spread)
                for place, weight in columns
            ]
            x = functools.reduce(torch.add, parts)
        return x

    return Form(kind, attributes, {"self": call.name(0)}, replay)


def _way(call: Call) -> _Way | None:
    """Read the settings; what older operator sets did is one of the newer settings."""
    old = call.node.op == "Upsample" or call.node.version < 11
    mode = {"bilinear": "linear"}.get(call.get("mode", "nearest"), call.get("mode", "nearest"))
    position = call.get("coordinate_transformation_mode", "asymmetric" if old else "half_pixel")
    rounding = call.get("nearest_mode", "floor" if old else "round_prefer_floor")
    if mode not in ("nearest", "linear", "cubic") or position not in _POSITIONS:
        return None
    if call.get("antialias", 0):
        return None
    return _Way(
        mode,
        position,
        rounding,
        float(call.get("cubic_coeff_a", -0.75)),
        bool(call.get("exclude_outside", 0)),
    )


def _scales(call: Call) -> list[float] | None:
    """Return the factor of each axis, given or made of the sizes."""
    count = len(call.shape)
    axes = [a % count for a in call.get("axes", tuple(range(count)))]
    place = 1 if call.node.op == "Upsample" or call.node.version < 11 else 2
    given: Sequence[float] | None = call.get("scales")
    if given is None and call.has(place):
        found = call.constant(place)
        given = None if found is None else [float(n) for n in found]
    scales = [1.0] * count
    if given is not None and len(given):
        for axis, scale in zip(axes, given, strict=True):
            scales[axis] = float(_F(scale))
        return scales
    for axis in axes:
        scales[axis] = float(_F(call.output.shape[axis]) / _F(call.shape[axis]))
    return scales


def _samples(
    way: _Way, size: int, out: int, scale: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the positions that each output position reads, and their weights: `(out, taps)`."""
    places: list[list[int]] = []
    weights: list[list[float]] = []
    for o in range(out):
        taps = _taps(way, _POSITIONS[way.position](_F(o), _F(scale), size, out), size)
        counted = [w if not way.exclude or 0 <= p < size else 0.0 for p, w in taps]
        total = sum(counted) if way.exclude else 1.0
        places.append([min(max(p, 0), size - 1) for p, _ in taps])
        weights.append([w / total for w in counted])
    return np.array(places, dtype=np.int64), np.array(weights)


def _asymmetric(o: Any, scale: Any, size: int, out: int) -> Any:
    return o / scale


def _half_pixel(o: Any, scale: Any, size: int, out: int) -> Any:
    return (o + _F(0.5)) / scale - _F(0.5)


def _pytorch_half_pixel(o: Any, scale: Any, size: int, out: int) -> Any:
    return _half_pixel(o, scale, size, out) if out > 1 else _F(0)


def _align_corners(o: Any, scale: Any, size: int, out: int) -> Any:
    return o * _F(size - 1) / _F(out - 1) if out > 1 else _F(0)


def _half_pixel_symmetric(o: Any, scale: Any, size: int, out: int) -> Any:
    offset = _F(size) / _F(2) * (_F(1) - _F(out) / (scale * _F(size)))
    return _F(float(offset) + (float(o) + 0.5) / float(scale) - 0.5)  # float64, as onnxruntime


_POSITIONS = {
    "asymmetric": _asymmetric,
    "half_pixel": _half_pixel,
    "pytorch_half_pixel": _pytorch_half_pixel,
    "align_corners": _align_corners,
    "half_pixel_symmetric": _half_pixel_symmetric,
}


def _taps(way: _Way, at: Any, size: int) -> list[tuple[int, float]]:
    if way.mode == "nearest":
        return [(_round(float(at), way.rounding), 1.0)]
    if way.mode == "linear":
        at = min(max(at, _F(0)), _F(size - 1))
        first = math.floor(at)
        rest = float(at - _F(first))
        return [(first, 1 - rest), (first + 1, rest)]
    first = math.floor(at)
    rest, a = at - _F(first), _F(way.cubic)
    one, two = _F(1), _F(2)
    weights = [_far(rest + one, a), _near(rest, a), _near(one - rest, a), _far(two - rest, a)]
    return list(zip(range(first - 1, first + 3), map(float, weights), strict=True))


def _near(d: Any, a: Any) -> Any:
    """Weight at a distance below 1 (Keys, 1981), in float32 as onnxruntime computes it."""
    return ((a + _F(2)) * d - (a + _F(3))) * d * d + _F(1)


def _far(d: Any, a: Any) -> Any:
    """Weight at a distance between 1 and 2."""
    return ((a * d - _F(5) * a) * d + _F(8) * a) * d - _F(4) * a


def _round(at: float, rounding: str) -> int:
    if rounding == "floor":
        return math.floor(at)
    if rounding == "ceil":
        return math.ceil(at)
    return math.ceil(at - 0.5) if rounding == "round_prefer_floor" else math.floor(at + 0.5)


_NAMES = {"linear": ("linear1d", "bilinear2d", "trilinear3d"), "cubic": ("", "bicubic2d", "")}


def _name(
    way: _Way,
    sizes: tuple[int, ...],
    out: tuple[int, ...],
    scales: list[float],
    axes: list[int],
) -> tuple[str, dict[str, Any]]:
    """Return PyTorch's name and settings for this resampling, or `resize` where it has none."""
    spatial = len(sizes) - 2
    own: dict[str, Any] = {"mode": way.mode, "coordinate_transformation_mode": way.position}
    own["scales"] = tuple(scales)
    if way.mode == "nearest":
        own["nearest_mode"] = way.rounding
    if spatial not in (1, 2, 3) or any(axis < 2 for axis in axes) or way.exclude:
        return "resize", own
    corners = way.position == "align_corners"
    halves = way.position == "half_pixel" or (
        way.position == "pytorch_half_pixel" and min(out[2:]) > 1
    )
    kind = ""
    if way.mode == "nearest" and way.position == "asymmetric" and way.rounding == "floor":
        kind = f"nearest{spatial}d"
    elif way.mode != "nearest" and (corners or halves) and way.cubic == -0.75:
        kind = _NAMES[way.mode][spatial - 1]
    if not kind:
        return "resize", own
    names = {1: ("scales",), 2: ("scales_h", "scales_w"), 3: ("scales_d", "scales_h", "scales_w")}
    attributes: dict[str, Any] = {"output_size": out[2:]}
    if way.mode != "nearest":
        attributes["align_corners"] = corners
    attributes.update(zip(names[spatial], scales[2:], strict=True))
    return f"upsample_{kind}", attributes


RESAMPLING: Mapping[str, Translator] = MappingProxyType({"Resize": _resize, "Upsample": _resize})
"""Translators by operator type."""
