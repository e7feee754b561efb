"""Scripts in JAX."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from convtrace.render.code.dialect import is_simple_pool, kind_of, pool_settings, spatial
from convtrace.render.code.numpy import common
from convtrace.render.code.text import call
from convtrace.step import Step

_AXES = "DHW"


class Jax:
    """Says steps in JAX."""

    name = "jax"
    title = "JAX"
    reserved = ("jax", "jnp", "lax", "np", "show", "returned", "result")

    def head(self, kinds: set[str]) -> list[str]:
        """Return the imports; without x64, JAX would round every number to float32."""
        lines = [
            "import jax",
            "import jax.numpy as jnp",
            "import numpy as np",
            "from jax import lax",
        ]
        return [*lines, "", 'jax.config.update("jax_enable_x64", True)']

    def array(self, variable: str, numbers: NDArray[Any], role: str, dtype: str) -> list[str]:
        """Make a float64 array of the numbers that ran."""
        tail = f"dtype=jnp.{numbers.dtype})"
        lines = call(f"{variable} = jnp.array(", numbers, tail)
        if numbers.dtype.kind == "f" and numbers.dtype.itemsize < 8:
            lines[-1] += ".astype(jnp.float64)"
        return lines

    def numpy(self, variable: str, axes: int) -> str:
        """Return the array itself: lax keeps the axes that it is told."""
        return variable

    def step(self, step: Step, variables: Mapping[str, str], made: str) -> list[str] | None:
        """Write a step."""
        kind = kind_of(step)
        x = variables.get("input") or variables.get("self", "")
        if kind in ("convolution", "transposed"):
            return _convolution(step, variables, made)
        if "_pool" in kind and "adaptive" not in kind:
            return _pool(step, x, made)
        return common(step, variables, made, "jnp", step.attributes)


def _convolution(step: Step, variables: Mapping[str, str], made: str) -> list[str]:
    a, axes = step.attributes, spatial(step)
    x = variables["input"] if a["batched"] else f"{variables['input']}[None]"
    first = "" if a["batched"] else "[0]"
    letters = _AXES[-axes:]
    numbers = f'("NC{letters}", "OI{letters}", "NC{letters}")'
    weight, lines = variables["weight"], list[str]()
    if a["transposed"]:
        turned = f"{made}_weight"
        shape, groups = step.values["weight"].shape, a["groups"]
        split = (groups, shape[0] // groups, *shape[1:])
        joined = (groups * shape[1], shape[0] // groups, *shape[2:])
        lines += [
            "# lax.conv_general_dilated spreads the input and turns the kernel round:",
            f"{turned} = {weight}.reshape{split}.swapaxes(1, 2).reshape{joined}",
            f"{turned} = jnp.flip({turned}, {tuple(range(2, 2 + axes))})",
        ]
        reach = [d * (k - 1) for d, k in zip(a["dilation"], shape[2:], strict=True)]
        pads = [
            (r - low, r - high + more)
            for r, (low, high), more in zip(reach, a["padding"], a["output_padding"], strict=True)
        ]
        weight, stride, spread = turned, (1,) * axes, f", lhs_dilation={a['stride']}"
    else:
        pads, stride, spread = [tuple(pair) for pair in a["padding"]], a["stride"], ""
    lines += [
        f"{made} = lax.conv_general_dilated(",
        f"    {x}, {weight}, {stride}, {pads}{spread},",
        f"    rhs_dilation={a['dilation']}, dimension_numbers={numbers},",
        f"    feature_group_count={a['groups']},",
        f"){first}",
    ]
    if "bias" in variables:
        shape = (-1, *(1,) * axes)
        lines.append(f"{made} = {made} + {variables['bias']}.reshape{shape}")
    return lines


def _pool(step: Step, x: str, made: str) -> list[str] | None:
    s = pool_settings(step)
    axes, is_max = len(s["stride"]), step.kind.startswith("max")
    if not is_max and not is_simple_pool(step):
        return None
    outer = (1,) * (len(step.shape) - axes)
    sizes = zip(
        step.values["self"].shape[-axes:], step.shape[-axes:], s["kernel_size"], s["stride"],
        s["padding"], s["dilation"], strict=True,
    )  # fmt: skip
    pads = [(0, 0)] * len(outer) + [
        (low, max((out - 1) * stride + d * (k - 1) + 1 - n - low, 0))
        for n, out, k, stride, low, d in sizes
    ]
    start, take = ("-jnp.inf", "lax.max") if is_max else ("0.0", "lax.add")
    count = 1
    for k in s["kernel_size"]:
        count *= k
    return [
        f"{made} = lax.reduce_window(",
        f"    {x}, {start}, {take}, {(*outer, *s['kernel_size'])}, {(*outer, *s['stride'])},",
        f"    {pads}, window_dilation={(*outer, *s['dilation'])},",
        ")" if is_max else f") / {count}",
    ]
