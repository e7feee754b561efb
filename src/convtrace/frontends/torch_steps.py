"""From recorded operators to canonical, named steps."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils._python_dispatch import _disable_current_modes

from convtrace.arithmetic import Arithmetic, plain
from convtrace.exact import FORMATS
from convtrace.frontends.convolution import canonical, function_name
from convtrace.frontends.torch_recorder import CONVOLUTIONS, FunctionCall, Held, ModuleCall, Record
from convtrace.frontends.torch_replay import (
    Replay,
    bound_arguments,
    kind_of,
    positions,
    replay_convolution,
    replay_operator,
    tensor_roles,
)
from convtrace.rules import status_of
from convtrace.step import Step, Value


@dataclass(eq=False)
class Draft:
    """A step before it has its name.

    Attributes:
        kind: Canonical kind.
        attributes: Canonical settings.
        operands: What it read, by role.
        output: What it made.
        call: The module call it ran in.
        function: Name of the public function or operator.
        arithmetic: Formats of its computation.
        replay: Computes it again from other operands.
        sources: Where its numbers come from, if it only moves them.
        moved: Roles of the operands that they come from.
    """

    kind: str
    attributes: dict[str, Any]
    operands: dict[str, Held]
    output: Held
    call: ModuleCall
    function: str
    arithmetic: Arithmetic | None = None
    replay: Replay | None = None
    sources: Callable[[], torch.Tensor] | None = None
    moved: tuple[str, ...] = ()


def draft_steps(
    records: Iterable[Record], kept: Iterable[Held], *, flushes: bool
) -> list[Draft]:
    """Turn operators into drafts of steps: one for each public call, where it is a known one.

    Args:
        records: Operators in the order they ran.
        kept: Tensors that the model or one of its modules returned. Bookkeeping whose result
            nobody reads (counters, statistics, scratch memory) is left out.
        flushes: Whether subnormal numbers were flushed to zero.
    """
    drafts = _draft_all(records)
    wanted = {id(held) for held in kept}
    live: list[Draft] = []
    for draft in reversed(drafts):
        if flushes and draft.arithmetic is not None:
            draft.arithmetic = replace(draft.arithmetic, flushes=True)
        if id(draft.output) in wanted or not _is_bookkeeping(draft):
            live.append(draft)
            wanted.update(id(held) for held in draft.operands.values())
    return live[::-1]


def _is_bookkeeping(draft: Draft) -> bool:
    """Whether nobody misses a step whose result nobody reads: a counter, statistics, new memory."""
    if draft.kind == "convolution":
        return False
    tensor = draft.output.tensor
    computes = tensor.is_floating_point() or tensor.is_complex()
    return not computes or not draft.operands or bool(draft.attributes.get("output", 0))


def _draft_all(records: Iterable[Record]) -> list[Draft]:
    drafts: list[Draft] = []
    group: list[Record] = []
    for record in records:
        if group and (
            record.function_call is None or record.function_call is not group[-1].function_call
        ):
            drafts += _draft_group(group)
            group = []
        group.append(record)
    if group:
        drafts += _draft_group(group)
    return drafts


def _draft_group(group: list[Record]) -> list[Draft]:
    call = group[0].function_call
    # A convolution without a single output number has nothing to explain.
    group = [r for r in group if r.op not in CONVOLUTIONS or r.outputs[0].tensor.numel()]
    convolutions = [record for record in group if record.op in CONVOLUTIONS]
    if call is not None:
        if call.name == "pad" and (draft := _draft_pad(call)):
            return [draft]
        draft = None
        if call.name == "linear":
            draft = _draft_linear(group, call)
        elif len(convolutions) == 1:
            draft = _draft_call(convolutions[0], group)
        if draft is not None:
            # Casts (autocast) and indirect writes happen in the call, but are steps of their own.
            before = [record for record in group if record.op in _KEPT]
            return [*(d for record in before for d in _draft_operator(record)), draft]
    drafts: list[Draft] = []
    for record in group:
        if record.op in CONVOLUTIONS:
            drafts.append(_draft_convolution(record))
        else:
            drafts += _draft_operator(record)
    if call is not None:
        for draft in drafts:
            if draft.output is call.result:
                draft.function = friendly(call.name)
            elif draft.kind == "convolution":
                draft.function = "convolution"
    return drafts


# Convolutions ------------------------------------------------------------------------------------


def _draft_convolution(record: Record) -> Draft:
    """Draft the step of one convolution operator, whichever one it was."""
    bound = bound_arguments(record)
    source = bound["input"] if "input" in bound else bound["self"]
    weight, bias = bound["weight"], bound.get("bias")
    transposed = bool(bound.get("transposed", "transpose" in record.op))
    attributes, _ = canonical(
        record.op,
        tuple(source.shape),
        tuple(weight.shape),
        stride=bound.get("stride", 1),
        padding=_ints(bound.get("padding", 0)),
        dilation=bound.get("dilation", 1),
        groups=bound.get("groups", 1),
        transposed=transposed,
        output_padding=bound.get("output_padding", 0) if transposed else 0,
    )
    operands = {"input": record.read[id(source)], "weight": record.read[id(weight)]}
    if bias is not None:
        operands["bias"] = record.read[id(bias)]
    output = record.outputs[0]
    return Draft(
        kind="convolution",
        attributes=attributes,
        operands=operands,
        output=output,
        call=record.module_call,
        function=function_name(weight.dim() - 2, transposed),
        arithmetic=_arithmetic(operands, output, record.settings or {}, transposed=transposed),
        replay=replay_convolution(attributes),
    )


def _ints(value: Any) -> Any:
    return value if isinstance(value, str | int) else [int(v) for v in value]


def _draft_call(record: Record, group: list[Record]) -> Draft | None:
    """Fold what PyTorch puts around one convolution: zero padding, a batch axis on and off.

    `conv2d(padding="same")` pads on its own where the two sides differ, and an input without a
    batch axis is given one for the time of the convolution. Neither is a step for a reader.
    """
    draft = _draft_convolution(record)
    by_output = {id(held): r for r in group for held in r.outputs}
    source, pads, unbatched = draft.operands["input"], None, False
    while (maker := by_output.get(id(source))) is not None:
        bound = bound_arguments(maker)
        if maker.op == "aten::constant_pad_nd" and bound["value"] == 0:
            pads = _add_pads(pads, bound["pad"], len(draft.attributes["stride"]))
        elif maker.op == "aten::unsqueeze" and bound["dim"] == 0:
            unbatched = True
        elif maker.op in _KEPT:
            break
        else:
            return None
        source = maker.read[id(bound["self"])]
    output = draft.output
    if unbatched:
        squeezed = [r for r in group if r.op == "aten::squeeze" and id(output) in _read_ids(r)]
        if len(squeezed) != 1:
            return None
        output = squeezed[0].outputs[0]
    if any(r is not record and r.op not in _FOLDABLE | _KEPT for r in group):
        return None
    if pads:
        draft.attributes["padding"] = tuple(
            (low + more_low, high + more_high)
            for (low, high), (more_low, more_high) in zip(
                draft.attributes["padding"], pads, strict=True
            )
        )
    draft.attributes["batched"] = not unbatched and draft.attributes["batched"]
    draft.operands["input"] = source
    draft.output = output
    return draft


_FOLDABLE = frozenset({"aten::constant_pad_nd", "aten::unsqueeze", "aten::squeeze"})
_KEPT = frozenset({"aten::_to_copy", "write"})


def _read_ids(record: Record) -> set[int]:
    return {id(held) for held in record.read.values()}


def _add_pads(
    pads: list[tuple[int, int]] | None, flat: list[int], axes: int
) -> list[tuple[int, int]]:
    """Add the pads of `constant_pad_nd` (last axis first) to pads by axis."""
    total = pads or [(0, 0)] * axes
    for place in range(min(len(flat) // 2, axes)):
        axis = axes - 1 - place
        low, high = total[axis]
        total[axis] = (low + flat[2 * place], high + flat[2 * place + 1])
    return total


def _arithmetic(
    operands: Mapping[str, Held], output: Held, settings: Mapping[str, Any], *, transposed: bool
) -> Arithmetic | None:
    """Name the arithmetic of a convolution that PyTorch ran."""
    dtype = str(operands["input"].tensor.dtype).removeprefix("torch.")
    result = str(output.tensor.dtype).removeprefix("torch.")
    if not output.tensor.is_floating_point():
        return None
    if dtype == "float32" and settings.get("fp32_precision") in ("tf32", "bf16"):
        factors = {"tf32": "tf32", "bf16": "bfloat16"}[settings["fp32_precision"]]
        return Arithmetic(factors, "float32", result)
    if dtype in ("float16", "bfloat16"):
        return Arithmetic(dtype, "float32", result, partial_sums=transposed)
    return plain(dtype)


def flushes_subnormals() -> bool:
    """Whether subnormal numbers are flushed to zero (`torch.set_flush_denormal`)."""
    number = torch.tensor([2.0**-149, 1.0], dtype=torch.float32, device="cpu")
    return not bool((number[0] * number[1]).item())


# Other calls -------------------------------------------------------------------------------------


def _draft_pad(call: FunctionCall) -> Draft | None:
    """Draft the step of `torch.nn.functional.pad`, in any mode."""
    values = dict(zip(("input", "pad", "mode", "value"), call.args, strict=False))
    values.update(call.kwargs)
    source, mode = values.get("input"), values.get("mode", "constant")
    if not isinstance(source, torch.Tensor) or call.result is None:
        return None
    flat = [int(p) for p in values["pad"]]
    axes = source.dim()
    pads = [(0, 0)] * axes
    for place in range(len(flat) // 2):
        pads[axes - 1 - place] = (flat[2 * place], flat[2 * place + 1])
    attributes = {
        "padding": tuple(pads),
        "mode": mode,
        "value": (values.get("value") or 0) if mode == "constant" else None,
    }
    operands = {"input": call.held[id(source)]}
    if call.result is operands["input"]:
        return None

    def replay(values: Mapping[str, torch.Tensor]) -> torch.Tensor:
        fill = {"value": attributes["value"]} if mode == "constant" else {}
        return torch.nn.functional.pad(values["input"], flat, mode, **fill)

    def sources() -> torch.Tensor:
        fill = {"value": -1.0} if mode == "constant" else {}
        return torch.nn.functional.pad(positions(operands["input"], 0), flat, mode, **fill)

    return Draft(
        "pad",
        attributes,
        operands,
        call.result,
        call.module_call,
        "pad",
        plain_arithmetic(call.result),
        replay,
        sources,
        ("input",),
    )


def _draft_linear(group: list[Record], call: FunctionCall) -> Draft | None:
    """Fold what PyTorch makes of `torch.nn.functional.linear`: a transpose, a product, views."""
    products = [r for r in group if r.op in ("aten::addmm", "aten::mm", "aten::linear")]
    sums = [r for r in group if r.op in ("aten::add", "aten::add_")]
    if len(products) != 1 or call.result is None or len(sums) > 1:
        return None
    if any(r.op not in _AROUND_LINEAR | _KEPT for r in group if r is not products[0]):
        return None
    bound = bound_arguments(products[0])
    read = products[0].read
    makers = {id(held): r for r in group for held in r.outputs}

    def before(tensor: torch.Tensor, *ops: str) -> Held:
        held = read[id(tensor)]
        maker = makers.get(id(held))
        return next(iter(maker.read.values())) if maker and maker.op in ops else held

    if products[0].op == "aten::linear":
        factors, bias = (read[id(bound["input"])], read[id(bound["weight"])]), bound["bias"]
    else:
        left, right = ("mat1", "mat2") if products[0].op == "aten::addmm" else ("self", "mat2")
        factors = (
            before(bound[left], "aten::view", "aten::_unsafe_view", "aten::unsqueeze"),
            before(bound[right], "aten::t"),
        )
        bias = bound["self"] if products[0].op == "aten::addmm" else None
    operands = {"input": factors[0], "weight": factors[1]}
    if bias is not None:
        operands["bias"] = read[id(bias)]
    if sums:  # the bias, added after the product
        operands["bias"] = sums[0].read[id(bound_arguments(sums[0])["other"])]
    fits = operands["input"].tensor.shape[:-1] == call.result.tensor.shape[:-1]
    if not fits or operands["weight"].tensor.dim() != 2:
        return None
    arithmetic = plain_arithmetic(call.result)

    def replay(values: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return torch.nn.functional.linear(values["input"], values["weight"], values.get("bias"))

    return Draft(
        "linear", {}, operands, call.result, products[0].module_call, "linear", arithmetic, replay
    )


_AROUND_LINEAR = frozenset(
    {
        "aten::t",
        "aten::view",
        "aten::_unsafe_view",
        "aten::unsqueeze",
        "aten::squeeze",
        "aten::squeeze_",
        "aten::add",
        "aten::add_",
        "aten::expand",
    }
)


def _draft_operator(record: Record) -> list[Draft]:
    """Draft the steps of an operator without a form of its own: one for each output."""
    name, kind = record.op.split("::")[-1], kind_of(record)
    bound = bound_arguments(record)
    operands = {role: record.read[id(tensor)] for role, tensor in tensor_roles(bound).items()}
    if record.operator is None:
        operands = {str(number): held for number, held in enumerate(record.read.values())}
    attributes: dict[str, Any] = {
        role: tuple(value) if isinstance(value, list) else value
        for role, value in bound.items()
        if value is not None and not tensor_roles({role: value})
    }
    drafts: list[Draft] = []
    for number, output in enumerate(record.outputs):
        if output.tensor.numel() == 0:
            continue
        replay = replay_operator(record, number)
        moved = _moved(kind, operands) if kind in _MOVES else ()
        several = len(record.outputs) > 1
        drafts.append(
            Draft(
                kind,
                {**attributes, "output": number} if several else attributes,
                operands,
                output,
                record.module_call,
                friendly(name) if number == 0 else f"{friendly(name)}.{number}",
                plain_arithmetic(output),
                replay,
                _sources(kind, replay, operands, moved) if moved and replay else None,
                moved,
            )
        )
    return drafts


_MOVES = frozenset(
    """
    view unsafe_view reshape_alias select slice unsqueeze squeeze permute transpose t expand
    flatten unflatten cat stack split split_with_sizes unbind chunk clone contiguous to_copy roll
    flip pixel_shuffle pixel_unshuffle channel_shuffle index_select narrow repeat unfold diagonal
    constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d
    replication_pad2d replication_pad3d copy index gather take_along_dim max_unpool2d max_unpool3d
    """.split()
)
"""Operators that only move numbers, so that running them on positions tells where each went."""


_FILLS = frozenset({"constant_pad_nd", "max_unpool2d", "max_unpool3d"})
"""Moving operators that also fill in numbers of their own."""


def _moved(kind: str, operands: Mapping[str, Held]) -> tuple[str, ...]:
    """Return the operands whose numbers an operator moves; indices among them stay where they are."""
    if kind == "copy":
        return ("src",)
    return tuple(
        role
        for role, held in operands.items()
        if held.tensor.is_floating_point() or held.tensor.is_complex() or role in ("self", "tensors")
    )


def _sources(
    kind: str, replay: Replay, operands: Mapping[str, Held], moved: tuple[str, ...]
) -> Callable[[], torch.Tensor]:
    """Say where the numbers of a moving operator come from, by moving positions instead."""

    def sources() -> torch.Tensor:
        offset = 0
        numbers: dict[str, torch.Tensor] = {}
        for role, held in operands.items():
            numbers[role] = positions(held, offset) if role in moved else held.data
            offset += held.data.numel() if role in moved else 0
        if kind in _FILLS:
            # What comes from nowhere stays below, if the positions count from a large number.
            shifted = replay({r: n + 1e9 if r in moved else n for r, n in numbers.items()})
            return torch.where(shifted >= 1e9, shifted - 1e9, -1.0)
        return replay(numbers)

    return sources


def plain_arithmetic(output: Held) -> Arithmetic | None:
    """Return the arithmetic of an elementwise operator or a sum; None for integers."""
    parts = {"complex32": "float16", "complex64": "float32", "complex128": "float64"}
    name = str(output.tensor.dtype).removeprefix("torch.")
    name = parts.get(name, name)
    return plain(name) if name in FORMATS else None


_FRIENDLY = {
    "radd": "add",
    "iadd": "add",
    "rsub": "sub",
    "isub": "sub",
    "rmul": "mul",
    "imul": "mul",
    "truediv": "div",
    "rtruediv": "div",
    "itruediv": "div",
    "getitem": "index",
    "setitem": "index_put",
    "to_copy": "to",
    "max_pool2d_with_indices": "max_pool2d",
    "max_pool3d_with_indices": "max_pool3d",
    "native_batch_norm": "batch_norm",
}


def friendly(name: str) -> str:
    """Return the name that people use for a function or operator.

    Example:
        >>> friendly("__iadd__"), friendly("relu_"), friendly("_to_copy")
        ('add', 'relu', 'to')
    """
    plain_name = name.split(".")[0].strip("_")
    return _FRIENDLY.get(plain_name, plain_name)


# Names -------------------------------------------------------------------------------------------


def name_steps(
    drafts: list[Draft],
    calls: list[ModuleCall],
    paths: Mapping[int, str],
    known: Mapping[int, tuple[str, str]],
    inputs: list[Held],
) -> tuple[list[Step], list[Value], dict[str, str]]:
    """Give every step and every tensor its name.

    Args:
        drafts: Steps in the order they ran.
        calls: Module calls in the order they began.
        paths: Module paths by `id(module)`.
        known: Name and origin of inputs, parameters and buffers, by `id(tensor)`.
        inputs: The inputs of the run, whether a step read them or not.

    Returns:
        The steps, the values that they read and did not make, and the other names of steps.
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
    for draft in drafts:
        path = _path(draft, paths, known)
        if (id(draft.output), id(draft.call)) in made_by_module and path:
            name = path
        elif draft.kind == "convolution" and path and _scripted(draft):
            name = path
        else:
            name = f"{path}.{draft.function}" if path else draft.function
        draft.output.name = unique(name)
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
    for draft in drafts:
        assert draft.output.name is not None
        value = held_value(draft.output, draft.output.name, "step")
        values[id(draft.output)] = value
        steps.append(
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
    others = [value for value in values.values() if value.origin != "step"]
    return steps, others, aliases


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



