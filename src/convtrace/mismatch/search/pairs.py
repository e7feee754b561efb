"""Pairs of causes: all of them on a few elements, most of them by one matrix product each.

What the taps read and the weights are separate, so that K changes of the one and L of the other
make K x L pairs out of K + L gathers. What follows the sum costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from convtrace.mismatch.computing.setup import Positions, Setup
from convtrace.mismatch.computing.stages import Sums
from convtrace.mismatch.search.change import Change

if TYPE_CHECKING:
    from convtrace.mismatch.search.search import Changes, Search

Array = NDArray[Any]

FEW = 2
"""Elements that pairs are tried on which no matrix product can do together."""


class _Side:
    """One or two changes of one side, and the numbers that they give at the sample."""

    def __init__(self, changes: tuple[Change, ...], setup: Setup, numbers: Array) -> None:
        self.changes, self.setup, self.numbers = changes, setup, numbers


def promising(search: Search, candidates: Sequence[Change]) -> Iterator[Changes]:
    """Yield the pairs that reproduce the first sample, before they are looked at more closely."""
    base, at = search.base, search.samples[0]
    origin = base.origin(at)
    sides = {side: [c for c in candidates if c.side == side] for side in ("x", "w", "y", "xw")}
    after = [c for c in candidates if c.side == "after"]
    finished = [(c, s) for c in after if (s := c.make(base)) is not None]
    reads = list(_gathered(base, sides["x"], origin, "x"))
    factors = list(_gathered(base, sides["w"], origin, "w"))
    plain_read, plain_factors = base.read(origin), base.factors(origin[1])
    search.tick()
    yield from _two_sided(search, reads, factors, origin)
    search.tick()
    # What follows the sum, with everything before it.
    before = [(r.changes, _sums(r.numbers, plain_factors, origin, base)) for r in reads]
    before += [(r.changes, _sums(plain_read, r.numbers, origin, base)) for r in factors]
    for change in sides["xw"]:
        setup = change.make(base)
        if setup is not None and (sums := _linear(setup, at)) is not None:
            before.append(((change,), sums))
    for move in sides["y"]:
        if (setup := move.make(base)) is not None:
            sums = base.linear(setup.origin(at))
            yield from _followed(search, [((move,), sums)], finished)
    yield from _followed(search, before, finished)
    search.tick()
    yield from _twice_after(search, after, finished)
    search.tick()
    yield from _moved(search, sides)
    search.tick()
    yield from _weights(search, sides["w"], plain_read, origin)
    search.tick()
    yield from _inputs(search, sides["x"], plain_factors, origin)
    search.tick()


def _gathered(base: Setup, changes: Sequence[Change], at: Positions, side: str) -> Iterator[_Side]:
    for change in changes:
        setup = change.make(base)
        if setup is None:
            continue
        try:
            numbers = setup.read(at) if side == "x" else setup.factors(at[1])
        except (IndexError, ValueError):
            continue
        yield _Side((change,), setup, numbers)


def _sums(read: Array, factors: Array, at: Positions, setup: Setup) -> Sums:
    with np.errstate(all="ignore"):
        products = read * factors
        return Sums(products.sum(-1), np.abs(products).sum(-1), at, setup)


def _linear(setup: Setup, at: Positions) -> Sums | None:
    try:
        return setup.linear(setup.origin(at))
    except (IndexError, ValueError):
        return None


def _hits(search: Search, sums: Sums) -> Array:
    """Tell which rows may reproduce the first sample."""
    target = search.targets[0][: sums.values.shape[-1]]
    return np.asarray(search.judge.plausible(sums, target).all(-1))


def _two_sided(
    search: Search, reads: list[_Side], factors: list[_Side], at: Positions
) -> Iterator[Changes]:
    """Pair every change of what is read with every change of the weights."""
    if not reads or not factors:
        return
    right = np.stack([row.numbers for row in factors])  # (L, samples, terms)
    size = max(1, 2_000_000 // right[0].size)
    for start in range(0, len(reads), size):
        rows = reads[start : start + size]
        left = np.stack([row.numbers for row in rows])
        with np.errstate(all="ignore"):
            values = np.einsum("ksj,lsj->kls", left, right, optimize=True)
            magnitude = np.einsum("ksj,lsj->kls", np.abs(left), np.abs(right), optimize=True)
        sums = search.base.finish(Sums(values, magnitude, at, search.base))
        search.tried += values.shape[0] * values.shape[1]
        for k, j in np.argwhere(_hits(search, sums)):
            yield rows[k].changes + factors[j].changes


def _followed(
    search: Search,
    before: Sequence[tuple[Changes, Sums]],
    finished: Sequence[tuple[Change, Setup]],
) -> Iterator[Changes]:
    """Pair changes of sums, all with the same output positions, with what follows them."""
    if not before:
        return
    search.tried += len(finished) * len(before)
    sums = Sums(
        np.stack([one.values for _, one in before]),
        np.stack([one.magnitude for _, one in before]),
        before[0][1].at,
        search.base,
    )
    for change, setup in finished:
        try:
            found = setup.finish(sums)
        except (IndexError, ValueError):
            continue
        for row in np.flatnonzero(_hits(search, found)).tolist():
            yield (*before[row][0], change)


def _twice_after(
    search: Search, after: list[Change], finished: Sequence[tuple[Change, Setup]]
) -> Iterator[Changes]:
    """Pair changes of what follows the sum."""
    sums = search.base_sums[0]
    for change, setup in finished:
        for other in after:
            if other is change or other.id == change.id:
                continue
            search.tried += 1
            both = other.make(setup)
            if both is not None and _hits(search, both.finish(sums)):
                yield change, other


def _moved(search: Search, sides: dict[str, list[Change]]) -> Iterator[Changes]:
    """Pair every rearrangement of the output with every change of input and weights."""
    base = search.base
    at = tuple(axis[:FEW] for axis in search.samples[0])
    made = {
        side: [(c, s) for c in sides[side] if (s := c.make(base)) is not None]
        for side in ("x", "w")
    }
    for move in sides["y"]:
        setup = move.make(base)
        if setup is None:
            continue
        origin = setup.origin(at)
        read, factors = base.read(origin), base.factors(origin[1])
        for side in ("x", "w"):
            for change, changed in made[side]:
                search.tried += 1
                try:
                    if side == "x":
                        sums = _sums(changed.read(origin), factors, origin, base)
                    else:
                        sums = _sums(read, changed.factors(origin[1]), origin, base)
                except (IndexError, ValueError):
                    continue
                if _hits(search, base.finish(sums)):
                    yield change, move


def _weights(
    search: Search, changes: list[Change], read: Array, at: Positions
) -> Iterator[Changes]:
    """Pair changes of the weights with each other, in the order in which they are usually made."""
    base = search.base
    at, read = tuple(axis[:FEW] for axis in at), read[:FEW]
    made = [(c, s) for c in changes if (s := c.make(base)) is not None]
    for first, setup in made:
        for second, _ in made:
            if second is first or _slot(second) <= _slot(first):
                continue
            search.tried += 1
            both = second.make(setup)
            if both is None:
                continue
            try:
                factors = both.factors(at[1])
            except (IndexError, ValueError):
                continue
            if _hits(search, base.finish(_sums(read, factors, at, base))):
                yield first, second


def _inputs(
    search: Search, changes: list[Change], factors: Array, at: Positions
) -> Iterator[Changes]:
    """Pair changes of what is read with each other, in the order in which they are usually made."""
    base = search.base
    at, factors = tuple(axis[:FEW] for axis in at), factors[:FEW]
    made = [(c, s) for c in changes if (s := c.make(base)) is not None]
    numbers = [(c, s) for c, s in made if _only_numbers(base, s)]
    places = [(c, s) for c, s in made if not _only_numbers(base, s)]
    for place, setup in places:
        try:
            values, index, valid = setup.gather(at)
        except (IndexError, ValueError):
            continue
        for change, changed in numbers:
            if _slot(change) == _slot(place):
                continue
            search.tried += 1
            found = values
            for op in changed.x_ops:
                found = op(found, index)
            if _hits(search, base.finish(_sums(setup.laid(found, valid), factors, at, base))):
                yield (change, place) if _slot(change) < _slot(place) else (place, change)
        for second, _ in places:
            if _slot(second) <= _slot(place):
                continue
            search.tried += 1
            both = second.make(setup)
            if both is None:
                continue
            try:
                read = both.read(at)
            except (IndexError, ValueError):
                continue
            if _hits(search, base.finish(_sums(read, factors, at, base))):
                yield place, second
    for first, setup in numbers:
        for second, _ in numbers:
            if _slot(second) > _slot(first) and (both := second.make(setup)) is not None:
                search.tried += 1
                if _hits(search, base.finish(_sums(both.read(at), factors, at, base))):
                    yield first, second


def _only_numbers(base: Setup, setup: Setup) -> bool:
    """Whether a setup changes the input's numbers and nothing else."""
    if setup.x_ops == base.x_ops:
        return False
    others = (field.name for field in fields(Setup) if field.name != "x_ops")
    return all(getattr(setup, name) is getattr(base, name) for name in others)


