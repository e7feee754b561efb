"""Traces from files: `convtrace.load`. Neither the model nor PyTorch is needed.

A file may come from a stranger. It is data: every size is checked before memory is taken for it,
every name and shape before it is used, and numbers are mapped into memory, not read.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace import storage
from convtrace.arithmetic import Arithmetic
from convtrace.errors import ConvtraceError, FileFormatError, NoValueError, ShapeError
from convtrace.exact import FORMATS
from convtrace.frontends.saved_file import Archive, broken, open_archive
from convtrace.frontends.saved_replay import replay_of
from convtrace.frontends.saved_values import Stored
from convtrace.graph import Parts, Trace
from convtrace.loading.files import shown
from convtrace.rules import rule_of
from convtrace.rules.checks import check_reads, check_step
from convtrace.step import Number, Step, Unobserved, Value
from convtrace.tables import Coefficients, Curve, Table


def load(file: str | os.PathLike[str]) -> Trace:
    """Open a trace that `trace.save("name.convtrace")` wrote.

    Neither the model nor PyTorch is needed: `why` answers from the numbers and from the tables in
    the file. `contributions` and `uses` walk through whole steps, and import PyTorch for that.

    Args:
        file: Name of the file.

    Returns:
        The trace. Its numbers are read from the file when they are asked for, so leave the file
        where it is. `output` is None.

    Raises:
        MissingFileError: There is no such file.
        FileFormatError: It is cut off, damaged, of another version or no saved trace.

    Example:
        >>> import convtrace as ct
        >>> ct.from_arrays([[[1.0, 2.0, 3.0]]], [[[1.0, 10.0]]]).save("small.convtrace")
        >>> ct.load("small.convtrace").why("conv1d[0,0,1]").exact
        32.0
    """
    path = Path(file)
    archive = open_archive(path)
    reader = _Reader(archive)
    parts = reader.parts()
    document = archive.document
    return OpenedTrace(parts, path, notes=document.notes, reporter=document.reporter)


class OpenedTrace(Trace):
    """A trace that was opened from a file.

    Args:
        parts: What the file holds.
        path: The file.
        notes: Remarks on the run.
        reporter: Who computed the numbers.

    Attributes:
        path: The file.
    """

    def __init__(self, parts: Parts, path: Path, *, notes: list[str], reporter: str) -> None:
        super().__init__(lambda: parts, notes=notes, reporter=reporter)
        self.path = path

    def why(self, address: Any, index: Any = None) -> Any:
        """Explain one number; see `Trace.why`."""
        return self._guarded(super().why, address, index)

    def contributions(self, address: Any, **options: Any) -> Any:
        """Split numbers; see `Trace.contributions`."""
        return self._guarded(super().contributions, address, **options)

    def uses(self, address: Any, **options: Any) -> Any:
        """List where a number goes; see `Trace.uses`."""
        return self._guarded(super().uses, address, **options)

    def check(self) -> None:
        """Raise `FileFormatError` if a step cannot say what it reads."""
        for name, step in self.steps.items():
            try:
                check_reads(step)
            except ShapeError as error:
                raise broken(self.path, f"{name!r} ({step.kind}): {error}") from error

    def _guarded(self, question: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Blame the file, if an answer fails in a way that no file of ours can bring about."""
        try:
            return question(*arguments, **options)
        except (ConvtraceError, MemoryError):
            raise
        except Exception as error:
            reason = str(error).strip().split("\n")[0]
            raise FileFormatError(
                f"{shown(self.path)} does not hold together\n"
                f"  {type(error).__name__}: {reason[:200] or 'no reason given'}\n"
                "  The settings of a step do not fit its kind or its tensors. Save the trace again."
            ) from error


