"""One small network, its port with other names, and its ONNX export with norms folded in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import torch
from onnx_models import Builder
from torch import nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

CHANNELS = 8


class Block(nn.Module):
    """Two convolutions with norms, and a way around them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(CHANNELS)
        self.conv2 = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(CHANNELS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + x)


class Small(nn.Module):
    """A stem with SiLU, two blocks, a pool, and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, CHANNELS, 3, stride=2, padding=1)
        self.block1 = Block()
        self.block2 = Block()
        self.fc = nn.Linear(CHANNELS, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.silu(self.stem(x))
        x = self.block2(self.block1(x))
        x = functional.max_pool2d(x, 2)
        return self.fc(x.mean((2, 3)))


class Port(nn.Module):
    """The same with other names, norms folded in, and other operators; or with a bug."""

    def __init__(self, model: Small, bug: str = "") -> None:
        super().__init__()
        self.first = model.stem
        self.layers = nn.ModuleList(
            fuse_conv_bn_eval(conv, norm)
            for block in (model.block1, model.block2)
            for conv, norm in ((block.conv1, block.bn1), (block.conv2, block.bn2))
        )
        self.head = model.fc
        self.bug = bug

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        x = x * torch.sigmoid(x)
        for first, second in ((0, 1), (2, 3)):
            y = self.layers[first](x)
            if self.bug != "no relu" or first == 0:
                y = functional.relu(y)
            if self.bug == "two relus" and first == 2:
                y = functional.relu6(y)
            y = self.layers[second](y)
            x = functional.relu(y if self.bug == "no way around" and first else y + x)
        x = functional.max_pool2d(x, 2, 2)
        return self.head(x.flatten(2).mean(-1))


def small(seed: int = 0) -> Small:
    """Make the network, its norms with statistics of their own."""
    generator = torch.Generator().manual_seed(seed)
    model = Small().eval()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2, generator=generator)
            elif name.endswith(("bn1.weight", "bn2.weight")):
                tensor.uniform_(0.5, 1.5, generator=generator)
            elif tensor.is_floating_point():
                fan = max(tensor[0].numel(), 1) if tensor.dim() > 1 else 4
                tensor.normal_(0, (2 / fan) ** 0.5, generator=generator)
    return model


def image(seed: int = 1) -> torch.Tensor:
    """Make an input."""
    return torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(seed))


def export(model: Small, file: Path, *, fold: bool = True, named: bool = True) -> Path:
    """Write the network as an ONNX file, as PyTorch's exporter names and folds it."""
    builder = Builder()
    count = iter(range(1000))

    def conv(x: str, layer: nn.Conv2d, path: str, norm: nn.BatchNorm2d | None = None) -> str:
        layer = fuse_conv_bn_eval(layer, norm) if norm is not None and fold else layer
        plain = not (norm is not None and fold)
        owner = path if plain and named else f"onnx::Conv_{next(count)}"
        parts = [x, builder.weight(f"{owner}.weight" if plain else owner, array(layer.weight))]
        if layer.bias is not None:
            parts.append(builder.weight(f"{owner}.bias", array(layer.bias)))
        scope = "/".join(path.split("."))
        made = builder.node(
            "Conv",
            *parts,
            name=f"/{scope}/Conv" if named else "",
            kernel_shape=list(layer.kernel_size),
            strides=list(layer.stride),
            pads=[int(p) for p in layer.padding] * 2,
            dilations=list(layer.dilation),
            group=layer.groups,
        )
        if norm is None or fold:
            return made
        path = path.replace("conv", "bn")
        roles = ("weight", "bias", "running_mean", "running_var")
        stored = [builder.weight(f"{path}.{r}", array(getattr(norm, r))) for r in roles]
        return builder.node(
            "BatchNormalization", made, *stored, epsilon=norm.eps, name=f"/{path}/BatchNorm"
        )

    x = conv("x", model.stem, "stem")
    x = builder.node("Mul", x, builder.node("Sigmoid", x, name="/Sigmoid"), name="/Mul")
    for name, block in (("block1", model.block1), ("block2", model.block2)):
        y = conv(x, block.conv1, f"{name}.conv1", block.bn1)
        y = conv(builder.node("Relu", y), block.conv2, f"{name}.conv2", block.bn2)
        x = builder.node("Relu", builder.node("Add", y, x))
    x = builder.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = builder.node("ReduceMean", x, builder.weight("axes", [2, 3]), keepdims=0)
    weights = (array(model.fc.weight), array(model.fc.bias))
    stored = [builder.weight(n, a) for n, a in zip(("fc.weight", "fc.bias"), weights, strict=True)]
    x = builder.node("Gemm", x, *stored, transB=1, name="/fc/Gemm")
    onnx.save(builder.model({"x": image().numpy()}, x), str(file))
    return file


def array(tensor: torch.Tensor) -> Any:
    return tensor.detach().numpy()
