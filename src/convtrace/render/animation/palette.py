"""The few colours of an animation: those of its theme, and the edges of letters between them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convtrace.render.drawing.theme import Theme, mix, parse

CLEAR = 255
"""Place in the palette of what stays as it was."""

Pixels = NDArray[np.uint8]
"""Places in a palette."""

_EDGES = 12
"""Steps from a ground to the ink of letters on it."""


class Palette:
    """Every colour of a theme, and the edges of letters on every ground.

    Args:
        theme: The colours.
    """

    def __init__(self, theme: Theme) -> None:
        grounds = [theme.ground, *map(theme.behind, (theme.window, theme.kernel, theme.sum))]
        inks = [theme.quiet, theme.window, theme.sum, theme.rule]
        pairs = [(ground, theme.ink) for ground in grounds] + [(theme.ground, ink) for ink in inks]
        edges = [mix(*pair, step / _EDGES) for pair in pairs for step in range(1, _EDGES + 1)]
        colours = [parse(colour) for colour in dict.fromkeys([*grounds, theme.kernel, *edges])]
        self._colours = np.array(colours, dtype=np.uint32)
        self._image = Image.new("P", (1, 1))
        self._image.putpalette(bytes(self._colours.astype(np.uint8)))
        self._places: dict[str, int] = {}
        self._ramps: dict[tuple[int, str], Pixels] = {}

    @property
    def colours(self) -> bytes:
        """Red, green and blue of each, from 0 to 255."""
        return bytes(self._colours.astype(np.uint8))

    def place(self, colour: str) -> int:
        """Return the place of the colour that is nearest."""
        found = self._places.get(colour)
        if found is None:
            found = int(self._nearest(np.array([parse(colour)], dtype=np.uint32))[0])
            self._places[colour] = found
        return found

    def ramp(self, ground: int, ink: str) -> Pixels:
        """Return the places of the colours from a ground to an ink, in 256 steps.

        Args:
            ground: Place of the colour behind.
            ink: Colour of the letters.
        """
        found = self._ramps.get((ground, ink))
        if found is None:
            cover = np.arange(256, dtype=np.uint32)[:, None]
            both = cover * parse(ink) + (255 - cover) * self._colours[ground] + 128
            found = self._nearest((both + (both >> 8)) >> 8)  # what Pillow's paste rounds to
            found[0] = ground
            self._ramps[ground, ink] = found
        return found

    def image(self, pixels: Pixels) -> Image.Image:
        """Return a picture with this palette."""
        height, width = pixels.shape
        made = Image.frombytes("P", (width, height), pixels.tobytes())
        made.putpalette(self.colours)
        return made

    def _nearest(self, colours: NDArray[np.uint32]) -> Pixels:
        row = Image.frombytes("RGB", (len(colours), 1), bytes(colours.astype(np.uint8)))
        found = row.quantize(palette=self._image, dither=Image.Dither.NONE)
        return np.frombuffer(found.tobytes(), dtype=np.uint8).copy()
