"""Elementwise operators: sums, products, ReLU."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from convtrace.address import Address
from convtrace.certify import certify
from convtrace.exact import FORMATS
from convtrace.receipt import Receipt
from convtrace.rules.layouts import Listed
from convtrace.rules.pulling import Pulled, Run, unbroadcast
from convtrace.step import Number, Step, Value
from convtrace.tables import Curve

if TYPE_CHECKING:
    import torch

_SIGNS = {"add": (1, 1), "sub": (1, -1), "rsub": (-1, 1)}
"""Signs of `self` and `other`; `alpha` multiplies `other`, for `rsub` it multiplies `self`."""


_NOTHING_AT_ZERO = frozenset(
    "native_dropout gelu silu tanh hardswish leaky_relu prelu_kernel elu celu mish abs sqrt erf "
    "sign".split()
)
"""Functions with `f(0) = 0`, whatever their settings; of others it is computed."""


def broadcast(index: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the position of an operand that an output position reads.

    Args:
        index: Output position.
        shape: Shape of the operand, aligned with the output at the last axis.

    Example:
        >>> broadcast((0, 3, 5, 6), (4, 1, 7))
        (3, 0, 6)
    """
    last = index[len(index) - len(shape) :]
    return tuple(0 if size == 1 else place for place, size in zip(last, shape, strict=True))


def why_quotient(step: Step, index: tuple[int, ...], reporter: str) -> Receipt:
    """Explain one number of `div`: its source times one over the divisor."""
    source, other = step.values["self"], step.values.get("other")
    divisor = (
        step.attributes["other"] if other is None else other.item(broadcast(index, other.shape))
    )
    value = source.item(broadcast(index, source.shape))
    with np.errstate(all="ignore"):
        one = np.ones((), np.complex128 if isinstance(divisor, complex) else np.float64)
        factor = (one / divisor).item()
    slack = 8 * unit_of(step) * abs(value * factor)
    return _listed(step, index, [(source, factor, None)], reporter, slack=slack)


def why_gate(step: Step, index: tuple[int, ...], reporter: str) -> Receipt:
    """Explain one number of an elementwise function: `f(0)` plus a gate times its source.

    The function is run again in float64, so the gate does not come from the value it explains.
    """
    source = step.values["self"]
    z = source.item(index).real
    value, zero = _run_at(step, index, z) if step.table is None else _tabulated(step, index)
    if np.isinf(z) and not np.isnan(value):
        return _at_infinity(step, index, value, reporter)
    if z and not np.isfinite(zero):  # 1/sqrt(0), log(0): all of it is gate times source
        zero = 0.0
    gate = (value - zero) / z if z else 0.0
    size = abs(value) + abs(zero) + abs(z)
    if step.kind == "elu" and reporter == "onnxruntime":  # exp(z) - 1, which cancels
        size += abs(step.attributes["alpha"] * step.attributes["scale"])
    slack = 32 * unit_of(step) * size
    met = 8 * (abs(z) + abs(value))  # what is multiplied before it is divided: hardswish, say
    return _listed(step, index, [(source, gate, None)], reporter, zero or None, slack, met=met)


def _at_infinity(step: Step, index: tuple[int, ...], value: float, reporter: str) -> Receipt:
    """Explain a function of an infinity, which has no gate: infinity times 0 would be NaN.

    A finite value, like `tanh(inf) = 1`, is all the step's own. Of an infinite one only the sign
    can be told.
    """
    source = step.values["self"]
    z = source.item(index).real
    words = {"kind": step.kind, "source": f"{Address(source.name, index)}"}
    if np.isfinite(value):
        slack = 32 * unit_of(step) * abs(value)
        receipt = _listed(
            step, index, [(source, 0, None)], reporter, value or None, slack, present=False
        )
        note = ("note.limit", {**words, "value": value})
        return replace(receipt, inputs=np.array([float(z)]), notes=(*receipt.notes, note))
    receipt = _listed(step, index, [(source, math.copysign(1, z * value), None)], reporter)
    return replace(receipt, notes=(*receipt.notes, ("note.infinite", words)))


def _tabulated(step: Step, index: tuple[int, ...]) -> tuple[float, float]:
    """Look the function up in the table that was saved with the trace."""
    assert isinstance(step.table, Curve)
    return step.table.at(index)


