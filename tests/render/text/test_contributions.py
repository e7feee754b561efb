"""Contributions and uses as text: what is written is what the objects and torch hold."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import convtrace as ct
from convtrace.graph import Trace
from convtrace.models.digits import digit, digits
from convtrace.render.look import Look
from convtrace.render.text.contributions import agrees, contributions_lines, contributions_text
from convtrace.render.text.heatmap import cell, draw, heat_maps, legend
from convtrace.render.text.uses import largest, uses_text

TARGET, OTHER = 8, 3


@pytest.fixture(scope="module")
def trace() -> Trace:
    with torch.no_grad():
        return ct.trace(digits(), digit())


def terms_by_autograd(target: int) -> torch.Tensor:
    """In a ReLU network, a frozen gate is its slope: gradient × input, in float64."""
    x = digit().double().requires_grad_()
    digits().double()(x)[0, target].backward()
    assert x.grad is not None
    return (x.grad * x).detach()


def numbers(text: str) -> list[float]:
    return [
        float(found.replace("−", "-"))
        for found in re.findall(r"[+−]?\d+(?:\.\d+)?(?:e−?\d+)?", text)
    ]


def map_in(text: str) -> list[list[str]]:
    lines = text.splitlines()
    start = next(n for n, line in enumerate(lines) if "↓,→]" in line) + 2
    rows: list[list[str]] = []
    for line in lines[start:]:
        if not line.strip():
            break
        rows.append(line.split()[1:])
    return rows


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_the_number_its_parts_and_the_check_are_those_of_torch(trace: Trace, lang: str) -> None:
    split = trace.contributions(f"fc[0,{TARGET}]", dtype=torch.float64)
    lines = contributions_text(split, trace, lang).splitlines()
    with torch.no_grad():
        expected = digits().double()(digit().double())[0, TARGET].item()
    assert lines[0] == f"fc[0,{TARGET}] = {expected!r}"
    pixels = float(terms_by_autograd(TARGET).sum())
    parts = lines[lines.index("") + 1 :]
    assert numbers(parts[0].split("≈")[1])[0] == pytest.approx(pixels, abs=1e-5)
    assert numbers(parts[1].split("≈")[1])[0] == pytest.approx(expected - pixels, abs=1e-5)
    assert numbers(parts[3].split("≈")[1])[0] == pytest.approx(expected, abs=1e-5)
    check = lines[-3] if "·" in lines[-3] else lines[-2]
    assert all(abs(n - expected) < 1e-12 for n in numbers(check) if n != 64)


def test_every_cell_of_the_map_has_the_sign_and_the_size_of_its_term(trace: Trace) -> None:
    terms = terms_by_autograd(TARGET)[0, 0]
    rows = map_in(contributions_text(trace.contributions(f"fc[0,{TARGET}]"), trace, "en"))
    ninth = float(terms.abs().max()) / 9
    assert len(rows) == 8
    for row, expected in zip(rows, terms.tolist(), strict=True):
        for text, term in zip(row, expected, strict=True):
            if text == "·":
                assert term == 0
                continue
            assert text[0] == ("+" if term > 0 else "−")
            assert abs(abs(term) / ninth - int(text[1])) <= 0.5001


def test_the_largest_terms_come_with_their_addresses_and_the_rest_is_summed(trace: Trace) -> None:
    split = trace.contributions(f"fc[0,{TARGET}]")
    text = contributions_text(split, trace, "en", 5)
    found = re.findall(r"^input\[0,0,(\d),(\d)\]  holds .*≈ ([+−][\d.]+)$", text, re.MULTILINE)
    terms = terms_by_autograd(TARGET)[0, 0]
    shown = [(int(r), int(c), float(n.replace("−", "-"))) for r, c, n in found]
    order = terms.abs().flatten().argsort(descending=True)[:5].tolist()
    assert [(r, c) for r, c, _ in shown] == [divmod(at, 8) for at in order]
    for row, column, number in shown:
        assert number == pytest.approx(float(terms[row, column]), abs=1e-5)
    cut = re.search(r"Showing 5 of (\d+), .*The rest sums to\s+≈(\S+)\. ", text, re.DOTALL)
    assert cut is not None
    assert int(cut[1]) == int(terms.count_nonzero())
    rest = float(terms.sum()) - sum(float(terms[r, c]) for r, c, _ in shown)
    assert float(cut[2].replace("−", "-")) == pytest.approx(rest, abs=1e-5)


def test_the_table_of_biases_is_in_the_order_of_the_steps(trace: Trace) -> None:
    split = trace.contributions(f"fc[0,{TARGET}]")
    text = contributions_text(split, trace, "en")
    found = re.findall(r"^(conv1|conv2|fc) +≈ ([+−][\d.]+)$", text, re.MULTILINE)
    assert [step for step, _ in found] == ["conv1", "conv2", "fc"]
    for step, number in found:
        assert float(number.replace("−", "-")) == pytest.approx(split.biases[step], abs=1e-5)
    bias = float(digits().fc.bias[TARGET].detach())
    assert float(found[2][1]) == pytest.approx(bias, abs=1e-5)


def test_a_difference_is_that_of_the_two_maps(trace: Trace) -> None:
    split = trace.contributions(f"fc[0,{TARGET}]", minus=f"fc[0,{OTHER}]")
    text = contributions_text(split, trace, "en")
    assert text.startswith(f"fc[0,{TARGET}] − fc[0,{OTHER}] ≈ 11.1772\n")
    terms = (terms_by_autograd(TARGET) - terms_by_autograd(OTHER))[0, 0]
    ninth = float(terms.abs().max()) / 9
    for row, expected in zip(map_in(text), terms.tolist(), strict=True):
        for mark, term in zip(row, expected, strict=True):
            assert mark == "·" or abs(abs(term) / ninth - int(mark[1])) <= 0.5001


def test_a_sum_that_does_not_agree_is_said_loudly(trace: Trace) -> None:
    split = trace.contributions(f"fc[0,{TARGET}]")
    assert agrees(split, trace) is True
    wrong = replace(split, reported=split.reported + 0.25)
    assert agrees(wrong, trace) is False
    text = contributions_text(wrong, trace, "en")
    assert "!! MISMATCH" in text
    assert "residual 0.25:" in text
    lost = replace(split, reported=float("nan"))
    assert agrees(lost, trace) is None
    assert "cannot be checked" in " ".join(contributions_text(lost, trace, "en").split())


class Gated(nn.Module):
    """A product of two computed numbers, and a softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv1d(2, 4, 3)
        self.b = nn.Conv1d(2, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.a(x) * self.b(x), 1)


