"""LibreOffice as an outside judge: it computes a spreadsheet again, whatever is stored in it."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
from collections.abc import Sequence
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
