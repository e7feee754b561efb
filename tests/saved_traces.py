"""Traces of every kind that a file has to hold, and the comparison of two receipts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnx_models import Builder, save
from torch import nn
from torch.nn import functional

import convtrace as ct
from convtrace.demo import DemoOptions, run_stack
from convtrace.models.digits import digit, digits


def _draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _traced(model: nn.Module, *inputs: torch.Tensor, **options: Any) -> ct.Trace:
    with torch.no_grad():
        return ct.trace(model.eval(), *inputs, **options)


class Block(nn.Module):
    """A residual block between a stem and a head, with whatever resamples and pools."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.conv1 = nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=2, padding_mode="reflect")
        self.conv2 = nn.Conv2d(4, 4, 3, padding="same")
        self.act = nn.GELU()
        self.up = nn.Upsample(scale_factor=2, mode="bilinear")
        self.cubic = nn.Upsample(size=(5, 7), mode="bicubic", align_corners=True)
        self.near = nn.Upsample(scale_factor=2)
        self.mean = nn.AvgPool2d(3, 1, 1, count_include_pad=False)
        self.back = nn.ConvTranspose2d(4, 4, 3, stride=2, padding=1, output_padding=1)
        self.norm = nn.GroupNorm(2, 4)
        self.last = nn.AdaptiveAvgPool2d(3)
        self.fc = nn.Linear(36, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(torch.relu_(self.bn(self.stem(x))))
        x = self.conv2(self.act(self.conv1(x))) + x
        x = self.back(self.mean(self.up(x)))
        x = self.near(self.cubic(functional.silu(self.norm(x))))
        gate = torch.sigmoid(x.mean((2, 3), keepdim=True))
        x = torch.maximum(x * gate, x.flip(-1))[:, :, ::2].contiguous()
        x = x.masked_fill(x > 1, 0.5).clamp(-1)
        x = torch.cat([x, x.amax(1, keepdim=True).expand_as(x)], 1)[:, 1:5]
        return self.fc(self.last(functional.pad(x, (1, 1))).flatten(1)).softmax(-1)


def block() -> ct.Trace:
    torch.manual_seed(3)
    return _traced(Block(), _draw(1, 3, 16, 24))


def one_layer(make: Callable[[], nn.Module], *shape: int) -> Callable[[], ct.Trace]:
    def made() -> ct.Trace:
        torch.manual_seed(0)
        return _traced(make(), _draw(*shape))

    return made


def three_d() -> ct.Trace:
    torch.manual_seed(0)
    layers = (nn.Conv3d(2, 3, 2, stride=(1, 2, 1), padding=1), nn.Tanh(), nn.AvgPool3d(2))
    return _traced(nn.Sequential(*layers, nn.MaxPool3d(2)), _draw(1, 2, 4, 6, 5))


def autocast() -> ct.Trace:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2))
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        return ct.trace(model.eval(), _draw(1, 2, 4, 4))


