"""From the nodes of an ONNX graph to canonical, named steps."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from convtrace.arithmetic import plain
from convtrace.errors import ConvtraceError
from convtrace.exact import FORMATS
from convtrace.frontends.onnx_forms import Call, Form, Replay, Translator
from convtrace.frontends.onnx_layers import LAYERS
from convtrace.frontends.onnx_moves import MOVES
from convtrace.frontends.onnx_pointwise import POINTWISE
from convtrace.frontends.onnx_quantized import QUANTIZED
from convtrace.frontends.onnx_resize import RESAMPLING
from convtrace.frontends.onnx_run import Node, Run
from convtrace.frontends.onnx_windows import WINDOWS
from convtrace.graph import Parts
from convtrace.rules import status_of
from convtrace.step import Inside, Step, Value

TRANSLATORS: Mapping[str, Translator] = MappingProxyType(
    {**WINDOWS, **POINTWISE, **LAYERS, **MOVES, **RESAMPLING, **QUANTIZED}
)
"""Translators by type of a standard operator. Any other node is opaque."""

CONVOLUTIONS = frozenset({"Conv", "ConvTranspose", "QLinearConv", "ConvInteger"})
"""Operators that are convolutions."""

TOLERANCES = {"float16": 1e-2, "float32": 1e-3, "float64": 1e-6}
"""How far a step that is run again may be off, relative to the largest number of its output."""

_FAILURES = (
    ConvtraceError,
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
)


@dataclass(frozen=True)
class Translated:
    """What became of a graph.

    Attributes:
        parts: Steps, other values, other names.
        differing: Names of steps that could not be run again with the same result, and so are
            opaque.
    """

    parts: Parts
    differing: tuple[str, ...]


def translate(run: Run, inside: frozenset[str] = frozenset()) -> Translated:
    """Make a step of every node whose output depends on an input's numbers.

    Args:
        run: The run.
        inside: Names of values that lie inside fused nodes.
    """
    names = _Names(run)
    values: dict[str, Value] = {}
    for name in run.inputs:
        values[name] = Value(names.of(name), run.values[name], "input")
    steps: list[Step] = []
    aliases: dict[str, str] = {}
    differing: list[str] = []
    for node in run.nodes:
        for number, name in enumerate(node.outputs):
            if name not in run.dynamic or name not in run.values or not run.values[name].size:
                continue
            call = Call(node, number, run)
            form = _form(call)
            found = _values_of(form, run, names, values)
            step_name = names.step(node, number)
            made = Inside if name in inside else Value
            values[name] = made(step_name, run.values[name])
            difference = _difference(form, found, run.values[name])
            if difference is not None:
                differing.append(step_name)
                form = _opaque(call, {"difference": difference})
                found = _values_of(form, run, names, values)
            steps.append(_step(call, form, values[name], found))
            aliases[sanitized(name)] = step_name
    taken = {value.name for value in values.values()}
    aliases = {alias: name for alias, name in aliases.items() if alias not in taken}
    others = [value for value in values.values() if value.origin != "step"]
    return Translated(Parts(steps, others, aliases), tuple(differing))


def _form(call: Call) -> Form:
    """Put a node into canonical form, or into the one of an opaque step."""
    translator = None if call.node.domain else TRANSLATORS.get(call.node.op)
    form = None
    if translator is not None:
        try:
            form = translator(call)
        except _FAILURES:
            form = None
    if form is None or any(name not in call.run.values for name in form.operands.values()):
        return _opaque(call, {})
    several = sum(map(bool, call.node.outputs)) > 1
    if not several:
        return form
    attributes = {**form.attributes, "output": call.number}
    return Form(form.kind, attributes, form.operands, form.replay, form.moved, form.fill)


def _opaque(call: Call, more: Mapping[str, Any]) -> Form:
    """Make the form of a step that is shown by name only."""
    makers = {name: node for node in call.run.nodes for name in node.outputs if name}
    read = dict.fromkeys(_numbers_below((*call.node.inputs, *call.node.captured), call.run, makers))
    operands = {str(place): name for place, name in enumerate(read)}
    plain_attributes = {
        name: value for name, value in call.attributes.items() if not isinstance(value, np.ndarray)
    }
    domain = call.node.domain or "onnx"
    return Form(f"{domain}::{call.node.op}", {**plain_attributes, **more}, operands)


def _numbers_below(names: Iterable[str], run: Run, makers: Mapping[str, Node]) -> Iterable[str]:
    """Yield the tensors of numbers among some values; a list of tensors stands for its own."""
    for name in names:
        if name in run.values:
            if run.values[name].size:
                yield name
        elif name in makers:
            maker = makers[name]
            yield from _numbers_below((*maker.inputs, *maker.captured), run, makers)


def _values_of(form: Form, run: Run, names: _Names, values: dict[str, Value]) -> dict[str, Value]:
    """Return the operands of a form, making those that no step made."""
    for name in form.operands.values():
        if name not in values:
            origin = "parameter" if name in run.initializers else "constant"
            values[name] = Value(names.of(name), run.values[name], origin)
    return {role: values[name] for role, name in form.operands.items()}


def _step(call: Call, form: Form, value: Value, operands: Mapping[str, Value]) -> Step:
    moves_numbers = bool(form.moved)
    exact = form.kind in _INTEGER_KINDS or value.dtype not in FORMATS
    return Step(
        name=value.name,
        kind=form.kind,
        attributes=form.attributes,
        values=operands,
        value=value,
        status=status_of(form.kind, moves_numbers=moves_numbers),
        arithmetic=None if exact else plain(value.dtype),
        replay=form.replay,
        sources=_sources(form, operands) if moves_numbers and form.replay else None,
        moved=form.moved,
    )


_INTEGER_KINDS = frozenset(
    "qlinear_conv qlinear_matmul conv_integer matmul_integer quantize_linear qdq_conv".split()
)


def _sources(form: Form, operands: Mapping[str, Value]) -> Callable[[], NDArray[np.int64]]:
    """Say where the numbers of a moving step come from, by moving positions instead."""
    replay: Replay | None = form.fill or form.replay
    assert replay is not None

    @functools.cache
    def numbers() -> NDArray[np.int64]:
        found: dict[str, torch.Tensor] = {}
        offset = 0
        for role, value in operands.items():
            if role not in form.moved:
                found[role] = value.tensor()
                continue
            size = int(np.prod(value.shape, dtype=np.int64))
            places = torch.arange(offset, offset + size, dtype=torch.float64)
            found[role] = places.reshape(value.shape)
            offset += size
        with torch.no_grad():
            return replay(found).numpy().astype(np.int64)

    return numbers


# Whether a step does what onnxruntime did --------------------------------------------------------


def _difference(form: Form, operands: Mapping[str, Value], output: NDArray[Any]) -> str | None:
    """Run a step again and compare; say what differs if it is more than rounding.

    Receipts of integers are certified to the last bit one by one, so they are not judged here.
    """
    if form.replay is None or form.kind in _INTEGER_KINDS:
        return None
    read = {role: _wide(value.tensor()) for role, value in operands.items()}
    try:
        with torch.no_grad():
            again = form.replay(read).to(torch.float64).numpy()
    except _FAILURES as error:
        return f"{type(error).__name__}: {error}".split("\n")[0]
    if again.shape != output.shape:
        return f"shape {again.shape} instead of {output.shape}"
    recorded = output.astype(np.float64)
    finite = np.isfinite(recorded)
    size = float(np.abs(recorded[finite]).max(initial=0.0))
    allowed = TOLERANCES.get(str(output.dtype), 0.0) * size
    with np.errstate(invalid="ignore"):
        far = finite & ~(np.abs(again - recorded) <= allowed)
    if not far.any():
        return None
    worst = tuple(int(n) for n in np.argwhere(far)[0])
    return f"{again[worst]:g} instead of {recorded[worst]:g} at {list(worst)}"


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    """Return half-precision numbers in float32, which every operator takes."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


