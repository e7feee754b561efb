"""From explanations that were found to named causes: which functions they are, which are proved.

Several mistakes may compute one function: channels of the input in reverse order, and kernels taken
from these channels in reverse order. No input can tell them apart, so they are listed together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from convtrace.mismatch.apart import apart, groups
from convtrace.mismatch.computing.setup import Setup
from convtrace.mismatch.computing.stages import Norm
from convtrace.mismatch.report import Apart, Cause, Report
from convtrace.mismatch.search.change import Change
from convtrace.mismatch.search.search import Changes, Found

ENOUGH = 10.0
"""Bits of evidence from which on a cause is proved and no chance hit."""

MOST = 8
"""Most explanations that are listed."""

FURTHER = 0.6
"""By how much another name of a function may be more far-fetched than the simplest one."""


@dataclass(frozen=True)
class Named:
    """Causes, and what is known of them; `Report` has the same attributes."""

    explanations: tuple[tuple[Cause, ...], ...]
    functions: tuple[int, ...]
    proved: bool
    apart: Apart | None

    def into(self, report: Report) -> Report:
        """Return a report with these causes."""
        return replace(
            report,
            explanations=self.explanations,
            functions=self.functions,
            proved=self.proved,
            apart=self.apart,
        )


def named(found: Sequence[Found], base: Setup) -> Named:
    """Name what was found.

    Args:
        found: Explanations that compute different functions, simplest first.
        base: The setup that is right.
    """
    rows: list[tuple[int, Changes]] = []
    for number, one in enumerate(found):
        for changes in (one.changes, *one.also):
            if _cost(changes) > one.cost + FURTHER:
                break  # the rest is more far-fetched still
            if len(rows) < MOST and not any(_equal(changes, other) for _, other in rows):
                rows.append((number, changes))
    functions = [number for number, _ in rows]
    tells = apart(base, [changes for _, changes in rows]) if len(rows) > 1 else None
    if tells is not None:
        keys = list(zip(functions, groups(tells.outputs), strict=True))
        order = {key: number for number, key in enumerate(dict.fromkeys(keys))}
        functions = [order[key] for key in keys]
    one_function = len(set(functions)) == 1
    proved = one_function and proves(found[0])
    alone = len(rows) == 1
    explanations = tuple(
        tuple(Cause(change.id, change.parameters, proved=proved and alone) for change in changes)
        for _, changes in rows
    )
    return Named(explanations, tuple(functions), proved, None if one_function else tells)


def unproved_settings(names: Named, searched: Sequence[str]) -> Named:
    """Take back that a setting is proved wrong which nobody gave.

    Args:
        names: What was found.
        searched: Names of settings that were searched for, as the shape asks for them.
    """
    explained = [cause for causes in names.explanations for cause in causes]
    if not any(_sets(cause) in searched for cause in explained):
        return names
    explanations = tuple(
        tuple(replace(cause, proved=False) for cause in causes) for causes in names.explanations
    )
    return replace(names, explanations=explanations, proved=False)


def _sets(cause: Cause) -> str:
    """Return the setting that a cause says to be another one; "" where it says none."""
    family, _, kind = cause.id.partition(".")
    if family == "padding":
        return family if kind in ("amount", "side", "missing", "axes") else ""
    return family if family in ("stride", "dilation") else ""


def proves(found: Found) -> bool:
    """Whether nothing but this function can have made the output.

    Where the reference has a norm, a factor and a shift for each channel are what any mistake in
    that norm looks like, so that to have fitted them proves nothing. So are one factor and one
    shift where there is but one channel.
    """
    shapes = {"output.by_channel"}
    if found.setup.channels_out == 1:
        shapes |= {"output.shifted", "output.scaled"}
    fits = any(change.id in shapes for change in found.changes)
    fits = fits and any(isinstance(stage, Norm) for stage in found.setup.stages)
    return found.tight and found.bits >= ENOUGH and not fits


def _cost(changes: Changes) -> float:
    return sum(change.cost for change in changes)


def _equal(left: Changes, right: Changes) -> bool:
    """Whether two explanations say the same, as two fits of one factor do."""
    return len(left) == len(right) and all(
        one.id == other.id and _words(one) == _words(other)
        for one, other in zip(left, right, strict=True)
    )


def _words(change: Change) -> dict[str, str]:
    """Write the parameters of a change, fitted numbers to six digits."""
    return {
        key: f"{value:.6g}" if isinstance(value, float) else repr(value)
        for key, value in change.parameters.items()
    }
