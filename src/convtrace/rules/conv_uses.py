"""Convolution, asked the other way: where an input, a weight or a bias went."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from convtrace.geometry import input_group, readers, tap
from convtrace.rules.conv import axes_of, channel_counts
from convtrace.rules.pulling import Dependents
from convtrace.step import Step


def uses(step: Step, role: str, index: tuple[int, ...]) -> Dependents | None:
    """List the outputs that one input, weight or bias of a convolution went into.

    Args:
        step: A convolution.
        role: `input`, `weight` or `bias`.
        index: Position in that operand.
    """
    if role == "input":
        return _uses_of_input(step, index)
    if role == "weight":
        return _uses_of_weight(step, index)
    batched = step.attributes["batched"]
    grids = [np.arange(size) for size in step.shape]
    grids[batched] = np.array(index)
    places = _product(grids)
    return Dependents(places, np.ones(len(places)))


def _uses_of_input(step: Step, index: tuple[int, ...]) -> Dependents:
    """One input meets one weight for each output position, in every channel of its group."""
    batched = step.attributes["batched"]
    sample, (channel, *spatial) = index[:batched], index[batched:]
    channels_in, channels_out = channel_counts(step)
    groups, weight = step.attributes["groups"], step.values["weight"]
    group = channel // (channels_in // groups)
    outputs = input_group(group * (channels_in // groups), channels_in, channels_out, groups)
    axes = axes_of(step.attributes, weight.shape[2:])
    pairs = [
        readers(axis, size, place)
        for axis, size, place in zip(axes, step.shape[batched + 1 :], spatial, strict=True)
    ]
    grids = [np.array([o for o, _ in found], dtype=np.int64) for found in pairs]
    taps_read = [np.array([k for _, k in found], dtype=np.int64) for found in pairs]
    places = _product([*(np.array([n]) for n in sample), np.array(outputs), *grids])
    everything = (slice(None),) * len(axes)
    if step.attributes["transposed"]:
        box = weight.box((channel, slice(None), *everything))
    else:
        within = channel - group * (channels_in // groups)
        box = weight.box((slice(outputs.start, outputs.stop), within, *everything))
    weights = box[np.ix_(np.arange(len(outputs)), *taps_read)]
    return Dependents(places, weights.astype(np.float64).ravel())


def _uses_of_weight(step: Step, index: tuple[int, ...]) -> Dependents:
    """One weight meets one input for each sample and each output position where it hits."""
    batched, transposed = step.attributes["batched"], step.attributes["transposed"]
    channels_in, channels_out = channel_counts(step)
    groups = step.attributes["groups"]
    first, second, *kernel = index
    if transposed:
        channel = first
        output = first // (channels_in // groups) * (channels_out // groups) + second
    else:
        output = first
        channel = input_group(first, channels_out, channels_in, groups)[second]
    source = step.values["input"]
    axes = axes_of(step.attributes, step.values["weight"].shape[2:])
    grids: list[NDArray[np.int64]] = []
    reads: list[list[int]] = []
    for axis, size, outputs, k in zip(
        axes, source.shape[batched + 1 :], step.shape[batched + 1 :], kernel, strict=True
    ):
        found = [(o, tap(axis, size, o, k).source) for o in range(outputs)]
        grids.append(np.array([o for o, i in found if i is not None], dtype=np.int64))
        reads.append([i for _, i in found if i is not None])
    samples = [np.arange(step.shape[0])] if batched else []
    places = _product([*samples, np.array([output]), *grids])
    everything = (slice(None),) * (batched + len(axes))
    box = source.box((*everything[:batched], channel, *everything[batched:]))
    values = box[np.ix_(*(range(len(s)) for s in samples), *reads)]
    return Dependents(places, values.astype(np.float64).ravel())


def _product(grids: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return all combinations of positions, the last axis fastest, shape `(count, axes)`."""
    return np.stack(np.meshgrid(*grids, indexing="ij"), axis=-1).reshape(-1, len(grids))
