"""What figures of a layer look up: its settings, its window, its channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from convtrace.address import Address
from convtrace.errors import UsageError
from convtrace.geometry import Axis, output_formula
from convtrace.graph import Trace
from convtrace.render.drawing.pen import Pen
from convtrace.render.figures.planes import Place, place_of, sizes_of
from convtrace.render.look import name
from convtrace.render.numbers import MINUS
from convtrace.render.text.words import AXES
from convtrace.rules.conv import Window, channel_counts, window
from convtrace.step import Step


@dataclass(frozen=True)
class Layer:
    """A convolution, and one number of its output.

    Attributes:
        trace: The run.
        step: The convolution.
        index: Position of the number.
        window: Where its terms come from.
    """

    trace: Trace
    step: Step
    index: tuple[int, ...]
    window: Window

    @property
    def transposed(self) -> bool:
        """Whether it is a transposed convolution."""
        return self.window.transposed

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Its settings along each spatial axis."""
        return self.window.axes

    @property
    def channels(self) -> tuple[int, int]:
        """`(C_in, C_out)`."""
        return channel_counts(self.step)

    @property
    def sample(self) -> tuple[int, ...]:
        """Position on the batch axis, or nothing."""
        return self.window.sample

    @property
    def output_sizes(self) -> Place:
        """Sizes of the output's spatial axes, brought to three."""
        return sizes_of(self.step.shape[len(self.sample) + 1 :])

    @property
    def input_sizes(self) -> Place:
        """Sizes of the input's spatial axes, brought to three."""
        return sizes_of(self.window.sizes)

    @property
    def kernel_sizes(self) -> Place:
        """Sizes of the kernel, brought to three."""
        return sizes_of([axis.kernel for axis in self.axes])

    @property
    def place(self) -> Place:
        """Position of the number on the output's spatial axes."""
        return place_of(self.window.output)

    def at(self, output: Sequence[int]) -> Layer:
        """Return the same layer at another spatial position of the same channel."""
        index = (*self.sample, self.window.output_channel, *output)
        return Layer(self.trace, self.step, index, window(self.step, index))

    def reads(self) -> list[Place]:
        """List where the taps of the window lie in the input, also those on padding.

        Of a transposed convolution, in the input that is spread out.
        """
        places = [[tap.numerator for tap in taps] for taps in self.window.taps]
        return [place_of(place) for place in product(*places)]

    def sources(self) -> list[Place]:
        """List the positions of the input that are read."""
        axes = [[t.source for t in taps if t.source is not None] for taps in self.window.taps]
        return [place_of(place) for place in product(*axes)]

    def met(self) -> list[Place]:
        """List the positions of the kernel that count: all, or those that meet an input number.

        The kernel of a convolution covers its window as a whole, also where that is padding.
        """
        taps = [
            [tap.kernel for tap in taps if not self.transposed or tap.source is not None]
            for taps in self.window.taps
        ]
        return [place_of(place) for place in product(*taps)]

    def channel(self, channel: int) -> Layer:
        """Return the same layer at the same position of another output channel."""
        index = (*self.sample, channel, *self.window.output)
        return Layer(self.trace, self.step, index, window(self.step, index))


def layer_of(trace: Trace, address: str | None, step: str | None, *, last: bool = False) -> Layer:
    """Find the convolution and the number that a figure is about.

    Args:
        trace: The run.
        address: Address of an output number, or None.
        step: Name of a convolution, or None; without both, the first (or last) one is taken.
        last: Which one is taken.

    Raises:
        UsageError: There is no such convolution.
    """
    if address is not None:
        at = _parsed(trace, address)
        found = trace.step(at.step)
        if found.kind != "convolution":
            raise _no_convolution(trace, found, address)
        trace.value(address)  # checks the position
        return Layer(trace, found, at.index, window(found, at.index))
    if step is not None:
        found = trace.step(step)
        if found.kind != "convolution":
            raise _no_convolution(trace, found, step)
    else:
        found = _convolutions(trace)[-1 if last else 0]
    # A number in the middle meets less padding than one in a corner.
    index = tuple(
        0 if axis <= found.attributes["batched"] else size // 2
        for axis, size in enumerate(found.shape)
    )
    return Layer(trace, found, index, window(found, index))


