"""What the playground calls impossible is what PyTorch refuses: both are compared with one list.

python tests/page/test_settings.py    writes the list anew, from PyTorch
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from playwright.sync_api import Page, expect
from torch import nn

import convtrace as ct
from convtrace.catalog import say
from convtrace.render.page import playground

LIST = Path(__file__).resolve().parents[2] / "web" / "tests" / "settings.json"
SETTINGS = Path(__file__).resolve().parents[2] / "web" / "src" / "settings.ts"

MODES = ("zeros", "reflect", "replicate", "circular")


def drawn(count: int = 200) -> list[dict[str, Any]]:
    """Draw settings near the edge of what is possible: about half of them are not."""
    chosen = random.Random(0)

    def pick(low: int, high: int, odd: float = 0.06) -> int:
        return chosen.choice([0, -1]) if chosen.random() < odd else chosen.randint(low, high)

    rows = []
    for _ in range(count):
        axes = chosen.choice([1, 2])
        transposed = chosen.random() < 0.35
        even = chosen.random() < 0.7
        groups = pick(1, 3, 0.03)
        rows.append(
            {
                "channels": abs(groups) * chosen.randint(1, 2) if even else pick(1, 4),
                "size": [pick(1, 6, 0.02) for _ in range(axes)],
                "layer": {
                    "channels": abs(groups) * chosen.randint(1, 2) if even else pick(1, 4),
                    "kernel": [pick(1, 4, 0.02) for _ in range(axes)],
                    "stride": [pick(1, 3, 0.02) for _ in range(axes)],
                    "padding": [max(pick(0, 3, 0.02), -1) for _ in range(axes)],
                    "mode": chosen.choice(MODES),
                    "dilation": [pick(1, 2, 0.02) for _ in range(axes)],
                    "groups": groups,
                    "transposed": transposed,
                    "outputPadding": [
                        chosen.choice([0, 0, 1, 2]) if transposed else 0 for _ in range(axes)
                    ],
                },
            }
        )
    return rows


def output_size(row: dict[str, Any]) -> list[int] | None:
    """Let PyTorch make and run the layer; None where it refuses, or nothing comes out."""
    layer, axes = row["layer"], len(row["size"])
    options = {
        "kernel_size": tuple(layer["kernel"]),
        "stride": tuple(layer["stride"]),
        "padding": tuple(layer["padding"]),
        "dilation": tuple(layer["dilation"]),
        "groups": layer["groups"],
        "padding_mode": layer["mode"] if any(layer["padding"]) else "zeros",
    }
    kind: Any = (nn.Conv1d, nn.Conv2d)[axes - 1]
    if layer["transposed"]:
        kind = (nn.ConvTranspose1d, nn.ConvTranspose2d)[axes - 1]
        options["output_padding"] = tuple(layer["outputPadding"])
    if min(row["channels"], layer["channels"], *row["size"], *layer["kernel"]) < 1:
        return None  # PyTorch allows some of these, and makes no numbers
    if min(*layer["stride"], *layer["dilation"]) < 1 or min(layer["padding"]) < 0:
        return None
    try:
        made = kind(row["channels"], layer["channels"], **options)
        with torch.no_grad():
            out = made(torch.zeros(1, row["channels"], *row["size"]))
    except (RuntimeError, ValueError, ZeroDivisionError):
        return None
    return list(out.shape[2:]) if out.numel() else None


def rows() -> list[dict[str, Any]]:
    return [{**row, "expected": output_size(row)} for row in drawn()]


def test_the_list_is_what_pytorch_says() -> None:
    assert json.loads(LIST.read_text(encoding="utf-8")) == rows()


def test_the_list_has_both_kinds() -> None:
    possible = [row["expected"] is not None for row in rows()]
    assert 0.25 < sum(possible) / len(possible) < 0.75


class Branches(nn.Module):
    """Two convolutions that read the same input."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(1, 1, 2), nn.Conv2d(1, 1, 2)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.left(x), self.right(x)


def stack(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*layers)


NETWORKS: dict[str, tuple[nn.Module, tuple[int, ...], bool]] = {
    "one layer": (stack(nn.Conv2d(3, 4, 3)), (1, 3, 8, 8), True),
    "copied padding": (
        stack(nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"), nn.Conv2d(1, 1, 2)),
        (1, 1, 5, 5),
        True,
    ),
    "transposed": (stack(nn.ConvTranspose1d(2, 2, 3, stride=2)), (1, 2, 9), True),
    "one end padded": (
        stack(nn.ReflectionPad2d((0, 1, 0, 1)), nn.Conv2d(1, 1, 2)),
        (1, 1, 5, 5),
        False,
    ),
    "relu": (stack(nn.Conv2d(3, 4, 3), nn.ReLU()), (1, 3, 8, 8), False),
    "two samples": (stack(nn.Conv2d(3, 4, 3)), (2, 3, 8, 8), False),
    "no batch": (stack(nn.Conv2d(3, 4, 3)), (3, 8, 8), False),
    "one sample, no batch": (stack(nn.Conv2d(1, 4, 3)), (1, 8, 8), False),
    "three axes": (stack(nn.Conv3d(1, 1, 2)), (1, 1, 3, 3, 3), False),
    "float64": (stack(nn.Conv2d(1, 1, 2)).double(), (1, 1, 4, 4), False),
    "five layers": (stack(*(nn.Conv2d(1, 1, 1) for _ in range(5))), (1, 1, 4, 4), False),
    "many channels": (stack(nn.Conv2d(17, 1, 1)), (1, 17, 4, 4), False),
    "a large kernel": (stack(nn.Conv2d(1, 1, 12)), (1, 1, 12, 12), False),
    "many products": (stack(nn.Conv2d(16, 16, 5, padding=2)), (1, 16, 64, 64), False),
    "branches": (Branches(), (1, 1, 4, 4), False),
}


@pytest.mark.parametrize(("model", "shape", "suits"), NETWORKS.values(), ids=NETWORKS.keys())
def test_python_and_the_page_agree_on_what_suits_the_playground(
    open_page: Callable[..., Page],
    tmp_path: Path,
    model: nn.Module,
    shape: tuple[int, ...],
    suits: bool,
) -> None:
    dtype = next(model.parameters()).dtype
    trace = ct.trace(model, torch.zeros(shape, dtype=dtype))
    trace.save(tmp_path / "page.html", lang="en")
    page = open_page(tmp_path / "page.html")
    expect(page.get_by_role("button", name="Try it yourself")).to_be_visible()
    expect(page.get_by_role("button", name="Change it")).to_have_count(1 if suits else 0)
    found = playground.obstacle(trace, list)
    assert (found is None) == suits, found
    for lang in ("en", "ko"):
        if found:
            assert "{" not in say(f"cli.playground.{found[0]}", lang, **found[1])


def test_python_knows_the_limits_of_the_playground() -> None:
    source = SETTINGS.read_text(encoding="utf-8")
    table = source[source.index("export const LIMITS") :].split("};")[0]
    limits = {
        name: (int(low), int(high))
        for name, low, high in re.findall(r"(\w+): \[(\d+), (\d+)\]", table)
    }
    assert limits == dict(playground.LIMITS)
    for name in ("MOST_LAYERS", "MOST_NUMBERS", "MOST_PRODUCTS"):
        found = re.search(rf"const {name} = ([\d_]+);", source)
        assert found is not None
        assert int(found[1]) == getattr(playground, name)


if __name__ == "__main__":
    text = json.dumps(rows(), separators=(",", ":")).replace('},{"channels"', '},\n{"channels"')
    LIST.write_text(text + "\n", encoding="utf-8")
