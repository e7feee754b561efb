"""Images become float32 (1, C, H, W) in 0 to 1, as the file has them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from convtrace.errors import FileFormatError
from convtrace.loading.arrays import read_array

COLOURS = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)


def saved(path: Path, pixels: Any, mode: str | None = None, **options: Any) -> str:
    image = Image.fromarray(pixels)
    (image if mode is None else image.convert(mode)).save(path, **options)
    return str(path)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "tif", "webp"])
def test_colour_images_have_three_channels_divided_by_255(tmp_path: Path, suffix: str) -> None:
    options = {"lossless": True} if suffix == "webp" else {}
    tensor = read_array(saved(tmp_path / f"x.{suffix}", COLOURS, **options)).tensor
    assert tensor.dtype == torch.float32
    assert tensor.shape == (1, 3, 5, 7)
    assert torch.equal(tensor[0, :, 4, 6], torch.tensor(COLOURS[4, 6]) / 255)


def test_jpeg_and_upper_case_suffixes_are_read(tmp_path: Path) -> None:
    assert read_array(saved(tmp_path / "x.JPG", COLOURS)).tensor.shape == (1, 3, 5, 7)


def test_an_image_under_the_suffix_of_another_image_is_read(tmp_path: Path) -> None:
    saved(tmp_path / "x.png", COLOURS)
    (tmp_path / "x.png").rename(tmp_path / "x.jpg")
    assert read_array(str(tmp_path / "x.jpg")).tensor.shape == (1, 3, 5, 7)


@pytest.mark.parametrize("mode", ["L", "1", "LA"])
def test_grey_images_have_one_channel(tmp_path: Path, mode: str) -> None:
    assert read_array(saved(tmp_path / "x.png", COLOURS, mode)).tensor.shape == (1, 1, 5, 7)


@pytest.mark.parametrize("mode", ["P", "RGBA"])
def test_palettes_and_transparency_become_colours(tmp_path: Path, mode: str) -> None:
    assert read_array(saved(tmp_path / "x.png", COLOURS, mode)).tensor.shape == (1, 3, 5, 7)


def test_channels_convert_between_grey_and_colour(tmp_path: Path) -> None:
    colour, grey = saved(tmp_path / "x.png", COLOURS), saved(tmp_path / "y.png", COLOURS[..., 0])
    assert read_array(colour, "grey").tensor.shape == (1, 1, 5, 7)
    wide = read_array(grey, "rgb").tensor
    assert wide.shape == (1, 3, 5, 7)
    assert torch.equal(wide[0, 0], wide[0, 2])


def test_sixteen_bit_images_are_divided_by_65535(tmp_path: Path) -> None:
    pixels = np.array([[0, 1000], [65535, 7]], dtype=np.uint16)
    tensor = read_array(saved(tmp_path / "x.png", pixels)).tensor
    assert tensor[0, 0].tolist() == torch.tensor([[0, 1000 / 65535], [1, 7 / 65535]]).tolist()
    assert read_array(str(tmp_path / "x.png"), "rgb").tensor.shape == (1, 3, 2, 2)


def test_what_is_left_out_of_an_image_is_said(tmp_path: Path) -> None:
    frames = [Image.fromarray(COLOURS + shade) for shade in (0, 50)]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:])
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(COLOURS).save(tmp_path / "y.jpg", exif=turned)
    saved(tmp_path / "z.png", COLOURS, "RGBA")
    notes = {name: read_array(str(tmp_path / name)).notes for name in ("x.gif", "y.jpg", "z.png")}
    assert notes["x.gif"][0][0] == "cli.note.frames"
    assert notes["x.gif"][0][1]["count"] == 2
    assert [key for key, _ in notes["y.jpg"]] == ["cli.note.orientation"]
    assert [key for key, _ in notes["z.png"]] == ["cli.note.transparency"]


def test_an_image_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path / "x.png", np.zeros((40, 40), dtype=np.uint8))
    for limit in (1000, 100):  # pillow warns above its limit, and raises above twice that
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(FileFormatError, match=r"too large for an image\n.*1600 pixels"):
            read_array(path)


def test_a_truncated_image_is_called_cut_off(tmp_path: Path) -> None:
    path = Path(saved(tmp_path / "x.png", COLOURS))
    path.write_bytes(path.read_bytes()[:45])
    with pytest.raises(FileFormatError, match="cut off or damaged"):
        read_array(str(path))


def test_floating_point_pixels_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.tiff", np.zeros((3, 3), dtype=np.float32))
    with pytest.raises(FileFormatError, match=r"Save it as \.npy"):
        read_array(path)
