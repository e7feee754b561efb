"""Which input channels an output number reads: groups, depthwise multipliers, channels left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.mismatch.causes.maps import order
from convtrace.mismatch.computing.setup import Positions, Reads, Setup
from convtrace.mismatch.search.change import Change

Array = NDArray[Any]


def reading(id_: str, read: Reads, cost: float = 1.0, /, **parameters: object) -> Change:
    """Make a change of the channels that terms read."""
    return Change(id_, "x", lambda setup: setup.but(reads=read), parameters, cost)


def reads(setup: Setup) -> Iterator[Change]:
    """Groups in the wrong order, interleaved, or ignored; depthwise multipliers."""
    groups, terms = setup.groups, setup.terms
    if groups == 1:
        return

    def interleaved(c: Array, term: Array, s: Setup) -> Array:
        return c // (s.channels_out // s.groups) + term * s.groups

    def modulo(c: Array, term: Array, s: Setup) -> Array:
        return (c % s.groups) * s.terms + term

    def both(c: Array, term: Array, s: Setup) -> Array:
        return c % s.groups + term * s.groups

    def first(c: Array, term: Array, s: Setup) -> Array:
        return 0 * c + term

    def last(c: Array, term: Array, s: Setup) -> Array:
        return 0 * c + (s.groups - 1) * s.terms + term

    def backwards(c: Array, term: Array, s: Setup) -> Array:
        return (s.groups - 1 - c // (s.channels_out // s.groups)) * s.terms + term

    each = setup.channels_out // groups
    if terms > 1:
        yield reading("groups.channels_interleaved", interleaved, 1.1, groups=groups)
        if each > 1:
            yield reading("groups.both_interleaved", both, 1.4, groups=groups)
    if each > 1:
        name = "depthwise.order" if terms == 1 else "groups.outputs_interleaved"
        yield reading(name, modulo, 1.1, groups=groups, multiplier=each)
        places = np.arange(setup.channels_out).reshape(groups, each).T.reshape(-1)
        if not setup.transposed:

            def swapped(s: Setup) -> Setup:
                return s.but(reads=modulo, w_maps=(*s.w_maps, order(0, places)))

            parameters = {"groups": groups, "multiplier": each}
            yield Change("depthwise.kernels_order", "xw", swapped, parameters, 1.5)
    yield reading("groups.ignored", first, 1.2, which="first", groups=groups)
    yield reading("groups.ignored", last, 1.4, which="last", groups=groups)
    yield reading("groups.reversed", backwards, 1.3, of="channels")
    blocks = np.arange(setup.channels_out).reshape(groups, each)[::-1].reshape(-1)

    def outputs_backwards(s: Setup) -> Setup:
        return s.but(y_maps=(*s.y_maps, order(1, blocks)))

    yield Change("groups.reversed", "y", outputs_backwards, {"of": "outputs"}, 1.3)


def tiled(setup: Setup) -> Iterator[Change]:
    """Groups ignored: the kernels of one group repeated until they cover all input channels."""
    if setup.groups == 1 or setup.transposed:
        return

    def make(s: Setup) -> Setup | None:
        if s.w_maps or s.w_ops:
            return None
        times = (1, s.groups, *(1 for _ in range(s.axes)))
        return s.but(weight=np.tile(s.weight, times), groups=1)

    parameters = {"groups": setup.groups}
    yield Change("groups.kernels_tiled", "xw", make, parameters, 1.3, alone=True)


def swapped_in_groups(setup: Setup) -> Iterator[Change]:
    """Kernels of a group taken as (I, O) where (O, I) is meant."""
    groups, terms = setup.groups, setup.terms
    if groups == 1 or terms == 1 or setup.channels_out // groups != terms:
        return

    def step(index: Positions, shape: tuple[int, ...]) -> Positions:
        first, second = index[0], index[1]
        return (first // terms * terms + second, first % terms + 0 * second, *index[2:])

    def make(s: Setup) -> Setup:
        return s.but(w_maps=(*s.w_maps, step))

    yield Change("groups.kernels_transposed", "w", make, {"groups": groups}, 1.2)


def single(setup: Setup) -> Iterator[Change]:
    """Only one input channel is used, or only some of them."""
    terms = setup.terms
    if terms < 2:
        return
    for place, word in ((0, "first"), (terms - 1, "last")):
        yield _keep("channels.one", lambda t, p=place: t == p, 1.0, which=word)
    for place in range(1, min(terms - 1, 16)):
        yield _keep("channels.one", lambda t, p=place: t == p, 1.5, which=place)
    for place, word in ((0, "first"), (terms - 1, "last")):
        if terms > 2:
            yield _keep("channels.without", lambda t, p=place: t != p, 1.3, which=word)
    for place in range(1, min(terms - 1, 16)):
        if terms > 2:
            yield _keep("channels.without", lambda t, p=place: t != p, 1.7, which=place)
    for block in (2, 3, 4, 8, 16, 32, 64, 128):
        if block >= terms:
            break
        whole = terms // block * block
        if whole != terms:
            yield _keep("channels.tail_lost", lambda t, e=whole: t < e, 1.3, block=block)
        elif terms == 2 * block:
            yield _keep("channels.half", lambda t, e=block: t < e, 1.4, which="first")
            yield _keep("channels.half", lambda t, e=block: t >= e, 1.4, which="last")
        last = (terms - 1) // block * block
        if last > 0 and terms - last > 1:
            yield _keep("channels.last_block", lambda t, e=last: t >= e, 1.4, block=block)
        if terms - block > 0 and block > 1:
            yield _keep("channels.first_block", lambda t, e=block: t < e, 1.5, block=block)

    def same(c: Array, term: Array, s: Setup) -> Array:
        return (c // (s.channels_out // s.groups)) * s.terms + 0 * term

    yield reading("channels.same", same, 1.3, which="first")


def _keep(id_: str, kept: Any, cost: float, /, **parameters: object) -> Change:
    """Make a change that leaves the products of some channels out."""

    def make(setup: Setup) -> Setup:
        def op(values: Array, index: Positions) -> Array:
            term = index[0] % setup.terms if setup.transposed else index[1]
            return np.where(kept(term), values, 0.0)

        return setup.but(w_ops=(*setup.w_ops, op))

    return Change(id_, "w", make, parameters, cost)


def not_summed(setup: Setup) -> Iterator[Change]:
    """Output channels that read one input channel each, as if the layer were depthwise."""
    if setup.terms < 2 or setup.groups > 1 or setup.transposed:
        return

    def diagonal(setup: Setup) -> Setup:
        def op(values: Array, index: Positions) -> Array:
            return np.where(index[1] == index[0] % setup.terms, values, 0.0)

        return setup.but(w_ops=(*setup.w_ops, op))

    yield Change("channels.not_summed", "w", diagonal, {}, 1.1)
    if setup.channels_out % setup.terms == 0 and setup.channels_out > setup.terms:

        def blocks(setup: Setup) -> Setup:
            each = setup.channels_out // setup.terms

            def op(values: Array, index: Positions) -> Array:
                return np.where(index[1] == index[0] // each, values, 0.0)

            return setup.but(w_ops=(*setup.w_ops, op))

        yield Change("channels.not_summed", "w", blocks, {"blocks": True}, 1.3)

    def first_kernel(setup: Setup) -> Setup:
        def step(index: Positions, shape: tuple[int, ...]) -> Positions:
            return (index[0], index[0] % shape[1] + 0 * index[1], *index[2:])

        return setup.but(w_maps=(*setup.w_maps, step))

    yield Change("kernel.shared", "w", first_kernel, {"channels": "in", "which": "own"}, 1.9)
