"""Writes the sheets of a workbook: a guide, then one sheet a tensor, or one for all."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from convtrace.catalog import say
from convtrace.render.look import name as printable
from convtrace.render.sheet.book import Book
from convtrace.render.sheet.layout import GUIDE, TOGETHER, Layout, harmless

_FILLS = {"input": "#CFE5F3", "kernel": "#FBE8C4", "output": "#C7E9DE", "frozen": "#E4E4E4"}
"""Grounds of the cells: tints of the colours that mean input, kernel, output, and grey."""

_HOW = ("walk", "change", "numbers")
"""Sentences of the guide, by their catalogue keys."""


class Writer:
    """Writes the sheets of one workbook.

    Args:
        workbook: An `xlsxwriter.Workbook`.
        book: What is written.
        lang: `en` or `ko`.
    """

    def __init__(self, workbook: Any, book: Book, lang: str) -> None:
        self._workbook, self._book, self._lang = workbook, book, lang
        add = workbook.add_format
        self._title = add({"bold": True, "font_size": 14})
        self._bold = add({"bold": True})
        self._head = add({"bold": True, "bottom": 1})
        self._quiet = add({"font_color": "#666666", "align": "right"})
        self._wrapped = add({"text_wrap": True, "valign": "top"})
        self._link = add({"font_color": "#0072B2", "underline": 1})
        self._cells = {
            role: add({"bg_color": fill, "border": 1, "border_color": "#A6A6A6"})
            for role, fill in _FILLS.items()
        }

    def write(self) -> None:
        """Write the guide, and the sheet of every tensor that a formula reads or makes."""
        guide = self._workbook.add_worksheet(GUIDE)
        tensors = list(self._book.tensors())
        sheets: dict[str, Any] = {}
        for name, role in tensors:
            target = self._book.layouts[name].sheet
            if target not in sheets:
                sheets[target] = self._workbook.add_worksheet(target)
                _set_page(sheets[target])
            self._tensor(sheets[target], name, role)
        self._guide(guide, tensors)
        guide.activate()

    def _say(self, key: str, **values: object) -> str:
        return say(f"sheet.{key}", self._lang, **values)

    def _guide(self, sheet: Any, tensors: list[tuple[str, str]]) -> None:
        _set_page(sheet)
        sheet.hide_gridlines(2)
        sheet.set_column(0, 0, 34)
        sheet.set_column(1, 1, 20)
        sheet.set_column(2, 2, 64)
        sheet.write_string(0, 0, self._say("title"), self._title)
        row = 1
        frozen = sum(made.frozen for made in self._book.formulas.values())
        for key in (*_HOW, *(["frozen"] if frozen else [])):
            text = self._say(f"how.{key}", reporter=self._book.trace.reporter, count=frozen)
            sheet.merge_range(row, 0, row, 2, "", self._wrapped)
            sheet.write_string(row, 0, text, self._wrapped)
            sheet.set_row(row, 34)
            row += 1
        row += 1
        for column, key in enumerate(("sheet", "shape", "holds")):
            sheet.write_string(row, column, self._say(f"head.{key}"), self._head)
        for name, role in tensors:
            row += 1
            layout = self._book.layouts[name]
            inside = layout.sheet.replace("'", "''")
            target = f"internal:'{inside}'!A{layout.top + 1}"
            shown = name if layout.sheet == TOGETHER else layout.sheet
            sheet.write_url(row, 0, target, self._link, harmless(shown))
            shape = " × ".join(map(str, self._book.values[name].shape)) or "1"
            sheet.write_string(row, 1, shape)
            sheet.write_string(row, 2, self._holds(name, role))

    def _holds(self, name: str, role: str) -> str:
        """Say what a tensor is."""
        step = self._book.trace.steps.get(name)
        if step is None:
            key = "bias" if role == "kernel" and len(self._book.values[name].shape) == 1 else role
            return harmless(self._say(f"holds.{key}", name=printable(name)))
        made = self._book.formulas[name]
        key = (
            "output" if not made.frozen else "frozen" if made.frozen == len(made.texts) else "part"
        )
        operands = ", ".join(map(printable, step.operands.values()))
        return harmless(
            self._say(
                f"holds.{key}", name=printable(name), kind=printable(step.kind), operands=operands
            )
        )

    def _tensor(self, sheet: Any, name: str, role: str) -> None:
        layout, made = self._book.layouts[name], self._book.formulas.get(name)
        sheet.set_column(0, layout.size[1] - 1, 9)
        sheet.write_string(layout.top, 0, self._holds(name, role), self._bold)
        sheet.write_url(layout.top + 1, 0, f"internal:'{GUIDE}'!A1", self._link, self._say("back"))
        self._frame(sheet, name, layout)
        value = self._book.values[name]
        numbers = np.asarray(value.box((slice(None),) * len(value.shape))).ravel().tolist()
        for place, (index, number) in enumerate(
            zip(np.ndindex(layout.shape), numbers, strict=True)
        ):
            row, column = layout.cell(index)
            text = made.texts[place] if made else None
            look = self._cells["frozen" if made and text is None else role]
            if text is None:
                sheet.write_number(row, column, number, look)
            else:
                sheet.write_formula(row, column, f"={text}", look, _cached(number))

    def _frame(self, sheet: Any, name: str, layout: Layout) -> None:
        """Write the address of every block, and the numbers of its rows and columns."""
        rows, columns = layout.block
        for outer in itertools.product(*map(range, layout.shape[:-2])):
            row, column = layout.corner(outer)
            inner = ",".join([*map(str, outer), *":" * min(len(layout.shape), 2)])
            sheet.write_string(row - 2, column, harmless(f"{name}[{inner}]"), self._bold)
            for across in range(columns if len(layout.shape) > 1 else 0):
                sheet.write_number(row - 1, column + across, across, self._quiet)
            for down in range(rows if layout.shape else 0):
                sheet.write_number(row + down, column - 1, down, self._quiet)


def _set_page(sheet: Any) -> None:
    """Print a sheet on pages of its whole width."""
    sheet.set_landscape()
    sheet.set_paper(9)  # A4
    sheet.fit_to_pages(1, 0)


def _cached(number: float) -> str:
    """Write the result to store beside a formula."""
    return f"{number:.17g}" if math.isfinite(number) else "#NUM!"
