"""`convtrace uses`: where a number goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from convtrace.commands.addresses import address_of, check_addresses
from convtrace.commands.options import Verb, model_options, output_options, result_options

if TYPE_CHECKING:
    from convtrace.projection import Uses

_LIMIT = 20

_HELP = """\
Where does this number go? Lists every number that a pixel, an activation, a weight or a bias went
into, with what it was multiplied by there, and how much of the result it made.

\b
  convtrace uses digits "input[0,0,2,3]"
  convtrace uses digits "input[0,0,2,3]" --to fc
  convtrace uses digits "conv1.weight[2,0,1,1]" --output uses.json

ADDRESS is a name and one position an axis, counted from 0, in quotes. Without --to, the next
steps answer; with it, all steps on the way to that one.

--output uses.npy holds one row a number (address, coefficient, product, made, share), as a
structured NumPy array; --output uses.json holds the same and more.

Exit status: 0; 2 for bad input.
"""


@click.command(
    cls=Verb,
    help=_HELP,
    example='convtrace uses digits "input[0,0,2,3]"',
)
@click.argument("model")
@click.argument("address")
@model_options
@click.option("--to", metavar="STEP", help="Go on to this step, however far it is.")
@result_options(_LIMIT, "numbers, the ones that it matters most in")
@output_options
def uses(
    address: str,
    to: str | None,
    output: str | None,
    limit: int,
    lang: str | None,
    color: str,
    **request: Any,
) -> None:
    """List uses."""
    from convtrace.commands.saving import check_output, save

    check_addresses(address)
    check_output(output)
    from convtrace.catalog import say
    from convtrace.commands.output import choose_language, make_console
    from convtrace.commands.progress import Progress
    from convtrace.commands.request import Request
    from convtrace.commands.run import print_rows, run
    from convtrace.render.documents.answers import uses_json
    from convtrace.render.text.uses import print_uses

    language = choose_language(lang)
    console = make_console(color)
    made = run(Request(**request), language)
    chosen = address_of(made.trace, address, "uses are those of one number")
    with Progress(say("uses.progress", language, count="{count}")) as progress:
        found = made.trace.uses(chosen, to=to, on_step=progress.advance)
    print_rows(made.rows, console, language)
    print_uses(found, made.trace, console, language, limit, to)
    if output is not None:
        is_array = output.lower().endswith(".npy")
        save(output, b"" if is_array else uses_json(found), table(found) if is_array else None)
        console.print(
            "\n" + say("uses.saved", language, file=output, count=len(found)), soft_wrap=True
        )


def table(uses: Uses) -> Any:
    """Return uses as a structured array: address, coefficient, product, made, share."""
    import numpy as np

    addresses = [str(use.address) for use in uses]
    wide = max([1, *map(len, addresses)])
    numbers = ("coefficient", "product", "made", "share")
    rows = np.zeros(len(uses), dtype=[("address", f"U{wide}"), *((key, "f8") for key in numbers)])
    if len(uses):
        rows["address"] = addresses
        rows["coefficient"] = np.concatenate([uses.coefficients[step] for step in uses.steps])
        rows["made"] = np.concatenate([uses.made[step] for step in uses.steps])
        rows["product"] = rows["coefficient"] * uses.value
        with np.errstate(divide="ignore", invalid="ignore"):
            share = rows["product"] / rows["made"]
        rows["share"] = np.where(rows["made"] == 0, np.nan, share)
    return rows
