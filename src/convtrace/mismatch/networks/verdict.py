"""Two steps, given the same numbers: is what sets them apart rounding?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from convtrace.arithmetic import Arithmetic
from convtrace.exact import FORMATS
from convtrace.mismatch.networks.align import Alignment, By, family
from convtrace.mismatch.networks.error_rules import SUMS, terms
from convtrace.mismatch.networks.network import Network
from convtrace.mismatch.networks.report import Pair
from convtrace.mismatch.networks.rerun import CannotRunError, Wide, evaluate, wide
from convtrace.receipt import Verdict
from convtrace.step import Step, Unobserved

if TYPE_CHECKING:
    import torch

ENOUGH = 64
"""Numbers that it takes to judge all of them together."""

FLOOR = 8.0
"""Units of Σ|w·x| that all of them together may be off by, whatever the number of terms."""


@dataclass(frozen=True)
class Sides:
    """What is judged together on each side.

    Attributes:
        mine: Network.
        reference: Network.
        steps: Steps of the reference, in order; the last one is paired.
        own: Steps of mine; the last one is paired.
        entries: What the reference's steps read from outside, by its names: names of mine.
        own_entries: What mine read from outside: names.
    """

    mine: Network
    reference: Network
    steps: tuple[Step, ...]
    own: tuple[Step, ...]
    entries: Mapping[str, str | None]
    own_entries: tuple[str, ...]

    @property
    def end(self) -> Step:
        """The paired step of the reference."""
        return self.steps[-1]

    @property
    def own_end(self) -> Step:
        """The paired step of mine."""
        return self.own[-1]

    @property
    def same(self) -> bool:
        """Whether both sides are one step of one kind."""
        return len(self.steps) == len(self.own) == 1 and family(self.end) == family(self.own_end)

    def from_mine(self) -> dict[str, torch.Tensor] | None:
        """Return mine's recorded numbers for the reference's steps; None if they do not fit."""
        found: dict[str, torch.Tensor] = {}
        for name, other in self.entries.items():
            value = self.mine.value(other) if other is not None else None
            expected = self.reference.value(name)
            if value is None or expected is None or value.shape != expected.shape:
                return None
            found[name] = value.tensor()
        return found

    def from_reference(self) -> dict[str, torch.Tensor] | None:
        """Return the reference's recorded numbers for mine's steps; None where some are missing."""
        back = {other: name for name, other in self.entries.items() if other is not None}
        found: dict[str, torch.Tensor] = {}
        for name in self.own_entries:
            value = self.reference.value(back.get(name, ""))
            if value is None or isinstance(value, Unobserved):
                return None
            found[name] = value.tensor()
        return found

    def arithmetic(self) -> Arithmetic | None:
        """Return mine's arithmetic where it is coarser than the reference's."""
        ours, theirs = self.own_end.arithmetic, self.end.arithmetic
        if ours is None or theirs is None:
            return ours
        finer = FORMATS[ours.result].precision >= FORMATS[theirs.result].precision
        finer = finer and FORMATS[ours.operands].precision >= FORMATS[theirs.operands].precision
        return None if finer else ours


def sides_of(mine: Network, reference: Network, alignment: Alignment, name: str) -> Sides:
    """Collect what is judged together with one step of the reference."""
    values = alignment.values
    steps, entries = reference.below(reference.made[name], values)
    own, own_entries = mine.below(mine.made[values[name]], values.values())
    return Sides(
        mine,
        reference,
        tuple(steps),
        tuple(own),
        {entry: values.get(entry) for entry in entries},
        tuple(own_entries),
    )


@dataclass(frozen=True)
class Judged:
    """A pair, and what was computed to judge it.

    Attributes:
        pair: The pair.
        sides: What was judged together.
        expected: What the reference's steps make of what they were given; None if unknown.
        bound: What may set mine apart from it.
    """

    pair: Pair
    sides: Sides
    expected: torch.Tensor | None = None
    bound: Any = 0.0


def judge(sides: Sides, by: By, *, blurred: bool) -> Judged:
    """Judge one pair.

    Args:
        sides: What is judged together.
        by: What it was paired by.
        blurred: Whether something before it is wrong already, so that mine's numbers may say
            little; then both sides are given the reference's numbers as well.
    """
    end, own_end = sides.end, sides.own_end
    pair = Pair(
        reference=end.name,
        mine=own_end.name,
        kind=end.kind,
        mine_kind=own_end.kind,
        by=by,
        verdict=None,
        ratio=math.nan,
        inside=math.nan,
        size=math.nan,
        count=math.prod(own_end.shape),
        shape=end.shape,
        mine_shape=own_end.shape,
        with_reference=tuple(
            s.name for s in sides.steps[:-1] if s.name not in sides.reference.inside
        ),
        with_mine=tuple(s.name for s in sides.own[:-1] if s.name not in sides.mine.inside),
    )
    wrong_shape = end.shape != own_end.shape
    if wrong_shape and sides.from_mine() is not None:
        return Judged(replace(pair, verdict="mismatch", ratio=math.inf, inside=0.0), sides)
    pair = pair if wrong_shape else _propagated(pair, sides)
    if pair.difference == 0 and _equal_entries(sides):
        return Judged(_equal(pair, sides), sides)
    try:
        try:
            judged = None if wrong_shape else _by_own_numbers(pair, sides)
        except CannotRunError:
            judged = _by_their_record(pair, sides)
            if judged is None:
                raise
        if judged is None:
            judged = _by_reference(pair, sides)
        elif blurred and judged.pair.verdict != "mismatch":
            judged = _by_both(judged)
    except CannotRunError as error:
        words = {"kind": error.kind, "reason": error.reason}
        note = ("diff_models.note.cannot_run" + "_because" * bool(error.reason), words)
        return Judged(_by_record(replace(pair, note=note), sides, blurred=blurred), sides)
    if judged is None:
        return Judged(replace(pair, note=("diff_models.note.not_fed", {})), sides)
    if judged.pair.verdict == "mismatch" and not _keeps_its_word(sides):
        note = ("diff_models.note.reference_own", {})
        return Judged(replace(judged.pair, verdict=None, note=note), sides)
    return judged


FAR, NEAR = 1e-2, 1e-4
"""How far recorded numbers have to be apart, and what made them at most, next to their size, for a
step that cannot be run again to be called wrong."""


def _by_record(pair: Pair, sides: Sides, *, blurred: bool) -> Pair:
    """Judge a step that cannot be run again: equal, or plainly other, or not at all."""
    if pair.difference == 0:
        return replace(pair, verdict="exact", ratio=0.0, inside=1.0)
    if blurred or not pair.difference > FAR * pair.scale:
        return pair
    for name, other in sides.entries.items():
        theirs, ours = sides.reference.value(name), sides.mine.value(other or "")
        if theirs is None or ours is None or theirs.shape != ours.shape:
            return pair
        a, b = theirs.tensor().double(), ours.tensor().double()
        if not bool(((a - b).abs() <= NEAR * a.square().mean().sqrt()).all()):
            return pair
    return replace(pair, verdict="mismatch")


def _keeps_its_word(sides: Sides) -> bool:
    """Whether the reference recorded what its own steps give; otherwise it is no judge."""
    theirs = recorded(sides.end)
    if theirs is None:
        return True  # it was computed, not recorded
    given = {n: v.tensor() for n in sides.entries if (v := sides.reference.value(n)) is not None}
    try:
        again = evaluate(sides.steps, given)[sides.end.name]
    except CannotRunError:
        return False
    return again.value.shape == theirs.shape and bool(
        _inside(theirs, again.value, again.error).all()
    )


def _equal_entries(sides: Sides) -> bool:
    """Whether both sides recorded the same numbers, bit by bit, for what they read."""
    for name, other in sides.entries.items():
        theirs, ours = sides.reference.value(name), sides.mine.value(other or "")
        if theirs is None or ours is None or theirs.shape != ours.shape:
            return False
        a, b = wide(theirs.tensor()), wide(ours.tensor())
        if not bool(same_nonfinite(a, b).all()):
            return False
    return bool(sides.entries)


def _equal(pair: Pair, sides: Sides) -> Pair:
    """Judge a pair that reads and makes the same numbers on both sides."""
    ours = recorded(sides.own_end)
    finite = ours is not None and bool(ours.isfinite().all())
    return replace(
        pair, verdict="exact" if finite else "nonfinite", ratio=0.0, inside=1.0, fed="both"
    )


def recorded(step: Step) -> torch.Tensor | None:
    """Return what a step made, as float64; None where nobody observed it."""
    return None if isinstance(step.value, Unobserved) else wide(step.value.tensor()).double()


def _propagated(pair: Pair, sides: Sides) -> Pair:
    ours, theirs = recorded(sides.own_end), recorded(sides.end)
    if ours is None or theirs is None:
        return pair
    apart = (ours - theirs).abs()
    apart = apart.masked_fill(same_nonfinite(ours, theirs), 0.0)
    finite = theirs[theirs.isfinite()]
    scale = float(finite.square().mean().sqrt()) if finite.numel() else math.nan
    return replace(pair, difference=float(apart.max()), scale=scale)


def same_nonfinite(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Say where two tensors are equal, NaN and infinity included."""
    return (a == b) | (a.isnan() & b.isnan())


