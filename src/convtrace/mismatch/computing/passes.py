"""Convolutions over all positions of a layer: in float64 for values, in float32 where it will do.

Memory that was not used before costs more than arithmetic, so that operands are copied once at
most, and float64 sums are products of blocks that stay in the processor's cache.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.mismatch.computing.memory import empty

Array = NDArray[Any]

BLOCK = 2**20
"""Numbers of unfolded windows that are multiplied at once, where there are more."""

PART = 2**15
"""Numbers that stay in the processor's cache."""

RANGE = (1e-15, 1e15)
"""Largest numbers of operands whose products stay far inside float32."""

LEAST = 1e-30
"""Products from which on float32 holds them to full precision, with room for tiny ones."""


class Operand:
    """An operand as tensors: in float64 or in float32, with signs or without.

    Args:
        array: Its numbers, float64.
        stored: The same numbers in float32, where they were given so; they are only read.
    """

    def __init__(self, array: Array, stored: Array | None = None) -> None:
        self.array, self.stored = array, stored
        self._narrow: Array | None = None

    def tensor(self, *, absolute: bool, narrow: bool) -> Any:
        """Return it; in float32 where that will do, unless numbers leave its range."""
        import torch

        array = self.array
        if narrow and self._fits and self.stored is not None:
            array = self.stored
            if absolute:
                array = np.abs(array, out=empty(array.shape, np.float32))
        elif narrow:
            array = _narrowed(array) if self._narrow is None else self._narrow
            own = array is not self.array
            self._narrow = array if own and not absolute else None
            if absolute and own:  # in the copy: it is not asked for with signs again
                return torch.from_numpy(np.abs(array, out=array))
            array = np.abs(array) if absolute else array
        elif absolute:
            array = np.abs(array)
        array = np.ascontiguousarray(array)
        return torch.from_numpy(array if array.flags.writeable else array.copy())

    @cached_property
    def _fits(self) -> bool:
        """Whether numbers were given in float32, and stay inside its range."""
        if self.stored is None or not self.stored.size:
            return False
        return RANGE[0] < float(np.max([self.stored.max(), -self.stored.min()])) < RANGE[1]

    def part(self, share: int, axis: int) -> Operand:
        """Return every so many positions of an axis; the operand itself where that is all."""
        if share == 1:
            return self
        some = (slice(None),) * axis + (slice(None, None, share),)
        return Operand(self.array[some], None if self.stored is None else self.stored[some])

    def channels(self, order: Array, *, narrow: bool) -> Operand:
        """Return channels of an input in some order, in memory that was used before."""
        given = self.stored if narrow and self._fits else None
        array = self.array if given is None else given
        found = empty((len(array), len(order), *array.shape[2:]), array.dtype)
        np.take(array, order, axis=1, out=found, mode="clip")  # it copies once more otherwise
        return Operand(found, None if given is None else found)


def _narrowed(array: Array) -> Array:
    if not array.size:
        return array
    narrow, ends = empty(array.shape, np.float32), list[Any]()
    axis = int(np.argmax(array.shape[:2]))
    mine, rows = narrow.swapaxes(0, axis), array.swapaxes(0, axis)
    step = max(1, PART * len(rows) // array.size)
    with np.errstate(all="ignore"):
        for start in range(0, len(rows), step):
            some = mine[start : start + step]
            some[...] = rows[start : start + step]
            ends += [some.max(), -some.min()]
    return narrow if RANGE[0] < float(np.max(ends)) < RANGE[1] else array


def leaves_float32(magnitude: Array, x: Array, weight: Array) -> bool:
    """Whether Σ|w·x| that were added in float32 may lack products that are too small for it."""
    if magnitude.dtype != np.float32 or not magnitude.size or float(magnitude.min()) >= 1e-25:
        return False
    least = 1.0
    for array in (x, weight):
        size = np.abs(array)
        least *= float(np.min(size, where=size > 0, initial=np.inf))
    return least < LEAST


def convolved(
    x: Any,
    weight: Any,
    stride: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    padding: Sequence[int] = (),
) -> Any:
    """Convolve tensors.

    Args:
        x: Input, `(N, C_in, *spatial)`.
        weight: `(C_out, C_in / groups, *kernel)`.
        stride: One entry an axis.
        dilation: The same; with 0, all taps of an axis read one place.
        groups: Number of groups.
        padding: Zeros on both sides of each axis; none where it is empty.
    """
    import torch

    none, pads = [0] * len(stride), list(padding) or [0] * len(stride)
    still = [2 + axis for axis, step in enumerate(dilation) if step == 0]
    if still:
        weight, dilation = weight.sum(still, keepdim=True), tuple(step or 1 for step in dilation)
    if x.dtype != weight.dtype:
        x, weight = x.double(), weight.double()
    taps = math.prod(weight.shape[2:])
    sizes = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, p, d, k, s in zip(x.shape[2:], pads, dilation, weight.shape[2:], stride, strict=True)
    ]
    long = weight.shape[1] * taps * math.prod(sizes) > 2 * BLOCK
    if x.dtype == torch.float64 and groups == 1 and taps > 1 and long:
        return _multiplied(x, weight, stride, dilation, pads, sizes)
    return torch.ops.aten.convolution.default(
        x, weight, None, list(stride), pads, list(dilation), False, none, groups
    )


def _multiplied(
    x: Any,
    weight: Any,
    stride: Sequence[int],
    dilation: Sequence[int],
    pads: Sequence[int],
    sizes: Sequence[int],
) -> Any:
    """Convolve by matrix products with a few rows of unfolded windows at a time.

    NumPy unfolds them, in large pages of memory, and without threads, which may have to wait for
    each other at every tap where the machine has other work.
    """
    import torch

    source: Array = x.numpy()
    if any(pads):
        source = np.pad(source, [(0, 0), (0, 0), *((pad, pad) for pad in pads)])
    terms, taps = weight.shape[1], list(itertools.product(*map(range, weight.shape[2:])))
    factors, row = weight.reshape(len(weight), -1), math.prod(sizes[1:])
    step = min(max(1, BLOCK // (factors.shape[1] * row)), sizes[0])
    out = torch.from_numpy(np.empty((len(source), len(weight), sizes[0] * row)))
    buffer = np.empty(factors.shape[1] * step * row)
    for n, first in itertools.product(range(len(source)), range(0, sizes[0], step)):
        count = min(step, sizes[0] - first)
        windows = buffer[: factors.shape[1] * count * row].reshape(factors.shape[1], -1)
        unfolded = windows.reshape(terms, len(taps), count, *sizes[1:])
        for number, tap in enumerate(taps):
            place = [slice(None)]
            for axis, (k, d, s, size) in enumerate(zip(tap, dilation, stride, sizes, strict=True)):
                start, length = k * d + (0 if axis else first * s), size if axis else count
                place.append(slice(start, start + (length - 1) * s + 1, s))
            unfolded[:, number] = source[n][tuple(place)]
        found = out[n, :, first * row : (first + count) * row]
        torch.mm(factors, torch.from_numpy(windows), out=found)
    return out.view(*out.shape[:2], *sizes)


def transposed(
    x: Any, weight: Any, stride: Sequence[int], dilation: Sequence[int], groups: int
) -> Any:
    """Convolve tensors by PyTorch's transposed convolution, without padding."""
    import torch

    none = [0] * len(stride)
    if x.dtype != weight.dtype:
        x, weight = x.double(), weight.double()
    return torch.ops.aten.convolution.default(
        x, weight, None, list(stride), none, list(dilation), True, none, groups
    )
