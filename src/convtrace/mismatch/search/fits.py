"""Causes with a number in them that is not known beforehand: it is fitted on the sample.

A fit has one or two numbers, or two a channel, against hundreds of elements that it must then
reproduce like every other candidate.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.mismatch.computing.setup import Positions, Setup
from convtrace.mismatch.computing.stages import Act, Add, Affine, Local, Norm, Sums
from convtrace.mismatch.judging.elements import Compared
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
    yield from _output(search)
    yield from _channels(right)
    yield from _slope(search)
    yield from _clip(right)
    yield from _epsilon(search)


def nice(value: float) -> float:
    """Return the simple number that a fitted one stands for, or the number itself.

    Example:
        >>> nice(0.00392156859), nice(0.49999998), nice(0.123456)
        (0.00392156862745098, 0.5, 0.123456)
    """
    if not math.isfinite(value) or value == 0:
        return value
    for known in (1 / 255, 255.0, 1 / 256, 1 / 127.5, 127.5, 1 / 128, 1 / 127, 127.0):
        for sign in (1, -1):
            if abs(value - sign * known) <= 2e-6 * known:
                return sign * known
    fraction = Fraction(value).limit_denominator(64)
    if fraction and abs(float(fraction) - value) <= 2e-6 * abs(value):
        return float(fraction)
    return value


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
    base, at = search.base, search.samples[1]
    origin = base.origin(at)
    read, factors = base.read(origin), base.factors(origin[1])
    bias = base.finish(Sums(np.zeros(len(read)), np.zeros(len(read)), origin, base)).values
    return read, factors, search.targets[1] - bias


def _ones(search: Search) -> Array:
    """Return 1 where taps fall on the input and 0 on padding."""
    base = search.base.but(fill=0.0)

    def ones(values: Array, index: Positions) -> Array:
        return np.ones_like(values)

    return base.but(x_ops=(ones,)).read(base.origin(search.samples[1]))


def _input(search: Search) -> Iterator[Change]:
    """The input times one number, plus another."""
    read, factors, target = _parts(search)
    ones = _ones(search)
    columns = [(read * factors).sum(1), (ones * factors).sum(1)]
    both = _solve(columns, target)
    if both is not None and abs(both[0]) > 1e-9:
        yield _affine_input(float(both[0]), float(both[1]))
    padded = _solve([columns[0], factors.sum(1)], target)
    if (
        padded is not None
        and abs(padded[0]) > 1e-9
        and all(mode == "zeros" for mode in search.base.modes)
    ):
        yield _affine_input(float(padded[0]), float(padded[1]), padded=True)
    one = _solve(columns[:1], target)
    if one is not None and abs(one[0]) > 1e-9:  # times 0 would leave no trace of the input
        yield _affine_input(float(one[0]), 0.0)
    shift = _solve(columns[1:], target - columns[0])
    if shift is not None:
        yield _affine_input(1.0, float(shift[0]))


def _affine_input(scale: float, shift: float, *, padded: bool = False) -> Change:
    scale, shift = nice(scale), nice(shift) if abs(shift) > 1e-7 else 0.0
    if abs(scale - 1) < 1e-6:
        scale = 1.0

    def make(setup: Setup) -> Setup:
        fill = setup.fill * scale + shift if padded else setup.fill
        return setup.but(x_ops=(*setup.x_ops, lambda v, i: v * scale + shift), fill=fill)

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
        lambda s: s.but(x_ops=(*s.x_ops, op)),
        {"factors": tuple(scale.tolist()), "shifts": tuple(shift.tolist())},
        1.9,
    )


def _padding(search: Search) -> Iterator[Change]:
    """A constant on the padding."""
    base = search.base
    if base.transposed or any(mode != "zeros" for mode in base.modes):
        return
    _, factors, target = _parts(search)
    linear = search.base_sums[1].values
    outside = ((1 - _ones(search)) * factors).sum(1)
    found = _solve([outside], target - linear + base.fill * outside)
    if found is not None:
        value = nice(float(found[0]))
        yield Change(
            "padding.value",
            "x",
            lambda s: s.but(fill=value),
            {"value": value, "word": ""},
            1.4,
        )


def _output(search: Search) -> Iterator[Change]:
    """The whole output times one number, plus another."""
    values = search.base.finish(search.base_sums[1]).values
    target = search.targets[1]
    rows = [
        _solve([values], target),
        _solve([values, np.ones_like(values)], target),
    ]
    for row in rows:
        if row is None or abs(row[0]) < 1e-9:
            continue
        scale = nice(float(row[0]))
        shift = nice(float(row[1])) if len(row) > 1 and abs(row[1]) > 1e-7 else 0.0
        stage = Affine(np.array([scale]), np.array([shift]))
        yield Change(
            "output.scaled" if not shift else "output.shifted",
            "after",
            lambda s, stage=stage: s.but(stages=(*s.stages, stage)),
            {"factor": scale, "shift": shift, "word": "", "where": "last"},
            1.7,
        )


def _channels(right: Compared) -> Iterator[Change]:
    """Every output channel plus a number of its own, or times one as well."""
    values, observed = right.values, right.observed
    count = values.shape[1]
    rows = np.moveaxis(values, 1, 0).reshape(count, -1)
    seen = np.moveaxis(observed, 1, 0).reshape(count, -1)
    if rows.shape[1] < 6 or not (np.isfinite(rows).all() and np.isfinite(seen).all()):
        return
    shift = np.median(seen - rows, axis=1)
    shift = np.where(np.abs(shift) <= 1e-6 * np.abs(rows).max(1), 0.0, shift)
    ones = np.ones(count)
    if shift.any():
        stage = Affine(ones, shift)
        wrong = np.flatnonzero(shift)
        id_, given = "bias.other", {"channels": tuple(wrong.tolist()[:16]), "count": len(wrong)}
        if len(wrong) and np.allclose(shift, shift[0], rtol=1e-5):
            given["amount"] = float(shift[0])
        yield Change(id_, "after", lambda s: s.but(stages=(*s.stages, stage)), given, 1.9)
    middle, around = rows.mean(1, keepdims=True), seen.mean(1, keepdims=True)
    square = ((rows - middle) ** 2).sum(1)
    if not (square > 0).all():
        return
    scale = ((rows - middle) * (seen - around)).sum(1) / square
    offset = (around - scale[:, None] * middle)[:, 0]
    var = seen.var(1)
    if (np.abs(scale) < 1e-9).any():
        return  # channels that hold no trace of what belongs there
    affine = Affine(scale, offset)
    own = bool((np.abs(around) < 1e-3).all() and (np.abs(var - 1) < 1e-2).all())
    given: dict[str, Any] = {"over": "batch"} if own else {}
    yield Change(
        "norm.fused" if own else "output.by_channel",
        "after",
        lambda s: s.but(stages=(*s.stages, affine)),
        given,
        1.6 if own else 2.2,
    )


def _slope(search: Search) -> Iterator[Change]:
    """A leaky ReLU of some slope."""
    base = search.base
    stages = tuple(stage for stage in base.stages if not isinstance(stage, Act))
    values = base.but(stages=stages).finish(search.base_sums[1]).values
    target = search.targets[1]
    below = (values < 0) & np.isfinite(target)
    if below.sum() < 4:
        return
    with np.errstate(all="ignore"):
        slope = nice(float(np.median(target[below] / values[below])))
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
    if not np.isfinite(observed).all():
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
    before = base.but(stages=base.stages[:at]).finish(search.base_sums[1])
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
