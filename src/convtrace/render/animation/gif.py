"""GIF files: frames of one palette, each only what changed; the pixels are coded by Pillow.

Pillow's own animations repeat the palette in every frame and compare them once more.

Sources:
    CompuServe, Graphics Interchange Format, version 89a, 1990; NETSCAPE2.0 is the extension that
    says how often a file is shown.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image

from convtrace.render.animation.palette import CLEAR, Pixels

_FOREVER = b"!\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00"
_STAYS = 1 << 2
"""How a frame ends: it is left where it is."""


def gif(frames: Iterable[Pixels], colours: bytes, times: Sequence[int], *, loop: bool) -> bytes:
    """Write an animation.

    Args:
        frames: Places in the palette, all of one size.
        colours: Red, green and blue of the palette; place `CLEAR` is not in use.
        times: How long each frame is shown, in hundredths of a second.
        loop: Whether it starts again.
    """
    parts: list[bytes] = []
    before: Pixels | None = None
    for frame, time in zip(frames, times, strict=True):
        if before is None:
            height, width = frame.shape
            size = _short(width) + _short(height)
            parts += [b"GIF89a", size, b"\xf7\x00\x00", colours.ljust(768, b"\x00")]
            parts += [_FOREVER] if loop else []
            left, top, part = 0, 0, frame
        else:
            left, top, part = _changed(before, frame)
        shown = bytes((_STAYS | (before is not None),)) + _short(time) + bytes((CLEAR,))
        parts += [b"!\xf9\x04", shown, b"\x00,", _short(left), _short(top)]
        parts += [_short(part.shape[1]), _short(part.shape[0]), b"\x00", _coded(part)]
        before = frame
    return b"".join([*parts, b";"])


def _changed(before: Pixels, after: Pixels) -> tuple[int, int, Pixels]:
    """Return the corner of what changed, and its pixels, `CLEAR` where they did not."""
    differs = before != after
    rows, columns = differs.any(axis=1).nonzero()[0], differs.any(axis=0).nonzero()[0]
    if not len(rows):
        return 0, 0, np.full((1, 1), CLEAR, dtype=np.uint8)
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    same = differs[box].view(np.uint8) - np.uint8(1)  # every bit set, as in CLEAR
    return int(columns[0]), int(rows[0]), after[box] | same


def _coded(pixels: Pixels) -> bytes:
    """Return the coded pixels of a picture: what its own file holds behind its head."""
    height, width = pixels.shape
    image = Image.frombytes("L", (width, height), pixels.tobytes())
    stream = io.BytesIO()
    image.save(stream, "GIF", optimize=False, interlace=0)
    whole = stream.getvalue()
    table = 3 << ((whole[10] & 7) + 1) if whole[10] & 0x80 else 0
    head = 13 + table
    assert whole[head : head + 1] == b","
    return whole[head + 10 : -1]


def _short(number: int) -> bytes:
    return number.to_bytes(2, "little")
