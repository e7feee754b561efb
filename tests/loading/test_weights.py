"""Weights are read whole or refused with every name that does not fit, and never run code."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from convtrace.errors import (
    ConvtraceError,
    FileFormatError,
    MissingFileError,
    ShapeError,
    UnsafeFileError,
    UsageError,
)
from convtrace.loading.weights import load_weights


class Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))


def error_of(path: Path, expected: type[ConvtraceError], model: Any = None) -> str:
    with pytest.raises(ConvtraceError) as caught:
        load_weights(model or network(), str(path))
    assert type(caught.value) is expected
    return str(caught.value)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "w.pth", "old.pt"])
def test_weights_of_every_format_are_read(tmp_path: Path, name: str) -> None:
    source, target = network(), network()
    if name.endswith("safetensors"):
        save_file(source.state_dict(), tmp_path / name)
    else:
        torch.save(
            source.state_dict(), tmp_path / name, _use_new_zipfile_serialization=name != "old.pt"
        )
    assert load_weights(target, str(tmp_path / name)) == ()
    for key, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[key], value)


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict"])
def test_the_table_of_weights_inside_a_checkpoint_is_found(tmp_path: Path, key: str) -> None:
    torch.save({"epoch": 3, key: network().state_dict()}, tmp_path / "w.pt")
    ((note, values),) = load_weights(network(), str(tmp_path / "w.pt"))
    assert note == "cli.note.inner_table"
    assert values["key"] == key


def test_the_prefix_of_a_wrapper_is_left_out(tmp_path: Path) -> None:
    save_file(
        {f"module.{k}": v for k, v in network().state_dict().items()}, tmp_path / "w.safetensors"
    )
    ((note, values),) = load_weights(network(), str(tmp_path / "w.safetensors"))
    assert note == "cli.note.prefix"
    assert values["prefix"] == "module."


def test_weights_that_are_rounded_are_said_to_be(tmp_path: Path) -> None:
    fine = {k: v.double() + 1e-12 if v.is_floating_point() else v
            for k, v in network().state_dict().items()}  # fmt: skip
    exact = {k: v.float().double() if v.is_floating_point() else v for k, v in fine.items()}
    save_file(fine, tmp_path / "fine.safetensors")
    save_file(exact, tmp_path / "exact.safetensors")
    ((note, values),) = load_weights(network(), str(tmp_path / "fine.safetensors"))
    assert note == "cli.note.weights_rounded"
    assert values["types"] == "float64 → float32"
    assert load_weights(network(), str(tmp_path / "exact.safetensors")) == ()


def test_weights_that_two_layers_share_may_be_stored_once(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    table = {k: v.clone() for k, v in model.state_dict().items() if k != "1.weight"}
    save_file(table, tmp_path / "w.safetensors")
    assert load_weights(model, str(tmp_path / "w.safetensors")) == ()


def test_every_name_and_shape_that_does_not_fit_is_listed(tmp_path: Path) -> None:
    table = {k: v for k, v in network().state_dict().items() if k != "0.bias"}
    table["0.weight"] = torch.ones(5, 1, 3, 3)
    table["head.weight"] = torch.ones(4, 4)
    save_file(table, tmp_path / "w.safetensors")
    message = error_of(tmp_path / "w.safetensors", ShapeError)
    assert "the file lacks (1):\n    0.bias (2,)" in message
    assert "the model lacks (1):\n    head.weight (4, 4)" in message
    assert "0.weight: file (5, 1, 3, 3), model (2, 1, 3, 3)" in message


def test_a_long_list_is_cut_and_says_how_much_is_left(tmp_path: Path) -> None:
    save_file({f"x{n}": torch.ones(1) for n in range(30)}, tmp_path / "w.safetensors")
    message = error_of(tmp_path / "w.safetensors", ShapeError)
    assert "the model lacks (30)" in message
    assert "… and 10 more" in message


def test_weights_that_do_not_fit_leave_the_model_as_it_was(tmp_path: Path) -> None:
    model = network()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    save_file({"0.weight": torch.ones(2, 1, 3, 3)}, tmp_path / "w.safetensors")
    error_of(tmp_path / "w.safetensors", ShapeError, model)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize("new", [True, False])
def test_a_malicious_file_is_refused_and_does_not_run(tmp_path: Path, new: bool) -> None:
    torch.save(
        {"w": Malicious(tmp_path / "ran")}, tmp_path / "w.pt", _use_new_zipfile_serialization=new
    )
    message = error_of(tmp_path / "w.pt", UnsafeFileError)
    assert "running code" in message
    assert "save_file(model.state_dict()" in message
    assert not (tmp_path / "ran").exists()


def test_a_bare_pickle_is_refused_and_does_not_run(tmp_path: Path) -> None:
    import pickle

    (tmp_path / "w.pt").write_bytes(pickle.dumps(Malicious(tmp_path / "ran")))
    assert "a Python pickle" in error_of(tmp_path / "w.pt", UnsafeFileError)
    assert not (tmp_path / "ran").exists()


def test_a_whole_pickled_module_names_the_class_that_it_would_run(tmp_path: Path) -> None:
    torch.save(nn.Conv2d(1, 1, 1), tmp_path / "w.pt")
    assert "torch.nn.modules.conv.Conv2d" in error_of(tmp_path / "w.pt", UnsafeFileError)


def test_a_torchscript_archive_is_refused(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated, and its files are around
        torch.jit.save(torch.jit.script(nn.Conv2d(1, 1, 1)), tmp_path / "w.pt")
    assert "TorchScript" in error_of(tmp_path / "w.pt", UnsafeFileError)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "old.pt"])
@pytest.mark.parametrize("kept", [0.9, 0.5])
def test_a_truncated_file_is_called_cut_off(tmp_path: Path, name: str, kept: float) -> None:
    path = tmp_path / name
    if name == "w.safetensors":
        save_file(network().state_dict(), path)
    else:
        torch.save(network().state_dict(), path, _use_new_zipfile_serialization=name == "w.pt")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    assert "cut off or damaged" in error_of(path, FileFormatError)


def test_a_file_of_another_format_is_told_by_its_content(tmp_path: Path) -> None:
    save_file(network().state_dict(), tmp_path / "w.pt")
    torch.save(network().state_dict(), tmp_path / "w.safetensors")
    assert "safetensors" in error_of(tmp_path / "w.pt", FileFormatError)
    assert "a PyTorch file" in error_of(tmp_path / "w.safetensors", FileFormatError)
    (tmp_path / "x.pt").write_text("hello")
    assert "plain text" in error_of(tmp_path / "x.pt", FileFormatError)


def test_an_unknown_suffix_lists_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "w.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    message = error_of(tmp_path / "w.h5", UsageError)
    assert ".safetensors .pt .pth" in message
    assert "HDF5" in message


def test_a_file_without_weights_says_what_it_holds(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "loss": [1.0]}, tmp_path / "w.pt")
    assert "'epoch': int, 'loss': list" in error_of(tmp_path / "w.pt", FileFormatError)
    torch.save([1, 2], tmp_path / "w.pt")
    assert "it holds a list" in error_of(tmp_path / "w.pt", FileFormatError)


def test_missing_and_empty_files_and_functions_are_refused(tmp_path: Path) -> None:
    assert "no such file" in error_of(tmp_path / "w.pt", MissingFileError)
    (tmp_path / "w.pt").touch()
    assert "empty" in error_of(tmp_path / "w.pt", FileFormatError)
    assert "nn.Module" in error_of(tmp_path / "w.pt", UsageError, lambda x: x)
