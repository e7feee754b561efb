"""Layouts for receipts whose terms are simply listed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from convtrace.address import Address


@dataclass(frozen=True)
class Listed:
    """A layout with one entry a term, for arrays of shape `(terms,)`.

    Attributes:
        sources: Address of each term's value, None where it has none.
        weights: Address of each term's weight, None where it is no stored number.
    """

    sources: tuple[Address | None, ...]
    weights: tuple[Address | None, ...]

    @property
    def channels(self) -> Sequence[int]:
        """The terms are their own channels."""
        return range(len(self.sources))

    def source(self, position: tuple[int, ...]) -> Address | None:
        """Address of a term's value."""
        return self.sources[position[0]]

    def weight(self, position: tuple[int, ...]) -> Address | None:
        """Address of a term's weight."""
        return self.weights[position[0]]


@dataclass(frozen=True)
class Among:
    """Numbers of which a step takes the largest or the smallest.

    Attributes:
        extreme: `largest` or `smallest`.
        count: How many there are; padding is none of them.
        first: Address of the first of them.
        last: Address of the last of them.
    """

    extreme: str
    count: int
    first: Address
    last: Address


@dataclass(frozen=True)
class Chosen(Listed):
    """The layout of a number that was chosen among others.

    Attributes:
        among: Those others, and the number itself.
    """

    among: Among
