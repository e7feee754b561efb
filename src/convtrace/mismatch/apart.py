"""The smallest input that tells explanations apart which the data at hand cannot."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.mismatch.computing.memory import empty
from convtrace.mismatch.computing.setup import Positions, Setup, added
from convtrace.mismatch.computing.stages import Act, Add
from convtrace.mismatch.computing.whole import whole
from convtrace.mismatch.report import Apart
from convtrace.mismatch.search.sample import anywhere
from convtrace.mismatch.search.search import Changes, alike, applied

Array = NDArray[Any]

LARGE = 2**16
"""Weights from which on an input is tried on a few elements first."""


def apart(base: Setup, explanations: Sequence[Changes]) -> Apart | None:
    """Make an input on which explanations give other outputs, as many of them as can be.

    First inputs for the layer's own weights are tried, from a single 1 among zeros on, and three
    samples in place of one; then small whole numbers as weights too, where the layer's are to
    blame, as those of a symmetric kernel; last, several channels in the place of one.

    Returns:
        The input, the right output, and that of each explanation; None where none was found.
    """
    best: tuple[int, Setup, list[Array], Array, bool] | None = None
    few = _Few(explanations)
    for setup, own in _inputs(base):
        if base.weight.size > LARGE and not few.tell(setup, best[0] if best else 1):
            continue
        outputs = [_output(setup, changes) for changes in explanations]
        if any(o is None for o in outputs):
            continue
        rows = [o for o in outputs if o is not None]
        count = max(groups(rows)) + 1
        if best is None or count > best[0]:
            best = (count, setup, rows, whole(setup).values, own)
        if count == len(explanations):
            break
    if best is None or best[0] < 2:
        return None
    _, setup, rows, expected, own = best
    return Apart(
        x=setup.x,
        weight=None if own else setup.weight,
        bias=None if own else setup.bias,
        expected=expected,
        outputs=tuple(rows),
        channels=setup.weight.shape != base.weight.shape,
    )


def groups(outputs: Sequence[Array]) -> list[int]:
    """Number outputs, those that are equal up to rounding alike.

    Example:
        >>> groups([np.array([1.0]), np.array([2.0]), np.array([1.0 + 1e-15])])
        [0, 1, 0]
    """
    first: list[Array] = []
    numbers: list[int] = []
    for output in outputs:
        at = next((n for n, other in enumerate(first) if alike(output, other)), len(first))
        if at == len(first):
            first.append(output)
        numbers.append(at)
    return numbers


class _Few:
    """A few elements of small inputs; what explanations leave alone is gathered once for all.

    Args:
        explanations: What is to be told apart.
    """

    def __init__(self, explanations: Sequence[Changes]) -> None:
        self.explanations = explanations
        self._weight: Array | None = None
        self._factors: dict[tuple[Any, ...], Array] = {}

    def tell(self, setup: Setup, least: int) -> bool:
        """Whether they tell more explanations apart; only where nearly all inputs count."""
        if 2 * np.count_nonzero(setup.x) < setup.x.size:
            return False
        if setup.weight is not self._weight:
            self._weight, self._factors = setup.weight, {}
        at = anywhere(setup.shape, 6, seed=4)
        reads: dict[Changes, Array] = {}
        rows: list[Array] = []
        for changes in self.explanations:
            changed = applied(setup, changes)
            if changed is None or changed.shape != setup.shape:
                return True
            try:
                rows.append(self._values(changed, changes, at, reads))
            except (IndexError, ValueError):
                return True
        return len(set(groups(rows))) > least

    def _values(
        self, changed: Setup, changes: Changes, at: Positions, reads: dict[Changes, Array]
    ) -> Array:
        """Return what changes make of the elements.

        Args:
            changed: The setup with the changes.
            changes: What was changed.
            at: Where the elements are.
            reads: What taps read with the changes of it that were met already.
        """
        if any(change.side in ("y", "xw") for change in changes):
            return changed.sample(at).values
        x, w = (tuple(c for c in changes if c.side == side) for side in "xw")
        if x not in reads:
            reads[x] = changed.read(at)
        key = (changed.shape, *w)
        if key not in self._factors:
            self._factors[key] = changed.factors(at[1])
        return changed.finish(added(reads[x], self._factors[key], at, changed)).values


def _output(setup: Setup, changes: Changes) -> Array | None:
    changed = applied(setup, changes)
    if changed is None:
        return None
    try:
        return whole(changed).values
    except (IndexError, ValueError, RuntimeError):
        return None


def _inputs(base: Setup) -> Iterator[tuple[Setup, bool]]:
    """Yield setups with small inputs; and whether the weights are the layer's own."""
    sizes = _smallest(base)
    integers = base.statistics.whole
    margins = (0, 1, 2) if base.weight.size <= LARGE else (2,)
    for more in margins:
        shape = (1, base.channels_in, *(s + more for s in sizes))
        for x in _numbers(shape, whole=integers):
            yield _with(base, x, base.weight, base.bias), True
    shape = (3, base.channels_in, *(s + 2 for s in sizes))
    yield (
        _with(base, list(_numbers(shape, whole=integers))[-1], base.weight, base.bias),
        True,
    )
    counted = _counted(base.weight.shape)
    bias = None if base.bias is None else np.arange(1.0, base.bias.size + 1)
    for more in margins:
        shape = (1, base.channels_in, *(s + more for s in sizes))
        for x in _numbers(shape, whole=integers):
            yield _with(base, x, counted, bias), False
    shape = (3, base.channels_in, *(s + 2 for s in sizes))
    yield _with(base, list(_numbers(shape, whole=integers))[-1], counted, bias), False
    yield base.but(weight=counted, bias=bias, stages=_stages(base, bias)), False
    if (wider := _wider(base)) is not None:
        shape = (1, wider.channels_in, *(s + 1 for s in sizes))
        yield (
            _with(wider, list(_numbers(shape, whole=integers))[-1], wider.weight, wider.bias),
            False,
        )


