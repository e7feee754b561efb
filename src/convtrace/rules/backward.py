"""The backward pass of steps other than convolutions: the chain rule, number by number.

    gradient of x[i] through a step y = f(x)   =   sum over j of  gradient of y[j] x dy[j]/dx[i]

The gradients of the outputs are read from the trace. The derivatives are PyTorch's own for the
forward step, taken in float64: nothing is written down a second time here, and nothing is taken
from the backward pass that is explained.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from convtrace.address import Address
from convtrace.certify import certify
from convtrace.exact import FORMATS
from convtrace.receipt import Receipt
from convtrace.rules.layouts import Listed
from convtrace.rules.pointwise import broadcast
from convtrace.step import Step, Value
from convtrace.tables import Coefficients

if TYPE_CHECKING:
    import torch


_TANGLED = "more than one number of the output depends on one of the operand"


def why_start(step: Step, index: tuple[int, ...], reporter: str) -> Receipt:
    """Explain the gradient of the loss with respect to itself: 1, the start of the pass."""
    nothing = np.zeros(0)
    return certify(
        step,
        index,
        inputs=nothing,
        weights=nothing,
        present=np.zeros(0, dtype=np.bool_),
        layout=Listed((), ()),
        bias=1,
        reporter=reporter,
    )


def why_passed(step: Step, index: tuple[int, ...], reporter: str) -> Receipt:
    """Explain a gradient that a step passed on as it came."""
    source = step.values["gradient"]
    return certify(
        step,
        index,
        inputs=np.array([source.item(index)]),
        weights=np.array([1]),
        present=np.ones(1, dtype=np.bool_),
        layout=Listed((Address(source.name, index),), (None,)),
        reporter=reporter,
    )


@dataclass(frozen=True)
class Rows:
    """The layout of the gradient of a linear layer's weight or bias: one term for each row.

    Attributes:
        leading: Position of each row on the axes before the features.
        gradient_name: Name of the gradient of the output.
        output_feature: Output feature, counted from 0.
        input_name: Name of the input; None for a bias.
        input_feature: Input feature.
    """

    leading: tuple[tuple[int, ...], ...]
    gradient_name: str
    output_feature: int
    input_name: str | None = None
    input_feature: int = 0

    @property
    def channels(self) -> range:
        """Rows, counted through all axes before the features."""
        return range(len(self.leading))

    def source(self, position: tuple[int, ...]) -> Address:
        """Address of a term's input; of a bias, of its gradient."""
        row = self.leading[position[0]]
        if self.input_name is None:
            return Address(self.gradient_name, (*row, self.output_feature))
        return Address(self.input_name, (*row, self.input_feature))

    def weight(self, position: tuple[int, ...]) -> Address | None:
        """Address of a term's gradient, beside an input."""
        if self.input_name is None:
            return None
        return Address(self.gradient_name, (*self.leading[position[0]], self.output_feature))


def why_linear(step: Step, index: tuple[int, ...], reporter: str) -> Receipt:
    """Explain one number of the gradient of a linear layer's input, weight or bias."""
    gradient, of = step.values["gradient"], step.attributes["of"]
    if of == "input":
        *leading, feature = index
        weight = step.values["weight"]
        inputs = gradient.box((*leading, slice(None)))
        factors = weight.box((slice(None), feature))
        count = range(len(inputs))
        layout: Any = Listed(
            tuple(Address(gradient.name, (*leading, k)) for k in count),
            tuple(Address(weight.name, (k, feature)) for k in count),
        )
    else:
        before = gradient.shape[:-1]
        everything = (slice(None),) * len(before)
        factors = gradient.box((*everything, index[0])).reshape(-1)
        rows = tuple(np.ndindex(before))
        if of == "weight":
            source = step.values["input"]
            inputs = source.box((*everything, index[1])).reshape(-1)
            layout = Rows(rows, gradient.name, index[0], source.name, index[1])
        else:
            inputs, factors = factors, np.ones(len(rows), dtype=np.int64)
            layout = Rows(rows, gradient.name, index[0])
    return certify(
        step,
        index,
        inputs=inputs,
        weights=factors,
        present=np.ones(inputs.shape, dtype=np.bool_),
        layout=layout,
        reporter=reporter,
    )


