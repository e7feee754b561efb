"""ONNX files and inputs that cannot be used: each gets a message that says what to do."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx_models import Builder, save

import convtrace as ct
from convtrace.errors import (
    EmptyTensorError,
    FileError,
    FileFormatError,
    MissingDependencyError,
    MissingFileError,
    ModelError,
    NoConvolutionError,
    ShapeError,
    UsageError,
)
from convtrace.frontends import onnx_file

FLOAT, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64


def ones(*shape: int) -> Any:
    return np.ones(shape, dtype=np.float32)


def small(declared: Any = (FLOAT, ["N", 2, 5, 5])) -> Any:
    build = Builder()
    return build.model({"image": declared}, build.conv("image", "conv", 3, 2, 3, 3))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return save(small(), tmp_path)


# Files -------------------------------------------------------------------------------------------


def test_a_missing_file_is_named_with_its_neighbours(path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"model\.onnxx\n.*nearest.*model\.onnx"):
        ct.from_onnx(path.with_name("model.onnxx"), ones(1, 2, 5, 5))


@pytest.mark.parametrize("kept", [10, 60, 200, -3])
def test_a_truncated_file_is_told(path: Path, kept: int) -> None:
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(FileFormatError, match="cut off") as caught:
        ct.from_onnx(path, ones(1, 2, 5, 5))
    assert "model.onnx" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"just some words\n" * 8, "plain text"),
        (b"PK\x05\x06" + bytes(18), "zip archive"),
        (b"\x93NUMPY\x01\x00", "NumPy array"),
        (b"\x80\x04\x95", "pickle"),
        (bytes(range(8, 200)), "cannot be read"),
        (b"\x08\x0a", "holds no ONNX graph"),
    ],
)
def test_a_file_of_another_format_is_told(tmp_path: Path, content: bytes, says: str) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(content)
    with pytest.raises(FileFormatError, match=says):
        ct.from_onnx(file, ones(1, 2, 5, 5))


def test_damaged_bytes_give_an_error_of_ours_or_a_trace(
    path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    whole, random = path.read_bytes(), np.random.default_rng(1)
    for number in range(60):
        damaged = bytearray(whole)
        for place in random.integers(0, len(whole), 1 + number % 3):
            damaged[place] = int(random.integers(256))
        path.write_bytes(damaged)
        with contextlib.suppress(ct.ConvtraceError):
            assert ct.from_onnx(path, ones(1, 2, 5, 5)).steps
    assert capfd.readouterr() == ("", "")


def test_a_directory_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="directory"):
        ct.from_onnx(tmp_path, ones(1))


def test_a_file_over_the_limit_is_refused_with_the_limit(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "MAX_BYTES", 100)
    with pytest.raises(FileFormatError, match=r"too large: \d+ bytes.*\n.*at most 100 bytes"):
        ct.from_onnx(path, ones(1, 2, 5, 5))


@pytest.fixture
def external(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    onnx.save(small(), str(path), save_as_external_data=True, location="w.bin", size_threshold=0)
    return path


def test_weights_outside_count_for_the_limit(
    external: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "MAX_BYTES", external.stat().st_size + 10)
    with pytest.raises(FileFormatError, match="too large"):
        ct.from_onnx(external, ones(1, 2, 5, 5))


def test_a_missing_file_of_weights_is_named(external: Path) -> None:
    (external.parent / "w.bin").unlink()
    with pytest.raises(MissingFileError, match=r"missing\n.*conv\.weight.*'w\.bin'"):
        ct.from_onnx(external, ones(1, 2, 5, 5))


def test_a_truncated_file_of_weights_is_told(external: Path) -> None:
    (external.parent / "w.bin").write_bytes(b"1234")
    with pytest.raises(FileFormatError, match=r"lies outside w\.bin"):
        ct.from_onnx(external, ones(1, 2, 5, 5))


@pytest.mark.parametrize("location", ["../w.bin", "/etc/hostname", "sub/../../w.bin", ""])
def test_weights_outside_the_folder_are_not_read(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "inside"
    folder.mkdir()
    (tmp_path / "w.bin").write_bytes(bytes(4096))
    assert_not_read(folder, location)


def test_weights_behind_a_link_that_leads_outside_are_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "inside"
    folder.mkdir()
    (tmp_path / "w.bin").write_bytes(bytes(4096))
    (folder / "link.bin").symlink_to(tmp_path / "w.bin")
    assert_not_read(folder, "link.bin")


def assert_not_read(folder: Path, location: str) -> None:
    model = small()
    for tensor in model.graph.initializer:
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(FileError, match="outside its own folder") as caught:
        ct.from_onnx(path, ones(1, 2, 5, 5))
    assert repr(location) in str(caught.value)


def test_a_weight_with_too_few_bytes_is_named(tmp_path: Path) -> None:
    model = small()
    model.graph.initializer[0].raw_data = b"123"
    with pytest.raises((FileFormatError, ModelError), match=r"conv\.weight"):
        ct.from_onnx(save(model, tmp_path), ones(1, 2, 5, 5))


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    package: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # type: ignore[arg-type]  # how to block one
    with pytest.raises(MissingDependencyError, match=rf"{package}.*\n(.*\n)*.*convtrace\[onnx\]"):
        ct.from_onnx(path, ones(1, 2, 5, 5))


# Models ------------------------------------------------------------------------------------------


def test_an_unknown_operator_is_named_with_its_nodes(tmp_path: Path) -> None:
    build = Builder()
    odd = build.node("Frobnicate", build.conv("x", "c", 1, 1, 1, 1), name="odd", domain="my.own")
    model = build.model({"x": (FLOAT, [1, 1, 2, 2])}, odd, domains={"my.own": 1})
    with pytest.raises(ModelError, match=r"(?s)cannot load.*Frobnicate.*my\.own.*odd"):
        ct.from_onnx(save(model, tmp_path), ones(1, 1, 2, 2))


def test_a_newer_operator_set_than_the_installed_one_is_told(tmp_path: Path) -> None:
    build = Builder()
    model = build.model({"x": (FLOAT, [1, 1, 2, 2])}, build.conv("x", "c", 1, 1, 1, 1), version=999)
    with pytest.raises(ModelError, match="cannot load"):
        ct.from_onnx(save(model, tmp_path), ones(1, 1, 2, 2))


def test_a_graph_that_reads_what_nobody_makes_is_told(tmp_path: Path) -> None:
    build = Builder()
    last = build.node("Conv", "nowhere", build.normal("w", 1, 1, 1, 1))
    model = build.model({"x": (FLOAT, [1, 1, 2, 2])}, last)
    with pytest.raises(ModelError, match="nowhere"):
        ct.from_onnx(save(model, tmp_path), ones(1, 1, 2, 2))


def test_a_model_that_fails_while_it_runs_names_the_node(tmp_path: Path) -> None:
    build = Builder()
    shape = build.weight("shape", np.array([7, 7], dtype=np.int64))
    last = build.node("Reshape", build.conv("x", "c", 1, 1, 1, 1), shape, name="culprit")
    model = build.model({"x": (FLOAT, ["N", 1, 2, 2])}, last)
    with pytest.raises(ModelError, match=r"stopped while it ran(.|\n)*culprit(.|\n)*x float32"):
        ct.from_onnx(save(model, tmp_path), ones(1, 1, 2, 2))


def test_a_model_without_a_convolution_names_what_ran(tmp_path: Path) -> None:
    build = Builder()
    last = build.node("Relu", build.node("Neg", "x"))
    model = build.model({"x": (FLOAT, [1])}, last)
    with pytest.raises(NoConvolutionError, match=r"no convolution did\n.*Neg, Relu"):
        ct.from_onnx(save(model, tmp_path), ones(1))


def test_a_convolution_of_constants_alone_does_not_count(tmp_path: Path) -> None:
    build = Builder()
    fixed = build.conv(build.normal("image", 1, 1, 2, 2), "c", 1, 1, 1, 1)
    model = build.model({"x": (FLOAT, [1, 1, 2, 2])}, build.node("Add", "x", fixed))
    with pytest.raises(NoConvolutionError):
        ct.from_onnx(save(model, tmp_path), ones(1, 1, 2, 2))


# Inputs ------------------------------------------------------------------------------------------

EXPECTS = r"image  float32 \(N, 2, 5, 5\)"


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"imgae": ones(1, 2, 5, 5)}, UsageError, "no input 'imgae'; nearest: image"),
        ({}, UsageError, "not given: image"),
        ({"image": ones(1, 2, 5, 5), "more": ones(1)}, UsageError, "no input 'more'"),
        ({3: ones(1)}, UsageError, "no input 3"),
        (ones(1, 2, 5), ShapeError, r"given   float32 \(1, 2, 5\)"),
        (ones(1, 3, 5, 5), ShapeError, r"given   float32 \(1, 3, 5, 5\)"),
        (np.ones((1, 2, 5, 5)), UsageError, r"float64(.|\n)*astype\('float32'\)"),
        (np.ones((1, 2, 5, 5), dtype=np.uint8), UsageError, "given   uint8"),
        ([[1, 2], [3]], ShapeError, "is not an array"),
        ("image.png", UsageError, "given   str"),
        (None, UsageError, "given   object"),
    ],
)
def test_an_input_that_does_not_fit_is_told_with_what_the_file_expects(
    path: Path, given: Any, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says) as caught:
        ct.from_onnx(path, given)
    with pytest.raises(error, match=EXPECTS):
        raise caught.value


def test_an_empty_input_is_told(path: Path) -> None:
    with pytest.raises(EmptyTensorError, match=r"image is empty\n.*\(0, 2, 5, 5\)"):
        ct.from_onnx(path, ones(0, 2, 5, 5))


def test_one_array_for_several_inputs_is_told(tmp_path: Path) -> None:
    build = Builder()
    last = build.node("Add", build.conv("x", "c", 1, 1, 1, 1), "y")
    model = build.model({"x": (FLOAT, [1, 1, 2, 2]), "y": (INT64, None)}, last)
    with pytest.raises(UsageError, match=r"takes 2 inputs(.|\n)*y  int64 any shape"):
        ct.from_onnx(save(model, tmp_path), ones(1, 1, 2, 2))


def test_an_input_that_is_no_tensor_is_told(tmp_path: Path) -> None:
    build = Builder()
    place = build.weight("place", np.array(0, dtype=np.int64))
    model = build.model({}, build.conv(build.node("SequenceAt", "xs", place), "c", 1, 1, 1, 1))
    declared = helper.make_tensor_sequence_value_info("xs", FLOAT, [1, 1, 2, 2])
    model.graph.input.append(declared)
    with pytest.raises(UsageError, match=r"no tensor of numbers(.|\n)*xs  not a tensor"):
        ct.from_onnx(save(model, tmp_path), ones(1, 1, 2, 2))


def test_names_with_control_characters_do_not_reach_addresses(tmp_path: Path) -> None:
    build = Builder()
    last = build.conv("x", "c", 1, 1, 1, 1)
    build.nodes[-1].name = " a\x1b[31m\n"
    trace = ct.from_onnx(
        save(build.model({"x": (FLOAT, [1, 1, 1, 1])}, last), tmp_path), ones(1, 1, 1, 1)
    )
    (name,) = trace.steps
    assert name.isprintable()
    assert trace.why(f"{name}[0,0,0,0]").verdict == "exact"
