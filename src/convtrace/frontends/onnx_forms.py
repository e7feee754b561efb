"""What a translator of ONNX operators is given (`Call`) and what it gives back (`Form`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from numpy.typing import NDArray

from convtrace.frontends.onnx_run import Node, Run

Tensors = Mapping[str, torch.Tensor]
Replay = Callable[[Tensors], torch.Tensor]
"""Computes the output of a step from operands by role."""


@dataclass(frozen=True)
class Form:
    """A node in canonical form.

    Attributes:
        kind: Canonical kind, as PyTorch runs have it.
        attributes: Canonical settings.
        operands: Names of the values it reads, by role.
        replay: Computes it again from other operands; None where nothing here can.
        moved: Roles of the operands whose numbers it moves; empty where it computes.
        fill: For a step that moves: the same on positions, with −1 for what it fills in; None
            where it fills in nothing, so that `replay` does.
    """

    kind: str
    attributes: Mapping[str, Any]
    operands: Mapping[str, str]
    replay: Replay | None = None
    moved: tuple[str, ...] = ()
    fill: Replay | None = None


@dataclass(frozen=True)
class Call:
    """One output of one node, with the numbers that onnxruntime computed.

    Attributes:
        node: The node.
        number: Which of its outputs is wanted.
        run: The run.
    """

    node: Node
    number: int
    run: Run
    attributes: Mapping[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "attributes", self.node.attributes)

    def get(self, name: str, default: Any = None) -> Any:
        """Return an attribute of the node."""
        return self.node.attributes.get(name, default)

    def name(self, place: int) -> str:
        """Return the name of an input; empty where it is left out."""
        return self.node.inputs[place] if place < len(self.node.inputs) else ""

    def has(self, place: int) -> bool:
        """Whether an input is given, and is a tensor of numbers."""
        return self.name(place) in self.run.values

    def array(self, place: int) -> NDArray[Any]:
        """Return the numbers of an input."""
        return self.run.values[self.name(place)]

    def constant(self, place: int) -> NDArray[Any] | None:
        """Return the numbers of an input that is the same for every input of the graph."""
        name = self.name(place)
        return None if name in self.run.dynamic else self.run.values.get(name)

    def settled(self, place: int) -> bool:
        """Whether an input is left out, or is the same for every input of the graph."""
        return not self.name(place) or self.constant(place) is not None

    def ints(self, place: int, attribute: str) -> tuple[int, ...] | None:
        """Return whole numbers that older files give as an attribute, newer ones as an input."""
        if attribute in self.node.attributes:
            value = self.node.attributes[attribute]
            return tuple(value) if isinstance(value, tuple) else (int(value),)
        found = self.constant(place)
        return None if found is None else tuple(int(n) for n in found.ravel())

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the first input."""
        return self.array(0).shape

    @property
    def output(self) -> NDArray[Any]:
        """What onnxruntime computed."""
        return self.run.values[self.node.outputs[self.number]]

    def operands(self, *roles: str) -> dict[str, str]:
        """Name the inputs by role, in order; those that are left out have none."""
        return {role: self.name(n) for n, role in enumerate(roles) if self.name(n)}


Translator = Callable[[Call], Form | None]
"""Puts a node into canonical form; None where there is no such form for these settings."""


def moving(
    call: Call, kind: str, attributes: Mapping[str, Any], replay: Replay, **operands: str
) -> Form:
    """Make the form of a node that moves the numbers of its first input."""
    return Form(kind, attributes, {"self": call.name(0), **operands}, replay, ("self",))
