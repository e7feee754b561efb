"""What the text renderer's parts share: language, digits, width, and what each colour means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len

from convtrace.address import Address
from convtrace.catalog import say
from convtrace.receipt import Receipt
from convtrace.render.numbers import DIGITS, Shown, identify, show
from convtrace.step import Number

WIDTH = 80
"""Cells of a line of text. Only a line that cannot be parted, such as an address, is longer."""

UNBROKEN = 100_000
"""Cells that no sentence reaches: for drawings, which break lines by their own measure."""

# Okabe and Ito's set, one colour for one meaning; whatever a colour says is also in the text.
WINDOW = "#0072B2"
KERNEL = "#E69F00"
SUM = "#009E73"
WRONG = "bold #D55E00"
QUIET = "dim"

PADDING = "·"
"""Stands where a kernel number meets no input. It is no number, as a 0 in the input is one."""


@dataclass(frozen=True, slots=True)
class Look:
    """How a receipt is to be written.

    Attributes:
        lang: `en` or `ko`.
        digits: Significant digits of rounded numbers; None shows all.
        narrow: Whether the numbers may be float32 (see `Scale`).
        width: Cells of a line.
    """

    lang: str
    digits: int | None = DIGITS
    narrow: bool = True
    width: int = WIDTH

    @classmethod
    def of(cls, receipt: Receipt, lang: str, limit: int | None, width: int) -> Look:
        """Choose the look of a receipt: all terms come with all digits."""
        arithmetic = receipt.arithmetic
        narrow = arithmetic is None or arithmetic.operands != "float64"
        return cls(lang, None if limit is None else DIGITS, narrow, width)

    def say(self, key: str, **values: Any) -> str:
        """Return a message of the catalogue."""
        return say(key, self.lang, **values)

    def show(self, value: Number) -> Shown:
        """Write a number that stands alone."""
        return show(value, self.digits, narrow=self.narrow)

    def identify(self, value: Number) -> Shown:
        """Write a number with as many digits as tell it from every other one."""
        return identify(value, narrow=self.narrow)

    def wrap(self, text: str, indent: str = "") -> list[str]:
        """Break a sentence into lines of at most `width` cells, at blanks."""
        lines: list[str] = []
        line = indent
        for word in text.split(" "):
            if line.strip() and cell_len(line) + 1 + cell_len(word) > self.width:
                lines.append(line)
                line = indent
            line += (" " if line.strip() else "") + word
        return [one.replace(FIXED, " ") for one in [*lines, line]]


FIXED = "\u00a0"
"""A blank at which no line is broken: formulas use it."""


def keep(text: str) -> str:
    """Protect a formula from being broken over two lines."""
    return text.replace(" ", FIXED)


def name(text: str | Address) -> str:
    r"""Write a name or an address from a model, in which anything may stand, on one plain line.

    Example:
        >>> print(name("conv1"), name("a\x1b[2Jb"))
        conv1 a\x1b[2Jb
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def kind_name(kind: str) -> str:
    """Write the kind of a step: PyTorch's internal names as people know them.

    Example:
        >>> kind_name("max_pool2d_with_indices"), kind_name("native_batch_norm")
        ('max_pool2d', 'batch_norm')
    """
    if kind.startswith("scaled_dot_product"):
        return "attention"
    return name(kind.removeprefix("native_").removesuffix("_with_indices"))
