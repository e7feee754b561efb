"""Options that verbs share, and the class of all verbs."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

TRACEBACK = "convtrace.traceback"
"""Key in `click.Context.obj`: whether to show tracebacks."""


class Verb(click.Command):
    """A command with an example, which its usage errors show.

    Args:
        example: A command line that works.
    """

    def __init__(self, *args: Any, example: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.example = example


class Shape(click.ParamType):  # pyright: ignore[reportMissingTypeArgument]
    """Sizes of axes, separated by commas: `1,3,224,224`."""

    name = "shape"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Read the text."""
        if isinstance(value, tuple):
            return value  # pyright: ignore[reportUnknownVariableType]
        parts = re.split(r"[,x]", str(value).strip().strip("()[]").rstrip(","))
        sizes = [part.strip() for part in parts]
        if not all(re.fullmatch(r"[0-9]{1,18}", size) for size in sizes):
            self.fail(
                f"{value!r} is not a shape\n"
                "  Write one whole number an axis, separated by commas: 1,3,224,224 is one image "
                "of 3 channels, 224 rows and 224 columns.",
                param,
                ctx,
            )
        return tuple(int(size) for size in sizes)


def _remember_traceback(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    ctx.ensure_object(dict)[TRACEBACK] = value


def output_options(function: F) -> F:
    """Add `--lang`, `--color` and `--traceback`."""
    for option in (
        click.option(
            "--traceback",
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_remember_traceback,
            help="Show Python's traceback with an error, for reporting it.",
        ),
        click.option(
            "--color",
            type=click.Choice(["auto", "always", "never"]),
            default="auto",
            show_default=True,
            help="Colour the output. auto: on a terminal; NO_COLOR and FORCE_COLOR are heard.",
        ),
        click.option(
            "--lang",
            type=click.Choice(["en", "ko"]),
            help="Language of the output. Default: that of the locale (LC_ALL, LANG).",
        ),
    ):
        function = option(function)
    return function


def result_options(limit: int, what: str) -> Callable[[F], F]:
    """Add `--output` and `--limit`.

    Args:
        limit: What is shown at most, unless the reader asks for another number.
        what: What is counted; it follows "Show at most N".
    """

    def add(function: F) -> F:
        function = click.option(
            "--limit",
            type=click.IntRange(min=1),
            metavar="N",
            default=limit,
            help=f"Show at most N {what}. Default: {limit}.",
        )(function)
        return click.option(
            "-o", "--output", metavar="FILE", help="Write a .npy or .json file as well."
        )(function)

    return add


def model_options(function: F) -> F:
    """Add what says which numbers the model computes with."""
    for option in (
        click.option(
            "--train/--eval",
            "training",
            default=False,
            help="Mode of an nn.Module while it runs: training, or evaluation (the default), in "
            "which dropout is off and batch norm uses its stored statistics.",
        ),
        click.option(
            "--weights",
            metavar="FILE",
            help="Weights to read into the model: .safetensors, or .pt/.pth with nothing but "
            "tensors in it. Without this the model keeps what its code gave it.",
        ),
        click.option(
            "--rgb", "channels", flag_value="rgb", help="Read images as red, green and blue."
        ),
        click.option(
            "--grey",
            "channels",
            flag_value="grey",
            help="Read images as one grey channel. Without it and --rgb, as the file has them.",
        ),
        click.option(
            "--seed",
            type=click.IntRange(0, 2**63 - 1),
            default=0,
            metavar="N",
            help="Seed of everything random: weights the code draws, and --random inputs. "
            "Default: 0.",
        ),
        click.option(
            "--random",
            "shapes",
            type=Shape(),
            multiple=True,
            metavar="SHAPE",
            help="Input of random numbers (standard normal), e.g. 1,3,224,224. Repeat for a "
            "model of several inputs.",
        ),
        click.option(
            "--input",
            "files",
            multiple=True,
            metavar="FILE",
            help="Input: .npy, .npz or .safetensors (file.npz:name for one array of many), or an "
            "image, which becomes float32 of shape (1, C, H, W), 0 for black and 1 for white. "
            "Repeat for a model of several inputs.",
        ),
    ):
        function = option(function)
    return function
