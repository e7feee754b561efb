"""The JSON documents of a split and of uses; those of receipts and traces are in `document`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

from convtrace.render.documents.document import VERSION, Num, number_of

if TYPE_CHECKING:
    from convtrace.projection import Uses
    from convtrace.split import Split


class TargetDocument(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """One of the numbers that were split.

    Attributes:
        address: The number.
        factor: What it counts for: 1, or -1 for one that is subtracted.
    """

    address: str
    factor: float


class TermsDocument(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A term for each number of a tensor.

    Attributes:
        shape: Sizes of the axes.
        terms: The terms in row-major order.
    """

    shape: list[int]
    terms: list[Num]


class SplitDocument(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """One number as a sum of terms.

    Attributes:
        target: What was split: one number, or a difference.
        reported: The number that the framework returned.
        total: The sum of all terms.
        residual: `reported - total`.
        scale: The sum of the sizes of all terms.
        dtype: Type that the walk computed in.
        inputs: Terms of the inputs, by name.
        stops: Terms of the steps at which the walk stopped, by name.
        biases: What each step added by itself, by name.
        opaque: Those of the stops that have no rule.
        halved: Steps at which a product of two computed numbers was shared in halves.
    """

    target: list[TargetDocument]
    reported: Num
    total: Num
    residual: Num
    scale: Num
    dtype: str
    inputs: dict[str, TermsDocument]
    stops: dict[str, TermsDocument]
    biases: dict[str, Num]
    opaque: list[str]
    halved: list[str]
    format: Literal["convtrace.split"] = "convtrace.split"
    version: int = VERSION


class UseDocument(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """One number that the asked number went into.

    Attributes:
        address: The number that was made.
        coefficient: What the asked number was multiplied with on the way.
        product: What it brought in.
        made: The number that was made.
        share: `product / made`; NaN where that is 0.
    """

    address: str
    coefficient: Num
    product: Num
    made: Num
    share: Num


class UsesDocument(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Where a number goes.

    Attributes:
        source: The number.
        value: Its value.
        steps: Steps that are answered for.
        opaque: Steps that read the number, but have no rule to tell what they did with it.
        uses: Every number that it went into.
    """

    source: str
    value: Num
    steps: list[str]
    opaque: list[str]
    uses: list[UseDocument]
    format: Literal["convtrace.uses"] = "convtrace.uses"
    version: int = VERSION


def split_json(split: Split) -> bytes:
    """Write a split as JSON."""
    return msgspec.json.encode(split_document(split)) + b"\n"


def uses_json(uses: Uses) -> bytes:
    """Write uses as JSON."""
    return msgspec.json.encode(uses_document(uses)) + b"\n"


def split_document(split: Split) -> SplitDocument:
    """Turn a split into its document."""
    return SplitDocument(
        target=[TargetDocument(str(at), float(factor)) for at, factor in split.target],
        reported=number_of(split.reported),
        total=number_of(split.total),
        residual=number_of(split.residual),
        scale=number_of(split.scale),
        dtype=split.dtype,
        inputs=_terms(split.inputs),
        stops=_terms(split.stops),
        biases={name: number_of(added) for name, added in split.biases.items()},
        opaque=list(split.opaque),
        halved=list(split.halved),
    )


def _terms(tensors: Mapping[str, Any]) -> dict[str, TermsDocument]:
    return {
        name: TermsDocument(
            list(tensor.shape),
            list(map(number_of, tensor.detach().double().cpu().reshape(-1).tolist())),
        )
        for name, tensor in tensors.items()
    }


def uses_document(uses: Uses) -> UsesDocument:
    """Turn uses into their document."""
    made = [uses.made[step] for step in uses.steps]
    numbers: list[float] = np.concatenate(made).tolist() if made else []
    return UsesDocument(
        source=str(uses.source),
        value=number_of(uses.value),
        steps=list(uses.steps),
        opaque=list(uses.opaque),
        uses=[
            UseDocument(
                str(use.address),
                number_of(use.coefficient),
                number_of(use.product),
                number_of(number),
                number_of(use.share),
            )
            for use, number in zip(uses, numbers, strict=True)
        ],
    )
