"""Writes through shared memory: which number of which tensor a memory cell holds in the end.

A tensor that was overwritten through another one (a view of it, or the tensor that it views) holds
its old numbers wherever nobody wrote, and the last written one everywhere else. So such a write is
a move, and strides tell where each number came from.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from convtrace.frontends.torch_record import Held


def write_sources(operands: Sequence[Held], output: Held) -> Callable[[], NDArray[np.int64]] | None:
    """Say where the numbers of an overwritten tensor come from.

    Args:
        operands: What the tensor was before, then every tensor that was written to its memory, in
            the order of the writes.
        output: What it is now.

    Returns:
        A function that returns, for every number, its position in the operands, counted through
        all of them; None where that does not give the output: not every write was seen, or the
        memory was read under different element types.
    """
    if any(held.tensor.dtype != output.tensor.dtype for held in operands):
        return None
    layouts = [_layout(held) for held in operands]
    wanted = _layout(output)

    @functools.cache
    def sources() -> NDArray[np.int64]:
        cells = [_cells(*layout) for layout in layouts]
        read = _cells(*wanted)
        first = min(int(places.min()) for places in (*cells, read) if places.size)
        last = max(int(places.max()) for places in (*cells, read) if places.size)
        holds = np.full(last - first + 1, -1, dtype=np.int64)
        offset = 0
        for places in cells:
            holds[places.ravel() - first] = np.arange(offset, offset + places.size)
            offset += places.size
        return holds[read - first]

    if (sources() < 0).any():
        return None
    again = replay_write(sources, output.data.device)(
        {str(number): held.data for number, held in enumerate(operands)}
    )
    now = output.data
    same = (again == now) | ((again != again) & (now != now))
    return sources if bool(same.all()) else None


def replay_write(
    sources: Callable[[], NDArray[np.int64]], device: torch.device
) -> Callable[[Mapping[str, torch.Tensor]], torch.Tensor]:
    """Return what puts the numbers of the operands, in order, where the writes put them."""

    def replay(operands: Mapping[str, torch.Tensor]) -> torch.Tensor:
        numbers = torch.cat([operand.reshape(-1) for operand in operands.values()])
        return numbers[torch.as_tensor(sources(), device=device)]

    return replay


_Layout = tuple[int, tuple[int, ...], tuple[int, ...]]
"""First cell, sizes and strides of a tensor, in elements."""


def _layout(held: Held) -> _Layout:
    tensor = held.tensor
    return int(tensor.storage_offset()), tuple(held.data.shape), tensor.stride()


def cells_of(held: Held) -> NDArray[np.int64]:
    """Return the memory cell of every position of a tensor, counted from where its memory begins.

    Raises:
        RuntimeError: The tensor has no memory of its own.
    """
    return _cells(*_layout(held))


def _cells(first: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the memory cell of every position."""
    cells = np.full(shape, first, dtype=np.int64)
    for axis, (size, stride) in enumerate(zip(shape, strides, strict=True)):
        along = [1] * len(shape)
        along[axis] = size
        cells += (np.arange(size, dtype=np.int64) * stride).reshape(along)
    return cells
