"""`convtrace diff`: is it rounding or a bug, and which bug."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from convtrace.commands.options import Verb, model_options, output_options
from convtrace.errors import UsageError

if TYPE_CHECKING:
    from convtrace.commands.sides import Given, Side
    from convtrace.mismatch.networks.report import ModelReport
    from convtrace.mismatch.report import Report

_HELP = """\
Two results should be equal and are not: is it rounding or a bug, and which bug? Every number is
judged by the rounding bound of its own terms, and what is beyond it is traced to its cause. A
cause is called proved only if it reproduces every number of MINE.

One convolution, from arrays of any runtime:

\b
  convtrace diff y.npy --x x.npy --weight w.npy --bias b.npy --stride 2 --padding 1
  convtrace diff kernel.py:conv --x x.npy --weight w.npy --arithmetic float16

Settings that are not given are searched for where the shape of MINE asks for it.

Two networks, run on the same input:

\b
  convtrace diff net.onnx net.py:Net --random 1,3,224,224
  convtrace diff port.py:Net net.py:Net --input photo.png --weights net.safetensors \\
      --mine-weights port.safetensors
  convtrace diff finetuned.pt net.py:Net --input x.npy
  convtrace diff mine.convtrace reference.convtrace

Their steps are paired by name, by weights, by the numbers they make, then by shape and order;
norms that are folded on one side count as one with their convolution. The answer is the first
step that is wrong when both sides are given the same numbers, and why: other weights, another
setting, a step too many or too few. What went wrong before does not blur it.

One output of a network, as an array:

\b
  convtrace diff conv1.npy net.py:Net --step conv1 --input x.npy

MINE is what is doubted, REFERENCE what is right. Each is file.py:object, package.module:object,
digits, a file.onnx, or a saved trace (.convtrace). MINE may also be an array (.npy, .npz,
.safetensors), or a file of weights (.pt, .safetensors), which is read into REFERENCE's code.

Exit status: 0; 1 if --fail-on says so; 2 for bad input.
"""

_SETTINGS = ("stride", "padding", "dilation", "groups", "output_padding")


class Numbers(click.ParamType):  # pyright: ignore[reportMissingTypeArgument]
    """A setting: `2`, `2,1` (one an axis), `0:1,1:1` (low and high of each axis), or a word."""

    name = "numbers"

    def __init__(self, words: tuple[str, ...] = (), *, pairs: bool = False) -> None:
        self.words = words
        self.pairs = pairs

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the text."""
        text = str(value).strip()
        if text in self.words:
            return text
        try:
            parts = [tuple(int(n) for n in part.split(":")) for part in text.split(",")]
        except ValueError:
            parts = []
        singles = all(len(part) == 1 for part in parts)
        doubles = self.pairs and all(len(part) == 2 for part in parts)
        if not parts or not (singles or doubles):
            more = " (low:high an axis: 0:1,0:1)" if self.pairs else ""
            words = f", or {' or '.join(self.words)}" if self.words else ""
            self.fail(f"{text!r}: write 2, or 2,1 for one number an axis{more}{words}.", param, ctx)
        if doubles:
            return tuple(parts)
        return parts[0][0] if len(parts) == 1 else tuple(part[0] for part in parts)


def _array_options(function: Any) -> Any:
    for option in (
        click.option(
            "--arithmetic",
            metavar="NAME",
            help="What MINE was computed in: float64, float32, tf32, bfloat16, float16. Default: "
            "what its number types say.",
        ),
        click.option("--activation", metavar="NAME", help="What follows, e.g. relu."),
        click.option(
            "--padding-mode",
            type=click.Choice(["zeros", "reflect", "replicate", "circular"]),
            help="What the padding holds.",
        ),
        click.option("--output-padding", type=Numbers(), metavar="N", help="Transposed only."),
        click.option("--transposed", is_flag=True, default=None, help="A transposed convolution."),
        click.option("--groups", type=click.IntRange(min=1), metavar="N", help="Number of groups."),
        click.option("--dilation", type=Numbers(), metavar="N", help="2, or 2,1: one an axis."),
        click.option(
            "--padding",
            type=Numbers(("same", "valid"), pairs=True),
            metavar="N",
            help="1, or 1,0 (one an axis), or 0:1,0:1 (low:high an axis), or same, or valid.",
        ),
        click.option("--stride", type=Numbers(), metavar="N", help="2, or 2,1: one an axis."),
        click.option("--bias", metavar="FILE", help="Bias, (C_out)."),
        click.option("--weight", metavar="FILE", help="Weights, (C_out, C_in/groups, kernel)."),
        click.option(
            "--x",
            "x_file",
            metavar="FILE",
            help="Input of the one convolution, (N, C_in, spatial), as .npy, .npz:name or "
            ".safetensors:name; with --weight. So with the files below.",
        ),
    ):
        function = option(function)
    return function


