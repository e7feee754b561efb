"""A trace that answers a page: what a server and a notebook widget have in common.

The page asks in JSON and is answered in JSON. Only what is asked for is read, so a large network
opens at once:

    {"ask": "box", "name": "conv1", "start": [0, 0, 0, 0], "shape": [1, 1, 8, 8]}   BoxDocument
    {"ask": "receipt", "address": "conv1[0,0,4,4]"}                                 ReceiptDocument
    {"ask": "split", "address": "conv1[0,0,4,4]"}                                   SplitDocument
    {"ask": "reach", "address": "conv1[0,0,4,4]", "names": ["input"]}               ReachDocument

Whatever cannot be answered comes back as `{"error": {"kind": …, "message": …}}`.
"""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Annotated

import msgspec
import numpy as np

from convtrace.errors import ConvtraceError, OutOfRangeError, UsageError
from convtrace.reached import Positions, Reached, above, below
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


class AskSplit(msgspec.Struct, tag_field="ask", tag="split", forbid_unknown_fields=True):
    """Asks how one number splits over the pixels and the biases below it.

    Attributes:
        address: The number.
    """

    address: str


class SplitDocument(msgspec.Struct):
    """One number, split exactly.

    Attributes:
        inputs: What each number of each input contributes, by name; None where a step on the way
            has no exact split.
        pixels: Sum of these contributions.
        biases: Sum of what the steps added by themselves.
    """

    inputs: dict[str, BoxDocument] | None
    pixels: float
    biases: float


class AskReach(msgspec.Struct, tag_field="ask", tag="reach", forbid_unknown_fields=True):
    """Asks what one number can depend on, and what on it.

    The page works it out itself as far as the readings went along that came with it.

    Attributes:
        address: The number.
        names: Tensors that are asked about.
    """

    address: str
    names: Annotated[list[str], msgspec.Meta(max_length=64)]


Boxes = list[list[list[list[int]]]]
"""Boxes of positions: for each axis, first and last of those that follow each other."""


class ReachDocument(msgspec.Struct):
    """Positions of tensors, by name; None where it cannot be told, no entry where there are none.

    Attributes:
        below: What the number can depend on.
        above: What can depend on it.
    """

    below: dict[str, Boxes | None]
    above: dict[str, Boxes | None]


class Live:
    """Answers what a page asks of a trace, one question at a time.

    Args:
        trace: The run.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self._decoder = msgspec.json.Decoder(AskBox | AskReceipt | AskSplit | AskReach)
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
                found = self._answer(asked)
        except (ConvtraceError, msgspec.DecodeError) as error:
            problem = {"kind": type(error).__name__, "message": str(error)}
            return msgspec.json.encode({"error": problem})
        return msgspec.json.encode(found)

    def _answer(
        self, asked: AskBox | AskReceipt | AskSplit | AskReach
    ) -> BoxDocument | ReceiptDocument | SplitDocument | ReachDocument:
        if isinstance(asked, AskBox):
            return self._box(asked)
        if isinstance(asked, AskReach):
            return self._reach(asked)
        return self._split(asked) if isinstance(asked, AskSplit) else self._receipt(asked)

    def _reach(self, asked: AskReach) -> ReachDocument:
        address = self.trace.why(asked.address).address
        down, up = below(self.trace, address), above(self.trace, address)
        return ReachDocument(
            {name: _boxes(down[name]) for name in asked.names if name in down},
            {name: _boxes(up[name]) for name in asked.names if name in up},
        )

    def _split(self, asked: AskSplit) -> SplitDocument:
        split = self.trace.contributions(asked.address)
        biases = math.fsum(split.biases.values())
        if split.stops:
            return SplitDocument(None, math.nan, biases)
        arrays = {name: part.double().cpu().numpy() for name, part in split.inputs.items()}
        return SplitDocument(
            {name: box_document(part, (0,) * part.ndim) for name, part in arrays.items()},
            math.fsum(float(part.sum()) for part in arrays.values()),
            biases,
        )

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


def _boxes(reached: Reached) -> Boxes | None:
    if not reached.known:
        return None
    return [[_runs(positions) for positions in box] for box in reached.boxes]


def _runs(positions: Positions) -> list[list[int]]:
    """First and last of the positions that follow each other."""
    lows = sorted(place for place in positions if place - 1 not in positions)
    highs = sorted(place for place in positions if place + 1 not in positions)
    return [list(ends) for ends in zip(lows, highs, strict=True)]
