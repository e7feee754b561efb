"""A setup computed at every output position: one pass for the sums, one for their magnitudes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.mismatch.computing.memory import empty
from convtrace.mismatch.computing.passes import Operand, convolved, leaves_float32, transposed
from convtrace.mismatch.computing.quantization import Requantize
from convtrace.mismatch.computing.setup import Map, Op, Positions, Setup, into
from convtrace.mismatch.computing.stages import Act, Add, Affine, Norm, Store, Sums
from convtrace.mismatch.computing.taking import laid_out, taken, through

Array = NDArray[Any]

Run = Callable[[bool, bool, int], Array]
"""Computes sums: of absolute values or not, in float32 or not, over every how many channels."""

POINTWISE = (Act, Add, Affine, Norm, Requantize, Store)
"""Stages that take as long for a part of an output as its share of all."""


@dataclass(frozen=True, eq=False)
class Whole:
    """All output numbers of a setup, to be finished in one piece or part by part.

    Attributes:
        setup: The setup.
        linear: Its bare sums.
    """

    setup: Setup
    linear: Sums

    @cached_property
    def sums(self) -> Sums:
        """The numbers in one piece."""
        return whole(self.setup, self.linear)

    @property
    def divides(self) -> bool:
        """Whether parts are computed each for itself: stages look at single numbers only."""
        rows = (self.linear.values, self.linear.magnitude)
        plain = all(np.shape(row) == self.setup.shape for row in rows)
        known = all(type(stage) in POINTWISE for stage in self.setup.stages)
        return plain and known and not self.setup.y_maps

    def part(self, place: tuple[slice, ...]) -> Sums:
        """Return some of the numbers."""
        shape = self.setup.shape
        at = np.ix_(*(np.arange(size)[s] for size, s in zip(shape, place, strict=True)))
        values, size = self.linear.values[place], self.linear.magnitude[place]
        return self.setup.finish(_wide(Sums(values, size, at, self.setup)))


def boxes(shape: tuple[int, ...], most: int) -> Iterator[tuple[tuple[slice, ...], slice]]:
    """Cut an array into boxes of neighbours in memory, of so many elements at most.

    Yields:
        Where a box is in the array, and where among all elements in a row.

    Example:
        >>> [flat for _, flat in boxes((2, 3, 2), 4)]
        [slice(0, 4, None), slice(4, 6, None), slice(6, 10, None), slice(10, 12, None)]
    """
    axis = next(a for a in range(len(shape)) if math.prod(shape[a + 1 :]) <= most)
    row, start = math.prod(shape[axis + 1 :]), 0
    step = max(1, most // row)
    for outer in np.ndindex(*shape[:axis]):
        for first in range(0, shape[axis], step):
            count = min(step, shape[axis] - first)
            before = (slice(place, place + 1) for place in outer)
            after = (slice(None) for _ in shape[axis + 1 :])
            yield (*before, slice(first, first + count), *after), slice(start, start + count * row)
            start += count * row


def _wide(sums: Sums) -> Sums:
    """Return sums in float64."""
    values = np.asarray(sums.values, dtype=np.float64)
    return sums.to(values, np.asarray(sums.magnitude, dtype=np.float64))


def whole(setup: Setup, linear: Sums | None = None) -> Sums:
    """Compute all output numbers.

    Args:
        setup: The setup.
        linear: Its bare sums, where they are known already (`linear_whole`).

    Returns:
        Numbers of shape `setup.shape`, float64.
    """
    sums = setup.finish(_wide(linear if linear is not None else linear_whole(setup)))
    if not setup.y_maps:
        return sums
    flat: Array | None = None

    def moved(numbers: Array | float) -> Any:
        nonlocal flat
        if np.ndim(numbers) == 0:
            return numbers
        numbers = np.broadcast_to(numbers, setup.shape)
        if (found := through(numbers, setup.y_maps)) is not None:
            return found
        if flat is None:
            at = setup.origin(grid(setup.shape))
            flat = np.ravel_multi_index(tuple(np.broadcast_arrays(*at)), setup.shape, mode="wrap")
        return numbers.reshape(-1)[flat]

    values, magnitude, extra, spare = map(
        moved, (sums.values, sums.magnitude, sums.extra, sums.spare)
    )
    return Sums(values, magnitude, sums.at, setup, extra, spare, sums.whole)


def linear_whole(
    setup: Setup,
    *,
    narrow: bool = False,
    values: Array | None = None,
    magnitude: Array | None = None,
    share: int = 1,
) -> Sums:
    """Compute the bare sums of products at every position, and Σ|w·x| of each.

    Args:
        setup: The setup.
        narrow: Whether float32 will do. Its sums are off by as much as those of any float32
            kernel, which is far less than the bound that they are compared by.
        values: The sums, where they are known already.
        magnitude: Σ|w·x|, where it is known already.
        share: Σ|w·x| is taken over every so many input channels only, where that can be done: no
            more than the whole, at that part of its price. What is judged by it is judged too
            strictly, never too loosely.

    Returns:
        Sums in float32 where they were added in it, else in float64.
    """
    x = _rearranged(setup.x, setup.moved, setup.x_maps, setup.x_ops)
    weight = _rearranged(setup.weight, setup.turned, setup.w_maps, setup.w_ops)
    simple = (
        setup.transposed
        and not setup.filled
        and setup.reads is None
        and all(mode == "zeros" for mode in setup.modes)
        and setup.fill == 0
    )
    import torch

    run = _transposed(setup, x, weight) if simple else _gathered(setup, x, weight)
    if simple and setup.groups > 1:
        share = 1
    # Whoever calls may be under autocast; what is judged here is not.
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        if values is None:
            values = run(False, narrow, 1)
        if magnitude is None:
            magnitude = run(True, True, share)
            if leaves_float32(magnitude, x, weight):
                magnitude = run(True, False, share)
    return Sums(values, magnitude, grid(setup.shape), setup)


def grid(shape: tuple[int, ...]) -> tuple[Array, ...]:
    """Return the positions of an array of this shape; they broadcast to it."""
    return np.ix_(*(np.arange(size) for size in shape))


def _rearranged(
    array: Array, source: Callable[[Positions], Positions], maps: Sequence[Map], ops: Sequence[Op]
) -> Array:
    """Return an operand as a setup rearranges and changes it."""
    if not maps and not ops:
        return array
    at = grid(array.shape)
    values = through(array, maps)
    if values is None:
        index = source(at)
        values = laid_out(array, index)
        values = taken(array, index) if values is None else values
    for op in ops:
        values = op(values, at)
    return np.broadcast_to(values, array.shape)


def _gathered(setup: Setup, x: Array, weight: Array) -> Run:
    """Prepare a convolution whose padding is laid around the input first."""
    stride, dilation, low = setup.stride, setup.dilation, setup.low
    kernel = _canonical(setup, weight)
    if setup.transposed:
        # Inputs are spread out by the stride; then it is a convolution with the flipped kernel.
        low = tuple(e - 1 - p for e, p in zip(setup.extent, low, strict=True))
        stride = (1,) * setup.axes
        kernel = np.flip(kernel, tuple(range(2, kernel.ndim)))
    pads = _even_padding(setup)
    padded = x if pads else _padded(setup, x, low, stride)
    if setup.reads is None:
        unique = np.arange(setup.channels_in).reshape(setup.groups, -1)
        group = np.repeat(np.arange(setup.groups), setup.channels_out // setup.groups)
    else:
        rows = setup.reads(
            np.arange(setup.channels_out)[:, None], np.arange(setup.terms)[None, :], setup
        )
        rows = np.broadcast_to(rows, (setup.channels_out, setup.terms))
        unique, group = np.unique(rows, axis=0, return_inverse=True)
        group = group.reshape(-1)
    counts = np.bincount(group)
    size = (x.shape[0], setup.channels_out, *setup.size)
    inputs, kernels = (Operand(one, setup.about(one).stored) for one in (padded, kernel))

    def run(absolute: bool, narrow: bool, share: int) -> Array:
        import torch

        chosen = unique[:, ::share]
        # Numbers are copied once at most: the channels that are read, in the order they are read.
        plain = np.array_equal(chosen.reshape(-1), np.arange(padded.shape[1]))
        if (counts == counts[0]).all():
            order = np.argsort(group, kind="stable")
            sorted_ = np.array_equal(order, np.arange(len(order)))
            left = inputs if plain else inputs.channels(chosen.reshape(-1), narrow=narrow)
            right = kernels if sorted_ else Operand(kernel[order])
            right = right.part(share, 1)
            read = left.tensor(absolute=absolute, narrow=narrow)
            factors = right.tensor(absolute=absolute, narrow=narrow)
            found = convolved(read, factors, stride, dilation, len(unique), pads).numpy()
            if sorted_:
                return found
            result = empty(size, found.dtype)
            result[:, order] = found
            return result
        left = inputs.tensor(absolute=absolute, narrow=narrow)
        right = kernels.part(share, 1).tensor(absolute=absolute, narrow=narrow)
        result = np.empty(size)
        for number, row in enumerate(chosen):
            mine = np.flatnonzero(group == number)
            read, factors = left[:, torch.from_numpy(row.copy())], right[torch.from_numpy(mine)]
            result[:, mine] = convolved(read, factors, stride, dilation, 1, pads).numpy()
        return result

    return run


def _even_padding(setup: Setup) -> tuple[int, ...]:
    """Return the zeros that PyTorch itself can lay on both sides of each axis; none if it cannot.

    An output may be shorter than its padding allows for, and is then computed from an input that
    is laid out exactly as far as it is read.
    """
    zeros = all(mode == "zeros" for mode in setup.modes) and setup.fill == 0
    if setup.transposed or not zeros or min(setup.low) < 0:
        return ()
    sizes = tuple(
        (n + 2 * p - e) // s + 1
        for n, p, e, s in zip(setup.x.shape[2:], setup.low, setup.extent, setup.stride, strict=True)
    )
    return setup.low if sizes == setup.size else ()


def _padded(setup: Setup, x: Array, low: tuple[int, ...], stride: tuple[int, ...]) -> Array:
    """Lay the padding around the input, exactly as far as the output reads."""
    if not setup.transposed and all(mode == "zeros" for mode in setup.modes):
        sides: list[tuple[int, int]] = [(0, 0), (0, 0)]
        cut: list[slice] = [slice(None), slice(None)]
        for axis, size in enumerate(x.shape[2:]):
            reach = (setup.size[axis] - 1) * stride[axis] + setup.extent[axis]
            before, after = low[axis], reach - low[axis] - size
            sides.append((max(before, 0), max(after, 0)))
            cut.append(slice(max(-before, 0), size - max(-after, 0)))
        inner = x[tuple(cut)]
        if min(inner.shape) > 0:
            return np.pad(inner, sides, constant_values=setup.fill)
    for axis, size in enumerate(x.shape[2:]):
        reach = (setup.size[axis] - 1) * stride[axis] + setup.extent[axis]
        place = np.arange(-low[axis], reach - low[axis])
        met = None
        if setup.transposed:
            step = setup.stride[axis]
            if not setup.filled and step > 1:
                met = place % step == 0
            place = place // step
        source, met = into(place, size, setup.modes[axis], met)
        x = np.take(x, source, axis=2 + axis)
        if met is not None:
            shape = [1] * x.ndim
            shape[2 + axis] = -1
            x = np.where(met.reshape(shape), x, setup.fill)
    return x


def _canonical(setup: Setup, weight: Array) -> Array:
    """Return the weights as `(C_out, C_in / groups, *kernel)`."""
    if not setup.transposed:
        return weight
    groups, kernel = setup.groups, weight.shape[2:]
    parts = weight.reshape(groups, -1, weight.shape[1], *kernel).swapaxes(1, 2)
    return parts.reshape(setup.channels_out, setup.terms, *kernel)


def _transposed(setup: Setup, x: Array, weight: Array) -> Run:
    """Prepare PyTorch's transposed convolution, to be cropped or filled up afterwards."""
    inputs, kernels = (Operand(one, setup.about(one).stored) for one in (x, weight))

    def run(absolute: bool, narrow: bool, share: int) -> Array:
        import torch

        read = inputs.part(share, 1).tensor(absolute=absolute, narrow=narrow)
        factors = kernels.part(share, 0).tensor(absolute=absolute, narrow=narrow)
        found = transposed(read, factors, setup.stride, setup.dilation, setup.groups)
        sides: list[int] = []
        for axis in reversed(range(setup.axes)):
            low = setup.low[axis]
            sides += [-low, setup.size[axis] + low - found.shape[2 + axis]]
        return torch.nn.functional.pad(found, sides).numpy()

    return run
