"""What a recording holds: tensors at a version, calls of modules and functions, operators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from convtrace.step import version_of


class Held:
    """One tensor at one version: what it held then, kept even if it is overwritten later."""

    __slots__ = ("handles", "name", "pointer", "saved", "tensor", "version")

    def __init__(self, tensor: torch.Tensor, version: int | None = None) -> None:
        self.tensor = tensor
        self.version = version_of(tensor) if version is None else version
        self.pointer = pointer_of(tensor)
        self.saved: torch.Tensor | None = None
        self.handles: list[torch.Tensor] = [tensor]  # also those made by detach and the like
        self.name: str | None = None

    @property
    def data(self) -> torch.Tensor:
        """The numbers of that version."""
        return self.tensor if self.saved is None else self.saved


@dataclass(eq=False, slots=True)
class ModuleCall:
    """One running call of a module.

    Attributes:
        module: The module; None outside of any.
        parent: The call that it was made in.
        output: The one tensor that it returned, if it was one.
    """

    module: torch.nn.Module | None
    parent: ModuleCall | None = None
    output: Held | None = None


@dataclass(eq=False, slots=True)
class FunctionCall:
    """One call of a public PyTorch function, e.g. `conv2d`, with its arguments.

    Attributes:
        name: Name of the function.
        module_call: The module call it was made in.
        args: Positional arguments.
        kwargs: Keyword arguments.
        result: What it returned, if that is a recorded tensor.
        held: The tensors among the arguments of `pad`, by `id`.
    """

    name: str
    module_call: ModuleCall
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    result: Held | None = None
    held: dict[int, Held] = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class Record:
    """One operator that ran.

    Attributes:
        operator: The operator; None for a write through shared memory.
        args: Positional arguments.
        kwargs: Keyword arguments.
        read: The tensors among them, by `id`.
        module_call: The module call it ran in.
        function_call: The public function that it belongs to, if any.
        outputs: What it made.
        settings: For a convolution, the settings that decide its arithmetic.
    """

    operator: torch._ops.OpOverload | None
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    read: dict[int, Held]
    module_call: ModuleCall
    function_call: FunctionCall | None
    outputs: list[Held] = field(default_factory=list)
    settings: Any = None

    @property
    def op(self) -> str:
        """Name of the operator without overload, e.g. `aten::convolution`.

        `write` where no operator read the tensor, but one wrote to memory that it shares.
        """
        return "write" if self.operator is None else self.operator._schema.name


def pointer_of(tensor: torch.Tensor) -> int:
    """Return where the numbers of a tensor begin; 0 for one without memory of its own."""
    try:
        return tensor.data_ptr()
    except (NotImplementedError, RuntimeError):  # sparse, or a wrapper
        return 0


def storage_of(tensor: torch.Tensor) -> int:
    """Identify the memory of a tensor; one without counts as its own."""
    if tensor.layout is not torch.strided:
        return id(tensor)
    try:
        return tensor.untyped_storage()._cdata
    except (NotImplementedError, RuntimeError):  # a tensor of vmap has none that can be seen
        return id(tensor)
