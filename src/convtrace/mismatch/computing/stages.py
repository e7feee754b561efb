"""What follows the sum of products: bias, norm, activation, scaling, requantization."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from convtrace.exact import FORMATS, Format

if TYPE_CHECKING:
    from convtrace.mismatch.computing.setup import Setup

Array = NDArray[Any]


_REAL = 16.0
"""Units of Σ|w·x| that float32 sums are off by at most in practice, whatever their length."""


@dataclass(frozen=True)
class Sums:
    """Numbers on their way from the sum of products to the output.

    Attributes:
        values: The numbers, float64; the samples are the last axis, or all axes of an output.
        magnitude: What their rounding is in proportion to: Σ|w·x|, carried through the stages.
        at: Output positions; they broadcast against `values`.
        setup: The setup that they come from.
        extra: What they may be off by besides.
        spare: By how much they lie beyond a limit that they were cut at; errors that are smaller
            leave no trace.
        whole: Whether they were rounded to integers, so that nothing else can be observed.
    """

    values: Array
    magnitude: Array
    at: tuple[Array, ...]
    setup: Setup
    extra: Array | float = 0.0
    spare: Array | float = 0.0
    whole: bool = False

    def to(self, values: Array, magnitude: Array, extra: Array | float | None = None) -> Sums:
        """Return these sums with other numbers."""
        kept = self.extra if extra is None else extra
        return Sums(values, magnitude, self.at, self.setup, kept)

    @property
    def channel(self) -> Array:
        """Output channels."""
        return self.at[1]

    @property
    def held(self) -> Sums:
        """These sums as the next operator reads them: rounded, where they are stored narrowly."""
        if (name := self.setup.held) is None:
            return self
        slack = _REAL * FORMATS["float32"].unit * self.magnitude + self.extra
        stored = half_spacing(np.abs(self.values) + slack, name)
        return self.to(self.values, self.magnitude, self.extra + stored)


Stage = Callable[[Sums], Sums]


@dataclass(frozen=True, eq=False)
class Add:
    """Add one number an output channel: a bias.

    Attributes:
        amounts: `(C_out,)`.
        axis: Axis of the output whose position picks the amount.
        apart: Whether it is an operator of its own, which reads what was stored before.
    """

    amounts: Array
    axis: int = 1
    apart: bool = False

    def __call__(self, sums: Sums) -> Sums:
        """Add."""
        sums = sums.held if self.apart else sums
        amount = self.amounts[sums.at[self.axis] % len(self.amounts)]
        return sums.to(plus(sums.values, amount), plus(sums.magnitude, np.abs(amount)))


@dataclass(frozen=True, eq=False)
class Affine:
    """Multiply and add, one pair of numbers an output channel: an evaluated batch norm.

    Attributes:
        scale: `(C_out,)` or `(1,)`.
        shift: The same.
    """

    scale: Array
    shift: Array

    def __call__(self, sums: Sums) -> Sums:
        """Scale and shift."""
        sums = sums.held
        scale = self.scale[sums.channel % len(self.scale)]
        shift = self.shift[sums.channel % len(self.shift)]
        return sums.to(
            sums.values * scale + shift,
            sums.magnitude * np.abs(scale) + np.abs(shift),
            sums.extra * np.abs(scale),
        )


@dataclass(frozen=True, eq=False)
class Norm:
    """An evaluated batch norm: `(v - mean) * gamma / sqrt(var + eps) + beta`.

    Attributes:
        gamma: `(C_out,)`. So with `beta`, `mean`, `var`.
        beta: Added last.
        mean: Running mean.
        var: Running variance.
        eps: Added to the variance.
    """

    gamma: Array
    beta: Array
    mean: Array
    var: Array
    eps: float = 1e-5

    def __call__(self, sums: Sums) -> Sums:
        """Normalise."""
        sums = sums.held
        scale = self.gamma / np.sqrt(self.var + self.eps)
        c = sums.channel
        values = (sums.values - self.mean[c]) * scale[c] + self.beta[c]
        # It may have been folded into weights and bias, each of which is rounded again.
        size = (sums.magnitude + np.abs(self.mean[c])) * np.abs(scale[c]) + np.abs(self.beta[c])
        return sums.to(values, 2 * size, sums.extra * np.abs(scale[c]))


@dataclass(frozen=True, eq=False)
class Act:
    """An activation function.

    Attributes:
        name: Key of `ACTIVATIONS`.
    """

    name: str

    def __call__(self, sums: Sums) -> Sums:
        """Apply it."""
        function, steepest = ACTIVATIONS[self.name]
        sums = sums.held
        with np.errstate(all="ignore"):
            values = function(sums.values)
            extra = self._carried(sums, values)
        if self.name in LIMITS:
            low, high = LIMITS[self.name]
            spare = np.maximum(low - sums.values, 0.0)
            if high < math.inf:
                spare = np.maximum(spare, sums.values - high)
            return replace(sums.to(values, sums.magnitude, extra), spare=spare)
        # What the function itself rounds is a few units of the result.
        return sums.to(values, sums.magnitude * steepest + np.abs(values), extra)

    def _carried(self, sums: Sums, values: Array) -> Array | float:
        """Return what is left of `extra` behind the function, and what it rounds on its way."""
        function, steepest = ACTIVATIONS[self.name]
        if np.ndim(sums.extra) == 0 and sums.extra == 0:
            return 0.0
        extra = steepest * np.asarray(sums.extra)
        if self.name in MONOTONE:
            low, high = (function(sums.values + d) for d in (-sums.extra, sums.extra))
            extra = np.fmin(extra, np.fmax(np.abs(low - values), np.abs(high - values)))
        if sums.setup.held is not None and self.name not in LIMITS:
            extra = extra + half_spacing(np.abs(values) + extra, sums.setup.held)
        return extra


@dataclass(frozen=True, eq=False)
class Store:
    """Round to a format, to nearest, ties to even.

    Attributes:
        format: Key of `FORMATS`.
    """

    format: str

    def __call__(self, sums: Sums) -> Sums:
        """Round."""
        slack = _REAL * FORMATS["float32"].unit * sums.magnitude + sums.extra
        low, mid, high = (
            rounded(v, self.format) for v in (sums.values - slack, sums.values, sums.values + slack)
        )
        with np.errstate(all="ignore"):
            loose = np.maximum(np.abs(low - mid), np.abs(high - mid))
        # What is stored lies on the grid of the format: near a tie either neighbour, else one.
        return sums.to(mid, np.abs(mid), np.where(np.isfinite(loose), loose, 0.0))


@dataclass(frozen=True, eq=False)
class Local:
    """Any other stage, given as a function of the sums."""

    function: Stage

    def __call__(self, sums: Sums) -> Sums:
        """Apply the function."""
        return self.function(sums)


def plus(numbers: Array, amount: Array) -> Array:
    """Add an amount for each channel: what NumPy does, in two thirds of its time.

    Its loops are slow where one operand stays the same along them, and short ones are slow as well.
    """
    shape = tuple(np.shape(numbers))
    by_channel = (1, *shape[1:2], *(1,) * (len(shape) - 2))
    if len(shape) < 4 or np.shape(amount) != by_channel or not numbers.flags.c_contiguous:
        return numbers + amount
    rows = np.empty((*shape[:2], math.prod(shape[2:])))
    rows[...] = amount.reshape(1, -1, 1)
    rows += numbers.reshape(rows.shape)
    return rows.reshape(shape)


def half_spacing(values: Array, name: str) -> Array:
    """Return half the distance between the numbers of a format around each value."""
    return spacing(values, name) / 2


def spacing(values: Array, name: str) -> Array:
    """Return the distance between the numbers of a format around each value; never 0."""
    fmt = FORMATS[name]
    with np.errstate(all="ignore"):
        _, exponent = np.frexp(np.where(np.isfinite(values), values, 1.0))
    exponent = np.maximum(exponent - 1, fmt.smallest_exponent)
    return np.ldexp(1.0, exponent - fmt.precision + 1)


def rounded(values: Array, name: str, how: str = "even") -> Array:
    """Round to a format: to nearest (`even`, `away`), or towards zero (`cut`)."""
    if how == "even" and name in ("float16", "float32", "float64"):
        with np.errstate(all="ignore"):
            return np.asarray(values).astype(name).astype(np.float64)
    fmt = FORMATS[name]
    if (short := _shortened(np.asarray(values), fmt, how)) is not None:
        return short
    unit = spacing(values, name)
    quotient = values / unit
    if how == "cut":
        found = np.trunc(quotient)
    elif how == "away":
        found = np.trunc(quotient + np.copysign(0.5, quotient))
    else:
        found = np.rint(quotient)
    result = found * unit
    return np.where(np.abs(result) > fmt.largest, np.copysign(np.inf, result), result)


def _shortened(values: Array, fmt: Format, how: str) -> Array | None:
    """Round by the bits of float64; None where numbers are tiny, huge or not finite."""
    size = np.abs(values)
    usual = size < fmt.largest / 2  # False for NaN
    usual &= (size >= 2.0**fmt.smallest_exponent) | (size == 0)
    if not usual.all():
        return None
    shift = 53 - fmt.precision
    bits = np.ascontiguousarray(values, dtype=np.float64).view(np.int64)
    if how == "even":
        bits = bits + ((bits >> shift) & 1) + ((1 << (shift - 1)) - 1)
    elif how == "away":
        bits = bits + (1 << (shift - 1))
    return (bits & -(1 << shift)).view(np.float64)


def _erf(x: Array) -> Array:
    import torch

    return torch.erf(torch.from_numpy(np.ascontiguousarray(x))).numpy()


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def _softplus(x: Array) -> Array:
    return np.logaddexp(0, x)


def _leaky(slope: float) -> Callable[[Array], Array]:
    return lambda x: np.where(x >= 0, x, slope * x)


_SELU, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772

ACTIVATIONS: dict[str, tuple[Callable[[Array], Array], float]] = {
    "relu": (lambda x: np.maximum(x, 0), 1.0),
    "relu6": (lambda x: np.clip(x, 0, 6), 1.0),
    "leaky_relu": (_leaky(0.01), 1.0),
    "leaky_relu 0.1": (_leaky(0.1), 1.0),
    "leaky_relu 0.2": (_leaky(0.2), 1.0),
    "leaky_relu 0.3": (_leaky(0.3), 1.0),
    "prelu 0.25": (_leaky(0.25), 1.0),
    "sigmoid": (_sigmoid, 0.25),
    "tanh": (np.tanh, 1.0),
    "silu": (lambda x: x * _sigmoid(x), 1.1),
    "gelu": (lambda x: 0.5 * x * (1 + _erf(x / math.sqrt(2))), 1.13),
    "gelu tanh": (
        lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
        1.13,
    ),
    "gelu sigmoid": (lambda x: x * _sigmoid(1.702 * x), 1.13),
    "hardswish": (lambda x: x * np.clip(x + 3, 0, 6) / 6, 1.5),
    "hardsigmoid": (lambda x: np.clip(x / 6 + 0.5, 0, 1), 1 / 6),
    "hardsigmoid 0.2": (lambda x: np.clip(0.2 * x + 0.5, 0, 1), 0.2),
    "elu": (lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))), 1.0),
    "selu": (
        lambda x: _SELU * np.where(x > 0, x, _SELU_ALPHA * np.expm1(np.minimum(x, 0))),
        1.76,
    ),
    "softplus": (_softplus, 1.0),
    "mish": (lambda x: x * np.tanh(_softplus(x)), 1.1),
    "softsign": (lambda x: x / (1 + np.abs(x)), 1.0),
    "hardtanh": (lambda x: np.clip(x, -1, 1), 1.0),
    "clip 0 1": (lambda x: np.clip(x, 0, 1), 1.0),
    "clip 0 255": (lambda x: np.clip(x, 0, 255), 1.0),
    "abs": (np.abs, 1.0),
}
"""Activations by name: the function, and the most by which it enlarges a difference."""

LIMITS: dict[str, tuple[float, float]] = {
    "relu": (0.0, math.inf),
    "relu6": (0.0, 6.0),
    "hardtanh": (-1.0, 1.0),
    "clip 0 1": (0.0, 1.0),
    "clip 0 255": (0.0, 255.0),
}
"""Activations that only cut numbers off: the smallest and the largest number that they leave."""

MONOTONE = frozenset(ACTIVATIONS) - {
    "silu",
    "gelu",
    "gelu tanh",
    "gelu sigmoid",
    "hardswish",
    "mish",
    "abs",
}
"""Activations that never fall, so that they take an interval's ends to its image's ends."""
