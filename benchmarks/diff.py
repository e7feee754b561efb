"""`ct.diff`: what a diagnosis costs, in forward passes of the wrong convolution itself.

    python -m benchmarks.diff

A 3×3 convolution of 256 to 256 channels on 56×56, wrong in one way from each family of causes.
Targets: at most 10 forward passes where one mistake is the cause, at most 100 where it takes two.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from rich.progress import Progress
from torch.nn.functional import conv2d, conv_transpose2d, pad

import convtrace as ct

SINGLE, PAIR = 10.0, 100.0
"""Targets, in forward passes."""

CHANNELS, SIZE = 256, 56

FORWARDS = 5
"""Forward passes of a round; the median of them is what a diagnosis is compared with."""

Array = torch.Tensor
Wrong = Callable[[Array, Array, Array], Array]


@dataclass(frozen=True)
class Case:
    """A wrong convolution.

    Attributes:
        family: What kind of mistake it is.
        wrong: Computes it from input, weights and bias.
        causes: Identifiers that name it; empty for one that nobody should name.
        more: Settings of the reference besides padding 1.
        pair: Whether two mistakes are made.
    """

    family: str
    wrong: Wrong
    causes: tuple[str, ...]
    more: Mapping[str, Any] = field(default_factory=dict[str, Any])
    pair: bool = False


@dataclass(frozen=True)
class Row:
    """What one diagnosis took.

    Attributes:
        case: The case.
        ratio: Median over rounds of its time by that of a forward pass in the same round, which is
            the median of several.
        seconds: Median of its time.
        found: Identifiers of the causes it named.
        proved: Whether it proved them.
    """

    case: Case
    ratio: float
    seconds: float
    found: tuple[str, ...]
    proved: bool

    @property
    def target(self) -> float:
        """The most that it may take."""
        return PAIR if self.case.pair else SINGLE

    @property
    def hit(self) -> bool:
        """Whether the cause was named first."""
        return self.found[: len(self.case.causes)] == self.case.causes or (
            len(self.case.causes) > 1 and set(self.case.causes) == set(self.found)
        )


def right(x: Array, w: Array, b: Array) -> Array:
    """Compute what should come out."""
    return conv2d(x, w, b, padding=1)


def _rounded(x: Array, w: Array, b: Array) -> Array:
    return conv2d(x.bfloat16().float(), w.bfloat16().float(), b, padding=1)


def _stale(x: Array, w: Array, b: Array) -> Array:
    y = right(x, w, b)
    y[..., -8:] = y[..., :8]
    return y


def cases() -> Iterator[Case]:
    """Yield a case from each family, then pairs."""
    scale = torch.linspace(0.5, 1.5, CHANNELS)
    norm = {
        "weight": scale,
        "bias": scale.flip(0),
        "mean": scale / 4,
        "var": scale,
        "eps": 1e-5,
    }

    def normed(y: Array, eps: float) -> Array:
        return torch.nn.functional.batch_norm(
            y, norm["mean"], norm["var"], norm["weight"], norm["bias"], eps=eps
        )

    yield Case("none", right, ())
    yield Case("kernel", lambda x, w, b: right(x, w.flip(2, 3), b), ("kernel.flipped",))
    yield Case("weight axes", lambda x, w, b: right(x, w.transpose(0, 1), b), ("kernel.axes",))
    yield Case(
        "layout",
        lambda x, w, b: right(x, w, b).permute(0, 2, 3, 1).reshape(x.shape),
        ("output.layout",),
    )
    yield Case("channels", lambda x, w, b: right(x.flip(1), w, b), ("input.channels_reversed",))
    yield Case("bias", lambda x, w, b: conv2d(x, w, padding=1), ("bias.missing",))
    yield Case("activation", lambda x, w, b: right(x, w, b).relu(), ("activation.fused",))
    yield Case(
        "padding",
        lambda x, w, b: conv2d(pad(x, (1, 1, 1, 1), mode="replicate"), w, b),
        ("padding.mode",),
    )
    yield Case(
        "dilation", lambda x, w, b: conv2d(x, w, b, padding=2, dilation=2), ("dilation.wrong",)
    )
    yield Case(
        "groups",
        lambda x, w, b: conv2d(
            x.unflatten(1, (-1, 4)).transpose(1, 2).flatten(1, 2), w, b, padding=1, groups=4
        ),
        ("groups.channels_interleaved",),
        {"groups": 4},
    )
    yield Case(
        "transposed",
        lambda x, w, b: conv_transpose2d(x, w.flip(2, 3), b, padding=1),
        ("kernel.flipped",),
        {"transposed": True},
    )
    yield Case(
        "norm", lambda x, w, b: normed(right(x, w, b), 1e-2), ("norm.epsilon",), {"norm": norm}
    )
    yield Case("scaling", lambda x, w, b: right(x / 255, w, b), ("input.scaled",))
    yield Case("precision", _rounded, ("precision.operands",), {"arithmetic": "float32"})
    yield Case("tile", _stale, ())
    yield Case(
        "kernel and bias",
        lambda x, w, b: conv2d(x, w.flip(2, 3), padding=1),
        ("kernel.flipped", "bias.missing"),
        pair=True,
    )
    yield Case(
        "channels and activation",
        lambda x, w, b: right(x.flip(1), w, b).relu(),
        ("input.channels_reversed", "activation.fused"),
        pair=True,
    )


def measure(rounds: int = 3) -> list[Row]:
    """Diagnose every case, and compare with its own forward pass."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, CHANNELS, SIZE, SIZE, generator=generator)
    w = torch.randn(CHANNELS, CHANNELS, 3, 3, generator=generator) / 48
    b = torch.randn(CHANNELS, generator=generator)
    with torch.no_grad(), Progress(transient=True) as progress:
        listed = progress.track(list(cases()), description="diff")
        return [_measure(case, x, w, b, rounds) for case in listed]


def _measure(case: Case, x: Array, w: Array, b: Array, rounds: int) -> Row:
    weights = w[:, : w.shape[1] // case.more.get("groups", 1)].contiguous()
    observed = case.wrong(x, weights, b)
    times: list[tuple[float, float]] = []
    for number in range(rounds + 1):
        # The first pass after something else is slower than those that follow it.
        case.wrong(x, weights, b)
        forwards: list[float] = []
        for _ in range(FORWARDS):
            start = time.perf_counter()
            case.wrong(x, weights, b)
            forwards.append(time.perf_counter() - start)
        start = time.perf_counter()
        report = ct.diff(observed, (x, weights, b), **{"padding": 1, **case.more})
        if number:  # the first round loads and warms up
            times.append((statistics.median(forwards), time.perf_counter() - start))
    return Row(
        case,
        statistics.median(taken / forward for forward, taken in times),
        statistics.median(taken for _, taken in times),
        tuple(cause.id for cause in report.causes),
        bool(report.causes) and all(cause.proved for cause in report.causes),
    )


if __name__ == "__main__":
    for row in measure():
        late = "" if row.ratio <= row.target else f"   over {row.target:g}"
        wrong = "" if row.hit else "   NOT NAMED FIRST"
        named = ", ".join(row.found) or "-"
        print(f"{row.case.family:26} {row.ratio:6.1f}× {row.seconds:7.3f} s  {named}{late}{wrong}")
