"""LibreOffice as an outside judge: it computes a spreadsheet again, whatever is stored in it."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PROGRAM = shutil.which("soffice") or shutil.which("libreoffice")

MISSING = "LibreOffice is not installed; on Debian: apt install libreoffice-calc"

# 0: always compute again when a file is opened. The usual setting trusts stored results.
_PROFILE = """<?xml version="1.0" encoding="UTF-8"?>
<oor:items xmlns:oor="http://openoffice.org/2001/registry">
<item oor:path="/org.openoffice.Office.Calc/Formula/Load"><prop oor:name="OOXMLRecalcMode"
 oor:op="fuse"><value>0</value></prop></item>
</oor:items>
"""

# Comma, double quotes, UTF-8, from line 1; numbers in full, not as shown; every sheet.
_FILTER = "csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,true,false,false,false,-1"

Rows = list[list[str]]


def recalculate(books: Sequence[Path], folder: Path) -> list[dict[str, Rows]]:
    """Return the cells of every sheet of some workbooks, computed again.

    Args:
        books: Files with names that do not begin like each other.
        folder: A folder to work in.
    """
    assert PROGRAM is not None
    user = folder / "profile" / "user"
    user.mkdir(parents=True)
    (user / "registrymodifications.xcu").write_text(_PROFILE, encoding="utf-8")
    out = folder / "csv"
    profile = f"-env:UserInstallation={(folder / 'profile').as_uri()}"
    subprocess.run(
        [PROGRAM, profile, "--headless", "--convert-to", _FILTER, "--outdir", out, *books],
        check=True,
        capture_output=True,
        timeout=180,
    )
    found: list[dict[str, Rows]] = []
    for book in books:
        sheets: dict[str, Rows] = {}
        for file in sorted(out.glob(f"{book.stem}-*.csv")):
            with file.open(encoding="utf-8", newline="") as stream:
                sheets[file.stem.removeprefix(f"{book.stem}-")] = list(csv.reader(stream))
        assert sheets, f"LibreOffice wrote no sheet of {book}"
        found.append(sheets)
    return found


def tensor(sheets: dict[str, Rows], name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Read a tensor as a person does: below the address that stands over each of its blocks."""
    result = np.full(shape, np.nan)
    height, width = (*shape[-2:], 1) if len(shape) == 1 else shape[-2:]
    for rows in sheets.values():
        for row, cells in enumerate(rows):
            for column, text in enumerate(cells):
                label = re.fullmatch(r"'?(.+)\[([\d,:]*)\]", text)
                if label is None or label[1] != name:
                    continue
                outer = tuple(int(place) for place in label[2].split(",") if place.isdigit())
                numbers = [
                    [float(rows[row + 2 + down][column + across]) for across in range(width)]
                    for down in range(height)
                ]
                result[outer] = np.reshape(numbers, shape[len(outer) :])
    assert not np.isnan(result).any(), f"{name}: not every block was found"
    return result


# Precedents --------------------------------------------------------------------------------------

Cell = tuple[int, int, int]
"""Sheet, row and column, counted from 0."""

