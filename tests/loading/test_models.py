"""A model is found by its name, and every way of missing it says what to write instead."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from convtrace.errors import (
    ConvtraceError,
    FileFormatError,
    MissingFileError,
    ModelError,
    UsageError,
)
from convtrace.loading.models import parse_model

CODE = """
import torch
from torch import nn
from torch.nn.functional import conv2d

class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3)

    def forward(self, x):
        return self.conv1(x)

class Sized(nn.Module):
    def __init__(self, width, depth=2):
        super().__init__()

class Plain:
    net = Net()

net = Net()
number = 3

def make():
    return Net(8)

def sized(width) -> nn.Module:
    return Net(width)

def apply(x):
    return net(x)

def alone():
    return conv2d(torch.ones(1, 1, 3, 3), torch.ones(1, 1, 2, 2))

def text():
    return "not a model"

def broken():
    raise ValueError("no luck")
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "my_net.py"
    path.write_text(CODE)
    return path


def load(text: Any, seed: int = 0) -> Any:
    source = parse_model(str(text))
    with source.importable():
        return source.load(seed)


def error_of(text: Any, expected: type[ConvtraceError]) -> str:
    with pytest.raises(ConvtraceError) as caught:
        load(text)
    assert type(caught.value) is expected
    return str(caught.value)


def test_instances_classes_and_factories_give_a_module(file: Path) -> None:
    assert isinstance(load(f"{file}:net"), nn.Module)
    assert load(f"{file}:Net").conv1.out_channels == 4
    assert load(f"{file}:make").conv1.out_channels == 8
    assert isinstance(load(f"{file}:Plain.net"), nn.Module)


def test_functions_of_tensors_are_taken_as_they_are(file: Path) -> None:
    assert load(f"{file}:apply")(torch.ones(1, 3, 4, 4)).shape == (1, 4, 2, 2)
    assert load(f"{file}:alone")().shape == (1, 1, 2, 2)
    assert load("torch.nn.functional:conv2d") is torch.nn.functional.conv2d


def test_the_seed_decides_the_random_weights(file: Path) -> None:
    same = load(f"{file}:Net", 1).conv1.weight, load(f"{file}:Net", 1).conv1.weight
    assert torch.equal(*same)
    assert not torch.equal(same[0], load(f"{file}:Net", 2).conv1.weight)


def test_a_model_in_a_package_is_found(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "some_models").mkdir()
    file.rename(tmp_path / "some_models" / "tiny.py")
    monkeypatch.chdir(tmp_path)
    try:
        assert isinstance(load("some_models.tiny:make"), nn.Module)
        assert "nearest names: tiny" not in error_of("some_models.tiny:mke", UsageError)
    finally:
        sys.modules.pop("some_models.tiny", None)
        sys.modules.pop("some_models", None)


def test_a_file_may_import_what_is_beside_it(tmp_path: Path) -> None:
    (tmp_path / "beside_it.py").write_text("from torch import nn\nconv = nn.Conv2d(1, 1, 1)\n")
    (tmp_path / "top-level.py").write_text("from beside_it import conv\n")
    try:
        assert isinstance(load(f"{tmp_path / 'top-level.py'}:conv"), nn.Conv2d)
    finally:
        sys.modules.pop("beside_it", None)
    assert str(tmp_path) not in sys.path


def test_a_file_named_like_a_standard_module_replaces_nothing(tmp_path: Path) -> None:
    import json

    (tmp_path / "json.py").write_text("from torch import nn\nconv = nn.Conv2d(1, 1, 1)\n")
    assert isinstance(load(f"{tmp_path / 'json.py'}:conv"), nn.Conv2d)
    assert sys.modules["json"] is json


def test_the_built_in_network_is_found_and_a_slip_is_corrected() -> None:
    assert type(load("digits")).__name__ == "Digits"
    assert "Did you mean digits?" in error_of("digit", UsageError)


def test_a_missing_file_gives_the_nearest_name(file: Path) -> None:
    assert "my_net.py" in error_of(f"{file.parent}/my_nett.py:Net", MissingFileError)
    assert "no such file" in error_of("nowhere.py", MissingFileError)


def test_a_file_without_an_object_lists_what_it_defines(file: Path) -> None:
    message = error_of(file, UsageError)
    assert "it defines: Net, Sized, Plain, net, number, make" in message
    assert f"Write {file}:Net" in message


def test_an_unknown_object_gives_the_nearest_names(file: Path) -> None:
    assert "nearest names: make" in error_of(f"{file}:mkae", UsageError)
    assert "models in it: Net" in error_of(f"{file}:zzzzzz", UsageError)


def test_a_syntax_error_shows_the_line(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("import torch\ndef make(:\n    pass\n")
    message = error_of(f"{tmp_path / 'bad.py'}:make", FileFormatError)
    assert "not valid Python, line 2" in message
    assert "def make(:\n             ^" in message


@pytest.mark.parametrize("content", [b"\x00\x01\x02", b"\xff\xfe\xfa", b"x = '\x00'"])
def test_a_file_that_is_no_text_is_not_valid_python(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.py").write_bytes(content)
    assert "is not valid Python" in error_of(f"{tmp_path / 'bad.py'}:make", FileFormatError)


def test_a_file_that_raises_says_where(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("a = 1\nb = a / 0\n")
    message = error_of(f"{tmp_path / 'bad.py'}:make", ModelError)
    assert "raised ZeroDivisionError while it was imported" in message
    assert "line 2: b = a / 0" in message


def test_a_file_that_imports_what_is_not_installed_names_it(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("import no_such_package\n")
    message = error_of(f"{tmp_path / 'bad.py'}:make", ModelError)
    assert "ModuleNotFoundError" in message
    assert "Install no_such_package" in message


def test_a_script_that_ends_the_program_is_told_how_not_to(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("import sys\nsys.exit(3)\n")
    message = error_of(f"{tmp_path / 'bad.py'}:make", ModelError)
    assert "status 3" in message
    assert '__name__ == "__main__"' in message


def test_an_unknown_module_is_not_blamed_on_the_model() -> None:
    assert "no module called 'no_such_package'" in error_of("no_such_package.a:Net", UsageError)
    assert "no module called 'torch.nonsense'" in error_of("torch.nonsense:Net", UsageError)


def test_a_factory_that_needs_arguments_shows_what_to_write(file: Path) -> None:
    message = error_of(f"{file}:Sized", UsageError)
    assert "needs arguments: width\n" in message
    assert "return Sized(width=…)" in message
    assert "needs arguments: width" in error_of(f"{file}:sized", UsageError)


def test_a_factory_that_raises_says_where(file: Path) -> None:
    message = error_of(f"{file}:broken", ModelError)
    assert "raised ValueError while it made the model\n  no luck" in message
    assert 'raise ValueError("no luck")' in message


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("number", "it is a int"),
        ("Plain", "a class (Plain) that is no nn.Module"),
        ("text", "calling it gave a str"),
    ],
)
def test_what_is_not_a_model_is_called_by_its_type(file: Path, name: str, reason: str) -> None:
    assert reason in error_of(f"{file}:{name}", UsageError)


def test_weights_in_the_place_of_a_model_are_put_right(tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(b"PK\x03\x04")
    for text in (tmp_path / "w.pt", f"{tmp_path / 'w.pt'}:model"):
        assert "holds weights, not a model" in error_of(text, UsageError)


@pytest.mark.parametrize("text", ["", ":", "a b:c", "a:b c", "a:", "..:x"])
def test_text_that_names_nothing_says_what_a_model_is(text: str) -> None:
    assert "A model is file.py:object" in error_of(text, UsageError)
