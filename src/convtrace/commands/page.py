"""`convtrace page`: a network as one file that opens in a browser without any network."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from convtrace.commands.options import Verb, model_options, output_options
from convtrace.errors import UsageError

if TYPE_CHECKING:
    from convtrace.graph import Trace

_HELP = """\
Writes a network as one HTML file that anyone can open or mail: it needs no network and no
server. Every number can be followed down to the pixels, and is checked against what PyTorch
returned.

\b
  convtrace page digits
  convtrace page net.py:Net --input photo.png --output net.html
  convtrace page net.py:Net --random 1,3,64,64 --start "conv2[0,5,3,3]"
  convtrace page torchvision.models:resnet18 --random 1,3,224,224 --step layer1.0.conv1
  convtrace page --playground

MODEL is file.py:object, package.module:object, an ONNX file (.onnx), a saved trace (.convtrace),
or digits, a small trained network that ships with convtrace.

With --playground the page begins with the playground, in which every setting and every number of
a small stack of convolutions can be changed; without MODEL it is that of `convtrace demo`.

Where not all numbers fit into --budget, the steps that --step names come first, and the page
says what was left out. `convtrace serve MODEL` shows a large network whole.
"""


@click.command(
    cls=Verb,
    help=_HELP,
    example="convtrace page digits --output digits.html",
)
@click.argument("model", required=False)
@model_options
@click.option(
    "-o",
    "--output",
    "file",
    metavar="FILE",
    default="page.html",
    show_default=True,
    help="Name of the file.",
)
@click.option(
    "--start", metavar="ADDRESS", help="Number to show first. Default: the first convolution's."
)
@click.option(
    "--step",
    "steps",
    multiple=True,
    metavar="STEP",
    help="Step whose numbers come first where not all fit the budget. Repeat for several.",
)
@click.option(
    "--budget",
    type=click.FloatRange(min=0),
    default=5.0,
    show_default=True,
    metavar="MB",
    help="Megabytes that the numbers may take.",
)
@click.option("--playground", is_flag=True, help="Begin with the playground, to change everything.")
@output_options
def page(
    model: str | None,
    file: str,
    start: str | None,
    steps: tuple[str, ...],
    budget: float,
    playground: bool,
    lang: str | None,
    color: str,
    **request: Any,
) -> None:
    """Write a page."""
    check_page(file)
    if not math.isfinite(budget):
        raise UsageError(
            f"--budget {budget}: this is no size\n"
            "  Give the megabytes that the numbers may take, e.g. 5."
        )
    from convtrace.catalog import say
    from convtrace.commands.output import choose_language, make_console
    from convtrace.commands.request import Request
    from convtrace.commands.run import print_rows, run
    from convtrace.demo import DemoOptions, run_stack

    language = choose_language(lang)
    console = make_console(color)
    if model is not None:
        made = run(Request(model=model, **request), language)
        print_rows(made.rows, console, language)
        trace = made.trace
    elif playground:
        trace = run_stack(DemoOptions())
    else:
        raise UsageError(
            "no MODEL was named\n"
            "  Name one (convtrace page digits), or open the playground:\n"
            "  convtrace page --playground"
        )
    trace.save(
        file,
        lang=language,
        start=start,
        steps=list(steps),
        budget=round(budget * 1_000_000),
        title=f"convtrace: {model}" if model else "convtrace",
        playground=playground,
    )
    size = f"{Path(file).stat().st_size / 1e6:.1f}"
    console.print(say("page.saved", language, file=file, size=size), soft_wrap=True)
    if playground:
        _say_unsuitable(trace, language, start=start, steps=list(steps), budget=budget)


def _say_unsuitable(trace: Trace, lang: str, *, budget: float, **options: Any) -> None:
    """Say on stderr why the page has no playground, where it has none."""
    from convtrace.catalog import say
    from convtrace.render.page.files import trace_page
    from convtrace.render.page.playground import obstacle

    def left_out() -> list[str]:
        page = trace_page(trace, budget=round(budget * 1_000_000), **options)
        return page.trace.left_out

    found = obstacle(trace, left_out)
    if found is None:
        return
    key, values = found
    if key == "limit":
        values["field"] = say(f"page.playground.{values['field']}", lang)
    reason = say(f"cli.playground.{key}", lang, **values)
    click.echo(say("cli.playground.lead", lang, reason=reason), err=True)
    click.echo(say("cli.playground.next", lang), err=True)


def check_page(file: str) -> None:
    """Raise, before anything slow, if a page of this name cannot be written.

    Raises:
        UsageError: Its suffix is not `.html`.
        FileError: Its folder is missing, or it is a folder itself.
    """
    from convtrace.writing import check_writable

    if Path(file).suffix.lower() != ".html":
        raise UsageError(
            f"a page is an HTML file, and {file} does not end in .html\n"
            "  Give a name such as page.html."
        )
    check_writable(file)
