"""One certified receipt of 4,608 terms, against the layer's own forward pass."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import convtrace as ct
from benchmarks.timing import Timing, interleave

SIZES = (7, 14, 56, 224, 896)
BATCH = 20
"""Receipts timed together: one alone is too short for the clock."""


@dataclass(frozen=True)
class ReceiptTiming:
    """What receipts of one layer took.

    Attributes:
        size: Height and width of the feature map.
        forward: The layer's own forward pass.
        receipt: One receipt; its ratio is to the forward pass.
        window: Reading the bare window, multiplying and adding it in NumPy, nothing certified.
    """

    size: int
    forward: Timing
    receipt: Timing
    window: Timing


def measure(rounds: int = 15) -> list[ReceiptTiming]:
    """Time receipts of a 512→512, 3×3 convolution on feature maps of growing size."""
    rows: list[ReceiptTiming] = []
    for size in SIZES:
        torch.manual_seed(0)
        # The receipt is the same for fewer output channels, and the layer must fit memory.
        channels_out, few = (512, rounds) if size <= 56 else (8, 5)
        with torch.no_grad():
            rows.append(_measure(size, channels_out, few))
    return rows


def _measure(size: int, channels_out: int, rounds: int) -> ReceiptTiming:
    layer = torch.nn.Conv2d(512, channels_out, 3, padding=1)
    x = torch.randn(1, 512, size, size)
    trace = ct.trace(layer, x)
    weight = layer.weight.detach().numpy()
    image = x.numpy()
    places = itertools.cycle(
        [(0, c % channels_out, 1 + c % (size - 2), 1 + c * 5 % (size - 2)) for c in range(97)]
    )

    def receipts() -> Any:
        return [trace.why("conv2d", next(places)) for _ in range(BATCH)]

    def windows() -> float:
        total = 0.0
        for _ in range(BATCH):
            _, c, row, column = next(places)
            box = image[0, :, row - 1 : row + 2, column - 1 : column + 2]
            total += float((box.astype(np.float64) * weight[c].astype(np.float64)).sum())
        return total

    timings = interleave(
        {"forward": lambda: layer(x), "receipts": receipts, "windows": windows},
        rounds=rounds,
        title=f"receipts at {size}×{size}",
    )
    assert trace.why("conv2d", (0, 0, 1, 1)).verdict in ("exact", "rounding")
    return ReceiptTiming(
        size, timings["forward"], _each(timings["receipts"]), _each(timings["windows"])
    )


def _each(timing: Timing) -> Timing:
    return Timing(*(value / BATCH for value in vars(timing).values()))
