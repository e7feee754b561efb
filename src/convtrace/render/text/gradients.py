"""The sentences above the receipt of a gradient, and the words that its terms are labelled with."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from convtrace.address import Address
from convtrace.geometry import Axis, Tap
from convtrace.receipt import Receipt
from convtrace.render.look import Look, keep, kind_name, name
from convtrace.render.numbers import MINUS
from convtrace.rules.conv import Window

if TYPE_CHECKING:
    from convtrace.rules.conv_backward import Correlation

_AXES: dict[int, tuple[str, ...]] = {
    1: ("place",),
    2: ("row", "column"),
    3: ("depth", "row", "column"),
}
_NAME = re.compile(r"(?P<of>.+)\.grad(?::\d+)?(?:@(?P<through>.+))?", re.DOTALL)


def is_gradient(receipt: Receipt) -> bool:
    """Whether a receipt is of a number of the backward pass."""
    return receipt.kind.endswith("_gradient") or receipt.kind.startswith("gradient_")


def correlation(receipt: Receipt) -> Correlation | None:
    """Return the layout of a convolution weight's gradient; None for every other receipt."""
    if receipt.kind != "convolution_gradient":
        return None
    from convtrace.rules.conv_backward import Correlation  # not needed for a plain receipt

    return receipt.layout if isinstance(receipt.layout, Correlation) else None


def is_framed(receipt: Receipt) -> bool:
    """Whether the terms of each channel lie in a window, which is drawn as a grid."""
    return isinstance(receipt.layout, Window) or correlation(receipt) is not None


def label_key(receipt: Receipt) -> str | None:
    """Return the catalogue name of the groups that the terms are in; None where they have none."""
    if receipt.kind == "convolution_gradient" and not isinstance(receipt.layout, Window):
        return "axis.sample"
    if isinstance(receipt.layout, Window):
        return "axis.output_channel" if is_gradient(receipt) else "axis.channel"
    return None


def headings(receipt: Receipt) -> str:
    """Return the catalogue section of the headings over grids."""
    if correlation(receipt) is not None:
        return "gradient.heading_weight"
    return "gradient.heading" if is_gradient(receipt) else "receipt.heading"


def kernel_key(receipt: Receipt) -> str:
    """Return the catalogue name of what stands for the kernel below a grid."""
    return "receipt.kernel" if correlation(receipt) is None else "gradient.kernel"


def hides_weights(receipt: Receipt) -> bool:
    """Whether a term without input has no weight either: a gradient that was cropped."""
    layout = correlation(receipt)
    return layout is not None and layout.transposed


def missing(receipt: Receipt) -> tuple[str, str]:
    """Return catalogue names for a term without input: beside it, and below all terms."""
    layout = receipt.layout
    if is_gradient(receipt):
        if isinstance(layout, Window) or hides_weights(receipt):
            return "gradient.nothing", "gradient.mark.no_output"
    elif isinstance(layout, Window) and layout.transposed:
        return "receipt.no_input", "shown.no_input"
    return "receipt.padding", "shown.padding"


def gradient_lines(receipt: Receipt, look: Look) -> list[str]:
    """Say what a gradient is and how it is made, in a few lines."""
    found = _NAME.fullmatch(receipt.address.step)
    of, through = (found["of"], found["through"]) if found else (receipt.address.step, None)
    number = name(Address(of, receipt.address.index))
    if receipt.kind == "gradient_start":
        return look.wrap(look.say("gradient.start"))
    key = "whole" if through is None else "part"
    lines = look.wrap(look.say(f"gradient.{key}", number=number, step=name(through or "")))
    return lines + _how(receipt, look)


def _how(receipt: Receipt, look: Look) -> list[str]:
    from convtrace.rules.backward import Rows
    from convtrace.rules.conv_backward import Correlation, Positions

    layout, kind = receipt.layout, receipt.kind.removesuffix("_gradient")
    if isinstance(layout, Window):
        return _of_input(receipt, layout, look)
    if isinstance(layout, Correlation):
        return _of_weight(receipt, layout, look)
    if isinstance(layout, Positions):
        key, count = _many(len(layout.channels)), len(layout.channels)
        words = {"channel": layout.channel, "count": count}
        return look.wrap(look.say(f"gradient.convolution.bias.{key}", **words))
    if receipt.kind in ("gradient_passed", "gradient_sum"):
        return look.wrap(look.say(f"gradient.{receipt.kind.removeprefix('gradient_')}"))
    terms = receipt.products.size
    if kind == "linear":
        of = "input"
        if isinstance(layout, Rows):
            of = "bias" if layout.input_name is None else "weight"
        of += "_one" if terms == 1 else ""
        return look.wrap(look.say(f"gradient.linear.{of}", count=terms))
    if terms == 0:
        return look.wrap(look.say("gradient.none"))
    if terms > 1:
        key = "other"
    elif kind in ("relu", "mul"):
        key = kind
    else:
        key = "gates" if receipt.status == "gates" else "one"
    return look.wrap(look.say(f"gradient.{key}", terms=terms, kind=kind_name(kind)))