_SLOTS = {
    "precision.operands": 9,
    "precision.weights_quantized": 9,
    "input.scaled": 2,
    "input.shifted": 2,
    "input.normalised": 2,
    "input.denormalised": 2,
    "input.mean_subtracted": 2,
    "input.mean_added": 2,
    "input.std_divided": 2,
    "input.std_multiplied": 2,
    "input.truncated": 3,
    "input.clipped": 3,
    "input.signed": 3,
    "input.unsigned": 3,
    "input.absolute": 3,
    "input.standardised": 2,
    "input.stretched": 2,
    "quantized.zero_point": 3,
    "quantized.zero_point_sign": 3,
    "quantized.padding": 6,
    "padding.mode": 5,
    "padding.value": 5,
    "kernel.axes": 1,
    "kernel.reshaped": 1,
    "kernel.flipped": 2,
    "channels.one": 5,
    "channels.without": 5,
    "channels.tail_lost": 5,
    "channels.half": 5,
    "channels.not_summed": 5,
}


def _slot(change: Change) -> int:
    """Return the place of a change among those of its side; two of one place are not paired."""
    found = _SLOTS.get(change.id)
    if found is not None:
        return found
    family = change.id.partition(".")[0]
    return {
        "input": 1,
        "kernel": 3,
        "groups": 4,
        "depthwise": 4,
        "channels": 5,
        "stride": 6,
        "dilation": 7,
        "padding": 8,
        "transposed": 8,
    }.get(family, 0)
