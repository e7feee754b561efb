"""The command line: `convtrace demo`, `why`, `contributions` and so on.

Each verb is a file in `convtrace.commands`. Here is what all of them share: help, and how every
error becomes one message and an exit status.

    0    all is well
    1    a receipt, or a sum of contributions, does not match what the framework returned, or the
         output was closed early; `convtrace diff`: what --fail-on names was found
    2    bad input: the message says what, and what to do
    70   a fault of convtrace itself
    130  interrupted
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

import click

from convtrace import __version__
from convtrace.commands.options import TRACEBACK, Verb
from convtrace.commands.output import prepare_streams
from convtrace.errors import ConvtraceError, ModelError

BAD_INPUT, FAULT, INTERRUPTED = 2, 70, 130

VERBS = {
    "demo": "The shortest tour: a convolution, number by number.",
    "why": "Show every multiplication behind a number.",
    "contributions": "Split one number over the pixels and the biases.",
    "uses": "List every number that one number went into.",
    "diff": "Say whether a difference is rounding or a bug, and which bug.",
    "summary": "List every step with its shape, cost and receptive field.",
    "page": "Write a network as one page that opens offline.",
    "serve": "Open the page of a large network from a local server.",
    "draw": "Draw a number, a layer or a network for a paper, a page or a slide.",
    "worksheet": "Write exercises for paper, with answers.",
}
"""Verbs in the order of `--help`, and what each does. Each is a file in `convtrace.commands`, which
is read when the verb is used."""


class Commands(click.Group):
    """The group of all verbs; turns every error into one message."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = False,  # an address has brackets, like a glob
        **extra: Any,
    ) -> Any:
        """Run a command line; see `click.Command.main`."""
        run: Any = super().main
        if not standalone_mode:
            return run(args, prog_name, complete_var, False, windows_expand_args, **extra)
        prepare_streams()
        remembered: dict[str, Any] = {}
        try:
            status = run(
                args, prog_name or "convtrace", complete_var, False, False, obj=remembered, **extra
            )
            sys.stdout.flush()
        except click.UsageError as error:
            _stop(_usage(error), BAD_INPUT)
        except click.ClickException as error:
            _stop(error.format_message(), BAD_INPUT)
        except (KeyboardInterrupt, click.Abort):
            sys.exit(INTERRUPTED)
        except ConvtraceError as error:
            self._show_traceback(remembered)
            hint = ""
            if isinstance(error, ModelError) and not remembered.get(TRACEBACK):
                hint = "\n  --traceback shows where in the code."
            _stop(f"{error}{hint}", BAD_INPUT)
        except MemoryError:
            self._show_traceback(remembered)
            _stop("not enough memory\n  Try a smaller input or model.", BAD_INPUT)
        except BrokenPipeError:
            _close_stdout()
            sys.exit(1)
        except Exception as error:  # noqa: BLE001  (never a traceback, whatever it is)
            self._show_traceback(remembered)
            reason = str(error).strip() or "no message"
            _stop(
                f"a fault of convtrace itself: {type(error).__name__}\n"
                f"  {reason}\n"
                "  Please report it, with what --traceback shows.",
                FAULT,
            )
        sys.exit(status if isinstance(status, int) else 0)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs, the ones to begin with first."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a verb."""
        if cmd_name not in VERBS:
            return None
        return getattr(import_module(f"convtrace.commands.{cmd_name}"), cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what each verb does, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))

    @staticmethod
    def _show_traceback(remembered: dict[str, Any]) -> None:
        if remembered.get(TRACEBACK):
            import traceback

            traceback.print_exc()


def _usage(error: click.UsageError) -> str:
    lines = [error.format_message()]
    ctx = error.ctx
    if ctx is None:
        return lines[0]
    lines.append(f"  {ctx.get_usage()}")
    if isinstance(ctx.command, Verb) and ctx.command.example:
        lines.append(f"  Example: {ctx.command.example}")
    lines.append(f"  `{ctx.command_path} --help` explains it.")
    return "\n".join(lines)


def _stop(message: str, status: int) -> NoReturn:
    """Print one message on standard error and end the program."""
    clean = "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in message)
    click.echo(f"convtrace: {clean}", err=True)
    sys.exit(status)


def _close_stdout() -> None:
    """Keep Python from complaining, at exit, that nobody reads its output any more."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


_HELP = """\
Every multiplication behind any number in a convolutional network, certified.

\b
  convtrace demo                             the shortest tour
  convtrace why digits "conv2[0,5,3,3]"      one number of a trained network
  convtrace contributions digits "fc[0,8]"   the same down to the pixels, as a map
  convtrace uses digits "input[0,0,2,3]"     where a number goes
  convtrace diff net.onnx net.py:Net         is a difference rounding, or which bug is it
  convtrace summary digits                   every step of that network
  convtrace page digits                      all of it as a page, one file, offline
  convtrace serve digits                     all of it as a page in the browser
  convtrace worksheet class.pdf --count 30   exercises for paper, with answers
  convtrace draw digits "fc[0,8]" -o why.svg  figures for papers, pages and slides

An address such as conv2[0,5,3,3] names one number: the step that made it, and its position on
each axis, counted from 0. The answer is a receipt: all terms weight × value, their sum per
input channel, and a total that is checked against what PyTorch returned. Every term has an
address of its own, so you can go on asking, down to the pixels.

`convtrace why --help` explains a verb.
"""


@click.group(
    help=_HELP,
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="convtrace")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Run the command line."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