def _run_at(step: Step, index: tuple[int, ...], z: float) -> tuple[float, float]:
    """Run an elementwise function in float64, at a number and at zero."""
    import torch

    assert step.replay is not None
    source = step.values["self"]
    others = {
        role: value.tensor().double() for role, value in step.values.items() if role != "self"
    }
    shape = [1] * len(source.shape)
    if "weight" in others and others["weight"].numel() > 1:
        shape[1] = others["weight"].numel()
    pair = torch.tensor([z, 0.0], dtype=torch.float64)
    at_z, at_zero = (step.replay({**others, "self": number.expand(shape)}) for number in pair)
    place = tuple(index[1] if size > 1 else 0 for size in shape)
    return float(at_z[place]), float(at_zero[place])


def unit_of(step: Step) -> float:
    """Return the unit roundoff that a step computes with."""
    return FORMATS[step.arithmetic.accumulate].unit if step.arithmetic else 0.0


def sum_factors(step: Step) -> dict[str, Any]:
    """Return the factors of `self` and `other` in a sum or a difference."""
    first, second = _SIGNS[step.kind]
    factors: dict[str, Any] = {"self": first, "other": second}
    factors["self" if step.kind == "rsub" else "other"] *= step.attributes.get("alpha", 1)
    return factors


def why_sum(step: Step, index: tuple[int, ...], reporter: str) -> Receipt:
    """Explain one number of `add` or `sub`: one term an operand."""
    factors = sum_factors(step)
    bias: Number | None = None
    if "other" not in step.values:
        bias = step.attributes["other"] * factors["other"]
    roles = [role for role in ("self", "other") if role in step.values]
    parts: list[tuple[Value, Number, Address | None]] = [
        (step.values[role], factors[role], None) for role in roles
    ]
    # Factors are Python numbers, which the framework rounds to the dtype first.
    slack = 0.0 if bias is None else stored_slack(step, bias, 1.0)
    for value, factor, _ in parts:
        if factor not in (-1, 1):
            number = value.item(broadcast(index, value.shape))
            slack += stored_slack(step, factor, number)
            if np.isfinite(abs(number)):  # without a fused multiply-add, the product rounds too
                slack += unit_of(step) * abs(factor * number)
    return _listed(step, index, parts, reporter, bias, slack)


def stored_slack(step: Step, factor: Number, value: Number) -> float:
    """Bound what rounding a factor to the dtype of the step changes in its product."""
    if step.arithmetic is None:
        return 0.0
    fmt = FORMATS[step.arithmetic.result]
    if step.arithmetic.result == "float64" or not np.isfinite(abs(value)):
        return 0.0
    return 2 * fmt.unit * abs(factor * value) + fmt.smallest * (1 + abs(value))


def why_product(step: Step, index: tuple[int, ...], reporter: str) -> Receipt:
    """Explain one number of `mul`: one term, `other` times `self`."""
    source = step.values["self"]
    other = step.values.get("other")
    if other is None:
        factor = step.attributes["other"]
        slack = stored_slack(step, factor, source.item(index))
        return _listed(step, index, [(source, factor, None)], reporter, slack=slack)
    at = broadcast(index, other.shape)
    return _listed(step, index, [(source, other.item(at), Address(other.name, at))], reporter)


def why_relu(step: Step, index: tuple[int, ...], reporter: str) -> Receipt:
    """Explain one number of `relu`: its source, through a gate that is open (1) or shut (0)."""
    source = step.values["self"]
    value = source.item(index)
    gate = 0 if value.real < 0 else 1
    # A shut gate lets nothing through, not even infinity (0 x infinity would be NaN).
    shut = gate == 0 and not np.isfinite(value)
    receipt = _listed(step, index, [(source, gate, None)], reporter, present=not shut)
    if not shut:
        return receipt
    notes = (*receipt.notes, ("note.shut", {}))
    return replace(receipt, inputs=np.array([float(value.real)]), notes=notes)


