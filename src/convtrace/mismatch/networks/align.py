"""Which step of one network is which step of the other.

Layers with weights come first: by name, by their weights (also where a norm is folded into them),
by the numbers that they make, then by shape and order. Where a norm follows on one side only, the
end of it is what is paired. All other steps follow from what they read, what they do and what they
make.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from convtrace.exact import FORMATS
from convtrace.mismatch.networks.network import LAYERS, Network, sample
from convtrace.step import Inside, Step

By = Literal["name", "weights", "numbers", "order", "place"]
"""What two steps were paired by. `place`: they do the same with what was paired before; `order`:
they come next."""

Floats = NDArray[np.float64]
_CLOSE, _CLOSER = 0.02, 1e-4
_CERTAIN = 40.0


@dataclass
class Alignment:
    """Which value is which.

    Attributes:
        pairs: Names of steps: of the reference, then of mine, and what they were paired by; in the
            order of the reference.
        inputs: Names of inputs: of the reference, then of mine.
        layers: Those of the reference that were paired as layers.
    """

    pairs: dict[str, tuple[str, By]] = field(default_factory=dict[str, tuple[str, By]])
    inputs: dict[str, str] = field(default_factory=dict[str, str])
    layers: set[str] = field(default_factory=set[str])

    @property
    def values(self) -> dict[str, str]:
        """Names of values of the reference, and of mine."""
        return {**self.inputs, **{name: mine for name, (mine, _) in self.pairs.items()}}

    def add(self, reference: Step, mine: Step, by: By) -> None:
        """Pair two steps."""
        self.pairs[reference.name] = (mine.name, by)


def align(mine: Network, reference: Network) -> Alignment:
    """Pair the steps of two networks."""
    found = Alignment(inputs=align_inputs(mine, reference))
    for r, m, by in _layers(mine, reference):
        _pair_tails(r, m, by, found)
    found.layers.update(found.pairs)
    _others(mine, reference, found)
    order = reference.order
    found.pairs = dict(sorted(found.pairs.items(), key=lambda row: order[row[0]]))
    return found


def align_inputs(mine: Network, reference: Network) -> dict[str, str]:
    """Pair the inputs of two networks, by name, then by shape: reference's names, and mine's."""
    theirs, ours = reference.inputs, mine.inputs
    found = {name: name for name in theirs if name in ours}
    rest = [name for name in ours if name not in found]
    for name, value in theirs.items():
        same = [other for other in rest if ours[other].shape == value.shape]
        if name not in found and same:
            found[name] = same[0]
            rest.remove(same[0])
    return found


def close(a: Floats, b: Floats, within: float = _CLOSE) -> float:
    """Return the share of numbers of two samples that are about equal; 0 where all are one.

    Args:
        a: A sample.
        b: The other.
        within: How far apart they may be, next to the size of all of them.
    """
    if a.shape != b.shape or a.size == 0:
        return 0.0
    finite = b[np.isfinite(b)]
    size = float(np.sqrt(np.mean(finite**2))) if finite.size else 0.0
    if not size or float(np.std(finite)) <= 1e-9 * size:
        return 0.0
    with np.errstate(invalid="ignore"):
        return float(np.mean((np.abs(a - b) <= within * size) | (np.isnan(a) & np.isnan(b))))


# Layers ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Layer:
    """A layer, and the norm or the factor and summand for each channel that follow it alone."""

    head: Step
    tail: tuple[Step, ...]
    weight: Floats
    place: float

    @property
    def end(self) -> Step:
        return self.tail[-1] if self.tail else self.head


def _layers_of(network: Network, other: Network) -> list[_Layer]:
    heads = [s for s in network.steps if s.kind in LAYERS and network.weights(s)]
    found: list[_Layer] = []
    for number, head in enumerate(heads):
        tail: list[Step] = []
        following = network.next(head)
        while following is not None and _is_affine(network, following):
            if _is_in_training(other, network.names[following.name]):
                break  # it stands for a step of its own there, and is compared with that
            tail.append(following)
            following = network.next(following)
        while following is not None and (tail[-1] if tail else head).name in network.inside:
            tail.append(following)  # what is fused ends where the file's own operator does
            following = network.next(following)
        weights = network.weights(head)
        name = next((role for role in ("weight", "mat2", "mat1") if role in weights), "")
        weight = sample(weights[name]) if name else np.zeros(0)
        found.append(_Layer(head, tuple(tail), weight, number / max(len(heads), 1)))
    return found


def _is_affine(network: Network, step: Step) -> bool:
    """Whether a step scales or shifts each channel by numbers of the model."""
    if step.kind == "native_batch_norm":
        return not step.attributes.get("training", False)
    return step.kind in ("add", "mul", "sub", "div") and bool(network.weights(step))


def _is_in_training(network: Network, names: frozenset[str]) -> bool:
    """Whether a step of one of these names is a norm that uses the data's own statistics."""
    return any(
        step.kind == "native_batch_norm"
        and step.attributes.get("training", False)
        and names & network.names[step.name]
        for step in network.steps
    )