def nonfinite() -> ct.Trace:
    x = _draw(1, 2, 5, 5)
    x[0, 1, 2, 3], x[0, 0, 0, 0] = math.nan, math.inf
    torch.manual_seed(0)
    layers = (nn.Conv2d(2, 2, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Sigmoid(), nn.Upsample((3, 3)))
    return _traced(nn.Sequential(*layers), x)


def integers() -> ct.Trace:
    random = np.random.default_rng(0)
    x, w = random.integers(-9, 9, (1, 2, 4, 4)), random.integers(-9, 9, (3, 2, 2, 2))
    return ct.from_arrays(x.astype(np.int16), w.astype(np.int16), random.integers(0, 3, 3))


def unobserved() -> ct.Trace:
    return ct.from_arrays(_draw(1, 2, 4, 5), _draw(2, 1, 2, 2), stride=2, groups=2)


def backward() -> ct.Trace:
    torch.manual_seed(0)
    layers = (nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.GELU(), nn.MaxPool2d(2))
    more = (nn.Upsample(scale_factor=2, mode="bilinear"), nn.Sigmoid(), nn.Flatten())
    model = nn.Sequential(*layers, *more, nn.Linear(4 * 36, 2)).train()
    return ct.trace(model, _draw(2, 2, 6, 6), backward=True, loss=lambda y: y[:, 0].sum())


def quantized(folder: Path) -> ct.Trace:
    build, random = Builder(1), np.random.default_rng(0)
    x = random.normal(size=(1, 2, 5, 5)).astype(np.float32)
    scale = build.weight("scale", np.float32(0.05))
    zero = build.weight("zero", np.uint8(110))
    q = build.node("QuantizeLinear", "x", scale, zero, name="quantize")
    parts = [q, scale, zero, build.weight("w", random.integers(-99, 99, (3, 2, 3, 3), np.int8))]
    parts += [build.weight("ws", np.float32(0.02)), build.weight("wz", np.int8(3))]
    parts += [build.weight("ys", np.float32(0.1)), build.weight("yz", np.uint8(90))]
    parts.append(build.weight("b", random.integers(-999, 999, 3, np.int32)))
    y = build.node("QLinearConv", *parts, name="qconv", pads=[1, 1, 1, 1])
    y = build.node("DequantizeLinear", y, "ys", "yz", name="back")
    return ct.from_onnx(str(save(build.model({"x": x}, y), folder)), {"x": x})


def onnx_floats(folder: Path) -> ct.Trace:
    build = Builder(2)
    x = np.random.default_rng(0).normal(size=(1, 2, 6, 6)).astype(np.float32)
    y = build.norm(build.conv("x", "conv", 4, 2, 3, 3, pads=[1, 0, 1, 0]), "bn", 4)
    y = build.node("MaxPool", build.node("Relu", y), kernel_shape=[2, 2], strides=[2, 2])
    y = build.node("Transpose", build.node("GlobalAveragePool", y), perm=[0, 2, 3, 1])
    return ct.from_onnx(str(save(build.model({"x": x}, y), folder)), {"x": x})


TRACES: dict[str, Callable[[], ct.Trace]] = {
    "digits": lambda: _traced(digits(), digit()),
    "demo": lambda: run_stack(DemoOptions()),
    "block": block,
    "1-d": one_layer(lambda: nn.Conv1d(3, 2, 3, padding=1), 2, 3, 7),
    "unbatched": one_layer(lambda: nn.Conv2d(2, 2, 3), 2, 5, 5),
    "grouped": one_layer(lambda: nn.Conv2d(4, 6, 3, groups=2, dilation=2, padding=3), 1, 4, 6, 7),
    "transposed": one_layer(
        lambda: nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, groups=2, dilation=2), 1, 4, 4, 3
    ),
    "circular": one_layer(
        lambda: nn.Conv2d(1, 1, 3, padding=2, padding_mode="circular"), 1, 1, 4, 4
    ),
    "3-d": three_d,
    "float64": lambda: _traced(nn.Conv2d(2, 2, 2).double(), _draw(1, 2, 4, 4).double()),
    "autocast": autocast,
    "nonfinite": nonfinite,
    "integers": integers,
    "unobserved": unobserved,
    "backward": backward,
    "channels last": lambda: _traced(
        nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU()).to(memory_format=torch.channels_last),
        _draw(1, 2, 5, 5).to(memory_format=torch.channels_last),
    ),
}

FILES: dict[str, Callable[[Path], ct.Trace]] = {"quantized": quantized, "onnx": onnx_floats}


def places(trace: ct.Trace, count: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Draw positions in every tensor of a trace."""
    random = np.random.default_rng(0)
    given = {
        name: value.shape for name, value in (*trace.inputs.items(), *trace.parameters.items())
    }
    steps = {**trace.steps, **trace.gradients}
    for name, shape in {**given, **{name: step.shape for name, step in steps.items()}}.items():
        for _ in range(min(count if name in steps else 1, math.prod(shape))):
            yield name, tuple(int(random.integers(size)) for size in shape)


def assert_same_receipt(one: ct.Receipt, other: ct.Receipt) -> None:
    """Assert that two receipts agree in every field, to the last bit; NaN is equal to NaN."""
    for field in dataclasses.fields(ct.Receipt):
        left, right = getattr(one, field.name), getattr(other, field.name)
        where = f"{field.name} of {one.address}"
        if isinstance(left, np.ndarray):
            assert left.dtype == right.dtype, where
            np.testing.assert_array_equal(left, right, err_msg=where)
        elif field.name == "layout":
            for position in np.ndindex(one.products.shape):
                assert left.source(position) == right.source(position), where
                assert left.weight(position) == right.weight(position), where
            assert list(left.channels) == list(right.channels), where
        else:
            assert type(left) is type(right), where
            assert repr(left) == repr(right), where
