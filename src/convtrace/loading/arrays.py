"""Reading an input: `.npy`, `.npz`, `.safetensors`, or an image."""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, cast

import numpy as np
import torch

from convtrace.errors import FileFormatError, UnsafeFileError, UsageError
from convtrace.loading.files import (
    IMAGES,
    KINDS,
    check_file,
    check_size,
    kind_of,
    nearest,
    reading,
    shown,
    wrong_kind,
)

Note = tuple[str, dict[str, Any]]
"""A remark: a key of the catalogue, and the values of its placeholders."""

Channels = Literal["file", "grey", "rgb"]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tiff", ".tif")
SUFFIXES = (".npy", ".npz", ".safetensors", *IMAGE_SUFFIXES)
"""Suffixes of the files that can be an input."""

_MEMBER = re.compile(r"(?P<path>.+?\.(?:npz|safetensors)):(?P<name>.+)", re.IGNORECASE | re.DOTALL)
_PICKLES = frozenset({"pickle", "torch", "torch-old", "torchscript"})


@dataclass(frozen=True)
class Loaded:
    """An array that was read.

    Attributes:
        tensor: The numbers, in the element type of the file.
        source: Where they come from, for people.
        notes: Remarks on how they were read.
        image: Whether they were read from an image.
    """

    tensor: torch.Tensor
    source: str
    notes: tuple[Note, ...] = ()
    image: bool = False


def survives(tensor: torch.Tensor, dtype: torch.dtype) -> bool:
    """Whether every number of a tensor stays what it is in another element type.

    Example:
        >>> import torch
        >>> survives(torch.tensor([0.5]), torch.float16), survives(torch.tensor([0.1]), torch.half)
        (True, False)
    """
    if tensor.dtype == dtype:
        return True
    if tensor.is_complex() and not dtype.is_complex:
        return False
    wide = torch.complex128 if dtype.is_complex else torch.float64
    before, after = tensor.to(wide), tensor.to(dtype).to(wide)
    return bool(((before == after) | (before.isnan() & after.isnan())).all())


def split_member(text: str) -> tuple[Path, str | None]:
    """Split `file.npz:name` into the file and the name of one array in it.

    Example:
        >>> split_member("runs/x.npz:image")[1], split_member("x.npy")[1]
        ('image', None)
    """
    match = _MEMBER.fullmatch(text)
    if match is None or Path(text).exists():
        return Path(text), None
    return Path(match["path"]), match["name"]


def read_array(text: str, channels: Channels = "file") -> Loaded:
    """Read one input.

    Args:
        text: Path of the file; `file.npz:name` or `file.safetensors:name` for one array of many.
        channels: For images: as in the file, or converted to one grey or three colour channels.

    Returns:
        The numbers. An image is float32 `(1, C, H, W)`, each pixel value divided by the largest
        that its format holds (255, or 65535 for 16 bits), so that it lies in 0 to 1.

    Raises:
        MissingFileError: There is no such file.
        FileFormatError: It is truncated, damaged, too large, or of another format than it says.
        UnsafeFileError: It is a pickle, or holds Python objects.
        UsageError: The suffix is unknown, or the array in the file is not named.
    """
    path, name = split_member(text)
    check_file(path)
    kind = kind_of(path)
    suffix = path.suffix.lower()
    if kind in _PICKLES:
        raise _pickled(path, kind)
    if suffix not in SUFFIXES:
        raise _unknown_suffix(path, kind)
    if suffix in IMAGE_SUFFIXES:
        if kind not in IMAGES:
            raise wrong_kind(path, "an image", kind)
        from convtrace.loading.images import read_image

        return read_image(path, channels)
    if suffix.removeprefix(".") != kind:
        raise wrong_kind(path, KINDS[suffix.removeprefix(".")], kind)
    if kind == "npy":
        return Loaded(_read_npy(path), shown(path))
    if kind == "npz":
        return _read_npz(path, name)
    return _read_safetensors(path, name)


def _read_npy(path: Path) -> torch.Tensor:
    with reading(path, KINDS["npy"]), path.open("rb") as file:
        return _decode(file, path.stat().st_size, shown(path))


def _read_npz(path: Path, name: str | None) -> Loaded:
    with reading(path, KINDS["npz"]), zipfile.ZipFile(path) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        chosen = _choose(path, name, dict.fromkeys(members, ""))
        info = members[chosen]
        label = f"{shown(path)}:{shown(chosen)}"
        check_size(label, info.file_size)
        with archive.open(info) as file:
            return Loaded(_decode(file, info.file_size, label), label)


