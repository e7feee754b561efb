"""Uses: where a number goes, at the next step or all the way to a chosen one.

The inverse question of a receipt. At the next step, a convolution answers from the index law; every
other step, and every walk over several, answers by its own pull, turned round: a pull is linear in
the cotangent, so its derivative is the step itself with its gates frozen.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convtrace.address import Address
from convtrace.errors import UsageError
from convtrace.rules import pull_of, uses_of
from convtrace.rules.pulling import Dependents, Run
from convtrace.split import Numbers
from convtrace.step import Step, Value

if TYPE_CHECKING:
    import torch


class Use(NamedTuple):
    """One number that the asked number went into.

    Attributes:
        address: The number that was made.
        coefficient: What the asked number was multiplied with on the way.
        product: `coefficient * value`: what it brought in.
        share: `product` by the number that was made; NaN where that is 0.
    """

    address: Address
    coefficient: float
    product: float
    share: float


@dataclass(frozen=True)
class Uses(Sequence[Use]):
    """Every number that one number went into.

    A sequence of rows that are made when they are looked at; `positions` and `coefficients` hold
    all of them as arrays.

    Attributes:
        source: The number that was asked about.
        value: Its value.
        steps: Names of the steps that are answered for, in the order they ran.
        positions: By step, the positions in its output, shape `(uses, axes)`.
        coefficients: By step, the coefficients, shape `(uses,)`.
        made: By step, the numbers that were made, shape `(uses,)`.
        opaque: Steps that read the number, but have no rule to tell what they did with it.
    """

    source: Address
    value: float
    steps: tuple[str, ...]
    positions: Mapping[str, NDArray[np.int64]]
    coefficients: Mapping[str, NDArray[np.float64]]
    made: Mapping[str, NDArray[np.float64]]
    opaque: tuple[str, ...] = ()

    def __len__(self) -> int:
        return sum(len(self.coefficients[name]) for name in self.steps)

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self[n] for n in range(*number.indices(len(self)))]
        place = range(len(self))[number]
        for name in self.steps:
            count = len(self.coefficients[name])
            if place < count:
                return self._row(name, place)
            place -= count
        raise IndexError(number)

    def __iter__(self) -> Iterator[Use]:
        for name in self.steps:
            for place in range(len(self.coefficients[name])):
                yield self._row(name, place)

    def _row(self, name: str, place: int) -> Use:
        coefficient = float(self.coefficients[name][place])
        product, made = coefficient * self.value, float(self.made[name][place])
        return Use(
            Address(name, tuple(map(int, self.positions[name][place]))),
            coefficient,
            product,
            product / made if made else float("nan"),
        )

    def save(
        self,
        file: str | os.PathLike[str],
        *,
        lang: str | None = None,
        theme: str = "light",
        **options: Any,
    ) -> None:
        """Write the uses to a file; its suffix picks the form, e.g. `uses.json`.

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

        save("uses", self, file, lang=lang, theme=theme, **options)

    def __repr__(self) -> str:
        return f"Uses({self.source} = {self.value}: {len(self)} in {', '.join(self.steps)})"


def next_uses(
    source: Address,
    value: Value,
    steps: Sequence[Step],
    numbers: Numbers,
    on_step: Callable[[], None] | None = None,
) -> Uses:
    """List the numbers that the next steps made of one number.

    Args:
        source: The number.
        value: The tensor that holds it.
        steps: Steps of the trace, in order.
        numbers: Their numbers as tensors.
        on_step: Called after each step.
    """
    found: dict[str, Dependents] = {}
    opaque: list[str] = []
    for step in steps:
        for role, name in step.operands.items():
            if name != source.step:
                continue
            rule = uses_of(step)
            here = rule(step, role, source.index) if rule else None
            if here is None and pull_of(step) is not None:
                tangent = _one_hot(numbers.of_role(step, role), source.index)
                here = _nonzero(_push(numbers.run(step), {role: tangent}))
            if here is None:
                opaque.append(step.name)
            else:
                found[step.name] = _merge(found.get(step.name), here)
        if on_step is not None:
            on_step()
    return _uses(source, value, found, {step.name: step for step in steps}, tuple(opaque))


