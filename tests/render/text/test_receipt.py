"""Receipts as text: goldens to look at, and judges that read the numbers back.

A golden is `goldens/CASE.LANGUAGE.txt`. Where the text differs, the new one is written beside it as
`CASE.LANGUAGE.changed.txt`: look at it, and rename it if it is right. Goldens freeze, they do not
prove; the tests below them compare every number in the same texts with PyTorch in float64.
"""

from __future__ import annotations

import dataclasses
import io
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from render.receipt_cases import CASES, Case
from rich.cells import cell_len
from rich.console import Console
from rich.style import Style

import convtrace as ct
from convtrace.catalog import STRICT_VARIABLE, messages
from convtrace.render.cut import choose
from convtrace.render.text.receipt import print_receipt, receipt_line, receipt_text

GOLDENS = Path(__file__).parents[1] / "goldens"
LANGUAGES = ("en", "ko")
NUMBER = re.compile(r"(?<![\w.])(≈?)(−?\d+(?:\.\d+)?(?:e−?\d+)?|−?∞|NaN|·)(?![\w.])")
LISTS = ["cut_terms", "everything", "pointwise"]
GRIDS = [name for name in CASES if name not in (*LISTS, "nan")]  # infinity has no derivatives


@pytest.fixture(autouse=True)
def _strict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STRICT_VARIABLE, "1")


def text_of(name: str, lang: str = "en") -> str:
    return receipt_text(CASES[name].receipt(), lang, CASES[name].limit)


# Goldens -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("name", CASES)
def test_a_receipt_reads_as_it_did(name: str, lang: str) -> None:
    golden = GOLDENS / f"{name}.{lang}.txt"
    changed = golden.with_suffix(".changed.txt")
    receipt = CASES[name].receipt()
    text = f"{text_of(name, lang)}\n\n{receipt_line(receipt, lang)}\n"
    if not golden.exists() or golden.read_text(encoding="utf-8") != text:
        changed.write_text(text, encoding="utf-8")
        pytest.fail(f"{name} reads differently in {lang}: compare {golden.name}, {changed.name}")
    changed.unlink(missing_ok=True)


# Judges ------------------------------------------------------------------------------------------


def read(token: str) -> float:
    """Read a number back; the mark of padding is None's stand-in, 0."""
    return 0.0 if token == "·" else float(token.replace("−", "-").replace("∞", "inf"))


def assert_shows(token: str, number: float, rounded: bool) -> None:
    """Assert that a text is a number: to half a unit of its last place, or as a float32."""
    shown = read(token)
    if math.isnan(number) or math.isinf(number):
        assert str(shown) == str(number)
        return
    mantissa, _, exponent = token.partition("e")
    unit = 10.0 ** (int(exponent.replace("−", "-") or 0) - len(mantissa.partition(".")[2]))
    close = abs(shown - number) <= unit * 0.5000001
    same = np.float32(shown) == np.float32(number)
    assert close if rounded else same, f"{token} is shown for {number}"


def tables(text: str) -> list[str]:
    """Return the lines of grids: what has numbers and no address, from the headings on."""
    lines = text.splitlines()
    start = next(n for n, line in enumerate(lines) if re.match(r"\s+(input|입력)( ≈)?\s", line))
    rows = [re.sub(r"(channel|채널|depth|깊이) \d+", "", line) for line in lines[start + 1 :]]
    return [row for row in rows if NUMBER.match(row.strip()) and "[" not in row]


