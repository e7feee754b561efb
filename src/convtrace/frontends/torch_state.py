"""Leaving a model as it was: its buffers, parameters, mode and the random state."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable
from types import TracebackType
from typing import Any

import torch


class Unchanged:
    """Puts the modules and the random state back on exit, after success and after failure.

    Training mode updates running statistics, spectral norm its vectors, dropout draws random
    numbers: an observation must leave no mark. The recorder copies a tensor before the run
    overwrites it; those copies are written back here, without raising version counters, so that
    a graph built before the trace still differentiates.

    Args:
        modules: The modules that the run may touch, each with everything below it.
    """

    def __init__(self, modules: Iterable[torch.nn.Module]) -> None:
        self._modules = list(modules)

    def __enter__(self) -> Unchanged:
        self._modes = [(m, m.training) for m in self._modules]
        self._tensors = [
            (table, list(map(id, table.values())), dict(table))
            for m in self._modules
            if not isinstance(m, torch.jit.ScriptModule)
            for table in (m._parameters, m._buffers)
        ]
        self._copies: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._torch_state = torch.get_rng_state()
        self._cuda_states = (
            torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
        )
        self._random_state = random.getstate()
        numpy = sys.modules.get("numpy")
        self._numpy_state = numpy.random.get_state() if numpy is not None else None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for module, training in self._modes:
            module.training = training
        for table, ids, before in self._tensors:
            if list(map(id, table.values())) != ids:
                table.clear()
                table.update(before)
        for tensor, copy in self._copies:
            _write_back(tensor, copy)
        torch.set_rng_state(self._torch_state)
        if self._cuda_states is not None:
            torch.cuda.set_rng_state_all(self._cuda_states)
        random.setstate(self._random_state)
        numpy = sys.modules.get("numpy")
        if numpy is not None and self._numpy_state is not None:
            numpy.random.set_state(self._numpy_state)

    def write_back(self, tensor: torch.Tensor, copy: torch.Tensor) -> None:
        """Remember what a parameter or buffer held before the run overwrote it."""
        self._copies.append((tensor, copy))


def _write_back(tensor: torch.Tensor, copy: torch.Tensor) -> None:
    same = tensor.shape == copy.shape and tensor.dtype == copy.dtype
    with torch.no_grad():
        if same and _same_bits(tensor, copy):
            return
        if tensor.is_inference():
            with torch.inference_mode():
                tensor.copy_(copy)
            return
        with torch.autograd._unsafe_preserve_version_counter(tensor):
            if same:
                tensor.copy_(copy)
            else:
                tensor.set_(copy)


def _same_bits(left: torch.Tensor, right: torch.Tensor) -> bool:
    if torch.equal(left, right):
        return True
    both: Any = left.isnan() & right.isnan() if left.is_floating_point() else None
    return both is not None and bool((both | (left == right)).all())

