"""The figure of a whole layer: input channels, kernels, output channels, one number marked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convtrace.render.cut import choose
from convtrace.render.drawing.frame import too_large
from convtrace.render.drawing.pen import SMALL, Pen
from convtrace.render.drawing.scene import Block, below, beside, widened
from convtrace.render.figures.layers import Layer, bias_lines, headline, settings
from convtrace.render.figures.page import page
from convtrace.render.figures.planes import (
    MOST,
    Marks,
    View,
    Written,
    plane,
    read,
    titled,
    view,
    without_middle,
    write,
)
from convtrace.render.figures.window import kernel_lead
from convtrace.render.look import name
from convtrace.render.numbers import MINUS, Scale, Shown

MOST_IN, MOST_OUT = 4, 3
"""Input and output channels that are drawn."""

WIDEST = 1000.0
"""Points that the figure may be wide."""

_INSTEAD = (
    "--figure window shows one channel of it, --figure receipt the terms of one number, and "
    "--figure stack\n  where it stands in the network (in Python: figure='window' and so on)."
)


def layer_figure(layer: Layer, pen: Pen) -> Block:
    """Draw a layer, with one output number and everything that it is made of.

    Args:
        layer: The layer, and the number.
        pen: What to draw with.

    Raises:
        UsageError: Its kernels are too large to be drawn beside each other.
    """
    receipt = layer.trace.why(layer.step.name, layer.index)
    for most, channels, ends in _TRIED:
        chosen = choose(receipt, channels * receipt.products[0].size)
        parts = _Parts(layer, pen, sorted(chosen.channels), most, ends)
        picture = parts.picture()
        fewest = ends == 1
        if picture.width <= (WIDEST if fewest else min(WIDEST, pen.room)):
            words = parts.words(chosen.rest)
            return page(pen, headline(layer, pen), [settings(layer, pen)], picture, words)
    kernel = " × ".join(str(axis.kernel) for axis in layer.axes)
    raise too_large(f"a kernel of {kernel}, and what it reads", _INSTEAD)


_TRIED = (
    (MOST, MOST_IN, 0),
    (8, MOST_IN, 0),
    (5, MOST_IN, 0),
    (5, 2, 0),
    (3, 1, 0),
    (5, MOST_IN, 3),
    (3, 2, 3),
    (3, 1, 3),
    (3, 1, 2),
    (3, 1, 1),
)
"""What is tried until it fits: positions along an axis up to which all are drawn, input channels,
and rows and columns at either end of a kernel that are drawn (0: all of them)."""


class _Parts:
    """What is drawn of a layer.

    Args:
        layer: The layer, and the number.
        pen: What to draw with.
        at: Positions of the input channels that are drawn, among those of the group.
        most: Positions along an axis up to which all are drawn.
        ends: Rows and columns at either end of a kernel that are drawn; 0 draws all.
    """

    def __init__(self, layer: Layer, pen: Pen, at: Sequence[int], most: int, ends: int) -> None:
        self.layer, self.pen, self.at = layer, pen, at
        self.digits = 4 if most > 5 else 3
        window = layer.window
        each = layer.channels[1] // window.groups
        first = window.output_channel - window.output_channel % each
        start = max(min(window.output_channel - 1, first + each - MOST_OUT), first)
        self.outs = range(start, min(start + MOST_OUT, first + each))
        self.reads = layer.sources() if layer.transposed else layer.reads()
        padding = [(0, 0)] * (3 - len(layer.axes)) + [axis.padding for axis in layer.axes]
        around = [(0, 0)] * 3 if layer.transposed else padding
        self.inside = view(layer.input_sizes, self.reads, around, most)
        self.kernel = view(layer.kernel_sizes, [])
        if ends:
            self.inside = without_middle(self.inside, self.reads, ends)
            self.kernel = without_middle(self.kernel, [*self.kernel.places], ends)
        self.out = view(layer.output_sizes, [layer.place], most=most)

    def picture(self) -> Block:
        """Draw inputs, kernels and outputs."""
        return beside([self._inputs(), self.pen.sign("*"), self._rows()], 12)

    def words(self, rest: Any) -> list[str]:
        """Say what the marks mean, and what was left out, which sums to `rest`."""
        layer, pen, window = self.layer, self.pen, self.layer.window
        lines = [pen.say("figure.layer.transposed" if layer.transposed else "figure.layer.plain")]
        lines += bias_lines(layer, pen)
        if any(not self.inside.inside(place) for place in self.inside.places):
            lines.append(pen.say("shown.padding"))
        if len(self.at) < len(window.channels):
            values = {"shown": len(self.at), "count": len(window.channels)}
            rest = pen.look.show(rest).marked
            lines.append(pen.say("figure.layer.some_in", rest=rest, **values))
        if len(self.outs) < layer.channels[1]:
            values = {"shown": len(self.outs), "count": layer.channels[1]}
            lines.append(pen.say("figure.layer.some_out", **values))
        if self.inside.cropped or self.out.cropped:
            lines.append(pen.say("figure.cropped"))
        if any(self.kernel.gaps):
            lines.append(pen.say("figure.gap"))
        return lines

    def _inputs(self) -> Block:
        """Draw the input channels under each other, the window marked in each."""
        layer, pen, theme = self.layer, self.pen, self.pen.theme
        frames = [] if layer.transposed else [(self.reads[0], self.reads[-1], theme.window, False)]
        channels = [layer.window.channels[number] for number in self.at]
        value = layer.step.values["input"]
        numbers = [read(value, (*layer.sample, channel), self.inside) for channel in channels]
        written = write(pen, numbers, self.digits)
        marks = Marks(dict.fromkeys(self.reads, theme.behind(theme.window)), frames, "input")
        planes = self._planes(self.inside, written, [marks] * len(channels))
        step = name(layer.window.input_name)
        titles = [pen.say("figure.channel_of", step=step, channel=one) for one in channels]
        pairs = zip(titles, planes, strict=True)
        return below([titled(pen, t, one, rounded=written.rounded) for t, one in pairs], 8)

    def _rows(self) -> Block:
        """Draw one row for each output channel: its kernels, its bias, its numbers."""
        pen = self.pen
        kernels = self._kernels()
        results = self._outputs()
        biases = self._biases()
        rows: list[Block] = []
        for row in range(len(self.outs)):
            mine = kernels[row * len(self.at) : (row + 1) * len(self.at)]
            parts = [beside(mine, 8), *biases[row : row + 1], pen.arrow(18), results[row]]
            rows.append(beside(parts, 10))
        return below(rows, 10)

    def _kernels(self) -> list[Block]:
        """Draw the kernels of the output channels, one after the other."""
        layer, pen, theme = self.layer, self.pen, self.pen.theme
        pairs = [(channel, number) for channel in self.outs for number in self.at]
        weight = layer.step.values["weight"]
        leads = [kernel_lead(layer.channel(channel), number) for channel, number in pairs]
        written = write(pen, [read(weight, lead, self.kernel) for lead in leads], 3)
        first, *_, last = [*self.kernel.places] * 2
        marks: list[Marks] = []
        for channel, _ in pairs:
            here = channel == layer.window.output_channel
            fills = dict.fromkeys(layer.met(), theme.behind(theme.kernel)) if here else {}
            frames = [(first, last, theme.kernel, False)] if here else []
            marks.append(Marks(fills, frames, "kernel"))
        drawn = self._planes(self.kernel, written, marks, indexed=any(self.kernel.gaps))
        names = [
            pen.say("figure.kernel_of", output=c, input=layer.window.channels[n]) for c, n in pairs
        ]
        return [
            titled(pen, title, one, bold=False, rounded=written.rounded)
            for title, one in zip(names, drawn, strict=True)
        ]

    def _outputs(self) -> list[Block]:
        """Draw the output channels, the number marked."""
        layer, pen, theme = self.layer, self.pen, self.pen.theme
        value = layer.step.value
        written = write(
            pen,
            [read(value, (*layer.sample, channel), self.out) for channel in self.outs],
            self.digits,
        )
        marks: list[Marks] = []
        for channel in self.outs:
            here = channel == layer.window.output_channel
            fills = {layer.place: theme.behind(theme.sum)} if here else {}
            frames = [(layer.place, layer.place, theme.sum, False)] if here else []
            marks.append(Marks(fills, frames, "output"))
        drawn = self._planes(self.out, written, marks)
        step = name(layer.step.name)
        titles = [pen.say("figure.channel_of", step=step, channel=c) for c in self.outs]
        pairs = zip(titles, drawn, strict=True)
        return [titled(pen, title, one, rounded=written.rounded) for title, one in pairs]

    def _biases(self) -> list[Block]:
        """Write the bias of each output channel, if there are any."""
        pen, bias = self.pen, self.layer.step.values.get("bias")
        if bias is None:
            return []
        numbers = [bias.item((channel,)) for channel in self.outs]
        scale = Scale.of(numbers, 4, narrow=pen.look.narrow)
        shown = [scale.show(one) for one in numbers]
        labels = [
            titled(
                pen,
                pen.say("figure.bias"),
                pen.text(_added(one), SMALL + 1, role="bias"),
                bold=False,
                rounded=one.rounded,
            )
            for one in shown
        ]
        wide = max(label.width for label in labels)
        return [widened(label, wide, "left") for label in labels]

    def _planes(
        self, seen: View, written: Written, marks: Sequence[Marks], *, indexed: bool = True
    ) -> list[Block]:
        return [
            plane(
                self.pen,
                seen,
                texts,
                written.measures,
                mark,
                aligned_with=written.all,
                indexed=indexed,
                down=True,
            )
            for texts, mark in zip(written.texts, marks, strict=True)
        ]


def _added(number: Shown) -> str:
    """Write a number that is added: `+ 2`, `− 1`."""
    text = number.text
    return f"{MINUS} {text[1:]}" if text.startswith(MINUS) else f"+ {text}"
