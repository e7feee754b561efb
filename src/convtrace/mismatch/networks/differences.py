"""What differs between two steps that stand for each other, and the reference with that put in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from convtrace.exact import FORMATS
from convtrace.mismatch.networks.align import family
from convtrace.mismatch.networks.network import LAYERS, Network
from convtrace.mismatch.networks.rerun import wide
from convtrace.mismatch.networks.verdict import Sides
from convtrace.mismatch.report import Cause, Note
from convtrace.step import Step, Value

if TYPE_CHECKING:
    import torch

What = Literal[
    "setting",
    "order",
    "weights",
    "missing_weights",
    "extra_weights",
    "folded",
    "missing_step",
    "extra_step",
    "other_step",
]

_QUIET = frozenset({"momentum", "output", "batched", "half_to_float", "N", "C", "HxW", "implicit"})
"""Settings that change no number."""


@dataclass(frozen=True, eq=False)
class Difference:
    """One thing that differs.

    Attributes:
        what: What it is.
        step: Name of the step of the reference that it concerns; of mine for an extra step.
        name: Name of the setting, or role of the weights.
        mine: What mine has: a setting, weights, a step, or None.
        reference: What the reference has.
        words: What to say of it.
    """

    what: What
    step: str
    name: str
    mine: Any
    reference: Any
    words: Mapping[str, Any]

    @property
    def note(self) -> Note:
        """The difference as a remark."""
        return (f"diff_models.clue.{self.what}", dict(self.words))

    @property
    def telling(self) -> bool:
        """Whether it can be the cause of other shapes."""
        return self.what in ("setting", "missing_step", "extra_step") or (
            self.what == "weights" and "shape" in self.words
        )

    def cause(self, *, proved: bool) -> Cause:
        """Return it as a cause."""
        ids = {
            "setting": f"model.setting.{self.name}",
            "order": "model.order",
            "weights": "model.weights",
            "missing_weights": "model.missing_weights",
            "extra_weights": "model.extra_weights",
            "folded": "model.folded",
            "missing_step": "model.missing_step",
            "extra_step": "model.extra_step",
            "other_step": "model.other_step",
        }
        return Cause(ids[self.what], dict(self.words), proved=proved)


def differences(sides: Sides) -> list[Difference]:
    """List what differs, likeliest first: missing steps, settings, weights."""
    found: list[Difference] = []
    couples = _couples(sides)
    theirs = {step.name for step, _ in couples}
    ours = {step.name for _, step in couples}
    for step in sides.steps:
        for role in _through(sides.reference, step) if step.name not in theirs else ():
            words = {"step": step.name, "kind": step.kind}
            found.append(Difference("missing_step", step.name, role, None, step, words))
    for step in sides.own:
        for role in _through(sides.mine, step) if step.name not in ours else ():
            words = {"step": step.name, "kind": step.kind}
            found.append(Difference("extra_step", step.name, role, step, None, words))
    for r, m in couples:
        found += _settings(r, m)
        if (order := _order(sides, r, m)) is not None:
            found.append(order)
        folded = _folded(sides, r, m)
        if folded is None:
            found += _weights(sides, r, m)
        else:
            found = [one for one in found if one.words["step"] != folded.words["norm"]]
            found += [folded] if folded.words["channels"] else []
    if not couples:
        found.append(_other(sides))
    return found


def _other(sides: Sides) -> Difference:
    """Say that mine does something else in the place of the reference's steps."""
    words = {
        "step": ", ".join(step.name for step in sides.steps),
        "kind": ", ".join(step.kind for step in sides.steps),
        "mine": ", ".join(step.name for step in sides.own),
        "mine_kind": ", ".join(step.kind for step in sides.own),
    }
    return Difference("other_step", sides.end.name, "", sides.own, sides.steps, words)


