"""Reads a worksheet in HTML as a person, or a screen reader, does."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

import numpy as np


@dataclass
class Table:
    """A table: NaN where a number is to be filled in, or is hidden."""

    role: str
    caption: str = ""
    columns: list[str] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)
    cells: list[list[str]] = field(default_factory=list)

    @property
    def numbers(self) -> np.ndarray:
        return np.array([[number(text) for text in row] for row in self.cells])


@dataclass
class Section:
    """One exercise."""

    text: str = ""
    tables: list[Table] = field(default_factory=list)
    answers: list[float] = field(default_factory=list)


@dataclass
class Sheet:
    """One sheet, or one key; `fields` are the names of what can be filled in."""

    solved: bool
    heading: str = ""
    sections: list[Section] = field(default_factory=list)
    fields: list[str] = field(default_factory=list)


def number(text: str) -> float:
    return float(text.replace("−", "-")) if text.strip() not in ("", "?") else np.nan


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.sheets: list[Sheet] = []
        self.open: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag == "article":
            self.sheets.append(Sheet(attributes["class"] == "key"))
        elif tag == "section":
            self.sheets[-1].sections.append(Section())
        elif tag == "table":
            self.sheets[-1].sections[-1].tables.append(Table(str(attributes["class"])))
        elif tag == "tr" and self.sheets[-1].sections[-1].tables[-1].columns:
            self.sheets[-1].sections[-1].tables[-1].cells.append([])
        elif tag == "input":
            label = self.text if any(name == "label" for name, _ in self.open) else ""
            self.sheets[-1].fields.append(attributes.get("aria-label") or label)
        if tag not in ("input", "meta"):
            self.open.append((tag, attributes))
            self.text = ""

    def handle_data(self, data: str) -> None:
        self.text += data
        if any(tag == "section" for tag, _ in self.open):
            self.sheets[-1].sections[-1].text += data

    def handle_endtag(self, tag: str) -> None:
        name, attributes = self.open.pop()
        assert name == tag, f"{tag} closes {name}"
        if not self.sheets:
            return
        sheet = self.sheets[-1]
        if tag == "h2":
            sheet.heading = self.text
        if not sheet.sections:
            return
        section = sheet.sections[-1]
        inside = bool(section.tables) and any(one == "table" for one, _ in self.open)
        table = section.tables[-1] if inside else None
        if table and tag == "caption":
            table.caption = self.text
        elif table and tag == "th":
            (table.columns if attributes["scope"] == "col" else table.rows).append(self.text)
        elif table and tag == "td" and table.cells:
            table.cells[-1].append(self.text)
        if attributes.get("class") == "answer":
            section.answers.append(number(self.text))


def read_sheets(html: str) -> list[Sheet]:
    """Read all sheets and keys, in their order."""
    reader = _Reader()
    reader.feed(html)
    assert not reader.open
    return reader.sheets
