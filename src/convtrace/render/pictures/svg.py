"""A drawing as SVG: one text, which needs nothing else to be shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape, quoteattr

from convtrace.render.drawing.scene import MM, Box, Label, Scene, Shape, Stroke

FONTS = (
    "Helvetica Neue",
    "Helvetica",
    "Arial",
    "Noto Sans CJK KR",
    "Noto Sans KR",
    "Apple SD Gothic Neo",
    "Malgun Gothic",
    "DejaVu Sans",
    "sans-serif",
)
"""Faces in the order of preference; none of them is wider than `drawing.measure` says."""


def svg(scene: Scene, *, fonts: Sequence[str] = FONTS) -> str:
    """Write a drawing as SVG.

    Args:
        scene: The drawing.
        fonts: Names of faces, the first that the reader has is taken.
    """
    width, height = _n(scene.width), _n(scene.height)
    family = ",".join(f"'{font}'" if " " in font else font for font in fonts)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_n(scene.width * scene.scale / MM)}mm" '
        f'height="{_n(scene.height * scene.scale / MM)}mm" viewBox="0 0 {width} {height}" '
        f'role="img" xml:lang="{scene.lang}" font-family={quoteattr(family)}>'
    )
    lines = [
        head,
        f"<title>{escape(scene.title)}</title>",
        f"<desc>{escape(scene.description)}</desc>",
        f'<rect width="{width}" height="{height}" fill="{scene.ground}"/>',
        *elements(scene.shapes),
    ]
    return "\n".join([*lines, "</svg>", ""])


def elements(shapes: Iterable[Shape]) -> list[str]:
    """Write shapes as elements of an SVG."""
    return [
        _box(shape)
        if isinstance(shape, Box)
        else _label(shape)
        if isinstance(shape, Label)
        else _stroke(shape)
        for shape in shapes
    ]


def _n(number: float) -> str:
    """Write a coordinate with at most two decimals."""
    text = f"{number:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _box(box: Box) -> str:
    look = f' fill="{box.fill}"' if box.fill else ' fill="none"'
    if box.stroke:
        look += f' stroke="{box.stroke}" stroke-width="{_n(box.weight)}"'
    if box.dashed:
        look += ' stroke-dasharray="3 2"'
    return (
        f'<rect x="{_n(box.x)}" y="{_n(box.y)}" width="{_n(box.width)}" '
        f'height="{_n(box.height)}"{look}/>'
    )


_ANCHORS = {"start": "", "middle": ' text-anchor="middle"', "end": ' text-anchor="end"'}


def _label(label: Label) -> str:
    role = f' class="{label.role}"' if label.role else ""
    look = ' font-weight="bold"' if label.bold else ""
    look += f" font-family={quoteattr(label.font)}" if label.font else ""
    return (
        f'<text{role} x="{_n(label.x)}" y="{_n(label.y)}" font-size="{_n(label.size)}" '
        f'fill="{label.ink}"{look}{_ANCHORS[label.anchor]}>{escape(label.text)}</text>'
    )


def _stroke(stroke: Stroke) -> str:
    path = "".join(
        "M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in line) + ("Z" if stroke.filled else "")
        for line in stroke.lines
    )
    if stroke.filled:
        return f'<path d="{path}" fill="{stroke.ink}"/>'
    dashed = ' stroke-dasharray="3 2"' if stroke.dashed else ""
    return (
        f'<path d="{path}" fill="none" stroke="{stroke.ink}" '
        f'stroke-width="{_n(stroke.weight)}"{dashed}/>'
    )
