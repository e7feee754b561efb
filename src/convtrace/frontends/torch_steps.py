"""From recorded operators to drafts of steps: which operators make one step, and which none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from convtrace.frontends.torch_calls import (
    KEPT,
    draft_call,
    draft_convolution,
    draft_linear,
    draft_pad,
)
from convtrace.frontends.torch_drafts import Draft, draft_operator, friendly
from convtrace.frontends.torch_operators import CONVOLUTIONS
from convtrace.frontends.torch_record import Held, Record


def draft_steps(records: Iterable[Record], kept: Iterable[Held], *, flushes: bool) -> list[Draft]:
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
        if call.name == "pad" and (draft := draft_pad(call)):
            return [draft]
        draft = None
        if call.name == "linear":
            draft = draft_linear(group, call)
        elif len(convolutions) == 1:
            draft = draft_call(convolutions[0], group)
        if draft is not None:
            # Casts (autocast) and indirect writes happen in the call, but are steps of their own.
            before = [record for record in group if record.op in KEPT]
            return [*(d for record in before for d in draft_operator(record)), draft]
    drafts: list[Draft] = []
    for record in group:
        if record.op in CONVOLUTIONS:
            drafts.append(draft_convolution(record))
        else:
            drafts += draft_operator(record)
    if call is not None:
        for draft in drafts:
            if draft.output is call.result:
                draft.function = friendly(call.name)
            elif draft.kind == "convolution":
                draft.function = "convolution"
    return drafts
