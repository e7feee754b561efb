"""Check receipts and contributions on real networks, and write what came out into the docs.

    python scripts/check_networks.py

Each network runs once on random numbers, with random weights at scales at which the signal neither
fades nor explodes, and norms that are not trivial; the digits network has its trained weights and a
digit. Then receipts are asked for at random addresses, in turn in every kind of step, and five
outputs are split into pixel terms and bias terms, once as recorded and once in float64. The table
goes to docs/en/networks.md and docs/ko/networks.md. Nothing is written if a receipt mismatches or
a split leaves too much over.
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import transformers
from rich.console import Console
from rich.progress import Progress
from torch import Tensor, nn

import convtrace as ct
from convtrace.models.digits import digit, digits

ROOT = Path(__file__).resolve().parents[1]
RECEIPTS, OUTPUTS = 200, 5
# Residual by scale. Recorded numbers carry the rounding of the network itself.
MOST_RECORDED, MOST_FLOAT64 = 1e-7, 1e-15
CERTIFIED = ("exact", "rounding")


# Networks ----------------------------------------------------------------------------------------


class UNet(nn.Module):
    """Two steps down, two steps up by transposed convolutions, a skip at each."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2, self.bottom = block(3, 8), block(8, 16), block(16, 32)
        self.up2, self.up1 = (nn.ConvTranspose2d(c, c // 2, 2, stride=2) for c in (32, 16))
        self.join2, self.join1 = block(32, 16), block(16, 8)
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        one = self.down1(x)
        two = self.down2(F.max_pool2d(one, 2))
        low = self.bottom(F.max_pool2d(two, 2))
        up = self.join2(torch.cat([self.up2(low), two], 1))
        return self.head(self.join1(torch.cat([self.up1(up), one], 1)))


class Squeeze(nn.Module):
    """A residual block whose channels are weighed by squeeze-and-excitation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = block(channels, channels)
        self.fc1 = nn.Linear(channels, channels // 4)
        self.fc2 = nn.Linear(channels // 4, channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        gate = torch.sigmoid(self.fc2(torch.relu(self.fc1(y.mean((2, 3))))))
        return torch.relu(x + y * gate[:, :, None, None])


class Dense(nn.Module):
    """DenseNet: every layer reads the concatenation of all before it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.first = nn.ModuleList(self._layer(16 + 8 * n) for n in range(4))
        self.between = nn.Sequential(
            nn.BatchNorm2d(48), nn.ReLU(), nn.Conv2d(48, 24, 1, bias=False), nn.AvgPool2d(2)
        )
        self.second = nn.ModuleList(self._layer(24 + 8 * n) for n in range(4))
        self.norm = nn.BatchNorm2d(56)
        self.classifier = nn.Linear(56, 10)

    @staticmethod
    def _layer(channels: int) -> nn.Sequential:
        return nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, 16, 1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 8, 3, padding=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.stem(x), 3, stride=2, padding=1)
        for layer in self.first:
            x = torch.cat([x, layer(x)], 1)
        x = self.between(x)
        for layer in self.second:
            x = torch.cat([x, layer(x)], 1)
        x = F.adaptive_avg_pool2d(torch.relu(self.norm(x)), 1)
        return self.classifier(x.flatten(1))


class Audio(nn.Module):
    """Gated dilated convolutions over a waveform, as in WaveNet."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv1d(1, 16, 3, padding=1)
        dilations = [1, 2, 4, 8, 16, 32]
        self.filters = nn.ModuleList(nn.Conv1d(16, 16, 3, dilation=d, padding=d) for d in dilations)
        self.gates = nn.ModuleList(nn.Conv1d(16, 16, 3, dilation=d, padding=d) for d in dilations)
        self.mixes = nn.ModuleList(nn.Conv1d(16, 16, 1) for _ in dilations)
        self.norm = nn.GroupNorm(4, 16)
        self.head = nn.Conv1d(16, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for filters, gate, mix in zip(self.filters, self.gates, self.mixes, strict=True):
            x = x + mix(F.leaky_relu(filters(x), 0.1) * torch.sigmoid(gate(x)))
        return self.head(F.avg_pool1d(F.silu(self.norm(x)), 4))


class Volume(nn.Module):
    """3-d convolutions, as for video or for scans."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(1, 8, 3, padding=1)
        self.norm1 = nn.BatchNorm3d(8)
        self.conv2 = nn.Conv3d(8, 16, 3, stride=2, padding=1)
        self.norm2 = nn.InstanceNorm3d(16, affine=True)
        self.conv3 = nn.Conv3d(16, 16, (1, 3, 3), groups=4)
        self.fc = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool3d(torch.relu(self.norm1(self.conv1(x))), (1, 2, 2))
        x = F.elu(self.conv3(F.gelu(self.norm2(self.conv2(x)))))
        return self.fc(F.adaptive_avg_pool3d(x, 1).flatten(1))


def block(before: int, after: int) -> nn.Sequential:
    """Two convolutions with batch norm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(),
        nn.Conv2d(after, after, 3, padding=1, padding_mode="reflect"),
        nn.BatchNorm2d(after),
        nn.ReLU(),
    )


def generator() -> nn.Module:
    """A GAN generator: from 32 random numbers to a picture (DCGAN)."""
    layers: list[nn.Module] = [nn.ConvTranspose2d(32, 64, 4, bias=False)]
    for channels in (64, 32, 16):
        layers += [
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.ConvTranspose2d(channels, channels // 2, 4, stride=2, padding=1, bias=False),
        ]
    layers += [nn.BatchNorm2d(8), nn.ReLU(), nn.Upsample(scale_factor=2, mode="bilinear")]
    return nn.Sequential(*layers, nn.Conv2d(8, 3, 3, padding=1), nn.Tanh())


def squeezed() -> nn.Module:
    """Three squeeze-and-excitation blocks."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2, padding=1),
        *(Squeeze(16) for _ in range(3)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 10),
    )


