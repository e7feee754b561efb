"""Addresses on the command line: read before anything slow, and helped where one is unfinished."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convtrace.address import Address, parse_address
from convtrace.errors import AddressError

if TYPE_CHECKING:
    from convtrace.graph import Trace


def check_addresses(*texts: str | None) -> None:
    """Raise `AddressError` for what cannot be an address; a bare name may still be one of a step.

    Called before anything slow.
    """
    for text in texts:
        if text is not None and ("[" in text or "]" in text):
            parse_address(text)


def address_of(trace: Trace, text: str, wanted: str = "a receipt is for one number") -> Address:
    """Read an address; of a bare name, say which positions it has.

    Args:
        trace: The trace that it is an address in.
        text: The address as it was typed.
        wanted: Why a number is wanted and not a tensor, for the message.

    Raises:
        AddressError: It is none, or it names a whole tensor.
        UnknownStepError: Nothing has this name.
    """
    if "[" in text or "]" in text:
        return parse_address(text)
    name = text.strip()
    value = trace.inputs.get(name) or trace.parameters.get(name) or trace.step(name).value
    last = Address(name, tuple(size - 1 for size in value.shape))
    first = Address(name, (0,) * len(value.shape))
    raise AddressError(
        f"{text!r} names a whole tensor, and {wanted}\n"
        f"  shape of {name}: {value.shape}\n"
        f"  Add a position: {first} is its first number, {last} its last."
    )