def test_opaque_steps_halves_and_stops_that_were_not_met_are_named() -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        trace = ct.trace(Gated(), torch.randn(1, 2, 6))
    opaque = contributions_text(trace.contributions("softmax[0,1,2]"), trace, "en", at=["b"])
    assert "the walk stops at it: softmax. Ask for the logits, the numbers before it: mul." in (
        " ".join(opaque.split())
    )
    assert "because it did not come by them: b." in " ".join(opaque.split())
    halved = " ".join(contributions_text(trace.contributions("mul[0,1,2]"), trace, "en").split())
    assert "each got half of the product: mul." in halved
    stopped = contributions_text(trace.contributions("mul[0,1,2]", at=["a"]), trace, "ko")
    assert "a의 수 (여기서 멈춤)" in stopped


def test_no_line_is_wider_than_asked_and_colours_change_no_text(trace: Trace) -> None:
    split = trace.contributions(f"fc[0,{TARGET}]", at="relu1")
    for lang in ("en", "ko"):
        lines = contributions_lines(split, trace, lang, width=80)
        assert max(line.cell_len for line in lines) <= 80


# Maps --------------------------------------------------------------------------------------------


def test_a_large_map_is_cut_into_blocks_that_are_sums() -> None:
    terms = np.random.default_rng(0).normal(size=(1, 1, 100, 90))
    (drawn,) = heat_maps("input", terms, 80)
    assert drawn.block == 4
    assert drawn.cells.shape == (25, 23)
    for row in range(25):
        for column in range(23):
            block = terms[0, 0, row * 4 : row * 4 + 4, column * 4 : column * 4 + 4]
            assert drawn.cells[row, column] == pytest.approx(block.sum())
    note = " ".join(line.plain for line in legend([drawn], Look("en")))
    assert "a block of 4 × 4 positions" in note