def resnet(kind: str, depths: Sequence[int], sizes: Sequence[int]) -> nn.Module:
    """Return ResNet-18 or ResNet-50, of full width."""
    return transformers.ResNetForImageClassification(
        transformers.ResNetConfig(
            depths=[*depths], hidden_sizes=[*sizes], layer_type=kind, num_labels=1000
        )
    )


def picture() -> Tensor:
    return torch.randn(1, 3, 64, 64)


Network = tuple[Callable[[], nn.Module], Callable[[], Tensor]]

NETWORKS: dict[str, Network] = {
    "digits (trained)": (digits, digit),
    "ResNet-18": (lambda: resnet("basic", (2, 2, 2, 2), (64, 128, 256, 512)), picture),
    "ResNet-50": (lambda: resnet("bottleneck", (3, 4, 6, 3), (256, 512, 1024, 2048)), picture),
    "ConvNeXt-T": (
        lambda: transformers.ConvNextForImageClassification(
            transformers.ConvNextConfig(num_labels=1000)
        ),
        picture,
    ),
    "MobileNetV2": (
        lambda: transformers.MobileNetV2ForImageClassification(
            transformers.MobileNetV2Config(num_labels=1000)
        ),
        picture,
    ),
    "EfficientNet-B0": (
        lambda: transformers.EfficientNetForImageClassification(
            transformers.EfficientNetConfig(
                width_coefficient=1.0, depth_coefficient=1.0, hidden_dim=1280, num_labels=1000
            )
        ),
        picture,
    ),
    "U-Net": (UNet, picture),
    "SE blocks": (squeezed, picture),
    "DenseNet": (Dense, picture),
    "1-d audio": (Audio, lambda: torch.randn(1, 1, 256)),
    "3-d": (Volume, lambda: torch.randn(1, 1, 8, 24, 24)),
    "GAN generator": (generator, lambda: torch.randn(1, 32, 1, 1)),
}


