"""Which terms of a long receipt are shown, and what the others sum to."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from convtrace.receipt import Receipt
from convtrace.step import Number

Position = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """The terms that are shown.

    Attributes:
        channels: Positions on the first axis of the receipt's arrays, in the order shown.
        positions: The terms, one list for each of `channels`.
        whole: Whether every one of `channels` is shown completely.
        count: Number of terms of the receipt.
        rest: Sum of the terms that are not shown; None where all are.
    """

    channels: list[int]
    positions: list[list[Position]]
    whole: bool
    count: int
    rest: Number | None

    @property
    def shown(self) -> int:
        """Number of terms that are shown."""
        return sum(map(len, self.positions))


def choose(receipt: Receipt, limit: int | None) -> Choice:
    """Choose at most `limit` terms, whole channels as long as one fits.

    Channels with the largest sums come first, or terms with the largest products where not even
    one channel fits; what holds NaN or infinity comes before all others.

    Args:
        receipt: The receipt.
        limit: Most terms to show, at least 1; None shows all.
    """
    shape = receipt.products.shape
    count = receipt.products.size
    everything = [list(np.ndindex(shape[1:])) for _ in range(min(1, shape[0]))]
    inner = everything[0] if everything else []
    if limit is None or count <= limit:
        channels = list(range(shape[0]))
        return Choice(channels, [[(c, *p) for p in inner] for c in channels], True, count, None)
    limit = max(limit, 1)
    culprits = set(receipt.culprits)
    if len(inner) <= limit:
        bad = {position[0] for position in culprits}
        sums = _sizes(receipt.channel_sums)
        order = sorted(range(shape[0]), key=lambda c: (c not in bad, -sums[c], c))
        channels = order[: limit // len(inner)]
        hidden = np.delete(receipt.products, channels, axis=0)
        positions = [[(c, *p) for p in inner] for c in channels]
        return Choice(channels, positions, True, count, add(hidden.ravel().tolist()))
    sizes = _sizes(receipt.products.ravel())
    places: list[Position] = list(np.ndindex(shape))
    order = sorted(range(count), key=lambda n: (places[n] not in culprits, -sizes[n], n))
    taken = sorted(order[:limit])
    by_channel: dict[int, list[Position]] = {}
    for n in taken:
        by_channel.setdefault(places[n][0], []).append(places[n])
    hidden = np.delete(receipt.products.ravel(), taken)
    return Choice(list(by_channel), list(by_channel.values()), False, count, add(hidden.tolist()))


def add(numbers: list[Number]) -> Number:
    """Add numbers without error, rounded once; integers stay integers.

    Example:
        >>> add([0.1] * 10), add([1, 2]), add([1e308, 1e308])
        (1.0, 3, inf)
    """
    if any(isinstance(number, complex) for number in numbers):
        parts = [complex(number) for number in numbers]
        real = add([part.real for part in parts])
        return complex(float(real.real), float(add([part.imag for part in parts]).real))
    if numbers and all(isinstance(number, int) for number in numbers):
        return sum(numbers)
    values = [float(number.real) for number in numbers]
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):  # too large, or infinities of both signs
        return sum(values)


def _sizes(values: np.ndarray) -> list[float]:
    """Return absolute values to sort by, NaN as the largest of all."""
    return [
        math.inf if number != number else float(abs(number)) for number in values.ravel().tolist()
    ]
