"""What is wrong with a step: the differences of the two sides, put in one by one.

Both sides are known, so little has to be guessed. Each difference in settings and weights, and each
step that only one side has, is put into the reference; what then makes mine's numbers is the cause.
A convolution is also asked about on its own: why its weights are other ones (flipped, permuted, a
norm folded wrongly) is said by the cause that `ct.diff` finds for it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from convtrace.address import Address
from convtrace.errors import ConvtraceError
from convtrace.mismatch.networks.differences import (
    Difference,
    differences,
    fold,
    hybrid,
    norm_behind,
)
from convtrace.mismatch.networks.rerun import CannotRunError, evaluate
from convtrace.mismatch.networks.verdict import Judged, Sides, recorded
from convtrace.mismatch.report import Cause, Note, Report
from convtrace.receipt import Receipt
from convtrace.rules import rule_of
from convtrace.step import Step, Unobserved, Value

_WORST = 3


@dataclass(frozen=True)
class Blame:
    """Why a step is wrong.

    Attributes:
        causes: Causes, simplest first.
        report: The report of the step as a single convolution, or None.
        worst: Receipts of the numbers that are furthest out.
        worst_own: Whether these are mine's own, and not of the reference's step.
        clues: What differs between the two sides.
    """

    causes: tuple[Cause, ...] = ()
    report: Report | None = None
    worst: tuple[Receipt, ...] = ()
    clues: tuple[Note, ...] = ()
    worst_own: bool = False


def blame(judged: Judged) -> Blame:
    """Explain a pair that differs by more than rounding."""
    sides = judged.sides
    listed = differences(sides)
    chosen, proved = _put_in(judged, listed)
    report, named = None, ()
    if not chosen or _many_weights(chosen) or judged.pair.own is False:
        rest = [one for one in chosen if one.what not in _WEIGHTS]
        report = _as_convolution(judged, rest)
        named = _said_of_weights(report) if report is not None else ()
        if chosen and not all(cause.proved and _of_weights(cause) for cause in named):
            named = ()  # what is known of both sides says more than what would look the same
    others = tuple(
        one.cause(proved=proved) for one in chosen if not (named and one.what in _WEIGHTS)
    )
    causes = (*named, *others)
    if not causes and judged.pair.own is False:
        causes = (Cause("model.kernel", {"step": judged.pair.mine}, proved=False),)
    said = {cause.id for cause in causes}
    if "model.other_step" in said:
        listed = []
    clues = tuple(one.note for one in listed if one.cause(proved=proved).id not in said)
    worst = _worst(judged)
    own = not worst
    if own:
        at, name = sides.mine, sides.own_end.name
        worst = tuple(at.trace.why(Address(name, at.place(name, p))) for p in _places(judged))
    return Blame(causes, report, worst, clues, own)


_WEIGHTS = frozenset({"weights", "folded"})
"""Differences that a single convolution may know more of: in which way its weights are others."""

_FEW = 0.1


def _many_weights(chosen: Sequence[Difference]) -> bool:
    """Whether so many weights differ that all of them may have been changed in one way."""
    for one in chosen:
        words = one.words
        if one.what == "weights" and words["count"] > _FEW * words["of"]:
            return True
        # A wrong scale changes all weights of a channel, a wrong shift none.
        if one.what == "folded" and (
            words["weights"] > _FEW * words["weights_of"] or not words["weights"]
        ):
            return True
    return False


def _said_of_weights(report: Report) -> tuple[Cause, ...]:
    """Return the causes of a report; of one function's several names, the one of the weights.

    Here it is known that the weights are others, and the input is the same.
    """
    for causes in report.explanations if report.same and report.proved else ():
        if all(_of_weights(cause) for cause in causes):
            return tuple(replace(cause, proved=True) for cause in causes)
    return report.causes


def _of_weights(cause: Cause) -> bool:
    """Whether a cause says in which way weights are others."""
    return cause.id.startswith(
        ("kernel.", "weight", "norm.", "bias.", "depthwise.", "groups.", "transposed.")
    ) or cause.id.startswith("precision.weights")


# Putting differences in --------------------------------------------------------------------------


def _put_in(judged: Judged, listed: list[Difference]) -> tuple[tuple[Difference, ...], bool]:
    """Find the fewest differences that turn the reference's numbers into mine.

    Returns:
        These, and whether they are proved: they do it, and no others as few as they. Where it
        cannot be tried, those that can be the cause.
    """
    ours, sides = recorded(judged.sides.own_end), judged.sides
    entries = sides.from_mine()
    if ours is None or entries is None:
        # Mine's numbers cannot be given to the reference: what differs is all that can be said.
        return tuple(one for one in listed if one.telling), False
    other = tuple(one for one in listed if one.what == "other_step")
    found: list[tuple[Difference, ...]] = []
    for chosen in _subsets([one for one in listed if one not in other]):
        if found and len(chosen) > len(found[0]):
            break
        if _makes(judged, chosen, entries, ours):
            found.append(chosen)
    if len(found) == 1:
        return found[0], True
    if found:  # each would do alone, and these numbers cannot tell which it is
        return tuple(dict.fromkeys(one for chosen in found for one in chosen)), False
    # Nothing that both sides have in common: what mine does is known, if it does what it says.
    return (other, True) if other and judged.pair.own else ((), False)


def _makes(judged: Judged, chosen: Sequence[Difference], entries: Any, ours: Any) -> bool:
    """Whether the reference with some differences put in makes mine's numbers."""
    import torch

    sides = judged.sides
    try:
        steps = hybrid(sides, chosen)
        made = evaluate(steps, entries, sides.arithmetic())[steps[-1].name]
    except CannotRunError:
        return False
    value = made.value.double()
    if value.shape != ours.shape:
        return False
    extra = judged.bound if judged.expected is not None else 0.0
    limit = 2 * torch.as_tensor(made.error, dtype=torch.float64) + _rounding(extra, made.error)
    close = ((ours - value).abs() <= limit) | (ours == value) | (ours.isnan() & value.isnan())
    return bool(close.all())


