"""What `ct.diff` says of input that cannot be right: an error or a verdict, in both languages."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from torch import Tensor

import convtrace as ct
from convtrace.cli import main
from mismatch.wrong import numbers

X, W, B = numbers(1, 3, 8, 8), numbers(4, 3, 3, 3), numbers(4)
Y = F.conv2d(X, W, B)
WHOLE = torch.arange(-96, 96).reshape(1, 3, 8, 8).to(torch.int8)
KERNEL = torch.arange(-54, 54).reshape(4, 3, 3, 3).to(torch.int8)


def report_of(mine: Any, reference: Any = (X, W, B), **settings: Any) -> ct.Report:
    report = ct.diff(mine, reference, **settings)
    assert isinstance(report, ct.Report)
    return report


def with_nan(array: Tensor) -> Tensor:
    changed = array.clone()
    changed[0, 0, 0, 0] = float("nan")
    return changed


def texts(report: ct.Report) -> tuple[str, str]:
    return tuple(" ".join(report.text(lang).split()) for lang in ("en", "ko"))  # type: ignore[return-value]  # two


# Python -------------------------------------------------------------------------------------------


def test_too_many_channels_are_told_apart_from_other_settings() -> None:
    with pytest.raises(ct.ShapeError, match="It has 3 channels where the arrays make 4") as caught:
        ct.diff(Y[:, :3], (X, W, B))
    nearest = re.findall(r"give (\(.*?\))", str(caught.value))
    assert nearest[0] == "(1, 4, 6, 6)"
    assert len(set(nearest)) == len(nearest) == 3


def test_another_number_of_axes_is_told() -> None:
    with pytest.raises(ct.ShapeError, match="It has 2 axes, and an output of this layer has 4"):
        ct.diff(Y[0, 0], (X, W, B))


def test_settings_that_only_explain_the_shape_are_not_called_found() -> None:
    english, korean = texts(report_of(Y[:, :, :5, :1]))
    assert "Settings that give this shape: stride" in english
    assert "But then the numbers are others." in english
    assert "Settings found" not in english
    assert "이 모양이 나오는 설정" in korean


def test_nan_in_the_input_is_said_where_the_output_has_none() -> None:
    report = report_of(Y, (with_nan(X), W, B), stride=1, padding=0)
    assert report.verdict == "mismatch"
    english, korean = texts(report)
    assert "x holds NaN or infinity (1 number)" in english
    assert "x 배열에 NaN이나 무한대가 1개 있습니다" in korean


def test_nan_in_the_output_alone_is_a_mismatch_without_a_cause() -> None:
    report = report_of(with_nan(Y), stride=1, padding=0)
    assert (report.verdict, report.causes) == ("mismatch", ())
    assert "1 of them is NaN or infinite" in texts(report)[0]


@pytest.mark.parametrize("role", ["mine", "x", "weight"])
def test_an_empty_array_is_refused_by_name(role: str) -> None:
    arrays = {"mine": Y, "x": X, "weight": W}
    arrays[role] = arrays[role][:0]
    with pytest.raises(ct.EmptyTensorError, match=f"{role} is empty"):
        ct.diff(arrays["mine"], (arrays["x"], arrays["weight"], B))


def test_integers_that_overflow_are_said_to() -> None:
    right = F.conv2d(WHOLE.to(torch.int32), KERNEL.to(torch.int32))
    assert report_of(right, (WHOLE, KERNEL)).verdict == "exact"
    report = report_of(right.to(torch.int8), (WHOLE, KERNEL))
    assert report.verdict == "rounding"
    english, korean = texts(report)
    assert "left the range of int8 and wrapped around" in english
    assert "int8 범위를 벗어나" in korean


@pytest.mark.parametrize("mine", [torch.float64, torch.float16])
@pytest.mark.parametrize("x", [torch.float64, torch.float32])
def test_different_dtypes_are_judged_by_the_coarsest(mine: torch.dtype, x: torch.dtype) -> None:
    report = report_of(Y.to(mine), (X.to(x), W, B), stride=1, padding=0)
    assert report.verdict in ("exact", "rounding")


@pytest.mark.parametrize("returned", ["hello", [[1.0], [1.0, 2.0]], {"a": "b"}, object()])
def test_a_callable_that_returns_no_numbers_is_refused(returned: object) -> None:
    with pytest.raises(ct.NoValueError, match="mine returned no"):
        ct.diff(lambda x: returned, (X, W, B))


def test_a_callable_that_raises_keeps_what_it_said() -> None:
    def broken(x: Tensor) -> Tensor:
        raise RuntimeError("illegal memory access")

    with pytest.raises(ct.ModelError, match="mine raised RuntimeError: illegal memory access"):
        ct.diff(broken, (X, W, B))


def test_a_callable_that_draws_numbers_is_not_called_proved_by_its_elements() -> None:
    def drawn(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return F.conv2d(x, weight, bias) + torch.randn(1)

    report = report_of(drawn, stride=1, padding=0)
    assert [cause.id for cause in report.causes] == ["deterministic.not"]
    english, korean = texts(report)
    assert "Cause, seen when it ran twice:" in english
    assert "reproduces" not in english
    assert "두 번 실행하여 확인한 원인입니다" in korean


def test_a_damaged_onnx_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.onnx"
    for content, said in ((b"", "is empty"), (b"no model at all", "not an ONNX model")):
        file.write_bytes(content)
        with pytest.raises(ct.FileError, match=said):
            ct.diff(file, (X, W, B))


# Command line -------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    arrays = {"x": X, "w": W, "b": B, "y": Y, "less": Y[:, :3], "none": Y[:0]}
    arrays |= {"nan": with_nan(Y), "hot": with_nan(X)}
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array.numpy())
    (tmp_path / "bad.onnx").write_bytes(b"no model at all")
    (tmp_path / "kernel.py").write_text(
        "import torch\n"
        "def broken(x): raise RuntimeError('illegal memory access')\n"
        "def text(x): return 'hello'\n"
        "def drawn(x): return torch.randn(1, 4, 6, 6)\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("mine", "said"),
    [
        ("less.npy", "It has 3 channels where the arrays make 4"),
        ("none.npy", "mine is empty"),
        ("kernel.py:broken", "mine raised RuntimeError: illegal memory access"),
        ("kernel.py:text", "mine returned no numbers"),
        ("bad.onnx", "not an ONNX model"),
        ("gone.npy", "no such file"),
    ],
)
@pytest.mark.parametrize("lang", ["en", "ko"])
def test_bad_input_ends_the_command_with_status_2(
    mine: str, said: str, lang: str, folder: Path
) -> None:
    arguments = ["diff", mine, "--x", "x.npy", "--weight", "w.npy", "--bias", "b.npy"]
    result = CliRunner().invoke(main, [*arguments, "--lang", lang])
    assert result.exit_code == 2, result.output
    assert said in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("mine", "x", "english", "korean"),
    [
        ("nan.npy", "x.npy", "NaN or infinite", "NaN이나 무한대"),
        ("y.npy", "hot.npy", "x holds NaN", "x 배열에 NaN"),
        ("kernel.py:drawn", "x.npy", "Not deterministic", "실행할 때마다 다릅니다"),
    ],
)
def test_what_has_a_verdict_is_judged_in_the_reader_s_language(
    mine: str, x: str, english: str, korean: str, folder: Path
) -> None:
    arguments = ["diff", mine, "--x", x, "--weight", "w.npy", "--bias", "b.npy"]
    arguments += ["--padding", "0", "--fail-on", "mismatch"]
    for lang, said in (("en", english), ("ko", korean)):
        result = CliRunner().invoke(main, [*arguments, "--lang", lang])
        assert result.exit_code == 1, result.output
        assert said in result.output


def test_a_callable_may_write_to_what_it_gets() -> None:
    def in_place(x: torch.Tensor) -> torch.Tensor:
        x -= 1.0
        x += 1.0
        out = F.conv2d(x, kernel)
        x.zero_()
        return out

    x, kernel = (part.to(torch.float32) / 8 for part in (WHOLE, KERNEL))
    before = x.clone()
    report = report_of(in_place, (x, kernel))
    assert report.verdict in ("exact", "rounding")
    assert not any(key == "diff.note.nondeterministic" for key, _ in report.notes)
    assert torch.equal(x, before)


def test_a_setting_that_nobody_gave_is_not_proved_wrong() -> None:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(1, 3, 8, 8, generator=draw)
    kernel = torch.randn(4, 3, 3, 3, generator=draw)
    cropped = F.conv2d(x, kernel, padding=1)[:, :, :5]
    report = report_of(cropped, (x, kernel))
    assert not report.proved
    assert not any(cause.proved for cause in report.causes)


def test_a_callable_that_returns_one_number_is_told_so() -> None:
    x, weight = torch.ones(1, 1, 4, 4), torch.ones(1, 1, 2, 2)
    with pytest.raises(ct.ShapeError, match="mine is a single number, and not an array"):
        ct.diff(lambda x: x.sum(), (x, weight))
