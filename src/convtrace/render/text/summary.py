"""A summary as a table, for terminals and pipes: one line for each step, its formulas below it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from convtrace.catalog import choose_language, say
from convtrace.graph import Trace
from convtrace.receptive import AxisField, Field
from convtrace.render.look import KERNEL, QUIET, SUM, WIDTH, WINDOW, Look, kind_name, name
from convtrace.render.numbers import MINUS
from convtrace.render.text.printing import print_lines
from convtrace.summary import Formula, Row, summarize, totals

NONE = "—"
GAP = "  "

COLUMNS = ("kind", "output", "parameters", "macs", "field", "stride", "start")
"""Columns behind the name; their headings are `summary.heading.…` in the catalogue."""

_LEFT = 2
"""So many columns hold words, flush left; the others hold numbers, flush right."""

_FIELD = len(COLUMNS) - 3
"""The last three columns are the receptive field."""

_STYLES = (QUIET, SUM, KERNEL, "", WINDOW, WINDOW, WINDOW)

Say = Callable[..., str]


def summary_text(trace: Trace, lang: str | None = None, *, width: int = WIDTH) -> str:
    """Write the summary of a trace as plain text.

    Args:
        trace: The trace.
        lang: `en` or `ko`; None takes the locale's.
        width: Cells of a line. Where names and numbers do not fit beside each other, each name
            has a line of its own.
    """
    return "\n".join(line.plain for line in summary_lines(trace, lang, width=width))


def print_summary(trace: Trace, console: Console, lang: str | None = None) -> None:
    """Print the summary of a trace, in colour where the console has any.

    Lines are never wrapped: a narrow terminal does that itself, without losing a number.
    """
    print_lines(console, lambda width: summary_lines(trace, lang, width=width), most=160)


def summary_lines(trace: Trace, lang: str | None = None, *, width: int = WIDTH) -> list[Text]:
    """Write the summary as lines of styled text; `summary_text` has the arguments."""
    look = Look(choose_language(lang), width=width)
    speak = partial(_say, look)
    rows = summarize(trace)
    several = len({field.input for row in rows for field in row.fields}) > 1
    told: set[str] = set()
    entries = [_entry(row, speak, several, told) for row in rows]
    every = totals(rows)
    sums = ("", "", f"{every.parameters:,}", f"{every.macs:,}", "", "", "")
    total = _Entry(speak("total", steps=every.steps), [sums])
    heading = _Entry(speak("heading.step"), [tuple(speak(f"heading.{key}") for key in COLUMNS)])
    table = _Table.of([heading, *entries, total], width)
    lines = [*table.write(heading, "bold"), Text("─" * table.width, QUIET)]
    for entry in entries:
        lines += table.write(entry)
    lines += [Text("─" * table.width, QUIET), *table.write(total, "bold")]
    lines.append(Text())
    legend = ["legend.macs"]
    axes = [axis for row in rows for field in row.fields for axis in field.axes]
    if axes:
        legend.append("legend.field")
    if any(not axis.strides for axis in axes):
        legend.append("legend.no_stride")
    for key in legend:
        lines += [Text(line, QUIET) for line in look.wrap(speak(key))]
    for line in lines:
        line.rstrip()
    return lines


def _say(look: Look, key: str, **values: object) -> str:
    return say(f"summary.{key}", look.lang, **values)


# What the cells say ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Entry:
    """One step of the table.

    Attributes:
        label: Name of the step.
        cells: Its cells, one list for each input; a shorter last cell spans the columns behind it.
        tails: What stands behind the cells of each line.
        notes: Lines below, e.g. formulas.
    """

    label: str
    cells: list[tuple[str, ...]]
    tails: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def _entry(row: Row, speak: Say, several: bool, told: set[str]) -> _Entry:
    notes = [_formula(formula, speak) for formula in row.formulas]
    parameters = f"{row.parameters:,}" if row.parameters else NONE
    if row.shared:
        if row.parameters:
            notes.append(speak("shared.more", count=f"{row.shared:,}"))
        else:
            parameters = speak("shared.all")
    for field in row.fields:
        note = _field_note(field, speak)
        if note and note not in told:  # the steps below have it from here
            told.add(note)
            notes.append(note)
    first = (
        kind_name(row.kind),
        "×".join(map(str, row.shape)) or "()",
        parameters,
        NONE if row.macs is None else f"{row.macs:,}",
    )
    fields = [_field_cells(field, speak) for field in row.fields] or [(NONE,)]
    cells = [first + fields[0], *(("",) * len(first) + more for more in fields[1:])]
    tails = tuple(speak("tail", input=name(field.input)) for field in row.fields if several)
    return _Entry(name(row.name), cells, tails, tuple(notes))


def _formula(formula: Formula, speak: Say) -> str:
    axes = [speak(f"axis.{axis}") for axis in formula.names]
    return speak("formula", axes=", ".join(axes), formula=formula.text)


def _field_note(field: Field, speak: Say) -> str:
    if field.unknown_since:
        return speak("unknown.since", step=name(field.unknown_since))
    apart = [axis for axis in field.axes if not axis.aligned]
    strides = sorted({stride for axis in apart for stride in axis.strides})
    return speak("not_aligned", strides=", ".join(map(str, strides))) if apart else ""


def _field_cells(field: Field, speak: Say) -> tuple[str, ...]:
    """Write size, stride and start, once where all axes agree; or one message for them."""
    if not field.axes:
        return (speak("unknown.cell"),)
    if all(axis.whole for axis in field.axes):
        return (speak("whole"),)
    sizes = [speak("all") if axis.whole else _optional(axis.size) for axis in field.axes]
    strides = [_strides(axis) for axis in field.axes]
    starts = [_optional(axis.start) for axis in field.axes]
    return _once(sizes, "×"), _once(strides, "×"), _once(starts, ",")


def _once(texts: list[str], between: str) -> str:
    return texts[0] if len(set(texts)) == 1 else between.join(texts)


def _optional(number: int | None) -> str:
    return NONE if number is None else str(number).replace("-", MINUS)


def _strides(axis: AxisField) -> str:
    return "|".join(map(_fraction, axis.strides)) or NONE


def _fraction(stride: Fraction) -> str:
    return str(stride).replace("-", MINUS)


# How they are laid out ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Table:
    """The widths of a table, in cells.

    Attributes:
        label: Width of the names; 0 where they have lines of their own.
        widths: Widths of the columns.
    """

    label: int
    widths: tuple[int, ...]

    @classmethod
    def of(cls, entries: list[_Entry], width: int) -> _Table:
        """Measure the entries; names stand beside their numbers if all of that fits."""
        every = [cells for entry in entries for cells in entry.cells]
        widths = [0] * len(COLUMNS)
        for cells in every:
            for number, cell in enumerate(cells):
                if len(cells) == len(COLUMNS) or number < len(cells) - 1:
                    widths[number] = max(widths[number], cell_len(cell))
        spans = (cell_len(cells[-1]) for cells in every if len(cells) < len(COLUMNS))
        missing = max(spans, default=0) - sum(widths[_FIELD:]) - 2 * len(GAP)
        widths[_FIELD] += max(missing, 0)
        label = max(cell_len(entry.label) for entry in entries if any(entry.cells[0][:_LEFT]))
        beside = cls(label, tuple(widths))
        tails = max((cell_len(tail) + 2 for entry in entries for tail in entry.tails), default=0)
        return beside if beside.width + tails <= width else cls(0, tuple(widths))

    @property
    def width(self) -> int:
        """Cells of a line."""
        return (self.label or len(GAP)) + sum(len(GAP) + width for width in self.widths)

    def write(self, entry: _Entry, style: str = "") -> Iterator[Text]:
        """Write the lines of one step."""
        label = Text(entry.label, style or "bold")
        if not any(entry.cells[0][:_LEFT]):  # a total: its words may take that room too
            start = (self.label or len(GAP)) + sum(self.widths[:_LEFT]) + _LEFT * len(GAP)
            label.pad_right(start - label.cell_len)
            self._fill(label, entry.cells[0], style, _LEFT)
            yield label
            return
        if not self.label:
            yield label
            label = Text(GAP)
        for number, cells in enumerate(entry.cells):
            line = label if number == 0 else Text()
            line.pad_right((self.label or len(GAP)) - line.cell_len)
            self._fill(line, cells, style)
            if number < len(entry.tails):
                line.append(GAP + entry.tails[number], QUIET)
            yield line
        for note in entry.notes:
            yield Text(GAP * 2 + note, QUIET)

    def _fill(self, line: Text, cells: tuple[str, ...], style: str, first: int = 0) -> None:
        widths = list(self.widths)
        if len(cells) < len(widths):
            rest = widths[len(cells) - 1 :]
            widths[len(cells) - 1 :] = [sum(rest) + len(GAP) * (len(rest) - 1)]
        columns = list(enumerate(zip(cells, widths, strict=True)))
        for number, (cell, width) in columns[first:]:
            blank = " " * (width - cell_len(cell))
            line.append(GAP if number < _LEFT else GAP + blank)
            line.append(cell, style or _STYLES[number])
            if number < _LEFT:
                line.append(blank)