def why(step: Step, index: tuple[int, ...], reporter: str) -> Receipt | None:
    """Explain one number of a gradient by the chain rule.

    Args:
        step: A gradient that came back through a step; `of` says to which operand.
        index: Position in the gradient, which is one in the operand.
        reporter: Who computed the reported values.

    Returns:
        The receipt, with a term for each number that the operand's number went into: its
        gradient, times the derivative. None where PyTorch cannot tell the derivative.
    """
    columns = _columns(step, index)
    if columns is None:
        return None
    sources: list[Address] = []
    factors: list[float] = []
    addresses: list[Address | None] = []
    for value, column in zip(_gradients(step), columns, strict=True):
        # Elementwise, and the derivative is 0: a closed gate.
        closed = [(index, 0.0)] if value.shape == step.shape else []
        for place, factor in column or closed:
            sources.append(Address(value.name, place))
            factors.append(factor)
            addresses.append(_factor(step, place))
    if np.isnan(factors).any() and not np.isnan(step.value.item(index)):
        return None  # PyTorch's formulas disagree at NaN: some compare, some multiply
    by_name = {value.name: value for value in _gradients(step)}
    values = [by_name[source.step].item(source.index) for source in sources]
    return certify(
        step,
        index,
        inputs=np.array(values, dtype=np.float64),
        weights=np.array(factors, dtype=np.float64),
        present=np.ones(len(values), dtype=np.bool_),
        layout=Listed(tuple(sources), tuple(addresses)),
        reporter=reporter,
        slack=_slack(step, np.array(factors), np.array(values)),
        met=_squares(step) if "norm" in step.kind else 0.0,
    )


def _squares(step: Step) -> float:
    """Return the sum of the squares of the operand, which a norm computes on the way."""
    value = step.values[step.attributes["of"]]
    with np.errstate(all="ignore"):
        return float((value.box((slice(None),) * len(value.shape)).astype(np.float64) ** 2).sum())


def _gradients(step: Step) -> list[Value]:
    """Return the gradients of the forward step's outputs."""
    return [v for role, v in step.values.items() if role.split(".")[0] == "gradient"]


Column = list[tuple[tuple[int, ...], float]]
"""The derivatives of one output by one number that are not 0: position and derivative."""


def _columns(step: Step, index: tuple[int, ...]) -> list[Column] | None:
    """Return a column for each output of the forward step: of a saved trace, from its table."""
    if isinstance(step.table, Coefficients):
        roles = [role for role in step.values if role.split(".")[0] == "gradient"]
        terms = step.table.terms(index)
        return [[(place, factor) for role, place, factor in terms if role == r] for r in roles]
    found = _derivatives(step, index) if step.replay is not None else None
    if found is None:
        return None
    return [
        [(place, float(column[place])) for place in map(tuple, column.nonzero().tolist())]
        for column in found
    ]


def _derivatives(step: Step, index: tuple[int, ...]) -> list[torch.Tensor] | None:
    """Differentiate each output of the forward step by one number of an operand, in float64."""
    import torch

    assert step.replay is not None
    of = step.attributes["of"]
    with torch.inference_mode(False), torch.enable_grad():
        operands: dict[str, torch.Tensor] = {}
        for role, value in step.values.items():
            if role.split(".")[0] != "gradient":
                tensor = value.tensor()
                operands[role] = tensor.double() if tensor.is_floating_point() else tensor

        def outputs(operand: torch.Tensor) -> list[torch.Tensor]:
            assert step.replay is not None
            return list(step.replay({**operands, of: operand}))

        if step.kind == "copy_gradient" and of == "self":  # all of it is overwritten
            return [torch.zeros_like(y) for y in outputs(operands[of])]
        for way in (_column_backward, _column_alone):
            try:
                columns = [column.detach() for column in way(outputs, operands[of], index)]
                if any(bool(column.isnan().any()) for column in columns):
                    operands = {role: _tame(operand) for role, operand in operands.items()}
                    tame = way(outputs, operands[of], index)
                    columns = [
                        _only_where(column, other.detach() != 0, index, operands[of])
                        for column, other in zip(columns, tame, strict=True)
                    ]
                return [column.cpu() for column in columns]
            except (RuntimeError, ValueError):
                continue  # PyTorch has no such derivative for this operator
    return None


