"""Texts for TeX: nothing that a model is called can become a command."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

_SPECIAL = {
    "\\": "\\textbackslash{}",
    "{": "\\{",
    "}": "\\}",
    "$": "\\$",
    "&": "\\&",
    "#": "\\#",
    "%": "\\%",
    "_": "\\_",
    "^": "\\textasciicircum{}",
    "~": "\\textasciitilde{}",
    "<": "\\textless{}",
    ">": "\\textgreater{}",
    "|": "\\textbar{}",
    '"': "{''}",
    "`": "\\textasciigrave{}",
    "'": "\\textquotesingle{}",
    "-": "{-}",  # two of them would become a dash
    "−": "$-$",
    "×": "$\\times$",
    "·": "$\\cdot$",
    "≈": "$\\approx$",
    "≤": "$\\le$",
    "≥": "$\\ge$",
    "±": "$\\pm$",
    "…": "\\dots{}",
    "→": "$\\to$",
    "←": "$\\leftarrow$",
    "↓": "$\\downarrow$",
    "↑": "$\\uparrow$",
    "Σ": "$\\Sigma$",
    "γ": "$\\gamma$",
    "ν": "$\\nu$",
    "σ": "$\\sigma$",
    "∞": "$\\infty$",
    "√": "$\\sqrt{\\,}$",
    "²": "$^2$",
    "⌊": "$\\lfloor$",
    "⌋": "$\\rfloor$",
    "—": "---",
    "–": "--",
    "’": "{'}",
    "“": "{``}",
    "”": "{''}",
    "\u00a0": "~",
}


def escape_tex(text: str) -> str:
    r"""Write any text so that TeX shows it and does nothing else.

    Example:
        >>> print(escape_tex("conv_1[0,0] = −2 \\input"))
        conv\_1[0,0] = $-$2 \textbackslash{}input
    """
    return "".join(_SPECIAL.get(letter, letter) for letter in text)


def needs_unicode(texts: Iterable[str]) -> bool:
    """Return whether a text has letters that only xelatex can set, such as Korean."""
    return any(ord(letter) > 126 and not known(letter) for text in texts for letter in text)


def known(letter: str) -> bool:
    """Return whether a letter beyond ASCII is written as a command."""
    return letter in _SPECIAL or unicodedata.category(letter) == "Zs"


def preamble_of_fonts(unicode: bool) -> list[str]:
    """Return the lines of a preamble that choose the fonts.

    Args:
        unicode: Whether there are letters that only xelatex can set.
    """
    if not unicode:
        return [
            "\\usepackage{textcomp}",
            "\\IfFileExists{lmodern.sty}{\\usepackage[T1]{fontenc}\\usepackage{lmodern}}"
            "{\\usepackage{fix-cm}}",
        ]
    font = "Noto Sans CJK KR"
    return [
        "\\usepackage{fontspec}",
        f"\\setmainfont{{{font}}}",
        f"\\setsansfont{{{font}}}",
    ]
