"""Running a step of a saved trace again, as far as its tables tell what it does.

Contributions and uses run some steps again, to pull a cotangent through them: those that move
numbers, and those with coefficients. Where a step selects, it selects what it did in the run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from convtrace.errors import NoValueError
from convtrace.storage import SavedMove
from convtrace.tables import Coefficients, Curve, Table

if TYPE_CHECKING:
    import torch

Replay = Callable[[Mapping[str, Any]], Any]


def replay_of(
    name: str,
    kind: str,
    attributes: Mapping[str, Any],
    sources: Callable[[], NDArray[np.int64]] | None,
    move: SavedMove | None,
    table: Table | None,
) -> Replay | None:
    """Return what runs a step again, or None where the file does not say what it does.

    Args:
        name: The step.
        kind: Its kind.
        attributes: Its settings.
        sources: Where its numbers come from, if it moves them.
        move: The same, as saved.
        table: Its table.
    """
    if kind == "prod":
        return lambda operands: _product(operands["self"], attributes)
    if sources is not None and move is not None:
        return _moving(sources, move.roles)
    if isinstance(table, Coefficients):
        return _adding(table)
    return None if table is None else _at_zero(name, table)


def _product(x: torch.Tensor, attributes: Mapping[str, Any]) -> torch.Tensor:
    """Multiply numbers: the one kind whose pull asks for the function itself."""
    if "dim" not in attributes:
        return x.prod()
    return x.prod(attributes["dim"], attributes.get("keepdim", False))


def _moving(sources: Callable[[], NDArray[np.int64]], roles: list[str]) -> Replay:
    def replay(operands: Mapping[str, torch.Tensor]) -> torch.Tensor:
        import torch

        flat = torch.cat([operands[role].reshape(-1) for role in roles])
        places = torch.as_tensor(sources(), device=flat.device)
        return torch.where(places < 0, torch.zeros_like(flat[:1]), flat[places.clamp(min=0)])

    return replay


def _adding(table: Coefficients) -> Replay:
    def replay(operands: Mapping[str, torch.Tensor]) -> torch.Tensor:
        import torch

        given = [operands[role] for role in table.operands]
        kind, device = given[0].dtype, given[0].device
        if table.same:
            (x,) = given
            inner = [axis for _, axis in table.same]
            outer = [axis for axis in range(x.dim()) if axis not in inner]
            x = x.permute(*inner, *outer)
            flat = x.reshape(math.prod(x.shape[: len(inner)]), -1)
        else:
            flat = torch.cat([x.reshape(-1) for x in given]).unsqueeze(0)
        counts = torch.as_tensor(np.diff(table.starts.astype(np.int64)), device=device)
        rows = torch.repeat_interleave(torch.arange(table.rows, device=device), counts)
        columns = torch.as_tensor(table.columns.astype(np.int64), device=device)
        weights = torch.as_tensor(np.array(table.weights), device=device).to(kind)
        parts = flat[:, columns] * weights
        fills = torch.as_tensor(np.array(table.fills), device=device).to(kind)
        empty = torch.where(counts == 0, fills, torch.zeros_like(fills))
        made = empty.expand(len(flat), -1).index_add(1, rows, parts)
        if not table.same:
            return made.reshape(table.shape)
        inner = [axis for axis, _ in table.same]
        outer = [axis for axis in range(len(table.shape)) if axis not in inner]
        order = [*inner, *outer]
        made = made.reshape([table.shape[axis] for axis in order])
        return made.permute([order.index(axis) for axis in range(len(order))])

    return replay


def _at_zero(name: str, table: Curve) -> Replay:
    def replay(operands: Mapping[str, torch.Tensor]) -> torch.Tensor:
        import torch

        x = operands["self"]
        if bool((x != 0).any()):
            raise NoValueError(
                f"{name} cannot be run again: its trace was opened from a file\n"
                "  The file holds its function at the numbers of the run and at zero only."
            )
        return torch.as_tensor(np.array(table.zeros)).to(x).expand(x.shape).clone()

    return replay