def _of_input(receipt: Receipt, layout: Window, look: Look) -> list[str]:
    """Say which output numbers an input number went into, and with which kernel numbers."""
    channels, each = layout.channels, receipt.products[0].size
    words = {"count": len(channels), "first": channels[0], "last": channels[-1]}
    many = _many(len(channels))
    product = "input_product" if many == "many" else "input_product_one"
    product = "input_single" if each == 1 else product
    sentences = [look.say(f"gradient.convolution.input.{many}", **words)]
    sentences.append(look.say(f"gradient.convolution.{product}"))
    if none := each - int(receipt.present[0].sum()):
        sentences.append(look.say("gradient.convolution.no_output", count=none, terms=each))
    lines = [*look.wrap(" ".join(sentences)), ""]
    # The receipt of a convolution's input is a transposed convolution's, and the other way round.
    law = "law" if layout.transposed else "law_transposed"
    for key, axis, size, place, taps in zip(
        _AXES[len(layout.axes)], layout.axes, layout.sizes, layout.output, layout.taps, strict=True
    ):
        lines += look.wrap(look.say(f"gradient.{law}.{key}"))
        for tap in taps:
            lines += look.wrap(_tap(key, axis, size, place, tap, look), indent="  ")
    return lines


def _tap(key: str, axis: Axis, size: int, place: int, tap: Tap, look: Look) -> str:
    """Say which output position one kernel number led to."""
    low = axis.padding[0]
    if axis.transposed:
        law = f"({place} {_plus(low)} {MINUS} {tap.kernel} × {axis.dilation}) / {axis.stride}"
        found, rest = divmod(tap.numerator, axis.stride)
    else:
        law = f"{place} × {axis.stride} {_minus(low)} + {tap.kernel} × {axis.dilation}"
        found, rest = tap.numerator, 0
    if rest:
        return look.say(f"gradient.gap.{key}", kernel=tap.kernel, law=keep(law))
    law = keep(f"{law} = {found}".replace("= -", f"= {MINUS}"))
    if tap.source is None:
        return look.say(f"gradient.outside.{key}", kernel=tap.kernel, law=law, last=size - 1)
    return look.say(f"gradient.hit.{key}", kernel=tap.kernel, law=law, place=found)


def _of_weight(receipt: Receipt, layout: Correlation, look: Look) -> list[str]:
    """Say where a weight was used, and which input number it met there."""
    many, each = _many(len(layout.channels)), receipt.products[0].size
    sentences = [
        look.say(f"gradient.convolution.weight.{many}", count=len(layout.channels)),
        look.say(f"gradient.convolution.weight_product.{many}"),
    ]
    if none := each - int(receipt.present[0].sum()):
        key = "cropped" if layout.transposed else "padding"
        sentences.append(look.say(f"gradient.convolution.{key}", count=none, terms=each))
    lines = [*look.wrap(" ".join(sentences)), ""]
    way = "weight_law_transposed" if layout.transposed else "weight_law"
    for key, axis, kernel in zip(_AXES[len(layout.axes)], layout.axes, layout.kernel, strict=True):
        law = f"× {axis.stride} {_minus(axis.padding[0])} + {kernel} × {axis.dilation}"
        lines += look.wrap(look.say(f"gradient.{way}.{key}", kernel=kernel, law=keep(law)))
    return lines


def _plus(padding: int) -> str:
    return f"+ {padding}" if padding >= 0 else f"{MINUS} {-padding}"


def _minus(padding: int) -> str:
    return f"{MINUS} {padding}" if padding >= 0 else f"+ {-padding}"


def _many(count: int) -> str:
    return "many" if count > 1 else "one"