def build(name: str) -> tuple[nn.Module, Tensor]:
    """Return a network with lively weights, in evaluation mode, and an input; always the same."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        make, draw = NETWORKS[name]
        model = make().eval()
        if "trained" not in name:
            liven(model)
        return model, draw()


def liven(model: nn.Module) -> None:
    """Give weights scales at which the signal lives on, and norms that are not trivial."""
    for module in model.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, nn.modules.conv._ConvTransposeNd):
            taps = module.weight[0, 0].numel() / module.weight[0, 0].ndim ** 2
            nn.init.normal_(module.weight, std=(2 / (module.in_channels * max(taps, 1))) ** 0.5)
        elif "Norm" in type(module).__name__ and getattr(module, "weight", None) is not None:
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
        if isinstance(module, nn.modules.conv._ConvNd | nn.Linear) and module.bias is not None:
            nn.init.normal_(module.bias, std=0.2)
        if hasattr(module, "layer_scale_parameter"):  # ConvNeXt begins at 1e-6: no signal at all
            nn.init.uniform_(module.layer_scale_parameter, 0.2, 0.6)


# Checks ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """What a network showed.

    Attributes:
        name: The network.
        steps: Number of steps.
        kinds: Number of kinds of steps.
        receipts: Number of receipts asked for in steps that have a rule.
        certified: How many of them are certified.
        wrong: What is wrong with the others.
        opaque: Kinds of steps that have no rule.
        reached: Kinds of opaque steps at which a split stopped.
        recorded: Worst residual by scale, of the numbers as recorded.
        float64: The same, of the network run again in float64.
    """

    name: str
    steps: int
    kinds: int
    receipts: int
    certified: int
    wrong: tuple[str, ...]
    opaque: tuple[str, ...]
    reached: tuple[str, ...]
    recorded: float
    float64: float

    @property
    def holds(self) -> bool:
        return (
            self.certified == self.receipts
            and not self.reached
            and self.recorded <= MOST_RECORDED
            and self.float64 <= MOST_FLOAT64
        )


def check(
    name: str,
    receipts: int = RECEIPTS,
    outputs: int = OUTPUTS,
    tick: Callable[[], None] = lambda: None,
) -> Result:
    """Check one network; `tick` is called after every receipt and every split."""
    model, x = build(name)
    with torch.no_grad():
        trace = ct.trace(model, x)
    draw = random.Random(0)
    by_kind: dict[str, list[ct.Step]] = {}
    for step in trace.steps.values():
        by_kind.setdefault(step.kind, []).append(step)
    asked, certified = 0, 0
    wrong: list[str] = []
    opaque: set[str] = set()
    for number in range(receipts):
        kinds = list(by_kind.values())
        step = draw.choice(kinds[number % len(kinds)])
        receipt = trace.why(step.name, tuple(draw.randrange(size) for size in step.shape))
        if receipt.status == "opaque" or receipt.verdict is None:
            opaque.add(step.kind)
        else:
            asked += 1
            certified += receipt.verdict in CERTIFIED
            if receipt.verdict not in CERTIFIED:
                wrong.append(repr(receipt))
        tick()
    last = list(trace.steps.values())[-1]
    worst: dict[Any, float] = {None: 0.0, torch.float64: 0.0}
    reached: set[str] = set()
    for place in draw.sample(range(math.prod(last.shape)), outputs):
        address = ct.Address(last.name, tuple(map(int, np.unravel_index(place, last.shape))))
        for dtype, so_far in worst.items():
            split = trace.contributions(address, dtype=dtype)
            left = abs(split.residual) / split.scale
            worst[dtype] = max(so_far, math.inf if math.isnan(left) else left)
            reached |= {trace.step(stop).kind for stop in split.opaque}
            tick()
    return Result(
        name,
        len(trace.steps),
        len(by_kind),
        asked,
        certified,
        tuple(wrong),
        tuple(sorted(opaque)),
        tuple(sorted(reached)),
        worst[None],
        worst[torch.float64],
    )


# The page ----------------------------------------------------------------------------------------

PAGES = {
    "en": """\
# Real networks

{begin}

