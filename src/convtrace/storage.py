"""The form of a saved trace: one zip archive of `trace.json` and `tensors.safetensors`.

`trace.json` is a `SavedTrace`. `tensors.safetensors` holds every tensor once, under its name;
tensors that share memory (a view, a reshape) refer to the one that owns it. Both are stored
uncompressed and aligned, so that opening a file maps it into memory and reads only what is asked
for. Any program that reads zip archives, JSON and safetensors can read it.

Sources:
    https://huggingface.co/docs/safetensors: 8 bytes with the length of a JSON header, the header,
    the numbers, little-endian, without gaps.
"""

from __future__ import annotations

import functools
import math
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

VERSION = 1
"""Version of the form; it is raised when a reader of the former one would be misled."""

DOCUMENT, TENSORS = "trace.json", "tensors.safetensors"

MAX_DOCUMENT = 256 * 2**20
"""The most bytes of `trace.json` that are read."""

NATIVE = {
    "float16": ("<f2", "F16"),
    "float32": ("<f4", "F32"),
    "float64": ("<f8", "F64"),
    "int8": ("|i1", "I8"),
    "int16": ("<i2", "I16"),
    "int32": ("<i4", "I32"),
    "int64": ("<i8", "I64"),
    "uint8": ("|u1", "U8"),
    "uint16": ("<u2", "U16"),
    "uint32": ("<u4", "U32"),
    "uint64": ("<u8", "U64"),
    "bool": ("|b1", "BOOL"),
}
"""Element types that NumPy has: its name for them, and that of safetensors."""

ENCODED = {
    "bfloat16": ("<u2", "BF16"),
    "float8_e4m3fn": ("|u1", "F8_E4M3"),
    "float8_e5m2": ("|u1", "F8_E5M2"),
    "float8_e4m3fnuz": ("|u1", "U8"),
    "float8_e5m2fnuz": ("|u1", "U8"),
    "float8_e8m0fnu": ("|u1", "U8"),
}
"""Element types that NumPy lacks, likewise; NumPy holds their bits."""

PAIRS = {"complex64": ("<f4", "F32"), "complex128": ("<f8", "F64")}
"""Complex types: real and imaginary part, as one more axis of size 2."""

FORMS = {**NATIVE, **ENCODED, **PAIRS}


