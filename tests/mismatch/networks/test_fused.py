"""Files that onnxruntime has optimised hold fused operators, and are compared all the same."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
import torch
from two_networks import Small, export, image, small

import convtrace as ct
from convtrace.mismatch.networks.report import ModelReport


def optimised(model: Small, folder: Path, level: str = "ORT_ENABLE_EXTENDED") -> Path:
    """Export a network, and let onnxruntime fuse what it can."""
    plain, fused = folder / "plain.onnx", folder / "fused.onnx"
    export(model, plain)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    options.optimized_model_filepath = str(fused)
    onnxruntime.InferenceSession(str(plain), options, providers=["CPUExecutionProvider"])
    assert "FusedConv" in [node.op_type for node in onnx.load(fused).graph.node]
    return fused


def compare(mine: Any, model: Small) -> ModelReport:
    with torch.no_grad():
        report = ct.diff(str(mine), ct.trace(model, image()))
    assert isinstance(report, ModelReport)
    return report


def test_a_convolution_with_a_fused_relu_is_judged_with_both(tmp_path: Path) -> None:
    model = small()
    report = compare(optimised(model, tmp_path), model)
    assert report.verdict == "rounding"
    assert report.unaligned == ((), ())
    assert not report.unjudged
    pair = next(pair for pair in report.pairs if pair.reference == "block1.relu")
    assert pair.with_reference == ("block1.conv1", "block1.bn1")
    assert pair.mine == "/block1/conv1/Conv"
    assert pair.own
    assert pair.proved


def _flip(model: Small) -> None:
    model.block2.conv1.weight.copy_(model.block2.conv1.weight.flip(2, 3))


def _other_bias(model: Small) -> None:
    model.block2.bn1.bias.mul_(1.5)


@pytest.mark.parametrize(("change", "cause"), [(_flip, "kernel.flipped"), (_other_bias, "model.")])
def test_what_is_wrong_with_a_fused_convolution_is_named(
    change: Callable[[Small], None], cause: str, tmp_path: Path
) -> None:
    model = small()
    wrong = copy.deepcopy(model)
    with torch.no_grad():
        change(wrong)
    report = compare(optimised(wrong, tmp_path), model)
    assert report.first is not None
    assert report.first.mine == "/block2/conv1/Conv"
    assert report.causes[0].id.startswith(cause)
    assert report.causes[0].proved


def test_bgr_in_the_weights_of_a_network_is_said_of_the_weights() -> None:
    model = small()
    wrong = copy.deepcopy(model)
    with torch.no_grad():
        wrong.stem.weight.copy_(model.stem.weight.flip(1))
        report = ct.diff(ct.trace(wrong, image()), ct.trace(model, image()))
    assert isinstance(report, ModelReport)
    assert [(cause.id, cause.proved) for cause in report.causes] == [
        ("kernel.channels_reversed", True)
    ]
