"""The index law against judges that never compute it: padded lines, spread inputs, PyTorch."""

import itertools
import re

import judges
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples

from convtrace.geometry import (
    Axis,
    Miss,
    input_group,
    output_formula,
    output_size,
    readers,
    tap,
    taps,
)


@st.composite
def axes_and_sizes(draw: st.DrawFn, transposed: bool | None = None) -> tuple[Axis, int]:
    """Draw the settings of an axis, and an input size that gives at least one output."""
    transposed = draw(st.booleans()) if transposed is None else transposed
    axis = Axis(
        kernel=draw(st.integers(1, 5)),
        stride=draw(st.integers(1, 4)),
        padding=(draw(st.integers(0, 5)), draw(st.integers(0, 5))),
        dilation=draw(st.integers(1, 4)),
        transposed=transposed,
        output_padding=draw(st.integers(0, 3)) if transposed else 0,
    )
    fits = [size for size in range(1, 30) if judged(axis, size)]
    return axis, draw(st.sampled_from(fits[:12]))


def judged(axis: Axis, size: int) -> list[list[int | None]]:
    """What the judge says that every tap of every output position reads."""
    if axis.transposed:
        return judges.transposed_axis(
            size, axis.kernel, axis.stride, axis.padding, axis.dilation, axis.output_padding
        )
    return judges.plain_axis(size, axis.kernel, axis.stride, axis.padding, axis.dilation)


@examples(300)
@given(axes_and_sizes())
def test_output_size_counts_the_stops_of_the_kernel(drawn: tuple[Axis, int]) -> None:
    axis, size = drawn
    assert output_size(axis, size) == len(judged(axis, size))


@examples(300)
@given(axes_and_sizes())
def test_taps_read_what_lies_under_the_kernel(drawn: tuple[Axis, int]) -> None:
    axis, size = drawn
    expected = judged(axis, size)
    found = [[t.source for t in taps(axis, size, o)] for o in range(output_size(axis, size))]
    assert found == expected


@examples(100)
@given(axes_and_sizes())
def test_taps_are_in_the_order_of_the_kernel(drawn: tuple[Axis, int]) -> None:
    axis, size = drawn
    assert [t.kernel for t in taps(axis, size, 0)] == list(range(axis.kernel))


@examples(100)
@given(axes_and_sizes(), st.data())
def test_tap_is_one_of_taps(drawn: tuple[Axis, int], data: st.DataObject) -> None:
    axis, size = drawn
    output = data.draw(st.integers(0, output_size(axis, size) - 1))
    kernel = data.draw(st.integers(0, axis.kernel - 1))
    assert tap(axis, size, output, kernel) == taps(axis, size, output)[kernel]


@examples(200)
@given(axes_and_sizes())
def test_a_tap_says_why_it_misses_exactly_where_it_has_no_source(drawn: tuple[Axis, int]) -> None:
    axis, size = drawn
    for output in range(output_size(axis, size)):
        for found in taps(axis, size, output):
            assert (found.miss is None) == (found.source is not None)


@examples(200)
@given(axes_and_sizes(transposed=False))
def test_a_convolution_misses_only_on_padding(drawn: tuple[Axis, int]) -> None:
    axis, size = drawn
    for output in range(output_size(axis, size)):
        assert {t.miss for t in taps(axis, size, output)} <= {None, Miss.PADDING}


@examples(200)
@given(axes_and_sizes(transposed=True))
def test_a_transposed_tap_misses_on_a_gap_where_even_endless_input_has_nothing(
    drawn: tuple[Axis, int],
) -> None:
    axis, size = drawn
    # The same line in the middle of a much longer one: what still reads nothing is a gap.
    margin = 40
    wide = Axis(axis.kernel, axis.stride, (0, 0), axis.dilation, transposed=True, output_padding=0)
    endless = judged(wide, size + 2 * margin)
    for output in range(output_size(axis, size)):
        shifted = endless[output + axis.padding[0] + margin * axis.stride]
        for found, there in zip(taps(axis, size, output), shifted, strict=True):
            assert (found.miss is Miss.GAP) == (there is None)