def _couples(sides: Sides) -> list[tuple[Step, Step]]:
    """Pair what is judged together, kind by kind, from the end."""
    found: list[tuple[Step, Step]] = []
    rest = list(sides.own)
    for step in reversed(sides.steps):
        for number in range(len(rest) - 1, -1, -1):
            if family(rest[number]) == family(step) and rest[number].kind == step.kind:
                found.append((step, rest.pop(number)))
                rest = rest[:number]  # earlier ones of mine only
                break
    return found[::-1]


def _through(network: Network, step: Step) -> list[str]:
    """List the roles of operands that could stand in a step's place: they have its shape."""
    flowing = network.flowing(step)
    return [role for role in flowing if step.values[role].shape == step.shape]


def _settings(r: Step, m: Step) -> list[Difference]:
    found: list[Difference] = []
    for name in dict.fromkeys([*r.attributes, *m.attributes]):
        ours, theirs = _setting(m, name), _setting(r, name)
        if name in _QUIET or ours == theirs or _same_number(ours, theirs):
            continue
        if (ours is None or theirs is None) and r.kind != "convolution":
            continue  # a setting that one runtime does not write down
        words = {"step": r.name, "name": name, "mine": ours, "reference": theirs}
        found.append(Difference("setting", r.name, name, ours, theirs, words))
    return found


def joins_otherwise(sides: Sides) -> bool:
    """Whether both sides join the same tensors, mine in another order, and do nothing else."""
    return sides.same and _order(sides, sides.end, sides.own_end) is not None


def _order(sides: Sides, r: Step, m: Step) -> Difference | None:
    """Find tensors that mine joins in another order, as a decoder its shortcut and its own."""
    if r.kind != "cat" or _settings(r, m):
        return None
    known = {other: name for name, other in sides.entries.items()}
    known |= {other.name: one.name for one, other in _couples(sides)}
    theirs = [value.name for value in r.values.values()]
    ours = [known.get(value.name) for value in m.values.values()]
    if ours == theirs or sorted(str(name) for name in ours) != sorted(theirs):
        return None
    words = {"step": r.name, "mine": ", ".join(map(str, ours)), "reference": ", ".join(theirs)}
    return Difference("order", r.name, "order", tuple(ours), tuple(theirs), words)


def _setting(step: Step, name: str) -> Any:
    """Return a setting; a pool without a stride moves on by its own size."""
    found = step.attributes.get(name)
    return step.attributes.get("kernel_size") if name == "stride" and found == () else found


def _same_number(a: Any, b: Any) -> bool:
    if not (isinstance(a, int | float) and isinstance(b, int | float)):
        return False
    return a == b or abs(a - b) <= 1e-6 * max(abs(a), abs(b))


def _weights(sides: Sides, r: Step, m: Step) -> list[Difference]:
    found: list[Difference] = []
    theirs, ours = sides.reference.weights(r), sides.mine.weights(m)
    for role, value in theirs.items():
        other = ours.get(role)
        words: dict[str, Any] = {"step": r.name, "name": value.name, "role": role}
        if other is None:
            if role in ("bias", "weight") and not _is_neutral(role, value):
                found.append(Difference("missing_weights", r.name, role, None, value, words))
            continue
        more = _apart(value, other)
        if more is not None and "shape" in more and r.kind not in LAYERS:
            continue  # one number for all channels, or another layout: that says nothing
        if more is not None:
            words = {**words, "mine": other.name, **more}
            found.append(Difference("weights", r.name, role, other, value, words))
    for role, value in ours.items():
        if role not in theirs and role in ("bias", "weight") and not _is_neutral(role, value):
            words = {"step": r.name, "name": value.name, "role": role}
            found.append(Difference("extra_weights", r.name, role, value, None, words))
    return found


