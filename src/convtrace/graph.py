"""The trace: the steps of one run, in order, and the questions it answers."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np

from convtrace.address import Address
from convtrace.naming import Names, address_of
from convtrace.receipt import Receipt
from convtrace.rules import SOFTMAX, rule_of
from convtrace.step import Number, Step, Value, check_index

if TYPE_CHECKING:
    from convtrace.projection import Uses
    from convtrace.split import Split
    from convtrace.widget import TraceWidget


class Parts(NamedTuple):
    """What a frontend read: the steps in the order they ran, and what they did not make.

    Attributes:
        steps: Steps in the order they ran.
        values: Inputs, parameters, buffers and constants.
        aliases: Other names of steps.
        gradients: Steps of backward passes.
    """

    steps: Sequence[Step]
    values: Sequence[Value]
    aliases: Mapping[str, str]
    gradients: Sequence[Step] = ()


class Trace:
    """One run of a network: its steps in the order they ran, and every number in them.

    Made by `convtrace.trace`, `convtrace.from_arrays` and other frontends; not by hand.

    Args:
        parts: Returns what was read; called when the trace is first asked something.
        notes: Remarks on the run.
        output: What the model returned.
        reporter: Who computed the numbers.

    Attributes:
        notes: Remarks on the run, e.g. `compiled`: a compiled model was run eagerly.
        output: What the model returned.
        reporter: Who computed the numbers: `torch`, `onnxruntime`, `observed` or `exact`.
    """

    def __init__(
        self,
        parts: Callable[[], Parts],
        *,
        notes: Sequence[str] = (),
        output: Any = None,
        reporter: str = "torch",
    ) -> None:
        self._read = parts
        self.notes = tuple(notes)
        self.output = output
        self.reporter = reporter

    @cached_property
    def _parts(self) -> Parts:
        parts = self._read()
        del self._read  # and with it what the frontend recorded
        return parts

    @cached_property
    def steps(self) -> Mapping[str, Step]:
        """Steps by name, in the order they ran."""
        return MappingProxyType({step.name: step for step in self._parts.steps})

    @cached_property
    def gradients(self) -> Mapping[str, Step]:
        """Steps of the backward pass by name, in the order they ran, e.g. `conv1.weight.grad`.

        Empty unless the trace was made with `backward=True`.
        """
        return MappingProxyType({step.name: step for step in self._parts.gradients})

    @cached_property
    def inputs(self) -> Mapping[str, Value]:
        """Inputs of the run by name: `input`, `input:2` and so on."""
        return MappingProxyType({v.name: v for v in self._parts.values if v.origin == "input"})

    @cached_property
    def parameters(self) -> Mapping[str, Value]:
        """Parameters, buffers and constants that steps read, by name."""
        return MappingProxyType({v.name: v for v in self._parts.values if v.origin != "input"})

    @cached_property
    def aliases(self) -> Mapping[str, str]:
        """Other names of steps: a module, and the step inside it that made its output."""
        return MappingProxyType(dict(self._parts.aliases))

    @cached_property
    def _names(self) -> Names:
        return Names(self.steps, self.gradients, self.inputs, self.parameters, self.aliases)

    def __repr__(self) -> str:
        convolutions = sum(step.kind == "convolution" for step in self.steps.values())
        return f"Trace({len(self.steps)} steps, {convolutions} of them convolutions)"

    def check(self) -> None:
        """Raise if the steps do not fit together, which only those of a file can fail to do."""

    def step(self, name: str) -> Step:
        """Return the step of this name, or the step that made the output of the module so named.

        Raises:
            UnknownStepError: There is none; the message gives the nearest names.
        """
        return self._names.step(name)

    def value(self, address: str | Address) -> Number:
        """Return one number.

        Args:
            address: E.g. `conv2[0,0,0,0]`, `input[0,0,2,1]` or `conv1.weight[3,0,1,1]`.

        Raises:
            AddressError: The text is not an address.
            UnknownStepError: Nothing has this name.
            OutOfRangeError: The position lies outside the shape.
            TensorChangedError: The tensor was overwritten since the trace.
        """
        at = address_of(address)
        value = self._names.value(at.step)
        check_index(at.step, value.shape, at.index)
        return value.item(at.index)

    def tensor(self, name: str) -> Value:
        """Return a whole tensor: what a step made, an input, a parameter.

        Raises:
            UnknownStepError: Nothing has this name.
        """
        return self._names.value(name)

    def why(self, address: str | Address, index: Sequence[int] | None = None) -> Receipt:
        """Explain one number: every multiplication that made it, certified.

        Args:
            address: E.g. `conv2[0,0,0,0]`, or the name of a step if `index` is given.
            index: Position in the step's output, counted from 0.

        Returns:
            The receipt. For a number that was given and not computed (a pixel, a weight), and for
            a step without a rule, it has no terms and says so.

        Raises:
            AddressError: The text is not an address.
            UnknownStepError: Nothing has this name.
            OutOfRangeError: The position lies outside the shape.
            TensorChangedError: A tensor was overwritten since the trace.

        Example:
            >>> import convtrace as ct
            >>> trace = ct.from_arrays([[[[1.0, 2.0], [3.0, 4.0]]]], [[[[1.0, 10.0]]]])
            >>> receipt = trace.why("conv2d[0,0,1,0]")
            >>> [(str(term.source), term.weight, term.product) for term in receipt.terms]
            [('input[0,0,1,0]', 1.0, 3.0), ('input[0,0,1,1]', 10.0, 40.0)]
            >>> receipt.exact
            43.0
        """
        at = address_of(address, index)
        found = self._names.find_step(at.step)
        if found is None:
            from convtrace.unexplained import without_terms

            value = self._names.value(at.step)
            check_index(at.step, value.shape, at.index)
            return without_terms(value, at, f"given.{value.origin}", {}, self.reporter)
        check_index(at.step, found.shape, at.index)
        rule = rule_of(found).why
        receipt = rule(found, at.index, self.reporter) if rule else None
        if receipt is None:
            from convtrace.unexplained import without_terms

            details = {"kind": found.kind, "operands": ", ".join(found.operands.values())}
            note = "softmax" if found.kind in SOFTMAX else "opaque"
            return without_terms(
                found.value, Address(found.name, at.index), note, details, self.reporter, found
            )
        return receipt

    @overload
    def contributions(
        self,
        address: str | Address,
        *,
        minus: str | Address | None = None,
        at: str | Sequence[str] = (),
        dtype: Any = None,
        on_step: Callable[[], None] | None = None,
    ) -> Split: ...

    @overload
    def contributions(
        self,
        address: list[str] | list[Address] | tuple[str | Address, ...],
        *,
        minus: str | Address | None = None,
        at: str | Sequence[str] = (),
        dtype: Any = None,
        on_step: Callable[[], None] | None = None,
    ) -> tuple[Split, ...]: ...

    def contributions(
        self,
        address: str | Address | Sequence[str | Address],
        *,
        minus: str | Address | None = None,
        at: str | Sequence[str] = (),
        dtype: Any = None,
        on_step: Callable[[], None] | None = None,
    ) -> Split | tuple[Split, ...]:
        """Split numbers exactly over the pixels and the biases of every step below them.

        Args:
            address: The number, e.g. `fc[0,281]`. Or a list: of addresses, and of names of steps,
                which stand for all of their numbers (`["fc"]`: every class).
            minus: Another number to subtract: why this class and not that one.
            at: A step, or several, to stop at instead of going down to the pixels.
            dtype: A dtype to run the network again in, e.g. `torch.float64`; None splits the
                numbers as they were recorded.
            on_step: Called after each step of each walk, e.g. to move a progress bar.

        Returns:
            The split: pixel terms, bias terms, their total, and the residual. Of a list, one
            split for each number, in order.

        Raises:
            AddressError: The text is not an address.
            UnknownStepError: Nothing has this name, or the number was given and not computed.
            OutOfRangeError: The position lies outside the shape.
            NoValueError: A step cannot be run again in `dtype`.
        """
        from convtrace.split import Numbers, split

        alone = isinstance(address, str | Address)
        asked: list[Address] = []
        for one in [address] if isinstance(address, str | Address) else address:
            if not alone and isinstance(one, str) and "[" not in one:
                step = self._names.forward(one)
                asked += [Address(step.name, index) for index in np.ndindex(step.shape)]
            else:
                asked.append(self._names.made(one))
        other = [] if minus is None else [(self._names.made(minus), -1.0)]
        stops = [self._names.forward(name).name for name in ([at] if isinstance(at, str) else at)]
        steps = list(self.steps.values())
        numbers = Numbers(steps, self.inputs, dtype)
        splits = tuple(
            split(steps, numbers, [(one, 1.0), *other], at=stops, on_step=on_step) for one in asked
        )
        return splits[0] if alone else splits

    def uses(
        self,
        address: str | Address,
        *,
        to: str | None = None,
        on_step: Callable[[], None] | None = None,
    ) -> Uses:
        """List every number that one number went into: where a pixel or a weight goes.

        Args:
            address: A pixel, an activation, a weight or a bias.
            to: A step to go on to; None lists what the next steps made of it.
            on_step: Called after each step that was asked, e.g. to move a progress bar.

        Returns:
            Rows of (address, coefficient, product, share), made when they are looked at.

        Raises:
            UnknownStepError: Nothing has this name.
            OutOfRangeError: The position lies outside the shape.
            UsageError: `to` does not depend on the number.
        """
        from convtrace.projection import next_uses, uses_at
        from convtrace.split import Numbers

        at = self._names.given_or_made(address)
        value = self._names.value(at.step)
        steps = list(self.steps.values())
        numbers = Numbers(steps, self.inputs, None)
        if to is None:
            return next_uses(at, value, steps, numbers, on_step)
        return uses_at(at, value, steps, numbers, self._names.forward(to).name, on_step)

    def save(
        self,
        file: str | os.PathLike[str],
        *,
        lang: str | None = None,
        theme: str = "light",
        **options: Any,
    ) -> None:
        """Write the trace to a file; its suffix picks the form, e.g. `page.html`.

        Args:
            file: Name of the file.
            lang: `en` or `ko`; None takes the locale's.
            theme: `light` or `dark`.
            **options: Further options of that form.

        Raises:
            UsageError: There is no such form, or it has no such option; the message lists them.
            FileError: The file could not be written; what was there before is unchanged.
        """
        from convtrace.render.table import save

        save("trace", self, file, lang=lang, theme=theme, **options)

    def widget(
        self,
        *,
        lang: str | None = None,
        theme: str = "light",
        start: str | None = None,
        title: str | None = None,
    ) -> TraceWidget:
        """Show the trace in a notebook, with live access to every number of it.

        Args:
            lang: `en` or `ko`; None takes the locale's.
            theme: `light` or `dark`.
            start: Address of the number to show first; None: the first convolution's.
            title: Name of what ran.

        Returns:
            The widget. Its `selected` is the address that the reader looks at; set it to show
            another number. Its `receipt` is the receipt of that number.

        Raises:
            MissingDependencyError: `pip install "convtrace[widget]"` brings what it needs.
        """
        from convtrace.catalog import choose_language
        from convtrace.widget import TraceWidget

        return TraceWidget(self, lang=choose_language(lang), theme=theme, start=start, title=title)

    def _repr_html_(self) -> str:
        from convtrace.render.page.frame import trace_frame

        return trace_frame(self)

    def first_nonfinite(self) -> Receipt | None:
        """Find where NaN or infinity began.

        Returns:
            The receipt of the first NaN or infinity of the run: of an input, if it came in with
            one, else of the first number that a step made; its `culprits` and notes say which
            term, bias or overflow brought it in. None where every number is finite.
        """
        for name, value in self.inputs.items():
            index = value.first_nonfinite()
            if index is not None:
                return self.why(Address(name, index))
        for name, step in [*self.steps.items(), *self.gradients.items()]:
            index = step.value.first_nonfinite()
            if index is not None:
                return self.why(Address(name, index))
        return None
