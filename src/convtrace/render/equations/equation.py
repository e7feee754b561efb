"""A receipt as an equation in TeX's language: symbols first, then the numbers.

    Y_{0,1,0,2} = Σ_c Σ_{i,j} W_{1,c,i,j} · X_{0,c,i−1,j+1} + b_1

Only symbols and numbers stand in it, no name from a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from convtrace.catalog import say
from convtrace.geometry import Axis, Tap
from convtrace.receipt import Receipt, Term
from convtrace.render.cut import Choice, choose
from convtrace.render.look import Look, name
from convtrace.render.numbers import ABOUT, MINUS, Scale, Shown, sum_sign
from convtrace.rules.conv import Window

LIMIT = 64
"""Terms that are written out unless the caller asks for another number."""

IN_A_LINE = 4
"""Products of a line, where the kernel has no rows."""

APPROX = "\\approx"

LETTERS = {1: ("i",), 2: ("i", "j"), 3: ("h", "i", "j")}
"""Letters of the kernel axes, by their number."""


def symbols(receipt: Receipt) -> str:
    r"""Write the sum in symbols, its indices those of this number.

    Example:
        >>> import convtrace as ct
        >>> trace = ct.from_arrays([[[1.0, 2.0, 3.0]]], [[[1.0, 1.0]]])
        >>> print(symbols(trace.why("conv1d[0,0,1]")))
        Y_{0,0,1} = \sum_{i=0}^{1} W_{0,0,i} \cdot X_{0,0,i+1}
    """
    layout, index = receipt.layout, receipt.address.index
    left = f"Y_{{{_commas(index)}}}"
    if not isinstance(layout, Window):
        count = receipt.products.size
        bias = " + b" if receipt.bias is not None else ""
        if count == 1:
            return f"{left} = w \\cdot x{bias}"
        return f"{left} = \\sum_{{k=0}}^{{{count - 1}}} w_k \\cdot x_k{bias}"
    first, last = layout.channels[0], layout.channels[-1]
    several = last > first
    letters = LETTERS[len(layout.axes)]
    sums = f"\\sum_{{c={first}}}^{{{last}}} " if several else ""
    places: list[str] = []
    kernel: list[str] = []
    for letter, axis, taps in zip(letters, layout.axes, layout.taps, strict=True):
        if axis.kernel > 1:
            sums += f"\\sum_{{{letter}=0}}^{{{axis.kernel - 1}}} "
        kernel.append(letter if axis.kernel > 1 else "0")
        places.append(_source(letter, axis, taps))
    channel = "c" if several else str(first)
    shift = f"c-{first}" if first else "c"
    if layout.transposed:
        weight = [channel, layout.weight_channel, *kernel]
    else:
        weight = [layout.weight_channel, shift if several else 0, *kernel]
    source = [*layout.sample, channel, *places]
    bias = f" + b_{{{layout.output_channel}}}" if receipt.bias is not None else ""
    return f"{left} = {sums}W_{{{_commas(weight)}}} \\cdot X_{{{_commas(source)}}}{bias}"


def rows(receipt: Receipt, look: Look, limit: int | None = LIMIT) -> tuple[list[str], Choice]:
    """Write the sum in numbers, as rows of an `aligned` environment.

    Args:
        receipt: A receipt with terms.
        look: Language and digits.
        limit: Most terms to write out; None writes all.

    Returns:
        Rows: the symbols, the channels (or the terms, where there are no channels), what is left
        out, the bias, the total; and which terms are written out.
    """
    choice = choose(receipt, limit)
    whole = choice.whole and receipt.products.size > len(receipt.products)
    terms = [[receipt.term(position) for position in row] for row in choice.positions]
    flat = [term for row in terms for term in row]
    values = Scale.of([t.value for t in flat], look.digits, narrow=look.narrow)
    weights = Scale.of([t.weight for t in flat], look.digits, narrow=look.narrow)
    groups = terms if whole else [[term] for term in flat]
    results = receipt.channel_sums[choice.channels].tolist() if whole else [t.product for t in flat]
    extra = [number for number in (choice.rest, receipt.bias) if number is not None]
    scale = Scale.of([*results, *extra, receipt.exact], look.digits, narrow=look.narrow)
    shown = [scale.show(result) for result in results]
    each = receipt.products.shape[-1] if whole and receipt.products.ndim > 2 else IN_A_LINE
    written = [symbols(receipt).replace(" = ", " &= ", 1)]
    for group, result in zip(groups, shown, strict=True):
        written += _sum(receipt, group, result, values, weights, each)
    return [*written, *_foot(receipt, choice, shown, scale, look)], choice


def remarks(receipt: Receipt, choice: Choice, lang: str) -> list[str]:
    """Explain the symbols, and say what was left out."""
    layout = receipt.layout
    found: list[str] = []
    if isinstance(layout, Window):
        names = {"input": name(layout.input_name), "weight": name(layout.weight_name)}
        found.append(say("figure.equation.symbols", lang, step=name(receipt.address.step), **names))
        if layout.transposed:
            found.append(say("figure.equation.whole", lang))
        elif not receipt.present.all():
            found.append(say("figure.equation.padding", lang))
    if choice.rest is not None:
        several = receipt.products.size > len(receipt.products)
        key = "channels" if choice.whole and several else "terms"
        culprits = "_culprits" if receipt.culprits else ""
        look = Look(lang)
        values = {
            "shown": choice.shown,
            "count": choice.count,
            "channels": len(choice.channels),
            "of": len(receipt.products),
            "rest": look.show(choice.rest).marked,
        }
        found.append(say(f"shown.{key}{culprits}", lang, **values))
    return found


def tex(shown: Shown, *, factor: bool = False) -> str:
    r"""Write a number in TeX's language; a negative factor stands in brackets.

    Example:
        >>> from convtrace.render.numbers import show
        >>> tex(show(-0.25), factor=True), tex(show(2e-12))
        ('(-0.25)', '2 \\times 10^{-12}')
    """
    text = shown.text.replace(MINUS, "-")
    text = {"NaN": "\\mathrm{NaN}", "∞": "\\infty", "-∞": "-\\infty"}.get(text, text)
    mantissa, e, exponent = text.partition("e")
    if e and not text.startswith("\\"):
        text = f"{mantissa} \\times 10^{{{exponent}}}"
    return f"({text})" if factor and text.startswith("-") else text


def _sum(
    receipt: Receipt,
    terms: Sequence[Term],
    result: Shown,
    values: Scale,
    weights: Scale,
    each: int,
) -> list[str]:
    """Write products and their sum, `each` of them on a row."""
    parts: list[str] = []
    exact: Fraction | None = Fraction()
    for term in terms:
        value, weight = values.show(term.value), weights.show(term.weight)
        here = bool(receipt.present[term.position])
        factor = tex(value, factor=True) if here else "0"
        parts.append(f"{factor} \\cdot {tex(weight, factor=True)}")
        if not here:
            continue
        one, other = value.fraction, weight.fraction
        if value.rounded or weight.rounded or one is None or other is None or exact is None:
            exact = None
        else:
            exact += one * other
    # The sign says whether a reader who multiplies what is written gets what is written.
    holds = result.fraction is None or (not result.rounded and exact == result.fraction)
    label = f"c = {terms[0].channel}" if isinstance(receipt.layout, Window) else ""
    return _lines(label, parts, f"{'=' if holds else APPROX} {tex(result)}", each)


def _lines(label: str, parts: Sequence[str], result: str, each: int) -> list[str]:
    """Join summands by plus signs, some on each row, with the result on the last one."""
    each = max(each, 1)
    bodies = [" + ".join(parts[at : at + each]) for at in range(0, len(parts), each)]
    head = f"{label}:\\quad" if label else ""
    found = [f"{head}& {bodies[0]}", *(f"&\\quad + {body}" for body in bodies[1:])]
    return [*found[:-1], f"{found[-1]} {result}"]


def _foot(
    receipt: Receipt, choice: Choice, shown: Sequence[Shown], scale: Scale, look: Look
) -> list[str]:
    """Write what is left out, the bias, and the total."""
    parts = list(shown)
    found: list[str] = []
    if choice.rest is not None:
        rest = scale.show(choice.rest)
        parts.append(rest)
        label = look.say("receipt.rest", count=choice.count - choice.shown)
        found.append(f"\\text{{{label}}}:\\quad& {_sign(rest.sign)} {tex(rest)}")
    if receipt.bias is not None:
        bias = scale.show(receipt.bias)
        parts.append(bias)
        layout = receipt.layout
        label = f"b_{{{layout.output_channel}}}" if isinstance(layout, Window) else "b"
        found.append(f"{label} &{_sign(bias.sign)} {tex(bias)}")
    total = scale.show(receipt.exact)
    result = f"{_sign(sum_sign(parts, total))} {tex(total)}"
    left = f"Y_{{{_commas(receipt.address.index)}}}"
    if len(parts) == 1:
        return [*found, f"{left} &{result}"]
    summands = [tex(part, factor=number > 0) for number, part in enumerate(parts)]
    first, *others = _lines("", summands, result, 2 * IN_A_LINE)
    return [*found, f"{left} &={first.removeprefix('&')}", *others]


def _sign(sign: str) -> str:
    return APPROX if sign == ABOUT else "="


def _source(letter: str, axis: Axis, taps: Sequence[Tap]) -> str:
    """Write which position a tap reads, e.g. `2i-1`; the geometry says where the first one is."""
    start = taps[0].numerator
    step = "" if axis.dilation == 1 else str(axis.dilation)
    if axis.transposed:
        law = f"{start}-{step}{letter}" if axis.kernel > 1 else str(start)
        return law if axis.stride == 1 else f"({law})/{axis.stride}"
    if axis.kernel == 1:
        return str(start)
    return f"{step}{letter}" + (f"{start:+d}" if start else "")


def _commas(parts: Sequence[object]) -> str:
    return ",".join(map(str, parts))