def _folded(sides: Sides, r: Step, m: Step) -> Difference | None:
    """Compare layers of which one has its norm folded in; None where neither has.

    Where the weights are those of the bare layer, the norm is missing and not folded.
    """
    norm, own_norm = norm_behind(sides.steps, r), norm_behind(sides.own, m)
    if r.kind != "convolution" or (norm is None) == (own_norm is None):
        return None
    ours, theirs = m.values["weight"], r.values["weight"]
    if ours.shape != theirs.shape or _apart(theirs, ours) is None:
        return None
    one, two = fold(r, norm), fold(m, own_norm)
    unit = FORMATS[ours.dtype].unit if ours.dtype in FORMATS else 0.0
    apart = [(a - b).abs() > 32 * unit * c for (a, c), (b, _) in zip(one, two, strict=True)]
    channels = apart[0].flatten(1).any(1) | apart[1]
    words = {
        "step": r.name,
        "norm": (norm or own_norm or r).name,
        "mine": m.name,
        "channels": int(channels.sum()),
        "of": int(channels.numel()),
        "weights": int(apart[0].sum()),
        "biases": int(apart[1].sum()),
        "weights_of": int(apart[0].numel()),
    }
    return Difference("folded", r.name, "", m, r, words)


def norm_behind(steps: Sequence[Step], layer: Step) -> Step | None:
    """Return the norm that reads a layer."""
    return next(
        (
            step
            for step in steps
            if step.kind == "native_batch_norm" and step.operands["input"] == layer.name
        ),
        None,
    )


def fold(layer: Step, norm: Step | None) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Fold a norm into weights and bias: each with the size of what is rounded on the way."""
    import torch

    weight = wide(layer.values["weight"].tensor())
    axis = 1 if layer.attributes["transposed"] else 0
    if axis:
        groups = layer.attributes["groups"]
        weight = weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
    bias = layer.values.get("bias")
    added = torch.zeros(weight.shape[0], dtype=torch.float64)
    added = added if bias is None else wide(bias.tensor())
    if norm is None:
        return [(weight, weight.abs()), (added, added.abs())]
    parts = {role: wide(value.tensor()) for role, value in norm.values.items() if role != "input"}
    scale = (parts["running_var"] + norm.attributes["eps"]).rsqrt()
    scale = scale * parts["weight"] if "weight" in parts else scale
    shift = parts.get("bias", torch.zeros_like(scale))
    folded = weight * scale.reshape(-1, *[1] * (weight.dim() - 1))
    size = (added.abs() + parts["running_mean"].abs()) * scale.abs() + shift.abs()
    total = (added - parts["running_mean"]) * scale + shift
    return [(folded, folded.abs()), (total, size)]


def _is_neutral(role: str, value: Value) -> bool:
    """Whether weights change nothing: a bias of zeros, a factor of ones."""
    tensor = value.tensor()
    return bool((tensor == (0 if role == "bias" else 1)).all())


def _apart(reference: Value, mine: Value) -> dict[str, Any] | None:
    """Say by how much weights differ; None if by no more than the rounding of mine's format."""
    if reference.shape != mine.shape:
        return {"shape": mine.shape, "expected": reference.shape, "count": 0, "of": 0, "largest": 0}
    a, b = wide(reference.tensor()), wide(mine.tensor())
    unit = FORMATS[mine.dtype].unit if mine.dtype in FORMATS else 0.0
    apart = (a.double() - b.double()).abs()
    differ = ~((apart <= 2 * unit * a.double().abs()) | (a.isnan() & b.isnan()))
    if not bool(differ.any()):
        return None
    return {
        "count": int(differ.sum()),
        "of": int(differ.numel()),
        "largest": float(apart.nan_to_num(0.0).max()),
    }


# The reference with differences put in -----------------------------------------------------------


def hybrid(sides: Sides, chosen: Sequence[Difference]) -> list[Step]:
    """Return the reference's steps with some differences put in.

    The first thing that reads what an extra step of mine reads in the reference, reads that step.
    """
    steps: list[Step] = list(sides.steps)
    for one in chosen:
        if one.what == "missing_step":
            steps = _without(steps, one)
        elif one.what == "extra_step":
            steps = _with(sides, steps, one)
        elif one.what == "folded":
            steps = _with_folded(sides, steps, one)
        else:
            steps = [_changed(sides, s, one) if s.name == one.step else s for s in steps]
    return steps


