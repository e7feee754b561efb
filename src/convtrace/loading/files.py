"""Files before they are read: whether they can be, and what their first bytes say they are."""

from __future__ import annotations

import errno
import stat
import struct
import zipfile
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

from convtrace.errors import ConvtraceError, FileError, FileFormatError, MissingFileError

MAX_BYTES = 4 * 2**30
"""The most bytes of numbers that are read from one array. A guard against files that claim
or unpack to more than the machine holds."""

KINDS = {
    "npy": "a NumPy array (.npy)",
    "npz": "a NumPy archive (.npz)",
    "safetensors": "a safetensors file (.safetensors)",
    "torch": "a PyTorch file (.pt)",
    "torch-old": "a PyTorch file of the old format (.pt)",
    "torchscript": "a TorchScript archive (.pt)",
    "pickle": "a Python pickle",
    "zip": "a zip archive",
    "png": "a PNG image (.png)",
    "jpeg": "a JPEG image (.jpg)",
    "bmp": "a BMP image (.bmp)",
    "gif": "a GIF image (.gif)",
    "webp": "a WebP image (.webp)",
    "tiff": "a TIFF image (.tiff)",
    "hdf5": "an HDF5 file",
    "text": "plain text",
    "unknown": "a file of a format that convtrace does not know",
}
"""What `kind_of` can find, in words."""

IMAGES = frozenset({"png", "jpeg", "bmp", "gif", "webp", "tiff"})

_MAGIC = (
    (b"\x93NUMPY", "npy"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"BM", "bmp"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),
    (b"MM\0+", "tiff"),
    (b"\x89HDF\r\n\x1a\n", "hdf5"),
    # torch.save before PyTorch 1.6: the pickle of one fixed number, then more pickles.
    (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "torch-old"),
)


def shown(path: str | Path) -> str:
    """Return a path for a message, with anything that is not printable escaped."""
    text = str(path)
    return text if text.isprintable() else repr(text)


def nearest(name: str, names: Iterable[str]) -> list[str]:
    """Return up to three of `names` that look like `name`, best first."""
    import difflib

    return difflib.get_close_matches(name, list(names), n=3, cutoff=0.6)


def check_file(path: Path) -> int:
    """Make sure that a file is there and can be read.

    Returns:
        Its size in bytes, more than 0.

    Raises:
        MissingFileError: There is none; the message gives the nearest names.
        FileFormatError: It is a directory, no regular file, or empty.
        FileError: It may not be read.
    """
    try:
        info = path.stat()
        if stat.S_ISREG(info.st_mode):
            path.open("rb").close()
    except (FileNotFoundError, NotADirectoryError):
        raise MissingFileError(f"no such file: {shown(path)}\n  {_look_around(path)}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise FileError(
            f"cannot read {shown(path)}: {reason}\n  Check the name and its permissions."
        ) from error
    if stat.S_ISDIR(info.st_mode):
        raise FileFormatError(f"{shown(path)} is a directory, not a file\n  Name a file inside it.")
    if not stat.S_ISREG(info.st_mode):
        raise FileFormatError(
            f"{shown(path)} is not a regular file (a pipe, a socket or a device)\n"
            "  Write the data to a file first, and name that."
        )
    if info.st_size == 0:
        raise FileFormatError(
            f"{shown(path)} is empty: 0 bytes\n"
            "  Write it again; whatever made it stopped before it wrote anything."
        )
    return info.st_size


def _look_around(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"there is no directory {shown(folder)} either; this one is {shown(Path.cwd())}"
    near = nearest(path.name, sorted(entry.name for entry in folder.iterdir()))
    where = shown(folder.resolve())
    if near:
        return f"nearest names in {where}: {', '.join(shown(name) for name in near)}"
    return f"looked in {where}"


def kind_of(path: Path) -> str:
    """Tell a file's format from its content, as a key of `KINDS`."""
    with path.open("rb") as file:
        head = file.read(512)
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[:2] == b"PK":
        return _kind_of_zip(path)
    if len(head) > 8 and head[8:9] == b"{" and struct.unpack("<Q", head[:8])[0] < 2**32:
        return "safetensors"
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "pickle"
    if all(byte >= 32 or byte in b"\t\r\n\f" for byte in head):
        return "text"
    return "unknown"


def _kind_of_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return "zip"
    if any(name.endswith("/constants.pkl") for name in names):
        return "torchscript"
    if any(name.endswith("/data.pkl") for name in names):
        return "torch"
    if names and all(name.endswith(".npy") for name in names):
        return "npz"
    return "zip"


def is_broken_zip(path: Path) -> bool:
    """Whether a file begins like a zip archive and does not end like one."""
    with path.open("rb") as file:
        if file.read(2) != b"PK":
            return False
    try:
        return not zipfile.is_zipfile(path)
    except zipfile.BadZipFile:
        return True


def wrong_kind(path: Path, wanted: str, found: str) -> FileFormatError:
    """Make the error of a file whose content is not what its name says.

    Args:
        path: The file.
        wanted: What it should be, in words.
        found: What it is, as a key of `KINDS`.
    """
    if is_broken_zip(path):
        return FileFormatError(
            f"{shown(path)} is cut off or damaged\n"
            "  It begins like a zip archive, but the list of contents at its end is missing.\n"
            "  Copy or download it again."
        )
    return FileFormatError(
        f"{shown(path)} is not {wanted}\n"
        f"  By its content it is {KINDS[found]}.\n"
        "  Give the file the suffix of its own format, or name another file."
    )


@contextmanager
def reading(path: Path, what: str) -> Generator[None]:
    """Turn whatever a decoder raises into an error that names the file.

    Args:
        path: The file that is being read.
        what: What it is read as, in words.

    Raises:
        FileFormatError: The decoder could not make sense of the content.
        FileError: The system could not read it.
    """
    try:
        yield
    except (ConvtraceError, MemoryError):
        raise
    except Exception as error:
        # Damaged archives send readers to places before the file's beginning: EINVAL.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise FileError(f"cannot read {shown(path)}: {error.strerror}") from error
        reason = str(error).strip().split("\n")[0][:300] or "no reason given"
        raise FileFormatError(
            f"{shown(path)} cannot be read as {what}\n"
            f"  {type(error).__name__}: {reason}\n"
            "  It is cut off or damaged. Copy or download it again, or save it anew."
        ) from error


def check_size(what: str, size: int) -> None:
    """Raise `FileFormatError` if an array would take more than `MAX_BYTES`."""
    if size > MAX_BYTES:
        raise FileFormatError(
            f"{what} is too large: {size:,} bytes of numbers\n"
            f"  convtrace reads at most {MAX_BYTES:,} bytes from one array.\n"
            "  Cut out the part you ask about: one number depends on a small window only."
        )
