"""Addresses: the name of one number, ``step[index]``, counted from 0."""

from __future__ import annotations

import re
from dataclasses import dataclass

from convtrace.errors import AddressError

_PATTERN = re.compile(r"\s*(?P<step>[^\[\]\s].*?)\s*\[(?P<index>[^\[\]]*)\]\s*")
_INTEGER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """The address of one number.

    Attributes:
        step: Name of the step, input or parameter that holds the number.
        index: Position in that tensor, one integer an axis, counted from 0.

    Example:
        >>> str(Address("conv1", (0, 1, 0, 0)))
        'conv1[0,1,0,0]'
    """

    step: str
    index: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.step}[{','.join(map(str, self.index))}]"


def parse_address(text: str) -> Address:
    """Read an address such as ``layer1.0.conv1.weight[3,0,1,1]``.

    Args:
        text: ``step[index]``. Blanks around the parts are ignored; ``[]`` addresses a scalar.

    Returns:
        The address. Whether such a step exists is not checked here.

    Raises:
        AddressError: The text does not have this form.

    Example:
        >>> parse_address("conv1[0, 1, 0, 0]")
        Address(step='conv1', index=(0, 1, 0, 0))
    """
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise AddressError(
            f"not an address: {text!r}\n"
            "  An address is the name of a step and one position an axis, counted from 0:\n"
            "  conv1[0,1,0,0] is sample 0, output channel 1, row 0, column 0."
        )
    parts = [part.strip() for part in match["index"].split(",")] if match["index"].strip() else []
    for part in parts:
        if not _INTEGER.fullmatch(part) or not part.isascii():
            hint = (
                "Positions count from 0; there are no negative ones and no ranges."
                if part.startswith("-") or ":" in part
                else "Write whole numbers, separated by commas."
            )
            raise AddressError(f"not an address: {text!r}\n  position {part!r}\n  {hint}")
    return Address(match["step"], tuple(int(part) for part in parts))
