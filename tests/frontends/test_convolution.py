"""The canonical form of a convolution: every spelling of it, and what does not fit."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import Drawn, convolutions, examples

from convtrace.errors import EmptyTensorError, ShapeError
from convtrace.frontends.convolution import canonical, function_name, pads_of, per_axis


@examples(200)
@given(convolutions())
def test_every_spelling_has_one_canonical_form(drawn: Drawn) -> None:
    attributes, shape = canonical("c", drawn.x.shape, drawn.weight.shape, **drawn.spelled)
    settings = drawn.settings
    assert attributes == {
        "stride": settings.stride,
        "padding": settings.padding,
        "dilation": settings.dilation,
        "groups": settings.groups,
        "transposed": settings.transposed,
        "output_padding": settings.output_padding,
        "batched": drawn.x.ndim == drawn.weight.ndim,
    }
    assert shape == drawn.loops.shape


@examples(100)
@given(convolutions(uneven=False))
def test_the_shape_of_the_output_is_that_of_pytorch(drawn: Drawn) -> None:
    bias = None if drawn.bias is None else drawn.bias.shape
    _, shape = canonical("c", drawn.x.shape, drawn.weight.shape, bias, **drawn.spelled)
    assert shape == tuple(drawn.call(*drawn.tensors("float32")).shape)


def test_defaults_are_those_of_pytorch() -> None:
    attributes, shape = canonical("c", (1, 2, 5, 5), (3, 2, 2, 2))
    assert attributes == {
        "stride": (1, 1),
        "padding": ((0, 0), (0, 0)),
        "dilation": (1, 1),
        "groups": 1,
        "transposed": False,
        "output_padding": (0, 0),
        "batched": True,
    }
    assert shape == (1, 3, 4, 4)


@pytest.mark.parametrize(
    ("value", "axes", "expected"),
    [
        (2, 3, (2, 2, 2)),
        ((2,), 2, (2, 2)),
        ([1, 2], 2, (1, 2)),
        ((1, 2, 3), 3, (1, 2, 3)),
        (torch.Size([2, 1]), 2, (2, 1)),
        (np.array([2, 1]), 2, (2, 1)),
        ([np.int64(2), 1], 2, (2, 1)),
        (range(1, 3), 2, (1, 2)),
    ],
)
def test_per_axis_spreads_over_the_axes(value: Any, axes: int, expected: tuple[int, ...]) -> None:
    assert per_axis("stride", value, axes) == expected


@pytest.mark.parametrize("value", [np.int64(2), np.array(2), torch.tensor(2)], ids=repr)
def test_per_axis_takes_whole_numbers_of_other_libraries(value: Any) -> None:
    assert per_axis("stride", value, 2) == (2, 2)


@pytest.mark.parametrize("value", [(1, 2, 3), (), 1.5, (1.5, 2), "ab", None, (None, 1)], ids=repr)
def test_per_axis_refuses_what_does_not_fit_and_shows_it(value: Any) -> None:
    with pytest.raises(ShapeError) as caught:
        per_axis("dilation", value, 2)
    assert str(caught.value).splitlines() == [
        "dilation does not fit 2 spatial axes",
        f"  dilation = {value!r}",
        "  Give one whole number, or 2 of them.",
    ]


@pytest.mark.parametrize(
    ("padding", "expected"),
    [
        (0, ((0, 0), (0, 0))),
        (2, ((2, 2), (2, 2))),
        ((1, 2), ((1, 1), (2, 2))),
        ([(1, 2), (3, 4)], ((1, 2), (3, 4))),
        (((1, 2), 3), ((1, 2), (3, 3))),
        ("valid", ((0, 0), (0, 0))),
        ("same", ((1, 2), (2, 2))),
    ],
    ids=repr,
)
def test_padding_in_every_form_becomes_low_and_high(padding: Any, expected: Any) -> None:
    assert pads_of(padding, kernel=(4, 3), stride=(1, 1), dilation=(1, 2)) == expected


@pytest.mark.parametrize(
    "padding",
    [
        np.array([[1, 2], [3, 4]]),
        [np.array([1, 2]), np.array([3, 4])],
        torch.tensor([[1, 2], [3, 4]]),
    ],
    ids=["array", "list of arrays", "tensor"],
)
def test_padding_in_pairs_may_come_as_an_array(padding: Any) -> None:
    assert pads_of(padding, (2, 2), (1, 1), (1, 1)) == ((1, 2), (3, 4))


@pytest.mark.filterwarnings("ignore:Using padding='same'")  # PyTorch copies, and says so once
@examples(60)
@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 9))
def test_same_pads_as_pytorch_does(kernel: int, dilation: int, size: int) -> None:
    ((low, high),) = pads_of("same", (kernel,), (1,), (dilation,))
    x = torch.arange(1.0, size + 1, dtype=torch.float64).reshape(1, 1, size)
    weight = 10.0 ** torch.arange(kernel, dtype=torch.float64).reshape(1, 1, kernel)
    padded = torch.nn.functional.pad(x, (low, high))
    expected = torch.nn.functional.conv1d(padded, weight, dilation=dilation)
    found = torch.nn.functional.conv1d(x, weight, dilation=dilation, padding="same")
    assert torch.equal(found, expected)


def test_same_with_a_stride_is_refused_because_frameworks_disagree() -> None:
    with pytest.raises(ShapeError, match="padding='same' needs stride 1") as caught:
        pads_of("same", (3, 3), (1, 2), (1, 1))
    assert "stride = (1, 2)" in str(caught.value)
    assert "padding=[(0, 1), (0, 1)]" in str(caught.value)


def test_an_unknown_word_for_padding_is_named() -> None:
    with pytest.raises(ShapeError, match="unknown padding: 'full'"):
        pads_of("full", (3,), (1,), (1,))


def test_pairs_for_another_number_of_axes_are_counted() -> None:
    with pytest.raises(ShapeError, match=r"padding has 3 \(low, high\) pairs for 2 spatial axes"):
        pads_of([(0, 0)] * 3, (3, 3), (1, 1), (1, 1))


def refused(*shapes: Any, **options: Any) -> str:
    """The message of a convolution that does not fit."""
    with pytest.raises(ShapeError) as caught:
        canonical("layer", *shapes, **options)
    return str(caught.value)


def test_channels_that_disagree_are_shown_on_both_sides() -> None:
    message = refused((1, 6, 32, 32), (16, 4, 3, 3), groups=2)
    assert message.splitlines() == [
        "layer: input and weight disagree on input channels",
        "  input   (1, 6, 32, 32): C_in = 6",
        "  weight  (16, 4, 3, 3): C_in / groups = 4, groups = 2, so C_in = 4·2 = 8",
        "  Pass an input with 8 channels, or a layer made for 6.",
    ]


def test_channels_of_a_transposed_convolution_stand_first_in_its_weight() -> None:
    message = refused((1, 3, 4, 4), (2, 3, 2, 2), transposed=True)
    assert "weight  (2, 3, 2, 2): C_in = 2, groups = 1, so C_in = 2" in message
    canonical("layer", (1, 2, 4, 4), (2, 3, 2, 2), transposed=True)


@pytest.mark.parametrize(
    ("x", "weight"),
    [
        ((4, 4), (1, 1, 3, 3)),
        ((1, 1, 4, 4, 4), (1, 1, 3, 3)),
        ((1, 4), (1, 1)),
        ((4,), ()),
        ((), (1, 1, 3)),
    ],
)
def test_axes_that_disagree_are_counted(x: tuple[int, ...], weight: tuple[int, ...]) -> None:
    message = refused(x, weight)
    assert message.startswith("layer: input and weight disagree on the number of axes\n")
    assert f"input   {x}: {len(x)} axes" in message
    assert f"weight  {weight}: " in message


@pytest.mark.parametrize("weight", [(1, 1), (3,), ()])
def test_the_message_on_axes_never_counts_a_negative_number_of_them(
    weight: tuple[int, ...],
) -> None:
    assert "-" not in refused((1, 4), weight).replace("1-d", "")


def test_a_kernel_that_does_not_fit_shows_the_formula() -> None:
    message = refused((1, 1, 9, 2), (1, 1, 3, 3), dilation=(1, 2), padding=[(0, 0), (1, 0)])
    assert message.splitlines() == [
        "layer: the kernel does not fit axis 3 of the input",
        "  input 2, kernel 3, stride 1, padding (1, 0), dilation 2",
        "  output size = ⌊(2 + 1 + 0 − 2·(3 − 1) − 1) / 1⌋ + 1 = −1",
        "  Use a larger input, more padding, or a smaller kernel.",
    ]


def test_a_kernel_that_only_just_fits_is_taken() -> None:
    assert canonical("layer", (1, 1, 3), (1, 1, 3))[1] == (1, 1, 1)
    assert "does not fit" in refused((1, 1, 2), (1, 1, 3))


@pytest.mark.parametrize("name", ["stride", "dilation"])
@pytest.mark.parametrize("value", [0, -1])
def test_stride_and_dilation_are_at_least_one(name: str, value: int) -> None:
    message = refused((1, 1, 4), (1, 1, 2), **{name: value})
    assert message == f"layer: {name} must be at least 1\n  {name} = ({value},)"


@pytest.mark.parametrize("groups", [0, -2])
def test_groups_are_at_least_one(groups: int) -> None:
    message = refused((1, 1, 4), (1, 1, 2), groups=groups)
    assert message.startswith("layer: groups must be at least 1")


def test_groups_divide_the_output_channels() -> None:
    message = refused((1, 4, 4), (3, 2, 2), groups=2)
    assert message.splitlines()[1] == "  C_in = 4, C_out = 3, groups = 2"


def test_groups_divide_the_input_channels_of_a_transposed_convolution() -> None:
    message = refused((1, 3, 4), (3, 1, 2), groups=2, transposed=True)
    assert message.splitlines()[1] == "  C_in = 3, C_out = 2, groups = 2"


def test_output_padding_belongs_to_transposed_convolutions() -> None:
    message = refused((1, 1, 4, 4), (1, 1, 2, 2), output_padding=(0, 1))
    assert "output_padding = (0, 1), transposed = False" in message


@pytest.mark.parametrize("bias", [(3,), (2, 1), ()])
def test_a_bias_has_one_number_an_output_channel(bias: tuple[int, ...]) -> None:
    message = refused((1, 1, 4), (2, 1, 2), bias)
    assert message == (
        f"layer: the bias needs one number an output channel\n  bias {bias}, C_out = 2"
    )


def test_a_bias_of_a_grouped_transposed_convolution_counts_all_output_channels() -> None:
    canonical("layer", (1, 4, 4), (4, 3, 2), (6,), groups=2, transposed=True)
    assert "C_out = 6" in refused((1, 4, 4), (4, 3, 2), (3,), groups=2, transposed=True)


@pytest.mark.parametrize(
    ("x", "weight", "empty"),
    [
        ((0, 1, 4), (1, 1, 2), "input"),
        ((1, 1, 0), (1, 1, 2), "input"),
        ((1, 1, 4), (0, 1, 2), "weight"),
        ((1, 1, 4), (1, 1, 0), "weight"),
    ],
)
def test_an_empty_tensor_is_named(x: Any, weight: Any, empty: str) -> None:
    with pytest.raises(EmptyTensorError, match=f"layer: the {empty} is empty"):
        canonical("layer", x, weight)


@pytest.mark.parametrize(
    ("axes", "transposed", "name"),
    [(1, False, "conv1d"), (3, False, "conv3d"), (2, True, "conv_transpose2d")],
)
def test_function_name_is_that_of_pytorch(axes: int, transposed: bool, name: str) -> None:
    assert function_name(axes, transposed) == name
    assert hasattr(torch.nn.functional, name)