def _layers(mine: Network, reference: Network) -> Iterator[tuple[_Layer, _Layer, By]]:
    theirs, ours = _layers_of(reference, mine), _layers_of(mine, reference)
    scored: list[tuple[float, By, int, int]] = []
    for i, r in enumerate(theirs):
        for j, m in enumerate(ours):
            score, by = _score(mine, reference, r, m)
            if score >= _CERTAIN:
                scored.append((score - 5 * abs(r.place - m.place), by, i, j))
    scored.sort(key=lambda row: -row[0])
    paired: dict[int, tuple[int, By]] = {}
    taken: set[int] = set()
    for _, by, i, j in scored:
        if i not in paired and j not in taken:
            paired[i] = (j, by)
            taken.add(j)
    # What is certain splits the rest into stretches; inside each, the order decides.
    edges = [(-1, -1), *_rising([(i, j) for i, (j, _) in sorted(paired.items())])]
    edges.append((len(theirs), len(ours)))
    for (i0, j0), (i1, j1) in itertools.pairwise(edges):
        rows = [i for i in range(i0 + 1, i1) if i not in paired]
        columns = [j for j in range(j0 + 1, j1) if j not in taken]
        for i, j in _in_order(rows, columns, lambda i, j: _alike(theirs[i], ours[j])):
            paired[i] = (j, "order")
            taken.add(j)
    for i, (j, by) in sorted(paired.items()):
        yield (
            _up_to(reference, theirs[i], mine, ours[j]),
            _up_to(mine, ours[j], reference, theirs[i]),
            by,
        )


def _up_to(network: Network, layer: _Layer, other: Network, fused: _Layer) -> _Layer:
    """Return a layer with what follows it, as far as it does what is fused on the other side."""
    inside = [step for step in (fused.head, *fused.tail) if step.name in other.inside]
    if not inside:
        return layer
    rest = fused.tail[len(inside) - (fused.head in inside) :]
    rest = [step for step in (*inside[1:], *rest) if not _is_affine(other, step)]
    tail = list(layer.tail)
    for step in rest:
        following = network.next(tail[-1] if tail else layer.head)
        if following is None or family(following) != family(step) or following in tail:
            break
        tail.append(following)
    return replace(layer, tail=tuple(tail))


def _score(mine: Network, reference: Network, r: _Layer, m: _Layer) -> tuple[float, By]:
    if r.head.attributes.get("transposed") != m.head.attributes.get("transposed"):
        return 0.0, "order"
    shapes = _alike(r, m)
    named = _known_as(reference, r) & _known_as(mine, m)
    same_shape = r.end.shape == m.end.shape
    parts: dict[By, float] = {
        "name": 60.0 if named else 0.0,
        "weights": 45.0 * _same_weights(r, m) if shapes else 0.0,
        "numbers": 0.0,
    }
    if same_shape and shapes:
        pairs = ((r.end, m.end), (r.head, m.head))
        samples = (
            (reference.fingerprint(a.name), mine.fingerprint(b.name))
            for a, b in pairs
            if a.shape == b.shape
        )
        share = max((close(b, a) for a, b in samples), default=0.0)
        parts["numbers"] = 45.0 if share > 0.9 else 0.0
    best = max(parts, key=lambda name: parts[name])
    return sum(parts.values()) + shapes, best


