"""The commonest outputs, looked at with few operations: bounds in proportion to Σ|w·x|.

Where results are stored as they are added, and nothing but numbers of their channels is added to
the sums or multiplied by them, bounds and what is typical are a share of Σ|w·x| each, plus a
constant. The same numbers come out as of `Numbers`, but no block takes memory of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from convtrace.exact import FORMATS
from convtrace.mismatch.computing.memory import Array, empty
from convtrace.mismatch.computing.stages import Add, Affine, Norm, Stage
from convtrace.mismatch.computing.whole import Whole, boxes
from convtrace.mismatch.judging.bounds import added_narrowly, bound_line, typical_line
from convtrace.mismatch.judging.numbers import Rule, Totals, product

APART = 72
"""Numbers between rows of memory: processors mistake places that are whole pages apart."""


Step = tuple[Any, Array]
"""What is done to numbers in place: a function of NumPy, and a number for each channel."""


def steps(stage: Stage) -> tuple[list[Step], list[Step]] | None:
    """Return what a stage does to sums, and to what their rounding is in proportion to.

    None where that is not the same for all numbers of a channel, or depends on them.
    """
    if isinstance(stage, Add) and stage.axis == 1 and not stage.apart:
        return [(np.add, stage.amounts)], [(np.add, np.abs(stage.amounts))]
    if isinstance(stage, Affine):
        scale, shift = stage.scale, stage.shift
        values: list[Step] = [(np.multiply, scale), (np.add, shift)]
        return values, [(function, np.abs(numbers)) for function, numbers in values]
    if isinstance(stage, Norm):
        scale = stage.gamma / np.sqrt(stage.var + stage.eps)
        values = [(np.subtract, stage.mean), (np.multiply, scale), (np.add, stage.beta)]
        sizes = (np.abs(stage.mean), 2 * np.abs(scale), 2 * np.abs(stage.beta))
        return values, list(zip((np.add, np.multiply, np.add), sizes, strict=True))
    return None


@dataclass(frozen=True)
class Seen:
    """What a look at all elements says.

    Attributes:
        totals: What they come to.
        ratio: |residual| / bound of each.
        inside: Which are inside their bound.
        peaks: The largest ratio of each block.
        residual: Observed - computed; None where it was not asked for.
        along: Sum of values times residuals, and of the squares of values; only without residuals.
        loose: The most by which a bound exceeds two units of the result.
    """

    totals: Totals
    ratio: Array
    inside: Array
    peaks: Array
    residual: Array | None
    along: tuple[float, float]
    loose: float


class Swift:
    """An output whose bounds are in proportion to Σ|w·x|.

    Args:
        rule: How far rounding may go.
        observed: The observed numbers.
        sums: The computed ones.
        block: Elements to look at at once.
    """

    def __init__(self, rule: Rule, observed: Array, sums: Whole, block: int) -> None:
        self.rule, self.observed, self.sums = rule, observed.reshape(-1), sums
        self.shape = sums.setup.shape
        self.places = list(boxes(self.shape, block))
        memory = empty((4 * (block + APART),))
        self._rows = [memory[n * (block + APART) :][:block] for n in range(4)]
        assert rule.arithmetic is not None
        self.usual = typical_line(rule.arithmetic, rule.steps, rule.stored)
        self.unit = FORMATS[rule.arithmetic.result].unit

    @staticmethod
    def suits(rule: Rule, observed: Array, sums: Whole) -> bool:
        """Whether an output is such a one."""
        setup = sums.setup
        plain = setup.held is None and all(steps(stage) is not None for stage in setup.stages)
        if not plain or rule.whole or rule.arithmetic is None or not observed.flags.c_contiguous:
            return False
        return bound_line(rule.arithmetic, rule.steps, rule.stored) is not None

    def values(self) -> Array:
        """Return the computed numbers, in a row."""
        found = empty((math.prod(self.shape),))
        by, _ = self._by()
        for place, flat in self.places:
            spare = self._rows[0][: flat.stop - flat.start]
            self._laid(self.sums.linear.values, place, by, found[flat], spare)
        return found

    def quotients(self) -> Array | None:
        """Return residuals in units of what is typical, in a row; None where one is not finite."""
        found = empty((math.prod(self.shape),))
        for flat, _, quotient, _ in self._blocks():
            found[flat] = quotient
        return found if math.isfinite(float(found.sum())) else None

    def _by(self) -> tuple[list[Step], list[Step]]:
        """Return what is done to sums, and to Σ|w·x|."""
        values, sizes = list[Step](), list[Step]()
        for stage in self.sums.setup.stages:
            found = steps(stage)
            assert found is not None
            values += map(self._column, found[0])
            sizes += map(self._column, found[1])
        return values, sizes

    def _blocks(self) -> Iterator[tuple[slice, Array, Array, Array]]:
        """Yield where a block is, its residuals, quotients, and room for as many numbers."""
        values_by, size_by = self._by()
        linear = self.sums.linear
        for place, flat in self.places:
            values, magnitude, residual, spare = (
                row[: flat.stop - flat.start] for row in self._rows
            )
            self._laid(linear.values, place, values_by, values, spare)
            self._laid(linear.magnitude, place, size_by, magnitude, spare)
            np.subtract(self.observed[flat], values, out=residual)
            np.multiply(magnitude, self.usual[0], out=spare)
            spare += self.usual[1]
            yield flat, residual, np.divide(residual, spare, out=spare), values

    def _column(self, step: Step) -> Step:
        """Return a step with its numbers as a column, one for each channel of the output."""
        function, numbers = step
        each = numbers[np.arange(self.shape[1]) % len(numbers)]
        return function, each.reshape(1, -1, *(1,) * (len(self.shape) - 2))

    @staticmethod
    def _laid(
        numbers: Array, place: tuple[slice, ...], by: list[Step], out: Array, spare: Array
    ) -> None:
        """Lay a block of numbers out, changed by one number for each channel at every step."""
        some = numbers[place]
        out.reshape(some.shape)[...] = some
        for function, column in by:
            spare.reshape(some.shape)[...] = column[:, place[1]]
            function(out, spare, out=out)

    def seen(self, *, keep: bool) -> Seen | None:
        """Look at all elements; None where a number is not finite, or bounds are no lines.

        Args:
            keep: Whether residuals are kept.
        """
        rule, count = self.rule, math.prod(self.shape)
        assert rule.arithmetic is not None
        slack = added_narrowly(rule.count)
        line = bound_line(rule.arithmetic, rule.steps, rule.stored, slack)
        if line is None or rule.most < math.inf:
            return None
        ratio, kept = empty((count,)), empty((count if keep else 0,))
        inside, peaks = np.empty(count, dtype=np.bool_), list[float]()
        quotients = squares = above = below = 0.0
        loose = -math.inf
        for flat, residual, quotient, values in self._blocks():
            total = float(quotient.sum())
            if not math.isfinite(total):
                return None
            quotients, squares = quotients + total, squares + product(quotient, quotient)
            if keep:
                kept[flat] = residual
            else:
                above += product(values, residual)
                below += product(values, values)
            bound = self._rows[1][: len(values)]  # where Σ|w·x| was
            bound *= line[0]
            bound += line[1]
            size = np.abs(residual, out=residual)
            found = np.divide(size, bound, out=ratio[flat])
            np.less_equal(found, 1, out=inside[flat])
            peaks.append(float(found.max()))
            if float(bound.max()) > loose:
                result = np.abs(values, out=values)
                np.multiply(result, 2 * self.unit, out=result)
                loose = max(loose, _most(np.subtract(bound, result, out=result)))
        totals = Totals(quotients, squares, max(peaks) <= 1, True)
        residuals = kept if keep else None
        return Seen(totals, ratio, inside, np.array(peaks), residuals, (above, below), loose)

    def counted(self, multiple: float) -> tuple[Totals, float] | bool:
        """Return what elements come to, and the squares of residuals, if all are inside.

        Args:
            multiple: Of what is typical that a bound is.

        Returns:
            False as soon as one is not inside; True where a number is not finite, to be looked at
            more closely.
        """
        quotients = squares = left = 0.0
        for _, residual, quotient, _ in self._blocks():
            total = float(quotient.sum())
            if not math.isfinite(total):
                return True
            if not max(float(quotient.max()), -float(quotient.min())) <= multiple:
                return False
            quotients, squares = quotients + total, squares + product(quotient, quotient)
            left += product(residual, residual)
        return Totals(quotients, squares, True, True), left


def _most(numbers: Array) -> float:
    """Return the largest finite number."""
    most = float(numbers.max())
    if math.isfinite(most):
        return most
    return float(np.max(numbers, where=np.isfinite(numbers), initial=-math.inf))
