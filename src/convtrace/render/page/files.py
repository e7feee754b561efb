"""The page: one HTML file that opens offline and in which every number can be followed.

The file holds the numbers as a JSON document, the program that shows them and its style sheet. Its
content security policy allows this program and this style, by their hashes, and no network.
"""

from __future__ import annotations

import base64
import hashlib
import html
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from convtrace import __version__
from convtrace.catalog import LANGUAGES, messages
from convtrace.errors import UsageError
from convtrace.render.documents.document import (
    VERSION,
    ReceiptDocument,
    TraceDocument,
    receipt_document,
)
from convtrace.render.page.numbers import BoxDocument, pack
from convtrace.render.page.readings import LEAST_BYTES, ReadingsDocument, readings
from convtrace.render.page.receipts import ReceiptsDocument

if TYPE_CHECKING:
    from convtrace.graph import Trace
    from convtrace.receipt import Receipt

BUDGET = 5_000_000
"""Bytes that the numbers of a page may take, unless asked otherwise."""

SECTIONS = (
    "axis.",
    "cli.note.",
    "note.",
    "page.",
    "receipt.",
    "verdict.",
)
"""Sections of the catalogue that the page shows."""

_GENERATOR = '<meta name="generator" content="convtrace'
"""Stands in the beginning of every page."""


