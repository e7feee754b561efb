"""Quantized convolutions: zero points, rounding, saturation, overflow."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.mismatch.computing.quantization import LIMITS, ROUNDINGS, Less, Requantize
from convtrace.mismatch.computing.setup import Op, Positions, Setup
from convtrace.mismatch.computing.stages import Add, Local, Sums
from convtrace.mismatch.computing.statistics import Statistics
from convtrace.mismatch.search.change import Change

Array = NDArray[Any]

_INT16 = 2**15 - 1
_AT_ONCE = 2**21
"""Products that are held at once."""


def _requantize(setup: Setup) -> Requantize | None:
    return next((stage for stage in setup.stages if isinstance(stage, Requantize)), None)


def _swapped(change: Any) -> Any:
    def make(setup: Setup) -> Setup:
        return setup.but(
            stages=tuple(change(s) if isinstance(s, Requantize) else s for s in setup.stages)
        )

    return make


def _without(ops: tuple[Op, ...]) -> tuple[Op, ...]:
    return tuple(op for op in ops if not isinstance(op, Less))


def _zero(ops: tuple[Op, ...]) -> Less | None:
    return next((op for op in ops if isinstance(op, Less)), None)


def zero_points(setup: Setup) -> Iterator[Change]:
    """A zero point ignored, added instead of subtracted, or missing on the padding."""
    if (stage := _requantize(setup)) is None:
        return
    x, w = _zero(setup.x_ops), _zero(setup.w_ops)
    if x is not None and np.any(x.zero):
        yield Change(
            "quantized.zero_point",
            "x",
            lambda s: s.but(x_ops=_without(s.x_ops)),
            {"of": "input"},
            1.0,
        )
        yield Change(
            "quantized.padding",
            "x",
            lambda s: s.but(fill=-float(x.zero[0])),
            {"value": 0, "right": float(x.zero[0])},
            1.0,
        )

        def unpadded(s: Setup) -> Setup:
            return s.but(x_ops=_without(s.x_ops), fill=float(x.zero[0]))

        yield Change("quantized.zero_point", "x", unpadded, {"of": "products"}, 1.3)
        added = Less(-x.zero, x.axis)
        yield Change(
            "quantized.zero_point_sign",
            "x",
            lambda s: s.but(x_ops=tuple(added if o is _zero(s.x_ops) else o for o in s.x_ops)),
            {"of": "input"},
            1.2,
        )
        twice = Less(2 * x.zero, x.axis)
        for padding, cost in (
            (-float(x.zero[0]), 1.4),
            (0.0, 1.45),
        ):  # subtracted from it once, or not
            yield Change(
                "quantized.zero_point_twice",
                "x",
                lambda s, fill=padding: s.but(
                    x_ops=tuple(twice if o is _zero(s.x_ops) else o for o in s.x_ops), fill=fill
                ),
                {"of": "input"},
                cost,
            )
    if w is not None and np.any(w.zero):
        yield Change(
            "quantized.zero_point",
            "w",
            lambda s: s.but(w_ops=_without(s.w_ops)),
            {"of": "weights"},
            1.0,
        )
        if len(w.zero) > 1:
            first = Less(w.zero[:1], w.axis)
            yield Change(
                "quantized.zero_point",
                "w",
                lambda s: s.but(w_ops=tuple(first if isinstance(o, Less) else o for o in s.w_ops)),
                {"of": "weights, first for all"},
                1.1,
            )
    if x is not None and w is not None and np.any(x.zero) and np.any(w.zero):
        yield Change(
            "quantized.zero_point",
            "xw",
            lambda s: s.but(x_ops=_without(s.x_ops), w_ops=_without(s.w_ops)),
            {"of": "input and weights"},
            1.2,
        )
        yield Change(
            "quantized.zero_point",
            "xw",
            lambda s: s.but(
                x_ops=tuple(Less(w.zero[:1], 1) if isinstance(o, Less) else o for o in s.x_ops),
                w_ops=tuple(Less(x.zero[:1], 0) if isinstance(o, Less) else o for o in s.w_ops),
            ),
            {"of": "swapped"},
            1.4,
        )
    if np.any(np.asarray(stage.quant.y_zero)):
        yield Change(
            "quantized.zero_point",
            "after",
            _swapped(lambda s: replace(s, quant=replace(s.quant, y_zero=0))),
            {"of": "output"},
            1.0,
        )
        yield Change(
            "quantized.zero_point_sign",
            "after",
            _swapped(
                lambda s: replace(s, quant=replace(s.quant, y_zero=-np.asarray(s.quant.y_zero)))
            ),
            {"of": "output"},
            1.2,
        )


def requantization(setup: Setup) -> Iterator[Change]:
    """Another rounding, saturation that is missing or at other limits, a wrong scale."""
    if (right := _requantize(setup)) is None:
        return
    for name in ROUNDINGS:
        if name != right.rounding:
            yield Change(
                "quantized.rounding",
                "after",
                _swapped(lambda s, n=name: replace(s, rounding=n)),
                {"how": name, "right": right.rounding},
                1.0,
            )
    yield Change("quantized.rounding_twice", "after", _swapped(_twice), {}, 1.1)
    for name in ("half to even", "towards zero", "down", "half away from zero"):
        yield Change(
            "quantized.rounding_early",
            "after",
            _swapped(lambda s, n=name: replace(s, early=True, rounding=n)),
            {"how": name},
            1.4,
        )
    yield Change(
        "quantized.saturation", "after", _swapped(lambda s: replace(s, wraps=True)), {}, 1.0
    )
    own = LIMITS[right.quant.dtype]
    others = {**LIMITS, "int8 narrow": (-127, 127), "7 bits": (0, 127), "4 bits": (-8, 7)}
    others["uint4"] = (0, 15)
    for name, limits in others.items():
        if limits != own:
            yield Change(
                "quantized.limits",
                "after",
                _swapped(lambda s, n=limits: replace(s, limits=n)),
                {"name": name, "limits": limits, "right": own},
                1.2,
            )
    yield Change(
        "quantized.relu",
        "after",
        _swapped(lambda s: replace(s, relu=not s.relu)),
        {"fused": not right.relu},
        1.1,
    )
    q = right.quant
    x, w, y = (
        np.asarray(s, dtype=np.float64).reshape(-1) for s in (q.x_scale, q.w_scale, q.y_scale)
    )
    ratios: dict[str, Any] = {
        "without input scale": w / y,
        "without weight scale": x / y,
        "without output scale": x * w,
        "inverse output scale": x * w * y,
        "inverse input scale": w / x / y,
    }
    if len(w) > 1:
        ratios["first channel's scale for all"] = x * w[0] / y
        ratios["channels' scales reversed"] = x * w[::-1] / y
        ratios["mean scale"] = x * w.mean() / y
        ratios["largest scale"] = x * w.max() / y
        ratios["channels' scales shifted"] = x * np.roll(w, -1) / y
    ratios["power of two"] = 2.0 ** np.rint(np.log2(np.abs(x * w / y)))
    for word, ratio in ratios.items():
        if not np.allclose(ratio, x * w / y, rtol=1e-12):
            yield Change(
                "quantized.scale",
                "after",
                _swapped(lambda s, r=ratio: replace(s, ratio=r)),
                {"how": word},
                1.2,
            )

    def bias_late(s: Setup) -> Setup | None:
        """Add the integer bias after requantization, as if it were in units of the output."""
        add = next((one for one in s.stages if isinstance(one, Add)), None)
        if add is None:
            return None
        rest = tuple(one for one in s.stages if one is not add)

        def stage(sums: Sums) -> Sums:
            low, high = LIMITS[right.quant.dtype]
            values = np.clip(sums.values + add.amounts[sums.channel], low, high)
            return sums.to(values, sums.magnitude)

        return s.but(stages=(*rest, Local(stage)))

    if not any(isinstance(stage, Add) for stage in setup.stages):
        return
    yield Change("quantized.bias_unscaled", "after", bias_late, {}, 1.2)
    units = {"output scale": x / y, "no input scale": x, "no weight scale": w, "no scale": x * w}
    for word, factor in units.items():
        left = np.rint(setup.bias * factor) if setup.bias is not None else np.zeros(1)
        if left.any() and not np.allclose(factor, 1.0, rtol=1e-12):
            yield Change("quantized.bias_scale", "after", _bias_times(factor), {"how": word}, 1.2)


def _twice(stage: Requantize) -> Requantize:
    return replace(stage, twice=True, rounding="half away from zero")


def _bias_times(factor: Any) -> Any:
    """Return a change of the unit that the integer bias is in."""

    def make(setup: Setup) -> Setup:
        return setup.but(
            stages=tuple(
                Add(np.rint(one.amounts * factor)) if isinstance(one, Add) else one
                for one in setup.stages
            )
        )

    return make


def accumulators(setup: Setup) -> Iterator[Change]:
    """Accumulators that overflow or saturate."""
    names = {16: "int16", -16: "int16", 8: "int8", -8: "int8", 24: "24 bits", 32: "int32"}
    for bits, name in names.items():
        wraps = bits > 0
        given = {"name": name, "wraps": wraps}
        if _requantize(setup) is not None:
            if bits == 32:
                continue
            yield Change(
                "quantized.accumulator",
                "after",
                _swapped(lambda s, b=bits: replace(s, accumulator=b)),
                given,
                1.2,
            )
        elif _whole_numbers(setup):
            yield Change(
                "quantized.accumulator",
                "after",
                lambda s, b=bits: s.but(stages=(*s.stages, Local(_wrap(b)))),
                given,
                1.5,
            )


def pairs(setup: Setup) -> Iterator[Change]:
    """Unsigned inputs times signed weights added in pairs that saturate in 16 bits.

    That is what x86 processors do without VNNI, whose `vpmaddubsw` has no wider sum.
    """
    if _requantize(setup) is None or setup.transposed or not setup.x.size:
        return
    largest = setup.statistics.high * float(np.abs(setup.weight).max())
    if setup.statistics.low < 0 or 2 * largest <= _INT16:
        return
    orders = [(1.3, "channels"), (1.35, "kernel")] if math.prod(setup.kernel) > 1 else []
    for cost, order in orders or [(1.3, "channels")]:
        yield Change("quantized.accumulator_pairs", "after", _paired(order), {"order": order}, cost)


def _paired(order: str) -> Callable[[Setup], Setup]:
    """Return a change that takes from each sum what its pairs of products lose.

    Args:
        order: Which products are neighbours: those of two `channels`, or of the `kernel` in a row.
    """

    def make(setup: Setup) -> Setup:
        zero = _zero(setup.x_ops)
        stored = setup.but(
            x_ops=_without(setup.x_ops),
            w_ops=_without(setup.w_ops),
            fill=setup.fill + (0.0 if zero is None else float(zero.zero[0])),
        )

        def lost(at: Positions) -> Array:
            products = stored.read(at) * stored.factors(at[1])
            rows = products.reshape(len(products), setup.terms, -1)
            if order == "kernel":
                rows = products[:, :, None]
            whole = rows[:, : rows.shape[1] // 2 * 2]  # one that is left over saturates nowhere
            sums = whole[:, ::2] + whole[:, 1::2]
            return (np.clip(sums, -_INT16 - 1, _INT16) - sums).sum((1, 2))

        def stage(sums: Sums) -> Sums:
            at = tuple(axis.reshape(-1) for axis in np.broadcast_arrays(*sums.at))
            step = max(1, _AT_ONCE // (setup.terms * math.prod(setup.kernel)))
            parts = [
                lost(tuple(axis[start : start + step] for axis in at))
                for start in range(0, len(at[0]), step)
            ]
            found = np.concatenate(parts).reshape(np.broadcast_shapes(*map(np.shape, sums.at)))
            return sums.to(sums.values + found, sums.magnitude)

        return setup.but(stages=(Local(stage), *setup.stages))

    return make


def _whole_numbers(setup: Setup) -> bool:
    """Whether sums are whole numbers, which alone an accumulator of integers can hold."""
    return setup.statistics.whole and Statistics(setup.weight).whole


def _wrap(bits: int) -> Any:
    from convtrace.mismatch.computing.quantization import wrapped

    def stage(sums: Sums) -> Sums:
        return sums.to(wrapped(sums.values, bits), sums.magnitude)

    return stage
