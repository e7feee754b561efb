"""Drafts of steps: an operator that ran, as a step that has no name yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from convtrace.arithmetic import Arithmetic, plain
from convtrace.errors import NoValueError
from convtrace.exact import FORMATS
from convtrace.frontends.torch_record import Held, ModuleCall, Record
from convtrace.frontends.torch_replay import (
    Replay,
    bound_arguments,
    kind_of,
    positions,
    replay_operator,
    tensor_roles,
)
from convtrace.frontends.torch_writes import replay_write, write_sources


@dataclass(eq=False)
class Draft:
    """A step before it has its name.

    Attributes:
        kind: Canonical kind.
        attributes: Canonical settings.
        operands: What it read, by role.
        output: What it made.
        call: The module call it ran in.
        function: Name of the public function or operator.
        arithmetic: Formats of its computation.
        replay: Computes it again from other operands.
        sources: Where its numbers come from, if it only moves them.
        moved: Roles of the operands that they come from.
        label: For a step of the backward pass: gives its name, when steps have theirs.
    """

    kind: str
    attributes: dict[str, Any]
    operands: dict[str, Held]
    output: Held
    call: ModuleCall
    function: str
    arithmetic: Arithmetic | None = None
    replay: Replay | None = None
    sources: Callable[[], torch.Tensor] | None = None
    moved: tuple[str, ...] = ()
    label: Callable[[], str] | None = None


def draft_operator(record: Record) -> list[Draft]:
    """Draft the steps of an operator without a form of its own: one for each output."""
    if record.operator is None:
        return [_draft_write(record)]
    name, kind = record.op.split("::")[-1], kind_of(record)
    if any(held.tensor.is_nested for held in record.outputs):
        raise NoValueError(
            f"{friendly(name)} made a nested tensor, whose numbers have no positions\n"
            "  convtrace reads tensors of one shape: pad the parts to one size first\n"
            "  (torch.nested.to_padded_tensor), or trace the parts one by one."
        )
    bound = bound_arguments(record)
    operands = {role: record.read[id(tensor)] for role, tensor in tensor_roles(bound).items()}
    attributes: dict[str, Any] = {
        role: tuple(value) if isinstance(value, list) else value
        for role, value in bound.items()
        if value is not None and not tensor_roles({role: value})
    }
    drafts: list[Draft] = []
    for number, output in enumerate(record.outputs):
        if output.tensor.numel() == 0:
            continue
        replay = replay_operator(record, number)
        moved = _moved(kind, operands) if kind in _MOVES else ()
        several = len(record.outputs) > 1
        drafts.append(
            Draft(
                kind,
                {**attributes, "output": number} if several else attributes,
                operands,
                output,
                record.module_call,
                friendly(name) if number == 0 else f"{friendly(name)}.{number}",
                plain_arithmetic(output),
                replay,
                _sources(kind, replay, operands, moved) if moved and replay else None,
                moved,
            )
        )
    return drafts


_MOVES = frozenset(
    """
    view unsafe_view reshape_alias select slice unsqueeze squeeze permute transpose t expand
    flatten unflatten cat stack split split_with_sizes unbind chunk clone contiguous to_copy roll
    flip pixel_shuffle pixel_unshuffle channel_shuffle index_select narrow repeat unfold diagonal
    constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d
    replication_pad2d replication_pad3d copy index gather take_along_dim max_unpool2d max_unpool3d
    """.split()
)
"""Operators that only move numbers, so that running them on positions tells where each went."""


_FILLS = frozenset({"constant_pad_nd", "max_unpool2d", "max_unpool3d"})
"""Moving operators that also fill in numbers of their own."""


def _draft_write(record: Record) -> Draft:
    """Draft the step of a tensor that was overwritten through another one."""
    (output,) = record.outputs
    operands = {str(number): held for number, held in enumerate(record.read.values())}
    sources = write_sources(list(operands.values()), output)
    return Draft(
        "write",
        {},
        operands,
        output,
        record.module_call,
        "write",
        plain_arithmetic(output),
        None if sources is None else replay_write(sources, output.tensor.device),
        None if sources is None else lambda: torch.as_tensor(sources()),
        tuple(operands),
    )


def _moved(kind: str, operands: Mapping[str, Held]) -> tuple[str, ...]:
    """Return the operands whose numbers an operator moves; indices among them stay."""
    if kind == "copy":
        return ("src",)
    return tuple(
        role
        for role, held in operands.items()
        if held.tensor.is_floating_point()
        or held.tensor.is_complex()
        or role in ("self", "tensors")
    )


def _sources(
    kind: str, replay: Replay, operands: Mapping[str, Held], moved: tuple[str, ...]
) -> Callable[[], torch.Tensor]:
    """Say where the numbers of a moving operator come from, by moving positions instead."""

    def sources() -> torch.Tensor:
        offset = 0
        numbers: dict[str, torch.Tensor] = {}
        for role, held in operands.items():
            numbers[role] = positions(held, offset) if role in moved else held.data
            offset += held.data.numel() if role in moved else 0
        if kind in _FILLS:
            # What comes from nowhere stays below, if the positions count from a large number.
            shifted = replay({r: n + 1e9 if r in moved else n for r, n in numbers.items()})
            return torch.where(shifted >= 1e9, shifted - 1e9, -1.0)
        return replay(numbers)

    return sources


def plain_arithmetic(output: Held) -> Arithmetic | None:
    """Return the arithmetic of an elementwise operator or a sum; None for integers."""
    parts = {"complex32": "float16", "complex64": "float32", "complex128": "float64"}
    name = str(output.tensor.dtype).removeprefix("torch.")
    name = parts.get(name, name)
    return plain(name) if name in FORMATS else None


_FRIENDLY = {
    "radd": "add",
    "iadd": "add",
    "rsub": "sub",
    "isub": "sub",
    "rmul": "mul",
    "imul": "mul",
    "truediv": "div",
    "rtruediv": "div",
    "itruediv": "div",
    "getitem": "index",
    "setitem": "index_put",
    "to_copy": "to",
    "max_pool2d_with_indices": "max_pool2d",
    "max_pool3d_with_indices": "max_pool3d",
    "native_batch_norm": "batch_norm",
}


def friendly(name: str) -> str:
    """Return the name that people use for a function or operator.

    Example:
        >>> friendly("__iadd__"), friendly("relu_"), friendly("_to_copy")
        ('add', 'relu', 'to')
    """
    plain_name = name.split(".", maxsplit=1)[0].strip("_")
    return _FRIENDLY.get(plain_name, plain_name)
