"""Files for programs: `.npy` and `.json`, written whole or not at all."""

from __future__ import annotations

import contextlib
import json
import math
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from convtrace.errors import FileError, UsageError

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
    if not path.parent.is_dir():
        raise FileError(f"cannot write {file}: there is no folder {path.parent}\n  Make it first.")
    if path.is_dir():
        raise FileError(f"cannot write {file}: it is a folder\n  Give the name of a file.")


def save(file: str, document: Any, array: Any) -> None:
    """Write the array as `.npy`, or the document as `.json`, as the suffix says.

    Args:
        file: Name of the file.
        document: Made of dicts, lists, texts and numbers. NaN and infinities are written as the
            texts `NaN`, `Infinity` and `-Infinity`.
        array: A NumPy array.

    Raises:
        FileError: It could not be written. What was there before is unchanged then.
    """
    path = Path(file)
    beside = ""
    try:
        number, beside = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        with os.fdopen(number, "wb") as stream:
            if path.suffix.lower() == ".npy":
                import numpy as np

                np.save(stream, array, allow_pickle=False)
            else:
                text = json.dumps(plain(document), ensure_ascii=False, allow_nan=False)
                stream.write(text.encode("utf-8") + b"\n")
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(beside, 0o666 & ~mask)  # noqa: PTH101  (a temporary file is its owner's alone)
        os.replace(beside, path)  # noqa: PTH105
        beside = ""
    except OSError as error:
        reason = error.strerror or str(error)
        raise FileError(f"cannot write {file}: {reason}") from error
    finally:
        if beside:
            with contextlib.suppress(OSError):
                Path(beside).unlink()


def plain(value: Any) -> Any:
    """Return a document with NaN and infinities as texts."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(one) for one in value]  # pyright: ignore[reportUnknownVariableType]
    return value
