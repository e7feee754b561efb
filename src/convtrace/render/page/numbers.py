"""The numbers of a page: which of them it carries where not all fit."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from convtrace.render.documents.document import TraceDocument, trace_document
from convtrace.render.page.packing import is_packable, packed
from convtrace.render.page.receipts import ReceiptsDocument, in_columns

if TYPE_CHECKING:
    from convtrace.graph import Trace
    from convtrace.receipt import Receipt
    from convtrace.step import Step, Value

SMALL = 64
"""Tensors of at most so many numbers are written as JSON, larger ones as base64."""

BY_LAW = frozenset({"convolution", "linear"})
"""Kinds whose receipts the page makes itself."""

_MOST_RECEIPTS = 20_000
"""Receipts of other kinds that are made beforehand at most: each takes a fraction of a ms."""

_SHARE = 0.4
"""Part of the budget that one tensor may take where not everything fits."""

_RESERVE = 0.15
"""Part of the budget that is kept for the windows of one number of each step."""

_TERM_BYTES, _RECEIPT_BYTES = 8, 48
"""Bytes of receipts in columns: about so many a term, and so many a receipt."""

Box = tuple[tuple[int, ...], tuple[int, ...]]
"""First position, and size, on each axis."""


class BoxDocument(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """The numbers of one box of a tensor.

    Attributes:
        start: First position on each axis.
        shape: Size on each axis.
        type: Element type of `data`: a kind (`f i u`) and a number of bytes, little-endian.
        data: Base64, row-major.
    """

    start: list[int]
    shape: list[int]
    type: str
    data: str


@dataclass(frozen=True)
class Packed:
    """A trace with those of its numbers that a page carries.

    Attributes:
        trace: The document.
        boxes: Numbers that are not in it, by name.
        receipts: Receipts that the page cannot make itself.
        wanted: Bytes that all numbers would take.
    """

    trace: TraceDocument
    boxes: dict[str, list[BoxDocument]]
    receipts: list[ReceiptsDocument]
    wanted: int


def pack(
    trace: Trace, *, budget: int, first: str, steps: Sequence[str] | None, receipts: bool = True
) -> Packed:
    """Choose the numbers of a page, and write them.

    Whole tensors come first, in the order of the steps, as long as they fit: those of `steps` and
    of the step that is shown first, then all others. Of what does not fit, some channels of the
    output are taken, and the numbers that one number of each step was made of, so that at least
    that one can be followed.

    Args:
        trace: The run.
        budget: Bytes that they may take.
        first: Address of the number that is shown first.
        steps: Steps whose numbers come first.
        receipts: Whether to carry receipts of steps that the page cannot explain itself. Without
            them nothing but whole tensors is taken: the page asks for the rest.
    """
    values = {value.name: value for value in _values(trace)}
    wanted = sum(map(_bytes, values.values()))
    chooser = _Chooser(values, budget)
    if wanted <= budget:
        for name in values:
            chooser.take_whole(name)
    else:
        chooser.left = round(budget * (1 - _RESERVE)) if receipts else budget
        for step in _in_order(trace, first, steps):
            for value in (*step.values.values(), step.value):
                chooser.take_some(value, greedy=receipts)
        chooser.left += round(budget * _RESERVE) if receipts else 0
    columns: list[ReceiptsDocument] = []
    extra: list[Receipt] = []
    if receipts:
        columns, extra = _receipts(trace, chooser, everything=wanted <= budget, first=first)
    boxes = chooser.documents()
    partial = {name for name in values if not chooser.is_whole(name)}
    packed_or_absent = frozenset(partial | boxes.keys())
    document = trace_document(trace, receipts=extra, without=packed_or_absent)
    document.left_out = [name for name in document.left_out if name in partial]
    return Packed(document, boxes, columns, wanted)


def box_document(array: NDArray[Any], start: tuple[int, ...]) -> BoxDocument:
    """Write the numbers of a box, in the narrowest type that holds them exactly."""
    numbers = packed(array)
    return BoxDocument(list(start), list(array.shape), numbers.type, numbers.data)


class _Chooser:
    """Takes numbers as long as there are bytes left.

    Attributes:
        left: Bytes that are left.
    """

    def __init__(self, values: dict[str, Value], budget: int) -> None:
        self.left = budget
        self._values = values
        self._most = round(budget * _SHARE)
        self._boxes: dict[str, list[Box]] = {}

    def is_whole(self, name: str) -> bool:
        """Whether all numbers of a tensor were taken."""
        shape = self._values[name].shape
        return any(size == shape for _, size in self._boxes.get(name, ()))

    def take_whole(self, name: str) -> None:
        """Take all numbers of a tensor."""
        value = self._values[name]
        self._boxes[name] = [((0,) * len(value.shape), value.shape)]
        self.left -= _bytes(value)

    def take_some(self, value: Value, *, greedy: bool) -> None:
        """Take a tensor whole, else as many of its first channels as fit."""
        name, shape = value.name, value.shape
        if self._boxes.get(name):
            return
        cost = _bytes(value)
        if cost <= min(self.left, self._most):
            self.take_whole(name)
        elif greedy and value.origin == "step" and len(shape) > 2:
            plane = cost // max(shape[1], 1)
            count = min(self.left // 2, self._most) // max(plane, 1)
            if shape[0] == 1 and count > 0:
                size = (1, count, *shape[2:])
                self._boxes[name] = [((0,) * len(shape), size)]
                self.left -= plane * count

    def take_box(self, name: str, box: Box) -> None:
        """Take a box, unless its numbers are there already."""
        start, size = box
        for other, there in self._boxes.get(name, ()):
            if all(
                a <= b and b + n <= a + m
                for a, m, b, n in zip(other, there, start, size, strict=True)
            ):
                return
        cost = math.prod(size) * _item_bytes(self._values[name])
        if cost > self.left:
            return
        self.left -= cost
        self._boxes.setdefault(name, []).append(box)

    def documents(self) -> dict[str, list[BoxDocument]]:
        """Write what was taken, except for small whole tensors, which stay in the document."""
        found: dict[str, list[BoxDocument]] = {}
        for name, boxes in self._boxes.items():
            value = self._values[name]
            if self.is_whole(name) and math.prod(value.shape) <= SMALL:
                continue
            arrays = [
                (
                    np.asarray(
                        value.box(tuple(slice(a, a + n) for a, n in zip(*box, strict=True)))
                    ),
                    box,
                )
                for box in boxes
            ]
            if all(is_packable(array) for array, _ in arrays):
                found[name] = [box_document(array, start) for array, (start, _) in arrays]
        return found


def _receipts(
    trace: Trace, chooser: _Chooser, *, everything: bool, first: str
) -> tuple[list[ReceiptsDocument], list[Receipt]]:
    """Make receipts of steps that the page cannot explain: all of a small step, else of one number.

    Where not everything fits, also take the numbers that the middle number of each step reads.
    """
    columns: list[ReceiptsDocument] = []
    extra: list[Receipt] = []
    left = _MOST_RECEIPTS
    for step in trace.steps.values():
        middle = trace.why(step.name, _middle(step))
        if not everything:
            _take_window(chooser, middle)
        if step.kind in BY_LAW or middle.verdict is None:
            continue
        count = math.prod(step.shape)
        cost = count * (_RECEIPT_BYTES + _TERM_BYTES * middle.products.size)
        indices = [_middle(step)]
        if count <= left and cost <= max(chooser.left, 0):
            left -= count
            chooser.left -= cost
            indices = list(np.ndindex(step.shape))
        found, others = in_columns(trace, step.name, indices)
        columns += found
        extra += others
    if first not in {str(receipt.address) for receipt in extra}:
        receipt = trace.why(first)
        if not everything:
            _take_window(chooser, receipt)
        if receipt.kind not in BY_LAW and receipt.verdict is not None:
            extra.append(receipt)
    return columns, extra


def _take_window(chooser: _Chooser, receipt: Receipt) -> None:
    """Take the numbers that a receipt reads, as one box of each tensor, and what it is of."""
    chooser.take_box(
        receipt.address.step, (receipt.address.index, (1,) * len(receipt.address.index))
    )
    spans: dict[str, list[tuple[int, ...]]] = {}
    for place in np.ndindex(receipt.products.shape):
        for address in (receipt.layout.source(place), receipt.layout.weight(place)):
            if address is not None:
                spans.setdefault(address.step, []).append(address.index)
    if receipt.bias_address is not None:
        spans.setdefault(receipt.bias_address.step, []).append(receipt.bias_address.index)
    for name, places in spans.items():
        corners = np.array(places).reshape(len(places), -1)
        low, high = corners.min(axis=0), corners.max(axis=0)
        start = tuple(map(int, low))
        chooser.take_box(name, (start, tuple(int(n) for n in high - low + 1)))


def _middle(step: Step) -> tuple[int, ...]:
    """Position in the middle of the output, in its first channel."""
    spatial = len(step.shape) - 2 if step.attributes.get("batched", True) else len(step.shape) - 1
    fixed = len(step.shape) - max(spatial, 0)
    return tuple(0 if axis < fixed else size // 2 for axis, size in enumerate(step.shape))


def _in_order(trace: Trace, first: str, steps: Sequence[str] | None) -> Iterator[Step]:
    """Yield the steps, those that come first before the others."""
    names = [trace.step(name).name for name in steps or ()]
    shown = first.rpartition("[")[0]
    chosen = [*names, *([shown] if shown in trace.steps else [])]
    yield from (trace.steps[name] for name in dict.fromkeys(chosen))
    yield from (step for name, step in trace.steps.items() if name not in chosen)


def _values(trace: Trace) -> Iterator[Value]:
    yield from trace.inputs.values()
    yield from trace.parameters.values()
    yield from (step.value for step in trace.steps.values())


def _bytes(value: Value) -> int:
    return round(math.prod(value.shape) * _item_bytes(value))


def _item_bytes(value: Value) -> int:
    """Bytes of a number in the file: base64 takes a third more than the number itself."""
    dtype = value.dtype
    if "float64" in dtype or "complex" in dtype or "int64" in dtype:
        return 11
    if dtype.endswith("int8") or dtype == "bool":
        return 2
    return 6
