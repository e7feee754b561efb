"""Bias: missing, twice, of the wrong channel, in the wrong place."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.mismatch.causes.maps import axis_names
from convtrace.mismatch.computing.setup import Setup
from convtrace.mismatch.computing.stages import Act, Add, Local, Norm, Stage, Sums, rounded
from convtrace.mismatch.search.change import Change

Array = NDArray[Any]


def amounts(setup: Setup) -> Iterator[Change]:
    """Missing, several times, with the wrong sign, or of another channel."""
    if not any(isinstance(stage, Add) for stage in setup.stages):
        return
    taps = math.prod(setup.kernel)
    yield Change("bias.alone", "after", _without_products, {}, 1.1)
    yield _times("bias.missing", 0.0, 1.0)
    yield _times("bias.repeated", 2.0, 1.0, times=2)
    many = {
        setup.groups: "groups",
        setup.terms: "input channels",
        setup.channels_in: "input channels",
        taps: "taps",
        taps * setup.terms: "terms",
        3: "",
    }
    for times, word in many.items():
        if times > 2:
            yield _times("bias.repeated", float(times), 1.2, times=times, once=word)
    yield _times("bias.subtracted", -1.0, 1.1)
    yield _times("bias.scaled", 0.5, 1.5, factor=0.5)
    for name in ("bfloat16", "float16"):
        yield _change("bias.rounded", lambda amounts, n=name: rounded(amounts, n), 1.3, format=name)
    count = setup.channels_out
    if count > 1:
        places = np.arange(count)
        yield _taken("bias.channel", places[::-1].copy(), 1.1, how="reversed")
        yield _taken("bias.channel", 0 * places, 1.1, how="first for all")
        yield _taken("bias.channel", 0 * places + count - 1, 1.3, how="last for all")
        for by in (1, -1):
            if count > 2 or by == 1:
                yield _taken("bias.channel", (places + by) % count, 1.2, how="shifted", by=by)
        for parts in dict.fromkeys((setup.groups, count // setup.groups, 2, 4)):
            if 1 < parts < count and count % parts == 0:
                mixed = places.reshape(parts, -1).T.reshape(-1)
                yield _taken("bias.channel", mixed, 1.3, how="interleaved", by=parts)
        each = count // setup.groups
        if setup.groups > 1 and each > 1:
            yield _taken("bias.channel", places % each, 1.2, how="first group's for all")
        for block in (4, 8, 16, 32):
            whole = count // block * block
            if 0 < whole < count:
                yield _masked(places < whole, 1.4)
        for first in (1, count // 2):
            if 0 < first < count:
                yield _masked(places < first, 1.5)
                yield _masked(places >= first, 1.6)


def _without_products(setup: Setup) -> Setup:
    """Return a setup whose products are never added: the bias is all there is."""

    def stage(sums: Sums) -> Sums:
        return sums.to(0 * sums.values, 0 * sums.magnitude)

    return setup.but(stages=(Local(stage), *setup.stages))


def _change(id_: str, change: Callable[[Array], Array], cost: float, /, **given: object) -> Change:
    def make(setup: Setup) -> Setup | None:
        stages: list[Stage] = []
        found = False
        for stage in setup.stages:
            if isinstance(stage, Add) and stage.axis == 1 and not found:
                found = True
                stages.append(Add(change(stage.amounts)))
            else:
                stages.append(stage)
        return setup.but(stages=tuple(stages)) if found else None

    return Change(id_, "after", make, given, cost)


def _times(id_: str, factor: float, cost: float, /, **given: object) -> Change:
    return _change(id_, lambda amounts: factor * amounts, cost, **given)


def _taken(id_: str, places: Array, cost: float, /, **given: object) -> Change:
    return _change(id_, lambda amounts: amounts[places], cost, **given)


def _masked(kept: Array, cost: float) -> Change:
    first, last = (int(np.flatnonzero(kept)[end]) for end in (0, -1))
    channels = f"{first}–{last}" if last > first else str(first)
    return _change(
        "bias.partly", lambda amounts: np.where(kept, amounts, 0.0), cost, channels=channels
    )


def places(setup: Setup) -> Iterator[Change]:
    """Added after the activation or the norm, or along another axis than the channels."""
    stages = setup.stages
    at = next((n for n, stage in enumerate(stages) if isinstance(stage, Add)), None)
    if at is None or not isinstance(add := stages[at], Add):
        return
    later = stages[at + 1 :]
    for n, stage in enumerate(later):
        if isinstance(stage, (Act, Norm)):
            word = "activation" if isinstance(stage, Act) else "norm"
            yield Change(
                "bias.after",
                "after",
                _moved(at, n + 1),
                {"what": word},
                1.02,
            )
    rows = ((0, "samples"), *enumerate(axis_names(setup.axes), start=2))
    for axis, name in rows:
        if setup.shape[axis] == len(add.amounts) > 1:

            def make(s: Setup, axis: int = axis) -> Setup | None:
                return _replaced(s, lambda a: Add(a.amounts, axis))

            yield Change("bias.axis", "after", make, {"axis_name": name}, 1.2)

    def inside(s: Setup) -> Setup | None:
        """Add the bias only where the whole window lies on the input."""

        def partly(a: Add) -> Stage:
            def stage(sums: Sums) -> Sums:
                whole = np.ones((), dtype=np.bool_)
                for axis in range(s.axes):
                    first = sums.at[axis + 2] * s.stride[axis] - s.low[axis]
                    end = first + s.extent[axis] - 1
                    whole = whole & (first >= 0) & (end < s.x.shape[axis + 2])
                after = a(sums)
                return sums.to(np.where(whole, after.values, sums.values), after.magnitude)

            return Local(stage)

        return _replaced(s, partly)

    if not setup.transposed and any(setup.low):
        yield Change("bias.inside_only", "after", inside, {}, 1.5)


def _moved(at: int, by: int) -> Callable[[Setup], Setup | None]:
    def make(setup: Setup) -> Setup | None:
        stages = list(setup.stages)
        if at >= len(stages):
            return None
        stage = stages.pop(at)
        stages.insert(at + by, replace(stage, apart=True) if isinstance(stage, Add) else stage)
        return setup.but(stages=tuple(stages))

    return make


def _replaced(setup: Setup, change: Callable[[Add], Stage]) -> Setup | None:
    stages: list[Stage] = []
    found = False
    for stage in setup.stages:
        if isinstance(stage, Add) and not found:
            found = True
            stages.append(change(stage))
        else:
            stages.append(stage)
    return setup.but(stages=tuple(stages)) if found else None
