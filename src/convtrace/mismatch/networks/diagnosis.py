"""`convtrace.diff` for two networks: pair their steps, judge each, explain the first wrong one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from convtrace.errors import UsageError
from convtrace.mismatch.networks.align import Alignment, align, family
from convtrace.mismatch.networks.blame import Blame, blame
from convtrace.mismatch.networks.differences import differences, joins_otherwise
from convtrace.mismatch.networks.network import Network
from convtrace.mismatch.networks.report import ModelReport, Pair
from convtrace.mismatch.networks.runs import (
    check_inputs,
    differing_inputs,
    in_one_layout,
    is_weights,
    trace_of,
    with_weights,
)
from convtrace.mismatch.networks.verdict import Judged, judge, sides_of
from convtrace.mismatch.report import Note
from convtrace.receipt import Verdict


def diff_models(
    mine: Any,
    reference: Any,
    *,
    inputs: Sequence[Any] | Mapping[str, Any] = (),
    step: str | None = None,
    names: tuple[str, str] = ("mine", "reference"),
    on_step: Callable[[], None] | None = None,
) -> ModelReport:
    """Find the first step at which two networks part by more than rounding, and say why.

    Steps are paired by name, by their weights, by the numbers they make, then by shape and order.
    Each pair is judged with the same numbers given to both sides, so that what went wrong before
    does not blur it. A norm that is folded into a convolution on one side, an activation that is
    several steps on the other, and whatever else has no step of its own there, is judged together
    with the next step that has.

    Args:
        mine: A trace, a module or function, or the path of an ONNX file; or a state dict, which is
            put into a copy of the reference.
        reference: The same.
        inputs: What both are run on, where they are no traces yet. For an ONNX file, arrays by
            the names of its inputs, or in their order.
        step: Compare this step of the reference alone; None compares all.
        names: What to call the two sides.
        on_step: Called after each pair, e.g. to move a progress bar.

    Returns:
        The report.

    Raises:
        UsageError: A side is no network, or there is nothing to run it on.
        UnknownStepError: There is no such step.
        ShapeError: The two were run on inputs of different shapes.
        ModelError: A side raised.
        FileError: A file cannot be read.
    """
    notes: list[Note] = []
    if is_weights(mine):
        mine = with_weights(reference, mine, notes)
    ours = Network(trace_of(mine, inputs, names[0], notes), names[0])
    theirs = Network(trace_of(reference, inputs, names[1], notes), names[1])
    ours, theirs = in_one_layout(ours, theirs, notes)
    check_inputs(ours, theirs)
    notes += differing_inputs(ours, theirs)
    alignment = align(ours, theirs)
    chosen = list(alignment.pairs)
    if step is not None:
        chosen = [_chosen(theirs, alignment, step)]
    judged = _judge_all(ours, theirs, alignment, chosen, on_step)
    first = next((one for one in judged if one.pair.verdict == "mismatch"), None)
    found = Blame() if first is None else blame(first)
    pairs = tuple(one.pair for one in judged)
    notes += _unseen(judged)
    unaligned = ((), ()) if step is not None else _unaligned(ours, theirs, pairs)
    return ModelReport(
        verdict=_verdict(pairs, bool(pairs)),
        pairs=pairs,
        first=None if first is None else first.pair,
        causes=found.causes,
        report=found.report,
        worst=found.worst,
        clues=found.clues,
        unaligned=unaligned,
        outputs=_outputs(pairs, theirs) if step is None else None,
        notes=tuple(notes),
        names=names,
        worst_own=found.worst_own,
    )


def _judge_all(
    mine: Network,
    reference: Network,
    alignment: Alignment,
    chosen: Sequence[str],
    on_step: Callable[[], None] | None,
) -> list[Judged]:
    found: dict[str, Judged] = {}
    waiting: dict[str, Judged] = {}
    blurred: set[str] = set()

    def look(name: str) -> Judged:
        sides = sides_of(mine, reference, alignment, name)
        behind = any(entry in blurred for entry in sides.entries)
        judged = judge(sides, alignment.pairs[name][1], blurred=behind)
        if behind or judged.pair.verdict == "mismatch":
            blurred.add(name)
        return judged

    def restore(name: str) -> None:
        one = waiting.pop(name)
        alignment.pairs[name] = (one.pair.mine, one.pair.by)
        found[name] = look(name)

    for name in chosen:
        judged = look(name)
        if name not in alignment.layers and _is_weak(judged):
            # It may be no pair at all: what follows tells, judged together with it.
            waiting[name] = judged
            del alignment.pairs[name]
            blurred.discard(name)
            continue
        doubted = [step for step in judged.pair.with_reference if step in waiting]
        if doubted and judged.pair.verdict == "mismatch":
            for step in doubted:
                restore(step)
            judged = look(name)
        for step in doubted:
            waiting.pop(step, None)
        found[name] = judged
        if on_step is not None:
            on_step()
    for name in list(waiting):
        if name not in reference.readers:
            restore(name)
    order = reference.order
    return [found[name] for name in sorted(found, key=lambda name: order[name])]


def _is_weak(judged: Judged) -> bool:
    """Whether two steps are wrong as a pair that little speaks for."""
    pair, sides = judged.pair, judged.sides
    if pair.verdict == "mismatch" and joins_otherwise(sides):
        return True  # the weights behind it may be in that order, too
    if pair.verdict != "mismatch" or pair.by == "name":
        return False
    return pair.by != "place" or family(sides.end) != family(sides.own_end)


_OF_WEIGHTS = frozenset({"weights", "missing_weights", "extra_weights", "folded"})


def _unseen(judged: Sequence[Judged]) -> list[Note]:
    """Say which weights differ without any number that shows it."""
    found = [
        one.pair.reference
        for one in judged
        if one.pair.verdict in ("exact", "rounding")
        and any(difference.what in _OF_WEIGHTS for difference in differences(one.sides))
    ]
    if not found:
        return []
    return [("diff_models.note.unseen", {"count": len(found), "names": ", ".join(found[:8])})]


def _verdict(pairs: Sequence[Pair], any_pairs: bool) -> Verdict:
    found = {pair.verdict for pair in pairs}
    if "mismatch" in found or not any_pairs:
        return "mismatch"
    if "nonfinite" in found:
        return "nonfinite"
    return "exact" if found == {"exact"} else "rounding"


def _unaligned(
    mine: Network, reference: Network, pairs: Sequence[Pair]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    theirs = {name for pair in pairs for name in (pair.reference, *pair.with_reference)}
    ours = {name for pair in pairs for name in (pair.mine, *pair.with_mine)}
    rest: list[tuple[str, ...]] = []
    for network, known in ((reference, theirs), (mine, ours)):
        rest.append(
            tuple(
                step.name
                for step in network.steps
                if step.name not in known
                and step.name in network.dynamic
                and step.name not in network.inside
                and not step.attributes.get("output", 0)
            )
        )
    return rest[0], rest[1]


def _outputs(pairs: Sequence[Pair], reference: Network) -> tuple[float, float] | None:
    """Return how far the last paired step that nobody reads any more is off, and its size."""
    for pair in reversed(pairs):
        if pair.reference not in reference.readers and math.isfinite(pair.difference):
            return pair.difference, pair.scale
    return None


def _chosen(reference: Network, alignment: Alignment, step: str) -> str:
    name = reference.trace.step(step).name
    if name in alignment.pairs:
        return name
    back = {mine: one for one, (mine, _) in alignment.pairs.items()}
    if step in back:
        return back[step]
    near = ", ".join(list(alignment.pairs)[:12])
    raise UsageError(
        f"{name} of {reference.label} stands for no step of the other side\n"
        f"  steps that do: {near}\n"
        "  Compare the whole networks to see with which step it is judged."
    )
