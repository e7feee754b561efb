"""The candidates, one file a family. A new cause is a row in one of them, or a file and a row here.

Each family is a function from the right setup to its changes; nothing is computed before a change
is asked for a number.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from convtrace.mismatch.causes import (
    activation,
    bias,
    channels,
    geometry,
    kernel,
    layout,
    loops,
    norm,
    padding,
    precision,
    quantized,
    scaling,
    transposed,
)
from convtrace.mismatch.computing.setup import Setup
from convtrace.mismatch.search.change import Change, Family, listed

FAMILIES: tuple[Family, ...] = (
    kernel.flips,
    kernel.rotations,
    kernel.axes,
    kernel.orders,
    layout.channel_orders,
    layout.layouts,
    layout.mirrors,
    layout.samples,
    layout.outputs,
    layout.added,
    channels.reads,
    channels.tiled,
    channels.swapped_in_groups,
    channels.single,
    channels.not_summed,
    padding.amounts,
    padding.modes,
    padding.values,
    padding.borders,
    geometry.strides,
    geometry.dilations,
    geometry.phases,
    transposed.laws,
    transposed.edges,
    bias.amounts,
    bias.places,
    activation.fused,
    activation.changed,
    norm.folds,
    norm.axes,
    norm.statistics,
    scaling.inputs,
    scaling.outputs,
    loops.dropped,
    loops.cut,
    precision.operands,
    precision.results,
    quantized.zero_points,
    quantized.requantization,
    quantized.accumulators,
    quantized.pairs,
)


def candidates(setup: Setup, observed: NDArray[Any] | None = None) -> list[Change]:
    """List every candidate for a setup, simplest first; only those that an output allows."""
    found = sorted(listed(FAMILIES, setup), key=lambda change: change.cost)
    return found if observed is None else list(activation.possible(found, observed))
