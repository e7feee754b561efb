"""The page inside a notebook's output: a frame that needs no network and no kernel.

The frame is sandboxed: its script runs, but cannot reach the notebook around it. So it works in a
notebook that was saved or exported. Where a notebook is not trusted, JupyterLab leaves frames out
and keeps the text inside them; there a receipt is read as text.

Nor can the page in the frame look at the notebook. It takes its light or dark theme all the same:
`prefers-color-scheme` in a frame is the `color-scheme` of the element around it, which JupyterLab
(from 4.3 on) and marimo set; for exported notebooks a rule here does.

Sources: CSS Working Group, issue 7493; JupyterLab, pull request 16301.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from convtrace.catalog import choose_language, say
from convtrace.render.page.files import page_html, receipt_html, trace_page

if TYPE_CHECKING:
    from convtrace.graph import Trace
    from convtrace.receipt import Receipt

BUDGET = 500_000
"""Bytes of numbers in one output: a notebook has many outputs, and keeps all of them."""

_THEMES = (
    "[data-jp-theme-light=false] .convtrace-frame{color-scheme:dark}"
    "[data-jp-theme-light=true] .convtrace-frame{color-scheme:light}"
)
"""Takes over the theme of notebooks that name it and set no `color-scheme`."""


def trace_frame(trace: Trace) -> str:
    """Return the page of a trace as HTML for a notebook."""
    lang = choose_language()
    document = trace_page(trace, lang=lang, budget=BUDGET)
    first = trace.why(document.start)
    page = page_html(document, first=first)
    return _frame(page, say("page.frame.trace", lang), first, lang, height=760)


def receipt_frame(receipt: Receipt) -> str:
    """Return the page of a receipt as HTML for a notebook."""
    lang = choose_language()
    title = say("page.frame.receipt", lang, address=str(receipt.address))
    return _frame(receipt_html(receipt, lang=lang), title, receipt, lang, height=520)


def _frame(page: bytes, title: str, receipt: Receipt, lang: str, *, height: int) -> str:
    content = html.escape(page.decode("utf-8"))
    instead = f"{receipt.text(lang=lang)}\n\n{say('page.frame.instead', lang)}"
    return (
        f"<style>{_THEMES}</style>"
        f'<pre lang="{lang}" style="margin:0;padding:0">'
        f'<iframe class="convtrace-frame" sandbox="allow-scripts" title="{html.escape(title)}" '
        f'lang="{lang}" style="width:100%;height:{height}px;border:0;resize:vertical" '
        f'srcdoc="{content}">{html.escape(instead)}</iframe></pre>'
    )
