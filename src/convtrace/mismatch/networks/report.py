"""The answer of `ct.diff` for two networks: where they part, why there, and what it makes of it."""

from __future__ import annotations

from dataclasses import dataclass

from convtrace.mismatch.networks.align import By
from convtrace.mismatch.report import Cause, Note, Report, Written
from convtrace.receipt import Receipt, Verdict


@dataclass(frozen=True)
class Pair:
    """A step of the reference and the step of mine that stands for it.

    Both are computed from the same numbers, so that what went wrong before does not blur them.

    Attributes:
        reference: Name of the step of the reference.
        mine: Name of the step of mine.
        kind: Kind of the reference's step.
        mine_kind: Kind of mine.
        by: What they were paired by: `name`, `weights`, `numbers`, `order` or `place`.
        verdict: `exact`: equal bit by bit. `rounding`: what sets them apart is inside the bound.
            `mismatch`: it is not. `nonfinite`: NaN and infinity, the same on both sides. None:
            the step could not be judged, and a note says why.
        ratio: Largest residual / bound.
        inside: Share of the numbers inside their bound, 0 to 1.
        outside: How many are not.
        size: Root of the mean square of residual / (what is usual); NaN where nothing is usual.
        count: Number of numbers.
        shape: Shape of the reference's output.
        mine_shape: Shape of mine.
        with_reference: Steps of the reference that are judged together with this one.
        with_mine: Steps of mine that are.
        fed: Whose recorded numbers both were given: `mine`, `reference` or `both`, one after the
            other; empty if none.
        difference: Largest |mine − reference| of the recorded numbers, with all that came from
            before; NaN where shapes differ.
        scale: Root of the mean square of the reference's numbers.
        proved: Whether the bound is proved, not estimated.
        own: Whether mine's numbers are what its own weights and settings give; None if unknown.
        worst: Position of the number that is furthest out.
        note: Why it could not be judged, or None.
    """

    reference: str
    mine: str
    kind: str
    mine_kind: str
    by: By
    verdict: Verdict | None
    ratio: float
    inside: float
    size: float
    count: int
    shape: tuple[int, ...]
    mine_shape: tuple[int, ...]
    outside: int = 0
    with_reference: tuple[str, ...] = ()
    with_mine: tuple[str, ...] = ()
    fed: str = ""
    difference: float = float("nan")
    scale: float = float("nan")
    proved: bool = True
    own: bool | None = None
    worst: tuple[int, ...] = ()
    note: Note | None = None


@dataclass(frozen=True)
class ModelReport(Written):
    """What `ct.diff` found between two networks.

    Attributes:
        verdict: `exact`: all paired numbers are equal. `rounding`: every step is inside the bound
            of its arithmetic. `mismatch`: a step is not. `nonfinite`: NaN or infinity, the same on
            both sides.
        pairs: The steps that were paired, in the order of the reference.
        first: The first of them that differs by more than rounding can explain, or None.
        causes: What is wrong with that step; one that is proved turns the reference's step into
            mine's numbers.
        report: The report of that step as a single convolution, or None where it is none.
        worst: Receipts of its numbers that are furthest out.
        worst_own: Whether these are mine's own; else they have the reference's weights and
            settings, and mine's inputs and result.
        clues: Remarks on that step: which settings and weights differ, as (catalogue key, values).
        unaligned: Names of steps of the reference that stand for nothing in mine, and of mine.
        outputs: Largest difference of what the two return, and its size next to the reference.
        notes: Remarks as (catalogue key, values).
        names: What the two sides are called.
    """

    verdict: Verdict
    pairs: tuple[Pair, ...] = ()
    first: Pair | None = None
    causes: tuple[Cause, ...] = ()
    report: Report | None = None
    worst: tuple[Receipt, ...] = ()
    clues: tuple[Note, ...] = ()
    unaligned: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    outputs: tuple[float, float] | None = None
    notes: tuple[Note, ...] = ()
    names: tuple[str, str] = ("mine", "reference")
    worst_own: bool = False

    @property
    def ok(self) -> bool:
        """Whether no step differs by more than rounding can explain."""
        return self.verdict != "mismatch"

    @property
    def wrong(self) -> tuple[Pair, ...]:
        """The pairs that differ by more than rounding can explain."""
        return tuple(pair for pair in self.pairs if pair.verdict == "mismatch")

    @property
    def unjudged(self) -> tuple[Pair, ...]:
        """The pairs that could not be judged."""
        return tuple(pair for pair in self.pairs if pair.verdict is None)

    def text(self, lang: str | None = None, *, everything: bool = False) -> str:
        """Write the report as plain text.

        Args:
            lang: `en` or `ko`; None takes the locale's.
            everything: Show every pair of steps, not those around the first wrong one alone.
        """
        from convtrace.render.text.diff_models import model_report_text

        return model_report_text(self, lang, everything=everything)

    def __repr__(self) -> str:
        where = f" at {self.first.reference}" if self.first else ""
        named = ", ".join(cause.id for cause in self.causes)
        return f"ModelReport({self.verdict}{where}, {named or 'no cause'}, {len(self.pairs)} pairs)"
