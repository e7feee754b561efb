"""Saving a whole trace, such that it opens again without the model: `trace.save("x.convtrace")`."""

from __future__ import annotations

import bisect
import json
import math
import zipfile
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from convtrace import __version__, storage
from convtrace.rules.tabulate import table_of
from convtrace.step import Step, Unobserved, Value
from convtrace.tables import Coefficients, Curve

if TYPE_CHECKING:
    from convtrace.graph import Trace

_ALIGNMENT = 64
_PADDING = 0xD935
"""Kind of the extra field that aligns a member of a zip archive; readers skip it."""


def trace_convtrace(trace: Trace) -> Callable[[BinaryIO], None]:
    """Save a trace with all of its tensors.

    Args:
        trace: Any trace.

    Returns:
        What writes the archive to a stream.

    Raises:
        TensorChangedError: A tensor was overwritten since the trace.
    """
    tensors = _Tensors()
    steps = [*trace.steps.values(), *trace.gradients.values()]
    values = {v.name: v for v in (*trace.inputs.values(), *trace.parameters.values())}
    values |= {step.name: step.value for step in steps}
    tensors.add(values.values())
    document = storage.SavedTrace(
        reporter=trace.reporter,  # pyright: ignore[reportArgumentType]  # frontends set one of these
        notes=list(trace.notes),
        inputs=[tensors.saved(value) for value in trace.inputs.values()],
        parameters=[tensors.saved(value) for value in trace.parameters.values()],
        steps=[_step(step, tensors) for step in trace.steps.values()],
        gradients=[_step(step, tensors) for step in trace.gradients.values()],
        aliases=dict(trace.aliases),
        convtrace=__version__,
    )
    text = msgspec.json.encode(document)
    return lambda stream: _write(stream, text, tensors)


def _step(step: Step, tensors: _Tensors) -> storage.SavedStep:
    arithmetic = step.arithmetic
    table = table_of(step) if step.sources is None else None
    return storage.SavedStep(
        name=step.name,
        kind=step.kind,
        status=step.status,
        attributes={name: storage.pack(value) for name, value in step.attributes.items()},
        operands=dict(step.operands),
        output=tensors.saved(step.value),
        module=step.module,
        arithmetic=arithmetic
        and storage.SavedArithmetic(
            arithmetic.operands,
            arithmetic.accumulate,
            arithmetic.result,
            arithmetic.partial_sums,
            arithmetic.flushes,
        ),
        observed=not isinstance(step.value, Unobserved),
        move=_move(step, tensors),
        coefficients=_coefficients(step.name, table, tensors),
        curve=_curve(step.name, table, tensors),
    )


def _move(step: Step, tensors: _Tensors) -> storage.SavedMove | None:
    """Save where numbers come from: a sum over the axes where it is one, else a table."""
    if step.sources is None:
        return None
    places = np.asarray(step.sources())
    first = int(places.flat[0])
    lines = [
        places[tuple(slice(None) if a == axis else 0 for a in range(places.ndim))] - first
        for axis in range(places.ndim)
    ]
    total = np.asarray(first)
    for axis, line in enumerate(lines):
        along = [1] * places.ndim
        along[axis] = -1
        total = total + line.reshape(along)
    roles = list(step.moved)
    if np.array_equal(total, places):
        keys = [tensors.put(f"{step.name}#axis{axis}", line) for axis, line in enumerate(lines)]
        return storage.SavedMove(roles, first=first, axes=keys)
    return storage.SavedMove(roles, table=tensors.put(f"{step.name}#places", places))


def _coefficients(
    name: str, table: Coefficients | Curve | None, tensors: _Tensors
) -> storage.SavedCoefficients | None:
    if not isinstance(table, Coefficients):
        return None
    return storage.SavedCoefficients(
        roles=list(table.operands),
        same=list(table.same),
        starts=tensors.put(f"{name}#starts", table.starts),
        columns=tensors.put(f"{name}#columns", table.columns),
        weights=tensors.put(f"{name}#weights", table.weights),
        fills=tensors.put(f"{name}#fills", table.fills),
    )


