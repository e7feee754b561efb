"""Font files of this machine, for what Pillow draws: animations."""

from __future__ import annotations

from functools import cache
from typing import Any

from convtrace.errors import MissingDependencyError

# Files that the systems, or their package of fonts, call so; the number counts faces in a .ttc.
_KOREAN = {
    False: [
        ("NotoSansCJK-Regular.ttc", 1),
        ("NotoSansCJKkr-Regular.otf", 0),
        ("NotoSansKR-Regular.otf", 0),
        ("NotoSansKR-Regular.ttf", 0),
        ("NanumGothic.ttf", 0),
        ("malgun.ttf", 0),
        ("AppleSDGothicNeo.ttc", 0),
    ],
    True: [
        ("NotoSansCJK-Bold.ttc", 1),
        ("NotoSansCJKkr-Bold.otf", 0),
        ("NotoSansKR-Bold.otf", 0),
        ("NotoSansKR-Bold.ttf", 0),
        ("NanumGothicBold.ttf", 0),
        ("malgunbd.ttf", 0),
        ("AppleSDGothicNeo.ttc", 6),
    ],
}
_SIGNS = str.maketrans({"−": "-", "×": "x", "Σ": "sum", "≈": "~", "→": ">", "·": "."})
"""What stands for signs that Pillow's own font lacks."""

_LATIN = {
    False: [("DejaVuSans.ttf", 0), ("Arial.ttf", 0), ("arial.ttf", 0), ("Helvetica.ttc", 0)],
    True: [("DejaVuSans-Bold.ttf", 0), ("Arial Bold.ttf", 0), ("arialbd.ttf", 0)],
}


@cache
def font(lang: str, size: float, *, bold: bool = False) -> Any:
    """Return a font of Pillow.

    Args:
        lang: `en` or `ko`; the font of `ko` has Korean.
        size: Size of the letters, in pixels.
        bold: Whether they are bold.

    Raises:
        MissingDependencyError: `lang` is `ko`, and no font with Korean is installed. Otherwise
            Pillow's own font is the last resort; `drawable` says what it can draw.
    """
    from PIL import ImageFont

    faces = _KOREAN[bold] if lang == "ko" else [*_KOREAN[bold], *_LATIN[bold]]
    for name, index in faces:
        try:
            return ImageFont.truetype(name, size, index=index, layout_engine=ImageFont.Layout.BASIC)
        except OSError:
            continue
    if lang == "ko":
        raise MissingDependencyError(
            "no font with Korean was found\n"
            f"  looked for: {', '.join(name for name, _ in faces)}\n"
            '  On Debian and Ubuntu: apt install fonts-noto-cjk. Or choose lang="en".'
        )
    return ImageFont.load_default(size)


def drawable(face: Any, text: str) -> str:
    """Return a text without letters that a font would draw as empty boxes.

    Args:
        face: What `font` returned.
        text: Any text.
    """
    if face.getname() != _own_font():
        return text
    return text.translate(_SIGNS).encode("ascii", "replace").decode("ascii")


@cache
def _own_font() -> tuple[str | None, str | None]:
    from PIL import ImageFont

    own = ImageFont.load_default(10.0)
    return own.getname() if isinstance(own, ImageFont.FreeTypeFont) else (None, None)
