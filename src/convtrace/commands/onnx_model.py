"""An ONNX file as a model of the command line: its weights are its own, and onnxruntime runs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convtrace.errors import UsageError

if TYPE_CHECKING:
    from convtrace.frontends.onnx_inputs import Expected
    from convtrace.graph import Trace
    from convtrace.loading.arrays import Loaded

_ANY = 224
"""A size for the example of a message, where the file leaves it open."""


def is_onnx(model: str) -> bool:
    """Whether the name of a model is that of an ONNX file."""
    return model.lower().endswith(".onnx")


def run_onnx(
    text: str, inputs: Sequence[Loaded], *, turn: bool = False
) -> tuple[Trace, list[Loaded]]:
    """Run an ONNX file.

    Args:
        text: Its name.
        inputs: What it is run on, in the order of the file's inputs. Floating-point numbers are
            brought to the types that the file declares.
        turn: Whether inputs are given with channels last where the file takes them only so.

    Returns:
        The run, and the inputs as they were given to it, with remarks.

    Raises:
        UsageError: There are fewer inputs than the file needs, or more than it has.
        ConvtraceError: The file or an input does not fit; the message says what and what to do.
    """
    from convtrace.frontends.onnx import from_onnx
    from convtrace.frontends.onnx_file import load_model
    from convtrace.frontends.onnx_inputs import expected_inputs

    path = Path(text)
    expected = expected_inputs(load_model(path))
    needed = [one for one in expected if not one.optional]
    if not len(needed) <= len(inputs) <= len(expected):
        raise _wrong_number(text, len(inputs), expected, needed)
    wanted = expected if len(inputs) > len(needed) else needed
    fitted = [_fit(loaded, one.dtype) for loaded, one in zip(inputs, wanted, strict=False)]
    if turn:
        from convtrace.mismatch.networks.runs import as_expected

        fitted = [
            replace(loaded, tensor=as_expected(loaded.tensor, one.shape))
            for loaded, one in zip(fitted, wanted, strict=False)
        ]
    arrays = {one.name: loaded.tensor for one, loaded in zip(wanted, fitted, strict=False)}
    return from_onnx(path, arrays), fitted


def _wrong_number(
    text: str, count: int, expected: Sequence[Expected], needed: Sequence[Expected]
) -> UsageError:
    from convtrace.loading.files import shown

    what = f"no input for {shown(text)}" if not count else f"{count} inputs for {shown(text)}"
    listed = "\n".join(f"    {one}" for one in expected)
    sizes = [
        [size if isinstance(size, int) else 1 if axis < 2 else _ANY for axis, size in enumerate(s)]
        for s in (one.shape or (1, 3, _ANY, _ANY) for one in needed)
    ]
    example = " ".join("--random " + ",".join(map(str, shape)) for shape in sizes)
    return UsageError(
        f"{what}\n  the file takes:\n{listed}\n"
        f"  Pass {example} for random numbers, or --input FILE for each."
    )


def _fit(loaded: Loaded, dtype: str) -> Loaded:
    """Bring floating-point numbers to the type that the file declares, as `ct.trace` does."""
    import torch

    from convtrace.loading.arrays import survives

    tensor, wanted = loaded.tensor, getattr(torch, dtype, torch.bool)
    if not (tensor.is_floating_point() and wanted.is_floating_point) or tensor.dtype == wanted:
        return loaded
    words: dict[str, Any] = {
        "file": loaded.source,
        "from_type": str(tensor.dtype).removeprefix("torch."),
        "to_type": dtype,
    }
    key = "cli.note.converted" if survives(tensor, wanted) else "cli.note.rounded"
    notes = (*loaded.notes, (key, words)) if loaded.source else loaded.notes
    return replace(loaded, tensor=tensor.to(wanted), notes=notes)
