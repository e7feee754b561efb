"""Addresses: what is one, what is not, and what the message then says."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples

from convtrace.address import Address, parse_address
from convtrace.errors import AddressError

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.:]{0,20}(\[\d\]){0,2}", fullmatch=True)
INDICES = st.lists(st.integers(0, 10**6), max_size=5).map(tuple)


@examples(200)
@given(NAMES, INDICES)
def test_an_address_is_read_back_as_it_was_written(step: str, index: tuple[int, ...]) -> None:
    address = Address(step, index)
    assert parse_address(str(address)) == address


@examples(100)
@given(NAMES, INDICES, st.text(" \t", max_size=3))
def test_blanks_around_the_parts_are_ignored(step: str, index: tuple[int, ...], blank: str) -> None:
    places = ",".join(f"{blank}{place}{blank}" for place in index)
    text = f"{blank}{step}{blank}[{blank}{places}{blank}]{blank}"
    assert parse_address(text) == Address(step, index)


@pytest.mark.parametrize(
    ("text", "step", "index"),
    [
        ("conv1[0,1,0,0]", "conv1", (0, 1, 0, 0)),
        ("layer1.0.conv1.weight[3,0,1,1]", "layer1.0.conv1.weight", (3, 0, 1, 1)),
        ("relu:2[5]", "relu:2", (5,)),
        ("loss[]", "loss", ()),
        ("loss[ ]", "loss", ()),
        ("block.a b[007]", "block.a b", (7,)),
        ("합성곱[1,2]", "합성곱", (1, 2)),
        ("layers[0][1,2]", "layers[0]", (1, 2)),
    ],
)
def test_hand_written_addresses(text: str, step: str, index: tuple[int, ...]) -> None:
    assert parse_address(text) == Address(step, index)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "conv1",
        "[0,0]",
        " [0]",
        "conv1[0,1",
        "conv1 0,1]",
        "conv1[0]]",
        "conv1[[0]]",
        "conv1[0]x",
        "conv1(0,1)",
        "conv1[0]\nconv2[0]",
    ],
)
def test_text_of_another_form_is_no_address_and_the_message_shows_one(text: str) -> None:
    with pytest.raises(AddressError) as caught:
        parse_address(text)
    message = str(caught.value)
    assert message.startswith(f"not an address: {text!r}\n")
    assert "conv1[0,1,0,0] is sample 0, output channel 1, row 0, column 0" in message


@pytest.mark.parametrize("place", ["1.5", "a", "", "1e3", "0x1", "+1", "1_000", "٣", "²", "1 2"])
def test_a_position_that_is_no_whole_number_is_named(place: str) -> None:
    with pytest.raises(AddressError) as caught:
        parse_address(f"conv1[0,{place}]")
    message = str(caught.value)
    assert f"position {place!r}" in message
    assert "Write whole numbers, separated by commas." in message


@pytest.mark.parametrize("place", ["-1", "1:3", ":"])
def test_negative_positions_and_ranges_are_refused_with_their_reason(place: str) -> None:
    with pytest.raises(AddressError, match="no negative ones and no ranges") as caught:
        parse_address(f"conv1[0,{place}]")
    assert f"position {place!r}" in str(caught.value)


def test_an_address_is_written_without_blanks() -> None:
    assert str(Address("conv1", (0, 1, 0, 0))) == "conv1[0,1,0,0]"
    assert str(Address("loss", ())) == "loss[]"


def test_addresses_can_be_sorted_and_kept_in_sets() -> None:
    first, second = Address("a", (0, 9)), Address("a", (0, 10))
    assert sorted([second, first]) == [first, second]
    assert len({first, second, Address("a", (0, 9))}) == 2


def test_an_address_cannot_be_changed() -> None:
    address: Any = Address("a", (0,))
    with pytest.raises(AttributeError):
        address.step = "b"