# What LibreOffice takes a formula to refer to, which is what its Trace Precedents goes through;
# and what that, asked for one cell, answers (positions on the sheet; it leaves the sheets out).
_MACRO = """
Function Place(one, cell) As String
  Dim r, c, s
  r = one.Row
  c = one.Column
  s = one.Sheet
  ' ReferenceFlags: COLUMN_RELATIVE, ROW_RELATIVE, SHEET_RELATIVE
  If one.Flags And 1 Then c = cell.Column + one.RelativeColumn
  If one.Flags And 4 Then r = cell.Row + one.RelativeRow
  If one.Flags And 16 Then s = cell.Sheet + one.RelativeSheet
  Place = s & "," & r & "," & c
End Function

Function Referred(token, cell) As String
  On Error Resume Next
  Referred = ""
  Referred = Place(token.Data.Reference1, cell) & ":" & Place(token.Data.Reference2, cell)
  If Referred = "" Then Referred = Place(token.Data, cell)
End Function

Sub Main(book As String, out As String)
  Dim doc, sheet, n, a, row, column, cell, token, line, p
  Dim hidden(0) As New com.sun.star.beans.PropertyValue
  hidden(0).Name = "Hidden"
  hidden(0).Value = True
  doc = StarDesktop.loadComponentFromURL(book, "_blank", 0, hidden())
  Open out For Output As #1
  For n = 0 To doc.Sheets.Count - 1
    sheet = doc.Sheets.getByIndex(n)
    For Each a In sheet.queryContentCells(com.sun.star.sheet.CellFlags.STRING).RangeAddresses
      For row = a.StartRow To a.EndRow
        For column = a.StartColumn To a.EndColumn
          line = sheet.getCellByPosition(column, row).String
          Print #1, "text " & n & "," & row & "," & column & " " & line
        Next
      Next
    Next
    For Each a In sheet.queryContentCells(com.sun.star.sheet.CellFlags.FORMULA).RangeAddresses
      For row = a.StartRow To a.EndRow
        For column = a.StartColumn To a.EndColumn
          cell = sheet.getCellByPosition(column, row)
          line = "formula " & n & "," & row & "," & column
          For Each token In cell.getTokens()
            line = line & " " & Referred(token, cell.CellAddress)
          Next
          Print #1, line
          line = "traced"
          For Each p In cell.queryPrecedents(False).RangeAddresses
            line = line & " " & p.StartRow & "," & p.StartColumn
            line = line & ":" & p.EndRow & "," & p.EndColumn
          Next
          Print #1, line
        Next
      Next
    Next
  Next
  Close #1
  doc.close(True)
End Sub
"""


# What Trace Precedents draws, pressed for one cell until nothing is added: lines, each from a cell
# that is referred to. Points are in hundredths of a millimetre.
_ARROWS = """
Sub Main(book As String, out As String, where As String)
  Dim doc, sheet, place, asked, cell, shape, points, i, level, known
  Dim hidden(0) As New com.sun.star.beans.PropertyValue
  hidden(0).Name = "Hidden"
  hidden(0).Value = True
  doc = StarDesktop.loadComponentFromURL(book, "_blank", 0, hidden())
  place = Split(where, ",")
  sheet = doc.Sheets.getByIndex(CInt(place(0)))
  asked = sheet.getCellByPosition(CLng(place(2)), CLng(place(1))).CellAddress
  Open out For Output As #1
  For i = 0 To 99
    cell = sheet.getCellByPosition(i, i)
    Print #1, "edge " & cell.Position.X & " " & cell.Position.Y
  Next
  known = 0
  For level = 1 To 9
    If Not sheet.showPrecedents(asked) Then Exit For
    Print #1, "level"
    For i = known To sheet.DrawPage.Count - 1
      shape = sheet.DrawPage.getByIndex(i)
      If shape.ShapeType = "com.sun.star.drawing.LineShape" Then
        points = shape.PolyPolygon
        Print #1, "line " & points(0)(0).X & " " & points(0)(0).Y & _
          " " & points(0)(1).X & " " & points(0)(1).Y
      End If
    Next
    known = sheet.DrawPage.Count
  Next
  Close #1
  doc.close(True)
End Sub
"""


@dataclass
class Book:
    """What LibreOffice says of a workbook.

    Attributes:
        texts: By cell.
        referred: By cell with a formula, the cells that it refers to.
        traced: Likewise, the rows and columns that Trace Precedents answers, its own included.
    """

    texts: dict[Cell, str] = field(default_factory=dict)
    referred: dict[Cell, set[Cell]] = field(default_factory=dict)
    traced: dict[Cell, set[tuple[int, int]]] = field(default_factory=dict)

    def cells(self, name: str, shape: tuple[int, ...]) -> dict[tuple[int, ...], Cell]:
        """Find the cell of every number of a tensor, by the addresses that stand over blocks.

        A tensor without a sheet has none.
        """
        found: dict[tuple[int, ...], Cell] = {}
        height, width = (*shape[-2:], 1) if len(shape) == 1 else shape[-2:]
        for (sheet, row, column), text in self.texts.items():
            label = re.fullmatch(r"'?(.+)\[([\d,:]*)\]", text)
            if label is None or label[1] != name:
                continue
            outer = tuple(int(place) for place in label[2].split(",") if place.isdigit())
            for down, across in np.ndindex(height, width):
                index = (*outer, down) if len(shape) == 1 else (*outer, down, across)
                found[index] = (sheet, row + 2 + down, column + across)
        assert len(found) in (0, np.prod(shape)), f"{name}: not every number was found"
        return found