def test_many_planes_are_added_up_and_few_are_shown_one_by_one() -> None:
    terms = np.random.default_rng(0).normal(size=(2, 6, 3, 3))
    terms[1] = 0
    (drawn,) = heat_maps("input", terms, 80)
    assert (drawn.label, drawn.planes) == ("input[0,Σ,↓,→]", 6)
    assert drawn.cells == pytest.approx(terms.sum(axis=(0, 1)))
    labels = [one.label for one in heat_maps("input", terms[:, :3], 80)]
    assert labels == ["input[0,0,↓,→]", "input[0,1,↓,→]", "input[0,2,↓,→]"]
    assert [one.label for one in heat_maps("x", np.ones(3), 80)] == ["x[→]"]
    assert [one.label for one in heat_maps("x", np.ones(()), 80)] == ["x[]"]
    assert heat_maps("x", np.ones((1, 0)), 80) == []


def test_nan_and_infinity_have_a_mark_of_their_own() -> None:
    maps = heat_maps("x", np.array([[1.0, np.nan, -np.inf, 0.0, -0.01]]), 80)
    assert draw(maps, Look("en"))[2].plain.split() == ["0", "+9", "!", "!", "·", "−0"]
    assert "! is NaN" in legend(maps, Look("en"))[-1].plain
    assert cell(5e-324, 5e-324) == "+9"


# Uses --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_the_table_of_uses_is_the_derivative_that_torch_computes(trace: Trace, lang: str) -> None:
    text = uses_text(trace.uses("input[0,0,2,3]", to="fc"), trace, lang, to="fc")
    rows = re.findall(r"^fc\[0,(\d)\] +(.*)$", text, re.MULTILINE)
    network, x = digits().double(), digit().double()
    with torch.no_grad():
        made = network(x)[0]
    jacobian = torch.autograd.functional.jacobian(network, x)[0, :, 0, 0, 2, 3]
    assert len(rows) == 10
    for number, row in rows:
        coefficient, product, share = numbers(row)[:3]
        exact = float(jacobian[int(number)])
        assert coefficient == pytest.approx(exact, abs=1e-4)
        assert product == pytest.approx(exact * 0.8125, abs=1e-4)
        assert share == pytest.approx(exact * 81.25 / float(made[int(number)]), abs=0.06)


def test_uses_are_cut_to_the_largest_and_counted(trace: Trace) -> None:
    uses = trace.uses("input[0,0,2,3]")
    text = uses_text(uses, trace, "en", 4)
    assert "Showing 4 of 36" in text
    assert "36 of its 256 numbers" in text
    shown = re.findall(r"^(conv1\[\S+\])", text, re.MULTILINE)
    expected = sorted(uses, key=lambda use: -abs(use.coefficient))[:4]
    assert shown == [str(use.address) for use in expected]
    assert [use.address for use in largest(uses, 36)] == [use.address for use in uses]


def test_a_number_that_goes_nowhere_says_so(trace: Trace) -> None:
    assert "It went into no number" in uses_text(trace.uses("fc[0,0]"), trace, "en")
    torch.manual_seed(0)
    with torch.no_grad():
        other = ct.trace(Gated(), torch.randn(1, 2, 6))
    text = uses_text(other.uses("mul[0,0,0]"), other, "en")
    assert "No step that has a rule" in text
    assert text.endswith("softmax.")
