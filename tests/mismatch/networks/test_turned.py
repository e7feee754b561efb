"""Networks with channels last are compared with those that have them first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from onnx_models import Builder
from torch import nn
from torch.nn import functional
from two_networks import Small, image, small

import convtrace as ct
from convtrace.mismatch.networks.report import ModelReport
from convtrace.mismatch.networks.runs import as_expected
from convtrace.mismatch.networks.turned import channels_last, computing, first, last


class ChannelsLast(nn.Module):
    """The small network as a port from Keras or JAX writes it: NHWC between its convolutions."""

    def __init__(self, model: Small, bug: str = "", *, given: bool = False) -> None:
        super().__init__()
        self.model = model
        self.bug = bug
        self.given = given

    def conv(self, layer: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
        return layer(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)

    def norm(self, layer: nn.BatchNorm2d, x: torch.Tensor) -> torch.Tensor:
        scale = layer.weight * (layer.running_var + layer.eps).rsqrt()
        return (x - layer.running_mean) * scale + layer.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        model = self.model
        if not self.given:
            x = x.permute(0, 2, 3, 1)
        x = self.conv(model.stem, x)
        x = x * torch.sigmoid(x)
        for number, block in enumerate((model.block1, model.block2)):
            y = self.norm(block.bn1, self.conv(block.conv1, x))
            if self.bug != "no relu" or not number:
                y = functional.relu(y)
            y = self.norm(block.bn2, self.conv(block.conv2, y))
            x = functional.relu(y if self.bug == "no way around" and number else y + x)
        x = functional.max_pool2d(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
        return model.fc(x.mean((1, 2)))


@pytest.fixture(scope="module")
def model() -> Small:
    return small()


def compare(mine: Any, model: Small, x: torch.Tensor | None = None) -> ModelReport:
    with torch.no_grad():
        ours = ct.trace(mine, image() if x is None else x)
        report = ct.diff(ours, ct.trace(model, image()))
    assert isinstance(report, ModelReport)
    return report


def test_a_port_with_channels_last_is_right_step_by_step(model: Small) -> None:
    report = compare(ChannelsLast(model), model)
    assert report.verdict == "rounding"
    assert report.unaligned == ((), ())
    assert len(report.pairs) >= 18
    assert all(pair.verdict in ("exact", "rounding") for pair in report.pairs)
    assert all(pair.shape == pair.mine_shape for pair in report.pairs)
    assert "diff_models.note.channels_last" in [key for key, _ in report.notes]


def test_a_port_may_be_given_its_input_with_channels_last(model: Small) -> None:
    x = image().permute(0, 2, 3, 1).contiguous()
    report = compare(ChannelsLast(model, given=True), model, x)
    assert report.verdict == "rounding"
    assert report.unaligned == ((), ())


@pytest.mark.parametrize(
    ("bug", "missing"), [("no relu", "block2.relu"), ("no way around", "block2.add")]
)
def test_the_step_that_a_port_with_channels_last_lacks_is_named(
    bug: str, missing: str, model: Small
) -> None:
    report = compare(ChannelsLast(model, bug), model)
    assert [cause.id for cause in report.causes] == ["model.missing_step"]
    assert report.causes[0].parameters["step"] == missing
    assert report.causes[0].proved
    assert len(report.wrong) == 1


def test_either_side_may_have_channels_last(model: Small) -> None:
    with torch.no_grad():
        ours, theirs = ct.trace(model, image()), ct.trace(ChannelsLast(model), image())
    report = ct.diff(ours, theirs)
    assert isinstance(report, ModelReport)
    assert report.verdict == "rounding"


def test_a_receipt_of_a_turned_step_has_the_position_that_its_own_trace_counts(
    model: Small,
) -> None:
    report = compare(ChannelsLast(model, "no way around"), model)
    receipt = report.worst[0]
    assert report.worst_own
    assert receipt.address.step == report.first.mine if report.first else False
    with torch.no_grad():
        own = ct.trace(ChannelsLast(model, "no way around"), image())
    assert own.value(str(receipt.address)) == receipt.reported


def test_two_networks_that_both_turn_their_axes_are_left_as_they_are(model: Small) -> None:
    report = compare(ChannelsLast(model), ChannelsLast(model))  # type: ignore[arg-type]  # a network
    assert report.verdict == "exact"
    assert not report.notes


def test_orders_of_axes_are_each_other_s_inverse() -> None:
    x = torch.rand(2, 3, 4, 5, 6)
    assert torch.equal(x.permute(last(5)).permute(first(5)), x)
    assert first(4) == (0, 3, 1, 2)


def test_values_with_channels_last_are_found_by_their_transpositions(model: Small) -> None:
    with torch.no_grad():
        turned = ct.trace(ChannelsLast(model), image())
        plain = ct.trace(model, image())
    assert computing(turned, channels_last(turned)) > 10
    assert not channels_last(plain)


# Files -------------------------------------------------------------------------------------------


class Two(nn.Module):
    """Two convolutions, a norm and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 6, 3, stride=2)
        self.fc = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.first(x)))
        return self.fc(torch.relu(self.second(x)).mean((2, 3)))


