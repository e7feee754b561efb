"""The archive of a saved trace: opened, checked, and mapped into memory."""

from __future__ import annotations

import json
import math
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from convtrace import storage
from convtrace.errors import FileError, FileFormatError
from convtrace.loading.files import check_file, check_size, kind_of, reading, shown, wrong_kind

WANTED = "a saved trace (.convtrace)"

_ITEMSIZES = {form: np.dtype(code).itemsize for code, form in storage.FORMS.values()}
_LONGEST_NAME = 1000
_MOST_AXES = 32


def broken(path: Path, what: str) -> FileFormatError:
    """Make the error of a file whose parts do not fit together."""
    clean = "".join(c if c.isprintable() else "?" for c in what)
    return FileFormatError(
        f"{shown(path)} is damaged, or was not written by convtrace\n"
        f"  {clean[:300]}\n"
        "  Save the trace again."
    )


@dataclass(frozen=True)
class Archive:
    """A saved trace on disk.

    Attributes:
        path: The file.
        document: What `trace.json` says.
        entries: Type, shape and first byte of each tensor, by key.
        memory: The whole file, mapped.
    """

    path: Path
    document: storage.SavedTrace
    entries: Mapping[str, tuple[str, tuple[int, ...], int]]
    memory: NDArray[np.uint8]

    def tensor(self, saved: storage.SavedTensor) -> NDArray[Any] | None:
        """Map a tensor of the trace; None where the file does not have its numbers."""
        self.check_shape(saved)
        if saved.place is None:
            return None
        if saved.dtype not in storage.FORMS:
            raise broken(self.path, f"{saved.name!r} is of the unknown type {saved.dtype!r}")
        code, form = storage.FORMS[saved.dtype]
        place, shape = saved.place, tuple(saved.shape)
        found = self._map(place.key, form, code)
        if saved.dtype in storage.PAIRS:
            found = found.reshape(-1).view(f"<c{2 * np.dtype(code).itemsize}")
            return self._fit(saved, found)
        return (
            self._fit(saved, found.reshape(-1))
            if place.strides is None
            else self._stride(saved, found.reshape(-1), place.strides, shape)
        )

    def _fit(self, saved: storage.SavedTensor, flat: NDArray[Any]) -> NDArray[Any]:
        assert saved.place is not None
        begin, count = saved.place.offset, math.prod(saved.shape)
        if begin < 0 or begin + count > flat.size:
            raise broken(self.path, f"the numbers of {saved.name!r} do not fit its shape")
        return flat[begin : begin + count].reshape(saved.shape)

    def _stride(
        self,
        saved: storage.SavedTensor,
        flat: NDArray[Any],
        strides: list[int],
        shape: tuple[int, ...],
    ) -> NDArray[Any]:
        assert saved.place is not None
        if len(strides) != len(shape):
            raise broken(self.path, f"the numbers of {saved.name!r} do not fit its shape")
        moves = [(size - 1) * step for size, step in zip(shape, strides, strict=True)]
        first = saved.place.offset + sum(min(move, 0) for move in moves)
        last = saved.place.offset + sum(max(move, 0) for move in moves)
        if first < 0 or last >= flat.size:
            raise broken(self.path, f"the numbers of {saved.name!r} do not fit its shape")
        size = flat.dtype.itemsize
        return np.lib.stride_tricks.as_strided(
            flat[saved.place.offset :], shape, tuple(step * size for step in strides)
        )

    def check_shape(self, saved: storage.SavedTensor) -> None:
        """Raise if a tensor claims to be of a size that no trace has."""
        name, shape = saved.name, saved.shape
        check_name(self.path, name)
        if len(shape) > _MOST_AXES or any(size < 0 for size in shape):
            raise broken(self.path, f"{name!r} has the shape {shape}")
        check_size(f"{name} in {shown(self.path)}", math.prod(shape))

    def shape(self, key: str) -> tuple[int, ...]:
        """Return the shape of a table."""
        if key not in self.entries:
            raise broken(self.path, f"{key!r} is missing from {storage.TENSORS}")
        return self.entries[key][1]

    def whole_numbers(self, key: str) -> NDArray[Any]:
        """Map a table of whole numbers, in int64 where it is signed."""
        form = self._form(key)
        codes = {form: code for code, form in storage.NATIVE.values()}
        if form not in codes or codes[form][1] not in "iu":
            raise broken(self.path, f"{key!r} holds no whole numbers")
        found = self._map(key, form, codes[form])
        return found.astype(np.int64) if codes[form][1:] == "u8" else found

    def floats(self, key: str) -> NDArray[np.float64]:
        """Map a table of float64 numbers."""
        return self._map(key, "F64", "<f8")

    def _form(self, key: str) -> str:
        self.shape(key)
        return self.entries[key][0]

    def _map(self, key: str, form: str, code: str) -> NDArray[Any]:
        if self._form(key) != form:
            raise broken(self.path, f"{key!r} is {self.entries[key][0]}, not {form}")
        _, shape, begin = self.entries[key]
        dtype = np.dtype(code)
        end = begin + math.prod(shape) * dtype.itemsize
        found = self.memory[begin:end].view(np.ndarray)
        if begin % dtype.itemsize:  # not written by us
            found = found.copy()
        return found.view(dtype).reshape(shape)


