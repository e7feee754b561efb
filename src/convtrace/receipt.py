"""The receipt: every multiplication that made one number, and what its sum certifies."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from convtrace.address import Address
from convtrace.arithmetic import Arithmetic
from convtrace.step import Number, Status

Verdict = Literal["exact", "rounding", "mismatch", "nonfinite"]
"""`exact`: the reported value is the correctly rounded exact sum. `rounding`: it lies inside the
bound of the arithmetic that ran. `mismatch`: outside. `nonfinite`: NaN or infinity, explained."""


@dataclass(frozen=True, slots=True)
class Term:
    """One multiplication of a receipt.

    Attributes:
        weight: The factor that belongs to the layer.
        value: The factor that comes from below; 0 on padding.
        product: `weight * value`; 0 on padding.
        source: Address of `value`, or None on padding.
        weight_address: Address of `weight`, or None where it is no stored number.
        channel: Input channel that the term belongs to.
        position: Position in the arrays of the receipt.
    """

    weight: Number
    value: Number
    product: Number
    source: Address | None
    weight_address: Address | None
    channel: int
    position: tuple[int, ...]


class Layout(Protocol):
    """Where the numbers of a receipt's arrays come from."""

    @property
    def channels(self) -> Sequence[int]:
        """Input channel of each entry of the first axis."""
        ...

    def source(self, position: tuple[int, ...]) -> Address | None:
        """Address of `inputs[position]`, or None on padding."""
        ...

    def weight(self, position: tuple[int, ...]) -> Address | None:
        """Address of `weights[position]`, or None where it is no stored number."""
        ...


@dataclass(frozen=True)
class Receipt:
    """Every multiplication that made one number.

    The arrays share one shape: input channels of the group first, then the kernel's axes, e.g.
    `(C_in / groups, kH, kW)`. They hold float64, or integers for integer layers.

    Attributes:
        address: The number that is explained.
        kind: Kind of the step, e.g. `convolution`.
        status: What the step is: `linear`, `selects`, `gates` or `opaque`.
        inputs: Values read from below; 0 on padding.
        weights: Factors of the layer.
        products: `weights * inputs`; 0 on padding.
        present: False where a term falls on padding.
        layout: Addresses of all of these.
        bias: The bias, or None where there is none.
        bias_address: Its address.
        exact: The sum of products and bias without error, rounded once, to float64. An `int`
            for integer layers.
        bound: The most by which the arithmetic that ran can be off, in the unit of the numbers.
        typical: The size that its error usually has.
        reported: The value that the framework returned.
        residual: `reported - exact`.
        verdict: What that says. None where nothing could be certified: an opaque step, or a
            number that was given and not computed.
        arithmetic: The arithmetic that `bound` assumes.
        reporter: Who returned `reported`: `torch`, `onnxruntime`, or `observed`.
        culprits: Positions of the terms that brought in NaN or infinity.
        notes: Remarks as (catalogue key, values).
    """

    address: Address
    kind: str
    status: Status
    inputs: NDArray[Any]
    weights: NDArray[Any]
    products: NDArray[Any]
    present: NDArray[np.bool_]
    layout: Layout
    bias: Number | None
    bias_address: Address | None
    exact: Number
    bound: float
    typical: float
    reported: Number
    residual: Number
    verdict: Verdict | None
    arithmetic: Arithmetic | None = None
    reporter: str = "torch"
    culprits: tuple[tuple[int, ...], ...] = ()
    notes: tuple[tuple[str, dict[str, Any]], ...] = ()

    @cached_property
    def terms(self) -> list[Term]:
        """All terms: input channel slowest, last kernel axis fastest."""
        channels = self.layout.channels
        return [
            Term(
                weight,
                value,
                product,
                self.layout.source(position),
                self.layout.weight(position),
                channels[position[0]],
                position,
            )
            for position, weight, value, product in zip(
                np.ndindex(self.products.shape),
                self.weights.ravel().tolist(),
                self.inputs.ravel().tolist(),
                self.products.ravel().tolist(),
                strict=True,
            )
        ]

    @cached_property
    def channel_sums(self) -> NDArray[Any]:
        """Sum of the products of each input channel, shape `(C_in / groups,)`.

        Each is added without error and rounded once, so that what is shown adds up.
        """
        rows = self.products.reshape(self.products.shape[0], math.prod(self.products.shape[1:]))
        if self.products.dtype.kind in "iuO":
            return np.array([sum(row) for row in rows.tolist()], dtype=self.products.dtype)
        return np.array([_add(row) for row in rows.tolist()], dtype=self.products.dtype)

    def term(self, position: tuple[int, ...]) -> Term:
        """Return the term at one position of the arrays."""
        at = tuple(slice(p, p + 1) for p in position)
        return Term(
            self.weights[at].ravel().tolist()[0],
            self.inputs[at].ravel().tolist()[0],
            self.products[at].ravel().tolist()[0],
            self.layout.source(position),
            self.layout.weight(position),
            self.layout.channels[position[0]],
            position,
        )

    def text(self, lang: str | None = None, *, limit: int | None = 64) -> str:
        """Write the receipt as plain text.

        Args:
            lang: `en` or `ko`; None takes the locale's.
            limit: Most terms to show; None shows all.
        """
        from convtrace.render.text.receipt import receipt_text

        return receipt_text(self, lang=lang, limit=limit)

    def save(
        self,
        file: str | os.PathLike[str],
        *,
        lang: str | None = None,
        theme: str = "light",
        **options: Any,
    ) -> None:
        """Write the receipt to a file; its suffix picks the form, e.g. `why.svg`.

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

        save("receipt", self, file, lang=lang, theme=theme, **options)

    def _repr_html_(self) -> str:
        from convtrace.render.page.frame import receipt_frame

        return receipt_frame(self)

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return (
            f"Receipt({self.address} = {self.reported}: {self.products.size} terms, "
            f"exact {self.exact}, residual {self.residual}, {self.verdict or self.status})"
        )


def _add(row: list[Any]) -> Number:
    if any(isinstance(number, complex) for number in row):
        return complex(
            _add([complex(number).real for number in row]),
            _add([complex(number).imag for number in row]),
        )
    try:
        return math.fsum(row)
    except (OverflowError, ValueError):
        with np.errstate(all="ignore"):
            return float(np.sum(np.array(row)))
