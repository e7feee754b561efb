"""Frames as pixels of few colours: a letter is made once, and only what moves is drawn again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from convtrace.render.animation.palette import Palette, Pixels
from convtrace.render.animation.parts import Film
from convtrace.render.drawing.scene import Box, Label, Shape, Stroke
from convtrace.render.drawing.theme import Theme
from convtrace.render.pictures.font_files import drawable, font


@dataclass(frozen=True, slots=True)
class _Ink:
    """What a letter or a text covers.

    Attributes:
        cover: How much of each pixel, from 0 to 255.
        left, top: Its upper left corner, from the start of the text on its baseline.
        wide: How far the next letter is from its start.
    """

    cover: Pixels
    left: int
    top: int
    wide: float


class Raster:
    """Draws the frames of a film.

    Args:
        film: What is drawn.
        theme: Its colours.
        lang: Language, which decides the font.
        scale: Pixels of a point.
        even: Whether the size is made even, as videos need.

    Attributes:
        palette: The colours.
    """

    def __init__(
        self, film: Film, theme: Theme, lang: str, scale: float, *, even: bool = False
    ) -> None:
        self._film, self._lang, self._scale = film, lang, scale
        width, height = round(film.width * scale), round(film.height * scale)
        if even:
            width, height = width + width % 2, height + height % 2
        self.palette = Palette(theme)
        self._letters: dict[tuple[str, float, bool], _Ink] = {}
        self._texts: dict[tuple[str, float, bool], _Ink] = {}
        self._written: dict[tuple[str, float, bool, str, int], Pixels] = {}
        self._ground = np.full((height, width), self.palette.place(theme.ground), dtype=np.uint8)
        self._paint(self._ground, film.still)

    def pixels(self) -> Iterator[Pixels]:
        """Yield the frames as places in the palette, [height, width]."""
        kept = self._ground.copy()
        for moment, more in zip(self._film.moments, self._film.kept, strict=True):
            self._paint(kept, more)
            frame = kept.copy()
            self._paint(frame, moment)
            yield frame

    def frames(self) -> Iterator[Image.Image]:
        """Yield the frames as pictures with one palette."""
        return map(self.palette.image, self.pixels())

    def _paint(self, pixels: Pixels, shapes: Sequence[Shape]) -> None:
        for shape in shapes:
            if isinstance(shape, Label):
                self._write(pixels, shape)
            elif isinstance(shape, Box):
                self._box(pixels, shape)
            else:
                self._lines(pixels, shape)

    def _box(self, pixels: Pixels, box: Box) -> None:
        s = self._scale
        left, top = max(round(box.x * s), 0), max(round(box.y * s), 0)
        right = max(round((box.x + box.width) * s), left) + 1
        bottom = max(round((box.y + box.height) * s), top) + 1
        inside = pixels[top:bottom, left:right]
        if box.fill:
            inside[:] = self.palette.place(box.fill)
        if box.stroke:
            wide = max(1, round(box.weight * s))
            ink = self.palette.place(box.stroke)
            inside[:wide] = inside[-wide:] = ink
            inside[:, :wide] = inside[:, -wide:] = ink

    def _lines(self, pixels: Pixels, stroke: Stroke) -> None:
        s = self._scale
        every = [(x * s, y * s) for line in stroke.lines for x, y in line]
        if not every:
            return
        wide = max(1, round(stroke.weight * s))
        left, top = (max(int(min(axis)) - wide, 0) for axis in zip(*every, strict=True))
        right, bottom = (int(max(axis)) + wide + 1 for axis in zip(*every, strict=True))
        around = pixels[top:bottom, left:right]
        height, width = around.shape
        image = Image.frombytes("L", (width, height), around.tobytes())
        draw, ink = ImageDraw.Draw(image), self.palette.place(stroke.ink)
        for line in stroke.lines:
            points = [(x * s - left, y * s - top) for x, y in line]
            if stroke.filled:
                draw.polygon(points, fill=ink)
            else:
                draw.line(points, fill=ink, width=wide)
        around[:] = np.frombuffer(image.tobytes(), dtype=np.uint8).reshape(around.shape)

    def _write(self, pixels: Pixels, label: Label) -> None:
        key = (label.text, label.size, label.bold)
        ink = self._texts.get(key)
        if ink is None:
            ink = self._texts[key] = self._text(*key)
        shift = {"start": 0.0, "middle": ink.wide / 2, "end": ink.wide}[label.anchor]
        left = max(round(label.x * self._scale - shift + ink.left), 0)
        top = max(round(label.y * self._scale + ink.top), 0)
        height, width = ink.cover.shape
        under = pixels[top : top + height, left : left + width]
        if not under.size:
            return
        flat = under.tobytes()
        first = flat[0]
        if len(flat) == ink.cover.size and flat.count(first) == len(flat):
            written = self._written.get((*key, label.ink, first))
            if written is None:
                written = self.palette.ramp(first, label.ink)[ink.cover]
                self._written[*key, label.ink, first] = written
            under[:] = written
            return
        cover = ink.cover[: under.shape[0], : under.shape[1]]
        for ground in np.unique(under).tolist():
            here = under == ground
            under[here] = self.palette.ramp(ground, label.ink)[cover[here]]

    def _text(self, text: str, size: float, bold: bool) -> _Ink:
        """Put the letters of a text side by side."""
        face = font(self._lang, size * self._scale, bold=bold)
        letters: list[tuple[int, _Ink]] = []
        at = 0.0
        for letter in drawable(face, text):
            ink = self._letters.get((letter, size, bold))
            if ink is None:
                core, (left, top) = face.getmask2(letter, mode="L", anchor="ls")
                cover = np.array(core, dtype=np.uint8).reshape(core.size[::-1])
                ink = _Ink(cover, left, top, face.getlength(letter))
                self._letters[letter, size, bold] = ink
            if ink.cover.size:
                letters.append((round(at) + ink.left, ink))
            at += ink.wide
        if not letters:
            return _Ink(np.zeros((0, 0), np.uint8), 0, 0, at)
        start, top = letters[0][0], letters[0][1].top
        end, low = start, top
        for x, ink in letters:
            height, width = ink.cover.shape
            start, end = min(start, x), max(end, x + width)
            top, low = min(top, ink.top), max(low, ink.top + height)
        cover = np.zeros((low - top, end - start), np.uint8)
        for x, ink in letters:
            height, width = ink.cover.shape
            y = ink.top - top
            part = cover[y : y + height, x - start : x - start + width]
            np.maximum(part, ink.cover, out=part)
        return _Ink(cover, start, top, at)
