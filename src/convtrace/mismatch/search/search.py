"""The search: every candidate on a few elements, the survivors on more, the last ones on all."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.arithmetic import Arithmetic
from convtrace.exact import FORMATS, gamma
from convtrace.mismatch.computing.setup import Positions, Setup
from convtrace.mismatch.computing.stages import Sums
from convtrace.mismatch.computing.whole import linear_whole, whole
from convtrace.mismatch.judging.elements import Compared, compared
from convtrace.mismatch.search.change import Change
from convtrace.mismatch.search.sample import FIRST, ONE, SECOND, anywhere, positions

Array = NDArray[Any]
Changes = tuple[Change, ...]

FURTHEST = 4.0
"""How far out of the spread of rounding a single element may lie."""

MOST_BITS = 24.0
"""Bits that one element can tell."""

ENOUGH_ELEMENTS = 4096
"""Elements that evidence is counted on; more would not change what it says."""

LARGE = 2**26
"""Products from which on a pass is long."""

LEFT = 0.25
"""Share of the squares of the wrong elements' residuals that an explanation may leave."""

MOST = 8
"""Most explanations that are computed in whole."""


def is_long(observed: Array, arithmetic: Arithmetic | None, count: int) -> bool:
    """Whether a pass over a layer is long, and float32 will do for a first look."""
    fits = arithmetic is not None and FORMATS[arithmetic.accumulate].precision <= 24
    return fits and observed.size * count > LARGE


@dataclass(frozen=True, eq=False)
class Judge:
    """What a candidate has to reproduce, and how exactly.

    Attributes:
        observed: The observed output, `(N, C_out, *spatial)`.
        arithmetic: Formats of the computation; None for integers.
        count: Summands of one number.
        stored: Format of the operands as they are stored.
        limit: Largest spread that rounding explains, in units of what is typical.
    """

    observed: Array
    arithmetic: Arithmetic | None
    count: int
    stored: str
    limit: float = math.inf

    @property
    def long(self) -> bool:
        """Whether a pass is long and float32 will do for it."""
        return is_long(self.observed, self.arithmetic, self.count)

    def compare(self, sums: Sums, target: Array) -> Compared:
        """Compare part of the observed output with sums."""
        most = FURTHEST * self.limit
        found = compared(target, sums, self.arithmetic, self.count, self.stored, most)
        bound = found.bound
        if np.ndim(sums.spare) or sums.spare:
            bound = np.maximum(bound - sums.spare, 0.0)
        if sums.whole:
            bound = np.where(target == np.rint(target), bound, 0.0)
        return found if bound is found.bound else replace(found, bound=bound)

    def plausible(self, sums: Sums, target: Array) -> Array:
        """Tell quickly which numbers may be inside their bound; none that are is left out."""
        if self.arithmetic is None:
            return np.abs(sums.values - target) <= sums.extra
        return np.abs(sums.values - target) <= (
            self._share * sums.magnitude
            + self._last * (np.abs(sums.values) + np.abs(target))
            + (sums.extra + self._least)
        )

    @cached_property
    def _share(self) -> float:
        assert self.arithmetic is not None
        accumulate = FORMATS[self.arithmetic.accumulate].unit
        operands, stored = FORMATS[self.arithmetic.operands], FORMATS[self.stored]
        error = gamma(self.count + 10, accumulate) + gamma(self.count + 10, 2.0**-53)
        if operands.precision < stored.precision:
            error += 3 * operands.unit * (1 + error)
        if self.arithmetic.partial_sums:
            error += gamma(self.count, FORMATS[self.arithmetic.result].unit) * (1 + error)
        return 1.001 * error

    @cached_property
    def _last(self) -> float:
        assert self.arithmetic is not None
        return 2 * FORMATS[self.arithmetic.result].unit

    @cached_property
    def _least(self) -> float:
        assert self.arithmetic is not None
        formats = (FORMATS[self.arithmetic.accumulate], FORMATS[self.arithmetic.result])
        return 2 * self.count * max(fmt.smallest for fmt in formats)

    def accepts(self, found: Compared) -> bool:
        """Whether all elements are inside their bound, and all together spread like rounding."""
        return bool(found.inside.all()) and found.size <= self.limit


