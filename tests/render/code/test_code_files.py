"""Scripts in every framework that is installed here compute what PyTorch returned."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections import OrderedDict
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import convtrace as ct
from convtrace.errors import UsageError
from convtrace.graph import Trace
from convtrace.models.digits import digit, digits
from convtrace.receipt import Receipt
from convtrace.render.code.files import FRAMEWORKS, receipt_py, trace_py

RUN_EACH = """
import contextlib, io, json, sys
import numpy as np
found = []
for code in json.load(sys.stdin):
    names = {"__name__": "__main__"}
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(code, "script.py", "exec"), names)
    result = np.asarray(names["result"] if "result" in names else names["total"])
    found.append([result.astype(float).tolist(), out.getvalue()])
json.dump(found, sys.stdout)
"""

MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "two layers": (
        lambda: nn.Sequential(
            OrderedDict(conv1=nn.Conv2d(2, 3, 2), relu=nn.ReLU(), conv2=nn.Conv2d(3, 2, 2))
        ),
        (1, 2, 4, 4),
    ),
    "stride": (lambda: nn.Conv2d(2, 2, 3, stride=(2, 1), padding=1), (2, 2, 5, 6)),
    "dilation": (lambda: nn.Conv2d(2, 2, (2, 3), dilation=2, padding=(1, 2)), (1, 2, 5, 5)),
    "groups": (lambda: nn.Conv2d(4, 6, 3, groups=2, bias=False), (1, 4, 4, 4)),
    "same": (lambda: nn.Conv2d(1, 2, 2, padding="same"), (1, 1, 3, 3)),
    "transposed": (
        lambda: nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1, output_padding=1),
        (1, 2, 3, 3),
    ),
    "transposed wide": (lambda: nn.ConvTranspose2d(1, 2, 2, stride=3), (1, 1, 2, 3)),
    "one-d": (
        lambda: nn.Sequential(nn.Conv1d(2, 3, 3, padding=1), nn.ConvTranspose1d(3, 1, 2)),
        (2, 2, 5),
    ),
    "three-d": (lambda: nn.Conv3d(2, 2, 2, stride=(1, 2, 1)), (1, 2, 3, 3, 3)),
    "classifier": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(2, 4, 2),
            nn.AvgPool2d((1, 2)), nn.Flatten(), nn.Linear(4, 3),
        ),
        (1, 1, 4, 6),
    ),
    "reflect": (lambda: nn.Conv2d(1, 2, 3, padding=1, padding_mode="reflect"), (1, 1, 4, 4)),
}  # fmt: skip

NOT_IN_KERAS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "transposed groups": (
        lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2, dilation=2), (1, 4, 3, 3),
    ),
    "unbatched": (lambda: nn.Conv2d(2, 2, 2), (2, 3, 3)),
    "circular": (lambda: nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular"), (1, 1, 3, 3)),
    "ceil": (
        lambda: nn.Sequential(nn.Conv2d(1, 1, 1), nn.MaxPool2d(2, padding=1, ceil_mode=True)),
        (1, 1, 4, 4),
    ),
}  # fmt: skip

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same'")


def trace_of(case: str) -> tuple[Trace, torch.Tensor]:
    """Return the trace of a model with small whole numbers, and what it returned."""
    make, shape = (MODELS | NOT_IN_KERAS)[case]
    torch.manual_seed(2)
    model = make().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randint(-3, 4, parameter.shape))
        x = torch.randint(-4, 6, shape).float()
        return ct.trace(model, x), model(x)


def run_all(scripts: list[bytes], framework: str) -> list[tuple[Any, str]]:
    """Run scripts in one process that knows nothing of convtrace."""
    if importlib.util.find_spec(framework) is None:
        pytest.skip(f"{framework} is not installed here")
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-I", "-W", "ignore", "-c", RUN_EACH],
            input=json.dumps([script.decode() for script in scripts]),
            capture_output=True,
            encoding="utf-8",
            cwd=folder,
            env={
                **os.environ,
                "KERAS_BACKEND": "torch",
                "KERAS_HOME": folder,
                "XLA_FLAGS": "--xla_backend_optimization_level=0",  # it compiles every script
            },
            check=False,
        )
    assert done.returncode == 0, done.stderr
    return [(np.array(result), printed) for result, printed in json.loads(done.stdout)]


def cases_of(framework: str) -> list[str]:
    return [*MODELS, *([] if framework == "keras" else NOT_IN_KERAS)]


def receipts(framework: str) -> list[Receipt]:
    """Return a receipt of the last step of every model; of all steps where code runs at once."""
    return [
        trace.why(step.name, tuple(n // 2 for n in step.shape))
        for trace, _ in map(trace_of, (*MODELS, *NOT_IN_KERAS))
        for step in list(trace.steps.values())[-1 if framework == "jax" else 0 :]
    ]


@cache
def results(framework: str) -> dict[str, list[tuple[Any, str]]]:
    """Run every script of a framework: stacks, receipts, and the digits network."""
    stacks = [trace_py(trace_of(case)[0], framework=framework) for case in cases_of(framework)]
    sums = [receipt_py(receipt, framework=framework) for receipt in receipts(framework)]
    trained = trace_py(ct.trace(digits(), digit()), framework=framework)
    found = run_all([*stacks, *sums, trained], framework)
    return {"stacks": found[: len(stacks)], "sums": found[len(stacks) : -1], "trained": found[-1:]}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_scripts_of_stacks_compute_what_pytorch_returned(framework: str) -> None:
    cases, found = cases_of(framework), results(framework)["stacks"]
    for case, (result, printed) in zip(cases, found, strict=True):
        _, returned = trace_of(case)
        np.testing.assert_array_equal(result, returned.numpy(), err_msg=case)
        assert printed.endswith("largest difference from what torch returned: 0.0\n"), case


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_scripts_of_receipts_add_up_to_the_exact_sum(framework: str) -> None:
    for receipt, (total, printed) in zip(
        receipts(framework), results(framework)["sums"], strict=True
    ):
        assert float(total) == receipt.exact, receipt.address
        assert f"{receipt.address} = " in printed
        if receipt.kind == "convolution":
            sums = [float(x.rpartition(" ")[2]) for x in printed.splitlines() if " adds " in x]
            assert sums == receipt.channel_sums.tolist()


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_trained_network_comes_out_within_rounding(framework: str) -> None:
    ((result, _),) = results(framework)["trained"]
    with torch.no_grad():
        expected = digits().double()(digit().double()).numpy()
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-4)


def test_a_script_of_another_network_would_be_noticed() -> None:
    trace, returned = trace_of("stride")
    code = trace_py(trace, framework="numpy").replace(b"(2, 1), ((", b"(1, 1), ((")
    code = code.replace(b" - returned", b"")
    ((result, _),) = run_all([code], "numpy")
    assert result.shape != returned.shape


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_names_of_a_model_are_never_code(framework: str) -> None:
    name = 'conv"\n"""\nraise SystemExit #'
    model = nn.Sequential(OrderedDict({name: nn.Conv2d(1, 1, 1)}))
    trace = ct.trace(model, torch.ones(1, 1, 1, 1))
    (step,) = trace.steps
    for code in (
        trace_py(trace, framework=framework),
        receipt_py(trace.why(step, (0, 0, 0, 0)), framework=framework),
    ):
        tree = ast.parse(code.decode())
        assert not [node for node in ast.walk(tree) if isinstance(node, ast.Raise)]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_scripts_need_nothing_but_their_framework_and_fit_a_page(framework: str) -> None:
    for case in MODELS:
        code = trace_py(trace_of(case)[0], framework=framework).decode()
        modules = {
            node.names[0].name if isinstance(node, ast.Import) else node.module
            for node in ast.walk(ast.parse(code))
            if isinstance(node, ast.Import | ast.ImportFrom)
        }
        known = {"torch", "torch.nn.functional", "numpy", "jax", "jax.numpy", "keras", "math"}
        assert modules <= known
        assert max(map(len, code.splitlines())) <= 110, case


