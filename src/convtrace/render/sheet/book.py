"""The contents of a workbook: which tensor is on which sheet, and the formulas of each step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.address import Address
from convtrace.errors import UsageError
from convtrace.graph import Trace
from convtrace.receipt import Receipt
from convtrace.render.sheet.formulas import LONGEST_FORMULA, formula
from convtrace.render.sheet.layout import (
    GUIDE,
    MOST_ROWS,
    TOGETHER,
    Cell,
    Layout,
    SheetNames,
)
from convtrace.step import Number, Step, Value


@dataclass(frozen=True)
class Made:
    """The formulas of one step, in row-major order; None where a number has none.

    Attributes:
        texts: The formulas.
        frozen: How many numbers have none.
    """

    texts: list[str | None]
    frozen: int


class Book:
    """The sheets of a trace. A parameter has a place only if a formula reads it.

    Args:
        trace: The run.
        one_sheet: Whether one sheet holds all tensors, below each other in the order of the run.

    Attributes:
        trace: The run.
        layouts: The cells of each tensor that has a place, by its name.
        values: Every tensor of the run, by its name.
        formulas: The formulas of each step, by its name.
    """

    def __init__(self, trace: Trace, *, one_sheet: bool = False) -> None:
        self.trace = trace
        self._one_sheet, self._rows = one_sheet, 0
        self.layouts: dict[str, Layout] = {}
        self._numbers: dict[str, NDArray[Any]] = {}
        self._names = SheetNames()
        self._names.take(GUIDE)
        self.values: dict[str, Value] = {
            **trace.parameters,
            **trace.inputs,
            **{name: step.value for name, step in trace.steps.items()},
        }
        for name in trace.inputs if one_sheet else (*trace.inputs, *trace.steps):
            self._layout(name)
        self.formulas: dict[str, Made] = {}
        for name, step in trace.steps.items():
            self.formulas[name] = self._made(step)
            self._layout(name)  # on one sheet, below the parameters that its formulas read

    def place(self, address: Address) -> tuple[str, Cell]:
        """Return the sheet and the cell of a number."""
        layout = self._layout(address.step)
        return layout.sheet, layout.cell(address.index)

    def tensors(self) -> Iterator[tuple[str, str]]:
        """Yield (name, role) of what has a place: inputs, then each step after its parameters.

        The role is `input`, `kernel` or `output`.
        """
        done = set(self.trace.inputs)
        yield from ((name, "input") for name in self.trace.inputs)
        for step in self.trace.steps.values():
            for name in step.operands.values():
                if name in self.layouts and name not in done and name not in self.trace.steps:
                    done.add(name)
                    yield name, "kernel"
            yield step.name, "output"

    def _layout(self, name: str) -> Layout:
        found = self.layouts.get(name)
        if found is None:
            sheet = TOGETHER if self._one_sheet else self._names.take(name)
            found = Layout(sheet, self.values[name].shape, self._rows)
            self.layouts[name] = found
            self._rows += found.size[0] if self._one_sheet else 0
            if self._rows > MOST_ROWS:
                raise UsageError(
                    f"one sheet is too short for this trace: {self._rows:,} rows up to {name}, "
                    f"at most {MOST_ROWS:,}\n"
                    "  Give every tensor a sheet of its own: leave one_sheet out."
                )
        return found

    def _agrees(self, receipt: Receipt) -> bool:
        """Whether the cells that a formula would name hold the very factors of the receipt.

        A quantised layer multiplies what it makes of the numbers at its addresses.
        """
        for term in receipt.terms:
            for address, factor in ((term.source, term.value), (term.weight_address, term.weight)):
                if address is None or factor != factor:  # nothing to compare: NaN equals nothing
                    continue
                if address.step not in self.values or self._number(address) != factor:
                    return False
        return True

    def _number(self, address: Address) -> Number:
        """Return the number of a cell."""
        found = self._numbers.get(address.step)
        if found is None:
            value = self.values[address.step]
            found = np.asarray(value.box((slice(None),) * len(value.shape)))
            self._numbers[address.step] = found
        return found.item(address.index)

    def _made(self, step: Step) -> Made:
        texts: list[str | None] = []
        for index in np.ndindex(step.shape):
            receipt = self.trace.why(Address(step.name, index))
            text = formula(step, receipt, self.place) if self._agrees(receipt) else None
            if text is not None and len(text) > LONGEST_FORMULA - 1:
                raise UsageError(
                    f"the formula of {receipt.address} is too long for a spreadsheet\n"
                    f"  {len(receipt.terms):,} terms, {len(text):,} characters; at most "
                    f"{LONGEST_FORMULA - 1:,}\n"
                    f'  Save its terms instead: trace.why("{receipt.address}").save("terms.csv").'
                )
            texts.append(text)
        return Made(texts, texts.count(None))
