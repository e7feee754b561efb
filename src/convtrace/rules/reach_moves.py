"""Reach of the steps that only move numbers: reshape, permute, slice, concatenate, pad."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from types import MappingProxyType

import numpy as np

from convtrace.rules.reading import Chain, Line, Read, Reading, Rule, broadcast, same, whole
from convtrace.step import Step

Shape = tuple[int, ...]


def _one(step: Step) -> tuple[str, Shape]:
    """Return role and shape of the operand that is moved."""
    role = "self" if "self" in step.values else "input"
    return role, step.values[role].shape


# Axes change their order or number ----------------------------------------------------------------


def _reshape(step: Step) -> Mapping[str, Chain] | None:
    role, shape = _one(step)
    out = step.shape
    if math.prod(shape) != math.prod(out):
        return None  # the same bytes under another element type
    if shape == out:
        return {role: (tuple(same(len(shape))),)}
    merged, split = [Read()] * len(shape), list[Read]()
    for place, (olds, news) in enumerate(_blocks(shape, out)):
        for axis, inner, size in _digits(shape, olds):
            merged[axis] = Read((_digit(place, inner, size, outermost=axis == olds[0]),))
        lines = (Line(axis, inner) for axis, inner, _ in _digits(out, news))
        split.append(Read(tuple(lines)))
    return {role: (tuple(merged), tuple(split))}


def _blocks(shape: Shape, out: Shape) -> Iterator[tuple[list[int], list[int]]]:
    """Pair the smallest runs of axes that hold equally many numbers; axes of size 1 fall out.

    Example:
        >>> list(_blocks((1, 8, 3, 4), (1, 2, 4, 12)))
        [([1], [1, 2]), ([2, 3], [3])]
    """
    old = [axis for axis, size in enumerate(shape) if size != 1]
    new = [axis for axis, size in enumerate(out) if size != 1]
    while old:
        olds, news = [old.pop(0)], [new.pop(0)]
        left, right = shape[olds[0]], out[news[0]]
        while left != right:
            if left < right:
                olds.append(old.pop(0))
                left *= shape[olds[-1]]
            else:
                news.append(new.pop(0))
                right *= out[news[-1]]
        yield olds, news


def _digits(shape: Shape, axes: list[int]) -> Iterator[tuple[int, int, int]]:
    """Yield axis, numbers per position of it, and size, for axes that are read as one."""
    inner = math.prod(shape[axis] for axis in axes)
    for axis in axes:
        inner //= shape[axis]
        yield axis, inner, shape[axis]


def _digit(axis: int, inner: int, size: int, *, outermost: bool) -> Line:
    """Return position `o // inner % size` on an axis, for position `o` of the merged axes."""
    if outermost:
        return Line(axis, 1, ((0,),) * inner)
    return Line(axis, 0, tuple((o // inner,) for o in range(inner * size)))


def _permute(step: Step) -> Mapping[str, Chain]:
    role, shape = _one(step)
    axes = len(shape)
    if "dims" in step.attributes:
        order = [d % axes for d in step.attributes["dims"]]
    else:
        order = list(range(axes))
        one, two = (step.attributes.get(f"dim{n}", n) % max(axes, 1) for n in (0, 1))
        if axes > 1:
            order[one], order[two] = two, one
    return {role: (tuple(Read((Line(order.index(axis)),)) for axis in range(axes)),)}


def _squeeze(step: Step) -> Mapping[str, Chain]:
    role, shape = _one(step)
    dim = step.attributes.get("dim", tuple(range(len(shape))))
    named = {d % len(shape) for d in (dim if isinstance(dim, tuple) else (dim,))}
    kept = [axis for axis, size in enumerate(shape) if size != 1 or axis not in named]
    places = {axis: Read((Line(place),)) for place, axis in enumerate(kept)}
    return {role: (tuple(places.get(axis, Read()) for axis in range(len(shape))),)}


def _unsqueeze(step: Step) -> Mapping[str, Chain]:
    """Put in an axis of size 1; `view_as_real` puts in a last one of size 2."""
    role, shape = _one(step)
    return {role: (_without(len(shape) + 1, step.attributes.get("dim", -1)),)}


def _stack(step: Step) -> Mapping[str, Chain]:
    reading = _without(len(step.shape), step.attributes.get("dim", 0))
    return dict.fromkeys(step.values, (reading,))


def _without(axes: int, dim: int) -> Reading:
    reads = same(axes)
    del reads[dim % axes]
    return tuple(reads)


def _expand(step: Step) -> Mapping[str, Chain]:
    role, shape = _one(step)
    return {role: (broadcast(shape, step.shape),)}


def _view_as_complex(step: Step) -> Mapping[str, Chain]:
    role, shape = _one(step)
    return {role: ((*same(len(shape) - 1), whole(2)),)}  # real and imaginary part


# Positions are chosen -----------------------------------------------------------------------------


def _along(step: Step, axis: int, read: Read) -> Mapping[str, Chain]:
    """Read one axis in a way of its own, and the others at the output's position."""
    role, shape = _one(step)
    reads = same(len(shape))
    reads[axis] = read
    return {role: (tuple(reads),)}


