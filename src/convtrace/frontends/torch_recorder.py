"""Watching a PyTorch run: which operators ran, on which tensors, inside which module.

Three watchers work together. `TorchDispatchMode` sees every operator that really ran, with full
arguments, also from scripted modules, weight norm and raw `torch.ops` calls. `TorchFunctionMode`
sees the call by its public name (`conv2d`, `pad`), so that the operators of one call can be told
to belong together. Global module hooks keep a stack of the modules that are running.

Nothing is copied while recording, except what an in-place operator is about to overwrite.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from typing import Any, Self

import torch
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from convtrace.frontends.torch_operators import (
    HIDDEN,
    Facts,
    facts_of,
    settings_of,
    tensors_in,
    tensors_written,
)
from convtrace.frontends.torch_record import (
    FunctionCall,
    Held,
    ModuleCall,
    Record,
    pointer_of,
    storage_of,
)
from convtrace.frontends.torch_state import Unchanged, all_modules
from convtrace.step import version_of

_NO_CALLS = frozenset(
    {"__get__", "__set__", "__delete__", "dim", "size", "__len__", "numel", "cond"}
)
"""Functions that compute nothing themselves."""


_SET_LATER = -1
"""A version that is read when the operator has returned, as PyTorch sets it then."""


class Recorder:
    """Records one run. Use it as a context manager, once.

    Args:
        state: Remembers modules that are first seen while they run, and the tensors to put back.
        everything: Whether to keep every operator, or convolutions only.
        on_operator: Called after each operator, for progress bars.

    Attributes:
        records: Operators in the order they ran.
        calls: Module calls in the order they began.
        compiled: Whether something that was compiled ran (eagerly, here).
        everything: Whether every operator is kept.
        names: Names of all operators that ran, kept or not.
    """

    def __init__(
        self,
        state: Unchanged,
        *,
        everything: bool = True,
        on_operator: Callable[[], None] | None = None,
    ) -> None:
        self.records: list[Record] = []
        self.calls: list[ModuleCall] = []
        self._state = state
        self.compiled = False
        self.names: dict[str, None] = {}
        self._thread = threading.get_ident()
        self.everything = everything
        self._on_operator = on_operator
        self._root = ModuleCall(None)
        self._module_call = self._root
        self._function_call: FunctionCall | None = None
        self._busy = False
        self._by_id: dict[int, Held] = {}
        self._by_storage: dict[int, list[Held]] | None = None  # made when first needed
        self._overwritten: dict[int, Held] = {}
        self._first_saved: dict[int, Held] = {}
        self._guarded = -1
        self._guarded_storages: dict[int, list[torch.Tensor]] = {}
        self._all: list[Held] = []
        self._writers: dict[int, list[Held]] = {}
        self._written_before: dict[int, int] = {}
        self._pending: list[Held] = []
        self._settings: dict[str, dict[str, Any]] = {}
        self._hooks: list[Any] = []
        self._modes = contextlib.ExitStack()
        self._dispatch: _Dispatch | None = None

    def __enter__(self) -> Self:
        self._hooks = [
            register_module_forward_pre_hook(self._enter_module),
            register_module_forward_hook(self._leave_module, always_call=True),
        ]
        self._dispatch = _Dispatch(self)
        self._modes.enter_context(_Functions(self))
        self._modes.enter_context(self._dispatch)
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self._modes.close()
        finally:
            # The modes and hooks refer to this recorder: without them it needs no collector, and
            # the activations go as soon as the trace does.
            self._dispatch = None
            for hook in self._hooks:
                hook.remove()
            self._hooks.clear()
            self._settle()

    def hold(self, tensor: torch.Tensor) -> Held:
        """Return the record of a tensor as it is now."""
        found = self._by_id.get(id(tensor))
        if found is not None and found.pointer != pointer_of(tensor):
            # `tensor.data = other`: no operator ran, yet the tensor holds other numbers now.
            found.saved = self._state.former(tensor)
            found = self._keep(Held(tensor))
            found.saved = _copy(tensor)
        if found is None:
            found = self._keep(Held(tensor))
            older = self._overwritten.get(id(tensor))
            if older is not None:
                self._record_indirect_write(older, found)
        return found

    def _record_indirect_write(self, older: Held, now: Held) -> None:
        """Record that a tensor was overwritten through another one that shares its memory."""
        # What was written before `older` was read is in it already.
        first = self._written_before.get(id(older), 0)
        writers = self._writers.get(storage_of(now.tensor), [])[first:]
        read = {id(held): held for held in (older, *writers)}
        record = Record(None, (), {}, read, self._module_call, self._function_call, [now])
        self.records.append(record)

    def overwritten(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Return the guarded tensors that the run wrote to, and what they held before."""
        if not self._first_saved:
            return []
        wanted = {id(tensor) for tensor in self._state.tensors()}
        return [
            (held.tensor, held.saved)
            for key, held in self._first_saved.items()
            if key in wanted and held.saved is not None
        ]

    def keep_overwritten(self) -> None:
        """Copy what the run made of the tensors that are about to be written back."""
        storages = {storage_of(tensor) for tensor, _ in self.overwritten()}
        for storage in storages:
            for held in (self._by_storage or {}).get(storage, ()):
                if held.saved is None:
                    held.saved = _copy(held.tensor)

    def returned(self, output: Any) -> list[Held]:
        """Return what the model returned, and each of its modules."""
        leaves = [self._by_id.get(id(leaf)) for leaf in tree_leaves(output)]
        return [held for held in [*leaves, *(call.output for call in self.calls)] if held]

    def _keep(self, held: Held) -> Held:
        self._by_id[id(held.tensor)] = held
        self._all.append(held)
        if self._by_storage is not None:
            self._file(held)
        return held

    def _file(self, held: Held) -> None:
        """Note which memory a tensor lies in."""
        if self._by_storage is not None:
            self._by_storage.setdefault(storage_of(held.tensor), []).append(held)

    def _settle(self) -> None:
        """Read the version of new tensors: PyTorch sets it after the operator has returned."""
        for held in self._pending:
            held.version = version_of(held.tensor)
        self._pending.clear()

    def _enter_module(self, module: torch.nn.Module, args: Any) -> None:
        if threading.get_ident() != self._thread:
            return  # hooks are global; another thread runs a model of its own
        if not self._state.knows(module):
            self._state.watch(all_modules({"": module}).values())
        if type(module).__name__ == "OptimizedModule":
            self.compiled = True
        self._module_call = ModuleCall(module, self._module_call)
        self.calls.append(self._module_call)

    def _leave_module(self, module: torch.nn.Module, args: Any, output: Any) -> None:
        if threading.get_ident() != self._thread:
            return
        call = self._module_call
        while call.parent is not None and call.module is not module:
            call = call.parent  # a forward that raised and was caught left its frame behind
        if call.parent is None:
            return
        if isinstance(output, torch.Tensor):
            made = [output]
        else:
            made = [leaf for leaf in tree_leaves(output) if isinstance(leaf, torch.Tensor)]
        if len(made) == 1:
            call.output = self._by_id.get(id(made[0]))
        self._module_call = call.parent

    def call_function(self, function: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
        """Run a public function and remember which operators belong to it."""
        name = getattr(function, "__name__", "")
        if self._busy or self._function_call is not None or name in _NO_CALLS:
            return function(*args, **kwargs)
        if not self.everything and not name.startswith(("conv", "pad")):
            return function(*args, **kwargs)  # no operator of it is kept
        call = FunctionCall(name, self._module_call, args, kwargs)
        if name == "pad":
            for leaf in tree_leaves((args, kwargs)):
                if isinstance(leaf, torch.Tensor):
                    call.held[id(leaf)] = self.hold(leaf)
        self._function_call = call
        try:
            result = function(*args, **kwargs)
            if isinstance(result, torch.Tensor):
                # `pad` may fill its result piece by piece; what counts is the whole.
                known = name != "pad" or not self.everything
                call.result = self._by_id.get(id(result)) if known else self.hold(result)
        finally:
            self._function_call = None
        return result

    def call_operator(self, operator: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Run an operator and record it."""
        if not isinstance(operator, torch._ops.OpOverload):
            return self._call_higher_order(operator, args, kwargs)
        facts = facts_of(operator)
        if facts.composite:  # in inference mode they arrive whole
            assert self._dispatch is not None
            with self._dispatch:
                result = operator.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        self.names[facts.name] = None
        if not self.everything and not self._is_kept(facts, args):
            if self._on_operator is not None:
                self._on_operator()
            return operator(*args, **kwargs)
        self._busy = True
        try:
            return self._record(operator, facts, args, kwargs)
        finally:
            self._busy = False

    def _call_higher_order(
        self, operator: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        """Run an operator that takes functions; of `torch.cond`, the branch that is taken."""
        if getattr(operator, "__name__", "") != "cond":
            return operator(*args, **kwargs)
        condition, if_true, if_false, operands = args
        assert self._dispatch is not None
        with self._dispatch:
            return (if_true if bool(condition) else if_false)(*operands)

    def _record(
        self, operator: Any, facts: Facts, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        if self._pending:
            self._settle()
        writes = bool(facts.writes) or facts.hidden
        written = list(tensors_written(facts, args, kwargs)) if writes else ()
        keep = self.everything or facts.convolves or self._in_convolution()
        read: dict[int, Held] = {}
        if keep:
            for tensor in tensors_in(args, kwargs):
                read[id(tensor)] = self.hold(tensor)
        for tensor in written:
            self._save_before_write(tensor)
        result = operator(*args, **kwargs)
        if facts.aliases and isinstance(result, torch.Tensor) and read:
            # Another handle to the same numbers: no step of its own.
            held = next(iter(read.values()))
            self._by_id[id(result)] = held
            held.handles.append(result)
            return result
        if keep:
            record = Record(operator, args, kwargs, read, self._module_call, self._function_call)
            for tensor in tensors_in((result,), {}):
                held = self._keep(Held(tensor, _SET_LATER))
                record.outputs.append(held)
                self._pending.append(held)
                if written:
                    self._writers.setdefault(storage_of(tensor), []).append(held)
            if facts.hidden:
                # Later runs update running statistics without raising their version.
                for number in HIDDEN[facts.name][1]:
                    if isinstance(args[number], torch.Tensor):
                        held = read[id(args[number])]
                        held.saved = held.data if held.saved is not None else _copy(held.tensor)
            if facts.convolves:
                device = next(iter(read.values())).tensor.device.type
                if device not in self._settings:
                    self._settings[device] = settings_of(device)
                record.settings = self._settings[device]
            self.records.append(record)
        if self._on_operator is not None:
            self._on_operator()
        return result

    def _is_kept(self, facts: Facts, args: tuple[Any, ...]) -> bool:
        """Whether an operator matters when convolutions are kept: it is part of one, or writes."""
        if facts.convolves or facts.writes or (facts.hidden and args[HIDDEN[facts.name][0]]):
            return True
        return self._in_convolution()

    def _in_convolution(self) -> bool:
        """Whether what runs belongs to a convolution: padding, a batch axis on and off."""
        call = self._function_call
        if call is not None and call.name.startswith("conv"):
            return True
        return isinstance(self._module_call.module, torch.nn.modules.conv._ConvNd)

    def _save_before_write(self, tensor: torch.Tensor) -> None:
        storage = storage_of(tensor)
        if self._by_storage is None:
            self._by_storage = {}
            for held in self._all:
                self._file(held)
        if self._guarded != self._state.count:
            self._guard()
        for guarded in self._guarded_storages.pop(storage, ()):
            self.hold(guarded)
        for held in self._by_storage.pop(storage, ()):
            held.saved = _copy(held.tensor)
            self._written_before[id(held)] = len(self._writers.get(storage, ()))
            self._first_saved.setdefault(id(held.tensor), held)
            for handle in held.handles:
                self._overwritten[id(handle)] = held
                if self._by_id.get(id(handle)) is held:
                    del self._by_id[id(handle)]

    def _guard(self) -> None:
        """Note where the parameters and buffers lie that are to be put back."""
        tensors = self._state.tensors()
        self._guarded = len(tensors)
        for tensor in tensors:
            if id(tensor) not in self._first_saved:
                self._guarded_storages.setdefault(storage_of(tensor), []).append(tensor)


class _Functions(TorchFunctionMode):
    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return self._recorder.call_function(func, args, kwargs or {})


class _Dispatch(TorchDispatchMode):
    supports_higher_order_operators = True

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # PyTorch would wrap the method below so that its compiler leaves it alone, and import the
        # compiler for that, which takes longer than most traces. Compiled modules run eagerly here.
        return False

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return self._recorder.call_operator(func, args, kwargs or {})


def _copy(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().clone()
