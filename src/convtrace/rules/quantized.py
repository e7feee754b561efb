"""Quantized operators: integers that stand for `scale * (q - zero point)`, to the last bit.

The products, their sums and the bias of a receipt here are the integers of the accumulator. What
follows, scale, rounding, zero point and saturation, is told in its notes; `exact` is the integer
that comes out at the end, and `reported` the one that onnxruntime returned.

Sources:
    QLinearConv, ConvInteger, QuantizeLinear: https://onnx.ai/onnx/operators/
    The scale is computed in float32, the accumulator is rounded to float32 before it is scaled:
    onnxruntime, core/providers/cpu/quantization/qlinearconv.cc and core/mlas/lib/quantize.cpp.
"""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.address import Address
from convtrace.certify import Note, certify
from convtrace.exact import gamma
from convtrace.receipt import Layout, Receipt, Verdict
from convtrace.rules import conv
from convtrace.rules.layouts import Listed
from convtrace.step import Step, Unobserved, Value

LIMITS = {
    "uint8": (0, 2**8 - 1),
    "int8": (-(2**7), 2**7 - 1),
    "uint16": (0, 2**16 - 1),
    "int16": (-(2**15), 2**15 - 1),
}
"""Smallest and largest number of each quantized type."""


def why_qlinear(step: Step, index: tuple[int, ...], reporter: str) -> Receipt:
    """Explain one number of QLinearConv or QLinearMatMul."""
    parts = _Parts(step, index)
    total, notes = parts.accumulator()
    scales = [parts.scale_of(f"{role}_scale") for role in ("input", "weight", "output")]
    scale = scales[0] * scales[1] / scales[2]  # in float32, one operation after the other
    scaled = np.float32(total) * scale
    notes.append(_scale_note(total, float(scale), float(scaled), scales))
    zero = parts.zero_point("output_zero_point")
    shifted, more = _shifted(float(scaled), _round(float(scaled)), zero)
    exact, last = _saturated(shifted, step.attributes["dtype"])
    return parts.receipt(exact, reporter, [*notes, *more, *last])


def why_integer(step: Step, index: tuple[int, ...], reporter: str) -> Receipt:
    """Explain one number of ConvInteger or MatMulInteger: the accumulator itself."""
    parts = _Parts(step, index)
    receipt = certify(
        step,
        index,
        inputs=parts.inputs,
        weights=parts.weights,
        present=parts.present,
        layout=parts.layout,
        reporter=reporter,
    )
    return replace(receipt, notes=(parts.zero_points(), *receipt.notes))


def why_qdq(step: Step, index: tuple[int, ...], reporter: str) -> Receipt:
    """Explain one quantized number whose convolution is written in floats (QDQ).

    The file says: turn quantized numbers into floats, convolve, quantize. That stands for a
    convolution of integers, which is what the receipt shows, without any rounding on the way.
    onnxruntime computed it in float32: where the number before rounding lies so near to a half
    that this decides it, either neighbour is right.
    """
    parts = _Parts(step, index)
    total, notes = parts.accumulator()
    scales = [parts.scale_of(role) for role in ("input_scale", "weight_scale", "scale")]
    ratio = Fraction(float(scales[0])) * Fraction(float(scales[1])) / Fraction(float(scales[2]))
    scaled = total * ratio
    notes.append(_scale_note(total, float(ratio), float(scaled), scales))
    summands = sum(map(abs, parts.products.ravel().tolist())) + abs(parts.bias or 0)
    # Each float that goes in is rounded once, so are the products, the sums and the quotient.
    slack = Fraction(gamma(parts.products.size + 8, 2.0**-24)) * summands * ratio
    if step.attributes["relu"]:
        if scaled < 0:
            notes.append(("note.quantized.relu", {"scaled": float(scaled)}))
        scaled = max(scaled, Fraction(0))
    zero, dtype = parts.zero_point("zero_point"), step.attributes["dtype"]
    shifted, more = _shifted(float(scaled), round(scaled), zero)
    exact, last = _saturated(shifted, dtype)
    notes += [*more, *last, ("note.quantized.floats", {})]
    below = max(scaled - slack, Fraction(0)) if step.attributes["relu"] else scaled - slack
    lowest, highest = (_saturated(round(edge) + zero, dtype)[0] for edge in (below, scaled + slack))
    receipt = parts.receipt(exact, reporter, notes)
    if receipt.residual and lowest <= receipt.reported.real <= highest:
        tie: Note = ("note.quantized.tie", {"scaled": float(scaled)})
        bound = float(max(highest - exact, exact - lowest))
        return replace(receipt, verdict="rounding", bound=bound, notes=(*receipt.notes, tie))
    return receipt


