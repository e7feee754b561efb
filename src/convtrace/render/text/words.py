"""The sentences above a receipt: what the number is, how it is made, and what its window covers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convtrace.geometry import Axis, Tap
from convtrace.receipt import Receipt
from convtrace.render.look import Look, keep, kind_name, name
from convtrace.render.numbers import MINUS, show
from convtrace.render.text.gradients import gradient_lines, is_gradient
from convtrace.rules.conv import Window
from convtrace.rules.layouts import Chosen

AXES: dict[int, tuple[str, ...]] = {
    1: ("place",),
    2: ("row", "column"),
    3: ("depth", "row", "column"),
}
"""Catalogue names of the spatial axes, by their number."""

KINDS = {
    "linear": "linear",
    "add": "sum",
    "sub": "sum",
    "rsub": "sum",
    "mul": "mul",
    "relu": "relu",
    **dict.fromkeys(["native_batch_norm", "native_layer_norm", "native_group_norm"], "norm"),
}
"""Catalogue names of the kinds of steps that have a sentence of their own."""


def headline(receipt: Receipt, look: Look) -> str:
    """Write `conv1[0,0,0,0] = 24`."""
    return f"{name(receipt.address)} = {look.identify(receipt.reported).text}"


def introduction(receipt: Receipt, look: Look) -> list[str]:
    """Say what the number is and how it is made, in a few lines."""
    layout = receipt.layout
    if is_gradient(receipt):
        return gradient_lines(receipt, look)
    if not isinstance(layout, Window):
        return _step(receipt, look)
    place = look.say("receipt.where", place=_place(layout, look), step=name(receipt.address.step))
    lines = [*look.wrap(place), *_how(receipt, layout, look), ""]
    return lines + (_transposed(layout, look) if layout.transposed else _window(layout, look))


def _step(receipt: Receipt, look: Look) -> list[str]:
    """Say how a number of a step without a window is made."""
    step = name(receipt.address.step)
    words: dict[str, Any] = {"terms": receipt.products.size}
    if isinstance(receipt.layout, Chosen) and receipt.layout.among.count > 1:
        among, tie = receipt.layout.among, receipt.products.size > 1
        words |= {"count": among.count, "first": name(among.first), "last": name(among.last)}
        key = among.extreme + ("_tie" if tie else "_two" if among.count == 2 else "")
    elif receipt.status == "selects":
        key = "selects" if receipt.present.any() else "fill"
    elif receipt.kind in KINDS:
        key = KINDS[receipt.kind]
    elif receipt.products.size > 1:
        key = "other"
    else:
        key = "gates" if receipt.status == "gates" else "one"
    return [
        *look.wrap(look.say("receipt.where_step", step=step, kind=kind_name(receipt.kind))),
        *look.wrap(look.say(f"receipt.kind.{key}", **words)),
    ]


def _how(receipt: Receipt, layout: Window, look: Look) -> list[str]:
    channels = layout.channels
    each = receipt.products[0].size
    number = "many" if len(channels) > 1 else "one"
    words = {
        "terms": each,
        "count": len(channels),
        "first": channels[0],
        "last": channels[-1],
    }
    single = "_single" if each == 1 else ""
    sentences = [look.say(f"receipt.how.{number}{single}", **words)]
    if missing := each - int(receipt.present[0].sum()):
        key = "no_input" if layout.transposed else "padding"
        one = "_one" if number == "one" else ""
        sentences.append(look.say(f"receipt.how.{key}{one}", count=missing, terms=each))
    lines = look.wrap(" ".join(sentences))
    meaning = [look.say("receipt.how.product")]
    if number == "many":
        meaning.append(look.say(f"receipt.how.own{single}"))
    elif each > 1:
        meaning.append(look.say("receipt.how.sigma"))
    lines += look.wrap(" ".join(meaning))
    groups = layout.groups
    if groups > 1:
        group = channels[0] // len(channels)
        lines += look.wrap(look.say("receipt.group", group=group, groups=groups, **words))
    return lines


def _place(layout: Window, look: Look) -> str:
    parts = [look.say("axis.sample", n=n) for n in layout.sample]
    parts.append(look.say("axis.output_channel", n=layout.output_channel))
    names = AXES[len(layout.output)]
    parts += [look.say(f"axis.{key}", n=n) for key, n in zip(names, layout.output, strict=True)]
    return ", ".join(parts)


def _window(layout: Window, look: Look) -> list[str]:
    """Say which rows and columns of the input the window covers, and why these."""
    names = AXES[len(layout.axes)]
    ranges = [
        keep(_covered(key, axis, taps, look))
        for key, axis, taps in zip(names, layout.axes, layout.taps, strict=True)
    ]
    lines = look.wrap(look.say("window.covers", ranges="; ".join(ranges)))
    for key, axis, size, place, taps in zip(
        names, layout.axes, layout.sizes, layout.output, layout.taps, strict=True
    ):
        low = axis.padding[0]
        if axis.stride == 1 and axis.dilation == 1 and axis.padding == (0, 0):
            continue
        shift = f"{MINUS} {low}" if low >= 0 else f"+ {-low}"
        law = f"{place} × {axis.stride} {shift} = {_whole(taps[0].numerator)}"
        sentences = [look.say(f"window.law.{key}", law=keep(law))]
        if axis.dilation > 1 and axis.kernel > 1:
            sentences.append(look.say(f"window.dilation.{key}", dilation=axis.dilation))
        if any(tap.miss for tap in taps):
            sentences.append(look.say(f"window.outside.{key}", last=size - 1))
        lines += [line for sentence in sentences for line in look.wrap(sentence, indent="  ")]
    return lines


def _covered(key: str, axis: Axis, taps: Sequence[Tap], look: Look) -> str:
    axes = look.say(f"axes.{key}" if len(taps) > 1 else f"axis_one.{key}")
    if len(taps) <= 4:
        places = ", ".join(_whole(tap.numerator) for tap in taps)
        return look.say("window.list", axes=axes, places=places)
    first, last = _whole(taps[0].numerator), _whole(taps[-1].numerator)
    return look.say("window.range", axes=axes, first=first, last=last)


def _transposed(layout: Window, look: Look) -> list[str]:
    """Say which kernel numbers of a transposed convolution meet an input, and why others miss."""
    lines = look.wrap(look.say("transposed.what"))
    names = AXES[len(layout.axes)]
    for key, axis, size, place, taps in zip(
        names, layout.axes, layout.sizes, layout.output, layout.taps, strict=True
    ):
        lines += look.wrap(look.say(f"transposed.law.{key}"))
        for tap in taps:
            lines += look.wrap(_tap(key, axis, size, place, tap, look), indent="  ")
    return lines


def _tap(key: str, axis: Axis, size: int, place: int, tap: Tap, look: Look) -> str:
    quotient = show(tap.numerator / axis.stride, 3)
    low = axis.padding[0]
    shift = f"+ {low}" if low >= 0 else f"{MINUS} {-low}"
    law = keep(
        f"({place} {shift} {MINUS} {tap.kernel} × {axis.dilation}) / {axis.stride}"
        f" {quotient.sign} {quotient.text}"
    )
    below = tap.numerator // axis.stride
    if tap.source is not None:
        return look.say(f"transposed.hit.{key}", kernel=tap.kernel, law=law, source=tap.source)
    if tap.numerator % axis.stride and 0 <= below < size - 1:
        return look.say(
            f"transposed.gap.{key}", kernel=tap.kernel, law=law, below=below, above=below + 1
        )
    return look.say(f"transposed.outside.{key}", kernel=tap.kernel, law=law, last=size - 1)


def accumulator(receipt: Receipt) -> int | None:
    """Return what the terms of a quantized number add up to, before scale and rounding."""
    for key, values in receipt.notes:
        if key in ("note.quantized.accumulator", "note.quantized.accumulator_bias"):
            return int(values["accumulator"])
    return None


def _whole(number: int) -> str:
    return str(number).replace("-", MINUS)