def _known_as(network: Network, layer: _Layer) -> frozenset[str]:
    """Return the names of a layer; where a summand follows in its module, that one has them."""
    plain = [step for step in layer.tail if step.kind != "native_batch_norm"]
    return frozenset().union(*(network.names[step.name] for step in (layer.head, *plain)))


def _alike(r: _Layer, m: _Layer) -> float:
    """Say how well two layers fit by their shapes; 0 if they do not."""
    a, b = r.head.values.get("weight"), m.head.values.get("weight")
    ends = r.end.shape == m.end.shape
    if a is None or b is None:
        return 3.0 if ends else 0.0
    if a.shape == b.shape:
        return 5.0 if ends else 3.0
    return 2.0 if ends and r.head.kind == m.head.kind else 0.0


def _same_weights(r: _Layer, m: _Layer) -> float:
    """Say whether two samples of weights are equal (1), or equal up to a factor a channel."""
    a, b = r.weight, m.weight
    if a.shape != b.shape or a.size < 2 or not np.any(a) or len(np.unique(a)) < 2:
        return 0.0
    if close(b, a) > 0.9:
        return 1.0
    if not r.tail and not m.tail:
        return 0.0
    with np.errstate(all="ignore"):
        ratio = b / a
    inner = ratio[1:][np.isfinite(ratio[1:])]
    before = ratio[:-1][np.isfinite(ratio[1:])]
    # Neighbours of one channel have one factor; a new channel brings another.
    steady = np.isclose(inner, before, rtol=1e-3)
    return 0.9 if steady.size and steady.mean() > 0.3 else 0.0