def two() -> Two:
    torch.manual_seed(4)
    model = Two().eval()
    model.norm.running_mean.normal_()
    model.norm.running_var.uniform_(0.5, 2.0)
    return model


def channels_last_file(model: Two, folder: Path, *, flip: bool = False) -> Path:
    """Write the network as exporters of TensorFlow do: NHWC, with a Transpose around each Conv."""
    builder = Builder()

    def array(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
        return tensor.detach().numpy()

    def conv(x: str, layer: nn.Conv2d, name: str) -> str:
        weight = layer.weight.flip(2, 3) if flip and name == "second" else layer.weight
        parts = [builder.weight(f"{name}/kernel", array(weight))]
        parts.append(builder.weight(f"{name}/bias", array(layer.bias)))
        pads = [*map(int, layer.padding)] * 2
        x = builder.node("Transpose", x, perm=[0, 3, 1, 2])
        x = builder.node("Conv", x, *parts, pads=pads, strides=list(layer.stride))
        return builder.node("Transpose", x, perm=[0, 2, 3, 1])

    scale = model.norm.weight / (model.norm.running_var + model.norm.eps).sqrt()
    shift = model.norm.bias - model.norm.running_mean * scale
    x = conv("image", model.first, "first")
    x = builder.node("Mul", x, builder.weight("scale", array(scale)))
    x = builder.node("Relu", builder.node("Add", x, builder.weight("shift", array(shift))))
    x = builder.node("Relu", conv(x, model.second, "second"))
    x = builder.node("ReduceMean", x, builder.weight("axes", np.array([1, 2])), keepdims=0)
    x = builder.node("MatMul", x, builder.weight("dense", array(model.fc.weight).T.copy()))
    x = builder.node("Add", x, builder.weight("dense/bias", array(model.fc.bias)))
    given = helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, [None, None, None, 3])
    returned = [onnx.ValueInfoProto(name=x)]
    graph = helper.make_graph(builder.nodes, "nhwc", [given], returned, builder.weights)
    opset = [helper.make_opsetid("", 18)]
    path = folder / "nhwc.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    return path


def test_a_file_that_takes_channels_last_is_given_them_so(tmp_path: Path) -> None:
    model, x = two(), torch.randn(1, 3, 9, 10)
    with torch.no_grad():
        report = ct.diff(str(channels_last_file(model, tmp_path)), ct.trace(model, x))
    assert isinstance(report, ModelReport)
    assert report.verdict == "rounding"
    assert report.unaligned == ((), ())
    assert [pair.reference for pair in report.pairs][:2] == ["first", "norm"]


def test_a_flipped_kernel_of_a_file_with_channels_last_is_named(tmp_path: Path) -> None:
    model, x = two(), torch.randn(1, 3, 9, 10)
    with torch.no_grad():
        report = ct.diff(str(channels_last_file(model, tmp_path, flip=True)), ct.trace(model, x))
    assert isinstance(report, ModelReport)
    assert report.first is not None
    assert report.first.reference == "second"
    assert [(cause.id, cause.proved) for cause in report.causes] == [("kernel.flipped", True)]


def test_the_command_line_turns_the_input_of_a_file_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from click.testing import CliRunner

    from convtrace.cli import main

    channels_last_file(two(), tmp_path)
    monkeypatch.chdir(tmp_path)
    arguments = ["diff", "nhwc.onnx", f"{__file__}:two", "--random", "1,3,9,10", "--lang", "ko"]
    result = CliRunner().invoke(main, [*arguments, "--fail-on", "mismatch"])
    assert result.exit_code == 0, result.output
    assert "채널이 마지막 축에 있습니다(NHWC)" in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("given", "shape", "expected"),
    [
        ((1, 3, 8, 9), (None, None, None, 3), (1, 8, 9, 3)),
        ((1, 3, 8, 9), (1, 3, 8, 9), (1, 3, 8, 9)),
        ((1, 3, 8, 9), ("N", "C", "H", "W"), (1, 3, 8, 9)),
        ((1, 3, 8, 9), (1, 4, 8, 9), (1, 3, 8, 9)),
        ((1, 3), (None, None, None, 3), (1, 3)),
    ],
)
def test_an_input_is_turned_only_where_it_fits_in_no_other_way(
    given: tuple[int, ...], shape: tuple[Any, ...], expected: tuple[int, ...]
) -> None:
    assert as_expected(torch.zeros(given), shape).shape == expected
    assert as_expected(np.zeros(given), shape).shape == expected
