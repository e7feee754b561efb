"""Normalisation: by stored statistics an affine map, by the data's own a gate."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from convtrace.address import Address
from convtrace.certify import certify
from convtrace.receipt import Receipt
from convtrace.rules.layouts import Listed
from convtrace.rules.pointwise import unit_of
from convtrace.rules.pulling import Pulled, Run, unbroadcast
from convtrace.step import Step

if TYPE_CHECKING:
    import torch


def by_statistics(step: Step) -> bool:
    """Whether a batch norm uses stored statistics (evaluation mode)."""
    return not step.attributes.get("training", False)


def pull_batch_norm(run: Run, cotangent: torch.Tensor) -> Pulled:
    """Pull through a batch norm.

    With stored statistics it is `scale*x + shift`. In training mode the mean is linear in the
    input and `1/sigma` is frozen.
    """
    x, axes = run.operands["input"], run.operands["input"].dim()
    reduce = [axis for axis in range(axes) if axis != 1]
    shape = [1, -1] + [1] * (axes - 2)
    weight, bias = run.operands.get("weight"), run.operands.get("bias")
    if by_statistics(run.step):
        mean, variance = run.operands["running_mean"], run.operands["running_var"]
        scale = (variance + run.step.attributes["eps"]).rsqrt()
        scale = scale if weight is None else scale * weight
        shift = -mean * scale if bias is None else bias - mean * scale
        terms, scale = cotangent.sum(reduce) * shift, scale.reshape(shape)
        return Pulled({"input": cotangent.mul_(scale) if run.spare else cotangent * scale}, terms)
    return _pull_own_statistics(run, cotangent, x, reduce, shape)


def pull_layer_norm(run: Run, cotangent: torch.Tensor) -> Pulled:
    """Pull through a layer norm: the mean is linear, `1/sigma` is frozen."""
    x = run.operands["input"]
    count = len(run.step.attributes["normalized_shape"])
    reduce = list(range(x.dim() - count, x.dim()))
    return _pull_own_statistics(run, cotangent, x, reduce, list(x.shape[-count:]))


def pull_group_norm(run: Run, cotangent: torch.Tensor) -> Pulled:
    """Pull through a group norm (an instance norm has a group for each channel)."""
    import torch

    x = run.operands["input"]
    groups = run.step.attributes["group"]
    shape = [1, -1] + [1] * (x.dim() - 2)
    weight, bias = run.operands.get("weight"), run.operands.get("bias")
    added = 0.0 if bias is None else _shifts(cotangent, bias.reshape(shape))
    g = cotangent if weight is None else cotangent * weight.reshape(shape)
    split = x.reshape(x.shape[0], groups, -1)
    sigma = (split.var(-1, correction=0, keepdim=True) + run.step.attributes["eps"]).rsqrt()
    g = g.reshape(split.shape) * sigma
    g = g - g.mean(-1, keepdim=True)
    return Pulled({"input": torch.reshape(g, x.shape)}, added)


def _pull_own_statistics(
    run: Run, cotangent: torch.Tensor, x: torch.Tensor, reduce: list[int], shape: list[int]
) -> Pulled:
    weight, bias = run.operands.get("weight"), run.operands.get("bias")
    added: Any = 0.0 if bias is None else _shifts(cotangent, bias.reshape(shape))
    g = cotangent if weight is None else cotangent * weight.reshape(shape)
    variance = x.var(reduce, correction=0, keepdim=True)
    g = g * (variance + run.step.attributes["eps"]).rsqrt()
    return Pulled({"input": g - g.mean(reduce, keepdim=True)}, added)


def _shifts(cotangent: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Return the terms of the shifts, one for each."""
    return unbroadcast(cotangent, tuple(bias.shape)) * bias


def why_batch_norm(step: Step, index: tuple[int, ...], reporter: str) -> Receipt:
    """Explain one number of a batch norm in evaluation mode: `scale*x + shift`.

    The scale and the shift are made of four stored numbers of the channel; they are computed in
    float64 here, so that the verdict allows for the rounding of the framework's own.
    """
    if not by_statistics(step):
        return why_own_statistics(step, index, reporter)
    channel = (index[1],)
    stored = {
        role: float(step.values[role].item(channel).real)
        for role in ("weight", "bias", "running_mean", "running_var")
        if role in step.values
    }
    scale = stored.get("weight", 1.0) / np.sqrt(stored["running_var"] + step.attributes["eps"])
    shift = stored.get("bias", 0.0) - stored["running_mean"] * scale
    source = step.values["input"]
    return certify(
        step,
        index,
        inputs=np.array([source.item(index)]),
        weights=np.array([scale]),
        present=np.ones(1, dtype=np.bool_),
        layout=Listed((Address(source.name, index),), (None,)),
        bias=shift,
        reporter=reporter,
        slack=8 * unit_of(step) * _size(stored, scale, float(source.item(index).real)),
    )


def why_own_statistics(step: Step, index: tuple[int, ...], reporter: str) -> Receipt:
    """Explain one number of a norm that takes its statistics from the data.

    `1/sigma` is a gate: it is computed from all the numbers of the group, in float64, and then
    held. The mean goes into what the step adds itself.
    """
    source = step.values["input"]
    box, channel = _group_of(step, index)
    values = source.box(box).astype(np.float64)
    with np.errstate(all="ignore"):  # NaN and infinity go through
        mean, variance = float(values.mean()), float(values.var())
        sigma = float(np.sqrt(variance + step.attributes["eps"]))
    weight, bias = (
        float(step.values[role].item(channel).real) if role in step.values else default
        for role, default in (("weight", 1.0), ("bias", 0.0))
    )
    scale = weight / sigma
    value = float(source.item(index).real)
    size = (abs(value) + float(np.abs(values).mean())) * abs(scale) * math.sqrt(values.size)
    return certify(
        step,
        index,
        inputs=np.array([value]),
        weights=np.array([scale]),
        present=np.ones(1, dtype=np.bool_),
        layout=Listed((Address(source.name, index),), (None,)),
        bias=bias - mean * scale,
        reporter=reporter,
        slack=8 * unit_of(step) * (size + abs(bias)),
        met=(variance + mean * mean) * values.size,  # the sum of squares
    )


def _group_of(
    step: Step, index: tuple[int, ...]
) -> tuple[tuple[int | slice, ...], tuple[int, ...]]:
    """Return the box of the numbers that share statistics, and the position of scale and shift."""
    shape = step.values["input"].shape
    everything = slice(None)
    if step.kind == "native_layer_norm":
        count = len(step.attributes["normalized_shape"])
        return (*index[:-count], *(everything,) * count), index[-count:]
    rest = (everything,) * (len(shape) - 2)
    if step.kind == "native_group_norm":
        each = shape[1] // step.attributes["group"]
        first = index[1] // each * each
        return (index[0], slice(first, first + each), *rest), (index[1],)
    return (everything, slice(index[1], index[1] + 1), *rest), (index[1],)


def _size(stored: dict[str, float], scale: float, value: float) -> float:
    """Size of the numbers that the framework rounds on its way to scale and shift."""
    return abs(scale * value) + abs(stored["running_mean"] * scale) + abs(stored.get("bias", 0.0))
