"""Bounds: no order of summation may ever leave them, and they are no wider than they need to be."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from judges import FORMATS as JUDGED
from judges import nearest
from strategies import examples

from convtrace.arithmetic import Arithmetic, plain
from convtrace.exact import FORMATS, gamma

ARITHMETICS = [
    plain("float16"),
    plain("bfloat16"),
    plain("float32"),
    plain("float64"),
    Arithmetic("tf32", "float32", "float32"),
    Arithmetic("bfloat16", "float32", "float32"),
    Arithmetic("float32", "float32", "float16"),
    Arithmetic("float16", "float16", "float16"),
    Arithmetic("float16", "float32", "float16", partial_sums=True),
    Arithmetic("bfloat16", "float32", "bfloat16", partial_sums=True),
    Arithmetic("float32", "float32", "float32", flushes=True),
    Arithmetic("float16", "float32", "float16", flushes=True),
]


class Machine:
    """Adds products as an arithmetic says, rounding after every operation.

    Args:
        arithmetic: Formats of the operation.
        random: Decides the order of the additions.
    """

    def __init__(self, arithmetic: Arithmetic, random: np.random.Generator) -> None:
        self.arithmetic = arithmetic
        self.random = random

    def round(self, value: Fraction, name: str) -> Fraction:
        rounded = Fraction(nearest(value, name))
        tiny = Fraction(2) ** JUDGED[name].smallest_exponent
        return Fraction(0) if self.arithmetic.flushes and abs(rounded) < tiny else rounded

    def add(self, summands: list[Fraction], name: str) -> Fraction:
        """Add in any order, two at a time."""
        left = list(summands)
        while len(left) > 1:
            first, second = (left.pop(int(self.random.integers(len(left)))) for _ in range(2))
            left.append(self.round(first + second, name))
        return left[0]

    def run(self, terms: list[list[tuple[float, float]]], bias: float | None) -> float:
        """Compute one output; terms are listed by kernel tap."""
        formats = self.arithmetic
        products = [
            [
                self.round(
                    self.round(Fraction(w), formats.operands)
                    * self.round(Fraction(v), formats.operands),
                    formats.accumulate,
                )
                for w, v in tap
            ]
            for tap in terms
        ]
        offset = [] if bias is None else [Fraction(bias)]
        if not formats.partial_sums:
            total = self.add([p for tap in products for p in tap] + offset, formats.accumulate)
            return float(self.round(total, formats.result))
        parts = [self.round(self.add(tap, formats.accumulate), formats.result) for tap in products]
        return float(self.add(parts + offset, formats.result))


@pytest.mark.parametrize("arithmetic", ARITHMETICS, ids=Arithmetic.describe)
@examples(25)
@given(
    taps=st.integers(1, 6),
    channels=st.integers(1, 8),
    scale=st.sampled_from([0, -6, 5, -12]),
    biased=st.booleans(),
    positive=st.booleans(),
    seed=st.integers(0, 2**20),
)
@example(taps=6, channels=8, scale=-20, biased=True, positive=False, seed=0)
@example(taps=1, channels=1, scale=-70, biased=False, positive=True, seed=1)
def test_no_order_of_summation_leaves_the_bound(
    arithmetic: Arithmetic,
    taps: int,
    channels: int,
    scale: int,
    biased: bool,
    positive: bool,
    seed: int,
) -> None:
    random = np.random.default_rng(seed)
    stored = "float32" if arithmetic.operands == "tf32" else arithmetic.operands
    if (arithmetic.operands, arithmetic.result) == ("bfloat16", "float32"):
        stored = "float32"

    def number() -> float:
        drawn = random.uniform(0 if positive else -1, 1) * 2.0**scale
        return nearest(Fraction(drawn), stored)

    terms = [[(number(), number()) for _ in range(channels)] for _ in range(taps)]
    bias = number() if biased else None
    flat = [Fraction(w) * Fraction(v) for tap in terms for w, v in tap]
    offset = [Fraction(bias)] if bias is not None else []
    exact = sum(flat + offset, Fraction(0))
    magnitude = float(sum(map(abs, flat + offset), Fraction(0)))
    reported = Machine(arithmetic, random).run(terms, bias)
    bound = arithmetic.bound(
        len(flat + offset), magnitude, float(exact), stored=stored, partials=taps + 2
    )
    assert abs(Fraction(reported) - exact) <= Fraction(bound)


def test_the_bound_of_a_long_sum_of_equal_signs_is_held_in_the_worst_order() -> None:
    # Each small summand is lost to the rounding of the large one.
    unit = 2.0**-24
    summands = np.array([1.0] + [unit] * 1000, dtype=np.float32)
    total = np.float32(0)
    for summand in summands:
        total += summand
    exact = float(summands.astype(np.float64).sum())
    assert total == 1.0
    bound = plain("float32").bound(1001, exact, exact, stored="float32")
    assert abs(float(total) - exact) <= bound


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count", [1, 2, 27, 4608])
def test_the_bound_is_gamma_times_the_magnitude_where_nothing_else_is_rounded(
    dtype: str, count: int
) -> None:
    bound = plain(dtype).bound(count, 8.0, 1.0, stored=dtype)
    assert bound == pytest.approx(8.0 * gamma(count, FORMATS[dtype].unit), rel=1e-9)
    assert bound >= 8.0 * gamma(count, FORMATS[dtype].unit)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_bound_of_a_narrow_result_adds_half_its_spacing(dtype: str) -> None:
    bound = plain(dtype).bound(10, 8.0, 3.0, stored=dtype)
    sums = 8.0 * gamma(10, FORMATS["float32"].unit)
    assert bound == pytest.approx(sums + 2 * FORMATS[dtype].unit, rel=1e-9)


def test_the_bound_of_tf32_adds_the_rounding_of_both_factors() -> None:
    bound = Arithmetic("tf32", "float32", "float32").bound(1, 1.0, 1.0, stored="float32")
    unit = FORMATS["tf32"].unit
    assert bound == pytest.approx(2 * unit + unit**2, rel=1e-3)


def test_factors_that_are_stored_in_the_format_of_the_products_are_not_rounded() -> None:
    arithmetic = Arithmetic("bfloat16", "float32", "float32")
    exact_factors = arithmetic.bound(4, 1.0, 1.0, stored="bfloat16")
    rounded_factors = arithmetic.bound(4, 1.0, 1.0, stored="float32")
    assert exact_factors == pytest.approx(gamma(4, 2.0**-24), rel=1e-9)
    assert rounded_factors > 1e3 * exact_factors


def test_partial_sums_add_a_rounding_to_the_result_for_each() -> None:
    without = plain("float16").bound(40, 8.0, 0.0, stored="float16")
    arithmetic = Arithmetic("float16", "float32", "float16", partial_sums=True)
    one, nine = (
        arithmetic.bound(40, 8.0, 0.0, stored="float16", partials=n) - without for n in (1, 9)
    )
    assert one == pytest.approx(8.0 * 2.0**-11, rel=1e-2)
    assert nine == pytest.approx(9 * one, rel=1e-2)


def test_flushing_adds_the_smallest_normal_number_for_each_summand() -> None:
    kept = plain("float32").bound(10, 1e-37, 0.0, stored="float32")
    flushed = plain("float32", flushes=True).bound(10, 1e-37, 0.0, stored="float32")
    assert flushed - kept == pytest.approx(10 * 2.0**-126, rel=1e-6)


def test_the_bound_never_vanishes_because_products_may_underflow() -> None:
    assert plain("float32").bound(3, 0.0, 0.0, stored="float32") == 3 * 2.0**-149


@pytest.mark.parametrize(
    ("arithmetic", "text"),
    [
        (plain("float32"), "float32 × float32, float32 sums"),
        (plain("float64"), "float64 × float64, float64 sums"),
        (plain("float16"), "float16 × float16, float32 sums, float16 result"),
        (plain("bfloat16"), "bfloat16 × bfloat16, float32 sums, bfloat16 result"),
        (Arithmetic("tf32", "float32", "float32"), "tf32 × tf32, float32 sums"),
        (
            Arithmetic("float16", "float32", "float16", partial_sums=True),
            "float16 × float16, float32 sums, partial sums stored as float16, float16 result",
        ),
    ],
)
def test_an_arithmetic_names_its_formats(arithmetic: Arithmetic, text: str) -> None:
    assert arithmetic.describe() == text


@pytest.mark.parametrize(
    ("arithmetic", "magnitude", "expected"),
    [
        (plain("float16"), 60000.0, False),
        (plain("float16"), 65504.0, True),
        (plain("float32"), 1e38, False),
        (plain("float32"), 3.41e38, True),
        (plain("bfloat16"), 65504.0, False),
        (plain("float64"), 1e300, False),
        (plain("float64"), math.inf, True),
        (Arithmetic("float16", "float16", "float32"), 70000.0, True),
    ],
)
def test_a_sum_may_overflow_where_its_magnitude_reaches_the_largest_number(
    arithmetic: Arithmetic, magnitude: float, expected: bool
) -> None:
    assert arithmetic.may_overflow(magnitude) is expected


def test_the_typical_error_grows_with_the_square_root_of_the_count() -> None:
    typical = plain("float32").typical(400, 6.0, 1.0)
    assert typical == pytest.approx(20 * 2.0**-24 * 6.0)


def test_the_typical_error_of_a_narrow_result_holds_its_rounding() -> None:
    assert plain("bfloat16").typical(1, 1.0, 1.0) >= FORMATS["bfloat16"].unit


@pytest.mark.parametrize("arithmetic", ARITHMETICS, ids=Arithmetic.describe)
@pytest.mark.parametrize("count", [4, 9, 576])
def test_the_typical_error_lies_inside_the_bound(arithmetic: Arithmetic, count: int) -> None:
    stored = "float32" if arithmetic.operands == "tf32" else arithmetic.operands
    for held in (stored, None):
        typical = arithmetic.typical(count, 5.0, 1.0, stored=held, partials=count)
        assert 0 < typical <= arithmetic.bound(count, 5.0, 1.0, stored=held, partials=count)


def test_the_typical_error_of_tf32_holds_the_rounding_of_a_factor() -> None:
    arithmetic = Arithmetic("tf32", "float32", "float32")
    without = arithmetic.typical(4, 3.0, 1.0)
    rounded = arithmetic.typical(4, 3.0, 1.0, stored="float32")
    assert rounded - without == pytest.approx(3.0 * FORMATS["tf32"].unit)


@pytest.mark.parametrize(
    ("dtype", "accumulate"),
    [
        ("float16", "float32"),
        ("bfloat16", "float32"),
        ("float32", "float32"),
        ("float64", "float64"),
    ],
)
def test_half_precision_is_added_in_float32(dtype: str, accumulate: str) -> None:
    assert plain(dtype) == Arithmetic(dtype, accumulate, dtype)
    assert plain(dtype, flushes=True).flushes
