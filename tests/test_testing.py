"""`convtrace.testing`: assertions whose failure message is the diagnosis."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

import convtrace as ct

X, W, B = (
    torch.randn(s, generator=torch.Generator().manual_seed(1))
    for s in ((1, 3, 8, 8), (4, 3, 3, 3), (4,))
)


def test_a_right_output_passes_and_the_report_is_returned() -> None:
    actual = F.conv2d(X, W, B, padding=1)
    report = ct.testing.assert_conv_close(actual, X, W, B, padding=1)
    assert report.verdict == "rounding"


def test_the_message_of_a_failure_names_the_cause() -> None:
    with pytest.raises(AssertionError) as error:
        ct.testing.assert_conv_close(F.conv2d(X, W, None, padding=1), X, W, B, padding=1)
    text = str(error.value)
    assert text.startswith("conv2d: mismatch\n")
    assert "Cause, proved" in text
    assert "The bias is missing." in text
    assert "torch.testing.assert_close(" in text


def test_a_callable_is_run() -> None:
    ct.testing.assert_conv_close(lambda x: F.conv2d(x, W, B, stride=2), X, W, B, stride=2)


def test_an_error_of_the_arguments_is_no_failed_assertion() -> None:
    with pytest.raises(ct.ShapeError):
        ct.testing.assert_conv_close(torch.zeros(1, 4, 99, 1), X, W, B)


def test_the_module_is_there_without_an_import_of_its_own() -> None:
    code = "import convtrace, sys; assert 'torch' not in sys.modules; convtrace.testing.diff"
    subprocess.run([sys.executable, "-c", code], check=True)
