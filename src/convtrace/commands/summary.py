"""`convtrace summary`: every step of a run."""

from __future__ import annotations

from typing import Any

import click

from convtrace.commands.options import Verb, model_options, output_options

_HELP = """\
What does this network do, step by step? Lists every step that ran: its name (which is what
addresses start with), kind, output shape with the formula filled in, parameters,
multiply-accumulates and receptive field.

\b
  convtrace summary digits
  convtrace summary net.py:Net --random 1,3,64,64
  convtrace summary torchvision.models:resnet18 --random 1,3,224,224

MODEL is file.py:object, package.module:object, or digits, a small trained network that ships
with convtrace. The object is an nn.Module, a function without arguments that makes one, or a
function of tensors. Or MODEL is an ONNX file (net.onnx), or a run that was saved
(name.convtrace).

To see how one number of a step came about: `convtrace why MODEL "step[0,0,0,0]"`.
"""


@click.command(
    cls=Verb,
    help=_HELP,
    example="convtrace summary digits",
)
@click.argument("model")
@model_options
@output_options
def summary(lang: str | None, color: str, **request: Any) -> None:
    """List steps."""
    from convtrace.commands.output import choose_language, make_console
    from convtrace.commands.request import Request
    from convtrace.commands.run import import_numpy, print_rows, run

    import_numpy(request["model"])
    from convtrace.render.text.summary import print_summary

    language = choose_language(lang)
    console = make_console(color)
    made = run(Request(**request), language)
    print_rows(made.rows, console, language)
    print_summary(made.trace, console, language)
