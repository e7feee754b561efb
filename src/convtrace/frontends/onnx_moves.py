"""ONNX operators that move numbers and compute nothing.

Sources:
    https://onnx.ai/onnx/operators/ gives the meaning of each; older operator sets have attributes
    where newer ones have inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import torch
from torch.nn import functional

from convtrace.frontends.onnx_forms import Call, Form, Tensors, Translator, moving


def _same(call: Call) -> Form | None:
    """Translate Identity, and Dropout outside training."""
    if call.number != 0 or (call.has(2) and bool(call.array(2).item())):
        return None
    return moving(call, "clone", {}, lambda operands: operands["self"])


def _cast(call: Call) -> Form | None:
    """Translate a cast that can only round; one from fractions to whole numbers cuts."""
    source, target = call.array(0).dtype, call.output.dtype
    if target.kind != "f" and (source.kind == "f" or target.kind == "b"):
        return None
    fractions = torch.as_tensor(np.zeros((), target)).dtype if target.kind == "f" else None

    def replay(operands: Tensors) -> torch.Tensor:
        x = operands["self"]
        return x if fractions is None or x.is_floating_point() else x.to(fractions)

    return moving(call, "to_copy", {"dtype": target.name}, replay)


# Shapes ------------------------------------------------------------------------------------------


def _view(call: Call) -> Form | None:
    shape = call.output.shape
    return moving(call, "view", {"size": shape}, lambda operands: operands["self"].reshape(shape))


def _permute(call: Call) -> Form | None:
    order = call.get("perm", tuple(range(len(call.shape)))[::-1])
    return moving(
        call, "permute", {"dims": order}, lambda operands: operands["self"].permute(order)
    )


def _squeeze(call: Call) -> Form | None:
    axes = len(call.shape)
    dims = tuple(d % axes for d in call.ints(1, "axes") or ())
    if not dims:
        dims = tuple(axis for axis, size in enumerate(call.shape) if size == 1)
    shape = call.output.shape
    return moving(call, "squeeze", {"dim": dims}, lambda operands: operands["self"].reshape(shape))


def _unsqueeze(call: Call) -> Form | None:
    dims = call.ints(1, "axes")
    if dims is None or len(dims) != 1:
        return _view(call)
    dim = dims[0] % (len(call.shape) + 1)
    return moving(call, "unsqueeze", {"dim": dim}, lambda operands: operands["self"].unsqueeze(dim))


def _expand(call: Call) -> Form | None:
    shape = call.output.shape
    return moving(call, "expand", {"size": shape}, lambda operands: operands["self"].expand(shape))


def _tile(call: Call) -> Form | None:
    counts = call.constant(1)
    if counts is None:
        return None
    repeats = tuple(int(n) for n in counts)
    attributes = {"repeats": repeats}
    return moving(call, "repeat", attributes, lambda operands: operands["self"].repeat(repeats))


def _shuffle(call: Call) -> Form | None:
    """Translate DepthToSpace: PyTorch's pixel shuffle if the mode is CRD, another order if DCR."""
    block = int(call.attributes["blocksize"])
    samples, channels, rows, columns = call.shape
    each = channels // block**2
    if call.get("mode", "DCR") == "CRD":
        attributes = {"upscale_factor": block}
        return moving(
            call, "pixel_shuffle", attributes, lambda o: functional.pixel_shuffle(o["self"], block)
        )

    def replay(operands: Tensors) -> torch.Tensor:
        parts = operands["self"].reshape(samples, block, block, each, rows, columns)
        return parts.permute(0, 3, 4, 1, 5, 2).reshape(samples, each, rows * block, columns * block)

    return moving(call, "depth_to_space", {"blocksize": block, "mode": "DCR"}, replay)


