"""`convtrace demo`: the shortest tour."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from convtrace.commands.options import Verb, output_options
from convtrace.models.stack import WEIGHTS

if TYPE_CHECKING:
    from convtrace.graph import Trace

F = TypeVar("F", bound=Callable[..., Any])

PAGE = "convtrace-demo.html"
"""The page that the demo writes into the current folder."""

_HELP = """\
How does a convolution with several channels work? Two small convolutions, every number of them
printed, a receipt of one number of each layer, and the way from the last one down to the pixels.

\b
  convtrace demo
  convtrace demo --height 5 --width 7 --kernel-size 3 --padding 1 --weights sobel
  convtrace demo --code > demo.py

It also writes the example as a page, convtrace-demo.html, that opens in a browser without any
network; there every number can be followed. A file of that name that is not such a page is left
alone.

The sizes are yours to choose; with none of them it is the example that this tool began with: an
input that counts from 0 to 17, 2 channels of 3 × 3, and two layers of 2 × 2 kernels.
"""


def _sizes(function: F) -> F:
    """Add the sizes. None has a default here: what is not given is left to the demo."""
    whole = click.IntRange(min=1)
    for name, kind, text in reversed(
        (
            ("height", whole, "Rows of the input. Default: 3."),
            ("width", whole, "Columns of the input. Default: 3."),
            ("in-channels", whole, "Channels of the input. Default: 2."),
            ("out-channels", whole, "Channels that each layer makes. Default: 2."),
            ("kernel-size", whole, "Rows and columns of each kernel. Default: 2."),
            ("stride", whole, "Elements from one window to the next. Default: 1."),
            ("padding", click.IntRange(min=0), "Zeros on every side. Default: 0."),
            ("dilation", whole, "Elements from one tap to the next. Default: 1."),
            ("groups", whole, "Groups that the channels are cut into. Default: 1."),
            ("layers", whole, "Number of layers. Default: 2."),
        )
    ):
        function = click.option(f"--{name}", type=kind, metavar="N", help=text)(function)
    return function


@click.command(
    cls=Verb,
    help=_HELP,
    example="convtrace demo --kernel-size 3 --padding 1",
)
@_sizes
@click.option("--transposed/--no-transposed", default=None, help="Transposed convolutions.")
@click.option("--bias/--no-bias", default=None, help="Add a bias to each channel.")
@click.option(
    "--weights",
    type=click.Choice(WEIGHTS),
    help="What the kernels hold. snippet (the default): one constant for each pair of channels. "
    "random: whole numbers from -3 to 3. seed: as PyTorch draws them. identity: copies. sobel: "
    "edges. blur: a weighted mean. sharpen: the middle against its neighbours. ones: a plain sum.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    metavar="N",
    help="Seed of random weights. Default: 0.",
)
@click.option("--code", is_flag=True, help="Print a PyTorch script of it instead of running it.")
@click.option("--page", "file", metavar="FILE", help=f"Name of the page. Default: {PAGE}.")
@click.option("--no-page", is_flag=True, help="Write no page.")
@output_options
def demo(
    code: bool, file: str | None, no_page: bool, lang: str | None, color: str, **options: Any
) -> None:
    """Show the demo, or its code."""
    from convtrace.commands.output import choose_language, make_console
    from convtrace.commands.page import check_page
    from convtrace.demo import DemoOptions, demo_code, run_demo

    chosen = DemoOptions(**{name: value for name, value in options.items() if value is not None})
    if code:
        click.echo(demo_code(chosen).rstrip("\n"))
        return
    if file is not None:
        check_page(file)
    console, language = make_console(color), choose_language(lang)

    def write_page(trace: Trace) -> str:
        return _write_page(trace, file, language)

    run_demo(console, language, chosen, page=None if no_page else write_page)


def _write_page(trace: Trace, file: str | None, lang: str) -> str:
    """Write the page; return what to say about it.

    A page that was asked for by name is written like any other output. The one that nobody asked
    for replaces only a page of convtrace, and is no error where it cannot be written.
    """
    from convtrace.catalog import say
    from convtrace.errors import FileError
    from convtrace.render.page.files import is_page

    if file is not None:
        trace.save(file, lang=lang)
        return say("page.written", lang, file=file)
    if Path(PAGE).exists() and not is_page(Path(PAGE)):
        return say("page.taken", lang, file=PAGE)
    try:
        trace.save(PAGE, lang=lang, title="convtrace demo")
    except FileError as error:
        return say("page.not_written", lang, reason=str(error).splitlines()[0])
    return say("page.written", lang, file=PAGE)
