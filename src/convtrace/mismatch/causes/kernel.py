"""Weights that are read the wrong way: flipped, transposed, in another order of axes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from convtrace.mismatch.causes.maps import (
    Misread,
    axis_names,
    divisors,
    only,
    order,
    permute,
    pitch,
    reverse,
    roll,
)
from convtrace.mismatch.computing.setup import Map, Setup
from convtrace.mismatch.search.change import Change


def turned(
    id_: str, step: Map, cost: float = 1.0, /, *, alone: bool = False, **parameters: object
) -> Change:
    """Make a change that rearranges the weights."""

    def make(setup: Setup) -> Setup:
        return setup.but(w_maps=(*setup.w_maps, step))

    return Change(id_, "w", make, parameters, cost, alone)


def flips(setup: Setup) -> Iterator[Change]:
    """The kernel flipped along some axes; along all of them, it is a true convolution."""
    long = [a for a, k in enumerate(setup.kernel) if k > 1]
    names = axis_names(setup.axes)
    for count in range(len(long), 0, -1):
        for axes in itertools.combinations(long, count):
            everything = count == len(long)
            yield turned(
                "kernel.flipped",
                reverse(tuple(a + 2 for a in axes)),
                1.0 if everything else 1.1,
                axes=tuple(names[a] for a in axes),
                all=everything,
            )


def rotations(setup: Setup) -> Iterator[Change]:
    """The kernel turned by a quarter."""
    if setup.axes != 2 or setup.kernel[0] != setup.kernel[1] or setup.kernel[0] < 2:
        return
    for axis, degrees in ((2, 90), (3, 270)):
        steps = (permute((0, 1, 3, 2)), reverse((axis,)))
        yield Change(
            "kernel.rotated",
            "w",
            lambda s, steps=steps: s.but(w_maps=(*s.w_maps, *steps)),
            {"degrees": degrees},
            1.3,
        )


def axes(setup: Setup) -> Iterator[Change]:
    """Weight axes in another order: OIHW read as IOHW, HWIO, OHWI and so on."""
    letters = _letters(setup)
    shape = setup.weight.shape
    count = len(shape)
    spatial = tuple(range(2, count))
    for perm in itertools.permutations(range(count)):
        if perm == tuple(range(count)):
            continue
        swapped = tuple(shape[a] for a in perm)
        kernel_only = perm[:2] == (0, 1)
        word = "".join(letters[a] for a in perm)
        usual = _is_usual(perm, spatial)
        cost = 1.2 if kernel_only else 1.3 if usual else 2.0
        if perm in ((*spatial, 1, 0), (0, *spatial, 1)):
            cost = 1.25  # HWIO and OHWI: TensorFlow and TFLite
        if count > 4 and not usual and not kernel_only:
            continue
        if swapped == shape:
            yield turned("kernel.axes", permute(perm), cost, order=word, right="".join(letters))
            continue  # a reshape is then a transposition
        if 1 in swapped and _squeezed(perm, shape):
            continue
        for stored in (True, False):
            yield turned(
                "kernel.reshaped",
                Misread(perm, stored=stored),
                cost + 0.05 * (not stored),
                order=word,
                right="".join(letters),
                stored=stored,
            )
    if setup.axes > 1 and shape[-1] != shape[-2]:
        yield turned("kernel.row_length", pitch(shape[-2]), 1.6, length=shape[-2], right=shape[-1])


def _is_usual(perm: tuple[int, ...], spatial: tuple[int, ...]) -> bool:
    """Whether the spatial axes stay side by side, in their order or reversed."""
    places = [perm.index(a) for a in spatial]
    steps = {b - a for a, b in itertools.pairwise(places)}
    return not steps or steps in ({1}, {-1})


def _squeezed(perm: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether an order of axes moves axes of one only, which changes nothing in memory."""
    kept = [a for a in perm if shape[a] > 1]
    return kept == sorted(kept)


def _letters(setup: Setup) -> list[str]:
    spatial = {1: "W", 2: "HW", 3: "DHW"}[setup.axes]
    return [*("IO" if setup.transposed else "OI"), *spatial]


def orders(setup: Setup) -> Iterator[Change]:
    """Weights of the right kernels at the wrong channels."""
    sizes = setup.weight.shape
    roles = ("in", "out") if setup.transposed else ("out", "in")
    for axis, role in enumerate(roles):
        size = sizes[axis]
        if size < 2:
            continue
        yield turned("kernel.channels_reversed", reverse((axis,)), 1.3, channels=role)
        for place, word in ((0, "first"), (-1, "last")):
            yield turned("kernel.shared", only(axis, place), 1.5, channels=role, which=word)
        for by in (1, -1):
            if size > 2 or by == 1:
                yield turned("kernel.channels_shifted", roll(axis, by), 1.8, channels=role, by=by)
        for parts in divisors(size):
            places = np.arange(size).reshape(parts, -1).T.reshape(-1)
            yield turned(
                "kernel.channels_interleaved",
                order(axis, places),
                1.9,
                alone=parts not in (2, 3, 4, 8),
                channels=role,
                parts=parts,
            )
    if setup.groups > 1 and not setup.transposed:
        groups = setup.groups
        each = setup.channels_out // groups
        if each > 1:
            places = np.arange(setup.channels_out).reshape(groups, each)
            yield turned(
                "groups.kernels_interleaved", order(0, places.T.reshape(-1)), 1.4, parts=groups
            )
            if groups != each:
                places = np.arange(setup.channels_out).reshape(each, groups)
                yield turned(
                    "groups.kernels_interleaved",
                    order(0, places.T.reshape(-1)),
                    1.45,
                    parts=each,
                )
        places = np.arange(setup.channels_out).reshape(groups, each)[::-1].reshape(-1)
        yield turned("groups.reversed", order(0, places.copy()), 1.5, of="kernels")
        first = np.arange(setup.channels_out) % each
        yield turned("groups.first_kernels", order(0, first), 1.5)