@dataclass(frozen=True, eq=False)
class Found:
    """An explanation that reproduces the whole output.

    Attributes:
        changes: The mistakes, which act together.
        setup: The setup with them.
        compared: The output against it.
        bits: How unlikely it is that it reproduces the output by chance, in bits.
        tight: Whether its bounds are small next to how far the observed numbers lie apart.
    """

    changes: Changes
    setup: Setup
    compared: Compared
    bits: float
    tight: bool = True

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
    ) -> None:
        self.base, self.judge, self.tick, self.linear = base, judge, tick, linear
        self.badness, self.wrong = badness, wrong
        self.residual = judge.observed if residual is None else residual
        self.tried = 0
        usable = np.isfinite(judge.observed)
        self.samples = tuple(
            positions(wrong & usable, np.where(usable, badness, -1.0), count, seed)
            for seed, count in enumerate((FIRST, SECOND, ONE))
        )
        self.targets = tuple(judge.observed[at] for at in self.samples)

    @cached_property
    def base_sums(self) -> tuple[Sums, ...]:
        """Bare sums of the base at the samples."""
        found: list[Sums] = []
        for at, read, factors in self._halves:
            products = read * factors
            found.append(Sums(products.sum(1), np.abs(products).sum(1), at, self.base))
        return tuple(found)

    def fits(self, changes: Changes, level: int) -> Setup | None:
        """Try changes on one of the samples; return the setup if they reproduce it."""
        setup = applied(self.base, changes)
        if setup is None:
            return None
        try:
            sums = setup.finish(self._linear(setup, changes, level))
        except (IndexError, ValueError):
            return None  # the change does not suit these shapes
        with np.errstate(all="ignore"):
            if not self.judge.plausible(sums, self.targets[level]).all():
                return None
        found = self.judge.compare(sums, self.targets[level])
        return setup if found.inside.all() else None

    def _linear(self, setup: Setup, changes: Changes, level: int) -> Sums:
        """Compute bare sums at a sample; what changes leave alone is not gathered again."""
        sides = {change.side for change in changes} - {"after"}
        if not sides:
            return self.base_sums[level]
        if len(sides) > 1 or sides & {"y", "xw"}:
            return setup.linear(setup.origin(self.samples[level]))
        at, read, factors = self._halves[level]
        if sides == {"x"}:
            read = setup.read(at)
        else:
            factors = setup.factors(at[1])
        products = read * factors
        return Sums(products.sum(1), np.abs(products).sum(1), at, setup)

    @cached_property
    def _halves(self) -> tuple[tuple[Positions, Array, Array], ...]:
        """What the taps of the base read at the samples, and its weights there."""
        places = [self.base.origin(at) for at in self.samples]
        return tuple((at, self.base.read(at), self.base.factors(at[1])) for at in places)

    def singles(self, candidates: Iterable[Change]) -> list[Changes]:
        """Return the single changes that reproduce both samples."""
        found: list[Changes] = []
        for number, change in enumerate(candidates):
            self.tried += 1
            if number % 32 == 31:
                self.tick()
            if self.fits((change,), 2) is not None and self.fits((change,), 1) is not None:
                found.append((change,))
        return found

    def pairs(self, candidates: Sequence[Change]) -> list[Changes]:
        """Return the pairs of changes that reproduce both samples."""
        from convtrace.mismatch.search.pairs import promising

        return [
            pair
            for pair in promising(self, candidates)
            if self.fits(pair, 0) is not None and self.fits(pair, 1) is not None
        ]

    def verify(self, survivors: Iterable[Changes]) -> list[Found]:
        """Compute survivors in whole; return those that reproduce every element, simplest first."""
        found: list[Found] = []
        prints: list[tuple[Array, Changes]] = []
        ordered = sorted(survivors, key=lambda changes: sum(c.cost for c in changes))
        for changes in ordered:
            if len(found) >= MOST:
                break
            self.tick()
            setup = applied(self.base, changes)
            if setup is None:
                continue
            # What computes the same as a simpler one, whatever the numbers are, is the same.
            mark = self.fingerprint(changes) if len(ordered) > 1 else None
            if mark is not None and any(
                _same(mark, other) and _formats(changes) == _formats(simpler)
                for other, simpler in prints
            ):
                continue
            untouched = all(change.side == "after" for change in changes)
            linear = self.linear if untouched else None
            linear = linear or linear_whole(setup, narrow=self.judge.long)
            try:
                result = self.judge.compare(whole(setup, linear), self.judge.observed)
            except (IndexError, ValueError):
                continue
            if self.judge.accepts(result) and self._explains(result):
                bits = self.evidence(self.residual)
                found.append(Found(changes, setup, result, bits, self._tight(result)))
                if mark is not None:
                    prints.append((mark, changes))
        if len(found) > 1:
            # Where one fits like rounding and another only just, the other one is no explanation.
            best = min(one.compared.size for one in found)
            floor = 0.25 * self.judge.limit if math.isfinite(self.judge.limit) else 0.0
            found = [one for one in found if one.compared.size <= max(6 * best, floor)]
        return found

    def _explains(self, result: Compared) -> bool:
        """Whether a candidate takes most of the residual away, and not only allows for it."""
        before, left, observed = self.residual, result.residual, result.observed
        usable = self.wrong & np.isfinite(before) & np.isfinite(left) & np.isfinite(observed)
        if not usable.any():
            return True
        before, left, observed = before[usable], left[usable], observed[usable]
        # Divided by the largest first, as squares of tiny and of huge numbers leave float64.
        most = float(np.abs(before).max())
        if float(np.sum((left / most) ** 2)) > LEFT * float(np.sum((before / most) ** 2)):
            return False
        around = observed - observed.mean()
        most = max(float(np.abs(around).max()), float(np.abs(left).max()))
        if most == 0 or not around.any():
            return True
        return float(np.sum((left / most) ** 2)) <= float(np.sum((around / most) ** 2))

    def _tight(self, result: Compared) -> bool:
        """Whether the bounds are smaller than the spread of what was observed."""
        observed, bound = result.observed, np.broadcast_to(result.bound, result.observed.shape)
        usable = self.wrong & np.isfinite(observed) & np.isfinite(bound)
        if not usable.any():
            return True
        spread = float((observed[usable] - observed[usable].mean()).std())
        return float(np.median(bound[usable])) < spread or not bound[usable].any()

    def evidence(self, residual: Array) -> float:
        """Estimate how unlikely a chance hit is, in bits.

        Elements that are off by one and the same amount say the same thing, and small whole
        numbers agree by chance more often than fractions do.

        Args:
            residual: Observed - right, of all elements.
        """
        off, ratio = residual.reshape(-1), self.badness.reshape(-1)
        if off.size > ENOUGH_ELEMENTS:
            draw = np.random.default_rng(0).integers(0, off.size, ENOUGH_ELEMENTS)
            worst = int(np.argmax(np.where(np.isfinite(ratio), ratio, -1.0)))
            draw = np.append(draw, worst)
            off, ratio = off[draw], ratio[draw]
        usable = np.isfinite(off) & np.isfinite(ratio) & (ratio > 1)
        if not usable.any():
            return 0.0
        off, ratio = off[usable], ratio[usable]
        most = MOST_BITS
        observed = self.judge.observed.reshape(-1)[:ENOUGH_ELEMENTS]
        observed = observed[np.isfinite(observed)]
        if observed.size and (observed == np.rint(observed)).all():
            most = min(most, math.log2(2 + float(observed.max() - observed.min())))
        step = float(np.abs(off).max()) * 1e-6
        _, first = np.unique(np.rint(off / step), return_index=True)
        bits = float(np.minimum(np.log2(ratio[first]) + 1, most).sum())
        bits = min(bits, most * (len(np.unique(observed)) - 1))  # one number proves nothing
        return bits - math.log2(max(self.tried, 2))

    @cached_property
    def _other(self) -> tuple[Setup, tuple[Array, ...]]:
        other = scrambled(self.base)
        return other, anywhere(other.shape, 48, seed=7)

    def fingerprint(self, changes: Changes) -> Array | None:
        """Return what changes make of other numbers; None where they do not suit these."""
        other, at = self._other
        setup = applied(other, changes)
        try:
            return None if setup is None else setup.sample(at).values
        except (IndexError, ValueError):
            return None


