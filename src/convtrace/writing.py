"""Files written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from convtrace.errors import FileError


def check_writable(file: str | os.PathLike[str]) -> Path:
    """Raise, before anything slow, if a file of this name cannot be written.

    Args:
        file: Name of the file.

    Raises:
        FileError: It has no name, its folder is missing or takes no files, it is a folder itself,
            or no file can be called that.
    """
    if not str(file):
        raise FileError("cannot write a file without a name\n  Give the name of a file.")
    path = Path(file)
    if "\0" in str(path):
        raise FileError(
            f"cannot write {file}: no name of a file holds the character 0\n  Give it another name."
        )
    try:
        has_folder, is_folder = path.parent.is_dir(), path.is_dir()
        path.exists()  # asks for the name itself, which may be longer than the disk allows
    except OSError as error:
        reason = error.strerror or str(error)
        raise FileError(f"cannot write {file}: {reason}\n  Give it another name.") from error
    if not has_folder:
        raise FileError(f"cannot write {file}: there is no folder {path.parent}\n  Make it first.")
    if is_folder:
        raise FileError(f"cannot write {file}: it is a folder\n  Give the name of a file.")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass  # permissions alone do not tell, e.g. on a disk that is only to be read
    except OSError as error:
        raise FileError(
            f"cannot write {file}: no file can be made in the folder {path.parent}: "
            f"{error.strerror or error}\n  Choose another folder."
        ) from error
    return path


def write_whole(file: str | os.PathLike[str], content: bytes | Callable[[BinaryIO], Any]) -> None:
    """Write a file beside its place and move it there when it is complete.

    Args:
        file: Name of the file.
        content: The bytes, or a function that writes them to the stream that it is given.

    Raises:
        FileError: It could not be written. What was there before is unchanged then.
    """
    path = check_writable(file)
    beside = ""
    try:
        number, beside = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        with os.fdopen(number, "wb") as stream:
            if isinstance(content, bytes):
                stream.write(content)
            else:
                content(stream)
        mask = os.umask(0)
        os.umask(mask)
        Path(beside).chmod(0o666 & ~mask)  # a temporary file is its owner's alone
        Path(beside).replace(path)
        beside = ""
    except OSError as error:
        reason = error.strerror or str(error)
        raise FileError(
            f"cannot write {file}: {reason}\n  What was there before is unchanged."
        ) from error
    finally:
        if beside:
            with contextlib.suppress(OSError):
                Path(beside).unlink()
