"""Receipts of convolutions, against nested loops, PyTorch and the shared cases."""

import importlib.util
import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from judges import NestedLoops, Product, Settings, nearest, torch_convolution
from strategies import FLOATS, INTEGERS, Drawn, convolutions, examples, whole_numbers

import convtrace as ct
from convtrace.geometry import Miss

ROOT = Path(__file__).resolve().parents[2]


def trace_of(drawn: Drawn, dtype: str = "float32") -> ct.Trace:
    """Run a drawn convolution in PyTorch and record it."""
    x, weight, bias = drawn.tensors(dtype)
    return ct.trace(lambda given: drawn.call(given, weight, bias), x)


def draw_indices(data: st.DataObject, drawn: Drawn, most: int = 4) -> list[tuple[int, ...]]:
    """The first and the last output, and some between."""
    shape = drawn.loops.shape
    one = st.tuples(*(st.integers(0, size - 1) for size in shape))
    middle = data.draw(st.lists(one, max_size=most))
    return list(dict.fromkeys([(0,) * len(shape), *middle, tuple(n - 1 for n in shape)]))


def products_of(receipt: ct.Receipt) -> list[Product]:
    """The receipt's terms as the judge writes them."""
    found = []
    for term in receipt.terms:
        assert term.weight_address is not None
        source = None if term.source is None else term.source.index
        found.append(Product(term.weight_address.index, source))
    return found


def assert_adds_up(receipt: ct.Receipt) -> None:
    """Add the terms and the bias as integers, and compare with what was reported."""
    total = sum((int(term.product) for term in receipt.terms), int(np.real(receipt.bias or 0)))
    assert total == receipt.exact == receipt.reported


def assert_every_source_is_in_the_trace(trace: ct.Trace, receipt: ct.Receipt) -> None:
    """Follow the addresses of a receipt."""
    for term in receipt.terms:
        assert term.weight_address is not None
        assert trace.value(term.weight_address) == term.weight
        if term.source is None:
            assert (term.value, term.product) == (0, 0)
        else:
            assert trace.value(term.source) == term.value
            assert trace.value(str(term.source)) == term.value


# Whole numbers: exact everywhere -----------------------------------------------------------------


@examples(120)
@given(convolutions(uneven=False), st.data())
def test_taps_and_bias_of_whole_numbers_are_the_reported_number_exactly(
    drawn: Drawn, data: st.DataObject
) -> None:
    trace, loops = trace_of(drawn), drawn.loops
    judged = torch_convolution(drawn.x, drawn.weight, drawn.bias, drawn.settings)
    for index in draw_indices(data, drawn):
        receipt = trace.why(drawn.name, index)
        assert_adds_up(receipt)
        assert receipt.exact == loops.value(index, drawn.x, drawn.weight, drawn.bias)
        assert receipt.exact == judged[index]
        assert (receipt.verdict, receipt.residual) == ("exact", 0)


@examples(120)
@given(convolutions(), st.data())
def test_terms_are_those_of_nested_loops_in_their_order(drawn: Drawn, data: st.DataObject) -> None:
    # Input channel slowest, last kernel axis fastest.
    trace = ct.from_arrays(drawn.x, drawn.weight, drawn.bias, **drawn.spelled)
    for index in draw_indices(data, drawn):
        receipt = trace.why(drawn.name, index)
        assert products_of(receipt) == drawn.loops.products(index)
        expected = [int(n) for n in drawn.loops.numbers(index, drawn.x, drawn.weight)]
        assert [term.product for term in receipt.terms] == expected


@examples(80)
@given(convolutions(uneven=False), st.data())
def test_terms_of_a_run_in_pytorch_are_those_of_nested_loops(
    drawn: Drawn, data: st.DataObject
) -> None:
    trace = trace_of(drawn)
    for index in draw_indices(data, drawn):
        assert products_of(trace.why(drawn.name, index)) == drawn.loops.products(index)