def _rounding(bound: Any, error: Any) -> Any:
    """Return the part of a pair's bound that mine's own steps bring in."""
    import torch

    whole = torch.as_tensor(bound, dtype=torch.float64)
    part = torch.as_tensor(error, dtype=torch.float64)
    return torch.minimum(whole, part) if whole.shape == part.shape else 0.0


def _subsets(listed: list[Difference]) -> Iterator[tuple[Difference, ...]]:
    for size in range(1, len(listed) + 1):
        if size > 2 and size < len(listed):
            continue
        yield from itertools.combinations(listed, size)


# A single convolution ----------------------------------------------------------------------------


def _as_convolution(judged: Judged, known: Sequence[Difference]) -> Report | None:
    """Ask `ct.diff` about the convolution of a pair, on the numbers that mine gave it.

    Args:
        judged: The pair.
        known: Differences that are put into the reference first.
    """
    from convtrace.mismatch.entry import diff

    sides = judged.sides
    sides = replace(sides, steps=tuple(hybrid(sides, known)))
    layers = [step for step in sides.steps if step.kind == "convolution"]
    if len(layers) != 1 or isinstance(sides.own_end.value, Unobserved):
        return None
    head, after = layers[0], sides.steps[sides.steps.index(layers[0]) + 1 :]
    names = sides.reference.flowing(head)
    if list(names) != ["input"]:
        return None
    x = _read_by(sides, head, names["input"])
    if x is None:
        return None
    more = _following(sides, after)
    if more is None:
        return None
    values = {role: value for role, value in head.values.items() if role != "input"}
    shown = replace_step(head, sides, {**values, "input": x})
    try:
        found = diff(sides.own_end.value.data, shown, **more)
    except ConvtraceError:
        return None
    return found if isinstance(found, Report) else None


def _read_by(sides: Sides, head: Step, name: str) -> Value | None:
    """Return what the convolution reads, computed from mine's numbers where mine has no name."""
    other = sides.entries.get(name)
    if other is not None:
        return sides.mine.value(other)
    entries = sides.from_mine()
    if entries is None or name not in sides.reference.made:
        return None
    before = [step for step in sides.steps if sides.reference.order[step.name] < _at(sides, head)]
    try:
        made = evaluate(before, entries)[name].value
    except CannotRunError:
        return None
    stored = sides.reference.value(name)
    return Value(name, made.to(stored.tensor().dtype) if stored is not None else made)