@click.command(
    cls=Verb,
    help=_HELP,
    example="convtrace diff y.npy --x x.npy --weight w.npy",
)
@click.argument("mine")
@click.argument("reference", required=False)
@_array_options
@model_options
@click.option(
    "--mine-weights",
    metavar="FILE",
    help="Weights to read into the code of MINE; --weights is for REFERENCE.",
)
@click.option("--step", metavar="NAME", help="Compare this step of REFERENCE alone.")
@click.option("--all", "everything", is_flag=True, help="Show every pair of steps.")
@click.option(
    "--fail-on",
    type=click.Choice(["never", "mismatch", "rounding"]),
    default="never",
    show_default=True,
    help="Exit with status 1: on a mismatch; or already on rounding, which is anything but equal "
    "bits.",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Also write the report to FILE: .json for programs, .html to read, .txt.",
)
@output_options
@click.pass_context
def diff(
    ctx: click.Context,
    mine: str,
    reference: str | None,
    fail_on: str,
    output: str | None,
    everything: bool,
    lang: str | None,
    color: str,
    **options: Any,
) -> None:
    """Compare."""
    from convtrace.commands.output import choose_language, make_console

    language = choose_language(lang)
    console = make_console(color)
    if output is not None:
        _check_output(output)
    if options["x_file"] is not None or options["weight"] is not None:
        report = _of_arrays(mine, reference, options, language)
    else:
        report = _of_sides(mine, reference, options, language)
    _show(report, console, language, everything=everything)
    if output is not None:
        from convtrace.render.table import save

        save("report", report, output, lang=language)
    failed = {"never": False, "mismatch": not report.ok, "rounding": report.verdict != "exact"}
    if failed[fail_on]:
        ctx.exit(1)


def _check_output(file: str) -> None:
    from convtrace.render.table import renderer
    from convtrace.writing import check_writable

    renderer("report", Path(file).suffix.lower())
    check_writable(file)


def _show(report: Any, console: Any, lang: str, *, everything: bool) -> None:
    from convtrace.mismatch.networks.report import ModelReport
    from convtrace.render.text.diff_models import model_report_lines

    if isinstance(report, ModelReport):
        for line in model_report_lines(report, lang, everything=everything):
            console.print(line, soft_wrap=True)
    else:
        console.print(report.text(lang), soft_wrap=True)


# One convolution ---------------------------------------------------------------------------------


def _of_arrays(
    mine: str, reference: str | None, options: Mapping[str, Any], lang: str
) -> Report | ModelReport:
    """Compare with a convolution of arrays."""
    if reference is not None:
        raise UsageError(
            f"--x and --weight are a convolution to compare with, and so is {reference}\n"
            "  Leave out REFERENCE, or --x, --weight and the settings."
        )
    for name in ("x_file", "weight"):
        if options[name] is None:
            shown = "--x" if name == "x_file" else "--weight"
            raise UsageError(
                f"{shown} is missing\n"
                "  One convolution is --x FILE --weight FILE, with --bias FILE if it has one."
            )
    from convtrace.catalog import say
    from convtrace.commands.progress import Progress
    from convtrace.commands.sides import kind_of_side
    from convtrace.loading.arrays import read_array
    from convtrace.loading.models import parse_model
    from convtrace.mismatch.entry import diff as compare

    x, weight = (read_array(options[name]).tensor for name in ("x_file", "weight"))
    bias = None if options["bias"] is None else read_array(options["bias"]).tensor
    names = (*_SETTINGS, "transposed", "padding_mode", "activation", "arithmetic")
    given = {name: options[name] for name in names if options[name] is not None}
    with Progress(say("diff_models.progress_one", lang, count="{count}")) as progress:
        doubted: Any = mine
        if kind_of_side(mine) in ("array", "weights"):  # which no array is read from; it says so
            doubted = read_array(mine).tensor
        elif kind_of_side(mine) == "onnx":
            doubted = Path(mine)
        else:
            source = parse_model(mine)
            with source.importable():
                doubted = source.load(options["seed"])
        return compare(doubted, (x, weight, bias), **given, on_step=progress.advance)