def _slice(step: Step) -> Mapping[str, Chain]:
    _, shape = _one(step)
    axis = step.attributes.get("dim", 0) % len(shape)
    start = step.attributes.get("start") or 0
    start = min(max(start + shape[axis] if start < 0 else start, 0), shape[axis])
    return _along(step, axis, Read((Line(axis, step.attributes.get("step", 1), ((start,),)),)))


def _split(step: Step) -> Mapping[str, Chain]:
    _, shape = _one(step)
    axis, number = step.attributes.get("dim", 0) % len(shape), step.attributes.get("output", 0)
    if "split_sizes" in step.attributes:
        start = sum(step.attributes["split_sizes"][:number])
    else:
        start = step.attributes["split_size"] * number
    return _along(step, axis, Read((Line(axis, 1, ((start,),)),)))


def _select(step: Step) -> Mapping[str, Chain]:
    role, shape = _one(step)
    axis = step.attributes.get("dim", 0) % len(shape)
    index = step.attributes.get("index", step.attributes.get("output", 0))
    reads = same(len(shape) - 1)
    reads.insert(axis, Read((), (index % shape[axis],)))
    return {role: (tuple(reads),)}


def _flip(step: Step) -> Mapping[str, Chain]:
    role, shape = _one(step)
    reads = same(len(shape))
    for axis in (d % len(shape) for d in step.attributes["dims"]):
        reads[axis] = Read((Line(axis, -1, ((shape[axis] - 1,),)),))
    return {role: (tuple(reads),)}


def _roll(step: Step) -> Mapping[str, Chain] | None:
    role, shape = _one(step)
    if not step.attributes.get("dims"):
        return None
    reads = same(len(shape))
    for shift, dim in zip(step.attributes["shifts"], step.attributes["dims"], strict=True):
        axis, size = dim % len(shape), shape[dim]
        taps = tuple(((o - shift) % size,) for o in range(size))
        reads[axis] = Read((Line(axis, size, taps),))
    return {role: (tuple(reads),)}


def _unfold(step: Step) -> Mapping[str, Chain]:
    _, shape = _one(step)
    axis = step.attributes["dimension"] % len(shape)
    return _along(step, axis, Read((Line(axis, step.attributes["step"]), Line(len(shape)))))


def _cat(step: Step) -> Mapping[str, Chain]:
    axes, start = len(step.shape), 0
    axis = step.attributes.get("dim", 0) % axes
    size = step.shape[axis]
    chains: dict[str, Chain] = {}
    for role, value in step.values.items():
        if len(value.shape) != axes:  # an old way of saying "nothing"
            continue
        own = range(value.shape[axis])
        reads = same(axes)
        taps = tuple((o - start,) if o - start in own else () for o in range(size))
        reads[axis] = Read((Line(axis, size, taps),))
        chains[role] = (tuple(reads),)
        start += len(own)
    return chains


def _pad(step: Step) -> Mapping[str, Chain]:
    """Padding counts as positions beyond the border, whatever it is filled with."""
    role, shape = _one(step)
    reads = same(len(shape))
    for axis, (low, _) in enumerate(pads_of(step)):
        reads[axis] = Read((Line(axis, 1, ((-low,),)),))
    return {role: (tuple(reads),)}


