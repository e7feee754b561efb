"""Receipts without terms: of numbers that were given, and of steps without a rule."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from convtrace.address import Address
from convtrace.receipt import Receipt
from convtrace.step import Step, Value


class _NoTerms:
    """The layout of a receipt without terms."""

    channels: Sequence[int] = ()

    def source(self, position: tuple[int, ...]) -> Address | None:
        return None

    def weight(self, position: tuple[int, ...]) -> Address | None:
        return None


def without_terms(
    value: Value,
    at: Address,
    note: str,
    details: dict[str, Any],
    reporter: str,
    step: Step | None = None,
) -> Receipt:
    """Make the receipt of a number that was given, or that a step without a rule made.

    Args:
        value: The tensor that holds the number.
        at: Its address.
        note: What is said of it: `note.` and this is a key of the catalogue.
        details: Values of the placeholders.
        reporter: Who reported the number.
        step: The step that made it; None for one that was given.
    """
    number = value.item(at.index)
    empty = np.zeros((0,))
    return Receipt(
        address=at,
        kind=step.kind if step else value.origin,
        status="opaque",
        inputs=empty,
        weights=empty,
        products=empty,
        present=np.zeros((0,), dtype=np.bool_),
        layout=_NoTerms(),
        bias=None,
        bias_address=None,
        exact=number,
        bound=math.nan,
        typical=math.nan,
        reported=number,
        residual=0,
        verdict=None,
        arithmetic=None,
        reporter=reporter,
        notes=((f"note.{note}", details),),
    )
