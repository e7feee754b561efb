"""The command line: what it answers, and one readable message for everything that goes wrong."""

import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from safetensors.torch import save_file

import convtrace
from convtrace.cli import main
from convtrace.graph import Trace
from convtrace.models.digits import digit, digits
from convtrace.receipt import Receipt

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 2, 3)
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        return self.drop(self.conv1(x))

class Raises(nn.Module):
    def forward(self, x):
        raise ValueError("no \\x1b[31mluck")

class Interrupted(nn.Module):
    def forward(self, x):
        raise KeyboardInterrupt

linear = nn.Linear(2, 2)
conv = nn.Conv2d(1, 1, 2, bias=False)
nn.init.ones_(conv.weight)

def constant():
    return conv(torch.ones(1, 1, 3, 3))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "net.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*arguments: str, **env: str) -> Result:
    return CliRunner().invoke(main, list(arguments), env={"LC_ALL": "C.UTF-8", **env})


def output_of(*arguments: str, **env: str) -> str:
    result = call(*arguments, **env)
    assert result.exit_code == 0, result.output
    return result.stdout


def message_of(*arguments: str) -> str:
    """Run a command that has to fail, and return its message."""
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert result.stderr.startswith("convtrace: ")
    return result.stderr.removeprefix("convtrace: ")


def process(*arguments: str, **env: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "convtrace", *arguments]
    return subprocess.run(command, capture_output=True, env={**os.environ, **env}, check=False)


# What it answers ---------------------------------------------------------------------------------


def test_why_explains_a_number_of_the_shipped_network_out_of_the_box() -> None:
    text = output_of("why", "digits", "conv2[0,5,3,3]")
    value = digits().conv2(digits().relu1(digits().conv1(digit())))[0, 5, 3, 3].item()
    assert f"conv2[0,5,3,3] = {value:.8f}".replace("-", "−") in text
    assert "a handwritten digit, shipped with convtrace · float32 (1, 1, 8, 8)" in text
    assert "evaluation mode" in text


def test_why_explains_several_numbers_in_the_order_asked() -> None:
    text = output_of("why", "digits", "conv1[0,0,0,0]", "input[0,0,2,2]", "conv1.bias[1]")
    places = [text.index(start) for start in ("conv1[0,0,0,0] ", "input[0,0,2,2] ")]
    assert places == sorted(places)
    assert text.index("conv1.bias[1] ") > places[-1]


def test_output_is_korean_by_option_and_by_locale() -> None:
    asked = output_of("why", "digits", "conv1[0,0,0,0]", "--lang", "ko")
    assert "평가 모드" in asked
    assert asked == output_of("why", "digits", "conv1[0,0,0,0]", LC_ALL="ko_KR.UTF-8")


