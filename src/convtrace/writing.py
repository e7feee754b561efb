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
        FileError: Its folder is missing, or it is a folder itself.
    """
    path = Path(file)
    if not path.parent.is_dir():
        raise FileError(f"cannot write {file}: there is no folder {path.parent}\n  Make it first.")
    if path.is_dir():
        raise FileError(f"cannot write {file}: it is a folder\n  Give the name of a file.")
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
