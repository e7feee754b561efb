"""`convtrace draw`: a number, a layer or a network as a file; the suffix picks the form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from convtrace.address import parse_address
from convtrace.commands.options import Verb, model_options, output_options
from convtrace.errors import UsageError

_FIGURES = (
    "receipt",
    "equation",
    "layer",
    "stack",
    "window",
    "groups",
    "scatter",
    "gather",
    "contributions",
    "animation",
)

_PICTURES = (".svg", ".png", ".pdf", ".tex")

_FILMS = (".gif", ".apng", ".webp", ".mp4", ".webm")

_OWN_OPTIONS = ("lang", "theme", "figure")

_HELP = """\
Writes a figure of a number, a layer or a network. The suffix picks the form: .svg .png .pdf, .tex
(TikZ) and .md for papers and pages, and every other form that a receipt or a network can be saved
in (.gif .html .xlsx .json .txt …).

\b
  convtrace draw digits "conv2[0,5,3,3]" -o why.svg
  convtrace draw digits "conv2[0,5,3,3]" -o why.md
  convtrace draw digits "conv2[0,5,3,3]" -o layer.pdf --figure layer --width 170
  convtrace draw digits "fc[0,8]" -o map.png --figure contributions
  convtrace draw digits -o stack.svg
  convtrace draw digits -o walk.gif --step conv1

\b
Figures:
  receipt        one number: input × kernel = products, sums, total (of an ADDRESS, the default)
  equation       the same as an equation (.tex and .md)
  layer          input channels, kernels and output channels, one number marked
  stack          the receptive field of a number through the layers (without ADDRESS, the default)
  window         padding, stride and dilation: where the window lies
  groups         which channels read which; depthwise, too
  scatter        where one input number goes; for transposed convolutions the stamp that it leaves
  gather         what a number of a transposed convolution reads: the input with holes
  contributions  a map of what every pixel brings to a number, with the sum
  animation      the window walking over the input (.svg; .gif and videos are always one)

MODEL is file.py:object, package.module:object, an ONNX file (.onnx), a saved trace (.convtrace),
or digits, a small trained network that ships with convtrace. ADDRESS is a number such as
conv2[0,5,3,3], in quotes.

Exit status: 0; 1 if a receipt that was drawn does not match; 2 for bad input.
"""


@click.command(
    cls=Verb,
    help=_HELP,
    example='convtrace draw digits "conv2[0,5,3,3]" -o why.svg',
)
@click.argument("model")
@click.argument("address", required=False)
@model_options
@click.option("-o", "--output", "file", metavar="FILE", required=True, help="Name of the file.")
@click.option("--figure", type=click.Choice(_FIGURES), help="What to draw.")
@click.option("--step", metavar="STEP", help="Step to draw, in the place of an address.")
@click.option("--width", type=float, metavar="MM", help="Width on paper, in millimetres.")
@click.option("--dpi", type=float, metavar="N", help="Pixels per inch of a .png. Default: 192.")
@click.option("--theme", type=click.Choice(["light", "dark"]), default="light", show_default=True)
@click.option("--mono", is_flag=True, help="Without colour, for print.")
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="Most terms of a receipt to show."
)
@click.option(
    "--option",
    "others",
    multiple=True,
    metavar="NAME=VALUE",
    help="Another option of that form, e.g. seconds=0.5 for a .gif. Repeat for several.",
)
@output_options
@click.pass_context
def draw(
    ctx: click.Context,
    address: str | None,
    file: str,
    figure: str | None,
    theme: str,
    others: tuple[str, ...],
    lang: str | None,
    color: str,
    **given: Any,
) -> None:
    """Draw a figure."""
    named = {key: given.pop(key) for key in ("step", "width", "dpi", "limit")}
    mono = given.pop("mono")
    options = {key: value for key, value in named.items() if value is not None}
    options |= {"mono": True} if mono else {}
    options |= dict(map(_option, others))
    if address is not None:
        parse_address(address)  # before anything slow
        if "step" in options:
            raise UsageError(
                f"{address} and --step {options['step']} were both given\n"
                "  An address names its step. Give one of them."
            )
    from convtrace.render.table import check
    from convtrace.writing import check_writable

    suffix = check_writable(file).suffix.lower()
    kind, more = _kind(address, figure, suffix)
    check(kind, suffix, {**more, **options})
    from convtrace.catalog import say
    from convtrace.commands.output import choose_language, make_console
    from convtrace.commands.request import Request
    from convtrace.commands.run import print_rows, run

    language = choose_language(lang)
    console = make_console(color)
    made = run(Request(**given), language)
    thing: Any = made.trace
    if kind == "receipt":
        thing = made.trace.why(str(address))
    elif kind == "split":
        thing = made.trace.contributions(str(address))
    thing.save(file, lang=language, theme=theme, **more, **options)
    print_rows(made.rows, console, language)
    kilobytes = f"{Path(file).stat().st_size / 1000:,.0f}"
    console.print(say("figure.saved", language, file=file, size=kilobytes), soft_wrap=True)
    if getattr(thing, "verdict", None) == "mismatch":
        ctx.exit(1)


def _kind(address: str | None, figure: str | None, suffix: str) -> tuple[str, dict[str, Any]]:
    """Return what kind of thing is saved, and which options say what is drawn of it."""
    from convtrace.render.table import RENDERERS

    if figure in ("receipt", "equation") or (
        figure is None
        and address is not None
        and (suffix in RENDERERS["receipt"] or suffix not in RENDERERS["trace"])
    ):
        if address is None:
            raise UsageError(
                f"--figure {figure} is about one number, and none was given\n"
                "  Add its address in quotes, e.g. conv2[0,5,3,3]; `convtrace summary` lists the "
                "steps."
            )
        if figure == "equation" and suffix not in (".tex", ".md"):
            raise UsageError(
                f"an equation cannot be saved as {suffix}\n"
                "  Choose .tex or .md, or --figure receipt."
            )
        return "receipt", {"figure": figure} if suffix == ".tex" and figure else {}
    if figure == "contributions" and suffix not in _PICTURES:
        if address is None:
            raise UsageError(
                "--figure contributions is about one number, and none was given\n"
                "  Add its address in quotes, e.g. fc[0,8]; `convtrace summary` lists the steps."
            )
        return "split", {}
    if address is not None and (figure == "animation" or suffix in _FILMS):
        step = parse_address(address).step
        raise UsageError(
            f"an animation shows a whole step, and {address} is one number of it\n"
            f"  Leave the address out and write --step {step}."
        )
    if figure == "animation" and suffix in _FILMS:
        figure = None  # these are animations, whatever is said
    more = {"address": address} if address is not None else {}
    return "trace", {"figure": figure, **more} if figure is not None else more


def _option(text: str) -> tuple[str, Any]:
    """Read `name=value`; the value is a number, `true`, `false`, or a text."""
    key, equals, value = text.partition("=")
    if not equals or not key.isidentifier():
        raise UsageError(
            f"--option {text}: this is not NAME=VALUE\n  Write, for example, --option seconds=0.5."
        )
    if key in _OWN_OPTIONS:
        raise UsageError(
            f"--option {text}: this has an option of its own\n  Write --{key} {value}."
        )
    if key in ("address", "file"):
        raise UsageError(
            f"--option {text}: this is no option of a form\n"
            '  Write convtrace draw MODEL "ADDRESS" -o FILE.'
        )
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value
