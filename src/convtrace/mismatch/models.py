"""`convtrace.diff` for two networks: pair their steps, judge each, explain the first wrong one."""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from convtrace.errors import ShapeError, UsageError
from convtrace.graph import Trace
from convtrace.mismatch.align import Alignment, align, family
from convtrace.mismatch.blame import Blame, blame
from convtrace.mismatch.differences import differences
from convtrace.mismatch.judge import Judged, judge, sides_of
from convtrace.mismatch.model_report import ModelReport, Pair
from convtrace.mismatch.network import Network
from convtrace.mismatch.report import Note
from convtrace.receipt import Verdict


def inputs_of(mine: Any, reference: Any, x: Any, inputs: Any) -> Any:
    """Say what two networks are to be run on; None where the question is of one convolution.

    Args:
        mine: As `ct.diff` takes it.
        reference: The same.
        x: One input, or None.
        inputs: Several, or nothing.
    """
    given = () if x is None else (x,)
    if inputs:
        return inputs
    if isinstance(mine, Trace):
        if isinstance(reference, Trace) or _is_file(reference) or _layers_in(reference) > 1:
            return given or _recorded(mine)
        return None
    if isinstance(reference, Trace):
        whole = _is_file(mine) or (callable(mine) and _layers_in(reference) > 1)
        return given or _recorded(reference) if whole else None
    if _is_file(reference):
        return given
    if _layers_in(reference) > 1 and (_is_file(mine) or callable(mine) or _is_weights(mine)):
        return given
    return None


def _is_file(thing: Any) -> bool:
    return isinstance(thing, (str, Path)) and Path(thing).suffix.lower() == ".onnx"


def _is_weights(thing: Any) -> bool:
    """Whether something is a state dict."""
    return isinstance(thing, Mapping) and all(
        hasattr(value, "shape") for value in cast("Mapping[Any, Any]", thing).values()
    )


def _layers_in(thing: Any) -> int:
    """Count the convolutions of a trace or of a module."""
    if isinstance(thing, Trace):
        return sum(step.kind == "convolution" for step in thing.steps.values())
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(thing, torch.nn.Module):
        return 0
    kind = torch.nn.modules.conv._ConvNd  # pyright: ignore[reportPrivateUsage]  # no public base
    return sum(isinstance(module, kind) for module in thing.modules())


def _recorded(trace: Trace) -> tuple[Any, ...]:
    return tuple(value.data for value in trace.inputs.values())


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
    if _is_weights(mine):
        mine = _with_weights(reference, mine, notes)
    ours = Network(_trace_of(mine, inputs, names[0], notes), names[0])
    theirs = Network(_trace_of(reference, inputs, names[1], notes), names[1])
    _check_inputs(ours, theirs)
    notes += _differing_inputs(ours, theirs)
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


# Reading the two sides ---------------------------------------------------------------------------


def _trace_of(thing: Any, inputs: Any, label: str, notes: list[Note]) -> Trace:
    if isinstance(thing, Trace):
        notes += [(f"diff_models.note.{note}", {"side": label}) for note in thing.notes]
        return thing
    if isinstance(thing, (str, Path)):
        trace = _trace_of_file(Path(thing), inputs, label)
    elif callable(thing):
        trace = _trace_of_callable(thing, inputs, label, notes)
    else:
        raise UsageError(
            f"{label} is no network: {type(thing).__name__}\n"
            "  Give a trace, an nn.Module or a function with inputs=(x,), or an ONNX file."
        )
    notes += [(f"diff_models.note.{note}", {"side": label}) for note in trace.notes]
    return trace


