"""One file for each family of operators; a table maps kinds of steps to their rules.

Each rule answers the same question about a step:

    why(step, index, reporter) -> Receipt     one number and every multiplication that made it
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from convtrace.receipt import Receipt
from convtrace.rules import conv, linear, moves, pointwise
from convtrace.step import Status, Step

Rule = Callable[[Step, tuple[int, ...], str], Receipt]

WHY: Mapping[str, Rule] = MappingProxyType(
    {
        "convolution": conv.why,
        "linear": linear.why,
        "add": pointwise.why_sum,
        "sub": pointwise.why_sum,
        "rsub": pointwise.why_sum,
        "mul": pointwise.why_product,
        "relu": pointwise.why_relu,
        "move": moves.why,
    }
)
"""Rules by kind of step. A kind without a rule is opaque."""

STATUS: Mapping[str, Status] = MappingProxyType(
    {
        "convolution": "linear",
        "linear": "linear",
        "add": "linear",
        "sub": "linear",
        "rsub": "linear",
        "mul": "gates",
        "relu": "gates",
    }
)
"""What a receipt can say of each kind; steps that only move numbers are `selects`."""


def rule_of(step: Step) -> Rule | None:
    """Return the rule that answers for a step, or None if it is opaque."""
    return WHY.get("move" if step.sources is not None else step.kind)


def status_of(kind: str, *, moves_numbers: bool) -> Status:
    """Return the status of a kind of step."""
    return "selects" if moves_numbers else STATUS.get(kind, "opaque")
