"""Frames as pixels, by Pillow: texts are made once, and only what moves is drawn again."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from PIL import Image, ImageChops, ImageDraw

from convtrace.render.animation.parts import Film
from convtrace.render.drawing.scene import Box, Label, Shape, Stroke
from convtrace.render.drawing.theme import Theme, mix, parse
from convtrace.render.pictures.font_files import drawable, font

CLEAR = 255
"""Place in the palette of what stays as it was."""


_EDGES = 12
"""Steps from a ground to the ink of letters on it."""


class Raster:
    """Draws the frames of a film.

    Args:
        film: What is drawn.
        theme: Its colours.
        lang: Language, which decides the font.
        scale: Pixels of a point.
        even: Whether the size is made even, as videos need.
    """

    def __init__(
        self, film: Film, theme: Theme, lang: str, scale: float, *, even: bool = False
    ) -> None:
        self._film, self._lang, self._scale, self._theme = film, lang, scale, theme
        size = [round(film.width * scale), round(film.height * scale)]
        if even:
            size = [side + side % 2 for side in size]
        self._size = (size[0], size[1])
        self._letters: dict[tuple[str, float, bool], tuple[Any, tuple[int, int], float]] = {}
        self._ground = Image.new("RGB", self._size, theme.ground)
        self._paint(self._ground, film.still)

    def frames(self) -> Iterator[Image.Image]:
        """Yield the frames in full colour."""
        kept = self._ground
        for moment, more in zip(self._film.moments, self._film.kept, strict=True):
            if more:
                kept = kept.copy()
                self._paint(kept, more)
            frame = kept.copy()
            self._paint(frame, moment)
            yield frame

    def few_colours(self, *, only_changes: bool = False) -> list[Image.Image]:
        """Return the frames with one palette.

        Args:
            only_changes: Whether pixels that stay as they were become `CLEAR`, so that a file
                holds, and a program decodes, only what moves.
        """
        frames = list(self.frames())
        palette = _palette(self._theme)
        found = [f.quantize(palette=palette, dither=Image.Dither.NONE) for f in frames]
        if not only_changes:
            return found
        changed = [found[0]]
        for before, after in itertools.pairwise(found):
            same = ImageChops.subtract_modulo(after, before).point([255, *(0,) * 255], "1")
            frame = after.copy()
            frame.paste(CLEAR, mask=same)
            changed.append(frame)
        return changed

    def _paint(self, image: Image.Image, shapes: Sequence[Shape]) -> None:
        draw = ImageDraw.Draw(image)
        for shape in shapes:
            if isinstance(shape, Label):
                self._write(image, shape)
            elif isinstance(shape, Box):
                self._box(draw, shape)
            else:
                self._lines(draw, shape)

    def _box(self, draw: ImageDraw.ImageDraw, box: Box) -> None:
        s = self._scale
        left, top = round(box.x * s), round(box.y * s)
        right, bottom = round((box.x + box.width) * s), round((box.y + box.height) * s)
        width = max(1, round(box.weight * s)) if box.stroke else 0
        corners = (left, top, max(right, left), max(bottom, top))
        draw.rectangle(corners, fill=box.fill, outline=box.stroke, width=width)

    def _lines(self, draw: ImageDraw.ImageDraw, stroke: Stroke) -> None:
        s = self._scale
        for line in stroke.lines:
            points = [(x * s, y * s) for x, y in line]
            if stroke.filled:
                draw.polygon(points, fill=stroke.ink)
            else:
                draw.line(points, fill=stroke.ink, width=max(1, round(stroke.weight * s)))

    def _write(self, image: Image.Image, label: Label) -> None:
        key = (label.text, label.size, label.bold)
        found = self._letters.get(key)
        if found is None:
            face = font(self._lang, label.size * self._scale, bold=label.bold)
            text = drawable(face, label.text)
            core, offset = face.getmask2(text, mode="L", anchor="ls")
            mask = Image.new("L", core.size)
            mask.im = core
            found = (mask, offset, face.getlength(text))
            self._letters[key] = found
        mask, (dx, dy), wide = found
        if not mask.size[0] or not mask.size[1]:
            return
        shift = {"start": 0.0, "middle": wide / 2, "end": wide}[label.anchor]
        left = round(label.x * self._scale - shift + dx)
        top = round(label.y * self._scale + dy)
        image.paste(label.ink, (left, top), mask)


def _palette(theme: Theme) -> Image.Image:
    """Return a palette: every colour of a theme, and the edges of letters on every ground."""
    grounds = [theme.ground, *map(theme.behind, (theme.window, theme.kernel, theme.sum))]
    inks = [theme.quiet, theme.window, theme.sum, theme.rule]
    pairs = [(ground, theme.ink) for ground in grounds] + [(theme.ground, ink) for ink in inks]
    edges = [mix(*pair, step / _EDGES) for pair in pairs for step in range(1, _EDGES + 1)]
    colours = dict.fromkeys([*grounds, theme.kernel, *edges])
    palette = Image.new("P", (1, 1))
    palette.putpalette([part for colour in colours for part in parse(colour)])
    return palette