def open_archive(path: Path) -> Archive:
    """Open a saved trace and check everything that can be checked without reading its numbers.

    Raises:
        MissingFileError: There is no such file.
        FileFormatError: It is cut off, damaged, of another version or no saved trace.
        FileError: It may not be read.
    """
    size = check_file(path)
    if not zipfile.is_zipfile(path):
        raise wrong_kind(path, WANTED, kind_of(path))
    with reading(path, WANTED), path.open("rb") as stream, zipfile.ZipFile(stream) as archive:
        names = archive.namelist()
        if sorted(names) != sorted((storage.DOCUMENT, storage.TENSORS)):
            raise FileFormatError(
                f"{shown(path)} is not {WANTED}\n"
                f"  It holds {', '.join(map(repr, names[:6])) or 'nothing'} instead of "
                f"{storage.DOCUMENT} and {storage.TENSORS}.\n"
                '  trace.save("name.convtrace") writes such a file.'
            )
        text = _member(path, stream, archive.getinfo(storage.DOCUMENT), size)
        tensors = _member(path, stream, archive.getinfo(storage.TENSORS), size)
        if text.stop - text.start > storage.MAX_DOCUMENT:
            raise FileFormatError(
                f"{shown(path)} is too large: {storage.DOCUMENT} has "
                f"{text.stop - text.start:,} bytes\n"
                f"  convtrace reads at most {storage.MAX_DOCUMENT:,} of them."
            )
        document = _document(path, archive.read(storage.DOCUMENT))
        entries = _entries(path, stream, tensors)
    try:
        memory = np.memmap(path, dtype=np.uint8, mode="c")
    except (OSError, ValueError) as error:
        raise FileError(f"cannot read {shown(path)}: {error}") from error
    return Archive(path, document, entries, memory)


def _member(path: Path, stream: BinaryIO, info: zipfile.ZipInfo, size: int) -> range:
    """Return where the bytes of a member lie; nothing in a saved trace is compressed."""
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 0x1:
        raise broken(path, f"{info.filename} is compressed or encrypted")
    if info.file_size != info.compress_size:
        raise broken(path, f"{info.filename} claims two sizes")
    stream.seek(info.header_offset)
    head = stream.read(30)
    if len(head) < 30 or head[:4] != b"PK\x03\x04":
        raise broken(path, f"{info.filename} does not begin where it should")
    name, extra = struct.unpack("<HH", head[26:30])
    begin = info.header_offset + 30 + name + extra
    if begin + info.file_size > size:
        raise broken(path, f"{info.filename} goes on beyond the end of the file")
    return range(begin, begin + info.file_size)


def _document(path: Path, text: bytes) -> storage.SavedTrace:
    try:
        head = msgspec.json.decode(text, type=_Head)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise broken(path, f"{storage.DOCUMENT}: {error}") from error
    if head.format != "convtrace.saved" or head.version != storage.VERSION:
        raise FileFormatError(
            f"{shown(path)} is of another version\n"
            f"  it is {head.format[:40]!r}, version {head.version}; this is convtrace.saved, "
            f"version {storage.VERSION}\n"
            "  Open it with the convtrace that wrote it, or save the trace again."
        )
    try:
        document = msgspec.json.decode(text, type=storage.SavedTrace)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise broken(path, f"{storage.DOCUMENT}: {error}") from error
    for name in _names(document):
        check_name(path, name)
    return document


class _Head(msgspec.Struct):
    format: str = ""
    version: int = 0


def _names(document: storage.SavedTrace) -> list[str]:
    """List the texts of a document that readers see."""
    found = [*document.notes, *document.aliases]
    for step in (*document.steps, *document.gradients):
        found += [step.name, step.kind, *step.operands, *step.attributes]
        found += [step.module] if step.module is not None else []
    return found


def check_name(path: Path, name: str) -> None:
    """Raise if a name could do harm on a terminal or a page."""
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise broken(path, f"not a name: {name[:60]!r}")


def _entries(
    path: Path, stream: BinaryIO, member: range
) -> dict[str, tuple[str, tuple[int, ...], int]]:
    """Read the header of a safetensors file: type, shape and first byte of each tensor."""
    size = len(member)
    stream.seek(member.start)
    length = int.from_bytes(stream.read(8), "little")
    if size < 8 or length > min(size - 8, storage.MAX_DOCUMENT):
        raise broken(path, f"{storage.TENSORS} is cut off")
    try:
        header: Any = json.loads(stream.read(length))
    except (ValueError, RecursionError) as error:
        raise broken(path, f"{storage.TENSORS}: {error}") from error
    if not isinstance(header, dict):
        raise broken(path, f"{storage.TENSORS} has no list of tensors")
    begins = member.start + 8 + length
    found: dict[str, tuple[str, tuple[int, ...], int]] = {}
    for key, entry in header.items():  # pyright: ignore[reportUnknownVariableType]  # JSON of a stranger
        if key == "__metadata__":
            continue
        try:
            one = msgspec.convert(entry, _Entry)
        except msgspec.ValidationError as error:
            raise broken(path, f"{key!r} in {storage.TENSORS}: {error}") from error
        first, last = one.data_offsets
        count = math.prod(one.shape) if len(one.shape) <= _MOST_AXES else -1
        if (
            min(one.shape, default=0) < 0
            or one.dtype not in _ITEMSIZES
            or count * _ITEMSIZES[one.dtype] != last - first
            or not 0 <= first <= last <= size - 8 - length
        ):
            raise broken(path, f"{key!r} in {storage.TENSORS} does not fit its size")
        found[str(key)] = (one.dtype, tuple(one.shape), begins + first)  # pyright: ignore[reportUnknownArgumentType]  # the same
    return found


class _Entry(msgspec.Struct):
    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]
