"""The page as a notebook widget: it asks this kernel for the numbers that the reader looks at."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from convtrace.address import parse_address
from convtrace.live import FIRST_BYTES, Live
from convtrace.render.page.files import page_file, trace_page
from convtrace.render.table import missing

try:
    import anywidget
    import traitlets
except ImportError as error:
    raise missing("trace.widget()", error) from error

if TYPE_CHECKING:
    from convtrace.graph import Trace
    from convtrace.receipt import Receipt


class TraceWidget(anywidget.AnyWidget):
    """The page of a trace, live in a notebook. Made by `trace.widget()`.

    Args:
        trace: The run.
        **page: Options of the page: `lang`, `theme`, `start`, `title`.

    Attributes:
        selected: Address of the number whose receipt is shown; set it to show another one.
    """

    _esm = page_file("page.js").decode("utf-8")
    _css = page_file("page.css").decode("utf-8")
    page = traitlets.Unicode(read_only=True).tag(sync=True)
    selected = traitlets.Unicode().tag(sync=True)

    def __init__(self, trace: Trace, **page: Any) -> None:
        self._live = Live(trace)
        document = trace_page(trace, budget=FIRST_BYTES, live=True, **page)
        super().__init__(selected=document.start)
        self.set_trait("page", msgspec.json.encode(document).decode("utf-8"))
        self.on_msg(self._answer)

    @property
    def trace(self) -> Trace:
        """The run."""
        return self._live.trace

    @property
    def receipt(self) -> Receipt:
        """The receipt of the selected number."""
        return self.trace.why(self.selected)

    @traitlets.validate("selected")
    def _check(self, proposal: dict[str, Any]) -> str:
        """Refuse an address that the trace does not have, with the error of `trace.value`."""
        address = parse_address(proposal["value"])
        self.trace.value(address)
        return str(address)

    def _answer(self, _: Any, content: Any, __: Any) -> None:
        if not isinstance(content, dict) or "question" not in content:
            return
        reply = self._live.answer(json.dumps(content["question"]))
        self.send({"id": content.get("id"), "reply": reply.decode("utf-8")})
