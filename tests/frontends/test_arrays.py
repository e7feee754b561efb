"""`ct.from_arrays`: receipts from the arrays of any runtime."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from judges import nearest, torch_convolution
from strategies import FLOATS, Drawn, convolutions, examples

import convtrace as ct
from convtrace.errors import EmptyTensorError, NoValueError, OutOfRangeError, ShapeError

ONES = np.ones((1, 1, 2, 2))


def single(x: float, weight: float, **options: Any) -> ct.Receipt:
    """The receipt of one product."""
    return ct.from_arrays([[[x]]], [[[weight]]], **options).why("conv1d", (0, 0, 0))


@examples(80)
@given(convolutions())
def test_the_exact_output_is_that_of_nested_loops(drawn: Drawn) -> None:
    trace = ct.from_arrays(drawn.x, drawn.weight, drawn.bias, **drawn.spelled)
    loops = drawn.loops
    assert trace.steps[drawn.name].shape == loops.shape
    for index in list(loops.indices())[::3]:
        receipt = trace.why(drawn.name, index)
        assert (
            receipt.exact
            == receipt.reported
            == loops.value(index, drawn.x, drawn.weight, drawn.bias)
        )


@examples(80)
@given(convolutions())
def test_an_output_of_pytorch_in_float64_is_certified_exact(drawn: Drawn) -> None:
    observed = torch_convolution(drawn.x, drawn.weight, drawn.bias, drawn.settings)
    arrays = (None if a is None else a.astype(float) for a in (drawn.x, drawn.weight, drawn.bias))
    trace = ct.from_arrays(*arrays, **drawn.spelled, observed=observed)
    for index in list(np.ndindex(*observed.shape))[::3]:
        receipt = trace.why(drawn.name, index)
        assert (receipt.verdict, receipt.residual) == ("exact", 0)
        assert receipt.reported == observed[index]


@examples(40)
@given(convolutions())
def test_a_number_that_is_off_by_one_is_a_mismatch(drawn: Drawn) -> None:
    observed = torch_convolution(drawn.x, drawn.weight, drawn.bias, drawn.settings)
    at = tuple(n - 1 for n in observed.shape)
    observed[at] += 1
    arrays = (None if a is None else a.astype(float) for a in (drawn.x, drawn.weight, drawn.bias))
    receipt = ct.from_arrays(*arrays, **drawn.spelled, observed=observed).why(drawn.name, at)
    assert (receipt.verdict, receipt.residual) == ("mismatch", 1)


def test_the_inputs_of_a_trace_are_named_after_their_roles() -> None:
    trace = ct.from_arrays(ONES, ONES, [1.0], observed=[[[[5.0]]]])
    assert list(trace.steps) == ["conv2d"]
    assert dict(trace.steps["conv2d"].operands) == {
        "input": "input",
        "weight": "conv2d.weight",
        "bias": "conv2d.bias",
    }
    assert trace.value("conv2d.bias[0]") == 1
    assert trace.value("input[0,0,1,1]") == 1
    assert trace.value("conv2d[0,0,0,0]") == 5


def test_a_name_can_be_given() -> None:
    trace = ct.from_arrays(ONES, ONES, name="stem")
    assert trace.why("stem[0,0,0,0]").terms[0].weight_address == ct.Address(
        "stem.weight", (0, 0, 0, 0)
    )


def test_lists_arrays_and_tensors_can_be_mixed() -> None:
    trace = ct.from_arrays(
        torch.ones(1, 1, 2, 2), [[[[1.0, 2.0], [3.0, 4.0]]]], np.array([0.5]), observed=[[[[10.5]]]]
    )
    assert trace.why("conv2d", (0, 0, 0, 0)).verdict == "exact"


def test_arrays_are_copied_so_that_later_changes_do_not_matter() -> None:
    x = ONES.copy()
    trace = ct.from_arrays(x, ONES)
    x[:] = 7
    assert trace.why("conv2d", (0, 0, 0, 0)).exact == 4


def test_tensors_are_held_and_their_later_changes_are_noticed() -> None:
    x = torch.ones(1, 1, 2, 2)
    trace = ct.from_arrays(x, ONES)
    x.add_(1)
    with pytest.raises(ct.TensorChangedError, match="input was overwritten after the trace"):
        trace.why("conv2d", (0, 0, 0, 0))


def test_what_was_observed_is_reported_as_observed() -> None:
    assert single(2.0, 3.0, observed=[[[6.0]]]).reporter == "observed"
    assert single(2.0, 3.0).reporter == "exact"


def test_nothing_observed_is_no_verdict_of_a_runtime() -> None:
    receipt = single(0.1, 0.1)
    assert receipt.reported == nearest(Fraction(0.1) * Fraction(0.1), "float64")


@pytest.mark.parametrize("dtype", [name for name in FLOATS if name != "bfloat16"])
def test_numbers_that_were_not_observed_are_rounded_to_the_dtype_of_the_arrays(dtype: str) -> None:
    x, weight = (np.full((1, 1, 1), value, dtype=dtype) for value in (1 / 3, 3.7))
    receipt = ct.from_arrays(x, weight).why("conv1d", (0, 0, 0))
    exact = Fraction(x.item()) * Fraction(weight.item())
    assert receipt.exact == nearest(exact, "float64")
    assert receipt.reported == nearest(exact, dtype)


@pytest.mark.parametrize("dtype", FLOATS)
def test_tensors_of_every_float_dtype_are_certified_against_pytorch(dtype: str) -> None:
    torch.manual_seed(1)
    kind = getattr(torch, dtype)
    x, weight = torch.randn(1, 2, 5, 5).to(kind), torch.randn(3, 2, 3, 3).to(kind)
    observed = torch.nn.functional.conv2d(x, weight, padding=1)
    trace = ct.from_arrays(x, weight, padding=1, observed=observed)
    verdicts = {trace.why("conv2d", i).verdict for i in np.ndindex(*observed.shape)}
    assert verdicts <= {"exact", "rounding"}


@pytest.mark.parametrize(("dtype", "verdict"), [("bfloat16", "rounding"), ("float32", "mismatch")])
def test_only_kernels_that_flush_may_read_a_subnormal_number_as_zero(
    dtype: str, verdict: str
) -> None:
    kind = getattr(torch, dtype)
    x, weight = torch.full((1, 1, 1), 2.0**-130), torch.full((1, 1, 1), 2.0**100)
    observed = torch.zeros(1, 1, 1, dtype=kind)
    trace = ct.from_arrays(x.to(kind), weight.to(kind), observed=observed)
    receipt = trace.why("conv1d[0,0,0]")
    assert (receipt.exact, receipt.verdict) == (2.0**-30, verdict)


def test_the_arithmetic_of_a_runtime_can_be_stated() -> None:
    stated = ct.Arithmetic("float16", "float32", "float32")
    receipt = single(1 / 3, 1.0, observed=[[[0.3333]]], arithmetic=stated)
    assert receipt.arithmetic is stated
    assert receipt.verdict == "rounding"
    assert single(1 / 3, 1.0, observed=[[[0.3333]]]).verdict == "mismatch"


def test_a_narrow_output_of_wide_arrays_is_allowed_its_rounding() -> None:
    x = np.full((1, 1, 1), 1 / 3, dtype=np.float32)
    observed = x.astype(np.float16)
    receipt = ct.from_arrays(x, np.ones_like(x), observed=observed).why("conv1d", (0, 0, 0))
    assert receipt.verdict == "exact"


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8"])
def test_integers_are_added_as_integers(dtype: str) -> None:
    x = np.array([[[2, 3]]], dtype=dtype)
    receipt = ct.from_arrays(x, x, observed=np.array([[[13]]], dtype=dtype)).why("conv1d[0,0,0]")
    assert (receipt.exact, receipt.verdict) == (13, "exact")
    assert isinstance(receipt.exact, int)


def test_integers_beyond_float64_are_exact() -> None:
    receipt = ct.from_arrays([[[2**53 + 1, 1]]], [[[1, 2]]]).why("conv1d[0,0,0]")
    assert receipt.exact == 2**53 + 3


def test_integer_products_beyond_64_bits_are_exact() -> None:
    receipt = ct.from_arrays([[[2**62, 5]]], [[[2**62, 1]]]).why("conv1d[0,0,0]")
    assert receipt.exact == 2**124 + 5
    assert receipt.products.tolist() == [[2**124, 5]]
    assert receipt.channel_sums.tolist() == [2**124 + 5]


def test_an_integer_sum_that_wrapped_around_is_told_apart_from_a_wrong_one() -> None:
    x = np.full((1, 1, 1), 16, dtype=np.uint8)
    wrapped = ct.from_arrays(x, x, observed=np.zeros((1, 1, 1), dtype=np.uint8))
    receipt = wrapped.why("conv1d[0,0,0]")
    assert (receipt.exact, receipt.reported, receipt.verdict) == (256, 0, "rounding")
    assert receipt.notes[0][0] == "note.wrapped"
    wrong = ct.from_arrays(x, x, observed=np.ones((1, 1, 1), dtype=np.uint8))
    assert wrong.why("conv1d[0,0,0]").verdict == "mismatch"


def test_booleans_count_as_zero_and_one() -> None:
    x = np.array([[[True, True, False]]])
    assert ct.from_arrays(x, np.ones_like(x)).why("conv1d[0,0,0]").exact == 2


def test_a_fractional_bias_of_integer_arrays_is_not_cut() -> None:
    receipt = ct.from_arrays([[[2]]], [[[3]]], [0.5], observed=np.array([[[6]]]))
    assert receipt.why("conv1d[0,0,0]").exact == 6.5


# Numbers that are not finite ---------------------------------------------------------------------


def test_a_nan_of_the_input_names_its_term() -> None:
    trace = ct.from_arrays([[[1.0, math.nan]]], [[[2.0, 3.0]]], observed=[[[math.nan]]])
    receipt = trace.why("conv1d[0,0,0]")
    assert receipt.verdict == "nonfinite"
    assert receipt.culprits == ((0, 1),)
    assert receipt.term((0, 1)).source == ct.Address("input", (0, 0, 1))


def test_infinity_names_its_term() -> None:
    trace = ct.from_arrays([[[1.0, 2.0]]], [[[math.inf, 3.0]]], observed=[[[math.inf]]])
    receipt = trace.why("conv1d[0,0,0]")
    assert (receipt.verdict, receipt.culprits) == ("nonfinite", ((0, 0),))
    assert receipt.exact == math.inf


def test_a_finite_number_where_nan_is_due_is_a_mismatch() -> None:
    trace = ct.from_arrays([[[1.0, math.nan]]], [[[2.0, 3.0]]], observed=[[[5.0]]])
    assert trace.why("conv1d[0,0,0]").verdict == "mismatch"


def test_nan_from_nowhere_is_a_mismatch_that_says_so() -> None:
    receipt = single(1.0, 2.0, observed=[[[math.nan]]])
    assert receipt.verdict == "mismatch"
    assert receipt.notes[0][0] == "note.nonfinite_from_nowhere"


def test_infinity_of_the_wrong_sign_is_a_mismatch() -> None:
    trace = ct.from_arrays([[[1.0, 2.0]]], [[[math.inf, 3.0]]], observed=[[[-math.inf]]])
    assert trace.why("conv1d[0,0,0]").verdict == "mismatch"


def test_overflow_on_the_way_is_nonfinite_and_says_so() -> None:
    receipt = single(1e200, 1e200, observed=[[[math.inf]]])
    assert (receipt.verdict, receipt.culprits) == ("nonfinite", ())
    assert receipt.notes[0][0] == "note.overflow"


def test_a_finite_number_where_the_exact_sum_overflows_is_a_mismatch() -> None:
    assert single(1e308, 10.0, observed=[[[1.0]]]).verdict == "mismatch"


def test_a_bias_that_is_not_finite_is_named() -> None:
    receipt = single(1.0, 2.0, bias=[math.nan], observed=[[[math.nan]]])
    assert receipt.verdict == "nonfinite"
    assert receipt.notes[0][0] == "note.nonfinite_bias"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weight", [math.inf, math.nan])
def test_a_weight_that_is_not_finite_does_no_harm_where_it_falls_on_padding(
    dtype: str, weight: float
) -> None:
    x = np.array([[[1.0, 2.0]]], dtype=dtype)
    kernel = np.array([[[3.0, weight]]], dtype=dtype)
    observed = np.full((1, 1, 2), 6.0, dtype=dtype)
    receipt = ct.from_arrays(x, kernel, padding=[(0, 1)], observed=observed).why("conv1d[0,0,1]")
    assert (receipt.verdict, receipt.exact) == ("exact", 6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nan_is_explained_by_a_weight_that_is_not_finite_and_falls_on_padding(dtype: str) -> None:
    # Kernels that multiply the padding make NaN of 0 × ∞.
    x = np.array([[[1.0, 2.0]]], dtype=dtype)
    kernel = np.array([[[3.0, math.inf]]], dtype=dtype)
    observed = np.full((1, 1, 2), math.nan, dtype=dtype)
    receipt = ct.from_arrays(x, kernel, padding=[(0, 1)], observed=observed).why("conv1d[0,0,1]")
    assert (receipt.verdict, receipt.culprits) == ("nonfinite", ((0, 1),))


# What does not fit -------------------------------------------------------------------------------


def test_an_observed_output_of_another_shape_shows_both() -> None:
    with pytest.raises(ShapeError) as caught:
        ct.from_arrays(ONES, ONES, stride=2, observed=[[[[1.0, 2.0]]]])
    message = str(caught.value)
    assert message.startswith("conv2d: observed has another shape than these settings give\n")
    assert "observed  (1, 1, 1, 2)" in message
    assert "expected  (1, 1, 1, 1), from input (1, 1, 2, 2), weight (1, 1, 2, 2)" in message
    assert "stride (2, 2)" in message


@pytest.mark.parametrize("role", ["x", "weight", "bias", "observed"])
def test_lists_of_uneven_lengths_are_no_array(role: str) -> None:
    arrays: dict[str, Any] = {"x": ONES, "weight": ONES, role: [[1.0], [1.0, 2.0]]}
    with pytest.raises(ShapeError, match=f"^{role} is not an array: "):
        ct.from_arrays(**arrays)


@pytest.mark.parametrize(
    "values", [np.array([["a"]]), [[None]], np.array(["2020-01-01"], dtype="datetime64[D]")]
)
def test_what_holds_no_numbers_is_refused(values: Any) -> None:
    with pytest.raises(NoValueError, match="weight holds no numbers: dtype "):
        ct.from_arrays(ONES, values)


@pytest.mark.parametrize("make", [lambda a: a, torch.from_numpy], ids=["array", "tensor"])
def test_complex_arrays_are_refused_with_two_ways_out(make: Any) -> None:
    with pytest.raises(NoValueError, match="x is complex: ") as caught:
        ct.from_arrays(make(ONES.astype(np.complex64)), ONES)
    assert "two convolutions" in str(caught.value)
    assert "trace the model" in str(caught.value)


def test_an_empty_array_is_named() -> None:
    with pytest.raises(EmptyTensorError, match="conv2d: the input is empty"):
        ct.from_arrays(np.ones((0, 1, 2, 2)), ONES)


@pytest.mark.parametrize("x", [3.0, [1.0, 2.0], np.ones((1, 1, 1, 2, 2))])
def test_an_input_with_another_number_of_axes_is_refused(x: Any) -> None:
    with pytest.raises(ShapeError, match="conv2d: input and weight disagree on the number of axes"):
        ct.from_arrays(x, ONES)


@pytest.mark.parametrize("groups", [1.5, "2", None])
def test_groups_that_are_no_whole_number_are_refused(groups: Any) -> None:
    with pytest.raises(ShapeError, match="groups"):
        ct.from_arrays(ONES, ONES, groups=groups)


@pytest.mark.parametrize("options", [{"padding": -1}, {"output_padding": -1, "transposed": True}])
def test_negative_settings_either_cut_or_are_refused(options: dict[str, Any]) -> None:
    x = np.arange(16.0).reshape(1, 1, 4, 4)
    try:
        trace = ct.from_arrays(x, ONES, **options)
    except ShapeError:
        return
    (step,) = trace.steps.values()
    last = tuple(n - 1 for n in step.shape)
    assert (
        trace.why(step.name, last).exact
        == {"padding": 30, "output_padding": 50}[next(iter(options))]
    )


@pytest.mark.parametrize("index", [(0, 0, 0), (0, 0, 1, 0), (0, 1, 0, 0), (0, 0, 0, -1)])
def test_a_position_outside_of_the_output_is_refused(index: tuple[int, ...]) -> None:
    trace = ct.from_arrays(ONES, ONES)
    with pytest.raises(OutOfRangeError, match="no such number: conv2d"):
        trace.why("conv2d", index)
    with pytest.raises(OutOfRangeError):
        trace.value(ct.Address("conv2d", index))
