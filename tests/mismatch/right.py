"""Right convolutions in several precisions, summed in several orders: none of them is a bug."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mismatch.wrong import Layer, Question, layer

SOUND = ("exact", "rounding", "nonfinite")
Row = tuple[str, Question, tuple[str, ...]]


def _cast(right: Layer, dtype: torch.dtype) -> Layer:
    bias = None if right.bias is None else right.bias.to(dtype)
    return Layer(right.x.to(dtype), right.weight.to(dtype), bias, right.settings, right.transposed)


def rows() -> Iterator[Row]:
    """Yield name, question and the verdicts that are right."""
    layers = {
        "plain": layer(padding=1),
        "strided": layer(16, 8, (3, 3), (13, 12), stride=2, padding=1),
        "grouped": layer(8, 8, groups=4),
        "depthwise": layer(8, 8, groups=8, padding=1),
        "one dimension": layer(5, 6, (7,), (40,), padding=3),
        "three dimensions": layer(3, 4, (3, 3, 3), (6, 6, 6), padding=1),
        "transposed": layer(4, 6, (4, 4), (6, 7), transposed=True, stride=2, padding=1),
        "pointwise": layer(64, 16, (1, 1), (7, 7)),
        "deep": layer(128, 8, (3, 3), (6, 6), n=1),
    }
    for name, right in layers.items():
        for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
            one = _cast(right, dtype)
            yield f"{name} in {dtype}", one.ask(one.run()), SOUND
        low = _cast(right, torch.bfloat16)
        yield f"{name}: bfloat16 output of float32 arrays", right.ask(low.run()), SOUND
        yield f"{name}: bfloat16, cast back", right.ask(low.run().float()), SOUND
        half = _cast(right, torch.float16)
        yield f"{name}: float16, cast back", right.ask(half.run().float()), SOUND
        double = _cast(right, torch.float64)
        yield f"{name}: float32 output of float64 arrays", double.ask(right.run()), SOUND
        yield f"{name}: exact", right.ask(double.run().float()), SOUND
        yield f"{name}: TF32", right.ask(_tf32(right)), SOUND
    yield from _orders()
    yield from _numbers()


def _tf32(right: Layer) -> Tensor:
    def cut(t: Tensor) -> Tensor:
        bits = t.contiguous().view(torch.int32)
        return ((bits + 0x1000) & ~0x1FFF).view(torch.float32)

    return right.run(x=cut(right.x), weight=cut(right.weight))


def _orders() -> Iterator[Row]:
    """Sums one after the other, backwards, in pairs, and by FFT."""
    right = layer(16, 6, (3, 3), (8, 8), n=1, bias=False)
    columns = F.unfold(right.x, 3)[0].numpy()
    products = right.weight.reshape(6, -1, 1).numpy() * columns[None]  # (C_out, terms, places)
    for name, terms in (("in order", products), ("backwards", products[:, ::-1])):
        total = np.cumsum(terms, axis=1, dtype=np.float32)[:, -1]
        yield f"added {name}", right.ask(torch.from_numpy(total).reshape(1, 6, 6, 6)), SOUND
    total = products.sum(1, dtype=np.float32)
    yield "added in pairs", right.ask(torch.from_numpy(total).reshape(1, 6, 6, 6)), SOUND
    spectrum = torch.fft.rfft2(right.x, s=(10, 10))
    kernel = torch.fft.rfft2(right.weight.flip(2, 3), s=(10, 10))
    out = torch.fft.irfft2((spectrum[:, None] * kernel[None]).sum(2), s=(10, 10))
    yield "by FFT", right.ask(out[:, :, 2:8, 2:8].contiguous()), SOUND
    constant = Layer(
        torch.full((1, 64, 8, 8), 0.1), torch.full((4, 64, 3, 3), 0.1), None, {}, False
    )
    columns = F.unfold(constant.x, 3)[0].numpy()
    products = constant.weight.reshape(4, -1, 1).numpy() * columns[None]
    total = np.cumsum(products, axis=1, dtype=np.float32)[:, -1]
    mine = torch.from_numpy(total).reshape(1, 4, 6, 6)
    yield "one constant added over and over", constant.ask(mine), SOUND
    positive = layer(64, 4, (3, 3), (8, 8), n=1, bias=False)
    positive = Layer(positive.x.relu(), positive.weight.abs(), None, {})
    columns = F.unfold(positive.x, 3)[0].numpy()
    products = positive.weight.reshape(4, -1, 1).numpy() * columns[None]
    total = np.cumsum(products, axis=1, dtype=np.float32)[:, -1]
    mine = torch.from_numpy(total).reshape(1, 4, 6, 6)
    yield "positive numbers added in order", positive.ask(mine), SOUND
    half = np.cumsum(products.astype(np.float16), axis=1, dtype=np.float16)[:, -1]
    mine = torch.from_numpy(half.astype(np.float32)).reshape(1, 4, 6, 6)
    yield "accumulated in float16", positive.ask(mine), SOUND


def _numbers() -> Iterator[Row]:
    """Integers, large and small numbers, NaN where it belongs."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randint(-128, 128, (2, 3, 8, 8), generator=draw)
    w = torch.randint(-128, 128, (4, 3, 3, 3), generator=draw)
    mine = F.conv2d(x.double(), w.double()).to(torch.int32)
    yield "integers", Question(mine, (x.to(torch.int8), w.to(torch.int8))), SOUND
    small = layer(padding=1)
    tiny = Layer(small.x * 1e-30, small.weight, None, small.settings)
    yield "tiny numbers", tiny.ask(tiny.run()), SOUND
    huge = Layer(small.x * 1e18, small.weight * 1e15, None, small.settings)
    yield "huge numbers", huge.ask(huge.run()), SOUND
    broken = small.x.clone()
    broken[0, 1, 4, 4] = float("nan")
    nan = Layer(broken, small.weight, small.bias, small.settings)
    yield "NaN in the input", nan.ask(nan.run()), SOUND
    big = Layer(small.x.half() * 200, small.weight.half() * 400, None, small.settings)
    yield "overflow of float16", big.ask(big.run()), SOUND
    relu = layer(padding=1)
    yield "with an activation", relu.ask(relu.run().relu(), activation="relu"), SOUND
    gelu = F.gelu(relu.run())
    yield "with a GELU", relu.ask(gelu, activation="gelu"), SOUND
    cancel = layer(8, 4)
    cancel = Layer(cancel.x + 1000, cancel.weight, cancel.bias, {})
    yield "much cancellation", cancel.ask(cancel.run()), SOUND
    yield "without settings", Question(relu.run(), (relu.x, relu.weight, relu.bias)), SOUND