def _unshuffle(call: Call) -> Form | None:
    block = int(call.attributes["blocksize"])
    samples, channels, rows, columns = call.shape
    shape = (samples, channels, rows // block, block, columns // block, block)

    def replay(operands: Tensors) -> torch.Tensor:
        parts = operands["self"].reshape(shape).permute(0, 3, 5, 1, 2, 4)
        return parts.reshape(samples, channels * block**2, rows // block, columns // block)

    return moving(call, "space_to_depth", {"blocksize": block}, replay)


# Choosing and joining ----------------------------------------------------------------------------


def _concat(call: Call) -> Form | None:
    """Translate Concat; parts without numbers in them are left out."""
    places = [n for n in range(len(call.node.inputs)) if call.has(n) and call.array(n).size]
    roles = tuple(f"tensors.{number}" for number in range(len(places)))
    axis = call.get("axis", 1) % len(call.output.shape)
    operands = {role: call.name(place) for role, place in zip(roles, places, strict=True)}
    return Form(
        "cat",
        {"dim": axis},
        operands,
        lambda o: torch.cat([o[role] for role in roles], axis),
        roles,
    )


def _split(call: Call) -> Form | None:
    axis = call.get("axis", 0) % len(call.shape)
    sizes = tuple(call.run.values[name].shape[axis] for name in call.node.outputs if name)
    if len(sizes) != len(call.node.outputs):
        return None
    attributes = {"split_sizes": sizes, "dim": axis}
    return moving(
        call,
        "split_with_sizes",
        attributes,
        lambda operands: operands["self"].split(sizes, axis)[call.number],
    )


def _slice(call: Call) -> Form | None:
    """Translate Slice: along one axis and forwards it is PyTorch's, else one of its own."""
    starts, ends = call.ints(1, "starts"), call.ints(2, "ends")
    if starts is None or ends is None or not (call.settled(3) and call.settled(4)):
        return None
    count = len(call.shape)
    axes = tuple(a % count for a in call.ints(3, "axes") or range(len(starts)))
    steps = call.ints(4, "steps") or (1,) * len(axes)
    places = {
        axis: range(*slice(start, end, step).indices(call.shape[axis]))
        for axis, start, end, step in zip(axes, starts, ends, steps, strict=True)
    }
    changed = {a: p for a, p in places.items() if p != range(call.shape[a])} or places
    kind, attributes = "strided_slice", _strided(changed)
    if len(changed) == 1 and min(steps) > 0:
        ((axis, chosen),) = changed.items()
        kind = "slice"
        attributes = {
            "dim": axis,
            "start": chosen.start,
            "end": chosen.stop,
            "step": chosen.step,
        }
    return moving(call, kind, attributes, _chooser({a: list(p) for a, p in changed.items()}))


def _strided(places: Mapping[int, range]) -> dict[str, tuple[int, ...]]:
    return {
        "dims": tuple(places),
        "starts": tuple(p.start for p in places.values()),
        "steps": tuple(p.step for p in places.values()),
    }


def _chooser(places: Mapping[int, Sequence[int]]) -> Callable[[Tensors], torch.Tensor]:
    """Return what picks positions on some axes."""

    def replay(operands: Tensors) -> torch.Tensor:
        x = operands["self"]
        for axis, chosen in places.items():
            x = x.index_select(axis, torch.tensor(chosen, dtype=torch.long))
        return x

    return replay


def _gather(call: Call) -> Form | None:
    """Translate Gather by positions that do not depend on the input."""
    indices = call.constant(1)
    if indices is None:
        return None
    axis = call.get("axis", 0) % len(call.shape)
    chosen = [int(n) % call.shape[axis] for n in indices.ravel()]
    shape = call.output.shape
    choose = _chooser({axis: chosen})
    if indices.ndim == 0:
        attributes = {"dim": axis, "index": chosen[0]}
        return moving(call, "select", attributes, lambda o: choose(o).reshape(shape))
    return moving(
        call, "index_select", {"dim": axis}, lambda o: choose(o).reshape(shape), index=call.name(1)
    )


# Padding -----------------------------------------------------------------------------------------

_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def _pad(call: Call) -> Form | None:
    """Translate Pad in all modes, on any axes; a negative pad cuts off."""
    flat = call.ints(1, "pads")
    if flat is None or not call.settled(2) or not call.settled(3):
        return None
    count = len(call.shape)
    axes = tuple(a % count for a in call.ints(3, "axes") or range(count))
    pads = [(0, 0)] * count
    for axis, low, high in zip(axes, flat[: len(axes)], flat[len(axes) :], strict=True):
        pads[axis] = (low, high)
    mode = _MODES.get(call.get("mode", "constant"))
    if mode is None:
        return None
    operands = {"input": call.name(0)}
    attributes = {"padding": tuple(pads), "mode": mode, "value": None}
    if mode != "constant":
        chosen = {a: _around(call.shape[a], p, mode) for a, p in enumerate(pads) if any(p)}
        choose = _chooser(chosen)
        return Form("pad", attributes, operands, lambda o: choose({"self": o["input"]}), ("input",))
    value = call.array(2).item() if call.has(2) else call.get("value", 0.0)
    attributes["value"] = value
    around = [p for pair in pads[::-1] for p in pair]
    return Form(
        "pad",
        attributes,
        operands,
        lambda o: functional.pad(o["input"], around, value=value),
        ("input",),
        lambda o: functional.pad(o["input"], around, value=-1),
    )


def _around(size: int, pads: tuple[int, int], mode: str) -> list[int]:
    """List the positions that an axis with pads in some mode reads.

    Example:
        >>> _around(3, (2, 1), "reflect"), _around(3, (-1, 2), "circular")
        ([2, 1, 0, 1, 2, 1], [1, 2, 1, 2])
    """
    low, high = (max(p, 0) for p in pads)
    inside = np.arange(max(-pads[0], 0), size - max(-pads[1], 0))
    if mode == "replicate":
        return np.pad(inside, (low, high), "edge").tolist()
    return np.pad(inside, (low, high), "reflect" if mode == "reflect" else "wrap").tolist()


MOVES: Mapping[str, Translator] = MappingProxyType(
    {
        "Identity": _same,
        "Dropout": _same,
        "Cast": _cast,
        "CastLike": _cast,
        "Reshape": _view,
        "Flatten": _view,
        "Transpose": _permute,
        "Squeeze": _squeeze,
        "Unsqueeze": _unsqueeze,
        "Expand": _expand,
        "Tile": _tile,
        "DepthToSpace": _shuffle,
        "SpaceToDepth": _unshuffle,
        "Concat": _concat,
        "Split": _split,
        "Slice": _slice,
        "Gather": _gather,
        "Pad": _pad,
    }
)
"""Translators by operator type."""
