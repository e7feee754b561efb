"""The commonest outputs, looked at with few operations: bounds in proportion to Σ|w·x|.

Where results are stored as they are added, and nothing but a bias follows the sum, bounds and what
is typical are a share of Σ|w·x| each, plus a constant. The same numbers come out as of `Numbers`,
but no block takes memory of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from convtrace.exact import FORMATS
from convtrace.mismatch.computing.memory import Array, empty
from convtrace.mismatch.computing.stages import Add
from convtrace.mismatch.computing.whole import Whole, boxes
from convtrace.mismatch.judging.bounds import added_narrowly, bound_line, typical_line
from convtrace.mismatch.judging.numbers import Rule, Totals, product

APART = 72
"""Numbers between rows of memory: processors mistake places that are whole pages apart."""


@dataclass(frozen=True)
class Seen:
    """What a look at all elements says.

    Attributes:
        totals: What they come to.
        ratio: |residual| / bound of each.
        residual: Observed - computed; None where it was not asked for.
        along: Sum of values times residuals, and of the squares of values; only without residuals.
        loose: The most by which a bound exceeds two units of the result.
    """

    totals: Totals
    ratio: Array
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
        bias = [stage for stage in setup.stages if isinstance(stage, Add)]
        plain = len(setup.stages) == len(bias) < 2 and not any(b.apart or b.axis != 1 for b in bias)
        if not plain or rule.whole or rule.arithmetic is None or not observed.flags.c_contiguous:
            return False
        return bound_line(rule.arithmetic, rule.steps, rule.stored) is not None

    def _blocks(self) -> Iterator[tuple[slice, Array, Array, Array]]:
        """Yield where a block is, its residuals, quotients, and room for as many numbers."""
        channels = np.arange(self.shape[1])
        column: Array | None = None
        for stage in self.sums.setup.stages:
            assert isinstance(stage, Add)
            column = stage.amounts[channels % len(stage.amounts)]
            column = column.reshape(1, -1, *(1,) * (len(self.shape) - 2))
        size = None if column is None else np.abs(column)
        linear = self.sums.linear
        for place, flat in self.places:
            values, magnitude, residual, spare = (
                row[: flat.stop - flat.start] for row in self._rows
            )
            self._laid(linear.values, place, column, values, spare)
            self._laid(linear.magnitude, place, size, magnitude, spare)
            np.subtract(self.observed[flat], values, out=residual)
            np.multiply(magnitude, self.usual[0], out=spare)
            spare += self.usual[1]
            yield flat, residual, np.divide(residual, spare, out=spare), values

    @staticmethod
    def _laid(
        numbers: Array, place: tuple[slice, ...], column: Array | None, out: Array, spare: Array
    ) -> None:
        """Lay a block of numbers out, plus one of a column for each channel."""
        some = numbers[place]
        out.reshape(some.shape)[...] = some
        if column is not None:
            spare.reshape(some.shape)[...] = column[:, place[1]]
            out += spare

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
            np.divide(size, bound, out=ratio[flat])
            if float(bound.max()) > loose:
                result = np.abs(values, out=values)
                np.multiply(result, 2 * self.unit, out=result)
                loose = max(loose, _most(np.subtract(bound, result, out=result)))
        totals = Totals(quotients, squares, bool(float(ratio.max()) <= 1), True)
        return Seen(totals, ratio, kept if keep else None, (above, below), loose)

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