def cells_of(row: str) -> list[str]:
    """Return the numbers of one row of grids, without the sum behind them."""
    return [match[2] for match in NUMBER.finditer(row.split("Σ", maxsplit=1)[0])]


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("name", GRIDS)
def test_grids_show_the_inputs_weights_and_products_that_torch_knows(name: str, lang: str) -> None:
    case = CASES[name]
    _, met, products = case.judge()
    text = text_of(name, lang)
    channels = _channels(text, case.receipt())
    width = met.shape[-1]
    expected = [
        (met[c].reshape(-1, width)[r], products[c].reshape(-1, width)[r])
        for c in channels
        for r in range(met[c].size // width)
    ]
    rows = [cells for row in tables(text) if len(cells := cells_of(row)) == 3 * width]
    assert len(rows) == len(expected)
    for cells, (inputs, wanted) in zip(rows, expected, strict=True):
        for token, number in zip(cells[:width], inputs, strict=True):
            assert_shows(token, number, rounded=True)
        for token, number in zip(cells[2 * width :], wanted, strict=True):
            assert_shows(token, number, rounded=True)


def _channels(text: str, receipt: ct.Receipt) -> list[int]:
    """Return the positions of the channels in the order that the text has them."""
    labels = re.findall(r"^(?:channel|채널) (\d+)", text, re.MULTILINE)
    first = receipt.layout.channels[0]
    return [int(label) - first for label in labels]


@pytest.mark.parametrize("name", LISTS)
def test_lists_show_each_product_beside_the_addresses_of_its_factors(name: str) -> None:
    receipt = CASES[name].receipt()
    _, met, products = CASES[name].judge()
    by_address = {str(term.weight_address): term.position for term in receipt.terms}
    found = 0
    for line in text_of(name).splitlines():
        address = re.search(r"(?:(\S+\[[\d,]+\])|padding) × (\S+\[[\d,]+\])$", line)
        if not address:
            continue
        position = by_address[address[2]]
        start = re.sub(r"^channel \d+", "", line[: address.start()])
        value, weight, product = NUMBER.finditer(start)
        assert_shows(value[2], met[position], value[1] == "≈")
        assert_shows(product[2], products[position], rounded=True)
        if "≈" not in start:
            assert read(value[2]) * read(weight[2]) == read(product[2])
        found += 1
    assert found == min(CASES[name].limit or receipt.products.size, receipt.products.size)


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("name", [name for name in CASES if name != "nan"])
def test_sums_total_and_exact_sum_are_what_torch_computes_in_float64(name: str, lang: str) -> None:
    case = CASES[name]
    text = text_of(name, lang)
    number, _, products = case.judge()
    sums = re.findall(r"Σ ([=≈]) +(\S+)", text)
    if name not in ("cut_terms", "pointwise"):
        channels = _channels(text, case.receipt())
        assert len(sums) == len(channels)
        for (sign, token), channel in zip(sums, channels, strict=True):
            assert_shows(token, products[channel].sum(), sign == "≈")
    for sign, token in re.findall(r"^(?:total|합계) +([=≈]) +(\S+)", text, re.MULTILINE):
        assert_shows(token, number, sign == "≈")
    (mark, token) = re.findall(r"^(?:exact sum|정확한 합) (≈?)(\S+) ·", text, re.MULTILINE)[0]
    assert_shows(token, number, mark == "≈")


def test_nan_and_infinity_are_named_where_they_came_in() -> None:
    text = text_of("nan")
    assert "input[0,0,0,0] = ∞: ∞ × 0.5 = ∞" in text
    assert "input[0,1,1,1] = NaN: NaN × 0.5 = NaN" in text
    assert "nonfinite" in text


def test_the_judge_of_grids_sees_a_wrong_number() -> None:
    with pytest.raises(AssertionError, match="is shown for"):
        assert_shows("0.25", 0.26, rounded=True)
    with pytest.raises(AssertionError, match="is shown for"):
        assert_shows("0.25", 0.2500001, rounded=False)


# What a reader relies on -------------------------------------------------------------------------


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("name", CASES)
def test_every_line_fits_unless_addresses_make_it_long(name: str, lang: str) -> None:
    for line in text_of(name, lang).splitlines():
        assert line == line.rstrip()
        assert cell_len(line) <= 80 or "[" in line


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("name", CASES)
def test_no_minus_is_a_hyphen(name: str, lang: str) -> None:
    assert not re.search(r"-[\d.∞]", text_of(name, lang).replace("--all", ""))


@pytest.mark.parametrize("lang", LANGUAGES)
def test_columns_of_grids_line_up_in_cells_of_the_terminal(lang: str) -> None:
    lines = text_of("demo", lang).splitlines()
    rows = [line for line in lines if "×" in line and "Σ" in line and "=" in line]
    for sign in ("×", "=", "Σ"):
        assert len({cell_len(row[: row.index(sign)]) for row in rows}) == 1


def test_padding_is_a_mark_and_no_zero() -> None:
    text = text_of("padding_stride_dilation")
    assert "·   ·   ·     −4  −3  −2       ·    ·    ·" in text
    assert "· is padding" in text


def test_a_zero_that_is_read_is_a_zero() -> None:
    assert "·" not in text_of("mismatch").split("exact sum")[0]


def test_a_transposed_convolution_says_what_each_kernel_row_reads_and_why_others_miss() -> None:
    text = text_of("transposed")
    assert "kernel row 0: (5 + 1 − 0 × 1) / 2 = 3 lies outside input rows 0 to 2" in text
    assert "kernel row 2: (5 + 1 − 2 × 1) / 2 = 2 → input row 2" in text
    assert "kernel column 1: (3 + 1 − 1 × 1) / 2 = 1.5 falls between input columns 1 and 2" in text


def test_a_group_is_shown_with_the_channels_of_the_whole_input() -> None:
    text = text_of("grouped")
    assert "input channels (3–5)" in text
    assert "channel 3 " in text
    assert "reads input[0,3,1,1] … input[0,3,2,2]" in text


@pytest.mark.parametrize("limit", [1, 3, 4, 5, 7, 8, 100])
def test_a_cut_receipt_shows_at_most_the_limit_and_says_what_the_rest_sums_to(limit: int) -> None:
    receipt = CASES["thirds"].receipt()
    choice = choose(receipt, limit)
    shown = [receipt.products[position] for row in choice.positions for position in row]
    assert len(shown) <= limit
    if choice.rest is None:
        assert len(shown) == receipt.products.size
        return
    assert math.isclose(math.fsum(shown) + choice.rest, math.fsum(receipt.products.ravel()))
    text = receipt_text(receipt, "en", limit)
    assert f"Showing {len(shown)} of {receipt.products.size} terms" in text
    assert f"the other {receipt.products.size - len(shown)} terms" in text


def test_a_cut_keeps_channels_whole_and_takes_the_largest_sums_first() -> None:
    receipt = CASES["cut_channels"].receipt()
    choice = choose(receipt, 64)
    sizes = np.abs(receipt.channel_sums)
    assert choice.whole
    assert choice.channels == np.argsort(-sizes, kind="stable")[:7].tolist()


def test_a_cut_shows_nan_before_anything_larger() -> None:
    case = CASES["cut_channels"]
    x = case.x.clone()
    x[0, 300, 0, 1] = torch.nan
    receipt = dataclasses.replace(case, x=x).receipt()
    assert choose(receipt, 64).channels[0] == 300
    assert "NaN or infinity first" in receipt_text(receipt, "en")


def test_limit_none_shows_every_term_with_all_digits_and_its_addresses() -> None:
    receipt = CASES["cut_channels"].receipt()
    text = receipt_text(receipt, "en", None)
    assert not [line for line in text.splitlines() if " × " in line and "≈" in line]
    for term in receipt.terms[::97]:
        assert f" × {term.weight_address}" in text
        if term.source:
            assert f"{term.source} × " in text


def test_the_demo_has_all_its_numbers_in_the_order_of_the_equation() -> None:
    text = text_of("demo")
    for row in ("24   27     0.25  0.25      6      6.75", "Σ =  30", "Σ = 240", "= 270"):
        assert row in text
    assert "exact sum 270 · torch returned 270 · exact" in text


# Verdicts ----------------------------------------------------------------------------------------


def test_rounding_is_said_to_be_ordinary_with_bound_and_usual_size() -> None:
    text = text_of("thirds")
    receipt = CASES["thirds"].receipt()
    assert receipt.verdict == "rounding"
    found = re.search(
        r"They differ by (\S+): ordinary float32 rounding\s\(at most (\S+) is\spossible,"
        r"\sabout\s(\S+) is\susual\)",
        text,
    )
    assert found
    for token, number in zip(
        found.groups(), (abs(receipt.residual), receipt.bound, receipt.typical), strict=True
    ):
        assert math.isclose(read(token), number, rel_tol=0.06)


def test_an_error_far_above_the_usual_one_is_worth_a_second_look() -> None:
    receipt = CASES["thirds"].receipt()
    typical = abs(float(receipt.residual)) / 11
    assert "second look" in receipt_text(dataclasses.replace(receipt, typical=typical), "en")


def test_a_mismatch_is_loud_and_says_how_far_beyond_rounding_it_is() -> None:
    text = text_of("mismatch")
    assert "exact sum 2 · your runtime returned 2.5 · mismatch" in text
    assert "!! MISMATCH" in text
    assert "That is 1e6 times the most that float32 rounding can" in text


def test_the_returned_number_nearest_to_the_exact_sum_is_exact_and_says_why() -> None:
    assert "bfloat16 number nearest to the exact sum" in " ".join(text_of("bfloat16").split())


def test_wrapped_integers_are_explained_and_not_called_rounding_of_a_float() -> None:
    text = " ".join(text_of("int8_wraps").split())
    assert "does not fit into int8" in text
    assert "240 and −16 differ by a multiple of 256" in text
    assert "ordinary" not in text


def test_without_an_observed_number_it_says_that_there_is_nothing_to_compare_with() -> None:
    text = text_of("tenths")
    assert "exact sum 1.1 · nothing to compare with" in text
    assert "returned" not in text.split("nothing to compare with")[0]


@pytest.mark.parametrize(
    ("reporter", "words"),
    [
        ("torch", "torch returned 270"),
        ("onnxruntime", "onnxruntime returned 270"),
        ("observed", "your runtime returned 270"),
        ("npu-3", "npu-3 returned 270"),
    ],
)
def test_the_verdict_names_who_returned_the_number(reporter: str, words: str) -> None:
    receipt = dataclasses.replace(CASES["demo"].receipt(), reporter=reporter)
    assert words in receipt_text(receipt, "en")


def test_a_nan_kernel_number_over_padding_is_named() -> None:
    w = torch.full((1, 1, 3, 3), 0.5)
    w[0, 0, 0, 0] = torch.nan
    case = Case(torch.ones(1, 1, 3, 3), w, (0, 0, 0, 0), None, {"padding": 1}, observed=math.nan)
    text = receipt_text(case.receipt(), "en")
    assert "conv2d.weight[0,0,0,0] = NaN, over padding" in text


def test_a_nan_bias_is_named() -> None:
    case = dataclasses.replace(CASES["tenths"], b=torch.tensor([math.nan]), observed=math.nan)
    text = receipt_text(dataclasses.replace(case, alone=False).receipt(), "en")
    assert "The bias is NaN." in text


@pytest.mark.parametrize("lang", LANGUAGES)
def test_arithmetic_is_described_in_the_reader_s_language(lang: str) -> None:
    receipt = CASES["thirds"].receipt()
    assert receipt.arithmetic
    half = dataclasses.replace(
        receipt.arithmetic, operands="bfloat16", result="bfloat16", partial_sums=True
    )
    text = " ".join(receipt_text(dataclasses.replace(receipt, arithmetic=half), lang).split())
    assert (half.describe() in text) == (lang == "en")
    assert "bfloat16" in text


# Numbers that are not convolutions ---------------------------------------------------------------


def network() -> ct.Trace:
    conv = torch.nn.Conv2d(1, 1, 2, bias=False)
    fc = torch.nn.Linear(4, 2)
    with torch.no_grad():
        conv.weight.fill_(0.5)
        fc.weight.copy_(torch.arange(8.0).reshape(2, 4))
        fc.bias.fill_(1.0)

    def forward(x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(conv(x) - 4.0)
        return torch.softmax(fc((y * 2 + torch.sigmoid(y)).flatten(1)), 1)

    return ct.trace(forward, torch.arange(9.0).reshape(1, 1, 3, 3))


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("input[0,0,1,1]", "it was given, not computed"),
        ("conv.weight[0,0,1,1]", "A number that the model holds"),
        ("softmax[0,1]", "Ask for the logits, the numbers before it: fc."),
        ("relu[0,0,1,1]", "8 × 1 = 8   sub[0,0,1,1]"),
        ("sub[0,0,1,1]", "constant = −4"),
        ("mul[0,0,1,1]", "8 × 2 = 16   relu[0,0,1,1]"),
        ("sigmoid[0,0,1,1]", "times a factor that this step works out from its input"),
        ("add[0,0,1,1]", "≈  0.9997   sigmoid[0,0,1,1]"),
        ("flatten[0,3]", "× 1 ≈ 16.9997   add[0,0,1,1]"),
        ("fc[0,1]", "bias fc.bias[1] =   1"),
    ],
)
def test_every_number_of_a_network_says_what_it_is_and_how_to_go_on(
    address: str, words: str
) -> None:
    receipt = network().why(address)
    text = receipt_text(receipt, "en")
    assert text.startswith(f"{address} = ")
    assert words in text or words in " ".join(text.split())
    korean = receipt_text(receipt, "ko")
    assert re.search("[가-힣]", korean)
    for number in re.findall(r"\w+\[[\d,]+\]", text):
        assert number in korean


