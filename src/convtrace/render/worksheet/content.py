"""What an exercise says: its question, its tables, its blanks and their answers.

HTML and PDF are two ways of writing this down, so that they cannot differ in a number.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from convtrace.geometry import output_formula
from convtrace.receipt import Receipt, Term
from convtrace.render.look import Look
from convtrace.render.numbers import show
from convtrace.render.worksheet.sheet import Exercise
from convtrace.rules.conv import axes_of, channel_counts
from convtrace.step import Number, Value


@dataclass(frozen=True, slots=True)
class Table:
    """Numbers in rows and columns, which are counted from 0.

    Attributes:
        role: `window`, `kernel` or `output`.
        title: What they are.
        cells: The numbers, row by row; empty where one is to be filled in.
        solved: Whether they are answers.
    """

    role: Literal["window", "kernel", "output"]
    title: str
    cells: tuple[tuple[str, ...], ...]
    solved: bool = False


@dataclass(frozen=True, slots=True)
class Blank:
    """A line to write on.

    Attributes:
        label: What is asked.
        answer: What belongs there, or None where it is to be filled in.
    """

    label: str
    answer: str | None


@dataclass(frozen=True, slots=True)
class Content:
    """One exercise, with its blanks or with its answers.

    Attributes:
        question: What is asked.
        operands: Input and kernel of each channel that is read.
        output: The output, or None where not all of it is asked.
        blanks: What else is asked.
        reasons: How an answer comes about; nothing while it is asked.
    """

    question: str
    operands: tuple[tuple[Table, Table], ...] = ()
    output: Table | None = None
    blanks: tuple[Blank, ...] = ()
    reasons: tuple[str, ...] = ()


def content(exercise: Exercise, look: Look, *, solved: bool) -> Content:
    """Say what an exercise says.

    Args:
        exercise: What is asked.
        look: The language.
        solved: Whether the answers are filled in.
    """
    receipt, question = exercise.receipt(), _question(exercise, look)
    if exercise.kind in ("shape", "parameters"):
        asked = _shape if exercise.kind == "shape" else _parameters
        blanks, reasons = asked(exercise, look)
        return Content(
            question,
            blanks=_blanks(blanks, solved=solved),
            reasons=tuple(reasons) if solved else (),
        )
    operands = tuple(_operands(exercise, look, solved=solved))
    reasons = (equation(receipt, look),) if solved else ()
    if exercise.kind in ("output", "transposed", "dilated"):
        output = _output(exercise, look, solved=solved)
        return Content(question, operands, output, reasons=reasons)
    if exercise.kind == "channel_sum":
        pairs = [
            (look.say("worksheet.answer.channel", channel=channel), _text(total))
            for channel, total in zip(
                receipt.layout.channels, receipt.channel_sums.tolist(), strict=True
            )
        ]
        pairs.append((look.say("worksheet.answer.output"), _text(receipt.reported)))
    else:
        assert exercise.hidden is not None
        weight = exercise.step.values["weight"].item(exercise.hidden)
        pairs = [(look.say("worksheet.answer.weight"), _text(weight))]
    return Content(question, operands, None, _blanks(pairs, solved=solved), reasons)


def _blanks(pairs: Iterable[tuple[str, str]], *, solved: bool) -> tuple[Blank, ...]:
    return tuple(Blank(label, answer if solved else None) for label, answer in pairs)


def _question(exercise: Exercise, look: Look) -> str:
    step, attributes = exercise.step, exercise.step.attributes
    axes = axes_of(attributes, step.values["weight"].shape[2:])
    reads, writes = channel_counts(step)
    *_, row, column = exercise.at
    kernel, stride, dilation = (
        _each(getattr(axis, key) for axis in axes) for key in ("kernel", "stride", "dilation")
    )
    return look.say(
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
        settings=_settings(exercise, look),
        value=_text(exercise.receipt().reported),
    )


def _settings(exercise: Exercise, look: Look) -> str:
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
            found.append(look.say(f"worksheet.setting.{name}", size=_each(sizes)))
    if step.attributes["groups"] > 1:
        found.append(look.say("worksheet.setting.groups", size=step.attributes["groups"]))
    if exercise.kind in ("shape", "parameters"):
        if step.attributes["transposed"]:
            found.append(look.say("worksheet.setting.transposed"))
    elif "bias" in step.values:
        found.append(look.say("worksheet.setting.bias", size=_text(step.values["bias"].item((0,)))))
    if exercise.kind == "parameters":
        key = "with_bias" if "bias" in step.values else "without_bias"
        found.append(look.say(f"worksheet.setting.{key}"))
    return ", ".join(found)


def _operands(exercise: Exercise, look: Look, *, solved: bool) -> Iterable[tuple[Table, Table]]:
    """Yield the input and the kernel of every channel that is read."""
    receipt, step = exercise.receipt(), exercise.step
    many = len(receipt.layout.channels) > 1
    for nth, channel in enumerate(receipt.layout.channels):
        name = f" {look.say('axis.channel', n=channel)}" if many else ""
        pixels = _texts(step.values["input"].box((*exercise.at[:-3], channel)))
        weights = _texts(receipt.weights[nth])
        for place in np.ndindex(weights.shape):
            hidden = receipt.layout.weight((nth, *place))
            if hidden is not None and hidden.index == exercise.hidden and not solved:
                weights[place] = "?"
        yield (
            Table("window", look.say("worksheet.head.input") + name, _rows(pixels)),
            Table("kernel", look.say("worksheet.head.kernel") + name, _rows(weights)),
        )


def _output(exercise: Exercise, look: Look, *, solved: bool) -> Table:
    """Return the output, its numbers read from their receipts, or blank."""
    texts = np.full(exercise.step.shape[-2:], "", dtype=object)
    for place in np.ndindex(texts.shape) if solved else ():
        texts[place] = _text(exercise.receipt((*exercise.at[:-2], *place)).reported)
    return Table("output", look.say("worksheet.head.output"), _rows(texts), solved)


def _shape(exercise: Exercise, look: Look) -> tuple[list[tuple[str, str]], list[str]]:
    """Return the sizes of the output, and the formulas of two of them."""
    step = exercise.step
    labels = [look.say(f"worksheet.answer.{name}") for name in ("channels", "rows", "columns")]
    axes = axes_of(step.attributes, step.values["weight"].shape[2:])
    sizes = step.values["input"].shape[-2:]
    formulas = [
        f"{name}: {output_formula(axis, size)}"
        for name, axis, size in zip(labels[1:], axes, sizes, strict=True)
    ]
    if not step.attributes["transposed"]:
        formulas.append(look.say("shown.floor"))
    return list(zip(labels, map(str, step.shape[-3:]), strict=True)), formulas


def _parameters(exercise: Exercise, look: Look) -> tuple[list[tuple[str, str]], list[str]]:
    """Return how many weights and biases there are, and why."""
    step, receipt = exercise.step, exercise.receipt()
    weight, bias = step.values["weight"], step.values.get("bias")
    _, writes = channel_counts(step)
    reason = look.say(
        "worksheet.answer.why_parameters",
        shape=" × ".join(map(str, receipt.weights.shape)),
        each=receipt.weights.size,
        writes=writes,
        total=_size(weight),
    )
    counts = {"weights": _size(weight), "biases": _size(bias) if bias else 0}
    return [(look.say(f"worksheet.answer.{key}"), str(n)) for key, n in counts.items()], [reason]


def equation(receipt: Receipt, look: Look) -> str:
    """Write a receipt as one sum, channel by channel, without the terms on padding."""
    groups = itertools.groupby(receipt.terms, lambda term: term.channel)
    sums = receipt.channel_sums.tolist()
    parts: list[str] = []
    for (channel, group), total in zip(groups, sums, strict=True):
        products = [_product(term) for term in group if term.source is not None]
        text = " + ".join(products) or "0"
        if len(sums) > 1:
            text = f"{look.say('axis.channel', n=channel)}: {text} = {_text(total)}"
        parts.append(text)
    bias = "" if receipt.bias is None else f" + {_bracket(receipt.bias)}"
    *_, row, column = receipt.address.index
    where = look.say("worksheet.answer.at", row=row, column=column)
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


def _rows(texts: NDArray[np.object_]) -> tuple[tuple[str, ...], ...]:
    return tuple(map(tuple, texts.tolist()))
