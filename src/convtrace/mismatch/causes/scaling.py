"""Inputs that were scaled, shifted or normalised, and outputs that were."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.exact import FORMATS
from convtrace.mismatch.computing.setup import Op, Positions, Setup
from convtrace.mismatch.computing.stages import Affine, Local, Sums
from convtrace.mismatch.search.change import Change

Array = NDArray[Any]

IMAGENET = (np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225]))
CLIP = (
    np.array([0.48145466, 0.4578275, 0.40821073]),
    np.array([0.26862954, 0.26130258, 0.27577711]),
)
_FACTORS = (255.0, 1 / 255, 256.0, 1 / 256, 127.5, 1 / 127.5, 128.0, 1 / 128, 2.0, 0.5)
CAFFE = np.array([103.939, 116.779, 123.68])


def inputs(setup: Setup) -> Iterator[Change]:
    """Pixels 0 to 255 taken for 0 to 1, mean and standard deviation missing or twice."""
    for factor in _FACTORS:
        usual = factor in (255.0, 1 / 255)
        yield _linear("input.scaled", factor, 0.0, 1.0 if usual else 1.4, factor=factor)
    for factor in (*_FACTORS, -1.0):
        yield weights_scaled(factor, 1.5)
        yield output_scaled(factor, 1.55)
    yield _linear("input.scaled", -1.0, 0.0, 1.5, factor=-1.0)
    for scale, shift in (
        (2.0, -1.0),
        (0.5, 0.5),
        (1 / 127.5, -1.0),
        (127.5, 127.5),
        (1 / 128, -1.0),
        (1.0, -0.5),
        (1.0, 0.5),
        (1.0, -128.0),
        (1.0, 128.0),
        (1.0, -127.5),
        (1.0, 1.0),
        (1.0, -1.0),
        (-1.0, 1.0),
        (-1.0, 255.0),
    ):
        yield _linear("input.shifted", scale, shift, 1.4, factor=scale, shift=shift)
        if any(setup.low) and setup.fill == 0:
            given = {"factor": scale, "shift": shift}
            yield Change("input.shifted_padded", "x", _padded(scale, shift), given, 1.45)
    if setup.channels_in == 3:
        for name, (mean, std) in (("ImageNet", IMAGENET), ("CLIP", CLIP)):
            cost = 1.1 if name == "ImageNet" else 1.3
            for unit in (1.0, 255.0):
                m, s = mean * unit, std * unit
                more = 0.0 if unit == 1 else 0.1
                given = {"of": name, "unit": unit}
                yield _by_channel("input.normalised", 1 / s, -m / s, cost + more, **given)
                yield _by_channel("input.denormalised", s, m, cost + more, **given)
                ones = np.ones(3)
                yield _by_channel("input.mean_subtracted", ones, -m, cost + 0.1 + more, **given)
                yield _by_channel("input.mean_added", ones, m, cost + 0.1 + more, **given)
                yield _by_channel("input.std_divided", 1 / s, 0 * m, cost + 0.2 + more, **given)
                yield _by_channel("input.std_multiplied", s, 0 * m, cost + 0.2 + more, **given)
                if unit == 1:
                    yield _by_channel(
                        "input.normalised", 1 / 255 / s, -m / s, cost + 0.2, of=name, unit=255.0
                    )
        for mean in (CAFFE, CAFFE[::-1]):
            yield _by_channel(
                "input.mean_subtracted", np.ones(3), -mean, 1.4, of="Caffe", unit=255.0
            )
            yield _by_channel("input.mean_added", np.ones(3), mean, 1.4, of="Caffe", unit=255.0)
    seen = setup.statistics
    low, high = seen.low, seen.high
    if not seen.whole:
        yield _op("input.truncated", lambda v, i: np.trunc(v), 1.3, how="towards zero")
        yield _op("input.truncated", lambda v, i: np.rint(v), 1.4, how="to nearest")
        yield _op("input.truncated", lambda v, i: np.floor(v), 1.4, how="down")
    for least, most in ((0.0, math.inf), (0.0, 1.0), (-1.0, 1.0), (0.0, 255.0), (-128.0, 127.0)):
        if low < least or high > most:
            yield _op(
                "input.clipped",
                lambda v, i, a=least, b=most: np.clip(v, a, b),
                1.4,
                low=least,
                high=most,
            )
    if seen.whole and low >= 0 and high <= 255 and high > 127:
        yield _stored("input.signed", lambda v, i: np.where(v > 127, v - 256, v))
    if seen.whole and -128 <= low < 0 and high <= 127:
        yield _stored("input.unsigned", lambda v, i: np.where(v < 0, v + 256, v))
    if low < 0:
        yield _op("input.absolute", lambda v, i: np.abs(v), 1.6)
    mean, spread = seen.mean, seen.spread
    if spread > 0:
        yield _linear("input.standardised", 1 / spread, -mean / spread, 1.5, mean=mean, std=spread)
        if high > low:
            size = high - low
            yield _linear("input.stretched", 1 / size, -low / size, 1.5, low=low, high=high)
        if high > 0:
            yield _linear("input.stretched", 1 / high, 0.0, 1.6, low=0.0, high=high)


def weights_scaled(factor: float, cost: float) -> Change:
    """Make a change of the weights' scale."""

    def op(values: Array, index: Positions) -> Array:
        return values * factor

    return Change(
        "kernel.scaled",
        "w",
        lambda s: s.but(w_ops=(*s.w_ops, op)),
        {"factor": factor},
        cost,
        alone=True,
    )


