"""Exact sums of products, correct rounding, and the bounds of floating-point summation.

Everything is in terms of float64 NumPy arrays and Python numbers. Products of float16, bfloat16 and
float32 are exact in float64 (24 + 24 <= 53 bits), so `math.fsum` over them is correctly rounded.
Products of float64 are not: each is split into a rounded product and its error, which is exact.

Sources:
    Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed., section 3.1 (gamma_n).
    Ogita, Rump and Oishi, "Accurate sum and dot product", SIAM J. Sci. Comput. 26(6), 2005
    (the error of a product, after Dekker and Veltkamp).
    Rump, Ogita and Oishi, SIAM J. Sci. Comput. 31(1), 2008 (exact sums by extraction).
    Higham and Mary, SIAM J. Sci. Comput. 41(5), 2019 (the square root of n).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Format:
    """A binary floating-point format.

    Attributes:
        name: As PyTorch and NumPy spell it.
        precision: Significant bits, the hidden one included.
        smallest_exponent: `e` of the smallest normal number, `2**e`.
        largest: Largest finite number.
    """

    name: str
    precision: int
    smallest_exponent: int
    largest: float

    @property
    def unit(self) -> float:
        """Unit roundoff: half the distance from 1 to the next number."""
        return math.ldexp(1.0, -self.precision)

    @property
    def smallest(self) -> float:
        """Smallest positive number (subnormal)."""
        return math.ldexp(1.0, self.smallest_exponent - self.precision + 1)

    def half_spacing(self, value: float) -> float:
        """Half the distance between the numbers of this format around `value`.

        A value is stored with at most this error, as long as it does not overflow.
        """
        exponent = math.frexp(value)[1] - 1 if value else self.smallest_exponent
        return math.ldexp(1.0, max(exponent, self.smallest_exponent) - self.precision)


FORMATS: dict[str, Format] = {
    "float16": Format("float16", 11, -14, 65504.0),
    "bfloat16": Format("bfloat16", 8, -126, math.ldexp(2.0 - 2.0**-7, 127)),
    "tf32": Format("tf32", 11, -126, math.ldexp(2.0 - 2.0**-10, 127)),
    "float32": Format("float32", 24, -126, math.ldexp(2.0 - 2.0**-23, 127)),
    "float64": Format("float64", 53, -1022, math.ldexp(2.0 - 2.0**-52, 1023)),
}


class ExactSum:
    """A sum of products, without error.

    Attributes:
        value: The sum, correctly rounded to float64.
        magnitude: Sum of the absolute values, correct to 1e-12 of itself.
        count: Number of summands, the bias included.
    """

    __slots__ = ("_summands", "count", "magnitude", "value")

    def __init__(
        self, value: float, magnitude: float, count: int, summands: list[float] | Fraction
    ) -> None:
        self.value = value
        self.magnitude = magnitude
        self.count = count
        self._summands = summands

    def tail(self) -> int:
        """Return the sign of (true sum - value): -1, 0 or 1.

        It decides where `value` lies halfway between two numbers of a narrower format.
        """
        if isinstance(self._summands, Fraction):
            rest = self._summands - Fraction(self.value)
        else:
            rest = math.fsum([*self._summands, -self.value])
        return (rest > 0) - (rest < 0)

    def rounded(self, fmt: Format) -> float:
        """Return the true sum, rounded once to a format."""
        return round_to(self.value, self.tail, fmt)


def product_errors(left: Floats, right: Floats, products: Floats) -> Floats:
    """Return what `left*right` lost to rounding, exactly.

    Args:
        left: Factors, finite.
        right: Factors, finite, of the same shape.
        products: `left*right` as float64 rounded it.

    Returns:
        `left*right - products`, exact unless a factor exceeds 2**995 or a product lies below
        2**-968; `sum_products` takes rational numbers there.
    """

    def split(value: Floats) -> tuple[Floats, Floats]:
        scaled = value * 134217729.0  # 2**27 + 1, Veltkamp
        high = scaled - (scaled - value)
        return high, value - high

    left_high, left_low = split(left)
    right_high, right_low = split(right)
    return left_low * right_low - (
        ((products - left_high * right_high) - left_low * right_high) - left_high * right_low
    )


def sum_products(
    weights: Floats,
    inputs: Floats,
    products: Floats,
    magnitude: float,
    bias: float | None,
    *,
    wide: bool,
) -> ExactSum:
    """Add products and a bias without error.

    Args:
        weights: Factors, finite, of any shape.
        inputs: Factors, finite, of the same shape.
        products: `weights*inputs`.
        magnitude: Sum of the absolute values of `products`.
        bias: One more summand, or None.
        wide: Whether the factors need float64, so that `products` are rounded. False promises
            that they have at most 24 significant bits each.

    Returns:
        The exact sum. The caller has made sure that every factor is finite.
    """
    count = int(products.size)
    summands = _condensed(products.ravel(), magnitude)
    if bias is not None:
        summands.append(bias)
        magnitude += abs(bias)
        count += 1
    if wide:
        finite = math.isfinite(magnitude)
        sizes = np.abs(products[products != 0]) if finite else products
        small = bool(sizes.size) and float(sizes.min()) < 2.0**-960
        vanished = bool(((products == 0) & (weights != 0) & (inputs != 0)).any())
        largest = max(
            float(np.abs(weights).max(initial=0)), float(np.abs(inputs).max(initial=0)), magnitude
        )
        if small or vanished or not finite or largest > 2.0**990:
            return _sum_fractions(weights, inputs, bias, count)
        summands += product_errors(weights, inputs, products).ravel().tolist()
    return ExactSum(math.fsum(summands), magnitude, count, summands)


def _condensed(summands: Floats, magnitude: float) -> list[float]:
    """Replace many numbers by a few whose sum is the same, without error.

    Each pass cuts all numbers at one power of two. The upper parts are multiples of one unit and so
    few bits long that NumPy adds them exactly in any order; the lower parts go on to the next pass.

    Sources:
        Rump, Ogita and Oishi, "Accurate floating-point summation part I: faithful rounding",
        SIAM J. Sci. Comput. 31(1), 2008 (extraction of high-order parts).
    """
    if summands.size < 128 or not 2.0**-800 < magnitude < 2.0**900:
        return summands.tolist()
    spare = math.ceil(math.log2(summands.size + 2))
    exponent = math.frexp(magnitude)[1] + spare
    parts: list[float] = []
    rest = summands.copy()
    upper = np.empty_like(rest)
    for _ in range(6):
        cut = math.ldexp(1.0, exponent)
        np.add(rest, cut, out=upper)
        upper -= cut
        parts.append(float(upper.sum()))
        rest -= upper
        if not rest.any():
            return parts
        exponent += spare - 53  # what is left lies below the unit of this cut
    return [*parts, *rest.tolist()]


def _sum_fractions(weights: Floats, inputs: Floats, bias: float | None, count: int) -> ExactSum:
    total, magnitude = Fraction(0), Fraction(0)
    for weight, value in zip(weights.ravel().tolist(), inputs.ravel().tolist(), strict=True):
        product = Fraction(weight) * Fraction(value)
        total += product
        magnitude += abs(product)
    if bias is not None:
        total += Fraction(bias)
        magnitude += abs(Fraction(bias))
    return ExactSum(fraction_to_float(total), fraction_to_float(magnitude), count, total)


def fraction_to_float(value: Fraction) -> float:
    """Round a rational number to float64; infinite where it exceeds the range."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def round_to(value: float, tail: Callable[[], int], fmt: Format) -> float:
    """Round an exact sum to a format, to nearest with ties to even.

    Args:
        value: The sum, correctly rounded to float64.
        tail: Returns the sign of what that rounding left out, so that nothing is rounded twice.
            Called only where `value` is a tie.
        fmt: The format to round to.

    Returns:
        The nearest number of the format; infinite beyond its range.

    Example:
        >>> round_to(1 + 2.0**-24, lambda: 0, FORMATS["float32"])
        1.0
        >>> round_to(1 + 2.0**-24, lambda: 1, FORMATS["float32"]) > 1
        True
    """
    if value == 0 or not math.isfinite(value) or fmt.precision == 53:
        return value
    exponent = max(math.frexp(value)[1] - 1, fmt.smallest_exponent) - fmt.precision + 1
    scaled = math.ldexp(value, -exponent)
    lower = math.floor(scaled)
    rest = scaled - lower
    if rest == 0.5:
        # The float64 value is a tie. What its own rounding left out decides, else the even one.
        sign = tail()
        up = sign > 0 or (sign == 0 and lower % 2 == 1)
    else:
        up = rest > 0.5
    largest = math.ldexp(fmt.largest, -exponent)
    if abs(lower + up) > largest:
        return math.copysign(math.inf, value)
    return math.ldexp(float(lower + up), exponent)


def gamma(count: int, unit: float) -> float:
    """Bound the relative error of `count` roundings: `n*u / (1 - n*u)`.

    Args:
        count: Number of roundings that any one summand passes through.
        unit: Unit roundoff of the arithmetic.

    Returns:
        gamma_n; from `n*u >= 1/2` on, where it explodes, `(1 + u)**n - 1`, which holds as well
        (every summand is multiplied by at most n factors 1 + d, |d| <= u), but at least 1, so
        that the bound never shrinks.
    """
    product = count * unit
    if product < 0.5:
        return product / (1.0 - product)
    return max(1.0, math.expm1(min(count * math.log1p(unit), 700.0)))


def typical_scale(count: int, unit: float, magnitude: float) -> float:
    """Return `sqrt(n)*u*magnitude`, the size that rounding errors really have."""
    return math.sqrt(count) * unit * magnitude