def test_a_receipt_that_does_not_match_is_told_by_the_exit_status(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    certified = Trace.why

    def mistaken(self: Trace, address: Any) -> Receipt:
        receipt = certified(self, address)
        return replace(receipt, reported=5.0, residual=4.0, verdict="mismatch")

    monkeypatch.setattr(Trace, "why", mistaken)
    result = call("why", "digits", "conv1[0,0,0,0]")
    assert result.exit_code == 1
    assert "MISMATCH" in result.stdout


def test_all_shows_every_term_and_limit_cuts_them() -> None:
    whole = output_of("why", "digits", "conv2[0,5,3,3]", "--all")
    cut = output_of("why", "digits", "conv2[0,5,3,3]", "--limit", "9")
    assert len(whole) > len(cut)
    assert "9 of 36" in cut


def test_color_is_plain_when_piped_and_obeys_its_options() -> None:
    arguments = ("why", "digits", "conv1[0,0,0,0]")
    assert "\x1b[" not in output_of(*arguments)
    assert "\x1b[" in output_of(*arguments, "--color", "always")
    assert "\x1b[" in output_of(*arguments, "--color", "always", NO_COLOR="1")
    assert "\x1b[" in output_of(*arguments, FORCE_COLOR="1")
    assert "\x1b[" not in output_of(*arguments, FORCE_COLOR="1", NO_COLOR="1")
    assert "\x1b[" not in output_of(*arguments, "--color", "never", FORCE_COLOR="1")


@pytest.mark.parametrize("suffix", ["npy", "npz", "safetensors", "png"])
def test_an_input_of_every_format_gives_the_same_receipt(folder: Path, suffix: str) -> None:
    pixels = np.arange(25, dtype=np.uint8).reshape(5, 5)
    array = (pixels.astype(np.float32) / np.float32(255))[None, None]
    np.save("x.npy", array)
    np.savez("x.npz", x=array)
    save_file({"x": torch.tensor(array)}, "x.safetensors")
    Image.fromarray(pixels).save("x.png")
    arguments = ("why", "net.py:Net", "conv1[0,1,2,2]", "--seed", "4", "--input")
    expected = output_of(*arguments, "x.npy").split("\n\n", 1)[1]
    assert output_of(*arguments, f"x.{suffix}").split("\n\n", 1)[1] == expected


def test_random_inputs_and_weights_repeat_with_the_seed(folder: Path) -> None:
    arguments = ("why", "net.py:Net", "conv1[0,1,2,2]", "--random", "1,1,5,5", "--seed")
    assert output_of(*arguments, "7") == output_of(*arguments, "7")
    assert output_of(*arguments, "7") != output_of(*arguments, "8")
    assert "random, standard normal, seed 7 · float32 (1, 1, 5, 5)" in output_of(*arguments, "7")
    assert "as its code made them, seed 7" in output_of(*arguments, "7")


def test_weights_come_from_the_file(folder: Path) -> None:
    weight = torch.zeros(2, 1, 3, 3)
    save_file({"conv1.weight": weight, "conv1.bias": torch.tensor([1.5, 2.5])}, "w.safetensors")
    torch.save({"conv1.weight": weight, "conv1.bias": torch.tensor([1.5, 2.5])}, "w.pt")
    for file in ("w.safetensors", "w.pt"):
        text = output_of(
            "why", "net.py:Net", "conv1[0,1,2,2]", "--random", "1,1,5,5", "--weights", file
        )
        assert "[0,1,2,2] = 2.5" in text
        assert f"weights  {file}" in text


def test_the_mode_is_evaluation_unless_training_is_asked_for(folder: Path) -> None:
    arguments = ("why", "net.py:Net", "conv1[0,1,2,2]", "--random", "1,1,5,5")
    assert "net.py:Net · evaluation mode" in output_of(*arguments)
    assert "net.py:Net · training mode" in output_of(*arguments, "--train")


def test_notes_say_what_was_converted(folder: Path) -> None:
    np.save("x.npy", np.full((1, 1, 5, 5), 1 / 3))
    text = output_of("why", "net.py:Net", "conv1[0,0,0,0]", "--input", "x.npy")
    assert "The float64 numbers in x.npy were rounded to float32" in text


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")  # torch.compile's own
def test_a_compiled_model_is_said_to_have_run_uncompiled(folder: Path) -> None:
    Path("compiled.py").write_text(
        "import torch\nconv = torch.compile(torch.nn.Conv2d(1, 1, 1))\n", encoding="utf-8"
    )
    text = output_of("why", "compiled.py:conv", "conv2d[0,0,0,0]", "--random", "1,1,2,2")
    assert "The model is compiled." in text


def test_several_inputs_go_to_the_model_in_order(folder: Path) -> None:
    arguments = ("--random", "1,1,3,3", "--random", "1,1,2,2")
    text = output_of("why", "torch.nn.functional:conv2d", "conv2d[0,0,1,1]", *arguments)
    assert text.count("random, standard normal") == 2
    assert "weights" not in text.split("\n\n")[0]


def test_a_computation_without_arguments_needs_no_input(folder: Path) -> None:
    assert "= 4" in output_of("why", "net.py:constant", "conv[0,0,1,1]")


def test_summary_lists_every_step() -> None:
    text = output_of("summary", "digits")
    for step in ("conv1", "relu1", "conv2", "relu2", "pool", "flatten", "fc"):
        assert step in text
    assert "evaluation mode" in text


def test_demo_shows_the_example_and_its_code_prints_it() -> None:
    assert "[[1080.]]" in output_of("demo", "--no-page")
    code = output_of("demo", "--code")
    assert code.endswith("\n")
    compile(code, "demo.py", "exec")


def test_demo_sizes_reach_the_demo() -> None:
    text = output_of(
        "demo", "--height", "4", "--width", "5", "--in-channels", "1", "--out-channels", "3",
        "--kernel-size", "3", "--padding", "1", "--layers", "1", "--bias", "--weights", "sobel",
        "--no-page",
    )  # fmt: skip
    assert "torch.Size([1, 1, 4, 5])" in text
    assert "torch.Size([1, 3, 4, 5])" in text
    assert "torch.Size([3])" in text


# Help --------------------------------------------------------------------------------------------


def test_convtrace_alone_prints_its_help() -> None:
    assert output_of() == output_of("--help")
    assert "An address such as conv2[0,5,3,3] names one number" in output_of()


@pytest.mark.parametrize("verb", ["demo", "why", "summary"])
def test_the_help_of_each_verb_asks_its_question_and_shows_an_example(verb: str) -> None:
    text = output_of(verb, "--help")
    assert "?" in text.split("\n\n")[1]
    assert f"convtrace {verb}" in text


def test_the_version_is_that_of_the_package() -> None:
    assert convtrace.__version__ in output_of("--version")


IMPORTED = """
import sys
from convtrace.cli import main
try:
    main({arguments!r})
except SystemExit:
    print(sorted({{"torch", "numpy", "rich"}} & set(sys.modules)), file=sys.stderr)
"""


def imported_by(*arguments: str) -> str:
    code = IMPORTED.format(arguments=list(arguments))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stderr.strip()


@pytest.mark.parametrize("arguments", [("--help",), ("why", "--help"), ("--version",), ("why",)])
def test_help_imports_neither_torch_nor_numpy_nor_rich(arguments: tuple[str, ...]) -> None:
    assert imported_by(*arguments).endswith("[]")


def test_the_test_above_can_fail() -> None:
    assert imported_by("demo", "--no-page") == "['numpy', 'rich', 'torch']"


# Bad input ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("conv2[0,5,3,9]", ["no such number", "(1, 16, 6, 6)", "axis 3", "conv2[0,15,5,5]"]),
        ("conv2[0,5,3]", ["3 position(s) for 4 axes"]),
        ("conv9[0,0,0,0]", ["'conv9'", "nearest names: conv2, conv1"]),
        ("conv2[0,5", ["not an address", "conv1[0,1,0,0]"]),
        ("conv2[0,-1,0,0]", ["not an address", "'-1'", "no negative ones"]),
        ("conv2", ["names a whole tensor", "(1, 16, 6, 6)", "conv2[0,0,0,0]"]),
        ("konv2", ["'konv2'", "conv2"]),
    ],
)
def test_a_bad_address_says_what_disagrees_and_what_to_write(
    address: str, parts: list[str]
) -> None:
    message = message_of("why", "digits", address)
    for part in parts:
        assert part in message