def _with_folded(sides: Sides, steps: list[Step], one: Difference) -> list[Step]:
    """Put mine's layer, and its norm if it has one, in the place of the reference's."""
    head: Step = one.reference
    norm = norm_behind(sides.steps, head)
    end = head if norm is None else norm
    kept = next((step for step in steps if step.name == head.name), head)
    layer: Step = one.mine
    own_norm = norm_behind(sides.own, layer)
    source = kept.values["input"]
    weights = sides.mine.weights(layer)
    name = end.name if own_norm is None else f"{layer.name} of mine"
    value = Value(name, end.value.data)
    made = [replace(kept, name=name, values={"input": source, **weights}, value=value)]
    if own_norm is not None:
        values = {**own_norm.values, "input": value}
        made.append(replace(own_norm, name=end.name, values=values, value=end.value))
    gone = {head.name, end.name}
    place = next((n for n, step in enumerate(steps) if step.name in gone), 0)
    rest = [step for step in steps if step.name not in gone]
    return [*rest[:place], *made, *rest[place:]]


def _without(steps: list[Step], one: Difference) -> list[Step]:
    gone = next((step for step in steps if step.name == one.step), None)
    if gone is None or len(steps) == 1:
        return steps
    source = gone.values[one.name]
    return [_reading(step, gone.name, source) for step in steps if step is not gone]


def _reading(step: Step, name: str, source: Value) -> Step:
    """Return a step that reads another value in the place of one."""
    if name not in step.operands.values():
        return step
    values = {role: source if v.name == name else v for role, v in step.values.items()}
    return replace(step, values=values)


def _with(sides: Sides, steps: list[Step], one: Difference) -> list[Step]:
    """Put a step of mine behind the step of the reference that makes what it reads."""
    back = {other: name for name, other in sides.entries.items()}
    extra, role = one.mine, one.name
    read = sides.mine.flowing(extra)[role]
    couples = {m.name: r.name for r, m in _couples(sides)}
    source = back.get(read) or couples.get(read)
    if source is None:
        return steps
    known = {step.name: step.value for step in steps}
    value = known.get(source) or sides.reference.value(source)
    assert value is not None
    name = f"{extra.name} of mine"
    added = replace(
        extra, name=name, values={**extra.values, role: value}, value=Value(name, extra.value.data)
    )
    place = next((n for n, step in enumerate(steps) if step.name == source), -1)
    later = [_reading(step, source, added.value) for step in steps[place + 1 :]]
    return [*steps[: place + 1], added, *later]


def _changed(sides: Sides, step: Step, one: Difference) -> Step:
    values = dict(step.values)
    if one.what == "order":
        made = {value.name: value for value in values.values()}
        return replace(step, values=dict(zip(values, map(made.__getitem__, one.mine), strict=True)))
    if one.what in ("weights", "extra_weights"):
        values[one.name] = Value(one.mine.name, one.mine.data, "parameter")
        return replace(step, values=values)
    if one.what == "missing_weights":
        if step.kind == "native_batch_norm":
            return step
        values.pop(one.name, None)
        return replace(step, values=values, replay=step.replay)
    attributes = {**step.attributes, one.name: one.mine}
    return replace(step, attributes=attributes, replay=_replay(sides, step, attributes))


def _replay(
    sides: Sides, step: Step, attributes: Mapping[str, Any]
) -> Callable[[Mapping[str, torch.Tensor]], torch.Tensor] | None:
    """Return what runs a step with other settings: mine's, where it has all of them."""
    if step.kind == "convolution":
        from convtrace.frontends.convolution_replay import replay_convolution

        return replay_convolution(attributes)
    for r, m in _couples(sides):
        if r.name == step.name:
            return m.replay
    return None
