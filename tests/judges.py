"""Outside judges: what a convolution is, said a second time and in another way.

Nothing here imports convtrace. Where `convtrace.geometry` computes the position that a tap reads,
the nested loops below never do: they write padding out as a longer line of positions and slide
the kernel over it, and a transposed convolution spreads every input over the outputs that it
reaches. All numbers are `Fraction`, so that nothing is rounded.

The second judge is PyTorch in float64. The third, `nearest`, rounds a fraction to a format.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Index = tuple[int, ...]


@dataclass(frozen=True)
class Settings:
    """A convolution without its numbers. Each tuple has one entry for each spatial axis."""

    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    output_padding: tuple[int, ...]
    groups: int = 1
    transposed: bool = False


@dataclass(frozen=True)
class Product:
    """One weight, and the input that it multiplies; None where the tap reads nothing."""

    weight: Index
    source: Index | None


def plain_axis(
    size: int, kernel: int, stride: int, padding: tuple[int, int], dilation: int
) -> list[list[int | None]]:
    """Slide a kernel over a padded line; the inputs under its taps, at each stop.

    Negative padding cuts the line.
    """
    low, high = padding
    line: list[int | None] = [None] * low + list(range(size)) + [None] * high
    line = line[max(-low, 0) : len(line) - max(-high, 0)]
    extent = dilation * (kernel - 1) + 1
    stops = range(0, len(line) - extent + 1, stride)
    return [line[stop : stop + extent : dilation] for stop in stops]


def transposed_axis(
    size: int, kernel: int, stride: int, crop: tuple[int, int], dilation: int, extra: int
) -> list[list[int | None]]:
    """Spread each input over the outputs that it reaches; the input behind each tap of each."""
    length = (size - 1) * stride + dilation * (kernel - 1) + 1 + extra
    landed: list[list[int | None]] = [[None] * kernel for _ in range(length)]
    for place in range(size):
        for tap in range(kernel):
            landed[place * stride + tap * dilation][tap] = place
    return landed[crop[0] : max(0, length - crop[1])]


class NestedLoops:
    """A convolution in plain loops.

    Args:
        x_shape: `(N, C_in, *spatial)`, or without `N`.
        weight_shape: `(C_out, C_in / groups, *kernel)`; transposed
            `(C_in, C_out / groups, *kernel)`.
        settings: The rest.
    """

    def __init__(self, x_shape: Sequence[int], weight_shape: Sequence[int], settings: Settings):
        self.settings = settings
        self.kernel = tuple(weight_shape[2:])
        self.samples = x_shape[0] if len(x_shape) == len(weight_shape) else None
        channels, *spatial = x_shape[-len(self.kernel) - 1 :]
        self.axes = [
            transposed_axis(size, k, settings.stride[a], settings.padding[a], settings.dilation[a],
                            settings.output_padding[a])
            if settings.transposed
            else plain_axis(size, k, settings.stride[a], settings.padding[a], settings.dilation[a])
            for a, (size, k) in enumerate(zip(spatial, self.kernel, strict=True))
        ]  # fmt: skip
        groups = settings.groups
        outputs = weight_shape[1] * groups if settings.transposed else weight_shape[0]
        # For every output channel, the pairs (input channel, first two positions of the weight).
        self.channels: list[list[tuple[int, Index]]] = []
        for group in range(groups):
            reads = [c for c in range(channels) if c * groups // channels == group]
            for inside in range(outputs // groups):
                output = len(self.channels)
                self.channels.append(
                    [
                        (c, (c, inside) if settings.transposed else (output, nth))
                        for nth, c in enumerate(reads)
                    ]
                )

    @property
    def shape(self) -> Index:
        """Shape of the output."""
        spatial = (len(self.channels), *(len(axis) for axis in self.axes))
        return spatial if self.samples is None else (self.samples, *spatial)

    def indices(self) -> Iterator[Index]:
        """Every output position."""
        return itertools.product(*map(range, self.shape))

    def products(self, index: Index) -> list[Product]:
        """The products of one output: input channel slowest, last kernel axis fastest."""
        sample = () if self.samples is None else index[:1]
        channel, *places = index[len(sample) :]
        taps = [axis[place] for axis, place in zip(self.axes, places, strict=True)]
        return [
            Product(
                (*weight, *kernel),
                None if None in reads else (*sample, source, *(r for r in reads if r is not None)),
            )
            for source, weight in self.channels[channel]
            for kernel in itertools.product(*map(range, self.kernel))
            for reads in [[axis[k] for axis, k in zip(taps, kernel, strict=True)]]
        ]

    def numbers(self, index: Index, x: NDArray[Any], weight: NDArray[Any]) -> list[Fraction]:
        """The value of each product of one output, 0 where a tap reads nothing."""
        return [
            Fraction(0)
            if product.source is None
            else Fraction(weight.item(product.weight)) * Fraction(x.item(product.source))
            for product in self.products(index)
        ]

    def value(
        self, index: Index, x: NDArray[Any], weight: NDArray[Any], bias: NDArray[Any] | None = None
    ) -> Fraction:
        """One output number."""
        channel = index[-len(self.kernel) - 1]
        offset = Fraction(0) if bias is None else Fraction(bias.item(channel))
        return sum(self.numbers(index, x, weight), offset)

    def channel_sums(self, index: Index, x: NDArray[Any], weight: NDArray[Any]) -> list[Fraction]:
        """Sum of the products of one output for each input channel that it reads."""
        numbers = self.numbers(index, x, weight)
        each = int(np.prod(self.kernel))
        return [sum(numbers[at : at + each], Fraction(0)) for at in range(0, len(numbers), each)]


def torch_convolution(
    x: NDArray[Any], weight: NDArray[Any], bias: NDArray[Any] | None, settings: Settings
) -> NDArray[np.float64]:
    """The whole output, by PyTorch in float64.

    PyTorch takes no uneven padding: there, the zeros are written out first, or, for a transposed
    convolution, the whole output is made and cut.
    """
    axes = weight.ndim - 2
    source, factors = (torch.from_numpy(np.asarray(a, dtype=np.float64)) for a in (x, weight))
    offset = None if bias is None else torch.from_numpy(np.asarray(bias, dtype=np.float64))
    shared = {"stride": settings.stride, "dilation": settings.dilation, "groups": settings.groups}
    even = all(low == high >= 0 for low, high in settings.padding)
    flat = [n for pair in reversed(settings.padding) for n in pair]
    functional = torch.nn.functional
    if not settings.transposed:
        convolution = (functional.conv1d, functional.conv2d, functional.conv3d)[axes - 1]
        if even:
            symmetric = tuple(low for low, _ in settings.padding)
            return convolution(source, factors, offset, padding=symmetric, **shared).numpy()
        return convolution(functional.pad(source, flat), factors, offset, **shared).numpy()
    convolution = (
        functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d
    )[axes - 1]  # fmt: skip
    if even:
        shared["padding"] = tuple(low for low, _ in settings.padding)
        shared["output_padding"] = settings.output_padding
        return convolution(source, factors, offset, **shared).numpy()
    whole = convolution(source, factors, None, **shared)
    longer = functional.pad(
        whole, [n for more in reversed(settings.output_padding) for n in (0, more)]
    )
    cut = functional.pad(longer, [-n for n in flat])
    return (cut if offset is None else cut + offset.reshape(-1, *[1] * axes)).numpy()


@dataclass(frozen=True)
class Format:
    """A binary floating-point format, as its documentation gives it."""

    precision: int
    smallest_exponent: int
    largest_exponent: int


FORMATS = {
    "float16": Format(11, -14, 15),
    "bfloat16": Format(8, -126, 127),
    "tf32": Format(11, -126, 127),
    "float32": Format(24, -126, 127),
    "float64": Format(53, -1022, 1023),
}


def nearest(value: Fraction, name: str) -> float:
    """Round a fraction to a format: to nearest, ties to even, infinite beyond the range."""
    fmt = FORMATS[name]
    if value == 0:
        return 0.0
    exponent = 0
    while abs(value) >= Fraction(2) ** (exponent + 1):
        exponent += 1
    while abs(value) < Fraction(2) ** exponent and exponent > fmt.smallest_exponent:
        exponent -= 1
    quantum = Fraction(2) ** (exponent - fmt.precision + 1)
    result = round(value / quantum) * quantum  # `round` takes the even one of two
    if abs(result) >= Fraction(2) ** (fmt.largest_exponent + 1):
        return float("inf") if value > 0 else float("-inf")
    return float(result)


def is_number_of(value: float, name: str) -> bool:
    """Whether a format holds a number without rounding it."""
    return Fraction(value) == Fraction(nearest(Fraction(value), name))