def test_an_input_whose_channels_do_not_fit_names_both_counts(folder: Path) -> None:
    message = message_of("why", "net.py:Net", "conv1[0,0,0,0]", "--random", "1,3,8,8")
    for part in (
        "conv1",
        "(1, 3, 8, 8)",
        "reads 1 channel;",
        "has 3",
        "Pass an input with 1 channel.",
    ):
        assert part in message


def test_a_colour_image_for_a_grey_network_names_the_option(folder: Path) -> None:
    Image.new("RGB", (8, 8)).save("x.png")
    message = message_of("why", "digits", "conv1[0,0,0,0]", "--input", "x.png")
    assert "--grey reads an image that way" in message
    assert output_of("why", "digits", "conv1[0,0,0,0]", "--input", "x.png", "--grey")


def test_a_model_that_raises_says_where_and_cannot_paint_the_terminal(folder: Path) -> None:
    message = message_of("why", "net.py:Raises", "conv1[0,0,0,0]", "--random", "1,3")
    assert "the model raised ValueError" in message
    assert "net.py, line 16" in message
    assert "--traceback" in message
    assert "\x1b" not in message


def test_traceback_shows_the_whole_chain(folder: Path) -> None:
    result = call("why", "net.py:Raises", "a[0]", "--random", "1,3", "--traceback")
    assert result.exit_code == 2
    assert "Traceback" in result.stderr
    assert "ValueError" in result.stderr


def test_a_model_without_a_convolution_lists_what_ran(folder: Path) -> None:
    message = message_of("why", "net.py:linear", "linear[0,0]", "--random", "1,2")
    assert "no convolution" in message
    assert "addmm" in message


def test_an_empty_input_says_its_shape(folder: Path) -> None:
    message = message_of("why", "net.py:Net", "conv1[0,0,0,0]", "--random", "1,1,0,5")
    assert "empty" in message
    assert "(1, 1, 0, 5)" in message


def broken_files(folder: Path) -> None:
    array = np.ones((1, 1, 5, 5), dtype=np.float32)
    np.save("good.npy", array)
    Path("cut.npy").write_bytes(Path("good.npy").read_bytes()[:-8])
    Image.new("L", (5, 5)).save("image.png")
    Path("image.png").rename("image.npy")
    Path("empty.npy").touch()
    Path("folder.npy").mkdir()
    np.savez("two.npz", a=array, b=array)
    np.save("objects.npy", np.array([Malicious()], dtype=object), allow_pickle=True)
    Path("pickled.npy").write_bytes(pickle.dumps(Malicious()))
    Path("data.csv").write_text("1,2")
    save_file({"x": torch.ones(1, 1, 5, 5)}, "good.safetensors")
    Path("cut.safetensors").write_bytes(Path("good.safetensors").read_bytes()[:-8])
    torch.save({"conv1.weight": Malicious()}, "evil.pt")


