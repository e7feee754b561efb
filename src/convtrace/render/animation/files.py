"""Animations of a convolution: `.gif`, `.apng`, `.webp`, `.mp4`, `.webm` and animated `.svg`.

The window walks over the input, the products of each channel are added, and the output fills up.
Every number comes from the receipt of its output.

The renderers take the options of `make_film`, and of how the film is written:

    width    width of the picture in pixels (of an SVG, in millimetres); None takes its natural size
    seconds  how long a frame is shown
    loop     whether it starts again (not for videos)
"""

from __future__ import annotations

import io
from functools import partial
from typing import Any

from convtrace.errors import UsageError
from convtrace.render.animation.film import make_film
from convtrace.render.animation.gif import gif
from convtrace.render.animation.parts import Film
from convtrace.render.animation.raster import Raster
from convtrace.render.drawing.scene import MM, Scene
from convtrace.render.pictures.drawn import renderer
from convtrace.render.pictures.svg import elements, svg

SECONDS = 0.8
"""How long a frame is shown, unless asked otherwise."""

LAST = 3
"""The last frame is shown so many times as long."""

_PIXELS = 1.25
"""Pixels of a point, in the natural size."""

_WIDTHS = (64, 4096)


def _pillow(
    form: str,
    film: Film,
    /,
    *,
    width: int | None = None,
    seconds: float = SECONDS,
    loop: bool = True,
) -> bytes:
    """Write pictures with Pillow."""
    _check_seconds(seconds)
    raster = Raster(film, film.theme, film.lang, _scale(film, width))
    options: dict[str, Any] = {
        "PNG": {},
        "WEBP": {"lossless": True, "quality": 20, "method": 1},
    }[form]
    first, *others = raster.frames()
    times = _times(len(film.moments), round(seconds * 1000), 10)
    stream = io.BytesIO()
    first.save(
        stream, form, save_all=True, append_images=others,
        duration=times if others else times[0], loop=0 if loop else 1, **options,
    )  # fmt: skip
    return stream.getvalue()


def _gif(
    film: Film, *, width: int | None = None, seconds: float = SECONDS, loop: bool = True
) -> bytes:
    _check_seconds(seconds)
    raster = Raster(film, film.theme, film.lang, _scale(film, width))
    times = _times(len(film.moments), int(round(seconds * 1000) / 10), 1)
    return gif(raster.pixels(), raster.palette.colours, times, loop=loop)


def _times(count: int, each: int, least: int) -> list[int]:
    """Return how long each of so many frames is shown."""
    each = max(least, each)
    return [each] * (count - 1) + [LAST * each]


def _video(
    form: str, film: Film, /, *, width: int | None = None, seconds: float = SECONDS
) -> bytes:
    """Write a video."""
    from convtrace.render.animation.video import video

    _check_seconds(seconds)
    raster = Raster(film, film.theme, film.lang, _scale(film, width), even=True)
    pictures = (frame.convert("RGB") for frame in raster.frames())
    return video(pictures, len(film.moments), form, seconds, LAST)


def _svg(
    film: Film, *, width: float | None = None, seconds: float = SECONDS, loop: bool = True
) -> bytes:
    """Write one SVG; a reader who wants no motion sees its last frame."""
    _check_seconds(seconds)
    count = len(film.moments)
    whole = (count - 1 + LAST) * seconds
    times = "infinite" if loop else "1"
    lines = [f"<style>.m,.k{{animation:{whole:g}s step-end {times} both}}"]
    for number in range(count):
        start = 100 * number * seconds / whole
        end = 100 * (number + 1) * seconds / whole
        stay = "visible" if number == count - 1 else "hidden"
        before = "0%{visibility:hidden}" if number else ""
        after = f"{end:.4f}%{{visibility:{stay}}}" if number < count - 1 else ""
        lines.append(
            f"@keyframes m{number}{{{before}{start:.4f}%{{visibility:visible}}{after}"
            f"100%{{visibility:{stay}}}}}"
            f"@keyframes k{number}{{{before}{start:.4f}%{{visibility:visible}}"
            "100%{visibility:visible}}"
        )
    lines.append(
        f"@media(prefers-reduced-motion:reduce){{.m,.k{{animation:none!important}}"
        f".m:not(.m{count - 1}){{visibility:hidden}}}}</style>"
    )
    for number, kept in enumerate(film.kept):
        lines.append(f'<g class="k" style="animation-name:k{number}">')
        lines += [*elements(kept), "</g>"]
    for number, moment in enumerate(film.moments):
        lines.append(f'<g class="m m{number}" style="animation-name:m{number}">')
        lines += [*elements(moment), "</g>"]
    scale = 1.0 if width is None else width * MM / film.width
    scene = Scene(
        film.width, film.height, tuple(film.still), film.theme.ground, film.title, film.title,
        film.lang, scale,
    )  # fmt: skip
    return svg(scene).replace("</svg>", "\n".join([*lines, "</svg>"])).encode("utf-8")


def _scale(film: Film, width: int | None) -> float:
    """Return the pixels of a point."""
    if width is None:
        return _PIXELS
    low, high = _WIDTHS
    if not low <= width <= high:
        raise UsageError(f"width = {width}\n  In pixels, from {low} to {high}.")
    return width / film.width


def _check_seconds(seconds: float) -> None:
    if not isinstance(seconds, int | float) or not 0.02 <= seconds <= 60:  # pyright: ignore[reportUnnecessaryIsInstance]  # from a caller
        raise UsageError(
            f"seconds = {seconds!r}\n  How long a frame is shown: from 0.02 to 60 seconds."
        )


trace_gif = renderer(make_film, _gif)
trace_apng = renderer(make_film, partial(_pillow, "PNG"))
trace_webp = renderer(make_film, partial(_pillow, "WEBP"))
trace_mp4 = renderer(make_film, partial(_video, "mp4"))
trace_webm = renderer(make_film, partial(_video, "webm"))
trace_animated_svg = renderer(make_film, _svg)
