"""A trace as a graph: who makes what, who reads it, and by which names a step may be known."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.graph import Trace
from convtrace.mismatch.networks.layers import linear_layers
from convtrace.mismatch.networks.operators import operator_of
from convtrace.mismatch.networks.turned import last, turn_all, turned_value
from convtrace.step import Inside, Step, Unobserved, Value

LAYERS = frozenset(
    "convolution linear mm bmm addmm matmul gemm qlinear_conv conv_integer qdq_conv".split()
)
"""Kinds of steps that hold the weights of a network."""

_SAMPLES = 256


class Network:
    """One side of a comparison of two networks.

    Args:
        trace: The run.
        label: What to call it in errors.
        turned: Names of values whose channels come last, and are told with channels first.

    Attributes:
        trace: The run.
        label: What it is called.
        inputs: What it was run on, by name.
        turned: Names of values that are told with channels first, and were made with them last.
        dynamic: Names of values that depend on an input; a weight that is computed does not.
        steps: Steps in the order they ran; linear layers in one form.
        made: Steps by name.
        order: Place of each step.
        inside: Names of steps that lie inside fused operators; they are no ends of pairs.
    """

    def __init__(self, trace: Trace, label: str, turned: frozenset[str] = frozenset()) -> None:
        self.trace = trace
        self.label = label
        self.turned = turned
        self.inputs = {
            name: turned_value(value) if name in turned else value
            for name, value in trace.inputs.items()
        }
        steps = turn_all((_runnable(step, trace) for step in trace.steps.values()), turned)
        self.dynamic = _dynamic(trace, steps)
        self.steps = linear_layers(steps, self.dynamic)
        self.made = {step.name: step for step in self.steps}
        self.order = {step.name: number for number, step in enumerate(self.steps)}
        self.inside = frozenset(s.name for s in self.steps if isinstance(s.value, Inside))
        self._prints: dict[str, NDArray[np.float64]] = {}

    @cached_property
    def readers(self) -> dict[str, list[Step]]:
        """Steps by the name of a value that they read."""
        found: dict[str, list[Step]] = {}
        for step in self.steps:
            for name in dict.fromkeys(step.operands.values()):
                found.setdefault(name, []).append(step)
        return found

    @cached_property
    def names(self) -> dict[str, frozenset[str]]:
        """The names that a step may be known by on the other side, by its own name.

        Only names that somebody gave: of a module, of a node, of its weights; not those of
        functions, which are counted and mean nothing on the other side.
        """
        others: dict[str, list[str]] = {}
        for alias, name in self.trace.aliases.items():
            others.setdefault(name, []).append(alias)
        owners: dict[str, str] = {}
        for step in self.steps:  # of several steps in one module, the last makes its output
            owners |= dict.fromkeys(_names_of(step, others.get(step.name, ())), step.name)
        found: dict[str, set[str]] = {step.name: set() for step in self.steps}
        for name, owner in owners.items():
            found[owner].add(name)
        return {name: frozenset(names) for name, names in found.items()}

    def value(self, name: str) -> Value | None:
        """Return an input or what a step made."""
        step = self.made.get(name)
        return step.value if step is not None else self.inputs.get(name)

    def place(self, name: str, index: tuple[int, ...]) -> tuple[int, ...]:
        """Return a position as the trace counts it."""
        return tuple(index[a] for a in last(len(index))) if name in self.turned else index

    def flowing(self, step: Step) -> dict[str, str]:
        """Return the operands that come from an input, by role: names."""
        return {r: v.name for r, v in step.values.items() if v.name in self.dynamic}

    def weights(self, step: Step) -> dict[str, Value]:
        """Return the operands that were given with the model, by role."""
        flowing = self.flowing(step)
        return {role: value for role, value in step.values.items() if role not in flowing}

    def next(self, step: Step) -> Step | None:
        """Return the step that alone reads what a step makes."""
        readers = self.readers.get(step.name, [])
        return readers[0] if len(readers) == 1 else None

    def below(self, step: Step, stops: Iterable[str]) -> tuple[list[Step], list[str]]:
        """Collect what makes a step's output, down to some values and to the inputs.

        Args:
            step: The step.
            stops: Names of values to stop at.

        Returns:
            The steps in the order they ran, `step` last, and the names of the values that they
            read from outside.
        """
        ends = frozenset(stops) - {step.name}
        found: dict[str, Step] = {step.name: step}
        entries: dict[str, None] = {}
        waiting = [step]
        while waiting:
            for name in self.flowing(waiting.pop()).values():
                if name in ends or name not in self.made:
                    entries[name] = None
                elif name not in found:
                    found[name] = self.made[name]
                    waiting.append(self.made[name])
        steps = sorted(found.values(), key=lambda one: self.order[one.name])
        return steps, list(entries)

    def fingerprint(self, name: str) -> NDArray[np.float64]:
        """Return some numbers of a value, at positions that depend on its shape alone."""
        if name not in self._prints:
            value = self.value(name)
            assert value is not None
            self._prints[name] = sample(value)
        return self._prints[name]


def _dynamic(trace: Trace, steps: Iterable[Step]) -> frozenset[str]:
    found = set(trace.inputs)
    for step in steps:
        if any(name in found for name in step.operands.values()):
            found.add(step.name)
    return frozenset(found)


def _runnable(step: Step, trace: Trace) -> Step:
    """Let a step of an opened trace run on other numbers than those of its run."""
    from convtrace.frontends.saved import OpenedTrace

    if not isinstance(trace, OpenedTrace) or step.sources is not None:
        return step
    return replace(step, replay=operator_of(step))


def sample(value: Value) -> NDArray[np.float64]:
    """Return up to 256 numbers of a value as float64."""
    size = int(np.prod(value.shape, dtype=np.int64))
    if isinstance(value, Unobserved) or size == 0:
        return np.zeros(0)
    places = np.unique(np.linspace(0, size - 1, min(size, _SAMPLES)).astype(np.int64))
    at = np.unravel_index(places, value.shape)
    return floats(value.tensor()[at])


def floats(tensor: Any) -> NDArray[np.float64]:
    """Return a tensor as a float64 array."""
    import torch

    return tensor.detach().to("cpu", torch.float64).numpy()


def _names_of(step: Step, aliases: Iterable[str]) -> Iterable[str]:
    for name in (step.name, *aliases):
        if not _is_counted(step, name):
            yield from plain_names(name)
    weight = step.operands.get("weight", "")
    if weight.endswith(".weight"):
        yield weight.removesuffix(".weight")


def _is_counted(step: Step, name: str) -> bool:
    """Whether a name is that of a function, with a number: `conv2d:2`."""
    bare = re.sub(r":\d+$", "", name)
    if "." in bare or "/" in bare or (step.module or "").startswith(("Conv", "Linear", "Batch")):
        return False
    return bare in (step.kind, step.kind.split("::")[-1].lower()) or bool(
        re.fullmatch(_FUNCTIONS, bare)
    )


_FUNCTIONS = (
    r"(conv(_?transpose)?(\d?d)?|linear|gemm|matmul|mm|addmm|bmm|batch_?norm(alization)?|"
    r"globalaveragepool|averagepool|maxpool|(max|avg|adaptive_avg)_pool\dd|clip|reducemean|mean|"
    r"flatten|reshape|view|to|getitem|\w+_\d+)"
)
"""Names that a runtime gives when nobody does."""


def plain_names(name: str) -> Iterable[str]:
    """Yield a name as given, and as the path that exporters make such names from.

    Example:
        >>> list(plain_names("/layer1/layer1.0/conv1/Conv"))
        ['/layer1/layer1.0/conv1/Conv', 'layer1.0.conv1']
    """
    yield name
    if "/" not in name:
        return
    path = ""
    for part in name.strip("/").split("/")[:-1]:
        path = part if not path or part.startswith(f"{path}.") else f"{path}.{part}"
    if path:
        yield path
