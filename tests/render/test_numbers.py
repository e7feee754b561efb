"""Numbers as text: nothing false, nothing silently rounded, signs that a reader can check."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from convtrace.render.numbers import (
    Column,
    Scale,
    about,
    identify,
    product_sign,
    resolve,
    show,
    sum_sign,
)

FLOAT32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
FLOAT64 = st.floats(allow_nan=False, allow_infinity=False)
COLUMNS = st.lists(FLOAT64, min_size=1, max_size=6)


def read(text: str) -> Fraction:
    """Read a number back, the true minus included."""
    return Fraction(text.replace("−", "-"))


def half_a_unit(text: str) -> Fraction:
    """Half a unit in the last place that is written."""
    mantissa, _, exponent = text.replace("−", "-").partition("e")
    decimals = len(mantissa.partition(".")[2])
    return Fraction(10) ** (int(exponent or 0) - decimals) / 2


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (24.0, "24"),
        (-0.25, "−0.25"),
        (0.0, "0"),
        (-0.0, "0"),
        (1e-12, "1e−12"),
        (-2.5e-7, "−2.5e−7"),
        (1234567.0, "1234567"),
        (2**70, "1180591620717411303424"),
        (-7, "−7"),
        (math.inf, "∞"),
        (-math.inf, "−∞"),
        (math.nan, "NaN"),
        (0.5 - 2j, "(0.5 − 2j)"),
        (-3j, "−3j"),
        (1 + 0j, "1"),
    ],
)
def test_show_writes_a_short_number_in_full_and_without_a_mark(number: complex, text: str) -> None:
    assert show(number).marked == text


def test_show_writes_the_float32_next_to_a_tenth_as_0_1() -> None:
    assert show(float(np.float32(0.1))).marked == "0.1"


def test_show_does_not_take_a_float64_for_the_float32_that_it_equals() -> None:
    assert show(float(np.float32(0.1)), narrow=False).marked == "≈0.100000"
    assert show(0.1, narrow=False).marked == "0.1"


def test_show_marks_what_it_rounds() -> None:
    assert show(1 / 3, narrow=False).marked == "≈0.333333"
    assert show(-(2.0**-40) / 3, narrow=False).marked == "≈−3.03165e−13"
    assert show(123456789.0123).marked == "≈123456789"


def test_show_with_all_digits_is_the_float64_itself() -> None:
    assert show(float(np.float32(0.1)), None).text == "0.10000000149011612"


@given(FLOAT32)
def test_what_is_shown_unmarked_reads_back_as_the_same_float32(number: float) -> None:
    shown = show(number)
    if not shown.rounded:
        assert np.float32(float(read(shown.text))) == np.float32(number)


@given(FLOAT64)
def test_what_is_shown_unmarked_reads_back_as_the_same_float64(number: float) -> None:
    shown = show(number, narrow=False)
    if not shown.rounded:
        assert float(read(shown.text)) == number


@given(COLUMNS, st.sampled_from([3, 4, 6]), st.booleans())
def test_what_is_shown_rounded_is_off_by_half_a_unit_at_most(
    numbers: list[float], digits: int, narrow: bool
) -> None:
    scale = Scale.of(numbers, digits, narrow=narrow)
    for number in numbers:
        shown = scale.show(number)
        if shown.rounded:
            assert abs(read(shown.text) - Fraction(number)) <= half_a_unit(shown.text)


@given(COLUMNS)
def test_no_number_but_zero_is_shown_as_zero(numbers: list[float]) -> None:
    scale = Scale.of(numbers, 3)
    for number in numbers:
        assert (read(scale.show(number).text) == 0) == (number == 0)


@given(FLOAT64)
def test_no_number_is_written_with_a_hyphen(number: float) -> None:
    for shown in (show(number), show(number, None), identify(number), show(complex(number, -1))):
        assert "-" not in shown.text


@given(FLOAT64)
def test_identify_tells_every_float64_from_every_other_one(number: float) -> None:
    assert float(read(identify(number, narrow=False).text)) == number


@given(FLOAT32)
def test_identify_tells_every_float32_from_every_other_one(number: float) -> None:
    assert np.float32(float(read(identify(number).text))) == np.float32(number)


@given(FLOAT32, FLOAT32)
def test_an_equals_sign_stands_only_where_the_texts_multiply(left: float, right: float) -> None:
    assume(math.isfinite(left * right))
    factors, product = (show(left), show(right)), show(left * right)
    texts = read(factors[0].text) * read(factors[1].text) == read(product.text)
    assert (product_sign(*factors, product) == "=") == (texts and not product.rounded)


@given(st.lists(FLOAT32, min_size=1, max_size=5))
def test_an_equals_sign_stands_only_where_the_texts_add_up(numbers: list[float]) -> None:
    total = math.fsum(numbers)
    scale = Scale.of([*numbers, total])
    parts, whole = [scale.show(n) for n in numbers], scale.show(total)
    texts = sum(read(p.text) for p in parts) == read(whole.text)
    assert (sum_sign(parts, whole) == "=") == (texts and not whole.rounded)


def test_with_all_digits_the_sign_is_about_the_numbers_and_not_their_texts() -> None:
    tenth = float(np.float32(0.1))
    shown = [show(number, None) for number in (tenth, 3.0, tenth * 3.0)]
    assert product_sign(*shown) == "="


def test_infinity_and_nan_follow_an_equals_sign() -> None:
    assert product_sign(show(math.inf), show(1 / 3), show(math.inf)) == "="
    assert sum_sign([show(1 / 3), show(math.nan)], show(math.nan)) == "="


@given(COLUMNS)
def test_a_column_has_every_decimal_point_in_the_same_place(numbers: list[float]) -> None:
    texts = [Scale.of(numbers).show(number).text for number in numbers]
    column = Column.of(texts)
    points = {cell.index(".") for text in texts if "." in (cell := column.put(text))}
    assert len(points) <= 1
    assert {len(column.put(text)) for text in texts} == {column.width}


@given(FLOAT32, st.integers(1, 50))
def test_resolve_keeps_different_numbers_different(number: float, steps: int) -> None:
    other = number
    for _ in range(steps):
        with np.errstate(over="ignore"):
            other = float(np.nextafter(np.float32(other), np.float32(np.inf)))
    assume(math.isfinite(other) and number != other)
    left, right = resolve([number, other], number - other, narrow=True)
    assert left.text != right.text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (2.1234e-8, "2.1e−8"),
        (0.0, "0"),
        (0.5, "0.5"),
        (800.2, "800"),
        (1.05e6, "1e6"),
        (math.inf, "∞"),
    ],
)
def test_about_gives_two_digits(number: float, text: str) -> None:
    assert about(number) == text
