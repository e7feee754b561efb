"""Scripts (`.py`) that recompute exactly what is shown: a receipt, or a whole stack of layers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.errors import UsageError
from convtrace.graph import Trace
from convtrace.receipt import Receipt
from convtrace.render.code.dialect import Dialect, kind_of
from convtrace.render.code.jax import Jax
from convtrace.render.code.keras import Keras
from convtrace.render.code.numpy import NumPy
from convtrace.render.code.receipt import receipt_lines
from convtrace.render.code.text import Identifiers, call, comment, docstring, names_used, quoted
from convtrace.render.code.torch import Torch
from convtrace.step import Step, Value

FRAMEWORKS: Mapping[str, Dialect] = MappingProxyType(
    {dialect.name: dialect for dialect in (Torch(), NumPy(), Jax(), Keras())}
)

MOST_NUMBERS, MOST_TERMS = 50_000, 20_000
"""Numbers that a script still holds, of a trace and of a receipt."""


def receipt_py(receipt: Receipt, *, framework: str = "torch") -> bytes:
    """Write a script that adds the terms of a receipt.

    Args:
        receipt: The receipt.
        framework: `torch`, `numpy`, `jax` or `keras`.

    Raises:
        UsageError: There is no such framework, or there are no terms, or too many.
    """
    dialect = _dialect(framework)
    if not receipt.terms or receipt.products.dtype.kind == "c":
        raise UsageError(
            f"{receipt.address} has no terms of real numbers that code could add\n"
            "  It was given, or a step made it that convtrace shows as a formula."
        )
    if receipt.products.size > MOST_TERMS:
        raise UsageError(
            f"{receipt.address} has {receipt.products.size:,} terms; a script holds at most "
            f'{MOST_TERMS:,}\n  Save them as a table: receipt.save("terms.csv").'
        )
    return _source(receipt_lines(receipt, dialect))


def trace_py(trace: Trace, *, framework: str = "torch") -> bytes:
    """Write a script that runs a whole stack of layers again, with every number in it.

    Args:
        trace: The run.
        framework: `torch`, `numpy`, `jax` or `keras`.

    Raises:
        UsageError: There is no such framework, it has no like for a step, or there are too many
            numbers; the message says what to choose instead.
    """
    dialect = _dialect(framework)
    values = _values(trace)
    count = sum(math.prod(value.shape) for value in values.values())
    if count > MOST_NUMBERS:
        largest = max(values.values(), key=lambda value: math.prod(value.shape))
        raise UsageError(
            f"a script would hold {count:,} numbers; at most {MOST_NUMBERS:,} can be read\n"
            f"  most of them: {largest.name} {largest.shape}\n"
            f'  Choose one number: trace.why("…").save("why.py", framework="{framework}").'
        )
    return _source(_lines(trace, dialect, values))


def _lines(trace: Trace, dialect: Dialect, values: Mapping[str, Value]) -> list[str]:
    names = Identifiers(dialect.reserved)
    steps = list(trace.steps.values())
    title = f"Recomputes {', '.join(trace.steps)} in {dialect.title}, number for number."
    body: list[str] = []
    done: set[str] = set()
    for step in steps:
        body.append("")
        body += comment(f"{step.name}: {step.kind} of {', '.join(step.operands.values())}")
        for role, value in step.values.items():
            if value.name in values and value.name not in done:
                done.add(value.name)
                role = "linear" if (step.kind, role) == ("linear", "weight") else role  # noqa: PLW2901  (Keras turns those round)
                body += dialect.array(names.of(value.name), _numbers(value), role, value.dtype)
        made = names.of(step.name)
        variables = {role: names.of(value.name) for role, value in step.values.items()}
        lines = dialect.step(step, variables, made)
        if lines is None and not step.values:  # it reads nothing: torch.ones and the like
            lines = dialect.array(made, _numbers(step.value), "input", step.dtype)
        if lines is None:
            raise _unknown(step, dialect)
        body += [*lines, f"show({quoted(step.name)}, {dialect.numpy(made, len(step.shape))})"]
    return [
        *docstring(title),
        "",
        *dialect.head({kind_of(step) for step in steps}),
        "",
        "",
        "def show(name, numbers):",
        "    print(name)",
        "    print(numbers)",
        "    print()",
        "",
        *body,
        *_compared(steps[-1], dialect, names.of(steps[-1].name), trace.reporter),
    ]


def _compared(step: Step, dialect: Dialect, made: str, reporter: str) -> list[str]:
    """Write the comparison with what the framework returned."""
    numbers = _numbers(step.value)
    expression = dialect.numpy(made, len(step.shape))
    module = "torch" if dialect.name == "torch" else "np"
    tail = f"dtype={module}.{step.dtype if module == 'torch' else numbers.dtype})"
    head = f"returned = {module}.{'tensor' if module == 'torch' else 'array'}("
    said = f"largest difference from what {reporter} returned:"
    return [
        "",
        *comment(f"What {reporter} returned for {step.name}."),
        *call(head, numbers, tail),
        f"result = {expression}",
        f"print({quoted(said)}, float(abs(result - returned).max()))",
    ]


def _values(trace: Trace) -> dict[str, Value]:
    """Return what no step of the trace made: inputs, parameters, constants."""
    return {
        value.name: value
        for step in trace.steps.values()
        for value in step.values.values()
        if value.name not in trace.steps
    }


def _numbers(value: Value) -> NDArray[Any]:
    return np.asarray(value.box((slice(None),) * len(value.shape)))


def _unknown(step: Step, dialect: Dialect) -> UsageError:
    settings = ", ".join(f"{key}={value}" for key, value in step.attributes.items())
    others = [name for name in FRAMEWORKS if name != dialect.name]
    return UsageError(
        f"no code in {dialect.title} for {step.name}: {step.kind}({settings})\n"
        f"  Try another framework ({', '.join(others)}), or one number of it:\n"
        f'  trace.why("…").save("why.py", framework="{dialect.name}").'
    )


def _dialect(framework: str) -> Dialect:
    if framework not in FRAMEWORKS:
        raise UsageError(f"no such framework: {framework!r}\n  There are {', '.join(FRAMEWORKS)}.")
    return FRAMEWORKS[framework]


def _source(lines: Sequence[str]) -> bytes:
    """Join lines to a script, with the names of NaN and infinity where they occur."""
    extra = names_used(lines)
    if extra:
        at = next(n for n, line in enumerate(lines) if line.startswith(("import ", "from ")))
        lines = [*lines[:at], *extra, "", *lines[at:]]
    return ("\n".join(lines) + "\n").encode("utf-8")
