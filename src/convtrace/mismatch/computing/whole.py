"""A setup computed at every output position: one pass for the sums, one for their magnitudes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.mismatch.computing.setup import Setup, into
from convtrace.mismatch.computing.stages import Sums

Array = NDArray[Any]

Run = Callable[[bool, bool, int], Array]
"""Computes sums: of absolute values or not, in float32 or not, over every how many channels."""


def whole(setup: Setup, linear: Sums | None = None) -> Sums:
    """Compute all output numbers.

    Args:
        setup: The setup.
        linear: Its bare sums, where they are known already (`linear_whole`).

    Returns:
        Numbers of shape `setup.shape`.
    """
    sums = setup.finish(linear if linear is not None else linear_whole(setup))
    if not setup.y_maps:
        return sums
    at = setup.origin(grid(sums.values.shape))
    flat = np.ravel_multi_index(tuple(np.broadcast_arrays(*at)), setup.shape, mode="wrap")

    def moved(numbers: Array | float) -> Any:
        if np.ndim(numbers) == 0:
            return numbers
        return np.broadcast_to(numbers, setup.shape).reshape(-1)[flat]

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
    """
    x = _rearranged(setup.x, setup.input_at, bool(setup.x_maps or setup.x_ops))
    weight = _rearranged(setup.weight, setup.weight_at, bool(setup.w_maps or setup.w_ops))
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
    return Sums(values, magnitude, grid(setup.shape), setup)


def grid(shape: tuple[int, ...]) -> tuple[Array, ...]:
    """Return the positions of an array of this shape; they broadcast to it."""
    return np.ix_(*(np.arange(size) for size in shape))


def _rearranged(array: Array, at: Callable[[tuple[Array, ...]], Array], changed: bool) -> Array:
    if not changed:
        return array
    return np.ascontiguousarray(np.broadcast_to(at(grid(array.shape)), array.shape))


def _gathered(setup: Setup, x: Array, weight: Array) -> Run:
    """Prepare a convolution whose padding is laid around the input first."""
    stride, dilation, low = setup.stride, setup.dilation, setup.low
    kernel = _canonical(setup, weight)
    if setup.transposed:
        # Inputs are spread out by the stride; then it is a convolution with the flipped kernel.
        low = tuple(e - 1 - p for e, p in zip(setup.extent, low, strict=True))
        stride = (1,) * setup.axes
        kernel = np.flip(kernel, tuple(range(2, kernel.ndim)))
    padded = _padded(setup, x, low, stride)
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

    def run(absolute: bool, narrow: bool, share: int) -> Array:
        import torch

        chosen = unique[:, ::share]
        # Numbers are copied once at most: the channels that are read, in the order they are read.
        plain = np.array_equal(chosen.reshape(-1), np.arange(padded.shape[1]))
        if (counts == counts[0]).all():
            order = np.argsort(group, kind="stable")
            sorted_ = np.array_equal(order, np.arange(len(order)))
            left = padded if plain else padded[:, chosen.reshape(-1)]
            right = kernel[:, ::share] if sorted_ else kernel[order, ::share]
            found = _convolve(
                _tensor(left, absolute, narrow),
                _tensor(right, absolute, narrow),
                stride,
                dilation,
                len(unique),
            )
            found = found.double().numpy()
            if sorted_:
                return found
            result = np.empty(size)
            result[:, order] = found
            return result
        left = _tensor(padded, absolute, narrow)
        right = _tensor(kernel[:, ::share], absolute, narrow)
        result = np.empty(size)
        for number, row in enumerate(chosen):
            mine = np.flatnonzero(group == number)
            part = _convolve(
                left[:, torch.from_numpy(row.copy())],
                right[torch.from_numpy(mine)],
                stride,
                dilation,
                1,
            )
            result[:, mine] = part.double().numpy()
        return result

    return run


def _tensor(array: Array, absolute: bool, narrow: bool) -> Any:
    """Return a tensor; in float32 where that will do, unless numbers leave its range."""
    import torch

    if narrow and array.size:
        largest = max(float(array.max()), -float(array.min()))
        if 1e-15 < largest < 1e15:
            array = array.astype(np.float32)
    if absolute:
        array = np.abs(array)
    array = np.ascontiguousarray(array)
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _convolve(
    x: Any, weight: Any, stride: tuple[int, ...], dilation: tuple[int, ...], groups: int
) -> Any:
    import torch

    none = [0] * len(stride)
    still = [2 + axis for axis, step in enumerate(dilation) if step == 0]
    if still:  # all taps of an axis read one place
        weight, dilation = weight.sum(still, keepdim=True), tuple(step or 1 for step in dilation)
    if x.dtype != weight.dtype:
        x, weight = x.double(), weight.double()
    return torch.ops.aten.convolution.default(
        x, weight, None, list(stride), none, list(dilation), False, none, groups
    )


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

    def run(absolute: bool, narrow: bool, share: int) -> Array:
        import torch

        none = [0] * setup.axes
        left, right = (
            _tensor(x[:, ::share], absolute, narrow),
            _tensor(weight[::share], absolute, narrow),
        )
        if left.dtype != right.dtype:
            left, right = left.double(), right.double()
        found = torch.ops.aten.convolution.default(
            left,
            right,
            None,
            list(setup.stride),
            none,
            list(setup.dilation),
            True,
            none,
            setup.groups,
        )
        sides: list[int] = []
        for axis in reversed(range(setup.axes)):
            low = setup.low[axis]
            sides += [-low, setup.size[axis] + low - found.shape[2 + axis]]
        return torch.nn.functional.pad(found, sides).double().numpy()

    return run
