"""Receipts of many numbers of one step, in columns, as a page carries them.

The page makes receipts of convolutions and linear layers itself, from recorded numbers. Those of
other kinds (pools, ReLU, sums, norms) are made here, by `trace.why`, and written in columns: which
number each term reads, its factor, and what the sum certifies. Inputs, products and residuals
follow from these and the recorded numbers, so that a term takes some ten bytes and not hundreds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from convtrace.address import Address
from convtrace.render.page.packing import PackedDocument, packed

if TYPE_CHECKING:
    from convtrace.graph import Trace
    from convtrace.receipt import Receipt

VERDICTS = (None, "exact", "rounding", "mismatch", "nonfinite")


class ReceiptsDocument(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Receipts of numbers of one step that have the same number of terms.

    Attributes:
        step: Name of the step.
        numbers: Which numbers, counted row by row through its output; None for all, in order.
        shape: Shape of the terms of each receipt.
        channels: Input channel of each entry of the first axis.
        operands: Names of the tensors that sources, weights and biases lie in.
        sources: Where the inputs come from: see `place`. One entry a term.
        weights: Factors, one a term, or one for all.
        weight_places: Where they are stored, or None where they are no stored numbers.
        bias: Biases, one a number; None where there is none.
        bias_places: Where they are stored, or None.
        exact: Exact sums, one a number.
        bound: The most by which the arithmetic can be off, one a number.
        typical: The size that its error usually has, one a number.
        verdicts: Positions in `VERDICTS`, one a number.

    A place is a number counted through all of `operands`, row by row; -1 where there is none.
    """

    step: str
    numbers: PackedDocument | None
    shape: list[int]
    channels: list[int]
    operands: list[str]
    sources: PackedDocument
    weights: PackedDocument
    weight_places: PackedDocument | None
    bias: PackedDocument | None
    bias_places: PackedDocument | None
    exact: PackedDocument
    bound: PackedDocument
    typical: PackedDocument
    verdicts: PackedDocument


@dataclass(frozen=True)
class _Row:
    number: int
    receipt: Receipt
    sources: list[Address | None]
    weights: list[Address | None]


def in_columns(
    trace: Trace, step: str, indices: Iterable[tuple[int, ...]]
) -> tuple[list[ReceiptsDocument], list[Receipt]]:
    """Make receipts of numbers of one step, in columns.

    Args:
        trace: The run.
        step: Name of the step.
        indices: Positions in its output.

    Returns:
        The columns, and the receipts that do not fit into them because they say more: a remark,
        an infinity, a number that is nowhere stored, a complex number.
    """
    shape = trace.step(step).shape
    alike: dict[tuple[Any, ...], list[_Row]] = defaultdict(list)
    whole: list[Receipt] = []
    for index in indices:
        receipt = trace.why(step, index)
        places = list(np.ndindex(receipt.products.shape))
        row = _Row(
            int(np.ravel_multi_index(index, shape)) if shape else 0,
            receipt,
            [receipt.layout.source(place) for place in places],
            [receipt.layout.weight(place) for place in places],
        )
        if _fits(row):
            channels = tuple(receipt.layout.channels)
            alike[receipt.products.shape, channels, receipt.bias is None].append(row)
        else:
            whole.append(receipt)
    return [_columns(trace, step, rows) for rows in alike.values()], whole


def _fits(row: _Row) -> bool:
    receipt = row.receipt
    if receipt.notes or receipt.culprits or receipt.products.dtype.kind not in "fi":
        return False
    if not np.isfinite(receipt.products.astype(np.float64)).all() or not receipt.products.size:
        return False
    bare = [source is None for source in row.sources]
    return not receipt.inputs.ravel()[bare].any()  # a constant that is stored nowhere


def _columns(trace: Trace, step: str, rows: list[_Row]) -> ReceiptsDocument:
    first = rows[0].receipt
    starts = _Places(trace)
    sources = [starts(place) for row in rows for place in row.sources]
    weight_places = [starts(place) for row in rows for place in row.weights]
    bias_places = [starts(row.receipt.bias_address) for row in rows]
    weights = np.concatenate([row.receipt.weights.ravel() for row in rows])
    if weights.size and (weights == weights[0]).all():
        weights = weights[:1]
    numbers = [row.number for row in rows]
    every = numbers == list(range(int(np.prod(trace.step(step).shape))))

    def column(name: str) -> PackedDocument:
        return packed(np.array([getattr(row.receipt, name) for row in rows], dtype=np.float64))

    return ReceiptsDocument(
        step=step,
        numbers=None if every else packed(np.array(numbers, dtype=np.int32)),
        shape=list(first.products.shape),
        channels=[int(channel) for channel in first.layout.channels],
        operands=list(starts.names),
        sources=packed(np.array(sources, dtype=np.int32)),
        weights=packed(weights),
        weight_places=_unless_none(weight_places),
        bias=None if first.bias is None else column("bias"),
        bias_places=_unless_none(bias_places),
        exact=column("exact"),
        bound=column("bound"),
        typical=column("typical"),
        verdicts=packed(
            np.array([VERDICTS.index(row.receipt.verdict) for row in rows], dtype=np.uint8)
        ),
    )


def _unless_none(places: list[int]) -> PackedDocument | None:
    if all(place < 0 for place in places):
        return None
    return packed(np.array(places, dtype=np.int32))


class _Places:
    """Counts numbers through the tensors that they lie in, in the order they were met."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._next = 0
        self.names: dict[str, tuple[int, tuple[int, ...]]] = {}

    def __call__(self, address: Address | None) -> int:
        if address is None:
            return -1
        if address.step not in self.names:
            shape = self._trace.tensor(address.step).shape
            self.names[address.step] = (self._next, shape)
            self._next += int(np.prod(shape))
        start, shape = self.names[address.step]
        return start + (int(np.ravel_multi_index(address.index, shape)) if shape else 0)
