"""`convtrace why`: the receipt of a number."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import click

from convtrace.commands.addresses import address_of, check_addresses
from convtrace.commands.options import Verb, model_options, output_options
from convtrace.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from convtrace.graph import Trace

_LIMIT = 64
"""Terms of a receipt that are shown unless the reader asks for another number."""

_HELP = """\
Why is this number what it is? Shows its receipt: every multiplication that made it, grouped
by input channel, with a total that is checked against what PyTorch returned.

\b
  convtrace why digits "conv2[0,5,3,3]"
  convtrace why net.py:Net "conv1[0,0,4,7]" "input[0,0,4,7]" --input photo.png
  convtrace why torchvision.models:resnet18 "layer1.0.conv1[0,3,20,20]" \\
      --random 1,3,224,224 --weights resnet18.safetensors
  convtrace why net.py:Net --nonfinite --input photo.png

MODEL is file.py:object, package.module:object, or digits, a small trained network that ships
with convtrace. The object is an nn.Module, a function without arguments that makes one, or a
function of tensors. Or MODEL is an ONNX file (net.onnx), or a run that was saved
(name.convtrace).

ADDRESS is the name of a step and one position an axis, counted from 0, in quotes, since
shells have plans of their own for brackets: conv2[0,5,3,3] is sample 0, channel 5, row 3,
column 3 of what conv2 returned. input[…] and conv2.weight[…] are numbers, too. `convtrace
summary MODEL` lists the steps.

With --backward, gradients are numbers, too: conv1.weight.grad[0,0,1,1] says how fast the loss
grows with that weight. The loss is the sum of the output, unless the model returns one number.

--nonfinite looks for the first NaN or infinity of the run and shows what brought it in.

Exit status: 0; 1 if a receipt does not match what PyTorch returned; 2 for bad input.
"""


@click.command(
    cls=Verb,
    help=_HELP,
    example='convtrace why digits "conv2[0,5,3,3]"',
)
@click.argument("model")
@click.argument("addresses", nargs=-1, metavar="ADDRESS...")
@model_options
@click.option(
    "--nonfinite",
    is_flag=True,
    help="Instead of an address: explain the first NaN or infinity of the run.",
)
@click.option(
    "--backward",
    is_flag=True,
    help="Run the backward pass as well, for gradients: conv1.weight.grad[…], input.grad[…]. The "
    "loss is the sum of the output, or the one number that the model returns.",
)
@click.option("--all", "everything", is_flag=True, help="Show every term, with all its digits.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"Show at most N terms of a receipt, and what the rest sums to. Default: {_LIMIT}.",
)
@output_options
@click.pass_context
def why(
    ctx: click.Context,
    addresses: tuple[str, ...],
    nonfinite: bool,
    backward: bool,
    everything: bool,
    limit: int | None,
    lang: str | None,
    color: str,
    **request: Any,
) -> None:
    """Explain numbers."""
    if everything and limit is not None:
        raise UsageError(
            f"--all and --limit {limit} were both given\n"
            "  --all shows every term; --limit cuts the list. Give one of them."
        )
    if nonfinite and addresses:
        raise UsageError(
            f"--nonfinite and {' '.join(addresses)} were both given\n"
            "  --nonfinite finds the address itself. Give one of them."
        )
    if not nonfinite and not addresses:
        raise click.UsageError("Missing argument 'ADDRESS...'.", ctx)
    check_addresses(*addresses)
    from convtrace.commands.output import choose_language, make_console
    from convtrace.commands.request import Request
    from convtrace.commands.run import import_numpy, print_rows, run

    import_numpy(request["model"])
    from convtrace.render.text.receipt import print_receipt

    language = choose_language(lang)
    console = make_console(color)
    made = run(Request(**request, backward=backward), language)
    if not backward:
        _check_gradients(made.trace, addresses)
    receipts = [made.trace.why(address_of(made.trace, text)) for text in addresses]
    if nonfinite:
        first = made.trace.first_nonfinite()
        receipts = [] if first is None else [first]
    print_rows(made.rows, console, language)
    if nonfinite:
        _say_nonfinite(made.trace, bool(receipts), console, language)
    for number, receipt in enumerate(receipts):
        if number:
            console.print("\n" + "─" * 60 + "\n", style="dim")
        print_receipt(receipt, console, language, None if everything else limit or _LIMIT)
    if any(receipt.verdict == "mismatch" for receipt in receipts):
        ctx.exit(1)


def _check_gradients(trace: Trace, addresses: tuple[str, ...]) -> None:
    """Say what to do where a gradient is asked for, and no backward pass ran."""
    known = {*trace.steps, *trace.aliases, *trace.inputs, *trace.parameters}
    for text in addresses:
        step = text.split("[")[0].strip()
        if step not in known and re.search(r"\.grad(:\d+)?(@.*)?$", step):
            raise UsageError(
                f"{text} is a gradient, and no backward pass ran\n"
                "  Add --backward: the loss is then the sum of the output, or the one number that "
                "the\n  model returns."
            )


def _say_nonfinite(trace: Trace, found: bool, console: Console, lang: str) -> None:
    """Say that every number is finite, or that what follows is the first one that is not."""
    from convtrace.catalog import say

    if found:
        console.print(say("cli.nonfinite.first", lang) + "\n", soft_wrap=True)
        return
    count = sum(math.prod(value.shape) for value in (*trace.inputs.values(), *trace.steps.values()))
    steps = len(trace.steps)
    console.print(say("cli.nonfinite.none", lang, count=f"{count:,}", steps=steps), soft_wrap=True)
