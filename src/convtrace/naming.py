"""What the names in addresses stand for, and what is said where they stand for nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from convtrace.address import Address, parse_address
from convtrace.errors import AddressError, NoValueError, UnknownStepError, UsageError
from convtrace.step import Step, Value, check_index

_SHOWN = 12
"""Names that a message lists at most."""


def address_of(address: str | Address, index: Sequence[int] | None = None) -> Address:
    """Return an address that was written as text, or as a name and a position.

    Args:
        address: E.g. `conv2[0,0,0,0]`; with `index`, the name of a step.
        index: Position, counted from 0.

    Raises:
        AddressError: The text is not an address, or the position no whole numbers.
    """
    if index is None:
        return parse_address(address) if isinstance(address, str) else address
    name = address.step if isinstance(address, Address) else address
    try:
        position = tuple(int(place.__index__()) for place in index)
    except (AttributeError, TypeError) as error:
        raise AddressError(
            f"not a position: {index!r}\n"
            f"  Give one whole number an axis: trace.why({name!r}, (0, 0, 0, 0))."
        ) from error
    return Address(name, position)


@dataclass(frozen=True)
class Names:
    """Everything in a trace that has a name.

    Attributes:
        steps: Steps of the forward run, in order.
        gradients: Steps of the backward pass.
        inputs: Inputs of the run.
        parameters: Parameters, buffers and constants.
        aliases: Other names of steps.
    """

    steps: Mapping[str, Step]
    gradients: Mapping[str, Step]
    inputs: Mapping[str, Value]
    parameters: Mapping[str, Value]
    aliases: Mapping[str, str]

    def find_step(self, name: str) -> Step | None:
        """Return the step or gradient of this name or alias, or None."""
        alias = self.aliases.get(name, "")
        return self.steps.get(name) or self.steps.get(alias) or self.gradients.get(name)

    def step(self, name: str) -> Step:
        """Return the step or gradient of this name or alias; `UnknownStepError` where none is."""
        found = self.find_step(name)
        if found is None:
            raise self._unknown(name)
        return found

    def value(self, name: str) -> Value:
        """Return the tensor of this name; `UnknownStepError` where there is none."""
        step = self.find_step(name)
        name = self.aliases.get(name, name)
        value = step.value if step else self.inputs.get(name) or self.parameters.get(name)
        if value is None:
            raise self._unknown(name)
        return value

    def forward(self, name: str) -> Step:
        """Return a step of the forward run; `UsageError` for a gradient."""
        if name in self.gradients:
            raise UsageError(
                f"{name} is a gradient, made by the backward pass\n"
                "  Contributions and uses are of numbers of the forward run.\n"
                f"  trace.why({name!r}, position) lists the terms of a gradient."
            )
        return self.step(name)

    def made(self, address: str | Address) -> Address:
        """Return the address of a real number that a step made, with the step's own name."""
        at = address_of(address)
        step = self.forward(at.step)
        check_index(at.step, step.shape, at.index)
        _check_real(step.value)
        return Address(step.name, at.index)

    def given_or_made(self, address: str | Address) -> Address:
        """Return the address of a real number of the forward run, made or given."""
        at = address_of(address)
        if self.find_step(at.step) is not None:
            return self.made(at)
        value = self.value(at.step)
        check_index(at.step, value.shape, at.index)
        _check_real(value)
        return at

    def _unknown(self, name: str) -> UnknownStepError:
        import difflib  # slow to import, and needed for messages only

        known = [*self.inputs, *self.steps, *self.aliases, *self.parameters, *self.gradients]
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
        where = "`convtrace summary` lists every step; trace.steps holds them."
        listed = list(self.steps)
        shown = ", ".join(listed[:_SHOWN])
        if name in self.inputs or name in self.parameters:
            return UnknownStepError(
                f"{name!r} was given to the model, and is no step of it\n"
                f"  Name a step: {shown}.\n"
                f"  {where}"
            )
        if near:
            hint = f"nearest names: {', '.join(near)}"
        else:
            rest = f", and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
            hint = f"steps: {shown}{rest}"
        return UnknownStepError(f"nothing in this trace is called {name!r}\n  {hint}\n  {where}")


def _check_real(value: Value) -> None:
    """Raise `NoValueError` for complex numbers, which neither contributions nor uses can split."""
    if value.is_complex:
        raise NoValueError(
            f"{value.name} holds complex numbers ({value.dtype})\n"
            "  Contributions and uses are of real numbers.\n"
            "  trace.why explains complex numbers, too."
        )
