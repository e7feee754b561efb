"""A small error that goes with the values is seen; what rounding does is left alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import convtrace as ct


def _layer(seed: int = 0, channels: int = 16) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(2, channels, 18, 18, generator=draw)
    return x, torch.randn(12, channels, 3, 3, generator=draw) / 12


def _drift(mine: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> float:
    report = ct.diff(mine, (x, weight, bias) if bias is not None else (x, weight))
    assert isinstance(report, ct.Report)
    assert report.spread is not None
    assert (report.verdict == "mismatch") == bool(report.spread.drift)
    return report.spread.drift


@pytest.mark.parametrize("share", [2e-6, 3e-6, 1e-5])
def test_an_output_that_is_millionths_too_large_is_a_mismatch(share: float) -> None:
    x, weight = _layer()
    out = F.conv2d(x, weight)
    assert ct.diff(out, (x, weight)).verdict == "rounding"
    report = ct.diff(out * (1 + share), (x, weight))
    assert isinstance(report, ct.Report)
    assert report.verdict == "mismatch"
    assert report.inside == 1.0
    assert report.spread is not None
    assert report.spread.drift == pytest.approx(share, rel=0.1)
    assert not report.spread.usual
    assert report.causes[0].id in ("input.scaled", "output.scaled", "kernel.scaled")
    assert report.causes[0].parameters["factor"] == pytest.approx(1 + share, abs=1e-7)
    assert "is about " in report.text("en")
    assert f"{1 + share:.6f}"[:7] in report.text("en")  # the factor is not cut to 1
    assert "반올림은 위아래로 고르게" in report.text("ko")


def test_weights_that_are_millionths_too_large_are_seen() -> None:
    x, weight = _layer()
    bias = torch.linspace(-1, 1, 12)
    assert _drift(F.conv2d(x, weight * 1.000004, bias), x, weight, bias)
    assert not _drift(F.conv2d(x, weight, bias), x, weight, bias)


def test_sums_that_are_cut_off_in_the_place_of_rounding_may_shrink() -> None:
    x, weight = _layer(channels=64)
    out = F.conv2d(x, weight)
    # 577 summands, four at a time: each step may lose a unit of what was added up so far.
    assert not _drift(out * (1 - 3e-6), x, weight)
    assert _drift(out * (1 + 3e-6), x, weight)


KINDS: dict[str, Callable[[Tensor], Tensor]] = {
    "normal": lambda t: t,
    "positive": lambda t: t.abs() + 0.1,
    "tenths": lambda t: (t * 10).round() * 0.1,
    "constant": lambda t: torch.full_like(t, 1 / 3),
    "pixels": lambda t: (t * 60 + 128).clamp(0, 255).round() / 255,
    "bfloat16": lambda t: t.bfloat16().float(),
    "far from zero": lambda t: t / 100 + 1,
    "heavy tails": lambda t: t**5,
}


def _orders(x: Tensor, weight: Tensor) -> Iterator[Tensor]:
    """Yield right outputs whose terms were added in several orders."""
    yield F.conv2d(x, weight)
    yield torch.ops.aten.thnn_conv2d(x, weight, [3, 3])
    columns = F.unfold(x[:1], 3)[0].numpy()
    products = weight.reshape(len(weight), -1, 1).numpy() * columns[None]
    for terms in (products, products[:, ::-1]):
        yield torch.from_numpy(np.cumsum(terms, axis=1, dtype=np.float32)[:, -1])


@pytest.mark.parametrize("first", sorted(KINDS))
def test_rounding_does_not_drift_whatever_the_numbers_are(first: str) -> None:
    for number, second in enumerate(sorted(KINDS)):
        x, weight = _layer(seed=number)
        x, weight = KINDS[first](x), KINDS[second](weight)
        for mine in _orders(x, weight):
            part = x if mine.dim() == 4 else x[:1]
            report = ct.diff(mine.reshape(len(part), 12, 16, 16), (part, weight))
            assert isinstance(report, ct.Report)
            assert report.verdict in ("rounding", "exact"), (first, second)
            assert report.spread is None or report.spread.drift == 0.0, (first, second)


def test_a_drift_in_one_channel_alone_is_none_of_all() -> None:
    x, weight = _layer()
    out = F.conv2d(x, weight)
    out[:, 3] *= 1 + 1.5e-5
    report = ct.diff(out, (x, weight))
    assert isinstance(report, ct.Report)
    assert report.spread is not None
    assert not report.spread.drift
