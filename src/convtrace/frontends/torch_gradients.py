"""Drafts of the steps of a backward pass: one for each gradient that a step sent to an operand.

A gradient is explained by the forward step that it comes back through: each number of it is a sum
over the numbers that it went into, of their gradients times a derivative. So the operators that
PyTorch happened to run backwards are no steps for a reader; they made the numbers that are checked.

What a gradient is called:

    conv1.grad              the gradient that arrives at what conv1 returned
    conv1.weight.grad       the same of a parameter; input.grad of an input
    input.grad@conv1        the part that comes back through conv1, where there are other parts
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from convtrace.frontends.torch_backward import BackwardRecorder, Key, NodeRun, begins
from convtrace.frontends.torch_drafts import Draft, plain_arithmetic
from convtrace.frontends.torch_nodes import FOLDED, ends_of_writes, steps_of_nodes
from convtrace.frontends.torch_record import Held, ModuleCall
from convtrace.frontends.torch_replay import Replay
from convtrace.frontends.torch_through import Through, through_view, through_write

_READS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "convolution": {"input": ("weight",), "weight": ("input",), "bias": ()},
    "linear": {"input": ("weight",), "weight": ("input",), "bias": ()},
}
"""By kind of the forward step and operand: what its gradient is made of, besides a gradient."""

_VIEW = "AsStridedBackward0"
"""What PyTorch calls a view of a tensor that was written to."""


@dataclass(eq=False, slots=True)
class _Part:
    """A gradient that came back through one step, or through a node that is no step's.

    Attributes:
        raw: The tensor that was sent.
        own: The same numbers under a name of their own.
        whole: Whether nothing else was added to it.
    """

    raw: Held
    own: Held
    whole: bool = False


class Gradients:
    """Turns the nodes that ran backwards into drafts.

    Args:
        recorder: What was recorded.
        drafts: Steps of the forward run.
        known: Name and origin of inputs, parameters and buffers, by `id(tensor)`.

    Attributes:
        drafts: The drafts in the order they ran, each with the number of operators before it.
    """

    def __init__(
        self,
        recorder: BackwardRecorder,
        drafts: Sequence[Draft],
        known: Mapping[int, tuple[str, str]],
    ) -> None:
        self.drafts: list[tuple[int, Draft]] = []
        self._forward = recorder.forward
        self._leaves = recorder.leaves
        self._known = known
        self._by_output = {id(draft.output): draft for draft in drafts}
        self._readers = {
            id(held): (draft, role)
            for draft in reversed(drafts)
            for role, held in draft.operands.items()
        }
        self._made_by = {id(held): record for record in recorder.records for held in record.outputs}
        self._backward = recorder.backward_records
        self._made_at: dict[int, list[Held]] = {}
        for (node, _), held in sorted(self._forward.items(), key=_key):
            self._made_at.setdefault(node, []).append(held)
        self._steps = steps_of_nodes(recorder, self._by_output, self._made_by)
        self._ends = ends_of_writes(recorder, self._steps)
        self._waiting: dict[Key, list[_Part]] = {}
        self._arrived: dict[int, Held] = {}
        self._claimed: set[int] = set()
        for run in recorder.runs:
            self._visit(run)
        for key, parts in self._waiting.items():
            self._stop(key, parts, len(recorder.records))

    # What arrives at a node ----------------------------------------------------------------------

    def _visit(self, run: NodeRun) -> None:
        """Draft what arrived at a node, and what it sent on."""
        step = self._steps.get(run.node)
        arrived: list[tuple[Held, Held]] = []
        for output, gradient in enumerate(run.arrived):
            key = (run.node, output)
            target = self._forward.get(key)
            inside = step is not None and step.kind in FOLDED and target is not step.output
            if gradient is None or inside or self._is_copied_input(key):
                continue
            own = self._arrive(key, gradient, run.turn)
            arrived.append((gradient, own))
            if target is not None:
                self._arrived[id(target)] = own
        taken: set[str] = set()
        for key, gradient in run.sent:
            inside = step is not None and self._steps.get(key[0]) is step
            if inside or self._is_copied_input(key):
                continue  # from one operator of a step to another, or out of the run
            part = _Part(gradient, self._claim(gradient))
            self._waiting.setdefault(key, []).append(part)
            self._send(run, step, key, part, arrived, taken)

    def _is_copied_input(self, key: Key) -> bool:
        """Whether an edge leads to the tensor that an input of the run was copied from."""
        held = self._forward.get(key)
        if held is None or key[0] not in self._leaves:
            return False
        return id(held.tensor) not in self._known and id(held) not in self._readers

    def _arrive(self, key: Key, gradient: Held, turn: int) -> Held:
        """Draft how a gradient that arrives was put together; return its own record."""
        waiting = self._waiting.pop(key, [])
        parts, others = self._split(gradient, waiting)
        if parts is not None:
            if others:
                self._stop(key, others, turn)
            return self._join(key, parts, gradient, turn)
        maker = self._made_by.get(id(gradient))
        own = self._claim(gradient)
        if waiting:  # a hook of the model's own changed it
            self._draft("hook", {str(n): p.own for n, p in enumerate(waiting)}, own, key, turn)
        elif maker is not None and begins(maker, {id(gradient)}):
            self._draft("gradient_start", {}, own, key, turn)
        else:  # given to `backward`
            own = _again(gradient) if own is gradient else own
            self._draft("gradient_passed", {"gradient": gradient}, own, key, turn)
        return own

    def _stop(self, key: Key, parts: list[_Part], turn: int) -> None:
        """Name gradients at which a backward pass stopped (`torch.autograd.grad`)."""
        raws = {id(part.raw) for part in parts}
        for made, record in self._made_by.items():
            total = next((held for held in record.outputs if id(held) == made), None)
            if len(parts) > 1 and total is not None and made not in raws:
                found, others = self._split(total, parts)
                if found is not None and not others:
                    self._join(key, found, total, turn)
                    return
        if len(parts) == 1:
            self._join(key, parts, parts[0].raw, turn)

    def _split(self, total: Held, waiting: list[_Part]) -> tuple[list[_Part] | None, list[_Part]]:
        """Tell which parts add up to a gradient, and which do not belong to it."""
        parts: list[_Part] = []
        others = list(waiting)
        for summand in self._summands(total, {id(part.raw) for part in waiting}):
            found = next((part for part in others if part.raw is summand), None)
            if found is None:
                return None, waiting
            others.remove(found)
            parts.append(found)
        return parts, others

    def _summands(self, held: Held, known: set[int]) -> list[Held]:
        """List what autograd added to get a gradient; the gradient itself if it did not add."""
        record = self._made_by.get(id(held))
        if id(held) in known or record is None:
            return [held]
        if record.op not in ("aten::add", "aten::add_") or id(record) not in self._backward:
            return [held]
        summands = [record.read[id(tensor)] for tensor in record.args[:2]]
        return [one for summand in summands for one in self._summands(summand, known)]

    def _join(self, key: Key, parts: list[_Part], gradient: Held, turn: int) -> Held:
        """Name the only part, or draft the sum of several."""
        if len(parts) == 1:
            parts[0].whole = True
            return parts[0].own
        own = self._claim(gradient)
        operands = {str(number): part.own for number, part in enumerate(parts)}
        self._draft("gradient_sum", operands, own, key, turn)
        return own

    # What a node sends ---------------------------------------------------------------------------

    def _send(
        self,
        run: NodeRun,
        step: Draft | None,
        key: Key,
        part: _Part,
        arrived: list[tuple[Held, Held]],
        taken: set[str],
    ) -> None:
        """Draft a gradient that was sent to an operand of a step."""
        target = self._forward.get(key)
        role = None
        if step is not None:
            free = (r for r, held in step.operands.items() if held is target and r not in taken)
            role = next(free, None)
            taken.add(role or "")
        passed = next((own for raw, own in arrived if raw is part.raw), None)
        gradients = [own for _, own in arrived]
        kind, operands, attributes = run.name, _numbered(gradients), dict[str, Any]()
        arithmetic, replay = plain_arithmetic(part.own), None
        if step is not None and role is not None and step.kind in _READS:
            gradient = self._arrived.get(id(step.output))
            reads = _READS[step.kind][role]
            operands = {"gradient": gradient} if gradient is not None else operands
            operands |= {name: step.operands[name] for name in reads}
            kind, attributes = f"{step.kind}_gradient", {**step.attributes, "of": role}
            arithmetic = _in_the_format_of(part.own, step) or arithmetic
        elif passed is not None:
            kind, operands = "gradient_passed", {"gradient": passed}
        elif (
            step is not None and target is not None and (step.kind == "write" or run.name == _VIEW)
        ):
            if through := self._through(run, step, target):
                kind, replay = f"{through.kind}_gradient", _listed(through.replay)
                attributes = {"of": through.of}
                gradient = self._arrived.get(id(step.output))
                operands = {"gradient": gradient} if gradient is not None else operands
                operands |= through.operands
        elif step is not None and role is not None and step.replay is not None:
            steps = [step] if step.kind in FOLDED else self._outputs(run.node)
            kind, attributes = f"{step.kind}_gradient", {**step.attributes, "of": role}
            operands = _numbered([self._arrived[id(one.output)] for one in steps]) | step.operands
            replay = _replay(steps)
        attributes.pop("output", None)
        self.drafts.append(
            (
                run.turn,
                Draft(
                    kind,
                    attributes,
                    operands,
                    part.own,
                    step.call if step else ModuleCall(None),
                    "backward",
                    arithmetic,
                    replay,
                    label=self._label(key, part, step, run.name),
                ),
            )
        )

    def _through(self, run: NodeRun, step: Draft, target: Held) -> Through | None:
        """Say how a tensor that shares memory follows from one that its gradient goes to."""
        if run.name == _VIEW and step.kind != "write":
            return through_view(target, step.output)
        ends = self._ends[id(step)]
        if sum(held is target for held in ends) > 1:
            return None  # in parts, and which part is which cannot be told
        return through_write(step, target, ends, self._by_output)

    def _outputs(self, node: int) -> list[Draft]:
        """List the steps that are the outputs of a node, of those that a gradient arrived at."""
        return [
            self._by_output[id(held)]
            for held in self._made_at[node]
            if id(held) in self._by_output and id(held) in self._arrived
        ]

    # Names ---------------------------------------------------------------------------------------

    def _label(self, key: Key, part: _Part, step: Draft | None, name: str) -> Callable[[], str]:
        def label() -> str:
            whole = f"{self._name_of(key)}.grad"
            if part.whole:
                return whole
            return f"{whole}@{step.output.name if step else name}"

        return label

    def _name_of(self, key: Key) -> str:
        """Name the tensor that a gradient is of; the steps of the forward run have their names."""
        held = self._forward.get(key)
        if held is None:
            return "backward"
        if held.name is not None:
            return held.name
        if id(held.tensor) in self._known:
            return self._known[id(held.tensor)][0]
        if id(held) in self._readers:
            draft, role = self._readers[id(held)]
            return f"{draft.output.name}.{role}"
        return "backward"

    def _claim(self, gradient: Held) -> Held:
        """Return the record of a gradient for one name; of a second name, another record."""
        if id(gradient) in self._claimed:
            return _again(gradient)
        self._claimed.add(id(gradient))
        return gradient

    def _draft(
        self, kind: str, operands: dict[str, Held], output: Held, key: Key, turn: int
    ) -> None:
        draft = Draft(
            kind,
            {},
            operands,
            output,
            ModuleCall(None),
            "backward",
            plain_arithmetic(output),
            label=lambda: f"{self._name_of(key)}.grad",
        )
        self.drafts.append((turn, draft))


def _key(item: tuple[Key, Held]) -> Key:
    return item[0]


def _numbered(gradients: Sequence[Held]) -> dict[str, Held]:
    """Give gradients their roles: `gradient`, `gradient.1` and so on."""
    return {f"gradient.{n}" if n else "gradient": held for n, held in enumerate(gradients)}


def _replay(steps: Sequence[Draft]) -> Callable[[Mapping[str, Any]], Any]:
    """Return what runs a step again, with all of its outputs that a gradient arrived at."""
    replays = [step.replay for step in steps if step.replay is not None]

    def replay(operands: Mapping[str, Any]) -> Any:
        return [one(operands) for one in replays]

    return replay


def _listed(replay: Replay) -> Callable[[Mapping[str, Any]], Any]:
    """Return what runs a step of one output again, as a list of its outputs."""
    return lambda operands: [replay(operands)]


def _in_the_format_of(gradient: Held, step: Draft) -> Any:
    """Return the arithmetic of a convolution or linear layer, stored in the gradient's format."""
    if step.arithmetic is None or not gradient.tensor.is_floating_point():
        return None
    result = str(gradient.tensor.dtype).removeprefix("torch.")
    return replace(step.arithmetic, result=result)


def _again(held: Held) -> Held:
    """Hold the same numbers once more, for another name."""
    again = Held(held.tensor)
    again.saved, again.version = held.saved, held.version
    return again


def in_order(
    recorder: BackwardRecorder, drafts: Sequence[Draft], gradients: Sequence[tuple[int, Draft]]
) -> list[Draft]:
    """Put the steps of both passes in the order they ran: a later step may read a gradient."""
    turns = {id(held): n for n, record in enumerate(recorder.records) for held in record.outputs}
    turn, ordered = 0, list[tuple[int, Draft]]()
    for draft in drafts:
        turn = turns.get(id(draft.output), turn)
        ordered.append((turn, draft))
    return [draft for _, draft in sorted([*ordered, *gradients], key=lambda item: item[0])]
