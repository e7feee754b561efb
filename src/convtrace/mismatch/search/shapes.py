"""Outputs of another shape than the settings give, and settings that were not given."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.errors import ShapeError
from convtrace.frontends.convolution import canonical
from convtrace.mismatch.causes import candidates
from convtrace.mismatch.causes.maps import axis_names
from convtrace.mismatch.computing.whole import Whole, linear_whole
from convtrace.mismatch.judging.elements import compared
from convtrace.mismatch.judging.spread import MARGIN, expected_size
from convtrace.mismatch.naming import named
from convtrace.mismatch.question.problem import Problem
from convtrace.mismatch.question.settings import choices
from convtrace.mismatch.report import Cause, Report
from convtrace.mismatch.search.around import around
from convtrace.mismatch.search.change import Change
from convtrace.mismatch.search.later import later
from convtrace.mismatch.search.sample import FIRST, SECOND, anywhere, positions
from convtrace.mismatch.search.search import Judge, Search
from convtrace.mismatch.search.unsummed import unsummed

Array = NDArray[Any]

NAMES = ("stride", "padding", "dilation", "output_padding")
PLAIN = {"stride": 1, "padding": 0, "dilation": 1, "output_padding": 0}
"""Settings that are not given."""

MOST = 4000
"""Most settings that are tried on a sample."""

NAMED = 8
"""Most of them that are listed."""

RIVALS = 32
"""Most settings, of those that leave as much as was given, that are tried beside one that fits."""


def other_settings(problem: Problem, tick: Callable[[], None]) -> Problem | None:
    """Look for settings that were not given and reproduce the output.

    Returns:
        The problem with these settings, or None where there are none.
    """
    given = {name: problem.extra["given"][name] for name in problem.extra.get("given", {})}
    if given and not problem.found:
        return None  # those that were not given are what they are by default
    for other in _alternatives(problem, given):
        if reproduces(other):
            tick()
            found = tuple(
                name
                for name in NAMES
                if name not in given and other.attributes[name] != _default(name, other)
            )
            return other.but(found=found, extra={**problem.extra, "settled": True})
    return None


def _default(name: str, problem: Problem) -> Any:
    count = len(problem.modes)
    values = {"stride": 1, "dilation": 1, "output_padding": 0}
    return ((0, 0),) * count if name == "padding" else (values[name],) * count


def _alternatives(problem: Problem, given: Mapping[str, Any]) -> Iterator[Problem]:
    """List the problem with every setting that gives the observed shape."""
    shapes = {role: tuple(array.shape) for role, array in problem.raw.items() if array is not None}
    observed = tuple(problem.raw["observed"].shape)
    settings = {
        "groups": problem.attributes["groups"],
        "transposed": problem.attributes["transposed"],
    }
    rows = choices(shapes, observed, settings, given)
    few = () if given else _turned_round(problem)
    for choice in (*few, *itertools.islice(rows, MOST)):
        try:
            attributes, shape = canonical(
                problem.name,
                shapes["x"],
                shapes["weight"],
                shapes.get("bias"),
                groups=settings["groups"],
                transposed=settings["transposed"],
                **choice,
            )
        except ShapeError:
            continue
        if shape == observed and attributes != problem.attributes:
            yield problem.but(attributes=attributes, shape=shape)


def _turned_round(problem: Problem) -> Iterator[dict[str, Any]]:
    """List the given settings with one of them in another order of axes, or of sides."""
    given = problem.extra.get("given", {})
    right = {name: problem.attributes[name] for name in given if name in NAMES}
    for name, value in right.items():
        for order in itertools.permutations(value):
            yield {**right, name: order}
    if "padding" in right:
        yield {**right, "padding": tuple((high, low) for low, high in right["padding"])}
        for before, after in ((1, 1), (-1, -1), (1, 0), (0, 1), (-1, 0), (0, -1)):
            moved = tuple((low + before, high + after) for low, high in right["padding"])
            if min(min(pair) for pair in moved) >= 0:
                yield {**right, "padding": moved}


def reproduces(problem: Problem) -> bool:
    """Whether a problem's own settings reproduce its output: on two samples, then on all."""
    setup, observed = problem.setup, problem.observed
    usable = np.isfinite(observed)
    if not usable.any():
        return False
    for seed, count in enumerate((FIRST, SECOND)):
        at = positions(usable, np.where(usable, np.abs(observed), -1.0), count, seed)
        found = compared(
            observed[at], setup.sample(at), problem.arithmetic, problem.count, problem.stored
        )
        if not found.all_inside:
            return False
    sums = Whole(setup, linear_whole(setup))
    most = float("inf")
    if problem.arithmetic is not None:
        at = anywhere(observed.shape, 32, 5)
        most = MARGIN * expected_size(setup, at, problem.arithmetic, problem.count, problem.stored)
    found = compared(observed, sums, problem.arithmetic, problem.count, problem.stored)
    return found.all_inside and found.size <= most


