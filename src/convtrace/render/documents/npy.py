"""The terms of a split as an array (.npy), with every digit."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from convtrace.errors import UsageError
from convtrace.render.text.contributions import array, maps_of

if TYPE_CHECKING:
    from convtrace.split import Split


def split_npy(split: Split, *, of: str | None = None) -> bytes:
    """Write the terms of one tensor as an array of float64, of the tensor's shape.

    Args:
        split: What `trace.contributions` returned.
        of: Name of the tensor; it may be left out where there is one.

    Raises:
        UsageError: There is no such tensor, or it has to be said which one.
    """
    maps = maps_of(split, None)
    if of is None and len(maps) == 1:
        (of,) = maps
    if of not in maps:
        asked = "it must be said which terms are meant" if of is None else f"there is no {of!r}"
        raise UsageError(
            f"cannot save this split as .npy: {asked}\n"
            f"  of = one of: {', '.join(map(repr, maps)) or 'none, there are only biases'}.\n"
            "  A .json file holds all of them, and the biases."
        )
    stream = io.BytesIO()
    np.save(stream, array(maps[of]), allow_pickle=False)
    return stream.getvalue()
