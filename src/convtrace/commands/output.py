"""Where verbs write: a console in the chosen colour and language, on any encoding."""

from __future__ import annotations

import codecs
import os
import sys
from typing import TYPE_CHECKING, Any

from convtrace.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

_PLAIN = {
    "−": "-",
    "×": "x",
    "·": "*",
    "…": "...",
    "→": "->",
    "←": "<-",
    "↓": "v",
    "≤": "<=",
    "≥": ">=",
    "≈": "~",
    "±": "+-",
    "√": "sqrt ",
    "Σ": "sum ",
    "γ": "gamma",
    "ε": "eps",
    "²": "^2",
    "—": "-",
    "–": "-",
    "│": "|",
    "─": "-",
    "⌊": "floor(",
    "⌋": ")",
    "⌈": "ceil(",
    "⌉": ")",
    "∞": "inf",
    "ν": "nu",
    "σ": "sigma",
    "’": "'",
    "“": '"',
    "”": '"',
    "•": "*",
    "›": ">",
    "↑": "^",
}
_HANDLER = "convtrace"


def _substitute(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = "".join(_PLAIN.get(c, "?") for c in error.object[error.start : error.end])
    return text, error.end


def prepare_streams() -> None:
    """Let output in an encoding without our signs write plain ones: a minus stays a minus.

    UTF-8, the rule, is left as it is.
    """
    codecs.register_error(_HANDLER, _substitute)
    for stream in (sys.stdout, sys.stderr):
        reconfigure: Any = getattr(stream, "reconfigure", None)
        if reconfigure is not None and not _is_unicode(stream):
            reconfigure(errors=_HANDLER)


def _is_unicode(stream: Any) -> bool:
    return (getattr(stream, "encoding", None) or "utf-8").lower().startswith("utf")


def choose_language(lang: str | None) -> str:
    """Return the language to write in: the asked one, or the locale's.

    Raises:
        UsageError: The output's encoding cannot show the language that was asked for.
    """
    from convtrace import catalog

    chosen = catalog.choose_language(lang)
    if chosen == "en" or _is_unicode(sys.stdout):
        return chosen
    try:
        "한국어".encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        if lang is None:
            return "en"
        raise UsageError(
            f"this output cannot show Korean: its encoding is {sys.stdout.encoding}\n"
            "  Set PYTHONUTF8=1 in the environment, or a UTF-8 locale such as LANG=ko_KR.UTF-8."
        ) from None
    return chosen


def make_console(color: str) -> Console:
    """Make the console for standard output.

    Args:
        color: `always`, `never`, or `auto`: on a terminal, unless NO_COLOR or FORCE_COLOR say
            otherwise.
    """
    from rich.console import Console

    if color == "never" or (color == "auto" and os.environ.get("NO_COLOR")):
        return Console(color_system=None, no_color=True, highlight=False, markup=False)
    forced = color == "always" or bool(os.environ.get("FORCE_COLOR"))
    console = Console(
        force_terminal=True if forced else None,
        no_color=False,
        highlight=False,
        markup=False,
    )
    if forced and console.color_system is None:
        console = Console(
            force_terminal=True,
            color_system="256",
            no_color=False,
            highlight=False,
            markup=False,
        )
    return console