def why_quantize(step: Step, index: tuple[int, ...], reporter: str) -> Receipt:
    """Explain one number of QuantizeLinear: divided by the scale, rounded, shifted, saturated."""
    source = step.values["self"]
    value = np.float32(source.item(index).real)
    scale = np.float32(_channel(step, "scale", index, step.attributes["axis"]))
    zero = int(_channel(step, "zero_point", index, step.attributes["axis"]))
    with np.errstate(all="ignore"):
        quotient, factor = float(value / scale), 1 / np.float64(scale)
    if math.isnan(quotient):
        return _not_a_number(step, index, float(value), reporter)
    words = {"value": float(value), "scale": float(scale), "quotient": quotient}
    shifted, more = _shifted(quotient, _round(quotient), zero)
    exact, last = _saturated(shifted, step.attributes["dtype"])
    notes: list[Note] = [("note.quantized.quotient", words), *more, *last]
    inputs, weights = np.array([float(value)]), np.array([factor])
    layout = Listed((Address(source.name, index),), (None,))
    return _receipt(step, index, inputs, weights, layout, exact, reporter, notes)


def why_dequantize(step: Step, index: tuple[int, ...], reporter: str) -> Receipt:
    """Explain one number of DequantizeLinear: less the zero point, times the scale."""
    source, axis = step.values["self"], step.attributes["axis"]
    quantized, zero = int(source.item(index).real), _channel(step, "zero_point", index, axis)
    scale = step.values["scale"]
    at = (index[axis],) if scale.shape and scale.shape[0] > 1 else (0,) * len(scale.shape)
    receipt = certify(
        step,
        index,
        inputs=np.array([quantized - int(zero)]),
        weights=np.array([float(scale.item(at).real)]),
        present=np.ones(1, dtype=np.bool_),
        layout=Listed((Address(source.name, index),), (Address(scale.name, at),)),
        reporter=reporter,
    )
    note: Note = (
        "note.quantized.dequantized",
        {"quantized": quantized, "zero_point": int(zero), "difference": quantized - int(zero)},
    )
    return replace(receipt, notes=(note, *receipt.notes))


# Integers ----------------------------------------------------------------------------------------


class _Parts:
    """The integers of one number: what it reads, less the zero points."""

    def __init__(self, step: Step, index: tuple[int, ...]) -> None:
        self.step, self.index = step, index
        # Convolutions have their output channel on axis 1, matrix products on the last one.
        self.channel = index[1] if "groups" in step.attributes else index[-1]
        self.input_zero = self.zero_point("input_zero_point")
        self.weight_zero = self.zero_point("weight_zero_point")
        inputs, weights, self.present, self.layout = self._read()
        self.inputs = np.where(self.present, inputs.astype(np.int64) - self.input_zero, 0)
        self.weights = weights.astype(np.int64) - self.weight_zero
        self.products = self.inputs * self.weights
        bias = step.values.get("bias")
        self.bias = None if bias is None else int(bias.item((self.channel,)).real)

    def _read(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_], Layout]:
        source, weight = self.step.values["input"], self.step.values["weight"]
        if "groups" in self.step.attributes:
            alone = Unobserved(self.step.name, self.step.shape, "int32", lambda _: 0)
            bare = replace(
                self.step,
                kind="convolution",
                values={"input": source, "weight": weight},
                value=alone,
                arithmetic=None,
            )
            found = conv.why(bare, self.index, "exact")
            return found.inputs, found.weights, found.present, found.layout
        *leading, column = self.index
        inputs = source.box((*leading, slice(None)))
        layout = Listed(
            tuple(Address(source.name, (*leading, k)) for k in range(inputs.size)),
            tuple(Address(weight.name, (k, column)) for k in range(inputs.size)),
        )
        whole = np.ones(inputs.shape, dtype=np.bool_)
        return inputs, weight.box((slice(None), column)), whole, layout

    def zero_point(self, role: str) -> int:
        """Return a zero point; 0 where it is left out."""
        return int(_of_channel(self.step.values.get(role), self.channel))

    def scale_of(self, role: str) -> np.float32:
        """Return a scale."""
        return np.float32(_of_channel(self.step.values[role], self.channel))

    def zero_points(self) -> Note:
        """Say what is taken from the numbers that are shown."""
        zeros = {"input_zero_point": self.input_zero, "weight_zero_point": self.weight_zero}
        return ("note.quantized.zero_points", zeros)

    def accumulator(self) -> tuple[int, list[Note]]:
        """Add up products and bias, as int32 does it."""
        exact = sum(self.products.ravel().tolist()) + (self.bias or 0)
        total = (exact + 2**31) % 2**32 - 2**31
        key = "note.quantized.accumulator"
        if self.bias is not None:
            key = "note.quantized.accumulator_bias"
        notes: list[Note] = [self.zero_points(), (key, {"accumulator": exact})]
        if total != exact:
            notes.append(("note.quantized.wrapped", {"exact": exact, "accumulator": total}))
        return total, notes

    def receipt(self, exact: int, reporter: str, notes: list[Note]) -> Receipt:
        """Compare the integer that comes out with the one that was returned."""
        found = _receipt(
            self.step, self.index, self.inputs, self.weights, self.layout, exact, reporter, notes
        )
        bias = self.step.values.get("bias")
        address = None if bias is None else Address(bias.name, (self.channel,))
        return replace(found, present=self.present, bias=self.bias, bias_address=address)


