"""Colours of figures: one colour, one meaning, on a light or a dark ground, or in grey.

Okabe and Ito's set, which colour-blind readers can tell apart. Whatever a colour says also stands
in a heading, an outline or a hatching, so that a figure can be read in grey.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

WINDOW, KERNEL, SUM, WRONG = "#0072B2", "#E69F00", "#009E73", "#D55E00"
NEGATIVE = "#CC79A7"


@dataclass(frozen=True, slots=True)
class Theme:
    """The colours of a figure, each `#rrggbb`.

    Attributes:
        ground: Behind everything.
        ink: Texts and numbers.
        quiet: Texts that explain.
        rule: Thin lines between cells.
        window: The input window.
        kernel: The kernel.
        sum: Outputs and sums.
        wrong: A mismatch, NaN or infinity.
        positive, negative: The two ends of a scale whose zero is the ground.
        tint: How much of a colour lies behind numbers, from 0 to 1.
        grey: Whether every colour is turned into the grey of the same lightness.
    """

    ground: str
    ink: str
    quiet: str
    rule: str
    window: str
    kernel: str
    sum: str
    wrong: str
    positive: str
    negative: str
    tint: float
    grey: bool = False

    def behind(self, colour: str) -> str:
        """Return the colour that lies behind numbers of this meaning."""
        return mix(self.ground, colour, self.tint)

    def over(self, part: float) -> str:
        """Return the colour of a signed size, from −1 to 1, on the diverging scale."""
        colour = self.positive if part > 0 else self.negative
        return mix(self.ground, colour, min(abs(part), 1.0))


LIGHT = Theme(
    ground="#FFFFFF",
    ink="#1A1A1A",
    quiet="#595959",
    rule="#B8B8B8",
    window=WINDOW,
    kernel=KERNEL,
    sum="#007A59",
    wrong="#B84F00",
    positive=WINDOW,
    negative=NEGATIVE,
    tint=0.17,
)
DARK = Theme(
    ground="#17191D",
    ink="#F2F2F2",
    quiet="#B0B3B8",
    rule="#5A5E66",
    window="#56B4E9",
    kernel=KERNEL,
    sum="#2FC79B",
    wrong="#FF8A3D",
    positive="#56B4E9",
    negative=NEGATIVE,
    tint=0.28,
)


def theme_of(name: str, *, grey: bool = False) -> Theme:
    """Return the theme of a name, `light` or `dark`.

    Args:
        name: `light` or `dark`.
        grey: Whether to draw without colour, for print.
    """
    theme = DARK if name == "dark" else LIGHT
    if not grey:
        return theme
    names = "window kernel sum wrong positive".split()
    greys = {key: grey_of(getattr(theme, key)) for key in names}
    return replace(theme, **greys, negative=theme.quiet, grey=True)


@lru_cache(maxsize=4096)
def mix(one: str, other: str, part: float) -> str:
    """Return the colour that is `part` of the way from one to another.

    Example:
        >>> mix("#FFFFFF", "#0072B2", 0.5)
        '#80B9D9'
    """
    pairs = zip(parse(one), parse(other), strict=True)
    return "#" + "".join(f"{int(a + (b - a) * part + 0.5):02X}" for a, b in pairs)


def parse(colour: str) -> tuple[int, int, int]:
    """Return red, green and blue of `#rrggbb`, from 0 to 255."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def grey_of(colour: str) -> str:
    """Return the grey of the same lightness (luma of ITU-R BT.601, as printers use it)."""
    red, green, blue = parse(colour)
    level = int(0.299 * red + 0.587 * green + 0.114 * blue + 0.5)
    return "#" + f"{level:02X}" * 3


def ink_on(colour: str) -> str:
    """Return black or white, whichever reads better on a colour.

    Example:
        >>> ink_on("#E69F00"), ink_on("#0072B2")
        ('#000000', '#FFFFFF')
    """
    # Both contrast equally with a luminance of 0.18.
    return "#000000" if luminance(colour) > 0.179 else "#FFFFFF"


def luminance(colour: str) -> float:
    """Return the relative luminance of a colour, from 0 to 1, as WCAG 2.2 defines it."""
    parts = [part / 255 for part in parse(colour)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
