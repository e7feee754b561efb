"""The report without causes: verdict, worst elements, tolerance."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.exact import FORMATS
from convtrace.mismatch.computing.whole import Whole
from convtrace.mismatch.judging.drift import drift
from convtrace.mismatch.judging.elements import Compared, holds_nonfinite, largest, peaks
from convtrace.mismatch.judging.spread import MARGIN, expected_size
from convtrace.mismatch.question.problem import Problem, dtype_of
from convtrace.mismatch.report import Cause, Note, Report, Spread, Tolerance
from convtrace.mismatch.search.sample import anywhere
from convtrace.receipt import Receipt, Verdict

Array = NDArray[Any]

WORST = 3
"""Receipts of a report."""

CLOSE = 64
"""Most elements whose correct rounding is decided by their receipts."""

_NARROW, _ROLES = ("int8", "uint8", "int16", "uint16"), ("x", "weight")


def judged(problem: Problem, sums: Whole, found: Compared) -> tuple[Report, Array]:
    """Make the report without causes; return it and which elements are wrong."""
    inside = found.inside
    notes: list[Note] = list(problem.notes)
    verdict: Verdict = "rounding"
    unusual = np.zeros((), dtype=np.bool_)
    if not found.finite:
        unusual = ~(np.isfinite(problem.observed) & np.isfinite(found.values))
    if unusual.any() and problem.arithmetic is not None:
        fits = holds_nonfinite(sums.sums, problem.arithmetic, problem.observed)
        inside = np.where(unusual, fits, inside)
        if (fits & unusual).any():
            verdict = "nonfinite"
            notes.append(("diff.note.nonfinite", {"count": int((fits & unusual).sum())}))
    wrapped = 0
    if problem.arithmetic is None and not inside.all():
        inside, wrapped = _modular(problem, sums, found, inside)
        if wrapped:
            notes.append(("diff.note.wrapped", {"count": wrapped, "dtype": problem.dtype}))
    spread = _spread(problem, found)
    wrong = ~inside
    if wrong.any():
        verdict = "mismatch"
    elif verdict == "rounding" and _all_nearest(problem, found):
        verdict = "exact"
    if verdict == "rounding" and spread is not None and problem.arithmetic is not None:
        share = drift(problem.setup, found, problem.arithmetic, problem.count)
        spread = replace(spread, usual=spread.usual and not share, drift=share)
    most = np.where(inside & unusual, 0.0, found.ratio) if unusual.any() else found.peaks
    if problem.stages and wrong.any():
        notes.append(_furthest(found, wrong))
    overflow = Cause("quantized.accumulator", {"name": problem.dtype, "wraps": True})
    report = Report(
        verdict=verdict,
        explanations=((overflow,),) if wrapped and not wrong.any() else (),
        worst=worst(problem, found, wrong),
        inside=float(np.count_nonzero(inside) / inside.size),
        count=int(inside.size),
        ratio=float(np.max(most, initial=0.0)),
        arithmetic=problem.arithmetic,
        tolerance=tolerance(problem, found),
        spread=spread,
        settings={**problem.attributes, "padding_mode": problem.modes[0]},
        found=problem.found,
        shape=tuple(problem.raw["observed"].shape),
        expected_shape=problem.shape,
        notes=tuple(notes),
        name=problem.name,
    )
    return report, wrong


def _modular(problem: Problem, sums: Whole, found: Compared, inside: Array) -> tuple[Array, int]:
    """Allow what integer arithmetic is: exact modulo 2**bits."""
    if problem.stages or problem.change_x or not problem.dtype.startswith(("int", "uint")):
        return inside, 0
    if problem.dtype in _NARROW and {dtype_of(problem.raw[r]) for r in _ROLES} != {problem.dtype}:
        return inside, 0  # nothing that adds such operands keeps its sums in so few bits
    modulus = 2.0 ** int(problem.dtype.lstrip("uint"))
    if float(np.max(sums.sums.magnitude, initial=0.0)) >= 2.0**53:
        return _by_receipts(problem, inside)
    fits = (found.residual % modulus) == 0
    return inside | fits, int((fits & ~inside).sum())


def _by_receipts(problem: Problem, inside: Array) -> tuple[Array, int]:
    """Judge sums that float64 cannot hold by a convolution in 64-bit integers, modulo 2**64."""
    import torch

    from convtrace.mismatch.question.problem import padded

    setup = problem.setup
    if setup.transposed:
        return inside, 0
    pads = tuple(zip(setup.low, setup.high(), strict=True))
    x = torch.as_tensor(problem.raw["x"]).to(torch.int64)
    x = x if problem.attributes["batched"] else x[None]
    if any(mode != "zeros" for mode in setup.modes):
        x = torch.from_numpy(padded(x, setup.modes, pads)).to(torch.int64)
    else:
        x = torch.nn.functional.pad(x, [side for pair in reversed(pads) for side in pair])
    none = [0] * setup.axes
    bias = problem.raw["bias"]
    total = torch.ops.aten.convolution.default(
        x,
        torch.as_tensor(problem.raw["weight"]).to(torch.int64),
        None if bias is None else torch.as_tensor(bias).to(torch.int64),
        list(setup.stride),
        none,
        list(setup.dilation),
        False,
        none,
        setup.groups,
    )
    observed = torch.as_tensor(problem.raw["observed"])
    observed = observed if problem.attributes["batched"] else observed[None]
    fits = (total.to(observed.dtype) == observed).numpy()
    return fits, int((fits & ~inside).sum())


def _all_nearest(problem: Problem, found: Compared) -> bool:
    """Whether every element is the correctly rounded exact sum; receipts decide close calls."""
    if problem.arithmetic is None:
        return bool((found.residual == 0).all())
    if problem.stages:
        return False
    doubtful: list[int] = []
    start = 0
    for block in found.blocks():
        near = block.nearest(problem.arithmetic.result)
        if problem.arithmetic.result == "float64":
            near &= block.own == 0
        doubtful += (np.flatnonzero(~near) + start).tolist()
        start += near.size
        if len(doubtful) > CLOSE:
            return False
    at = np.unravel_index(np.array(doubtful, dtype=np.int64), found.shape)
    places = zip(*(axis.tolist() for axis in at), strict=True)
    return all(problem.why(place).verdict == "exact" for place in places)


def _spread(problem: Problem, found: Compared) -> Spread | None:
    if problem.arithmetic is None:
        return None
    at = anywhere(found.shape, 32, seed=5)
    expected = expected_size(problem.setup, at, problem.arithmetic, problem.count, problem.stored)
    return Spread(found.size, found.mean, expected, found.size <= MARGIN * expected)


def worst(problem: Problem, found: Compared, wrong: Array) -> tuple[Receipt, ...]:
    """Return the receipts of the elements that are furthest out, by ratio to their bound."""
    ratio, tops = found.ratio.reshape(-1), found.peaks
    if not found.finite or problem.arithmetic is None:
        ratio = np.where(wrong.reshape(-1), np.maximum(ratio, 1.0), ratio)
        tops = peaks(ratio, found.rows)
    order = largest(ratio, min(WORST, ratio.size), found.rows, tops)
    chosen = [int(flat) for flat in order if ratio[flat] > 0]
    shape = found.shape
    return tuple(problem.why(tuple(map(int, np.unravel_index(at, shape)))) for at in chosen)


def _furthest(found: Compared, wrong: Array) -> Note:
    """Say which numbers were compared where the receipts are those of sums."""
    at = int(np.argmax(np.where(wrong, found.ratio, -1.0)))
    place = np.unravel_index(at, found.shape)
    mine, expected = (float(np.asarray(part)[place]) for part in (found.observed, found.values))
    shown = f"[{','.join(map(str, map(int, place)))}]"
    return "diff.note.worst", {"at": shown, "mine": mine, "expected": expected}


def tolerance(problem: Problem, found: Compared) -> Tolerance | None:
    """Return the tolerance that no correct output fails, against a reference in float64."""
    if problem.arithmetic is None:
        most = float(np.max(found.bound, initial=0.0))
        line = f"torch.testing.assert_close(actual, expected, rtol=0, atol={most:g})"
        return Tolerance(0.0, most, line)
    rtol = 2 * FORMATS[problem.arithmetic.result].unit
    if found.loose == -math.inf:
        return None
    rtol, atol = _up(rtol), _up(max(found.loose, 0.0))
    line = f"torch.testing.assert_close(actual.double(), expected, rtol={rtol:g}, atol={atol:g})"
    return Tolerance(rtol, atol, line)


def _up(value: float) -> float:
    """Round up to two digits."""
    if value <= 0 or not math.isfinite(value):
        return value
    power = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.ceil(value / power) * power:.3g}")