def _receipt(
    step: Step,
    index: tuple[int, ...],
    inputs: NDArray[Any],
    weights: NDArray[Any],
    layout: Layout,
    exact: int,
    reporter: str,
    notes: list[Note],
) -> Receipt:
    reported = int(step.value.item(index).real)
    verdict: Verdict = "exact" if reported == exact else "mismatch"
    return Receipt(
        address=Address(step.name, index),
        kind=step.kind,
        status=step.status,
        inputs=inputs,
        weights=weights,
        products=inputs * weights,
        present=np.ones(inputs.shape, dtype=np.bool_),
        layout=layout,
        bias=None,
        bias_address=None,
        exact=exact,
        bound=0.0,
        typical=0.0,
        reported=reported,
        residual=reported - exact,
        verdict=verdict,
        reporter=reporter,
        notes=tuple(notes),
    )


def _not_a_number(step: Step, index: tuple[int, ...], value: float, reporter: str) -> Receipt:
    """NaN has no integer: what is returned for it is up to the program."""
    layout = Listed((Address(step.operands["self"], index),), (None,))
    reported = int(step.value.item(index).real)
    found = _receipt(step, index, np.array([value]), np.ones(1), layout, reported, reporter, [])
    return replace(found, verdict="nonfinite", culprits=((0,),))


def _of_channel(value: Value | None, channel: int) -> float:
    if value is None:
        return 0.0
    several = bool(value.shape) and value.shape[0] > 1
    return float(value.item((channel,) if several else (0,) * len(value.shape)).real)


def _channel(step: Step, role: str, index: tuple[int, ...], axis: int) -> float:
    return _of_channel(step.values.get(role), index[axis] if index else 0)


def _round(number: float) -> int:
    """Round to the nearest integer, halves to the even one; infinity becomes out of every range."""
    return round(number) if math.isfinite(number) else int(math.copysign(2**40, number))


def _scale_note(total: int, scale: float, scaled: float, scales: list[np.float32]) -> Note:
    names = ("input_scale", "weight_scale", "output_scale")
    words = {name: float(number) for name, number in zip(names, scales, strict=True)}
    words |= {"accumulator": total, "scale": scale, "scaled": scaled}
    return ("note.quantized.scale", words)


def _shifted(scaled: float, rounded: int, zero: int) -> tuple[int, list[Note]]:
    words = {"scaled": scaled, "rounded": rounded, "zero_point": zero, "shifted": rounded + zero}
    return rounded + zero, [("note.quantized.rounded", words)]


def _saturated(shifted: int, dtype: str) -> tuple[int, list[Note]]:
    low, high = LIMITS[dtype]
    kept = min(max(shifted, low), high)
    if kept == shifted:
        return kept, []
    words = {"shifted": shifted, "dtype": dtype, "low": low, "high": high, "kept": kept}
    return kept, [("note.quantized.saturated", words)]
