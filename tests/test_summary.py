"""The summary of a trace: its rows, its totals, and the table in both languages."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from rich.cells import cell_len
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional as F

import convtrace as ct
from convtrace.catalog import LANGUAGES
from convtrace.models.digits import digit, digits
from convtrace.render.text.summary import print_summary, summary_lines, summary_text
from convtrace.summary import Row, summarize, totals


def rows_of(model: Callable[..., Any], *inputs: Tensor) -> dict[str, Row]:
    return {row.name: row for row in summarize(ct.trace(model, *inputs))}


def only_row(model: Callable[..., Any], *inputs: Tensor) -> Row:
    (row,) = rows_of(model, *inputs).values()
    return row


def resnet_18() -> nn.Module:
    from transformers.models.resnet.configuration_resnet import ResNetConfig
    from transformers.models.resnet.modeling_resnet import ResNetForImageClassification

    config = ResNetConfig(
        layer_type="basic",
        depths=[2, 2, 2, 2],
        hidden_sizes=[64, 128, 256, 512],
        embedding_size=64,
        num_labels=1000,
    )
    return ResNetForImageClassification(config).eval()


# Parameters --------------------------------------------------------------------------------------


def test_resnet_18_has_its_known_totals() -> None:
    model = resnet_18()
    with torch.no_grad():
        sums = totals(summarize(ct.trace(model, torch.rand(1, 3, 224, 224))))
    assert sums.parameters == 11_689_512 == sum(p.numel() for p in model.parameters())
    assert sums.macs == 1_814_073_344


def test_running_statistics_are_not_parameters() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 1, bias=False), nn.BatchNorm2d(4)).eval()
    assert rows_of(model, torch.rand(1, 1, 2, 2))["1"].parameters == 8


def test_a_layer_that_runs_twice_has_its_parameters_counted_once_and_then_called_shared() -> None:
    conv = nn.Conv1d(2, 2, 3, padding=1)
    rows = rows_of(lambda x: conv(conv(x)), torch.rand(1, 2, 5))
    assert [(row.parameters, row.shared) for row in rows.values()] == [(14, 0), (0, 14)]


def test_a_weight_that_is_computed_is_counted_where_its_parameters_are_read() -> None:
    model = nn.utils.parametrizations.weight_norm(nn.Conv1d(2, 2, 3))
    rows = rows_of(model, torch.rand(1, 2, 5))
    assert totals(rows.values()).parameters == sum(p.numel() for p in model.parameters())
    assert rows["conv1d"].parameters == 2


def test_weights_given_as_arrays_are_parameters() -> None:
    (row,) = summarize(ct.from_arrays([[[1.0, 2.0, 3.0]]], [[[1.0, 1.0]]], [0.5]))
    assert row.parameters == 3


# Multiply-accumulates ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "shape", "macs"),
    [
        (nn.Conv2d(4, 6, 3, padding=1), (2, 4, 5, 7), 2 * 6 * 5 * 7 * 4 * 9),
        (nn.Conv2d(4, 6, (1, 3), stride=2, groups=2), (4, 5, 7), 6 * 3 * 3 * 2 * 3),
        (nn.Conv1d(4, 4, 3, groups=4), (1, 4, 5), 4 * 3 * 3),
        (nn.ConvTranspose1d(4, 6, 3, stride=2, padding=1, groups=2), (1, 4, 5), 4 * 5 * 3 * 3),
    ],
)
def test_a_convolution_counts_one_for_each_weight_of_each_output_or_input(
    layer: nn.Module, shape: tuple[int, ...], macs: int
) -> None:
    assert only_row(layer, torch.rand(shape)).macs == macs


def test_linear_layers_and_matrix_products_count_too_and_other_steps_do_not() -> None:
    conv, linear = nn.Conv1d(1, 3, 1), nn.Linear(5, 2)
    rows = rows_of(
        lambda x: torch.relu(linear(conv(x)).transpose(1, 2) @ conv(x)), torch.rand(1, 1, 5)
    )
    counted = {row.kind: row.macs for row in rows.values()}
    assert counted["linear"] == 3 * 2 * 5
    assert counted["bmm"] == 2 * 5 * 3
    assert counted["relu"] is None


def test_attention_counts_both_of_its_products() -> None:
    conv = nn.Conv1d(1, 4, 1)

    def forward(x: Tensor) -> Tensor:
        tokens = conv(x).transpose(1, 2)[:, None]
        return F.scaled_dot_product_attention(tokens, tokens, tokens)

    with torch.no_grad():
        rows = rows_of(forward, torch.rand(1, 1, 6))
    assert sum(row.macs or 0 for row in rows.values() if row.kind != "convolution") == 2 * 6 * 6 * 4


# Formulas ----------------------------------------------------------------------------------------


def test_axes_that_agree_share_one_formula() -> None:
    (formula,) = only_row(nn.Conv2d(1, 1, 3, 2, 1), torch.rand(1, 1, 7, 7)).formulas
    assert formula.text == "⌊(7 + 1 + 1 − 1·(3 − 1) − 1) / 2⌋ + 1 = 4"
    assert formula.axes == (2, 3)
    assert formula.names == ("row", "column")


def test_axes_that_differ_have_a_formula_each() -> None:
    formulas = only_row(nn.ConvTranspose2d(1, 1, (3, 2), (2, 1)), torch.rand(1, 4, 5)).formulas
    assert [(formula.names, formula.text) for formula in formulas] == [
        (("row",), "(4 − 1)·2 − 0 − 0 + 1·(3 − 1) + 0 + 1 = 9"),
        (("column",), "(5 − 1)·1 − 0 − 0 + 1·(2 − 1) + 0 + 1 = 6"),
    ]


@pytest.mark.parametrize("size", range(3, 12))
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(2, 2, 0), (2, 3, 1), (3, 2, 1)])
def test_a_pool_that_rounds_up_has_a_formula_that_gives_its_size(
    size: int, kernel: int, stride: int, padding: int
) -> None:
    conv, pool = nn.Conv1d(1, 1, 1), nn.MaxPool1d(kernel, stride, padding, ceil_mode=True)
    x = torch.rand(1, 1, size)
    rows = rows_of(nn.Sequential(conv, pool), x)
    (pooled,) = (row for row in rows.values() if "pool" in row.kind)
    text = next(formula.text for formula in pooled.formulas if formula.names == ("column",))
    law, _, result = text.rpartition(" = ")
    assert int(result) == pool(x).shape[-1]
    assert evaluate(law) == int(result)


SIGNS = {"−": "-", "·": "*", "⌊": "floor(", "⌋": ")", "⌈": "ceil(", "⌉": ")"}


def evaluate(formula: str) -> int:
    """Compute a formula as a reader would."""
    for sign, plain in SIGNS.items():
        formula = formula.replace(sign, plain)
    return eval(formula, {"floor": math.floor, "ceil": math.ceil})


def test_padding_has_a_formula_on_the_axes_that_it_changes() -> None:
    conv = nn.Conv2d(1, 1, 1)
    rows = rows_of(lambda x: conv(F.pad(x, (1, 2, 0, 0))), torch.rand(1, 1, 4, 5))
    (formula,) = rows["pad"].formulas
    assert (formula.names, formula.text) == (("column",), "5 + 1 + 2 = 8")


# The table ---------------------------------------------------------------------------------------


DIGITS = """\
step     kind         output    parameters    MACs  field  stride  start
────────────────────────────────────────────────────────────────────────
conv1    convolution  1×4×8×8           40   2,304      3       1     −1
    rows, columns: ⌊(8 + 1 + 1 − 1·(3 − 1) − 1) / 1⌋ + 1 = 8
