"""What a trace of a ResNet-50 holds, against the sum of its activations; uses of one weight."""

from __future__ import annotations

import gc
import tracemalloc
from dataclasses import dataclass
from typing import Any

import torch
from transformers import ResNetConfig, ResNetForImageClassification

import convtrace as ct


@dataclass(frozen=True)
class Memory:
    """What is held.

    Attributes:
        activations: Bytes of all outputs of steps, each memory counted once.
        trace: Bytes of all tensors that the trace reaches and that it did not get from outside:
            before its steps are first asked for, or after, whichever is more.
        objects: Bytes of the Python objects that the trace adds.
        uses: Bytes of Python objects that `uses` of one weight takes.
        positions: Output positions that the weight was multiplied in.
    """

    activations: int
    trace: int
    objects: int
    uses: int
    positions: int


def resnet50() -> torch.nn.Module:
    """Make a ResNet-50 of full width with random weights."""
    torch.manual_seed(0)
    config = ResNetConfig(
        depths=[3, 4, 6, 3], hidden_sizes=[256, 512, 1024, 2048], layer_type="bottleneck"
    )
    return ResNetForImageClassification(config).eval()


def measure(size: int = 224) -> Memory:
    """Trace one picture, ask for every step, and count."""
    model, x = resnet50(), torch.randn(1, 3, size, size)
    outside = storages([x, *model.parameters(), *model.buffers()])
    with torch.no_grad():
        ct.trace(model, x)  # what is imported and cached once is not held by the trace
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        trace = ct.trace(model, x)
        unread = storages(reachable(trace))
        steps = list(trace.steps.values())
        gc.collect()
        objects = tracemalloc.get_traced_memory()[0] - before
        made = storages([step.value.tensor() for step in steps])
        held = storages(reachable(trace))
        tracemalloc.reset_peak()
        start = tracemalloc.get_traced_memory()[0]
        uses = trace.uses(f"{first_convolution(steps).operands['weight']}[3,1,2,2]")
        taken = tracemalloc.get_traced_memory()[1] - start
        arrays = sum(
            part[name].nbytes
            for part in (uses.positions, uses.coefficients, uses.made)
            for name in uses.steps
        )
        tracemalloc.stop()
    return Memory(
        activations=sum(n for place, n in made.items() if place not in outside),
        trace=max(
            sum(n for place, n in some.items() if place not in outside) for some in (unread, held)
        ),
        objects=objects,
        uses=taken - arrays,
        positions=len(uses),
    )


def first_convolution(steps: list[ct.Step]) -> ct.Step:
    """Return the first convolution that ran."""
    return next(step for step in steps if step.kind == "convolution")


def storages(tensors: list[torch.Tensor]) -> dict[int, int]:
    """Return the bytes of each distinct memory that tensors lie in."""
    return {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors
    }


def reachable(root: Any) -> list[torch.Tensor]:
    """Return every tensor that an object leads to, through references of any kind."""
    seen: set[int] = set()
    found: list[torch.Tensor] = []
    queue = [root]
    while queue:
        one = queue.pop()
        if id(one) in seen or isinstance(one, type) or type(one).__name__ == "module":
            continue
        seen.add(id(one))
        if isinstance(one, torch.Tensor):
            found.append(one)
            continue
        if isinstance(one, torch.nn.Module):
            continue  # the model itself was there before
        referents = gc.get_referents(one)
        if (
            type(one).__name__ == "function"
        ):  # what it closes over, not the module it was written in
            referents = [*(one.__closure__ or ()), *(one.__defaults__ or ())]
        queue += referents
    return found
