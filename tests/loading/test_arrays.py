"""Inputs are read exactly, and every file that cannot be used says why."""

import contextlib
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from convtrace.errors import (
    ConvtraceError,
    FileError,
    FileFormatError,
    MissingFileError,
    UnsafeFileError,
    UsageError,
)
from convtrace.loading import files
from convtrace.loading.arrays import read_array, survives

ARRAY = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)


class Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def error_of(text: str | Path, expected: type[ConvtraceError]) -> str:
    with pytest.raises(ConvtraceError) as caught:
        read_array(str(text))
    assert type(caught.value) is expected
    return str(caught.value)


@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", "int64", "uint8", "bool", "complex64", ">f4", ">i2"]
)
def test_npy_files_keep_every_number_and_the_type(tmp_path: Path, dtype: str) -> None:
    np.save(tmp_path / "x.npy", ARRAY.astype(dtype))
    tensor = read_array(str(tmp_path / "x.npy")).tensor
    assert tensor.tolist() == ARRAY.astype(dtype).tolist()
    assert str(tensor.dtype) == f"torch.{np.dtype(dtype).newbyteorder('=').name}"


def test_npy_files_in_column_order_are_read_in_place(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.asfortranarray(ARRAY))
    assert torch.equal(read_array(str(tmp_path / "x.npy")).tensor, torch.tensor(ARRAY))


def test_a_single_number_and_an_empty_array_keep_their_shapes(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.float32(2.5))
    np.save(tmp_path / "b.npy", np.zeros((1, 0, 3)))
    assert read_array(str(tmp_path / "a.npy")).tensor.shape == ()
    assert read_array(str(tmp_path / "b.npy")).tensor.shape == (1, 0, 3)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_the_only_array_of_an_npz_file_needs_no_name(tmp_path: Path, save: Any) -> None:
    save(tmp_path / "x.npz", image=ARRAY)
    loaded = read_array(str(tmp_path / "x.npz"))
    assert torch.equal(loaded.tensor, torch.tensor(ARRAY))
    assert loaded.source.endswith("x.npz:image")


def test_one_of_several_arrays_is_read_by_its_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=ARRAY, b=ARRAY + 1)
    save_file({"a": torch.zeros(2), "b": torch.ones(3).bfloat16()}, tmp_path / "x.safetensors")
    assert read_array(f"{tmp_path}/x.npz:b").tensor[0, 0, 0, 0] == 1
    assert read_array(f"{tmp_path}/x.safetensors:b").tensor.dtype == torch.bfloat16


def test_a_file_whose_name_has_a_colon_is_found(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz:b.npz", x=ARRAY)
    assert read_array(f"{tmp_path}/a.npz:b.npz").tensor.shape == ARRAY.shape


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_several_arrays_without_a_name_are_listed(tmp_path: Path, suffix: str) -> None:
    if suffix == "npz":
        np.savez(tmp_path / "x.npz", image=ARRAY, label=ARRAY)
    else:
        save_file({"image": torch.ones(2), "label": torch.ones(3)}, tmp_path / "x.safetensors")
    message = error_of(tmp_path / f"x.{suffix}", UsageError)
    assert "holds 2 arrays: image" in message
    assert f"x.{suffix}:image" in message
    assert "nearest names: label" in error_of(f"{tmp_path}/x.{suffix}:lable", UsageError)


def test_a_missing_file_gives_the_nearest_names(tmp_path: Path) -> None:
    np.save(tmp_path / "digit.npy", ARRAY)
    message = error_of(tmp_path / "digt.npy", MissingFileError)
    assert "no such file" in message
    assert "digit.npy" in message
    assert "no directory" in error_of(tmp_path / "nowhere" / "x.npy", MissingFileError)


def test_a_directory_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "x.npy").mkdir()
    assert "is a directory" in error_of(tmp_path / "x.npy", FileFormatError)


def test_an_empty_file_is_called_empty(tmp_path: Path) -> None:
    (tmp_path / "x.npy").touch()
    assert "is empty: 0 bytes" in error_of(tmp_path / "x.npy", FileFormatError)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.npy")
    assert "not a regular file" in error_of(tmp_path / "x.npy", FileFormatError)


def test_a_file_that_may_not_be_read_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "x.npy", ARRAY)

    def refuse(*_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # root may read everything, so mode 000 won't do
    assert "Permission denied" in error_of(tmp_path / "x.npy", FileError)


@pytest.mark.parametrize("suffix", ["npy", "npz", "safetensors"])
def test_a_truncated_file_is_called_cut_off(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x.{suffix}"
    if suffix == "npy":
        np.save(path, ARRAY)
    elif suffix == "npz":
        np.savez(path, x=ARRAY)
    else:
        save_file({"x": torch.tensor(ARRAY)}, path)
    path.write_bytes(path.read_bytes()[:-20])
    assert "cut off" in error_of(path, FileFormatError)


def test_a_truncated_npy_file_names_both_sizes(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", ARRAY)
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:-20])
    message = error_of(tmp_path / "x.npy", FileFormatError)
    assert "(1, 2, 3, 4), float32: 96 bytes" in message
    assert "holds 76" in message


def test_two_arrays_in_one_npy_file_are_not_silently_cut(tmp_path: Path) -> None:
    with (tmp_path / "x.npy").open("wb") as file:
        np.save(file, ARRAY)
        np.save(file, ARRAY)
    assert "more than one array" in error_of(tmp_path / "x.npy", FileFormatError)


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("x.npy", b"\x89PNG\r\n\x1a\n" + b"0" * 40, "a PNG image"),
        ("x.npz", b"\x93NUMPY\x01\x00" + b"0" * 40, "a NumPy array"),
        ("x.safetensors", b"1,2,3\n", "plain text"),
        ("x.png", b"\x89HDF\r\n\x1a\n" + b"0" * 40, "an HDF5 file"),
        ("x.jpg", b"\x00\x01\x02\x03", "a format that convtrace does not know"),
    ],
)
def test_a_file_of_another_format_is_told_by_its_content(
    tmp_path: Path, name: str, content: bytes, found: str
) -> None:
    (tmp_path / name).write_bytes(content)
    assert found in error_of(tmp_path / name, FileFormatError)