class Malicious:
    """Creates the file `ran` when it is unpickled."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("ran"),)


@pytest.mark.parametrize(
    ("option", "file", "part"),
    [
        ("--input", "god.npy", "nearest names"),
        ("--input", "cut.npy", "is cut off"),
        ("--input", "image.npy", "a PNG image"),
        ("--input", "empty.npy", "0 bytes"),
        ("--input", "folder.npy", "a directory"),
        ("--input", "two.npz", "two.npz:a"),
        ("--input", "two.npz:c", "no array called 'c'"),
        ("--input", "objects.npy", "Python objects"),
        ("--input", "pickled.npy", "a Python pickle"),
        ("--input", "data.csv", ".npy .npz .safetensors"),
        ("--input", "cut.safetensors", "cut off or damaged"),
        ("--input", "evil.pt", "weights_only=True"),
        ("--weights", "evil.pt", "safetensors"),
        ("--weights", "pickled.npy", "a Python pickle"),
        ("--weights", "cut.safetensors", "cut off or damaged"),
        ("--weights", "good.safetensors", "conv1.weight"),
        ("--weights", "nowhere.pt", "no such file"),
    ],
)
def test_a_bad_file_gives_one_message_and_runs_nothing(
    folder: Path, option: str, file: str, part: str
) -> None:
    broken_files(folder)
    given = [] if option == "--input" else ["--random", "1,1,5,5"]
    message = message_of("why", "net.py:Net", "conv1[0,0,0,0]", *given, option, file)
    assert part in message
    assert not Path("ran").exists()


def test_no_input_gives_a_shape_that_fits(folder: Path) -> None:
    message = message_of("why", "net.py:Net", "conv1[0,0,0,0]")
    assert "conv1 (Conv2d), reads 1 channel\n" in message
    assert "--random 1,1,224,224" in message


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["Missing argument 'MODEL'", 'convtrace why digits "conv2[0,5,3,3]"']),
        (["digits"], ["Missing argument", "Example:"]),
        (["digits", "a[0]", "--limt", "3"], ["--limit", "Example:"]),
        (["digits", "a[0]", "--random", "1,-3"], ["'1,-3' is not a shape", "1,3,224,224"]),
        (["digits", "a[0]", "--all", "--limit", "3"], ["--all and --limit 3"]),
        (["digits", "a[0]", "--input", "x", "--random", "1"], ["--input and --random"]),
        (["digits", "a[0]", "--grey"], ["--grey", "--input FILE"]),
        (["digits", "a[0]", "--lang", "fr"], ["'fr' is not one of 'en', 'ko'"]),
        (["digit", "a[0]"], ["Did you mean digits?"]),
    ],
)
def test_options_that_do_not_fit_are_explained(arguments: list[str], parts: list[str]) -> None:
    message = message_of("why", *arguments)
    for part in parts:
        assert part in message


def test_an_unknown_verb_gives_the_nearest() -> None:
    assert "wyh" in message_of("wyh")


def test_a_fault_of_convtrace_is_called_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("convtrace.demo.run_demo", fail)
    result = call("demo")
    assert result.exit_code == 70
    assert "a fault of convtrace itself: ZeroDivisionError" in result.stderr
    assert "Traceback" not in result.stderr
    assert "Traceback" in call("demo", "--traceback").stderr


def test_running_out_of_memory_is_said_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("convtrace.demo.run_demo", fail)
    assert "not enough memory" in message_of("demo")


# Whole processes ---------------------------------------------------------------------------------


def test_an_interrupted_run_ends_quietly_with_status_130(folder: Path) -> None:
    done = process("why", "net.py:Interrupted", "a[0]", "--random", "1,3")
    assert done.returncode == 130
    assert done.stdout == b""
    assert done.stderr.strip() == b""


def test_a_reader_that_stops_reading_is_no_error(folder: Path) -> None:
    command = [sys.executable, "-m", "convtrace", "demo"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == b""
    assert running.returncode == 1


def test_an_encoding_without_our_signs_gets_plain_ones(folder: Path) -> None:
    done = process("why", "digits", "conv2[0,5,3,3]", PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert b"conv2[0,5,3,3] = -0.49129507" in done.stdout
    assert b"?" not in done.stdout


def test_an_encoding_without_korean_is_refused_by_name(folder: Path) -> None:
    arguments = ("why", "digits", "conv2[0,5,3,3]")
    done = process(*arguments, "--lang", "ko", PYTHONIOENCODING="latin-1")
    assert done.returncode == 2
    assert b"its encoding is iso8859-1" in done.stderr
    by_locale = process(*arguments, PYTHONIOENCODING="latin-1", LC_ALL="ko_KR.UTF-8")
    assert by_locale.returncode == 0
    assert b"evaluation mode" in by_locale.stdout