# Networks ----------------------------------------------------------------------------------------


def _of_sides(
    mine: str, reference: str | None, options: Mapping[str, Any], lang: str
) -> Report | ModelReport:
    """Compare two networks, or an array with a step of one."""
    if reference is None:
        raise UsageError(
            f"nothing to compare {mine} with\n"
            "  Name a REFERENCE (a model, an ONNX file or a saved trace), or give --x and --weight."
        )
    _check_settings(options, reference)
    from convtrace.catalog import say
    from convtrace.commands.progress import Progress
    from convtrace.commands.sides import Given, kind_of_side, run_side
    from convtrace.loading.arrays import read_array
    from convtrace.mismatch.entry import diff as compare

    with Progress(say("diff_models.progress", lang, count="{count}")) as progress:
        given = Given(
            files=options["files"],
            shapes=options["shapes"],
            seed=options["seed"],
            training=options["training"],
            channels=options["channels"],
            advance=progress.advance,
        )
        inputs = given.inputs()
        kind = kind_of_side(mine)
        bare = kind == "array" and Path(mine).suffix.lower() == ".safetensors"
        if bare and options["step"] is None and kind_of_side(reference) == "model":
            kind = "weights"
        if kind == "array":
            right = run_side(reference, given, inputs, options["weights"])
            doubted = read_array(mine).tensor
            arithmetic = options["arithmetic"]
            return compare(
                doubted,
                right.trace,
                step=options["step"],
                arithmetic=arithmetic,
                on_step=progress.advance,
            )
        left = _mine(mine, reference, kind, given, inputs, options)
        if not inputs and kind_of_side(reference) == "onnx":
            inputs = _inputs_of(left)
        right = run_side(reference, given, inputs, options["weights"])
        return _compare(left, right, options["step"], progress.advance)


def _mine(
    mine: str, reference: str, kind: str, given: Given, inputs: Any, options: Mapping[str, Any]
) -> Side:
    from convtrace.commands.sides import kind_of_side, run_side

    if kind != "weights":
        if kind == "onnx" and not inputs and kind_of_side(reference) == "model":
            inputs = _inputs_of(run_side(reference, given, inputs, options["weights"]))
        return run_side(mine, given, inputs, options["mine_weights"])
    if options["mine_weights"] is not None:
        raise UsageError(
            f"{mine} holds weights, and --mine-weights {options['mine_weights']} does so too\n"
            "  Give one of them."
        )
    return run_side(reference, given, inputs, mine)


def _inputs_of(side: Side) -> list[Any]:
    from convtrace.loading.arrays import Loaded

    return [Loaded(value.tensor(), "") for value in side.trace.inputs.values()]


def _compare(left: Side, right: Side, step: str | None, advance: Any) -> ModelReport:
    from dataclasses import replace

    from convtrace.mismatch.networks.diagnosis import diff_models
    from convtrace.mismatch.networks.runs import random_notes

    report = diff_models(left.trace, right.trace, step=step, on_step=advance)
    notes = [*random_notes("mine", left.random), *random_notes("reference", right.random)]
    notes += [note for side in (left, right) for note in side.notes]
    return replace(report, notes=(*notes, *report.notes))


def _check_settings(options: Mapping[str, Any], reference: str) -> None:
    """Raise for options that only arrays have."""
    names = (*_SETTINGS, "transposed", "padding_mode", "activation", "bias")
    given = [name for name in names if options[name] is not None]
    if given:
        shown = ", ".join("--" + name.replace("_", "-") for name in given)
        raise UsageError(
            f"{shown} was given, and {reference} has its own settings\n"
            "  These options describe a convolution of arrays: give --x and --weight with them."
        )
    if options["files"] and options["shapes"]:
        raise UsageError(
            "--input and --random were both given\n"
            "  Give one of them; repeat it for a model of several inputs."
        )