def misshapen(
    problem: Problem,
    tick: Callable[[], None],
    diagnose: Callable[[Problem, Callable[[], None]], Report],
) -> Report:
    """Explain an output of another shape than the reference's.

    Raises:
        ShapeError: No settings give this shape; the message names those that come nearest.
    """
    observed = tuple(problem.raw["observed"].shape)
    given = problem.extra.get("given", {})
    turned = _turned(problem, tick, diagnose)
    if turned is not None and len(turned.explanations[0]) == 1:
        return turned
    for other in unsummed(problem):
        if reproduces(other):
            report = diagnose(other.but(extra={"settled": True}), tick)
            cause = Cause("channels.not_summed", {"apart": True}, proved=True)
            return replace(_without_elements(problem, report, ((cause,),)), worst=())
    for other in around(problem):
        if reproduces(other):
            report = diagnose(other.but(extra={"settled": True}), tick)
            cause = Cause("transposed.input_padded", {}, proved=True)
            return replace(_without_elements(problem, report, ((cause,),)), worst=())
    freed = _freed(given)
    for kept in freed:
        for other in _alternatives(problem, kept):
            if reproduces(other):
                tick()
                report = diagnose(other.but(extra={"settled": True}), tick)
                if all(name not in given for name in _differing(problem, other)):
                    return replace(report, found=_differing(problem, other))
                return _set_otherwise(problem, [other, *_rivals(problem, other, freed)], report)
    if (report := _begun_later(problem, tick, diagnose)) is not None:
        return report
    if turned is not None:
        return turned
    others = list(_alternatives(problem, {}))
    if not others:
        raise _unexplained(problem, observed)
    for other in others[:24]:
        report = _with_one_more(problem, other, tick)
        if report is not None:
            return report
    report = diagnose(others[0].but(extra={"settled": True, "shallow": True}), tick)
    report = _without_elements(problem, report, ())
    return replace(report, notes=(*report.notes, _nearest_note(others[0])))


def begun_later(
    problem: Problem,
    tick: Callable[[], None],
    diagnose: Callable[[Problem, Callable[[], None]], Report],
) -> Report | None:
    """Explain an output that only has its shape by settings that were found, not given."""
    if not problem.found:
        return None
    plain = {name: problem.extra.get("given", {}).get(name, n) for name, n in PLAIN.items()}
    shapes = {role: tuple(array.shape) for role, array in problem.raw.items() if array is not None}
    try:
        attributes, shape = canonical(
            problem.name,
            shapes["x"],
            shapes["weight"],
            shapes.get("bias"),
            groups=problem.attributes["groups"],
            transposed=problem.attributes["transposed"],
            **plain,
        )
    except ShapeError:
        return None
    meant = problem.but(attributes=attributes, shape=shape, found=())
    return _begun_later(meant, tick, diagnose)


def _begun_later(
    problem: Problem,
    tick: Callable[[], None],
    diagnose: Callable[[Problem, Callable[[], None]], Report],
) -> Report | None:
    for other, cause in later(problem):
        if reproduces(other):
            report = diagnose(other.but(extra={"settled": True}), tick)
            return replace(_without_elements(problem, report, ((cause,),)), worst=())
    return None


