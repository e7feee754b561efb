"""Batch norms that are folded wrongly, left out, or use the data's own statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.mismatch.computing.setup import Positions, Setup
from convtrace.mismatch.computing.stages import Add, Affine, Local, Norm, Stage, Sums
from convtrace.mismatch.search.change import Change

Array = NDArray[Any]


def _swap(change: Callable[[Norm], Stage | None]) -> Callable[[Setup], Setup | None]:
    """Return a change that puts something else in the norm's place, or nothing."""

    def make(setup: Setup) -> Setup | None:
        stages: list[Stage] = []
        for stage in setup.stages:
            made = change(stage) if isinstance(stage, Norm) else stage
            if made is not None:
                stages.append(made)
        return setup.but(stages=tuple(stages))

    return make


def _norm(setup: Setup) -> Norm | None:
    return next((stage for stage in setup.stages if isinstance(stage, Norm)), None)


def folds(setup: Setup) -> Iterator[Change]:
    """What goes wrong when a norm is folded into weights and bias."""
    right = _norm(setup)
    if right is None:
        return

    def one(
        id_: str, change: Callable[[Norm], Stage | None], cost: float, /, **given: object
    ) -> Change:
        return Change(id_, "after", _swap(change), given, cost)

    yield one("norm.missing", lambda n: None, 1.0)
    for eps in (1e-5, 1e-3, 1e-6, 1e-4, 1e-2, 1e-8, 1e-12, 0.0, 2e-5, 1.001e-5):
        if eps != right.eps:
            yield one(
                "norm.epsilon", lambda n, e=eps: replace(n, eps=e), 1.1, eps=eps, right=right.eps
            )
    yield one("norm.parts_missing", lambda n: replace(n, gamma=0 * n.gamma + 1), 1.1, part="gamma")
    yield one("norm.parts_missing", lambda n: replace(n, beta=0 * n.beta), 1.1, part="beta")
    yield one("norm.parts_missing", lambda n: replace(n, mean=0 * n.mean), 1.1, part="mean")
    yield one(
        "norm.parts_missing", lambda n: replace(n, var=0 * n.var + 1 - n.eps), 1.1, part="var"
    )
    yield one("norm.parts_missing", lambda n: replace(n, var=0 * n.var + 1), 1.15, part="var")
    yield one("norm.no_root", lambda n: replace(n, var=(n.var + n.eps) ** 2 - n.eps), 1.2)
    yield one("norm.no_root", lambda n: replace(n, var=n.var**2 - n.eps), 1.25)
    yield one("norm.no_root", lambda n: replace(n, var=n.var**2), 1.3)
    yield one("norm.root_twice", lambda n: replace(n, var=np.sqrt(n.var)), 1.25)
    yield one("norm.root_twice", lambda n: replace(n, var=np.sqrt(n.var + n.eps) - n.eps), 1.3)
    yield one(
        "norm.parts_swapped",
        lambda n: replace(n, gamma=n.beta, beta=n.gamma),
        1.2,
        parts=("gamma", "beta"),
    )
    yield one(
        "norm.parts_swapped",
        lambda n: replace(n, mean=n.beta, beta=n.mean),
        1.25,
        parts=("mean", "beta"),
    )
    yield one(
        "norm.parts_swapped",
        lambda n: replace(n, mean=n.var, var=np.abs(n.mean)),
        1.3,
        parts=("mean", "var"),
    )
    yield one(
        "norm.outside_root",
        lambda n: Affine(
            n.gamma / (np.sqrt(n.var) + n.eps),
            n.beta - n.mean * n.gamma / (np.sqrt(n.var) + n.eps),
        ),
        1.2,
    )
    yield one("norm.mean_added", lambda n: replace(n, mean=-n.mean), 1.2)
    yield one("norm.shift_unscaled", lambda n: Affine(_scale(n), n.beta - n.mean), 1.2)
    yield one("norm.scale_only", lambda n: Affine(_scale(n), 0 * n.beta), 1.2)
    yield one("norm.twice", _twice, 1.3)
    if (right.gamma < 0).any():
        yield one("norm.sign_lost", lambda n: replace(n, gamma=np.abs(n.gamma)), 1.2)
    for by in (1, -1):
        yield one(
            "norm.channel",
            lambda n, by=by: _each(n, lambda p: np.roll(p, -by)),
            1.4,
            by=by,
        )
    yield one(
        "norm.channel",
        lambda n: _each(n, lambda p: p[::-1]),
        1.4,
        by="reversed",
    )
    count = setup.size[0] * setup.size[-1] * setup.x.shape[0] if setup.axes > 1 else setup.size[0]
    if count > 1:
        yield one(
            "norm.unbiased", lambda n: replace(n, var=n.var * count / (count - 1)), 1.4, of=count
        )
        yield one(
            "norm.unbiased", lambda n: replace(n, var=n.var * (count - 1) / count), 1.45, of=count
        )
    add = next((stage for stage in setup.stages if isinstance(stage, Add)), None)
    if add is None:
        return

    def without_add(change: Callable[[Norm, Add], Stage]) -> Callable[[Setup], Setup | None]:
        def make(s: Setup) -> Setup | None:
            bias = next((one for one in s.stages if isinstance(one, Add)), None)
            if bias is None:
                return None
            stages = [one for one in s.stages if one is not bias]
            done = [change(one, bias) if isinstance(one, Norm) else one for one in stages]
            return s.but(stages=tuple(done))

        return make

    yield Change("norm.bias_lost", "after", without_add(lambda n, b: n), {}, 0.9)
    yield Change(
        "norm.bias_unscaled",
        "after",
        without_add(lambda n, b: Affine(_scale(n), n.beta - n.mean * _scale(n) + b.amounts)),
        {},
        0.9,
    )
    yield Change(
        "norm.shift_lost",
        "after",
        without_add(lambda n, b: Affine(_scale(n), b.amounts)),
        {},
        1.2,
    )
    yield Change(
        "norm.shift_lost",
        "after",
        without_add(lambda n, b: Affine(_scale(n), b.amounts * _scale(n))),
        {"bias": "scaled"},
        1.25,
    )


