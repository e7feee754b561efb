"""From the options of a command to the trace of a run, and the lines that say what ran."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from convtrace.commands.model_files import is_saved, open_saved, run_file
from convtrace.commands.onnx_model import is_onnx
from convtrace.commands.request import Request, Run, describe, input_rows, read_inputs
from convtrace.errors import ModelError

if TYPE_CHECKING:
    from rich.console import Console

    from convtrace.graph import Trace
    from convtrace.loading.arrays import Loaded, Note
    from convtrace.loading.models import ModelSource


_THREADS = "OPENBLAS_NUM_THREADS"


def run(request: Request, lang: str) -> Run:
    """Load the model, its weights and its inputs, and trace one run.

    Args:
        request: What to run.
        lang: Language of the rows and of the progress bar.

    Raises:
        ConvtraceError: Something does not fit; the message says what and what to do.
    """
    if is_saved(request.model):
        return open_saved(request, lang)
    if is_onnx(request.model):
        return run_file(request, lang)
    from convtrace.catalog import say
    from convtrace.commands.progress import Progress
    from convtrace.loading.models import parse_model

    source = parse_model(request.model)
    with Progress(say("cli.progress", lang, count="{count}")) as progress, source.importable():
        given = read_inputs(request)
        model = source.load(request.seed)
        notes: tuple[Note, ...] = ()
        if request.weights is not None:
            from convtrace.loading.weights import load_weights

            notes = load_weights(model, request.weights)
        inputs = _complete(request, model, given)
        if hasattr(model, "train"):
            model.train(request.training)
        trace = _trace(model, inputs, progress, backward=request.backward)
    notes = (*notes, *(note for loaded in inputs for note in loaded.notes))
    notes = (*notes, *((f"cli.note.{note}", {}) for note in trace.notes))
    if request.backward:
        notes = (*notes, ("gradient.loss", {}))
    rows = _rows(request, source, model, inputs, notes, bool(trace.parameters), lang)
    return Run(trace, tuple(rows))


def import_numpy(model: str) -> None:
    """Import NumPy, for a saved trace without the threads that one receipt has no use for.

    OpenBLAS, which NumPy brings, starts one thread for each core when it is loaded, and stops them
    at the end. On a busy machine that takes as long as the answer. Does nothing where NumPy is
    imported already, and where the reader has set a number of threads.
    """
    if not is_saved(model) or _THREADS in os.environ:
        return
    os.environ[_THREADS] = "1"
    try:
        import_module("numpy")
    finally:
        del os.environ[_THREADS]  # for programs that this one starts


def _complete(request: Request, model: Any, given: list[Loaded]) -> list[Loaded]:
    """Fit the inputs to the model; without any, take the one that ships with the model."""
    from convtrace.loading.arrays import Loaded
    from convtrace.loading.inputs import fit, missing_input, needs_input
    from convtrace.loading.models import default_input

    if given:
        return [fit(loaded, model) for loaded in given]
    shipped = default_input(request.model)
    if shipped is not None:
        return [Loaded(shipped, "")]
    if needs_input(model):
        raise missing_input(request.model, model)
    return []


def _trace(model: Any, inputs: list[Loaded], progress: Any, *, backward: bool) -> Trace:
    import torch

    from convtrace.frontends.torch import trace

    options: dict[str, Any] = {"on_operator": progress.advance}
    if backward:
        from convtrace.frontends.torch_loss import sum_of

        options.update(backward=True, loss=sum_of)
    try:
        with torch.no_grad():
            return trace(model, *(loaded.tensor for loaded in inputs), **options)
    except ModelError as error:
        raise _explained(error, model, inputs) from error.__cause__


def _explained(error: ModelError, model: Any, inputs: list[Loaded]) -> ModelError:
    """Add to a model's error what was put in, where it was raised, and what to try."""
    from convtrace.loading.code import place_of
    from convtrace.loading.inputs import first_convolution

    lines = [str(error)]
    if error.__cause__ is not None:
        lines.append(f"  {place_of(error.__cause__)}")
    for number, loaded in enumerate(inputs):
        name = "input" if number == 0 else f"input:{number + 1}"
        lines.append(f"  {name}: {describe(loaded.tensor)}")
    found = first_convolution(model)
    if found is not None:
        path, convolution = found
        shape = tuple(inputs[0].tensor.shape) if inputs else ()
        axis = len(shape) - len(convolution.kernel_size) - 1
        wanted = convolution.in_channels
        if axis in (0, 1) and wanted and shape[axis] != wanted:
            label = f"{path} ({type(convolution).__name__})" if path else type(convolution).__name__
            noun = "channel" if wanted == 1 else "channels"
            lines.append(
                f"  {label} reads {wanted} {noun}; axis {axis} of the input has {shape[axis]}"
            )
            lines.append(f"  Pass an input with {wanted} {noun}.")
            if any(loaded.image for loaded in inputs) and wanted in (1, 3):
                lines.append(f"  --{'grey' if wanted == 1 else 'rgb'} reads an image that way.")
    return ModelError("\n".join(lines))


def _rows(
    request: Request,
    source: ModelSource,
    model: Any,
    inputs: list[Loaded],
    notes: tuple[Note, ...],
    has_weights: bool,
    lang: str,
) -> list[tuple[str, str]]:
    from convtrace.catalog import say
    from convtrace.loading.files import shown
    from convtrace.loading.models import BUILTIN

    mode = ""
    if hasattr(model, "train"):
        mode = " · " + say("cli.mode.train" if request.training else "cli.mode.eval", lang)
    rows = [("cli.row.model", f"{shown(source.text)}{mode}")]
    if request.weights is not None:
        rows.append(("cli.row.weights", shown(request.weights)))
    elif source.text in BUILTIN:
        rows.append(("cli.row.weights", say("cli.weights.shipped", lang)))
    elif has_weights:
        rows.append(("cli.row.weights", say("cli.weights.made", lang, seed=request.seed)))
    rows += input_rows(request, inputs, lang)
    rows += [("cli.row.note", say(key, lang, **values)) for key, values in notes]
    return rows


def print_rows(rows: tuple[tuple[str, str], ...], console: Console, lang: str) -> None:
    """Print what a run was made from, dimly, labels in one column."""
    from rich.cells import cell_len, set_cell_size
    from rich.text import Text

    from convtrace.catalog import say

    labels = [say(key, lang) for key, _ in rows]
    width = max(map(cell_len, labels)) + 2
    for label, (_, text) in zip(labels, rows, strict=True):
        lines = Text(text, style="dim").wrap(console, max(console.width - width, 20))
        for number, line in enumerate(lines):
            line.rstrip()
            beside = Text(set_cell_size("" if number else label, width), style="dim")
            console.print(beside + line, soft_wrap=True)
    console.print()
