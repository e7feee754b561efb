"""Windows in other places than the right one: what each tap makes of each place, looked up.

Padding, stride and dilation only say which places the taps of a window fall on. The products of one
tap with one place, added over the channels, serve all of them: K laws on T taps take K × T look-ups
instead of K × T × channels products.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.mismatch.computing.setup import Positions, Setup, by_groups

Array = NDArray[Any]

LAW = ("low", "stride", "dilation", "modes", "fill", "filled", "stages")
"""Fields that say where taps fall, and what they read where they fall outside."""


class Laws:
    """The places that the taps of some setups fall on, seen from some elements.

    Args:
        at: The elements, one array `(elements,)` for each axis.
        setups: Setups that differ in where their taps fall.
    """

    def __init__(self, at: Positions, setups: Sequence[Setup]) -> None:
        self.at, self.setups = at, setups
        self.fill = np.array([float(setup.fill) for setup in setups])
        self.axes = [self._axis(axis) for axis in range(setups[0].axes)]

    def _axis(self, axis: int) -> tuple[Array, Array, Array]:
        """Return the places that different laws say, which are met, and which law each setup has.

        The first two are of shape `(laws, elements, taps)`.
        """
        rows: dict[tuple[Any, ...], int] = {}
        sources: list[Array] = []
        mets: list[Array] = []
        chosen: list[int] = []
        for setup in self.setups:
            law = (setup.stride[axis], setup.low[axis], setup.dilation[axis])
            key = (*law, setup.modes[axis], setup.filled)
            if key not in rows:
                rows[key] = len(rows)
                source, met = setup.sources(axis, self.at[axis + 2])
                sources.append(source)
                mets.append(np.ones(source.shape, np.bool_) if met is None else met)
            chosen.append(rows[key])
        return np.stack(sources), np.stack(mets), np.array(chosen)

    def near(self, element: int) -> Near:
        """Return what is seen from one of the elements."""
        return Near(self, element)


class Near:
    """The places that the taps of some setups fall on, seen from one element.

    Args:
        laws: The setups.
        element: Number of the element.
    """

    def __init__(self, laws: Laws, element: int) -> None:
        base, count = laws.setups[0], len(laws.setups)
        self.at = tuple(axis[element : element + 1] for axis in laws.at)
        self.terms, self.taps, self.fill = base.terms, math.prod(base.kernel), laws.fill
        self.places: list[Array] = []
        flat: Array = np.zeros((), dtype=np.int64)
        valid: Array = np.ones((), dtype=np.bool_)
        for axis, (sources, mets, chosen) in enumerate(laws.axes):
            source, met = sources[:, element], mets[:, element]
            places, inverse = np.unique(source, return_inverse=True)
            shape = (count, *(-1 if a == axis else 1 for a in range(base.axes)))
            flat = flat * len(places) + inverse.reshape(source.shape)[chosen].reshape(shape)
            valid = valid & met[chosen].reshape(shape)
            self.places.append(places)
        full = (count, *base.kernel)
        self.flat = np.broadcast_to(flat, full).reshape(count, -1)
        self.valid = np.broadcast_to(valid, full).reshape(count, -1)

    def index(self, base: Setup) -> Positions:
        """Return the positions of all places that are read, in every channel."""
        axes = len(self.places)
        term = np.arange(self.terms)[None, :]
        channel = (base.reads or by_groups)(self.at[1][:, None], term, base)
        index = [self.at[0].reshape((1,) * (axes + 2))]
        index.append(np.broadcast_to(channel, (1, self.terms)).reshape(1, -1, *(1,) * axes))
        for axis, places in enumerate(self.places):
            shape = [1] * (axes + 2)
            shape[axis + 2] = -1
            index.append(places.reshape(shape))
        return tuple(index)

    def numbers(self, setup: Setup) -> Array:
        """Return the numbers that a setup has at all places that are read."""
        index = self.index(setup)
        values = setup.x[setup.moved(index)]
        for op in setup.x_ops:
            values = op(values, index)
        return np.broadcast_to(values, (1, self.terms, *(len(places) for places in self.places)))

    def sums(
        self, numbers: Array, factors: Array, fill: Array | float | None = None
    ) -> tuple[Array, Array]:
        """Return the sums of all setups, and Σ|w·x| or a little more than that.

        Args:
            numbers: The numbers at all places.
            factors: The weights, `(terms * taps,)`.
            fill: What is read where a tap falls outside; None: as the setups say.
        """
        table = factors.reshape(self.terms, self.taps)
        rows = numbers.reshape(self.terms, -1)
        fill = self.fill if fill is None else np.broadcast_to(fill, self.fill.shape)
        with np.errstate(all="ignore"):
            each = (table.T @ rows)[np.arange(self.taps), self.flat]
            squares = np.einsum("ij,ij->j", rows, rows)[self.flat]
            if not self.valid.all():
                each = np.where(self.valid, each, fill[:, None] * table.sum(0))
                squares = np.where(self.valid, squares, (self.terms * fill**2)[:, None])
            width = float(np.linalg.norm(table))
            return each.sum(1), np.sqrt(squares.sum(1)) * width