def _read_safetensors(path: Path, name: str | None) -> Loaded:
    import safetensors

    safe_open = cast("Any", safetensors.safe_open)
    with reading(path, KINDS["safetensors"]), safe_open(path, framework="pt") as file:
        names: list[str] = list(file.keys())
        shapes = {key: str(tuple(file.get_slice(key).get_shape())) for key in names}
        chosen = _choose(path, name, shapes)
        label = f"{shown(path)}:{shown(chosen)}"
        part = file.get_slice(chosen)
        bits = re.search(r"\d+", part.get_dtype())  # F32, BF16, F8_E4M3, BOOL
        check_size(label, math.prod(part.get_shape()) * (int(bits[0]) if bits else 8) // 8)
        return Loaded(file.get_tensor(chosen), label)


def _decode(file: IO[bytes], size: int, label: str) -> torch.Tensor:
    """Decode one `.npy` stream of `size` bytes, after checking what its header claims."""
    version = np.lib.format.read_magic(file)  # pyright: ignore[reportUnknownMemberType]
    if version not in ((1, 0), (2, 0)):
        raise FileFormatError(
            f"{label} has .npy format version {version[0]}.{version[1]}\n"
            "  Only versions 1.0 and 2.0 hold plain numbers. Save it with numpy.save."
        )
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    else:
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
    if dtype.hasobject:
        raise UnsafeFileError(
            f"{label} holds Python objects, which are stored as a pickle\n"
            f"  dtype {dtype}, shape {shape}\n"
            "  Reading a pickle can run any code, so convtrace does not. Where you trust the "
            "file, save the numbers alone:\n"
            '  numpy.save("numbers.npy", numpy.array(objects, dtype="float32"))'
        )
    if dtype.kind not in "fiubc":
        hint = "It may be bfloat16, which .npy cannot name." if dtype.kind == "V" else ""
        raise FileFormatError(
            f"{label} holds no numbers that convtrace reads\n"
            f"  dtype {dtype}, shape {shape}\n"
            f"  {hint or 'Save it as float32 or as an integer type.'}"
            + ("\n  Save it as float32, or as safetensors." if hint else "")
        )
    claimed = math.prod(shape) * dtype.itemsize
    check_size(label, claimed)
    there = size - file.tell()
    if claimed != there:
        state = "is cut off" if there < claimed else "holds more than one array"
        raise FileFormatError(
            f"{label} {state}\n"
            f"  its header says shape {shape}, {dtype}: {claimed:,} bytes of numbers\n"
            f"  the file holds {there:,}\n"
            "  Copy or save it again."
        )
    flat = np.frombuffer(bytearray(file.read(claimed)), dtype=dtype)
    array = flat.reshape(shape, order="F" if fortran else "C")
    try:
        return torch.from_numpy(  # pyright: ignore[reportUnknownMemberType]
            np.ascontiguousarray(array, dtype.newbyteorder("=")).reshape(shape)
        )
    except TypeError:
        raise FileFormatError(
            f"{label} has a number type that PyTorch lacks: {dtype}\n"
            "  Save it as float64 or float32: numpy.save(path, array.astype('float64'))"
        ) from None


def _choose(path: Path, name: str | None, shapes: Mapping[str, str]) -> str:
    """Return the name of the array to read from a file of several."""
    suffix = path.suffix
    listed = ", ".join(f"{shown(key)} {shape}".strip() for key, shape in list(shapes.items())[:12])
    rest = f", and {len(shapes) - 12} more" if len(shapes) > 12 else ""
    if not shapes:
        raise FileFormatError(f"{shown(path)} holds no array\n  Save one into it.")
    if name is None:
        if len(shapes) == 1:
            return next(iter(shapes))
        raise UsageError(
            f"{shown(path)} holds {len(shapes)} arrays: {listed}{rest}\n"
            f"  Name the one to read: {shown(path)}:{shown(next(iter(shapes)))}"
        )
    if name not in shapes:
        near = nearest(name, shapes)
        hint = f"nearest names: {', '.join(map(shown, near))}" if near else f"it holds: {listed}"
        raise UsageError(
            f"{shown(path)} holds no array called {name!r}\n  {hint}{'' if near else rest}\n"
            f"  Write {shown(path.stem)}{suffix}:NAME with one of its names."
        )
    return name


def _pickled(path: Path, kind: str) -> UnsafeFileError:
    what = f"{shown(path)} is {KINDS[kind]}"
    if kind == "pickle":
        return UnsafeFileError(
            f"{what}; reading one can run any code\n"
            "  Where you trust the file, save its numbers once, then pass input.npy:\n"
            "  import numpy, pickle\n"
            f'  numpy.save("input.npy", numpy.asarray(pickle.load(open({str(path)!r}, "rb"))))'
        )
    return UnsafeFileError(
        f"{what}, which is a pickle inside; inputs are not read from one\n"
        "  Save the tensor as an array once, then pass input.npy:\n"
        "  import numpy, torch\n"
        f'  numpy.save("input.npy", torch.load({str(path)!r}, weights_only=True).numpy())'
    )


def _unknown_suffix(path: Path, kind: str) -> UsageError:
    known = KINDS[kind] if kind not in ("text", "unknown", "zip") else ""
    suffix = path.suffix or "(none)"
    return UsageError(
        f"cannot tell how to read {shown(path)}: suffix {shown(suffix)}\n"
        f"  inputs end in {' '.join(SUFFIXES)}"
        + (f"\n  By its content it is {known}: give it that suffix." if known else "")
    )