def test_nan_and_infinity_are_numbers_of_the_script() -> None:
    trace = ct.from_arrays([[[[float("nan"), float("inf"), 1.0]]]], [[[[2.0]]]])
    ((result, _),) = run_all([trace_py(trace, framework="numpy")], "numpy")
    assert np.array_equal(result.ravel(), [np.nan, np.inf, 2.0], equal_nan=True)


def test_keras_says_where_the_axes_differ() -> None:
    code = trace_py(trace_of("stride")[0], framework="keras").decode()
    assert "Keras (kH, kW, C_in, C_out)" in code
    assert "x.transpose(0, 2, 3, 1)" in code
    assert "conv2d_weight.transpose(2, 3, 1, 0)" in code or ".transpose(2, 3, 1, 0)" in code


@pytest.mark.parametrize("case", NOT_IN_KERAS)
def test_what_keras_cannot_do_is_refused_and_names_others(case: str) -> None:
    with pytest.raises(UsageError, match=r"no code in Keras(.|\n)*torch, numpy, jax"):
        trace_py(trace_of(case)[0], framework="keras")


def test_steps_without_code_are_named(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Softmax(1))
    with pytest.raises(UsageError, match=r"no code in PyTorch for 1: _?softmax"):
        ct.trace(model, torch.ones(1, 1, 1, 1)).save(tmp_path / "net.py", framework="torch")
    assert not list(tmp_path.iterdir())


def test_bad_requests_say_what_to_choose() -> None:
    trace, _ = trace_of("stride")
    with pytest.raises(UsageError, match=r"'caffe'(.|\n)*torch, numpy, jax, keras"):
        trace_py(trace, framework="caffe")
    with pytest.raises(UsageError, match="no terms"):
        receipt_py(trace.why("input[0,0,0,0]"))
    large = ct.trace(nn.Conv2d(3, 8, 3), torch.zeros(1, 3, 150, 150))
    with pytest.raises(UsageError, match=r"67,724 numbers(.|\n)*input \(1, 3, 150, 150\)"):
        trace_py(large)
