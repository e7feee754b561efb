"""One way to compute a convolution, right or wrong, that can be asked for single output numbers.

A `Setup` is the convolution of the reference plus whatever a candidate cause changes in it. Every
rearrangement is a map of positions (`Positions -> Positions`), so that a candidate costs nothing
before it is asked for a number, and the same maps serve a sample and the whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.mismatch.computing.stages import Stage, Sums
from convtrace.mismatch.computing.statistics import Statistics
from convtrace.mismatch.computing.taking import taken

Array = NDArray[Any]
Positions = tuple[Array, ...]
"""One integer array for each axis; they broadcast against each other."""

Map = Callable[[Positions, tuple[int, ...]], Positions]
"""Takes positions in a rearranged array and its shape; returns where those numbers came from."""

Op = Callable[[Array, Positions], Array]
"""Takes numbers and their positions; returns other numbers."""

BARE = (
    *("x", "weight", "stride", "low", "dilation", "size", "groups", "transposed", "modes", "fill"),
    *("filled", "reads", "x_maps", "x_ops", "w_maps", "w_ops"),
)
"""What bare sums follow from."""

Reads = Callable[[Array, Array, "Setup"], Array]
"""Takes output channels and the numbers of their terms' channels; returns input channels."""


@dataclass(frozen=True, eq=False)
class Setup:
    """A convolution, and what follows it.

    Attributes:
        x: Input, `(N, C_in, *spatial)`, float64.
        weight: Weights as the framework stores them, float64.
        bias: Bias `(C_out,)` or None. It is added by a stage.
        stride: One entry an axis. So with `low` and `dilation`.
        low: Padding before the first input; a transposed convolution crops by as much.
        size: Output positions on each spatial axis.
        groups: Number of groups.
        transposed: Whether the index law is that of the transposed convolution.
        modes: Padding mode of each axis.
        fill: Value of the padding where the mode is `zeros`.
        filled: Transposed only: whether the nearest input stands where none is met.
        reads: Which input channel a term reads; None follows the groups.
        x_maps: Rearrangements of the input, in the order they are made.
        x_ops: Changes of the input's numbers, in the same way. Padding is added after them.
        w_maps: Rearrangements of the weights.
        w_ops: Changes of the weights' numbers.
        stages: What follows the sum of products.
        y_maps: Rearrangements of the output.
        held: Format that operators store their results in for the next one; None where it is no
            narrower than what they compute in.
        known: Bare sums of some setup at all positions; they are this one's where both agree in all
            that sums follow from.
        spare: Padding after the last input of each axis that no window reaches, for its name only.
        seen: What the numbers of some arrays come to, of which `x` and `weight` may be two.
    """

    x: Array
    weight: Array
    bias: Array | None
    stride: tuple[int, ...]
    low: tuple[int, ...]
    dilation: tuple[int, ...]
    size: tuple[int, ...]
    groups: int = 1
    transposed: bool = False
    modes: tuple[str, ...] = ()
    fill: float = 0.0
    filled: bool = False
    reads: Reads | None = None
    x_maps: tuple[Map, ...] = ()
    x_ops: tuple[Op, ...] = ()
    w_maps: tuple[Map, ...] = ()
    w_ops: tuple[Op, ...] = ()
    stages: tuple[Stage, ...] = ()
    y_maps: tuple[Map, ...] = ()
    held: str | None = None
    known: Sums | None = None
    seen: tuple[Statistics, ...] = ()
    spare: tuple[int, ...] = ()

    @property
    def kernel(self) -> tuple[int, ...]:
        """Kernel size of each spatial axis."""
        return self.weight.shape[2:]

    @property
    def axes(self) -> int:
        """Number of spatial axes."""
        return len(self.stride)

    @property
    def channels_in(self) -> int:
        """C_in."""
        return self.x.shape[1]

    @property
    def channels_out(self) -> int:
        """C_out."""
        return self.weight.shape[1] * self.groups if self.transposed else self.weight.shape[0]

    @property
    def terms(self) -> int:
        """Channels that one output number reads: C_in / groups."""
        return self.weight.shape[0] // self.groups if self.transposed else self.weight.shape[1]

    @property
    def extent(self) -> tuple[int, ...]:
        """Elements from the first to the last tap of each axis."""
        return tuple(d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output."""
        return (self.x.shape[0], self.channels_out, *self.size)

    def but(self, **changes: Any) -> Setup:
        """Return this setup with some fields changed."""
        # `dataclasses.replace` takes as long as a window's products; this is called as often.
        other = object.__new__(Setup)
        other.__dict__.update(self.__dict__, **changes)
        return other

    def high(self) -> tuple[int, ...]:
        """Padding after the last input that the output size implies; negative where it is cut."""
        sizes = self.x.shape[2:]
        if self.transposed:
            return tuple(
                (n - 1) * s + e - p - o
                for n, s, e, p, o in zip(
                    sizes, self.stride, self.extent, self.low, self.size, strict=True
                )
            )
        return tuple(
            (o - 1) * s + e - n - p
            for n, s, e, p, o in zip(
                sizes, self.stride, self.extent, self.low, self.size, strict=True
            )
        )

    @property
    def statistics(self) -> Statistics:
        """What the input's numbers come to, before they are changed."""
        return self.about(self.x)

    def about(self, array: Array) -> Statistics:
        """Return what the numbers of an array come to; they are looked at once where it is seen."""
        return next((one for one in self.seen if one.array is array), None) or Statistics(array)

    @property
    def sums(self) -> Sums | None:
        """Bare sums at all positions, where they are known."""
        return self.known if self.known is not None and self.sums_as(self.known.setup) else None

    def sums_as(self, other: Setup) -> bool:
        """Whether bare sums are those of another setup, as can be told without computing them."""
        rows = ((getattr(self, name), getattr(other, name)) for name in BARE)
        return all(a is b or (not isinstance(a, np.ndarray) and a == b) for a, b in rows)

    # Single numbers ------------------------------------------------------------------------------

    def origin(self, at: Positions) -> Positions:
        """Follow output positions back through the rearrangements of the output."""
        for step in reversed(self.y_maps):
            at = step(at, self.shape)
        return at

    def read(self, at: Positions) -> Array:
        """Return what the taps read, `(samples, C_in / groups * taps)`.

        Args:
            at: Output positions before rearrangement, each `(samples,)`.
        """
        values, index, valid = self.gather(at)
        for op in self.x_ops:
            values = op(values, index)
        return self.laid(values, valid)

    def gather(self, at: Positions) -> tuple[Array, Positions, Array | None]:
        """Return the input's numbers before they are changed, their positions, which are met."""
        index, valid = self.reached(at)
        return taken(self.x, self.moved(index)), index, valid

    def reached(self, at: Positions) -> tuple[Positions, Array | None]:
        """Return the positions of the rearranged input that taps read, and which are met."""
        n, c, *places = at
        samples, axes = len(n), self.axes
        channel = np.arange(self.terms)[None, :]
        channels = (self.reads or by_groups)(c[:, None], channel, self)
        index: list[Array] = [_spread(n[:, None], axes), _spread(channels, axes)]
        valid: Array | None = None
        for axis, place in enumerate(places):
            sources, met = self.sources(axis, place)
            outer = [samples, 1] + [1] * axes
            outer[axis + 2] = sources.shape[1]
            index.append(sources.reshape(outer))
            if met is not None:
                valid = met.reshape(outer) if valid is None else valid & met.reshape(outer)
        return tuple(index), valid

    def moved(self, index: Positions) -> Positions:
        """Follow positions of the rearranged input back to where its numbers came from."""
        for step in reversed(self.x_maps):
            index = step(index, self.x.shape)
        return index

    def laid(self, values: Array, valid: Array | None) -> Array:
        """Lay the padding around numbers of `gather`."""
        shape = (len(values), self.terms, *self.kernel)
        if valid is not None and not valid.all():
            values = np.where(valid, values, self.fill)
        if values.shape != shape:
            values = np.broadcast_to(values, shape)
        return values.reshape(len(values), -1)

    def factors(self, c: Array) -> Array:
        """Return the weights of output channels, `(samples, C_in / groups * taps)`."""
        values = self.weight_at(self.taps(c))
        return np.broadcast_to(values, (len(c), self.terms, *self.kernel)).reshape(len(c), -1)

    def taps(self, c: Array) -> Positions:
        """Return the positions of output channels' weights in the rearranged weights."""
        axes = self.axes
        term = np.arange(self.terms)[None, :]
        taps: list[Array] = []
        for axis, count in enumerate(self.kernel):
            shape = [1, 1] + [1] * axes
            shape[axis + 2] = count
            taps.append(np.arange(count).reshape(shape))
        if self.transposed:
            first, second = by_groups(c[:, None], term, self), c[:, None] % self.weight.shape[1]
        else:
            first, second = c[:, None], term
        return (_spread(first, axes), _spread(second, axes), *taps)

    def input_at(self, index: Positions) -> Array:
        """Return numbers of the rearranged and changed input."""
        values = taken(self.x, self.moved(index))
        for op in self.x_ops:
            values = op(values, index)
        return values

    def weight_at(self, index: Positions) -> Array:
        """Return numbers of the rearranged and changed weights."""
        values = taken(self.weight, self.turned(index))
        for op in self.w_ops:
            values = op(values, index)
        return values

    def turned(self, index: Positions) -> Positions:
        """Follow positions of the rearranged weights back to where their numbers came from."""
        for step in reversed(self.w_maps):
            index = step(index, self.weight.shape)
        return index

    def sources(self, axis: int, place: Array) -> tuple[Array, Array | None]:
        """Apply the index law.

        Args:
            axis: Spatial axis.
            place: Output positions, `(samples,)`.

        Returns:
            Input positions `(samples, taps)`, all inside the input, and which of them are met;
            None where all are.
        """
        size = self.x.shape[2 + axis]
        stride, dilation = self.stride[axis], self.dilation[axis]
        taps = np.arange(self.kernel[axis])[None, :]
        met: Array | None = None
        if self.transposed:
            position = place[:, None] + self.low[axis] - taps * dilation
            source = position // stride
            if not self.filled and stride > 1:
                met = position % stride == 0
        else:
            source = place[:, None] * stride - self.low[axis] + taps * dilation
        return into(source, size, self.modes[axis], met)

    def linear(self, at: Positions) -> Sums:
        """Compute the bare sums of products at output positions before rearrangement."""
        return added(self.read(at), self.factors(at[1]), at, self)

    def sample(self, at: Positions) -> Sums:
        """Compute output numbers.

        Args:
            at: Output positions, one array `(samples,)` for each axis.
        """
        return self.finish(self.linear(self.origin(at)))

    def finish(self, sums: Sums) -> Sums:
        """Apply the stages to bare sums."""
        for stage in self.stages:
            sums = stage(sums)
        return sums


def added(read: Array, factors: Array, at: Positions, setup: Setup) -> Sums:
    """Return bare sums of what taps read times the weights, both `(samples, terms)`."""
    with np.errstate(all="ignore"):
        products = read * factors
        return Sums(products.sum(1), np.abs(products, out=products).sum(1), at, setup)


def by_groups(c: Array, term: Array, setup: Setup) -> Array:
    """Return the input channels that output channels read, as groups cut them."""
    each = setup.channels_out // setup.groups
    return (c // each) * setup.terms + term


def into(
    source: Array, size: int, mode: str, met: Array | None = None
) -> tuple[Array, Array | None]:
    """Bring positions inside an axis as a padding mode does; tell which are met.

    Example:
        >>> into(np.array([-2, -1, 0]), 4, "reflect")[0].tolist()
        [2, 1, 0]
    """
    if source.size and source.min() >= 0 and source.max() < size:
        return source, met
    if mode == "circular":
        return source % size, met
    if mode == "replicate":
        return np.clip(source, 0, size - 1), met
    if mode in ("reflect", "symmetric"):
        edge = mode == "symmetric"
        period = 2 * size if edge else max(2 * size - 2, 1)
        wrapped = source % period
        return np.where(wrapped < size, wrapped, period - edge - wrapped), met
    inside = (source >= 0) & (source < size)
    return np.clip(source, 0, size - 1), inside if met is None else met & inside


def _spread(array: Array, axes: int) -> Array:
    return array.reshape(array.shape + (1,) * axes)
