"""Steps run again in float64, with a bound on what the arithmetic that ran may have added.

Each number carries two sizes: the most that rounding can have made of it, from the bound of every
step on the way (a running error analysis), and the size that it usually has.

Sources:
    Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed., section 3.3 (running error).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from convtrace.arithmetic import Arithmetic, plain
from convtrace.errors import NoValueError
from convtrace.exact import FORMATS
from convtrace.mismatch.networks.error_rules import Work, anything, rule_for
from convtrace.mismatch.networks.turned import TurnedStep, inner, outer
from convtrace.step import Step

if TYPE_CHECKING:
    import torch

Replay = Callable[[Mapping[str, Any]], Any]


@dataclass(frozen=True)
class Wide:
    """Numbers computed in float64.

    Attributes:
        value: The numbers.
        error: The most by which the same, computed in the arithmetic of the run, may be off.
        usual: By how much it usually is.
        proved: Whether `error` is a bound, not an estimate.
    """

    value: torch.Tensor
    error: Any = 0.0
    usual: Any = 0.0
    proved: bool = True


class CannotRunError(NoValueError):
    """A step cannot be run again: random numbers, or an operator that is not known.

    Args:
        step: The step.
        reason: What its operator said, in its own words; empty where there is none to run.
    """

    def __init__(self, step: Step, reason: str = "") -> None:
        said = f": {reason}" if reason else ""
        super().__init__(f"{step.name} ({step.kind}) cannot be run again{said}")
        self.kind, self.reason = step.kind, reason


def evaluate(
    steps: Iterable[Step],
    entries: Mapping[str, torch.Tensor],
    arithmetic: Arithmetic | None = None,
) -> dict[str, Wide]:
    """Run steps again, one after the other.

    Args:
        steps: Steps in the order they ran.
        entries: What they read and none of them makes, by name; other operands are taken as they
            were recorded.
        arithmetic: The arithmetic to bound errors for; None takes that of each step.

    Returns:
        What each step makes, by name.

    Raises:
        CannotRunError: A step cannot be run again.
    """
    made: dict[str, Wide] = {name: Wide(wide(tensor)) for name, tensor in entries.items()}
    for step in steps:
        operands: dict[str, Wide] = {}
        for role, value in step.values.items():
            if value.name not in made:
                made[value.name] = Wide(wide(value.tensor()))
            operands[role] = made[value.name]
        made[step.name] = again(step, operands, arithmetic)
    return made


def wide(tensor: torch.Tensor) -> torch.Tensor:
    """Return floating-point numbers as float64; whole numbers stay what they are."""
    return tensor.detach().double() if tensor.is_floating_point() else tensor.detach()


def replay_of(step: Step) -> Replay:
    """Return what runs a step again.

    Raises:
        CannotRunError: Nothing does.
    """
    if step.replay is not None:
        return step.replay
    if step.kind == "convolution":
        from convtrace.frontends.convolution_replay import replay_convolution

        return replay_convolution(step.attributes)
    raise CannotRunError(step)


def again(step: Step, operands: Mapping[str, Wide], arithmetic: Arithmetic | None) -> Wide:
    """Run one step again.

    Args:
        step: The step.
        operands: What it reads, by role.
        arithmetic: The arithmetic to bound its error for; None takes its own.

    Raises:
        CannotRunError: It cannot be run again on these operands.
    """
    if isinstance(step, TurnedStep):
        return _again_turned(step, operands, arithmetic)
    replay = replay_of(step)
    values = {role: operand.value for role, operand in operands.items()}
    try:
        value = replay(values)
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
        reason = str(error).split("\n")[0]
        raise CannotRunError(step, reason) from error
    proved = all(operand.proved for operand in operands.values())
    if not value.is_floating_point():
        return Wide(value, proved=proved)
    how = _chosen(step, arithmetic)
    rule = rule_for(step)
    error, usual = rule(Work(step, replay, operands, values, value, how))
    return Wide(value, error, usual, proved and rule is not anything)


def _again_turned(
    step: TurnedStep, operands: Mapping[str, Wide], arithmetic: Arithmetic | None
) -> Wide:
    """Run a step in its own order of axes."""
    assert step.own is not None
    inside = {
        role: Wide(
            inner(step, role, one.value),
            inner(step, role, one.error),
            inner(step, role, one.usual),
            one.proved,
        )
        for role, one in operands.items()
    }
    made = again(step.own, inside, arithmetic)
    return Wide(
        outer(step, made.value), outer(step, made.error), outer(step, made.usual), made.proved
    )


def _chosen(step: Step, arithmetic: Arithmetic | None) -> Arithmetic:
    chosen = arithmetic or step.arithmetic
    if chosen is None:
        chosen = plain(step.dtype if step.dtype in FORMATS else "float64")
    return chosen
