"""From the options of a command to the trace of a run, and the lines that say what ran."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from convtrace.errors import ModelError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from convtrace.graph import Trace
    from convtrace.loading.arrays import Channels, Loaded, Note
    from convtrace.loading.models import ModelSource


@dataclass(frozen=True)
class Request:
    """What to run.

    Attributes:
        model: Name of the model, as given.
        files: Input files, in the order of the model's arguments.
        shapes: Shapes of random inputs, likewise; one of the two is empty.
        seed: Seed of random weights and inputs.
        weights: File of weights, or None.
        training: Whether an `nn.Module` runs in training mode.
        channels: How images are read.
        backward: Whether the backward pass runs as well.
    """

    model: str
    files: tuple[str, ...] = ()
    shapes: tuple[tuple[int, ...], ...] = ()
    seed: int = 0
    weights: str | None = None
    training: bool = False
    channels: Channels | None = None
    backward: bool = False

    def __post_init__(self) -> None:
        if self.files and self.shapes:
            raise UsageError(
                "--input and --random were both given\n"
                f"  --input {' '.join(self.files)}\n"
                f"  --random {' '.join(','.join(map(str, shape)) for shape in self.shapes)}\n"
                "  Give one of them; repeat it for a model of several inputs."
            )
        if self.channels and not self.files:
            raise UsageError(
                f"--{self.channels} says how an image is read, and there is none\n"
                "  Pass one with --input FILE."
            )


@dataclass(frozen=True)
class Run:
    """A run that was made.

    Attributes:
        trace: What ran.
        rows: What it was made from, as (catalogue key of a label, text in the reader's language).
    """

    trace: Trace
    rows: tuple[tuple[str, str], ...]


def run(request: Request, lang: str) -> Run:
    """Load the model, its weights and its inputs, and trace one run.

    Args:
        request: What to run.
        lang: Language of the rows and of the progress bar.

    Raises:
        ConvtraceError: Something does not fit; the message says what and what to do.
    """
    if is_saved(request.model):
        return _opened(request, lang)
    from convtrace.catalog import say
    from convtrace.commands.progress import Progress
    from convtrace.loading.models import parse_model

    source = parse_model(request.model)
    with Progress(say("cli.progress", lang, count="{count}")) as progress, source.importable():
        given = _read_inputs(request)
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


def is_saved(model: str) -> bool:
    """Whether the name of a model is that of a saved trace, which brings its own numbers."""
    return model.lower().endswith(".convtrace")


def _opened(request: Request, lang: str) -> Run:
    """Open a saved trace. Nothing runs, and PyTorch is not imported."""
    from convtrace.catalog import messages, say
    from convtrace.frontends.saved import load
    from convtrace.loading.files import shown

    options = {
        "--input": " ".join(request.files),
        "--random": " ".join(",".join(map(str, shape)) for shape in request.shapes),
        "--weights": request.weights or "",
        "--train": "" if not request.training else "given",
        "--seed": str(request.seed) if request.seed else "",
        "--backward": "given" if request.backward else "",
    }
    for option, given in options.items():
        if given:
            raise UsageError(
                f"{option} does not go with a saved trace\n"
                f"  model {shown(request.model)}, {option} {given}\n"
                "  A saved trace holds the numbers of one run, and nothing runs again. Leave the "
                "option out,\n  or name the model itself."
            )
    trace = load(request.model)
    opened = say("saved.opened", lang, file=shown(request.model), steps=len(trace.steps))
    rows = [("saved.row", opened)]
    rows += [("cli.row.input", f"{v.dtype} {v.shape}") for v in trace.inputs.values()]
    keys = [f"cli.note.{note}" for note in trace.notes]
    rows += [("cli.row.note", say(key, lang)) for key in keys if key in messages("en")]
    return Run(trace, tuple(rows))


def _read_inputs(request: Request) -> list[Loaded]:
    if not (request.files or request.shapes):
        return []
    from convtrace.loading.arrays import read_array
    from convtrace.loading.inputs import random_input

    files = [read_array(file, request.channels or "file") for file in request.files]
    seeds = range(request.seed, request.seed + len(request.shapes))
    return files + [random_input(s, seed) for s, seed in zip(request.shapes, seeds, strict=True)]


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
            lines.append(
                f"  {label} reads {wanted} channels; axis {axis} of the input has {shape[axis]}"
            )
            lines.append(f"  Pass an input with {wanted} channels.")
            if any(loaded.image for loaded in inputs) and wanted in (1, 3):
                lines.append(f"  --{'grey' if wanted == 1 else 'rgb'} reads an image that way.")
    return ModelError("\n".join(lines))


def describe(tensor: Any) -> str:
    """Return type and shape of a tensor, e.g. `float32 (1, 3, 8, 8)`."""
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


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
    for number, loaded in enumerate(inputs):
        if request.shapes:
            origin = say("cli.input.random", lang, seed=request.seed + number)
        else:
            origin = loaded.source or say("cli.input.shipped", lang)
        rows.append(("cli.row.input", f"{origin} · {describe(loaded.tensor)}"))
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
