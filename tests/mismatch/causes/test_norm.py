"""Parts of a batch norm that are confused with each other are named, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import convtrace as ct

Array = NDArray[np.float64]
Parts = dict[str, Any]

draw = np.random.default_rng(5)
X = draw.normal(size=(2, 3, 8, 8)).astype(np.float32)
WEIGHT = draw.normal(size=(5, 3, 3, 3)).astype(np.float32)
PARTS: Parts = {
    "weight": draw.uniform(0.5, 2, 5),
    "bias": draw.normal(size=5),
    "mean": draw.normal(size=5),
    "var": draw.uniform(0.1, 2, 5),
    "eps": 1e-5,
}


def convolved() -> Array:
    windows = np.lib.stride_tricks.sliding_window_view(X.astype(np.float64), (3, 3), (2, 3))
    return np.einsum("ncyxij,ocij->noyx", windows, WEIGHT.astype(np.float64))


def normed(parts: Parts) -> NDArray[np.float32]:
    gamma, beta, mean, var = (
        np.asarray(parts[name])[:, None, None] for name in ("weight", "bias", "mean", "var")
    )
    return ((convolved() - mean) / np.sqrt(var + 1e-5) * gamma + beta).astype(np.float32)


def report_of(mine: NDArray[np.float32], parts: Parts) -> ct.Report:
    report = ct.diff(mine, (X, WEIGHT), norm=parts)
    assert isinstance(report, ct.Report)
    return report


def test_mean_and_beta_swapped_are_not_another_bias() -> None:
    report = report_of(normed({**PARTS, "mean": PARTS["bias"], "bias": PARTS["mean"]}), PARTS)
    assert [(c.id, c.parameters["parts"]) for c in report.causes] == [
        ("norm.parts_swapped", ("mean", "beta"))
    ]


@pytest.mark.parametrize(
    "change", [lambda var: var**2, lambda var: (var + 1e-5) ** 2 - 1e-5], ids=["before", "after"]
)
def test_a_forgotten_root_is_one_cause_wherever_epsilon_is_added(
    change: Callable[[Array], Array],
) -> None:
    report = report_of(normed({**PARTS, "var": change(PARTS["var"])}), PARTS)
    assert [cause.id for cause in report.causes] == ["norm.no_root"]


def test_a_lost_sign_is_looked_for_only_where_there_is_one() -> None:
    signed = {**PARTS, "weight": PARTS["weight"] * [1, -1, 1, -1, 1]}
    report = report_of(normed({**signed, "weight": np.abs(signed["weight"])}), signed)
    assert [(cause.id, cause.proved) for cause in report.causes] == [("norm.sign_lost", True)]
    assert report_of(normed(PARTS), PARTS).verdict == "rounding"
