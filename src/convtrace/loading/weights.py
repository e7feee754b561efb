"""Reading weights into a model: `.safetensors`, or `.pt` of which only tensors are unpickled."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from convtrace.errors import FileFormatError, ShapeError, UnsafeFileError, UsageError
from convtrace.loading.arrays import Note, survives
from convtrace.loading.files import (
    KINDS,
    check_file,
    is_broken_zip,
    kind_of,
    reading,
    shown,
    wrong_kind,
)

TORCH_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt")
SUFFIXES = (".safetensors", *TORCH_SUFFIXES)
"""Suffixes of the files that can hold weights."""

_WRAPPERS = ("state_dict", "model_state_dict", "model", "weights", "params", "net", "module")
_PREFIXES = ("module.", "_orig_mod.", "model.")
_LISTED = 20

Weights = dict[str, torch.Tensor]


def load_weights(model: Any, text: str) -> tuple[Note, ...]:
    """Read weights from a file into a model, in place.

    Every name and every shape has to fit. A prefix that data-parallel or compiled models put
    before all names is taken away, and a checkpoint's inner table of weights is found; notes say
    so.

    Args:
        model: The model.
        text: Path of the file.

    Returns:
        Remarks on how the weights were read.

    Raises:
        MissingFileError: There is no such file.
        FileFormatError: It is truncated, damaged, of another format, or holds no weights.
        UnsafeFileError: It holds more than tensors: reading it would run code.
        ShapeError: Names or shapes do not fit the model; the message lists each.
        UsageError: The suffix is unknown, or the model is a function.
    """
    path = Path(text)
    if not isinstance(model, nn.Module):
        raise UsageError(
            f"--weights needs a model that is an nn.Module; this one is a {type(model).__name__}\n"
            "  Pass the module, or a function without arguments that makes it."
        )
    weights, notes = read_weights(path)
    state = model.state_dict()
    weights, prefix = _without_prefix(weights, state)
    if prefix:
        notes = (*notes, ("cli.note.prefix", {"file": shown(path), "prefix": prefix}))
    _check_fit(path, weights, state)
    rounded = sorted(
        {
            f"{_name(weights[key])} → {_name(state[key])}"
            for key in weights
            if key in state and not survives(weights[key], state[key].dtype)
        }
    )
    if rounded:
        details = {"file": shown(path), "types": ", ".join(rounded)}
        notes = (*notes, ("cli.note.weights_rounded", details))
    with reading(path, "weights"):
        model.load_state_dict(weights, strict=False)
    return notes


def read_weights(path: Path) -> tuple[Weights, tuple[Note, ...]]:
    """Read a table of weights from a file: tensors by name, and remarks."""
    check_file(path)
    kind = kind_of(path)
    suffix = path.suffix.lower()
    if kind in ("pickle", "torchscript"):
        raise _unsafe(path, f"it is {KINDS[kind]}")
    if suffix not in SUFFIXES:
        known = KINDS[kind] if kind not in ("text", "unknown", "zip") else ""
        raise UsageError(
            f"cannot tell how to read weights from {shown(path)}\n"
            f"  weights end in {' '.join(SUFFIXES)}"
            + (f"\n  By its content it is {known}." if known else "")
        )
    if suffix == ".safetensors":
        if kind != "safetensors":
            raise wrong_kind(path, KINDS["safetensors"], kind)
        import safetensors.torch

        with reading(path, KINDS["safetensors"]):
            return cast("Any", safetensors.torch).load_file(path), ()
    if kind not in ("torch", "torch-old"):
        raise wrong_kind(path, KINDS["torch"], kind)
    return _table(path, _load_torch(path))


def _load_torch(path: Path) -> Any:
    try:
        with reading(path, KINDS["torch"]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileFormatError as error:
        cause = error.__cause__
        if isinstance(cause, pickle.UnpicklingError) and not is_broken_zip(path):
            raise _unsafe(path, _forbidden(str(cause))) from cause
        raise


def _forbidden(message: str) -> str:
    """Return what the restricted unpickler met, from its long message."""
    for line in message.split("\n"):
        found = line.removeprefix("WeightsUnpickler error:").strip()
        if found.startswith(("Unsupported", "Trying to load unsupported", "GLOBAL")) or (
            "WeightsUnpickler error: Unsupported" in line
        ):
            return found.split("WeightsUnpickler error: ")[-1]
    return "it holds more than tensors"


def _unsafe(path: Path, reason: str) -> UnsafeFileError:
    return UnsafeFileError(
        f"{shown(path)} cannot be read without running code from it, or is damaged\n"
        f"  {reason}\n"
        "  convtrace reads tables of tensors only. Where you trust the file, save its weights "
        "once:\n"
        "  import torch\n"
        "  from safetensors.torch import save_file\n"
        f"  model = torch.load({str(path)!r}, weights_only=False)\n"
        '  save_file(model.state_dict(), "weights.safetensors")\n'
        "  Then pass --weights weights.safetensors."
    )


def _table(path: Path, loaded: Any) -> tuple[Weights, tuple[Note, ...]]:
    """Find the table of weights in what a `.pt` file holds."""
    found = _tensors(loaded)
    if found is not None:
        return found, ()
    if isinstance(loaded, Mapping):
        entries = cast("Mapping[Any, Any]", loaded)
        for key in _WRAPPERS:
            inner = _tensors(entries.get(key))
            if inner is not None:
                return inner, (("cli.note.inner_table", {"file": shown(path), "key": key}),)
        listed = ", ".join(
            f"{key!r}: {type(value).__name__}" for key, value in list(entries.items())[:12]
        )
        what = f"a table of {listed}" if listed else "an empty table"
    else:
        what = f"a {type(loaded).__name__}"
    raise FileFormatError(
        f"{shown(path)} holds no weights\n"
        f"  it holds {what}\n"
        "  Save the weights by name: torch.save(model.state_dict(), path)"
    )


def _tensors(table: Any) -> Weights | None:
    if not isinstance(table, Mapping) or not table:
        return None
    entries = cast("Mapping[Any, Any]", table)
    if not all(isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in entries.items()):
        return None
    return dict(entries)


def _without_prefix(
    weights: Weights, state: Mapping[str, torch.Tensor]
) -> tuple[Weights, str | None]:
    """Take away the prefix that a wrapper put before every name, if that makes names fit."""
    if weights.keys() & state.keys():
        return weights, None
    for prefix in _PREFIXES:
        shorter = {key.removeprefix(prefix): value for key, value in weights.items()}
        if all(key.startswith(prefix) for key in weights) and shorter.keys() & state.keys():
            return shorter, prefix
    return weights, None


def _check_fit(path: Path, weights: Weights, state: Mapping[str, torch.Tensor]) -> None:
    """Raise `ShapeError` unless names and shapes of the weights are those of the model."""
    tied = {_storage(state[key]) for key in weights if key in state} - {None}
    missing = [
        key
        for key in state
        if key not in weights
        and _storage(state[key]) not in tied
        and not key.endswith("num_batches_tracked")  # older files lack it, and torch allows it
    ]
    unexpected = [key for key in weights if key not in state]
    other = [
        f"{key}: file {tuple(weights[key].shape)}, model {tuple(state[key].shape)}"
        for key in weights
        if key in state and not _is_lazy(state[key]) and weights[key].shape != state[key].shape
    ]
    if not (missing or unexpected or other):
        return
    parts = [
        *_listing("the model needs, the file lacks", missing, state),
        *_listing("the file has, the model lacks", unexpected, weights),
        *_listing("shapes differ", other),
    ]
    raise ShapeError(
        f"the weights in {shown(path)} are not those of this model\n"
        + "\n".join(parts)
        + "\n  Make the model with the settings it was trained with, or pass its own weights."
    )


def _listing(
    title: str, names: Iterable[str], tensors: Mapping[str, torch.Tensor] | None = None
) -> list[str]:
    rows = [
        shown(name)
        if tensors is None or _is_lazy(tensors[name])
        else f"{shown(name)} {tuple(tensors[name].shape)}"
        for name in names
    ]
    if not rows:
        return []
    rest = [f"    … and {len(rows) - _LISTED} more"] if len(rows) > _LISTED else []
    return [f"  {title} ({len(rows)}):", *(f"    {row}" for row in rows[:_LISTED]), *rest]


def _is_lazy(tensor: torch.Tensor) -> bool:
    return nn.parameter.is_lazy(tensor)


def _storage(tensor: torch.Tensor) -> int | None:
    if _is_lazy(tensor) or tensor.numel() == 0 or tensor.is_meta:
        return None
    return tensor.data_ptr()


def _name(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