def _by_own_numbers(pair: Pair, sides: Sides) -> Judged | None:
    """Give both what mine recorded, and compare with what mine made of it."""
    entries = sides.from_mine()
    ours = recorded(sides.own_end)
    if entries is None or ours is None:
        return None
    own = _own(sides)
    if own is not None and _equal_steps(sides):
        expected = own
    else:
        expected = evaluate(sides.steps, entries, sides.arithmetic())[sides.end.name]
    bound = expected.error
    if own is None:
        bound = 4 * bound
    elif own is not expected:
        bound = bound + own.error
    kept = None if own is None else bool(_inside(ours, own.value, own.error).all())
    pair = replace(pair, fed="mine", own=kept)
    return _compared(pair, sides, ours, expected, bound, proved=own is not None)


def _own(sides: Sides) -> Wide | None:
    """Run mine's own steps again; None where they cannot be run."""
    entries: dict[str, torch.Tensor] = {}
    for name in sides.own_entries:
        value = sides.mine.value(name)
        if value is None:
            return None
        entries[name] = value.tensor()
    try:
        return evaluate(sides.own, entries)[sides.own_end.name]
    except CannotRunError:
        return None


def _equal_steps(sides: Sides) -> bool:
    """Whether both sides are one step with the same settings and the same weights."""
    import torch

    a, b = sides.end, sides.own_end
    if not sides.same or a.kind != b.kind or dict(a.attributes) != dict(b.attributes):
        return False
    theirs, ours = sides.reference.weights(a), sides.mine.weights(b)
    if theirs.keys() != ours.keys() or a.dtype != b.dtype:
        return False
    roles = {role: sides.entries.get(name) for role, name in sides.reference.flowing(a).items()}
    if roles != sides.mine.flowing(b):
        return False
    return all(torch.equal(theirs[r].tensor(), ours[r].tensor()) for r in theirs)


