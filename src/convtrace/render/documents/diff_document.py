"""A report as a file: JSON for programs, HTML to read, plain text.

One convolution and two networks have one form each; `format` says which. Numbers are written as in
every document of convtrace: NaN, infinities and integers beyond 2^53 are texts.
"""

from __future__ import annotations

import itertools
import math
from html import escape
from typing import Any, Literal

import msgspec

from convtrace.catalog import say
from convtrace.mismatch.networks.report import ModelReport, Pair
from convtrace.mismatch.report import Apart, Cause, Note, Report
from convtrace.receipt import Receipt
from convtrace.render.documents.document import (
    Num,
    ReceiptDocument,
    TensorDocument,
    number_of,
    plain,
    receipt_document,
    tensor_document,
)
from convtrace.render.look import Look
from convtrace.render.text.diff import blocks, heading
from convtrace.render.text.diff_models import Words, model_report_text
from convtrace.render.text.receipt import receipt_text
from convtrace.step import Value

VERSION = 1
"""Version of the format; it is raised when a reader of the former one would be misled."""

Verdict = Literal["exact", "rounding", "mismatch", "nonfinite"]


class CauseDocument(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """One cause.

    Attributes:
        id: What it is, e.g. `kernel.flipped` or `model.setting.stride`.
        parameters: What it is exactly.
        proved: Whether it reproduces every number.
        share: Share of the numbers that it reproduces.
    """

    id: str
    parameters: dict[str, Any]
    proved: bool
    share: float


class ApartDocument(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """An input that tells causes apart which the data of a report cannot.

    Attributes:
        x: Input.
        weight: Weights to use with it; None where the layer's own will do.
        bias: Bias to use with it, or None.
        expected: The right output.
        outputs: The output under each explanation, in their order.
        channels: Whether the weights have more channels than the layer's.
    """

    x: TensorDocument
    weight: TensorDocument | None
    bias: TensorDocument | None
    expected: TensorDocument
    outputs: list[TensorDocument]
    channels: bool


class ReportDocument(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """The report of one convolution.

    Attributes:
        verdict: As in receipts, for all numbers together.
        explanations: Each explains the output alone: a list of causes that act together.
        functions: Which function each explanation computes, counted from 0; those of one number
            are one function under several names.
        proved: Whether exactly one function was found that makes the output, on enough evidence.
        apart: What tells the functions apart, where there are several, or None.
        inside: Share of the numbers inside their bound.
        count: How many numbers there are.
        ratio: Largest residual / bound.
        arithmetic: The arithmetic that the bound belongs to, in a few words.
        tolerance: `rtol`, `atol` and a line of code that are right for a test, or None.
        spread: `size`, `mean`, `expected`, `usual` and `drift` of all residuals together, or None.
        pattern: What a residual of unknown cause looks like: remarks, or None.
        settings: Settings that were compared with.
        found: Names of those that were searched for.
        shape: Shape of the output.
        expected_shape: Shape that the settings give.
        worst: Receipts of the numbers that are furthest out.
        notes: Remarks as catalogue key and values.
        name: Name of the step.
    """

    verdict: Verdict
    explanations: list[list[CauseDocument]]
    functions: list[int]
    proved: bool
    apart: ApartDocument | None
    inside: Num
    count: int
    ratio: Num
    arithmetic: str | None
    tolerance: dict[str, Any] | None
    spread: dict[str, Any] | None
    pattern: list[tuple[str, dict[str, Any]]] | None
    settings: dict[str, Any]
    found: list[str]
    shape: list[int]
    expected_shape: list[int]
    worst: list[ReceiptDocument]
    notes: list[tuple[str, dict[str, Any]]]
    name: str
    format: Literal["convtrace.report"] = "convtrace.report"
    version: int = VERSION


class PairDocument(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Two steps that stand for each other; `Pair` explains each field."""

    reference: str
    mine: str
    kind: str
    mine_kind: str
    by: str
    verdict: Verdict | None
    ratio: Num
    inside: Num
    outside: int
    size: Num
    count: int
    shape: list[int]
    mine_shape: list[int]
    with_reference: list[str]
    with_mine: list[str]
    fed: str
    difference: Num
    scale: Num
    proved: bool
    own: bool | None
    worst: list[int]
    note: tuple[str, dict[str, Any]] | None


class ModelReportDocument(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """The report of two networks.

    Attributes:
        verdict: As in receipts, for all steps together.
        first: Name of the first wrong step of the reference, or None.
        causes: What is wrong with it.
        clues: What differs there between the two, as catalogue key and values.
        pairs: The steps that were paired, in the order of the reference.
        unaligned_reference: Steps of the reference that stand for nothing in mine.
        unaligned_mine: The same the other way round.
        outputs: Largest difference of what the two return, and its typical size, or None.
        report: The report of the first wrong step as a single convolution, or None.
        worst: Receipts of its numbers that are furthest out.
        notes: Remarks as catalogue key and values.
    """

    verdict: Verdict
    first: str | None
    causes: list[CauseDocument]
    clues: list[tuple[str, dict[str, Any]]]
    pairs: list[PairDocument]
    unaligned_reference: list[str]
    unaligned_mine: list[str]
    outputs: list[Num] | None
    report: ReportDocument | None
    worst: list[ReceiptDocument]
    notes: list[tuple[str, dict[str, Any]]]
    format: Literal["convtrace.model_report"] = "convtrace.model_report"
    version: int = VERSION


def report_json(report: Report | ModelReport) -> bytes:
    """Write a report as JSON."""
    document = report_document(report)
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"


def report_document(report: Report | ModelReport) -> ReportDocument | ModelReportDocument:
    """Turn a report into its document."""
    return _model(report) if isinstance(report, ModelReport) else _single(report)


def _single(report: Report) -> ReportDocument:
    tolerance, spread, pattern = report.tolerance, report.spread, report.pattern
    return ReportDocument(
        verdict=report.verdict,
        explanations=[[_cause(cause) for cause in causes] for causes in report.explanations],
        functions=list(report.functions),
        proved=report.proved,
        apart=_apart(report.apart) if report.apart else None,
        inside=number_of(report.inside),
        count=report.count,
        ratio=number_of(report.ratio),
        arithmetic=report.arithmetic.describe() if report.arithmetic else None,
        tolerance=tolerance and _fields(tolerance, "rtol", "atol", "code"),
        spread=spread and _fields(spread, "size", "mean", "expected", "usual", "drift"),
        pattern=_notes(pattern.findings) if pattern else None,
        settings=plain(dict(report.settings)),
        found=list(report.found),
        shape=list(report.shape),
        expected_shape=list(report.expected_shape),
        worst=[receipt_document(receipt) for receipt in report.worst],
        notes=_notes(report.notes),
        name=report.name,
    )


def _model(report: ModelReport) -> ModelReportDocument:
    outputs = report.outputs
    return ModelReportDocument(
        verdict=report.verdict,
        first=report.first.reference if report.first else None,
        causes=[_cause(cause) for cause in report.causes],
        clues=_notes(report.clues),
        pairs=[_pair(pair) for pair in report.pairs],
        unaligned_reference=list(report.unaligned[0]),
        unaligned_mine=list(report.unaligned[1]),
        outputs=[number_of(number) for number in outputs] if outputs else None,
        report=_single(report.report) if report.report else None,
        worst=[receipt_document(receipt) for receipt in report.worst],
        notes=_notes(report.notes),
    )


def _apart(apart: Apart) -> ApartDocument:
    def tensor(name: str, array: Any) -> TensorDocument:
        return tensor_document(Value(name, array, "constant"))

    return ApartDocument(
        x=tensor("x", apart.x),
        weight=None if apart.weight is None else tensor("weight", apart.weight),
        bias=None if apart.bias is None else tensor("bias", apart.bias),
        expected=tensor("expected", apart.expected),
        outputs=[tensor("output", array) for array in apart.outputs],
        channels=apart.channels,
    )


def _cause(cause: Cause) -> CauseDocument:
    return CauseDocument(cause.id, plain(dict(cause.parameters)), cause.proved, cause.share)


def _pair(pair: Pair) -> PairDocument:
    return PairDocument(
        reference=pair.reference,
        mine=pair.mine,
        kind=pair.kind,
        mine_kind=pair.mine_kind,
        by=pair.by,
        verdict=pair.verdict,
        ratio=number_of(pair.ratio),
        inside=number_of(pair.inside),
        outside=pair.outside,
        size=number_of(pair.size),
        count=pair.count,
        shape=list(pair.shape),
        mine_shape=list(pair.mine_shape),
        with_reference=list(pair.with_reference),
        with_mine=list(pair.with_mine),
        fed=pair.fed,
        difference=number_of(pair.difference),
        scale=number_of(pair.scale),
        proved=pair.proved,
        own=pair.own,
        worst=list(pair.worst),
        note=_notes([pair.note])[0] if pair.note else None,
    )


def _notes(notes: Any) -> list[tuple[str, dict[str, Any]]]:
    listed: list[Note] = list(notes)
    return [(key, plain(dict(values))) for key, values in listed]


def _fields(thing: Any, *names: str) -> dict[str, Any]:
    return {name: plain(getattr(thing, name)) for name in names}


def report_txt(report: Report | ModelReport, *, lang: str = "en") -> bytes:
    """Write a report as text, with every pair of steps."""
    whole = isinstance(report, ModelReport)
    text = model_report_text(report, lang, everything=True) if whole else report.text(lang)
    return (text + "\n").encode("utf-8")


# HTML --------------------------------------------------------------------------------------------

_COLOURS = {
    "light": ("#ffffff", "#1a1a1a", "#5f5f5f", "#d9d9d9", "#b34700"),
    "dark": ("#16181c", "#ececec", "#a5a5a5", "#3a3d42", "#ff8a47"),
}
"""Ground, text, quiet text, lines, and mismatch (a vermilion that can be read on the ground)."""


def report_html(report: Report | ModelReport, *, lang: str = "en", theme: str = "light") -> bytes:
    """Write a report as a page of its own: one section, and nothing from any network."""
    ground, text, quiet, line, wrong = _COLOURS[theme]
    title = escape(say("diff_models.title", lang))
    style = (
        f":root{{color-scheme:{theme}}}"
        f"body{{margin:0;background:{ground};color:{text};"
        "font:16px/1.55 system-ui,'Noto Sans KR','Apple SD Gothic Neo','Malgun Gothic',sans-serif}"
        "section{max-width:64rem;margin:2rem auto;padding:0 1.25rem}"
        "h1{font-size:1.5rem;line-height:1.3}h2{font-size:1.1rem;margin-top:2rem}"
        f"h1.mismatch,tr.mismatch td{{color:{wrong}}}tr.mismatch td{{font-weight:600}}"
        f"p.quiet,li.also{{color:{quiet}}}ul{{padding-left:1.25rem}}"
        "li.also{list-style:none}summary{cursor:pointer;padding:.25rem 0}"
        ".scroll{overflow-x:auto}"
        "table{border-collapse:collapse;font-variant-numeric:tabular-nums}"
        f"th,td{{padding:.3rem .8rem;border-bottom:1px solid {line};text-align:left;"
        "overflow-wrap:anywhere}"
        "th.n,td.n{text-align:right;white-space:nowrap}"
        f"pre{{overflow-x:auto;padding:1rem;border:1px solid {line};border-radius:6px;"
        "font:13px/1.45 ui-monospace,Menlo,Consolas,'D2Coding',monospace}"
    )
    body = _section(report, lang)
    page = (
        f'<!doctype html>\n<html lang="{lang}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{style}</style>\n</head>\n<body>\n{body}\n</body>\n"
        "</html>\n"
    )
    return page.encode("utf-8")


def _section(report: Report | ModelReport, lang: str) -> str:
    if isinstance(report, ModelReport):
        return _model_section(report, lang)
    look = Look(lang)
    parts = [_heading(heading(report, look), report.verdict)]
    for block in blocks(report, look):
        for kind, group in itertools.groupby(block, key=lambda part: _TAGS[part[0]]):
            parts.append(_group(kind, [(one, escape(text)) for one, text in group]))
    if report.apart is not None:
        parts.append(_apart_section(report.apart, lang))
    if report.worst and report.verdict == "mismatch" and not math.isnan(report.inside):
        parts.append(_receipts(report.worst, lang))
    return f"<section>\n{chr(10).join(parts)}\n</section>"


_TAGS = {"text": "p", "item": "ul", "also": "ul", "line": "pre"}


def _group(tag: str, parts: list[tuple[str, str]]) -> str:
    """Write parts of one kind that follow each other."""
    if tag == "p":
        return "\n".join(f"<p>{text}</p>" for _, text in parts)
    if tag == "pre":
        return f"<pre>{chr(10).join(text for _, text in parts)}</pre>"
    items = "".join(
        f"<li{' class=also' if kind == 'also' else ''}>{text}</li>" for kind, text in parts
    )
    return f"<ul>{items}</ul>"


def _apart_section(apart: Apart, lang: str) -> str:
    """Write the input that tells causes apart, and what each of them makes of it."""
    arrays = {"x": apart.x, "weight": apart.weight, "bias": apart.bias, "expected": apart.expected}
    rows = [(say(f"diff.apart.names.{key}", lang), a) for key, a in arrays.items() if a is not None]
    rows += [
        (say("diff.apart.names.output", lang, number=number), array)
        for number, array in enumerate(apart.outputs, 1)
    ]
    title = escape(say("diff.apart.title", lang))
    shown = "\n".join(
        f"<details><summary>{escape(label)} {tuple(array.shape)}</summary>"
        f"<pre>{escape(str(array).replace('-', '−'))}</pre></details>"
        for label, array in rows
    )
    return f"<h2>{title}</h2>\n{shown}"


def _heading(text: str, verdict: str) -> str:
    return f'<h1 class="{verdict}">{escape(text)}</h1>'


def _model_section(report: ModelReport, lang: str) -> str:
    words = Words(lang)
    parts = [_heading(words.head(report), report.verdict)]
    for block in words.blocks(report):
        listed = [sentence for sentence in block if sentence.startswith(" ")]
        parts += [f"<p>{escape(s)}</p>" for s in block if not s.startswith(" ")]
        if listed:
            items = "".join(f"<li>{escape(sentence.strip())}</li>" for sentence in listed)
            parts.append(f"<ul>{items}</ul>")
    if report.pairs:
        parts += [f"<h2>{escape(words.say('diff_models.pairs'))}</h2>", _table(report, words)]
    parts += [f'<p class="quiet">{escape(s)}</p>' for s in words.below(report, everything=True)]
    if report.worst and report.first is not None:
        parts.append(_receipts(report.worst, lang, words.worst(report)))
    return f"<section>\n{chr(10).join(parts)}\n</section>"


def _receipts(receipts: tuple[Receipt, ...], lang: str, introduction: str = "") -> str:
    """Write the receipts of the numbers that are furthest out."""
    parts = [f"<h2>{escape(say('diff_models.receipts', lang))}</h2>"]
    if introduction:
        parts.append(f"<p>{escape(introduction)}</p>")
    parts += [f"<pre>{escape(receipt_text(receipt, lang))}</pre>" for receipt in receipts]
    return "\n".join(parts)


def _table(report: ModelReport, words: Words) -> str:
    def row(cells: list[str], tag: str, kind: str = "") -> str:
        found = "".join(
            f"<{tag}{' class=n' if place > 2 else ''}>{escape(cell)}</{tag}>"
            for place, cell in enumerate(cells)
        )
        return f"<tr{f' class={kind}' if kind else ''}>{found}</tr>"

    rows = [row(words.row(pair), "td", pair.verdict or "") for pair in report.pairs]
    head = row(words.heading(), "th")
    body = "\n".join(rows)
    table = f"<table>\n<thead>{head}</thead>\n<tbody>\n{body}\n</tbody></table>"
    return f'<div class="scroll">{table}</div>'
