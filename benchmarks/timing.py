"""Timing several functions side by side, so that their ratios hold on a noisy machine."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rich.progress import Progress


@dataclass(frozen=True)
class Timing:
    """What one function took.

    Attributes:
        seconds: Median of its runs.
        ratio: Median over rounds of its time by the first function's time in the same round.
        low: Lower quartile of that ratio.
        high: Upper quartile of that ratio.
    """

    seconds: float
    ratio: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.ratio:.3g}× ({self.low:.3g} to {self.high:.3g})"


def interleave(
    functions: Mapping[str, Callable[[], Any]], *, rounds: int, title: str, warmups: int = 3
) -> dict[str, Timing]:
    """Run functions in turn, A B C A B C …, and compare each with the first.

    Args:
        functions: What to time, by name. The first one is what the ratios are to.
        rounds: How often each is timed.
        title: Shown beside the progress bar.
        warmups: Rounds that are run first and not counted.

    Returns:
        The timings, by name.
    """
    times: dict[str, list[float]] = {name: [] for name in functions}
    with Progress(transient=True) as progress:
        for number in progress.track(range(warmups + rounds), description=title):
            for name, function in functions.items():
                gc.collect()
                gc.disable()
                start = time.perf_counter()
                result = function()
                taken = time.perf_counter() - start
                gc.enable()
                del result
                if number >= warmups:
                    times[name].append(taken)
    first = next(iter(times.values()))
    timings: dict[str, Timing] = {}
    for name, taken in times.items():
        ratios = [a / b for a, b in zip(taken, first, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        timings[name] = Timing(statistics.median(taken), middle, low, high)
    return timings
