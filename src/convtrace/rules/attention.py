"""Attention: a product with a softmax, which is frozen."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from convtrace.address import Address
from convtrace.certify import certify
from convtrace.receipt import Receipt
from convtrace.rules.layouts import Listed
from convtrace.rules.pointwise import broadcast, unit_of
from convtrace.rules.pulling import Pulled, Run
from convtrace.step import Step

if TYPE_CHECKING:
    import torch


def is_plain(step: Step) -> bool:
    """Whether every query has its own head, and nothing is dropped at random."""
    query, key = step.values["query"].shape, step.values["key"].shape
    return query[:-2] == key[:-2] and not step.attributes.get("dropout_p")


def why(step: Step, index: tuple[int, ...], reporter: str) -> Receipt:
    """Explain one number: values of all places, each with the share that the softmax gives it.

    The shares are computed in float64 from queries and keys, and then held.
    """
    *lead, row, column = index
    query, key, value = (step.values[role] for role in ("query", "key", "value"))
    everything = slice(None)
    q = query.box((*lead, row, everything)).astype(np.float64)
    k = key.box((*lead, everything, everything)).astype(np.float64)
    scale = _scale(step, len(q))
    with np.errstate(all="ignore"):
        scores = k @ q * scale + _mask_row(step, lead, row, len(k))
        shares = np.exp(scores - scores.max())
        shares /= shares.sum()
    if scores.max() == -math.inf and not np.isnan(step.value.item(index)):
        shares = np.zeros(len(k))  # all is masked: some kernels give 0 then, others NaN
    inputs = value.box((*lead, everything, column)).astype(np.float64)
    # The framework rounds the scores; that changes every share by as much as them.
    unit = unit_of(step)
    with np.errstate(all="ignore"):
        largest = float((np.abs(k) @ np.abs(q)).max())
        size = float(np.abs(shares * inputs).sum())
    error = (len(q) + 4) * unit * largest * abs(scale) + 16 * unit
    return certify(
        step,
        index,
        inputs=inputs,
        weights=shares,
        present=np.ones(len(inputs), dtype=np.bool_),
        layout=Listed(
            tuple(Address(value.name, (*lead, n, column)) for n in range(len(inputs))),
            (None,) * len(inputs),
        ),
        reporter=reporter,
        slack=2 * error * size,
    )


def pull(run: Run, cotangent: torch.Tensor) -> Pulled:
    """Pull through attention: to the values, with the shares held."""
    import torch

    query, key = run.operands["query"], run.operands["key"]
    scores = query @ key.transpose(-1, -2) * _scale(run.step, query.shape[-1])
    mask = run.operands.get(_mask_role(run.step))
    if mask is not None:
        scores = (
            scores.masked_fill(~mask, -math.inf)
            if not mask.is_floating_point()
            else (scores + mask)
        )
    if run.step.attributes.get("is_causal"):
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(later, -math.inf)
    shares = torch.softmax(scores, -1)
    masked = (scores == -math.inf).all(-1, keepdim=True) & (run.output == 0).all(-1, keepdim=True)
    shares = shares.masked_fill(masked, 0.0)
    return Pulled({"value": shares.transpose(-1, -2) @ cotangent})


def _scale(step: Step, size: int) -> float:
    given = step.attributes.get("scale")
    return 1 / math.sqrt(size) if given is None else float(given)


def _mask_role(step: Step) -> str:
    return "attn_bias" if "attn_bias" in step.values else "attn_mask"


def _mask_row(step: Step, lead: list[int], row: int, count: int) -> Any:
    """Return what is added to the scores of one row."""
    added = np.zeros(count)
    mask = step.values.get(_mask_role(step))
    if mask is not None:
        for place in range(count):
            number = mask.item(broadcast((*lead, row, place), mask.shape))
            added[place] = (0.0 if number else -math.inf) if mask.dtype == "bool" else number.real
    if step.attributes.get("is_causal"):
        added[row + 1 :] = -math.inf
    return added