@examples(80)
@given(convolutions(), st.data())
def test_the_value_of_every_source_is_in_the_trace(drawn: Drawn, data: st.DataObject) -> None:
    trace = ct.from_arrays(drawn.x, drawn.weight, drawn.bias, **drawn.spelled)
    for index in draw_indices(data, drawn, most=2):
        assert_every_source_is_in_the_trace(trace, trace.why(drawn.name, index))


@examples(80)
@given(convolutions(), st.data())
def test_channel_sums_are_those_of_nested_loops(drawn: Drawn, data: st.DataObject) -> None:
    trace = ct.from_arrays(drawn.x, drawn.weight, drawn.bias, **drawn.spelled)
    for index in draw_indices(data, drawn):
        receipt = trace.why(drawn.name, index)
        expected = drawn.loops.channel_sums(index, drawn.x, drawn.weight)
        assert receipt.channel_sums.tolist() == expected
        assert sum(expected) + int(receipt.bias or 0) == receipt.exact


@examples(60)
@given(convolutions(), st.data())
def test_a_term_belongs_to_the_channel_that_its_source_is_in(
    drawn: Drawn, data: st.DataObject
) -> None:
    trace = ct.from_arrays(drawn.x, drawn.weight, drawn.bias, **drawn.spelled)
    axes = drawn.weight.ndim - 2
    for index in draw_indices(data, drawn):
        receipt = trace.why(drawn.name, index)
        channels = [channel for channel, _ in drawn.loops.channels[index[-axes - 1]]]
        assert list(receipt.layout.channels) == channels
        for term in receipt.terms:
            assert term.channel == channels[term.position[0]]
            assert term.source is None or term.source.index[-axes - 1] == term.channel


@examples(60)
@given(convolutions(), st.data())
def test_the_arrays_of_a_receipt_have_one_shape_and_agree_with_its_terms(
    drawn: Drawn, data: st.DataObject
) -> None:
    trace = ct.from_arrays(drawn.x, drawn.weight, drawn.bias, **drawn.spelled)
    for index in draw_indices(data, drawn, most=1):
        receipt = trace.why(drawn.name, index)
        reads = len(drawn.loops.channels[index[-drawn.weight.ndim + 1]])
        shape = (reads, *drawn.weight.shape[2:])
        arrays = (receipt.inputs, receipt.weights, receipt.products, receipt.present)
        assert {array.shape for array in arrays} == {shape}
        assert [term.position for term in receipt.terms] == list(np.ndindex(shape))
        for term in receipt.terms:
            found = tuple(array[term.position] for array in arrays)
            assert found == (term.value, term.weight, term.product, term.source is not None)
            assert receipt.term(term.position) == term


@examples(40)
@given(convolutions(), st.data())
def test_the_bias_is_that_of_the_output_channel(drawn: Drawn, data: st.DataObject) -> None:
    trace = ct.from_arrays(drawn.x, drawn.weight, drawn.bias, **drawn.spelled)
    for index in draw_indices(data, drawn, most=1):
        receipt = trace.why(drawn.name, index)
        channel = index[-drawn.weight.ndim + 1]
        if drawn.bias is None:
            assert (receipt.bias, receipt.bias_address) == (None, None)
        else:
            assert receipt.bias == drawn.bias[channel]
            assert receipt.bias_address == ct.Address(f"{drawn.name}.bias", (channel,))


# Padding and gaps --------------------------------------------------------------------------------


@examples(80)
@given(convolutions(axes=2, transposed=False), st.data())
def test_terms_on_padding_have_no_source_and_product_zero(
    drawn: Drawn, data: st.DataObject
) -> None:
    trace = ct.from_arrays(drawn.x + 20, drawn.weight, drawn.bias, **drawn.spelled)
    for index in draw_indices(data, drawn):
        for term in trace.why(drawn.name, index).terms:
            if term.source is None:
                assert (term.value, term.product) == (0, 0)
            else:
                assert term.value >= 11


