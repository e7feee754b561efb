"""Loops that run one too few, and accumulators that are overwritten."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.mismatch.causes.maps import axis_names
from convtrace.mismatch.computing.setup import Positions, Setup
from convtrace.mismatch.search.change import Change

Array = NDArray[Any]


def dropped(setup: Setup) -> Iterator[Change]:
    """Kernel rows or columns that are never added, or of which only one is."""
    names = axis_names(setup.axes)
    for axis, size in enumerate(setup.kernel):
        if size < 2:
            continue
        for place, word in ((0, "first"), (size - 1, "last")):
            yield _taps("kernel.taps_lost", axis, place, False, 1.3, axis_name=names[axis], at=word)
            if size > 2:
                yield _taps(
                    "kernel.taps_only", axis, place, True, 1.5, axis_name=names[axis], at=word
                )
    taps = int(np.prod(setup.kernel))
    if taps > 1:
        for word, place in (("first", 0), ("last", -1), ("centre", None)):
            where = tuple(
                k // 2 if place is None else (0 if place == 0 else k - 1) for k in setup.kernel
            )

            def make(setup: Setup, where: tuple[int, ...] = where) -> Setup:
                def op(values: Array, index: Positions) -> Array:
                    kept = np.ones((), dtype=np.bool_)
                    for axis, at in enumerate(where):
                        kept = kept & (index[axis + 2] == at)
                    return np.where(kept, values, 0.0)

                return setup.but(w_ops=(*setup.w_ops, op))

            yield Change("kernel.one_tap", "w", make, {"at": word}, 1.4)
    if all(k > 1 for k in setup.kernel):

        def inner(setup: Setup) -> Setup:
            def op(values: Array, index: Positions) -> Array:
                kept = np.ones((), dtype=np.bool_)
                for axis, size in enumerate(setup.kernel):
                    kept = kept & (index[axis + 2] < size - 1)
                return np.where(kept, values, 0.0)

            return setup.but(w_ops=(*setup.w_ops, op))

        if setup.axes > 1:
            yield Change("kernel.taps_lost", "w", inner, {"axis_name": "all", "at": "last"}, 1.4)


def cut(setup: Setup) -> Iterator[Change]:
    """A loop over the whole kernel, as one row, that stops at a multiple of some number."""
    taps, terms = int(np.prod(setup.kernel)), setup.terms
    count = taps * terms
    if taps == 1:
        return  # then the row is that of the channels
    for order, cost in (("channels first", 1.35), ("channels last", 1.45)):
        if terms == 1 and order == "channels last":
            return  # the same row
        kept = {count // block * block: block for block in (2, 4, 8, 16, 32, 64, 128)}
        for first, block in kept.items():
            if 0 < first < count:
                given = {"kept": first, "of": count, "block": block, "order": order}
                yield Change("kernel.terms_lost", "w", _first(first, order), given, cost)


def _first(kept: int, order: str) -> Callable[[Setup], Setup]:
    """Return a change that leaves out all but the first products of a kernel laid out in a row."""

    def make(setup: Setup) -> Setup:
        taps = int(np.prod(setup.kernel))

        def op(values: Array, index: Positions) -> Array:
            term = index[0] % setup.terms if setup.transposed else index[1]
            tap = np.zeros((), dtype=np.int64)
            for size, place in zip(setup.kernel, index[2:], strict=True):
                tap = tap * size + place
            row = term * taps + tap if order == "channels first" else tap * setup.terms + term
            return np.where(row < kept, values, 0.0)

        return setup.but(w_ops=(*setup.w_ops, op))

    return make


def _taps(
    id_: str, axis: int, place: int, keep: bool, cost: float, /, **parameters: object
) -> Change:
    def make(setup: Setup) -> Setup:
        def op(values: Array, index: Positions) -> Array:
            here = index[axis + 2] == place
            return np.where(here if keep else ~here, values, 0.0)

        return setup.but(w_ops=(*setup.w_ops, op))

    return Change(id_, "w", make, parameters, cost)
