"""The two sides of a comparison of networks: read, and run on the same input."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from convtrace.errors import ShapeError, UsageError
from convtrace.graph import Trace
from convtrace.mismatch.networks.align import align_inputs
from convtrace.mismatch.networks.network import Network
from convtrace.mismatch.networks.turned import channels_last, computing, first, last
from convtrace.mismatch.report import Note


def inputs_of(mine: Any, reference: Any, x: Any, inputs: Any) -> Any:
    """Say what two networks are to be run on; None where the question is of one convolution.

    Args:
        mine: As `ct.diff` takes it.
        reference: The same.
        x: One input, or None.
        inputs: Several, or nothing.
    """
    given = () if x is None else (x,)
    if inputs:
        return inputs
    if isinstance(mine, Trace):
        if isinstance(reference, Trace) or _is_file(reference) or _layers_in(reference) > 1:
            return given or _recorded(mine)
        return None
    if isinstance(reference, Trace):
        whole = _is_file(mine) or (callable(mine) and _layers_in(reference) > 1)
        return given or _recorded(reference) if whole else None
    if _is_file(reference):
        return given
    if _layers_in(reference) > 1 and (_is_file(mine) or callable(mine) or is_weights(mine)):
        return given
    return None


def _is_file(thing: Any) -> bool:
    return isinstance(thing, (str, Path)) and Path(thing).suffix.lower() == ".onnx"


def is_weights(thing: Any) -> bool:
    """Whether something is a state dict."""
    return isinstance(thing, Mapping) and all(
        hasattr(value, "shape") for value in cast("Mapping[Any, Any]", thing).values()
    )


def _layers_in(thing: Any) -> int:
    """Count the convolutions of a trace or of a module."""
    if isinstance(thing, Trace):
        return sum(step.kind == "convolution" for step in thing.steps.values())
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(thing, torch.nn.Module):
        return 0
    kind = torch.nn.modules.conv._ConvNd  # pyright: ignore[reportPrivateUsage]  # no public base
    return sum(isinstance(module, kind) for module in thing.modules())


def _recorded(trace: Trace) -> tuple[Any, ...]:
    return tuple(value.data for value in trace.inputs.values())


def trace_of(thing: Any, inputs: Any, label: str, notes: list[Note]) -> Trace:
    """Return the run of one side, and add remarks on it to the notes.

    Raises:
        UsageError: It is no network, or there is nothing to run it on.
    """
    if isinstance(thing, Trace):
        notes += [(f"diff_models.note.{note}", {"side": label}) for note in thing.notes]
        return thing
    if isinstance(thing, (str, Path)):
        trace = _trace_of_file(Path(thing), inputs, label)
    elif callable(thing):
        trace = _trace_of_callable(thing, inputs, label, notes)
    else:
        raise UsageError(
            f"{label} is no network: {type(thing).__name__}\n"
            "  Give a trace, an nn.Module or a function with inputs=(x,), or an ONNX file."
        )
    notes += [(f"diff_models.note.{note}", {"side": label}) for note in trace.notes]
    return trace


def with_weights(reference: Any, weights: Any, notes: list[Note]) -> Any:
    """Put a state dict into a copy of the reference, and say what it lacks or has too many."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(reference, torch.nn.Module):
        raise UsageError(
            f"mine is a state dict, and the reference is no module: {type(reference).__name__}\n"
            "  A state dict is put into a copy of the reference: give an nn.Module."
        )
    model = copy.deepcopy(reference)
    try:
        found = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise ShapeError(
            "the state dict does not fit the reference\n"
            f"  {str(error).strip()}\n"
            "  Give weights of the reference's own shapes."
        ) from error
    for key, listed in (("missing", found.missing_keys), ("unexpected", found.unexpected_keys)):
        if listed:
            words = {"count": len(listed), "names": ", ".join(listed[:8])}
            notes.append((f"diff_models.note.{key}_weights", words))
    return model


def _trace_of_file(path: Path, inputs: Any, label: str) -> Trace:
    if path.suffix.lower() != ".onnx":
        raise UsageError(
            f"{label} is no network: {path}\n"
            "  Of files, only ONNX files (.onnx) hold a network that can be run."
        )
    from convtrace.frontends.onnx import from_onnx

    if isinstance(inputs, Mapping):
        return from_onnx(path, cast("Mapping[str, Any]", inputs))
    given = list(inputs)
    if not given:
        raise _no_inputs(label)
    from convtrace.frontends.onnx_file import load_model
    from convtrace.frontends.onnx_inputs import expected_inputs

    expected = expected_inputs(load_model(path))
    if len(given) == 1:
        needed = [one for one in expected if not one.optional]
        shape = needed[0].shape if len(needed) == 1 else None
        return from_onnx(path, as_expected(given[0], shape))
    pairs = zip(expected, given, strict=False)
    return from_onnx(path, {one.name: as_expected(array, one.shape) for one, array in pairs})


