"""Receipts of gradients as text: goldens to look at, and a judge that reads the numbers back.

A golden is `goldens/gradient_CASE.LANGUAGE.txt`; a text that differs is written beside it, as in
`test_text.py`. The network computes with whole numbers only, so it is the same on every machine.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import convtrace as ct
from convtrace.catalog import STRICT_VARIABLE
from convtrace.render.text.receipt import receipt_line

GOLDENS = Path(__file__).parents[1] / "goldens"

CASES = {
    "start": "add:2.grad[]",
    "passed": "up.grad[0,0,1,1]",
    "mul": "add.grad[1,0,2,2]",
    "transposed_input": "relu.grad@up[0,1,1,0]",
    "transposed_weight": "up.weight.grad[1,0,1,0]",
    "sum": "relu.grad[0,1,1,0]",
    "relu": "conv.grad[0,1,1,0]",
    "weight": "conv.weight.grad[1,0,0,2]",
    "weight_padding": "conv.weight.grad[0,1,0,0]",
    "bias": "conv.bias.grad[1]",
    "input": "input.grad[1,0,2,3]",
    "linear_weight": "fc.weight.grad[0,2]",
    "linear_input": "flatten.grad[1,2]",
    "linear_bias": "fc.bias.grad[0]",
    "pool": "max_pool2d.grad[0,0,0,1]",
}


def whole(*shape: int, seed: int) -> Tensor:
    return torch.randint(-3, 4, shape, generator=torch.Generator().manual_seed(seed)).float()


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(2, 1, 2, stride=2, padding=1)
        self.fc = nn.Linear(8, 1)
        with torch.no_grad():
            for seed, parameter in enumerate(self.parameters()):
                parameter.copy_(whole(*parameter.shape, seed=seed))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.conv(x))
        z = (self.up(y) + 1) * 2
        pooled = torch.max_pool2d(y, 2, 1)
        return z.sum() + self.fc(pooled.flatten(1)).sum()


@functools.cache
def network() -> ct.Trace:
    return ct.trace(Net(), whole(2, 2, 6, 6, seed=9), backward=True)


@pytest.fixture(autouse=True)
def _strict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STRICT_VARIABLE, "1")


@pytest.mark.parametrize("lang", ["en", "ko"])
@pytest.mark.parametrize("name", CASES)
def test_a_gradient_reads_as_it_did(name: str, lang: str) -> None:
    golden = GOLDENS / f"gradient_{name}.{lang}.txt"
    changed = golden.with_suffix(".changed.txt")
    receipt = network().why(CASES[name])
    text = f"{receipt.text(lang)}\n\n{receipt_line(receipt, lang)}\n"
    if not golden.exists() or golden.read_text(encoding="utf-8") != text:
        changed.write_text(text, encoding="utf-8")
        pytest.fail(f"{name} reads differently in {lang}: compare {golden.name}, {changed.name}")
    changed.unlink(missing_ok=True)


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_every_gradient_shows_the_number_that_autograd_has(lang: str) -> None:
    net, x = Net().double(), whole(2, 2, 6, 6, seed=9).double().requires_grad_()
    net(x).backward()
    wanted = {"input.grad": x.grad, **{f"{n}.grad": p.grad for n, p in net.named_parameters()}}
    for name, gradient in wanted.items():
        assert gradient is not None
        for index in ((0,) * gradient.dim(), tuple(size - 1 for size in gradient.shape)):
            number = f"{gradient[index].item():.0f}".replace("-", "−")
            text = network().why(name, index).text(lang)
            assert text.splitlines()[0] == f"{ct.Address(name, index)} = {number}"
            shown = re.search(r"(exact sum|exact value|정확한 합|정확한 값) (\S+) ·", text)
            assert shown is not None
            assert shown[2] == number


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_no_line_of_words_is_wider_than_a_terminal(lang: str) -> None:
    for name in CASES.values():
        assert max(map(len, network().why(name).text(lang).splitlines())) <= 100
