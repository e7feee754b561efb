"""Wrong convolutions: each is a mistake that somebody reported, made again with PyTorch alone.

A case says what the right layer is, computes the wrong output from facts of the report (never with
code of it, and never with code of convtrace), and names the causes that have to be found.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

GITHUB = "https://github.com/"


@dataclass(frozen=True)
class Question:
    """The arguments of `ct.diff`."""

    mine: Any
    reference: Any
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """One wrong convolution.

    Attributes:
        name: What is wrong, in words.
        report: The public thread that it is taken from, below `GITHUB`.
        causes: Identifiers of the causes.
        all: Whether all of them have to be named, together; else they are names of one mistake, as
            where padding on the other side is a shift as well, and any of them will do.
        make: Returns the question.
    """

    name: str
    report: str
    causes: frozenset[str]
    all: bool
    make: Callable[[], Question]


CASES: list[Case] = []


def case(
    report: str, *causes: str, together: bool = False
) -> Callable[[Callable[[], Question]], Callable[[], Question]]:
    """Register a function that makes a wrong convolution."""

    def keep(make: Callable[[], Question]) -> Callable[[], Question]:
        name = make.__name__.strip("_").replace("_", " ")
        CASES.append(Case(name, report, frozenset(causes), together, make))
        return make

    return keep


def numbers(*shape: int, seed: int = 0) -> Tensor:
    """Return normal numbers, the same ones at each call."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


@dataclass(frozen=True)
class Layer:
    """A layer with its input: x, weight, bias and settings."""

    x: Tensor
    weight: Tensor
    bias: Tensor | None
    settings: dict[str, Any]
    transposed: bool = False

    def run(self, **changes: Any) -> Tensor:
        """Compute it, with some of its parts changed."""
        parts = {"x": self.x, "weight": self.weight, "bias": self.bias, **self.settings, **changes}
        x, weight = parts.pop("x"), parts.pop("weight")
        if self.transposed:
            return getattr(F, f"conv_transpose{weight.dim() - 2}d")(x, weight, **parts)
        return getattr(F, f"conv{weight.dim() - 2}d")(x, weight, **parts)

    def ask(self, mine: Any, **more: Any) -> Question:
        """Ask about an output of this layer."""
        settings = dict(self.settings)
        if self.transposed:
            settings["transposed"] = True
        return Question(mine, (self.x, self.weight, self.bias), {**settings, **more})


def layer(
    c_in: int = 6,
    c_out: int = 8,
    kernel: tuple[int, ...] = (3, 3),
    size: tuple[int, ...] = (11, 12),
    *,
    n: int = 2,
    bias: bool = True,
    groups: int = 1,
    transposed: bool = False,
    seed: int = 0,
    **settings: Any,
) -> Layer:
    """Make a layer with random numbers."""
    first, second = (c_in, c_out // groups) if transposed else (c_out, c_in // groups)
    shape = (first, second, *kernel)
    if groups > 1:
        settings["groups"] = groups
    return Layer(
        numbers(n, c_in, *size, seed=seed),
        numbers(*shape, seed=seed + 1) / 4,
        numbers(c_out, seed=seed + 2) if bias else None,
        settings,
        transposed,
    )
