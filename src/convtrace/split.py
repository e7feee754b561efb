"""Contributions: one number, split exactly over the pixels and the biases of every step below it.

The walk goes through the steps backwards, like a derivative, but with every gate frozen at its
*value* (`value = gate * source`) and not at its slope. So the network is affine at this input, and

    number = sum of pixel terms + sum of bias terms

holds up to rounding, which is reported as the residual. For ReLU networks this is the full-gradient
decomposition (Srinivas and Fleuret, arXiv:1905.00780).
"""

from __future__ import annotations

import os
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
        scale: The sum of the absolute values of all terms, which rounding is judged by. Every
            pixel is a term, and so is every number that a step adds: each bias of a convolution,
            each shift of a norm, each value of a gate at zero. (`biases` holds their sums by step.)
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

    def save(
        self,
        file: str | os.PathLike[str],
        *,
        lang: str | None = None,
        theme: str = "light",
        **options: Any,
    ) -> None:
        """Write the split to a file; its suffix picks the form, e.g. `split.json`.

        Args:
            file: Name of the file.
            lang: `en` or `ko`; None takes the locale's.
            theme: `light` or `dark`.
            **options: Further options of that form.

        Raises:
            UsageError: There is no such form, or it has no such option; the message lists them.
            FileError: The file could not be written; what was there before is unchanged.
        """
        from convtrace.render.table import save

        save("split", self, file, lang=lang, theme=theme, **options)

    def __repr__(self) -> str:
        name = " ".join(f"{'+' if factor > 0 else '-'} {at}" for at, factor in self.target)
        return (
            f"Split({name.removeprefix('+ ')} = {self.reported}: inputs {list(self.inputs)}, "
            f"{len(self.biases)} steps with biases, "
            f"residual {self.residual:.3g} of {self.scale:.3g})"
        )


def split(
    steps: Sequence[Step],
    numbers: Numbers,
    target: Sequence[tuple[Address, float]],
    *,
    at: Sequence[str] = (),
    on_step: Callable[[], None] | None = None,
) -> Split:
    """Split one number, or a sum of numbers with factors.

    Args:
        steps: Steps of the trace, in the order they ran.
        numbers: Their numbers, and those of the inputs, as tensors.
        target: Addresses of steps' outputs, with factors.
        at: Names of steps to stop at.
        on_step: Called after each step of the walk.

    Returns:
        The split.
    """
    import torch

    with torch.no_grad():
        cotangents: dict[str, torch.Tensor] = {}
        reported = 0.0
        for address, factor in target:
            output = numbers.of(address.step)
            if address.step not in cotangents:
                whole = torch.float64 if output.dtype == torch.int64 else torch.float32
                kind = output.dtype if output.is_floating_point() else whole
                cotangents[address.step] = torch.zeros_like(output, dtype=kind)
            cotangents[address.step][address.index] += factor
            reported += factor * float(output[address.index])
        found = _Found()
        wanted = {address.step for address, _ in target}
        for step in reversed(steps):
            cotangent = cotangents.pop(step.name, None)
            if cotangent is None:
                continue
            pull = pull_of(step)
            if not step.operands:  # made of nothing, like a bias: zeros, ones, a constant
                found.add(step.name, cotangent * numbers.of(step.name))
                continue
            if pull is None or (step.name in at and step.name not in wanted):
                found.leaves[step.name] = cotangent * numbers.of(step.name)
                if pull is None:
                    found.opaque.append(step.name)
                continue
            spare = cotangent.is_contiguous() and not any(
                _share_memory(cotangent, other) for other in cotangents.values()
            )
            pulled = pull(numbers.run(step, spare=spare), cotangent)
            if pulled.halved:
                found.halved.append(step.name)
            found.add(step.name, pulled.bias)
            for role, part in pulled.cotangents.items():
                name = step.operands[role]
                if step.values[role].origin in ("parameter", "constant"):
                    found.add(step.name, part * numbers.of_role(step, role))
                elif name in cotangents:
                    cotangents[name] = cotangents[name] + part
                else:
                    cotangents[name] = part
            if on_step is not None:
                on_step()
        pixels = {
            name: part * numbers.of(name)
            for name, part in cotangents.items()
            if name in numbers.inputs
        }
    sums = [_sums(tensor) for tensor in (*pixels.values(), *found.leaves.values())]
    return Split(
        target=tuple(target),
        inputs=pixels,
        biases={name: added for name, added in found.biases.items() if added},
        stops=found.leaves,
        opaque=tuple(found.opaque),
        reported=reported,
        total=sum(total for total, _ in sums) + sum(found.biases.values()),
        scale=sum(size for _, size in sums) + found.size,
        halved=tuple(found.halved),
        dtype=str(numbers.dtype or "as recorded").removeprefix("torch."),
    )


