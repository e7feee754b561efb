"""Assertions for tests of convolutions: `convtrace.testing.assert_conv_close`.

    from convtrace.testing import assert_conv_close

    def test_my_kernel():
        assert_conv_close(my_kernel(x, w, b), x, w, b, stride=2, padding=1)

There is no tolerance to choose: every element is judged by the rounding that its own terms allow.
"""

from __future__ import annotations

from typing import Any

from convtrace.mismatch.entry import diff
from convtrace.mismatch.report import Report


def assert_conv_close(actual: Any, x: Any, w: Any, b: Any = None, **hyper: Any) -> Report:
    """Assert that an output is a convolution, up to rounding.

    Args:
        actual: The output: an array, a tensor, a file, or a callable that computes it.
        x: Input, `(N, C_in, *spatial)`, or `(C_in, *spatial)` without a batch.
        w: Weights, `(C_out, C_in / groups, *kernel)`; transposed `(C_in, C_out / groups, *kernel)`.
        b: Bias `(C_out,)`, or None.
        **hyper: Settings as in `convtrace.diff`: stride, padding, dilation, groups, activation, …

    Returns:
        The report, which says how close it is.

    Raises:
        AssertionError: It is not. The message is the diagnosis: how many elements, which cause.
        ConvtraceError: The arrays and settings do not fit together.

    Example:
        >>> x, w = [[[[1.0, 2.0, 4.0]]]], [[[[1.0, 3.0]]]]
        >>> assert_conv_close([[[[7.0, 14.0]]]], x, w).verdict
        'exact'
        >>> assert_conv_close([[[[5.0, 10.0]]]], x, w)
        Traceback (most recent call last):
        AssertionError: conv2d: mismatch
        ...
    """
    __tracebackhide__ = True
    report = diff(actual, (x, w, b), **hyper)
    assert isinstance(report, Report)
    if not report.ok:
        raise AssertionError(report.text("en"))
    return report
