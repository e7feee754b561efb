"""PyTorch runs: `convtrace.trace`."""

from __future__ import annotations

import contextlib
import functools
import inspect
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal

import torch
from torch.utils._pytree import tree_leaves

from convtrace.errors import (
    EmptyTensorError,
    ModelError,
    NoConvolutionError,
    NoValueError,
    UsageError,
)
from convtrace.frontends.torch_recorder import CONVOLUTIONS, Recorder
from convtrace.frontends.torch_state import Unchanged
from convtrace.frontends.torch_steps import draft_steps, flushes_subnormals, name_steps
from convtrace.graph import Parts, Trace

Keep = Literal["everything", "convolutions"]


def trace(
    model: Callable[..., Any],
    *inputs: Any,
    keep: Keep = "everything",
    on_operator: Callable[[], None] | None = None,
    **kwargs: Any,
) -> Trace:
    """Run a model once and record every step, so that any number in it can be explained.

    The model is left as it was, after success and after failure: parameters, buffers (running
    statistics too), mode, hooks, gradients and random state. Tensors are held by reference; only
    what the run itself overwrites in place is copied first.

    Args:
        model: Any `nn.Module`, or any callable that computes with tensors. Modules and tensors
            that a plain function refers to by a name are called by that name.
        *inputs: Positional arguments of the model. The tensors among them are the inputs,
            called `input`, `input:2`, … in order.
        keep: `everything`, or `convolutions` for less time and memory: then the descent stops
            at the input of each convolution.
        on_operator: Called after each operator that ran, e.g. to move a progress bar.
        **kwargs: Keyword arguments of the model.

    Returns:
        The trace.

    Raises:
        ModelError: The model raised; its own error is chained.
        NoConvolutionError: The model ran, but no convolution did.
        EmptyTensorError: An input holds no numbers.
        NoValueError: An input is sparse, or on the meta device.

    Example:
        >>> import torch, convtrace as ct
        >>> conv = torch.nn.Conv2d(2, 1, 2, bias=False)
        >>> trace = ct.trace(conv, torch.arange(18.0).reshape(1, 2, 3, 3))
        >>> trace.why("conv2d[0,0,0,0]").verdict in ("exact", "rounding")
        True
    """
    if not callable(model):
        raise UsageError(
            f"not a model: {type(model).__name__} cannot be called\n"
            "  Pass an nn.Module or a function, then its inputs: ct.trace(model, x)."
        )
    if keep not in ("everything", "convolutions"):
        raise UsageError(
            f"keep = {keep!r}\n  It is 'everything' or 'convolutions'."
        )
    given = [leaf for leaf in tree_leaves((inputs, kwargs)) if isinstance(leaf, torch.Tensor)]
    for number, tensor in enumerate(given):
        _check_input(_input_name(number), tensor)
    roots, loose = _named_parts(model)
    modules = all_modules(roots)
    _check_initialized(modules)
    compiled = any(_is_compiled(module) for module in modules.values())
    recorder = Recorder(
        lambda: _all_tensors(modules.values()),
        everything=keep == "everything",
        on_operator=on_operator,
    )
    flushes = flushes_subnormals()
    with Unchanged(modules.values()) as state:
        for tensor in given:
            recorder.hold(tensor)
        try:
            with _eagerly(compiled), recorder:
                output = model(*inputs, **kwargs)
        except Exception as error:
            raise _model_error(recorder, modules, error) from error
        finally:
            for overwritten, copy in recorder.overwritten():
                state.write_back(overwritten, copy)
    if not any(record.op in CONVOLUTIONS for record in recorder.records):
        raise _no_convolution(recorder)

    def parts() -> Parts:
        return Parts(
            *name_steps(
                draft_steps(recorder.records, recorder.returned(output), flushes=flushes),
                recorder.calls,
                {id(module): path for path, module in reversed(modules.items())},
                _known_tensors(modules, loose, given),
            )
        )

    return Trace(parts, notes=["compiled"] if compiled else [], output=output)


@contextlib.contextmanager
def _eagerly(compiled: bool) -> Iterator[None]:
    """Run compiled modules as they were written; the operators of a compiled one are fused."""
    if not compiled:
        yield
        return
    with torch.compiler.set_stance("force_eager"), warnings.catch_warnings():
        # torch.compile warns of global module hooks; ours are meant to see the compiled module.
        warnings.filterwarnings("ignore", message="Using `torch.compile.module.`")
        yield


def _input_name(number: int) -> str:
    return "input" if number == 0 else f"input:{number + 1}"


def _check_input(name: str, tensor: torch.Tensor) -> None:
    if tensor.is_meta or tensor.layout is not torch.strided:
        raise NoValueError(
            f"{name} has no numbers to read\n"
            f"  shape {tuple(tensor.shape)}, layout {tensor.layout}, device {tensor.device}\n"
            "  Pass a dense tensor on a real device."
        )
    if tensor.numel() == 0:
        raise EmptyTensorError(
            f"{name} is empty\n"
            f"  shape {tuple(tensor.shape)}\n"
            "  Give it at least one number on every axis."
        )


