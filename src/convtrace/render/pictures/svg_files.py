"""SVG files of receipts, traces and splits: figures, and animations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convtrace.errors import UsageError
from convtrace.render.drawing.scene import Scene
from convtrace.render.pictures.drawn import receipt_scene, renderer, split_scene, trace_scene
from convtrace.render.pictures.svg import svg

if TYPE_CHECKING:
    from convtrace.graph import Trace


def svg_bytes(scene: Scene) -> bytes:
    """Write a drawing as an SVG file."""
    return svg(scene).encode("utf-8")


receipt_svg = renderer(receipt_scene, svg_bytes)
split_svg = renderer(split_scene, svg_bytes)
_still = renderer(trace_scene, svg_bytes)


def trace_svg(
    trace: Trace,
    *,
    lang: str = "en",
    theme: str = "light",
    figure: str = "stack",
    address: str | None = None,
    step: str | None = None,
    width: float | None = None,
    mono: bool | None = None,
    limit: int | None = None,
    sample: int | None = None,
    channel: int | None = None,
    depth: int | None = None,
    seconds: float | None = None,
    frames: int | None = None,
    loop: bool | None = None,
) -> bytes:
    """Write a figure of a trace, or an animation, as an SVG file.

    Args:
        trace: The run.
        lang: `en` or `ko`.
        theme: `light` or `dark`.
        figure: One of `drawn.FIGURES`, or `animation`.
        address: The number that a figure is about.
        step: The step that it is about.
        width: Width on paper, in millimetres.
        mono: Whether to draw a figure without colour.
        limit: Most terms of a receipt to show.
        sample: Of an animation: sample of the batch.
        channel: Of an animation: output channel.
        depth: Of an animation: output depth of a 3-d convolution.
        seconds: Of an animation: how long a frame is shown.
        frames: Of an animation: number of frames.
        loop: Of an animation: whether it starts again.

    Raises:
        UsageError: An option does not belong to that figure, or it cannot be drawn.
    """
    still = {"address": address, "mono": mono, "limit": limit}
    moving = {
        "sample": sample,
        "channel": channel,
        "depth": depth,
        "seconds": seconds,
        "frames": frames,
        "loop": loop,
    }
    moves = figure == "animation"
    for key, value in (still if moves else moving).items():
        if value is not None:
            raise UsageError(
                f"{key} = {value!r} is no option of figure={figure!r}\n"
                f"  Its options: {', '.join([*(moving if moves else still), 'step', 'width'])}."
            )
    chosen: dict[str, Any] = {
        key: value for key, value in (moving if moves else still).items() if value is not None
    }
    common: dict[str, Any] = {"lang": lang, "theme": theme, "step": step, "width": width}
    if moves:
        from convtrace.render.animation.files import trace_animated_svg

        return trace_animated_svg(trace, **common, **chosen)
    return _still(trace, figure=figure, **common, **chosen)
