"""Pairs that are computed together give what each of them gives alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from convtrace.arithmetic import plain
from convtrace.mismatch.causes import candidates
from convtrace.mismatch.computing.setup import Setup
from convtrace.mismatch.computing.stages import Sums
from convtrace.mismatch.search import composed, moved, pairs, single
from convtrace.mismatch.search.change import Change
from convtrace.mismatch.search.judge import Judge
from convtrace.mismatch.search.search import Changes, Search, applied


def _search(transposed: bool, groups: int, *, right: float = 0.0) -> Search:
    draw = np.random.default_rng(3)
    c_in, c_out = 4, 6
    shape = (c_in, c_out // groups) if transposed else (c_out, c_in // groups)
    setup = Setup(
        x=draw.normal(size=(2, c_in, 7, 7)),
        weight=draw.normal(size=(*shape, 3, 3)),
        bias=None,
        stride=(2, 2) if transposed else (1, 1),
        low=(1, 1),
        dilation=(1, 1),
        size=(13, 13) if transposed else (7, 7),
        groups=groups,
        transposed=transposed,
        modes=("zeros", "zeros"),
    )
    observed = draw.normal(size=setup.shape)
    wrong = draw.random(setup.shape) >= right
    if right:
        observed[~wrong] = setup.sample(tuple(np.nonzero(~wrong))).values
    judge = Judge(observed, plain("float32"), 37, "float32")
    return Search(setup, judge, wrong, np.where(wrong, 9.0, 0.1), lambda: None)


@pytest.mark.parametrize(("transposed", "groups"), [(False, 1), (False, 2), (True, 1)])
@pytest.mark.parametrize("kind", ["of_weights", "of_inputs", "of_outputs"])
def test_rows_of_pairs_hold_what_both_changes_make(
    monkeypatch: pytest.MonkeyPatch, kind: str, transposed: bool, groups: int
) -> None:
    search = _search(transposed, groups)
    values: list[float] = []

    def all_of_them(self: Judge, sums: Sums, target: Any) -> Any:
        values.extend(np.ravel(sums.values).tolist())
        return np.ones(np.shape(sums.values), dtype=np.bool_)

    monkeypatch.setattr(Judge, "plausible", all_of_them)
    made: dict[str, list[tuple[Change, Setup]]] = {}
    for side in ("x", "w", "y"):
        listed = [c for c in candidates(search.base) if c.side == side][::3]
        made[side] = [(c, s) for c in listed if (s := c.make(search.base)) is not None]
    if kind == "of_outputs":
        found = list(moved.of_outputs(search, made))
    elif kind == "of_weights":
        found = list(composed.of_weights(search, made["w"]))
    else:
        found = list(composed.of_inputs(search, made["x"]))
    assert len(found) > 50
    assert len({tuple(map(id, pair)) for pair in found}) == len(found)
    assert len(values) == len(found)
    for value, pair in zip(values, found, strict=True):
        expected = _value(search, pair)
        assert expected is not None, pair
        assert value == pytest.approx(expected, rel=1e-9, abs=1e-9), pair


@pytest.mark.parametrize(("transposed", "groups"), [(False, 1), (False, 2), (True, 1)])
def test_single_changes_that_may_fit_are_those_that_do_when_tried_alone(
    transposed: bool, groups: int
) -> None:
    search = _search(transposed, groups)
    listed = candidates(search.base)
    for change in [c for c in listed if c.side in ("x", "w")][::5]:
        value = _value(search, (change,))
        if value is None:
            continue
        search.element.target = np.array([value])  # what this very change makes
        assert change in list(single.of_one(search.element, listed)), change


def test_changes_that_spoil_right_elements_are_paired_by_products_alone() -> None:
    search = _search(transposed=False, groups=1, right=0.8)
    assert search.mostly_right
    listed = {c.id: c for c in candidates(search.base)}
    assert not search.spared([listed["kernel.flipped"], listed["input.channels_reversed"]])
    assert not _search(transposed=False, groups=1).mostly_right
    kept = [c for c, _ in pairs.made_of(search, candidates(search.base))]
    assert len(kept) < 0.5 * len(candidates(search.base))


def _value(search: Search, changes: Changes) -> float | None:
    """Compute the first element with changes made one after the other."""
    setup = applied(search.base, changes)
    if setup is None:
        return None
    at = tuple(axis[:1] for axis in search.samples[0])
    try:
        return float(setup.linear(setup.origin(at)).values[0])
    except (IndexError, ValueError):
        return None