@examples(100)
@given(axes_and_sizes(transposed=False))
def test_the_numerator_of_a_convolution_is_the_position_before_the_test_for_padding(
    drawn: tuple[Axis, int],
) -> None:
    axis, size = drawn
    low = axis.padding[0]
    longer = judges.plain_axis(
        size + low + axis.padding[1], axis.kernel, axis.stride, (0, 0), axis.dilation
    )
    for output, row in enumerate(longer):
        assert [t.numerator for t in taps(axis, size, output)] == [
            None if place is None else place - low for place in row
        ]


@examples(100)
@given(axes_and_sizes(transposed=True))
def test_the_numerator_of_a_transposed_tap_is_its_source_times_the_stride(
    drawn: tuple[Axis, int],
) -> None:
    axis, size = drawn
    for output in range(output_size(axis, size)):
        for found in taps(axis, size, output):
            if found.source is not None:
                assert found.numerator == found.source * axis.stride
            if found.miss is Miss.GAP:
                assert found.numerator % axis.stride != 0


@examples(200)
@given(axes_and_sizes())
def test_readers_are_the_inverse_of_taps(drawn: tuple[Axis, int]) -> None:
    axis, size = drawn
    outputs = output_size(axis, size)
    table = judged(axis, size)
    for source in range(size):
        expected = [
            (output, kernel)
            for output, kernel in itertools.product(range(outputs), range(axis.kernel))
            if table[output][kernel] == source
        ]
        assert sorted(readers(axis, outputs, source)) == expected


@examples(200)
@given(axes_and_sizes())
def test_the_output_formula_is_true_as_arithmetic(drawn: tuple[Axis, int]) -> None:
    axis, size = drawn
    left, right = output_formula(axis, size).split(" = ")
    computed = re.sub(r"⌊(.*) / (\d+)⌋", r"(\1) // \2", left).replace("−", "-").replace("·", "*")
    assert eval(computed) == int(right) == len(judged(axis, size))


@pytest.mark.parametrize(
    ("axis", "size", "expected"),
    [
        (Axis(kernel=3), 3, 1),
        (Axis(kernel=3), 2, 0),
        (Axis(kernel=4), 1, -2),
        (Axis(kernel=2, stride=2), 5, 2),
        (Axis(kernel=1, padding=(0, 2)), 1, 3),
        (Axis(kernel=3, dilation=3), 7, 1),
        (Axis(kernel=2, transposed=True), 1, 2),
        (Axis(kernel=1, padding=(1, 1), transposed=True), 1, -1),
        (Axis(kernel=1, stride=3, transposed=True, output_padding=2), 1, 3),
    ],
)
def test_output_size_of_hand_sized_settings(axis: Axis, size: int, expected: int) -> None:
    assert output_size(axis, size) == expected


@examples(100)
@given(axes_and_sizes())
def test_output_size_is_that_of_pytorch(drawn: tuple[Axis, int]) -> None:
    axis, size = drawn
    settings = judges.Settings(
        (axis.stride,),
        (axis.padding,),
        (axis.dilation,),
        (axis.output_padding,),
        transposed=axis.transposed,
    )
    even = axis.padding[0] == axis.padding[1]
    if axis.transposed and even and axis.output_padding >= max(axis.stride, axis.dilation):
        return  # PyTorch refuses it
    ones = torch.ones(1, 1, size).numpy(), torch.ones(1, 1, axis.kernel).numpy()
    output = judges.torch_convolution(*ones, None, settings)
    assert output.shape[2] == output_size(axis, size)


def test_negative_padding_cuts_the_input() -> None:
    axis = Axis(kernel=1, padding=(-1, -2))
    assert output_size(axis, 6) == 3
    assert [taps(axis, 6, o)[0].source for o in range(3)] == [1, 2, 3]


def test_extent_reaches_from_the_first_tap_to_the_last() -> None:
    assert Axis(kernel=3, dilation=4).extent == 9
    assert Axis(kernel=1, dilation=7).extent == 1


@examples(100)
@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 4))
def test_input_group_cuts_the_channels_into_equal_runs(
    groups: int, reads: int, writes: int
) -> None:
    found = [
        list(input_group(c, groups * writes, groups * reads, groups))
        for c in range(groups * writes)
    ]
    runs = [list(range(groups * reads))[g * reads : (g + 1) * reads] for g in range(groups)]
    assert found == [run for run in runs for _ in range(writes)]
