"""Operators that move numbers without computing: views, slices, padding, casts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from convtrace.address import Address
from convtrace.certify import certify
from convtrace.receipt import Receipt
from convtrace.rules import again
from convtrace.rules.layouts import Listed
from convtrace.rules.pulling import Pulled, Run
from convtrace.step import Step

if TYPE_CHECKING:
    import torch


def source_of(step: Step, index: tuple[int, ...]) -> Address | None:
    """Return the address of the number that moved to a position; None for a fill value.

    The step's `sources` are positions in its operands, counted through all of them in order: the
    operator itself has moved the numbers 0, 1, 2, … to where they went.
    """
    assert step.sources is not None, f"{step.name} does not know where its numbers come from"
    for value in step.values.values():
        value.check()  # indices among the operands decide as well
    place = int(step.sources()[index])
    if place < 0:
        return None
    for role in step.moved:
        value = step.values[role]
        size = int(np.prod(value.shape, dtype=np.int64))
        if place < size:
            return Address(value.name, tuple(map(int, np.unravel_index(place, value.shape))))
        place -= size
    raise AssertionError(f"{step.name}{list(index)} comes from no operand")


def why(step: Step, index: tuple[int, ...], reporter: str) -> Receipt:
    """Explain one number that was moved: one source, passed on unchanged or cast."""
    source = source_of(step, index)
    fill = step.attributes.get("value") or 0
    if source is None:
        number = 0
    else:
        owner = next(v for v in step.values.values() if v.name == source.step)
        number = owner.item(source.index)
    return certify(
        step,
        index,
        inputs=np.array([number]),
        weights=np.array([1]),
        present=np.array([source is not None]),
        layout=Listed((source,), (None,)),
        bias=fill if source is None and fill else None,
        reporter=reporter,
    )


def pull(run: Run, cotangent: torch.Tensor) -> Pulled:
    """Pull through a move: each number goes back to where it came from."""
    import torch

    if not run.step.kind.startswith("max_unpool"):
        return again.pull(run, cotangent)
    # Unpooling has no derivative of its own in every version of PyTorch.
    assert run.step.sources is not None
    places = torch.as_tensor(run.step.sources(), device=cotangent.device).reshape(-1)
    kept = places >= 0
    source = run.operands["self"]
    found = torch.zeros(source.numel(), dtype=cotangent.dtype, device=cotangent.device)
    found.index_add_(0, places[kept], cotangent.reshape(-1)[kept])
    return Pulled({"self": found.reshape(source.shape)})
