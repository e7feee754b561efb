"""Operands or results in a lower precision than the arithmetic that is named."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.mismatch.computing.setup import Op, Positions, Setup
from convtrace.mismatch.computing.stages import Add, Stage, Store, rounded
from convtrace.mismatch.search.change import Change

Array = NDArray[Any]

FORMATS = ("tf32", "bfloat16", "float16", "float32")
WAYS = {"tf32": ("even", "away", "cut"), "bfloat16": ("even", "cut")}


def _op(name: str, how: str) -> Op:
    return lambda values, index: rounded(values, name, how)


def operands(setup: Setup) -> Iterator[Change]:
    """Inputs, weights or both rounded before they are multiplied."""
    for rank, name in enumerate(FORMATS):
        for how in WAYS.get(name, ("even",)):
            op = _op(name, how)
            cost = 1.0 + 0.05 * rank + (0.1 if how != "even" else 0.0)
            given = {"format": name, "rounding": how}

            def both(s: Setup, op: Op = op) -> Setup:
                return s.but(x_ops=(*s.x_ops, op), w_ops=(*s.w_ops, op))

            def all_three(s: Setup, op: Op = op, name: str = name) -> Setup:
                return both(s, op).but(stages=_bias_rounded(s.stages, name))

            def just_x(s: Setup, op: Op = op) -> Setup:
                return s.but(x_ops=(*s.x_ops, op))

            def just_w(s: Setup, op: Op = op) -> Setup:
                return s.but(w_ops=(*s.w_ops, op))

            yield Change("precision.operands", "xw", both, {**given, "of": "both"}, cost)
            if setup.bias is not None:
                yield Change(
                    "precision.operands",
                    "xw",
                    all_three,
                    {**given, "of": "both and bias"},
                    cost + 0.05,
                )
            yield Change("precision.operands", "x", just_x, {**given, "of": "input"}, cost + 0.1)
            yield Change("precision.operands", "w", just_w, {**given, "of": "weights"}, cost + 0.1)
            if name in ("bfloat16", "float16"):

                def stored(s: Setup, op: Op = op, name: str = name) -> Setup:
                    stages = (*_bias_rounded(s.stages, name), Store(name))
                    return s.but(x_ops=(*s.x_ops, op), w_ops=(*s.w_ops, op), stages=stages)

                def summed(s: Setup, op: Op = op, name: str = name) -> Setup:
                    return both(s, op).but(stages=(Store(name), *s.stages))

                parameters = {**given, "of": "both and sums"}
                yield Change("precision.operands", "xw", summed, parameters, cost + 0.25)
                parameters = {**given, "of": "both and result"}
                yield Change("precision.operands", "xw", stored, parameters, cost + 0.2)
    for per_channel in (False, True):
        yield Change(
            "precision.weights_quantized",
            "w",
            _quantized(per_channel),
            {"bits": 8, "per": "channel" if per_channel else "tensor"},
            1.5,
        )


def _bias_rounded(stages: tuple[Stage, ...], name: str) -> tuple[Stage, ...]:
    return tuple(
        Add(rounded(stage.amounts, name), stage.axis) if isinstance(stage, Add) else stage
        for stage in stages
    )


def _quantized(per_channel: bool) -> Any:
    def make(setup: Setup) -> Setup:
        weight = setup.weight
        axes = tuple(range(1, weight.ndim)) if per_channel else None
        largest = (
            np.abs(weight).max(axis=axes, keepdims=True) if per_channel else np.abs(weight).max()
        )
        scale = np.asarray(largest, dtype=np.float64) / 127
        scale = np.where(scale == 0, 1.0, scale)

        def op(values: Array, index: Positions) -> Array:
            one = scale.reshape(-1)[index[0]] if per_channel else scale
            return np.clip(np.rint(values / one), -128, 127) * one

        return setup.but(w_ops=(*setup.w_ops, op))

    return make


def results(setup: Setup) -> Iterator[Change]:
    """Results stored in a lower precision, whatever type they come in now."""
    for name in ("bfloat16", "float16", "float32"):
        yield Change(
            "precision.result",
            "after",
            lambda s, n=name: s.but(stages=(*s.stages, Store(n))),
            {"format": name},
            1.1,
        )
