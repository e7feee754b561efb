"""What every figure of a layer has: a headline, a sentence, the picture, remarks."""

from __future__ import annotations

from collections.abc import Sequence

from convtrace.render.drawing.pen import BODY, HEAD, TEXT_WIDTH, Pen
from convtrace.render.drawing.scene import Block, Label, below
from convtrace.render.numbers import ABOUT


def page(
    pen: Pen, headline: str, sentences: Sequence[str], picture: Block, remarks: Sequence[str]
) -> Block:
    """Put the parts of a figure under each other.

    Args:
        pen: What to draw with.
        headline: What the figure is about: an address or a name.
        sentences: What stands above the picture.
        picture: The picture.
        remarks: What the marks in it mean.
    """
    width = max(picture.width, TEXT_WIDTH)
    labels = (shape for shape in picture.shapes if isinstance(shape, Label))
    if any(ABOUT in label.text for label in labels):
        remarks = [*remarks, pen.say("shown.rounded")]
    head = pen.text(headline, HEAD, bold=True, role="headline")
    top = below([head, pen.paragraph(sentences, width, BODY, ink=pen.theme.ink)], 2)
    parts = [top, picture]
    if remarks:
        parts.append(pen.paragraph(remarks, width))
    return below(parts, 9)