relu1    relu         1×4×8×8            —       —      3       1     −1
conv2    convolution  1×16×6×6         592  20,736      5       1     −1
    rows, columns: ⌊(8 + 0 + 0 − 1·(3 − 1) − 1) / 1⌋ + 1 = 6
relu2    relu         1×16×6×6           —       —      5       1     −1
pool     max_pool2d   1×16×3×3           —       —      6       2     −1
    rows, columns: ⌊(6 + 0 + 0 − 1·(2 − 1) − 1) / 2⌋ + 1 = 3
flatten  view         1×144              —       —      6       —     −1
fc       linear       1×10           1,450   1,440           whole input
────────────────────────────────────────────────────────────────────────
total of 7 steps                     2,082  24,480"""


@pytest.fixture(scope="module")
def digits_trace() -> ct.Trace:
    return ct.trace(digits(), digit())


def test_the_table_of_the_digits_network_is_as_a_reader_knows_it(digits_trace: ct.Trace) -> None:
    table = summary_text(digits_trace, "en").split("\n\n")[0]
    assert table == DIGITS


@pytest.mark.parametrize("lang", LANGUAGES)
def test_numbers_stand_in_columns_in_every_language(digits_trace: ct.Trace, lang: str) -> None:
    table = summary_text(digits_trace, lang).split("\n\n")[0].split("\n")
    lines = [line for line in table if not line.startswith("    ")]
    ends = {cell_len(line) for line in lines[:-1]}
    assert len(ends) == 1
    macs = {
        cell_len(line[: line.index(number) + len(number)])
        for line, number in zip(lines[2::2], ["2,304", "20,736"], strict=False)
    }
    assert len(macs) == 1


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_longer_than_the_width_that_was_asked_for(
    digits_trace: ct.Trace, lang: str, width: int
) -> None:
    deep = nn.Sequential()
    layer: nn.Module = nn.Sequential(nn.Conv2d(3, 64, 7, 2, 3), nn.BatchNorm2d(64), nn.ReLU())
    for name in ("encoder", "stages", "layers", "block", "shortcut", "projection"):
        layer = nn.Sequential()
        layer.add_module(name, deep) if len(deep) else layer.add_module(name, nn.Conv2d(3, 3, 3))
        deep = layer
    for trace in (digits_trace, ct.trace(deep, torch.rand(1, 3, 64, 64))):
        assert max(line.cell_len for line in summary_lines(trace, lang, width=width)) <= width


def test_long_names_have_lines_of_their_own_and_are_whole() -> None:
    inner = nn.Sequential()
    inner.add_module("a_name_that_is_much_too_long_to_stand_beside_numbers", nn.Conv1d(1, 1, 1))
    lines = summary_text(ct.trace(inner, torch.rand(1, 1, 4)), "en").split("\n")
    assert "a_name_that_is_much_too_long_to_stand_beside_numbers" in lines


def test_a_step_of_unknown_reach_is_named_once_and_the_rest_say_unknown() -> None:
    conv = nn.Conv1d(1, 1, 3)
    trace = ct.trace(lambda x: torch.relu(torch.cumsum(conv(x), -1)), torch.rand(1, 1, 9))
    text = summary_text(trace, "en")
    assert text.count("unknown from cumsum on") == 1
    assert sum(line.endswith("unknown") for line in text.split("\n")) == 2


def test_branches_that_are_not_aligned_are_said_to_be_with_both_strides() -> None:
    one, two = nn.Conv1d(1, 1, 3), nn.Conv1d(1, 1, 3, stride=2)
    trace = ct.trace(lambda x: one(x)[..., :5] + two(x)[..., :5], torch.rand(1, 1, 12))
    text = summary_text(trace, "en")
    assert "branches with different strides meet here (1, 2)" in text
    assert " 1|2 " in text


def test_fields_in_several_inputs_have_a_line_each() -> None:
    one, two = nn.Conv1d(1, 1, 3), nn.Conv1d(1, 1, 5)
    trace = ct.trace(lambda x, y: one(x) + two(y), torch.rand(1, 1, 9), torch.rand(1, 1, 11))
    lines = summary_text(trace, "en").split("\n")
    at = next(number for number, line in enumerate(lines) if line.startswith("add"))
    assert lines[at].endswith("3       1      0  of input")
    assert lines[at + 1].strip() == "5       1      0  of input:2"


def test_a_name_with_control_characters_is_written_plainly() -> None:
    model = nn.Sequential()
    model.add_module("a\x1b[2J", nn.Conv1d(1, 1, 1))
    assert "\x1b" not in summary_text(ct.trace(model, torch.rand(1, 1, 4)), "en")


@pytest.mark.parametrize("terminal", [True, False])
def test_a_pipe_gets_plain_text_and_a_terminal_gets_colour(
    digits_trace: ct.Trace, terminal: bool
) -> None:
    stream = io.StringIO()
    colours = "truecolor" if terminal else "auto"
    console = Console(file=stream, force_terminal=terminal, width=80, color_system=colours)
    print_summary(digits_trace, console, "en")
    assert ("\x1b[" in stream.getvalue()) == terminal
    if not terminal:
        assert stream.getvalue() == summary_text(digits_trace, "en") + "\n"
