"""Numbers as base64: a third more than their bytes, and read at once."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray


class PackedDocument(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A list of numbers.

    Attributes:
        type: Element type: a kind (`f i u`) and a number of bytes, little-endian.
        data: Base64.
    """

    type: str
    data: str


def packed(array: NDArray[Any]) -> PackedDocument:
    """Write numbers in the narrowest type that holds them exactly, row by row.

    Args:
        array: Real or whole numbers, or truth values.

    Returns:
        Their bytes in base64; whole numbers beyond 32 bits become float64, which is exact up to
        2**53 (`is_packable` says where it is not).
    """
    array = _narrow(array)
    name = f"{array.dtype.kind}{array.dtype.itemsize}"
    little = array.astype(array.dtype.newbyteorder("<"))
    return PackedDocument(name, base64.b64encode(little.tobytes()).decode())


def is_packable(array: NDArray[Any]) -> bool:
    """Whether `packed` holds these numbers without loss."""
    if array.dtype.kind in "iu" and array.dtype.itemsize == 8:
        return not array.size or max(abs(int(array.max())), abs(int(array.min()))) <= 2**53
    return array.dtype.kind in "fiub"


def _narrow(array: NDArray[Any]) -> NDArray[Any]:
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind == "b":
        return array.astype(np.uint8)
    if kind == "f" and size != 4:
        with np.errstate(over="ignore"):
            narrow = array.astype(np.float32)
        same = np.array_equal(narrow.astype(np.float64), array.astype(np.float64), equal_nan=True)
        return narrow if same else array.astype(np.float64)
    if kind in "iu":
        low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
        for dtype in (np.int8, np.int16, np.int32):
            if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
                return array.astype(dtype)
        return array.astype(np.float64)
    return array
