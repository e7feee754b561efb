"""`convtrace serve`: the page of a large network, from a local server."""

from __future__ import annotations

import contextlib
from typing import Any

import click

from convtrace.commands.options import Verb, model_options, output_options

_HELP = """\
Opens the page of a network that is too large for a file. The page asks this server for the
numbers that the reader looks at; nothing is loaded whole.

\b
  convtrace serve digits
  convtrace serve torchvision.models:resnet50 --random 1,3,224,224
  convtrace serve net.py:Net --input photo.png --start "layer3.0.conv2[0,5,7,7]" --open

MODEL is file.py:object, package.module:object, an ONNX file (.onnx), a saved trace (.convtrace),
or digits, a small trained network that ships with convtrace.

The server listens on this machine only, and answers nobody without the token in the address
that it prints. Ctrl-C stops it. For a small network, `convtrace page MODEL` writes one file
that needs no server.
"""


@click.command(
    cls=Verb,
    help=_HELP,
    example="convtrace serve digits",
)
@click.argument("model")
@model_options
@click.option(
    "--start", metavar="ADDRESS", help="Number to show first. Default: the first convolution's."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    metavar="N",
    help="Port to listen on. Default: a free one.",
)
@click.option("--open", "browse", is_flag=True, help="Open the page in the browser.")
@output_options
def serve(
    start: str | None, port: int, browse: bool, lang: str | None, color: str, **request: Any
) -> None:
    """Serve a page."""
    from convtrace.catalog import say
    from convtrace.commands.output import choose_language, make_console
    from convtrace.commands.request import Request
    from convtrace.commands.run import print_rows, run
    from convtrace.server import Server, listen

    language = choose_language(lang)
    console = make_console(color)
    with contextlib.closing(listen(port)) as listener:  # a taken port is said before the model runs
        made = run(Request(**request), language)
        print_rows(made.rows, console, language)
        title = f"convtrace: {request['model']}"
        server = Server(made.trace, listener=listener, lang=language, start=start, title=title)
        with server.stopped_by_interrupt():
            console.print("\n" + say("serve.open", language), soft_wrap=True)
            console.print(f"  {server.url}", soft_wrap=True)
            console.print(say("serve.stop", language), soft_wrap=True)
            console.file.flush()
            if browse:
                import webbrowser

                webbrowser.open(server.url)
            server.run()
            console.print(say("serve.stopped", language), soft_wrap=True)
            console.file.flush()
