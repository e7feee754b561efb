"""Exact sums and correct rounding, against fractions, PyTorch's casts and NumPy's."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st
from judges import FORMATS as JUDGED
from judges import nearest
from numpy.typing import NDArray
from strategies import FLOATS, examples, numbers_of

from convtrace.exact import (
    FORMATS,
    ExactSum,
    fraction_to_float,
    gamma,
    product_errors,
    round_to,
    sum_products,
    typical_scale,
)

NARROW = [name for name in FORMATS if name != "float64"]
Pairs = list[tuple[float, float]]


def summed(pairs: Pairs, bias: float | None, *, wide: bool) -> ExactSum:
    """Add the products of pairs, as a receipt does."""
    weights, inputs = (np.array(side, dtype=np.float64) for side in split(pairs))
    with np.errstate(all="ignore"):
        products = weights * inputs
        magnitude = float(np.abs(products).sum())
        return sum_products(weights, inputs, products, magnitude, bias, wide=wide)


def split(pairs: Pairs) -> tuple[list[float], list[float]]:
    return [weight for weight, _ in pairs], [value for _, value in pairs]


def fraction_sum(pairs: Pairs, bias: float | None) -> Fraction:
    total = sum((Fraction(weight) * Fraction(value) for weight, value in pairs), Fraction(0))
    return total + Fraction(bias or 0)


def rounded_once(value: Fraction) -> float:
    return nearest(value, "float64")


def sign(value: Fraction) -> int:
    return (value > 0) - (value < 0)


def assert_exact(pairs: Pairs, bias: float | None, *, wide: bool) -> None:
    """Compare value, tail and magnitude of a sum with fractions."""
    total, expected = summed(pairs, bias, wide=wide), fraction_sum(pairs, bias)
    assert total.value == rounded_once(expected)
    if math.isfinite(total.value):
        assert total.tail() == sign(expected - Fraction(total.value))
    sizes = [Fraction(abs(w)) * Fraction(abs(v)) for w, v in pairs]
    magnitude = sum(sizes, Fraction(abs(bias or 0)))
    if magnitude <= Fraction(FORMATS["float64"].largest):
        error = abs(Fraction(total.magnitude) - magnitude)
        assert error <= magnitude * Fraction(1e-12) + Fraction(FORMATS["float64"].smallest)
    assert total.count == len(pairs) + (bias is not None)


def pairs_of(name: str) -> st.SearchStrategy[Pairs]:
    number = numbers_of(name)
    return st.lists(st.tuples(number, number), min_size=1, max_size=12)


# Sums --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["float16", "bfloat16", "tf32", "float32"])
@examples(60)
@given(data=st.data())
def test_a_sum_of_narrow_products_is_the_fraction_rounded_once(
    name: str, data: st.DataObject
) -> None:
    pairs = data.draw(pairs_of(name))
    bias = data.draw(st.none() | numbers_of(name))
    assert_exact(pairs, bias, wide=False)


@examples(150)
@given(pairs_of("float64"), st.none() | numbers_of("float64"))
@example([(1e308, 10.0), (-1e308, 10.0), (1.0, 5.0)], None)  # every partial sum overflows
@example([(1e-200, 1e-200)], None)  # the product vanishes in float64
@example([(1e-200, 1e-200)], 1.0)  # and is what decides a tie
@example([(5e-324, 0.5), (5e-324, 0.5)], None)  # two halves of the smallest number
@example([(1.7e308, 1.7e308)], 0.0)  # beyond the range
@example([(-1.7e308, 1.7e308)], 0.0)
@example([(1 + 2**-52, 1 - 2**-52), (-1.0, 1.0)], None)  # only the error is left
@example([(0.0, 1.7e308), (1e-320, 1e-3)], 1e-300)
@example([(2.0**990, 1.0), (2.0**-30, 1 + 2**-52)], 2.0**-1000)
def test_a_sum_of_float64_products_is_the_fraction_rounded_once(
    pairs: Pairs, bias: float | None
) -> None:
    assert_exact(pairs, bias, wide=True)


@examples(100)
@given(
    st.lists(st.tuples(st.integers(-540, 500), st.integers(-540, 500)), min_size=1, max_size=6),
    st.integers(0, 2**20),
)
def test_a_sum_of_float64_products_is_exact_at_every_size(
    exponents: list[tuple[int, int]], seed: int
) -> None:
    random = np.random.default_rng(seed)
    pairs = [
        (math.ldexp(random.uniform(-1, 1), a), math.ldexp(random.uniform(-1, 1), b))
        for a, b in exponents
    ]
    assert_exact(pairs, None, wide=True)


@pytest.mark.parametrize("wide", [False, True])
@examples(40)
@given(
    count=st.sampled_from([127, 128, 129, 500, 4608]),
    spread=st.sampled_from([0, 5, 40, 120]),
    seed=st.integers(0, 2**20),
    cancels=st.booleans(),
)
def test_a_long_sum_is_the_fraction_rounded_once(
    wide: bool, count: int, spread: int, seed: int, cancels: bool
) -> None:
    random = np.random.default_rng(seed)
    weights, inputs = random.normal(size=(2, count)) * 2.0 ** random.integers(
        -spread, spread + 1, size=(2, count)
    )
    if not wide:
        weights, inputs = (a.astype(np.float32).astype(np.float64) for a in (weights, inputs))
    if cancels:
        weights = np.concatenate([weights, -weights, [1.0]])
        inputs = np.concatenate([inputs, inputs, [2.0**-100]])
    pairs = list(zip(weights.tolist(), inputs.tolist(), strict=True))
    assert_exact(pairs, 0.1, wide=wide)


def test_a_long_sum_keeps_the_smallest_of_its_numbers() -> None:
    # From 2**300 down to 2**-400: more powers of two than any few floats hold.
    pairs = [(2.0**e, s) for e in range(300, -400, -1) for s in (1.0, -1.0)]
    assert_exact([*pairs, (3.0, 2.0**-300)], None, wide=False)
    assert_exact([*pairs, (3.0, 2.0**-300)], None, wide=True)


def test_a_long_sum_of_huge_and_of_tiny_numbers_is_exact() -> None:
    assert_exact([(1.5, 2.0**930)] * 200, None, wide=True)
    assert_exact([(1.1, 2.0**-930)] * 200, None, wide=True)
    assert_exact([(1.5, 2.0**1020)] * 200, None, wide=True)
    assert_exact([(1.5, 2.0**-1074)] * 200, None, wide=True)


def test_the_order_of_the_terms_does_not_change_a_sum() -> None:
    random = np.random.default_rng(0)
    left, right = random.normal(size=(2, 300)) * 2.0 ** random.integers(-30, 30, size=(2, 300))
    pairs = list(zip(left.tolist(), right.tolist(), strict=True))
    values = {summed([pairs[i] for i in random.permutation(300)], 0.1, wide=True).value}
    values |= {summed(pairs, 0.1, wide=True).value}
    assert len(values) == 1


def test_a_sum_without_terms_is_its_bias() -> None:
    nothing = np.zeros((0,))
    assert sum_products(nothing, nothing, nothing, 0.0, 0.25, wide=True).value == 0.25
    assert sum_products(nothing, nothing, nothing, 0.0, None, wide=False).value == 0.0


def test_a_bias_counts_as_a_summand_even_where_it_is_zero() -> None:
    assert summed([(1.0, 1.0)], 0.0, wide=False).count == 2
    assert summed([(1.0, 1.0)], None, wide=False).count == 1


def test_summing_does_not_write_to_its_arguments() -> None:
    arrays = [np.full(300, 1.1), np.full(300, 1.3), np.full(300, 1.1 * 1.3)]
    before = [array.copy() for array in arrays]
    sum_products(*arrays, float(arrays[2].sum()), 1.0, wide=True)
    for array, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)


# Errors of products ------------------------------------------------------------------------------


def errors_of(pairs: Pairs) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    left, right = (np.array(side) for side in split(pairs))
    products = left * right
    return products, product_errors(left, right, products)


def assert_error_exact(pairs: Pairs) -> None:
    """Compare a product and its error with the product of fractions."""
    products, errors = errors_of(pairs)
    for (left, right), product, error in zip(pairs, products, errors, strict=True):
        assert Fraction(product) + Fraction(error) == Fraction(left) * Fraction(right)


@examples(300)
@given(numbers_of("float64"), numbers_of("float64"))
def test_a_product_and_its_error_are_the_product(left: float, right: float) -> None:
    assume(max(abs(left), abs(right)) <= 2.0**995)
    product = abs(Fraction(left) * Fraction(right))
    assume(product == 0 or Fraction(2) ** -968 <= product < Fraction(2) ** 1023)
    assert_error_exact([(left, right)])


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (2.0**995, 1 + 2.0**-52),
        (math.nextafter(2.0**995, 0), math.nextafter(2.0**28, 0)),
        (math.nextafter(2.0**-484, 1), math.nextafter(2.0**-484, 1)),
        (2.0**-1074, math.nextafter(2.0**107, 0)),
        (math.nextafter(2.0**-1022, 0), math.nextafter(2.0**60, 0)),
        (1 + 2.0**-52, 1 + 2.0**-52),
        (-(1 + 2.0**-52), 1 - 2.0**-53),
        (134217729.0, 134217727.0),
        (0.0, 2.0**995),
    ],
)
def test_the_error_of_a_product_is_exact_at_the_limits(left: float, right: float) -> None:
    assert_error_exact([(left, right), (right, left)])


# Rounding ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(FORMATS))
def test_a_format_has_the_limits_that_its_documentation_gives(name: str) -> None:
    fmt, judged = FORMATS[name], JUDGED[name]
    assert fmt.name == name
    assert (fmt.precision, fmt.smallest_exponent) == (judged.precision, judged.smallest_exponent)
    assert (
        Fraction(fmt.largest)
        == (2 - Fraction(2) ** (1 - judged.precision)) * Fraction(2) ** judged.largest_exponent
    )


@pytest.mark.parametrize("name", FLOATS)
def test_a_format_has_the_limits_that_pytorch_states(name: str) -> None:
    fmt, info = FORMATS[name], torch.finfo(getattr(torch, name))
    assert (fmt.largest, 2 * fmt.unit) == (info.max, info.eps)
    assert 2.0**fmt.smallest_exponent == info.smallest_normal
    assert fmt.smallest == info.smallest_normal * info.eps


@pytest.mark.parametrize("name", FLOATS)
def test_the_smallest_number_of_a_format_is_what_pytorch_counts_up_to_first(name: str) -> None:
    dtype = getattr(torch, name)
    zero, one = torch.tensor(0.0, dtype=dtype), torch.tensor(1.0, dtype=dtype)
    bits = {2: torch.int16, 4: torch.int32, 8: torch.int64}[dtype.itemsize]
    first = torch.tensor(1, dtype=bits).view(dtype)
    assert zero < first < one
    assert first.item() == FORMATS[name].smallest


@pytest.mark.parametrize("name", list(FORMATS))
@examples(200)
@given(value=numbers_of("float64", most=2.0**130))
@example(value=65519.99)
@example(value=65520.0)
@example(value=2.0**-25)
@example(value=math.nextafter(2.0**-25, 1))
@example(value=3 * 2.0**-150)
@example(value=2.0**128)
@example(value=-(2.0 - 2.0**-24) * 2.0**127)
def test_round_to_takes_the_nearest_number(name: str, value: float) -> None:
    assert round_to(value, lambda: 0, FORMATS[name]) == nearest(Fraction(value), name)


@pytest.mark.parametrize("name", NARROW)
@examples(150)
@given(data=st.data())
def test_round_to_leaves_the_numbers_of_the_format_alone(name: str, data: st.DataObject) -> None:
    value = data.draw(numbers_of(name))
    assert round_to(value, lambda: 0, FORMATS[name]) == value


@pytest.mark.parametrize("name", NARROW)
@pytest.mark.parametrize("tail", [-1, 0, 1])
@examples(100)
@given(data=st.data())
def test_a_tie_is_decided_by_what_the_float64_value_left_out(
    name: str, tail: int, data: st.DataObject
) -> None:
    fmt = FORMATS[name]
    value = data.draw(numbers_of(name, most=fmt.largest / 4))
    tie = value + fmt.half_spacing(value)
    truth = Fraction(tie) + tail * Fraction(1, 2**2000)
    assert round_to(tie, lambda: tail, fmt) == nearest(truth, name)


def test_a_tie_at_the_end_of_the_range_overflows_unless_the_tail_holds_it_back() -> None:
    assert round_to(65520.0, lambda: -1, FORMATS["float16"]) == 65504
    assert round_to(65520.0, lambda: 0, FORMATS["float16"]) == math.inf
    assert round_to(-65520.0, lambda: 0, FORMATS["float16"]) == -math.inf


def test_a_tie_among_subnormal_numbers_goes_to_the_even_one_or_with_the_tail() -> None:
    half = 2.0**-25  # half of the smallest float16
    assert [round_to(half, lambda t=t: t, FORMATS["float16"]) for t in (-1, 0, 1)] == [
        0.0,
        0.0,
        2.0**-24,
    ]
    assert [round_to(3 * half, lambda t=t: t, FORMATS["float16"]) for t in (-1, 0, 1)] == [
        2.0**-24,
        2.0**-23,
        2.0**-23,
    ]


def test_the_tail_is_asked_for_only_where_the_value_is_a_tie() -> None:
    def never() -> int:
        raise AssertionError("asked")

    for name in FORMATS:
        assert round_to(1.0, never, FORMATS[name]) == 1.0
        assert round_to(1 / 3, never, FORMATS[name]) == nearest(Fraction(1 / 3), name)


@pytest.mark.parametrize("name", ["float16", "float32"])
@examples(300)
@given(value=numbers_of("float64", most=2.0**1023))
@example(value=1 + 2.0**-11)
@example(value=1 + 2.0**-24)
@example(value=1 + 3 * 2.0**-11)
@example(value=2.0**-150)
@example(value=65520.0)
@example(value=3.5e38)
def test_round_to_agrees_with_the_cast_of_numpy(name: str, value: float) -> None:
    with np.errstate(over="ignore"):
        expected = float(np.float64(value).astype(name))
    assert round_to(value, lambda: 0, FORMATS[name]) == expected


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
@examples(300)
@given(value=numbers_of("float32"))
@example(value=1 + 2.0**-8)
@example(value=1 + 3 * 2.0**-8)
@example(value=1 + 2.0**-11)
@example(value=2.0**-134)
@example(value=3.39e38)
def test_round_to_agrees_with_the_cast_of_pytorch(name: str, value: float) -> None:
    expected = torch.tensor(value, dtype=torch.float32).to(getattr(torch, name)).item()
    assert round_to(value, lambda: 0, FORMATS[name]) == expected


@pytest.mark.parametrize("name", NARROW)
@pytest.mark.parametrize("sign_of", [1.0, -1.0])
def test_the_largest_float64_overflows_every_narrower_format(name: str, sign_of: float) -> None:
    largest = sign_of * FORMATS["float64"].largest
    assert round_to(largest, lambda: 0, FORMATS[name]) == sign_of * math.inf


@pytest.mark.parametrize("value", [math.inf, -math.inf, 0.0])
def test_infinity_and_zero_are_numbers_of_every_format(value: float) -> None:
    for fmt in FORMATS.values():
        assert round_to(value, lambda: 0, fmt) == value


def test_nan_stays_nan() -> None:
    assert math.isnan(round_to(math.nan, lambda: 0, FORMATS["float16"]))


@pytest.mark.parametrize("name", list(FORMATS))
@examples(60)
@given(data=st.data())
def test_a_rounded_sum_is_the_fraction_rounded_once_to_the_format(
    name: str, data: st.DataObject
) -> None:
    # The first sum decides where the format's numbers end, the second moves it off a tie.
    value = data.draw(numbers_of(name if name != "float64" else "float32", most=2.0**100))
    half = FORMATS[name].half_spacing(value)
    crumb = data.draw(st.sampled_from([0.0, 2.0**-70, -(2.0**-70), 2.0**-140, -(2.0**-140)]))
    pairs = [(value, 1.0), (half, 1.0), (crumb, half)]
    total = summed(pairs, None, wide=True)
    assert total.rounded(FORMATS[name]) == nearest(fraction_sum(pairs, None), name)


@pytest.mark.parametrize("wide", [False, True])
def test_a_sum_that_is_rounded_twice_by_others_is_rounded_once_here(wide: bool) -> None:
    # 1 + 2**-24 + 2**-80: float64 drops the last part, and what it keeps is a tie of float32.
    pairs = [(1.0, 1.0), (2.0**-12, 2.0**-12), (2.0**-40, 2.0**-40)]
    total = summed(pairs, None, wide=wide)
    assert total.value == 1 + 2.0**-24
    assert float(np.float32(total.value)) == 1.0
    assert total.rounded(FORMATS["float32"]) == 1 + 2.0**-23


@pytest.mark.parametrize("name", list(FORMATS))
@examples(150)
@given(value=numbers_of("float64", most=2.0**120))
def test_half_the_spacing_is_the_most_that_storing_a_number_loses(name: str, value: float) -> None:
    fmt = FORMATS[name]
    assume(abs(value) <= fmt.largest)
    stored = nearest(Fraction(value), name)
    assume(math.isfinite(stored))
    assert abs(Fraction(stored) - Fraction(value)) <= Fraction(fmt.half_spacing(value))


@pytest.mark.parametrize("name", NARROW)
@examples(100)
@given(data=st.data())
def test_half_the_spacing_is_lost_halfway_between_two_numbers(
    name: str, data: st.DataObject
) -> None:
    fmt = FORMATS[name]
    value = abs(data.draw(numbers_of(name, most=fmt.largest / 4)))
    half = fmt.half_spacing(value)
    stored = nearest(Fraction(value) + Fraction(half), name)
    assert abs(Fraction(stored) - Fraction(value) - Fraction(half)) == Fraction(half)


# Bounds ------------------------------------------------------------------------------------------


@examples(200)
@given(st.integers(0, 10**7), st.sampled_from([f.unit for f in FORMATS.values()]))
def test_gamma_is_at_least_what_so_many_roundings_can_add_up_to(count: int, unit: float) -> None:
    worst = math.expm1(count * math.log1p(unit)) if count * unit < 700 else math.inf
    assert gamma(count, unit) >= min(worst, math.expm1(700.0)) * (1 - 1e-12)


@pytest.mark.parametrize(
    ("count", "unit", "expected"),
    [(0, 2.0**-24, 0.0), (1, 0.25, 1 / 3), (3, 0.125, 0.6), (2, 0.25, 1.0)],
)
def test_gamma_of_hand_sized_numbers(count: int, unit: float, expected: float) -> None:
    assert gamma(count, unit) == pytest.approx(expected, rel=1e-15)


def test_gamma_stays_finite_for_any_count() -> None:
    assert math.isfinite(gamma(10**9, FORMATS["bfloat16"].unit))


@examples(100)
@given(st.integers(0, 10**6))
def test_gamma_grows_with_the_count(count: int) -> None:
    for fmt in FORMATS.values():
        assert gamma(count, fmt.unit) <= gamma(count + 1, fmt.unit)


def test_typical_scale_is_the_square_root_of_the_count_times_unit_and_magnitude() -> None:
    assert typical_scale(16, 2.0**-24, 3.0) == 12.0 * 2.0**-24


# Conversions -------------------------------------------------------------------------------------


@examples(100)
@given(st.fractions())
def test_a_fraction_becomes_the_nearest_float(value: Fraction) -> None:
    assert fraction_to_float(value) == rounded_once(value)


def test_a_fraction_beyond_the_range_becomes_infinite() -> None:
    assert fraction_to_float(Fraction(10) ** 400) == math.inf
    assert fraction_to_float(-(Fraction(10) ** 400)) == -math.inf
