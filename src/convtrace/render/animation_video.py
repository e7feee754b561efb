"""Videos, by PyAV (the extra `video`): MP4 with H.264 and WebM with VP9."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

import av
from PIL import Image

_CODECS = {"mp4": ("libx264", {"crf": "18"}), "webm": ("libvpx-vp9", {"crf": "24", "b": "0"})}

_RATE = 10
"""Frames of the video in a second; players stumble over much less."""


def video(frames: Iterable[Image.Image], count: int, form: str, seconds: float, last: int) -> bytes:
    """Write frames as a video.

    Args:
        frames: Pictures of one even size.
        count: How many there are.
        form: `mp4` or `webm`.
        seconds: How long each is shown, rounded to tenths.
        last: How many times as long the last one is shown.
    """
    codec, options = _CODECS[form]
    repeat = max(1, round(seconds * _RATE))
    stream = io.BytesIO()
    with av.open(stream, "w", format=form) as container:
        track: Any = container.add_stream(codec, rate=_RATE, options=options)
        track.pix_fmt = "yuv420p"
        for number, image in enumerate(frames):
            if number == 0:
                track.width, track.height = image.size
            picture = av.VideoFrame.from_image(image)
            for _ in range(repeat * (last if number == count - 1 else 1)):
                container.mux(track.encode(picture))
        container.mux(track.encode(None))
    return stream.getvalue()