def test_an_output_that_reads_nothing_but_padding_is_its_bias() -> None:
    trace = ct.trace(torch.nn.Conv2d(1, 1, 1, padding=2), torch.ones(1, 1, 1, 1))
    receipt = trace.why("conv2d", (0, 0, 0, 0))
    assert not receipt.present.any()
    assert receipt.exact == receipt.reported == receipt.bias != 0


@examples(80)
@given(convolutions(transposed=True), st.data())
def test_taps_of_a_transposed_convolution_miss_where_the_judge_spreads_nothing(
    drawn: Drawn, data: st.DataObject
) -> None:
    trace = ct.from_arrays(drawn.x, drawn.weight, drawn.bias, **drawn.spelled)
    for index in draw_indices(data, drawn):
        receipt = trace.why(drawn.name, index)
        expected = [product.source is not None for product in drawn.loops.products(index)]
        assert receipt.present.ravel().tolist() == expected


def test_a_transposed_receipt_says_which_taps_fall_in_a_gap_and_which_outside() -> None:
    trace = ct.from_arrays(np.ones((1, 1, 2)), np.ones((1, 1, 5)), stride=2, transposed=True)
    layout: Any = trace.why("conv_transpose1d", (0, 0, 4)).layout
    # Output 4 is input i times 2 plus the tap: (2, 0), -, (1, 2), -, (0, 4); there is no input 2.
    (taps,) = layout.taps
    misses = [tap.miss for tap in taps]
    assert misses == [Miss.PADDING, Miss.GAP, None, Miss.GAP, None]


def test_a_weight_on_padding_is_still_shown() -> None:
    trace = ct.from_arrays([[[1.0]]], [[[5.0, 6.0, 7.0]]], padding=1)
    receipt = trace.why("conv1d", (0, 0, 0))
    assert [term.weight for term in receipt.terms] == [5, 6, 7]
    assert [term.product for term in receipt.terms] == [0, 6, 0]


# Shared cases ------------------------------------------------------------------------------------


