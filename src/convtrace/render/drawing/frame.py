"""The last step of a figure: a margin, a ground, the size on paper, and whether it can be read."""

from __future__ import annotations

from convtrace.errors import UsageError
from convtrace.render.drawing.pen import SMALL
from convtrace.render.drawing.scene import MM, Block, Scene, padded
from convtrace.render.drawing.theme import Theme
from convtrace.render.look import name

MARGIN = 10.0
"""Room around a figure, in points."""

SMALLEST = 4.5
"""Letters that are smaller on paper, in points, are not drawn."""

USUAL = 820.0
"""Points that a figure may be wide if nothing was asked: what a screen shows."""

LARGEST = 2000.0
"""Longest side of a figure, in points: 70 cm."""

LARGEST_WIDTH = 2000.0
"""Widest figure that can be asked for, in millimetres."""


def frame(
    block: Block,
    theme: Theme,
    *,
    lang: str,
    title: str,
    description: str,
    width: float | None,
    instead: str,
) -> Scene:
    """Put a margin around a figure and give it its size.

    Args:
        block: The figure.
        theme: Its colours.
        lang: `en` or `ko`.
        title: What it shows.
        description: The same in words.
        width: Width on paper, in millimetres; None takes its natural size.
        instead: What to choose where the figure is too large to read.

    Raises:
        UsageError: The figure is too large, or its letters would be too small to read.
    """
    whole = padded(block, MARGIN, MARGIN, MARGIN, MARGIN)
    if max(whole.width, whole.height) > LARGEST:
        raise too_large(f"{whole.width / MM:.0f} × {whole.height / MM:.0f} mm", instead)
    scale = 1.0
    if width is not None:
        if not isinstance(width, int | float) or not 0 < width <= LARGEST_WIDTH:  # pyright: ignore[reportUnnecessaryIsInstance]  # from a caller
            raise UsageError(
                f"width = {width!r}\n"
                f"  It is in millimetres, above 0 and at most {LARGEST_WIDTH:.0f}: 85 is a column "
                "of a paper."
            )
        scale = width * MM / whole.width
    labels = [shape for shape in whole.shapes if hasattr(shape, "size")]
    smallest = min((label.size for label in labels), default=SMALLEST)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownArgumentType]  # those are labels
    if smallest * scale < SMALLEST - 1e-9:
        least = whole.width / MM * SMALLEST / smallest
        raise UsageError(
            f"a width of {width:g} mm makes the letters too small to read\n"
            f"  The smallest would be {smallest * scale:.1f} points high; {SMALLEST:g} can be read."
            f"\n  Give at least {least:.0f} mm, or leave width out: {whole.width / MM:.0f} mm.\n"
            f"  {instead}"
        )
    return Scene(
        whole.width,
        whole.height,
        whole.shapes,
        theme.ground,
        name(title),
        name(description),
        lang,
        scale,
    )


def room_for(width: float | None) -> float:
    """Return how wide a figure may be, in points, to be read on paper of a width in millimetres."""
    if not isinstance(width, int | float) or not 0 < width <= LARGEST_WIDTH:
        return USUAL
    return width * MM * (SMALL - 1) / SMALLEST - 2 * MARGIN


def too_large(what: str, instead: str) -> UsageError:
    """Say that a figure would be too large to read, and what to choose instead."""
    return UsageError(f"this figure would be too large to read: {what}\n  {instead}")
