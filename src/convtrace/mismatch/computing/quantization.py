"""The requantization of an integer convolution, as a stage with every part replaceable."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from convtrace.errors import UsageError
from convtrace.exact import gamma
from convtrace.mismatch.computing.stages import Sums

Array = NDArray[Any]

LIMITS = {
    "uint8": (0, 2**8 - 1),
    "int8": (-(2**7), 2**7 - 1),
    "uint16": (0, 2**16 - 1),
    "int16": (-(2**15), 2**15 - 1),
    "int32": (-(2**31), 2**31 - 1),
}
"""Smallest and largest number of each quantized type."""


def _half_up(v: Array) -> Array:
    return np.floor(v + 0.5)


def _away(v: Array) -> Array:
    return np.trunc(v + np.copysign(0.5, v))


ROUNDINGS: dict[str, Callable[[Array], Array]] = {
    "half to even": np.rint,
    "half away from zero": _away,
    "half up": _half_up,
    "towards zero": np.trunc,
    "down": np.floor,
    "up": np.ceil,
}
"""Ways to round to an integer, the right one first."""


@dataclass(frozen=True, eq=False)
class Quant:
    """Scales and zero points: `q = saturate(round(sum * x_scale * w_scale / y_scale) + y_zero)`.

    Attributes:
        x_scale: Scale of the input.
        x_zero: Its zero point.
        w_scale: Scale of the weights, `(1,)` or `(C_out,)`.
        w_zero: Their zero point.
        y_scale: Scale of the output.
        y_zero: Its zero point.
        dtype: Type of the output, a key of `LIMITS`.
    """

    x_scale: Any = 1.0
    x_zero: Any = 0
    w_scale: Any = 1.0
    w_zero: Any = 0
    y_scale: Any = 1.0
    y_zero: Any = 0
    dtype: str = "int8"

    @classmethod
    def read(cls, given: Any, dtype: str) -> Quant:
        """Read a mapping with the names of the attributes, or a `Quant`.

        Raises:
            UsageError: It is something else, has names that are not known, or lacks a scale.
        """
        if isinstance(given, Quant):
            return given
        parts = dict(cast("Mapping[str, Any]", given)) if isinstance(given, Mapping) else None
        known = set(cls.__dataclass_fields__)
        if parts is None or set(parts) - known:
            raise UsageError(
                f"quantization is not understood: {given!r}\n"
                f"  Give a mapping with {', '.join(sorted(known))}."
            )
        scales = ("x_scale", "w_scale", "y_scale")
        missing = [name for name in scales if parts.get(name) is None]
        if missing:
            raise UsageError(
                f"quantization lacks {', '.join(missing)}\n"
                f"  given  {', '.join(sorted(parts)) or 'nothing'}\n"
                "  Give all three scales; zero points that are left out are 0."
            )
        for name in known - {"dtype"} & set(parts):
            if name in parts:
                parts[name] = np.asarray(parts[name], dtype=np.float64).reshape(-1)
        return cls(**{"dtype": dtype if dtype in LIMITS else "int8", **parts})


@dataclass(frozen=True, eq=False)
class Requantize:
    """From the accumulator to the quantized output.

    Attributes:
        quant: Scales and zero points.
        rounding: Key of `ROUNDINGS`.
        limits: Smallest and largest output.
        wraps: Whether what leaves the limits wraps around instead of staying at them.
        ratio: Factor of the accumulator by channel; None takes it from the scales.
        accumulator: Bits that the accumulator wraps around at, 0 for none; negative: saturates.
        early: Whether the zero point is added before rounding.
        relu: Whether nothing falls below the zero point.
        twice: Whether it is rounded twice, as gemmlowp does: after the product with the
            factor's mantissa, and after the shift by its exponent.
    """

    quant: Quant
    rounding: str = "half to even"
    limits: tuple[int, int] | None = None
    wraps: bool = False
    ratio: Any = None
    accumulator: int = 32
    early: bool = False
    relu: bool = False
    twice: bool = False

    def factors(self) -> Array:
        """Return the factor of the accumulator, by channel or one for all."""
        if self.ratio is not None:
            return np.asarray(self.ratio, dtype=np.float64).reshape(-1)
        q = self.quant
        x, w, y = (
            np.asarray(s, dtype=np.float64).reshape(-1) for s in (q.x_scale, q.w_scale, q.y_scale)
        )
        return x * w / y

    def __call__(self, sums: Sums) -> Sums:
        """Requantize. Where rounding in float32 decides between two integers, either is right."""
        factors = self.factors()
        total = wrapped(sums.values, self.accumulator)
        scaled = total * factors[sums.channel % len(factors)]
        if self.twice:
            shift = np.minimum(np.frexp(np.abs(factors))[1], 0)[sums.channel % len(factors)]
            scaled = np.ldexp(_away(np.ldexp(scaled, -shift)), shift)
        zero = float(np.asarray(self.quant.y_zero).reshape(-1)[0])
        slack = gamma(6, 2.0**-24) * (np.abs(scaled) + abs(zero))
        if (np.abs(np.frexp(factors)[0]) == 0.5).all():
            # Powers of two: float32 rounds nothing but totals of more than 24 bits.
            slack = np.where(np.abs(total) < 2**24, 0.0, slack)
        low, mid, high = (self._store(v, zero) for v in (scaled - slack, scaled, scaled + slack))
        loose = np.maximum(np.abs(low - mid), np.abs(high - mid))
        return sums.to(mid, 0 * mid, loose)

    def _store(self, scaled: Array, zero: float) -> Array:
        rounding = ROUNDINGS[self.rounding]
        number = rounding(scaled + zero) if self.early else rounding(scaled) + zero
        if self.relu:
            number = np.maximum(number, zero)
        low, high = self.limits or LIMITS[self.quant.dtype]
        if self.wraps:
            return (number - low) % (high - low + 1) + low
        return np.clip(number, low, high)


def wrapped(values: Array, bits: int) -> Array:
    """Return integers as a two's complement accumulator holds them; `-bits` saturates instead."""
    if bits == 0:
        return values
    half = 2.0 ** (abs(bits) - 1)
    if bits < 0:
        return np.clip(values, -half, half - 1)
    return (values + half) % (2 * half) - half


@dataclass(frozen=True, eq=False)
class Less:
    """Subtract a zero point, one for all or one for each position of an axis.

    Attributes:
        zero: `(1,)`, or as many as the axis has.
        axis: The axis.
    """

    zero: Array
    axis: int

    def __call__(self, values: Array, index: tuple[Array, ...]) -> Array:
        """Subtract."""
        return values - (self.zero[0] if len(self.zero) == 1 else self.zero[index[self.axis]])
