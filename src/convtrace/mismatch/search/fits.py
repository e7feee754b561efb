"""Causes with a number in them that is not known beforehand: it is fitted on the sample.

A fit has one or two numbers, or two a channel, against hundreds of elements that it must then
reproduce like every other candidate.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.exact import FORMATS
from convtrace.mismatch.causes.scaling import changed_input, weights_scaled
from convtrace.mismatch.computing.setup import Positions, Setup
from convtrace.mismatch.computing.stages import Act, Add, Affine, Local, Norm, Sums
from convtrace.mismatch.judging.elements import Compared, sums_up
from convtrace.mismatch.search.by_channel import by_channel
from convtrace.mismatch.search.change import Change
from convtrace.mismatch.search.search import Search

Array = NDArray[Any]


def fitted(search: Search, right: Compared) -> Iterator[Change]:
    """List changes whose numbers are fitted to the observed output.

    Args:
        search: The search, with its samples.
        right: The whole output against the right one.
    """
    base = search.base
    plain = all(isinstance(stage, Add) for stage in base.stages)
    if plain:
        yield from _input(search)
        yield from _input_channels(search)
        yield from _padding(search)
        yield from _padding_channels(search)
    yield from _output(search)
    yield from by_channel(search, right)
    yield from _slope(search)
    yield from _clip(right)
    yield from _epsilon(search)


def numbers(change: Change) -> int:
    """Count the numbers that were fitted to an output: a factor, a shift, both, or one a channel.

    Example:
        >>> numbers(Change("output.scaled", "after", Setup.but, {"factor": 2.0, "shift": 0.0}))
        1
    """
    given = change.parameters
    if "factor" not in given:
        return 3 if change.id.endswith(("by_channel", ".other")) else 1
    return (given["factor"] != 1.0) + (given.get("shift", 0.0) != 0.0)


ROWS = 16
"""Windows that tell how many weights an output depends on: more would not change what is said."""


def beyond(search: Search, change: Change) -> int:
    """Count what a fit says of an output beyond the numbers that were fitted to it.

    Other weights, and another bias, could make as many numbers of each channel as the windows are
    independent: one where the input is the same everywhere, two on a ramp. A fit with as many
    numbers of its own reproduces whatever they make, and proves nothing.

    Args:
        search: The search, with its samples.
        change: A fitted change.
    """
    base = search.base
    if change.id == "input.shifted_padded" and base.channels_out == 1:
        return 0  # the output of a single channel, shifted, is the same
    _, read, _ = search.halves(1)
    read = read[:ROWS]
    scales = change.id in ("kernel.by_channel", "input.scaled", "kernel.scaled", "output.scaled")
    if not scales:
        read = np.concatenate([read, np.ones((len(read), 1))], axis=1)
    if not np.isfinite(read).all():
        return 1
    if change.id == "output.by_channel":
        own = 2 * base.channels_out
    elif change.id in ("kernel.by_channel", "bias.other", "norm.fused"):
        own = base.channels_out
    elif change.id == "input.by_channel":
        own = 2 * base.terms
    else:
        own = numbers(change)
    return int(np.linalg.matrix_rank(read)) * base.channels_out - own


_KNOWN = (1 / 255, 255.0, 1 / 256, 1 / 127.5, 127.5, 1 / 128, 1 / 127, 127.0)


def nice(value: float) -> float:
    """Return the simple number that a fitted one stands for, or the number itself.

    Example:
        >>> nice(0.00392156859), nice(0.49999998), nice(0.123456)
        (0.00392156862745098, 0.5, 0.123456)
    """
    if not math.isfinite(value) or value == 0:
        return value
    for known in _KNOWN:
        for sign in (1, -1):
            if abs(value - sign * known) <= 2e-6 * known:
                return sign * known
    fraction = Fraction(value).limit_denominator(64)
    if fraction and abs(float(fraction) - value) <= 2e-6 * abs(value):
        return float(fraction)
    return value


def simple(search: Search, value: float) -> tuple[float, ...]:
    """Return the numbers that a fitted one may stand for; more of them where results are coarse.

    Two fits of one number differ in its last digits, so that six of them are tried before all.
    """
    found = [nice(value)]
    if found == [value]:
        found = [float(f"{value:.6g}"), value]
    ran = search.judge.arithmetic
    if ran is not None and FORMATS[ran.result].precision < 24 and math.isfinite(value) and value:
        slack = 2 * FORMATS[ran.result].unit * abs(value)
        short = [float(f"{value:.{digits}g}") for digits in (1, 2, 3)]
        short += [float(Fraction(value).limit_denominator(16)), *_KNOWN, *(-k for k in _KNOWN)]
        found = [one for one in short if one and abs(one - value) <= slack] + found
    return tuple(dict.fromkeys(found))


def _solve(columns: list[Array], target: Array) -> Array | None:
    """Solve a small least-squares problem; None where the columns are not independent."""
    matrix = np.stack(columns, axis=1)
    usable = np.isfinite(matrix).all(1) & np.isfinite(target)
    matrix, target = matrix[usable], target[usable]
    if len(target) < 2 * matrix.shape[1] + 2:
        return None
    size = np.linalg.norm(matrix, axis=0)
    if not (size > 0).all():
        return None
    found, _, rank, _ = np.linalg.lstsq(matrix / size, target, rcond=1e-9)
    if rank < matrix.shape[1]:
        return None
    left = target - (matrix / size) @ found
    if np.linalg.norm(left) > 1e-2 * np.linalg.norm(target):
        return None
    return found / size


def _parts(search: Search) -> tuple[Array, Array, Array]:
    """Return what the taps read, the weights, and what is left of the output without the bias."""
    base = search.base
    origin, read, factors = search.halves(1)
    bias = base.finish(Sums(np.zeros(len(read)), np.zeros(len(read)), origin, base)).values
    return read, factors, search.targets[1] - bias


def _ones(search: Search) -> Array:
    """Return 1 where taps fall on the input and 0 on padding."""
    at, read, _ = search.halves(1)
    index, valid = search.base.reached(at)
    ones = np.ones(np.broadcast_shapes(*(axis.shape for axis in index)))
    return search.base.but(fill=0.0).laid(ones, valid).reshape(read.shape)


def _input(search: Search) -> Iterator[Change]:
    """The input times one number, plus another."""
    read, factors, target = _parts(search)
    ones = _ones(search)
    columns = [(read * factors).sum(1), (ones * factors).sum(1)]
    both = _solve(columns, target)
    if both is not None and abs(both[0]) > 1e-9:
        yield from _affine_inputs(search, *map(float, both))
    padded = _solve([columns[0], factors.sum(1)], target)
    if (
        padded is not None
        and abs(padded[0]) > 1e-9
        and all(mode == "zeros" for mode in search.base.modes)
    ):
        yield from _affine_inputs(search, *map(float, padded), padded=True)
    one = _solve(columns[:1], target)
    if one is not None and abs(one[0]) > 1e-9:  # times 0 would leave no trace of the input
        for factor in simple(search, float(one[0])):
            yield _affine_input(factor, 0.0)
            yield weights_scaled(factor, 1.6)
    shift = _solve(columns[1:], target - columns[0])
    if shift is not None:
        yield from _affine_inputs(search, 1.0, float(shift[0]))


def _affine_inputs(
    search: Search, scale: float, shift: float, *, padded: bool = False
) -> Iterator[Change]:
    """Yield the input times what one fitted number may stand for, plus what another one may."""
    shifts = simple(search, shift) if abs(shift) > 1e-7 else (0.0,)
    for factor, more in itertools.product(simple(search, scale), shifts):
        yield _affine_input(factor, more, padded=padded)


def _affine_input(scale: float, shift: float, *, padded: bool = False) -> Change:
    shift = shift if abs(shift) > 1e-7 else 0.0
    if abs(scale - 1) < 1e-6:
        scale = 1.0

    def make(setup: Setup) -> Setup:
        fill = setup.fill * scale + shift if padded else setup.fill
        return changed_input(setup, lambda v, i: v * scale + shift).but(fill=fill)

    if not shift:
        return Change("input.scaled", "x", make, {"factor": scale}, 1.45)
    given = {"factor": scale, "shift": shift}
    if padded:
        return Change("input.shifted_padded", "x", make, given, 1.55)
    return Change("input.shifted", "x", make, given, 1.5)


def _input_channels(search: Search) -> Iterator[Change]:
    """Each input channel times a number of its own, plus another: mean and standard deviation."""
    base = search.base
    terms = base.terms
    if not 2 <= terms <= 4 or base.groups > 1:
        return
    read, factors, target = _parts(search)
    ones = _ones(search)
    shape = (len(target), terms, -1)
    scaled = (read * factors).reshape(shape).sum(2)
    shifted = (ones * factors).reshape(shape).sum(2)
    found = _solve([*scaled.T, *shifted.T], target)
    if found is None:
        return
    scale, shift = found[:terms], found[terms:]
    shift = np.where(np.abs(shift) < 1e-7, 0.0, shift)

    def op(values: Array, index: Positions) -> Array:
        return values * scale[index[1]] + shift[index[1]]

    yield Change(
        "input.by_channel",
        "x",
        lambda s: changed_input(s, op),
        {"factors": tuple(scale.tolist()), "shifts": tuple(shift.tolist())},
        1.9,
    )


def _padding(search: Search) -> Iterator[Change]:
    """A constant on the padding."""
    base = search.base
    if base.transposed or any(mode != "zeros" for mode in base.modes):
        return
    _, factors, target = _parts(search)
    linear = search.base_sums(1).values
    outside = ((1 - _ones(search)) * factors).sum(1)
    found = _solve([outside], target - linear + base.fill * outside)
    for value in () if found is None else simple(search, float(found[0])):
        yield Change(
            "padding.value",
            "x",
            lambda s, v=value: s.but(fill=v),
            {"value": value, "word": ""},
            1.4,
        )


def _padding_channels(search: Search) -> Iterator[Change]:
    """A constant on the padding of each channel: a mean that was folded into the bias."""
    base = search.base
    terms = base.terms
    zeros = all(mode == "zeros" for mode in base.modes) and base.fill == 0
    if base.transposed or not zeros or base.groups > 1 or not 2 <= terms <= 4:
        return
    _, factors, target = _parts(search)
    shape = (len(target), terms, -1)
    outside = ((1 - _ones(search)) * factors).reshape(shape).sum(2)
    found = _solve([*outside.T], target - search.base_sums(1).values)
    if found is None:
        return
    rounds = tuple(simple(search, float(value))[0] for value in found)
    for values in dict.fromkeys((rounds, tuple(float(value) for value in found))):
        yield _padded(np.array(values), terms)


def _padded(values: Array, terms: int) -> Change:
    """Make the change that puts a value on the padding of each channel."""

    def make(setup: Setup) -> Setup:
        # What the padding adds is the sum over all taps without that over taps on the input.
        column = values.reshape(1, -1, *(1,) * setup.axes)
        inner = setup.but(x=np.broadcast_to(column, setup.x.shape), x_maps=(), x_ops=(), stages=())
        weights = setup.factors(np.arange(setup.channels_out))
        every = (weights.reshape(len(weights), terms, -1).sum(2) * values).sum(1)

        def stage(sums: Sums) -> Sums:
            more = every[sums.channel] - inner.linear(_flat(sums)).values.reshape(sums.values.shape)
            return sums.to(sums.values + more, sums.magnitude + np.abs(more))

        return setup.but(stages=(Local(stage), *setup.stages))

    given = {"values": tuple(values.tolist())}
    return Change("padding.by_channel", "after", make, given, 1.5)


def _flat(sums: Sums) -> Positions:
    """Return output positions as one row for each axis."""
    spread = np.broadcast_arrays(*sums.at)
    return tuple(axis.reshape(-1) for axis in spread)


def _output(search: Search) -> Iterator[Change]:
    """The whole output times one number, plus another."""
    values = search.base.finish(search.base_sums(1)).values
    target = search.targets[1]
    rows = [
        _solve([values], target),
        _solve([values, np.ones_like(values)], target),
    ]
    for row in rows:
        if row is None or abs(row[0]) < 1e-9:
            continue
        shift = float(row[1]) if len(row) > 1 and abs(row[1]) > 1e-7 else 0.0
        for scale, add in itertools.product(
            simple(search, float(row[0])), simple(search, shift) if shift else (0.0,)
        ):
            stage = Affine(np.array([scale]), np.array([add]))
            yield Change(
                "output.shifted" if add else "output.scaled",
                "after",
                lambda s, stage=stage: s.but(stages=(*s.stages, stage)),
                {"factor": scale, "shift": add, "word": "", "where": "last"},
                1.7,
            )


def _slope(search: Search) -> Iterator[Change]:
    """A leaky ReLU of some slope."""
    base = search.base
    stages = tuple(stage for stage in base.stages if not isinstance(stage, Act))
    values = base.but(stages=stages).finish(search.base_sums(1)).values
    target = search.targets[1]
    below = (values < 0) & np.isfinite(target)
    if below.sum() < 4:
        return
    with np.errstate(all="ignore"):
        slope = simple(search, float(np.median(target[below] / values[below])))[0]
    if not math.isfinite(slope) or slope in (0.0, 1.0) or abs(slope) > 2:
        return

    def stage(sums: Sums) -> Sums:
        return sums.to(
            np.where(sums.values >= 0, sums.values, slope * sums.values), 2 * sums.magnitude
        )

    yield Change(
        "activation.fused" if len(stages) == len(base.stages) else "activation.other",
        "after",
        lambda s: s.but(stages=(*(o for o in s.stages if not isinstance(o, Act)), Local(stage))),
        {"name": "leaky_relu", "slope": slope, "where": "last", "right": ""},
        1.5,
    )


def _clip(right: Compared) -> Iterator[Change]:
    """Values cut off at the largest or smallest observed one."""
    observed = right.observed
    if not sums_up(observed):
        return
    low, high = float(observed.min()), float(observed.max())
    stuck_low = int((observed == low).sum()) > 1 and float(right.values.min()) < low
    stuck_high = int((observed == high).sum()) > 1 and float(right.values.max()) > high
    if low == high or not (stuck_low or stuck_high):
        return
    least, most = low if stuck_low else -math.inf, high if stuck_high else math.inf
    yield Change(
        "output.clipped",
        "after",
        lambda s: s.but(
            stages=(
                *s.stages,
                Local(lambda u: u.to(np.clip(u.values, least, most), u.magnitude)),
            )
        ),
        {"low": least, "high": most},
        1.4,
    )


def _epsilon(search: Search) -> Iterator[Change]:
    """A batch norm with some other epsilon."""
    from dataclasses import replace

    base = search.base
    at = next((n for n, s in enumerate(base.stages) if isinstance(s, Norm)), None)
    if at is None or not isinstance(norm := base.stages[at], Norm):
        return
    before = base.but(stages=base.stages[:at]).finish(search.base_sums(1))
    c = before.channel
    target = search.targets[1]
    with np.errstate(all="ignore"):
        root = norm.gamma[c] * (before.values - norm.mean[c]) / (target - norm.beta[c])
        eps = root**2 - norm.var[c]
    usable = np.isfinite(eps) & (root > 0) & (target != 0)
    if usable.sum() < 8:
        return
    found = float(np.median(eps[usable]))
    if found <= -float(norm.var.min()) or abs(found - norm.eps) < 1e-12:
        return
    short = float(f"{found:.3g}")
    for value in dict.fromkeys((float(f"{found:.1g}"), short, found)):

        def make(s: Setup, value: float = value) -> Setup:
            return s.but(
                stages=tuple(replace(o, eps=value) if isinstance(o, Norm) else o for o in s.stages)
            )

        yield Change("norm.epsilon", "after", make, {"eps": value, "right": norm.eps}, 1.2)
