"""The answer of `ct.diff`: a verdict, the causes, the worst elements, and what would be right."""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from convtrace.arithmetic import Arithmetic
from convtrace.receipt import Receipt, Verdict

Note = tuple[str, dict[str, Any]]
"""A remark: a key of the catalogue, and the values of its placeholders."""


@dataclass(frozen=True)
class Cause:
    """One mistake that turns the right output into the observed one.

    Attributes:
        id: What it is, e.g. `kernel.flipped`; the text of it is `diff.cause.<id>` in the catalogue.
        parameters: What it is exactly, e.g. `{"axes": "rows"}`.
        proved: Whether it reproduces every element of the observed output within the bound, and
            nothing else that was tried does, by whatever name.
        share: Share of the elements that it reproduces, 0 to 1.
    """

    id: str
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    proved: bool = False
    share: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", MappingProxyType(dict(self.parameters)))


@dataclass(frozen=True)
class Spread:
    """How the residuals of all elements are spread, in units of `√n·u·Σ|w·x|` of each.

    Attributes:
        size: Root of the mean square of residual / (√n·u·Σ|w·x|).
        mean: Mean of that quotient: what pulls in one direction.
        expected: The size that adding the same terms one after the other gives at most, in this
            arithmetic; simulated on a sample.
        usual: Whether rounding explains `size`, and nothing drifts.
        drift: Share of the values that all residuals have in common, where rounding cannot be what
            made it; 0 where there is none.
    """

    size: float
    mean: float
    expected: float
    usual: bool
    drift: float = 0.0


@dataclass(frozen=True)
class Tolerance:
    """The tolerance that is right for this layer: no correct output fails it.

    Attributes:
        rtol: Relative part.
        atol: Absolute part.
        code: A line to paste into a test.
    """

    rtol: float
    atol: float
    code: str


@dataclass(frozen=True)
class Pattern:
    """What a residual looks like whose cause is unknown.

    Attributes:
        findings: Remarks as (catalogue key, values), most telling first.
        wrong: Number of elements outside the bound.
        count: Number of all elements.
    """

    findings: tuple[Note, ...]
    wrong: int
    count: int


@dataclass(frozen=True)
class Apart:
    """The smallest input found that tells causes apart which this data cannot.

    Attributes:
        x: Input, `(N, C_in, *spatial)`.
        weight: Weights to use with it, or None: those of the layer will do.
        bias: Bias to use with it, or None.
        expected: The right output.
        outputs: What the output is under each explanation, in the order of `explanations`.
        channels: Whether the weights have more channels than the layer's: one hides an order.
    """

    x: Any
    weight: Any
    bias: Any
    expected: Any
    outputs: tuple[Any, ...]
    channels: bool = False


class Written(ABC):
    """What can be written: every report, of one convolution or of two networks."""

    @abstractmethod
    def text(self, lang: str | None = None) -> str:
        """Write it as plain text.

        Args:
            lang: `en` or `ko`; None takes the locale's.
        """

    def save(
        self,
        file: str | os.PathLike[str],
        *,
        lang: str | None = None,
        theme: str = "light",
        **options: Any,
    ) -> None:
        """Write the report to a file; its suffix picks the form: `.txt`, `.json` or `.html`.

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

        save("report", self, file, lang=lang, theme=theme, **options)

    def __str__(self) -> str:
        return self.text()


@dataclass(frozen=True)
class Report(Written):
    """What `ct.diff` found.

    Attributes:
        verdict: `exact`: every element is the correctly rounded sum. `rounding`: every element is
            inside the bound of the arithmetic. `mismatch`: some are not, or all of them together
            lean further than rounding does. `nonfinite`: NaN or infinity, explained by its terms.
        explanations: Each explains the observed output alone; simplest first. One cause, or
            several that act together.
        functions: Which function each explanation computes, counted from 0. Those of one number
            are one function under several names: no input of this layer can tell them apart.
        proved: Whether exactly one function was found that makes the observed output, on evidence
            that rules out chance. It may have several names; each cause is proved if it has one.
        worst: Receipts of the elements that are furthest out, by ratio to their bound.
        inside: Share of the elements inside their bound, 0 to 1; NaN where shapes do not agree.
        count: Number of elements.
        ratio: Largest residual / bound; NaN where nothing could be compared.
        arithmetic: The arithmetic that the bound belongs to.
        tolerance: What to test with; None where nothing could be compared.
        spread: The judgement of all elements together; None for integers.
        pattern: What the residual looks like, where no cause was found.
        apart: What would tell explanations apart, where they compute several functions.
        settings: Hyperparameters of the reference that was compared with.
        found: Names of those that were not given and were searched for.
        shape: Shape of the observed output.
        expected_shape: Shape that the reference has.
        notes: Remarks as (catalogue key, values).
        name: Name of the step.
    """

    verdict: Verdict
    explanations: tuple[tuple[Cause, ...], ...] = ()
    worst: tuple[Receipt, ...] = ()
    inside: float = math.nan
    count: int = 0
    ratio: float = math.nan
    arithmetic: Arithmetic | None = None
    tolerance: Tolerance | None = None
    spread: Spread | None = None
    pattern: Pattern | None = None
    apart: Apart | None = None
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    found: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    expected_shape: tuple[int, ...] = ()
    notes: tuple[Note, ...] = ()
    name: str = ""
    functions: tuple[int, ...] = ()
    proved: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "settings", MappingProxyType(dict(self.settings)))
        if len(self.functions) != len(self.explanations):
            object.__setattr__(self, "functions", tuple(range(len(self.explanations))))
        if len(self.explanations) == 1 and all(cause.proved for cause in self.causes):
            object.__setattr__(self, "proved", True)

    @property
    def causes(self) -> tuple[Cause, ...]:
        """The causes, simplest first.

        With one explanation, its causes act together; `proved` says that they reproduce every
        element. With several, each is one candidate, and none of them is proved.
        """
        listed: list[Cause] = []
        for explanation in self.explanations:
            listed += [cause for cause in explanation if cause not in listed]
        return tuple(listed)

    @property
    def ambiguous(self) -> bool:
        """Whether several explanations fit, so that this data cannot tell which is true."""
        return len(self.explanations) > 1

    @property
    def same(self) -> bool:
        """Whether several explanations fit that are one function under several names."""
        return len(set(self.functions)) == 1 < len(self.explanations)

    @property
    def ok(self) -> bool:
        """Whether the output is right: `exact`, `rounding`, or NaN and infinity as they must be."""
        return self.verdict != "mismatch"

    def text(self, lang: str | None = None) -> str:
        """Write the report as plain text.

        Args:
            lang: `en` or `ko`; None takes the locale's.
        """
        from convtrace.render.text.diff import report_text

        return report_text(self, lang)

    def __repr__(self) -> str:
        named = " or ".join(" + ".join(c.id for c in causes) for causes in self.explanations)
        return f"Report({self.verdict}{', ' + named if named else ''}, {self.count} elements)"
