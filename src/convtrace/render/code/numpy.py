"""Scripts in NumPy, with the loops in sight: they go through the terms of a receipt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from convtrace.render.code.dialect import arithmetic, is_simple_pool, kind_of, pool_settings
from convtrace.render.code.text import call
from convtrace.step import Step

CONVOLUTION = '''\
def convolution(x, weight, bias, stride, padding, dilation, groups):
    """Add input × weight, for every output number."""
    reads, kernel = weight.shape[1], weight.shape[2:]
    writes = weight.shape[0] // groups
    size = [
        (n + low + high - d * (k - 1) - 1) // s + 1
        for n, k, s, (low, high), d in zip(x.shape[2:], kernel, stride, padding, dilation)
    ]
    out = np.zeros((x.shape[0], weight.shape[0], *size))
    for n, o, *place in np.ndindex(out.shape):
        total = 0.0
        for c in range(reads):
            channel = o // writes * reads + c
            for tap in np.ndindex(kernel):
                source = [
                    p * s - low + t * d
                    for p, t, s, (low, _), d in zip(place, tap, stride, padding, dilation)
                ]
                if all(0 <= i < many for i, many in zip(source, x.shape[2:])):  # else padding: 0
                    total += float(x[(n, channel, *source)]) * float(weight[(o, c, *tap)])
        out[(n, o, *place)] = total + (0.0 if bias is None else float(bias[o]))
    return out
'''

TRANSPOSED = '''\
def transposed_convolution(x, weight, bias, stride, padding, dilation, groups, output_padding):
    """Add input × weight, for every output number; a tap between inputs reads nothing."""
    reads, writes, kernel = x.shape[1] // groups, weight.shape[1], weight.shape[2:]
    size = [
        (n - 1) * s - low - high + d * (k - 1) + 1 + more
        for n, k, s, (low, high), d, more in zip(
            x.shape[2:], kernel, stride, padding, dilation, output_padding
        )
    ]
    out = np.zeros((x.shape[0], writes * groups, *size))
    for n, o, *place in np.ndindex(out.shape):
        total = 0.0
        for c in range(reads):
            channel = o // writes * reads + c
            for tap in np.ndindex(kernel):
                steps = [
                    p + low - t * d for p, t, (low, _), d in zip(place, tap, padding, dilation)
                ]
                source = [i // s for i, s in zip(steps, stride)]
                hits = all(i % s == 0 for i, s in zip(steps, stride))
                if hits and all(0 <= i < many for i, many in zip(source, x.shape[2:])):
                    factor = float(weight[(channel, o % writes, *tap)])
                    total += float(x[(n, channel, *source)]) * factor
        out[(n, o, *place)] = total + (0.0 if bias is None else float(bias[o]))
    return out
'''

POOL = '''\
def pool(x, size, kernel, stride, padding, dilation, take):
    """Take the largest number, or the mean, of every window."""
    out = np.zeros((*x.shape[: -len(size)], *size))
    for place in np.ndindex(out.shape):
        outer, inner = place[: -len(size)], place[-len(size) :]
        found = []
        for tap in np.ndindex(kernel):
            taps = zip(inner, tap, stride, padding, dilation)
            source = [p * s - low + t * d for p, t, s, low, d in taps]
            if all(0 <= i < many for i, many in zip(source, x.shape[-len(size) :])):
                found.append(float(x[(*outer, *source)]))
        out[place] = take(found)
    return out
'''

_HELPERS = {"convolution": CONVOLUTION, "transposed": TRANSPOSED}

UNARY = {
    "relu": "{np}.maximum({x}, 0)",
    "sigmoid": "1 / (1 + {np}.exp(-{x}))",
    "tanh": "{np}.tanh({x})",
    "silu": "{x} / (1 + {np}.exp(-{x}))",
}

PAD_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


class NumPy:
    """Says steps in NumPy."""

    name = "numpy"
    title = "NumPy"
    reserved = ("np", "show", "returned", "result", "convolution", "transposed_convolution", "pool")

    def head(self, kinds: set[str]) -> list[str]:
        """Return the import and the loops that are needed."""
        lines = ["import numpy as np"]
        helpers = [text for kind, text in _HELPERS.items() if kind in kinds]
        if any("_pool" in kind for kind in kinds):
            helpers.append(POOL)
        for text in helpers:
            lines += ["", "", *text.rstrip("\n").splitlines()]
        return [*lines, "", ""] if helpers else lines

    def array(self, variable: str, numbers: NDArray[Any], role: str, dtype: str) -> list[str]:
        """Make an array of the type that ran; loops compute in float64."""
        kind = dtype if dtype == str(numbers.dtype) else str(numbers.dtype)
        return call(f"{variable} = np.array(", numbers, f"dtype=np.{kind})")

    def numpy(self, variable: str, axes: int) -> str:
        """Return the array itself."""
        return variable

    def step(self, step: Step, variables: Mapping[str, str], made: str) -> list[str] | None:
        """Write a step."""
        kind, a = kind_of(step), step.attributes
        x = variables.get("input") or variables.get("self", "")
        if kind in ("convolution", "transposed"):
            return _convolution(step, variables, made)
        if "_pool" in kind and "adaptive" not in kind:
            return _pool(step, x, made)
        return common(step, variables, made, "np", a)


def common(
    step: Step, variables: Mapping[str, str], made: str, module: str, a: Mapping[str, Any]
) -> list[str] | None:
    """Write what NumPy and JAX say alike."""
    kind = kind_of(step)
    x = variables.get("input") or variables.get("self", "")
    if kind in UNARY:
        return [f"{made} = {UNARY[kind].format(x=x, np=module)}"]
    if kind == "reshape":
        return [f"{made} = {x}.reshape{step.shape}"]
    if kind == "pad" and a["mode"] in PAD_MODES:
        value = f", constant_values={a['value'] or 0!r}" if a["mode"] == "constant" else ""
        pads = tuple(tuple(pair) for pair in a["padding"])
        return [f'{made} = {module}.pad({x}, {pads}, mode="{PAD_MODES[a["mode"]]}"{value})']
    if kind == "linear":
        bias = f" + {variables['bias']}" if "bias" in variables else ""
        return [f"{made} = {x} @ {variables['weight']}.T{bias}"]
    if kind == "native_batch_norm" and not a["training"]:
        shape = (1, -1, *(1,) * (len(step.shape) - 2))
        parts = {role: f"{variables[role]}.reshape{shape}" for role in variables if role != "input"}
        mean, variance = parts["running_mean"], parts["running_var"]
        lines = [f"{made} = ({x} - {mean}) / {module}.sqrt({variance} + {a['eps']!r})"]
        if "weight" in parts:
            lines.append(f"{made} = {made} * {parts['weight']} + {parts['bias']}")
        return lines
    text = arithmetic(step, variables)
    return None if text is None else [f"{made} = {text}"]


def _convolution(step: Step, variables: Mapping[str, str], made: str) -> list[str]:
    a = step.attributes
    x = variables["input"] if a["batched"] else f"{variables['input']}[None]"
    function = "transposed_convolution" if a["transposed"] else "convolution"
    more = f", {a['output_padding']}" if a["transposed"] else ""
    first = "" if a["batched"] else "[0]"
    return [
        f"{made} = {function}({x}, {variables['weight']}, {variables.get('bias', 'None')},",
        f"    {a['stride']}, {a['padding']}, {a['dilation']}, {a['groups']}{more}){first}",
    ]


def _pool(step: Step, x: str, made: str) -> list[str] | None:
    is_max = step.kind.startswith("max")
    if not is_max and not is_simple_pool(step):
        return None
    s = pool_settings(step)
    size = step.shape[-len(s["stride"]) :]
    return [
        f"{made} = pool({x}, {size}, {s['kernel_size']}, {s['stride']}, {s['padding']},",
        f"    {s['dilation']}, {'max' if is_max else 'np.mean'})",
    ]
