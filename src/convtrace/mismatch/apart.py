"""The smallest input that tells explanations apart which the data at hand cannot."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.mismatch.computing.setup import Setup
from convtrace.mismatch.computing.stages import Add
from convtrace.mismatch.computing.whole import whole
from convtrace.mismatch.report import Apart
from convtrace.mismatch.search.search import Found, applied

Array = NDArray[Any]


def apart(base: Setup, found: Sequence[Found]) -> Apart | None:
    """Make an input on which every explanation gives another output.

    First inputs for the layer's own weights are tried, from a single 1 among zeros on; then small
    whole numbers as weights too, where the layer's are to blame, as those of a symmetric kernel.

    Returns:
        The input, the right output, and that of each explanation; None where none was found.
    """
    best: tuple[int, Setup, list[Array], Array, bool] | None = None
    for setup, own in _inputs(base):
        outputs = [_output(setup, one) for one in found]
        if any(o is None for o in outputs):
            continue
        rows = [o for o in outputs if o is not None]
        count = len({_key(o) for o in rows})
        if best is None or count > best[0]:
            best = (count, setup, rows, whole(setup).values, own)
        if count == len(found):
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
    )


def _key(array: Array) -> bytes:
    with np.errstate(all="ignore"):
        return np.round(array, 9).tobytes()


def _output(setup: Setup, one: Found) -> Array | None:
    changed = applied(setup, one.changes)
    if changed is None:
        return None
    try:
        return whole(changed).values
    except (IndexError, ValueError, RuntimeError):
        return None


def _inputs(base: Setup) -> Iterator[tuple[Setup, bool]]:
    """Yield setups with small inputs; and whether the weights are the layer's own."""
    sizes = _smallest(base)
    for more in (0, 1, 2):
        shape = (1, base.channels_in, *(s + more for s in sizes))
        for x in _numbers(shape):
            yield _with(base, x, base.weight, base.bias), True
    counted = np.arange(1.0, base.weight.size + 1).reshape(base.weight.shape)
    bias = None if base.bias is None else np.arange(1.0, base.bias.size + 1)
    for more in (0, 1, 2):
        shape = (1, base.channels_in, *(s + more for s in sizes))
        for x in _numbers(shape):
            yield _with(base, x, counted, bias), False
    shape = (2, base.channels_in, *(s + 2 for s in sizes))
    yield _with(base, list(_numbers(shape))[-1], counted, bias), False
    yield base.but(weight=counted, bias=bias, stages=_stages(base, bias)), False


def _smallest(base: Setup) -> tuple[int, ...]:
    """Return the smallest spatial sizes that give an output."""
    if base.transposed:
        return (2,) * base.axes
    return tuple(
        max(1, e - p - max(h, 0)) + s - 1
        for e, p, h, s in zip(base.extent, base.low, base.high(), base.stride, strict=True)
    )


def _numbers(shape: tuple[int, ...]) -> Iterator[Array]:
    size = math.prod(shape)
    one = np.zeros(shape)
    one.reshape(-1)[0] = 1.0
    yield one
    last = np.zeros(shape)
    last.reshape(-1)[-1] = 1.0
    yield last
    yield np.arange(1.0, size + 1).reshape(shape)
    yield np.arange(1.0, size + 1).reshape(shape) ** 2 % 17 - 8


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
