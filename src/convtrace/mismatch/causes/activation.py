"""Activations that were fused, left out, or are others than those that are meant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from numpy.typing import NDArray

from convtrace.mismatch.computing.quantization import Requantize
from convtrace.mismatch.computing.setup import Setup
from convtrace.mismatch.computing.stages import ACTIVATIONS, Act, Add, Norm
from convtrace.mismatch.search.change import Change

_USUAL = ("relu", "relu6", "leaky_relu", "silu", "gelu", "sigmoid", "tanh", "hardswish")


def possible(changes: Iterable[Change], observed: NDArray[Any]) -> Iterator[Change]:
    """Yield the changes that can have made an output.

    A clip at 255, which is for pixels, has to have met one: anywhere else it is a ReLU by another
    name.
    """
    met: bool | None = None
    for change in changes:
        if change.parameters.get("name") == "clip 0 255":
            met = bool((observed == 255).any()) if met is None else met
            if not met:
                continue
        yield change


def leaves_one(change: Change) -> bool:
    """Whether an output that is one number everywhere may be what a change made of different ones.

    Rounding can, and so can a ReLU of numbers that are all negative.
    """
    if change.id in ("precision.operands", "precision.result"):
        return True
    given = change.parameters
    return change.id == "activation.fused" and (given["name"], given["where"]) == ("relu", "last")


def fused(setup: Setup) -> Iterator[Change]:
    """An activation that the reference does not have."""
    if any(isinstance(stage, (Act, Requantize)) for stage in setup.stages):
        return
    for name in ACTIVATIONS:
        cost = 1.0 if name == "relu" else 1.1 if name in _USUAL else 1.3
        stage = Act(name)
        yield Change(
            "activation.fused",
            "after",
            lambda s, stage=stage: s.but(stages=(*s.stages, stage)),
            {"name": name, "where": "last"},
            cost,
        )
        if name not in _USUAL:
            continue
        if any(isinstance(stage, (Add, Norm)) for stage in setup.stages):
            yield Change(
                "activation.fused",
                "after",
                lambda s, stage=stage: s.but(stages=(stage, *s.stages)),
                {"name": name, "where": "before bias"},
                cost + 0.3,
            )
        if any(isinstance(stage, Norm) for stage in setup.stages):

            def before_norm(s: Setup, stage: Act = stage) -> Setup | None:
                places = [n for n, one in enumerate(s.stages) if isinstance(one, Norm)]
                if not places:
                    return None  # another change has taken it out
                at = places[0]
                return s.but(stages=(*s.stages[:at], stage, *s.stages[at:]))

            yield Change(
                "activation.fused",
                "after",
                before_norm,
                {"name": name, "where": "before norm"},
                cost + 0.3,
            )


def changed(setup: Setup) -> Iterator[Change]:
    """An activation of the reference that is missing, another one, twice, or too early."""
    at = next((n for n, stage in enumerate(setup.stages) if isinstance(stage, Act)), None)
    if at is None or not isinstance(right := setup.stages[at], Act):
        return
    yield Change(
        "activation.missing",
        "after",
        lambda s: s.but(stages=tuple(o for o in s.stages if not isinstance(o, Act))),
        {"name": right.name},
        1.0,
    )
    for name in ACTIVATIONS:
        if name == right.name:
            continue
        yield Change(
            "activation.other",
            "after",
            lambda s, n=name: s.but(
                stages=tuple(Act(n) if isinstance(o, Act) else o for o in s.stages)
            ),
            {"name": name, "right": right.name},
            1.1 if name in _USUAL else 1.3,
        )
    yield Change(
        "activation.twice",
        "after",
        lambda s: s.but(stages=(*s.stages, right)),
        {"name": right.name},
        1.3,
    )
    if any(isinstance(stage, Norm) for stage in setup.stages[:at]):

        def early(s: Setup) -> Setup | None:
            rest = [o for o in s.stages if not isinstance(o, Act)]
            where = next((n for n, o in enumerate(rest) if isinstance(o, Norm)), None)
            if where is None:
                return None  # another change has taken it out
            return s.but(stages=(*rest[:where], right, *rest[where:]))

        yield Change("activation.before_norm", "after", early, {"name": right.name}, 1.0)
