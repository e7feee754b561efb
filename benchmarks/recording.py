"""Recording a ResNet-18, against its plain forward pass, a bare dispatch mode and TorchLens."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import ResNetConfig, ResNetForImageClassification

import convtrace as ct
from benchmarks.timing import Timing, interleave


def resnet18() -> torch.nn.Module:
    """Make a ResNet-18 with random weights whose activations keep a live scale."""
    torch.manual_seed(0)
    config = ResNetConfig(
        embedding_size=64, hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2], layer_type="basic"
    )
    model = ResNetForImageClassification(config).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.0)
            torch.nn.init.normal_(module.bias, std=0.1)
    return model


class _Through(TorchFunctionMode):
    """Sees every public call and does nothing with it."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def _watched() -> Iterator[None]:
    """Watch module calls and public calls as convtrace does, and do nothing with them."""
    hooks = [
        register_module_forward_pre_hook(lambda module, args: None),
        register_module_forward_hook(lambda module, args, output: None, always_call=True),
    ]
    try:
        with _Through():
            yield
    finally:
        for hook in hooks:
            hook.remove()


class _Bare(TorchDispatchMode):
    """The least that any recorder on this mechanism must do: keep what ran."""

    def __init__(self, wanted: Callable[[str], bool]) -> None:
        super().__init__()
        self._wanted = wanted
        self.kept: list[Any] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if self._wanted(func._schema.name):
            self.kept.append((func, args, kwargs, result))
        return result


def measure(rounds: int = 40) -> dict[str, Timing]:
    """Time the ways of recording one forward pass of 1×3×224×224."""
    model, x = resnet18(), torch.randn(1, 3, 224, 224)

    def bare(wanted: Callable[[str], bool]) -> Any:
        mode = _Bare(wanted)
        with mode:
            model(x)
        return mode.kept

    def watched(wanted: Callable[[str], bool]) -> Any:
        with _watched():
            return bare(wanted)

    functions: dict[str, Callable[[], Any]] = {
        "plain forward pass": lambda: model(x),
        "bare dispatch mode, every operator": lambda: bare(lambda name: True),
        "bare, with names of modules and calls, every operator": lambda: watched(lambda name: True),
        "convtrace, every step": lambda: ct.trace(model, x),
        "bare dispatch mode, convolutions": lambda: bare(lambda name: "convolution" in name),
        "bare, with names of modules and calls, convolutions": lambda: watched(
            lambda name: "convolution" in name
        ),
        "convtrace, convolutions": lambda: ct.trace(model, x, keep="convolutions"),
        "convtrace, every step, and name them": lambda: len(ct.trace(model, x).steps),
    }
    with torch.no_grad():
        timings = interleave(functions, rounds=rounds, title="recording")
        try:
            lens = importlib.import_module("torchlens")
        except ImportError:
            return timings
        peers = interleave(
            {
                "plain forward pass": functions["plain forward pass"],
                "TorchLens": lens_of(lens, model, x),
            },
            rounds=5,
            title="TorchLens",
            warmups=1,
        )
    return {**timings, f"TorchLens {lens.__version__}": peers["TorchLens"]}


def lens_of(lens: Any, model: torch.nn.Module, x: torch.Tensor) -> Callable[[], Any]:
    """Return what records the same pass in TorchLens, every layer kept."""
    record = getattr(lens, "log_forward_pass", None) or lens.trace
    return lambda: record(model, x)