def pads_of(step: Step) -> tuple[tuple[int, int], ...]:
    """Return (low, high) of every tensor axis of a padding step."""
    if step.kind == "pad":
        return step.attributes["padding"]
    flat = step.attributes.get("pad", step.attributes.get("padding", ()))
    pairs = [(flat[n], flat[n + 1]) for n in range(0, len(flat), 2)][::-1]
    return ((0, 0),) * (len(step.shape) - len(pairs)) + tuple(pairs)


def _index(step: Step) -> Mapping[str, Chain | None] | None:
    """Positions that were looked up: they are numbers of the trace, so they can be read."""
    shape = step.values["self"].shape
    roles = [role for role in step.values if role.startswith("ind")]
    dim = step.attributes.get("dim", 0)
    chosen = {int(role[8:] or dim) % len(shape): step.values[role] for role in roles}
    spread = np.broadcast_shapes(*(value.shape for value in chosen.values()))
    start, after = min(chosen), len(spread) - len(chosen)
    if sorted(chosen) != list(range(start, start + len(chosen))):
        return None
    reads = [Read((Line(axis if axis < start else axis + after),)) for axis in range(len(shape))]
    for axis, value in chosen.items():
        found = value.box((slice(None),) * len(value.shape))
        varies = [n for n, size in enumerate(found.shape, len(spread) - found.ndim) if size > 1]
        if found.dtype.kind not in "iu" or len(varies) > 1:
            return None
        places = [int(i) % shape[axis] for i in found.ravel()]
        even = len({b - a for a, b in pairwise(places)}) == 1
        advance = (places[1] - places[0]) * len(places) if even else shape[axis]
        line = Line(start + varies[0] if varies else 0, advance, tuple((i,) for i in places))
        reads[axis] = Read((line,)) if varies else Read((), tuple(places))
    return {"self": (tuple(reads),), **dict.fromkeys(roles)}


def _pixel_shuffle(step: Step) -> Mapping[str, Chain]:
    role, shape = _one(step)
    factor, axes = step.attributes["upscale_factor"], len(shape)
    reads = same(axes)
    reads[axes - 3] = whole(shape[axes - 3])
    for axis in (axes - 2, axes - 1):
        reads[axis] = Read((Line(axis, 1, ((0,),) * factor),))
    return {role: (tuple(reads),)}


def _pixel_unshuffle(step: Step) -> Mapping[str, Chain]:
    role, shape = _one(step)
    factor, axes = step.attributes["downscale_factor"], len(shape)
    row = Line(axes - 3, 0, tuple((c // factor,) for c in range(factor**2)))
    column = Line(axes - 3, 0, tuple((c % factor,) for c in range(factor**2)))
    reads = same(axes)
    reads[axes - 3] = Read((Line(axes - 3, 1, ((0,),) * factor**2),))
    reads[axes - 2] = Read((Line(axes - 2, factor), row))
    reads[axes - 1] = Read((Line(axes - 1, factor), column))
    return {role: (tuple(reads),)}


MOVES: Mapping[str, Rule] = MappingProxyType(
    {
        **dict.fromkeys(("view", "reshape", "unsafe_view", "reshape_alias", "flatten"), _reshape),
        **dict.fromkeys(("permute", "transpose", "t"), _permute),
        **dict.fromkeys(("expand", "repeat"), _expand),
        **dict.fromkeys(("split", "split_with_sizes", "unsafe_split"), _split),
        **dict.fromkeys(("select", "unbind"), _select),
        **dict.fromkeys(("index", "unsafe_index", "index_select"), _index),
        **dict.fromkeys(("pad", "constant_pad_nd"), _pad),
        **{f"{way}_pad{d}d": _pad for way in ("reflection", "replication") for d in "123"},
        "squeeze": _squeeze,
        "unsqueeze": _unsqueeze,
        "stack": _stack,
        "cat": _cat,
        "slice": _slice,
        "flip": _flip,
        "roll": _roll,
        "unfold": _unfold,
        "pixel_shuffle": _pixel_shuffle,
        "pixel_unshuffle": _pixel_unshuffle,
        "view_as_real": _unsqueeze,
        "view_as_complex": _view_as_complex,
    }
)
"""Rules of the steps that move numbers, by kind."""
