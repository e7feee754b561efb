"""Inputs of a model: made from a seed, fitted to its number type, or asked for."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import nn

from convtrace.errors import UsageError
from convtrace.loading.arrays import Loaded, survives

_EXTENTS = {1: "64", 2: "224,224", 3: "16,64,64"}


def random_input(shape: Sequence[int], seed: int) -> Loaded:
    """Draw an input from the standard normal distribution.

    Args:
        shape: Sizes of the axes, e.g. `(1, 3, 224, 224)`.
        seed: Seed; the same seed and shape give the same numbers. The global random state is not
            touched.

    Raises:
        UsageError: There is not enough memory for this shape.

    Example:
        >>> random_input((1, 1, 2, 2), 0).tensor.shape
        torch.Size([1, 1, 2, 2])
    """
    generator = torch.Generator().manual_seed(seed)
    try:
        tensor = torch.randn(tuple(shape), generator=generator)
    except (RuntimeError, MemoryError) as error:
        reason = str(error).split("\n")[0]
        raise UsageError(
            f"cannot make a random input of shape {tuple(shape)}\n"
            f"  {reason}\n"
            "  Ask for a smaller one; most networks take any height and width."
        ) from error
    return Loaded(tensor, "")


def fit(loaded: Loaded, model: Any) -> Loaded:
    """Bring an input to the number type and device of a model's parameters.

    NumPy files are float64 and pixels are integers where most networks compute in float32, so an
    input of another type is converted, and a note says so. Integers stay for a model with an
    embedding, which looks them up.
    """
    if not isinstance(model, nn.Module):
        return loaded
    parameter = next((p for p in model.parameters() if p.is_floating_point()), None)
    if parameter is None:
        return loaded
    tensor = loaded.tensor
    if tensor.is_complex() or (
        not tensor.is_floating_point()
        and any(isinstance(m, nn.Embedding | nn.EmbeddingBag) for m in model.modules())
    ):
        return replace(loaded, tensor=tensor.to(parameter.device))
    fitted = tensor.to(parameter.device, parameter.dtype)
    if tensor.dtype == parameter.dtype:
        return replace(loaded, tensor=fitted)
    note = (
        "cli.note.converted" if survives(tensor, fitted.dtype) else "cli.note.rounded",
        {
            "file": loaded.source,
            "from_type": _name(tensor.dtype),
            "to_type": _name(parameter.dtype),
        },
    )
    notes = loaded.notes if not loaded.source else (*loaded.notes, note)
    return replace(loaded, tensor=fitted, notes=notes)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def needs_input(model: Any) -> bool:
    """Whether a model cannot be called without arguments."""
    call = model.forward if isinstance(model, nn.Module) else model
    try:
        parameters = inspect.signature(call).parameters.values()
    except (TypeError, ValueError):
        return True
    return any(
        p.kind is p.VAR_POSITIONAL or (p.default is p.empty and p.kind is not p.VAR_KEYWORD)
        for p in parameters
    )


def missing_input(name: str, model: Any) -> UsageError:
    """Make the error of a model that was given nothing to compute with.

    Args:
        name: The model as the reader named it.
        model: The model, to look up what it reads.
    """
    lines = [f"no input for {name}"]
    example = "1,3,224,224"
    found = first_convolution(model)
    if found is not None:
        path, convolution = found
        channels = str(convolution.in_channels or "C")
        spatial = len(convolution.kernel_size)
        example = f"1,{channels},{_EXTENTS[spatial]}"
        what = f"{path} ({type(convolution).__name__})" if path else type(convolution).__name__
        noun = "channel" if channels == "1" else "channels"
        lines.append(f"  its first convolution, {what}, reads {channels} {noun}")
    names = _positional(model)
    if len(names) > 1:
        lines.append(f"  it takes {len(names)} inputs ({', '.join(names)}); repeat the option")
    lines.append(f"  Pass --random {example} for random numbers of that shape, or --input FILE.")
    return UsageError("\n".join(lines))


def _positional(model: Any) -> list[str]:
    call = model.forward if isinstance(model, nn.Module) else model
    try:
        parameters = inspect.signature(call).parameters.values()
    except (TypeError, ValueError):
        return []
    return [
        p.name
        for p in parameters
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]


def first_convolution(model: Any) -> tuple[str, Any] | None:
    """Return path and module of the convolution that reads the input, where that is plain.

    The first convolution that the model lists; None if another layer with weights comes before.
    """
    if not isinstance(model, nn.Module):
        return None
    for path, module in cast("Iterable[tuple[str, Any]]", model.named_modules()):
        if isinstance(module, nn.modules.conv._ConvNd):  # pyright: ignore[reportPrivateUsage]
            return path, module
        if isinstance(module, nn.Linear | nn.Embedding):
            return None
    return None
