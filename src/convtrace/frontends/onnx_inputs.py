"""The inputs of an ONNX model: what it expects, and whether that is what was given."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.errors import EmptyTensorError, ShapeError, UsageError
from convtrace.frontends.onnx_file import require


@dataclass(frozen=True)
class Expected:
    """An input that a model declares.

    Attributes:
        name: Its name.
        dtype: NumPy's name of the element type; empty for what is no tensor of numbers.
        shape: Sizes; a text or None where any size will do. None where even the number of axes
            is open.
        optional: Whether the file holds a value for it.
    """

    name: str
    dtype: str
    shape: tuple[int | str | None, ...] | None
    optional: bool

    def __str__(self) -> str:
        sizes = "any shape"
        if self.shape is not None:
            named = ", ".join("?" if size is None else str(size) for size in self.shape)
            sizes = f"({named},)" if len(self.shape) == 1 else f"({named})"
        optional = ", has a default" if self.optional else ""
        return f"{self.name}  {self.dtype or 'not a tensor'} {sizes}{optional}"


def expected_inputs(model: Any) -> tuple[Expected, ...]:
    """Read the inputs that a model declares, in the order of the file."""
    onnx = require("onnx")
    stored = {tensor.name for tensor in model.graph.initializer}
    return tuple(
        Expected(value.name, *_type_of(onnx, value.type), value.name in stored)
        for value in model.graph.input
    )


def _type_of(onnx: Any, type_proto: Any) -> tuple[str, tuple[int | str | None, ...] | None]:
    if not type_proto.HasField("tensor_type"):
        return "", None
    tensor = type_proto.tensor_type
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    name = dtype.name if dtype.kind in "fiub" else ""
    if not tensor.HasField("shape"):
        return name, None
    # A size that is not positive is what some exporters write for an unknown one.
    return name, tuple(
        size.dim_value if size.dim_value > 0 else (size.dim_param or None)
        for size in tensor.shape.dim
    )


def match_inputs(
    given: Mapping[str, Any] | Any, expected: tuple[Expected, ...]
) -> dict[str, NDArray[Any]]:
    """Bring inputs into the form that onnxruntime takes, each an array of its own.

    Args:
        given: Arrays by name, or the one array that the model takes.
        expected: What the model declares.

    Raises:
        UsageError: Names, number or types disagree.
        ShapeError: A shape disagrees.
        EmptyTensorError: An input holds no numbers.
    """
    needed = [e for e in expected if not e.optional]
    if isinstance(given, Mapping):
        arrays = dict(given)
    else:
        if len(needed) != 1:
            raise UsageError(
                f"the model takes {len(needed)} inputs, and one array without a name was given\n"
                f"{_listed(expected)}\n"
                "  Pass arrays by name: from_onnx(path, {'name': array})."
            )
        arrays = {needed[0].name: given}
    known = {e.name: e for e in expected}
    unknown = [name for name in arrays if name not in known]
    missing = [e.name for e in needed if e.name not in arrays]
    if unknown or missing:
        raise UsageError(_name_message(unknown, missing, expected))
    found = {name: _converted(known[name], array, expected) for name, array in arrays.items()}
    return {e.name: found[e.name] for e in expected if e.name in found}


def _name_message(unknown: list[Any], missing: list[str], expected: tuple[Expected, ...]) -> str:
    parts: list[str] = []
    for name in unknown:
        near = get_close_matches(str(name), [e.name for e in expected], n=1)
        parts.append(f"the model has no input {name!r}" + (f"; nearest: {near[0]}" if near else ""))
    if missing:
        parts.append(f"not given: {', '.join(missing)}")
    return "; ".join(parts) + f"\n{_listed(expected)}"


def _listed(expected: tuple[Expected, ...]) -> str:
    return "\n".join(["  The model takes:", *(f"    {e}" for e in expected)])


def _converted(wanted: Expected, data: Any, expected: tuple[Expected, ...]) -> NDArray[Any]:
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(data, torch.Tensor):
        data = data.detach().cpu().resolve_conj().resolve_neg()
        data = (data.float() if data.dtype == torch.bfloat16 else data).numpy()
    typed = hasattr(data, "dtype")
    try:
        array = np.array(data, order="C")
    except (ValueError, TypeError) as error:
        raise ShapeError(
            f"{wanted.name} is not an array: {error}\n{_listed(expected)}\n"
            "  Give a NumPy array, a tensor, or nested lists of equal lengths."
        ) from error
    if not wanted.dtype:
        raise UsageError(
            f"{wanted.name} is no tensor of numbers, so it cannot be given\n{_listed(expected)}"
        )
    if not typed and array.dtype.kind in "fiub":
        array = array.astype(wanted.dtype)
    if array.dtype.name != wanted.dtype:
        raise UsageError(
            f"{wanted.name} has another type than the model takes\n"
            f"  given   {array.dtype.name} {array.shape}\n{_listed(expected)}\n"
            f"  Convert it first, e.g. {wanted.name}.astype({wanted.dtype!r})."
        )
    fits = wanted.shape is None or (
        len(wanted.shape) == array.ndim
        and all(
            not isinstance(size, int) or size == own
            for size, own in zip(wanted.shape, array.shape, strict=True)
        )
    )
    if not fits:
        raise ShapeError(
            f"{wanted.name} has another shape than the model takes\n"
            f"  given   {array.dtype.name} {array.shape}\n{_listed(expected)}"
        )
    if array.size == 0:
        raise EmptyTensorError(
            f"{wanted.name} is empty\n  shape {array.shape}\n"
            "  Give it at least one number on every axis."
        )
    return array
