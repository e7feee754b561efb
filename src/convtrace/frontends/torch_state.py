"""Leaving a model as it was: tensors, gradients, attributes, hooks, mode and the random state."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

import torch

from convtrace.step import version_of

_TABLES = (
    "_parameters",
    "_buffers",
    "_modules",
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
)
"""What PyTorch keeps in a module and a run may change: tensors, submodules, hooks."""


def all_modules(roots: dict[str, torch.nn.Module]) -> dict[str, torch.nn.Module]:
    """List the modules below the roots by path, each module once, outer ones first.

    `nn.Module.named_modules` does the same through nested generators; for deep networks that
    takes longer than recording them.
    """
    found: dict[str, torch.nn.Module] = {}
    seen: set[int] = set()
    stack = list(reversed(roots.items()))
    while stack:
        path, module = stack.pop()
        if id(module) in seen:
            continue
        seen.add(id(module))
        found[path] = module
        stack += [
            (join(path, name), child)
            for name, child in reversed(module._modules.items())
            if child is not None
        ]
    return found


def join(path: str, name: str) -> str:
    """Return the path of something inside a module."""
    return f"{path}.{name}" if path and name else path or name


class Unchanged:
    """Puts modules and the random state back on exit, after success and after failure.

    Training mode updates running statistics, spectral norm its vectors, dropout draws random
    numbers, some models count their calls: an observation must leave no mark. What a module refers
    to is remembered beforehand; what is inside its own lists and dicts is left to the model.
    Numbers are copied by the recorder, before the run overwrites them, and written back here
    without raising version counters, so that a graph built before the trace still differentiates.
    """

    def __init__(self) -> None:
        self._attributes: dict[int, tuple[torch.nn.Module, dict[str, Any], dict[str, Any]]] = {}
        self._empty: list[Any] = []
        self._tensors: dict[int, _Remembered] = {}
        self._copies: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._tables: list[tuple[Any, Any]] = []

    def watch(self, modules: Iterable[torch.nn.Module]) -> None:
        """Remember modules, one by one; what is below them is the caller's to name."""
        for module in modules:
            if id(module) in self._attributes:
                continue
            if isinstance(module, torch.jit.ScriptModule):
                tensors = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
                self._attributes[id(module)] = (module, {}, {})
                self._remember(tensors)
                continue
            attributes = dict(module.__dict__)
            contents: dict[str, Any] = {}
            for name in _TABLES:
                table = attributes.get(name)
                if table:
                    contents[name] = table.copy()
                elif table is not None:
                    self._empty.append(table)
            self._attributes[id(module)] = (module, attributes, contents)
            for table in (module._parameters, module._buffers):
                self._remember(tensor for tensor in table.values() if tensor is not None)

    def knows(self, module: torch.nn.Module) -> bool:
        """Whether a module is watched already."""
        return id(module) in self._attributes

    def _remember(self, tensors: Iterable[torch.Tensor]) -> None:
        for tensor in tensors:
            if id(tensor) not in self._tensors:
                self._tensors[id(tensor)] = known = _Remembered(tensor)
                if known.grad is not None:
                    self._remember([known.grad])

    def keep(self, tensors: Iterable[torch.Tensor]) -> None:
        """Remember tensors that belong to no module, with their gradients."""
        self._remember(tensors)

    def keep_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        """Remember the settings of an optimizer, and what it knows of each parameter."""
        tables: list[dict[Any, Any]] = [*optimizer.param_groups, *optimizer.state.values()]
        for table in [optimizer.state, *tables]:
            if not any(table is known for known, _ in self._tables):
                self._tables.append((table, dict(table)))
        for table in tables:
            self._remember(value for value in table.values() if isinstance(value, torch.Tensor))

    def tables(self) -> dict[int, tuple[dict[str, Any], dict[str, Any]]]:
        """Return parameters and buffers as they were, by `id(module)`."""
        return {
            key: (contents.get("_parameters", {}), contents.get("_buffers", {}))
            for key, (_, _, contents) in self._attributes.items()
            if contents
        }

    @property
    def count(self) -> int:
        """Number of the tensors that `tensors` lists."""
        return len(self._tensors)

    def tensors(self) -> list[torch.Tensor]:
        """List the parameters, buffers and gradients of the watched modules."""
        return [known.tensor for known in self._tensors.values()]

    def former(self, tensor: torch.Tensor) -> torch.Tensor | None:
        """Return what a tensor held before its data was replaced, if it is a watched one."""
        known = self._tensors.get(id(tensor))
        return None if known is None else known.alias.clone()

    def write_back(self, tensor: torch.Tensor, copy: torch.Tensor) -> None:
        """Remember what a tensor held before the run overwrote it."""
        self._copies.append((tensor, copy))

    def __enter__(self) -> Self:
        self._torch_state = torch.get_rng_state()
        self._cuda_states = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
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
        for module, attributes, contents in self._attributes.values():
            if attributes:
                _restore(module.__dict__, attributes)
            for name, before in contents.items():
                _restore(attributes[name], before)
        if any(self._empty):
            for table in self._empty:
                table.clear()
        for table, before in self._tables:
            _restore(table, before)
        for known in self._tensors.values():
            known.restore()
        for tensor, copy in self._copies:
            known = self._tensors.get(id(tensor))
            _write_back(tensor, copy, None if known is None else known.version)
        torch.set_rng_state(self._torch_state)
        if self._cuda_states is not None:
            torch.cuda.set_rng_state_all(self._cuda_states)
        random.setstate(self._random_state)
        numpy = sys.modules.get("numpy")
        if numpy is not None and self._numpy_state is not None:
            numpy.random.set_state(self._numpy_state)