def _curve(
    name: str, table: Coefficients | Curve | None, tensors: _Tensors
) -> storage.SavedCurve | None:
    if not isinstance(table, Curve):
        return None
    return storage.SavedCurve(
        values=tensors.put(f"{name}#values", table.values),
        zeros=tensors.put(f"{name}#zeros", table.zeros),
    )


# Tensors -----------------------------------------------------------------------------------------


class _Tensors:
    """Tensors of an archive: numbers that several of them share are there once.

    Attributes:
        arrays: Arrays by key.
        dtypes: Their types in safetensors, by key.
    """

    def __init__(self) -> None:
        self.arrays: dict[str, NDArray[Any]] = {}
        self.dtypes: dict[str, str] = {}
        self._places: dict[str, storage.Place] = {}
        self._starts: dict[str, list[int]] = {}
        self._owners: dict[str, list[tuple[int, int, str]]] = {}

    def put(self, key: str, array: NDArray[Any]) -> str:
        """Add an array that no tensor of the trace shares; return its key."""
        if array.dtype.kind == "i" and array.size:
            ends = (int(array.min()), int(array.max()))
            array = array.astype(np.result_type(*map(np.min_scalar_type, ends)))
        return self._own(key, array, storage.NATIVE[array.dtype.name][1])

    def add(self, values: Iterable[Value]) -> None:
        """Find a place for the numbers of tensors."""
        found: list[tuple[Value, NDArray[Any]]] = []
        for value in values:
            bits = None if isinstance(value, Unobserved) else _bits(value)
            if bits is not None:
                found.append((value, bits))
        # Whoever holds most owns its memory, and the others refer to it.
        found.sort(key=lambda one: (not one[1].flags.c_contiguous, -one[1].nbytes))
        for value, bits in found:
            self._places[value.name] = self._place(value, bits)

    def saved(self, value: Value) -> storage.SavedTensor:
        """Describe a tensor that was added."""
        return storage.SavedTensor(
            name=value.name,
            origin=value.origin,  # pyright: ignore[reportArgumentType]  # one of these four
            dtype=value.dtype,
            shape=list(value.shape),
            place=self._places.get(value.name),
            trained=value.is_parameter,
        )

    def _place(self, value: Value, bits: NDArray[Any]) -> storage.Place:
        dtype, size = value.dtype, bits.dtype.itemsize
        strides = [step // size for step in bits.strides]
        first, last = _span(bits)
        start = bits.__array_interface__["data"][0]
        owner = self._owner(dtype, first, last)
        straight = bits.flags.c_contiguous
        if owner is not None and all(step % size == 0 for step in bits.strides):
            begin, _, key = owner
            if (start - begin) % size == 0:
                offset = (start - begin) // size
                return storage.Place(key, offset, None if straight else strides)
        if straight:
            key = self._own(value.name, bits, storage.FORMS[dtype][1], dtype)
            if dtype not in storage.PAIRS:
                self._remember(dtype, first, last, key)
            return storage.Place(key)
        if (last - first) // size < bits.size and all(step % size == 0 for step in bits.strides):
            # Numbers that are repeated (an expanded tensor) are there once.
            whole = np.lib.stride_tricks.as_strided(
                np.flip(bits, tuple(a for a, step in enumerate(bits.strides) if step < 0)),
                ((last - first) // size,),
                (size,),
            )
            key = self._own(value.name, whole, storage.FORMS[dtype][1], dtype)
            return storage.Place(key, (start - first) // size, strides)
        if dtype in storage.PAIRS:
            return storage.Place(self._own(value.name, bits, storage.FORMS[dtype][1], dtype))
        # Axes in another order (channels last) keep it: sums are added in the order of memory.
        order = sorted(range(bits.ndim), key=lambda axis: -bits.strides[axis])
        inside = bits.transpose(order)
        dense = inside.flags.c_contiguous
        inside = np.ascontiguousarray(inside)
        key = self._own(value.name, inside, storage.FORMS[dtype][1], dtype)
        if dense:
            self._remember(dtype, first, last, key)
        kept = dict(zip(order, inside.strides, strict=True))
        return storage.Place(key, 0, [kept[axis] // size for axis in range(bits.ndim)])

    def _own(self, key: str, array: NDArray[Any], form: str, dtype: str = "") -> str:
        free, number = key, 1
        while free in self.arrays or free == "__metadata__":
            number += 1
            free = f"{key}#{number}"
        if dtype in storage.PAIRS:
            array = np.ascontiguousarray(array)
            array = array.view(storage.PAIRS[dtype][0]).reshape(*array.shape, 2)
        self.arrays[free], self.dtypes[free] = array, form
        return free

    def _owner(self, dtype: str, first: int, last: int) -> tuple[int, int, str] | None:
        number = bisect.bisect_right(self._starts.get(dtype, []), first) - 1
        if number < 0:
            return None
        owner = self._owners[dtype][number]
        return owner if last <= owner[1] else None

    def _remember(self, dtype: str, first: int, last: int, key: str) -> None:
        starts = self._starts.setdefault(dtype, [])
        number = bisect.bisect_right(starts, first)
        starts.insert(number, first)
        self._owners.setdefault(dtype, []).insert(number, (first, last, key))


def _span(bits: NDArray[Any]) -> tuple[int, int]:
    """Return where an array begins in memory, and where it ends."""
    start = bits.__array_interface__["data"][0]
    steps = [(size - 1) * step for size, step in zip(bits.shape, bits.strides, strict=True)]
    low, high = sum(min(step, 0) for step in steps), sum(max(step, 0) for step in steps)
    return start + low, start + high + bits.dtype.itemsize


def _bits(value: Value) -> NDArray[Any] | None:
    """Return the numbers of a tensor as NumPy holds them; None where they cannot be read."""
    value.check()
    if value.dtype not in storage.FORMS or 0 in value.shape:
        return None
    encoded = getattr(value.data, "bits", None)
    if isinstance(encoded, np.ndarray):
        return encoded
    array: Any = value.data
    if not isinstance(array, np.ndarray):
        import torch

        if array.layout is not torch.strided or array.is_meta:
            return None
        tensor = array.detach().resolve_conj().resolve_neg().cpu()
        if value.dtype in storage.ENCODED:
            tensor = tensor.view(torch.uint8 if tensor.element_size() == 1 else torch.int16)
        array = tensor.numpy()
    if value.dtype in storage.ENCODED:
        return array.view(storage.ENCODED[value.dtype][0])
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


# The archive -------------------------------------------------------------------------------------


def _write(stream: BinaryIO, text: bytes, tensors: _Tensors) -> None:
    order = sorted(tensors.arrays, key=lambda key: -tensors.arrays[key].dtype.itemsize)
    header = _header(order, tensors)
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(storage.DOCUMENT), text)
        member = zipfile.ZipInfo(storage.TENSORS)
        # The member begins after a header of 30 bytes, its name, and two extra fields: one of 20
        # bytes with its size, and this one, which moves the numbers to an aligned place.
        begins = stream.tell() + 30 + len(storage.TENSORS) + 20 + 4
        fill = -begins % _ALIGNMENT
        member.extra = _PADDING.to_bytes(2, "little") + fill.to_bytes(2, "little") + bytes(fill)
        with archive.open(member, "w", force_zip64=True) as out:
            out.write(len(header).to_bytes(8, "little") + header)
            for key in order:
                array = np.ascontiguousarray(tensors.arrays[key])
                if array.size:
                    out.write(array.reshape(-1).view(np.uint8).data)


def _header(order: Sequence[str], tensors: _Tensors) -> bytes:
    """Write the header of a safetensors file, padded so that the numbers are aligned."""
    entries: dict[str, Any] = {}
    end = 0
    for key in order:
        array = tensors.arrays[key]
        begin, end = end, end + math.prod(array.shape) * array.dtype.itemsize
        shape = list(array.shape)
        entries[key] = {"dtype": tensors.dtypes[key], "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    return text + b" " * (-(len(text) + 8) % _ALIGNMENT)