def _with_weights(reference: Any, weights: Any, notes: list[Note]) -> Any:
    """Put a state dict into a copy of the reference, and say what it lacks or has too many."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(reference, torch.nn.Module):
        raise UsageError(
            f"mine is a state dict, and the reference is no module: {type(reference).__name__}\n"
            "  A state dict is put into a copy of the reference: give an nn.Module."
        )
    model = copy.deepcopy(reference)
    try:
        found = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise ShapeError(
            "the state dict does not fit the reference\n"
            f"  {str(error).strip()}\n"
            "  Give weights of the reference's own shapes."
        ) from error
    for key, listed in (("missing", found.missing_keys), ("unexpected", found.unexpected_keys)):
        if listed:
            words = {"count": len(listed), "names": ", ".join(listed[:8])}
            notes.append((f"diff_models.note.{key}_weights", words))
    return model


def _trace_of_file(path: Path, inputs: Any, label: str) -> Trace:
    if path.suffix.lower() != ".onnx":
        raise UsageError(
            f"{label} is no network: {path}\n"
            "  Of files, only ONNX files (.onnx) hold a network that can be run."
        )
    from convtrace.frontends.onnx import from_onnx

    if isinstance(inputs, Mapping):
        return from_onnx(path, cast("Mapping[str, Any]", inputs))
    given = list(inputs)
    if not given:
        raise _no_inputs(label)
    if len(given) == 1:
        return from_onnx(path, given[0])
    from convtrace.frontends.onnx_file import load_model
    from convtrace.frontends.onnx_inputs import expected_inputs

    expected = [one.name for one in expected_inputs(load_model(path))]
    return from_onnx(path, dict(zip(expected, given, strict=False)))


def _trace_of_callable(thing: Any, inputs: Any, label: str, notes: list[Note]) -> Trace:
    if not inputs:
        raise _no_inputs(label)
    if isinstance(inputs, Mapping):
        named = cast("Mapping[str, Any]", inputs)
        found, step = run_twice(thing, **{name: _tensor(one) for name, one in named.items()})
    else:
        found, step = run_twice(thing, *map(_tensor, inputs))
    notes += random_notes(label, step)
    return found


def run_twice(
    thing: Any, *inputs: Any, on_operator: Callable[[], None] | None = None, **named: Any
) -> tuple[Trace, str | None]:
    """Trace a model, and again with other random numbers: chance must not look like a bug.

    Returns:
        The first run, and the step from which the second one differs: empty if it ran other
        steps, None if it is the same.

    Raises:
        ModelError: The model raised.
    """
    import torch

    from convtrace.frontends.torch import trace

    with torch.no_grad():
        first = trace(thing, *inputs, on_operator=on_operator, **named)
        with torch.random.fork_rng(devices=[]):  # else it would draw the same numbers again
            torch.manual_seed(torch.initial_seed() + 1)  # pyright: ignore[reportUnknownMemberType]  # torch leaves it open
            second = trace(thing, *inputs, on_operator=on_operator, **named)
    return first, first_random(first, second)


def first_random(first: Trace, second: Trace) -> str | None:
    """Name the step from which two runs differ; empty if they ran other steps, None if none."""
    import torch

    one, two = list(first.steps.values()), list(second.steps.values())
    if [(step.kind, step.shape) for step in one] != [(step.kind, step.shape) for step in two]:
        return ""
    for a, b in zip(one, two, strict=True):
        left, right = a.value.tensor(), b.value.tensor()
        if not torch.equal(left.nan_to_num(), right.nan_to_num()):
            return a.name
    return None


def random_notes(label: str, step: str | None) -> list[Note]:
    """Say that a side is not deterministic, if it is not."""
    if step is None:
        return []
    if not step:
        return [("diff_models.note.other_steps", {"side": label})]
    return [("diff_models.note.nondeterministic", {"side": label, "step": step})]


def _tensor(thing: Any) -> Any:
    import numpy as np
    import torch

    return torch.from_numpy(thing) if isinstance(thing, np.ndarray) else thing


def _no_inputs(label: str) -> UsageError:
    return UsageError(
        f"{label} has to be run, and there is nothing to run it on\n"
        "  Give inputs=(x,): one for each argument."
    )


def _check_inputs(mine: Network, reference: Network) -> None:
    ours = [value.shape for value in mine.trace.inputs.values()]
    theirs = [value.shape for value in reference.trace.inputs.values()]
    if ours and theirs and not set(ours) & set(theirs):
        raise ShapeError(
            "the two were run on inputs of different shapes\n"
            f"  {mine.label}       {', '.join(map(str, ours))}\n"
            f"  {reference.label}  {', '.join(map(str, theirs))}\n"
            "  Run both on the same numbers."
        )


def _differing_inputs(mine: Network, reference: Network) -> list[Note]:
    """Say where the two were not run on the same numbers."""
    from convtrace.mismatch.align import align_inputs

    found: list[Note] = []
    for name, other in align_inputs(mine, reference).items():
        ours, theirs = mine.trace.inputs[other].tensor(), reference.trace.inputs[name].tensor()
        apart = (ours.double() - theirs.double()).abs().nan_to_num(0.0, 0.0, 0.0)
        if bool((apart > 0).any()):
            words = {"name": name, "largest": float(apart.max())}
            found.append(("diff_models.note.inputs_differ", words))
    return found
