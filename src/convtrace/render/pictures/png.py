"""A drawing as PNG, by resvg."""

from __future__ import annotations

import resvg_py

from convtrace.errors import MissingDependencyError, UsageError
from convtrace.render.drawing.scene import Scene
from convtrace.render.pictures.drawn import receipt_scene, renderer, split_scene, trace_scene
from convtrace.render.pictures.fonts import family_for, spelled
from convtrace.render.pictures.svg import FONTS, svg

MOST_PIXELS = 40_000_000
"""Pixels of a picture; more would be a file that nobody opens."""

FEWEST_PIXELS = 16
"""Pixels of its width; fewer would be a blank."""


def png_bytes(scene: Scene, *, dpi: float = 192) -> bytes:
    """Write a drawing as a PNG file.

    Args:
        scene: The drawing.
        dpi: Pixels per inch.

    Raises:
        UsageError: `dpi` is no such number, or gives too many pixels.
        MissingDependencyError: No font has all letters.
    """
    if not isinstance(dpi, int | float) or not 0 < dpi < 10_000:  # pyright: ignore[reportUnnecessaryIsInstance]  # from a caller
        raise UsageError(f"dpi = {dpi!r}\n  It is pixels per inch, e.g. 96 or 300.")
    width, height = (round(side * scene.scale / 72 * dpi) for side in (scene.width, scene.height))
    if width < FEWEST_PIXELS:
        raise UsageError(
            f"a picture of {width} × {height} pixels at dpi = {dpi:g} is too small to read\n"
            "  Choose more dpi: 96 is that of a screen, 300 that of print."
        )
    if width * height > MOST_PIXELS:
        raise UsageError(
            f"a picture of {width} × {height} pixels at dpi = {dpi:g} is too large\n"
            "  Choose fewer dpi or a smaller width, or save as .svg or .pdf, which have no pixels."
        )
    scene, fonts = _written(scene)
    text = svg(scene, fonts=fonts)
    return resvg_py.svg_to_bytes(svg_string=text, dpi=96.0, width=max(width, 1))


def _written(scene: Scene) -> tuple[Scene, tuple[str, ...]]:
    """Return what can be written, and in which fonts.

    Where cairo is missing, resvg chooses a font for each letter.
    """
    try:
        return spelled(scene), (family_for(label.text for label in scene.labels), *FONTS)
    except MissingDependencyError:
        raise
    except (ImportError, OSError):
        return scene, FONTS


receipt_png = renderer(receipt_scene, png_bytes)
trace_png = renderer(trace_scene, png_bytes)
split_png = renderer(split_scene, png_bytes)
