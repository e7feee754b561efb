"""Starting: what is imported before an answer, and Ctrl-C in the midst of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import convtrace as ct
from convtrace.cli import VERBS, Commands, main
from convtrace.models.digits import digit, digits

STARTED = """
import sys
sys.argv = ["convtrace", *{arguments!r}]
from convtrace.__main__ import main
try:
    main()
except SystemExit as stopped:
    assert not stopped.code, stopped.code
print(*sys.modules, file=sys.stderr)
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("start") / "saved.convtrace"
    with torch.no_grad():
        ct.trace(digits(), digit()).save(file)
    return str(file)


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def imported_by(*arguments: str) -> set[str]:
    done = python(STARTED.format(arguments=arguments))
    assert done.returncode == 0, done.stderr
    return set(done.stderr.splitlines()[-1].split())


# What is imported --------------------------------------------------------------------------------

NEEDLESS = set(
    "torch PIL onnx onnxruntime safetensors difflib traceback tempfile asyncio unittest html "
    "importlib.resources rich.progress rich.table rich.traceback rich.pretty numpy.testing "
    "numpy.random numpy.polynomial numpy.fft numpy.ma convtrace.split convtrace.projection "
    "convtrace.receptive convtrace.summary convtrace.mismatch convtrace.frontends.torch "
    "convtrace.loading.models convtrace.rules.again convtrace.rules.attention "
    "convtrace.rules.backward convtrace.rules.blends convtrace.rules.conv_backward "
    "convtrace.rules.conv_uses convtrace.rules.linear convtrace.rules.norm "
    "convtrace.rules.quantized".split()
)
"""What an answer from a saved convolution has no use for."""


def test_a_receipt_of_a_saved_convolution_imports_nothing_needless(saved: str) -> None:
    imported = imported_by("why", saved, "conv2[0,5,3,3]")
    assert not NEEDLESS & imported
    assert {"numpy", "convtrace.rules.conv"} <= imported


def test_other_steps_import_the_file_of_their_rule(saved: str) -> None:
    imported = imported_by("why", saved, "fc[0,8]")
    assert "convtrace.rules.linear" in imported
    assert "convtrace.rules.conv_backward" not in imported


def test_the_list_of_verbs_imports_none_of_them() -> None:
    imported = imported_by("--help")
    assert not {name for name in imported if name.startswith("convtrace.commands.")} - {
        "convtrace.commands.options",
        "convtrace.commands.output",
    }
    assert not {"numpy", "rich", "json", "pathlib", "traceback", "dataclasses"} & imported


def test_importing_convtrace_imports_hardly_anything() -> None:
    done = python(
        "import sys; before = set(sys.modules); import convtrace; print(*set(sys.modules) - before)"
    )
    assert set(done.stdout.split()) <= {"convtrace", "__future__", "importlib"}


def test_each_verb_of_the_list_is_a_command_of_its_name() -> None:
    assert isinstance(main, Commands)
    for verb in VERBS:
        command = main.get_command(None, verb)  # type: ignore[arg-type]  # the context is not read
        assert command is not None
        assert command.name == verb


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts threads as Linux does")
def test_a_receipt_of_a_saved_trace_starts_no_threads_and_leaves_the_environment(
    saved: str,
) -> None:
    code = STARTED.format(arguments=["why", saved, "conv2[0,5,3,3]"]) + (
        "import os\n"
        "assert len(os.listdir('/proc/self/task')) == 1\n"
        "assert 'OPENBLAS_NUM_THREADS' not in os.environ\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr


# Ctrl-C ------------------------------------------------------------------------------------------

PRESSED = """
import signal, sys

class Press:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Press())
sys.argv = ["convtrace", "why", {file!r}, "conv2[0,5,3,3]"]
from convtrace.__main__ import main
main()
"""


@pytest.mark.parametrize(
    "module", ["convtrace.cli", "click", "convtrace.errors", "numpy", "numpy.linalg", "rich.text"]
)
def test_ctrl_c_while_python_imports_ends_quietly(module: str, saved: str) -> None:
    done = python(PRESSED.format(module=module, file=saved))
    assert done.returncode == 130
    assert done.stderr.strip() == ""
    assert done.stdout == ""


def test_a_program_that_was_told_to_ignore_ctrl_c_goes_on(saved: str) -> None:
    code = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    done = python(code + PRESSED.format(module="click", file=saved))
    assert done.returncode == 0
    assert "conv2[0,5,3,3]" in done.stdout