def _at(sides: Sides, step: Step) -> int:
    return sides.reference.order[step.name]


def _following(sides: Sides, after: tuple[Step, ...]) -> dict[str, Any] | None:
    """Return what follows a convolution as `ct.diff` takes it; None where it cannot."""
    from convtrace.mismatch.computing.stages import ACTIVATIONS

    found: dict[str, Any] = {}
    for step in after:
        if step.kind == "native_batch_norm" and not found:
            if step.attributes.get("training", False):
                return None
            names = {"weight": "weight", "bias": "bias", "mean": "running_mean"}
            names["var"] = "running_var"
            found["norm"] = {
                short: step.values[role].data
                for short, role in names.items()
                if role in step.values
            }
            found["norm"]["eps"] = step.attributes["eps"]
        elif step.kind in ACTIVATIONS and "activation" not in found and step is after[-1]:
            found["activation"] = step.kind
        else:
            return None
    return found


def replace_step(step: Step, sides: Sides, values: Mapping[str, Value]) -> Step:
    """Return the reference's step with other operands and mine's output."""
    order = [role for role in step.values if role in values]
    return replace(
        step,
        values={role: values[role] for role in order},
        value=sides.own_end.value,
        arithmetic=sides.arithmetic() or step.arithmetic,
    )


# Receipts ----------------------------------------------------------------------------------------


def _worst(judged: Judged) -> tuple[Receipt, ...]:
    """Return receipts of mine's numbers that are furthest from what the reference's step gives.

    They have the reference's weights and settings, and mine's inputs and result; there are none
    where the two sides are not one step each.
    """
    sides = judged.sides
    places = _places(judged)
    if not places:
        return ()
    end = sides.end
    norm = norm_behind(sides.steps, sides.steps[0])
    if len(sides.steps) == 2 and norm is end:
        end = _with_norm(sides.steps[0], end)
    elif not sides.same:
        end = None
    if end is not None and len(sides.own) == 1 and judged.expected is not None:
        flowing = sides.reference.flowing(end)
        values: dict[str, Value] = {}
        for role, value in end.values.items():
            other = sides.entries.get(flowing[role]) if role in flowing else None
            found = sides.mine.value(other) if other is not None else value
            if found is None:
                return ()
            values[role] = found
        step = replace_step(end, sides, values)
        why = rule_of(step).why
        if why is not None:
            reporter = sides.mine.trace.reporter
            found = [why(step, place, reporter) for place in places]
            return tuple(receipt for receipt in found if receipt is not None)
    return ()


def _with_norm(layer: Step, norm: Step) -> Step | None:
    """Return a convolution with its norm folded in; None where that has no such form."""
    if layer.kind != "convolution" or layer.attributes["transposed"]:
        return None
    (weight, _), (bias, _) = fold(layer, norm)
    return replace(
        layer,
        values={
            "input": layer.values["input"],
            "weight": Value(f"{layer.operands['weight']} × {norm.name}", weight, "constant"),
            "bias": Value(f"{norm.name} shift", bias, "constant"),
        },
    )


def _places(judged: Judged) -> list[tuple[int, ...]]:
    """Return the positions of the numbers that are furthest out, worst first."""
    import torch

    ours = recorded(judged.sides.own_end)
    if judged.expected is None or ours is None:
        return [judged.pair.worst] if judged.pair.worst else []
    limit = torch.as_tensor(judged.bound, dtype=torch.float64).expand(ours.shape)
    ratio = ((ours - judged.expected).abs() / limit).nan_to_num(np.inf, np.inf)
    ratio = ratio.masked_fill(ours == judged.expected, 0.0)
    count = min(_WORST, int((ratio > 1).sum()) or 1, ratio.numel())
    found = torch.topk(ratio.reshape(-1), count).indices
    return [tuple(int(n) for n in torch.unravel_index(place, ours.shape)) for place in found]
