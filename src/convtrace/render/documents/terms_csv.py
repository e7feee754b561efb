"""Terms as a table (.csv): one row a multiplication, one a bias, for traces of any size.

Numbers have all their digits. Names that begin like a formula get an apostrophe, so that no
spreadsheet runs them.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence

import numpy as np

from convtrace.address import Address
from convtrace.errors import UsageError
from convtrace.graph import Trace
from convtrace.receipt import Receipt
from convtrace.render.sheet.layout import MOST_ROWS, harmless
from convtrace.step import Number

HEAD = ("address", "channel", "source", "value", "weight_address", "weight", "product", "reported")
"""Columns. `reported` is what the framework returned for the whole number."""

CHANNEL_OF_BIAS = "bias"


def receipt_csv(receipt: Receipt) -> bytes:
    """Write the terms of one number, and its bias, as a table."""
    return _table([receipt])


def trace_csv(trace: Trace, *, step: str | Sequence[str] | None = None) -> bytes:
    """Write the terms of every number of a trace as a table.

    Args:
        trace: The run.
        step: The step, or steps, to write; None writes all of them.

    Raises:
        UnknownStepError: There is no such step.
        UsageError: There are more rows than a spreadsheet has; the message says how many.
    """
    names = [step] if isinstance(step, str) else trace.steps if step is None else step
    steps = [trace.step(name) for name in names]
    counts = {
        one.name: math.prod(one.shape)
        * (trace.why(Address(one.name, (0,) * len(one.shape))).products.size + 1)
        for one in steps
        if math.prod(one.shape)
    }
    total = sum(counts.values()) + 1
    if total > MOST_ROWS:
        largest, smallest = (pick(counts, key=counts.__getitem__) for pick in (max, min))
        first = Address(largest, (0,) * len(trace.step(largest).shape))
        fits = f'  Save one step: save("terms.csv", step="{smallest}")\n'
        raise UsageError(
            f"up to {total:,} rows of terms, and a spreadsheet has {MOST_ROWS:,}\n"
            f"  most of them: {largest}, {counts[largest]:,}\n"
            + (fits if counts[smallest] < MOST_ROWS else "")
            + f'  Save one number: trace.why("{first}").save("terms.csv")'
        )
    return _table(
        trace.why(Address(one.name, index)) for one in steps for index in np.ndindex(one.shape)
    )


def _table(receipts: Iterable[Receipt]) -> bytes:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(HEAD)
    for receipt in receipts:
        address, reported = harmless(str(receipt.address)), _number(receipt.reported)
        for term in receipt.terms:
            writer.writerow(
                (
                    address,
                    term.channel,
                    _address(term.source),
                    _number(term.value),
                    _address(term.weight_address),
                    _number(term.weight),
                    _number(term.product),
                    reported,
                )
            )
        if receipt.bias is not None:
            bias = _number(receipt.bias)
            where = _address(receipt.bias_address)
            writer.writerow((address, CHANNEL_OF_BIAS, "", "", where, bias, bias, reported))
        elif not receipt.terms:
            writer.writerow((address, "", "", "", "", "", "", reported))
    return stream.getvalue().encode("utf-8-sig")  # so that Excel reads Korean names


def _address(address: Address | None) -> str:
    return "" if address is None else harmless(str(address))


def _number(number: Number) -> str:
    """Write a number with all its digits, a whole one without a point."""
    if isinstance(number, float) and number.is_integer() and abs(number) < 1e15:
        return str(int(number))
    return repr(complex(number)) if isinstance(number, complex) else repr(number).strip("()")