@pytest.mark.parametrize("lang", LANGUAGES)
def test_complex_numbers_are_written_in_brackets(lang: str) -> None:
    step = torch.nn.Conv2d(1, 1, 1, bias=False, dtype=torch.complex64)
    with torch.no_grad():
        step.weight.fill_(1 + 2j)
    trace = ct.trace(step, torch.full((1, 1, 1, 1), 0.5 - 1j))
    text = receipt_text(trace.why("conv2d[0,0,0,0]"), lang)
    assert text.startswith("conv2d[0,0,0,0] = 2.5\n")
    x = torch.full((1, 1, 1, 1), 0.5 + 1j)
    text = receipt_text(ct.trace(step, x).why("conv2d[0,0,0,0]"), lang)
    assert text.startswith("conv2d[0,0,0,0] = (−1.5 + 2j)\n")


# One line, and colours ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("demo", "conv2d[0,0,0,0] = 270   torch returned 270 · exact"),
        ("mismatch", "conv2d[0,0,0,0] = 2   your runtime returned 2.5 · mismatch"),
        ("tenths", "conv2d[0,0,0,0] = 1.1   computed here, nothing to compare with"),
    ],
)
def test_receipt_line_says_it_in_one_line(name: str, line: str) -> None:
    assert receipt_line(CASES[name].receipt(), "en") == line