def uses_at(
    source: Address,
    value: Value,
    steps: Sequence[Step],
    numbers: Numbers,
    to: str,
    on_step: Callable[[], None] | None = None,
) -> Uses:
    """List the numbers of one step that a number reaches: its projective field there.

    Raises:
        UsageError: The step does not depend on the number.
    """
    import torch

    tangents: dict[str, torch.Tensor] = {}
    opaque: list[str] = []
    by_name = {step.name: step for step in steps}
    for step in steps:
        reached: dict[str, torch.Tensor] = {}
        for role, name in step.operands.items():
            if name == source.step:
                reached[role] = _one_hot(numbers.of_role(step, role), source.index)
            elif name in tangents:
                reached[role] = tangents[name]
        if not reached:
            continue
        weights = {role for role in reached if role in ("weight", "bias")}
        if weights and step.operands[next(iter(weights))] == source.step:
            first = next_uses(source, value, [step], numbers)
            output = torch.zeros_like(numbers.of(step.name))
            places = torch.as_tensor(first.positions[step.name])
            output[tuple(places.T)] = torch.as_tensor(first.coefficients[step.name]).to(output)
            tangents[step.name] = output
        elif pull_of(step) is None:
            opaque.append(step.name)
            continue
        else:
            tangents[step.name] = _push(numbers.run(step), reached)
        if on_step is not None:
            on_step()
        if step.name == to:
            break
    if to not in tangents:
        through = f"\n  The way there is cut at {', '.join(opaque)}: no rule." if opaque else ""
        raise UsageError(
            f"{to} does not depend on {source}{through}\n"
            "  Name a step that ran after it, or none for the steps that read it."
        )
    return _uses(source, value, {to: _nonzero(tangents[to])}, by_name, tuple(opaque))


def _one_hot(like: torch.Tensor, index: tuple[int, ...]) -> torch.Tensor:
    import torch

    tangent = torch.zeros_like(like)
    tangent[index] = 1
    return tangent


def _push(run: Run, tangents: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Send tangents of the operands through a step: the derivative of its pull."""
    import torch

    pull = pull_of(run.step)
    assert pull is not None
    with torch.enable_grad():
        cotangent = torch.zeros_like(run.output, requires_grad=True)
        # What comes from parameters does not flow, except for the operand that is asked about.
        free = Run(run.step, run.operands, run.output, run.weighs - set(tangents), run.gated)
        pulled = pull(free, cotangent).cotangents
        parts = [
            (pulled[role] * tangent).sum() for role, tangent in tangents.items() if role in pulled
        ]
        if not parts or not any(part.requires_grad for part in parts):
            return torch.zeros_like(run.output)
        total = sum(parts[1:], parts[0])
        # Zeros where a pull does not read its cotangent.
        (found,) = torch.autograd.grad(total, cotangent, allow_unused=True, materialize_grads=True)
    return found.detach()


def _nonzero(tangent: torch.Tensor) -> Dependents:
    places = tangent.nonzero()
    return Dependents(
        places.cpu().numpy().astype(np.int64),
        tangent[tuple(places.T)].double().cpu().reshape(-1).numpy(),
    )


def _in_order(here: Dependents) -> Dependents:
    """Sort by position, the first axis slowest."""
    if not here.positions.shape[1]:
        return here  # a tensor without axes: one number
    order = np.lexsort(here.positions.T[::-1])
    return Dependents(here.positions[order], here.coefficients[order])


def _merge(first: Dependents | None, second: Dependents) -> Dependents:
    """Put two lists together; a number that is read twice counts with both coefficients."""
    if first is None:
        return second
    positions = np.concatenate([first.positions, second.positions])
    coefficients = np.concatenate([first.coefficients, second.coefficients])
    unique, inverse = np.unique(positions, axis=0, return_inverse=True)
    total = np.bincount(inverse.ravel(), weights=coefficients)
    return Dependents(unique, total.astype(np.float64, copy=False))


def _uses(
    source: Address,
    value: Value,
    found: Mapping[str, Dependents],
    steps: Mapping[str, Step],
    opaque: tuple[str, ...],
) -> Uses:
    made: dict[str, NDArray[np.float64]] = {}
    found = {name: _in_order(here) for name, here in found.items()}
    for name, here in found.items():
        tensor = steps[name].value.tensor()
        numbers = tensor[tuple(np.asarray(here.positions).T)]
        made[name] = numbers.double().cpu().reshape(-1).numpy()
    return Uses(
        source=source,
        value=float(value.item(source.index).real),
        steps=tuple(found),
        positions={name: here.positions for name, here in found.items()},
        coefficients={name: here.coefficients for name, here in found.items()},
        made=made,
        opaque=opaque,
    )
