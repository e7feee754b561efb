"""Bare sums that are known stand for those of a setup only where they are the same."""

from __future__ import annotations

from weakref import ref

import numpy as np

from convtrace.mismatch.causes import candidates
from convtrace.mismatch.computing.setup import Setup
from convtrace.mismatch.computing.stages import Norm
from convtrace.mismatch.computing.whole import linear_whole
from convtrace.mismatch.search.judge import Judge
from convtrace.mismatch.search.search import Search


def _setup() -> Setup:
    draw = np.random.default_rng(5)
    parts = (1 + draw.random(6) for _ in range(4))
    return Setup(
        draw.normal(size=(2, 4, 9, 8)),
        draw.normal(size=(6, 4, 3, 3)),
        None,
        (1, 1),
        (1, 1),
        (1, 1),
        (9, 8),
        modes=("zeros", "zeros"),
        stages=(Norm(*parts),),
    )


def test_sums_are_known_only_of_setups_that_compute_the_same() -> None:
    base = _setup()
    known = base.but(known=linear_whole(base))
    assert base.sums is None
    assert known.sums is known.but(stages=()).sums is not None
    assert known.but(low=(0, 1)).sums is None
    assert known.but(x=base.x.copy()).sums is None


def test_statistics_of_the_batch_are_those_of_sums_that_are_known() -> None:
    base = _setup()
    known = base.but(known=linear_whole(base))
    at = tuple(np.array(axis) for axis in ([0, 1, 1], [2, 2, 2], [0, 4, 8], [7, 3, 0]))
    mixed = (at[0], np.array([0, 5, 2]), *at[2:])
    named = [c for c in candidates(base) if c.id.startswith("norm.training")]
    assert len(named) >= 4
    flip = next(c for c in candidates(base) if c.id == "kernel.flipped")
    for change in named:
        for places in (at, mixed):
            values = []
            for setup in (base, known):
                plain, turned = change.make(setup), flip.make(setup)
                both = None if turned is None else change.make(turned)
                assert plain is not None
                assert both is not None
                values.append([plain.sample(places).values, both.sample(places).values])
            assert np.allclose(*values, rtol=1e-9, atol=0)
            assert not np.allclose(*values[0])


def test_a_search_that_is_over_keeps_no_memory() -> None:
    base = _setup()
    observed = base.but(w_maps=()).sample(tuple(np.zeros(1, dtype=np.int64) for _ in range(4)))
    values = np.full(base.shape, float(observed.values[0]))
    wrong = np.ones(base.shape, dtype=np.bool_)
    search = Search(base, Judge(values, None, 36, "float32"), wrong, 9.0 * wrong, lambda: None)
    search.singles(candidates(base)[:40])
    gone = ref(search)
    del search
    assert gone() is None
