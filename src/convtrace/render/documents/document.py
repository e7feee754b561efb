"""The JSON document of a receipt or a trace: what the page, programs and saved traces read.

Numbers are JSON numbers; NaN, infinities and integers beyond 2^53 are texts, since JSON and
JavaScript cannot hold them. Arrays are flat lists in row-major order beside their shape.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

from convtrace.address import Address
from convtrace.errors import UsageError

if TYPE_CHECKING:
    from convtrace.arithmetic import Arithmetic
    from convtrace.graph import Trace
    from convtrace.receipt import Receipt
    from convtrace.step import Step, Value

MOST_NUMBERS = 3_000_000
"""Numbers of a trace as JSON, about 60 MB; more would be a file that nobody opens."""

VERSION = 1
"""Version of the format; it is raised when a reader of the former one would be misled."""

Num = float | int | str
"""A number: `"NaN"`, `"Infinity"`, `"-Infinity"` and large integers are texts."""


class TensorDocument(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """One tensor: an input, a parameter, or what a step made.

    Attributes:
        name: Name in addresses.
        origin: `input`, `parameter`, `constant` or `step`.
        dtype: Element type, e.g. `float32`.
        shape: Sizes of the axes.
        data: All numbers in row-major order; None where they were left out to save space.
    """

    name: str
    origin: str
    dtype: str
    shape: list[int]
    data: list[Num] | None = None


class ArithmeticDocument(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """The formats of the arithmetic that ran; see `convtrace.arithmetic.Arithmetic`.

    Attributes:
        operands: Format that the factors are rounded to before they are multiplied.
        accumulate: Format that products and sums are rounded to.
        result: Format that the result is stored in.
        partial_sums: Whether the sums of the kernel taps are stored in `result` on the way.
        flushes: Whether subnormal numbers may be flushed to zero.
    """

    operands: str
    accumulate: str
    result: str
    partial_sums: bool
    flushes: bool


class StepDocument(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """One step.

    Attributes:
        name: Name in addresses.
        kind: Canonical kind, e.g. `convolution`.
        status: `linear`, `selects`, `gates` or `opaque`.
        attributes: Canonical settings; those that JSON cannot hold are texts.
        operands: Names of what it read, by role.
        output: What it made.
        module: Class name of the module that ran it, or None.
        arithmetic: The arithmetic that ran, in a few words, or None.
        formats: The same, format by format, for programs that make receipts of their own.
    """

    name: str
    kind: str
    status: str
    attributes: dict[str, Any]
    operands: dict[str, str]
    output: TensorDocument
    module: str | None = None
    arithmetic: str | None = None
    formats: ArithmeticDocument | None = None


class ReceiptDocument(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """One receipt. The lists of terms share one order: input channel slowest.

    Attributes:
        address: The number that is explained.
        kind: Kind of the step.
        status: `linear`, `selects`, `gates` or `opaque`.
        shape: Shape of the terms, `(channels, ...kernel)`.
        channels: Input channel of each entry of the first axis.
        inputs: Values read from below; 0 on padding.
        weights: Factors of the layer.
        products: Their products.
        sources: Addresses of the inputs; None on padding.
        weight_addresses: Addresses of the factors; None where a factor is no stored number.
        channel_sums: Sum of the products of each channel.
        bias: The bias, or None.
        bias_address: Its address.
        exact: The exact sum, rounded once.
        bound: The most by which the arithmetic that ran can be off.
        typical: The size that its error usually has.
        reported: The value that the framework returned.
        residual: `reported - exact`.
        verdict: `exact`, `rounding`, `mismatch`, `nonfinite`, or None where nothing was added.
        arithmetic: The arithmetic that `bound` assumes, in a few words.
        reporter: Who returned `reported`.
        culprits: Numbers of the terms that brought in NaN or infinity.
        notes: Remarks as catalogue key and values.
    """

    address: str
    kind: str
    status: str
    shape: list[int]
    channels: list[int]
    inputs: list[Num]
    weights: list[Num]
    products: list[Num]
    sources: list[str | None]
    weight_addresses: list[str | None]
    channel_sums: list[Num]
    bias: Num | None
    bias_address: str | None
    exact: Num
    bound: Num
    typical: Num
    reported: Num
    residual: Num
    verdict: Literal["exact", "rounding", "mismatch", "nonfinite"] | None
    arithmetic: str | None
    reporter: str
    culprits: list[int] = []
    notes: list[tuple[str, dict[str, Any]]] = []
    format: Literal["convtrace.receipt"] = "convtrace.receipt"
    version: int = VERSION


class TraceDocument(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """One run: every step in the order it ran, and every tensor.

    Attributes:
        reporter: Who computed the numbers.
        notes: Remarks on the run.
        inputs: Inputs of the run.
        parameters: Parameters, buffers and constants that steps read.
        steps: Steps in the order they ran.
        aliases: Other names of steps.
        receipts: Receipts that were made beforehand, by address.
        left_out: Names of tensors whose numbers were left out.
    """

    reporter: str
    notes: list[str]
    inputs: list[TensorDocument]
    parameters: list[TensorDocument]
    steps: list[StepDocument]
    aliases: dict[str, str]
    receipts: list[ReceiptDocument] = []
    left_out: list[str] = []
    format: Literal["convtrace.trace"] = "convtrace.trace"
    version: int = VERSION


def receipt_json(receipt: Receipt) -> bytes:
    """Write a receipt as JSON."""
    return msgspec.json.format(msgspec.json.encode(receipt_document(receipt)), indent=1) + b"\n"


def trace_json(trace: Trace) -> bytes:
    """Write a trace as JSON, with every number of every tensor.

    Raises:
        UsageError: These are too many for a file that anything reads.
    """
    steps = [step.value for step in trace.steps.values()]
    tensors = [*trace.inputs.values(), *trace.parameters.values(), *steps]
    count = sum(math.prod(tensor.shape) for tensor in tensors)
    if count > MOST_NUMBERS:
        raise UsageError(
            f"this trace is too large for JSON: {count:,} numbers, at most {MOST_NUMBERS:,}\n"
            "  Choose instead:\n"
            '    trace.save("run.convtrace")             every number, for convtrace to open\n'
            '    trace.why("…").save("why.json")         one number, with every term'
        )
    return msgspec.json.encode(trace_document(trace)) + b"\n"


def receipt_document(receipt: Receipt) -> ReceiptDocument:
    """Turn a receipt into its document."""
    layout, shape = receipt.layout, receipt.products.shape
    places = list(np.ndindex(shape))
    numbers = {place: number for number, place in enumerate(places)}
    return ReceiptDocument(
        address=str(receipt.address),
        kind=receipt.kind,
        status=receipt.status,
        shape=list(shape),
        channels=[int(channel) for channel in layout.channels] if receipt.products.size else [],
        inputs=list(map(number_of, receipt.inputs.ravel().tolist())),
        weights=list(map(number_of, receipt.weights.ravel().tolist())),
        products=list(map(number_of, receipt.products.ravel().tolist())),
        sources=[_text(layout.source(place)) for place in places],
        weight_addresses=[_text(layout.weight(place)) for place in places],
        channel_sums=list(map(number_of, receipt.channel_sums.tolist())),
        bias=None if receipt.bias is None else number_of(receipt.bias),
        bias_address=_text(receipt.bias_address),
        exact=number_of(receipt.exact),
        bound=number_of(receipt.bound),
        typical=number_of(receipt.typical),
        reported=number_of(receipt.reported),
        residual=number_of(receipt.residual),
        verdict=receipt.verdict,
        arithmetic=receipt.arithmetic.describe() if receipt.arithmetic else None,
        reporter=receipt.reporter,
        culprits=[numbers[place] for place in receipt.culprits],
        notes=[(key, plain(values)) for key, values in receipt.notes],
    )


def trace_document(
    trace: Trace,
    *,
    receipts: Iterable[Receipt] = (),
    without: frozenset[str] = frozenset(),
) -> TraceDocument:
    """Turn a trace into its document.

    Args:
        trace: The run.
        receipts: Receipts to put in.
        without: Names of tensors whose numbers are left out.
    """
    values = [*trace.inputs.values(), *trace.parameters.values()]
    values += [step.value for step in trace.steps.values()]
    return TraceDocument(
        reporter=trace.reporter,
        notes=list(trace.notes),
        inputs=[tensor_document(v, without) for v in trace.inputs.values()],
        parameters=[tensor_document(v, without) for v in trace.parameters.values()],
        steps=[_step(step, without) for step in trace.steps.values()],
        aliases=dict(trace.aliases),
        receipts=[receipt_document(receipt) for receipt in receipts],
        left_out=[value.name for value in values if value.name in without],
    )


def tensor_document(value: Value, without: frozenset[str] = frozenset()) -> TensorDocument:
    """Turn a tensor into its document."""
    data = None
    if value.name not in without:
        box = value.box(tuple(slice(None) for _ in value.shape))
        data = list(map(number_of, np.asarray(box).ravel().tolist()))
    return TensorDocument(value.name, value.origin, value.dtype, list(value.shape), data)


def _step(step: Step, without: frozenset[str]) -> StepDocument:
    from convtrace.rules import rule_of

    return StepDocument(
        name=step.name,
        kind=step.kind,
        status=rule_of(step).status,
        attributes=plain(dict(step.attributes)),
        operands=dict(step.operands),
        output=tensor_document(step.value, without),
        module=step.module,
        arithmetic=step.arithmetic.describe() if step.arithmetic else None,
        formats=None if step.arithmetic is None else _formats(step.arithmetic),
    )


def _formats(arithmetic: Arithmetic) -> ArithmeticDocument:
    return ArithmeticDocument(
        arithmetic.operands,
        arithmetic.accumulate,
        arithmetic.result,
        arithmetic.partial_sums,
        arithmetic.flushes,
    )


def number_of(number: Any) -> Num:
    """Write a number so that JSON and JavaScript hold it exactly."""
    if isinstance(number, bool):
        return int(number)
    if isinstance(number, int):
        return number if abs(number) <= 2**53 else str(number)
    if isinstance(number, complex):
        return f"{number.real!r}{number.imag:+}i"
    if math.isfinite(number):
        return float(number)
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def plain(value: Any) -> Any:
    """Return settings or notes in terms of JSON; what JSON cannot hold becomes a text."""
    if isinstance(value, bool | str) or value is None:
        return value
    if isinstance(value, int | float | complex):
        return number_of(value)
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}  # pyright: ignore[reportUnknownArgumentType]  # msgspec and torch leave types open
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]  # pyright: ignore[reportUnknownVariableType]  # the same
    return str(value)


def _text(address: Address | None) -> str | None:
    return None if address is None else str(address)