def all_modules(roots: Mapping[str, torch.nn.Module]) -> dict[str, torch.nn.Module]:
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
        children = module._modules.items()
        stack += [(_join(path, name), child) for name, child in reversed(children) if child]
    return found


def _check_initialized(modules: Mapping[str, torch.nn.Module]) -> None:
    for path, module in modules.items():
        if isinstance(module, torch.nn.modules.lazy.LazyModuleMixin):
            if module.has_uninitialized_params():
                raise UsageError(
                    f"{path or type(module).__name__} has no weights yet: it is a lazy module\n"
                    "  Run the model once on an input, then trace it."
                )


def _is_compiled(module: torch.nn.Module) -> bool:
    return type(module).__name__ == "OptimizedModule" or (
        getattr(module, "_compiled_call_impl", None) is not None
    )


def _named_parts(
    model: Callable[..., Any],
) -> tuple[dict[str, torch.nn.Module], dict[str, torch.Tensor]]:
    """Find the modules and tensors that a callable uses, by the name it has for them.

    Returns:
        Modules by prefix (`""` for a model that is a module itself), and loose tensors by name.
    """
    function: Any = model
    while isinstance(function, functools.partial):
        function = function.func
    owner = getattr(function, "__self__", None)
    if isinstance(function, torch.nn.Module):
        inner = getattr(function, "_orig_mod", function)
        return {"": inner} if inner is function else {"": inner, "compiled": function}, {}
    if isinstance(owner, torch.nn.Module):
        return {"": owner}, {}
    function = inspect.unwrap(function) if callable(function) else function
    if not inspect.isfunction(function):
        parts = vars(function) if hasattr(function, "__dict__") else {}
    else:
        found = inspect.getclosurevars(function)
        parts = {**found.globals, **found.nonlocals}
    modules: dict[str, torch.nn.Module] = {}
    tensors: dict[str, torch.Tensor] = {}
    for name, part in parts.items():
        if isinstance(part, torch.nn.Module):
            modules[name] = part
        elif isinstance(part, torch.Tensor):
            tensors[name] = part
    return modules, tensors


def _join(prefix: str, name: str) -> str:
    return ".".join(part for part in (prefix, name) if part)


def _known_tensors(
    modules: Mapping[str, torch.nn.Module],
    loose: Mapping[str, torch.Tensor],
    given: list[torch.Tensor],
) -> dict[int, tuple[str, str]]:
    """Name inputs, parameters and buffers; an input that is also a parameter is an input."""
    known: dict[int, tuple[str, str]] = {}
    for number, tensor in enumerate(given):
        known.setdefault(id(tensor), (_input_name(number), "input"))
    for name, tensor in _tensors(modules):
        known.setdefault(id(tensor), (name, "parameter"))
    for name, tensor in loose.items():
        known.setdefault(id(tensor), (name, "constant"))
    return known


def _all_tensors(modules: Iterable[torch.nn.Module]) -> list[torch.Tensor]:
    """List the parameters and buffers of modules."""
    tables = [table for m in modules for table in (m._parameters, m._buffers)]
    return [tensor for table in tables for _, tensor in table.items() if tensor is not None]


def _tensors(modules: Mapping[str, torch.nn.Module]) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the parameters and buffers of modules with their paths."""
    for path, module in modules.items():
        for table in (module._parameters, module._buffers):
            for name, tensor in table.items():
                if tensor is not None:
                    yield _join(path, name), tensor


def _model_error(
    recorder: Recorder, modules: Mapping[str, torch.nn.Module], error: Exception
) -> ModelError:
    paths = {id(module): path for path, module in reversed(modules.items())}
    where = [paths.get(id(module), "") for module in recorder.running()]
    names = [name for name in where if name]
    last = f" while {names[-1]} ran" if names else ""
    return ModelError(
        f"the model raised {type(error).__name__}{last}\n"
        f"  {str(error).strip() or type(error).__name__}\n"
        f"  {len(recorder.records)} operators had run. The model was left as it was."
    )


def _no_convolution(recorder: Recorder) -> NoConvolutionError:
    ran = list(dict.fromkeys(record.op.split("::")[-1] for record in recorder.records))
    listed = ", ".join(ran[:12]) + (", …" if len(ran) > 12 else "")
    return NoConvolutionError(
        "the model ran, but no convolution did\n"
        f"  operators that ran: {listed or 'none'}\n"
        "  Pass a model that calls nn.Conv1d, Conv2d, Conv3d, a transposed one, or "
        "torch.nn.functional.conv2d."
    )
