"""Worksheets as HTML: headings, tables with row and column headers, and fields to fill in.

A browser prints each sheet on pages of its own, on A4 or Letter. On the screen, or with a screen
reader, the blanks can be filled in. Nothing runs, and nothing is loaded from anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from convtrace.render.look import Look
from convtrace.render.worksheet.content import Blank, Content, Table, content
from convtrace.render.worksheet.sheet import Worksheet, title

_STYLE = """\
@page { margin: 16mm 18mm }
* { box-sizing: border-box }
body { margin: 0; color: #1a1a1a; background: #fff; font: 10.5pt/1.45 "Helvetica Neue", Helvetica,
  Arial, "Noto Sans CJK KR", "Noto Sans KR", "Apple SD Gothic Neo", "Malgun Gothic", sans-serif;
  font-variant-numeric: tabular-nums }
main { max-width: 174mm; margin: 0 auto; padding: 1rem }
article { margin-bottom: 4rem }
h1 { position: absolute; width: 1px; height: 1px; margin: -1px; overflow: hidden;
  clip-path: inset(50%) }
h2 { font-size: 13pt; margin: 0 0 3mm }
h3 { font-size: 10.5pt; margin: 0 }
section { position: relative; margin: 5mm 0 7mm }
p { margin: 0 0 2mm }
ol, ul { list-style: none; margin: 0; padding: 0 }
.person { display: flex; gap: 8mm; margin-bottom: 6mm }
.person label { display: flex; gap: 2mm; flex: 2; align-items: end }
.person label + label { flex: 1 }
.work { display: flex; flex-wrap: wrap; align-items: center; gap: 3mm 8mm; padding-left: 5mm }
.operands > li { display: flex; align-items: center; gap: 5mm }
.operands > li + li { margin-top: 3mm }
.sign { font-size: 14pt }
table { border-collapse: collapse; text-align: right; break-inside: avoid }
caption { text-align: left; font-size: 8.5pt; white-space: nowrap }
th { font-weight: normal; font-size: 7.5pt; color: #595959; padding: 0 1mm; text-align: center }
thead th { padding: 0 }
td { border: 0.5pt solid #8a8a8a; width: 8mm; min-width: 8mm; height: 6.5mm; padding: 0 1.5mm }
thead td { border: 0; height: auto; width: auto; min-width: 0; padding: 0 }
tbody tr td:nth-child(2) { border-left-width: 1.5pt }
tbody td:last-child { border-right-width: 1.5pt }
tbody tr:first-child td { border-top-width: 1.5pt }
tbody tr:last-child td { border-bottom-width: 1.5pt }
.window caption { color: #0072b2 }
.kernel caption { color: #8a5f00 }
.output caption, .answer { color: #00734f }
.window td { border-color: #0072b2 }
.kernel td { border-color: #b07a00 }
.output td { border-color: #00734f }
.answer { font-weight: bold }
.blanks { display: flex; flex-wrap: wrap; gap: 2mm 6mm; margin: 0 }
.operands ~ .blanks { flex-direction: column }
.blanks > * { display: flex; gap: 2mm; align-items: end; justify-content: end }
.blanks dd { margin: 0; min-width: 16mm; text-align: center; border-bottom: 0.5pt solid #595959 }
input { font: inherit; color: inherit; border: 0; background: none; padding: 0; min-width: 0 }
label input { border-bottom: 0.5pt solid #595959; width: 16mm; text-align: center }
.person input { flex: 1; text-align: left }
td:has(input) { padding: 0 }
td input { width: 100%; height: 100%; text-align: center }
input:focus { outline: 2px solid #0072b2 }
.reason { font-size: 8.5pt; color: #595959; padding-left: 5mm; margin: 1.5mm 0 0 }
.drawn, .which { font-size: 7.5pt; color: #595959 }
.which { position: absolute; top: 0; right: 0; display: none }
@media print {
  main { max-width: none; padding: 0 }
  article { margin: 0 }
  article + article { break-before: page }
  .which { display: block }
  section, .operands > li { break-inside: avoid }
  h2, h3 { break-after: avoid }
  * { print-color-adjust: exact }
}
"""


def document(sheets: Sequence[Worksheet], lang: str) -> str:
    """Write all sheets, and then all answer keys.

    Args:
        sheets: The worksheets.
        lang: `en` or `ko`.
    """
    look = Look(lang, digits=None)
    head = escape(look.say("worksheet.title"))
    lines = [
        "<!DOCTYPE html>",
        f'<html lang="{lang}">',
        "<head>",
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title(sheets[0], look, solved=False))}</title>",
        f"<style>\n{_STYLE}</style>",
        "</head>",
        "<body>",
        "<main>",
        f"<h1>{head}</h1>",
    ]
    for solved in (False, True):
        for sheet in sheets:
            lines += _sheet(sheet, look, solved=solved)
    return "\n".join([*lines, "</main>", "</body>", "</html>", ""])


def _sheet(sheet: Worksheet, look: Look, *, solved: bool) -> Iterator[str]:
    name = f"{'key' if solved else 'sheet'}-{sheet.number}"
    yield f'<article class="{"key" if solved else "sheet"}" aria-labelledby="{name}">'
    yield f'<h2 id="{name}">{escape(title(sheet, look, solved=solved))}</h2>'
    drawn = look.say("worksheet.foot", seed=sheet.seed, level=sheet.level, number=sheet.number)
    yield f'<p class="drawn">{escape(drawn)}</p>'
    if not solved:
        fields = "".join(
            f'<label>{escape(look.say(f"worksheet.{key}"))} <input autocomplete="off"></label>'
            for key in ("name", "date")
        )
        yield f'<p class="person">{fields}</p>'
    which = look.say("worksheet.sheet", level=sheet.level, number=sheet.number, count=sheet.count)
    for number, exercise in enumerate(sheet.exercises, 1):
        said = content(exercise, look, solved=solved)
        yield "<section>"
        yield f'<p class="which" aria-hidden="true">{escape(which)}</p>'  # where pages get loose
        yield f"<h3>{escape(look.say('worksheet.exercise', number=number))}</h3>"
        yield f"<p>{escape(said.question)}</p>"
        yield from _work(said)
        yield from (f'<p class="reason">{escape(reason)}</p>' for reason in said.reasons)
        yield "</section>"
    yield "</article>"


def _work(said: Content) -> Iterator[str]:
    """Write the tables and the blanks of an exercise."""
    yield '<div class="work">'
    if said.operands:
        yield '<ul class="operands">'
        for source, kernel in said.operands:
            sign = '<span class="sign" aria-hidden="true">*</span>'
            yield f"<li>{_table(source)}{sign}{_table(kernel)}</li>"
        yield "</ul>"
    if said.output:
        yield f'<span class="sign" aria-hidden="true">=</span>{_table(said.output)}'
    if said.blanks:
        yield from _blanks(said.blanks)
    yield "</div>"


def _table(table: Table) -> str:
    columns = "".join(f'<th scope="col">{n}</th>' for n in range(len(table.cells[0])))
    rows = "".join(
        f'<tr><th scope="row">{row}</th>'
        + "".join(_cell(table, text, row, column) for column, text in enumerate(line))
        + "</tr>"
        for row, line in enumerate(table.cells)
    )
    return (
        f'<table class="{table.role}"><caption>{escape(table.title)}</caption>'
        f"<thead><tr><td></td>{columns}</tr></thead><tbody>{rows}</tbody></table>"
    )


def _cell(table: Table, text: str, row: int, column: int) -> str:
    if table.solved:
        return f'<td class="answer">{escape(text)}</td>'
    if text:
        return f"<td>{escape(text)}</td>"
    name = escape(f"{table.title} [{row},{column}]", quote=True)
    return f'<td><input aria-label="{name}" autocomplete="off"></td>'


def _blanks(blanks: Sequence[Blank]) -> Iterator[str]:
    """Write lines to fill in, or, as a list of names and values, what belongs there."""
    if blanks[0].answer is None:
        yield '<div class="blanks">'
        for blank in blanks:
            yield f'<label>{escape(blank.label)} <input autocomplete="off"></label>'
        yield "</div>"
        return
    yield '<dl class="blanks">'
    for blank in blanks:
        answer = escape(blank.answer or "")
        yield f'<div><dt>{escape(blank.label)}</dt> <dd class="answer">{answer}</dd></div>'
    yield "</dl>"
