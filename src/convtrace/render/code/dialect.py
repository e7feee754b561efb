"""What every framework has to say about a step, so that a script can recompute it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from convtrace.step import Step


class Dialect(Protocol):
    """One framework."""

    @property
    def name(self) -> str:
        """`torch`, `numpy`, `jax` or `keras`."""
        ...

    @property
    def title(self) -> str:
        """Its name in sentences."""
        ...

    @property
    def reserved(self) -> tuple[str, ...]:
        """Names that no variable may take."""
        ...

    def head(self, kinds: set[str]) -> list[str]:
        """Return imports, remarks and helper functions for steps of these kinds."""
        ...

    def array(self, variable: str, numbers: NDArray[Any], role: str, dtype: str) -> list[str]:
        """Return lines that make a tensor; `role` is `input`, `weight` and so on."""
        ...

    def step(self, step: Step, variables: Mapping[str, str], made: str) -> list[str] | None:
        """Return lines that compute a step; None where this framework has no like.

        Args:
            step: The step.
            variables: Variables of its operands, by role.
            made: Variable of its output.
        """
        ...

    def numpy(self, variable: str, axes: int) -> str:
        """Return an expression: the tensor as NumPy has it, channels first."""
        ...


def kind_of(step: Step) -> str:
    """Return the kind that scripts are written by: moves that only reshape are `reshape`."""
    if step.kind == "convolution":
        return "transposed" if step.attributes["transposed"] else "convolution"
    if step.kind == "pad":
        return "pad"
    if step.sources is not None:
        places = step.sources()
        is_same = len(step.moved) == 1 and np.array_equal(places.ravel(), np.arange(places.size))
        return "reshape" if is_same else step.kind
    return step.kind


def spatial(step: Step) -> int:
    """Return the number of spatial axes of a convolution."""
    return len(step.attributes["stride"])


def is_simple_pool(step: Step) -> bool:
    """Whether the windows of a pool lie inside the input, and none hangs over its end."""
    settings = step.attributes
    pads = _numbers(settings.get("padding") or 0)
    gaps = _numbers(settings.get("dilation") or 1)
    divisor = settings.get("divisor_override")
    return set(pads) == {0} and set(gaps) == {1} and not settings["ceil_mode"] and not divisor


def pool_settings(step: Step) -> dict[str, tuple[int, ...]]:
    """Return kernel, stride, padding and dilation of a pool, one number an axis."""
    axes = 2 if "2d" in step.kind else 3 if "3d" in step.kind else 1
    found: dict[str, tuple[int, ...]] = {}
    for key, usual in (("kernel_size", 1), ("stride", None), ("padding", 0), ("dilation", 1)):
        value = step.attributes.get(key) or usual
        numbers = _numbers(found["kernel_size"] if value is None else value)
        found[key] = numbers * axes if len(numbers) == 1 else numbers
    return found


def _numbers(value: Any) -> tuple[int, ...]:
    return (int(value),) if isinstance(value, int) else tuple(int(n) for n in value)


def arithmetic(step: Step, variables: Mapping[str, str]) -> str | None:
    """Write a sum, difference or product of tensors and constants."""
    signs = {"add": "+", "sub": "-", "mul": "*"}
    other = variables.get("other") or repr(step.attributes.get("other"))
    if step.kind not in signs or other == "None" or "self" not in variables:
        return None
    alpha = step.attributes.get("alpha", 1)
    scaled = other if alpha in (1, None) else f"{alpha!r} * {other}"
    return f"{variables['self']} {signs[step.kind]} {scaled}"
