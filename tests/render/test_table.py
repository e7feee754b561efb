"""The saving hub: what it refuses, and what it says then."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import convtrace as ct
from convtrace.render.table import EXTRAS


@pytest.fixture(scope="module")
def trace() -> ct.Trace:
    torch.manual_seed(0)
    return ct.trace(nn.Conv2d(1, 2, 3), torch.randn(1, 1, 5, 5))


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("a.svg", {"width": "wide"}, "It is a number or None."),
        ("a.svg", {"figure": ["stack"]}, "It is a text."),
        ("a.gif", {"sample": "0"}, "It is a whole number."),
        ("a.gif", {"channel": True}, "It is a whole number."),
        ("a.gif", {"frames": float("nan")}, "It is a whole number or None."),
        ("a.gif", {"loop": 1}, "It is True or False."),
        ("a.html", {"steps": "conv2d"}, "It is a list of texts or None."),
        ("a.html", {"steps": [1]}, "It is a list of texts or None."),
        ("a.html", {"budget": 1e6}, "It is a whole number."),
        ("a.html", {"budget": -1}, "It is a number of bytes"),
        ("a.html", {"steps": ["nope"]}, "nothing in this trace is called 'nope'"),
        ("a.csv", {"step": 3}, "It is a text or a list of texts or None."),
        ("a.py", {"framework": []}, "It is a text."),
        ("a.svg", {"lang": 3}, "no such language: 3"),
        ("a.svg", {"theme": []}, "It is 'light' or 'dark'."),
    ],
)
def test_an_option_of_another_type_is_told_and_leaves_no_file(
    trace: ct.Trace, tmp_path: Path, name: str, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ct.ConvtraceError) as caught:
        trace.save(tmp_path / name, **options)
    assert words in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_value_of_any_size_makes_a_short_message(trace: ct.Trace, tmp_path: Path) -> None:
    with pytest.raises(ct.UsageError) as caught:
        trace.save(tmp_path / "a.svg", width="9" * 100_000)
    assert len(str(caught.value)) < 200


def test_an_address_may_be_given_as_one(trace: ct.Trace, tmp_path: Path) -> None:
    trace.save(tmp_path / "one.svg", address=ct.Address("conv2d", (0, 1, 0, 2)))
    trace.save(tmp_path / "two.svg", address="conv2d[0,1,0,2]")
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


HIDDEN = """
import sys
import convtrace as ct


class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {package!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)


sys.meta_path.insert(0, Hidden())
try:
    ct.load({saved!r}).save({file!r})
except ct.MissingDependencyError as error:
    print(error)
"""


def test_a_missing_pillow_is_called_by_the_name_that_pip_knows(
    trace: ct.Trace, tmp_path: Path
) -> None:
    saved = tmp_path / "run.convtrace"
    trace.save(saved)
    code = HIDDEN.format(package="PIL", saved=str(saved), file=str(tmp_path / "a.gif"))
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ".gif needs the package pillow" in ran.stdout
    assert ran.stdout.strip().endswith("pip install pillow")


@pytest.mark.parametrize("package", ["av", "resvg_py", "cairosvg", "cairocffi", "xlsxwriter"])
def test_a_package_that_is_missing_is_named_with_its_extra(
    trace: ct.Trace, tmp_path: Path, package: str
) -> None:
    saved = tmp_path / "run.convtrace"
    trace.save(saved)
    suffix = {"av": ".mp4", "resvg_py": ".png", "xlsxwriter": ".xlsx"}.get(package, ".pdf")
    file = str(tmp_path / f"a{suffix}")
    code = HIDDEN.format(package=package, saved=str(saved), file=file)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f'pip install "convtrace[{EXTRAS[package]}]"' in ran.stdout
    assert list(tmp_path.iterdir()) == [saved]


FULL = """
import resource, signal
import convtrace as ct

trace = ct.load({saved!r})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    trace.save({file!r})
except ct.FileError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files as Unix does")
@pytest.mark.parametrize("suffix", [".svg", ".gif", ".xlsx", ".html", ".convtrace", ".pdf", ".csv"])
def test_a_disk_that_is_full_leaves_the_file_as_it_was(
    trace: ct.Trace, tmp_path: Path, suffix: str
) -> None:
    saved, file = tmp_path / "run.convtrace", tmp_path / f"a{suffix}"
    trace.save(saved)
    file.write_text("before")
    code = FULL.format(saved=str(saved), file=str(file))
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "What was there before is unchanged." in ran.stdout
    assert file.read_text() == "before"
    assert {*tmp_path.iterdir()} == {saved, file}


@pytest.mark.parametrize("suffix", [".json", ".html", ".convtrace"])
def test_a_name_that_is_no_unicode_is_told_and_leaves_the_file_as_it_was(
    tmp_path: Path, suffix: str
) -> None:
    model = nn.Sequential()
    model.add_module("half\ud800", nn.Conv2d(1, 1, 2))
    file = tmp_path / f"a{suffix}"
    file.write_text("before")
    with pytest.raises(ct.FileError, match="Rename the module"):
        ct.trace(model, torch.ones(1, 1, 3, 3)).save(file)
    assert file.read_text() == "before"
    assert list(tmp_path.iterdir()) == [file]


def test_a_trace_of_too_many_numbers_is_not_written_as_json(
    trace: ct.Trace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 25 + 2 * 9 + 2 + 2 * 9  # input, weight, bias, output
    monkeypatch.setattr("convtrace.render.documents.document.MOST_NUMBERS", count)
    trace.save(tmp_path / "a.json")
    before = (tmp_path / "a.json").read_bytes()
    monkeypatch.setattr("convtrace.render.documents.document.MOST_NUMBERS", count - 1)
    with pytest.raises(ct.UsageError, match=f"{count} numbers, at most {count - 1}"):
        trace.save(tmp_path / "a.json")
    assert (tmp_path / "a.json").read_bytes() == before
