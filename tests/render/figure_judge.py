"""What a figure must never do: let texts run into each other, or off the page."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence

import numpy as np

from convtrace.render.drawing.scene import Box, Label, Scene, Stroke

SVG = "{http://www.w3.org/2000/svg}"
CLOSE = 0.5
"""Points that the rooms of texts may share: they are rooms of the widest font."""


def rooms(labels: Sequence[Label]) -> np.ndarray:
    """Rooms of texts: left, top, right, bottom; as tall as digits and capitals are."""
    found = [
        (left, label.y - 0.75 * label.size, right, label.y + 0.12 * label.size)
        for label in labels
        for left, _, right, _ in [label.room]
    ]
    return np.array(found).reshape(-1, 4)


def overlapping(labels: Sequence[Label]) -> list[tuple[str, str]]:
    """Return pairs of texts that run into each other."""
    box = rooms(labels)
    left, top, right, bottom = (box[:, None, n] for n in range(4))
    others = [box[None, :, n] for n in range(4)]
    wide = np.minimum(right, others[2]) - np.maximum(left, others[0])
    tall = np.minimum(bottom, others[3]) - np.maximum(top, others[1])
    both = np.triu((wide > CLOSE) & (tall > CLOSE), 1)
    return [(labels[a].text, labels[b].text) for a, b in np.argwhere(both)]


def assert_readable(scene: Scene) -> None:
    """Assert that nothing leaves the page, and that no text covers another."""
    for shape in scene.shapes:
        for x, y in corners(shape):
            assert -0.01 <= x <= scene.width + 0.01, shape
            assert -0.01 <= y <= scene.height + 0.01, shape
    assert not overlapping(scene.labels)
    assert all(label.text.strip() for label in scene.labels)


def corners(shape: Box | Label | Stroke) -> Iterable[tuple[float, float]]:
    if isinstance(shape, Box):
        return [(shape.x, shape.y), (shape.x + shape.width, shape.y + shape.height)]
    if isinstance(shape, Label):
        left, top, right, bottom = shape.room
        return [(left, top), (right, bottom)]
    return [point for line in shape.lines for point in line]


def read_texts(svg: str, role: str | None = None) -> list[str]:
    """Read the texts of an SVG, all or those of a class, in the order they are drawn."""
    found = ET.fromstring(svg).iter(f"{SVG}text")
    return ["".join(t.itertext()).strip() for t in found if role in (None, t.get("class"))]


def number(text: str) -> float:
    """Read a number back."""
    return float(text.replace("−", "-").replace("≈", "").replace("·", "0").replace("∞", "inf"))
