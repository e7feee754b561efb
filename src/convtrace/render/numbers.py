"""Numbers as text: true minus, no false digits, and a mark on whatever is shown rounded.

A number is shown in full where that is short. float32 and half-precision numbers are written with
the fewest digits that tell them from every other float32 (0.1, not 0.10000000149011612). All else
is rounded from its exact binary value and says so: `Shown.rounded`.

Whether `=` or `≈` belongs between numbers is decided from what is on the screen: `product_sign`
and `sum_sign` compute with the texts themselves, so that a reader who does the same agrees.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

from convtrace.step import Number

MINUS = "−"
ABOUT = "≈"
DIGITS = 6
"""Significant digits that a rounded number is shown with, unless asked otherwise."""

_LARGEST_FLOAT32 = 3.4028234663852886e38
_PLAIN = range(-4, 10)
"""Powers of ten of the first digit that are written out; others are written as 2.1e−8."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A number and its text.

    Attributes:
        text: What is written, without a mark.
        rounded: Whether the text lost digits.
        value: The number itself.
        complete: Whether the text holds every digit of a float64, so that it is the number.
    """

    text: str
    rounded: bool
    value: Number
    complete: bool = False

    @property
    def marked(self) -> str:
        """The text, with `≈` before it where it is rounded."""
        return ABOUT + self.text if self.rounded else self.text

    @property
    def sign(self) -> str:
        """`≈` or `=`: what belongs between a name and this number."""
        return ABOUT if self.rounded else "="

    @property
    def fraction(self) -> Fraction | None:
        """The number that a reader sees; None for NaN, infinity and complex numbers."""
        if isinstance(self.value, complex) or not math.isfinite(self.value):
            return None
        return Fraction(self.value) if self.complete else Fraction(self.text.replace(MINUS, "-"))


@dataclass(frozen=True, slots=True)
class Scale:
    """How the numbers of one column are written, so that they agree with each other.

    Attributes:
        digits: Significant digits of rounded numbers; None shows all digits of all numbers.
        narrow: Whether the numbers may be float32, so that fewer digits identify them.
        decimals: Decimals of rounded numbers; None where each has its own power of ten.
    """

    digits: int | None = DIGITS
    narrow: bool = True
    decimals: int | None = None

    @classmethod
    def of(
        cls, values: Iterable[Number], digits: int | None = DIGITS, *, narrow: bool = True
    ) -> Scale:
        """Choose the scale of a column: the largest number gets `digits` significant digits."""
        if digits is None:
            return cls(None, False)
        real = [part for value in values for part in _parts(value)]
        parts = [part for part in real if part and math.isfinite(part)]
        if all(_is_short(_shortest(part, narrow), digits) for part in parts):
            return cls(digits, narrow)
        exponent = _exponent(max(abs(part) for part in parts))
        if exponent not in _PLAIN:
            return cls(digits, narrow)
        return cls(digits, narrow, max(digits - 1 - exponent, 0))

    def show(self, value: Number) -> Shown:
        """Write one number.

        Example:
            >>> Scale(digits=6).show(-0.25).marked, Scale(digits=6).show(1 / 3).marked
            ('−0.25', '≈0.333333')
        """
        if isinstance(value, complex):
            real, imaginary = self.show(value.real), self.show(value.imag)
            rounded = real.rounded or imaginary.rounded
            return Shown(_complex(real, imaginary), rounded, value, self.digits is None)
        if isinstance(value, int):
            return Shown(_minus(str(value)), False, value, self.digits is None)
        if not math.isfinite(value):
            text = "NaN" if math.isnan(value) else "∞" if value > 0 else f"{MINUS}∞"
            return Shown(text, False, value)
        full = _shortest(value, self.narrow)
        if self.digits is None or self._fits(full):
            return Shown(_write(full), False, value, self.digits is None)
        text = self._round(value)
        return Shown(_minus(text), Decimal(text) != full, value)

    def _fits(self, full: Decimal) -> bool:
        assert self.digits is not None
        if not _is_short(full, self.digits):
            return False
        return self.decimals is None or -int(full.as_tuple().exponent) <= self.decimals

    def _round(self, value: float) -> str:
        assert self.digits is not None
        decimals = self.decimals
        exponent = _exponent(value)
        if decimals is None:
            if exponent in _PLAIN:
                return f"{value:.{max(self.digits - 1 - exponent, 0)}f}"
            return _scientific(value, self.digits)
        # A number far smaller than its neighbours would become 0.00: it keeps one digit instead.
        missing = -exponent - decimals
        if missing > 3:
            return _scientific(value, 1)
        return f"{value:.{decimals + max(missing, 0)}f}"


def show(value: Number, digits: int | None = DIGITS, *, narrow: bool = True) -> Shown:
    """Write one number that stands alone.

    Args:
        value: The number.
        digits: Significant digits if it has to be rounded; None shows all.
        narrow: Whether it may be a float32, so that fewer digits identify it.

    Example:
        >>> show(24.0).text, show(2 / 3).marked, show(1.5e-12).text, show(float("nan")).text
        ('24', '≈0.666667', '1.5e−12', 'NaN')
        >>> show(0.5 - 2j).text, show(3j).text
        ('(0.5 − 2j)', '3j')
    """
    return Scale.of([value], digits, narrow=narrow).show(value)


def identify(value: Number, *, narrow: bool = True) -> Shown:
    """Write a number with as many digits as it takes to tell it from every other one.

    Example:
        >>> identify(0.41206324100494385).text, identify(1 / 3, narrow=False).text
        ('0.41206324', '0.3333333333333333')
    """
    if isinstance(value, complex):
        return Scale(digits=17, narrow=narrow).show(value)
    if isinstance(value, int) or not math.isfinite(value):
        return Scale().show(value)
    return Shown(_write(_shortest(value, narrow)), False, value)


def about(value: float, digits: int = 2) -> str:
    """Write the size of a number in few digits, without a mark: for "about …" and "at most …".

    Example:
        >>> about(2.1234e-8), about(0.0), about(1234.5), about(0.25)
        ('2.1e−8', '0', '1200', '0.25')
    """
    if not value or not math.isfinite(value):
        return show(value).text
    rounded = Decimal(_scientific(value, digits))
    return _write(rounded, plain=range(-3, 6))


def grouped(number: int | str) -> str:
    """Write a count, or a number that is written already, with its thousands parted.

    Example:
        >>> grouped(450000), grouped("1200"), grouped("2.1e−8"), grouped("0.25"), grouped(512)
        ('450,000', '1,200', '2.1e−8', '0.25', '512')
    """
    text = str(number)
    return f"{int(text):,}" if text.isdecimal() else text


def resolve(values: Sequence[float], difference: float, *, narrow: bool) -> list[Shown]:
    """Write numbers with enough decimals that their difference can be read off.

    Args:
        values: Finite numbers that differ by about `difference`.
        difference: Not 0.
        narrow: Whether they may be float32.
    """
    largest = _exponent(max(map(abs, values)))
    decimals = max(2 - _exponent(difference), DIGITS - 1 - largest)
    if largest not in _PLAIN or decimals > 20:
        return [identify(value, narrow=False) for value in values]
    shown: list[Shown] = []
    for value in values:
        full = _shortest(value, narrow)
        if Fraction(full) == Fraction(value):
            shown.append(identify(value, narrow=narrow))
            continue
        text = f"{value:.{max(decimals, 0)}f}"
        shown.append(Shown(_minus(text), Fraction(text) != Fraction(value), value))
    return shown


def product_sign(left: Shown, right: Shown, product: Shown) -> str:
    """Return `=` if the product is shown in full and is that of the factors as shown, else `≈`.

    Example:
        >>> product_sign(show(0.5), show(3.0), show(1.5))
        '='
        >>> product_sign(show(1 / 3), show(3.0), show(1.0))
        '≈'
    """
    return _sign((left, right, product), lambda f: f[0] * f[1] == f[2])


def sum_sign(parts: Sequence[Shown], total: Shown) -> str:
    """Return `=` if the total is shown in full and is the sum of the parts as shown, else `≈`."""
    return _sign((*parts, total), lambda f: sum(f[:-1], Fraction()) == f[-1])


def _sign(shown: Sequence[Shown], holds: Any) -> str:
    result = shown[-1]
    if result.rounded:
        return ABOUT
    fractions = [one.fraction for one in shown]
    known = [fraction for fraction in fractions if fraction is not None]
    if len(known) < len(fractions):  # NaN and infinity come out as such; a complex number is left
        rounded = isinstance(result.value, complex) and any(one.rounded for one in shown)
        return ABOUT if rounded else "="
    return "=" if holds(known) else ABOUT


@dataclass(frozen=True, slots=True)
class Column:
    """A column of numbers, aligned on the decimal point.

    Attributes:
        left: Width before the point.
        right: Width from the point on.
    """

    left: int
    right: int

    @classmethod
    def of(cls, texts: Iterable[str]) -> Column:
        """Measure a column.

        Example:
            >>> column = Column.of(["9", "10.25", "−0.5"])
            >>> [column.put(text) for text in ("9", "10.25", "−0.5")]
            [' 9   ', '10.25', '−0.5 ']
        """
        halves = [_halves(text) for text in texts]
        return cls(
            max((len(left) for left, _ in halves), default=0),
            max((len(right) for _, right in halves), default=0),
        )

    @property
    def width(self) -> int:
        """Width of the column."""
        return self.left + self.right

    def put(self, text: str) -> str:
        """Pad a text to the width of the column, its decimal point in place."""
        left, right = _halves(text)
        return left.rjust(self.left) + right.ljust(self.right)


def _halves(text: str) -> tuple[str, str]:
    if text.endswith(")"):  # a complex number
        return text, ""
    at = min((text.index(mark) for mark in ".e" if mark in text), default=len(text))
    return text[:at], text[at:]


def _complex(real: Shown, imaginary: Shown) -> str:
    """Write a complex number; a part that is zero is left out, brackets hold two together."""
    if not imaginary.value:
        return real.text
    if not real.value:
        return f"{imaginary.text}j"
    sign = MINUS if imaginary.text.startswith(MINUS) else "+"
    return f"({real.text} {sign} {imaginary.text.removeprefix(MINUS)}j)"


def _parts(value: Number) -> tuple[float, ...]:
    if isinstance(value, complex):
        return value.real, value.imag
    return () if isinstance(value, int) else (value,)


def _shortest(value: float, narrow: bool) -> Decimal:
    """Return the shortest decimal that identifies a float32 (if it is one) or a float64."""
    text = repr(float(value))
    if narrow and abs(value) <= _LARGEST_FLOAT32 and float(np.float32(value)) == value:
        text = np.format_float_scientific(np.float32(value), unique=True, trim="-")
    full = Decimal(text)
    return Decimal(0) if not full else full.normalize()


def _is_short(full: Decimal, digits: int) -> bool:
    """Whether rounding would save nothing: the mark is as long as the digit that it replaces."""
    _, figures, exponent = full.as_tuple()
    whole = isinstance(exponent, int) and exponent >= 0 and full.adjusted() in _PLAIN
    return whole or len(figures) <= digits + 1


def _exponent(value: float) -> int:
    return Decimal(value).adjusted()


def _scientific(value: float, digits: int) -> str:
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def _write(full: Decimal, plain: range = _PLAIN) -> str:
    if not full:
        return "0"
    full = full.normalize()
    if full.adjusted() in plain:
        return _minus(format(full, "f"))
    sign, figures, _ = full.as_tuple()
    first, *others = map(str, figures)
    mantissa = first + ("." + "".join(others) if others else "")
    return _minus(f"{'-' if sign else ''}{mantissa}e{full.adjusted()}")


def _minus(text: str) -> str:
    return text.replace("-", MINUS)