class PageDocument(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """What a page shows.

    Attributes:
        trace: The run; `data` of a tensor is None where its numbers are in `boxes` or left out.
        boxes: Numbers of tensors, by name.
        receipts: Receipts that the page cannot make itself, in columns.
        readings: What the steps read, where the page cannot tell it itself.
        messages: Messages of the catalogue, by language and dotted key.
        lang: Language to begin with.
        theme: `dark`, or None for what the reader's system has.
        title: Name of what ran.
        start: Address of the number that is shown first.
        budget: Bytes that the numbers may take, or None.
        wanted: Bytes that all numbers would take.
    """

    trace: TraceDocument
    boxes: dict[str, list[BoxDocument]]
    receipts: list[ReceiptsDocument]
    readings: list[ReadingsDocument]
    messages: dict[str, dict[str, str]]
    lang: str
    theme: Literal["light", "dark"] | None
    title: str
    start: str
    budget: int | None
    wanted: int
    format: Literal["convtrace.page"] = "convtrace.page"
    version: int = VERSION


def trace_html(
    trace: Trace,
    *,
    lang: str = "en",
    theme: str = "light",
    start: str | None = None,
    steps: list[str] | None = None,
    budget: int = BUDGET,
    title: str | None = None,
    playground: bool = False,
) -> bytes:
    """Write a trace as a page.

    Args:
        trace: The run.
        lang: Language to begin with; the reader can switch.
        theme: `dark`, or `light` for what the reader's system has.
        start: Address of the number that is shown first; None takes the first one of the first
            convolution.
        steps: Steps whose numbers come first where not all fit the budget.
        budget: Bytes that the numbers may take.
        title: Name of what ran.
        playground: Whether the page begins with the playground open, where the network is a small
            stack of convolutions.

    Raises:
        UnknownStepError: `start` or `steps` names no step.
        OutOfRangeError: `start` lies outside the shape.
    """
    page = trace_page(
        trace, lang=lang, theme=theme, start=start, steps=steps, budget=budget, title=title
    )
    return page_html(page, first=trace.why(page.start), playground=playground)


def trace_page(
    trace: Trace,
    *,
    lang: str = "en",
    theme: str = "light",
    start: str | None = None,
    steps: list[str] | None = None,
    budget: int = BUDGET,
    title: str | None = None,
    live: bool = False,
) -> PageDocument:
    """Make the document of a page.

    Args:
        trace: The run.
        lang: As in `trace_html`, as the other arguments that are not named here.
        theme: Likewise.
        start: Likewise.
        steps: Likewise.
        budget: Likewise.
        title: Likewise.
        live: Whether the page can ask for what it lacks, so that nothing is made beforehand.
    """
    first = str(trace.why(start).address) if start else _first(trace)
    for name in steps or ():
        trace.step(name)
    if budget < 0:
        raise UsageError(f"budget = {budget!r}\n  It is a number of bytes, e.g. 5_000_000.")
    packed = pack(trace, budget=budget, first=first, steps=steps, receipts=not live)
    if live:  # what is missing is asked for, except the first receipt: it is shown at once
        packed.trace.receipts = [receipt_document(trace.why(first))]
        packed.trace.left_out = []
    return PageDocument(
        trace=packed.trace,
        boxes=packed.boxes,
        receipts=packed.receipts,
        readings=readings(trace, max(budget // 10, LEAST_BYTES)),
        messages=page_messages(),
        lang=lang,
        theme="dark" if theme == "dark" else None,
        title=title or "convtrace",
        start=first,
        budget=budget,
        wanted=packed.wanted,
    )


def receipt_html(receipt: Receipt, *, lang: str = "en", theme: str = "light") -> bytes:
    """Write one receipt as a page."""
    document: ReceiptDocument = receipt_document(receipt)
    trace = TraceDocument(
        reporter=receipt.reporter,
        notes=[],
        inputs=[],
        parameters=[],
        steps=[],
        aliases={},
        receipts=[document],
    )
    return page_html(
        PageDocument(
            trace=trace,
            boxes={},
            receipts=[],
            readings=[],
            messages=page_messages(),
            lang=lang,
            theme="dark" if theme == "dark" else None,
            title="convtrace",
            start=document.address,
            budget=None,
            wanted=0,
        ),
        first=receipt,
    )


def page_messages() -> dict[str, dict[str, str]]:
    """Return the messages that the page shows, by language and dotted key."""
    return {
        lang: {key: text for key, text in messages(lang).items() if key.startswith(SECTIONS)}
        for lang in LANGUAGES
    }


def page_html(
    page: PageDocument,
    *,
    first: Receipt | None = None,
    ask: str | None = None,
    playground: bool = False,
) -> bytes:
    """Write the file of a page.

    Args:
        page: What it shows.
        first: The receipt that is shown first. It is written out as text, so that it is read
            before the program runs, and where none may run.
        ask: Where a page of `convtrace serve` asks for more numbers; None: nowhere.
        playground: Whether it begins with the playground open.
    """
    # Within a script element only "<" could end it or open a comment.
    document = msgspec.json.encode(page).replace(b"<", b"\\u003c")
    script, style = page_file("page.js"), page_file("page.css")
    policy = (
        "default-src 'none'; img-src data: blob:; base-uri 'none'; form-action 'none'; "
        f"script-src '{_hash(script)}'; style-src '{_hash(style)}'"
        + ("; connect-src 'self'" if ask else "")
    )
    live = f' data-ask="{html.escape(ask)}"' if ask else ""
    live += " data-playground" if playground else ""
    head = (
        f'<!doctype html>\n<html lang="{html.escape(page.lang)}">\n<head>\n<meta charset="utf-8">\n'
        f'{_GENERATOR} {__version__}">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(page.title)}</title>\n<style>"
    ).encode()
    return b"".join(
        [
            head,
            style,
            f'</style>\n</head>\n<body>\n<div id="convtrace"{live}>'.encode(),
            b"" if first is None else _still(page, first),
            b"</div>\n",
            b'<script type="application/json" id="convtrace-document">',
            document,
            b'</script>\n<script type="module">',
            script,
            b"</script>\n</body>\n</html>\n",
        ]
    )


def _still(page: PageDocument, receipt: Receipt) -> bytes:
    """Write a receipt as text that stands until the program takes its place."""
    theme = f' data-theme="{page.theme}"' if page.theme else ""
    text = html.escape(receipt.text(lang=page.lang))
    return (
        f'<div class="convtrace still" lang="{page.lang}"{theme}><pre>{text}</pre></div>'.encode()
    )


def is_page(file: Path) -> bool:
    """Whether a file is a page that convtrace wrote."""
    try:
        with file.open("rb") as stream:
            return _GENERATOR.encode() in stream.read(300)
    except OSError:
        return False


@cache
def page_file(name: str) -> bytes:
    """Read `page.js` or `page.css`, which are built from `web/`."""
    from importlib.resources import files

    return files("convtrace.page").joinpath(name).read_bytes()


def _hash(content: bytes) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content).digest()).decode()}"


def _first(trace: Trace) -> str:
    """Address of the first number of the first convolution, else of the first step."""
    steps = list(trace.steps.values())
    chosen = next((step for step in steps if step.kind == "convolution"), steps[0])
    return f"{chosen.name}[{','.join('0' for _ in chosen.shape)}]"
