"""A stack of 2-d convolutions of any size, filled with weights that a reader can follow.

PyTorch is imported when a stack is built; its settings and its script need none.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

WEIGHTS = ("snippet", "random", "seed", "identity", "sobel", "blur", "sharpen", "ones")
"""What kernels can hold.

- `snippet`: one constant for each kernel, see `SNIPPET_CONSTANTS`.
- `random`: whole numbers from -3 to 3. `seed`: as PyTorch draws them for a new layer.
- `identity`: each output channel copies one input channel.
- `sobel`: edges, left to right in output channels 0, 2, …, top to bottom in the others; 3 x 3.
- `sharpen`: five times the middle minus its four neighbours; 3 x 3.
- `blur`: a weighted mean. `ones`: a plain sum.

The last four are the same for every input channel. Biases are 1, 2, 3, … by output channel, except
where `random` and `seed` draw them.
"""

SNIPPET_CONSTANTS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""The kernel from input channel `i` to output channel `o` is filled with constant number
`(2*o + i) % 5`. For 2 x 2 channels that is 0.25 and 0.5, then 1 and 2. All are powers of two, so
that float32 holds every product exactly."""

SOBEL = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))
"""Left to right edges; its transpose answers to top to bottom edges."""

SHARPEN = ((0.0, -1.0, 0.0), (-1.0, 5.0, -1.0), (0.0, -1.0, 0.0))

LARGEST_RANDOM = 3
"""Random weights are whole numbers from -3 to 3."""


@dataclass(frozen=True, slots=True)
class Layer:
    """The settings of one `nn.Conv2d` or `nn.ConvTranspose2d`, square in rows and columns.

    Attributes:
        in_channels: `C_in`.
        out_channels: `C_out`.
        kernel_size: `kH` and `kW`.
        stride: Elements from one window to the next.
        padding: Rows and columns of zeros on every side.
        dilation: Elements from one tap to the next.
        groups: Number of groups that the channels are cut into.
        bias: Whether there is a bias.
        transposed: Whether it is a `ConvTranspose2d`.
    """

    in_channels: int
    out_channels: int
    kernel_size: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1
    bias: bool = False
    transposed: bool = False

    @property
    def class_name(self) -> str:
        """Name of the class in `torch.nn`."""
        return "ConvTranspose2d" if self.transposed else "Conv2d"

    @property
    def settings(self) -> dict[str, int | bool]:
        """Keyword arguments that differ from PyTorch's own defaults; the kernel size always."""
        settings: dict[str, int | bool] = {"kernel_size": self.kernel_size}
        for name, usual in (("stride", 1), ("padding", 0), ("dilation", 1), ("groups", 1)):
            value = getattr(self, name)
            if value != usual:
                settings[name] = value
        if not self.bias:
            settings["bias"] = False
        return settings

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """Shape of the weight, `(C_out, C_in / groups, kH, kW)`; the first two swap if transposed.

        The transposed weight is `(C_in, C_out / groups, kH, kW)`.
        """
        first, second = self.in_channels, self.out_channels
        if not self.transposed:
            first, second = second, first
        return first, second // self.groups, self.kernel_size, self.kernel_size

    @property
    def call(self) -> str:
        """The expression that makes the layer.

        Example:
            >>> Layer(2, 4, kernel_size=3, padding=1).call
            'nn.Conv2d(2, 4, kernel_size=3, padding=1, bias=False)'
        """
        settings = "".join(f", {name}={value}" for name, value in self.settings.items())
        return f"nn.{self.class_name}({self.in_channels}, {self.out_channels}{settings})"


def binomial_row(size: int) -> list[float]:
    """Return the row of Pascal's triangle with `size` numbers, divided by its sum.

    Example:
        >>> binomial_row(3)
        [0.25, 0.5, 0.25]
    """
    return [math.comb(size - 1, place) / 2 ** (size - 1) for place in range(size)]


def snippet_constant(output: int, channel: int) -> float:
    """Return the constant of the kernel from one input channel to one output channel.

    Example:
        >>> [[snippet_constant(o, i) for i in range(2)] for o in range(2)]
        [[0.25, 0.5], [1.0, 2.0]]
    """
    return SNIPPET_CONSTANTS[(2 * output + channel) % len(SNIPPET_CONSTANTS)]


def build_stack(layers: Sequence[Layer], weights: str, seed: int) -> nn.Sequential:
    """Build the network; its modules are called `conv1`, `conv2` and so on.

    PyTorch's random state is seeded and moves on; fork it where that matters.

    Args:
        layers: The layers from bottom to top.
        weights: One of `WEIGHTS`.
        seed: Seed of PyTorch's random numbers, for `random` and `seed`.
    """
    import torch
    from torch import nn

    torch.manual_seed(seed)
    modules: OrderedDict[str, nn.Module] = OrderedDict(
        (
            f"conv{number}",
            getattr(nn, layer.class_name)(layer.in_channels, layer.out_channels, **layer.settings),
        )
        for number, layer in enumerate(layers, start=1)
    )
    if weights != "seed":
        torch.manual_seed(seed)
        for layer, module in zip(layers, modules.values(), strict=True):
            _fill(module, layer, weights)
    return nn.Sequential(modules)


def _fill(module: nn.Module, layer: Layer, weights: str) -> None:
    """Fill the weight and the bias of one layer; the script of `render.code` does the same."""
    import torch
    from torch import nn

    weight, bias = module.get_parameter("weight"), module.bias
    # A transposed layer's weight has its input channels first.
    kernels = weight.transpose(0, 1) if layer.transposed else weight
    if weights == "snippet":
        outputs, inputs = kernels.shape[:2]
        rows = [[snippet_constant(o, i) for i in range(inputs)] for o in range(outputs)]
        kernels.copy_(torch.tensor(rows)[:, :, None, None].expand_as(kernels))
    elif weights == "random":
        weight.copy_(torch.randint(-LARGEST_RANDOM, LARGEST_RANDOM + 1, weight.shape))
    elif weights == "identity":
        nn.init.dirac_(weight, layer.groups)
    elif weights == "sobel":
        kernels[0::2] = torch.tensor(SOBEL)
        kernels[1::2] = torch.tensor(SOBEL).T
    elif weights == "sharpen":
        weight.copy_(torch.tensor(SHARPEN).expand_as(weight))
    elif weights == "blur":
        row = torch.tensor(binomial_row(layer.kernel_size))
        weight.copy_(torch.outer(row, row).expand_as(weight))
    else:
        weight.fill_(1)
    if isinstance(bias, nn.Parameter):
        if weights == "random":
            bias.copy_(torch.randint(-LARGEST_RANDOM, LARGEST_RANDOM + 1, bias.shape))
        else:
            bias.copy_(torch.arange(1, layer.out_channels + 1))
