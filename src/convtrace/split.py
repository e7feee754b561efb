"""Contributions: one number, split exactly over the pixels and the biases of every step below it.

The walk goes through the steps backwards, like a derivative, but with every gate frozen at its
*value* (`value = gate * source`) and not at its slope. So the network is affine at this input, and

    number = sum of pixel terms + sum of bias terms

holds up to rounding, which is reported as the residual. For ReLU networks this is the full-gradient
decomposition (Srinivas and Fleuret, arXiv:1905.00780).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from convtrace.address import Address
from convtrace.errors import NoValueError
from convtrace.rules import GATES, pull_of
from convtrace.rules.pulling import Run
from convtrace.step import Step, Value

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Split:
    """One number as a sum of terms.

    Attributes:
        target: Addresses and factors of what was split: one with factor 1, or a difference.
        inputs: A term for each number of each input that the walk reached, by name; the tensor
            has the input's shape.
        biases: What each step added by itself: biases, shifts, values of a gate at zero.
        stops: The same as `inputs` for steps at which the walk stopped: those named in `at`, and
            opaque ones.
        opaque: Those of the stops that have no rule.
        reported: The number that the framework returned (for `float64`: that the network has when
            it is run again in float64).
        total: The sum of all terms, added in float64.
        scale: The sum of their absolute values, which rounding is judged by.
        halved: Steps at which a product of two computed numbers was shared in halves.
        dtype: Type that the walk computed in.
    """

    target: tuple[tuple[Address, float], ...]
    inputs: Mapping[str, torch.Tensor]
    biases: Mapping[str, float]
    stops: Mapping[str, torch.Tensor]
    opaque: tuple[str, ...]
    reported: float
    total: float
    scale: float
    halved: tuple[str, ...]
    dtype: str

    @property
    def residual(self) -> float:
        """`reported - total`: what rounding left over."""
        return self.reported - self.total

    def __repr__(self) -> str:
        name = " ".join(f"{'+' if factor > 0 else '-'} {at}" for at, factor in self.target)
        return (
            f"Split({name.removeprefix('+ ')} = {self.reported}: inputs {list(self.inputs)}, "
            f"{len(self.biases)} steps with biases, "
            f"residual {self.residual:.3g} of {self.scale:.3g})"
        )


def split(
    steps: Sequence[Step],
    inputs: Mapping[str, Value],
    target: Sequence[tuple[Address, float]],
    *,
    at: Sequence[str] = (),
    dtype: Any = None,
    on_step: Callable[[], None] | None = None,
) -> Split:
    """Split one number, or a sum of numbers with factors.

    Args:
        steps: Steps of the trace, in the order they ran.
        inputs: Inputs of the run, by name.
        target: Addresses of steps' outputs, with factors.
        at: Names of steps to stop at.
        dtype: A float dtype to run all steps again in, e.g. `torch.float64`; None takes the
            numbers as they were recorded.
        on_step: Called after each step of the walk.

    Returns:
        The split.

    Raises:
        NoValueError: A step cannot be run again in another dtype.
    """
    import torch

    with torch.no_grad():
        numbers = Numbers(steps, inputs, dtype)
        cotangents: dict[str, torch.Tensor] = {}
        reported = 0.0
        for address, factor in target:
            output = numbers.of(address.step)
            if address.step not in cotangents:
                kind = output.dtype if output.is_floating_point() else torch.float32
                cotangents[address.step] = torch.zeros_like(output, dtype=kind)
            cotangents[address.step][address.index] += factor
            reported += factor * float(output[address.index])
        biases: dict[str, float] = {}
        leaves: dict[str, torch.Tensor] = {}
        opaque: list[str] = []
        halved: list[str] = []
        wanted = {address.step for address, _ in target}
        for step in reversed(steps):
            cotangent = cotangents.pop(step.name, None)
            if cotangent is None:
                continue
            pull = pull_of(step)
            if not step.operands:  # made of nothing, like a bias: zeros, ones, a constant
                biases[step.name] = float((cotangent * numbers.of(step.name)).sum())
                continue
            if pull is None or (step.name in at and step.name not in wanted):
                leaves[step.name] = cotangent * numbers.of(step.name)
                if pull is None:
                    opaque.append(step.name)
                continue
            pulled = pull(numbers.run(step), cotangent)
            if pulled.halved:
                halved.append(step.name)
            added = float(pulled.bias)
            for role, part in pulled.cotangents.items():
                name = step.operands[role]
                if step.values[role].origin in ("parameter", "constant"):
                    added += float((part * numbers.of_role(step, role)).sum(dtype=torch.float64))
                elif name in cotangents:
                    cotangents[name] = cotangents[name] + part
                else:
                    cotangents[name] = part
            if added:
                biases[step.name] = biases.get(step.name, 0.0) + added
            if on_step is not None:
                on_step()
        pixels = {name: c * numbers.of(name) for name, c in cotangents.items() if name in inputs}
    parts = [t.double() for t in (*pixels.values(), *leaves.values())]
    return Split(
        target=tuple(target),
        inputs=pixels,
        biases=biases,
        stops=leaves,
        opaque=tuple(opaque),
        reported=reported,
        total=float(sum(float(t.sum()) for t in parts) + sum(biases.values())),
        scale=float(
            sum(float(t.abs().sum()) for t in parts) + sum(abs(b) for b in biases.values())
        ),
        halved=tuple(halved),
        dtype=str(dtype or "as recorded").removeprefix("torch."),
    )


class Numbers:
    """The numbers of a run as tensors: as recorded, or run again in another dtype.

    Args:
        steps: Steps in the order they ran.
        inputs: Inputs by name.
        dtype: A float dtype to run all steps again in; None takes what was recorded.
    """

    def __init__(self, steps: Sequence[Step], inputs: Mapping[str, Value], dtype: Any) -> None:
        self._dtype = dtype
        self._steps = {step.name: step for step in steps}
        self._inputs = inputs
        self._again: dict[str, torch.Tensor] = {}
        self._from_input: set[str] = set(inputs)
        for step in steps:
            if any(name in self._from_input for name in step.operands.values()):
                self._from_input.add(step.name)
        if dtype is not None:
            for step in steps:
                if step.replay is None:
                    raise NoValueError(
                        f"{step.name} cannot be run again in {dtype}\n"
                        f"  kind {step.kind}: it drew random numbers, or memory was written "
                        "indirectly\n  Leave dtype out to split the numbers as they were recorded."
                    )
                again = step.replay({role: self._cast(v) for role, v in step.values.items()})
                self._again[step.name] = again.to(dtype) if again.is_floating_point() else again

    def _cast(self, value: Value) -> torch.Tensor:
        if value.origin == "step":
            return self._again[value.name]
        tensor = value.tensor()
        return tensor.to(self._dtype) if tensor.is_floating_point() else tensor

    def of(self, name: str) -> torch.Tensor:
        """Return the output of a step, or an input."""
        if name in self._again:
            return self._again[name]
        value = self._steps[name].value if name in self._steps else self._inputs[name]
        return self._cast(value) if self._dtype is not None else value.tensor()

    def of_role(self, step: Step, role: str) -> torch.Tensor:
        """Return an operand of a step."""
        value = step.values[role]
        return self._cast(value) if self._dtype is not None else value.tensor()

    def run(self, step: Step) -> Run:
        """Return what the rules ask for of one step."""
        return Run(
            step=step,
            operands={role: self.of_role(step, role) for role in step.values},
            output=self.of(step.name),
            weighs=frozenset(
                role for role, name in step.operands.items() if name not in self._from_input
            ),
            gated=frozenset(role for role, name in step.operands.items() if self._gated(name)),
        )

    def _gated(self, name: str) -> bool:
        """Whether a tensor comes out of a gate, perhaps moved on the way."""
        step = self._steps.get(name)
        while step is not None and step.sources is not None and len(step.operands) == 1:
            step = self._steps.get(next(iter(step.operands.values())))
        return step is not None and step.kind in GATES
