"""Reports of `ct.diff` as text, in both languages."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest
import torch.nn.functional as F
from mismatch.outcome import FILES
from mismatch.wrong import CASES, layer

import convtrace as ct
from convtrace.mismatch.causes import candidates
from convtrace.mismatch.question.sides import ask
from convtrace.mismatch.report import Cause
from convtrace.render.look import Look
from convtrace.render.text.diff import cause_text, report_text

SETTINGS = ("stride", "padding", "dilation", "groups", "transposed", "output_padding")


def report_of(*args: Any, **kwargs: Any) -> ct.Report:
    report = ct.diff(*args, **kwargs)
    assert isinstance(report, ct.Report)
    return report


def all_causes() -> list[Cause]:
    """Return one cause of each kind that any case has as a candidate."""
    found: dict[tuple[str, tuple[str, ...]], Cause] = {}
    for case in CASES[::3]:
        question = case.make()
        settings = dict(question.settings)
        given = {name: settings.pop(name) for name in SETTINGS if name in settings}
        words = ("activation", "norm", "quantization", "arithmetic")
        more = {name: settings.get(name) for name in words}
        problem = ask(
            question.mine,
            question.reference,
            x=None,
            given=given,
            mode=settings.get("padding_mode"),
            step=None,
            **more,
        )
        for change in candidates(problem.setup):
            key = change.id, tuple(sorted(change.parameters))
            found.setdefault(key, Cause(change.id, change.parameters))
    return list(found.values())


CAUSES = all_causes()
RIGHT = layer(padding=1)


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_every_candidate_has_a_sentence(lang: str) -> None:
    assert FILES
    assert len({cause.id for cause in CAUSES}) > 80
    for cause in CAUSES:
        text = cause_text(cause, Look(lang))
        assert text.endswith("."), text
        assert "{" not in text, text
        assert not re.search(r"\bnp\.|tuple|mappingproxy", text), text


def test_korean_sentences_hold_no_english_words_of_the_catalogue() -> None:
    for cause in CAUSES:
        text = cause_text(cause, Look("ko"))
        assert not re.search(r"\b(rows|columns|first|last|weights|even)\b", text), text


def test_a_mismatch_shows_verdict_cause_worst_elements_and_tolerance() -> None:
    text = report_of(RIGHT.run(bias=None), (RIGHT.x, RIGHT.weight, RIGHT.bias), padding=1).text(
        "en"
    )
    first, *rest = text.splitlines()
    assert first == "conv2d: mismatch"
    body = "\n".join(rest)
    for part in (
        "2,112 of 2,112 elements (100 %)",
        "Cause, proved: it alone reproduces all 2,112 elements.",
        "  • The bias is missing.",
        "Furthest out:",
        "your runtime returned",
        "float32 × float32, float32 sums",
        "torch.testing.assert_close(",
    ):
        assert part in body, part


def test_the_korean_text_says_the_same() -> None:
    text = report_of(RIGHT.run(bias=None), (RIGHT.x, RIGHT.weight, RIGHT.bias), padding=1).text(
        "ko"
    )
    for part in ("mismatch (불일치)", "편향이 빠졌습니다.", "증명된 원인입니다.", "torch.testing"):
        assert part in text, part


def test_rounding_says_how_much_of_the_bound_is_used() -> None:
    text = report_of(RIGHT.run(), (RIGHT.x, RIGHT.weight, RIGHT.bias), padding=1).text("en")
    assert text.startswith("conv2d: rounding\nAll 2,112 elements are within")
    assert "√n·u·Σ|w·x|" in text


def test_an_unknown_cause_lists_what_the_residual_looks_like() -> None:
    wrong = RIGHT.run().clone()
    wrong[:, 4:] = 0
    report = report_of(wrong, (RIGHT.x, RIGHT.weight, RIGHT.bias), padding=1)
    text = report.text("en")
    assert "Unknown cause" in text
    assert "only in output channels 4–7 (4 of 8)" in text
    assert "all of them are 0" in text
    assert "출력 채널 4–7에서만" in report.text("ko")


def test_found_settings_and_other_shapes_are_told() -> None:
    arrays = (RIGHT.x, RIGHT.weight, RIGHT.bias)
    mine = F.conv2d(*arrays, stride=2, padding=1)
    assert "Settings found: stride (2, 2), padding ((1, 1), (1, 1))." in report_of(
        mine, arrays
    ).text("en")
    text = report_of(mine, arrays, padding=1, stride=1).text("en")
    assert "The output has the shape (2, 8, 6, 6)" in text
    assert "Another stride: (2, 2) in place of (1, 1)." in text


def test_a_share_that_is_not_all_is_not_written_as_all() -> None:
    report = report_of(RIGHT.run(), (RIGHT.x, RIGHT.weight, RIGHT.bias), padding=1)
    nearly = dataclasses.replace(report, verdict="mismatch", inside=1e-5, count=10**6)
    assert "(> 99.9 %)" in report_text(nearly, "en")


def test_no_line_is_wider_than_a_terminal_unless_it_cannot_be_parted() -> None:
    report = report_of(RIGHT.run(bias=None), (RIGHT.x, RIGHT.weight, RIGHT.bias), padding=1)
    for line in report.text("en").splitlines():
        assert len(line) <= 80 or "assert_close" in line, line
