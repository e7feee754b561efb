"""Animations of a convolution: `.gif`, `.apng`, `.webp`, `.mp4`, `.webm` and animated `.svg`.

The window walks over the input, the products of each channel are added, and the output fills up.
Every number comes from the receipt of its output.

The renderers share their options:

    step     name of a convolution; None takes the first
    sample   sample of the batch
    channel  output channel
    depth    output depth of a 3-d convolution
    width    width of the picture in pixels; None takes its natural size
    seconds  how long a frame is shown
    frames   number of frames, spread evenly over the output; None shows every position
    loop     whether it starts again (not for videos)
"""

from __future__ import annotations

import io
from typing import Any

from convtrace.errors import UsageError
from convtrace.graph import Trace
from convtrace.render.animation.film import make_film
from convtrace.render.animation.parts import Film
from convtrace.render.animation.raster import CLEAR, Raster
from convtrace.render.drawing.scene import MM, Scene
from convtrace.render.drawing.theme import theme_of
from convtrace.render.pictures.svg import elements, svg

SECONDS = 0.8
"""How long a frame is shown, unless asked otherwise."""

LAST = 3
"""The last frame is shown so many times as long."""

_PIXELS = 1.25
"""Pixels of a point, in the natural size."""

_WIDTHS = (64, 4096)


def trace_gif(
    trace: Trace,
    *,
    lang: str = "en",
    theme: str = "light",
    step: str | None = None,
    sample: int = 0,
    channel: int = 0,
    depth: int = 0,
    width: int | None = None,
    seconds: float = SECONDS,
    frames: int | None = None,
    loop: bool = True,
) -> bytes:
    """Write an animation as GIF. The options are those of the module."""
    film = _film(trace, lang, theme, step, sample, channel, depth, frames)
    return _pillow(film, "GIF", lang, theme, width, seconds, loop=loop)


def trace_apng(
    trace: Trace,
    *,
    lang: str = "en",
    theme: str = "light",
    step: str | None = None,
    sample: int = 0,
    channel: int = 0,
    depth: int = 0,
    width: int | None = None,
    seconds: float = SECONDS,
    frames: int | None = None,
    loop: bool = True,
) -> bytes:
    """Write an animation as APNG. The options are those of the module."""
    film = _film(trace, lang, theme, step, sample, channel, depth, frames)
    return _pillow(film, "PNG", lang, theme, width, seconds, loop=loop)


def trace_webp(
    trace: Trace,
    *,
    lang: str = "en",
    theme: str = "light",
    step: str | None = None,
    sample: int = 0,
    channel: int = 0,
    depth: int = 0,
    width: int | None = None,
    seconds: float = SECONDS,
    frames: int | None = None,
    loop: bool = True,
) -> bytes:
    """Write an animation as WebP, without loss. The options are those of the module."""
    film = _film(trace, lang, theme, step, sample, channel, depth, frames)
    return _pillow(film, "WEBP", lang, theme, width, seconds, loop=loop)


def trace_mp4(
    trace: Trace,
    *,
    lang: str = "en",
    theme: str = "light",
    step: str | None = None,
    sample: int = 0,
    channel: int = 0,
    depth: int = 0,
    width: int | None = None,
    seconds: float = SECONDS,
    frames: int | None = None,
) -> bytes:
    """Write an animation as MP4 (H.264). The options are those of the module."""
    film = _film(trace, lang, theme, step, sample, channel, depth, frames)
    return _video(film, "mp4", lang, theme, width, seconds)


def trace_webm(
    trace: Trace,
    *,
    lang: str = "en",
    theme: str = "light",
    step: str | None = None,
    sample: int = 0,
    channel: int = 0,
    depth: int = 0,
    width: int | None = None,
    seconds: float = SECONDS,
    frames: int | None = None,
) -> bytes:
    """Write an animation as WebM (VP9). The options are those of the module."""
    film = _film(trace, lang, theme, step, sample, channel, depth, frames)
    return _video(film, "webm", lang, theme, width, seconds)


def trace_animated_svg(
    trace: Trace,
    *,
    lang: str = "en",
    theme: str = "light",
    step: str | None = None,
    sample: int = 0,
    channel: int = 0,
    depth: int = 0,
    width: float | None = None,
    seconds: float = SECONDS,
    frames: int | None = None,
    loop: bool = True,
) -> bytes:
    """Write an animation as one SVG; a reader who wants no motion sees its last frame.

    The options are those of the module, but `width` is in millimetres, as for other drawings.
    """
    film = _film(trace, lang, theme, step, sample, channel, depth, frames)
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
    ground = theme_of(theme).ground
    scene = Scene(
        film.width, film.height, tuple(film.still), ground, film.title, film.title, lang, scale
    )
    return svg(scene).replace("</svg>", "\n".join([*lines, "</svg>"])).encode("utf-8")


def _film(
    trace: Trace,
    lang: str,
    theme: str,
    step: str | None,
    sample: int,
    channel: int,
    depth: int,
    frames: int | None,
) -> Film:
    return make_film(
        trace, lang=lang, theme=theme, step=step, sample=sample, channel=channel, depth=depth,
        frames=frames,
    )  # fmt: skip


def _pillow(
    film: Film,
    form: str,
    lang: str,
    theme: str,
    width: int | None,
    seconds: float,
    *,
    loop: bool,
) -> bytes:
    _check_seconds(seconds)
    raster = Raster(film, theme_of(theme), lang, _scale(film, width))
    if form == "WEBP":
        first, *others = raster.frames()
    else:
        first, *others = raster.few_colours(only_changes=form == "GIF")
    each = max(10, round(seconds * 1000))
    options: dict[str, Any] = {
        "GIF": {"optimize": False, "disposal": 1, "transparency": CLEAR},
        "PNG": {},
        "WEBP": {"lossless": True, "quality": 20, "method": 1},
    }[form]
    times = [each] * len(others) + [LAST * each]
    if form == "GIF":  # without a number of loops, a GIF is shown once
        options |= {"loop": 0} if loop else {}
    else:
        options["loop"] = 0 if loop else 1
    stream = io.BytesIO()
    first.save(
        stream, form, save_all=True, append_images=others,
        duration=times if others else times[0], **options,
    )  # fmt: skip
    return stream.getvalue()


def _video(
    film: Film, form: str, lang: str, theme: str, width: int | None, seconds: float
) -> bytes:
    from convtrace.render.animation.video import video

    _check_seconds(seconds)
    raster = Raster(film, theme_of(theme), lang, _scale(film, width), even=True)
    return video(raster.frames(), len(film.moments), form, seconds, LAST)


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
