"""A report of two networks as text."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from convtrace.catalog import choose_language, say
from convtrace.mismatch.networks.report import ModelReport, Pair
from convtrace.mismatch.report import Cause, Note
from convtrace.render.look import QUIET, WIDTH, WRONG, Look, name
from convtrace.render.numbers import about, grouped
from convtrace.render.text.diff import COUNTS, cause_text
from convtrace.render.text.receipt import receipt_line, receipt_lines

_NEAR = 3
_CLOSEST = 6
_NAMES = 12
_TERMS = 18

Say = Callable[..., str]


def model_report_text(
    report: ModelReport, lang: str | None = None, *, everything: bool = False, width: int = WIDTH
) -> str:
    """Write a report as plain text.

    Args:
        report: The report.
        lang: `en` or `ko`; None takes the locale's.
        everything: Show every pair of steps.
        width: Cells of a line, as long as it can be parted.
    """
    lines = model_report_lines(report, lang, everything=everything, width=width)
    return "\n".join(line.plain for line in lines)


def model_report_lines(
    report: ModelReport, lang: str | None = None, *, everything: bool = False, width: int = WIDTH
) -> list[Text]:
    """Write a report as lines of styled text; `model_report_text` has the arguments."""
    language = choose_language(lang)
    words, look = Words(language), Look(language, width=width)
    style = WRONG if report.verdict == "mismatch" else "bold"
    lines = [Text(line, style) for line in look.wrap(words.head(report))]
    for block in words.blocks(report):
        lines.append(Text())
        for sentence in block:
            inner = sentence.lstrip(" ")
            indent = " " * (len(sentence) - len(inner))
            lines += map(Text, look.wrap(inner, indent))
    lines += [Text(), *table(report, words, everything=everything)]
    for sentence in words.below(report, everything=everything):
        lines += [Text(line, QUIET) for line in look.wrap(sentence)]
    if report.worst and report.first is not None:
        lines += [Text(), *map(Text, look.wrap(words.worst(report)))]
        lines += receipt_lines(report.worst[0], language, _TERMS, width=width)
        lines += [Text(receipt_line(receipt, language)) for receipt in report.worst[1:]]
    return lines


class Words:
    """The sentences of a report in one language.

    Args:
        lang: `en` or `ko`.
    """

    def __init__(self, lang: str) -> None:
        self.lang = lang

    def say(self, key: str, **values: Any) -> str:
        """Return one message of this part of the catalogue; names are written plainly."""
        plain = {k: name(v) if isinstance(v, str) else v for k, v in values.items()}
        return say(key, self.lang, **plain)

    def head(self, report: ModelReport) -> str:
        """Say what came out."""
        if not report.pairs:
            return self.say("diff_models.head.nothing")
        if report.first is not None:
            return self.say("diff_models.head.mismatch", reference=report.first.reference)
        return self.say(f"diff_models.head.{report.verdict}", count=len(report.pairs))

    def blocks(self, report: ModelReport) -> list[list[str]]:
        """Return what is said of the first wrong step: blocks of sentences."""
        first = report.first
        blocks: list[list[str]] = []
        if first is not None:
            blocks += [self._where(first), self._why(report), self._how(first)]
            known = {self.cause(cause) for cause in report.causes}
            clues = [self.note(clue) for clue in report.clues]
            clues = list(dict.fromkeys(clue for clue in clues if clue not in known))
            if report.report is not None:
                single = [c for c in report.report.causes if c.proved and c not in report.causes]
                alike = [self.cause(cause) for cause in single]
                clues += [self.say("diff_models.as_if", cause=cause) for cause in alike]
            if clues:
                blocks.append([self.say("diff_models.clues"), *(f"  {clue}" for clue in clues)])
        notes = [self.note(note) for note in report.notes]
        notes += [
            self.note((key, {**values, "step": pair.reference}))
            for pair in report.unjudged
            for key, values in ([pair.note] if pair.note else [])
        ]
        return [*blocks, notes] if notes else blocks

    def _where(self, first: Pair) -> list[str]:
        lines: list[str] = []
        same = first.mine == first.reference
        lines.append(
            self.say("diff_models.same") if same else self.say("diff_models.mine", mine=first.mine)
        )
        together = (*first.with_reference, *first.with_mine)
        if together:
            lines.append(self.say("diff_models.together", names=self.names(together)))
        return lines

    def _how(self, first: Pair) -> list[str]:
        lines = [self.far(first)]
        if first.fed:
            lines.append(self.say(f"diff_models.fed.{first.fed}"))
        if first.own:
            lines.append(self.say("diff_models.own"))
        return lines

    def far(self, pair: Pair) -> str:
        """Say how far a wrong step is off."""
        if pair.shape != pair.mine_shape:
            return self.say(
                "diff_models.far_shape", mine_shape=str(pair.mine_shape), shape=str(pair.shape)
            )
        if pair.inside == 1:
            return self.say(
                "diff_models.lean", count=grouped(pair.count), size=grouped(about(pair.size))
            )
        return self.say(
            "diff_models.far",
            wrong=grouped(pair.outside),
            count=grouped(pair.count),
            ratio=grouped(about(pair.ratio)),
        )

    def _why(self, report: ModelReport) -> list[str]:
        if not report.causes:
            return [self.say("diff_models.cause.unknown")]
        proved = all(cause.proved for cause in report.causes)
        key = ("proved" if len(report.causes) == 1 else "proved_several") if proved else "likely"
        return [
            self.say(f"diff_models.cause.{key}"),
            *(f"  {self.cause(c)}" for c in report.causes),
        ]

    def cause(self, cause: Cause) -> str:
        """Say what is wrong."""
        kind = cause.id.removeprefix("model.").partition(".")[0]
        if not cause.id.startswith("model."):
            return cause_text(cause, Look(self.lang))
        return self.note((f"diff_models.clue.{kind}", dict(cause.parameters)))

    def note(self, note: Note) -> str:
        """Write a remark."""
        key, values = note
        if not key.startswith("diff_models."):
            return say(key, self.lang, **values)
        key = key.replace(".clue.", ".cause.")
        if key == "diff_models.cause.weights" and "shape" in values:
            key = "diff_models.cause.weights_shape"
        shown = {k: about(v) if isinstance(v, float) else v for k, v in values.items()}
        shown |= {k: grouped(shown[k]) for k in COUNTS & shown.keys()}
        if key == "diff_models.cause.setting":
            shown |= {k: _setting(values[k]) for k in ("mine", "reference")}
        if "role" in shown:
            shown["role"] = self._role(shown["role"])
        return self.say(key, **shown)

    def _role(self, role: str) -> str:
        known = ("weight", "bias", "running_mean", "running_var", "mat2", "other")
        return self.say(f"diff_models.role.{role}") if role in known else role

    def names(self, names: Sequence[str]) -> str:
        """Join names; of very many, the first ones and their number."""
        shown = ", ".join(name(one) for one in names[:_NAMES])
        if len(names) <= _NAMES:
            return shown
        return self.say("diff_models.more", names=shown, count=len(names) - _NAMES)

    def below(self, report: ModelReport, *, everything: bool) -> list[str]:
        """Return what stands below the table."""
        lines = [self.say("diff_models.legend")] if report.pairs else []
        shown = len(chosen(report, everything=everything))
        if shown < len(report.pairs):
            lines.append(self.say("diff_models.cut", shown=shown, count=len(report.pairs)))
        others = [pair.reference for pair in report.wrong[1:]]
        if others:
            lines.append(
                self.say("diff_models.others", count=len(others), names=self.names(others))
            )
        elif report.first is not None and len(report.pairs) > 1 and not report.unjudged:
            lines.append(self.say("diff_models.rest_right"))
        estimated = [p.reference for p in report.pairs if not p.proved and p.verdict is not None]
        if estimated:
            lines.append(self.say("diff_models.estimated", names=self.names(estimated)))
        for side, names in zip(("reference", "mine"), report.unaligned, strict=True):
            if names:
                lines.append(
                    self.say(
                        f"diff_models.unaligned.{side}", count=len(names), names=self.names(names)
                    )
                )
        if report.outputs is not None:
            difference, scale = report.outputs
            lines.append(
                self.say("diff_models.outputs", difference=about(difference), scale=about(scale))
            )
        return lines

    def worst(self, report: ModelReport) -> str:
        """Introduce the receipt of the number that is furthest out."""
        first = report.first
        assert first is not None
        key = "worst_own" if report.worst_own else "worst"
        return say(f"diff_models.{key}", self.lang, step=name(first.reference))

    def verdict(self, pair: Pair) -> str:
        """Name the verdict of a pair."""
        return self.say("diff_models.unjudged") if pair.verdict is None else pair.verdict

    def row(self, pair: Pair) -> list[str]:
        """Return the cells of a pair."""
        ratio = "" if math.isnan(pair.ratio) else grouped(about(pair.ratio))
        difference = "" if math.isnan(pair.difference) else about(pair.difference)
        reference = _joined(pair.with_reference, pair.reference)
        mine = _joined(pair.with_mine, pair.mine)
        return [name(reference), name(mine), self.verdict(pair), ratio, difference]

    def heading(self) -> list[str]:
        """Return the heads of the columns."""
        columns = ("reference", "mine", "verdict", "ratio", "difference")
        return [self.say(f"diff_models.table.{column}") for column in columns]


def _joined(together: tuple[str, ...], step: str) -> str:
    """Name a step and what is judged with it; several by their number."""
    if len(together) == 1:
        return f"{together[0].rpartition('.')[2]} + {step}"
    return f"{step} (+{len(together)})" if together else step


def _setting(value: Any) -> str:
    """Write a setting: equal pads as one pair, a missing one as a dash."""
    return "—" if value is None else str(value)


def chosen(report: ModelReport, *, everything: bool) -> list[int]:
    """Return the numbers of the pairs that are shown."""
    pairs = report.pairs
    if everything or len(pairs) <= 2 * _CLOSEST:
        return list(range(len(pairs)))
    if report.first is not None:
        middle = pairs.index(report.first)
        near = set(range(max(middle - _NEAR, 0), min(middle + _NEAR + 1, len(pairs))))
        wrong = [n for n, pair in enumerate(pairs) if pair.verdict == "mismatch"]
        return sorted(near | set(wrong[:_NAMES]))
    ranked = sorted(range(len(pairs)), key=lambda n: -_rank(pairs[n]))
    return sorted(ranked[:_CLOSEST])


def _rank(pair: Pair) -> float:
    return math.inf if pair.verdict is None else pair.ratio


def table(report: ModelReport, words: Words, *, everything: bool) -> list[Text]:
    """Write the pairs as a table."""
    numbers = chosen(report, everything=everything)
    if not numbers:
        return []
    rows = [words.heading(), *(words.row(report.pairs[n]) for n in numbers)]
    widths = [max(cell_len(row[column]) for row in rows) for column in range(5)]
    lines: list[Text] = []
    for place, row in enumerate(rows):
        cells = [
            " " * (width - cell_len(cell)) + cell if column > 2 else set_cell_size(cell, width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        pair = None if place == 0 else report.pairs[numbers[place - 1]]
        style = QUIET if pair is None else WRONG if pair.verdict == "mismatch" else ""
        gap = place > 1 and numbers[place - 1] != numbers[place - 2] + 1
        if gap:
            lines.append(Text("…", QUIET))
        lines.append(Text("   ".join(cells).rstrip(), style))
    return lines
