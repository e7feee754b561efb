"""`convtrace why --backward`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from convtrace.cli import main
from convtrace.models.digits import digit, digits

MODEL = """
import torch
conv = torch.nn.Conv2d(1, 1, 2)
def several(x):
    return {"first": conv(x), "second": conv(x).relu()}
def loss(x):
    return conv(x).square().mean()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(MODEL)
    return tmp_path


def call(*arguments: str, lang: str = "en") -> Result:
    return CliRunner().invoke(main, [*arguments, "--lang", lang], env={"LC_ALL": "C.UTF-8"})


def test_a_gradient_of_the_sum_is_autograds() -> None:
    net, x = digits(), digit()
    net(x).sum().backward()
    gradient = net.conv1.weight.grad
    assert isinstance(gradient, torch.Tensor)
    result = call("why", "digits", "conv1.weight.grad[2,0,1,1]", "--backward")
    assert result.exit_code == 0, result.output
    first = next(line for line in result.stdout.splitlines() if line.startswith("conv1.weight"))
    shown = float(first.split(" = ")[1].replace("−", "-"))
    assert shown == pytest.approx(gradient[2, 0, 1, 1].item(), rel=1e-6)


@pytest.mark.parametrize(("lang", "said"), [("en", "The loss is"), ("ko", "손실은")])
def test_it_says_what_the_loss_is(lang: str, said: str) -> None:
    assert said in call("why", "digits", "fc.grad[0,0]", "--backward", lang=lang).stdout


@pytest.mark.parametrize(("model", "count"), [("several", 2), ("loss", 1)])
def test_outputs_of_several_numbers_are_added_up(model: str, count: int) -> None:
    result = call("why", f"net.py:{model}", "conv.weight.grad[0,0,0,0]", "--backward",
                  "--random", "1,1,3,3")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert result.stdout.count("conv.weight.grad@") == (count if count > 1 else 0)


def test_without_it_a_gradient_says_how_to_get_one() -> None:
    result = call("why", "digits", "conv1.weight.grad[2,0,1,1]")
    assert result.exit_code == 2
    assert "Add --backward" in result.stderr
