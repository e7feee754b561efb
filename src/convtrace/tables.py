"""What a rule otherwise learns by running a step again, for all numbers of the step at once.

Pooling, means, resampling and elementwise functions are explained by PyTorch's own derivative.
A saved trace has no PyTorch at hand, so it holds what PyTorch said of every number: the
coefficients, or the values of the function. Rules ask a step's table first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Index = tuple[int, ...]


@dataclass(frozen=True)
class Coefficients:
    """Which numbers of its operands each number of a step is made of, and how much of each.

    Rows are the output numbers and columns the operand numbers, both in row-major order. Axes
    along which the step does nothing (the channels of a pool) are left out of both: the same
    coefficients hold at each of their positions.

    Attributes:
        shape: Shape of the output.
        operands: Shapes of the operands by role; columns are counted through all of them.
        same: Pairs (axis of the output, axis of the operand) that are left out; only where there
            is one operand.
        starts: Where each row begins among the entries, and the end of the last one, shape
            `(rows + 1,)`.
        columns: Column of each entry; ascending in each row.
        weights: Coefficient of each entry, or one for all, shape `()`.
        fills: Number of each row that has no entry, or one for all, shape `()`.
    """

    shape: tuple[int, ...]
    operands: Mapping[str, tuple[int, ...]]
    same: tuple[tuple[int, int], ...]
    starts: NDArray[Any]
    columns: NDArray[Any]
    weights: NDArray[np.float64]
    fills: NDArray[np.float64]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return math.prod(self.reduced)

    @property
    def reduced(self) -> tuple[int, ...]:
        """Shape of the output, with size 1 on the axes that are left out."""
        gone = {axis for axis, _ in self.same}
        return tuple(1 if axis in gone else size for axis, size in enumerate(self.shape))

    @property
    def reduced_operands(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the operands, with size 1 on the axes that are left out."""
        gone = {axis for _, axis in self.same}
        return {
            role: tuple(1 if axis in gone else size for axis, size in enumerate(shape))
            for role, shape in self.operands.items()
        }

    def check(self) -> None:
        """Raise `ValueError` unless every entry is a place of the operands."""
        count, sizes = len(self.columns), self.reduced_operands.values()
        starts = self.starts
        if (
            starts.shape != (self.rows + 1,)
            or int(starts[0]) != 0
            or int(starts[-1]) != count
            or bool((np.diff(starts) < 0).any())
            or self.weights.shape not in ((), (count,))
            or self.fills.shape not in ((), (self.rows,))
            or (len(self.operands) != 1 and self.same)
        ):
            raise ValueError("the parts of a table of coefficients do not fit together")
        if count and not 0 <= int(self.columns.min()) <= int(self.columns.max()) < sum(
            map(math.prod, sizes)
        ):
            raise ValueError("a table of coefficients names a place that is not there")

    def terms(self, index: Index) -> list[tuple[str, Index, float]]:
        """List the terms of one output number: role, position and coefficient of each."""
        row = self._row(index)
        here = slice(int(self.starts[row]), int(self.starts[row + 1]))
        columns = self.columns[here].tolist()
        weights = np.broadcast_to(self.weights, self.columns.shape)[here].tolist()
        return [
            (*self._place(column, index), weight)
            for column, weight in zip(columns, weights, strict=True)
        ]

    def fill(self, index: Index) -> float:
        """Return the number of a row that has no entry."""
        return float(np.broadcast_to(self.fills, (self.rows,))[self._row(index)])

    def _row(self, index: Index) -> int:
        gone = {axis for axis, _ in self.same}
        place = tuple(0 if axis in gone else p for axis, p in enumerate(index))
        return int(np.ravel_multi_index(place, self.reduced)) if place else 0

    def _place(self, column: int, index: Index) -> tuple[str, Index]:
        for role, shape in self.reduced_operands.items():
            size = math.prod(shape)
            if column < size:
                place = [int(p) for p in np.unravel_index(column, shape)] if shape else []
                for output, operand in self.same:
                    place[operand] = index[output]
                return role, tuple(place)
            column -= size
        raise ValueError("a table of coefficients names a place that is not there")


@dataclass(frozen=True)
class Curve:
    """Values of an elementwise function, computed in float64.

    Attributes:
        values: The function at each number of the operand, of the operand's shape.
        zeros: The function at zero, of a shape that can be spread over the operand's.
    """

    values: NDArray[np.float64]
    zeros: NDArray[np.float64]

    def at(self, index: Index) -> tuple[float, float]:
        """Return the function at one number of the operand, and at zero."""
        zeros = np.broadcast_to(self.zeros, self.values.shape)
        return float(self.values[index]), float(zeros[index])


Table = Coefficients | Curve