def settings(layer: Layer, pen: Pen) -> str:
    """Name the settings of a layer: kernel, stride, padding, dilation, groups."""
    axes = layer.axes
    parts = [
        pen.say("figure.kernel", kernel=" × ".join(str(axis.kernel) for axis in axes)),
        pen.say("figure.stride", stride=_each([axis.stride for axis in axes])),
        pen.say("figure.padding", padding=_each([_pair(axis.padding) for axis in axes])),
        pen.say("figure.dilation", dilation=_each([axis.dilation for axis in axes])),
        pen.say("figure.groups", groups=layer.window.groups),
    ]
    if layer.transposed:
        extra = _each([axis.output_padding for axis in axes])
        parts.append(pen.say("figure.output_padding", padding=extra))
    key = "figure.transposed" if layer.transposed else "figure.convolution"
    return f"{pen.say(key, step=name(layer.step.name))}: {', '.join(parts)}"


def bias_lines(layer: Layer, pen: Pen) -> list[str]:
    """Say that there is no bias, where the other words speak of one."""
    return [] if "bias" in layer.step.values else [pen.say("figure.no_bias")]


def size_lines(layer: Layer, pen: Pen) -> list[str]:
    """Say how the size of the output comes about, along each axis."""
    lines: list[str] = []
    sizes = layer.window.sizes
    for key, axis, size in zip(AXES[len(layer.axes)], layer.axes, sizes, strict=True):
        formula = output_formula(axis, size)
        lines.append(pen.say("figure.size", axis=pen.say(f"axes.{key}"), formula=formula))
    if not layer.transposed:
        lines.append(pen.say("shown.floor"))
    return lines


def headline(layer: Layer, pen: Pen) -> str:
    """Write the address of the number, and the number."""
    value = pen.look.identify(layer.step.value.item(layer.index)).text
    return f"{name(Address(layer.step.name, layer.index))} = {value}"


def convolution_names(trace: Trace) -> list[str]:
    """List the convolutions of a run."""
    return [step.name for step in trace.steps.values() if step.kind == "convolution"]


def _parsed(trace: Trace, address: str) -> Address:
    from convtrace.address import parse_address

    at = parse_address(address)
    return Address(trace.step(at.step).name, at.index)


def _convolutions(trace: Trace) -> list[Step]:
    found = [trace.step(name) for name in convolution_names(trace)]
    if not found:
        raise UsageError(
            "this figure is about a convolution, and the run has none\n"
            "  figure='receipt' explains a number of any step."
        )
    return found


def _no_convolution(trace: Trace, step: Step, text: str) -> UsageError:
    known = convolution_names(trace)
    shown = ", ".join(known[:8]) + (", …" if len(known) > 8 else "")
    return UsageError(
        f"this figure is about a convolution, and {text} belongs to {step.name}, of kind "
        f"{step.kind}\n"
        f"  Convolutions of this run: {shown or 'none'}.\n"
        "  figure='receipt' explains a number of any step."
    )


def _each(values: Sequence[int | str]) -> str:
    """Write the value of every axis, once where they agree."""
    texts = [str(value).replace("-", MINUS) for value in values]
    return texts[0] if len(set(texts)) == 1 else " × ".join(texts)


def _pair(padding: tuple[int, int]) -> int | str:
    low, high = padding
    return low if low == high else f"{low}/{high}"


def middle_of(trace: Trace, step: str | None, *, last: bool = False) -> Address:
    """Return a number in the middle of a step, or of the first (or last) convolution."""
    found = trace.step(step) if step is not None else _convolutions(trace)[-1 if last else 0]
    channels = min(len(found.shape), 2)
    index = tuple(0 if axis < channels else size // 2 for axis, size in enumerate(found.shape))
    return Address(found.name, index)


def reader_of(trace: Trace, source: Address) -> Layer:
    """Return the first convolution that reads a tensor, at a number that reads one of its numbers.

    Raises:
        UsageError: No convolution reads it.
    """
    trace.value(source)  # checks name and position
    for step in trace.steps.values():
        if step.kind == "convolution" and step.operands["input"] == source.step:
            layer = layer_of(trace, None, step.name)
            used = trace.uses(source).positions[step.name]
            index = tuple(map(int, used[0])) if len(used) else layer.index
            return Layer(trace, step, index, window(step, index))
    raise UsageError(
        f'no convolution reads {source.step}\n  `convtrace uses MODEL "{source}"` lists what does.'
    )
