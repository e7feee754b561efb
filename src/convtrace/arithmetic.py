"""The arithmetic that ran, and the error that it can make at most.

A framework does not say how it added. What can be known is the format of its operands, the format
it accumulates in, and the format it stores. `Arithmetic` names these three, so that a receipt can
say what it assumed, and turns them into a bound that holds for every order of summation.

The bound holds for sums of rounded products, whichever way they are blocked, vectorised or fused.
It does not hold for Winograd or FFT convolution, which compute other products; PyTorch's CPU
kernels use neither.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from convtrace.exact import FORMATS, gamma, typical_scale


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """Formats of one operation on floating-point numbers.

    Attributes:
        operands: Format that the factors are rounded to before they are multiplied.
        accumulate: Format that products and sums are rounded to.
        result: Format that the result is stored in.
        partial_sums: Whether the sum over the channels of each kernel tap is stored in `result`
            before the taps are added up. So do the half-precision kernels of a transposed
            convolution that spread columns over the output.
        flushes: Whether subnormal numbers may be flushed to zero.
    """

    operands: str
    accumulate: str
    result: str
    partial_sums: bool = False
    flushes: bool = False

    def describe(self) -> str:
        """Name the arithmetic in a few words, e.g. `bfloat16 products, float32 sums`."""
        parts = [f"{self.operands} × {self.operands}", f"{self.accumulate} sums"]
        if self.partial_sums:
            parts.append(f"partial sums stored as {self.result}")
        if self.result != self.accumulate:
            parts.append(f"{self.result} result")
        return ", ".join(parts)

    def bound(
        self,
        count: int,
        magnitude: float,
        exact: float,
        *,
        stored: str | None = None,
        partials: int = 0,
    ) -> float:
        """Bound |stored result - exact sum|.

        Args:
            count: Number of summands, the bias included.
            magnitude: Sum of their absolute values.
            exact: The exact sum.
            stored: Format of the operands as they are stored; where it is wider than `operands`
                (TF32), rounding the operands counts as well. None: as `operands`.
            partials: Where partial sums are stored: through how many of them a summand passes.

        Returns:
            `gamma_n * magnitude`, plus the rounding of operands, partial sums and result where
            they apply, plus what underflow can lose. In the unit of the numbers themselves.
        """
        accumulate, result = FORMATS[self.accumulate], FORMATS[self.result]
        size = magnitude * (1 + 1e-12)
        error = 0.0
        if FORMATS[self.operands].precision < FORMATS[stored or self.operands].precision:
            unit = FORMATS[self.operands].unit
            error += (2 * unit + unit * unit) * size
        error += gamma(count, accumulate.unit) * (size + error)
        tiny = accumulate.smallest
        if self.flushes:
            tiny = math.ldexp(1.0, accumulate.smallest_exponent)
        error += count * tiny
        if self.partial_sums:
            error += gamma(partials, result.unit) * (size + error) + partials * result.smallest
        if self.result != self.accumulate:
            error += result.half_spacing(abs(exact) + error)
            if self.flushes:
                error += math.ldexp(1.0, result.smallest_exponent)
        return error

    def typical(
        self,
        count: int,
        magnitude: float,
        exact: float,
        *,
        stored: str | None = None,
        partials: int = 0,
    ) -> float:
        """Estimate the size that the error of this arithmetic really has.

        Arguments as in `bound`.
        """
        result = FORMATS[self.result]
        scale = typical_scale(count, FORMATS[self.accumulate].unit, magnitude)
        if FORMATS[self.operands].precision < FORMATS[stored or self.operands].precision:
            scale += FORMATS[self.operands].unit * magnitude
        if self.partial_sums:
            scale += typical_scale(partials, result.unit, magnitude) / 2
        if self.result != self.accumulate:
            scale += result.half_spacing(exact)
        return min(scale, self.bound(count, magnitude, exact, stored=stored, partials=partials))

    def may_overflow(self, magnitude: float) -> bool:
        """Whether a sum of summands of this total size can exceed the largest number."""
        return magnitude * (1 + 1e-6) >= min(
            FORMATS[self.accumulate].largest, FORMATS[self.result].largest
        )


def plain(dtype: str, *, flushes: bool = False) -> Arithmetic:
    """Return the arithmetic that a dtype has where nothing more is known.

    float16 and bfloat16 are multiplied exactly, added in float32 and stored rounded, as every
    library that is known to us does; the other formats are added in themselves.
    """
    accumulate = "float32" if dtype in ("float16", "bfloat16") else dtype
    return Arithmetic(dtype, accumulate, dtype, flushes=flushes)