def _by_reference(pair: Pair, sides: Sides) -> Judged | None:
    """Give both what the reference recorded."""
    entries = sides.from_reference()
    if entries is None:
        return None
    given = {n: v.tensor() for n in sides.entries if (v := sides.reference.value(n)) is not None}
    theirs = evaluate(sides.steps, given)[sides.end.name]
    ours = evaluate(sides.own, entries)[sides.own_end.name]
    if ours.value.shape != theirs.value.shape:
        found = replace(pair, verdict="mismatch", ratio=math.inf, inside=0.0, fed="reference")
        return Judged(found, sides)
    pair = replace(pair, fed="reference")
    bound = theirs.error + ours.error
    return _compared(pair, sides, ours.value.double(), theirs, bound, proved=ours.proved)


def _by_their_record(pair: Pair, sides: Sides) -> Judged | None:
    """Give mine's steps what the reference recorded, and compare with what that made of it."""
    entries, theirs = sides.from_reference(), recorded(sides.end)
    if entries is None or theirs is None:
        return None
    ours = evaluate(sides.own, entries)[sides.own_end.name]
    if ours.value.shape != theirs.shape:
        return None
    pair = replace(pair, fed="reference")
    return _compared(pair, sides, theirs, ours, 4 * ours.error, proved=False)


