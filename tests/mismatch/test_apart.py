"""Inputs that tell causes apart are the same, whether a few elements are looked at first or not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import conv2d

import convtrace as ct
from convtrace.mismatch import apart


def _questions() -> dict[str, tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    draw = torch.Generator().manual_seed(4)
    x, w = torch.randn(1, 3, 9, 9, generator=draw), torch.randn(4, 3, 3, 3, generator=draw)
    rows = w + w.flip(2)  # which way its rows are turned leaves no trace
    same = x[:, :1].expand(1, 3, 9, 9).contiguous()
    return {
        "one flip of a kernel that hides another": (conv2d(x, rows.flip(3), padding=1), x, rows),
        "channels that hold the same": (conv2d(same, w.flip(3), padding=1), same, w),
        "names of one mistake": (conv2d(x.flip(1), w, padding=1), x, w),
        "input halved, or the weights": (conv2d(x / 2, w, padding=1), x, w),
    }


@pytest.mark.parametrize("name", list(_questions()))
def test_a_few_elements_first_change_no_answer(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    mine, x, w = _questions()[name]
    reports = []
    for large in (2**30, 0):
        monkeypatch.setattr(apart, "LARGE", large)
        reports.append(ct.diff(mine, (x, w), padding=1))
    usual, few = reports
    assert [c.id for c in usual.causes] == [c.id for c in few.causes]
    assert usual.functions == few.functions
    assert (usual.apart is None) == (few.apart is None)
    if few.apart is not None:
        outputs = few.apart.outputs
        assert any(not np.allclose(outputs[0], other) for other in outputs[1:])


def test_an_input_is_offered_where_a_symmetric_kernel_hides_a_flip() -> None:
    mine, x, w = _questions()["one flip of a kernel that hides another"]
    report = ct.diff(mine, (x, w), padding=1)
    assert report.ambiguous
    assert report.apart is not None