def as_expected(array: Any, shape: tuple[int | str | None, ...] | None) -> Any:
    """Return an input with its channels last, if a file takes it so and only so.

    Example:
        >>> import numpy as np
        >>> as_expected(np.zeros((1, 3, 8, 8)), (None, 8, 8, 3)).shape
        (1, 8, 8, 3)
    """
    given = tuple(getattr(array, "shape", ()))
    if shape is None or len(given) != len(shape) or len(shape) not in (4, 5):
        return array
    order = last(len(shape))
    if _fits(given, shape) or not _fits(tuple(given[axis] for axis in order), shape):
        return array
    return array.permute(order) if hasattr(array, "permute") else array.transpose(order)


def _fits(given: tuple[int, ...], shape: tuple[int | str | None, ...]) -> bool:
    return all(not isinstance(n, int) or n == size for size, n in zip(given, shape, strict=True))


def _trace_of_callable(thing: Any, inputs: Any, label: str, notes: list[Note]) -> Trace:
    if not inputs:
        raise _no_inputs(label)
    if isinstance(inputs, Mapping):
        named = cast("Mapping[str, Any]", inputs)
        found, step = run_twice(thing, **{name: _tensor(one) for name, one in named.items()})
    else:
        found, step = run_twice(thing, *map(_tensor, inputs))
    notes += random_notes(label, step)
    return found


def run_twice(
    thing: Any, *inputs: Any, on_operator: Callable[[], None] | None = None, **named: Any
) -> tuple[Trace, str | None]:
    """Trace a model, and again with other random numbers: chance must not look like a bug.

    Returns:
        The first run, and the step from which the second one differs: empty if it ran other
        steps, None if it is the same.

    Raises:
        ModelError: The model raised.
    """
    import torch

    from convtrace.frontends.torch import trace

    with torch.no_grad():
        first = trace(thing, *inputs, on_operator=on_operator, **named)
        with torch.random.fork_rng(devices=[]):  # else it would draw the same numbers again
            torch.manual_seed(torch.initial_seed() + 1)  # pyright: ignore[reportUnknownMemberType]  # torch leaves it open
            second = trace(thing, *inputs, on_operator=on_operator, **named)
    return first, first_random(first, second)


def first_random(first: Trace, second: Trace) -> str | None:
    """Name the step from which two runs differ; empty if they ran other steps, None if none."""
    import torch

    one, two = list(first.steps.values()), list(second.steps.values())
    if [(step.kind, step.shape) for step in one] != [(step.kind, step.shape) for step in two]:
        return ""
    for a, b in zip(one, two, strict=True):
        left, right = a.value.tensor(), b.value.tensor()
        if not torch.equal(left.nan_to_num(), right.nan_to_num()):
            return a.name
    return None


def random_notes(label: str, step: str | None) -> list[Note]:
    """Say that a side is not deterministic, if it is not."""
    if step is None:
        return []
    if not step:
        return [("diff_models.note.other_steps", {"side": label})]
    return [("diff_models.note.nondeterministic", {"side": label, "step": step})]


def _tensor(thing: Any) -> Any:
    import numpy as np
    import torch

    return torch.from_numpy(thing) if isinstance(thing, np.ndarray) else thing


def _no_inputs(label: str) -> UsageError:
    return UsageError(
        f"{label} has to be run, and there is nothing to run it on\n"
        "  Give inputs=(x,): one for each argument."
    )


def check_inputs(mine: Network, reference: Network) -> None:
    """Raise `ShapeError` if the two were run on inputs of different shapes."""
    ours = [value.shape for value in mine.inputs.values()]
    theirs = [value.shape for value in reference.inputs.values()]
    if ours and theirs and not set(ours) & set(theirs):
        raise ShapeError(
            "the two were run on inputs of different shapes\n"
            f"  {mine.label}       {', '.join(map(str, ours))}\n"
            f"  {reference.label}  {', '.join(map(str, theirs))}\n"
            "  Run both on the same numbers."
        )


def differing_inputs(mine: Network, reference: Network) -> list[Note]:
    """Say where the two were not run on the same numbers."""
    found: list[Note] = []
    for name, other in align_inputs(mine, reference).items():
        ours, theirs = mine.inputs[other].tensor(), reference.inputs[name].tensor()
        apart = (ours.double() - theirs.double()).abs().nan_to_num(0.0, 0.0, 0.0)
        if bool((apart > 0).any()):
            words = {"name": name, "largest": float(apart.max())}
            found.append(("diff_models.note.inputs_differ", words))
    return found


def in_one_layout(mine: Network, reference: Network, notes: list[Note]) -> tuple[Network, Network]:
    """Tell both networks with channels first, where one of them has them last and the other not."""
    ours, theirs = mine.trace.inputs, reference.trace.inputs
    given: set[str] = set()
    for (name, value), other in zip(ours.items(), theirs.values(), strict=False):
        axes = len(value.shape)
        apart = axes in (4, 5) and value.shape != other.shape
        if apart and tuple(value.shape[a] for a in first(axes)) == other.shape:
            given.add(name)
    left = channels_last(mine.trace, frozenset(given))
    right = channels_last(reference.trace)
    if computing(mine.trace, left) == computing(reference.trace, right) and not given:
        return mine, reference
    for network, names in ((mine, left), (reference, right)):
        if count := computing(network.trace, names):
            words = {"side": network.label, "count": count}
            notes.append(("diff_models.note.channels_last", words))
    return Network(mine.trace, mine.label, left), Network(reference.trace, reference.label, right)
