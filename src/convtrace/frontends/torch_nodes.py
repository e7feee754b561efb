"""Which step of the forward run each node of autograd belongs to.

Most operators are a step and have a node each. A convolution, a linear layer, a pad or a write may
be several operators, and so several nodes, of which only the last one made what the step returned.
"""

from __future__ import annotations

from collections.abc import Mapping

from convtrace.frontends.torch_backward import BackwardRecorder
from convtrace.frontends.torch_drafts import Draft
from convtrace.frontends.torch_record import FunctionCall, Held, Record

FOLDED = frozenset({"convolution", "linear", "pad", "write"})
"""Kinds of steps that may be several operators, and so several nodes."""

_WRITE = "CopySlices"
"""What PyTorch calls a write into a slice."""


def steps_of_nodes(
    recorder: BackwardRecorder, by_output: Mapping[int, Draft], made_by: Mapping[int, Record]
) -> dict[int, Draft]:
    """Find the step of the forward run whose derivative each node is.

    Args:
        recorder: What was recorded.
        by_output: Steps by `id` of what they made.
        made_by: Operators by `id` of what they made.

    Returns:
        Steps by the number of a node; without nodes that belong to none.
    """
    found: dict[int, Draft] = {}
    calls: dict[int, FunctionCall | None] = {**recorder.calls_of}
    for (node, _), held in sorted(recorder.forward.items(), key=lambda item: item[0]):
        if id(held) in by_output and node not in recorder.leaves:
            found.setdefault(node, by_output[id(held)])
        maker = made_by.get(id(held))
        calls[node] = maker.function_call if maker else None
    for node, call in calls.items():
        step = by_output.get(id(call.result)) if call is not None else None
        if node not in found and step is not None and step.kind in FOLDED:
            found[node] = step
    for node in recorder.formulas:
        found.pop(node, None)
    names = {run.node: run.name for run in recorder.runs}
    for run in recorder.runs:  # writes one after another, with nothing read in between
        step = found.get(run.node)
        if step is not None and step.kind == "write":
            for key, _ in run.sent:
                if names.get(key[0]) == _WRITE and key not in recorder.forward:
                    found[key[0]] = step
    return found


def ends_of_writes(recorder: BackwardRecorder, steps: Mapping[int, Draft]) -> dict[int, list[Held]]:
    """List the tensors that the gradient of each write went to, by `id` of its step.

    A tensor that got it in two parts is listed twice.
    """
    found: dict[int, list[Held]] = {}
    for run in recorder.runs:
        step = steps.get(run.node)
        if step is not None and step.kind == "write":
            targets = (recorder.forward.get(key) for key, _ in run.sent)
            found.setdefault(id(step), []).extend(held for held in targets if held)
    return found
