"""The font of a picture: the first that has every letter, so that none is drawn as an empty box."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from typing import Any

from convtrace.errors import MissingDependencyError
from convtrace.render.drawing.measure import FIGURE, POINT
from convtrace.render.drawing.scene import Label, Scene

FAMILIES = (
    "Noto Sans CJK KR",
    "Noto Sans KR",
    "Source Han Sans K",
    "Apple SD Gothic Neo",
    "Malgun Gothic",
    "NanumGothic",
    "Helvetica",
    "Arial",
    "DejaVu Sans",
)
"""Fonts that are looked for, those with Korean first."""

FLOOR = "⌊⌋"
"""The signs for rounding down, which few fonts with Korean have: they may come from another one."""


def family_for(texts: Iterable[str]) -> str:
    """Return the name of an installed font that has all letters of these texts but `FLOOR`.

    Raises:
        MissingDependencyError: None of `FAMILIES` has; the message names the letters.
        ImportError: cairocffi is not installed.
        OSError: The cairo library is not installed.
    """
    letters = set().union(*map(set, texts)) - {FIGURE, POINT, *FLOOR}
    text = "".join(sorted(letter for letter in letters if not letter.isspace()))
    fewest = text
    for family in FAMILIES:
        missing = _missing(family, text)
        if not missing:
            return family
        fewest = min(fewest, missing, key=len)
    raise MissingDependencyError(
        f"no font on this machine has {len(fewest)} of the letters of this figure: {fewest[:20]}\n"
        f"  looked for: {', '.join(FAMILIES)}\n"
        "  Install one that has them, e.g. apt-get install fonts-noto-cjk, or save as .svg or "
        ".html,\n  which the reader's own fonts are used for."
    )


def settled(scene: Scene, family: str) -> Scene:
    """Move padded numbers to their places, as measured in a font, and drop the padding.

    Cairo does not take the blanks that number columns are padded with for as wide as digits. Nor
    does it look for a letter in another font: `FLOOR` becomes texts of their own, or a word.
    """
    shapes = [
        piece
        for shape in spelled(scene).shapes
        for piece in (_settled(shape, family) if isinstance(shape, Label) else (shape,))
    ]
    return replace(scene, shapes=tuple(shapes))


def spelled(scene: Scene) -> Scene:
    """Write rounding down as a word where no font has the signs for it."""
    if _with_floor() is not None or not any(set(FLOOR) & {*one.text} for one in scene.labels):
        return scene
    shapes = [
        replace(shape, text=shape.text.replace("⌊", "floor(").replace("⌋", ")"))
        if isinstance(shape, Label)
        else shape
        for shape in scene.shapes
    ]
    return replace(scene, shapes=tuple(shapes))


@lru_cache(maxsize=1)
def _with_floor() -> str | None:
    """Return a font that has `FLOOR`."""
    return next((family for family in FAMILIES if not _missing(family, FLOOR)), None)


def _settled(label: Label, family: str) -> Iterable[Label]:
    bare = label.text.rstrip(FIGURE + POINT)
    if bare != label.text:
        pad = label.text[len(bare) :].replace(FIGURE, "0").replace(POINT, ".")
        width = _advance(family, pad, label.bold) * label.size
        label = replace(label, text=bare, x=label.x - width)
    other = _with_floor()
    if label.anchor != "start" or other is None or not set(FLOOR) & {*label.text}:
        return (label,)
    if not _missing(family, FLOOR):
        return (label,)
    pieces: list[Label] = []
    x = label.x
    for text in re.split(f"([{FLOOR}])", label.text):
        font = other if text in FLOOR else ""
        if text:
            pieces.append(replace(label, x=x, text=text, font=font))
            x += _advance(font or family, text, label.bold) * label.size
    return pieces


@lru_cache(maxsize=256)
def _advance(family: str, text: str, bold: bool) -> float:
    """Return the width of a text, as a part of the size."""
    return float(_context(family, bold).text_extents(text)[4]) / _LARGE


@lru_cache(maxsize=256)
def _missing(family: str, text: str) -> str:
    """Return the letters that a font lacks."""
    font = _context(family, False).get_scaled_font()
    return "".join(
        letter
        for letter in text
        if font.text_to_glyphs(0, 0, letter, with_clusters=False)[0][0] == 0
    )


_LARGE = 1000.0
"""Size at which fonts are measured, so that no hinting is in the way."""


def _context(family: str, bold: bool) -> Any:
    import cairocffi  # pyright: ignore[reportMissingTypeStubs]  # it has none

    surface = cairocffi.RecordingSurface(cairocffi.CONTENT_COLOR, None)
    context = cairocffi.Context(surface)
    weight = cairocffi.FONT_WEIGHT_BOLD if bold else cairocffi.FONT_WEIGHT_NORMAL
    context.select_font_face(family, weight=weight)
    context.set_font_size(_LARGE)
    return context
