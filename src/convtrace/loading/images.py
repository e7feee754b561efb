"""Reading an image as an input: float32 `(1, C, H, W)`, 0 for black, 1 for white."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from convtrace.errors import FileFormatError, MissingDependencyError
from convtrace.loading.files import check_size, reading, shown

if TYPE_CHECKING:
    from PIL.Image import Image

    from convtrace.loading.arrays import Channels, Loaded, Note

_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")
_GREY = frozenset({"1", "L", "LA", "La"})
_ORIENTATION = 0x0112  # EXIF tag, https://exiftool.org/TagNames/EXIF.html


def read_image(path: Path, channels: Channels = "file") -> Loaded:
    """Read an image.

    Pixels stay where the file has them: row 0 is the first row that is stored, so a photo that is
    marked as turned is not turned back. Transparency is left out. Of several frames the first is
    read. Each of the three is said in a note.

    Args:
        path: The file.
        channels: `file` keeps grey images grey (`C = 1`) and makes all others RGB (`C = 3`);
            `grey` and `rgb` convert.

    Returns:
        float32 `(1, C, H, W)`: pixel values divided by 255, or by 65535 for 16-bit grey.

    Raises:
        FileFormatError: The image is truncated, damaged or too large.
        MissingDependencyError: pillow is not installed.
    """
    from convtrace.loading.arrays import Loaded

    try:
        from PIL import Image
    except ImportError as error:
        raise MissingDependencyError(
            "reading images needs pillow\n  Install it with: pip install pillow"
        ) from error
    with warnings.catch_warnings(), _quiet():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with reading(path, "an image"), Image.open(path, formats=_FORMATS) as image:
                check_size(shown(path), image.width * image.height * 3 * 4)
                notes = _notes(path, image)
                image.load()
                pixels = _pixels(path, image, channels)
        except FileFormatError as error:
            cause = error.__cause__
            if isinstance(cause, Image.DecompressionBombWarning | Image.DecompressionBombError):
                raise FileFormatError(
                    f"{shown(path)} is too large for an image\n"
                    f"  {cause}\n"
                    "  Crop it: one number depends on a small window only."
                ) from cause
            raise
    tensor = torch.from_numpy(pixels)  # pyright: ignore[reportUnknownMemberType]
    return Loaded(tensor, shown(path), notes, image=True)


@contextmanager
def _quiet() -> Generator[None]:
    """Keep pillow from logging what the error will say."""
    logger = logging.getLogger("PIL")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)


def _notes(path: Path, image: Image) -> tuple[Note, ...]:
    notes: list[Note] = []
    name = shown(path)
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        notes.append(("cli.note.frames", {"file": name, "count": frames}))
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        notes.append(("cli.note.transparency", {"file": name}))
    if image.getexif().get(_ORIENTATION, 1) != 1:
        notes.append(("cli.note.orientation", {"file": name}))
    return tuple(notes)


def _pixels(path: Path, image: Image, channels: Channels) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the pixels as float32 `(1, C, H, W)` in 0 to 1."""
    if image.mode == "F":
        raise FileFormatError(
            f"{shown(path)} holds floating-point pixels without a stated range\n"
            "  Save it as .npy, with the values that the network should see."
        )
    if image.mode.startswith("I"):
        grey = np.asarray(image, dtype=np.int64)
        if grey.min() < 0 or grey.max() > 65535:
            raise FileFormatError(
                f"{shown(path)} holds pixels from {grey.min()} to {grey.max()}\n"
                "  convtrace reads images of up to 16 bits a channel. Save it as .npy."
            )
        scaled = (grey / 65535).astype(np.float32)[None, None]
        return np.repeat(scaled, 3, axis=1) if channels == "rgb" else scaled
    target = {"grey": "L", "rgb": "RGB", "file": "L" if image.mode in _GREY else "RGB"}[channels]
    array = np.asarray(image.convert(target), dtype=np.float32) / np.float32(255)
    array = array[:, :, None] if array.ndim == 2 else array
    return np.ascontiguousarray(array.transpose(2, 0, 1)[None])
