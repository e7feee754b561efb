"""Printing lines of styled text on a console."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from rich.console import Console
from rich.text import Text

from convtrace.render.look import WIDTH

_LEAST = 60
"""Cells below which a terminal wraps lines itself, without losing a number."""


def print_lines(
    console: Console, lines: Callable[[int], Iterable[Text]], *, most: int = 120
) -> None:
    """Print lines, in colour where the console has any. They are never wrapped.

    Args:
        console: The console.
        lines: Returns the lines, for a number of cells.
        most: Cells of a line, however wide the terminal is.
    """
    width = min(max(console.width, _LEAST), most) if console.is_terminal else WIDTH
    for line in lines(width):
        console.print(line, soft_wrap=True, highlight=False)
