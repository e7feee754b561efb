"""Which figures there are, and how a receipt, a trace or a split becomes one."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

from convtrace.address import Address, parse_address
from convtrace.errors import UsageError
from convtrace.render.drawing.frame import frame, room_for
from convtrace.render.drawing.pen import Pen
from convtrace.render.drawing.scene import Block, Scene
from convtrace.render.drawing.theme import theme_of
from convtrace.render.look import UNBROKEN, Look

if TYPE_CHECKING:
    from convtrace.graph import Trace
    from convtrace.receipt import Receipt
    from convtrace.split import Split

FIGURES = (
    "receipt",
    "layer",
    "stack",
    "window",
    "groups",
    "scatter",
    "gather",
    "contributions",
)
"""Kinds of figures of a trace; of a receipt there is the first, of a split the last."""

_SMALLER = "--figure receipt explains one number (in Python: figure='receipt')."
_TERMS = "As .md, .txt or .json, the receipt lists every term; limit=16 shows fewer here."


def receipt_scene(
    receipt: Receipt,
    *,
    lang: str = "en",
    theme: str = "light",
    width: float | None = None,
    mono: bool = False,
    limit: int | None = None,
) -> Scene:
    """Draw a receipt.

    Args:
        receipt: The receipt.
        lang: `en` or `ko`.
        theme: `light` or `dark`.
        width: Width on paper, in millimetres; None takes its natural size.
        mono: Whether to draw without colour, for print.
        limit: Most terms to show; None chooses.

    Raises:
        UsageError: It would be too large, or its letters too small, to be read.
    """
    from convtrace.render.figures.receipt import look_of, receipt_figure
    from convtrace.render.text.receipt import receipt_line

    if limit is not None and (not isinstance(limit, int) or limit < 1):  # pyright: ignore[reportUnnecessaryIsInstance]  # from a caller
        raise UsageError(f"limit = {limit!r}\n  It is the number of terms to show, at least 1.")
    colours = theme_of(theme, grey=mono)
    return frame(
        receipt_figure(receipt, Pen(colours, look_of(receipt, lang), room_for(width)), limit=limit),
        colours,
        lang=lang,
        title=str(receipt.address),
        description=receipt_line(receipt, lang),
        width=width,
        instead=_TERMS,
    )


def split_scene(
    split: Split,
    *,
    lang: str = "en",
    theme: str = "light",
    width: float | None = None,
    mono: bool = False,
) -> Scene:
    """Draw the contributions to a number; `receipt_scene` has the options."""
    return _contributions(split, None, lang, theme, width, mono)


def trace_scene(
    trace: Trace,
    *,
    lang: str = "en",
    theme: str = "light",
    figure: str = "stack",
    address: str | None = None,
    step: str | None = None,
    width: float | None = None,
    mono: bool = False,
    limit: int | None = None,
) -> Scene:
    """Draw a figure of a trace.

    Args:
        trace: The run.
        lang: `en` or `ko`.
        theme: `light` or `dark`.
        figure: One of `FIGURES`.
        address: The number that it is about. Without it, one in the middle is taken.
        step: The step that it is about. Without it and `address`, the first convolution is
            taken; for a stack, the last one.
        width: Width on paper, in millimetres; None takes its natural size.
        mono: Whether to draw without colour, for print.
        limit: Most terms of a receipt to show; None chooses.

    Raises:
        UsageError: There is no such figure, or it cannot be drawn of this number; the message
            says which one can.
    """
    if figure not in FIGURES:
        near = difflib.get_close_matches(str(figure), FIGURES, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise UsageError(f"there is no figure {figure!r}\n  Figures: {', '.join(FIGURES)}.{hint}")
    if address is not None and step is not None:
        raise UsageError(
            f"address = {address!r} and step = {step!r} were both given\n"
            "  An address names its step. Give one of them."
        )
    if figure == "receipt":
        receipt = trace.why(_number(trace, address, step))
        return receipt_scene(receipt, lang=lang, theme=theme, width=width, mono=mono, limit=limit)
    if figure == "contributions":
        split = trace.contributions(_number(trace, address, step, last=True))
        return _contributions(split, trace, lang, theme, width, mono)
    colours = theme_of(theme, grey=mono)
    pen = Pen(colours, Look(lang, width=UNBROKEN), room_for(width))
    block, title = _figure(trace, figure, address, step, pen)
    return frame(
        block,
        colours,
        lang=lang,
        title=title,
        description=pen.say(f"figure.description.{figure}"),
        width=width,
        instead=_SMALLER,
    )


def _figure(
    trace: Trace, figure: str, address: str | None, step: str | None, pen: Pen
) -> tuple[Block, str]:
    """Draw a figure of layers; returns its title, too."""
    if figure == "stack":
        from convtrace.render.figures.stack import stack_figure

        at = _number(trace, address, step, last=True)
        return stack_figure(trace, at, pen), str(at)
    from convtrace.render.figures.gather import gather_figure
    from convtrace.render.figures.groups import groups_figure
    from convtrace.render.figures.layer import layer_figure
    from convtrace.render.figures.layers import layer_of, reader_of
    from convtrace.render.figures.scatter import scatter_figure
    from convtrace.render.figures.window import window_figure

    if figure == "scatter" and address is not None:
        source = parse_address(address)
        if source.step not in trace.steps or trace.step(source.step).kind != "convolution":
            layer = reader_of(trace, source)
            return scatter_figure(layer, pen, source), str(source)
    layer = layer_of(trace, address, step)
    draw: dict[str, Callable[..., Block]] = {
        "layer": layer_figure,
        "window": window_figure,
        "groups": groups_figure,
        "scatter": scatter_figure,
        "gather": gather_figure,
    }
    return draw[figure](layer, pen), str(Address(layer.step.name, layer.index))


def _number(trace: Trace, address: str | None, step: str | None, *, last: bool = False) -> Address:
    """Return the number that a figure is about."""
    if address is not None:
        at = parse_address(address)
        return Address(trace.step(at.step).name, at.index) if at.step in trace.aliases else at
    from convtrace.render.figures.layers import middle_of

    return middle_of(trace, step, last=last)


def _contributions(
    split: Split, trace: Trace | None, lang: str, theme: str, width: float | None, mono: bool
) -> Scene:
    from convtrace.render.figures.contributions import contributions_figure
    from convtrace.render.text.contributions import target

    colours = theme_of(theme, grey=mono)
    look = Look(lang, narrow=split.dtype != "float64", width=UNBROKEN)
    return frame(
        contributions_figure(split, trace, Pen(colours, look, room_for(width))),
        colours,
        lang=lang,
        title=target(split),
        description=look.say("figure.description.contributions"),
        width=width,
        instead="Saved as .npy or .json, a split holds every term.",
    )


def renderer(scene: Callable[..., Any], write: Callable[..., bytes]) -> Callable[..., bytes]:
    """Make the renderer that draws a thing and writes the drawing down.

    Args:
        scene: Draws the thing, as a `Scene` or as a film; its keyword options become those of the
            renderer.
        write: Writes the drawing; so do its own.
    """
    own = [
        parameter
        for parameter in inspect.signature(write).parameters.values()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    ]
    names = [parameter.name for parameter in own]

    @wraps(scene)
    def render(thing: Any, **options: Any) -> bytes:
        for_file = {key: options.pop(key) for key in names if key in options}
        return write(scene(thing, **options), **for_file)

    signature = inspect.signature(scene)
    together = [*signature.parameters.values(), *own]
    render.__signature__ = signature.replace(parameters=together)  # pyright: ignore[reportFunctionMemberAccess, reportAttributeAccessIssue]  # read by inspect
    return render