def _rising(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return a longest part of the pairs in which both numbers rise."""
    best: list[list[tuple[int, int]]] = []
    for pair in pairs:
        before = [chain for chain in best if chain[-1][1] < pair[1]]
        best.append([*max(before, key=len, default=[]), pair])
    return max(best, key=len, default=[])


def _in_order(
    rows: Sequence[int], columns: Sequence[int], score: Callable[[int, int], float]
) -> list[tuple[int, int]]:
    """Pair two sequences without crossing, for the greatest sum of scores."""
    if not rows or not columns:
        return []
    table = np.zeros((len(rows) + 1, len(columns) + 1))
    scores = np.array([[score(i, j) for j in columns] for i in rows])
    for a in range(len(rows) - 1, -1, -1):
        for b in range(len(columns) - 1, -1, -1):
            both = table[a + 1, b + 1] + scores[a, b] if scores[a, b] > 0 else -1.0
            table[a, b] = max(table[a + 1, b], table[a, b + 1], both)
    found: list[tuple[int, int]] = []
    a = b = 0
    while a < len(rows) and b < len(columns):
        if scores[a, b] > 0 and table[a, b] == table[a + 1, b + 1] + scores[a, b]:
            found.append((rows[a], columns[b]))
            a, b = a + 1, b + 1
        elif table[a, b] == table[a + 1, b]:
            a += 1
        else:
            b += 1
    return found


def _pair_tails(r: _Layer, m: _Layer, by: By, found: Alignment) -> None:
    """Pair two layers, or, where a norm follows on one side only, their ends."""
    kinds = [[step.kind for step in layer.tail] for layer in (r, m)]
    if any(isinstance(s.value, Inside) for layer in (r, m) for s in (layer.head, *layer.tail)):
        found.add(r.end, m.end, by)
        return
    convolves = "convolution" in (r.head.kind, m.head.kind)
    if kinds[0] == kinds[1] and (r.head.shape == m.head.shape or convolves):
        for a, b in zip((r.head, *r.tail), (m.head, *m.tail), strict=True):
            found.add(a, b, by)
    elif r.end.shape == m.end.shape or convolves:
        found.add(r.end, m.end, by)
    elif r.head.shape == m.head.shape:
        found.add(r.head, m.head, by)
    # A product whose operands were flattened on one side only is judged with what follows.


# Everything else ---------------------------------------------------------------------------------


def _others(mine: Network, reference: Network, found: Alignment) -> None:
    taken = {name for name, _ in found.pairs.values()}
    by_shape: dict[tuple[int, ...], list[Step]] = {}
    for step in mine.steps:
        if step.name not in mine.dynamic or step.name in mine.inside:
            continue
        by_shape.setdefault(step.shape, []).append(step)
    for step in reference.steps:
        if step.name not in reference.dynamic or step.name in reference.inside:
            continue  # a weight that is computed, or what lies inside an operator
        if step.name in found.pairs or step.attributes.get("output", 0):
            continue
        best = 0.0
        chosen: tuple[Step, By] | None = None
        how: By
        candidates = {other.name: other for other in by_shape.get(step.shape, [])}
        for other in _followers(mine, reference, step, found):
            if other.name not in mine.inside:
                candidates[other.name] = other
        for other in candidates.values():
            if other.name in taken or other.attributes.get("output", 0):
                continue
            score, how = _likeness(mine, reference, step, other, found)
            apart = abs(
                reference.order[step.name] / len(reference.steps)
                - mine.order[other.name] / len(mine.steps)
            )
            if score - apart > best:
                best = score - apart
                chosen = other, how
        if chosen is not None and best >= 4.5:
            found.add(step, chosen[0], chosen[1])
            taken.add(chosen[0].name)
    _ends(mine, reference, found, taken)


def _followers(mine: Network, reference: Network, step: Step, found: Alignment) -> Iterator[Step]:
    """Yield the steps of mine that do the same with the same value, whatever their shape."""
    values = found.values
    for name in reference.flowing(step).values():
        for other in mine.readers.get(values.get(name, ""), []):
            if family(other) == family(step) and family(step) != "move":
                yield other


def _likeness(
    mine: Network, reference: Network, r: Step, m: Step, found: Alignment
) -> tuple[float, By]:
    values, score = found.values, 0.0
    by: By = "order"
    alike = family(r) == family(m)
    read = {values.get(name) for name in reference.flowing(r).values()} - {None}
    direct = bool(read & set(mine.flowing(m).values()))
    if direct:
        score, by = score + 4, "place"
    if reference.names[r.name] & mine.names[m.name]:
        score, by = score + 5, "name"
    if alike:
        score += 3
    elif "move" in (family(r), family(m)) and by != "name":
        return 0.0, by  # what only moves numbers looks like what made them
    units = [FORMATS[step.dtype].unit for step in (r, m) if step.dtype in FORMATS]
    # Different operators have to agree more closely: much in a network looks like its neighbour.
    within = _CLOSE if alike else max(_CLOSER, 16 * max(units, default=0.0))
    if close(mine.fingerprint(m.name), reference.fingerprint(r.name), within) > 0.9:
        score, by = score + 5, by if by == "name" else "numbers"
    if score and not direct and by != "name":
        score += 2 if _above_the_same(mine, reference, r, m, values) else -3
    return score, by


def _above_the_same(
    mine: Network, reference: Network, r: Step, m: Step, values: Mapping[str, str]
) -> bool:
    """Whether two steps lie above one pair, with nothing but unpaired steps in between."""
    theirs = {values.get(name) for name in reference.below(r, values)[1]} - {None}
    return bool(theirs & set(mine.below(m, values.values())[1]))


def _ends(mine: Network, reference: Network, found: Alignment, taken: set[str]) -> None:
    """Pair what the two models return last, whatever made it."""
    if not reference.steps or not mine.steps:
        return
    r, m = reference.steps[-1], mine.steps[-1]
    if r.name not in found.pairs and m.name not in taken and r.shape == m.shape:
        found.add(r, m, "order")


_FAMILIES = {
    "hardtanh": "clamp",
    "clamp_min": "clamp",
    "clamp_max": "clamp",
    "add_n": "add",
    "rsub": "sub",
    "log_softmax": "log_softmax",
    "mean": "average",
}


def family(step: Step) -> str:
    """Return what a step does, whichever runtime's name it has."""
    if step.sources is not None:
        return "move"
    kind = step.kind
    if kind.startswith(("avg_pool", "adaptive_avg_pool")):
        return "average"
    if kind.startswith(("upsample", "resize")):
        return "resample"
    if "max_pool" in kind:
        return "max_pool"
    if kind in LAYERS:
        return "convolution" if kind == "convolution" else "product"
    return _FAMILIES.get(kind, kind)
