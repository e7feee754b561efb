"""Operands or results in a lower precision than the arithmetic that is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
    of_weights = _Ends()
    for bits in (8, 4):
        for how in ("symmetric", "affine", "full range"):
            for per in ("tensor", "channel"):
                given = {"bits": bits, "per": per, "how": how}
                cost = 1.5 + 0.1 * (how != "symmetric") + 0.05 * (bits == 4)
                make = _weights_quantized(bits, per, how, of_weights)
                yield Change("precision.weights_quantized", "w", make, given, cost)
        for how in ("affine", "symmetric"):
            given = {"bits": bits, "how": how}
            make = _input_quantized(bits, how)
            yield Change("precision.input_quantized", "x", make, given, 1.7)


def _bias_rounded(stages: tuple[Stage, ...], name: str) -> tuple[Stage, ...]:
    return tuple(
        Add(rounded(stage.amounts, name), stage.axis) if isinstance(stage, Add) else stage
        for stage in stages
    )


class _Ends:
    """The smallest and the largest weights of each channel, found once for all their grids."""

    def __init__(self) -> None:
        self.known: tuple[Array, Array, Array] | None = None

    def of(self, weight: Array, out: int, per: str) -> tuple[Array, Array]:
        """Return the ends of weights, 0 between them.

        Args:
            weight: The weights.
            out: Axis of the output channels.
            per: Whether ends are those of each `channel`, or of the whole `tensor`.
        """
        if self.known is None or self.known[0] is not weight:
            axes = tuple(a for a in range(weight.ndim) if a != out)
            low = np.minimum(weight.min(axis=axes), 0.0)
            self.known = weight, low, np.maximum(weight.max(axis=axes), 0.0)
        _, low, high = self.known
        return (low, high) if per == "channel" else (low.min(), high.max())


def _grid(low: Array, high: Array, bits: int, how: str) -> tuple[Array, Array]:
    """Return the step and the zero of the grid that numbers are quantized to.

    Args:
        low: The smallest number, or 0; one for each grid.
        high: The largest number, or 0.
        bits: Bits of a quantized number.
        how: `symmetric` about 0, without its lowest number; `full range` with it; or `affine`, from
            the smallest to the largest number.
    """
    if how == "affine":
        step = (high - low) / (2**bits - 1)
    else:
        step = np.maximum(high, -low) / (2 ** (bits - 1) - (how == "symmetric"))
    step = np.where(step == 0, 1.0, step)
    zero = np.rint(-low / step) if how == "affine" else np.zeros_like(step) + 2 ** (bits - 1)
    return np.atleast_1d(step), np.atleast_1d(zero)


def _onto(values: Array, step: Array, zero: Array, bits: int) -> Array:
    return (np.clip(np.rint(values / step) + zero, 0, 2**bits - 1) - zero) * step


def _weights_quantized(bits: int, per: str, how: str, ends: _Ends) -> Callable[[Setup], Setup]:
    def make(setup: Setup) -> Setup:
        weight = setup.weight
        out = 1 if setup.transposed else 0
        step, zero = _grid(*ends.of(weight, out, per), bits, how)

        def op(values: Array, index: Positions) -> Array:
            at = index[out] % len(step)
            return _onto(values, step[at], zero[at], bits)

        return setup.but(w_ops=(*setup.w_ops, op))

    return make


def _input_quantized(bits: int, how: str) -> Callable[[Setup], Setup]:
    def make(setup: Setup) -> Setup:
        seen = setup.statistics
        ends = np.minimum(seen.low, 0.0), np.maximum(seen.high, 0.0)
        step, zero = _grid(*ends, bits, how)

        def op(values: Array, index: Positions) -> Array:
            return _onto(values, step[0], zero[0], bits)

        return setup.but(x_ops=(*setup.x_ops, op))

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