def precedents(books: Sequence[Path], folder: Path) -> dict[str, Book]:
    """Ask LibreOffice for the precedents of every formula of some workbooks.

    Args:
        books: Files.
        folder: The folder that `recalculate` worked in: it made a profile for macros to live in.
    """
    _install(_MACRO, folder)
    found: dict[str, Book] = {}
    calls = [
        f'macro:///Standard.Module1.Main("{book.as_uri()}","{folder / book.stem}.txt")'
        for book in books
    ]
    _run(calls, folder)
    for book in books:
        found[book.stem] = _read(folder / f"{book.stem}.txt")
    return found


def arrows(book: Path, cell: Cell, folder: Path) -> list[set[tuple[Cell, Cell]]]:
    """Press Trace Precedents for a cell until it draws nothing more, and read the arrows.

    Args:
        book: A file with at most 100 rows and columns on the sheet.
        cell: A cell with a formula.
        folder: As for `precedents`.

    Returns:
        For each time, the arrows that were added: the cells where they start and end.
    """
    _install(_ARROWS, folder)
    out = folder / f"{book.stem}.arrows.txt"
    place = ",".join(map(str, cell))
    _run([f'macro:///Standard.Module1.Main("{book.as_uri()}","{out}","{place}")'], folder)
    columns: list[int] = []
    rows: list[int] = []
    levels: list[set[tuple[Cell, Cell]]] = []
    for line in out.read_text(encoding="utf-8").splitlines():
        kind, *words = line.split(" ")
        numbers = [int(word) for word in words]
        if kind == "edge":
            columns.append(numbers[0])
            rows.append(numbers[1])
        elif kind == "level":
            levels.append(set())
        else:
            x, y, to_x, to_y = numbers
            ends = [
                (bisect(rows, q) - 1, bisect(columns, p) - 1) for p, q in ((x, y), (to_x, to_y))
            ]
            start, end = ((cell[0], *one) for one in ends)
            levels[-1].add((start, end))
    return levels


def _install(macro: str, folder: Path) -> None:
    """Put a macro where LibreOffice finds it."""
    library = folder / "profile" / "user" / "basic" / "Standard"
    module = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<script:module '
        'xmlns:script="http://openoffice.org/2000/script" script:name="Module1" '
        f'script:language="StarBasic">{escape(macro)}</script:module>\n'
    )
    (library / "Module1.xba").write_text(module, encoding="utf-8")


def _run(calls: Sequence[str], folder: Path) -> None:
    assert PROGRAM is not None
    profile = f"-env:UserInstallation={(folder / 'profile').as_uri()}"
    subprocess.run(
        [PROGRAM, profile, "--headless", "--norestore", *calls],
        check=True,
        capture_output=True,
        timeout=180,
    )


def _read(file: Path) -> Book:
    book, last = Book(), (0, 0, 0)
    for line in file.read_text(encoding="utf-8").splitlines():
        kind, *words = line.split(" ")
        if kind == "text":
            book.texts[_cell(words[0])] = " ".join(words[1:])
        elif kind == "formula":
            last = _cell(words[0])
            book.referred[last] = {cell for word in words[1:] if word for cell in _range(word)}
        elif kind == "traced":
            book.traced[last] = {(cell[0], cell[1]) for word in words for cell in _range(word)}
    return book


def _cell(text: str) -> Cell:
    sheet, row, column = map(int, text.split(","))
    return sheet, row, column


def _range(text: str) -> list[tuple[int, ...]]:
    """List the cells of `0,4,1:0,5,2`, in any number of axes."""
    ends = [[int(place) for place in end.split(",")] for end in text.split(":")]
    first, last = ends[0], ends[-1]
    sizes = [b - a + 1 for a, b in zip(first, last, strict=True)]
    return [tuple(a + b for a, b in zip(first, at, strict=True)) for at in np.ndindex(*sizes)]
