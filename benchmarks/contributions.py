"""One logit of a ResNet-18 split over pixels and biases, against autograd and Captum."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

import convtrace as ct
from benchmarks.recording import resnet18
from benchmarks.timing import Timing, interleave

LOGIT = 1


@dataclass(frozen=True)
class Way:
    """A way to attribute the logit.

    Attributes:
        timing: What it took.
        accounted: Sum of what it gave out, by the logit; None where it gives out nothing.
    """

    timing: Timing
    accounted: float | None


def measure(rounds: int = 20) -> dict[str, Way]:
    """Time the ways of splitting one logit of 1×3×224×224, and see what they account for."""
    model, x = resnet18(), torch.randn(1, 3, 224, 224)

    def logit(x: torch.Tensor) -> torch.Tensor:
        return model(x).logits[0, LOGIT]

    def to_the_pixels() -> torch.Tensor:
        pixels = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(logit(pixels), pixels)
        return gradient

    def to_everything() -> None:
        logit(x.clone().requires_grad_()).backward()
        model.zero_grad(set_to_none=True)

    def contributions() -> ct.Split:
        with torch.no_grad():
            trace = ct.trace(model, x)
        return trace.contributions(f"{list(trace.steps)[-1]}[0,{LOGIT}]")

    functions: dict[str, Callable[[], Any]] = {
        "forward + backward to the pixels": to_the_pixels,
        "forward + backward to pixels and parameters": to_everything,
        "convtrace: trace and contributions, every bias": contributions,
    }
    with torch.no_grad():
        value = float(logit(x))
    split = contributions()
    accounted: dict[str, float | None] = {
        "convtrace: trace and contributions, every bias": split.total / value,
    }
    methods = captum_methods(model)
    functions |= {name: lambda method=method: method(x) for name, method in methods.items()}
    accounted |= {name: float(method(x).detach().sum()) / value for name, method in methods.items()}
    timings = interleave(functions, rounds=rounds, title="contributions", warmups=2)
    return {name: Way(timing, accounted.get(name)) for name, timing in timings.items()}


def captum_methods(model: Any) -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
    """Return Captum's methods for the logit, or none where it is not installed."""
    try:
        attr = importlib.import_module("captum.attr")
        version = importlib.import_module("captum").__version__
    except ImportError:
        return {}

    def logits(x: torch.Tensor) -> torch.Tensor:
        return model(x).logits

    gradient, integrated = attr.InputXGradient(logits), attr.IntegratedGradients(logits)
    return {
        f"Captum {version}, InputXGradient": lambda x: gradient.attribute(
            x.clone().requires_grad_(), target=LOGIT
        ),
        f"Captum {version}, IntegratedGradients, 20 steps": lambda x: integrated.attribute(
            x, target=LOGIT, n_steps=20, internal_batch_size=1
        ),
    }
