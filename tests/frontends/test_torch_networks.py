"""Real architectures with random weights: every receipt of every convolution holds."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import transformers
from torch import nn
from torch_judge import assert_convolutions_certified, assert_nothing_mismatches

import convtrace as ct


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def _resnet(kind: str) -> transformers.PreTrainedModel:
    return transformers.ResNetForImageClassification(
        transformers.ResNetConfig(
            embedding_size=8,
            hidden_sizes=[8, 16, 16],
            depths=[2, 1, 1],
            layer_type=kind,
            num_labels=5,
        )
    )


NETWORKS: dict[str, Callable[[], transformers.PreTrainedModel]] = {
    "ResNet, basic": lambda: _resnet("basic"),
    "ResNet, bottleneck": lambda: _resnet("bottleneck"),
    "ConvNeXt": lambda: transformers.ConvNextForImageClassification(
        transformers.ConvNextConfig(
            hidden_sizes=[8, 16, 16, 24], depths=[1, 1, 2, 1], num_labels=5, image_size=64
        )
    ),
    "MobileNetV2": lambda: transformers.MobileNetV2ForImageClassification(
        transformers.MobileNetV2Config(depth_multiplier=0.35, image_size=64, num_labels=5)
    ),
}


def _liven(model: nn.Module) -> None:
    """Give weights scales at which the signal neither fades nor explodes."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)


@pytest.fixture(scope="module", params=NETWORKS)
def network(request: pytest.FixtureRequest) -> Iterator[transformers.PreTrainedModel]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = NETWORKS[request.param]()
        _liven(model)
        yield model.eval()


@pytest.mark.parametrize("keep", ["everything", "convolutions"])
def test_fifty_numbers_of_a_real_network_are_certified(
    network: transformers.PreTrainedModel, keep: Any
) -> None:
    x = torch.randn(1, 3, 64, 64)
    plain = network(x)
    trace = ct.trace(network, x, keep=keep)
    assert torch.equal(trace.output.logits, plain.logits)
    assert_convolutions_certified(trace, 50)


def test_every_convolution_module_of_a_real_network_has_its_step(
    network: transformers.PreTrainedModel,
) -> None:
    trace = ct.trace(network, torch.randn(1, 3, 64, 64))
    modules = [name for name, m in network.named_modules() if isinstance(m, nn.Conv2d)]
    steps = [step.name for step in trace.steps.values() if step.kind == "convolution"]
    assert sorted(steps) == sorted(modules)


def test_no_step_of_a_real_network_mismatches(network: transformers.PreTrainedModel) -> None:
    trace = ct.trace(network, torch.randn(1, 3, 64, 64))
    assert_nothing_mismatches(trace, count=2)
