"""Zero points that are subtracted twice."""

from __future__ import annotations

import pytest
import torch.nn.functional as F
from mismatch.wrong_quantized import QUANT, B, W, X, ask, requantized, saturated

import convtrace as ct


@pytest.mark.parametrize("padded_first", [False, True], ids=["then padded", "padded between"])
def test_a_zero_point_subtracted_twice_is_named(padded_first: bool) -> None:
    zero = QUANT["x_zero"]
    x = X.double() - zero
    x = F.pad(x, (1, 1, 1, 1)) - zero if padded_first else F.pad(x - zero, (1, 1, 1, 1))
    question = ask(saturated(requantized(F.conv2d(x, W.double(), B.double()))))
    report = ct.diff(question.mine, question.reference, **question.settings)
    assert isinstance(report, ct.Report)
    assert [(c.id, c.proved) for c in report.causes] == [("quantized.zero_point_twice", True)]
    assert "twice" in report.text("en")
    assert "두 번" in report.text("ko")
