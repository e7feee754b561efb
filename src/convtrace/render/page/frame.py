"""The page inside a notebook's output: a frame that needs no network and no kernel.

The frame is sandboxed: its script runs, but cannot reach the notebook around it. So it works in a
notebook that was saved, exported, or opened by somebody else.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from convtrace.catalog import choose_language, say
from convtrace.render.page.files import receipt_html, trace_html

if TYPE_CHECKING:
    from convtrace.graph import Trace
    from convtrace.receipt import Receipt

BUDGET = 500_000
"""Bytes of numbers in one output: a notebook has many outputs, and keeps all of them."""


def trace_frame(trace: Trace) -> str:
    """Return the page of a trace as HTML for a notebook."""
    lang = choose_language()
    page = trace_html(trace, lang=lang, budget=BUDGET)
    return _frame(page, say("page.frame.trace", lang), lang, height=760)


def receipt_frame(receipt: Receipt) -> str:
    """Return the page of a receipt as HTML for a notebook."""
    lang = choose_language()
    title = say("page.frame.receipt", lang, address=str(receipt.address))
    return _frame(receipt_html(receipt, lang=lang), title, lang, height=520)


def _frame(page: bytes, title: str, lang: str, *, height: int) -> str:
    content = html.escape(page.decode("utf-8"))
    return (
        f'<iframe sandbox="allow-scripts" title="{html.escape(title)}" lang="{lang}" '
        f'style="width:100%;height:{height}px;border:0;resize:vertical" srcdoc="{content}">'
        "</iframe>"
    )
