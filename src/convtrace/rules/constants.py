"""Steps that make numbers of their own: zeros, ones, a fill value; and random numbers, as drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from convtrace.address import Address
from convtrace.certify import certify
from convtrace.receipt import Receipt
from convtrace.rules.layouts import Listed
from convtrace.rules.pulling import Pulled, Run
from convtrace.step import Step

if TYPE_CHECKING:
    import torch


def why(step: Step, index: tuple[int, ...], reporter: str) -> Receipt:
    """Explain one such number: the step adds it by itself, or `fill` takes it from a scalar."""
    value = step.values.get("value")
    number = step.value.item(index) if value is None else value.item(())
    return certify(
        step,
        index,
        inputs=np.array([0 if value is None else number]),
        weights=np.array([1]),
        present=np.array([value is not None]),
        layout=Listed((None if value is None else Address(value.name, ()),), (None,)),
        bias=number if value is None else None,
        reporter=reporter,
    )


def pull(run: Run, cotangent: torch.Tensor) -> Pulled:
    """Pull through such a step: to the scalar that fills, or nowhere."""
    if "value" in run.operands:
        return Pulled({"value": cotangent.sum()})
    return Pulled({}, cotangent * run.output)
