"""`ct.diff` for one convolution: what it takes, what it says, and what bad input gets."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file
from torch import Tensor, nn

import convtrace as ct
from mismatch.wrong import layer, numbers


def report_of(*args: Any, **kwargs: Any) -> ct.Report:
    report = ct.diff(*args, **kwargs)
    assert isinstance(report, ct.Report)
    return report


X, W, B = numbers(2, 3, 8, 9), numbers(5, 3, 3, 3), numbers(5)
Y = F.conv2d(X, W, B, stride=2, padding=1)
FLIPPED = F.conv2d(X, W.flip(2, 3), B, stride=2, padding=1)
SETTINGS = {"stride": 2, "padding": 1}


def ids(report: ct.Report) -> list[str]:
    return [cause.id for cause in report.causes]


# What both sides may be ---------------------------------------------------------------------------


def test_arrays_with_settings_are_compared() -> None:
    assert report_of(Y, (X, W, B), **SETTINGS).verdict == "rounding"
    assert ids(report_of(FLIPPED, (X, W, B), **SETTINGS)) == ["kernel.flipped"]


def test_numpy_arrays_and_nested_lists_are_compared() -> None:
    arrays = (X.numpy(), W.numpy(), B.numpy())
    assert report_of(Y.numpy(), arrays, **SETTINGS).verdict == "rounding"
    assert report_of([[[[7.0, 14.0]]]], ([[[[1.0, 2.0, 4.0]]]], [[[[1.0, 3.0]]]])).ok


def test_a_mapping_holds_arrays_and_settings() -> None:
    reference = {"x": X, "weight": W, "bias": B, "stride": 2, "padding": 1}
    assert report_of(Y, reference).verdict == "rounding"


def test_a_module_is_a_reference() -> None:
    module = nn.Conv2d(3, 5, 3, stride=2, padding=1, padding_mode="reflect")
    assert report_of(module(X), module, x=X).verdict == "rounding"
    zeros = F.conv2d(X, module.weight, module.bias, stride=2, padding=1)
    assert ids(report_of(zeros, module, x=X)) == ["padding.mode"]


def test_a_module_with_norm_and_activation_is_a_reference() -> None:
    module = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU()).eval()
    for name, buffer in module[1].named_buffers():
        if name != "num_batches_tracked":
            buffer.copy_(numbers(5, seed=3).abs() + 0.3)
    assert report_of(module(X), module, x=X).ok
    assert ids(report_of(module[:2](X), module, x=X)) == ["activation.missing"]


def test_a_step_of_a_trace_is_a_reference() -> None:
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Conv2d(5, 4, 1))
    trace = ct.trace(model, X)
    second = trace.steps["2"]
    assert report_of(trace.output, trace, step="2").verdict in ("exact", "rounding")
    assert report_of(trace.output, second).ok
    with pytest.raises(ct.UsageError, match="2 convolutions: 0, 2"):
        ct.diff(trace.output, trace)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors"])
def test_an_output_is_read_from_a_file(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"mine{suffix}"
    if suffix == ".npy":
        np.save(path, FLIPPED.numpy())
    elif suffix == ".npz":
        np.savez(path, y=FLIPPED.numpy())
    else:
        save_file({"y": FLIPPED.contiguous().numpy()}, path)
    assert ids(report_of(str(path), (X, W, B), **SETTINGS)) == ["kernel.flipped"]


def test_a_callable_gets_as_many_arrays_as_it_needs() -> None:
    def one(x: Tensor) -> Tensor:
        return F.conv2d(x, W, B, **SETTINGS)

    def three(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return F.conv2d(x, weight, bias, **SETTINGS)

    assert report_of(one, (X, W, B), **SETTINGS).ok
    assert report_of(three, (X, W, B), **SETTINGS).ok


def test_a_state_dict_stands_for_the_output_that_it_gives() -> None:
    state = {"conv.weight": W.flip(3), "conv.bias": B}
    reference = {"x": X, "weight": W, "bias": B, **SETTINGS}
    assert ids(report_of(state, reference)) == ["kernel.flipped"]


def test_a_batch_axis_of_one_may_be_missing() -> None:
    report = report_of(F.conv2d(X[0], W, B), (X[:1], W, B))
    assert report.verdict == "rounding"
    assert [key for key, _ in report.notes] == ["diff.note.batch"]


# Settings -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"stride": 2, "padding": 1},
        {"stride": 1, "padding": 2},
        {"stride": 3, "padding": 0},
        {"stride": 1, "padding": 2, "dilation": 2},
        {"stride": (1, 2), "padding": (0, 1)},
    ],
)
def test_settings_that_were_not_given_are_found(settings: dict[str, Any]) -> None:
    report = report_of(F.conv2d(X, W, B, **settings), (X, W, B))
    assert report.verdict == "rounding"
    assert report.found
    for name, value in settings.items():
        found = report.settings[name]
        wanted = value if isinstance(value, tuple) else (value, value)
        assert found == (wanted if name != "padding" else tuple((p, p) for p in wanted))


def test_uneven_padding_is_found() -> None:
    x = X[..., :8]
    report = report_of(F.conv2d(F.pad(x, (0, 1, 0, 1)), W, B, stride=2), (x, W, B))
    assert report.settings["padding"] == ((0, 1), (0, 1))


def test_a_wrong_setting_is_a_cause_where_it_was_given() -> None:
    report = report_of(F.conv2d(X, W, B, stride=2, padding=1), (X, W, B), stride=1, padding=1)
    assert report.verdict == "mismatch"
    assert ids(report) == ["stride.wrong"]
    assert report.causes[0].parameters["value"] == (2, 2)
    assert math.isnan(report.inside)


def test_shapes_that_no_settings_explain_are_refused_with_the_nearest() -> None:
    with pytest.raises(ct.ShapeError, match=r"no settings give(.|\n)*nearest") as error:
        ct.diff(torch.zeros(2, 5, 77, 3), (X, W, B))
    assert "(2, 5, 77, 3)" in str(error.value)


# Verdicts -----------------------------------------------------------------------------------------


def test_correctly_rounded_sums_are_exact() -> None:
    exact = F.conv2d(X.double(), W.double(), B.double(), **SETTINGS).float()
    report = report_of(exact, (X, W, B), **SETTINGS)
    assert report.verdict == "exact"
    assert report.inside == 1.0


def test_worst_elements_are_those_furthest_out_of_their_bounds() -> None:
    wrong = Y.clone()
    wrong[1, 2, 3, 4] += 5e-3
    wrong[0, 0, 0, 0] += 2e-3
    report = report_of(wrong, (X, W, B), **SETTINGS)
    assert report.verdict == "mismatch"
    assert [str(r.address) for r in report.worst[:2]] == ["conv2d[1,2,3,4]", "conv2d[0,0,0,0]"]
    assert [r.verdict for r in report.worst[:2]] == ["mismatch", "mismatch"]
    assert report.inside == pytest.approx(1 - 2 / Y.numel())
    residual = abs(report.worst[0].residual) / report.worst[0].bound
    assert report.ratio == pytest.approx(residual, rel=1e-3)


def test_a_small_error_everywhere_shows_although_each_element_is_inside() -> None:
    deep = layer(256, 8, (3, 3), (10, 10), n=1, bias=False)
    report = report_of(deep.run() * 1.00003, (deep.x, deep.weight))
    assert report.inside == 1.0
    assert report.spread is not None
    assert not report.spread.usual
    assert report.verdict == "mismatch"


def test_the_tolerance_passes_right_outputs_and_fails_wrong_ones() -> None:
    report = report_of(Y, (X, W, B), **SETTINGS)
    assert report.tolerance is not None
    exact = F.conv2d(X.double(), W.double(), B.double(), **SETTINGS)
    scope = {"torch": torch, "actual": Y, "expected": exact}
    exec(report.tolerance.code, scope)
    with pytest.raises(AssertionError):
        exec(report.tolerance.code, {**scope, "actual": FLIPPED})


def test_a_lower_precision_is_rounding_with_its_name_unless_another_was_named() -> None:
    low = F.conv2d(X.bfloat16().float(), W.bfloat16().float(), B, **SETTINGS)
    report = report_of(low, (X, W, B), **SETTINGS)
    assert report.verdict == "rounding"
    assert report.arithmetic is not None
    assert report.arithmetic.operands == "bfloat16"
    named = report_of(low, (X, W, B), arithmetic="float32", **SETTINGS)
    assert named.verdict == "mismatch"
    assert ids(named) == ["precision.operands"]


def test_nan_from_nowhere_is_a_mismatch_and_nan_from_the_input_is_not() -> None:
    wrong = Y.clone()
    wrong[0, 1, 2, 3] = float("nan")
    assert report_of(wrong, (X, W, B), **SETTINGS).verdict == "mismatch"
    x = X.clone()
    x[0, 0, 4, 4] = float("nan")
    report = report_of(F.conv2d(x, W, B, **SETTINGS), (x, W, B), **SETTINGS)
    assert report.verdict == "nonfinite"
    assert report.ok


def test_integers_that_leave_their_range_wrap_around() -> None:
    x = torch.full((1, 64, 5, 5), 2**13, dtype=torch.int32)
    w = torch.full((2, 64, 3, 3), 2**12, dtype=torch.int32)
    wrapped = F.conv2d(x.long(), w.long()).to(torch.int32)
    report = report_of(wrapped, (x, w))
    assert report.verdict == "rounding"
    assert [key for key, _ in report.notes] == ["diff.note.wrapped"]
    assert report_of(wrapped + 1, (x, w)).verdict == "mismatch"


# Causes -------------------------------------------------------------------------------------------


def test_a_proved_cause_stands_alone() -> None:
    report = report_of(FLIPPED, (X, W, B), **SETTINGS)
    assert not report.ambiguous
    assert report.causes[0].proved
    assert dict(report.causes[0].parameters) == {"axes": ("rows", "columns"), "all": True}


def test_a_symmetric_kernel_hides_which_axis_was_flipped() -> None:
    kernel = W + W.flip(2, 3)
    wrong = F.conv2d(X, kernel.flip(2), B)
    report = report_of(wrong, (X, kernel, B))
    assert report.ambiguous
    assert [c.id for c in report.causes] == ["kernel.flipped"] * 2
    assert {c.parameters["axes"] for c in report.causes} == {("rows",), ("columns",)}
    assert not any(c.proved for c in report.causes)
    apart = report.apart
    assert apart is not None
    # With the offered numbers the two mistakes differ, and each output is what it should be.
    x, weight = torch.from_numpy(apart.x), torch.from_numpy(apart.weight)
    bias = None if apart.bias is None else torch.from_numpy(apart.bias)
    for cause, output in zip(report.causes, apart.outputs, strict=True):
        axis = 2 if cause.parameters["axes"] == ("rows",) else 3
        assert torch.allclose(F.conv2d(x, weight.flip(axis), bias), torch.from_numpy(output))
    assert not np.allclose(apart.outputs[0], apart.outputs[1])


def test_a_constant_image_hides_where_the_window_lies() -> None:
    x = torch.ones(1, 2, 9, 9)
    weight = W[:, :2]
    mine = F.conv2d(x, weight, B, stride=1)
    report = report_of(mine[:, :, ::2, ::2].contiguous(), (x, weight, B), stride=2)
    assert report.ok


def test_too_few_elements_prove_nothing() -> None:
    x = torch.tensor([[[1.0, 2.0]]])
    report = report_of(torch.tensor([[[5.0]]]), (x, torch.tensor([[[1.0, 3.0]]])))
    assert report.verdict == "mismatch"
    assert not any(cause.proved for cause in report.causes)


def test_an_unknown_cause_shows_the_pattern_of_the_residual() -> None:
    wrong = Y.clone()
    wrong[:, 3:] = numbers(2, 2, 4, 5, seed=4)
    report = report_of(wrong, (X, W, B), **SETTINGS)
    assert not report.causes
    assert report.pattern is not None
    found = dict(report.pattern.findings)
    assert found["diff.pattern.channels"] == {"channels": "3–4", "count": 2, "of": 5}


def test_a_stale_tile_is_reported_as_a_tile() -> None:
    big = layer(3, 4, (3, 3), (18, 18))
    wrong = big.run().clone()
    wrong[0, :, 8:, 8:] = 0
    report = report_of(wrong, (big.x, big.weight, big.bias))
    assert report.pattern is not None
    found = dict(report.pattern.findings)
    assert "diff.pattern.zeros" in found
    assert found["diff.pattern.tile"]["box"] == "0:1, 0:4, 8:16, 8:16"


# Bad input ----------------------------------------------------------------------------------------


def test_a_callable_that_raises_is_named() -> None:
    def mine(x: Tensor) -> Tensor:
        raise RuntimeError("no kernel image")

    with pytest.raises(ct.ModelError, match="RuntimeError: no kernel image"):
        ct.diff(mine, (X, W, B), **SETTINGS)


def test_a_callable_that_differs_each_time_is_found_out() -> None:
    def mine(x: Tensor) -> Tensor:
        return Y + torch.rand(())

    report = report_of(mine, (X, W, B), **SETTINGS)
    assert report.verdict == "mismatch"
    assert ids(report) == ["deterministic.not"]


def test_differences_of_rounding_between_two_runs_are_a_remark() -> None:
    state = {"runs": 0}

    def mine(x: Tensor) -> Tensor:
        state["runs"] += 1
        return Y if state["runs"] == 1 else F.conv2d(X.double(), W.double(), B.double(), **SETTINGS)

    report = report_of(mine, (X, W, B), **SETTINGS)
    assert state["runs"] == 2
    assert report.verdict == "rounding"
    assert [key for key, _ in report.notes] == ["diff.note.nondeterministic"]


@pytest.mark.parametrize(
    ("mine", "reference", "error", "text"),
    [
        (torch.zeros(0), (X, W, B), ct.EmptyTensorError, "mine is empty"),
        (Y, (X[:, :0], W, B), ct.EmptyTensorError, "x is empty"),
        (Y, (X, W.to(torch.complex64), B), ct.NoValueError, "weight is complex"),
        (np.array(["a"]), (X, W, B), ct.NoValueError, "holds no numbers"),
        (Y, (X,), ct.UsageError, "not 1 parts"),
        (Y, 5, ct.UsageError, "this is no reference: int"),
        (Y, {"weight": W}, ct.UsageError, "has no x"),
        (Y, {"x": X, "weight": W, "pad": 1}, ct.UsageError, "not known: pad"),
        (Y, nn.Linear(2, 2), ct.UsageError, "x=x"),
        ("missing.npy", (X, W, B), ct.MissingFileError, "there is no file"),
        ({}, (X, W, B), ct.UsageError, "without a weight"),
    ],
)
def test_bad_input_is_refused(mine: Any, reference: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        ct.diff(mine, reference, **SETTINGS)


def test_unknown_words_are_refused_with_those_that_are_known() -> None:
    with pytest.raises(ct.UsageError, match=r"'int3'(.|\n)*float32"):
        ct.diff(Y, (X, W, B), arithmetic="int3", **SETTINGS)
    with pytest.raises(ct.UsageError, match=r"'rulu'(.|\n)*relu"):
        ct.diff(Y, (X, W, B), activation="rulu", **SETTINGS)


def test_the_arrays_and_random_state_are_left_as_they_were() -> None:
    x, w, b, y = X.clone(), W.clone(), B.clone(), FLIPPED.clone()
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002 - the global state is what must not change
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002 - the same
    ct.diff(y, (x, w, b), **SETTINGS)
    for now, before in ((x, X), (w, W), (b, B), (y, FLIPPED)):
        assert torch.equal(now, before)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002 - the same


def test_progress_is_told() -> None:
    steps: list[int] = []
    ct.diff(FLIPPED, (X, W, B), on_step=lambda: steps.append(1), **SETTINGS)
    assert len(steps) > 3


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("order", ["out, in", "in, out"])
def test_an_output_for_each_pair_of_channels_is_one_that_was_not_summed(
    bias: bool, order: str
) -> None:
    right = layer(3, 4, (3, 3), (8, 7), bias=bias)
    parts = [
        [
            F.conv2d(right.x[:, c : c + 1], right.weight[o : o + 1, c : c + 1])
            + (right.bias[o] if bias else 0)
            for c in range(3)
        ]
        for o in range(4)
    ]
    rows = parts if order == "out, in" else list(zip(*parts, strict=True))
    mine = torch.cat([part for row in rows for part in row], 1)
    report = ct.diff(mine, (right.x, right.weight, right.bias), **right.settings)
    assert [cause.id for cause in report.causes] == ["channels.not_summed"]
    assert report.causes[0].proved
    assert "not summed" in report.text("en")


def test_equal_numbers_everywhere_may_come_from_a_lower_precision() -> None:
    x = 1000 + torch.arange(45.0).reshape(1, 1, 5, 9) / 50  # one number in bfloat16
    weight = torch.full((1, 1, 1, 4), 3.0)
    mine = F.conv2d(x.bfloat16().float(), weight)
    assert (mine == mine[0, 0, 0, 0]).all()
    report = ct.diff(mine, (x, weight), stride=1, padding=0)
    assert report.verdict == "rounding"
    assert report.causes


def test_parts_of_a_sum_that_were_stored_in_half_precision_are_no_bug() -> None:
    accused = 0
    for seed in range(12):
        x, weight = numbers(1, 8, 4, 4, seed=seed).half(), numbers(2, 8, 3, 3, seed=99).half()
        first = F.conv2d(x[:, :4].float(), weight[:, :4].float()).half()
        rest = F.conv2d(x[:, 4:].float(), weight[:, 4:].float()).half()
        report = ct.diff(first + rest, (x, weight), stride=1, padding=0)
        accused += report.verdict == "mismatch"
    assert accused == 0


def test_a_factor_and_a_shift_of_one_channel_prove_nothing_behind_a_norm() -> None:
    right = layer(3, 1, (3, 3), (12, 11))
    norm = nn.BatchNorm2d(1).eval()
    with torch.no_grad():
        norm.running_var.fill_(0.3)
        wrong = norm(right.run()) * 0.7223 + 1.2802
    report = ct.diff(wrong, (right.x, right.weight, right.bias), norm=norm, **right.settings)
    assert report.verdict == "mismatch"
    assert not any(cause.proved for cause in report.causes)


def test_a_clip_at_255_is_a_relu_where_nothing_is_clipped() -> None:
    right = layer()
    given = (right.x, right.weight, right.bias)
    report = ct.diff(right.run().relu(), given, **right.settings)
    assert [cause.parameters["name"] for cause in report.causes] == ["relu", "relu6"]
    report = ct.diff(
        (200 * right.run()).clamp(0, 255),
        (right.x, *(200 * a for a in given[1:])),
        **right.settings,
    )
    assert [cause.parameters["name"] for cause in report.causes] == ["clip 0 255"]


@pytest.mark.parametrize("seed", [6, 36, 41, 42])
def test_a_bias_that_is_added_to_stored_half_precision_sums_is_no_bug(seed: int) -> None:
    x = (numbers(2, 3, 9, 9, seed=seed).abs() + 2).half()
    weight, bias = numbers(2, 3, 2, 3, seed=seed + 1).half(), numbers(2, seed=seed + 2).half()
    sums = F.conv2d(x.float(), weight.float(), stride=2).half()
    report = ct.diff(sums + bias.reshape(1, -1, 1, 1), (x, weight, bias), stride=2, padding=0)
    assert report.verdict in ("exact", "rounding")


def test_an_infinity_is_no_saturating_accumulator() -> None:
    right = layer(padding=1)
    x = right.x.clone()
    x[0, 0, 0, 0] = math.inf
    report = ct.diff(right.run(), (x, right.weight, right.bias), **right.settings)
    assert report.verdict == "mismatch"
    assert not any(cause.id == "quantized.accumulator" for cause in report.causes)
