"""Which elements a candidate is tried on before all of them are computed."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

FIRST, SECOND = 4, 64
"""Elements that changes are tried on first, of which the first one comes before all, and next."""

MANY = 2**16
"""Elements from which on they are not listed to draw from."""


def positions(
    wrong: Array, weight: Array, count: int, seed: int = 0, worst: int | None = None
) -> tuple[Array, ...]:
    """Choose positions: three of four that are wrong, where there are as many, the rest right.

    Args:
        wrong: Which elements are wrong, of the output's shape.
        weight: How wrong each is; the worst one is always taken.
        count: How many to choose.
        seed: Of the draw.
        worst: Place of the largest weight among all, where it is known.

    Returns:
        One array `(count,)` or shorter for each axis.
    """
    draw = np.random.default_rng(seed)
    if wrong.size > MANY:
        most = int(np.argmax(weight)) if worst is None else worst
        flat = _of_many(wrong.reshape(-1), most, count, draw)
        return tuple(np.unravel_index(flat, wrong.shape))
    bad = np.flatnonzero(wrong)
    good = np.flatnonzero(~wrong.reshape(-1))
    take = min(len(bad), max(count - len(good), -(-count * 3 // 4)))
    chosen: list[int] = []
    if take:
        most = int(bad[int(np.argmax(weight.reshape(-1)[bad]))])
        rest = bad[bad != most]
        others = draw.choice(rest, min(take - 1, len(rest)), replace=False)
        chosen = [most, *others.tolist()]
    spare = min(count - len(chosen), len(good))
    if spare:
        chosen += draw.choice(good, spare, replace=False).tolist()
    return tuple(np.unravel_index(np.array(chosen, dtype=np.int64), wrong.shape))


def telling(
    few: tuple[Array, ...],
    more: tuple[Array, ...],
    observed: Array,
    wrong: Array,
    badness: Array,
) -> tuple[Array, ...]:
    """Put the element first that tells most: the worst one whose number is no other's as well.

    What a limit cuts off says little: many changes lead beyond it.

    Args:
        few: Positions; the first of them gives way.
        more: Others to choose from.
        observed: The observed output.
        wrong: Which elements are wrong.
        badness: How wrong each is.
    """
    both = tuple(np.concatenate(axes) for axes in zip(few, more, strict=True))
    _, kept = np.unique(np.ravel_multi_index(both, wrong.shape), return_index=True)
    kept = np.sort(kept)  # the worst one stays the first
    both = tuple(axis[kept] for axis in both)
    fits = wrong[both] & alone(observed[both])
    if not len(kept) or fits[0] or not fits.any():
        return few
    best = int(np.argmax(np.where(fits, badness[both], -1.0)))
    return tuple(np.append(axis[best], old) for axis, old in zip(both, few, strict=True))


def alone(numbers: Array) -> Array:
    """Tell which numbers are no other's as well."""
    _, inverse, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    return np.asarray(counts[inverse] == 1)


def _of_many(wrong: Array, worst: int, count: int, draw: np.random.Generator) -> Array:
    """Choose places of a long array without listing all that are wrong or right."""
    bad = int(np.count_nonzero(wrong))
    good = wrong.size - bad
    take = min(bad, max(count - good, -(-count * 3 // 4)))
    spare = min(count - take, good)
    chosen = [worst] if take and wrong[worst] else []
    for kind, of, number in ((True, bad, take - len(chosen)), (False, good, spare)):
        if number <= 0:
            continue
        if of < wrong.size // 8:  # few: they are soon listed
            places = np.flatnonzero(wrong if kind else ~wrong)
            few = of <= 64 * number
            places = draw.permutation(places) if few else draw.choice(places, 64 * number)
        else:
            places = draw.integers(0, wrong.size, 64 * number)
            places = places[wrong[places] == kind]
        chosen = _more(chosen, places.tolist(), number)
    return np.array(chosen, dtype=np.int64)


def _more(chosen: list[int], places: list[int], number: int) -> list[int]:
    """Return chosen places and so many others, the first ones that are new."""
    found, enough = dict.fromkeys(chosen), len(chosen) + number
    for place in places:
        if len(found) == enough:
            break
        found[place] = None
    return list(found)


def anywhere(shape: tuple[int, ...], count: int, seed: int = 0) -> tuple[Array, ...]:
    """Choose positions of an array, the first and the last one among them."""
    size = math.prod(shape)
    return tuple(np.unravel_index(_drawn(size, min(count, size), seed), shape))


@lru_cache(maxsize=64)
def _drawn(size: int, count: int, seed: int) -> Array:
    """Draw places in a row, the first and the last one among them; it takes long to start to."""
    draw = np.random.default_rng(seed)
    return np.unique(np.append(draw.integers(0, size, count), [0, size - 1]))
