"""Inputs and outputs whose axes or channels are in another order."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from convtrace.mismatch.causes.maps import (
    Misread,
    axis_names,
    blanked,
    divisors,
    only,
    order,
    packed,
    permute,
    pitch,
    reverse,
    roll,
)
from convtrace.mismatch.computing.setup import Map, Setup
from convtrace.mismatch.computing.stages import Local, Sums
from convtrace.mismatch.search.change import Change

MOST_LISTED = 24
"""Most channels whose order is written out."""


def read(
    id_: str, step: Map, cost: float = 1.0, /, *, alone: bool = False, **parameters: object
) -> Change:
    """Make a change that rearranges the input."""

    def make(setup: Setup) -> Setup:
        return setup.but(x_maps=(*setup.x_maps, step))

    return Change(id_, "x", make, parameters, cost, alone)


def put(
    id_: str, step: Map, cost: float = 1.0, /, *, alone: bool = False, **parameters: object
) -> Change:
    """Make a change that rearranges the output."""

    def make(setup: Setup) -> Setup:
        return setup.but(y_maps=(*setup.y_maps, step))

    return Change(id_, "y", make, parameters, cost, alone)


def channel_orders(setup: Setup) -> Iterator[Change]:
    """Input channels in another order: RGB read as BGR."""
    count = setup.channels_in
    if count < 2:
        return
    yield read("input.channels_reversed", reverse((1,)), 1.0, channels=count)
    if count in (3, 4):
        seen = {tuple(range(count)), tuple(reversed(range(count)))}
        for places in itertools.permutations(range(count)):
            if places not in seen:
                yield read(
                    "input.channels_permuted",
                    order(1, np.array(places)),
                    1.4 if places[-1] == count - 1 else 1.6,
                    order=places,
                )
        return
    if count % 3 == 0 and count <= MOST_LISTED:  # several images, one behind the other
        places = np.arange(count).reshape(-1, 3)[:, ::-1].reshape(-1)
        step, listed = order(1, places), tuple(places.tolist())
        yield read("input.channels_permuted", step, 1.5, order=listed)
    for by in dict.fromkeys((1, -1, count // 2)):
        if count > 2 or by == 1:
            yield read("input.channels_shifted", roll(1, by), 1.8, by=by)
    usual = {2, 4, 8, setup.groups}
    usual |= {count // parts for parts in usual}
    for parts in divisors(count):
        places = np.arange(count).reshape(parts, -1).T.reshape(-1)
        rare = parts not in usual
        cost = 1.7 + 0.05 * rare
        yield read("input.channels_interleaved", order(1, places), cost, alone=rare, parts=parts)


def layouts(setup: Setup) -> Iterator[Change]:
    """The input's memory read in another order of axes: NHWC by reshape instead of permute."""
    for step, parameters, cost in _orders(setup.x.shape):
        yield read("input.layout", step, cost, **parameters)
    for step, parameters, cost in _packed(setup.x.shape):
        yield read("input.layout", step, cost, **parameters)
    if setup.axes > 1 and setup.x.shape[-1] != setup.x.shape[-2]:
        rows, columns = setup.x.shape[-2:]
        yield read("input.row_length", pitch(rows), 1.6, length=rows, right=columns)


def _packed(shape: tuple[int, ...]) -> Iterator[tuple[Map, dict[str, Any], float]]:
    """Channels packed in blocks, as NCHW4c: the last axis counts the channels of a block."""
    right = "NC" + {1: "W", 2: "HW", 3: "DHW"}[len(shape) - 2]
    for block in (4, 8, 16, 32):
        if shape[1] % block or shape[1] == block:
            continue
        word = f"{right}{block}c"
        for stored in (True, False):
            parameters: dict[str, Any] = {"order": word, "right": right, "stored": stored}
            yield packed(block, stored=stored), parameters, 1.5 + 0.05 * stored


def _orders(shape: tuple[int, ...]) -> Iterator[tuple[Map, dict[str, Any], float]]:
    letters = ["N", "C", *{1: "W", 2: "HW", 3: "DHW"}[len(shape) - 2]]
    right = "".join(letters)
    count = len(shape)
    orders = [(0, *rest) for rest in itertools.permutations(range(1, count))]
    orders = [p for p in orders if count < 5 or _blocks(p)]
    if shape[0] > 1:
        orders += [(1, 0, *range(2, count)), (*range(1, count), 0), (*range(2, count), 0, 1)]
        orders += [(*range(2, count), 1, 0)]
    for perm in orders:
        if perm == tuple(range(count)):
            continue
        word = "".join(letters[a] for a in perm)
        kept = [a for a in perm if shape[a] > 1]
        if kept == sorted(kept):
            continue  # the same memory
        usual = perm == (0, *range(2, count), 1)
        for stored in (True, False):
            cost = (1.0 if usual else 1.7) + (0.05 if stored else 0.0)
            swapped = tuple(shape[a] for a in perm)
            if tuple(np.argsort(perm)) == perm and swapped == shape and not stored:
                continue
            parameters: dict[str, Any] = {"order": word, "right": right, "stored": stored}
            yield Misread(perm, stored=stored), parameters, cost


