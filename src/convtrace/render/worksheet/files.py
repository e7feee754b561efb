"""Worksheets as files: HTML to be printed or filled in, and PDF."""

from __future__ import annotations

import io
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from convtrace.errors import MissingDependencyError
from convtrace.render.drawing.scene import Box, Label, Scene
from convtrace.render.drawing.theme import parse
from convtrace.render.pictures.fonts import family_for, settled
from convtrace.render.worksheet.markup import document
from convtrace.render.worksheet.sheet import PAGE, Worksheet, pages


def worksheets_html(sheets: Sequence[Worksheet], *, lang: str = "en") -> bytes:
    """Write worksheets as one HTML file; it loads nothing from anywhere."""
    return document(sheets, lang).encode("utf-8")


def worksheets_pdf(sheets: Sequence[Worksheet], *, lang: str = "en") -> bytes:
    """Write worksheets as PDF, with text that can be selected.

    Raises:
        MissingDependencyError: cairo, or a font with all letters, is not installed.
    """
    cairo = _cairo()
    scenes = list(pages(sheets, lang))
    family = family_for(label.text for scene in scenes for label in scene.labels)
    stream = io.BytesIO()
    surface = cairo.PDFSurface(stream, *PAGE)
    surface.set_metadata(cairo.PDF_METADATA_TITLE, scenes[0].title)
    surface.set_metadata(cairo.PDF_METADATA_CREATE_DATE, "2000-01-01T00:00:00Z")  # the same always
    context = cairo.Context(surface)
    for scene in scenes:
        _draw(settled(scene, family), context, cairo, family)
        surface.show_page()
    surface.finish()
    return stream.getvalue()


def _cairo() -> ModuleType:
    try:
        import cairocffi  # pyright: ignore[reportMissingTypeStubs]  # it ships none
    except ImportError:
        raise
    except OSError as error:
        raise MissingDependencyError(
            f".pdf needs the library cairo, which is not installed\n  {error}\n"
            "  On Debian: apt install libcairo2. Or write .html and print it from a browser."
        ) from error
    return cairocffi


def _draw(scene: Scene, context: Any, cairo: ModuleType, family: str) -> None:
    """Draw the shapes of a page."""
    for shape in scene.shapes:
        if isinstance(shape, Label):
            _write(shape, context, cairo, family)
            continue
        context.new_path()
        if isinstance(shape, Box):
            context.rectangle(shape.x, shape.y, shape.width, shape.height)
            if shape.fill:
                _ink(context, shape.fill)
                context.fill_preserve()
            if shape.stroke:
                _stroke(context, shape.stroke, shape.weight, dashed=shape.dashed)
            continue
        for line in shape.lines:
            context.move_to(*line[0])
            for point in line[1:]:
                context.line_to(*point)
        if shape.filled:
            _ink(context, shape.ink)
            context.fill()
        else:
            _stroke(context, shape.ink, shape.weight, dashed=shape.dashed)


def _write(label: Label, context: Any, cairo: ModuleType, family: str) -> None:
    weight = cairo.FONT_WEIGHT_BOLD if label.bold else cairo.FONT_WEIGHT_NORMAL
    context.select_font_face(label.font or family, cairo.FONT_SLANT_NORMAL, weight)
    context.set_font_size(label.size)
    _ink(context, label.ink)
    wide = context.text_extents(label.text)[4] if label.anchor != "start" else 0.0
    context.move_to(
        label.x - wide * {"start": 0.0, "middle": 0.5, "end": 1.0}[label.anchor], label.y
    )
    context.show_text(label.text)


def _stroke(context: Any, ink: str, weight: float, *, dashed: bool) -> None:
    _ink(context, ink)
    context.set_line_width(weight)
    context.set_dash([3.0, 2.0] if dashed else [])
    context.stroke()


def _ink(context: Any, colour: str) -> None:
    context.set_source_rgb(*(part / 255 for part in parse(colour)))
