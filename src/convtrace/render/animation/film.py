"""Finds what an animation shows: the convolution, its receipts, and the frames that were asked."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from convtrace.address import Address
from convtrace.errors import OutOfRangeError, UsageError
from convtrace.graph import Trace
from convtrace.receipt import Receipt
from convtrace.render.animation.frames import Stage
from convtrace.render.animation.parts import Band, Film, Place
from convtrace.render.drawing.pen import Pen
from convtrace.render.drawing.theme import theme_of
from convtrace.render.look import Look
from convtrace.rules.conv import window
from convtrace.step import Step

MOST_FRAMES, MOST_BANDS, MOST_CELLS = 400, 8, 1500
"""Frames, rows of channels and cells of a grid that a viewer can still follow. Of more channels,
the largest are shown, and what the rest sums to."""

LARGEST = 1800.0
"""Longest side in points."""

_INSTEAD = (
    'a smaller input, another step (step="…"), or one receipt: trace.why("…").save("why.svg")'
)


def make_film(
    trace: Trace,
    *,
    lang: str = "en",
    theme: str = "light",
    step: str | None = None,
    sample: int = 0,
    channel: int = 0,
    depth: int = 0,
    frames: int | None = None,
) -> Film:
    """Draw the frames of one output channel.

    Args:
        trace: The run.
        lang: `en` or `ko`.
        theme: `light` or `dark`.
        step: The convolution; None takes the first.
        sample: Sample of the batch.
        channel: Output channel.
        depth: Output depth of a 3-d convolution.
        frames: Number of frames, spread evenly over the output; None takes every position.

    Raises:
        UsageError: The step is no convolution, or too large to follow.
        OutOfRangeError: There is no such sample, channel or depth.
    """
    found = _convolution(trace, step)
    index = _before(found, sample, channel, depth)
    spatial = found.shape[len(index) :]
    total = math.prod(spatial)
    count = total if frames is None else min(frames, total)
    if frames is not None and frames < 1:
        raise UsageError(f"frames = {frames}\n  At least 1; None shows every output position.")
    if count > MOST_FRAMES or total > MOST_CELLS:
        raise UsageError(
            f"{found.name} has {total:,} output positions a channel: too many to follow\n"
            f"  at most {MOST_CELLS:,} positions and {MOST_FRAMES} frames; frames=25 shows 25 of "
            f"them, spread evenly\n  Choose {_INSTEAD}."
        )
    bands = _bands(found, index)
    cells, depths = bands[0].source.size, sum(band.channel == bands[0].channel for band in bands)
    if depths > MOST_BANDS or cells > MOST_CELLS:
        raise UsageError(
            f"{found.name} reads {depths:,} × {cells:,} numbers of each channel: too many to "
            f"follow\n  at most {MOST_BANDS} depths of {MOST_CELLS:,} numbers\n"
            f"  Choose {_INSTEAD}."
        )
    receipts = [
        trace.why(Address(found.name, (*index, *place))) for place in np.ndindex(tuple(spatial))
    ]
    if any(isinstance(receipt.exact, complex) for receipt in receipts):
        raise UsageError(
            f"{found.name} is complex, which an animation does not show\n"
            "  Choose .svg, .json or .txt of one number."
        )
    columns = spatial[-1] if spatial else 1
    shape: Place = (math.prod(spatial) // columns, columns)
    places: list[Place] = [divmod(number, shape[1]) for number in range(total)]
    pen = Pen(theme_of(theme), Look(lang))
    order = _largest_first(receipts)
    fewer = min(len(order), MOST_BANDS // depths)
    while True:  # until it fits, or nothing is left to leave out
        shown = [band for band in bands if band.channel in order[:fewer]]
        stage = Stage(receipts, places, shown, shape, pen)
        if fewer == 1 or stage.height <= LARGEST:
            break
        fewer -= 1
    if max(stage.width, stage.height) > LARGEST:
        raise UsageError(
            f"this animation would be too large to follow: {stage.width:.0f} × {stage.height:.0f} "
            f"points, at most {LARGEST:.0f}\n  Choose {_INSTEAD}."
        )
    return stage.film(sorted({(k + 1) * total // count - 1 for k in range(count)}))


def _largest_first(receipts: Sequence[Receipt]) -> list[int]:
    """Order the channels that are read by the largest of their sums, in any frame; NaN is first."""
    sums = np.array([receipt.channel_sums for receipt in receipts]).astype(np.float64)
    sizes = np.nan_to_num(np.abs(sums), nan=np.inf).max(axis=0)
    return np.argsort(-sizes, kind="stable").tolist()


def _convolution(trace: Trace, step: str | None) -> Step:
    names = [one.name for one in trace.steps.values() if one.kind == "convolution"]
    if step is None and names:
        return trace.step(names[0])
    found = trace.step(step) if step is not None else None
    if found is None or found.kind != "convolution":
        what = f"{found.name} is a step of kind {found.kind}" if found else "there is none"
        raise UsageError(
            f"an animation shows a convolution, and {what}\n"
            f"  Convolutions of this trace: {', '.join(names) or 'none'}."
        )
    return found


def _before(step: Step, sample: int, channel: int, depth: int) -> tuple[int, ...]:
    """Return the position on all axes but rows and columns (or places, in 1-d)."""
    axes = len(step.attributes["stride"])
    wanted = [("sample", sample)] if step.attributes["batched"] else []
    wanted += [("channel", channel)] + ([("depth", depth)] if axes == 3 else [])
    for (what, position), size in zip(wanted, step.shape, strict=False):
        if not 0 <= position < size:
            raise OutOfRangeError(
                f"{what} = {position}: {step.name} has {size}\n  shape of {step.name}: "
                f"{step.shape}. Positions count from 0."
            )
    return tuple(position for _, position in wanted)


def _bands(step: Step, index: tuple[int, ...]) -> list[Band]:
    """List what of the input is shown, one row of the picture each."""
    axes = len(step.attributes["stride"])
    spatial = min(axes, 2)
    layout = window(step, (*index, *(0,) * spatial))
    source = step.values["input"]
    depths = [tap.source for tap in layout.taps[0]] if axes == 3 else [None]
    bands: list[Band] = []
    for nth, channel in enumerate(layout.channels):
        for plane, depth in enumerate(depths):
            at = (*layout.sample, channel, *([depth or 0] if axes == 3 else []))
            box = source.box((*at, *(slice(None),) * spatial))
            bands.append(Band(nth, nth * len(depths) + plane, depth, np.atleast_2d(box)))
    return bands
