"""Fits with numbers for each output channel: what is added to it, or it is multiplied by.

They are fitted to all numbers of a channel, which takes long where there are many. The channels of
the first few elements that a change is tried on are fitted first: if that is no explanation of
these elements, fits of the other channels cannot make it one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.mismatch.computing.setup import Positions, Setup
from convtrace.mismatch.computing.stages import Add, Affine
from convtrace.mismatch.judging.elements import Compared
from convtrace.mismatch.search.change import Change
from convtrace.mismatch.search.sample import MANY
from convtrace.mismatch.search.search import Search

Array = NDArray[Any]

LEAST = 6
"""Elements of a channel that its two numbers are fitted to, at least."""


@dataclass(frozen=True)
class _Rows:
    """Some channels of an output.

    Attributes:
        channels: Their numbers.
        values: What should have come out, one row for each channel.
        seen: What was observed, in the same way.
        off: Which of the channels rounding does not explain.
    """

    channels: Array
    values: Array
    seen: Array
    off: Array


def by_channel(search: Search, right: Compared) -> Iterator[Change]:
    """List changes that add a number to every output channel, or multiply it by one as well.

    Args:
        search: The search, with its samples.
        right: The whole output against the right one.
    """
    count = right.shape[1]
    if right.observed.size > MANY:
        few = np.unique(search.samples[0][1])
        values = [right.channel(channel).values.reshape(-1) for channel in few.tolist()]
        rows = _Rows(few, np.stack(values), *_seen(right, few))
        if not any(search.fits((change,), 0) for change in _fitted(rows, search.base)):
            return
    every = np.arange(count)
    values = np.moveaxis(right.values, 1, 0).reshape(count, -1)
    yield from _fitted(_Rows(every, values, *_seen(right, every)), search.base)


def _seen(right: Compared, channels: Array) -> tuple[Array, Array]:
    """Return what was observed in some channels, and which of them rounding does not explain."""
    rows = (np.moveaxis(of, 1, 0)[channels] for of in (right.observed, right.inside))
    observed, inside = (row.reshape(len(channels), -1) for row in rows)
    return observed, np.asarray(~inside.all(1))


def _fitted(of: _Rows, base: Setup) -> Iterator[Change]:
    """List the changes, with the numbers that are fitted to some channels; others stay as they are.

    Args:
        of: The channels.
        base: The setup that is right.
    """
    rows, seen = of.values, of.seen
    if rows.shape[1] < LEAST or not (np.isfinite(rows).all() and np.isfinite(seen).all()):
        return

    def every(numbers: Array, usual: float) -> Array:
        found = np.full(base.channels_out, usual)
        found[of.channels] = numbers
        return found

    shift = np.median(seen - rows, axis=1)
    shift = np.where(np.abs(shift) <= 1e-6 * np.abs(rows).max(1), 0.0, shift)
    if of.off.any():  # what rounding explains in other channels is no bias
        shift = np.where(of.off, shift, 0.0)
    if shift.any():
        stage = Affine(np.ones(base.channels_out), every(shift, 0.0))
        wrong = of.channels[shift != 0]
        id_, given = "bias.other", {"channels": tuple(wrong.tolist()[:16]), "count": len(wrong)}
        if len(wrong) and np.allclose(shift, shift[0], rtol=1e-5):
            given["amount"] = float(shift[0])
        yield Change(id_, "after", lambda s: s.but(stages=(*s.stages, stage)), given, 1.9)
    middle, around = rows.mean(1, keepdims=True), seen.mean(1, keepdims=True)
    square = ((rows - middle) ** 2).sum(1)
    if not (square > 0).all():
        return
    scale = ((rows - middle) * (seen - around)).sum(1) / square
    offset = (around - scale[:, None] * middle)[:, 0]
    var = seen.var(1)
    if (np.abs(scale) < 1e-9).any():
        return  # channels that hold no trace of what belongs there
    bias = np.zeros(len(rows)) if base.bias is None else base.bias[of.channels]
    kept = np.abs(offset - bias * (1 - scale)) <= 1e-5 * np.abs(rows).max(1)
    if kept.all() and not base.transposed and all(isinstance(stage, Add) for stage in base.stages):
        factors = every(scale, 1.0)

        def scaled(values: Array, index: Positions) -> Array:
            return values * factors[index[0]]

        yield Change("kernel.by_channel", "w", lambda s: s.but(w_ops=(*s.w_ops, scaled)), {}, 2.15)
    affine = Affine(every(scale, 1.0), every(offset, 0.0))
    own = bool((np.abs(around) < 1e-3).all() and (np.abs(var - 1) < 1e-2).all())
    given: dict[str, Any] = {"over": "batch"} if own else {}
    yield Change(
        "norm.fused" if own else "output.by_channel",
        "after",
        lambda s: s.but(stages=(*s.stages, affine)),
        given,
        1.6 if own else 2.2,
    )
