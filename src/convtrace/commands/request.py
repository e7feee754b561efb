"""What a command was asked to run, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from convtrace.errors import UsageError

if TYPE_CHECKING:
    from convtrace.graph import Trace
    from convtrace.loading.arrays import Channels, Loaded


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


def read_inputs(request: Request) -> list[Loaded]:
    """Read the input files, or draw the random inputs; none where neither was asked for."""
    if not (request.files or request.shapes):
        return []
    from convtrace.loading.arrays import read_array
    from convtrace.loading.inputs import random_input

    files = [read_array(file, request.channels or "file") for file in request.files]
    seeds = range(request.seed, request.seed + len(request.shapes))
    return files + [random_input(s, seed) for s, seed in zip(request.shapes, seeds, strict=True)]


def describe(tensor: Any) -> str:
    """Return type and shape of a tensor, e.g. `float32 (1, 3, 8, 8)`."""
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def input_rows(request: Request, inputs: list[Loaded], lang: str) -> list[tuple[str, str]]:
    """Say of each input where it comes from, with its type and shape.

    Args:
        request: What was asked for.
        inputs: The inputs.
        lang: Language of the rows.

    Returns:
        Pairs of (catalogue key of a label, text), as in `Run.rows`.
    """
    from convtrace.catalog import say

    rows: list[tuple[str, str]] = []
    for number, loaded in enumerate(inputs):
        if request.shapes:
            origin = say("cli.input.random", lang, seed=request.seed + number)
        else:
            origin = loaded.source or say("cli.input.shipped", lang)
        rows.append(("cli.row.input", f"{origin} · {describe(loaded.tensor)}"))
    return rows
