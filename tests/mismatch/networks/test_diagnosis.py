"""`convtrace.diff` of whole networks: where two of them part, and why."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from two_networks import Port, Small, export, image, small

import convtrace as ct
from convtrace.graph import Trace
from convtrace.mismatch.networks.align import align
from convtrace.mismatch.networks.network import Network, plain_names
from convtrace.mismatch.networks.report import ModelReport

Break = Callable[[Small], Any]


@pytest.fixture(scope="module")
def model() -> Small:
    return small()


@pytest.fixture(scope="module")
def reference(model: Small) -> Trace:
    return traced(model)


def traced(model: Any, x: torch.Tensor | None = None) -> Trace:
    with torch.no_grad():
        return ct.trace(model, image() if x is None else x)


def compare(mine: Any, reference: Any, **more: Any) -> ModelReport:
    report = ct.diff(mine, reference, **more)
    assert isinstance(report, ModelReport)
    return report


def broken(model: Small, change: Break) -> Small:
    copied = copy.deepcopy(model)
    with torch.no_grad():
        change(copied)
    return copied


def ids(report: ModelReport) -> list[str]:
    return [cause.id for cause in report.causes]


def assert_judged(report: ModelReport) -> None:
    """Check what holds of every report: counts, order, and that nothing is left unsaid."""
    assert all(0 <= pair.inside <= 1 for pair in report.pairs if pair.verdict is not None)
    assert all(pair.fed for pair in report.pairs if np.isfinite(pair.ratio))
    assert (report.first is None) == (not report.wrong)
    if report.wrong:
        assert report.first == report.wrong[0]


# Correct networks --------------------------------------------------------------------------------


def test_a_network_is_equal_to_itself(reference: Trace) -> None:
    report = compare(reference, reference)
    assert report.verdict == "exact"
    assert report.first is None
    assert not report.causes
    assert len(report.pairs) == len(reference.steps)
    assert report.outputs is not None
    assert report.outputs[0] == 0
    assert_judged(report)


@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize("named", [True, False])
def test_an_export_is_the_network(
    model: Small, reference: Trace, tmp_path: Path, fold: bool, named: bool
) -> None:
    file = export(model, tmp_path / "small.onnx", fold=fold, named=named)
    report = compare(file, reference)
    assert report.verdict == "rounding"
    assert report.ok
    assert report.unaligned == ((), ())
    pairs = {pair.reference: pair for pair in report.pairs}
    assert pairs["stem"].mine == ("/stem/Conv" if named else "conv")
    assert pairs["block1.bn1"].with_reference == (("block1.conv1",) if fold else ())
    assert pairs["silu"].with_mine == ("/Sigmoid",)
    assert_judged(report)


def test_a_port_with_other_names_is_the_network_in_both_directions(
    model: Small, reference: Trace
) -> None:
    port = traced(Port(model).eval())
    for report in (compare(port, reference), compare(reference, port)):
        assert report.verdict == "rounding"
        assert report.unaligned == ((), ())
        assert_judged(report)


def test_order_and_names_need_not_agree() -> None:
    class Branches(nn.Module):
        def __init__(self, turned: bool) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1)
            self.turned = turned

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.turned:
                right = self.b(x)
                return torch.relu(self.a(x)) * right
            return torch.relu(self.a(x)) * self.b(x)

    one = Branches(turned=False)
    two = Branches(turned=True)
    two.load_state_dict(one.state_dict())
    two.a, two.b = two.b, two.a
    two.forward = lambda x: two.a(x) * torch.relu(two.b(x))  # type: ignore[method-assign]  # a port
    report = compare(traced(two), traced(one))
    assert report.verdict in ("exact", "rounding")
    assert {(p.reference, p.mine) for p in report.pairs} >= {("a", "b"), ("b", "a")}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_another_precision_is_rounding(model: Small, reference: Trace, dtype: torch.dtype) -> None:
    copied = copy.deepcopy(model).to(dtype)
    report = compare(traced(copied, image().to(dtype)), reference)
    assert report.verdict == "rounding", [p for p in report.pairs if p.verdict == "mismatch"]


@pytest.mark.parametrize("seed", range(3))
def test_deep_networks_stay_rounding_at_every_step(seed: int) -> None:
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for _ in range(12):
        layers += [nn.Conv2d(6, 6, 3, padding=1), nn.GroupNorm(2, 6), nn.GELU()]
    deep = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4))
    x = torch.randn(2, 6, 9, 9)
    channels_last = copy.deepcopy(deep).to(memory_format=torch.channels_last)
    report = compare(
        traced(channels_last, x.to(memory_format=torch.channels_last)), traced(deep, x)
    )
    assert report.ok, report.wrong


def test_decomposed_operators_are_one_step(tmp_path: Path) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 6, 3)
            self.last = nn.Conv2d(6, 2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(functional.hardswish(functional.gelu(self.conv(x))))

    class Ported(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.conv(x)
            x = x * 0.5 * (1 + torch.erf(x / 2**0.5))
            return self.last(x * functional.relu6(x + 3) / 6)

    torch.manual_seed(0)
    one, two = Net(), Ported()
    two.load_state_dict(one.state_dict())
    report = compare(traced(two, image()), traced(one, image()))
    assert report.verdict == "rounding", report.wrong
    assert report.unaligned == ((), ())


# Wrong networks ----------------------------------------------------------------------------------


def flip(layer: nn.Conv2d) -> None:
    layer.weight.copy_(layer.weight.flip(2, 3))


def new_stem(model: Small, **settings: Any) -> None:
    stem = nn.Conv2d(3, 8, 3, **{"stride": 2, "padding": 1, **settings})
    stem.load_state_dict(model.stem.state_dict())
    model.stem = stem


BREAKS: dict[str, tuple[Break, str, str]] = {
    "eps": (lambda m: setattr(m.block1.bn2, "eps", 1e-3), "block1.bn2", "model.setting.eps"),
    "no bias": (lambda m: setattr(m.stem, "bias", None), "stem", "model.missing_weights"),
    "stride": (lambda m: new_stem(m, stride=1), "stem", "model.setting.stride"),
    "norm's mean": (
        lambda m: m.block2.bn1.running_mean.zero_(),
        "block2.bn1",
        "model.weights",
    ),
    "classifier": (lambda m: m.fc.weight.mul_(1.01), "fc", "model.weights"),
    "one weight": (
        lambda m: m.block1.conv1.weight[3, 2, 1, 1].add_(0.5),
        "block1.conv1",
        "model.weights",
    ),
    "tiny error everywhere": (
        lambda m: m.block2.conv2.weight.copy_(m.block2.conv2.weight.bfloat16()),
        "block2.conv2",
        "model.weights",
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_the_first_wrong_step_is_named_and_why(
    model: Small, reference: Trace, tmp_path: Path, name: str
) -> None:
    change, where, cause = BREAKS[name]
    wrong = broken(model, change)
    report = compare(traced(wrong), reference)
    assert report.verdict == "mismatch"
    assert report.first is not None
    assert report.first.reference == where
    assert cause in ids(report), report.causes
    assert all(one.proved for one in report.causes)
    assert [pair.reference for pair in report.wrong] == [where]
    assert_judged(report)
    exported = compare(export(wrong, tmp_path / "wrong.onnx"), reference)
    assert exported.first is not None
    assert exported.first.reference in (where, where.replace("conv", "bn"))
    assert len(exported.wrong) == 1


def test_a_folded_norm_with_another_eps_is_found(
    model: Small, reference: Trace, tmp_path: Path
) -> None:
    wrong = broken(model, lambda m: setattr(m.block2.bn1, "eps", 1e-2))
    report = compare(export(wrong, tmp_path / "wrong.onnx"), reference)
    assert report.first is not None
    assert report.first.reference == "block2.bn1"
    assert report.first.with_reference == ("block2.conv1",)
    assert ids(report) == ["norm.epsilon"]
    assert report.causes[0].proved
    (clue,) = report.clues
    assert clue[0] == "diff_models.clue.folded"
    assert clue[1]["channels"] == 8
    assert clue[1]["norm"] == "block2.bn1"


@pytest.mark.parametrize(
    ("bug", "cause", "step"),
    [
        ("no relu", "model.missing_step", "block2.relu"),
        ("two relus", "model.extra_step", "relu6"),
    ],
)
def test_a_step_that_one_side_lacks_is_named(
    model: Small, reference: Trace, bug: str, cause: str, step: str
) -> None:
    wrong = broken(model, lambda m: m.block2.bn1.bias.add_(6 if bug == "two relus" else 0))
    right = traced(wrong)
    report = compare(traced(Port(wrong, bug).eval()), right)
    assert report.verdict == "mismatch"
    assert ids(report) == [cause]
    assert report.causes[0].parameters["step"] == step
    assert report.causes[0].proved
    assert_judged(report)


def test_a_norm_in_training_mode_is_named_and_not_called_missing(model: Small) -> None:
    def use_the_batch(copied: Small) -> None:
        norm = copied.block1.bn1
        norm.track_running_stats = False
        norm.running_mean = norm.running_var = None

    mine = broken(model, use_the_batch)
    report = compare(mine, model.eval(), inputs=(image(),))
    assert report.first is not None
    assert (report.first.reference, report.first.mine) == ("block1.bn1", "block1.bn1")
    assert ids(report) == ["model.setting.training"]
    assert report.causes[0].proved


def test_a_missing_way_around_is_a_mismatch_where_it_ends(model: Small, reference: Trace) -> None:
    report = compare(traced(Port(model, "no way around").eval()), reference)
    assert report.verdict == "mismatch"
    assert report.first is not None
    assert report.first.reference == "block2"
    assert ids(report) == ["model.missing_step"]
    assert report.causes[0].parameters["step"] == "block2.add"
    assert report.worst


def test_errors_upstream_do_not_blur_what_follows(model: Small, reference: Trace) -> None:
    def ruin(m: Small) -> None:
        m.stem.weight.zero_()
        m.stem.bias.zero_()  # type: ignore[union-attr]  # it has one
        m.block2.conv2.weight.mul_(1.5)

    report = compare(traced(broken(model, ruin)), reference)
    assert [pair.reference for pair in report.wrong] == ["stem", "block2.conv2"]
    after = [pair for pair in report.pairs[1:] if pair.verdict != "mismatch"]
    assert {pair.fed for pair in after} == {"both"}


def test_a_kernel_that_does_not_do_what_its_weights_say_is_told_from_a_wrong_weight() -> None:
    generator = torch.Generator().manual_seed(0)
    x, w = (torch.randn(1, 3, *size, generator=generator) for size in ((12, 12), (3, 3)))
    w = torch.cat([w, -w, w.flip(2)])
    y = torch.conv2d(x, w, padding=1)
    stale = y.clone()
    stale[..., -3:] = 0.25
    mine = ct.from_arrays(x, w, padding=1, observed=stale)
    report = compare(mine, ct.from_arrays(x, w, padding=1, observed=y))
    assert report.first is not None
    assert report.first.own is False
    assert report.causes
    assert not any(cause.id.startswith("model.w") for cause in report.causes)
    assert report.worst[0].reported == 0.25
    assert compare(mine, ct.from_arrays(x, w, padding=1)).verdict == "mismatch"


def test_a_reference_that_is_not_what_its_steps_give_is_no_judge() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 3, 8, 8, generator=generator)
    w = torch.randn(4, 3, 3, 3, generator=generator)
    y = torch.conv2d(x, w)
    broken_judge = ct.from_arrays(x, w, observed=y + 1)
    report = compare(
        ct.from_arrays(x, w.flip(2), observed=torch.conv2d(x, w.flip(2))), broken_judge
    )
    assert report.first is None
    assert [key for pair in report.unjudged for key, _ in [pair.note or ("", {})]] == [
        "diff_models.note.reference_own"
    ]


def test_another_function_in_the_place_of_a_step_is_named() -> None:
    class Net(nn.Module):
        def __init__(self, act: nn.Module) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.conv, self.act, self.last = nn.Conv2d(3, 4, 3), act, nn.Conv2d(4, 2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.act(self.conv(x)))

    report = compare(traced(Net(nn.Tanh())), traced(Net(nn.ReLU())))
    assert report.first is not None
    assert report.first.reference == "act"
    assert ids(report) == ["model.other_step"]
    assert report.causes[0].parameters["mine_kind"] == "tanh"
    report = compare(traced(Net(nn.LeakyReLU(0.2))), traced(Net(nn.LeakyReLU(0.1))))
    assert ids(report) == ["model.setting.negative_slope"]
    assert report.causes[0].parameters["mine"] == pytest.approx(0.2)


def test_weights_that_differ_unseen_are_listed() -> None:
    torch.manual_seed(0)
    one = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(4 * 36, 2, bias=False))
    two = copy.deepcopy(one)
    with torch.no_grad():
        two[0].weight[:, 2] += 1  # type: ignore[union-attr, operator]  # of a convolution
    x = torch.randn(1, 3, 6, 6)
    x[:, 2] = 0
    report = compare(traced(two, x), traced(one, x))
    assert report.verdict == "exact"
    assert [(key, words["names"]) for key, words in report.notes] == [
        ("diff_models.note.unseen", "0")
    ]


def test_nan_on_both_sides_is_no_mismatch_and_on_one_side_is(model: Small) -> None:
    x = image()
    x[0, 1, 3, 3] = float("nan")
    right = traced(model, x)
    report = compare(traced(Port(model).eval(), x), right)
    assert report.verdict == "nonfinite"
    wrong = broken(model, lambda m: m.block2.conv1.weight[0, 0, 0, 0].fill_(float("nan")))
    report = compare(traced(wrong), traced(model))
    assert report.verdict == "mismatch"
    assert report.first is not None
    assert report.first.reference == "block2.conv1"


# Forms and bad input -----------------------------------------------------------------------------


def test_models_are_run_on_the_same_inputs(model: Small) -> None:
    port = Port(model).eval()

    def function(x: torch.Tensor) -> torch.Tensor:
        return port(x)

    for mine in (port, function):
        report = compare(mine, model, inputs=(image(),))
        assert report.verdict == "rounding"
    assert compare(model, model, x=image()).verdict == "exact"


def test_an_onnx_file_is_run_on_what_the_trace_was(model: Small, tmp_path: Path) -> None:
    file = export(model, tmp_path / "small.onnx")
    assert compare(str(file), traced(model)).verdict == "rounding"
    assert compare(traced(model), str(file)).verdict == "rounding"
    assert compare(str(file), str(file), inputs={"x": image().numpy()}).verdict == "exact"


def test_a_state_dict_is_put_into_a_copy_of_the_reference(model: Small) -> None:
    wrong = broken(model, lambda m: flip(m.block1.conv1)).state_dict()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    report = compare(wrong, model, x=image())
    assert report.first is not None
    assert report.first.reference == "block1.conv1"
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
    del wrong["fc.bias"]
    report = compare({**wrong, "more": torch.zeros(1)}, model, x=image())
    keys = [key for key, _ in report.notes]
    assert keys == ["diff_models.note.missing_weights", "diff_models.note.unexpected_weights"]


def test_a_model_that_is_not_deterministic_is_said_so(model: Small) -> None:
    def noisy(x: torch.Tensor) -> torch.Tensor:
        return model(x + torch.rand_like(x))

    report = compare(noisy, model, inputs=(image(),))
    assert "diff_models.note.nondeterministic" in [key for key, _ in report.notes]


def test_other_inputs_are_said_so(model: Small, reference: Trace) -> None:
    report = compare(traced(model, image(5)), reference)
    assert report.ok
    assert ("diff_models.note.inputs_differ", "input") in [
        (key, words.get("name")) for key, words in report.notes
    ]


def test_inputs_of_other_shapes_are_an_error(model: Small, reference: Trace) -> None:
    with pytest.raises(ct.ShapeError, match=r"\(1, 3, 20, 20\)"):
        ct.diff(traced(model, torch.randn(1, 3, 20, 20)), reference)


def test_one_step_can_be_asked_about(model: Small, reference: Trace) -> None:
    wrong = traced(broken(model, lambda m: flip(m.block1.conv1)))
    assert compare(wrong, reference, step="block2.conv1").verdict in ("exact", "rounding")
    report = compare(wrong, reference, step="block1.conv1")
    assert report.verdict == "mismatch"
    assert len(report.pairs) == 1
    with pytest.raises(ct.UnknownStepError, match="nearest names"):
        compare(wrong, reference, step="block1.conv9")


def test_what_stands_for_nothing_is_listed() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.side = nn.Conv2d(3, 2, 1)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.side(x), self.conv(x)

    torch.manual_seed(0)
    two = Two()
    report = compare(traced(two.conv), traced(two))
    assert report.unaligned == (("side",), ())
    assert report.ok


def test_a_model_that_raises_says_so(model: Small) -> None:
    def fails(x: torch.Tensor) -> torch.Tensor:
        raise ValueError("out of paper")

    with pytest.raises(ct.ModelError, match="out of paper"):
        compare(fails, model, inputs=(image(),))


def test_settings_beside_two_networks_are_an_error(reference: Trace) -> None:
    with pytest.raises(ct.UsageError, match="stride"):
        ct.diff(reference, reference, stride=2)


def test_a_file_that_is_no_model_is_an_error(reference: Trace, tmp_path: Path) -> None:
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"\x08\x08 not a model")
    with pytest.raises(ct.FileError, match=r"bad\.onnx"):
        ct.diff(bad, reference)


# Parts -------------------------------------------------------------------------------------------


def test_names_of_exporters_are_read_as_paths() -> None:
    assert "layer1.0.conv1" in set(plain_names("/layer1/layer1.0/conv1/Conv"))
    assert "layer1.0.conv1" in set(plain_names("/layer1.0/conv1/Conv"))
    assert list(plain_names("conv1")) == ["conv1"]


def test_layers_of_equal_shape_are_paired_in_order_where_nothing_else_tells() -> None:
    torch.manual_seed(0)
    one = nn.Sequential(*(nn.Conv2d(4, 4, 3, padding=1) for _ in range(4)))
    two = nn.Sequential(*(nn.Conv2d(4, 4, 3, padding=1) for _ in range(4)))
    x = torch.randn(1, 4, 6, 6)

    def port(x: torch.Tensor) -> torch.Tensor:
        return two(x)

    mine = ct.trace(port, x)
    found = align(Network(mine, "mine"), Network(ct.trace(one, x), "reference"))
    assert [m for m, _ in found.pairs.values()] == list(mine.steps)


def test_reports_are_written_in_both_languages(model: Small, reference: Trace) -> None:
    report = compare(traced(Port(model, "no relu").eval()), reference)
    english, korean = report.text("en"), report.text("ko")
    assert "Mine lacks the step block2.relu (relu)." in english
    assert "검사 대상에는 block2.relu 연산(종류: relu)이 없습니다." in korean
    for text in (english, korean):
        assert str(report.worst[0].address) in text
        assert "MISMATCH" in text
    assert len(report.text("en", everything=True)) > len(english)
    assert "mismatch at block2.bn2" in repr(report)


def test_a_saved_run_is_compared_like_any_other(model: Small, tmp_path: Path) -> None:
    right, wrong = traced(model), traced(broken(model, lambda m: flip(m.block2.conv1)))
    for name, trace in (("right", right), ("wrong", wrong)):
        trace.save(tmp_path / f"{name}.convtrace")
    opened = [ct.load(tmp_path / f"{name}.convtrace") for name in ("wrong", "right")]
    assert compare(opened[1], right).verdict == "exact"
    report = compare(*opened)
    assert [pair.reference for pair in report.wrong] == ["block2.conv1"]
    assert not report.unjudged
    assert ids(report) == ["kernel.flipped"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_an_export_by_pytorch_itself_is_the_network(model: Small, tmp_path: Path) -> None:
    file = tmp_path / "exported.onnx"
    torch.onnx.export(model, (image(),), str(file), dynamo=False)
    report = compare(file, traced(model))
    assert report.verdict == "rounding"
    assert {pair.by for pair in report.pairs if pair.kind == "convolution"} == {"name"}