def pull_sum(run: Run, cotangent: torch.Tensor) -> Pulled:
    """Pull through `add` or `sub`: the cotangent itself, with the operand's sign and factor."""
    factors = sum_factors(run.step)
    found = {
        role: unbroadcast(cotangent * factors[role] if factors[role] != 1 else cotangent, shape)
        for role in ("self", "other")
        if role in run.operands
        for shape in [tuple(run.operands[role].shape)]
    }
    added: Any = 0.0
    if "other" not in run.operands:
        added = cotangent.sum() * (run.step.attributes["other"] * factors["other"])
    return Pulled(found, added)


def pull_product(run: Run, cotangent: torch.Tensor) -> Pulled:
    """Pull through `mul`.

    Where one factor was given with the model, the other one takes all. Of two computed factors the
    one that comes out of a gate is frozen; with no gate among them, or two, each takes half.
    """
    if "other" not in run.operands:
        return Pulled({"self": cotangent * run.step.attributes["other"]})
    shares = product_shares(run, "self", "other")
    partners = {"self": run.operands["other"], "other": run.operands["self"]}
    return Pulled(
        {
            role: unbroadcast(cotangent * partners[role] * share, tuple(run.operands[role].shape))
            for role, share in shares.items()
        },
        halved=len(shares) == 2,
    )


def product_shares(run: Run, first: str, second: str) -> dict[str, float]:
    """Decide how a product of two operands is shared: by role, the share of each."""
    flowing = run.flowing(first, second)
    if len(flowing) < 2:
        return {flowing[0] if flowing else first: 1.0}
    free = [role for role in flowing if role not in run.gated]
    return {free[0]: 1.0} if len(free) == 1 else {first: 0.5, second: 0.5}


def pull_quotient(run: Run, cotangent: torch.Tensor) -> Pulled:
    """Pull through `div`: the divisor is frozen."""
    operands = run.operands
    divisor = operands["other"] if "other" in operands else run.step.attributes["other"]
    return Pulled({"self": unbroadcast(cotangent / divisor, tuple(operands["self"].shape))})


def pull_gate(run: Run, cotangent: torch.Tensor) -> Pulled:
    """Pull through an elementwise function, frozen at its value: the secant from zero.

    `f(z) = f(0) + ((f(z) - f(0)) / z) * z`. `f(0)` belongs to the step itself; at `z = 0` the
    slope stands in for the secant.
    """
    import torch

    z = run.operands["self"]
    replay = run.step.replay
    at_zero = None
    if run.step.kind not in _NOTHING_AT_ZERO and replay is not None:
        others = {role: tensor for role, tensor in run.operands.items() if role != "self"}
        at_zero = replay({**others, "self": torch.zeros_like(z)}).nan_to_num_(0.0, 0.0, 0.0)
        if not bool(at_zero.any()):
            at_zero = None
    secant = (run.output if at_zero is None else run.output - at_zero).div(z)
    secant.masked_fill_(z == 0, 0.0)
    return Pulled({"self": cotangent * secant}, 0.0 if at_zero is None else cotangent * at_zero)


def pull_relu(run: Run, cotangent: torch.Tensor) -> Pulled:
    """Pull through `relu`: the gate is open where the output is above zero; NaN passes."""
    import torch

    if run.output.dtype == cotangent.dtype:
        into = {"grad_input": cotangent} if run.spare else {}
        return Pulled({"self": torch.ops.aten.threshold_backward(cotangent, run.output, 0, **into)})
    return Pulled({"self": cotangent.masked_fill(run.output <= 0, 0)})


def _listed(
    step: Step,
    index: tuple[int, ...],
    parts: list[tuple[Value, Number, Address | None]],
    reporter: str,
    bias: Number | None = None,
    slack: float = 0.0,
    *,
    present: bool = True,
    met: float = 0.0,
) -> Receipt:
    places = [broadcast(index, value.shape) for value, _, _ in parts]
    inputs: list[Any] = [
        value.item(place) for (value, _, _), place in zip(parts, places, strict=True)
    ]
    return certify(
        step,
        index,
        inputs=np.array(inputs),
        weights=np.array([weight for _, weight, _ in parts]),
        present=np.full(len(parts), present),
        layout=Listed(
            tuple(
                Address(value.name, place)
                for (value, _, _), place in zip(parts, places, strict=True)
            ),
            tuple(address for _, _, address in parts),
        ),
        bias=bias,
        reporter=reporter,
        slack=slack,
        met=met,
    )
