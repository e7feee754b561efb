"""From drafts to steps: each step and each tensor gets the name that a reader knows it by."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils._python_dispatch import _disable_current_modes

from convtrace.frontends.torch_drafts import Draft
from convtrace.frontends.torch_record import Held, ModuleCall
from convtrace.rules import status_of
from convtrace.step import Step, Value


def name_steps(
    drafts: list[Draft],
    calls: list[ModuleCall],
    paths: Mapping[int, str],
    known: Mapping[int, tuple[str, str]],
    inputs: list[Held],
) -> tuple[list[Step], list[Value], dict[str, str], list[Step]]:
    """Give every step and every tensor its name.

    Args:
        drafts: Steps in the order they ran.
        calls: Module calls in the order they began.
        paths: Module paths by `id(module)`.
        known: Name and origin of inputs, parameters and buffers, by `id(tensor)`.
        inputs: The inputs of the run, whether a step read them or not.

    Returns:
        The steps, the values that they read and did not make, the other names of steps, and the
        steps of backward passes.
    """
    used: dict[str, int] = {}
    seen: set[str] = {name for name, _ in known.values()}

    def unique(name: str) -> str:
        while True:
            used[name] = used.get(name, 0) + 1
            candidate = name if used[name] == 1 else f"{name}:{used[name]}"
            if candidate not in seen:
                seen.add(candidate)
                return candidate

    made_by_module = {(id(call.output), id(call)) for call in calls if call.output}
    # Steps of the backward pass are called after those of the forward run.
    for draft in [d for d in drafts if d.label is None]:
        path = _path(draft, paths, known)
        returned = (id(draft.output), id(draft.call)) in made_by_module
        if path and (returned or (draft.kind == "convolution" and _scripted(draft))):
            name = path
        else:
            name = f"{path}.{draft.function}" if path else draft.function
        draft.output.name = unique(name)
    for draft in drafts:
        if draft.label is not None:
            draft.output.name = unique(draft.label())
    made = {id(draft.output) for draft in drafts}
    values: dict[int, Value] = {}
    for held in inputs:
        name, origin = known[id(held.tensor)]
        if id(held) not in values:
            values[id(held)] = held_value(held, name, origin)
    for draft in drafts:
        for role, held in draft.operands.items():
            if id(held) in values or id(held) in made:
                continue
            name, origin = known.get(id(held.tensor), (None, "constant"))
            if name is None:
                name = f"{draft.output.name}.{role}"
            values[id(held)] = held_value(held, _free(name, values), origin)
    steps: list[Step] = []
    gradients: list[Step] = []
    for draft in drafts:
        assert draft.output.name is not None
        # To a later step of the forward run, a gradient is a number that was given.
        origin = "step" if draft.label is None else "constant"
        value = held_value(draft.output, draft.output.name, origin)
        values[id(draft.output)] = value
        (steps if draft.label is None else gradients).append(
            Step(
                name=draft.output.name,
                kind=draft.kind,
                attributes=draft.attributes,
                values={role: values[id(held)] for role, held in draft.operands.items()},
                value=value,
                status=status_of(draft.kind, moves_numbers=draft.sources is not None),
                module=type(draft.call.module).__name__ if draft.call.module else None,
                arithmetic=draft.arithmetic,
                replay=draft.replay,
                sources=_cached(draft.sources) if draft.sources else None,
                moved=draft.moved,
            )
        )
    aliases: dict[str, str] = {}
    counts: dict[str, int] = {}
    for call in calls:
        path = paths.get(id(call.module), "")
        if not path:
            continue
        counts[path] = counts.get(path, 0) + 1
        alias = path if counts[path] == 1 else f"{path}:{counts[path]}"
        if call.output is not None and alias not in seen:
            value = values.get(id(call.output))
            if value is not None:
                aliases[alias] = value.name
    others = [value for key, value in values.items() if key not in made]
    return steps, others, aliases, gradients


def _cached(sources: Callable[[], Any]) -> Callable[[], NDArray[np.int64]]:
    """Run `sources` once, when it is first asked for."""

    @functools.cache
    def numbers() -> NDArray[np.int64]:
        # The question may come from inside a run that is being recorded.
        with torch.no_grad(), _disable_current_modes(), torch._C.DisableTorchFunction():
            return sources().cpu().numpy().astype(np.int64)

    return numbers


def _free(name: str, values: Mapping[int, Value]) -> str:
    """Tell later versions of a tensor apart, e.g. a weight that the run overwrote."""
    taken = {value.name for value in values.values()}
    number, candidate = 1, name
    while candidate in taken:
        number += 1
        candidate = f"{name}:{number}"
    return candidate


def held_value(held: Held, name: str, origin: str) -> Value:
    """Return a recorded tensor under its name."""
    if held.saved is not None:
        return Value(name, held.saved, origin)
    return Value(name, held.tensor, origin, held.version)


def _path(draft: Draft, paths: Mapping[int, str], known: Mapping[int, tuple[str, str]]) -> str:
    """Return the path of the module that ran a step, or that owns its weight."""
    path = paths.get(id(draft.call.module), "")
    # Scripted modules call what is inside them without hooks; their weights tell.
    return (_owner(draft, known) or path) if _scripted(draft) else path


def _scripted(draft: Draft) -> bool:
    return isinstance(draft.call.module, torch.jit.ScriptModule)


def _owner(draft: Draft, known: Mapping[int, tuple[str, str]]) -> str:
    for role in ("weight", "mat2"):
        held = draft.operands.get(role)
        name, _ = known.get(id(held.tensor), ("", "")) if held else ("", "")
        if match := re.fullmatch(r"(.+)\.weight", name):
            return match[1]
    return ""
