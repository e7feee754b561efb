"""Draws one exercise, with its blanks or with its answers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from convtrace.geometry import output_formula
from convtrace.receipt import Receipt, Term
from convtrace.render.drawing.grid import Cell, Frame, Measures, grid, numbered
from convtrace.render.drawing.pen import SMALL, Pen
from convtrace.render.drawing.scene import Block, Label, Stroke, below, beside, padded
from convtrace.render.numbers import show
from convtrace.render.worksheet.sheet import Exercise
from convtrace.rules.conv import axes_of, channel_counts
from convtrace.step import Number, Value

_LINE = 10.5
"""Size of the letters of questions, in points."""

_SPACE = 16.0
"""Between grids that stand side by side."""


def draw(exercise: Exercise, number: int, pen: Pen, width: float, *, solved: bool) -> Block:
    """Draw an exercise.

    Args:
        exercise: What is asked.
        number: Its number on the sheet.
        pen: What to draw with.
        width: Room for it, in points.
        solved: Whether the answers are filled in.
    """
    ask = f"{number}. {_question(exercise, pen)}"
    text = pen.paragraph([ask], width, _LINE, ink=pen.theme.ink)
    body = _BODIES[exercise.kind](exercise, pen, width - 14, solved)
    return below([text, padded(body, 14, 0, 0, 0)], 6)


def _question(exercise: Exercise, pen: Pen) -> str:
    step, attributes = exercise.step, exercise.step.attributes
    axes = axes_of(attributes, step.values["weight"].shape[2:])
    reads, writes = channel_counts(step)
    *_, row, column = exercise.at
    kernel, stride, dilation = (
        _each(getattr(axis, key) for axis in axes) for key in ("kernel", "stride", "dilation")
    )
    return pen.say(
        f"worksheet.ask.{exercise.kind}{'_many' * (exercise.kind == 'output' and reads > 1)}",
        reads=reads,
        writes=writes,
        row=row,
        column=column,
        rows=step.values["input"].shape[-2],
        columns=step.values["input"].shape[-1],
        kernel=kernel,
        stride=stride,
        dilation=dilation,
        settings=_settings(exercise, pen),
        value=_text(exercise.receipt().reported),
    )


def _settings(exercise: Exercise, pen: Pen) -> str:
    """List the settings that are not the usual ones, in words."""
    step, found = exercise.step, list[str]()
    axes = axes_of(step.attributes, step.values["weight"].shape[2:])
    told = {
        "stride": [axis.stride for axis in axes],
        "padding": [axis.padding[0] for axis in axes],
        "dilation": [axis.dilation for axis in axes],
    }
    for name, sizes in told.items():
        if name == "padding" and any(sizes):
            name = "crop" if step.attributes["transposed"] else "padding_zeros"  # noqa: PLW2901  (the same setting with its meaning)
        usual = name == "padding" or set(sizes) == {1}
        if exercise.kind == "shape" or name in ("stride", "crop", "padding_zeros") or not usual:
            found.append(pen.say(f"worksheet.setting.{name}", size=_each(sizes)))
    if step.attributes["groups"] > 1:
        found.append(pen.say("worksheet.setting.groups", size=step.attributes["groups"]))
    if exercise.kind in ("shape", "parameters"):
        if step.attributes["transposed"]:
            found.append(pen.say("worksheet.setting.transposed"))
    elif "bias" in step.values:
        found.append(pen.say("worksheet.setting.bias", size=_text(step.values["bias"].item((0,)))))
    if exercise.kind == "parameters":
        key = "with_bias" if "bias" in step.values else "without_bias"
        found.append(pen.say(f"worksheet.setting.{key}"))
    return ", ".join(found)


def _fill_in(exercise: Exercise, pen: Pen, width: float, solved: bool) -> Block:
    """Draw inputs, kernels and an output with blank cells."""
    step = exercise.step
    output = np.empty(step.shape[-2:], dtype=object)
    for place in np.ndindex(output.shape):
        output[place] = _text(exercise.receipt((*exercise.at[:-2], *place)).reported)
    texts = output if solved else np.full_like(output, "")
    answer = _grid(pen, texts, "output", pen.say("worksheet.head.output"), solved=solved)
    picture = beside([_operands(exercise, pen), _sign(pen, "="), answer], _SPACE)
    return _with_equation(exercise, pen, picture, width, solved=solved)


def _asked(exercise: Exercise, pen: Pen, width: float, solved: bool) -> Block:
    """Draw inputs and kernels, and lines for the sum of each channel and for the output."""
    receipt = exercise.receipt()
    labels = [
        pen.say("worksheet.answer.channel", channel=channel) for channel in receipt.layout.channels
    ]
    values = [_text(number) for number in receipt.channel_sums.tolist()]
    labels.append(pen.say("worksheet.answer.output"))
    values.append(_text(receipt.reported))
    lines = _lines(pen, labels, values if solved else None)
    picture = beside([_operands(exercise, pen), lines], 2 * _SPACE)
    return _with_equation(exercise, pen, picture, width, solved=solved)


def _missing(exercise: Exercise, pen: Pen, width: float, solved: bool) -> Block:
    assert exercise.hidden is not None
    weight = exercise.step.values["weight"].item(exercise.hidden)
    lines = _lines(pen, [pen.say("worksheet.answer.weight")], [_text(weight)] if solved else None)
    picture = beside([_operands(exercise, pen, solved=solved), lines], 2 * _SPACE)
    return _with_equation(exercise, pen, picture, width, solved=solved)


def _shape(exercise: Exercise, pen: Pen, width: float, solved: bool) -> Block:
    step = exercise.step
    names = ("channels", "rows", "columns")
    labels = [pen.say(f"worksheet.answer.{name}") for name in names]
    values = [str(size) for size in step.shape[-3:]]
    lines = _lines(pen, labels, values if solved else None, across=True)
    if not solved:
        return lines
    axes = axes_of(step.attributes, step.values["weight"].shape[2:])
    sizes = step.values["input"].shape[-2:]
    formulas = [
        f"{name}: {_floor(output_formula(axis, size), pen)}"
        for name, axis, size in zip(labels[1:], axes, sizes, strict=True)
    ]
    return below([lines, pen.paragraph(formulas, width, SMALL)], 4)


def _floor(formula: str, pen: Pen) -> str:
    """Write rounding down as a word: many fonts with Korean lack its brackets."""
    start, left, rest = formula.partition("⌊")
    inside, right, end = rest.partition("⌋")
    if not left or not right:
        return formula
    return start + pen.say("worksheet.answer.floor", inside=inside) + end


def _parameters(exercise: Exercise, pen: Pen, width: float, solved: bool) -> Block:
    step, receipt = exercise.step, exercise.receipt()
    weight, bias = step.values["weight"], step.values.get("bias")
    _, writes = channel_counts(step)
    labels = [pen.say(f"worksheet.answer.{name}") for name in ("weights", "biases")]
    values = [str(_size(weight)), str(_size(bias) if bias else 0)]
    lines = _lines(pen, labels, values if solved else None, across=True)
    if not solved:
        return lines
    reason = pen.say(
        "worksheet.answer.why_parameters",
        shape=" × ".join(map(str, receipt.weights.shape)),
        each=receipt.weights.size,
        writes=writes,
        total=_size(weight),
    )
    return below([lines, pen.paragraph([reason], width, SMALL)], 4)


_BODIES: Mapping[str, Callable[[Exercise, Pen, float, bool], Block]] = MappingProxyType(
    {
        "output": _fill_in,
        "channel_sum": _asked,
        "missing_weight": _missing,
        "shape": _shape,
        "parameters": _parameters,
        "transposed": _fill_in,
        "dilated": _fill_in,
    }
)


def _operands(exercise: Exercise, pen: Pen, *, solved: bool = True) -> Block:
    """Draw the input and the kernel of every channel that is read, one row a channel."""
    receipt, step = exercise.receipt(), exercise.step
    rows: list[Block] = []
    many = len(receipt.layout.channels) > 1
    for nth, channel in enumerate(receipt.layout.channels):
        name = f" {pen.look.say('axis.channel', n=channel)}" if many else ""
        pixels = step.values["input"].box((*exercise.at[:-3], channel))
        source = _grid(pen, _texts(pixels), "window", pen.say("worksheet.head.input") + name)
        weights = _texts(receipt.weights[nth])
        for place in np.ndindex(weights.shape):
            hidden = receipt.layout.weight((nth, *place))
            if hidden is not None and hidden.index == exercise.hidden and not solved:
                weights[place] = "?"
        kernel = _grid(pen, weights, "kernel", pen.say("worksheet.head.kernel") + name)
        rows.append(beside([source, _sign(pen, "*"), kernel], _SPACE))
    return below(rows, 8)


def _grid(
    pen: Pen, texts: NDArray[np.object_], role: str, head: str, *, solved: bool = False
) -> Block:
    """Draw a grid under its heading, with the numbers of its rows and columns."""
    colour: str = getattr(pen.theme, "sum" if role == "output" else role)
    ink = colour if solved else None
    rows, columns = texts.shape
    said = "answer" if solved else role
    cells = [
        [Cell(text, ink=ink, bold=solved, role=said) for text in row] for row in texts.tolist()
    ]
    measures = Measures.of(["−00", *texts.ravel().tolist()], size=_LINE, square=True)
    outline = Frame(0, 0, rows - 1, columns - 1, colour)
    block = numbered(
        pen,
        grid(pen, cells, measures, [outline], size=_LINE),
        measures,
        {row: str(row) for row in range(rows)},
        {column: str(column) for column in range(columns)},
    )
    title = pen.text(head, SMALL, ink=colour if colour != pen.theme.kernel else "#8A5F00")
    whole = below([title, block])
    return Block(whole.width, whole.height, whole.shapes, title.height + block.middle)


def _sign(pen: Pen, sign: str) -> Block:
    return pen.text(sign, 14)


def _lines(pen: Pen, labels: list[str], values: list[str] | None, *, across: bool = False) -> Block:
    """Draw lines to write on, one for each label, or the answers on them."""
    blocks: list[Block] = []
    for place, label in enumerate(labels):
        text = pen.text(label, _LINE)
        shapes = list(text.shapes)
        start, end = text.width + 5, text.width + 60
        shapes.append(Stroke((((start, text.height), (end, text.height)),), pen.theme.quiet))
        if values is not None:
            middle = (start + end) / 2
            shapes.append(
                Label(
                    middle,
                    1.02 * _LINE,
                    values[place],
                    _LINE,
                    pen.theme.sum,
                    True,
                    "middle",
                    "answer",
                )
            )
        blocks.append(Block(end, text.height + 1, tuple(shapes)))
    return beside(blocks, _SPACE) if across else below(blocks, 8, "right")


def _with_equation(
    exercise: Exercise, pen: Pen, picture: Block, width: float, *, solved: bool
) -> Block:
    """Add, to an answer, the sum of the number that is asked, or of the first one."""
    if not solved:
        return picture
    lines = [equation(exercise.receipt(), pen)]
    return below([picture, pen.paragraph(lines, width, SMALL)], 4)


def equation(receipt: Receipt, pen: Pen) -> str:
    """Write a receipt as one sum, channel by channel, without the terms on padding."""
    groups = itertools.groupby(receipt.terms, lambda term: term.channel)
    sums = receipt.channel_sums.tolist()
    parts: list[str] = []
    for (channel, group), total in zip(groups, sums, strict=True):
        products = [_product(term) for term in group if term.source is not None]
        text = " + ".join(products) or "0"
        if len(sums) > 1:
            text = f"{pen.look.say('axis.channel', n=channel)}: {text} = {_text(total)}"
        parts.append(text)
    bias = "" if receipt.bias is None else f" + {_bracket(receipt.bias)}"
    *_, row, column = receipt.address.index
    where = pen.say("worksheet.answer.at", row=row, column=column)
    result = _text(receipt.reported)
    if len(sums) == 1:
        return f"{where}: {parts[0]}{bias} = {result}"
    added = " + ".join(map(_bracket, sums))
    return f"{where}: {'; '.join(parts)}; {added}{bias} = {result}"


def _product(term: Term) -> str:
    return f"{_bracket(term.value)}×{_bracket(term.weight)}"


def _bracket(number: Number) -> str:
    text = _text(number)
    return f"({text})" if text.startswith("−") else text


def _texts(numbers: NDArray[np.generic]) -> NDArray[np.object_]:
    texts = np.empty(numbers.shape, dtype=object)
    for place in np.ndindex(numbers.shape):
        texts[place] = _text(numbers[place].item())
    return texts


def _text(number: Number) -> str:
    return show(number, None).text


def _each(sizes: Iterable[int]) -> str:
    """Write one size for all axes where they agree, else all of them."""
    found = list(sizes)
    return str(found[0]) if len(set(found)) == 1 else " × ".join(map(str, found))


def _size(value: Value) -> int:
    return int(np.prod(value.shape))
