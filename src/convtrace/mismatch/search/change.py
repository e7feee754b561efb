"""A candidate: one mistake, as a change of the setup that is right."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from convtrace.mismatch.computing.setup import Setup

Side = Literal["x", "w", "xw", "after", "y"]
"""What a change touches: what the taps read, the weights, both, what follows the sum, or where the
output numbers are put."""


@dataclass(frozen=True, eq=False)
class Change:
    """One mistake.

    Attributes:
        id: Identifier of the cause.
        side: What it touches. Changes of different sides can be tried together at little cost.
        make: Returns the setup with the mistake; None where it does not apply.
        parameters: What it is exactly.
        cost: How far-fetched it is; simpler ones are named first.
        alone: Whether it is no part of pairs, where another name of the same stands for it.
    """

    id: str
    side: Side
    make: Callable[[Setup], Setup | None]
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    cost: float = 1.0
    alone: bool = False


Changes = tuple[Change, ...]
"""Mistakes that act together, in the order they are made."""

Family = Callable[[Setup], Iterable[Change]]
"""Lists the candidates of one family for a setup."""


def listed(families: Iterable[Family], setup: Setup) -> Iterator[Change]:
    """List the candidates of several families."""
    for family in families:
        yield from family(setup)


def applied(base: Setup, changes: Changes) -> Setup | None:
    """Return the setup with changes made one after the other; None where one does not apply."""
    setup: Setup | None = base
    for change in changes:
        setup = change.make(setup) if setup is not None else None
    return setup