# Names -------------------------------------------------------------------------------------------


def sanitized(name: str) -> str:
    """Replace what an address cannot hold: brackets, blanks at the ends, control characters.

    Example:
        >>> sanitized("layers[0]/Conv ")
        'layers_0_/Conv'
    """
    clean = re.sub(r"[\[\]]", "_", "".join(c if c.isprintable() else "_" for c in name)).strip()
    return clean or "_"


class _Names:
    """Names of steps and of what they read: those of the file, told apart where they collide."""

    def __init__(self, run: Run) -> None:
        self._known: dict[str, str] = {}
        self._taken: set[str] = set()
        self._bases: dict[int, str] = {}
        self._counts = Counter(sanitized(node.name) for node in run.nodes if node.name)
        made = {name for node in run.nodes for name in node.outputs}
        given = [*run.inputs, *sorted(run.initializers - made)]
        for name in (*given, *sorted(made - run.dynamic)):
            if name:
                self.of(name)

    def of(self, name: str) -> str:
        """Return the name of a value that no step made."""
        if name not in self._known:
            self._known[name] = self._unique(sanitized(name))
        return self._known[name]

    def step(self, node: Node, number: int) -> str:
        """Return a name for a step: that of its node, or its operator's with a number."""
        if id(node) not in self._bases:
            name = sanitized(node.name) if node.name else ""
            if not name or self._counts[name] > 1 or name in self._taken:
                name = node.op.lower()
            self._bases[id(node)] = self._unique(name)
        base = self._bases[id(node)]
        return base if number == 0 else self._unique(f"{base}.{number}")

    def _unique(self, name: str) -> str:
        number, candidate = 1, name
        while candidate in self._taken:
            number += 1
            candidate = f"{name}:{number}"
        self._taken.add(candidate)
        return candidate
