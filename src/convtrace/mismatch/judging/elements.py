"""All elements of an output against the bounds of their own terms, so many at a time.

An output has millions of elements, and memory that was not used before costs more than arithmetic.
What is computed of all elements is computed in blocks, and kept only where it is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from convtrace.arithmetic import Arithmetic
from convtrace.exact import FORMATS
from convtrace.mismatch.computing.memory import empty
from convtrace.mismatch.computing.stages import Sums
from convtrace.mismatch.computing.whole import Whole, boxes
from convtrace.mismatch.judging.numbers import Numbers, Rule, Totals, product, sums_up, total
from convtrace.mismatch.judging.swift import Swift

Array = NDArray[Any]
Result = TypeVar("Result")

BLOCK = 2**15
"""Elements that are computed at once: their numbers stay in the processor's cache."""


class Compared:
    """An observed output against computed numbers.

    Args:
        rule: How far rounding may go.
        observed: The observed numbers.
        sums: The computed ones.
        strict: Whether bounds shrink by what lies beyond a limit.
        keep: Whether residuals will be asked for, and are kept when ratios are computed.
        finite: Whether the observed numbers have a finite sum, where that is known.
    """

    def __init__(
        self,
        rule: Rule,
        observed: Array,
        sums: Sums | Whole,
        *,
        strict: bool = False,
        keep: bool = False,
        finite: bool | None = None,
    ) -> None:
        self.rule, self.observed, self.strict, self.keep = rule, observed, strict, keep
        self._observed_finite = finite
        self._lazy: Whole | None = None
        if isinstance(sums, Whole):
            if sums.divides and np.shape(observed) == sums.setup.shape:
                self._lazy = sums
            else:
                sums = sums.sums
        self._sums = sums

    def _numbers(self, observed: Array, sums: Sums) -> Numbers:
        rule = self.rule
        if self.strict and sums.whole:
            rule = replace(rule, whole=True)
        spare = sums.spare if self.strict else 0.0
        magnitude = np.asarray(sums.magnitude)
        return Numbers(rule, observed, sums.values, magnitude, sums.extra, spare)

    @cached_property
    def numbers(self) -> Numbers:
        """All elements."""
        sums = self._sums
        return self._numbers(self.observed, sums.sums if isinstance(sums, Whole) else sums)

    @cached_property
    def _flat(self) -> Numbers | None:
        """All elements in a row; None where they are few, or not all parts have one shape."""
        n, shape = self.numbers, self.numbers.values.shape
        if n.values.size <= BLOCK or np.shape(n.observed) != shape:
            return None

        def row(part: Any) -> Any:
            return part if np.ndim(part) == 0 else np.broadcast_to(part, shape).reshape(-1)

        rows = (n.observed, n.values, n.magnitude, n.extra, n.spare)
        return Numbers(n.rule, *(row(part) for part in rows))

    def blocks(self) -> Iterator[Numbers]:
        """Yield all elements, so many at a time, in the order of memory."""
        return (self._block(place) for place, _ in self._places)

    @cached_property
    def _places(self) -> list[tuple[Any, slice]]:
        """Where the blocks are, and where among all elements in a row."""
        if self._lazy is not None:
            return list(boxes(self.shape, BLOCK))
        if self._flat is None:
            return [(..., slice(0, math.prod(self.shape)))]
        size = self._flat.values.size
        rows = [slice(start, min(start + BLOCK, size)) for start in range(0, size, BLOCK)]
        return [(row, row) for row in rows]

    def _block(self, place: Any) -> Numbers:
        if self._lazy is not None:
            return self._numbers(self.observed[place], self._lazy.part(place))
        n = self._flat
        if n is None:
            return self.numbers

        def some(row: Any) -> Any:
            return row if np.ndim(row) == 0 else row[place]

        rows = (n.observed, n.values, n.magnitude, n.extra, n.spare)
        return Numbers(n.rule, *(some(row) for row in rows))

    def channel(self, number: int) -> Numbers:
        """Return the elements of one channel."""
        place = (slice(None), slice(number, number + 1), *(slice(None) for _ in self.shape[2:]))
        if self._lazy is not None:
            return self._block(place)
        n, shape = self.numbers, self.shape

        def some(part: Any) -> Any:
            return part if np.ndim(part) == 0 else np.broadcast_to(part, shape)[place]

        rows = (n.observed, n.values, n.magnitude, n.extra, n.spare)
        return Numbers(n.rule, *(some(row) for row in rows))

    def each(self, look: Callable[[Numbers, slice], Result]) -> list[Result]:
        """Look at all blocks in the order of memory; return what was seen.

        Args:
            look: Gets a block, and where it is among all elements in a row.
        """
        return [look(self._block(place), row) for place, row in self._places]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output."""
        if self._lazy is not None:
            return self._lazy.setup.shape
        return np.broadcast_shapes(np.shape(self.observed), np.shape(self.numbers.values))

    def _whole(self, part: Callable[[Numbers], Array]) -> Array:
        """Compute something of all elements, in their shape."""
        if self._lazy is None and self._flat is None:
            return np.broadcast_to(part(self.numbers), self.shape)
        found = empty((math.prod(self.shape),))

        def look(block: Numbers, place: slice) -> None:
            found[place] = np.broadcast_to(part(block), block.observed.shape).reshape(-1)

        self.each(look)
        return found.reshape(self.shape)

    @cached_property
    def values(self) -> Array:
        """The computed numbers."""
        if self._lazy is None:
            return self.numbers.values
        if (swift := self._swift()) is not None:
            return swift.values().reshape(self.shape)
        return self._whole(lambda block: block.values)

    @cached_property
    def finite(self) -> bool:
        """Whether no number is NaN or infinite; False may be said of huge numbers, too."""
        known = self._observed_finite
        return (sums_up(self.observed) if known is None else known) and self._totals.finite

    @cached_property
    def residual(self) -> Array:
        """Observed - computed."""
        return self._whole(lambda block: block.residual)

    @cached_property
    def bound(self) -> Array:
        """The most by which rounding can set them apart."""
        return self._whole(lambda block: block.bound)

    @cached_property
    def own(self) -> Array:
        """What our own float64 sums may be off by."""
        return self._whole(lambda block: block.own)

    @cached_property
    def quotient(self) -> Array:
        """Residual in units of what is typical, 0 where it is not finite."""
        swift = self._swift()
        if swift is not None and (found := swift.quotients()) is not None:
            return found.reshape(self.shape)
        return self._whole(lambda block: block.quotient)

    @property
    def ratio(self) -> Array:
        """|residual| / bound of each element; 0 where both are equal."""
        return self._surveyed[0]

    @cached_property
    def inside(self) -> Array:
        """Which elements are inside their bound."""
        ratio = self.ratio
        found = vars(self).get("inside")  # a swift look has told
        return ratio <= 1 if found is None else found

    @cached_property
    def rows(self) -> list[slice]:
        """Where the blocks are among all elements in a row."""
        return [row for _, row in self._places]

    @cached_property
    def peaks(self) -> Array:
        """The largest ratio of each block."""
        ratio = self.ratio.reshape(-1)
        found = vars(self).get("peaks")
        return peaks(ratio, self.rows) if found is None else found

    @property
    def furthest(self) -> int:
        """Place of the largest ratio among all elements in a row, the first of equal ones."""
        row = self.rows[int(np.argmax(self.peaks))]
        return row.start + int(np.argmax(self.ratio.reshape(-1)[row]))

    @cached_property
    def all_inside(self) -> bool:
        """Whether every element is inside its bound; nothing is computed behind one that is not."""
        return self._totals.inside if "_surveyed" in vars(self) else self._counted is not None

    @cached_property
    def _surveyed(self) -> tuple[Array, Totals, float]:
        """The ratios, what all elements come to, and how loose bounds are; by one look at each."""
        if self._lazy is None and self._flat is None:
            n = self.numbers
            return np.broadcast_to(n.ratio, self.shape), n.totals(), n.loose(-math.inf)
        swift = self._swift()
        if swift is not None and (seen := swift.seen(keep=self.keep)) is not None:
            if seen.residual is None:
                vars(self)["along"] = seen.along
            else:
                vars(self)["residual"] = seen.residual.reshape(self.shape)
            vars(self)["inside"], vars(self)["peaks"] = seen.inside.reshape(self.shape), seen.peaks
            return seen.ratio.reshape(self.shape), seen.totals, seen.loose
        count, loose, along = math.prod(self.shape), -math.inf, [0.0, 0.0]
        found, residual = empty((count,)), empty((count if self.keep else 0,))

        def look(block: Numbers, place: slice) -> Totals:
            nonlocal loose
            _ = block.quotient  # before ratios, which are soon made then
            found[place] = np.broadcast_to(block.ratio, block.observed.shape).reshape(-1)
            if self.keep:
                row = np.broadcast_to(block.residual, block.observed.shape)
                residual[place] = row.reshape(-1)
            else:
                along[0] += product(block.values, block.residual)
                along[1] += product(block.values, block.values)
            loose = block.loose(loose)
            return block.totals()

        rows = self.each(look)
        if self.keep:
            vars(self)["residual"] = residual.reshape(self.shape)
        else:
            vars(self)["along"] = (along[0], along[1])
        return found.reshape(self.shape), total(rows), loose

    def _swift(self) -> Swift | None:
        """A look at all elements that takes less time, where there is one."""
        lazy = self._lazy
        if lazy is None or not Swift.suits(self.rule, self.observed, lazy):
            return None
        return Swift(self.rule, self.observed, lazy, BLOCK)

    @cached_property
    def _counted(self) -> Totals | None:
        """What all elements come to, if all of them are inside their bound."""
        multiple = self.rule.multiple
        if multiple is not None and (swift := self._swift()) is not None:
            found = swift.counted(multiple)
            if isinstance(found, tuple):
                vars(self)["left"] = found[1]
                return found[0]
            if not found:
                return None
        rows: list[Totals] = []
        left = 0.0
        for block in self.blocks():
            if not block.inside:
                return None
            rows.append(block.totals())
            left += product(block.residual, block.residual)
        vars(self)["left"] = left
        return total(rows)

    @property
    def _totals(self) -> Totals:
        if "_surveyed" not in vars(self) and vars(self).get("_counted") is not None:
            return vars(self)["_counted"]
        return self._surveyed[1]

    @property
    def size(self) -> float:
        """Root of the mean square of `quotient`."""
        return math.sqrt(self._totals.squares / max(math.prod(self.shape), 1))

    @property
    def mean(self) -> float:
        """Mean of `quotient`."""
        return self._totals.quotient / max(math.prod(self.shape), 1)

    @cached_property
    def left(self) -> float:
        """Sum of the squares of residuals."""
        return sum(self.each(lambda block, _: product(block.residual, block.residual)))

    @cached_property
    def along(self) -> tuple[float, float]:
        """Sum of values times residuals, and of the squares of values."""

        def look(block: Numbers, _: slice) -> tuple[float, float]:
            return product(block.values, block.residual), product(block.values, block.values)

        rows = self.each(look)
        return sum(row[0] for row in rows), sum(row[1] for row in rows)

    @property
    def loose(self) -> float:
        """The most by which a bound exceeds two units of the result; -inf where none is finite."""
        return self._surveyed[2]


def peaks(numbers: Array, rows: Sequence[slice]) -> Array:
    """Return the largest number of each block."""
    return np.maximum.reduceat(numbers, [row.start for row in rows])


def largest(numbers: Array, count: int, rows: Sequence[slice], tops: Array) -> Array:
    """Return the places of the largest numbers, in falling order.

    Args:
        numbers: The numbers, in a row.
        count: How many to return.
        rows: Blocks of them, one behind the other.
        tops: The largest number of each block.
    """
    # Each of the largest lies in one of as many blocks, those with the largest numbers.
    kept = [rows[block] for block in np.argsort(-tops, kind="stable")[:count].tolist()]
    places = np.concatenate([np.arange(row.start, row.stop) for row in kept])
    found = numbers[places]
    order = np.argpartition(found, found.size - count)[found.size - count :]
    return places[order[np.argsort(-found[order], kind="stable")]]


def compared(
    observed: Array,
    sums: Sums | Whole,
    arithmetic: Arithmetic | None,
    count: int,
    stored: str,
    most: float = math.inf,
    *,
    strict: bool = False,
    keep: bool = False,
    finite: bool | None = None,
) -> Compared:
    """Compare an observed output with sums.

    Args:
        observed: The observed numbers.
        sums: What should have come out; finished, or to be finished part by part.
        arithmetic: Formats of the computation; None for integers, which have no rounding.
        count: Summands of one number.
        stored: Format of the operands as they are stored.
        most: Largest multiple of what is typical that counts as inside, however loose the bound.
        strict: Whether bounds shrink by what lies beyond a limit, and hold for integers only where
            nothing else can come out: what a candidate has to meet.
        keep: Whether residuals will be asked for.
        finite: Whether the observed numbers have a finite sum, where that is known.
    """
    steps = count + 8 * (len(sums.setup.stages) > 1)
    rule = Rule(arithmetic, steps, count, stored, most)
    return Compared(rule, observed, sums, strict=strict, keep=keep, finite=finite)


def holds_nonfinite(sums: Sums, arithmetic: Arithmetic, observed: Array) -> Array:
    """Tell where NaN or infinity was observed and is what the terms make of it.

    Kernels that split sums may make NaN of an infinity, but never the other way round. Where the
    magnitude leaves the format, the sum may have overflowed on the way.
    """
    values = sums.values
    fits = np.isnan(observed) & ~np.isfinite(values)
    fits |= np.isinf(observed) & (observed == values)
    largest = min(FORMATS[arithmetic.accumulate].largest, FORMATS[arithmetic.result].largest)
    with np.errstate(all="ignore"):
        over = np.asarray(sums.magnitude) * (1 + 1e-6) >= largest
    return fits | (~np.isfinite(observed) & over)
