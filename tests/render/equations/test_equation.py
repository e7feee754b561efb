"""Equations of receipts: read back from Markdown and LaTeX, and worked out again."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from markdown_it import MarkdownIt
from render.pictures.test_pictures import HOSTILE, compiled, hostile, needs_korean
from render.receipt_cases import CASES, Case

import convtrace as ct
from convtrace.errors import UsageError
from convtrace.render.equations.equation import symbols
from convtrace.render.equations.latex import equation_text
from convtrace.render.equations.markdown import code, markdown, plain

LANGUAGES = ("en", "ko")
EXACT = [
    "demo",
    "padding_stride_dilation",
    "grouped",
    "transposed",
    "one_d",
    "three_d",
    "pointwise",
]
GOLDENS = Path(__file__).parents[1] / "goldens" / "figures"


def math_of(text: str) -> list[str]:
    """The rows of the equation of a Markdown document."""
    (block,) = re.findall(
        r"\$\$\n\\begin\{aligned\}\n(.*?)\n\\end\{aligned\}\n\$\$", text, re.DOTALL
    )
    return block.split(" \\\\\n")


def worked_out(row: str) -> float:
    """Compute what stands on one side of an equation sign."""
    text = re.sub(r"\\times 10\^\{(-?\d+)\}", r"*10**(\1)", row)
    text = text.replace("\\cdot", "*").replace("\\quad", "").replace("&", "")
    assert re.fullmatch(r"[-+*(). \d]+", text), text
    return float(eval(text))


def channels_of(rows: list[str]) -> list[tuple[float, float]]:
    """Both sides of the sum of each channel."""
    joined = " ".join(rows[1:])
    found = re.findall(r"c = \d+:\\quad& (.*?) = (\(?-?[\d.]+\)?)(?= |$)", joined)
    return [(worked_out(left), worked_out(right)) for left, right in found]


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("name", ["demo", "transposed", "cut_channels", "nan"])
def test_an_equation_reads_as_it_did(name: str, lang: str) -> None:
    golden = GOLDENS / f"{name}.{lang}.md"
    text = markdown(CASES[name].receipt(), lang, CASES[name].limit)
    if not golden.exists() or golden.read_text(encoding="utf-8") != text:
        golden.with_suffix(".changed.md").write_text(text, encoding="utf-8")
        pytest.fail(f"{name} reads differently in {lang}: compare {golden.name} and .changed.md")


@pytest.mark.parametrize("name", EXACT)
def test_every_equation_holds_as_it_is_written(name: str) -> None:
    case = CASES[name]
    expected, _, products = case.judge()
    rows = math_of(markdown(case.receipt(), "en"))
    sums = channels_of(rows)
    assert [right for _, right in sums] == products.reshape(len(products), -1).sum(axis=1).tolist()
    assert all(left == right for left, right in sums)
    total = rows[-1].split("=") if "&=" in rows[-1] else " ".join(rows[-2:]).split("=")
    assert worked_out(total[-1]) == expected
    assert worked_out(total[-2]) == expected


def test_rounded_numbers_are_not_said_to_be_equal() -> None:
    rows = math_of(markdown(CASES["thirds"].receipt(), "en"))
    assert not channels_of(rows)
    assert sum("\\approx" in row for row in rows) == 3


@pytest.mark.parametrize(
    "name", ["demo", "padding_stride_dilation", "transposed", "grouped", "three_d"]
)
def test_the_symbols_lead_to_the_terms(name: str) -> None:
    case = CASES[name]
    expected = case.judge()[0]
    assert evaluated(symbols(case.receipt()), case) == expected


def evaluated(text: str, case: Case) -> float:
    """Work out an equation of symbols with the arrays of a case, in plain loops."""
    x, w = case.x.double().numpy(), case.w.double().numpy()
    sums = re.findall(r"\\sum_\{(\w)=(\d+)\}\^\{(\d+)\}", text)
    (weight,) = re.findall(r"W_\{(.*?)\}", text)
    (source,) = re.findall(r"X_\{(.*?)\}", text)
    total = 0.0
    for places in itertools.product(*(range(int(a), int(b) + 1) for _, a, b in sums)):
        names = dict(zip([letter for letter, _, _ in sums], places, strict=True))
        at = [place(part, names) for part in source.split(",")]
        if all(p == int(p) and 0 <= p < size for p, size in zip(at, x.shape, strict=True)):
            factors = tuple(int(place(part, names)) for part in weight.split(","))
            total += w[factors] * x[tuple(map(int, at))]
    channel = re.findall(r"b_\{(\d+)\}", text)
    return total + (case.b[int(channel[0])].item() if channel and case.b is not None else 0)


def place(text: str, names: dict[str, int]) -> float:
    return float(eval(re.sub(r"(\d)([a-z])", r"\1*\2", text), {}, dict(names)))


def test_the_table_lists_every_term_with_its_addresses() -> None:
    receipt = CASES["demo"].receipt()
    text = markdown(receipt, "en")
    html = MarkdownIt().enable("table").render(text)
    cells = re.findall(r"<td.*?>(.*?)</td>", html)
    assert len(cells) == 3 * len(receipt.terms)
    for number, term in enumerate(receipt.terms):
        source, factor, product = cells[3 * number : 3 * number + 3]
        assert f"<code>{term.source}</code>" in source
        assert f"<code>{term.weight_address}</code>" in factor
        assert float(product.removeprefix("= ").replace("−", "-")) == term.product


def test_a_name_that_is_markup_stays_a_name(tmp_path: Path) -> None:
    receipt = hostile().why(ct.Address(HOSTILE, (0, 0, 1, 1)))
    html = MarkdownIt().enable("table").render(markdown(receipt, "en"))
    assert "<script" not in html
    assert "<em>" not in html
    escaped = HOSTILE.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert f"<code>{escaped.replace(chr(34), '&quot;')}[0,0,1,1]</code>" in html
    assert "script" in compiled(equation_text(receipt, "en"), tmp_path)


@pytest.mark.parametrize("text", ["a`b", "``", "`a", "a", "*b*", "x|y"])
def test_code_spans_hold_any_text(text: str) -> None:
    html = MarkdownIt().renderInline(code(text))
    assert html == f"<code>{text}</code>"
    assert MarkdownIt("commonmark", {"html": False}).renderInline(plain(text)) == text


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("name", ["transposed", "cut_channels"])
def test_an_equation_compiles_and_shows_the_number(name: str, lang: str, tmp_path: Path) -> None:
    if lang == "ko":
        needs_korean()
    receipt = CASES[name].receipt()
    shown = compiled(equation_text(receipt, lang), tmp_path).replace("−", "-")
    for number in receipt.channel_sums[:2] if name == "transposed" else [receipt.exact]:
        assert f"{np.round(number, 4):g}"[:5] in shown


def test_an_equation_has_no_width_and_a_receipt_no_other_figures(tmp_path: Path) -> None:
    receipt = CASES["demo"].receipt()
    with pytest.raises(UsageError, match="Leave width out"):
        receipt.save(tmp_path / "a.tex", figure="equation", width=80)
    with pytest.raises(UsageError, match="Choose 'receipt' or 'equation'"):
        receipt.save(tmp_path / "a.tex", figure="stack")
    with pytest.raises(UsageError, match="at least 1"):
        receipt.save(tmp_path / "a.md", limit=0)


def test_a_number_that_was_given_has_no_equation() -> None:
    trace = ct.from_arrays([[[1.0, 2.0]]], [[[1.0]]])
    assert "$$" not in markdown(trace.why("input[0,0,0]"), "en")
    assert "\\begin{align" not in equation_text(trace.why("input[0,0,0]"), "en")
