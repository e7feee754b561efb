"""A drawing as PDF, by cairosvg, with one named font that has every letter."""

from __future__ import annotations

import re
from typing import Any

from convtrace.errors import MissingDependencyError
from convtrace.render.drawing.scene import Scene
from convtrace.render.pictures.drawn import receipt_scene, renderer, split_scene, trace_scene
from convtrace.render.pictures.fonts import family_for, settled
from convtrace.render.pictures.svg import svg

cairosvg: Any
try:
    import cairosvg  # pyright: ignore[reportMissingTypeStubs]  # it has none
except OSError as error:  # it is installed, but the library that it calls is not
    raise MissingDependencyError(
        "a .pdf needs the cairo library, which is not installed\n"
        "  apt-get install libcairo2, or brew install cairo"
    ) from error

_DATE = re.compile(rb"/(CreationDate|ModDate) \(D:[^)]*\)")


def pdf_bytes(scene: Scene) -> bytes:
    """Write a drawing as a PDF file, the same bytes each time.

    Raises:
        MissingDependencyError: No font has all letters.
    """
    family = family_for(label.text for label in scene.labels)
    text = svg(settled(scene, family), fonts=(family,))
    made: bytes = cairosvg.svg2pdf(bytestring=text.encode("utf-8"))
    return _DATE.sub(_same_date, made)


def _same_date(found: re.Match[bytes]) -> bytes:
    """Replace a date by another one of the same length, so that nothing in the file moves."""
    head = b"/" + found[1] + b" (D:20000101000000Z"
    return head + b" " * (len(found[0]) - len(head) - 1) + b")"


receipt_pdf = renderer(receipt_scene, pdf_bytes)
trace_pdf = renderer(trace_scene, pdf_bytes)
split_pdf = renderer(split_scene, pdf_bytes)
