"""The search: every candidate on a few elements, the survivors on more, the last ones on all."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.mismatch.computing.setup import BARE, Positions, Setup, added
from convtrace.mismatch.computing.stages import Sums
from convtrace.mismatch.computing.whole import Whole, linear_whole
from convtrace.mismatch.judging.elements import Compared
from convtrace.mismatch.search.change import Change, Changes, applied
from convtrace.mismatch.search.element import Element
from convtrace.mismatch.search.evidence import Evidence
from convtrace.mismatch.search.fingerprint import Fingerprints
from convtrace.mismatch.search.judge import Judge
from convtrace.mismatch.search.sample import FIRST, SECOND, alone, positions, telling

Array = NDArray[Any]
Halves = tuple[Positions, Array, Array]
"""Output positions, what their taps read, and the weights."""

MOST = 8
"""Most explanations that are computed in whole."""

THIRD = 4
"""Of every so many elements of the second sample, one is enough for changes that are few."""

FEW = 16
"""Elements that tell how wide bounds are."""

SHARE, DEEP = 8, 64
"""From so many input channels on, every so many of them are enough to bound Σ|w·x| from below."""


@dataclass(frozen=True, eq=False)
class Found:
    """An explanation that reproduces the whole output.

    Attributes:
        changes: The mistakes, which act together.
        setup: The setup with them.
        compared: The output against it.
        bits: How unlikely it is that it reproduces the output by chance, in bits.
        tight: Whether its bounds are small next to how far the observed numbers lie apart.
        also: Other mistakes that compute the same, whatever the numbers are; simplest first.
    """

    changes: Changes
    setup: Setup
    compared: Compared
    bits: float
    tight: bool = True
    also: tuple[Changes, ...] = ()

    @property
    def cost(self) -> float:
        """How far-fetched it is."""
        return sum(change.cost for change in self.changes)


class Search:
    """Candidates against one observed output.

    Args:
        base: The setup that is right.
        judge: What is to be reproduced.
        wrong: Which elements are wrong.
        badness: How wrong each is.
        tick: Called after each part of the work.
        linear: Bare sums of the base at all positions, where they are known.
        residual: Observed - right, of all elements.
        furthest: Place of the largest badness among all elements in a row, where it is known.
    """

    def __init__(
        self,
        base: Setup,
        judge: Judge,
        wrong: Array,
        badness: Array,
        tick: Callable[[], None],
        linear: Sums | None = None,
        residual: Array | None = None,
        furthest: int | None = None,
    ) -> None:
        self.base = base if linear is None else base.but(known=linear)
        self.judge, self.tick, self.linear = judge, tick, linear
        residual = judge.observed if residual is None else residual
        self.evidence = Evidence(judge.observed, residual, wrong, badness, furthest)
        self.wrong, self.tried = wrong, 0
        self._last: Sums | None = None
        self._made: dict[Change, Setup | None] = {}
        self._bare: dict[int, Sums] = {}
        self._read: dict[int, Halves] = {}
        worst = None
        if judge.finite:
            worst = self.evidence.furthest
        else:
            usable = np.isfinite(judge.observed)
            wrong, badness = wrong & usable, np.where(usable, badness, -1.0)
        first, second = (
            positions(wrong, badness, count, seed, worst)
            for seed, count in enumerate((FIRST, SECOND))
        )
        first = telling(first, second, judge.observed, wrong, badness)
        # A change that meets these few is computed in whole, where that does not take longer.
        third = tuple(axis[::THIRD] for axis in second)
        self.samples = (first, second, third)
        self.targets = tuple(judge.observed[at] for at in self.samples)
        self.mostly_right = 2 * np.count_nonzero(self.wrong) < self.wrong.size

    def made(self, change: Change) -> Setup | None:
        """Return the base with a change; None where it does not apply. It is made once."""
        if change not in self._made:
            self._made[change] = change.make(self.base)
        return self._made[change]

    @cached_property
    def element(self) -> Element:
        """What changes make of the first element of the samples."""
        return Element(self, tuple(axis[:1] for axis in self.samples[0]))

    def base_sums(self, level: int) -> Sums:
        """Return bare sums of the base at one of the samples."""
        if level not in self._bare:
            at, read, factors = self.halves(level)
            self._bare[level] = added(read, factors, at, self.base)
        return self._bare[level]

    def fits(self, changes: Changes, level: int) -> Setup | None:
        """Try changes on one of the samples; return the setup if they reproduce it."""
        setup = self._applied(changes)
        if setup is None:
            return None
        try:
            sums = setup.finish(self._linear(setup, changes, level))
        except (IndexError, ValueError):
            return None  # the change does not suit these shapes
        if not self.judge.plausible(sums, self.targets[level]).all():
            return None
        found = self.judge.compare(sums, self.targets[level])
        return setup if found.all_inside else None

    def _applied(self, changes: Changes) -> Setup | None:
        """Return the base with changes made one after the other; the first one is made once."""
        setup = self.made(changes[0])
        return None if setup is None else applied(setup, changes[1:])

    def spared(self, candidates: Iterable[Change]) -> list[Change]:
        """Return the changes that leave some elements alone that are right."""
        from convtrace.mismatch.search.single import of_one

        listed, tried = list(candidates), self.tried
        likely = set(of_one(self._right_one, listed))
        self.tried = tried  # they are not tried on what they have to explain
        return [change for change in listed if change in likely and self._spares(change)]

    def _spares(self, change: Change) -> bool:
        setup = self.made(change)
        try:
            if setup is None:
                return False
            at = setup.origin(self._right)
            sums = setup.finish(self.known(setup, at) or setup.linear(at))
        except (IndexError, ValueError):
            return False
        with np.errstate(all="ignore"):
            target = self.judge.observed[self._right]
            return bool(self.judge.plausible(sums, target).all())

    @cached_property
    def _fingerprints(self) -> Fingerprints:
        return Fingerprints(self.base)

    @cached_property
    def _right_one(self) -> Element:
        return Element(self, tuple(axis[:1] for axis in self._right))

    @cached_property
    def _right(self) -> Positions:
        """Some elements that are right, and that no limit cuts off where there are such."""
        places = np.flatnonzero(~self.wrong)
        places = np.random.default_rng(11).choice(places, min(32, len(places)), replace=False)
        lone = alone(self.judge.observed.reshape(-1)[places])
        places = (places[lone] if lone.any() else places)[:2]
        return tuple(np.unravel_index(places, self.wrong.shape))

    def known(self, setup: Setup, at: Positions) -> Sums | None:
        """Return bare sums at positions before rearrangement from those of the base at all.

        They are what the setup is judged by in the end. None where they are another's, or where
        the base's are not known.
        """
        if self.linear is None or not same_sums(setup, self.base):
            return None
        shape = self.base.shape
        flat = np.ravel_multi_index(tuple(np.broadcast_arrays(*at)), shape, mode="wrap")
        rows = (self.linear.values, self.linear.magnitude)
        values, size = (
            np.broadcast_to(row, shape).reshape(-1)[flat].astype(np.float64) for row in rows
        )
        return Sums(values, size, at, setup)

    def _linear(self, setup: Setup, changes: Changes, level: int) -> Sums:
        """Compute bare sums at a sample; what changes leave alone is not gathered again."""
        sides = {change.side for change in changes} - {"after"}
        if not sides - {"y"}:
            sums = self.known(setup, setup.origin(self.samples[level]))
            if sums is not None:
                return sums
        if not sides:
            return self.base_sums(level)
        if len(sides) > 1 or sides & {"y", "xw"}:
            return setup.linear(setup.origin(self.samples[level]))
        return _with_half(self.halves(level), setup, sides)

    def halves(self, level: int) -> Halves:
        """Return what the taps of the base read at one of the samples, and its weights there."""
        if level not in self._read:
            at = self.base.origin(self.samples[level])
            self._read[level] = (at, self.base.read(at), self.base.factors(at[1]))
        return self._read[level]

    def singles(self, candidates: Iterable[Change]) -> list[Changes]:
        """Return the single changes that reproduce both samples."""
        from convtrace.mismatch.search.single import of_one

        listed = list(candidates)
        if not len(self.targets[0]):
            return []
        self.tick()
        likely = set(of_one(self.element, listed))
        self.tried += len(listed)
        self.tick()
        levels = (0, 2) if self.judge.long and len(likely) <= MOST else (0, 1)
        return [
            (change,)
            for change in listed
            if change in likely and all(self.fits((change,), n) is not None for n in levels)
        ]

    def pairs(self, candidates: Sequence[Change]) -> list[Changes]:
        """Return the pairs of changes that reproduce both samples."""
        from convtrace.mismatch.search.pairs import promising

        return [
            pair
            for pair in promising(self, [one for one in candidates if not one.alone])
            if self.fits(pair, 0) is not None and self.fits(pair, 1) is not None
        ]

    def verify(self, survivors: Iterable[Changes]) -> list[Found]:
        """Compute survivors in whole; return those that reproduce every element, simplest first."""
        found: list[Found] = []
        prints: list[tuple[Array, Found, list[Changes]]] = []
        ordered = sorted(survivors, key=lambda changes: sum(c.cost for c in changes))
        for changes in ordered:
            if len(found) >= MOST:
                break
            self.tick()
            setup = self._applied(changes)
            if setup is None:
                continue
            # What computes the same as a simpler one, whatever the numbers are, is the same.
            mark = self._fingerprints.of(changes) if len(ordered) > 1 else None
            names = None if mark is None else _names_of(mark, changes, prints)
            if names is not None:
                names.append(changes)
                continue
            try:
                result = self._in_whole(setup)
            except (IndexError, ValueError):
                continue
            if result is not None and self.evidence.explains(result):
                bits = self.evidence.bits(self.tried)
                found.append(Found(changes, setup, result, bits, self._tight(setup, result)))
                if mark is not None:
                    prints.append((mark, found[-1], []))
        if len(found) > 1:
            # Where one fits like rounding and another only just, the other one is no explanation.
            found = [replace(one, compared=self._in_full(one)) for one in found]
            best = min(one.compared.size for one in found)
            floor = 0.25 * self.judge.limit if math.isfinite(self.judge.limit) else 0.0
            found = [one for one in found if one.compared.size <= max(6 * best, floor)]
        also = {one.changes: tuple(names) for _, one, names in prints}
        return [replace(one, also=also.get(one.changes, ())) for one in found]

    def _in_whole(self, setup: Setup) -> Compared | None:
        """Compare a setup with all elements; None where it does not reproduce them."""
        if self.linear is not None and setup.sums_as(self.base):
            linear, share = self.linear, 1
        else:
            share = SHARE if self.judge.long and setup.terms >= DEEP else 1
            linear = self._last
            if linear is None or not setup.sums_as(linear.setup):
                linear = linear_whole(setup, narrow=self.judge.long, share=share)
                self._last = linear
        result = self.judge.compare(Whole(setup, linear), self.judge.observed)
        if share > 1 and not self.judge.accepts(result):
            linear = linear_whole(setup, narrow=True, values=linear.values)
            result = self.judge.compare(Whole(setup, linear), self.judge.observed)
        return result if self.judge.accepts(result) else None

    def _in_full(self, found: Found) -> Compared:
        """Return the comparison by the whole of Σ|w·x|."""
        if not self.judge.long or found.setup.sums_as(self.base):
            return found.compared
        linear = linear_whole(found.setup, narrow=True)
        return self.judge.compare(Whole(found.setup, linear), self.judge.observed)

    def _tight(self, setup: Setup, result: Compared) -> bool:
        """Whether the bounds are smaller than the spread of what was observed."""
        if not self.judge.long:
            return self.evidence.tight(result.bound)
        at = tuple(axis[:FEW] for axis in self.samples[1])
        sample = self.judge.compare(setup.sample(at), self.judge.observed[at])
        return self.evidence.tight(sample.bound, self.wrong[at])


def _with_half(halves: Halves, setup: Setup, sides: set[str]) -> Sums:
    """Return bare sums of a setup that changes one of two factors, or neither."""
    at, read, factors = halves
    if "x" in sides:
        read = setup.read(at)
    if "w" in sides:
        factors = setup.factors(at[1])
    return added(read, factors, at, setup)


def _formats(changes: Changes) -> tuple[object, ...]:
    """Return formats that operands are rounded to: two may agree on all but extreme numbers."""
    return tuple(c.parameters["format"] for c in changes if c.id == "precision.operands")


def _names_of(
    mark: Array, changes: Changes, prints: Sequence[tuple[Array, Found, list[Changes]]]
) -> list[Changes] | None:
    """Return the names of what was found already and computes the same as changes, if any."""
    for other, simpler, names in prints:
        if alike(mark, other) and _formats(changes) == _formats(simpler.changes):
            return names
    return None


def same_sums(left: Setup, right: Setup) -> bool:
    """Whether all that bare sums follow from is the very same: `Setup.sums_as` at less cost."""
    mine, other = vars(left), vars(right)
    return all(mine[name] is other[name] for name in BARE)


def alike(left: Array, right: Array) -> bool:
    """Whether numbers that were computed in two ways are equal, up to rounding of float64."""
    if left.shape != right.shape:
        return False
    largest = np.abs(left[np.isfinite(left)]).max(initial=0.0)
    with np.errstate(all="ignore"):
        near = np.abs(left - right) <= 1e-11 * largest
    if near.all():
        return True
    return bool((near | (left == right) | (np.isnan(left) & np.isnan(right))).all())
