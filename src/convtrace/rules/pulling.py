"""What a whole-step rule is given and what it gives back: the pull of a cotangent.

A cotangent says how much each number of a tensor counts for the number that is being split. A
rule pulls it from the output of a step to its operands, such that

    sum(cotangent * output) = sum over operands of sum(cotangent * operand) + sum(bias)

holds exactly in real arithmetic: gates are frozen at their value for this input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convtrace.step import Step

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Run:
    """One step of a run, with its numbers as tensors of one dtype.

    Attributes:
        step: The step.
        operands: Its operands by role.
        output: Its output.
        weighs: Roles of operands that were given with the model, and do not come from the input.
        gated: Roles of operands that come out of a gate (sigmoid, softmax, …).
        spare: Whether nobody else reads the cotangent, so that a rule may overwrite it.
    """

    step: Step
    operands: Mapping[str, torch.Tensor]
    output: torch.Tensor
    weighs: frozenset[str]
    gated: frozenset[str]
    spare: bool = False

    def flowing(self, *roles: str) -> list[str]:
        """Return those roles that are operands and come from the input."""
        return [role for role in roles if role in self.operands and role not in self.weighs]


@dataclass(frozen=True)
class Pulled:
    """A cotangent, pulled through one step.

    Attributes:
        cotangents: Cotangents of the operands by role.
        bias: What the step itself adds to the number: a tensor of terms, one for each bias or
            other number that it adds, or a float.
        halved: Whether a product of two computed numbers was split in halves.
    """

    cotangents: Mapping[str, torch.Tensor]
    bias: Any = 0.0
    halved: bool = False


Pull = Callable[[Run, Any], Pulled]


class Dependents(NamedTuple):
    """The numbers of a step's output that one operand number went into.

    Attributes:
        positions: Their positions, shape `(uses, axes)`.
        coefficients: What the operand number was multiplied with, shape `(uses,)`.
    """

    positions: NDArray[np.int64]
    coefficients: NDArray[np.float64]


DependentsOf = Callable[[Step, str, tuple[int, ...]], Dependents | None]
"""Answers for one position of the operand in a role; None leaves it to the pull."""


def unbroadcast(cotangent: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """Sum a cotangent over the axes along which an operand was repeated."""
    return cotangent.sum_to_size(shape) if tuple(cotangent.shape) != shape else cotangent
