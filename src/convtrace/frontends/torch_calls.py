"""Public calls that are one step each, however many operators PyTorch makes of them.

A call of `conv2d`, `pad` or `linear` may run as a dozen operators: zero padding, a batch axis put
on and taken off, a transpose, views. They are PyTorch's way of running it, and no steps for a
reader.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from convtrace.arithmetic import Arithmetic, plain
from convtrace.frontends.convolution import canonical, function_name
from convtrace.frontends.convolution_replay import replay_convolution
from convtrace.frontends.torch_drafts import Draft, plain_arithmetic
from convtrace.frontends.torch_record import FunctionCall, Held, Record
from convtrace.frontends.torch_replay import bound_arguments, positions

KEPT = frozenset({"aten::_to_copy", "write"})
"""Operators that stay steps of their own inside a call: casts (autocast) and indirect writes."""

_FOLDABLE = frozenset({"aten::constant_pad_nd", "aten::unsqueeze", "aten::squeeze"})
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


def draft_convolution(record: Record) -> Draft:
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


def draft_call(record: Record, group: list[Record]) -> Draft | None:
    """Fold what PyTorch puts around one convolution: zero padding, a batch axis on and off.

    `conv2d(padding="same")` pads on its own where the two sides differ, and an input without a
    batch axis is given one for the time of the convolution. Neither is a step for a reader.
    """
    draft = draft_convolution(record)
    by_output = {id(held): r for r in group for held in r.outputs}
    source, pads, unbatched = draft.operands["input"], None, False
    while (maker := by_output.get(id(source))) is not None:
        bound = bound_arguments(maker)
        if maker.op == "aten::constant_pad_nd" and bound["value"] == 0:
            pads = _add_pads(pads, bound["pad"], len(draft.attributes["stride"]))
        elif maker.op == "aten::unsqueeze" and bound["dim"] == 0:
            unbatched = True
        elif maker.op in KEPT:
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
    if any(r is not record and r.op not in _FOLDABLE | KEPT for r in group):
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


def draft_pad(call: FunctionCall) -> Draft | None:
    """Draft the step of `torch.nn.functional.pad`, in any mode."""
    values: dict[str, Any] = dict(zip(("input", "pad", "mode", "value"), call.args, strict=False))
    values.update(call.kwargs)
    source, mode = values.get("input"), values.get("mode", "constant")
    if not isinstance(source, torch.Tensor) or call.result is None:
        return None
    flat = [int(p) for p in values["pad"]]
    axes = source.dim()
    pads = [(0, 0)] * axes
    for place in range(len(flat) // 2):
        pads[axes - 1 - place] = (flat[2 * place], flat[2 * place + 1])
    fill = (values.get("value") or 0) if mode == "constant" else None
    attributes = {"padding": tuple(pads), "mode": mode, "value": fill}
    operands = {"input": call.held[id(source)]}
    if call.result is operands["input"]:
        return None

    def replay(values: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return torch.nn.functional.pad(values["input"], flat, mode, fill)

    def sources() -> torch.Tensor:
        nowhere = -1.0 if mode == "constant" else None
        return torch.nn.functional.pad(positions(operands["input"], 0), flat, mode, nowhere)

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


def draft_linear(group: list[Record], call: FunctionCall) -> Draft | None:
    """Fold what PyTorch makes of `torch.nn.functional.linear`: a transpose, a product, views."""
    products = [r for r in group if r.op in ("aten::addmm", "aten::mm", "aten::linear")]
    sums = [r for r in group if r.op in ("aten::add", "aten::add_")]
    if len(products) != 1 or call.result is None or len(sums) > 1:
        return None
    if any(r.op not in _AROUND_LINEAR | KEPT for r in group if r is not products[0]):
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
