"""From the terms of one number to a certified receipt: exact sum, bound, verdict."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convtrace.address import Address
from convtrace.arithmetic import plain
from convtrace.exact import FORMATS, ExactSum, sum_products
from convtrace.receipt import Layout, Receipt, Verdict
from convtrace.step import Inside, Number, Step, Unobserved

Note = tuple[str, dict[str, Any]]


def certify(
    step: Step,
    index: tuple[int, ...],
    *,
    inputs: NDArray[Any],
    weights: NDArray[Any],
    present: NDArray[np.bool_],
    layout: Layout,
    bias: Number | None = None,
    bias_address: Address | None = None,
    reporter: str = "torch",
    slack: float = 0.0,
    met: float = 0.0,
) -> Receipt:
    """Add the terms of one number without error and compare with what was reported.

    Args:
        step: The step that made the number.
        index: Its position.
        inputs: Values from below, `(channels, ...)`; anything where `present` is False.
        weights: Factors, of the same shape.
        present: False where a term falls on padding.
        layout: Addresses of the terms.
        bias: One more summand.
        bias_address: Its address.
        reporter: Who returned the reported value.
        slack: What the framework may be off by besides adding, e.g. where it folds a scale.
        met: Size of the largest number that it meets on the way, where that is none of the terms:
            a square in a norm, say, which may overflow.

    Returns:
        The receipt, with its verdict.
    """
    whole = bool(present.all())
    kind = np.result_type(inputs.dtype, weights.dtype).kind
    if isinstance(bias, float) and not bias.is_integer() and kind in "iub":
        kind = "f"
    if kind == "c" or isinstance(bias, complex):
        prepare, judge = _complexes, _judge_complex
    elif kind in "iub" and (step.arithmetic is None or step.value.is_integer):
        prepare, judge = _integers, _judge_integers
    else:
        prepare, judge = _floats, _judge_floats
    inputs, weights, products = prepare(inputs, weights, None if whole else present)
    # Where nothing was observed, the exact sum stands in: there is nothing to compare it with.
    reported = None if isinstance(step.value, Unobserved) else step.value.item(index)
    verdict = judge(_Terms(step, inputs, weights, products, present, bias, reported, met))
    if slack and verdict["verdict"] in ("rounding", "mismatch"):
        _allow(verdict, slack)
    return Receipt(
        address=Address(step.name, index),
        kind=step.kind,
        status=step.status,
        inputs=inputs,
        weights=weights,
        products=products,
        present=present,
        layout=layout,
        bias=bias,
        bias_address=bias_address,
        arithmetic=step.arithmetic,
        reporter="exact" if isinstance(step.value, Inside) else reporter,
        **verdict,
    )


class _Terms(NamedTuple):
    """What is judged: the terms of one number, and what was reported."""

    step: Step
    inputs: NDArray[Any]
    weights: NDArray[Any]
    products: NDArray[Any]
    present: NDArray[np.bool_]
    bias: Number | None
    reported: Number | None
    met: float = 0.0


def _allow(verdict: dict[str, Any], slack: float) -> None:
    """Widen the bound."""
    verdict["bound"] += slack
    if abs(verdict["residual"]) <= verdict["bound"]:
        verdict["verdict"] = "rounding"


def _floats(
    inputs: NDArray[Any], weights: NDArray[Any], present: NDArray[np.bool_] | None
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    inputs, weights = inputs.astype(np.float64), weights.astype(np.float64)
    with np.errstate(all="ignore"):
        products = weights * inputs
    if present is not None:
        inputs[~present] = 0.0
        products[~present] = 0.0
    return inputs, weights, products


def _complexes(
    inputs: NDArray[Any], weights: NDArray[Any], present: NDArray[np.bool_] | None
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    inputs, weights = inputs.astype(np.complex128), weights.astype(np.complex128)
    return inputs, weights, weights * inputs


def _integers(
    inputs: NDArray[Any], weights: NDArray[Any], present: NDArray[np.bool_] | None
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    largest = [
        max(abs(int(a.max(initial=0))), abs(int(a.min(initial=0)))) for a in (inputs, weights)
    ]
    # Where a product or a sum could leave 64 bits, Python's integers take over.
    fits = largest[0] * largest[1] * max(inputs.size, 1) < 2**62 and max(largest) < 2**62
    dtype = np.int64 if fits else np.object_
    inputs, weights = inputs.astype(dtype), weights.astype(dtype)
    products = weights * inputs
    if present is not None:
        inputs[~present] = 0
        products[~present] = 0
    return inputs, weights, products


def _judge_integers(terms: _Terms) -> dict[str, Any]:
    step, products, bias, reported = terms.step, terms.products, terms.bias, terms.reported
    exact = int(sum(products.ravel().tolist())) + int(bias.real if bias is not None else 0)
    returned = exact if reported is None else int(reported.real)
    residual = returned - exact
    notes: tuple[Note, ...] = ()
    bound, verdict = 0.0, "exact" if residual == 0 else "mismatch"
    bits = np.iinfo(step.dtype).bits if step.dtype != "bool" else 1
    if residual and residual % 2**bits == 0:
        # Integer arithmetic is exact modulo 2**bits: the sum has left the range and wrapped.
        bound, verdict = float(abs(residual)), "rounding"
        notes = (("note.wrapped", {"dtype": step.dtype, "exact": exact, "modulus": 2**bits}),)
    return {
        "reported": returned,
        "exact": exact,
        "bound": bound,
        "typical": 0.0,
        "residual": residual,
        "verdict": verdict,
        "notes": notes,
    }


def _judge_floats(terms: _Terms) -> dict[str, Any]:
    step, inputs, weights, products, present, bias, reported, met = terms
    arithmetic = step.arithmetic or plain("float64")
    offset = None if bias is None else float(bias.real)
    returned = None if reported is None else float(reported.real)
    # The usual case in one test: the sum of all products is finite only if each of them is.
    magnitude = float(np.abs(products).sum())
    finite = math.isfinite(magnitude) and math.isfinite(offset or 0.0)
    if not finite or not math.isfinite(returned or 0.0) or not present.all():
        found = _judge_nonfinite(terms, offset, returned)
        if found is not None:
            return found
        weights = np.where(present, weights, 0.0)  # what falls on padding takes no part
    stored = _widest(step)
    wide = FORMATS[stored].precision > 24
    total = sum_products(weights, inputs, products, magnitude, offset, wide=wide)
    rounded = total.rounded(FORMATS[arithmetic.result])
    if returned is None:
        returned = rounded
    if not math.isfinite(returned):
        overflow = arithmetic.may_overflow(max(total.magnitude, met))
        return _judge_unexplained(total, returned, overflow)
    # A summand passes through the sum of its own tap, one addition for each tap, and the bias.
    partials = int(present[:1].sum()) + 2
    bound = arithmetic.bound(
        total.count, total.magnitude, total.value, stored=stored, partials=partials
    )
    if arithmetic.flushes or arithmetic.operands == "bfloat16":
        # Such kernels may read a subnormal number as zero.
        smallest = math.ldexp(1.0, FORMATS[arithmetic.operands].smallest_exponent)
        small = (np.abs(inputs) < smallest) | (np.abs(weights) < smallest)
        bound += float(np.abs(products[small]).sum())
    residual = returned - total.value
    verdict: Verdict
    if rounded == returned:
        verdict = "exact"
    elif abs(residual) <= bound:
        verdict = "rounding"
    else:
        verdict = "mismatch"
    if not math.isfinite(total.value):
        verdict = "mismatch"  # the sum leaves float64, but a finite number was returned
    typical = arithmetic.typical(
        total.count, total.magnitude, total.value, stored=stored, partials=partials
    )
    return {
        "reported": returned,
        "exact": total.value,
        "bound": bound,
        "typical": typical,
        "residual": residual,
        "verdict": verdict,
    }


def _judge_complex(terms: _Terms) -> dict[str, Any]:
    """Judge real and imaginary part, each as a sum of real products.

    (a + bi)(c + di) has the real part ac - bd and the imaginary part ad + bc.
    """
    step, inputs, weights, _, present, bias, reported, met = terms
    halves: list[dict[str, Any]] = []
    for left, right, offset, returned in (
        (np.real(weights), -np.imag(weights), complex(bias or 0).real, _half(reported, "real")),
        (np.imag(weights), np.real(weights), complex(bias or 0).imag, _half(reported, "imag")),
    ):
        factors = np.concatenate([left, right])
        values = np.concatenate([np.real(inputs), np.imag(inputs)])
        both = np.concatenate([present, present])
        half_bias = None if bias is None else offset
        halves.append(
            _judge_floats(
                _Terms(step, values, factors, factors * values, both, half_bias, returned, met)
            )
        )
    real, imaginary = halves
    order: list[Verdict] = ["exact", "rounding", "nonfinite", "mismatch"]
    return {
        "reported": complex(real["reported"], imaginary["reported"]),
        "exact": complex(real["exact"], imaginary["exact"]),
        "bound": math.hypot(real["bound"], imaginary["bound"]),
        "typical": math.hypot(real["typical"], imaginary["typical"]),
        "residual": complex(real["residual"], imaginary["residual"]),
        "verdict": max(real["verdict"], imaginary["verdict"], key=order.index),
        "notes": (*real.get("notes", ()), *imaginary.get("notes", ())),
    }


def _half(number: Number | None, half: str) -> float | None:
    return None if number is None else getattr(complex(number), half)


def _widest(step: Step) -> str:
    """Return the widest format among the operands and the result."""
    parts = {"complex32": "float16", "complex64": "float32", "complex128": "float64"}
    names = [value.dtype for value in step.values.values()] + [step.dtype]
    names = [parts.get(name, name) for name in names]
    known = [name for name in names if name in FORMATS]
    return max(known, key=lambda name: FORMATS[name].precision, default="float64")


def _judge_nonfinite(
    terms: _Terms, bias: float | None, returned: float | None
) -> dict[str, Any] | None:
    """Judge a sum in which NaN or infinity takes part; None where none does.

    Args:
        terms: The terms, which are real.
        bias: The bias, as a float.
        returned: What was reported, as a float.
    """
    products, present = terms.products, terms.present
    factors = np.isfinite(terms.weights) & np.isfinite(terms.inputs)
    broken = ~factors & present
    # A NaN weight on padding: 0 x NaN is NaN, but only in kernels that multiply the padding.
    on_padding = ~factors & ~present
    bad_bias = bias is not None and not math.isfinite(bias)
    if not broken.any() and not bad_bias:
        if not on_padding.any() or returned is None or math.isfinite(returned):
            return None
        broken = on_padding
    with np.errstate(all="ignore"):
        exact = float(products.sum()) + (0.0 if bias is None else bias)
    if returned is None:
        returned = exact
    # Kernels that split sums may make NaN of an infinity, but never the other way round.
    fits = math.isnan(returned) or (returned == exact and broken is not on_padding)
    notes: tuple[Note, ...] = (("note.nonfinite_bias", {"value": bias}),) if bad_bias else ()
    return {
        "reported": returned,
        "exact": exact,
        "bound": math.nan,
        "typical": math.nan,
        "residual": returned - exact,
        "verdict": "nonfinite" if fits and not math.isfinite(returned) else "mismatch",
        "culprits": tuple(map(tuple, np.argwhere(broken).tolist())),
        "notes": notes,
    }


def _judge_unexplained(total: ExactSum, returned: float, overflow: bool) -> dict[str, Any]:
    """Judge NaN or infinity that no term brought in: overflow on the way, or a wrong result."""
    key = "note.overflow" if overflow else "note.nonfinite_from_nowhere"
    return {
        "reported": returned,
        "exact": total.value,
        "bound": math.nan,
        "typical": math.nan,
        "residual": returned - total.value,
        "verdict": "nonfinite" if overflow else "mismatch",
        "notes": ((key, {"reported": returned}),),
    }
