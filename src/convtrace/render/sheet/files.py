"""A spreadsheet of a run (.xlsx): every number a cell, every computed number a live formula.

Trace Precedents of Excel and LibreOffice walks through the network (its arrows need one sheet for
all), and a changed pixel changes everything above it. The numbers that the framework returned are
stored beside the formulas, for viewers that do not compute.
"""

from __future__ import annotations

import datetime
import io
import math

import xlsxwriter  # pyright: ignore[reportMissingTypeStubs]  # it ships none

from convtrace.address import Address
from convtrace.errors import UsageError
from convtrace.graph import Trace
from convtrace.render.sheet.book import Book
from convtrace.render.sheet.layout import MOST_COLUMNS, MOST_ROWS, Layout
from convtrace.render.sheet.writer import Writer

MOST_FORMULAS, MOST_TERMS, MOST_CELLS = 50_000, 1_500_000, 500_000
"""Sizes that a spreadsheet program still opens and recomputes in a few seconds."""


def trace_xlsx(trace: Trace, *, lang: str = "en", one_sheet: bool = False) -> bytes:
    """Write a trace as a spreadsheet with live formulas.

    Args:
        trace: The run.
        lang: Language of the first sheet and of the titles.
        one_sheet: Whether all tensors stand on one sheet, so that the arrows of Trace Precedents
            lead from cell to cell; to another sheet they only point.

    Raises:
        UsageError: It is too large for a spreadsheet, or holds complex numbers; the message says
            what to choose instead.
    """
    _check_size(trace)
    book = Book(trace, one_sheet=one_sheet)
    stream = io.BytesIO()
    options = {
        "in_memory": True,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
        "nan_inf_to_errors": True,
    }
    with xlsxwriter.Workbook(stream, options) as workbook:
        workbook.set_properties({"created": datetime.datetime(2000, 1, 1)})  # noqa: DTZ001  (the format has no time zones; a fixed date makes the same file each time)
        Writer(workbook, book, lang).write()
    return stream.getvalue()


def _check_size(trace: Trace) -> None:
    """Raise unless a spreadsheet program can open and recompute the trace."""
    formulas = sum(math.prod(step.shape) for step in trace.steps.values())
    terms = 0
    for step in trace.steps.values():
        if "complex" in step.dtype:
            raise UsageError(
                f"{step.name} is complex ({step.dtype}), and cells of a spreadsheet are real\n"
                '  Save the terms of one number instead: receipt.save("terms.csv").'
            )
        if formulas <= MOST_FORMULAS and math.prod(step.shape):
            first = Address(step.name, (0,) * len(step.shape))
            terms += math.prod(step.shape) * trace.why(first).products.size
    tensors = [*trace.inputs.values(), *trace.parameters.values()]
    tensors += [step.value for step in trace.steps.values()]
    cells = sum(math.prod(value.shape) for value in tensors)
    wide = [value for value in tensors if not _fits(value.shape)]
    if formulas <= MOST_FORMULAS and terms <= MOST_TERMS and cells <= MOST_CELLS and not wide:
        return
    counted = f"{formulas:,} computed numbers" + (f", {terms:,} terms" if terms else "")
    too_wide = f"\n  {wide[0].name} {wide[0].shape} is wider than a sheet" if wide else ""
    raise UsageError(
        f"this trace is too large for a spreadsheet: {counted}, {cells:,} cells{too_wide}\n"
        f"  at most {MOST_FORMULAS:,} computed numbers, {MOST_TERMS:,} terms and {MOST_CELLS:,} "
        "cells\n"
        "  Choose instead:\n"
        '    trace.why("…").save("terms.csv")               every term of one number\n'
        '    trace.save("terms.csv", step="…")              every term of one step\n'
        "    a smaller input, or a part of the model: convtrace.trace(model.conv1, x)"
    )


def _fits(shape: tuple[int, ...]) -> bool:
    rows, columns = Layout("", shape).size
    return rows <= MOST_ROWS and columns <= MOST_COLUMNS