def output_scaled(factor: float, cost: float) -> Change:
    """Make a change of the finished output's scale."""
    stage = Affine(np.array([factor]), np.array([0.0]))
    given = {"factor": factor, "shift": 0.0, "word": "", "where": "last"}
    return Change(
        "output.scaled",
        "after",
        lambda s: s.but(stages=(*s.stages, stage)),
        given,
        cost,
        alone=True,
    )


def _padded(scale: float, shift: float) -> Callable[[Setup], Setup]:
    """Return a change that scales the input after it was padded."""

    def op(values: Array, index: Positions) -> Array:
        return values * scale + shift

    return lambda s: changed_input(s, op).but(fill=s.fill * scale + shift)


def changed_input(setup: Setup, op: Op) -> Setup:
    """Return a setup with other numbers in its input, which may be stored narrowly again."""
    setup = setup.but(x_ops=(*setup.x_ops, op))
    if setup.held is None:
        return setup
    slack = 3 * FORMATS[setup.held].unit  # scaled, shifted, and stored

    def stored(sums: Sums) -> Sums:
        return sums.to(sums.values, sums.magnitude, sums.extra + slack * sums.magnitude)

    return setup.but(stages=(Local(stored), *setup.stages))


def _op(id_: str, op: Op, cost: float, /, **given: object) -> Change:
    return Change(id_, "x", lambda s: changed_input(s, op), given, cost)


def _stored(id_: str, op: Op) -> Change:
    """Make a change of the numbers as they are stored, before a zero point is subtracted."""
    return Change(id_, "x", lambda s: s.but(x_ops=(op, *s.x_ops)), {"bits": 8}, 1.2)


def _linear(id_: str, scale: float, shift: float, cost: float, /, **given: object) -> Change:
    return _op(id_, lambda v, i: v * scale + shift, cost, **given)


def _by_channel(id_: str, scale: Array, shift: Array, cost: float, /, **given: object) -> Change:
    def op(values: Array, index: Positions) -> Array:
        return values * scale[index[1]] + shift[index[1]]

    return _op(id_, op, cost, **given)


def outputs(setup: Setup) -> Iterator[Change]:
    """Sums that were averaged, or scaled by what a layer is initialised with."""
    taps = math.prod(setup.kernel)
    terms = setup.terms
    factors: dict[float, str] = {}
    counts = [
        (terms * taps, "terms"),
        (taps, "taps"),
        (terms, "input channels"),
        (setup.groups, "groups"),
        (setup.channels_in, "all input channels"),
        (setup.channels_out, "output channels"),
        (setup.x.shape[0], "samples"),
        (math.prod(setup.size), "positions"),
    ]
    counts = [(count, word) for count, word in counts if count > 1]
    for count, word in counts:  # a root may be the mean of something else, which is likelier
        factors.setdefault(1 / count, f"mean of {word}")
    for count, word in counts:
        factors.setdefault(float(count), f"times {word}")
        factors.setdefault(1 / math.sqrt(count), f"root of {word}")
        factors.setdefault(math.sqrt(2 / count), f"root of 2 / {word}")
    for factor, word in factors.items():
        mean = word.startswith("mean")
        for where in ("before bias", "last") if setup.stages and mean else ("before bias",):
            cost = (1.2 if mean else 1.6) + 0.1 * (where == "last")
            given = {"factor": factor, "word": word, "where": where}
            make = _multiplied(factor, last=where == "last")
            if mean:
                yield Change("output.averaged", "after", make, given, cost)
            # A mean is a factor like any other, and may be no more than that.
            yield Change("output.scaled", "after", make, given, cost + 0.6 * mean, alone=mean)
    for name, function in _INTEGERS.items():
        yield Change(
            "output.integers",
            "after",
            lambda s, f=function: s.but(stages=(*s.stages, Local(_to(f)))),
            {"how": name},
            1.3,
        )


def _multiplied(factor: float, *, last: bool) -> Callable[[Setup], Setup]:
    stage = _scaled(factor)
    early = Local(lambda sums: stage(sums).held)  # and stored, where results are stored narrowly
    return lambda s: s.but(stages=(*s.stages, stage) if last else (early, *s.stages))


def _scaled(factor: float) -> Affine:
    return Affine(np.array([factor]), np.array([0.0]))


_INTEGERS: dict[str, Callable[[Array], Array]] = {
    "truncated": np.trunc,
    "rounded": np.rint,
    "down": np.floor,
    "uint8 saturated": lambda v: np.clip(np.rint(v), 0, 255),
    "uint8 truncated": lambda v: np.clip(np.trunc(v), 0, 255),
    "int8 saturated": lambda v: np.clip(np.rint(v), -128, 127),
    "int8 wrapped": lambda v: (np.rint(v) + 128) % 256 - 128,
    "int8 truncated, wrapped": lambda v: (np.trunc(v) + 128) % 256 - 128,
    "uint8 wrapped": lambda v: np.rint(v) % 256,
    "uint8 truncated, wrapped": lambda v: np.trunc(v) % 256,
}


def _to(function: Callable[[Array], Array]) -> Callable[[Sums], Sums]:
    def stage(sums: Sums) -> Sums:
        slack = 1e-6 * np.asarray(sums.magnitude)
        with np.errstate(all="ignore"):
            low, mid, high = (function(sums.values + d) for d in (-slack, 0.0, slack))
        extra = np.maximum(np.abs(low - mid), np.abs(high - mid))
        return replace(sums.to(mid, 0 * mid, extra), whole=True)

    return stage
