"""The shipped network, digit and report agree with each other and with the data set."""

import hashlib
import importlib.util
import re
import subprocess
import sys
from importlib import resources
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest
import safetensors.torch
import torch
from sklearn import datasets  # pyright: ignore[reportMissingTypeStubs]

from convtrace.models.digits import Digits, digit, digits

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = resources.files("convtrace.models") / "digits.safetensors"


def _load_script() -> ModuleType:
    path = ROOT / "scripts" / "train_digits.py"
    spec = importlib.util.spec_from_file_location("train_digits", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


script = cast(Any, _load_script())


@pytest.fixture(scope="module")
def report() -> str:
    return (ROOT / "docs" / "digits-report.txt").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def data() -> Any:
    return script.load_data()


def _find(pattern: str, text: str) -> tuple[str, ...]:
    match = re.search(pattern, text, re.MULTILINE)
    assert match is not None, f"the report has no line like {pattern!r}"
    return match.groups()


def _shipped(report: str) -> tuple[int, int, int]:
    """Image index, label and answer that the report states."""
    index, label, answer = _find(r"^Shipped digit: image (\d+) .*label (\d), read as (\d)$", report)
    return int(index), int(label), int(answer)


def test_shipped_weights_read_as_many_held_out_images_as_the_report_says(
    report: str, data: Any
) -> None:
    correct, total, percent = _find(r"^Test accuracy: (\d+) of (\d+) = ([\d.]+) %$", report)
    with torch.no_grad():
        predicted = digits()(data.images[data.test]).argmax(dim=1)
    measured = int((predicted == data.labels[data.test]).sum())
    assert (measured, len(data.test)) == (int(correct), int(total))
    assert percent == f"{100 * measured / len(data.test):.2f}"
    assert measured / len(data.test) > 0.97


def test_held_out_images_are_every_fifth_of_each_digit_and_training_has_all_others(
    report: str, data: Any
) -> None:
    labels: list[int] = cast(Any, datasets).load_digits().target.tolist()
    expected: list[int] = []
    for label in range(10):
        of_label = [index for index, found in enumerate(labels) if found == label]
        expected += of_label[4::5]
    assert data.test.tolist() == sorted(expected)
    assert data.train.tolist() == sorted(set(range(len(labels))) - set(expected))
    assert _find(r"^Training images: (\d+)$", report) == (str(len(data.train)),)
    assert _find(r"^Test images: (\d+)$", report) == (str(len(data.test)),)


def test_report_names_the_weights_that_ship_and_they_are_under_200_kilobytes(report: str) -> None:
    content = WEIGHTS.read_bytes()
    size, digest = _find(r"^Weights: digits\.safetensors, (\d+) bytes, sha256 (\w+)$", report)
    assert (int(size), digest) == (len(content), hashlib.sha256(content).hexdigest())
    assert len(content) < 200_000


def test_report_counts_the_parameters_of_the_shipped_network(report: str) -> None:
    parameters = sum(parameter.numel() for parameter in digits().parameters())
    assert _find(r"^Parameters: (\d+)$", report) == (str(parameters),)


def test_report_lists_the_layers_of_the_shipped_network(report: str) -> None:
    for line in script.describe_layers(digits(), digit()):
        assert line in report.splitlines()


def test_shipped_digit_is_the_image_of_the_data_set_that_the_report_names(report: str) -> None:
    index, label, _ = _shipped(report)
    bunch = cast(Any, datasets).load_digits()
    pixels = digit()
    assert (pixels.dtype, tuple(pixels.shape)) == (torch.float32, (1, 1, 8, 8))
    assert cast(Any, pixels[0, 0].double() * 16).tolist() == bunch.images[index].tolist()
    assert int(bunch.target[index]) == label


def test_shipped_digit_was_held_out_from_training(report: str, data: Any) -> None:
    index, _, _ = _shipped(report)
    assert index in data.test.tolist()
    assert index not in data.train.tolist()


def test_shipped_digit_is_read_correctly(report: str) -> None:
    _, label, answer = _shipped(report)
    assert int(digits()(digit()).argmax()) == label == answer


def test_digits_returns_a_float32_network_in_eval_mode_with_the_weights_of_the_file() -> None:
    network = digits()
    stored = safetensors.torch.load(WEIGHTS.read_bytes())
    loaded = network.state_dict()
    assert not any(module.training for module in network.modules())
    assert {weight.dtype for weight in loaded.values()} == {torch.float32}
    assert loaded.keys() == stored.keys()
    assert all(torch.equal(loaded[name], stored[name]) for name in stored)


def test_digits_leaves_the_random_state_as_it_was() -> None:
    before = torch.get_rng_state()
    digits()
    assert torch.equal(torch.get_rng_state(), before)


def test_a_new_untrained_network_has_other_weights_than_the_trained_one() -> None:
    with script.repeatable():
        untrained = Digits()
    assert not torch.equal(untrained.conv1.weight, digits().conv1.weight)


def test_address_conv2_0_5_3_3_is_a_number_of_the_second_convolution() -> None:
    network = digits()
    value = network.conv2(network.relu1(network.conv1(digit())))
    assert tuple(value.shape) == (1, 16, 6, 6)
    assert torch.isfinite(value[0, 5, 3, 3])


def test_every_channel_of_both_convolutions_answers_to_some_image(data: Any) -> None:
    network = digits()
    with torch.no_grad():
        first = network.relu1(network.conv1(data.images))
        second = network.relu2(network.conv2(first))
    assert bool((first > 0).any(dim=3).any(dim=2).any(dim=0).all())
    assert bool((second > 0).any(dim=3).any(dim=2).any(dim=0).all())


def test_training_twice_gives_the_same_bytes(data: Any) -> None:
    contents: list[bytes] = []
    for _ in range(2):
        with script.repeatable():
            contents.append(safetensors.torch.save(script.train(data, epochs=1).state_dict()))
    assert contents[0] == contents[1]


def test_a_write_that_fails_leaves_the_old_file_and_no_part_of_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_self: Path, _target: Path) -> None:
        raise OSError("disk full")

    path = tmp_path / "weights"
    path.write_bytes(b"old")
    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        script.write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def _torch_is_imported_by(statement: str) -> bool:
    code = f"{statement}; import sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {"True": True, "False": False}[done.stdout.strip()]


def test_importing_the_models_package_does_not_import_torch() -> None:
    assert not _torch_is_imported_by("import convtrace.models")


def test_the_torch_check_can_fail_as_the_digits_module_does_import_torch() -> None:
    assert _torch_is_imported_by("import convtrace.models.digits")