def _twice(norm: Norm) -> Stage:
    return Local(lambda sums: norm(norm(sums)))


def _each(norm: Norm, change: Callable[[Array], Array]) -> Norm:
    return Norm(
        change(norm.gamma), change(norm.beta), change(norm.mean), change(norm.var), norm.eps
    )


def _scale(norm: Norm) -> Array:
    return norm.gamma / np.sqrt(norm.var + norm.eps)


def axes(setup: Setup) -> Iterator[Change]:
    """A norm folded into the weights along their input channels, which are as many."""
    stages = setup.stages
    plain = all(isinstance(stage, (Add, Norm)) for stage in stages)
    if _norm(setup) is None or not plain or setup.groups > 1:
        return
    if setup.terms != setup.channels_out or setup.channels_out == 1:
        return
    axis = 0 if setup.transposed else 1

    def make(s: Setup) -> Setup | None:
        norm = _norm(s)
        if norm is None:
            return None
        scale, shift = _scale(norm), norm.beta - norm.mean * _scale(norm)
        for stage in s.stages:
            if isinstance(stage, Add):
                shift = shift + stage.amounts * scale

        def scaled(values: Array, index: Positions) -> Array:
            return values * scale[index[axis]]

        return s.but(w_ops=(*s.w_ops, scaled), stages=(Add(shift),))

    yield Change("norm.scale_axis", "w", make, {}, 1.2, alone=True)


