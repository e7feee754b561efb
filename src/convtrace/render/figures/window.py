"""The figure of a window: padding, stride and dilation of a convolution, in one channel."""

from __future__ import annotations

from collections.abc import Sequence

from convtrace.errors import UsageError
from convtrace.render.drawing.pen import Pen
from convtrace.render.drawing.scene import Block
from convtrace.render.figures.arranged import ARROW, Panels, arranged
from convtrace.render.figures.layers import Layer, bias_lines, headline, settings, size_lines
from convtrace.render.figures.page import page
from convtrace.render.figures.planes import (
    Marks,
    Place,
    View,
    plane,
    read,
    titled,
    view,
    write,
)
from convtrace.render.look import name


def window_figure(layer: Layer, pen: Pen) -> Block:
    """Draw where a window lies in the input, and the output number that it makes.

    The next window along each axis is outlined with dashes: its distance is the stride.

    Args:
        layer: The layer, and the number.
        pen: What to draw with.

    Raises:
        UsageError: It is a transposed convolution, which has no window.
    """
    if layer.transposed:
        raise UsageError(
            f"{layer.step.name} is a transposed convolution, which slides no window\n"
            "  Choose figure='gather' (what one output number reads) or figure='scatter' (where "
            "one\n  input number goes)."
        )
    picture, words = arranged(pen, lambda most: _panels(layer, pen, most))
    return page(pen, headline(layer, pen), [settings(layer, pen)], picture, words)


def _panels(layer: Layer, pen: Pen, most: int) -> Panels:
    theme, window = pen.theme, layer.window
    channel = window.channels[0]
    reads = layer.reads()
    neighbours = _neighbours(layer)
    padding = [(0, 0)] * (3 - len(layer.axes)) + [axis.padding for axis in layer.axes]
    seen = view(layer.input_sizes, reads, padding, most)
    values = layer.step.values
    inputs = read(values["input"], (*layer.sample, channel), seen)
    kernel = view(layer.kernel_sizes, [])
    weights = read(values["weight"], kernel_lead(layer, 0), kernel)
    out = view(layer.output_sizes, [layer.place], most=most)
    outputs = read(layer.step.value, (*layer.sample, window.output_channel), out)
    written = [write(pen, [numbers]) for numbers in (inputs, weights, outputs)]
    frames = [_around(reads, theme.window, False)]
    frames += [_around(other.reads(), theme.window, True) for other in neighbours]
    made = [(layer.place, layer.place, theme.sum, False)]
    made += [(other.place, other.place, theme.sum, True) for other in neighbours]
    blue, orange, green = (
        theme.behind(colour) for colour in (theme.window, theme.kernel, theme.sum)
    )
    marks = [
        Marks(dict.fromkeys(reads, blue), frames, "input"),
        Marks(dict.fromkeys(kernel.places, orange), role="kernel"),
        Marks({layer.place: green}, made, "output"),
    ]
    titles = [
        pen.say("figure.channel_of", step=name(window.input_name), channel=channel),
        pen.say("figure.kernel_of", output=window.output_channel, input=channel),
        pen.say("figure.channel_of", step=name(layer.step.name), channel=window.output_channel),
    ]
    views = (seen, kernel, out)
    panels = [
        titled(
            pen, title, plane(pen, one, text.texts[0], text.measures, mark), rounded=text.rounded
        )
        for title, one, text, mark in zip(titles, views, written, marks, strict=True)
    ]
    return Panels(panels, ["*", ARROW], _words(layer, pen, views, bool(neighbours)))


def kernel_lead(layer: Layer, channel: int) -> tuple[int, ...]:
    """Return where the kernel of an input channel lies in the weight.

    Args:
        layer: The layer.
        channel: Position among the input channels of the window, counted from 0.
    """
    return layer.window.weight((channel, *(0,) * len(layer.axes))).index[:2]


def _words(layer: Layer, pen: Pen, views: Sequence[View], neighbours: bool) -> list[str]:
    """Say what the marks mean, and how the sizes of the output come about."""
    window = layer.window
    lines = [pen.say("figure.window"), *bias_lines(layer, pen)]
    if neighbours:
        lines.append(pen.say("figure.next"))
    if any(not views[0].inside(place) for place in views[0].places):
        lines.append(pen.say("shown.padding"))
    if len(window.channels) > 1:
        lines.append(
            pen.say("figure.one_channel", channel=window.channels[0], count=len(window.channels))
        )
    if any(one.cropped for one in views):
        lines.append(pen.say("figure.cropped"))
    return [*lines, *size_lines(layer, pen)]


def _neighbours(layer: Layer) -> list[Layer]:
    """Return the next number along the last axis, and along the one before."""
    found: list[Layer] = []
    sizes = layer.output_sizes[3 - len(layer.axes) :]
    for axis in range(len(layer.axes) - 1, max(len(layer.axes) - 3, -1), -1):
        output = list(layer.window.output)
        output[axis] += 1
        if output[axis] < sizes[axis]:
            found.append(layer.at(output))
    return found


def _around(reads: Sequence[Place], ink: str, dashed: bool) -> tuple[Place, Place, str, bool]:
    return reads[0], reads[-1], ink, dashed