Every network ran once in evaluation mode, on random numbers of shape `(1, 3, 64, 64)` where it
reads pictures, with random weights of lively scales and norms that are not trivial; the digits
network has its trained weights and reads a digit. Then {receipts} receipts were asked for at random
addresses, in turn in every kind of step, and {outputs} outputs were split with `contributions` into
pixel terms and bias terms. What was left over is given by the sum of the absolute values of all
terms, where every pixel is a term and so is every bias: the worst of the {outputs}, as the network
computed it (float32) and with the network run again in float64.

| network | steps | kinds | receipts certified | kinds without a rule | left over, float32 | \
left over, float64 |
|---|--:|--:|--:|---|--:|--:|
{rows}

A kind without a rule is shown by name, and its receipts certify nothing; here no split met one.
What is left over in float32 is the rounding of the network itself: every step rounds its numbers
by up to 6e-8 of them. In float64 it is gone.
""",
    "ko": """\
# 실제 신경망

{begin}

신경망마다 평가 모드로 한 번 실행했습니다. 그림을 읽는 신경망에는 모양이 `(1, 3, 64, 64)`인 난수를
넣었습니다. 가중치는 신호가 살아 있을 만한 크기의 난수이고, 정규화의 통계도 0과 1이 아닌 난수입니다.
숫자 인식 신경망만 학습한 가중치로 숫자 그림을 읽었습니다. 그런 다음 연산의 종류를 돌아가며 무작위
주소에서 계산 내역 {receipts}개를 묻고, 출력 {outputs}개를 `contributions`로 픽셀 항과 편향 항으로
나누었습니다. 남은 차이는 모든 항의 절댓값 합에 대한 비율이며, {outputs}개 가운데 가장 나쁜
값입니다. 픽셀 하나하나와 편향 하나하나가 모두 항입니다. 한 번은 신경망이 계산한
그대로(float32), 한 번은 신경망을 float64로 다시 실행하여 구했습니다.

| 신경망 | 연산 | 종류 | 보증된 내역 | 규칙이 없는 종류 | 남은 차이, float32 | 남은 차이, float64 |
|---|--:|--:|--:|---|--:|--:|
{rows}

규칙이 없는 종류는 이름만 보이고, 그 내역은 아무것도 보증하지 않습니다. 여기서는 나누는 길에 그런
연산이 하나도 없었습니다. float32에서 남은 차이는 신경망 자신의 반올림입니다. 신경망은 연산마다
제 값을 그 크기의 6e-8까지 반올림합니다. float64에서는 그만한 차이가 남지 않습니다.
""",
}
BEGIN = {
    "en": "This page is written by `python scripts/check_networks.py`, which checks what it says.",
    "ko": "이 쪽은 `python scripts/check_networks.py`가 확인한 결과를 적은 것입니다.",
}


def page(results: Sequence[Result], lang: str) -> str:
    """Write the page in one language."""
    rows = "\n".join(
        f"| {r.name} | {r.steps} | {r.kinds} | {r.certified} / {r.receipts} | "
        f"{', '.join(f'`{kind}`' for kind in r.opaque) or '–'} | "
        f"{r.recorded:.1e} | {r.float64:.1e} |"
        for r in results
    )
    return PAGES[lang].format(begin=BEGIN[lang], receipts=RECEIPTS, outputs=OUTPUTS, rows=rows)


def main() -> int:
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)  # so that sums are added in one order, whatever the machine
    console = Console()
    results: list[Result] = []
    with Progress(console=console) as progress:
        for name in NETWORKS:
            task = progress.add_task(name, total=RECEIPTS + 2 * OUTPUTS)
            results.append(check(name, tick=lambda task=task: progress.advance(task)))
    failed = [result for result in results if not result.holds]
    for result in failed:
        console.print(f"{result}", style="red", markup=False)
    if failed:
        console.print("Nothing was written.")
        return 1
    for lang in PAGES:
        path = ROOT / "docs" / lang / "networks.md"
        path.write_text(page(results, lang), encoding="utf-8")
        console.print(f"{path.relative_to(ROOT)}", markup=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