class _Found:
    """What a walk has found so far.

    Attributes:
        biases: What each step added by itself.
        size: Sum of the absolute values of all that was added.
        leaves: Terms of the steps at which the walk stopped.
        opaque: Those of them that have no rule.
        halved: Steps at which a product of two computed numbers was shared in halves.
    """

    def __init__(self) -> None:
        self.biases: dict[str, float] = {}
        self.size = 0.0
        self.leaves: dict[str, torch.Tensor] = {}
        self.opaque: list[str] = []
        self.halved: list[str] = []

    def add(self, name: str, terms: Any) -> None:
        """Count terms, a tensor of any shape or one number, as what a step added by itself."""
        total, size = _sums(terms)
        if size != 0:
            self.biases[name] = self.biases.get(name, 0.0) + total
            self.size += size


def _share_memory(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()


def _sums(terms: Any) -> tuple[float, float]:
    """Return the sum of terms and the sum of their absolute values, added in float64."""
    if isinstance(terms, float | int):
        return float(terms), abs(float(terms))
    wide = terms.double()
    return float(wide.sum()), float(wide.abs().sum())


class Numbers:
    """The numbers of a run as tensors: as recorded, or run again in another dtype.

    Args:
        steps: Steps in the order they ran.
        inputs: Inputs by name.
        dtype: A float dtype to run all steps again in, e.g. `torch.float64`; None takes what was
            recorded.

    Attributes:
        inputs: Inputs by name.
        dtype: The dtype that was asked for.

    Raises:
        NoValueError: A step cannot be run again in another dtype.
    """

    def __init__(self, steps: Sequence[Step], inputs: Mapping[str, Value], dtype: Any) -> None:
        self.dtype = dtype
        self._steps = {step.name: step for step in steps}
        self.inputs = inputs
        self._again: dict[str, torch.Tensor] = {}
        self._from_input: set[str] = set(inputs)
        for step in steps:
            if any(name in self._from_input for name in step.operands.values()):
                self._from_input.add(step.name)
        if dtype is not None:
            import torch

            with torch.no_grad():
                self._run_again(steps)

    def _run_again(self, steps: Sequence[Step]) -> None:
        for step in steps:
            if step.replay is None:
                raise NoValueError(
                    f"{step.name} cannot be run again in {self.dtype}\n"
                    f"  kind {step.kind}: it drew random numbers, memory was written unseen, or "
                    "the trace\n  was opened from a file\n"
                    "  Leave dtype out to split the numbers as they were recorded."
                )
            again = step.replay({role: self._cast(v) for role, v in step.values.items()})
            # A cast is a move, which leaves the type as it is: whole numbers stay whole here.
            recorded = step.value.tensor().dtype
            kind = self.dtype if recorded.is_floating_point else recorded
            self._again[step.name] = again if again.is_complex() else again.to(kind)

    def _cast(self, value: Value) -> torch.Tensor:
        if value.origin == "step":
            return self._again[value.name]
        tensor = value.tensor()
        return tensor.to(self.dtype) if tensor.is_floating_point() else tensor

    def of(self, name: str) -> torch.Tensor:
        """Return the output of a step, or an input."""
        if name in self._again:
            return self._again[name]
        value = self._steps[name].value if name in self._steps else self.inputs[name]
        return self._cast(value) if self.dtype is not None else value.tensor()

    def of_role(self, step: Step, role: str) -> torch.Tensor:
        """Return an operand of a step."""
        value = step.values[role]
        return self._cast(value) if self.dtype is not None else value.tensor()

    def run(self, step: Step, *, spare: bool = False) -> Run:
        """Return what the rules ask for of one step; `spare` is said of the cotangent."""
        return Run(
            step=step,
            operands={role: self.of_role(step, role) for role in step.values},
            output=self.of(step.name),
            weighs=frozenset(
                role for role, name in step.operands.items() if name not in self._from_input
            ),
            gated=frozenset(role for role, name in step.operands.items() if self._gated(name)),
            spare=spare,
        )

    def _gated(self, name: str) -> bool:
        """Whether a tensor comes out of a gate, perhaps moved on the way."""
        step = self._steps.get(name)
        while step is not None and step.sources is not None and len(step.operands) == 1:
            step = self._steps.get(next(iter(step.operands.values())))
        return step is not None and step.kind in GATES
