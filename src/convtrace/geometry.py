"""The index law: which input positions a window reads, in pure integers.

Along one axis, for output position `o` and kernel tap `k`:

    convolution             i = o*stride - padding_low + k*dilation
    transposed convolution  i = (o + padding_low - k*dilation) / stride, only where it divides

An `i` outside `[0, size)` is padding. An N-d window is the product of its axes, so everything here
is about one axis at a time. The two lines are each other's inverse: the outputs that use input `i`
of a convolution are what a transposed convolution reads, and the other way round.

Sources:
    Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", arXiv:1603.07285.
    The kernel is not flipped: PyTorch documents cross-correlation for `Conv2d`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple


class Miss(Enum):
    """Why a tap reads no input."""

    PADDING = "padding"
    """The position lies outside the input."""
    GAP = "gap"
    """Transposed only: the position falls between two inputs (the division leaves a rest)."""


@dataclass(frozen=True, slots=True)
class Axis:
    """The settings of a convolution along one axis, all in elements.

    Attributes:
        kernel: Number of taps, kH or kW.
        stride: Output step of a convolution; input step of a transposed one. At least 1.
        padding: Elements of padding before the first and after the last input. A transposed
            convolution crops its output by as much instead.
        dilation: Distance between two taps. At least 1.
        transposed: Whether the axis belongs to a transposed convolution.
        output_padding: Transposed only: positions added after the last output.
    """

    kernel: int
    stride: int = 1
    padding: tuple[int, int] = (0, 0)
    dilation: int = 1
    transposed: bool = False
    output_padding: int = 0

    @property
    def extent(self) -> int:
        """Elements from the first to the last tap: `dilation*(kernel - 1) + 1`."""
        return self.dilation * (self.kernel - 1) + 1


class Tap(NamedTuple):
    """One kernel tap at one output position, along one axis.

    Attributes:
        kernel: Position in the kernel.
        source: Position in the input, or None where the tap reads nothing.
        miss: Why `source` is None.
        numerator: What the law computes before the division by the stride (transposed), or the
            position itself, before the test against the input's size.
    """

    kernel: int
    source: int | None
    miss: Miss | None
    numerator: int


def output_size(axis: Axis, size: int) -> int:
    """Count the output positions along one axis.

    Args:
        axis: Settings of the convolution.
        size: Input positions, before padding.

    Returns:
        The number of output positions; zero or negative where the kernel does not fit.

    Example:
        >>> output_size(Axis(kernel=3, stride=2, padding=(1, 1)), 7)
        4
        >>> output_size(Axis(kernel=3, stride=2, padding=(1, 1), transposed=True), 4)
        7
    """
    low, high = axis.padding
    if axis.transposed:
        return (size - 1) * axis.stride - low - high + axis.extent + axis.output_padding
    return (size + low + high - axis.extent) // axis.stride + 1


def output_formula(axis: Axis, size: int) -> str:
    """Write `output_size` with its numbers filled in.

    Example:
        >>> output_formula(Axis(kernel=3, stride=2, padding=(1, 1)), 7)
        '⌊(7 + 1 + 1 − 1·(3 − 1) − 1) / 2⌋ + 1 = 4'
        >>> output_formula(Axis(kernel=3, stride=2, padding=(1, 1), transposed=True), 4)
        '(4 − 1)·2 − 1 − 1 + 1·(3 − 1) + 0 + 1 = 7'
    """
    low, high = axis.padding
    result = str(output_size(axis, size)).replace("-", "−")
    if axis.transposed:
        return (
            f"({size} − 1)·{axis.stride} − {low} − {high} + {axis.dilation}·({axis.kernel} − 1)"
            f" + {axis.output_padding} + 1 = {result}"
        )
    return (
        f"⌊({size} + {low} + {high} − {axis.dilation}·({axis.kernel} − 1) − 1)"
        f" / {axis.stride}⌋ + 1 = {result}"
    )


def tap(axis: Axis, size: int, output: int, kernel: int) -> Tap:
    """Find what one tap reads.

    Args:
        axis: Settings of the convolution.
        size: Input positions, before padding.
        output: Output position, counted from 0.
        kernel: Kernel position, counted from 0.

    Example:
        >>> tap(Axis(kernel=3, padding=(1, 1)), size=5, output=0, kernel=0).miss
        <Miss.PADDING: 'padding'>
    """
    low = axis.padding[0]
    if axis.transposed:
        numerator = output + low - kernel * axis.dilation
        source, rest = divmod(numerator, axis.stride)
        if rest:
            return Tap(kernel, None, Miss.GAP, numerator)
    else:
        numerator = source = output * axis.stride - low + kernel * axis.dilation
    if not 0 <= source < size:
        return Tap(kernel, None, Miss.PADDING, numerator)
    return Tap(kernel, source, None, numerator)


def taps(axis: Axis, size: int, output: int) -> tuple[Tap, ...]:
    """List what every tap of one output position reads, first tap first.

    Example:
        >>> [tap.source for tap in taps(Axis(kernel=3, padding=(1, 1)), size=5, output=0)]
        [None, 0, 1]
        >>> [tap.source for tap in taps(Axis(kernel=3, stride=2, transposed=True), 4, 2)]
        [1, None, 0]
    """
    return tuple(tap(axis, size, output, kernel) for kernel in range(axis.kernel))


def readers(axis: Axis, outputs: int, source: int) -> tuple[tuple[int, int], ...]:
    """List the (output position, kernel tap) pairs that read one input position.

    Args:
        axis: Settings of the convolution.
        outputs: Number of output positions.
        source: Input position, counted from 0.

    Example:
        >>> readers(Axis(kernel=2), outputs=2, source=1)
        ((1, 0), (0, 1))
    """
    inverse = Axis(axis.kernel, axis.stride, axis.padding, axis.dilation, not axis.transposed)
    return tuple(
        (found.source, found.kernel)
        for found in taps(inverse, outputs, source)
        if found.source is not None
    )


def input_group(output_channel: int, channels_out: int, channels_in: int, groups: int) -> range:
    """List the input channels that one output channel reads.

    Args:
        output_channel: Output channel `c`, counted from 0.
        channels_out: C_out.
        channels_in: C_in.
        groups: Number of groups; it divides both channel counts.

    Returns:
        The channels of group `c // (C_out / groups)`.

    Example:
        >>> input_group(3, channels_out=4, channels_in=6, groups=2)
        range(3, 6)
    """
    each = channels_in // groups
    group = output_channel // (channels_out // groups)
    return range(group * each, (group + 1) * each)
