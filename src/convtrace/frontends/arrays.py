"""Arrays of any runtime: `convtrace.from_arrays`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from convtrace.arithmetic import Arithmetic, plain
from convtrace.errors import NoValueError, ShapeError
from convtrace.exact import FORMATS
from convtrace.frontends.convolution import Ints, canonical, function_name
from convtrace.graph import Parts, Trace
from convtrace.rules.conv import why
from convtrace.step import Number, Step, Unobserved, Value


def from_arrays(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: Ints = 1,
    padding: str | Ints | Sequence[tuple[int, int]] = 0,
    dilation: Ints = 1,
    groups: int = 1,
    transposed: bool = False,
    output_padding: Ints = 0,
    observed: Any = None,
    name: str | None = None,
    arithmetic: Arithmetic | None = None,
) -> Trace:
    """Explain one convolution from its arrays, whichever runtime they come from.

    Args:
        x: Input, `(N, C_in, *spatial)`, or `(C_in, *spatial)` without a batch. NumPy arrays,
            tensors, nested lists, and anything that NumPy can convert. So with the others.
        weight: `(C_out, C_in / groups, *kernel)`; transposed `(C_in, C_out / groups, *kernel)`.
        bias: `(C_out,)`, or None.
        stride: One number, or one for each spatial axis. So with `dilation`, `output_padding`.
        padding: `'same'`, `'valid'`, a number, one number an axis, or (low, high) an axis.
        dilation: Distance between two taps.
        groups: Number of groups.
        transposed: Whether this is a transposed convolution.
        output_padding: Transposed only.
        observed: What your runtime returned, `(N, C_out, *spatial)`. Receipts are certified
            against it. None: the exact sums, correctly rounded, stand in for it, and receipts
            say that nothing was observed.
        name: Name of the step; None takes PyTorch's function, e.g. `conv2d`.
        arithmetic: Formats your runtime computes in; None derives them from the dtypes.

    Returns:
        A trace with that one step. NumPy arrays and lists are copied, tensors held by reference.

    Raises:
        ShapeError: Shapes and settings disagree, or `observed` has another shape.
        NoValueError: An array holds no real numbers.

    Example:
        >>> import convtrace as ct
        >>> x = [[[[1.0, 2.0], [3.0, 4.0]]]]
        >>> trace = ct.from_arrays(x, [[[[1.0, 1.0]]]], observed=[[[[3.0], [8.0]]]])
        >>> trace.why("conv2d", (0, 0, 0, 0)).verdict
        'exact'
        >>> trace.why("conv2d", (0, 0, 1, 0)).verdict
        'mismatch'
    """
    dtypes = [str(a.dtype) for a in (x, weight, bias, observed) if hasattr(a, "dtype")]
    data = {
        "input": _array("x", x, dtypes),
        "weight": _array("weight", weight, dtypes),
    }
    if bias is not None:
        data["bias"] = _array("bias", bias, dtypes)
    shapes = {role: tuple(int(n) for n in array.shape) for role, array in data.items()}
    label = name or function_name(len(shapes["weight"]) - 2, transposed)
    attributes, shape = canonical(
        label,
        shapes["input"],
        shapes["weight"],
        shapes.get("bias"),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        transposed=transposed,
        output_padding=output_padding,
    )
    values = {
        role: Value(
            "input" if role == "input" else f"{label}.{role}",
            array,
            "input" if role == "input" else "parameter",
        )
        for role, array in data.items()
    }
    if observed is None:
        output, reporter = None, "exact"
        value = _unobserved(label, attributes, values, shape, arithmetic)
    else:
        output = _array("observed", observed, dtypes)
        reporter = "observed"
        if tuple(output.shape) != shape:
            raise ShapeError(
                f"{label}: observed has another shape than these settings give\n"
                f"  observed  {tuple(output.shape)}\n"
                f"  expected  {shape}, from input {shapes['input']}, weight {shapes['weight']}, "
                f"stride {attributes['stride']},\n"
                f"            padding {attributes['padding']}, dilation {attributes['dilation']}, "
                f"groups {groups}\n"
                "  Check stride, padding and dilation, and the order of the axes."
            )
        value = Value(label, output)
    step = _step(label, attributes, values, value, arithmetic)
    parts = Parts([step], list(values.values()), {})
    return Trace(lambda: parts, reporter=reporter, output=output)


def _step(
    label: str,
    attributes: dict[str, Any],
    values: dict[str, Value],
    value: Value,
    arithmetic: Arithmetic | None,
) -> Step:
    return Step(
        name=label,
        kind="convolution",
        attributes=attributes,
        values=values,
        value=value,
        status="linear",
        arithmetic=arithmetic or _arithmetic(values, value),
    )


def _arithmetic(values: dict[str, Value], value: Value) -> Arithmetic | None:
    """Derive the arithmetic: what a runtime that stores this result from such factors does."""
    factors = [values["input"].dtype, values["weight"].dtype]
    known = [name for name in factors if name in FORMATS]
    if value.dtype not in FORMATS:
        return plain(max(known, key=lambda n: FORMATS[n].precision)) if known else None
    widest = max([*known, value.dtype], key=lambda n: FORMATS[n].precision)
    accumulate = plain(widest).accumulate
    return Arithmetic(widest, accumulate, value.dtype)


def _unobserved(
    label: str,
    attributes: dict[str, Any],
    values: dict[str, Value],
    shape: tuple[int, ...],
    arithmetic: Arithmetic | None,
) -> Unobserved:
    """Stand in for an output that was not given: exact sums, rounded to the operands' format."""
    dtypes = [value.dtype for value in values.values()]
    floats = [name for name in dtypes if name in FORMATS]
    dtype = max(floats, key=lambda n: FORMATS[n].precision) if floats else "int64"

    def compute(index: tuple[int, ...]) -> Number:
        return why(step, index, "exact").reported

    value = Unobserved(label, shape, dtype, compute)
    step = _step(label, attributes, values, value, arithmetic)
    return value


def _array(role: str, data: Any, dtypes: list[str]) -> Any:
    """Return a tensor as it is, and anything else as a NumPy array of its own."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(data, torch.Tensor):
        if data.is_complex():
            raise _complex(role, data.dtype)
        return data
    try:
        array = np.array(data)
    except (ValueError, TypeError) as error:
        raise ShapeError(
            f"{role} is not an array: {error}\n"
            "  Give a NumPy array, a tensor, or nested lists of equal lengths."
        ) from error
    if array.dtype.kind == "c":
        raise _complex(role, array.dtype)
    if array.dtype.kind not in "fiub" and str(array.dtype) not in FORMATS:
        raise NoValueError(
            f"{role} holds no numbers: dtype {array.dtype}\n"
            "  Give an array of numbers, e.g. float32."
        )
    return array


def _complex(role: str, dtype: Any) -> NoValueError:
    return NoValueError(
        f"{role} is complex: {dtype}\n"
        "  A receipt adds real numbers. Pass real and imaginary parts as two convolutions, or\n"
        "  trace the model: PyTorch runs a complex convolution as three real ones."
    )
