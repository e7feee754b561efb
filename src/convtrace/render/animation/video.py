"""Videos, by PyAV (the extra `video`): MP4 with H.264 and WebM with VP9."""

from __future__ import annotations

import io
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import av
from PIL import Image

_CODECS = {
    "mp4": ("libx264", {"crf": "18", "bf": "0"}),  # else players cut the end off
    "webm": ("libvpx-vp9", {"crf": "24", "b": "0", "deadline": "good", "cpu-used": "5"}),
}

_RATE = 50
"""Parts of a second that times are counted in."""


def video(frames: Iterable[Image.Image], count: int, form: str, seconds: float, last: int) -> bytes:
    """Write frames as a video; each is stored once and stays until the next one.

    Args:
        frames: Pictures of one even size.
        count: How many there are.
        form: `mp4` or `webm`.
        seconds: How long each is shown.
        last: How many times as long the last one is shown.
    """
    codec, options = _CODECS[form]
    each = max(1, round(seconds * _RATE))
    stream = io.BytesIO()
    with av.open(stream, "w", format=form) as container:
        track: Any = container.add_stream(codec, rate=_RATE, options=options)
        track.pix_fmt = "yuv420p"
        for number, image in enumerate(frames):
            if number == 0:
                track.width, track.height = image.size
            starts = [number * each]
            if number == count - 1:
                starts.append((number + last) * each - 1)  # a video ends with its last frame
            for start in starts:
                picture = av.VideoFrame.from_image(image)
                picture.pts, picture.time_base = start, Fraction(1, _RATE)
                container.mux(track.encode(picture))
        container.mux(track.encode(None))
    return stream.getvalue()
