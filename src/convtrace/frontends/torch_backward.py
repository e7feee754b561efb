"""Watching a backward pass: which gradient arrived where, and through which step it came.

Autograd keeps a node for every operator of the forward run, with an edge to the node of each
tensor that the operator read. A hook on each node sees two things when the backward pass comes by:
the gradients that arrive at the operator's outputs, and those that it sends along its edges. Both
are the very tensors that the recorder holds, so no number is computed or copied here.

Where a tensor was read more than once, autograd adds what the readers send; the sums are seen as
operators like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from convtrace.frontends.torch_record import FunctionCall, Held, Record
from convtrace.frontends.torch_recorder import Recorder
from convtrace.frontends.torch_state import Unchanged

Key = tuple[int, int]
"""An output of an autograd node: number of the node, number of the output."""


@dataclass(eq=False, slots=True)
class NodeRun:
    """One autograd node that ran in a backward pass.

    Attributes:
        node: Number of the node.
        name: What PyTorch calls it, e.g. `ConvolutionBackward0`.
        turn: How many operators had been recorded when it had run.
        arrived: The gradients of its outputs; None for an output that nothing was made of.
        sent: What it sent on, each with the output that it is a gradient of. One tensor may be
            sent twice, and a node may send on what it got.
    """

    node: int
    name: str
    turn: int
    arrived: list[Held | None]
    sent: list[tuple[Key, Held]]


class BackwardRecorder(Recorder):
    """Records a run and the backward passes in it. Use it as a context manager, once.

    Arguments as for `Recorder`.

    Attributes:
        runs: Autograd nodes in the order they ran.
        forward: The tensor of the forward run that each output of a node is.
        calls_of: The public function that a node belongs to, by number, if any.
        formulas: Nodes whose derivative does not follow from the operators that ran: those of
            `torch.autograd.Function`.
        leaves: Nodes of parameters and other tensors that no operator made.
        backward_records: By `id` of a record, the node that it ran for.
    """

    def __init__(
        self,
        state: Unchanged,
        *,
        everything: bool = True,
        on_operator: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(state, everything=everything, on_operator=on_operator)
        self.runs: list[NodeRun] = []
        self.forward: dict[Key, Held] = {}
        self.calls_of: dict[int, FunctionCall] = {}
        self.formulas: set[int] = set()
        self.leaves: set[int] = set()
        self.backward_records: dict[int, int] = {}
        self._state = state
        self._numbers: dict[int, int] = {}
        self._nodes: list[Any] = []  # keeps the nodes, and so their `id`, until the run is over
        self._handles: list[Any] = []

    def __enter__(self) -> Self:
        def before_step(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
            self._state.keep_optimizer(optimizer)

        self._handles.append(register_optimizer_step_pre_hook(before_step))
        return super().__enter__()

    def __exit__(self, *exception: object) -> None:
        try:
            super().__exit__(*exception)
        finally:
            # The hooks refer to this recorder, and it to the nodes.
            for handle in self._handles:
                handle.remove()
            self._handles.clear()
            self._nodes.clear()
            self._numbers.clear()

    def hold(self, tensor: torch.Tensor) -> Held:
        """Return the record of a tensor as it is now, and watch the node that made it."""
        before = len(self.records)
        held = super().hold(tensor)
        self._mark(before)  # memory that a derivative overwrote
        self._note(tensor, held)
        return held

    def call_function(self, function: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
        """Run a public function; nodes that it made are watched before a backward pass begins."""
        self._settle()
        return super().call_function(function, args, kwargs)

    def _settle(self) -> None:
        for held in self._pending:
            self._note(held.tensor, held)  # autograd gives a tensor its node after the operator
        super()._settle()

    def _record(self, operator: Any, facts: Any, args: Any, kwargs: Mapping[str, Any]) -> Any:
        before = len(self.records)
        result = super()._record(operator, facts, args, kwargs)
        self._mark(before)
        return result

    def went_through(self, tensor: torch.Tensor) -> bool:
        """Whether a backward pass went through the operator that made a tensor."""
        node: Any = tensor.grad_fn
        return node is not None and any(run.node == self._number(node) for run in self.runs)

    def _mark(self, first: int) -> None:
        """Note which node the newest operators ran for, if they ran in a backward pass."""
        if len(self.records) > first:
            node: Any = torch._C._current_autograd_node()
            if node is not None:
                number = self._number(node)
                self.backward_records |= {id(record): number for record in self.records[first:]}

    def _number(self, node: Any) -> int:
        """Return the number of a node; a new one gets its hook."""
        custom = isinstance(node, torch.autograd.function.BackwardCFunction)
        found = self._numbers.get(id(node))
        if found is not None:
            return found
        number = self._numbers[id(node)] = len(self._nodes)
        self._nodes.append(node)
        if self._function_call is not None:
            self.calls_of[number] = self._function_call
        if custom:
            self.formulas.add(number)
        if _name(node) == "AccumulateGrad":
            variable = node.variable
            self.leaves.add(number)
            self._state.keep([variable])
            self.forward[number, 0] = self._by_id.get(id(variable)) or super().hold(variable)

            def arrive(gradients: tuple[Any, ...]) -> None:
                self._ran(node, (), gradients)

            self._handles.append(node.register_prehook(arrive))
        else:

            def run(sent: tuple[Any, ...], arrived: tuple[Any, ...]) -> None:
                self._ran(node, sent, arrived)

            self._handles.append(node.register_hook(run))
        return number

    def _note(self, tensor: torch.Tensor, held: Held) -> None:
        """Note which output of which node a tensor is."""
        if not tensor.requires_grad or tensor.grad_fn is None:
            return
        fresh = [tensor.grad_fn]
        while fresh:
            node = fresh.pop()
            if id(node) not in self._numbers:
                self._number(node)
                fresh += [before for before, _ in node.next_functions if before is not None]
        self.forward.setdefault((self._number(tensor.grad_fn), tensor.output_nr), held)

    def _ran(self, node: Any, sent: tuple[Any, ...], arrived: tuple[Any, ...]) -> None:
        """Note what a node got and what it sent."""
        edges = [
            ((self._number(target), output), self._held(gradient))
            for gradient, (target, output) in zip(sent, node.next_functions, strict=False)
            if gradient is not None and target is not None
        ]
        got = [None if gradient is None else self._held(gradient) for gradient in arrived]
        run = NodeRun(self._number(node), _name(node), len(self.records), got, edges)
        self.runs.append(run)

    def _held(self, tensor: torch.Tensor) -> Held:
        return self._by_id.get(id(tensor)) or self.hold(tensor)

    @property
    def forward_records(self) -> list[Record]:
        """Operators of the forward run: those that no backward pass ran, nor began with."""
        sent: set[int] = set()
        begun: set[int] = set()
        for run in self.runs:
            begun |= {id(held) for held in run.arrived if held is not None} - sent
            sent |= {id(held) for _, held in run.sent}
        return [
            record
            for record in self.records
            if id(record) not in self.backward_records and not begins(record, begun)
        ]


def begins(record: Record, begun: set[int]) -> bool:
    """Whether an operator made the 1 that a backward pass begins with.

    Args:
        record: The operator.
        begun: By `id`, the gradients that arrived somewhere before any node had sent them.
    """
    return record.op == "aten::ones_like" and any(id(held) in begun for held in record.outputs)


def _name(node: Any) -> str:
    """Return what PyTorch calls a node, e.g. `ConvolutionBackward0`."""
    return str(node.name()).rsplit("::", maxsplit=1)[-1]