def printed(name: str, **settings: object) -> str:
    for cached in (Style.parse, Style._add):
        cached.cache_clear()  # a style remembers the codes of the console that used it first
    stream = io.StringIO()
    console = Console(file=stream, **settings)  # type: ignore[arg-type]  # any setting of a console
    print_receipt(CASES[name].receipt(), console, "en", CASES[name].limit)
    return stream.getvalue()


@pytest.mark.parametrize("name", CASES)
def test_what_is_piped_is_the_plain_text(name: str) -> None:
    assert printed(name) == text_of(name) + "\n"


def test_colours_change_nothing_but_colours() -> None:
    coloured = printed("demo", force_terminal=True, color_system="truecolor", width=80)
    assert "\x1b[38;2;0;114;178m" in coloured
    assert "\x1b[38;2;230;159;0m" in coloured
    assert "\x1b[38;2;0;158;115m" in coloured
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == text_of("demo") + "\n"


def test_a_mismatch_is_vermilion() -> None:
    coloured = printed("mismatch", force_terminal=True, color_system="truecolor", width=80)
    assert "38;2;213;94;0m!! MISMATCH" in coloured


@pytest.mark.parametrize("width", [20, 60, 100, 200])
def test_a_terminal_of_any_width_gets_its_numbers_unbroken(width: int) -> None:
    wide = printed("thirds", force_terminal=True, color_system=None, width=width)
    tokens = {match[2] for match in NUMBER.finditer(wide)}
    assert {"−0.331186", "0.2"} <= tokens


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("name", CASES)
def test_every_word_of_a_receipt_comes_from_the_catalogue(
    name: str, lang: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shout(key: str, language: str, **values: object) -> str:
        assert key in messages(language)
        return f"⟦{key}⟧"

    monkeypatch.setattr("convtrace.render.look.say", shout)
    text = re.sub(r"⟦[^⟧]*⟧|\S+\[[\d,]+\]|NaN", "", text_of(name, lang))
    assert not re.search(r"[A-Za-z가-힣]{2,}", text)


def test_a_name_with_control_characters_cannot_reach_the_terminal() -> None:
    receipt = CASES["demo"].receipt()
    address = dataclasses.replace(receipt.address, step="conv\x1b[2J\u202e")
    text = receipt_text(dataclasses.replace(receipt, address=address), "en")
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert r"conv\x1b[2J\u202e[0,0,0,0] = 270" in text
