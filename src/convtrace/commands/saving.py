"""Files for programs: `.npy` and `.json`, written whole or not at all."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
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
    if Path(file).suffix.lower() == ".npy":
        import numpy as np

        write_whole(file, lambda stream: np.save(stream, array, allow_pickle=False))
        return
    text = json.dumps(plain(document), ensure_ascii=False, allow_nan=False)
    write_whole(file, text.encode("utf-8") + b"\n")


def plain(value: Any) -> Any:
    """Return a document with NaN and infinities as texts."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(one) for one in value]  # pyright: ignore[reportUnknownVariableType]
    return value
