"""Transposed convolution as gathering: one output number reads an input spread out with holes."""

from __future__ import annotations

from convtrace.errors import UsageError
from convtrace.geometry import taps
from convtrace.render.drawing.pen import Pen
from convtrace.render.drawing.scene import Block, below
from convtrace.render.figures.arranged import ARROW, Panels, arranged
from convtrace.render.figures.layers import Layer, bias_lines, headline, settings, size_lines
from convtrace.render.figures.page import page
from convtrace.render.figures.planes import (
    Marks,
    Place,
    View,
    plane,
    read,
    sizes_of,
    titled,
    view,
    write,
)
from convtrace.render.figures.window import kernel_lead
from convtrace.render.look import PADDING, name


def gather_figure(layer: Layer, pen: Pen) -> Block:
    """Draw what one output number of a transposed convolution reads.

    The input is spread out: its numbers stand a stride apart, with holes between them. Over it
    lies the kernel, turned round.

    Args:
        layer: The layer, and the number.
        pen: What to draw with.

    Raises:
        UsageError: It is no transposed convolution.
    """
    if not layer.transposed:
        raise UsageError(
            f"{layer.step.name} is no transposed convolution, so its input has no holes\n"
            "  Choose figure='window' (what one output number reads) or figure='scatter' (where "
            "one\n  input number goes)."
        )
    picture, words = arranged(pen, lambda most: _panels(layer, pen, most))
    return page(pen, headline(layer, pen), [settings(layer, pen)], picture, words)


def _panels(layer: Layer, pen: Pen, most: int) -> Panels:
    theme, window = pen.theme, layer.window
    channel = window.channels[0]
    reads = layer.reads()
    shown, sources = _spread(layer, reads, most)
    whole = view(layer.input_sizes, [])
    numbers = read(layer.step.values["input"], (*layer.sample, channel), whole)
    inputs = {place: numbers[source] for place, source in sources.items()}
    kernel = view(layer.kernel_sizes, [])
    weights = read(layer.step.values["weight"], kernel_lead(layer, 0), kernel)
    turned = {place: weights[_turned(place, layer.kernel_sizes)] for place in weights}
    out = view(layer.output_sizes, [layer.place], most=most)
    outputs = read(layer.step.value, (*layer.sample, window.output_channel), out)
    texts = write(pen, [inputs]), write(pen, [weights, turned]), write(pen, [outputs])
    blue, orange, green = (
        theme.behind(colour) for colour in (theme.window, theme.kernel, theme.sum)
    )
    holes = {place: PADDING for place in shown.places if place not in sources}
    low, high = min(reads), max(reads)
    spread = Marks(
        dict.fromkeys([place for place in reads if place in sources], blue),
        [(low, high, theme.window, False)],
        "input",
        holes,
    )
    kernels = Marks(dict.fromkeys(kernel.places, orange), role="kernel")
    made = Marks({layer.place: green}, [(layer.place, layer.place, theme.sum, False)], "output")
    both = [
        titled(
            pen,
            title,
            plane(pen, kernel, texts[1].texts[at], texts[1].measures, kernels),
            rounded=texts[1].rounded,
        )
        for at, title in enumerate(
            [
                pen.say("figure.kernel_of", output=window.output_channel, input=channel),
                pen.say("figure.turned"),
            ]
        )
    ]
    titles = [
        pen.say("figure.spread", step=name(window.input_name), channel=channel),
        pen.say("figure.channel_of", step=name(layer.step.name), channel=window.output_channel),
    ]
    left = plane(pen, shown, texts[0].texts[0], texts[0].measures, spread, indexed=False)
    right = plane(pen, out, texts[2].texts[0], texts[2].measures, made)
    panels = [
        titled(pen, titles[0], left, rounded=texts[0].rounded),
        below(both, 8),
        titled(pen, titles[1], right, rounded=texts[2].rounded),
    ]
    return Panels(panels, ["*", ARROW], _words(layer, pen, shown.cropped or out.cropped))


def _spread(layer: Layer, reads: list[Place], most: int) -> tuple[View, dict[Place, Place]]:
    """Return what is drawn of the spread input, and which input number stands where.

    The geometry says it all: the numerator of a tap is a position in the spread input.
    """
    window = layer.window
    axes: list[dict[int, int | None]] = [{0: 0} for _ in range(3 - len(layer.axes))]
    outputs = layer.output_sizes[3 - len(layer.axes) :]
    for axis, size, count in zip(layer.axes, window.sizes, outputs, strict=True):
        found = (one for output in range(count) for one in taps(axis, size, output))
        axes.append({tap.numerator: tap.source for tap in found})
    known = [[at for at, source in one.items() if source is not None] for one in axes]
    ends = [max(found, default=0) for found in known]
    padding = [(-min(one), max(one) - end) for one, end in zip(axes, ends, strict=True)]
    shown = view(sizes_of([end + 1 for end in ends]), reads, padding, most)
    sources: dict[Place, Place] = {}
    for place in shown.places:
        depth, row, column = (one.get(at) for one, at in zip(axes, place, strict=True))
        if depth is not None and row is not None and column is not None:
            sources[place] = (depth, row, column)
    return shown, sources


def _turned(place: Place, sizes: Place) -> Place:
    depth, row, column = (size - 1 - at for at, size in zip(place, sizes, strict=True))
    return depth, row, column


def _words(layer: Layer, pen: Pen, cropped: bool) -> list[str]:
    window = layer.window
    lines = [pen.say("figure.gather"), *bias_lines(layer, pen), pen.say("figure.holes")]
    if len(window.channels) > 1:
        lines.append(
            pen.say("figure.one_channel", channel=window.channels[0], count=len(window.channels))
        )
    if cropped:
        lines.append(pen.say("figure.cropped"))
    return [*lines, *size_lines(layer, pen)]
