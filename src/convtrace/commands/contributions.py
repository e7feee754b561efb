"""`convtrace contributions`: one number as a sum over the pixels and the biases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from convtrace.commands.addresses import address_of, check_addresses
from convtrace.commands.options import Verb, model_options, output_options, result_options
from convtrace.errors import UsageError

if TYPE_CHECKING:
    from convtrace.address import Address
    from convtrace.graph import Trace

_LIMIT = 12
_WANTED = "contributions are those of one number"

_HELP = """\
What is this number made of, down to the pixels? Splits it exactly: a term for every pixel of the
input, and one for what each step added by itself (its biases). They add up to the number.

\b
  convtrace contributions digits "fc[0,8]"
  convtrace contributions digits "fc[0,8]" --minus "fc[0,3]"
  convtrace contributions torchvision.models:resnet18 "fc[0,281]" \\
      --random 1,3,224,224 --at layer2 --output map.npy

ADDRESS is the name of a step and one position an axis, counted from 0, in quotes. `convtrace
summary MODEL` lists the steps.

--output map.npy holds the map of the first input, in the shape of that input; --output all.json
holds everything: each term at its position, the biases by step, total, residual and scale.

Exit status: 0; 1 if the terms do not add up to what PyTorch returned; 2 for bad input.
"""


@click.command(
    cls=Verb,
    help=_HELP,
    example='convtrace contributions digits "fc[0,8]"',
)
@click.argument("model")
@click.argument("address")
@model_options
@click.option(
    "--minus",
    metavar="ADDRESS",
    help="Split the difference to this number: why this class and not that one.",
)
@click.option(
    "--at",
    "at",
    multiple=True,
    metavar="STEP",
    help="Stop at this step instead of going down to the pixels. Repeat for several.",
)
@click.option(
    "--float64", "float64", is_flag=True, help="Run the network again in float64, and split that."
)
@result_options(_LIMIT, "pixel terms and N biases, and what the rest sums to")
@output_options
@click.pass_context
def contributions(
    ctx: click.Context,
    address: str,
    minus: str | None,
    at: tuple[str, ...],
    float64: bool,
    output: str | None,
    limit: int,
    lang: str | None,
    color: str,
    **request: Any,
) -> None:
    """Split a number."""
    from convtrace.commands.saving import check_output, save

    check_addresses(address, minus)
    check_output(output)
    from convtrace.catalog import say
    from convtrace.commands.output import choose_language, make_console
    from convtrace.commands.progress import Progress
    from convtrace.commands.request import Request
    from convtrace.commands.run import print_rows, run
    from convtrace.render.documents.answers import split_json
    from convtrace.render.text.contributions import agrees, maps_of, print_contributions

    language = choose_language(lang)
    console = make_console(color)
    made = run(Request(**request), language)
    trace = made.trace
    chosen = _made(trace, address)
    other = None if minus is None else _made(trace, minus)
    stops = [_stop(trace, step) for step in at]
    dtype = None
    if float64:
        import torch

        dtype = torch.float64
    with Progress(say("contributions.progress", language, count="{count}")) as progress:
        found = trace.contributions(
            chosen, minus=other, at=stops, dtype=dtype, on_step=progress.advance
        )
    print_rows(made.rows, console, language)
    print_contributions(found, trace, console, language, limit, stops)
    if output is not None:
        maps = maps_of(found, trace)
        names = list(maps)
        if output.lower().endswith(".npy") and not names:
            raise UsageError(
                f"--output {output}: no input is reached from {address}, so there is no map\n"
                "  A .json file holds the biases."
            )
        save(output, split_json(found), _map(maps[names[0]]) if names else None)
        kind = "npy" if output.lower().endswith(".npy") else "json"
        first = names[0] if names else ""
        more = "_of" if kind == "npy" and len(names) > 1 else ""
        text = say(
            f"contributions.saved.{kind}{more}", language, file=output, name=first, count=len(names)
        )
        console.print("\n" + text, soft_wrap=True)
    if agrees(found, trace) is False:
        ctx.exit(1)


def _map(tensor: Any) -> Any:
    from convtrace.render.text.contributions import array

    tensor = tensor.detach().cpu()
    return array(tensor) if str(tensor.dtype) == "torch.bfloat16" else tensor.numpy()


def _made(trace: Trace, text: str) -> Address:
    """Read the address of a number that a step made."""
    at = address_of(trace, text, _WANTED)
    if at.step in trace.inputs or at.step in trace.parameters:
        raise UsageError(
            f"{at} was given, not computed: there is nothing to split it into\n"
            f'  `convtrace uses MODEL "{at}"` shows where it goes.'
        )
    return at


def _stop(trace: Trace, name: str) -> str:
    if name in trace.inputs:
        raise UsageError(
            f"--at {name}: this is an input, where every walk ends anyway\n  Leave --at {name} out."
        )
    return trace.step(name).name