def _formats(changes: Changes) -> tuple[object, ...]:
    """Return formats that operands are rounded to: two may agree on all but extreme numbers."""
    return tuple(c.parameters["format"] for c in changes if c.id == "precision.operands")


def _same(left: Array, right: Array) -> bool:
    return bool(np.allclose(left, right, rtol=1e-9, atol=1e-9, equal_nan=True))


def applied(base: Setup, changes: Changes) -> Setup | None:
    """Return the setup with changes made one after the other; None where one does not apply."""
    setup: Setup | None = base
    for change in changes:
        setup = change.make(setup) if setup is not None else None
    return setup


def scrambled(base: Setup, seed: int = 3) -> Setup:
    """Return the same computation on other numbers, of similar size but without any symmetry."""
    draw = np.random.default_rng(seed)

    def like(array: Array | None) -> Array | None:
        if array is None:
            return None
        spread = float(np.abs(array[np.isfinite(array)]).mean()) if array.size else 1.0
        # Drawn numbers are repeated after a prime number of them, which no symmetry survives.
        drawn = np.resize(draw.normal(size=min(array.size, 65521)), array.shape) * (spread or 1.0)
        whole_numbers = bool((array == np.rint(array)).all())
        return np.rint(drawn * 4) if whole_numbers else drawn

    from convtrace.mismatch.computing.stages import Add

    x, weight, bias = like(base.x), like(base.weight), like(base.bias)
    stages = tuple(
        Add(bias) if isinstance(stage, Add) and bias is not None else stage for stage in base.stages
    )
    return base.but(x=x, weight=weight, bias=bias, stages=stages)


def ordered(candidates: Iterable[Change]) -> list[Change]:
    """Return candidates, simplest first."""
    return sorted(candidates, key=lambda change: change.cost)


def combinations(count: int) -> Iterator[tuple[int, int]]:
    """Return pairs of numbers below `count`."""
    return itertools.combinations(range(count), 2)