def _by_both(judged: Judged) -> Judged:
    """Give both what the reference recorded as well: mine's numbers may say little by now."""
    try:
        other = _by_reference(judged.pair, judged.sides)
    except CannotRunError:
        return judged
    if other is None:
        return judged
    wrong = other.pair.verdict == "mismatch"
    return other if wrong else replace(judged, pair=replace(judged.pair, fed="both"))


def _compared(
    pair: Pair, sides: Sides, ours: torch.Tensor, expected: Wide, bound: Any, *, proved: bool
) -> Judged:
    import torch

    value = expected.value.double()
    limit = torch.as_tensor(bound, dtype=torch.float64).expand(value.shape)
    inside = _inside(ours, value, limit)
    residual = (ours - value).abs()
    residual = residual.masked_fill(same_nonfinite(ours, value), 0.0)
    ratio = torch.where(residual == 0, residual, residual / limit)
    ratio = ratio.nan_to_num(math.inf, math.inf).masked_fill(inside & ~value.isfinite(), 0.0)
    worst = int(ratio.argmax()) if ratio.numel() else 0
    size = _size(sides, residual, expected.usual)
    most = float(ratio.max()) if ratio.numel() else 0.0
    count = max(int(inside.numel()), 1)
    lean = math.isfinite(size) and size > _most_usual(sides) and count >= ENOUGH
    theirs = recorded(sides.end)
    verdict: Verdict
    if not bool(inside.all()) or lean:
        verdict = "mismatch"
    elif not bool(ours.isfinite().all()):
        verdict = "nonfinite"
    elif theirs is not None and torch.equal(ours, theirs):
        verdict = "exact"
    else:
        verdict = "rounding"
    found = replace(
        pair,
        verdict=verdict,
        ratio=most,
        inside=float(inside.sum()) / count,
        outside=int((~inside).sum()),
        size=size,
        proved=proved and expected.proved,
        worst=tuple(int(n) for n in torch.unravel_index(torch.tensor(worst), value.shape)),
    )
    return Judged(found, sides, value, limit)


def _inside(ours: torch.Tensor, value: torch.Tensor, bound: Any) -> torch.Tensor:
    import torch

    value = value.double()
    found = ((ours - value).abs() <= bound) | same_nonfinite(ours, value)
    # A kernel that splits a sum may make NaN of infinity.
    found |= ours.isnan() & ~value.isfinite()
    limit = torch.as_tensor(bound, dtype=torch.float64)
    return found | (~limit.isfinite() & ~value.isfinite())


def _size(sides: Sides, residual: torch.Tensor, usual: Any) -> float:
    """Return the root of the mean square of residual / usual, where there is a sum of products."""
    import torch

    sums = [step for step in (*sides.steps, *sides.own) if step.kind in SUMS]
    if not sums:
        return math.nan
    quotient = residual / torch.as_tensor(usual, dtype=torch.float64)
    quotient = quotient[quotient.isfinite()]
    return float(quotient.square().mean().sqrt()) if quotient.numel() else math.nan


def _most_usual(sides: Sides) -> float:
    """Return how large `_size` may be where only rounding is at work."""
    counts = [terms(step) for step in (*sides.steps, *sides.own) if step.kind in SUMS]
    if len(counts) > 2 or sides.arithmetic() is not None:
        return math.inf  # several layers in one, or one that stores less: no simple law
    return max(1.0, FLOOR / math.sqrt(min(counts)))
