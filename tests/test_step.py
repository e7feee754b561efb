"""Recorded tensors and steps: exact numbers from every kind of tensor, and changes noticed."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import FLOATS, INTEGERS, examples

from convtrace.arithmetic import plain
from convtrace.errors import NoValueError, OutOfRangeError, TensorChangedError
from convtrace.step import Step, Unobserved, Value, check_index, version_of

COMPLEX = ("complex64", "complex128")
EIGHT_BITS = ("float8_e4m3fn", "float8_e5m2")
UNSIGNED = ("uint16", "uint32", "uint64")


def tensor_of(dtype: str) -> torch.Tensor:
    """Six numbers of a dtype, one of them not whole where the dtype has such."""
    kind = getattr(torch, dtype)
    numbers: list[Any] = [0, 1, 2, 3, 100, 7]
    if kind.is_floating_point:
        numbers[2] = 0.375
    if kind.is_complex:
        numbers[2] = 0.375 - 2j
    if kind is torch.bool:
        numbers = [False, True, True, False, False, True]
    if dtype in EIGHT_BITS:
        numbers[4] = 96  # 100 has more bits than fit
    return torch.tensor(numbers, dtype=torch.float32 if dtype in EIGHT_BITS else kind).to(kind)


@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS, *COMPLEX, *EIGHT_BITS, *UNSIGNED, "bool"])
def test_item_returns_the_number_of_every_dtype(dtype: str) -> None:
    tensor = tensor_of(dtype).reshape(2, 3)
    value = Value("x", tensor)
    assert value.dtype == dtype
    found = [value.item((row, column)) for row in range(2) for column in range(3)]
    assert found == [tensor[row, column].item() for row in range(2) for column in range(3)]


@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS, *COMPLEX, *EIGHT_BITS, *UNSIGNED, "bool"])
def test_box_holds_the_numbers_of_every_dtype(dtype: str) -> None:
    tensor = tensor_of(dtype).reshape(2, 3)
    box = Value("x", tensor).box((slice(0, 2), slice(0, 3, 2)))
    assert box.shape == (2, 2)
    expected = [[tensor[row, column].item() for column in (0, 2)] for row in range(2)]
    assert box.tolist() == expected


@pytest.mark.parametrize("dtype", ["bfloat16", *EIGHT_BITS])
def test_box_is_float64_where_numpy_has_no_such_format(dtype: str) -> None:
    assert Value("x", tensor_of(dtype)).box((slice(None),)).dtype == np.float64


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", *INTEGERS, *COMPLEX, "bool"])
def test_box_keeps_the_dtypes_of_numpy(dtype: str) -> None:
    assert Value("x", tensor_of(dtype)).box((slice(None),)).dtype == np.dtype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int64"])
@examples(30)
@given(data=st.data())
def test_box_reads_what_indexing_reads(dtype: str, data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=4)))
    tensor = torch.arange(int(np.prod(shape))).reshape(shape).to(getattr(torch, dtype))
    slices: list[Any] = []
    for size in shape:
        low = data.draw(st.integers(0, size - 1))
        if data.draw(st.booleans()):
            slices.append(low)
        else:
            high, step = data.draw(st.integers(low + 1, size)), data.draw(st.integers(1, 3))
            slices.append(slice(low, high, step))
    box = Value("x", tensor).box(tuple(slices))
    assert box.tolist() == tensor[tuple(slices)].tolist()


VIEWS = {
    "transposed": lambda: torch.arange(12.0).reshape(3, 4).t(),
    "every second column": lambda: torch.arange(12.0).reshape(3, 4)[:, ::2],
    "expanded": lambda: torch.arange(3.0).reshape(3, 1).expand(3, 4),
    "channels last": lambda: (
        torch.arange(24.0).reshape(1, 2, 3, 4).to(memory_format=torch.channels_last)
    ),
    "part of a larger tensor": lambda: torch.arange(12.0).reshape(3, 4)[1:, 1:3],
    "part of a bfloat16 tensor": lambda: torch.arange(12.0).bfloat16().reshape(3, 4)[1:, 1::2],
    "conjugated": lambda: torch.view_as_complex(torch.arange(12.0).reshape(3, 2, 2)).conj(),
    "negated": lambda: torch.view_as_complex(torch.arange(12.0).reshape(3, 2, 2)).conj().imag,
    "requires a gradient": lambda: torch.arange(12.0).reshape(3, 4).requires_grad_(),
    "has a history": lambda: torch.arange(12.0).reshape(3, 4).requires_grad_() * 2,
    "parameter": lambda: torch.nn.Parameter(torch.arange(12.0).reshape(3, 4)),
    "scalar": lambda: torch.tensor(2.5),
}


@pytest.mark.parametrize("make", VIEWS.values(), ids=VIEWS)
def test_item_reads_any_view(make: Any) -> None:
    tensor = make()
    value = Value("x", tensor)
    assert value.shape == tuple(tensor.shape)
    for index in np.ndindex(*tensor.shape):
        assert value.item(index) == tensor[index].item()


def test_conjugated_and_negated_views_are_still_views_in_this_test() -> None:
    assert VIEWS["conjugated"]().is_conj()
    assert VIEWS["negated"]().is_neg()


def test_a_value_holds_the_tensor_itself() -> None:
    tensor = torch.zeros(2)
    assert Value("x", tensor).data is tensor


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "complex64"])
def test_a_change_after_recording_is_noticed_before_the_first_read(dtype: str) -> None:
    tensor = torch.zeros(2, dtype=getattr(torch, dtype))
    value = Value("conv1", tensor)
    tensor.add_(1)
    with pytest.raises(TensorChangedError):
        value.item((0,))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "complex64"])
def test_a_change_after_the_first_read_is_noticed(dtype: str) -> None:
    tensor = torch.zeros(2, dtype=getattr(torch, dtype))
    value = Value("conv1", tensor)
    assert value.item((0,)) == 0
    tensor[1] = 1
    with pytest.raises(TensorChangedError):
        value.box((slice(None),))


def test_a_change_through_a_view_is_noticed() -> None:
    tensor = torch.zeros(2, 2)
    value = Value("conv1", tensor)
    tensor[0].fill_(3)
    with pytest.raises(TensorChangedError):
        value.check()


def test_a_change_of_what_a_view_shows_is_noticed() -> None:
    tensor = torch.zeros(2, 2)
    value = Value("conv1", tensor.t())
    tensor.mul_(2)
    with pytest.raises(TensorChangedError):
        value.check()


def test_the_message_of_a_change_names_the_tensor_and_both_versions() -> None:
    tensor = torch.zeros(2).add_(1)
    value = Value("layer1.conv", tensor)
    tensor.add_(1).add_(1)
    with pytest.raises(TensorChangedError) as caught:
        value.check()
    lines = str(caught.value).splitlines()
    assert lines[0] == "layer1.conv was overwritten after the trace"
    assert lines[1] == "  recorded at version 1, now at version 3: 2 in-place change(s) since"
    assert "tensor.clone()" in lines[2]


def test_a_tensor_that_was_changed_before_recording_is_read() -> None:
    assert Value("x", torch.zeros(2).add_(4)).item((1,)) == 4


def test_a_version_that_is_given_is_the_one_to_expect() -> None:
    tensor = torch.zeros(2).add_(1)
    assert Value("x", tensor, version=1).item((0,)) == 1
    with pytest.raises(TensorChangedError):
        Value("x", tensor, version=0).item((0,))


def test_reading_does_not_change_a_tensor() -> None:
    tensor = torch.zeros(2, 2).bfloat16()
    Value("x", tensor).box((0, slice(None)))
    assert version_of(tensor) == 0


def test_tensors_without_a_version_counter_are_read() -> None:
    with torch.inference_mode():
        tensor = torch.ones(2)
    assert version_of(tensor) == -1
    assert Value("x", tensor).item((0,)) == 1
    assert version_of(np.ones(2)) == -1
    assert Value("x", np.ones(2)).item((0,)) == 1


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(2, 2, device="meta"),
        torch.zeros(2, 2).to_sparse(),
    ],
    ids=["meta", "sparse"],
)
def test_a_tensor_without_numbers_says_so(tensor: torch.Tensor) -> None:
    with pytest.raises(NoValueError, match="x has no numbers to read") as caught:
        Value("x", tensor).item((0, 0))
    assert str(tensor.device) in str(caught.value)
    assert str(tensor.layout) in str(caught.value)


@pytest.mark.parametrize(
    ("index", "cause"),
    [
        ((2, 0), "position 2 on axis 0, which has 2"),
        ((0, 3), "position 3 on axis 1, which has 3"),
        ((0, -1), "position -1 on axis 1, which has 3"),
        ((0,), "1 position(s) for 2 axes"),
        ((0, 0, 0), "3 position(s) for 2 axes"),
        ((), "0 position(s) for 2 axes"),
    ],
)
def test_a_position_out_of_range_is_named_with_the_shape_and_the_last_one(
    index: tuple[int, ...], cause: str
) -> None:
    with pytest.raises(OutOfRangeError) as caught:
        Value("conv1", torch.zeros(2, 3)).item(index)
    places = ",".join(map(str, index))
    assert str(caught.value).splitlines() == [
        f"no such number: conv1[{places}]",
        "  shape of conv1: (2, 3)",
        f"  {cause}",
        "  Positions count from 0; the last one is conv1[1,2].",
    ]


@examples(100)
@given(st.lists(st.integers(1, 4), max_size=4), st.lists(st.integers(-2, 5), max_size=4))
def test_check_index_lets_through_exactly_the_positions_of_the_shape(
    shape: list[int], index: list[int]
) -> None:
    if tuple(index) in set(np.ndindex(*shape)):
        check_index("x", tuple(shape), tuple(index))
    else:
        with pytest.raises(OutOfRangeError):
            check_index("x", tuple(shape), tuple(index))


# Steps -------------------------------------------------------------------------------------------


def make_step() -> Step:
    return Step(
        name="conv1",
        kind="convolution",
        attributes={"stride": (1, 1)},
        values={"input": Value("input", torch.zeros(1, 2)), "weight": Value("w", torch.ones(2))},
        value=Value("conv1", torch.zeros(1, 3).half()),
        status="linear",
        arithmetic=plain("float16"),
    )


def test_a_step_names_its_operands_by_role() -> None:
    assert dict(make_step().operands) == {"input": "input", "weight": "w"}


def test_a_step_has_the_shape_and_dtype_of_its_output() -> None:
    assert (make_step().shape, make_step().dtype) == ((1, 3), "float16")


def test_a_step_shows_what_it_computes_from_what() -> None:
    shown = "Step(conv1: convolution(input=input, weight=w) -> float16 (1, 3))"
    assert repr(make_step()) == shown


@pytest.mark.parametrize("part", ["attributes", "values", "operands"])
def test_the_parts_of_a_step_cannot_be_written_to(part: str) -> None:
    with pytest.raises(TypeError):
        getattr(make_step(), part)["stride"] = 5


def test_a_step_cannot_be_changed() -> None:
    step: Any = make_step()
    with pytest.raises(AttributeError):
        step.name = "other"


def test_a_step_does_not_follow_later_changes_of_what_it_was_made_from() -> None:
    attributes = {"stride": (1, 1)}
    step = Step("s", "k", attributes, {}, Value("s", np.zeros(1)))
    attributes["stride"] = (2, 2)
    assert step.attributes["stride"] == (1, 1)


def test_an_unobserved_number_is_computed_when_it_is_asked_for() -> None:
    asked: list[tuple[int, ...]] = []

    def compute(index: tuple[int, ...]) -> float:
        asked.append(index)
        return 10.0 * index[0] + index[1]

    value = Unobserved("y", (2, 3), "float32", compute)
    assert (value.shape, value.dtype, asked) == ((2, 3), "float32", [])
    assert value.item((1, 2)) == 12
    assert asked == [(1, 2)]


def test_a_box_of_unobserved_numbers_has_the_shape_of_the_box() -> None:
    value = Unobserved("y", (2, 3), "float32", lambda index: 10.0 * index[0] + index[1])
    assert value.box((slice(None), slice(0, 3, 2))).tolist() == [[0, 2], [10, 12]]
    assert value.box((1, slice(1, None))).tolist() == [11, 12]
    assert value.box((1, 2)).tolist() == 12
