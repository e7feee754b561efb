"""`convtrace worksheet`: exercises for paper, with answers."""

from __future__ import annotations

from pathlib import Path

import click

from convtrace.commands.options import Verb, output_options
from convtrace.errors import MissingDependencyError, UsageError

SUFFIXES = (".html", ".pdf")

KINDS = (
    "output",
    "channel_sum",
    "missing_weight",
    "shape",
    "parameters",
    "transposed",
    "dilated",
)
"""Kinds of exercises. They are listed here again so that `--help` starts without NumPy."""

_HELP = """\
Exercises for paper, with an answer key on pages of its own. Every number is small and whole, and
every answer is looked up in a receipt.

\b
  convtrace worksheet sheet.pdf
  convtrace worksheet class.pdf --count 30 --level 2 --seed 7
  convtrace worksheet sheet.html --lang ko --kind output --kind transposed

FILE ends in .pdf or in .html, which a browser prints. --count 30 makes thirty different sheets and
then thirty keys, numbered alike; the same seed makes the same ones again.

Exit status: 0; 2 for bad input.
"""


@click.command(
    cls=Verb,
    help=_HELP,
    example="convtrace worksheet class.pdf --count 30",
)
@click.argument("file")
@click.option(
    "--level",
    type=click.IntRange(1, 3),
    default=1,
    show_default=True,
    help="1: no padding, small numbers. 2: padding, more channels, bias. 3: strides, negative "
    "numbers, groups.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    default=0,
    metavar="N",
    help="Another seed gives other numbers. Default: 0.",
)
@click.option(
    "--count",
    type=click.IntRange(1, 200),
    default=1,
    metavar="N",
    help="Number of sheets, each different. Default: 1.",
)
@click.option(
    "--kind",
    "kinds",
    type=click.Choice(KINDS),
    multiple=True,
    help="What is asked. Repeat for several, in their order. Default: one of each.",
)
@output_options
def worksheet(
    file: str,
    level: int,
    seed: int,
    count: int,
    kinds: tuple[str, ...],
    lang: str | None,
    color: str,
) -> None:
    """Write worksheets."""
    from convtrace.writing import check_writable, write_whole

    suffix = Path(file).suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(
            f"{file}: the suffix picks the form, and worksheets have none for this one\n"
            f"  Give a name that ends in {' or '.join(SUFFIXES)}."
        )
    check_writable(file)
    from convtrace.catalog import say
    from convtrace.commands.output import choose_language, make_console
    from convtrace.commands.progress import Progress
    from convtrace.exercises import worksheets
    from convtrace.render.table import missing
    from convtrace.render.worksheet.files import worksheets_html, worksheets_pdf

    language = choose_language(lang)
    with Progress(say("worksheet.progress", language)):
        sheets = worksheets(level=level, seed=seed, count=count, kinds=kinds or KINDS)
        write = worksheets_pdf if suffix == ".pdf" else worksheets_html
        try:
            content = write(sheets, lang=language)
        except MissingDependencyError:
            raise  # no font; it says already what to install
        except ImportError as error:
            raise missing(suffix, error) from error
        write_whole(file, content)
    key = "worksheet.saved" if count > 1 else "worksheet.saved_one"
    text = say(key, language, file=file, count=count)
    make_console(color).print(text, soft_wrap=True)