def statistics(setup: Setup) -> Iterator[Change]:
    """The mean and variance of this very batch in place of the running ones."""
    right = _norm(setup)
    if right is None:
        return
    for over in ("batch", "sample"):
        if over == "sample" and setup.x.shape[0] == 1:
            continue
        for eps in dict.fromkeys((right.eps, 1e-5)):

            def make(s: Setup, over: str = over, eps: float = eps, less: int = 0) -> Setup:
                before = _until_norm(s)
                stage = Local(_own(before, over, eps, _norm(s), less))
                return s.but(
                    stages=tuple(stage if isinstance(one, Norm) else one for one in s.stages)
                )

            yield Change("norm.training", "after", make, {"over": over}, 1.0)
            yield Change(
                "norm.training_unbiased",
                "after",
                lambda s, make=make: make(s, less=1),
                {"over": over},
                1.3,
            )


def _until_norm(setup: Setup) -> Setup:
    kept: list[Stage] = []
    for stage in setup.stages:
        if isinstance(stage, Norm):
            break
        kept.append(stage)
    return setup.but(stages=tuple(kept), y_maps=())


def _by_channel(setup: Setup) -> bool:
    """Whether the bare sums of one channel follow from its rows of the weights."""
    plain = setup.groups == 1 and not setup.transposed and setup.reads is None
    return plain and not setup.w_maps and not setup.w_ops


def _moments(before: Setup, over: str, less: int, channels: Array | None) -> tuple[Array, Array]:
    """Compute mean and variance of all channels of an output, or of some."""
    from convtrace.mismatch.computing.whole import grid, linear_whole

    none = np.zeros(())
    at = list(grid(before.shape))
    if channels is not None:
        at[1] = channels.reshape(at[1][:, :1].shape)
    if before.sums is not None:
        bare = before.sums.values if channels is None else before.sums.values[:, channels]
    elif channels is not None:
        part = before.but(weight=before.weight[channels], bias=None)
        bare = linear_whole(part, magnitude=none).values
    else:
        bare = linear_whole(before, magnitude=none).values
    wide = np.asarray(bare, dtype=np.float64)  # known sums may be of float32
    values = before.finish(Sums(wide, none, tuple(at), before)).values
    axes = tuple(a for a in range(values.ndim) if a != 1 and (over == "batch" or a != 0))
    count = values.size // (values.shape[1] * (1 if over == "batch" else len(values)))
    mean, var = values.mean(axes), values.var(axes, ddof=min(less, count - 1))
    return np.atleast_1d(mean), np.atleast_1d(var)


def _own(
    before: Setup, over: str, eps: float, norm: Norm | None, less: int
) -> Callable[[Sums], Sums]:
    """Return a stage that normalises by the statistics of a setup's whole output.

    Args:
        before: What comes before the norm.
        over: Whether statistics are those of the `batch` or of each `sample`.
        eps: Added to the variance.
        norm: The norm whose gamma and beta are used.
        less: By how much less than n the variance is divided by.
    """
    cache: list[tuple[Array, Array]] = []

    def stage(sums: Sums) -> Sums:
        asked = np.unique(sums.channel)
        alone = len(asked) == 1 < before.channels_out
        few = asked if alone and (before.sums is not None or _by_channel(before)) else None
        found = _moments(before, over, less, few) if few is not None else (cache or [None])[0]
        if found is None:
            found = _moments(before, over, less, None)
            cache.append(found)
        sums = sums.held
        mean, var = found
        channel = sums.channel if few is None else 0 * sums.channel
        at = channel if over == "batch" else (sums.at[0], channel)
        scale = 1 / np.sqrt(var[at] + eps)
        if norm is not None:
            scale = scale * norm.gamma[sums.channel]
        values = (sums.values - mean[at]) * scale
        size = (sums.magnitude + np.abs(mean[at])) * np.abs(scale) * 2
        if norm is not None:
            values = values + norm.beta[sums.channel]
            size = size + np.abs(norm.beta[sums.channel])
        # Statistics are sums themselves, and may be added in the lower precision.
        return sums.to(values, 4 * size, sums.extra * np.abs(scale))

    return stage