class Place(msgspec.Struct, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """Where the numbers of a tensor are.

    Attributes:
        key: Name in `tensors.safetensors`.
        offset: Elements before the first one, where it shares the memory of another tensor.
        strides: Elements between neighbours along each axis; None where they lie in a row.
    """

    key: str
    offset: int = 0
    strides: list[int] | None = None


class SavedTensor(msgspec.Struct, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """One tensor.

    Attributes:
        name: Name in addresses.
        origin: `input`, `parameter`, `constant` or `step`.
        dtype: Element type, e.g. `bfloat16`.
        shape: Sizes of the axes.
        place: Where its numbers are; None where they could not be read when it was saved, or where
            nobody observed them.
        trained: Whether training would change it: a parameter, and no buffer.
    """

    name: str
    origin: Literal["input", "parameter", "constant", "step"]
    dtype: str
    shape: list[int]
    place: Place | None = None
    trained: bool = False


class SavedArithmetic(
    msgspec.Struct, rename="camel", forbid_unknown_fields=True, omit_defaults=True
):
    """The arithmetic of a step: see `convtrace.Arithmetic`."""

    operands: str
    accumulate: str
    result: str
    partial_sums: bool = False
    flushes: bool = False


class SavedMove(msgspec.Struct, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """Where the numbers of a step come from that only moves them.

    The position of each output number in the operands `roles`, counted through all of them, is
    `first` plus one number for each axis (`axes`), or one of `table`; negative for a fill value.

    Attributes:
        roles: Roles of the operands that the numbers come from.
        first: Position of the first one.
        axes: Keys of the tensors with the summands of each axis; None where there is a table.
        table: Key of the tensor with the positions themselves.
    """

    roles: list[str]
    first: int = 0
    axes: list[str] | None = None
    table: str | None = None


class SavedCoefficients(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Coefficients of a step as a sparse matrix: see `convtrace.tables.Coefficients`.

    Attributes:
        roles: Operands whose numbers are the columns.
        same: Pairs (axis of the output, axis of the operand) that are left out.
        starts: Key of the tensor with the beginnings of the rows.
        columns: Key of the tensor with the column of each entry.
        weights: Key of the tensor with the coefficients.
        fills: Key of the tensor with the numbers of rows without entries.
    """

    roles: list[str]
    same: list[tuple[int, int]]
    starts: str
    columns: str
    weights: str
    fills: str


class SavedCurve(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """An elementwise function in float64.

    Attributes:
        values: Key of the tensor with the function at each number of the operand.
        zeros: Key of the tensor with the function at zero.
    """

    values: str
    zeros: str


class SavedStep(msgspec.Struct, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """One step.

    Attributes:
        name: Name in addresses.
        kind: Canonical kind, e.g. `convolution`.
        status: `linear`, `selects`, `gates` or `opaque`.
        attributes: Canonical settings, as `pack` writes them.
        operands: Names of the tensors that it read, by role.
        output: What it made.
        module: Class name of the module that ran it, or None.
        arithmetic: Formats of its computation, or None.
        observed: Whether somebody reported the output; else receipts compute it.
        move: Where its numbers come from, if it only moves them.
        coefficients: Its coefficients, where PyTorch's derivative tells them.
        curve: Its function, where it works element by element.
    """

    name: str
    kind: str
    status: Literal["linear", "selects", "gates", "opaque"]
    attributes: dict[str, Any]
    operands: dict[str, str]
    output: SavedTensor
    module: str | None = None
    arithmetic: SavedArithmetic | None = None
    observed: bool = True
    move: SavedMove | None = None
    coefficients: SavedCoefficients | None = None
    curve: SavedCurve | None = None


class SavedTrace(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """The document of a saved trace.

    Attributes:
        reporter: Who computed the numbers.
        notes: Remarks on the run.
        inputs: Inputs of the run.
        parameters: Parameters, buffers and constants that steps read.
        steps: Steps in the order they ran.
        gradients: Steps of the backward pass.
        aliases: Other names of steps.
        convtrace: Version of convtrace that wrote it.
    """

    reporter: Literal["torch", "onnxruntime", "observed", "exact"]
    notes: list[str]
    inputs: list[SavedTensor]
    parameters: list[SavedTensor]
    steps: list[SavedStep]
    gradients: list[SavedStep]
    aliases: dict[str, str]
    convtrace: str
    format: Literal["convtrace.saved"] = "convtrace.saved"
    version: int = VERSION


# Settings ----------------------------------------------------------------------------------------


def pack(value: Any) -> Any:
    """Write a setting in terms of JSON, such that `unpack` returns it.

    Example:
        >>> pack((1, 2.0, float("inf"), None, 2**60))
        [1, 2.0, {'float': 'inf'}, None, {'int': '1152921504606846976'}]
    """
    if isinstance(value, bool | str) or value is None:
        return value
    if isinstance(value, np.generic):
        return pack(value.item())
    if isinstance(value, int):
        return value if abs(value) <= 2**53 else {"int": str(value)}
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, complex):
        return {"complex": [pack(value.real), pack(value.imag)]}
    if isinstance(value, list | tuple):
        return [pack(one) for one in value]  # pyright: ignore[reportUnknownVariableType]  # settings are of any type
    if isinstance(value, dict):
        return {"dict": {str(key): pack(one) for key, one in value.items()}}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]  # the same
    return {"text": str(value)}


def unpack(value: Any) -> Any:
    """Return the setting that `pack` wrote; lists become tuples.

    Raises:
        ValueError: It was not written by `pack`.

    Example:
        >>> unpack([1, 2.0, {"float": "inf"}, None, {"int": "1152921504606846976"}])
        (1, 2.0, inf, None, 1152921504606846976)
    """
    if isinstance(value, list):
        return tuple(unpack(one) for one in value)  # pyright: ignore[reportUnknownVariableType]  # of any type
    if not isinstance(value, dict):
        return value
    if len(value) == 1:  # pyright: ignore[reportUnknownArgumentType]  # the same
        ((form, held),) = value.items()  # pyright: ignore[reportUnknownVariableType]  # the same
        if form == "dict" and isinstance(held, dict):
            return {str(key): unpack(one) for key, one in held.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]  # the same
        if form == "complex" and isinstance(held, list) and len(held) == 2:  # pyright: ignore[reportUnknownArgumentType]  # the same
            return complex(*map(unpack, held))  # pyright: ignore[reportUnknownArgumentType]  # the same
        if form in ("int", "float", "text") and isinstance(held, str) and len(held) < 400:
            return {"int": int, "float": float, "text": str}[form](held)
    raise ValueError(f"not a setting: {value!r}"[:200])


# Element types that NumPy lacks ------------------------------------------------------------------


def decode(bits: NDArray[Any], dtype: str) -> NDArray[np.float64]:
    """Return the numbers that bits of one of `ENCODED` stand for, exactly.

    Sources:
        Micikevicius et al., FP8 formats for deep learning, arXiv:2209.05433; the `fnuz` types:
        Noune et al., arXiv:2206.02915; `e8m0fnu`: OCP Microscaling Formats, version 1.0.
    """
    if dtype == "bfloat16":
        wide = np.asarray(bits).astype(np.uint32) << np.uint32(16)
        with np.errstate(invalid="ignore"):
            return wide.view(np.float32).astype(np.float64)
    return _eight_bit_numbers(dtype)[bits]


def _eight_bits(exponent_bits: int, bias: int, *, unsigned_zero: bool) -> NDArray[np.float64]:
    """List the finite numbers of an 8-bit format by their bits."""
    mantissa_bits = 7 - exponent_bits
    found = np.zeros(256)
    for byte in range(256):
        sign = -1.0 if byte >> 7 else 1.0
        exponent = byte >> mantissa_bits & (1 << exponent_bits) - 1
        fraction = (byte & (1 << mantissa_bits) - 1) / (1 << mantissa_bits)
        if exponent:
            found[byte] = sign * math.ldexp(1 + fraction, exponent - bias)
        else:
            found[byte] = sign * math.ldexp(fraction, 1 - bias)
    if unsigned_zero:
        found[0x80] = np.nan
    return found


@functools.cache
def _eight_bit_numbers(dtype: str) -> NDArray[np.float64]:
    if dtype == "float8_e4m3fn":
        found = _eight_bits(4, 7, unsigned_zero=False)
        found[[0x7F, 0xFF]] = np.nan
    elif dtype == "float8_e5m2":
        found = _eight_bits(5, 15, unsigned_zero=False)
        for sign, infinity in ((0x00, np.inf), (0x80, -np.inf)):
            found[sign | 0x7C] = infinity
            found[sign | 0x7D : (sign | 0x7F) + 1] = np.nan
    elif dtype == "float8_e8m0fnu":
        found = np.ldexp(1.0, np.arange(256) - 127)
        found[0xFF] = np.nan
    else:
        exponent_bits, bias = (4, 8) if dtype == "float8_e4m3fnuz" else (5, 16)
        found = _eight_bits(exponent_bits, bias, unsigned_zero=True)
    return found
