"""Files for programs: `.npy` and `.json`, written whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from convtrace.errors import UsageError
from convtrace.writing import check_writable, write_whole

SUFFIXES = (".npy", ".json")


def check_output(file: str | None) -> None:
    """Raise, before anything slow, if a file of this name cannot be written.

    Raises:
        UsageError: Its suffix is none of `.npy` and `.json`.
        FileError: Its folder is missing, or it is a folder itself.
    """
    if file is None:
        return
    path = Path(file)
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"--output {file}: the suffix picks the format, and this one picks none\n"
            "  Give a name that ends in .npy (an array) or .json (everything)."
        )
    check_writable(path)


def save(file: str, document: bytes, array: Any) -> None:
    """Write the array as `.npy`, or the document as `.json`, as the suffix says.

    Args:
        file: Name of the file.
        document: The text of the document.
        array: A NumPy array.

    Raises:
        FileError: It could not be written. What was there before is unchanged then.
    """
    if Path(file).suffix.lower() == ".npy":
        import numpy as np

        write_whole(file, lambda stream: np.save(stream, array, allow_pickle=False))
        return
    write_whole(file, document)