class _Remembered:
    """A parameter or buffer: which memory it lies in, its gradient, whether it wants one."""

    __slots__ = ("alias", "grad", "requires_grad", "tensor", "version")

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor
        self.grad = tensor.grad if tensor.is_leaf else None
        self.requires_grad = tensor.requires_grad
        self.alias = tensor.detach()
        self.version = version_of(tensor)

    def restore(self) -> None:
        """Give the tensor back its memory, its gradient and its wish for one."""
        tensor = self.tensor
        if not _same_memory(tensor, self.alias):
            tensor.data = self.alias
        if tensor.is_leaf:
            if tensor.requires_grad != self.requires_grad:
                tensor.requires_grad_(self.requires_grad)
            if tensor.grad is not self.grad:
                tensor.grad = self.grad


def _same_memory(tensor: torch.Tensor, alias: torch.Tensor) -> bool:
    """Whether two tensors lie in the same memory in the same way."""
    if tensor.dtype != alias.dtype or tensor.shape != alias.shape:
        return False
    if tensor.layout is not torch.strided:
        return True
    try:
        return tensor.data_ptr() == alias.data_ptr() and tensor.stride() == alias.stride()
    except RuntimeError:  # a wrapper without memory of its own
        return True


def _restore(now: Any, before: Any) -> None:
    """Give a dict or set its former contents, if they differ."""
    try:
        # Values that are the same object count as equal before anything is compared.
        if now == before and list(now) == list(before):
            return
    except (RuntimeError, ValueError, TypeError):
        pass  # two different tensors cannot be compared: they differ
    now.clear()
    now.update(before)


def _write_back(tensor: torch.Tensor, copy: torch.Tensor, version: int | None) -> None:
    if tensor.is_meta:
        return
    if tensor.is_inference():
        with torch.inference_mode():
            tensor.copy_(copy)
        return
    with torch.no_grad(), torch.autograd.grad_mode._unsafe_preserve_version_counter(tensor):
        tensor.copy_(copy)
    if version is not None:
        # PyTorch's own stubs leave this module out.
        counters = torch._C._autograd  # pyright: ignore[reportAttributeAccessIssue]
        counters._unsafe_set_version_counter((tensor,), (version,))