def test_an_unknown_suffix_lists_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("1,2,3")
    np.save(tmp_path / "y.npy", ARRAY)
    (tmp_path / "y.npy").rename(tmp_path / "y.dat")
    assert ".npy .npz .safetensors .png" in error_of(tmp_path / "x.csv", UsageError)
    assert "By its content it is a NumPy array" in error_of(tmp_path / "y.dat", UsageError)


@pytest.mark.parametrize("name", ["x.pkl", "x.npy", "x.pt"])
def test_a_pickle_is_refused_and_not_run_whatever_its_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(pickle.dumps(Malicious(tmp_path / "ran")))
    message = error_of(tmp_path / name, UnsafeFileError)
    assert "pickle" in message
    assert "numpy.save" in message
    assert not (tmp_path / "ran").exists()


def test_a_torch_file_is_no_input_and_the_error_says_how_to_convert_it(tmp_path: Path) -> None:
    torch.save(torch.ones(3), tmp_path / "x.pt")
    assert "weights_only=True" in error_of(tmp_path / "x.pt", UnsafeFileError)


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_an_array_of_objects_is_refused_and_not_unpickled(tmp_path: Path, suffix: str) -> None:
    objects = np.array([Malicious(tmp_path / "ran")], dtype=object)
    if suffix == "npy":
        np.save(tmp_path / "x.npy", objects, allow_pickle=True)
    else:
        np.savez(tmp_path / "x.npz", x=objects)
    assert "Python objects" in error_of(tmp_path / f"x.{suffix}", UnsafeFileError)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "array", [np.array(["a"]), np.zeros(2, "datetime64[s]"), np.zeros(2, "V2")]
)
def test_arrays_without_numbers_name_their_type(tmp_path: Path, array: Any) -> None:
    np.save(tmp_path / "x.npy", array)
    assert f"dtype {array.dtype}" in error_of(tmp_path / "x.npy", FileFormatError)


def test_an_array_larger_than_the_limit_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_BYTES", 90)
    np.save(tmp_path / "x.npy", ARRAY)
    np.savez_compressed(tmp_path / "x.npz", x=ARRAY)
    save_file({"x": torch.tensor(ARRAY)}, tmp_path / "x.safetensors")
    for suffix in ("npy", "npz", "safetensors"):
        assert "too large" in error_of(tmp_path / f"x.{suffix}", FileFormatError)


def test_a_header_that_claims_terabytes_takes_no_memory(tmp_path: Path) -> None:
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000), }"
    padded = header.ljust(117) + "\n"
    content = b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded.encode()
    (tmp_path / "x.npy").write_bytes(content + b"0000")
    assert "too large" in error_of(tmp_path / "x.npy", FileFormatError)


def test_an_archive_of_other_things_is_called_a_zip_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "a zip archive" in error_of(tmp_path / "x.npz", FileFormatError)


def test_names_with_control_characters_are_shown_escaped(tmp_path: Path) -> None:
    message = error_of(tmp_path / "a\x1b[31m.npy", MissingFileError)
    assert "\x1b" not in message
    assert "\\x1b" in message


@pytest.mark.parametrize("suffix", ["npy", "npz", "safetensors", "png", "gif", "tiff", "bmp"])
def test_damaged_files_raise_nothing_but_errors_of_convtrace(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x.{suffix}"
    if suffix == "npy":
        np.save(path, ARRAY)
    elif suffix == "npz":
        np.savez_compressed(path, x=ARRAY)
    elif suffix == "safetensors":
        save_file({"x": torch.tensor(ARRAY)}, path)
    else:
        from PIL import Image

        Image.fromarray(np.arange(150, dtype=np.uint8).reshape(10, 15)).save(path)
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    read = 0
    for _ in range(60):
        damaged = bytearray(whole[: random.integers(1, len(whole) + 1)])
        for place in random.integers(len(damaged), size=random.integers(4)):
            damaged[place] = random.integers(256)
        path.write_bytes(damaged)
        with contextlib.suppress(ConvtraceError):
            read_array(str(path))
            read += 1
    assert read < 40  # the others were refused


def test_survives_sees_rounding_overflow_and_nan() -> None:
    assert survives(torch.tensor([0.5, float("nan")]), torch.float16)
    assert not survives(torch.tensor([0.1]), torch.float16)
    assert not survives(torch.tensor([1e300], dtype=torch.float64), torch.float32)
    assert not survives(torch.tensor([2**24 + 1]), torch.float32)
    assert not survives(torch.tensor([1j]), torch.float32)
