"""Receipts for the tests of the text renderer: the same on every machine.

Sums that PyTorch computes here are exact in any order of addition. Where rounding is the subject,
the observed number is written down.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.nn import functional

import convtrace as ct


@dataclass(frozen=True)
class Case:
    """One number of one convolution.

    Attributes:
        x, w, b: Input, weight and bias.
        at: Position of the number.
        settings: Settings of the convolution.
        observed: What the runtime is said to have returned; None runs PyTorch.
        alone: Whether nothing was observed.
        limit: Most terms to show.
    """

    x: torch.Tensor
    w: torch.Tensor
    at: tuple[int, ...]
    b: torch.Tensor | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    observed: float | None = None
    alone: bool = False
    limit: int | None = 64

    @property
    def function(self) -> Callable[..., torch.Tensor]:
        name = "conv_transpose" if "output_padding" in self.settings else "conv"
        return getattr(functional, f"{name}{self.w.dim() - 2}d")

    def receipt(self) -> ct.Receipt:
        """Explain the number."""
        if self.observed is None and not self.alone:

            def conv(x: torch.Tensor) -> torch.Tensor:
                return self.function(x, self.w, self.b, **self.settings)

            trace = ct.trace(conv, self.x)
            return trace.why(next(iter(trace.steps)), self.at)
        settings = dict(self.settings)
        settings["transposed"] = "output_padding" in settings
        observed = None
        if self.observed is not None:
            shape = self.function(self.x.double(), self.w.double(), None, **self.settings).shape
            observed = torch.full(shape, self.observed).to(self.x.dtype)
        trace = ct.from_arrays(self.x, self.w, self.b, observed=observed, **settings)
        return trace.why(next(iter(trace.steps)), self.at)

    def judge(self) -> tuple[float, np.ndarray, np.ndarray]:
        """Let PyTorch's derivatives say, in float64, what the number is made of.

        Returns:
            The number, and for each kernel number that it uses the input it meets and the
            product, both of shape `(channels, *kernel)`.
        """
        x = self.x.double().requires_grad_()
        w = self.w.double().requires_grad_()
        b = None if self.b is None else self.b.double()
        number = self.function(x, w, b, **self.settings)[self.at]
        (met,) = torch.autograd.grad(number, w)
        channel = self.at[-(self.w.dim() - 2) - 1]
        if "output_padding" in self.settings:
            met, used = met[:, channel], w[:, channel]
        else:
            met, used = met[channel], w[channel]
        return number.item(), met.numpy(), (met * used).detach().numpy()


def counting(*shape: int, by: float = 1.0, start: float = 0.0) -> torch.Tensor:
    """Count through a tensor."""
    size = int(np.prod(shape))
    return (torch.arange(size, dtype=torch.float32) + start).reshape(shape) / by


def scattered(*shape: int, by: float) -> torch.Tensor:
    """Fill a tensor with numbers that look random, and are not."""
    places = torch.arange(int(np.prod(shape)), dtype=torch.float32)
    return ((places * 7919 % 1009) - 504).reshape(shape) / by


def demo() -> Case:
    kernel = torch.tensor([[0.25, 0.5], [1.0, 2.0]])[:, :, None, None].expand(2, 2, 2, 2)
    below = functional.conv2d(counting(1, 2, 3, 3), kernel)
    return Case(below, kernel.contiguous(), (0, 0, 0, 0))


def with_nan() -> Case:
    x = counting(1, 2, 3, 3)
    x[0, 1, 1, 1], x[0, 0, 0, 0] = torch.nan, torch.inf
    return Case(x, torch.full((1, 2, 2, 2), 0.5), (0, 0, 0, 0))


CASES: dict[str, Case] = {
    "demo": demo(),
    "padding_stride_dilation": Case(
        counting(1, 1, 7, 7),
        counting(1, 1, 3, 3, start=-4),
        (0, 0, 0, 1),
        torch.tensor([0.5]),
        {"stride": 2, "padding": 1, "dilation": 2},
    ),
    "grouped": Case(
        counting(1, 6, 3, 3, by=2),
        counting(4, 3, 2, 2, by=8, start=-20),
        (0, 3, 1, 1),
        counting(4, by=4),
        {"groups": 2},
    ),
    "transposed": Case(
        counting(1, 2, 3, 3),
        counting(2, 1, 3, 3),
        (0, 0, 5, 3),
        None,
        {"stride": 2, "padding": 1, "output_padding": 1},
    ),
    "one_d": Case(
        counting(1, 2, 5), counting(1, 2, 3, by=4, start=-2), (0, 0, 4), None, {"padding": 1}
    ),
    "three_d": Case(counting(1, 2, 3, 3, 3), counting(1, 2, 2, 2, 2, by=4), (0, 0, 1, 0, 1)),
    "pointwise": Case(counting(1, 3, 2, 2), counting(2, 3, 1, 1, by=2), (0, 1, 1, 0)),
    "unbatched": Case(counting(2, 3, 3), counting(1, 2, 2, 2, by=4), (0, 1, 0)),
    "thirds": Case(
        scattered(1, 2, 5, 5, by=700),
        scattered(2, 2, 3, 3, by=900),
        (0, 1, 0, 2),
        torch.tensor([0.1, 0.2]),
        {"padding": 1},
        observed=-0.33118576,
    ),
    "tenths": Case(
        counting(1, 1, 3, 3),
        torch.full((1, 1, 2, 2), 0.1),
        (0, 0, 0, 0),
        torch.tensor([0.3]),
        alone=True,
    ),
    "cut_channels": Case(
        scattered(1, 512, 4, 4, by=700),
        scattered(2, 512, 3, 3, by=40000),
        (0, 1, 0, 2),
        torch.tensor([0.1, 0.2]),
        {"padding": 1},
        alone=True,
    ),
    "cut_terms": Case(
        scattered(1, 2, 12, 12, by=700),
        scattered(1, 2, 11, 11, by=900),
        (0, 0, 1, 1),
        alone=True,
        limit=12,
    ),
    "everything": Case(
        scattered(1, 2, 3, 3, by=700),
        scattered(1, 2, 2, 2, by=900),
        (0, 0, 1, 0),
        alone=True,
        limit=None,
    ),
    "nan": with_nan(),
    "mismatch": Case(
        counting(1, 1, 3, 3), torch.full((1, 1, 2, 2), 0.25), (0, 0, 0, 0), observed=2.5
    ),
    "int8_wraps": Case(
        counting(1, 1, 3, 3).to(torch.int8) * 10,
        torch.full((1, 1, 2, 2), 3, dtype=torch.int8),
        (0, 0, 0, 0),
        observed=-16,
    ),
    "bfloat16": Case(
        scattered(1, 1, 3, 3, by=700).bfloat16(),
        scattered(1, 1, 2, 2, by=900).bfloat16(),
        (0, 0, 1, 1),
        observed=0.1015625,
    ),
    "float64": Case(
        scattered(1, 1, 3, 3, by=1).double() / 700,
        scattered(1, 1, 2, 2, by=1).double() / 900,
        (0, 0, 1, 1),
        alone=True,
    ),
}
