"""What changes make of other numbers, without any symmetry: two that agree compute the same."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.mismatch.computing.memory import empty
from convtrace.mismatch.computing.setup import Positions, Setup, added
from convtrace.mismatch.computing.stages import Add
from convtrace.mismatch.search.change import Changes, applied
from convtrace.mismatch.search.sample import anywhere

Array = NDArray[Any]

LARGER = 64.0
"""By how much numbers are enlarged, so that limits show."""

ELEMENTS, FEW = 48, 16
"""Elements that are computed, and those of them that are computed from larger numbers as well."""


class _Others:
    """Other numbers, and some elements; what is read there and the weights are gathered once.

    Args:
        setup: The computation on other numbers.
        at: Positions of the elements.
    """

    def __init__(self, setup: Setup, at: Positions) -> None:
        self.setup, self.at = setup, at

    @cached_property
    def read(self) -> Array:
        """What the taps read."""
        return self.setup.read(self.at)

    @cached_property
    def factors(self) -> Array:
        """The weights."""
        return self.setup.factors(self.at[1])

    def values(self, changes: Changes) -> Array | None:
        """Return what changes make of the elements; None where they do not apply."""
        setup = applied(self.setup, changes)
        if setup is None:
            return None
        sides = {change.side for change in changes} - {"after"}
        if len(sides) > 1 or sides & {"y", "xw"} or self.setup.y_maps:
            return setup.sample(self.at).values
        read = setup.read(self.at) if "x" in sides else self.read
        factors = setup.factors(self.at[1]) if "w" in sides else self.factors
        return setup.finish(added(read, factors, self.at, setup)).values


class Fingerprints:
    """What changes of a setup make of other numbers.

    Args:
        base: The setup that is right.
    """

    def __init__(self, base: Setup) -> None:
        self.base = base

    @cached_property
    def _others(self) -> tuple[_Others, _Others]:
        """Other numbers: of similar size, and larger ones, which limits would show at."""
        other = scrambled(self.base)
        at = anywhere(other.shape, ELEMENTS, seed=7)
        few = tuple(axis[:FEW] for axis in at)
        larger = np.multiply(other.x, LARGER, out=empty(other.x.shape))
        return _Others(other, at), _Others(other.but(x=larger), few)

    def of(self, changes: Changes) -> Array | None:
        """Return the fingerprint of changes; None where they do not suit other numbers."""
        found: list[Array] = []
        try:
            for others in self._others:
                values = others.values(changes)
                if values is None:
                    return None
                found.append(values)
        except (IndexError, ValueError):
            return None
        return np.concatenate(found)


@lru_cache(maxsize=4)
def _normal(seed: int) -> tuple[Array, ...]:
    """Draw a prime number of numbers for input, weights and bias each."""
    draw = np.random.default_rng(seed)
    return tuple(draw.normal(size=65521) for _ in range(3))


def _repeated(numbers: Array, shape: tuple[int, ...]) -> Array:
    """Return an array with numbers in it one after the other, again and again."""
    found = empty(shape)
    flat, count = found.reshape(-1), len(numbers)
    whole = flat.size // count * count
    flat[:whole].reshape(-1, count)[...] = numbers
    flat[whole:] = numbers[: flat.size - whole]
    return found


def scrambled(base: Setup, seed: int = 3) -> Setup:
    """Return the same computation on other numbers, of similar size but without any symmetry."""
    numbers = iter(_normal(seed))

    def like(array: Array | None) -> Array | None:
        if array is None:
            return None
        drawn = next(numbers)
        few = array.reshape(-1)[:: max(1, array.size // 4096)]
        few = few[np.isfinite(few)]
        spread = (float(np.abs(few).mean()) if few.size else 1.0) or 1.0
        drawn = drawn[: array.size] * spread
        if (few == np.rint(few)).all() and (array == np.rint(array)).all():
            drawn = np.rint(drawn * 4)
        # Drawn numbers are repeated after a prime number of them, which no symmetry survives.
        return _repeated(drawn, array.shape)

    x, weight, bias = like(base.x), like(base.weight), like(base.bias)
    stages = tuple(
        Add(bias) if isinstance(stage, Add) and bias is not None else stage for stage in base.stages
    )
    return base.but(x=x, weight=weight, bias=bias, stages=stages)
