"""Reads both sides of `ct.diff` into one `Problem`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from convtrace.arithmetic import Arithmetic, plain
from convtrace.errors import (
    EmptyTensorError,
    MissingFileError,
    ModelError,
    NoValueError,
    ShapeError,
    UsageError,
)
from convtrace.exact import FORMATS
from convtrace.frontends.arrays import _array
from convtrace.frontends.convolution import canonical, function_name
from convtrace.mismatch.computing.quantization import Less, Quant, Requantize
from convtrace.mismatch.computing.stages import ACTIVATIONS, Act, Norm, Stage
from convtrace.mismatch.question.problem import Problem, dtype_of, floats
from convtrace.mismatch.question.reference import (
    Reference,
    arguments_of,
    check_mode,
    norm_of,
    read_reference,
)
from convtrace.mismatch.question.settings import guess
from convtrace.mismatch.report import Note

Given = Mapping[str, Any]


def ask(
    mine: Any,
    reference: Any,
    *,
    x: Any,
    given: Given,
    mode: str | None,
    activation: str | None,
    norm: Any,
    quantization: Any,
    arithmetic: Arithmetic | str | None,
    step: str | None,
) -> Problem:
    """Read the question. `convtrace.diff` has the arguments."""
    found = read_reference(reference, x, step)
    if found.x is None and x is None:
        raise UsageError("the reference has no input\n  Give it as x=….")
    dtypes = [dtype_of(array) for array in (found.x, found.weight) if hasattr(array, "dtype")]
    data: dict[str, Any] = {
        "x": _array("x", found.x if found.x is not None else x, dtypes),
        "weight": _array("weight", found.weight, dtypes),
        "bias": None if found.bias is None else _array("bias", found.bias, dtypes),
    }
    for role, array in data.items():
        _check_numbers(role, array)
    settings_given = {**found.given, **given}
    observed, notes = _observed(mine, data, found)
    observed = _array("mine", observed, dtypes)
    _check_numbers("mine", observed)
    mode = mode or found.mode
    check_mode(mode)
    shapes = {role: tuple(array.shape) for role, array in data.items() if array is not None}
    label = found.name or function_name(
        max(len(shapes["weight"]) - 2, 1), bool(settings_given.get("transposed", False))
    )
    settings, searched = guess(label, shapes, tuple(observed.shape), settings_given)
    label = found.name or function_name(len(shapes["weight"]) - 2, settings["transposed"])
    attributes, shape = canonical(
        label, shapes["x"], shapes["weight"], shapes.get("bias"), **settings
    )
    observed, more = _same_axes(observed, shape)
    stages: list[Stage] = list(found.stages)
    if norm is not None:
        stages.append(norm_of(norm))
    for stage in stages:
        if isinstance(stage, Norm):
            _check_norm(stage, shape[1] if attributes["batched"] else shape[0])
    if activation is not None:
        stages.append(_activation(activation))
    quant = found.quant
    if quantization is not None:
        quant = Quant.read(quantization, dtype_of(observed))
        _check_whole(data)
    changes: dict[str, Any] = {}
    if quant is not None:
        out_axis = 1 if attributes["transposed"] else 0
        changes["change_x"] = (Less(_row(quant.x_zero), 1),)
        changes["change_w"] = (Less(_row(quant.w_zero), out_axis),)
        relu = any(isinstance(s, Act) and s.name == "relu" for s in stages)
        stages = [Requantize(quant, relu=relu)]
    dtypes = [dtype_of(data[role]) for role in ("x", "weight")]
    floating = [name for name in dtypes if name in FORMATS]
    stored = max(floating, key=lambda n: FORMATS[n].precision, default="float64")
    out = dtype_of(observed)
    ran = None if quant is not None else _arithmetic(arithmetic, found, floating, out, stages)
    return Problem(
        name=label,
        raw={**data, "observed": observed},
        attributes=attributes,
        shape=shape,
        modes=(mode,) * (len(shapes["weight"]) - 2),
        stages=tuple(stages),
        arithmetic=ran,
        stored=stored,
        explicit=arithmetic is not None,
        dtype=out,
        notes=(*notes, *more, *_nonfinite(data)),
        found=searched,
        extra={"given": dict(settings_given)},
        **changes,
    )


def _check_norm(norm: Norm, channels: int) -> None:
    """Raise `ShapeError` where a batch norm is not one of this many channels."""
    sizes = {
        "weight": norm.gamma.shape,
        "bias": norm.beta.shape,
        "mean": norm.mean.shape,
        "var": norm.var.shape,
    }
    if any(size != (channels,) for size in sizes.values()):
        raise ShapeError(
            "the batch norm does not suit the convolution\n"
            + "".join(f"  {role:<7}{size}\n" for role, size in sizes.items())
            + f"  output {channels} channels\n"
            "  Give one number for each output channel."
        )


def _check_whole(data: Given) -> None:
    """Raise `UsageError` where operands of a quantized convolution are no integers."""
    for role in ("x", "weight"):
        values = floats(data[role])
        wrong = values[values != np.rint(values)]
        if wrong.size:
            raise UsageError(
                f"quantization is given, but {role} is not quantized: it holds {wrong[0]:g}\n"
                f"  {wrong.size} of {values.size} numbers are no integers; "
                f"its type is {dtype_of(data[role])}.\n"
                "  Give x and weight as the integers that they are stored as, or leave\n"
                "  quantization out."
            )


def _row(zero: Any) -> Any:
    return np.asarray(zero, dtype=np.float64).reshape(-1)


def _activation(name: str) -> Act:
    if name not in ACTIVATIONS:
        raise UsageError(f"unknown activation: {name!r}\n  known: {', '.join(ACTIVATIONS)}")
    return Act(name)


def _arithmetic(
    named: Arithmetic | str | None,
    found: Reference,
    floating: list[str],
    out: str,
    stages: list[Stage],
) -> Arithmetic | None:
    """Say which arithmetic the output is judged by; None for integers."""
    result = out if out in FORMATS else None
    if isinstance(named, Arithmetic):
        return named
    if named is not None:
        if named not in FORMATS:
            raise UsageError(
                f"unknown arithmetic: {named!r}\n"
                f"  known: {', '.join(FORMATS)}, or an Arithmetic(operands, accumulate, result)"
            )
        accumulate = "float32" if named in ("tf32", "bfloat16", "float16") else named
        return Arithmetic(named, accumulate, result or plain(named).result)
    if found.arithmetic is not None and result in (None, found.arithmetic.result):
        return found.arithmetic
    if result is None:
        whole = not floating and not stages
        if whole:
            return None
        wide = max(floating, key=lambda n: FORMATS[n].precision, default="float64")
        return plain(wide)
    widest = max([*floating, result], key=lambda n: FORMATS[n].precision)
    return Arithmetic(widest, plain(widest).accumulate, result)


def _check_numbers(role: str, array: Any) -> None:
    if array is None:
        return
    shape = tuple(array.shape)
    if not shape:
        raise ShapeError(
            f"{role} is a single number, and not an array\n  {role} {array}\n"
            "  Give all numbers of it, with their shape."
        )
    if 0 in shape:
        raise EmptyTensorError(
            f"{role} is empty\n  {role} {shape}\n  Give it at least one number on every axis."
        )


def _same_axes(observed: Any, shape: tuple[int, ...]) -> tuple[Any, list[Note]]:
    """Add or drop a batch axis of one, if that is all that sets two shapes apart."""
    mine = tuple(observed.shape)
    if mine != shape and (mine == (1, *shape) or (1, *mine) == shape):
        return observed.reshape(shape), [("diff.note.batch", {"mine": mine, "expected": shape})]
    return observed, []


def _observed(mine: Any, data: Given, found: Reference) -> tuple[Any, list[Note]]:
    if isinstance(mine, (str, Path)):
        return _from_file(Path(mine), data["x"]), []
    if isinstance(mine, Mapping):
        return _from_weights(cast("Given", mine), data, found), []
    if callable(mine) and not hasattr(mine, "__array__"):
        return _from_callable(mine, data)
    return mine, []


def _from_file(path: Path, x: Any) -> Any:
    if path.suffix.lower() == ".onnx":
        from convtrace.frontends.onnx import from_onnx

        return _single(from_onnx(path, x).output, str(path))
    if not path.exists() and ":" not in path.name:
        raise MissingFileError(f"there is no file {path}\n  mine is the path of an output.")
    from convtrace.loading.arrays import read_array

    return read_array(str(path)).tensor


def _single(output: Any, what: str) -> Any:
    """Take the one array out of what a model returned."""
    if isinstance(output, Mapping):
        output = list(cast("Given", output).values())
    if not isinstance(output, (list, tuple)):
        return output
    parts = list(cast("Sequence[Any]", output))
    if not parts or not hasattr(parts[0], "shape"):
        return parts
    if len(parts) > 1:
        raise UsageError(
            f"{what} returned {len(parts)} arrays, and one output can be compared\n"
            "  Give a function that returns the one that is meant."
        )
    return parts[0]


def _from_callable(function: Any, data: Given) -> tuple[Any, list[Note]]:
    arguments = [data["x"], data["weight"], data["bias"]][: arguments_of(function)]

    def run() -> Any:
        try:
            returned = function(*map(_own_copy, arguments))
        except Exception as error:
            raise ModelError(
                f"mine raised {type(error).__name__}: {error}\n"
                f"  called with {len(arguments)} argument(s): "
                f"{', '.join(_shape_text(a) for a in arguments)}\n"
                "  A callable gets x, or x, weight and bias if it needs as many arguments."
            ) from error
        found = _single(returned, "mine")
        if found is None:
            raise NoValueError("mine returned None\n  It has to return its output.")
        if hasattr(found, "detach"):
            return found.detach().clone()
        return _numbers(found)

    first, second = run(), run()
    notes: list[Note] = []
    one, two = floats(first), floats(second)
    if one.shape != two.shape:
        raise ShapeError(
            f"mine returned two shapes for the same input: {one.shape}, then {two.shape}\n"
            "  It is not deterministic; ct.diff runs a callable twice."
        )
    differ = ~((one == two) | (np.isnan(one) & np.isnan(two)))
    if differ.any():
        with np.errstate(all="ignore"):
            largest = float(np.nanmax(np.abs(one - two)[differ]))
        words = {"count": int(differ.sum()), "of": int(one.size), "largest": largest}
        notes.append(("diff.note.nondeterministic", words))
    return first, notes


def _own_copy(array: Any) -> Any:
    """Return an array that a callable may write to, as one does that normalises in place."""
    if hasattr(array, "detach"):
        return array.detach().clone()
    return array.copy(order="K") if isinstance(array, np.ndarray) else array


def _numbers(found: Any) -> Any:
    """Return what a callable returned as an array of numbers of its own.

    Raises:
        NoValueError: It is none.
    """
    try:
        array = np.array(found)
    except ValueError:
        array = None
    if array is None or (array.dtype.kind not in "fiubc" and str(array.dtype) not in FORMATS):
        raise NoValueError(
            f"mine returned no numbers, but {type(found).__name__}\n"
            "  It has to return its output: an array, a tensor, or nested lists of equal lengths."
        )
    return array


def _nonfinite(data: Given) -> Iterator[Note]:
    """Say which operands hold NaN or infinity."""
    for role, array in data.items():
        if array is None or _sums_up(array):
            continue
        count = int((~np.isfinite(floats(array))).sum())
        if count:
            yield "diff.note.operand_nonfinite", {"role": role, "count": count}


def _sums_up(array: Any) -> bool:
    """Whether numbers have a finite sum as they are stored, so that none is NaN or infinite."""
    if hasattr(array, "detach"):
        plain = dtype_of(array) in ("float32", "float64") and array.device.type == "cpu"
        plain = plain and str(array.layout) == "torch.strided"
        plain = plain and not array.is_neg()
        array = array.detach().numpy() if plain else np.zeros(0, dtype=np.int8)
    with np.errstate(all="ignore"):  # NumPy's sum waits for no threads
        return array.dtype.kind == "f" and bool(np.isfinite(np.sum(array)))


def _shape_text(array: Any) -> str:
    return "None" if array is None else f"{tuple(array.shape)} {dtype_of(array)}"


def _from_weights(weights: Given, data: Given, found: Reference) -> Any:
    """Run the reference with other weights: a state dict in place of an output."""
    import torch

    def part(role: str) -> Any:
        return next((v for k, v in weights.items() if k == role or k.endswith(f".{role}")), None)

    weight, bias = part("weight"), part("bias")
    if weight is None:
        raise UsageError(
            f"mine is a mapping without a weight: {', '.join(map(str, weights)) or 'empty'}\n"
            "  Give an output, or a state dict with weight and bias."
        )
    weight = torch.as_tensor(weight)
    if tuple(weight.shape) != tuple(data["weight"].shape):
        raise ShapeError(
            f"the weights have another shape than the reference's\n"
            f"  mine       {tuple(weight.shape)}\n"
            f"  reference  {tuple(data['weight'].shape)}"
        )
    x = torch.as_tensor(data["x"]).to(weight.dtype)
    from convtrace.mismatch.question.running import run_reference

    return run_reference(x, weight, None if bias is None else torch.as_tensor(bias), found)