def _freed(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """List the given settings, then all but one of them, then none."""
    names = [name for name in given if name in NAMES]
    but_one = [{k: n for k, n in given.items() if k != name} for name in names]
    return [dict(given), *(but_one if len(names) > 1 else []), {}]


def _rivals(
    problem: Problem, found: Problem, freed: Sequence[Mapping[str, Any]]
) -> Iterator[Problem]:
    """Yield other settings that reproduce an output as well: weights may hide what differs."""
    seen = [found.attributes]
    for kept in freed:
        for other in itertools.islice(_alternatives(problem, kept), RIVALS):
            if other.attributes not in seen:
                seen.append(other.attributes)
                if reproduces(other):
                    yield other


def _set_otherwise(problem: Problem, found: list[Problem], report: Report) -> Report:
    """Report settings that reproduce an output; the usual ones first where several do."""
    proved = len(found) == 1
    found = sorted(found, key=lambda other: _oddness(problem, other))
    least = len(_differing(problem, found[0]))
    found = [other for other in found if len(_differing(problem, other)) == least][:NAMED]
    explanations = tuple((_setting(problem, other, proved=proved),) for other in found)
    report = _without_elements(problem, report, explanations)
    return report if proved else replace(report, functions=tuple(range(len(found))), proved=False)


def _oddness(problem: Problem, other: Problem) -> int:
    uneven = sum(low != high for low, high in other.attributes["padding"])
    return 4 * len(_differing(problem, other)) + uneven


def _without_elements(
    problem: Problem, report: Report, explanations: tuple[tuple[Cause, ...], ...]
) -> Report:
    """Return the report of an output that has no element in common with the reference's."""
    return replace(
        report,
        verdict="mismatch",
        explanations=explanations,
        pattern=None,
        inside=float("nan"),
        ratio=float("nan"),
        expected_shape=problem.shape,
        settings={**problem.attributes, "padding_mode": problem.modes[0]},
        notes=(*report.notes, _shape_note(problem)),
    )


def _differing(right: Problem, other: Problem) -> tuple[str, ...]:
    return tuple(n for n in NAMES if right.attributes[n] != other.attributes[n])


def _shape_note(problem: Problem) -> tuple[str, dict[str, Any]]:
    words = {"shape": tuple(problem.raw["observed"].shape), "expected": problem.shape}
    return "diff.note.shape", words


def _nearest_note(problem: Problem) -> tuple[str, dict[str, Any]]:
    a = problem.attributes
    words = {"stride": a["stride"], "padding": a["padding"], "dilation": a["dilation"]}
    return "diff.note.nearest", words


def _setting(right: Problem, other: Problem, *, proved: bool) -> Cause:
    """Name the settings that differ."""
    differ = _differing(right, other)
    ids = {"stride": "stride.wrong", "dilation": "dilation.wrong", "padding": "padding.amount"}
    id_ = ids.get(differ[0], "settings.other") if len(differ) == 1 else "settings.other"
    pads, mine = right.attributes["padding"], other.attributes["padding"]
    parameters: dict[str, Any] = {n: other.attributes[n] for n in NAMES}
    if id_ == "padding.amount":
        if not any(n for pair in mine for n in pair):
            id_ = "padding.missing"
        elif mine == tuple(reversed(pads)):
            id_ = "padding.axes"
        parameters = {
            "low": tuple(a for a, _ in mine),
            "high": tuple(b for _, b in mine),
            "right_low": tuple(a for a, _ in pads),
            "right_high": tuple(b for _, b in pads),
            "axes": axis_names(len(pads)),
        }
    elif id_ != "settings.other":
        name = id_.partition(".")[0]
        value, expected = other.attributes[name], right.attributes[name]
        if value == tuple(reversed(expected)):
            id_ = f"{name}.swapped"
        elif not any(n != 1 for n in value):
            id_ = f"{name}.ignored"
        parameters = {"value": value, "right": expected, "axes": axis_names(len(pads))}
    return Cause(id_, parameters, proved)


def _with_one_more(problem: Problem, other: Problem, tick: Callable[[], None]) -> Report | None:
    """Look for one more mistake besides other settings."""
    setup, observed = other.setup, other.observed
    everything = np.ones(observed.shape, dtype=np.bool_)
    judge = Judge(observed, other.arithmetic, other.count, other.stored)
    search = Search(setup, judge, everything, np.full(observed.shape, 2.0**12), tick)
    listed = [c for c in candidates(setup) if not _geometric(c)]
    survivors = search.singles(listed)
    if not survivors:
        return None
    found = search.verify(survivors)
    if not found:
        return None
    from convtrace.mismatch.judging.verdict import judged

    sums = Whole(setup, linear_whole(setup))
    right = compared(observed, sums, other.arithmetic, other.count, other.stored)
    report, _ = judged(other, sums, right)
    names = named(found, setup)
    explanations = names.explanations
    differ, given = _differing(problem, other), problem.extra.get("given", {})
    if given and any(name in given for name in differ):
        setting = _setting(problem, other, proved=names.proved and len(explanations) == 1)
        explanations = tuple((setting, *causes) for causes in explanations)
        differ = ()
    report = _without_elements(problem, names.into(report), explanations)
    return replace(report, found=differ)


def _geometric(change: Change) -> bool:
    return change.id.partition(".")[0] in ("stride", "dilation", "padding", "precision")


def _turned(
    problem: Problem,
    tick: Callable[[], None],
    diagnose: Callable[[Problem, Callable[[], None]], Report],
) -> Report | None:
    """Try the output with its axes in another order: NHWC for NCHW."""
    observed = problem.raw["observed"]
    shape = tuple(observed.shape)
    if sorted(shape) != sorted(problem.shape):
        return None
    letters = "NCDHW" if len(shape) == 5 else "NCHW" if len(shape) == 4 else "NCW"
    letters = letters if problem.attributes["batched"] else letters[1:]
    if len(letters) != len(shape):
        return None
    best: Report | None = None
    for perm in itertools.permutations(range(len(shape))):
        if tuple(shape[a] for a in perm) != problem.shape:
            continue
        if perm == tuple(range(len(shape))):
            continue
        moved = (
            observed.permute(perm) if hasattr(observed, "permute") else np.transpose(observed, perm)
        )
        extra = {**problem.extra, "settled": True, "shallow": True}
        report = diagnose(problem.but(raw={**problem.raw, "observed": moved}, extra=extra), tick)
        word = "".join(letters[int(a)] for a in np.argsort(perm))
        if report.verdict != "mismatch" or report.explanations:
            cause = Cause("output.axes_order", {"order": word, "right": letters}, report.proved)
            if not report.explanations:
                alone = ((replace(cause, proved=True),),)
                return replace(_without_elements(problem, report, alone), shape=shape)
            found = tuple((cause, *causes) for causes in report.explanations)
            best = best or _without_elements(problem, report, found)
    return best if best is None else replace(best, shape=shape)


def _unexplained(problem: Problem, observed: tuple[int, ...]) -> ShapeError:
    shapes = {role: tuple(array.shape) for role, array in problem.raw.items() if array is not None}
    axes = len(problem.modes)
    near: dict[tuple[int, ...], tuple[int, str]] = {}
    for stride, padding, dilation in itertools.product(range(1, 5), range(5), range(1, 4)):
        try:
            _, shape = canonical(
                problem.name,
                shapes["x"],
                shapes["weight"],
                None,
                stride=stride,
                padding=padding,
                dilation=dilation,
                groups=problem.attributes["groups"],
                transposed=problem.attributes["transposed"],
            )
        except ShapeError:
            continue
        far = sum(abs(a - b) for a, b in zip(shape[-axes:], observed[-axes:], strict=False))
        text = f"stride {stride}, padding {padding}, dilation {dilation} give {shape}"
        near.setdefault(shape, (far, text))
    closest = sorted(near.values(), key=lambda pair: pair[0])
    listed = "\n    ".join(text for _, text in closest[:3])
    why = _beyond_settings(problem.shape, observed)
    return ShapeError(
        f"{problem.name}: no settings give this output\n"
        f"  mine       {observed}\n"
        f"  reference  {problem.shape}, from input {shapes['x']}, weight {shapes['weight']}\n"
        f"{why}"
        f"  nearest:\n    {listed}\n"
        "  Check that this output belongs to these arrays, and its layout."
    )


def _beyond_settings(expected: tuple[int, ...], observed: tuple[int, ...]) -> str:
    """Say what of a shape no settings change."""
    if len(observed) != len(expected):
        return f"  It has {len(observed)} axes, and an output of this layer has {len(expected)}.\n"
    found = [
        f"{mine} {name} where the arrays make {right}"
        for name, mine, right in zip(("samples", "channels"), observed, expected, strict=False)
        if mine != right
    ]
    return f"  It has {' and '.join(found)}.\n" if found else ""