def _blocks(perm: tuple[int, ...]) -> bool:
    """Whether the spatial axes stay together and in order, or are simply reversed."""
    places = [perm.index(a) for a in range(2, len(perm))]
    steps = {b - a for a, b in itertools.pairwise(places)}
    return steps in ({1}, {-1})


def mirrors(setup: Setup) -> Iterator[Change]:
    """The input mirrored, or its rows taken for columns."""
    names = axis_names(setup.axes)
    sizes = setup.x.shape[2:]
    long = [a for a, size in enumerate(sizes) if size > 1]
    for count in range(1, len(long) + 1):
        for axes in itertools.combinations(long, count):
            step = reverse(tuple(a + 2 for a in axes))
            yield read("input.mirrored", step, 1.3, axes=tuple(names[a] for a in axes))
    for perm in itertools.permutations(range(setup.axes)):
        swapped = tuple(sizes[a] for a in perm)
        if perm != tuple(range(setup.axes)) and swapped == sizes:
            step = permute((0, 1, *(a + 2 for a in perm)))
            yield read("input.axes", step, 1.3, order=tuple(names[a] for a in perm))


def samples(setup: Setup) -> Iterator[Change]:
    """Samples of the batch mixed up."""
    count = setup.x.shape[0]
    if count < 2:
        return
    yield read("input.first_sample", only(0, 0), 1.4)
    yield read("input.samples_reversed", reverse((0,)), 1.5)
    for by in (1, -1):
        if count > 2 or by == 1:
            yield read("input.samples_shifted", roll(0, by), 1.7, by=by)


def outputs(setup: Setup) -> Iterator[Change]:
    """The output in another order: layout, channels, mirrored, shifted."""
    shape = setup.shape
    count = setup.channels_out
    for step, parameters, cost in (*_orders(shape), *_packed(shape)):
        yield put("output.layout", step, cost + 0.1, **parameters)
    names = axis_names(setup.axes)
    if count > 1:
        yield put("output.channels_reversed", reverse((1,)), 1.3)
        for by in (1, -1):
            if count > 2 or by == 1:
                yield put("output.channels_shifted", roll(1, by), 1.7, by=by)
        usual = {2, 3, 4, 8, setup.groups, count // setup.groups}
        for parts in divisors(count):
            places = np.arange(count).reshape(parts, -1).T.reshape(-1)
            rare = parts not in usual
            cost, step = 1.5 + 0.05 * rare, order(1, places)
            yield put("output.channels_interleaved", step, cost, alone=rare, parts=parts)
    sizes = setup.size
    for a, size in enumerate(sizes):
        if size < 2:
            continue
        yield put("output.mirrored", reverse((a + 2,)), 1.4, axes=(names[a],))
        for by in (1, -1):
            if size > 2:
                yield put("output.rolled", roll(a + 2, by), 1.8, axis=names[a], by=by)
    if setup.axes > 1:
        everything = tuple(range(2, setup.axes + 2))
        yield put("output.mirrored", reverse(everything), 1.5, axes=names)
        for perm in itertools.permutations(range(setup.axes)):
            swapped = tuple(sizes[a] for a in perm)
            if perm != tuple(range(setup.axes)) and swapped == sizes:
                step = permute((0, 1, *(a + 2 for a in perm)))
                yield put("output.axes", step, 1.4, order=tuple(names[a] for a in perm))
    yield from _displaced(setup, names)
    if shape[0] > 1:
        yield put("output.samples_reversed", reverse((0,)), 1.6)


def _displaced(setup: Setup, names: tuple[str, ...]) -> Iterator[Change]:
    """The output written some pixels away, zero where nothing was written."""
    long = [a for a, size in enumerate(setup.size) if size > 2]
    choices = [(a,) for a in long] + ([tuple(long)] if len(long) > 1 else [])
    for axes in choices:
        for by in (1, -1):
            edge = {a: setup.size[a] - 1 if by == 1 else 0 for a in axes}

            def make(s: Setup, by: int = by, edge: dict[int, int] = edge) -> Setup:
                def blank(sums: Sums) -> Sums:
                    outside = np.zeros((), dtype=np.bool_)
                    for axis, place in edge.items():
                        outside = outside | (sums.at[axis + 2] == place)
                    return blanked(sums, outside)

                moves = tuple(roll(axis + 2, -by) for axis in edge)
                return s.but(stages=(*s.stages, Local(blank)), y_maps=(*s.y_maps, *moves))

            yield Change(
                "output.displaced",
                "y",
                make,
                {"by": by, "axes": tuple(names[a] for a in axes)},
                1.6,
            )


def added(setup: Setup) -> Iterator[Change]:
    """The input added to the output: a shortcut that is not part of the layer."""
    if setup.x.shape != setup.shape or setup.transposed:
        return

    def make(s: Setup) -> Setup:
        def stage(sums: Sums) -> Sums:
            x = s.x[sums.at]
            return sums.to(sums.values + x, sums.magnitude + np.abs(x))

        return s.but(stages=(*s.stages, Local(stage)))

    yield Change("output.input_added", "after", make, {}, 1.4)
