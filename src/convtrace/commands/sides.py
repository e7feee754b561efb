"""The two sides of `convtrace diff`: what a name or a file stands for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from convtrace.errors import ModelError, UsageError

if TYPE_CHECKING:
    from convtrace.graph import Trace
    from convtrace.loading.arrays import Channels, Loaded, Note

Kind = Literal["array", "onnx", "saved", "weights", "model"]

_ARRAYS = (".npy", ".npz", ".safetensors", ".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif")
_WEIGHTS = (".pt", ".pth", ".bin", ".ckpt")


def kind_of_side(text: str) -> Kind:
    """Say what a side is, from its name alone.

    Example:
        >>> [kind_of_side(text) for text in ("y.npy", "net.onnx", "net.py:Net", "a.npz:y")]
        ['array', 'onnx', 'model', 'array']
    """
    suffix = Path(text).suffix.lower()
    if suffix == ".onnx":
        return "onnx"
    if suffix == ".convtrace":
        return "saved"
    if suffix in _WEIGHTS:
        return "weights"
    member = Path(text.rpartition(":")[0]).suffix.lower()
    return "array" if suffix in _ARRAYS or member in (".npz", ".safetensors") else "model"


@dataclass(frozen=True)
class Given:
    """What both sides are run on, and how.

    Attributes:
        files: Input files, in the order of the model's arguments.
        shapes: Shapes of random inputs, likewise; one of the two is empty.
        seed: Seed of random weights and inputs.
        training: Whether an `nn.Module` runs in training mode.
        channels: How images are read.
        advance: Called after each operator that ran.
    """

    files: tuple[str, ...] = ()
    shapes: tuple[tuple[int, ...], ...] = ()
    seed: int = 0
    training: bool = False
    channels: Channels | None = None
    advance: Callable[[], None] = field(default=lambda: None)

    def inputs(self) -> list[Loaded]:
        """Read or draw the inputs.

        Raises:
            ConvtraceError: A file cannot be read.
        """
        from convtrace.loading.arrays import read_array
        from convtrace.loading.inputs import random_input

        files = [read_array(file, self.channels or "file") for file in self.files]
        seeds = range(self.seed, self.seed + len(self.shapes))
        return files + [random_input(s, seed) for s, seed in zip(self.shapes, seeds, strict=True)]


@dataclass(frozen=True)
class Side:
    """One side, ready to be compared.

    Attributes:
        trace: Its run.
        notes: Remarks on what was read, as catalogue keys and values.
        random: Whether it drew other numbers when it ran again; the step where that began.
    """

    trace: Trace
    notes: tuple[Note, ...] = ()
    random: str | None = None


def run_side(text: str, given: Given, inputs: Sequence[Loaded], weights: str | None) -> Side:
    """Run a model, an ONNX file, or open a saved trace.

    Args:
        text: Its name.
        given: How it is run.
        inputs: What it is run on.
        weights: File of weights to read into it, or None.

    Raises:
        ConvtraceError: Something does not fit; the message says what and what to do.
    """
    kind = kind_of_side(text)
    if weights is not None and kind != "model":
        raise UsageError(
            f"{text} has weights of its own, and {weights} was given for it\n"
            "  Weights are read into the code of a model: file.py:object."
        )
    if kind == "saved":
        from convtrace.frontends.saved import load

        return Side(load(text))
    if kind == "onnx":
        from convtrace.commands.onnx_model import run_onnx

        made, fitted = run_onnx(text, inputs, turn=True)
        return Side(made, tuple(note for loaded in fitted for note in loaded.notes))
    return _run_model(text, given, inputs, weights)


def _run_model(text: str, given: Given, inputs: Sequence[Loaded], weights: str | None) -> Side:
    from convtrace.loading.arrays import Loaded
    from convtrace.loading.inputs import fit, missing_input, needs_input
    from convtrace.loading.models import default_input, parse_model
    from convtrace.mismatch.networks.runs import run_twice

    source = parse_model(text)
    with source.importable():
        model = source.load(given.seed)
        notes: tuple[Note, ...] = ()
        if weights is not None:
            from convtrace.loading.weights import load_weights

            notes = load_weights(model, weights)
        fitted = [fit(loaded, model) for loaded in inputs]
        shipped = None if fitted else default_input(text)
        if shipped is not None:
            fitted = [Loaded(shipped, "")]
        if not fitted and needs_input(model):
            raise missing_input(text, model)
        if hasattr(model, "train"):
            model.train(given.training)
        tensors = [loaded.tensor for loaded in fitted]
        try:
            made, random = run_twice(model, *tensors, on_operator=given.advance)
        except ModelError as error:
            raise ModelError(f"{text}: {error}") from error.__cause__
    notes = (*notes, *(note for loaded in fitted for note in loaded.notes))
    return Side(made, notes, random)
