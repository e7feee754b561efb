"""Gradients through memory that tensors share: slices that are written, views that are read again.

`z[:, 0] = y` writes a slice of `z`. For autograd that is one node, `CopySlices`: it sends what it
gets to what `z` was before, except at the slice, and the slice to `y`. In the trace the same are
several steps: a view of `z`, a copy into it, and the write that makes the new `z`. So the
derivative is that of these steps one after another, from the tensors that the node sends to.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from convtrace.frontends.torch_drafts import Draft
from convtrace.frontends.torch_record import Held
from convtrace.frontends.torch_replay import Replay
from convtrace.frontends.torch_writes import cells_of

_MOST = 16
"""Steps between a write and a tensor that it depends on, at most."""


@dataclass(frozen=True)
class Through:
    """How a tensor follows from another one.

    Attributes:
        kind: Kind of what lies between them.
        operands: What it reads, by role.
        of: Role of the other tensor.
        replay: Computes the tensor again from operands.
    """

    kind: str
    operands: Mapping[str, Held]
    of: str
    replay: Replay


def through_write(
    step: Draft, target: Held, targets: Collection[Held], made: Mapping[int, Draft]
) -> Through | None:
    """Say how an overwritten tensor follows from one of those that its gradient goes to.

    Args:
        step: The write.
        target: The tensor.
        targets: All of those tensors.
        made: Steps by `id` of what they made.

    Returns:
        None where the write is not understood.
    """
    ends = {id(held) for held in targets}
    free: dict[int, tuple[str, Held]] = {}

    def reaches(held: Held, left: int) -> bool:
        draft = made.get(id(held))
        return id(held) in ends or (
            left > 0
            and draft is not None
            and any(reaches(operand, left - 1) for operand in draft.operands.values())
        )

    def expression(held: Held, left: int) -> Callable[[Mapping[str, torch.Tensor]], torch.Tensor]:
        draft = made.get(id(held))
        if draft is None or draft.replay is None or id(held) in ends or not reaches(held, left):
            role = free.setdefault(id(held), (str(len(free)), held))[0]
            return lambda operands: operands[role]
        replay = draft.replay
        parts = {role: expression(one, left - 1) for role, one in draft.operands.items()}
        return lambda operands: replay({role: part(operands) for role, part in parts.items()})

    replay = step.replay
    if replay is None:
        return None
    parts = {role: expression(one, _MOST) for role, one in step.operands.items()}
    if id(target) not in free:
        return None
    operands = dict(free.values())

    def again(operands: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return replay({role: part(operands) for role, part in parts.items()})

    return Through("write", operands, free[id(target)][0], again)


def through_view(base: Held, view: Held) -> Through | None:
    """Say how a view follows from the tensor that it is a view of; None where it is none of it."""
    try:
        there, here = cells_of(base), cells_of(view)
    except RuntimeError:
        return None  # no memory of its own
    order = np.argsort(there, axis=None)
    places = np.searchsorted(there.ravel(), here, sorter=order)
    if places.size and places.max() >= order.size:
        return None
    places = order[places]
    if not np.array_equal(there.ravel()[places], here):
        return None
    index = torch.as_tensor(places, device=base.tensor.device)
    return Through(
        "as_strided", {"self": base}, "self", lambda operands: operands["self"].reshape(-1)[index]
    )