def _counted(shape: tuple[int, ...]) -> Array:
    """Return an array of 1, 2, 3, …, in memory that was used before where that is large."""
    found, row = empty(shape), math.prod(shape[1:])
    starts = np.arange(0.0, shape[0] * row, row)[:, None]
    np.add(starts, np.arange(1.0, row + 1), out=found.reshape(shape[0], row))
    return found


def _wider(base: Setup) -> Setup | None:
    """Return a layer of several channels in the place of one, which hides their order."""
    channels = base.weight.shape[:2]
    if base.groups > 1 or 1 not in channels:
        return None
    if not all(isinstance(stage, (Add, Act)) for stage in base.stages):
        return None  # what follows has numbers for the channels that there are
    shape = (*(max(count, 3) for count in channels), *base.kernel)
    weight = np.arange(1.0, math.prod(shape) + 1).reshape(shape)
    out = shape[1] if base.transposed else shape[0]
    bias = None if base.bias is None else np.arange(1.0, out + 1)
    read = shape[0 if base.transposed else 1]
    return base.but(weight=weight, bias=bias, x=np.zeros((1, read, *base.x.shape[2:])))


def _smallest(base: Setup) -> tuple[int, ...]:
    """Return the smallest spatial sizes that give an output."""
    if base.transposed:
        return (2,) * base.axes
    return tuple(
        max(1, e - p - max(h, 0)) + s - 1
        for e, p, h, s in zip(base.extent, base.low, base.high(), base.stride, strict=True)
    )


def _numbers(shape: tuple[int, ...], *, whole: bool) -> Iterator[Array]:
    size = math.prod(shape)
    one = np.zeros(shape)
    one.reshape(-1)[0] = 1.0
    yield one
    last = np.zeros(shape)
    last.reshape(-1)[-1] = 1.0
    yield last
    yield np.arange(1.0, size + 1).reshape(shape)
    yield np.arange(1.0, size + 1).reshape(shape) ** 2 % 17 - 8
    if not whole:
        yield (np.arange(1.0, size + 1).reshape(shape) ** 2 % 17 - 9) / 4


def _with(base: Setup, x: Array, weight: Array, bias: Array | None) -> Setup:
    high = base.high()
    size: list[int] = []
    for axis, n in enumerate(x.shape[2:]):
        s, e, p, h = base.stride[axis], base.extent[axis], base.low[axis], high[axis]
        grown, shrunk = (n - 1) * s + e - p - h, (n + p + max(h, 0) - e) // s + 1
        size.append(max(grown if base.transposed else shrunk, 1))
    return base.but(x=x, weight=weight, bias=bias, size=tuple(size), stages=_stages(base, bias))


def _stages(base: Setup, bias: Array | None) -> Any:
    return tuple(
        Add(bias) if isinstance(stage, Add) and bias is not None else stage for stage in base.stages
    )