def _tame(operand: torch.Tensor) -> torch.Tensor:
    """Return numbers of the same shape without NaN and infinity: which ones does not matter."""
    import torch

    if not operand.is_floating_point():
        return operand
    generator = torch.Generator().manual_seed(0)
    drawn = torch.rand(operand.shape, generator=generator, dtype=torch.float64).to(operand) + 0.5
    return torch.where(operand.isfinite(), operand, drawn)


def _only_where(
    column: torch.Tensor, depends: torch.Tensor, index: tuple[int, ...], operand: torch.Tensor
) -> torch.Tensor:
    """Keep the NaN of a column where the output depends on the number that it is a column of.

    NaN elsewhere is 0 x NaN: PyTorch multiplies the derivatives of all other numbers by 0.
    """
    depends = depends.clone()
    if column.shape == operand.shape:
        depends[index] = True
    return column.masked_fill(column.isnan() & ~depends, 0.0)


def _column_backward(
    outputs: Callable[[torch.Tensor], list[torch.Tensor]],
    operand: torch.Tensor,
    index: tuple[int, ...],
) -> Sequence[torch.Tensor]:
    """Differentiate what a cotangent becomes when it is pulled back, by the cotangent."""
    import torch

    operand = operand.detach().requires_grad_()
    made = outputs(operand)
    cotangents = [torch.zeros_like(y, requires_grad=True) for y in made]
    (pulled,) = torch.autograd.grad(made, operand, cotangents, create_graph=True)
    if not pulled.requires_grad:
        return [torch.zeros_like(y) for y in cotangents]
    return torch.autograd.grad(pulled[index], cotangents, allow_unused=True, materialize_grads=True)


def _column_alone(
    outputs: Callable[[torch.Tensor], list[torch.Tensor]],
    operand: torch.Tensor,
    index: tuple[int, ...],
) -> Sequence[torch.Tensor]:
    """Differentiate the output at the same position, if nothing else depends on the number."""
    import torch

    operand = operand.detach().requires_grad_()
    (made,) = outputs(operand)
    if made.shape != operand.shape:
        raise ValueError(_TANGLED)
    (own,) = torch.autograd.grad(made[index], operand, retain_graph=True)
    (every,) = torch.autograd.grad(made.sum(), operand)
    column = torch.zeros_like(own)
    column[index] = own[index]
    if not torch.equal(own, column) or every[index] != own[index]:
        raise ValueError(_TANGLED)
    return [column]


def _factor(step: Step, place: tuple[int, ...]) -> Address | None:
    """Return the address of a derivative that is a number of the trace: the other factor."""
    other = step.values.get({"self": "other", "other": "self"}.get(step.attributes["of"], ""))
    if step.kind != "mul_gradient" or other is None:
        return None
    return Address(other.name, broadcast(place, other.shape))


def _slack(step: Step, factors: Any, values: Any) -> float:
    """Bound what the framework's own derivatives can be off by.

    They are rounded in the format of the gradient. Those of a curve, such as a GELU, are made of
    numbers about as large as 1, also where they come out small.
    """
    if step.arithmetic is None or not len(values):
        return 0.0
    unit = FORMATS[step.arithmetic.result].unit
    sizes = np.abs(factors)
    if step.status == "gates":
        sizes = sizes + 1.0
    if "norm" in step.kind:
        value = step.values[step.attributes["of"]]
        of = value.box((slice(None),) * len(value.shape)).astype(np.float64)
        of = of[np.isfinite(of)] if np.isfinite(of).any() else np.zeros(1)
        with np.errstate(all="ignore"):
            spread = float(of.std()) if of.size > 1 else 0.0
            sizes = (sizes + sizes.max()) * (2 + float(np.abs(of).max()) / (spread or 1.0)) ** 2
    with np.errstate(all="ignore"):
        size = float((sizes * np.abs(values)).sum())
    return 16 * unit * size if np.isfinite(size) else 0.0
