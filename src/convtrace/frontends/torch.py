"""PyTorch runs: `convtrace.trace`."""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import Any, Literal

import torch
from torch.nn.modules.lazy import LazyModuleMixin
from torch.utils._pytree import tree_leaves

from convtrace.errors import (
    ConvtraceError,
    EmptyTensorError,
    ModelError,
    NoConvolutionError,
    NoValueError,
    UsageError,
)
from convtrace.frontends.torch_backward import BackwardRecorder
from convtrace.frontends.torch_gradients import Gradients, in_order
from convtrace.frontends.torch_loss import Loss, differentiable, differentiating, run_backward
from convtrace.frontends.torch_names import held_value, name_steps
from convtrace.frontends.torch_operators import CONVOLUTIONS, flushes_subnormals
from convtrace.frontends.torch_record import Held
from convtrace.frontends.torch_recorder import Recorder
from convtrace.frontends.torch_state import Unchanged, all_modules, join
from convtrace.frontends.torch_steps import draft_steps
from convtrace.graph import Parts, Trace

Keep = Literal["everything", "convolutions"]


def trace(
    model: Callable[..., Any],
    *inputs: Any,
    keep: Keep = "everything",
    on_operator: Callable[[], None] | None = None,
    backward: bool = False,
    loss: Loss | None = None,
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
        backward: Run the backward pass as well, so that gradients can be explained:
            `conv1.weight.grad[0,0,1,1]`, `input.grad[0,0,2,1]`, `conv1.grad[0,1,0,0]`. It starts
            from the number that the model returned (or its output's `loss`), unless the model is
            a function that calls `backward` itself.
        loss: With `backward=True`: makes one number of the model's output.
        **kwargs: Keyword arguments of the model.

    Returns:
        The trace.

    Raises:
        ModelError: The model raised; its own error is chained.
        NoConvolutionError: The model ran, but no convolution did.
        EmptyTensorError: An input holds no numbers.
        NoValueError: An input is sparse, or on the meta device.
        UsageError: The options do not fit together, or there is no number to start a backward
            pass from.

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
        raise UsageError(f"keep = {keep!r}\n  It is 'everything' or 'convolutions'.")
    if (loss is not None and not backward) or (backward and keep != "everything"):
        raise UsageError(
            f"backward = {backward}, keep = {keep!r}, loss {'not ' * (loss is None)}given\n"
            "  loss= needs backward=True, and backward=True needs keep='everything'."
        )
    given = [leaf for leaf in tree_leaves((inputs, kwargs)) if isinstance(leaf, torch.Tensor)]
    for number, tensor in enumerate(given):
        _check_input(_input_name(number), tensor)
    roots, loose = _named_parts(model, inputs, kwargs)
    modules = all_modules(roots)
    _check_initialized(modules)
    for path, module in modules.items():
        for name, parameter in module._parameters.items():
            if parameter is not None and parameter.is_meta:
                _check_input(join(path, name), parameter)
    state = Unchanged()
    watching = BackwardRecorder if backward else Recorder
    recorder = watching(state, everything=keep == "everything", on_operator=on_operator)
    flushes = flushes_subnormals()
    with state:
        state.watch(modules.values())
        if backward:
            inputs, kwargs = differentiable((inputs, kwargs), set(map(id, state.tensors())))
            state.keep(loose.values())
            given = [x for x in tree_leaves((inputs, kwargs)) if isinstance(x, torch.Tensor)]
        inputs_held = [recorder.hold(tensor) for tensor in given]
        try:
            with _eagerly(), recorder, differentiating() if backward else contextlib.nullcontext():
                output = model(*inputs, **kwargs)
                if isinstance(recorder, BackwardRecorder):
                    run_backward(output, loss, recorder)
        except UsageError:
            raise
        except Exception as error:
            raise _model_error(recorder, modules, error) from error
        finally:
            recorder.keep_overwritten()
            for overwritten, copy in recorder.overwritten():
                state.write_back(overwritten, copy)
    compiled = recorder.compiled or (
        "torch._dynamo" in sys.modules and any(map(_is_compiled, (model, *modules.values())))
    )
    if not any(record.op in CONVOLUTIONS for record in recorder.records):
        raise _no_convolution(recorder, output)
    _keep_untracked([*inputs_held, *recorder.returned(output)])
    tables = state.tables()

    def parts() -> Parts:
        known = _known_tensors(modules, tables, loose, given)
        backwards = recorder if isinstance(recorder, BackwardRecorder) else None
        records = backwards.forward_records if backwards else recorder.records
        try:
            drafts = draft_steps(records, recorder.returned(output), flushes=flushes)
        except ConvtraceError:
            for held in inputs_held:  # one that was resized later no longer fits its operators
                held_value(held, known[id(held.tensor)][0], "input").check()
            raise
        if backwards:
            drafts = in_order(backwards, drafts, Gradients(backwards, drafts, known).drafts)
        paths = {id(module): path for path, module in reversed(modules.items())}
        return Parts(*name_steps(drafts, recorder.calls, paths, known, inputs_held))

    return Trace(parts, notes=["compiled"] if compiled else [], output=output)


def _keep_untracked(held: Iterable[Held]) -> None:
    """Copy inputs and outputs that keep no version counter: later changes would go unnoticed."""
    for one in held:
        if one.saved is None and one.tensor.is_inference():
            one.saved = one.tensor.clone()


@contextlib.contextmanager
def _eagerly() -> Generator[None]:
    """Run what is compiled as it was written; the operators of a compiled model are fused."""
    if "torch._dynamo" not in sys.modules:
        yield  # nothing can have been compiled
        return
    with torch.compiler.set_stance("force_eager"), warnings.catch_warnings():
        # torch.compile warns of global module hooks; ours are meant to see the compiled module.
        warnings.filterwarnings("ignore", message="Using `torch.compile.module.`")
        yield


def _input_name(number: int) -> str:
    return "input" if number == 0 else f"input:{number + 1}"


def _check_input(name: str, tensor: torch.Tensor) -> None:
    fake = type(tensor).__name__ == "FakeTensor"
    if fake or tensor.is_meta or tensor.layout is not torch.strided:
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


def _check_initialized(modules: Mapping[str, torch.nn.Module]) -> None:
    for path, module in modules.items():
        lazy: Any = module if isinstance(module, LazyModuleMixin) else None
        if lazy is not None and lazy.has_uninitialized_params():
            raise UsageError(
                f"{path or type(module).__name__} has no weights yet: it is a lazy module\n"
                "  Run the model once on an input, then trace it."
            )


def _is_compiled(part: Any) -> bool:
    """Whether a module or a function was given to `torch.compile`."""
    if isinstance(part, torch.nn.Module):  # asking a module for what it lacks is slow
        kept = vars(part)
        return (
            type(part).__name__ == "OptimizedModule"
            or kept.get("_compiled_call_impl") is not None
            or "_torchdynamo_orig_callable" in kept
        )
    return hasattr(part, "_torchdynamo_orig_callable")


def _named_parts(
    model: Callable[..., Any], inputs: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[dict[str, torch.nn.Module], dict[str, torch.Tensor]]:
    """Find the modules and tensors that a callable uses, by the name it has for them.

    Returns:
        Modules by prefix (`""` for a model that is a module itself), and loose tensors by name.
    """
    function: Any = model
    while isinstance(function, functools.partial):
        function = function.func
    if isinstance(function, torch.nn.Module):
        inner = getattr(function, "_orig_mod", function)
        return {"": inner} if inner is function else {"": inner, "compiled": function}, {}
    owner = getattr(function, "__self__", None)
    if isinstance(owner, torch.nn.Module):
        return {"": owner}, {}
    parts: dict[str, Any] = dict(vars(owner)) if hasattr(owner, "__dict__") else {}
    function = inspect.unwrap(getattr(function, "__func__", function))
    if inspect.isfunction(function):
        parts.update(_names_in(function))
        with contextlib.suppress(TypeError, ValueError):
            parts.update(inspect.signature(function).bind_partial(*inputs, **kwargs).arguments)
    elif hasattr(function, "__dict__"):
        parts.update(vars(function))
    modules: dict[str, torch.nn.Module] = {}
    tensors: dict[str, torch.Tensor] = {}
    for name, part in parts.items():
        for path, leaf in _leaves(name, part):
            if isinstance(leaf, torch.nn.Module):
                modules[path] = leaf
            else:
                tensors[path] = leaf
    return modules, tensors


def _names_in(function: Any) -> dict[str, Any]:
    """Return what the code of a function refers to outside itself, by name."""
    code = function.__code__
    found = {
        name: function.__globals__[name] for name in code.co_names if name in function.__globals__
    }
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # not bound yet
            found[name] = cell.cell_contents
    return found


def _leaves(name: str, part: Any) -> Iterator[tuple[str, torch.nn.Module | torch.Tensor]]:
    """Yield the modules and tensors in a value, or one level deep in a list or dict."""
    if isinstance(part, torch.nn.Module | torch.Tensor):
        yield name, part
        return
    items: Iterable[tuple[Any, Any]] = part.items() if isinstance(part, dict) else ()
    if isinstance(part, list | tuple):
        items = enumerate(part)
    for key, value in items:
        if isinstance(value, torch.nn.Module | torch.Tensor):
            yield join(name, str(key)), value


def _known_tensors(
    modules: Mapping[str, torch.nn.Module],
    tables: Mapping[int, tuple[dict[str, Any], dict[str, Any]]],
    loose: Mapping[str, torch.Tensor],
    given: list[torch.Tensor],
) -> dict[int, tuple[str, str]]:
    """Name inputs, parameters and buffers; an input that is also a parameter is an input."""
    known: dict[int, tuple[str, str]] = {}
    for number, tensor in enumerate(given):
        known.setdefault(id(tensor), (_input_name(number), "input"))
    for path, module in modules.items():
        for table in tables.get(id(module), (module._parameters, module._buffers)):
            for name, tensor in table.items():
                if tensor is not None:
                    known.setdefault(id(tensor), (join(path, name), "parameter"))
    for name, tensor in loose.items():
        known.setdefault(id(tensor), (name, "constant"))
    return known


def _model_error(
    recorder: Recorder, modules: dict[str, torch.nn.Module], error: Exception
) -> ModelError:
    paths = {id(module): path for path, module in reversed(modules.items())}
    names = [paths.get(id(module), "") for module in _modules_of(error)]
    inner = [name for name in names if name]
    last = f" while {inner[-1]} ran" if inner else ""
    return ModelError(
        f"the model raised {type(error).__name__}{last}\n"
        f"  {str(error).strip() or type(error).__name__}\n"
        f"  {len(recorder.records)} operators had run. The model was left as it was."
    )


def _modules_of(error: BaseException) -> list[torch.nn.Module]:
    """List the modules whose methods were running when an error was raised, outermost first."""
    found: list[torch.nn.Module] = []
    frame = error.__traceback__
    while frame is not None:
        owner = frame.tb_frame.f_locals.get("self")
        if isinstance(owner, torch.nn.Module) and (not found or found[-1] is not owner):
            found.append(owner)
        frame = frame.tb_next
    return found


def _no_convolution(recorder: Recorder, output: Any) -> NoConvolutionError:
    if inspect.isgenerator(output) or inspect.iscoroutine(output):
        return NoConvolutionError(
            f"the model returned a {type(output).__name__}, which has not run yet\n"
            "  Trace a function that runs it to its end: ct.trace(lambda x: list(model(x)), x)."
        )
    ran = [name.split("::")[-1] for name in recorder.names]
    listed = ", ".join(ran[:12]) + (", …" if len(ran) > 12 else "")
    if any(name.startswith("quantized::conv") for name in recorder.names):
        return NoConvolutionError(
            "the convolutions that ran are quantized by PyTorch, which hides their numbers\n"
            f"  operators that ran: {listed}\n"
            "  Trace the model before it is converted, or export it to ONNX (QDQ) and use "
            "ct.from_onnx:\n  there quantized convolutions have exact integer receipts."
        )
    return NoConvolutionError(
        "the model ran, but no convolution did\n"
        f"  operators that ran: {listed or 'none'}\n"
        "  Pass a model that calls nn.Conv1d, Conv2d, Conv3d, a transposed one, or "
        "torch.nn.functional.conv2d."
    )
