"""Hyperparameters that were not given: found from the shapes where these allow it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from convtrace.errors import ShapeError
from convtrace.frontends.convolution import canonical
from convtrace.geometry import Axis, output_size

Shapes = Mapping[str, tuple[int, ...]]

_DEFAULTS: dict[str, Any] = {
    "stride": 1,
    "padding": 0,
    "dilation": 1,
    "groups": 1,
    "transposed": False,
    "output_padding": 0,
}


def guess(
    name: str, shapes: Shapes, observed: tuple[int, ...], given: Mapping[str, Any]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Complete the settings so that the output has the observed shape, if any settings do.

    Args:
        name: Name of the layer, for messages.
        shapes: Shapes of `x`, `weight` and `bias`.
        observed: Shape of the output.
        given: Settings that were given; they stay as they are.

    Returns:
        All settings, and the names of those that are not what they are by default: they were
        found, here from the shapes alone. Where nothing fits, the defaults.
    """
    settings = {**_DEFAULTS, **given}
    x, weight = shapes["x"], shapes["weight"]
    axes = len(weight) - 2
    if axes < 1 or len(x) not in (axes + 1, axes + 2):
        return settings, ()
    channels = x[-axes - 1]
    if "groups" not in given and "transposed" not in given:
        out = observed[-axes - 1] if len(observed) > axes else 0
        fits = channels % weight[1] == 0 and weight[0] == out
        if not fits and weight[0] == channels and out and out % weight[1] == 0:
            settings |= {"transposed": True, "groups": out // weight[1]}
        elif weight[1] and channels % weight[1] == 0:
            settings["groups"] = channels // weight[1]
    elif "groups" not in given and not settings["transposed"] and channels % weight[1] == 0:
        settings["groups"] = channels // weight[1]
    if "groups" in given or settings["groups"] < 1 or weight[0] % settings["groups"]:
        settings["groups"] = given.get("groups", 1)
    some = any(name in given for name in ("stride", "padding", "dilation", "output_padding"))
    if some or _fits(name, shapes, settings, observed):
        return settings, _changed(settings, given)
    for choice in choices(shapes, observed, settings, given):
        settings |= choice
        break
    return settings, _changed(settings, given)


def _changed(settings: Mapping[str, Any], given: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(
        name
        for name, value in settings.items()
        if name not in given and not _is_default(value, _DEFAULTS[name])
    )


def _is_default(value: Any, default: Any) -> bool:
    if isinstance(value, tuple):
        return all(_is_default(one, default) for one in value)
    return bool(value == default)


def _fits(
    name: str, shapes: Shapes, settings: Mapping[str, Any], observed: tuple[int, ...]
) -> bool:
    try:
        _, shape = canonical(name, shapes["x"], shapes["weight"], shapes.get("bias"), **settings)
    except ShapeError:
        return True  # the caller meets the same error and raises it
    if sorted(shape) == sorted(observed):
        return True  # the axes may be in another order
    return shape == (1, *observed) or (1, *shape) == observed


def choices(
    shapes: Shapes,
    observed: tuple[int, ...],
    settings: Mapping[str, Any],
    given: Mapping[str, Any],
) -> Iterator[dict[str, Any]]:
    """List stride, padding, dilation and output padding that give the observed spatial sizes.

    The likely ones come first: the same on all axes, small strides, even padding.
    """
    axes = len(shapes["weight"]) - 2
    if len(observed) < axes + 1:
        return
    per_axis = [
        _axis_choices(axis, axes, shapes, observed, settings, given) for axis in range(axes)
    ]
    if not all(per_axis):
        return
    ranked: list[tuple[float, tuple[Axis, ...]]] = []
    for row in itertools.islice(itertools.product(*per_axis), 20000):
        uneven = len({(a.stride, a.dilation) for a in row}) - 1
        cost = sum(map(_cost, row)) + 4 * uneven + (len({a.padding for a in row}) - 1)
        ranked.append((cost, row))
    ranked.sort(key=lambda pair: pair[0])
    for _, row in ranked:
        yield {
            "stride": tuple(a.stride for a in row),
            "padding": tuple(a.padding for a in row),
            "dilation": tuple(a.dilation for a in row),
            "output_padding": tuple(a.output_padding for a in row),
        }


def _cost(axis: Axis) -> float:
    low, high = axis.padding
    same = low + high == axis.extent - 1
    return (
        axis.stride
        + 2 * (axis.dilation - 1)
        + 0.5 * abs(high - low)
        + (0.25 if same else 0.5 if low or high else 0)
        + axis.output_padding
    )


def _axis_choices(
    axis: int,
    axes: int,
    shapes: Shapes,
    observed: tuple[int, ...],
    settings: Mapping[str, Any],
    given: Mapping[str, Any],
) -> list[Axis]:
    kernel = shapes["weight"][2 + axis]
    size, out = shapes["x"][axis - axes], observed[axis - axes]

    def options(name: str, values: range) -> list[int]:
        if name not in given:
            return list(values)
        value = given[name]
        try:
            return [int(value)]
        except TypeError:
            return [int(value[axis if len(value) > 1 else 0])]

    transposed = bool(settings["transposed"])
    found: list[Axis] = []
    for stride in options("stride", range(1, 9)):
        for dilation in options("dilation", range(1, 5 if kernel > 1 else 2)):
            extent = dilation * (kernel - 1) + 1
            for extra in options("output_padding", range(stride if transposed else 1)):
                for low, high in _pads(given, axis, extent):
                    one = Axis(kernel, stride, (low, high), dilation, transposed, extra)
                    if output_size(one, size) == out:
                        found.append(one)
    return sorted(found, key=_cost)[:60]


def _pads(given: Mapping[str, Any], axis: int, extent: int) -> list[tuple[int, int]]:
    if "padding" in given:
        value = given["padding"]
        if isinstance(value, str):
            total = extent - 1 if value == "same" else 0
            return [(total // 2, total - total // 2)]
        try:
            return [(int(value), int(value))]
        except TypeError:
            entry = value[axis if len(value) > 1 else 0]
        try:
            return [(int(entry), int(entry))]
        except TypeError:
            return [(int(entry[0]), int(entry[1]))]
    most = min(extent, 8)
    pads = [(p, p) for p in range(most + 1)]
    pads += [(a, b) for a in range(most + 1) for b in range(most + 1) if a != b and abs(a - b) <= 1]
    return pads
