"""A trace that answers a page: what a server and a notebook widget have in common.

The page asks in JSON and is answered in JSON. Only what is asked for is read, so a large network
opens at once:

    {"ask": "box", "name": "conv1", "start": [0, 0, 0, 0], "shape": [1, 1, 8, 8]}   BoxDocument
    {"ask": "receipt", "address": "conv1[0,0,4,4]"}                                 ReceiptDocument

Whatever cannot be answered comes back as `{"error": {"kind": …, "message": …}}`.
"""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Annotated

import msgspec
import numpy as np

from convtrace.errors import ConvtraceError, OutOfRangeError, UsageError
from convtrace.render.documents.document import ReceiptDocument, receipt_document
from convtrace.render.page.numbers import BoxDocument, box_document

if TYPE_CHECKING:
    from convtrace.graph import Trace

MOST_NUMBERS = 1 << 20
"""Numbers that one answer may hold at most."""

FIRST_BYTES = 100_000
"""Bytes of numbers that a page brings along; it asks for the others."""

Place = Annotated[int, msgspec.Meta(ge=0)]
Size = Annotated[int, msgspec.Meta(ge=1)]


class AskBox(msgspec.Struct, tag_field="ask", tag="box", forbid_unknown_fields=True):
    """Asks for the numbers of a box of a tensor.

    Attributes:
        name: Name of the tensor.
        start: First position on each axis.
        shape: Size on each axis.
    """

    name: str
    start: list[Place]
    shape: list[Size]


class AskReceipt(msgspec.Struct, tag_field="ask", tag="receipt", forbid_unknown_fields=True):
    """Asks for the receipt of one number.

    Attributes:
        address: The number.
    """

    address: str


class Live:
    """Answers what a page asks of a trace, one question at a time.

    Args:
        trace: The run.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self._decoder = msgspec.json.Decoder(AskBox | AskReceipt)
        self._lock = threading.Lock()

    def answer(self, question: bytes | str) -> bytes:
        """Answer a question.

        Args:
            question: JSON, as the module describes.

        Returns:
            JSON: a box, a receipt, or an error that says what was wrong.
        """
        try:
            asked = self._decoder.decode(question)
            with self._lock:
                found = self._box(asked) if isinstance(asked, AskBox) else self._receipt(asked)
        except (ConvtraceError, msgspec.DecodeError) as error:
            problem = {"kind": type(error).__name__, "message": str(error)}
            return msgspec.json.encode({"error": problem})
        return msgspec.json.encode(found)

    def _receipt(self, asked: AskReceipt) -> ReceiptDocument:
        return receipt_document(self.trace.why(asked.address))

    def _box(self, asked: AskBox) -> BoxDocument:
        value = self.trace.tensor(asked.name)
        inside = len(asked.start) == len(asked.shape) == len(value.shape) and all(
            start + size <= whole
            for start, size, whole in zip(asked.start, asked.shape, value.shape, strict=True)
        )
        if not inside:
            raise OutOfRangeError(
                f"no such box of {asked.name}\n"
                f"  asked from {tuple(asked.start)}, shape {tuple(asked.shape)}\n"
                f"  shape of {asked.name}: {value.shape}"
            )
        if math.prod(asked.shape) > MOST_NUMBERS:
            raise UsageError(
                f"too many numbers at once: {math.prod(asked.shape):,}\n"
                f"  Ask for at most {MOST_NUMBERS:,}."
            )
        slices = [slice(a, a + n) for a, n in zip(asked.start, asked.shape, strict=True)]
        return box_document(np.asarray(value.box(tuple(slices))), tuple(asked.start))
