"""The script of a stack prints what the demo prints, and needs nothing but PyTorch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from convtrace.demo import DemoOptions, demo_code, run_stack, tensor_blocks
from convtrace.models.stack import WEIGHTS, Layer

RUN_EACH = """
import contextlib, io, json, sys
printed = []
for code in json.load(sys.stdin):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(code, "script.py", "exec"), {"__name__": "__main__"})
    printed.append(out.getvalue())
json.dump(printed, sys.stdout)
"""

COMBINATIONS = [
    *(
        DemoOptions(kernel_size=3, padding=1, weights=weights, transposed=transposed, bias=bias)
        for weights in WEIGHTS
        for transposed in (False, True)
        for bias in (False, True)
    ),
    *(DemoOptions(height=5, width=4, layers=layers) for layers in (1, 2, 3)),
    DemoOptions(height=7, width=6, stride=2, padding=1),
    DemoOptions(height=7, width=6, dilation=2),
    DemoOptions(height=2, width=3, stride=3, dilation=2, transposed=True),
    DemoOptions(in_channels=4, out_channels=6, groups=2),
    DemoOptions(in_channels=4, out_channels=6, groups=2, weights="identity", bias=True),
    DemoOptions(in_channels=6, out_channels=6, groups=6, weights="random", seed=3),
    DemoOptions(in_channels=6, out_channels=6, groups=3, transposed=True, weights="sobel",
                kernel_size=3),
    DemoOptions(in_channels=6, out_channels=6, groups=3, transposed=True),
    DemoOptions(in_channels=3, out_channels=2, transposed=True, layers=3),
    DemoOptions(in_channels=2, out_channels=5, layers=3, height=4, width=4, weights="seed", seed=9),
    DemoOptions(in_channels=1, out_channels=1, kernel_size=1, height=1, width=1),
    DemoOptions(in_channels=8, height=40, width=40),  # PyTorch prints "..." for large tensors
    DemoOptions(height=8, width=8, kernel_size=6, layers=1, weights="blur"),
]  # fmt: skip


def blocks(options: DemoOptions) -> str:
    return tensor_blocks(run_stack(options))


def output_of_scripts(scripts: list[str], folder: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-I", "-c", RUN_EACH],
        input=json.dumps(scripts),
        capture_output=True,
        encoding="utf-8",
        cwd=folder,
        check=True,
    )
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_the_script_of_the_demo_is_a_program_that_prints_the_same_blocks(tmp_path: Path) -> None:
    script = tmp_path / "demo.py"
    script.write_text(demo_code(), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert (done.stdout, done.stderr) == (blocks(DemoOptions()), "")


def test_scripts_of_all_kinds_print_the_same_blocks_as_the_demo(tmp_path: Path) -> None:
    printed = output_of_scripts([demo_code(options) for options in COMBINATIONS], tmp_path)
    for options, text in zip(COMBINATIONS, printed, strict=True):
        assert text == blocks(options), options


def test_comparing_with_another_network_would_be_noticed() -> None:
    assert blocks(DemoOptions(weights="random", seed=1)) != blocks(DemoOptions(weights="random"))


@pytest.mark.parametrize("options", COMBINATIONS, ids=str)
def test_a_script_needs_pytorch_alone_and_fits_a_page(options: DemoOptions) -> None:
    code = demo_code(options)
    assert "convtrace" not in code
    assert [line for line in code.splitlines() if "import" in line] == [
        "import torch",
        "from torch import nn",
    ]
    assert code.isascii()
    assert code.endswith("\n")
    assert not code.endswith("\n\n")
    assert max(map(len, code.splitlines())) <= 100


def test_the_default_script_states_every_kernel_of_the_example() -> None:
    code = demo_code()
    for line in (
        "conv1 = nn.Conv2d(2, 2, kernel_size=2, bias=False)",
        "conv2 = nn.Conv2d(2, 2, kernel_size=2, bias=False)",
        "    conv.weight[0, 0] = 0.25",
        "    conv.weight[0, 1] = 0.5",
        "    conv.weight[1, 0] = 1.0",
        "    conv.weight[1, 1] = 2.0",
    ):
        assert line in code.splitlines()


def test_many_kernels_are_filled_in_a_loop() -> None:
    code = demo_code(DemoOptions(in_channels=9, out_channels=9))
    assert "conv.weight[o, i] = constants[(2 * o + i) % 5]" in code


def test_only_settings_that_differ_from_pytorchs_are_written() -> None:
    plain = Layer(2, 4, kernel_size=3, bias=True)
    assert plain.call == "nn.Conv2d(2, 4, kernel_size=3)"
    full = Layer(
        2, 4, 3, stride=2, padding=1, dilation=2, groups=2, bias=False, transposed=True
    )  # fmt: skip
    assert full.call == (
        "nn.ConvTranspose2d(2, 4, kernel_size=3, stride=2, padding=1, dilation=2, groups=2, "
        "bias=False)"
    )
