"""Models that are files: a saved trace, whose numbers are there, and an ONNX file, which runs."""

from __future__ import annotations

from convtrace.commands.request import Request, Run, input_rows, read_inputs
from convtrace.errors import UsageError


def is_saved(model: str) -> bool:
    """Whether the name of a model is that of a saved trace, which brings its own numbers."""
    return model.lower().endswith(".convtrace")


def open_saved(request: Request, lang: str) -> Run:
    """Open a saved trace. Nothing runs, and PyTorch is not imported.

    Args:
        request: What to open.
        lang: Language of the rows.

    Raises:
        UsageError: An option was given that only something that runs has a use for.
        ConvtraceError: The file cannot be read.
    """
    from convtrace.catalog import messages, say
    from convtrace.frontends.saved import load
    from convtrace.loading.files import shown

    _refuse(
        request,
        ("--input", "--random", "--weights", "--train", "--seed", "--backward"),
        "a saved trace",
        "A saved trace holds the numbers of one run, and nothing runs again. Leave the option\n"
        "  out, or name the model itself.",
    )
    trace = load(request.model)
    opened = say("saved.opened", lang, file=shown(request.model), steps=len(trace.steps))
    rows = [("saved.row", opened)]
    rows += [("cli.row.input", f"{v.dtype} {v.shape}") for v in trace.inputs.values()]
    keys = [f"cli.note.{note}" for note in trace.notes]
    rows += [("cli.row.note", say(key, lang)) for key in keys if key in messages("en")]
    return Run(trace, tuple(rows))


def run_file(request: Request, lang: str) -> Run:
    """Run an ONNX file, which holds its own weights and has no modes.

    Args:
        request: What to run.
        lang: Language of the rows.

    Raises:
        UsageError: An option was given that such a file has no use for, or inputs are missing.
        ConvtraceError: The file or an input does not fit.
    """
    from convtrace.catalog import messages, say
    from convtrace.commands.onnx_model import run_onnx
    from convtrace.loading.files import shown

    _refuse(
        request,
        ("--weights", "--train", "--backward"),
        "an ONNX file",
        "onnxruntime runs the file as it is, forwards only. Leave the option out, or name the\n"
        "  code of the model: file.py:object.",
    )
    trace, inputs = run_onnx(request.model, read_inputs(request))
    rows = [("cli.row.model", f"{shown(request.model)} · onnxruntime")]
    rows += input_rows(request, inputs, lang)
    notes = [note for loaded in inputs for note in loaded.notes]
    notes += [(f"cli.note.{note}", {}) for note in trace.notes]
    known = messages("en")
    rows += [("cli.row.note", say(key, lang, **values)) for key, values in notes if key in known]
    return Run(trace, tuple(rows))


def _refuse(request: Request, options: tuple[str, ...], model: str, advice: str) -> None:
    """Raise for options that a kind of model has no use for."""
    from convtrace.loading.files import shown

    given = {
        "--input": " ".join(request.files),
        "--random": " ".join(",".join(map(str, shape)) for shape in request.shapes),
        "--weights": request.weights or "",
        "--train": "given" if request.training else "",
        "--seed": str(request.seed) if request.seed else "",
        "--backward": "given" if request.backward else "",
    }
    for option in options:
        if given[option]:
            raise UsageError(
                f"{option} does not go with {model}\n"
                f"  model {shown(request.model)}, {option} {given[option]}\n"
                f"  {advice}"
            )
