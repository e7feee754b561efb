"""Why a network does not suit the playground of the page, if it does not.

The page decides by itself (`web/src/adopt.ts`) and shows no playground where there can be none. The
command line says the reason; a test opens pages and compares the two.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from convtrace.graph import Trace
    from convtrace.step import Step, Value

MOST_LAYERS = 4
MOST_NUMBERS = 40_000
MOST_PRODUCTS = 4_000_000
LIMITS: Mapping[str, tuple[int, int]] = {
    "input": (1, 16),
    "size": (1, 64),
    "channels": (1, 16),
    "kernel": (1, 11),
    "stride": (1, 8),
    "padding": (0, 16),
    "dilation": (1, 8),
    "groups": (1, 16),
    "outputPadding": (0, 7),
}
"""What the playground can show: as in `web/src/settings.ts`, and a test compares them."""

_LABELS = {"input": "channels_in"}
"""Settings whose label in the catalogue (`page.playground`) has another name."""

_MODES = frozenset({"zeros", "reflect", "replicate", "circular"})

Obstacle = tuple[str, dict[str, object]]
"""A message of the catalogue below `cli.playground`, and its values."""


def obstacle(trace: Trace, left_out: Callable[[], Collection[str]]) -> Obstacle | None:
    """Say why the playground cannot begin with a network; None where it can.

    Args:
        trace: The run.
        left_out: Returns the names of tensors whose numbers the page does not hold whole. It is
            called only where everything else suits.
    """
    inputs = list(trace.inputs.values())
    if len(inputs) != 1:
        return "inputs", {"count": len(inputs)}
    found = _of_input(inputs[0])
    if found:
        return found
    layers: list[tuple[Step, tuple[int, ...]]] = []
    below, copied = inputs[0].name, None
    for step in trace.steps.values():
        if step.kind not in ("convolution", "pad") or (step.kind == "pad" and copied):
            return "step", {"name": step.name, "kind": step.kind}
        if step.operands.get("input") != below:
            return "branch", {"name": step.name, "below": below}
        below = step.name
        if step.kind == "pad":
            copied = _copied(step)
            if copied is None:
                return "pad", {"name": step.name}
            continue
        found = _of_layer(step, copied)
        if found:
            return found
        layers.append((step, copied or tuple(low for low, _ in step.attributes["padding"])))
        copied = None
    if copied:
        return "step", {"name": below, "kind": "pad"}
    if not layers:
        return "empty", {}
    if len(layers) > MOST_LAYERS:
        return "layers", {"count": len(layers), "most": MOST_LAYERS}
    return _of_sizes(inputs[0], layers) or _of_numbers(inputs[0], layers, left_out)


def _of_input(value: Value) -> Obstacle | None:
    if value.dtype != "float32":
        return "dtype", {"name": value.name, "dtype": value.dtype}
    if len(value.shape) not in (3, 4):
        return "axes", {"name": value.name, "shape": _text(value.shape)}
    if value.shape[0] != 1:
        return "batch", {"name": value.name, "count": value.shape[0]}
    return None


def _copied(step: Step) -> tuple[int, ...] | None:
    """Sizes of padding that is copied from the input; None where no playground has its like."""
    pads = step.attributes["padding"]
    if step.attributes["mode"] not in _MODES or any(low != high for low, high in pads[2:]):
        return None
    return tuple(low for low, _ in pads[2:])


def _of_layer(step: Step, copied: tuple[int, ...] | None) -> Obstacle | None:
    settings = step.attributes
    pads = settings["padding"]
    if not settings["batched"]:
        return "unbatched", {"name": step.name}
    if any(low != high for low, high in pads) or (copied and any(low for low, _ in pads)):
        return "pad", {"name": step.name}
    return None


def _of_sizes(value: Value, layers: list[tuple[Step, tuple[int, ...]]]) -> Obstacle | None:
    """The first setting that the playground cannot show."""
    _, channels, *size = value.shape

    def outside(name: str, field: str, numbers: Any) -> Obstacle | None:
        low, high = LIMITS[field]
        for number in numbers:
            if not low <= number <= high:
                return "limit", {
                    "name": name,
                    "field": _LABELS.get(field, field),
                    "value": number,
                    "most": high,
                }
        return None

    found = outside(value.name, "input", [channels]) or outside(value.name, "size", size)
    for step, padding in layers:
        settings = step.attributes
        weight = step.values["weight"].shape
        kernel = weight[2:]
        found = found or (
            outside(step.name, "channels", [step.shape[1]])
            or outside(step.name, "kernel", kernel)
            or outside(step.name, "stride", settings["stride"])
            or outside(step.name, "padding", padding)
            or outside(step.name, "dilation", settings["dilation"])
            or outside(step.name, "groups", [settings["groups"]])
            or outside(step.name, "outputPadding", settings["output_padding"])
        )
        if found:
            return found
        numbers = _product(step.shape[1:])
        reads = step.values["input"].shape[1] // settings["groups"]
        products = numbers * reads * _product(kernel)
        if numbers > MOST_NUMBERS or products > MOST_PRODUCTS:
            return "large", {
                "name": step.name,
                "numbers": f"{numbers:,}",
                "products": f"{products:,}",
                "most": f"{MOST_NUMBERS:,}",
                "products_most": f"{MOST_PRODUCTS:,}",
            }
    return found


def _of_numbers(
    value: Value,
    layers: list[tuple[Step, tuple[int, ...]]],
    left_out: Callable[[], Collection[str]],
) -> Obstacle | None:
    absent = left_out()
    given = [value]
    for step, _ in layers:
        given += [step.values[role] for role in ("weight", "bias") if role in step.values]
    for one in given:
        if one.dtype != "float32":
            return "dtype", {"name": one.name, "dtype": one.dtype}
        if one.name in absent:
            return "numbers", {"name": one.name}
    return None


def _product(sizes: tuple[int, ...]) -> int:
    total = 1
    for size in sizes:
        total *= size
    return total


def _text(shape: tuple[int, ...]) -> str:
    return "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"
