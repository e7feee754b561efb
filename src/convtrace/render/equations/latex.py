"""A receipt for LaTeX: as an equation, or as a drawing in TikZ."""

from __future__ import annotations

from convtrace.errors import UsageError
from convtrace.receipt import Receipt
from convtrace.render.equations.equation import LIMIT, remarks, rows
from convtrace.render.equations.tex import escape_tex, needs_unicode, preamble_of_fonts
from convtrace.render.figures.receipt import look_of
from convtrace.render.pictures.drawn import receipt_scene
from convtrace.render.pictures.tikz import tikz_bytes
from convtrace.render.text.receipt import receipt_line


def receipt_tex(
    receipt: Receipt,
    *,
    lang: str = "en",
    theme: str = "light",
    figure: str = "receipt",
    width: float | None = None,
    mono: bool = False,
    limit: int | None = None,
    document: bool = True,
) -> bytes:
    """Write a receipt as a file of LaTeX.

    Args:
        receipt: The receipt.
        lang: `en` or `ko`.
        theme: `light` or `dark`, for the drawing.
        figure: `receipt`, the drawing in TikZ, or `equation`.
        width: Width of the drawing, in millimetres.
        mono: Whether to draw without colour.
        limit: Most terms to show; None chooses.
        document: Whether to write a whole document, or what is put into one.

    Raises:
        UsageError: There is no such figure, or an equation was given a width.
    """
    if figure == "receipt":
        scene = receipt_scene(receipt, lang=lang, theme=theme, width=width, mono=mono, limit=limit)
        return tikz_bytes(scene, document=document)
    if figure != "equation":
        raise UsageError(
            f"a receipt has no figure {figure!r} in LaTeX\n  Choose 'receipt' or 'equation'."
        )
    if width is not None:
        raise UsageError(
            f"width = {width!r} is for drawings, and figure='equation' is text\n"
            "  Leave width out, or choose figure='receipt'."
        )
    return equation_text(receipt, lang, limit or LIMIT, document=document).encode("utf-8")


def equation_text(
    receipt: Receipt, lang: str, limit: int | None = LIMIT, *, document: bool = True
) -> str:
    r"""Write a receipt as an equation in LaTeX.

    Args:
        receipt: The receipt.
        lang: `en` or `ko`.
        limit: Most terms to write out; None writes all.
        document: Whether to write a whole document; else what is put into one that has
            `\usepackage{amsmath}`.
    """
    words = [escape_tex(receipt_line(receipt, lang)), ""]
    if receipt.verdict is not None and receipt.products.size:
        lines, choice = rows(receipt, look_of(receipt, lang), limit)
        words += ["{\\allowdisplaybreaks", "\\begin{align*}", " \\\\\n".join(lines)]
        words += ["\\end{align*}}"]
        words += [escape_tex(text) + "\n" for text in remarks(receipt, choice, lang)]
    body = "\n".join(words).rstrip() + "\n"
    if not document:
        return f"% \\usepackage{{amsmath}}\n{body}"
    unicode = needs_unicode([body])
    head = [
        f"% {'xelatex' if unicode else 'pdflatex or xelatex'} compiles this file.",
        "\\documentclass{article}",
        *preamble_of_fonts(unicode),
        "\\usepackage{amsmath}",
        "\\pagestyle{empty}",
        "\\parindent=0pt",
        "\\begin{document}",
    ]
    return "\n".join([*head, body.rstrip(), "\\end{document}", ""])