class _Reader:
    """Turns the document of an archive into steps."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._values: dict[str, Value] = {}

    def parts(self) -> Parts:
        """Return what a trace is made of."""
        document = self._archive.document
        others = [self._value(saved) for saved in (*document.inputs, *document.parameters)]
        everything = [*document.steps, *document.gradients]
        for saved in everything:
            self._add(saved)
        steps = {saved.name: self._step(saved) for saved in everything}
        for alias, name in document.aliases.items():
            if name not in self._values:
                raise broken(self._archive.path, f"the alias {alias!r} names nothing")
        return Parts(
            [steps[saved.name] for saved in document.steps],
            others,
            document.aliases,
            [steps[saved.name] for saved in document.gradients],
        )

    def _value(self, saved: storage.SavedTensor) -> Value:
        if saved.name in self._values:
            raise broken(self._archive.path, f"two tensors are called {saved.name!r}")
        value = Stored(saved, self._archive.tensor(saved))
        self._values[saved.name] = value
        return value

    def _add(self, saved: storage.SavedStep) -> None:
        """Make the output of a step known; one that nobody observed is computed when asked for."""
        if saved.output.name != saved.name:
            raise broken(self._archive.path, f"{saved.name!r} makes {saved.output.name!r}")
        if saved.observed:
            self._value(saved.output)
            return
        if saved.output.dtype not in (*FORMATS, "int64"):
            raise broken(self._archive.path, f"{saved.name!r} makes {saved.output.dtype!r}")
        self._archive.check_shape(saved.output)
        if saved.name in self._values:
            raise broken(self._archive.path, f"two tensors are called {saved.name!r}")

        def compute(index: tuple[int, ...]) -> Number:
            step = self._made[saved.name]
            rule = rule_of(step).why
            receipt = rule(step, index, "exact") if rule else None
            if receipt is None:
                raise NoValueError(f"{saved.name} was not observed, and cannot be computed")
            return receipt.reported

        self._values[saved.name] = Unobserved(
            saved.name, tuple(saved.output.shape), saved.output.dtype, compute
        )

    @functools.cached_property
    def _made(self) -> dict[str, Step]:
        return {}

    def _step(self, saved: storage.SavedStep) -> Step:
        path = self._archive.path
        for role, name in saved.operands.items():
            if name not in self._values:
                raise broken(path, f"{saved.name!r} reads {name!r} as {role}, which is not there")
        try:
            attributes = {name: storage.unpack(value) for name, value in saved.attributes.items()}
            arithmetic = _arithmetic(saved.arithmetic)
        except (ValueError, KeyError, RecursionError) as error:
            raise broken(path, f"settings of {saved.name!r}: {error}") from error
        values = {role: self._values[name] for role, name in saved.operands.items()}
        sources = self._sources(saved, values)
        table = self._table(saved, values)
        step = Step(
            name=saved.name,
            kind=saved.kind,
            attributes=attributes,
            values=values,
            value=self._values[saved.name],
            status=saved.status,
            module=saved.module,
            arithmetic=arithmetic,
            replay=replay_of(saved.name, saved.kind, attributes, sources, saved.move, table),
            sources=sources,
            moved=tuple(saved.move.roles) if saved.move else (),
            table=table,
        )
        try:
            check_step(step)
        except ShapeError as error:
            raise broken(path, f"{saved.name!r} ({saved.kind}): {error}") from error
        self._made[saved.name] = step
        return step

    def _sources(
        self, saved: storage.SavedStep, values: Mapping[str, Value]
    ) -> Callable[[], NDArray[np.int64]] | None:
        move = saved.move
        if move is None:
            return None
        path, shape = self._archive.path, tuple(saved.output.shape)
        missing = [role for role in move.roles if role not in values]
        if missing or not move.roles or (move.axes is None) == (move.table is None):
            raise broken(path, f"{saved.name!r} moves numbers from nowhere")
        total = sum(int(np.prod(values[role].shape, dtype=np.int64)) for role in move.roles)
        axes, table = move.axes, move.table
        if axes is not None and [self._archive.shape(key) for key in axes] != [(n,) for n in shape]:
            raise broken(path, f"the places of {saved.name!r} do not fit its shape {shape}")
        if table is not None and self._archive.shape(table) != shape:
            raise broken(path, f"the places of {saved.name!r} do not fit its shape {shape}")

        @functools.cache
        def places() -> NDArray[np.int64]:
            found = np.asarray(move.first, dtype=np.int64)
            for axis, key in enumerate(axes or ()):
                along = [1] * len(shape)
                along[axis] = -1
                found = found + self._archive.whole_numbers(key).reshape(along)
            if table is not None:
                found = self._archive.whole_numbers(table)
            if found.size and int(found.max()) >= total:
                raise broken(path, f"{saved.name!r} takes a number from beyond its operands")
            return found.astype(np.int64)

        return places

    def _table(self, saved: storage.SavedStep, values: Mapping[str, Value]) -> Table | None:
        if saved.coefficients is not None:
            return self._coefficients(saved, saved.coefficients, values)
        if saved.curve is None:
            return None
        numbers = self._archive.floats(saved.curve.values)
        zeros = self._archive.floats(saved.curve.zeros)
        fits = numbers.shape == tuple(saved.output.shape) and len(zeros.shape) <= numbers.ndim
        if not fits or any(
            a not in (1, b) for a, b in zip(zeros.shape[::-1], numbers.shape[::-1], strict=False)
        ):
            raise broken(self._archive.path, f"the values of {saved.name!r} do not fit its shape")
        return Curve(numbers, zeros)

    def _coefficients(
        self,
        saved: storage.SavedStep,
        held: storage.SavedCoefficients,
        values: Mapping[str, Value],
    ) -> Coefficients:
        path, shape = self._archive.path, tuple(saved.output.shape)
        if any(role not in values for role in held.roles) or len(set(held.roles)) < len(held.roles):
            raise broken(path, f"{saved.name!r} has coefficients of operands that are not there")
        operands = {role: values[role].shape for role in held.roles}
        for output, operand in held.same:
            own = next(iter(operands.values()), ())
            inside = 0 <= output < len(shape) and 0 <= operand < len(own)
            if not inside or shape[output] != own[operand]:
                raise broken(path, f"the coefficients of {saved.name!r} do not fit its shape")
        table = Coefficients(
            shape=shape,
            operands=operands,
            same=tuple(held.same),
            starts=self._archive.whole_numbers(held.starts),
            columns=self._archive.whole_numbers(held.columns),
            weights=self._archive.floats(held.weights),
            fills=self._archive.floats(held.fills),
        )
        try:
            table.check()
        except ValueError as error:
            raise broken(path, f"{saved.name!r}: {error}") from error
        return table


def _arithmetic(saved: storage.SavedArithmetic | None) -> Arithmetic | None:
    if saved is None:
        return None
    for name in (saved.operands, saved.accumulate, saved.result):
        if name not in FORMATS:
            raise ValueError(f"{name!r} is no format of numbers")
    return Arithmetic(
        saved.operands, saved.accumulate, saved.result, saved.partial_sums, saved.flushes
    )
