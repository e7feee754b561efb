"""The figure of groups: which input channels each output channel reads."""

from __future__ import annotations

from convtrace.geometry import input_group
from convtrace.render.drawing.frame import too_large
from convtrace.render.drawing.pen import BODY, SMALL, Pen
from convtrace.render.drawing.scene import Block, Box, Label, Shape, Stroke
from convtrace.render.figures.layers import Layer, settings
from convtrace.render.figures.page import page
from convtrace.render.look import name

MOST = 32
"""Channels on either side that are drawn."""

_WIDE, _HIGH, _GAP, _ACROSS = 26.0, 15.0, 4.0, 120.0


def groups_figure(layer: Layer, pen: Pen) -> Block:
    """Draw the channels of a layer as boxes, and a line from each to those that read it.

    Args:
        layer: The layer, and the number whose channel is marked.
        pen: What to draw with.

    Raises:
        UsageError: It has too many channels.
    """
    inputs, outputs = layer.channels
    if max(inputs, outputs) > MOST:
        raise too_large(
            f"{inputs} input channels and {outputs} output channels; {MOST} can be told apart",
            "--figure layer shows a few of them with their numbers (in Python: figure='layer'); "
            "--figure receipt lists the sum of each channel.",
        )
    theme, window = pen.theme, layer.window
    groups = window.groups
    heads = [
        pen.say("figure.channels_in", step=name(window.input_name), count=inputs),
        pen.say("figure.channels_out", step=name(layer.step.name), count=outputs),
    ]
    titles = [pen.text(head, SMALL, bold=True) for head in heads]
    left = max((titles[0].width - _WIDE) / 2, 0)
    right = left + _WIDE + max(_ACROSS, (titles[0].width + titles[1].width) / 2 + 10 - _WIDE)
    top = titles[0].height + 4
    tall = max(_height(inputs, groups), _height(outputs, groups))
    lines: dict[bool, list[tuple[tuple[float, float], ...]]] = {False: [], True: []}
    ins = _tops(inputs, groups, top, tall)
    outs = _tops(outputs, groups, top, tall)
    for output in range(outputs):
        chosen = output == window.output_channel
        for channel in input_group(output, outputs, inputs, groups):
            start = (left + _WIDE, ins[channel] + _HIGH / 2)
            lines[chosen].append((start, (right, outs[output] + _HIGH / 2)))
    shapes: list[Shape] = [
        Stroke(tuple(lines[False]), theme.rule, 0.6),
        Stroke(tuple(lines[True]), theme.kernel, 1.8),
    ]
    for place, tops, chosen, colour, role in (
        (left, ins, set(window.channels), theme.window, "input"),
        (right, outs, {window.output_channel}, theme.sum, "output"),
    ):
        for channel, y in enumerate(tops):
            marked = channel in chosen
            fill = theme.behind(colour) if marked else theme.ground
            weight = 1.6 if marked else 0.5
            shapes.append(
                Box(place, y, _WIDE, _HIGH, fill, colour if marked else theme.rule, weight)
            )
            shapes.append(
                Label(
                    place + _WIDE / 2,
                    y + _HIGH / 2 + 0.36 * BODY,
                    str(channel),
                    BODY,
                    theme.ink,
                    marked,
                    "middle",
                    role,
                )
            )
    shapes += titles[0].at(left + _WIDE / 2 - titles[0].width / 2, 0)
    shapes += titles[1].at(right + _WIDE / 2 - titles[1].width / 2, 0)
    wide = right + _WIDE / 2 + max(titles[1].width, _WIDE + 2) / 2
    picture = Block(wide, top + tall + 1, tuple(shapes))
    return page(pen, name(layer.step.name), [settings(layer, pen)], picture, _words(layer, pen))


def _words(layer: Layer, pen: Pen) -> list[str]:
    window, (inputs, _) = layer.window, layer.channels
    count = len(window.channels)
    key = "all" if window.groups == 1 else "one" if count == 1 else "some"
    first, last = window.channels[0], window.channels[-1]
    lines = [
        pen.say(
            f"figure.group.{key}",
            output=window.output_channel,
            first=first,
            last=last,
            count=count,
            group=first // count,
            groups=window.groups,
        )
    ]
    if window.groups == inputs > 1:
        lines.append(pen.say("figure.group.depthwise"))
    return lines


def _height(channels: int, groups: int) -> float:
    return channels * (_HIGH + _GAP) + (groups - 1) * 2 * _GAP - _GAP


def _tops(channels: int, groups: int, top: float, tall: float) -> list[float]:
    """Return where the box of each channel begins; groups stand a little apart."""
    each = channels // groups
    start = top + (tall - _height(channels, groups)) / 2
    return [start + c * (_HIGH + _GAP) + c // each * 2 * _GAP for c in range(channels)]
