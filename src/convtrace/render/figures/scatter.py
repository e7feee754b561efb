"""Convolution as scattering: one input number is multiplied by the kernel and laid into the output.

For a transposed convolution this is how it is defined; for others it is the view from below.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from convtrace.address import Address
from convtrace.errors import UsageError
from convtrace.projection import Uses
from convtrace.render.drawing.pen import Pen
from convtrace.render.drawing.scene import Block
from convtrace.render.figures.arranged import ARROW, Panels, arranged
from convtrace.render.figures.layers import Layer, bias_lines, settings
from convtrace.render.figures.page import page
from convtrace.render.figures.planes import Marks, Place, place_of, plane, read, titled, view, write
from convtrace.render.figures.window import kernel_lead
from convtrace.render.look import name


def scatter_figure(layer: Layer, pen: Pen, source: Address | None = None) -> Block:
    """Draw where one input number of a layer goes, in one output channel.

    Args:
        layer: The layer; the channel of its number is shown.
        pen: What to draw with.
        source: The input number; None takes one that the number of the layer reads.

    Raises:
        UsageError: The number goes nowhere in this layer.
    """
    source = source or _first_source(layer)
    placed = _stamp(layer.trace.uses(source), layer)
    if not placed:
        raise UsageError(
            f"{source} goes into no number of {layer.step.name}, output channel "
            f"{layer.window.output_channel}\n  Choose another number, or figure='groups' to see "
            "which channels are read."
        )
    picture, words = arranged(pen, lambda most: _panels(layer, pen, source, placed, most))
    value = pen.look.identify(layer.trace.value(source)).text
    return page(pen, f"{name(source)} = {value}", [settings(layer, pen)], picture, words)


def _panels(
    layer: Layer, pen: Pen, source: Address, placed: dict[Place, float], most: int
) -> Panels:
    theme, window = pen.theme, layer.window
    batched = len(layer.sample)
    channel, spatial = source.index[batched], place_of(source.index[batched + 1 :])
    seen = view(layer.input_sizes, [spatial], most=most)
    inputs = read(layer.step.values["input"], (*layer.sample, channel), seen)
    kernel = view(layer.kernel_sizes, [])
    lead = kernel_lead(layer, channel - window.channels[0])
    weights = read(layer.step.values["weight"], lead, kernel)
    out = view(layer.output_sizes, list(placed), most=most)
    outputs = read(layer.step.value, (*layer.sample, window.output_channel), out)
    products = {place: product for place, product in placed.items() if place in outputs}
    texts = [write(pen, [one]) for one in (inputs, weights, products, outputs)]
    blue, orange, green = (
        theme.behind(colour) for colour in (theme.window, theme.kernel, theme.sum)
    )
    stamp = (min_of(placed), max_of(placed), theme.kernel, False)
    marks = [
        Marks({spatial: blue}, [(spatial, spatial, theme.window, False)], "input"),
        Marks(dict.fromkeys(kernel.places, orange), role="kernel"),
        Marks(dict.fromkeys(products, orange), [stamp], "product"),
        Marks(dict.fromkeys(products, green), [stamp], "output"),
    ]
    titles = [
        pen.say("figure.channel_of", step=name(window.input_name), channel=channel),
        pen.say("figure.kernel_of", output=window.output_channel, input=channel),
        pen.say("figure.stamp", address=name(source)),
        pen.say("figure.channel_of", step=name(layer.step.name), channel=window.output_channel),
    ]
    views = (seen, kernel, out, out)
    panels = [
        titled(
            pen, title, plane(pen, one, text.texts[0], text.measures, mark), rounded=text.rounded
        )
        for title, one, text, mark in zip(titles, views, texts, marks, strict=True)
    ]
    words = _words(layer, pen, any(one.cropped for one in views))
    return Panels(panels, ["×", ARROW, ARROW], words)


def min_of(places: Sequence[Place] | dict[Place, float]) -> Place:
    """Return the lowest position on every axis."""
    depth, row, column = (min(axis) for axis in zip(*places, strict=True))
    return depth, row, column


def max_of(places: Sequence[Place] | dict[Place, float]) -> Place:
    """Return the highest position on every axis."""
    depth, row, column = (max(axis) for axis in zip(*places, strict=True))
    return depth, row, column


def _stamp(uses: Uses, layer: Layer) -> dict[Place, float]:
    """Return the products of the number, by output position in the channel of the layer."""
    found = uses.positions.get(layer.step.name)
    if found is None:
        return {}
    batched = len(layer.sample)
    here = found[:, batched] == layer.window.output_channel
    coefficients = uses.coefficients[layer.step.name]
    return {
        place_of([int(at) for at in found[row, batched + 1 :]]): float(coefficients[row])
        * uses.value
        for row in np.flatnonzero(here)
    }


def _first_source(layer: Layer) -> Address:
    """Return the first input number that the number of the layer reads."""
    window = layer.window
    kernel = [axis.kernel for axis in layer.axes]
    for position in np.ndindex(*kernel):
        source = window.source((0, *position))
        if source is not None:
            return source
    return Address(window.input_name, (*layer.sample, window.channels[0], *(0 for _ in kernel)))


def _words(layer: Layer, pen: Pen, cropped: bool) -> list[str]:
    key = "transposed" if layer.transposed else "plain"
    lines = [pen.say(f"figure.scatter.{key}"), *bias_lines(layer, pen)]
    if cropped:
        lines.append(pen.say("figure.cropped"))
    return lines
