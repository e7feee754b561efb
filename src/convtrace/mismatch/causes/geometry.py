"""Stride, dilation and phase: windows in the wrong places."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from convtrace.mismatch.causes.maps import axis_names
from convtrace.mismatch.computing.setup import Setup
from convtrace.mismatch.search.change import Change


def strides(setup: Setup) -> Iterator[Change]:
    """The stride off by one, swapped between axes, ignored, or that of another axis."""
    yield from _numbers(setup, "stride", setup.stride)


def dilations(setup: Setup) -> Iterator[Change]:
    """The dilation off by one, swapped between axes, ignored, or that of another axis."""
    if not any(k > 1 for k in setup.kernel):
        return
    yield from _numbers(setup, "dilation", setup.dilation)
    if not setup.transposed:
        none = (0,) * setup.axes
        given = {"value": none, "right": setup.dilation, "axes": axis_names(setup.axes)}
        yield Change("dilation.zero", "x", lambda s: s.but(dilation=none), given, 1.4)


def _numbers(setup: Setup, name: str, right: tuple[int, ...]) -> Iterator[Change]:
    rows: dict[tuple[int, ...], tuple[str, float]] = {}
    if setup.axes > 1:
        for perm in itertools.permutations(range(setup.axes)):
            rows.setdefault(tuple(right[a] for a in perm), (f"{name}.swapped", 1.1))
    ones = (1,) * setup.axes
    rows.setdefault(ones, (f"{name}.ignored", 1.0))
    for value in dict.fromkeys((*right, *(v + 1 for v in right), *(v - 1 for v in right), 2, 3, 4)):
        if value >= 1:
            rows.setdefault((value,) * setup.axes, (f"{name}.wrong", 1.2))
    for by in (1, -1):
        rows.setdefault(tuple(v + by for v in right), (f"{name}.wrong", 1.2))
    for axis in range(setup.axes):
        for value in dict.fromkeys((right[axis] + 1, right[axis] - 1, 1, 2, 3)):
            row = (*right[:axis], value, *right[axis + 1 :])
            rows.setdefault(row, (f"{name}.wrong", 1.4))
    rows.pop(right, None)
    axes = axis_names(setup.axes)
    for row, (id_, cost) in rows.items():
        if min(row) < 1:
            continue
        parameters = {"value": row, "right": right, "axes": axes}
        yield Change(id_, "x", lambda s, r=row: s.but(**{name: r}), parameters, cost)
        if name == "dilation":
            # With padding (or a crop) for the kernel that is to be dilated so, centred as it was.
            low = tuple(
                p - (d - r) * (k - 1) // 2
                for p, d, r, k in zip(setup.low, right, row, setup.kernel, strict=True)
            )
            if low != setup.low:
                yield Change(
                    id_,
                    "x",
                    lambda s, r=row, p=low: s.but(dilation=r, low=p),
                    {**parameters, "low": low},
                    cost + 0.1,
                )


def phases(setup: Setup) -> Iterator[Change]:
    """Windows of a strided convolution that begin somewhere else in their step."""
    if setup.transposed:
        return
    names = axis_names(setup.axes)
    strided = [a for a, s in enumerate(setup.stride) if s > 1]
    everything = [tuple(strided)] + [(a,) for a in strided]
    for axes in dict.fromkeys(everything):
        for by in range(1, max((setup.stride[a] for a in axes), default=1)):
            for sign in (1, -1):
                low = tuple(p - sign * by if a in axes else p for a, p in enumerate(setup.low))
                yield Change(
                    "stride.phase",
                    "x",
                    lambda s, low=low: s.but(low=low),
                    {"by": sign * by, "axes": tuple(names[a] for a in axes)},
                    1.25 + 0.2 * (len(axes) < len(strided)) + 0.1 * by,
                )
