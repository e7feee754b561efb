"""The order in which changes of one side are usually made."""

from __future__ import annotations

from convtrace.mismatch.search.change import Change

SLOTS = {
    "precision.operands": 9,
    "precision.weights_quantized": 9,
    "input.scaled": 2,
    "input.shifted": 2,
    "input.normalised": 2,
    "input.denormalised": 2,
    "input.mean_subtracted": 2,
    "input.mean_added": 2,
    "input.std_divided": 2,
    "input.std_multiplied": 2,
    "input.truncated": 3,
    "input.clipped": 3,
    "input.signed": 3,
    "input.unsigned": 3,
    "input.absolute": 3,
    "input.standardised": 2,
    "input.stretched": 2,
    "quantized.zero_point": 3,
    "quantized.zero_point_sign": 3,
    "quantized.padding": 6,
    "padding.mode": 5,
    "padding.value": 5,
    "kernel.axes": 1,
    "kernel.reshaped": 1,
    "kernel.flipped": 2,
    "channels.one": 5,
    "channels.without": 5,
    "channels.tail_lost": 5,
    "channels.half": 5,
    "channels.not_summed": 5,
}
"""Places of changes that are not where their family is."""


def slot(change: Change) -> int:
    """Return the place of a change among those of its side; two of one place are not paired."""
    found = SLOTS.get(change.id)
    if found is not None:
        return found
    family = change.id.partition(".")[0]
    return {
        "input": 1,
        "kernel": 3,
        "groups": 4,
        "depthwise": 4,
        "channels": 5,
        "stride": 6,
        "dilation": 7,
        "padding": 8,
        "transposed": 8,
    }.get(family, 0)
