"""Fits for each channel: the few elements that are looked at first never hide one that explains."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import convtrace as ct
from convtrace.mismatch.search import by_channel, sample
from convtrace.mismatch.search.fingerprint import Fingerprints
from convtrace.mismatch.search.search import Search


def _layer() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(3)
    x, w = torch.randn(1, 4, 12, 12, generator=draw), torch.randn(6, 4, 3, 3, generator=draw)
    b, each = torch.randn(6, generator=draw), torch.rand(6, generator=draw) + 0.5
    return x, w, b, each


def _causes(report: Any) -> list[str]:
    return [cause.id for cause in report.causes]


@pytest.mark.parametrize("many", [True, False])
def test_a_fit_is_found_whether_or_not_a_few_channels_come_first(
    monkeypatch: pytest.MonkeyPatch, many: bool
) -> None:
    monkeypatch.setattr(by_channel, "MANY", 0 if many else 2**30)
    x, w, b, each = _layer()
    y = torch.nn.functional.conv2d(x, w, b, padding=1)
    column = each[:, None, None]
    assert _causes(ct.diff(y + column, (x, w, b), padding=1)) == ["bias.other"]
    assert _causes(ct.diff(y * column + 1 - column, (x, w, b), padding=1)) == ["output.by_channel"]


def test_what_no_few_channels_explain_is_not_fitted_to_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(by_channel, "MANY", 0)
    fitted: list[int] = []
    original = by_channel._fitted

    def counted(of: Any, base: Any) -> Any:
        fitted.append(len(of.channels))
        return original(of, base)

    monkeypatch.setattr(by_channel, "_fitted", counted)
    x, w, b, _ = _layer()
    y = torch.nn.functional.conv2d(x, w, b, padding=1)
    y[..., -3:] = y[..., :3].clone()
    assert _causes(ct.diff(y, (x, w, b), padding=1)) == []
    assert fitted
    assert max(fitted) <= sample.FIRST < 6


def test_fingerprints_of_two_names_of_one_mistake_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Search] = []
    singles = Search.singles

    def seen(self: Search, candidates: Any) -> Any:
        kept.append(self)
        return singles(self, candidates)

    monkeypatch.setattr(Search, "singles", seen)
    x, w, b, _ = _layer()
    y = torch.nn.functional.conv2d(x.flip(1), w, b, padding=1)
    report = ct.diff(y, (x, w, b), padding=1)
    assert _causes(report) == ["input.channels_reversed", "kernel.channels_reversed"]
    from convtrace.mismatch.causes import candidates

    listed = {(c.id, c.parameters.get("channels")): c for c in candidates(kept[0].base)}
    prints = Fingerprints(kept[0].base)
    one = prints.of((listed["input.channels_reversed", 4],))
    two = prints.of((listed["kernel.channels_reversed", "in"],))
    other = prints.of((listed["kernel.channels_reversed", "out"],))
    assert one is not None
    np.testing.assert_allclose(one, two, rtol=0, atol=1e-9)
    assert not np.allclose(one, other)