CASES = {
    f"{path.stem}: {case['name']}": case
    for path in sorted((ROOT / "tests" / "cases").glob("*.json"))
    for case in json.loads(path.read_text(encoding="utf-8"))["cases"]
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_shared_case_gives_its_output_and_receipts(case: dict[str, Any]) -> None:
    trace = ct.from_arrays(case["x"], case["weight"], case["bias"], **case["settings"])
    (step,) = trace.steps.values()
    output = np.array(case["output"])
    assert step.shape == output.shape
    for index in np.ndindex(*output.shape):
        assert trace.value(ct.Address(step.name, index)) == output[index]
    for expected in case["receipts"]:
        receipt = trace.why(step.name, expected["address"])
        assert [list(p.weight) for p in products_of(receipt)] == expected["weights"]
        assert [p.source and list(p.source) for p in products_of(receipt)] == expected["sources"]
        assert [term.value for term in receipt.terms] == expected["values"]
        assert [term.product for term in receipt.terms] == expected["products"]
        assert list(receipt.layout.channels) == expected["channels"]
        assert receipt.channel_sums.tolist() == expected["channel_sums"]
        assert (receipt.bias, receipt.exact) == (expected["bias"], expected["sum"])


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_pytorch_agrees_with_the_output_of_a_shared_case(case: dict[str, Any]) -> None:
    settings = dict(case["settings"], padding=tuple(map(tuple, case["settings"]["padding"])))
    x, weight = np.array(case["x"]), np.array(case["weight"])
    bias = None if case["bias"] is None else np.array(case["bias"])
    for name in ("stride", "dilation", "output_padding"):
        settings[name] = tuple(settings[name])
    found = torch_convolution(x, weight, bias, Settings(**settings))
    assert found.tolist() == np.array(case["output"], dtype=float).tolist()


def test_the_shared_cases_are_what_their_script_writes() -> None:
    path = ROOT / "scripts" / "make_cases.py"
    spec = importlib.util.spec_from_file_location("make_cases", path)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    folder = ROOT / "tests" / "cases"
    committed = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.json")}
    assert committed == script.files()


def test_every_theme_has_cases() -> None:
    themes = {name.split(":")[0] for name in CASES}
    assert themes == {
        "plain", "padding", "stride", "dilation", "groups", "transposed",
        "one_d", "three_d", "unbatched",
    }  # fmt: skip


# Every dtype -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
@examples(40)
@given(drawn=convolutions(uneven=False), seed=st.integers(0, 2**20), data=st.data())
def test_every_float_dtype_is_certified(
    dtype: str, drawn: Drawn, seed: int, data: st.DataObject
) -> None:
    assume(not drawn.crashes(dtype))
    generator = torch.Generator().manual_seed(seed)
    whole = drawn.tensors(dtype)
    x, weight, bias = (
        None if t is None else torch.randn(t.shape, generator=generator).to(t.dtype) for t in whole
    )
    assert x is not None
    assert weight is not None
    trace = ct.trace(lambda given: drawn.call(given, weight, bias), x)
    numbers = [None if t is None else t.double().numpy() for t in (x, weight, bias)]
    for index in draw_indices(data, drawn, most=2):
        receipt = trace.why(drawn.name, index)
        exact = drawn.loops.value(index, numbers[0], numbers[1], numbers[2])
        assert receipt.verdict in ("exact", "rounding")
        assert receipt.exact == nearest(exact, "float64")
        assert (receipt.verdict == "exact") == (receipt.reported == nearest(exact, dtype))
        assert (
            abs(Fraction(receipt.reported) - exact)
            <= Fraction(receipt.bound) + abs(exact) * Fraction(2) ** -53
        )
        assert receipt.residual == receipt.reported - receipt.exact


@pytest.mark.parametrize("dtype", FLOATS)
def test_every_float_dtype_computes_and_stores_in_the_formats_that_are_named(dtype: str) -> None:
    model = torch.nn.Conv2d(1, 1, 2).to(getattr(torch, dtype))
    trace = ct.trace(model, torch.ones(1, 1, 3, 3, dtype=getattr(torch, dtype)))
    arithmetic = trace.why("conv2d", (0, 0, 0, 0)).arithmetic
    assert arithmetic is not None
    accumulate = "float32" if dtype in ("float16", "bfloat16") else dtype
    assert (arithmetic.operands, arithmetic.accumulate, arithmetic.result) == (
        dtype,
        accumulate,
        dtype,
    )


@pytest.mark.parametrize("dtype", INTEGERS)
@examples(20)
@given(data=st.data())
def test_every_integer_dtype_that_pytorch_takes_is_exact(dtype: str, data: st.DataObject) -> None:
    taken = {} if dtype == "int64" else {"transposed": False, "dilated": False}
    drawn = data.draw(convolutions(uneven=False, **taken))
    x, weight, bias = drawn.tensors(dtype)
    trace = trace_of(drawn, dtype)
    for index in draw_indices(data, drawn, most=2):
        receipt = trace.why(drawn.name, index)
        exact = drawn.loops.value(
            index, x.numpy(), weight.numpy(), None if bias is None else bias.numpy()
        )
        assert receipt.exact == exact
        assert isinstance(receipt.exact, int)
        # Integers of PyTorch wrap around where the sum leaves their range.
        kept = np.array(int(exact)).astype(dtype).item()
        assert receipt.reported == kept
        assert receipt.verdict == ("exact" if kept == exact else "rounding")


def test_a_long_receipt_is_exact_to_the_last_bit() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(1, 512, 3, 3), torch.randn(2, 512, 3, 3)
    trace = ct.trace(lambda given: torch.nn.functional.conv2d(given, weight), x)
    receipt = trace.why("conv2d", (0, 1, 0, 0))
    loops = NestedLoops(x.shape, weight.shape, _plain(2))
    exact = loops.value((0, 1, 0, 0), x.numpy(), weight.numpy())
    assert len(receipt.terms) == 4608
    assert receipt.exact == nearest(exact, "float64")
    assert receipt.verdict in ("exact", "rounding")


def _plain(axes: int) -> Any:
    return Settings((1,) * axes, ((0, 0),) * axes, (1,) * axes, (0,) * axes)


def test_channel_sums_that_cancel_are_rounded_only_once() -> None:
    x = [[[1.0, 2.0**-60, -1.0], [3.0, 4.0, 5.0]]]
    receipt = ct.from_arrays(x, np.ones((1, 2, 3))).why("conv1d", (0, 0, 0))
    assert receipt.channel_sums.tolist() == [2.0**-60, 12.0]
    assert receipt.exact == 12.0


def test_a_wrong_number_of_a_long_sum_is_noticed() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(1, 64, 3, 3), torch.randn(1, 64, 3, 3)
    observed = torch.nn.functional.conv2d(x, weight)
    right = ct.from_arrays(x, weight, observed=observed).why("conv2d", (0, 0, 0, 0))
    assert right.verdict in ("exact", "rounding")
    wrong = observed + 1.01 * right.bound
    assert ct.from_arrays(x, weight, observed=wrong).why("conv2d[0,0,0,0]").verdict == "mismatch"


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_next_number_of_the_format_is_rounding_and_the_nearest_one_is_exact(dtype: str) -> None:
    kind = getattr(torch, dtype)
    x = torch.tensor([[[1.0, 0.25, 3.0]]], dtype=kind)
    weight = torch.tensor([[[0.375, 2.0, 0.5]]], dtype=kind)
    nearest_one = torch.tensor([[[2.375]]], dtype=kind)
    neighbour = torch.nextafter(nearest_one, torch.tensor(9.0, dtype=kind))
    # A sum in a wider format is stored within half a spacing: only the nearest one can come out.
    verdict = "mismatch" if dtype in ("float16", "bfloat16") else "rounding"
    for observed, expected in ((nearest_one, "exact"), (neighbour, verdict)):
        receipt = ct.from_arrays(x, weight, observed=observed).why("conv1d[0,0,0]")
        assert receipt.verdict == expected


# Symmetry ----------------------------------------------------------------------------------------


@examples(40)
@given(
    axes=st.integers(1, 3),
    kernel=st.sampled_from([1, 3]),
    dilation=st.integers(1, 2),
    groups=st.integers(1, 2),
    seed=st.integers(0, 2**20),
    data=st.data(),
)
def test_shifting_a_circular_input_shifts_the_receipts(
    axes: int, kernel: int, dilation: int, groups: int, seed: int, data: st.DataObject
) -> None:
    module = getattr(torch.nn, f"Conv{axes}d")
    pad = dilation * (kernel // 2)
    model = module(
        2 * groups, 2 * groups, kernel, padding=pad, dilation=dilation, groups=groups,
        padding_mode="circular",
    )  # fmt: skip
    size = max(pad, 3) + 1
    x = torch.from_numpy(whole_numbers(seed, (1, 2 * groups, *(size,) * axes))).float()
    with torch.no_grad():
        model.weight.copy_(torch.from_numpy(whole_numbers(seed + 1, tuple(model.weight.shape))))
        model.bias.copy_(torch.from_numpy(whole_numbers(seed + 2, tuple(model.bias.shape))))
    shift = tuple(data.draw(st.integers(0, size - 1)) for _ in range(axes))
    spatial = tuple(range(2, axes + 2))
    still, moved = ct.trace(model, x), ct.trace(model, torch.roll(x, shift, spatial))
    name = f"conv{axes}d"
    channel = data.draw(st.integers(0, 2 * groups - 1))
    place = tuple(data.draw(st.integers(0, size - 1)) for _ in range(axes))
    there = tuple((p + s) % size for p, s in zip(place, shift, strict=True))
    before = still.why(name, (0, channel, *place))
    after = moved.why(name, (0, channel, *there))
    assert before.exact == after.exact == before.reported == after.reported
    np.testing.assert_array_equal(before.products, after.products)
    for first, second in zip(before.terms, after.terms, strict=True):
        here, shifted = pixel(still, first.source), pixel(moved, second.source)
        assert here.index[:2] == shifted.index[:2]
        assert shifted.index[2:] == tuple(
            (p + s) % size for p, s in zip(here.index[2:], shift, strict=True)
        )


def pixel(trace: ct.Trace, source: ct.Address | None) -> ct.Address:
    """Go down through padding to the input."""
    assert source is not None
    while source.step != "input":
        (term,) = trace.why(source).terms
        assert term.source is not None
        source = term.source
    return source


@examples(30)
@given(convolutions(transposed=False), st.data())
def test_doubling_the_input_doubles_every_product(drawn: Drawn, data: st.DataObject) -> None:
    once = ct.from_arrays(drawn.x, drawn.weight, **drawn.spelled)
    twice = ct.from_arrays(2 * drawn.x, drawn.weight, **drawn.spelled)
    for index in draw_indices(data, drawn, most=1):
        first, second = once.why(drawn.name, index), twice.why(drawn.name, index)
        np.testing.assert_array_equal(2 * first.products, second.products)


# Modules -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [(), (2,)], ids=["unbatched", "batched"])
@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_every_padding_mode_ends_at_the_right_pixels(
    axes: int, mode: str, batch: tuple[int, ...]
) -> None:
    module = getattr(torch.nn, f"Conv{axes}d")
    model = module(1, 1, 3, padding=2, padding_mode=mode, bias=False)
    x = torch.arange(1.0, 1 + 4**axes).reshape(*batch[1:], *(4,) * axes)
    x = x.expand(*batch, 1, *(4,) * axes).clone()
    trace = ct.trace(model, x)
    first = trace.why(f"conv{axes}d", (0,) * (axes + 1 + len(batch)))
    assert first.verdict in ("exact", "rounding")
    pads = [2, 2] * axes
    way = {"zeros": "constant"}.get(mode, mode)
    padded = torch.nn.functional.pad(x, pads, mode=way)
    corner = padded[(0,) * len(batch) + (0,)][(slice(0, 3),) * axes]
    assert first.inputs.ravel().tolist() == corner.ravel().tolist()
    if mode != "zeros":
        for term in first.terms:
            assert trace.value(pixel(trace, term.source)) == term.value


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_a_complex_convolution_is_shown_as_the_real_ones_that_ran(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = torch.nn.Conv1d(2, 2, 3, padding=1, dtype=dtype)
    trace = ct.trace(model, torch.randn(1, 2, 4, dtype=dtype))
    kinds = [step.kind for step in trace.steps.values()]
    assert kinds.count("convolution") == 3
    for step in trace.steps.values():
        receipt = trace.why(step.name, (0,) * len(step.shape))
        assert receipt.verdict in (None, "exact", "rounding")
    assert trace.value("conv1d[0,1,2]") == trace.output[0, 1, 2].item()


def test_a_number_below_can_be_asked_for_in_turn() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 2), torch.nn.Conv2d(2, 1, 2))
    trace = ct.trace(model, torch.randn(1, 1, 3, 3))
    for term in trace.why("1[0,0,0,0]").terms:
        assert term.source is not None
        below = trace.why(term.source)
        assert below.reported == term.value
        assert below.verdict in ("exact", "rounding")
        assert all(pixel.source is None or pixel.source.step == "input" for pixel in below.terms)


def test_a_pixel_has_no_terms_and_says_so() -> None:
    trace = ct.from_arrays(np.ones((1, 1, 2, 2)), np.ones((1, 1, 2, 2)))
    receipt = trace.why("input[0,0,1,1]")
    assert receipt.terms == []
    assert (receipt.reported, receipt.verdict, receipt.status) == (1.0, None, "opaque")
    assert receipt.notes[0][0] == "note.given.input"
    assert math.isnan(receipt.bound)
