"""Figures: goldens to look at, texts that keep apart, and numbers read back from the SVG.

A golden is `goldens/figures/CASE.LANGUAGE.svg`; open it in a browser. Where a figure differs, the
new one is written beside it as `CASE.LANGUAGE.changed.svg`: look at it, and rename it if it is
right. Goldens freeze, they do not prove; the tests below them ask PyTorch.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import strategies
import torch
from hypothesis import given
from hypothesis import strategies as st
from render.figure_cases import FIGURES, counted, run
from render.figure_judge import assert_readable, number, overlapping, read_texts
from render.receipt_cases import CASES
from torch import nn
from torch.nn import functional

import convtrace as ct
from convtrace.errors import UsageError
from convtrace.render.drawing.scene import Box, Label, Scene, Stroke
from convtrace.render.drawing.theme import theme_of
from convtrace.render.pictures.drawn import receipt_scene, split_scene, trace_scene
from convtrace.render.pictures.svg import svg

GOLDENS = Path(__file__).parents[1] / "goldens" / "figures"
LANGUAGES = ("en", "ko")
GOLDEN = [
    "layer",
    "stack",
    "window",
    "groups",
    "scatter",
    "gather",
    "gather_one",
    "contributions",
    "receipt_linear",
    "window_three",
]
RECEIPTS = ["demo", "padding_stride_dilation", "thirds", "mismatch", "nan", "three_d"]


def drawn(name: str, lang: str = "en", **options: Any) -> str:
    return svg(FIGURES[name].scene(lang, **options))


# Goldens -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("name", [*GOLDEN, *(f"case_{name}" for name in RECEIPTS)])
def test_a_figure_looks_as_it_did(name: str, lang: str) -> None:
    golden = GOLDENS / f"{name}.{lang}.svg"
    changed = golden.with_suffix(".changed.svg")
    case = name.removeprefix("case_")
    text = (
        svg(receipt_scene(CASES[case].receipt(), lang=lang)) if case != name else drawn(name, lang)
    )
    if not golden.exists() or golden.read_text(encoding="utf-8") != text:
        changed.write_text(text, encoding="utf-8")
        pytest.fail(f"{name} looks different in {lang}: compare {golden.name}, {changed.name}")
    changed.unlink(missing_ok=True)


# Room --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("name", FIGURES)
def test_texts_keep_apart_and_stay_on_the_page(name: str, lang: str) -> None:
    assert_readable(FIGURES[name].scene(lang))


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("name", CASES)
def test_texts_of_a_receipt_keep_apart_and_stay_on_the_page(name: str, lang: str) -> None:
    assert_readable(receipt_scene(CASES[name].receipt(), lang=lang))


@pytest.mark.parametrize("width", [85, 120, 170])
@pytest.mark.parametrize("name", ["receipt", "layer_digits", "receipt_linear", "window"])
def test_a_figure_of_a_width_has_letters_that_can_be_read_or_says_what_it_needs(
    name: str, width: int
) -> None:
    scene, problem = try_to(lambda: FIGURES[name].scene(width=width))
    if scene is None:
        assert "Give at least" in problem
        return
    assert_readable(scene)
    assert scene.width * scene.scale == pytest.approx(width / 25.4 * 72)
    assert min(label.size for label in scene.labels) * scene.scale >= 4.5


def test_the_check_can_fail_as_texts_on_one_spot_overlap() -> None:
    label = Label(0, 10, "24", 9, "#000000")
    assert overlapping([label, dataclasses.replace(label, x=5)])
    assert not overlapping([label, dataclasses.replace(label, x=20)])
    with pytest.raises(AssertionError):
        assert_readable(Scene(10, 20, (label,), "#FFFFFF", "", "", "en"))


@strategies.examples(12)
@given(drawn=strategies.convolutions(uneven=False), lang=st.sampled_from(LANGUAGES), data=st.data())
def test_texts_of_any_convolution_keep_apart(
    drawn: strategies.Drawn, lang: str, data: st.DataObject
) -> None:
    x, weight, bias = drawn.tensors("float32")
    trace = ct.trace(lambda x: drawn.call(x, weight, bias), x)
    step = next(s for s in trace.steps.values() if s.kind == "convolution")
    index = tuple(data.draw(st.integers(0, size - 1)) for size in step.shape)
    transposed = step.attributes["transposed"]
    at = {"address": str(ct.Address(step.name, index))}
    for figure in ("receipt", "layer", "stack", "groups", "gather" if transposed else "window"):
        scene, problem = try_to(partial(trace_scene, trace, lang=lang, figure=figure, **at))
        if scene is None:
            assert figure == "stack" or "too large" in problem
        else:
            assert_readable(scene)
    scene, problem = try_to(partial(trace_scene, trace, lang=lang, figure="scatter", **at))
    if scene is None:
        assert "goes into no number" in problem
    else:
        assert_readable(scene)


def try_to(draw: Callable[[], Scene]) -> tuple[Scene | None, str]:
    """Draw a figure, or return why it cannot be drawn."""
    try:
        return draw(), ""
    except UsageError as error:
        return None, str(error)


# Numbers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["demo", "grouped", "padding_stride_dilation", "three_d", "one_d"])
def test_a_receipt_shows_what_torch_multiplies_and_adds(name: str) -> None:
    case = CASES[name]
    expected, met, products = case.judge()
    text = svg(receipt_scene(case.receipt()))
    assert [number(t) for t in read_texts(text, "input")] == met.ravel().tolist()
    assert [number(t) for t in read_texts(text, "products")] == products.ravel().tolist()
    sums = [number(t) for t in read_texts(text, "sum")]
    assert sums == products.reshape(len(products), -1).sum(axis=1).tolist()
    assert [number(t) for t in read_texts(text, "total")] == [expected]
    bias = [number(t) for t in read_texts(text, "bias")]
    assert sum(sums) + sum(bias) == expected


@pytest.mark.parametrize("name", ["window", "window_digits", "window_one"])
def test_a_window_figure_shows_the_window_the_kernel_and_the_output_of_torch(name: str) -> None:
    figure = FIGURES[name]
    scene = figure.scene()
    trace = run(figure.run)
    address = figure.options.get("address")
    step = trace.step(address.split("[")[0]) if address else next(iter(trace.steps.values()))
    tinted = tinted_texts(scene, theme_of("light").window, "input")
    index = (
        at(address) if address else tuple(s // 2 if n > 1 else 0 for n, s in enumerate(step.shape))
    )
    window = torch.autograd.grad(again(step, trace, index), trace_weight(step), retain_graph=False)[
        0
    ][index[1], 0]
    assert [number(t) for t in tinted] == pytest.approx(window.ravel().tolist(), abs=1e-4)
    made = tinted_texts(scene, theme_of("light").sum, "output")
    assert [number(t) for t in made] == pytest.approx([step.value.item(index)], abs=5e-4)


def at(address: str) -> tuple[int, ...]:
    return tuple(map(int, address.split("[")[1].rstrip("]").split(",")))


_WEIGHTS: dict[str, torch.Tensor] = {}


def trace_weight(step: Any) -> torch.Tensor:
    return _WEIGHTS[step.name]


def again(step: Any, trace: Any, index: tuple[int, ...]) -> torch.Tensor:
    """Run a convolution again in PyTorch, with a weight that can be differentiated by."""
    weight = step.values["weight"].tensor().double().requires_grad_()
    _WEIGHTS[step.name] = weight
    axes = weight.dim() - 2
    conv = getattr(functional, f"conv{axes}d")
    settings = step.attributes
    out = conv(
        step.values["input"].tensor().double(),
        weight,
        None,
        settings["stride"],
        tuple(low for low, _ in settings["padding"]),
        settings["dilation"],
        settings["groups"],
    )
    return out[index]


def tinted_texts(scene: Scene, colour: str, role: str) -> list[str]:
    """Texts of a role whose cell has the tint of a colour, in the order they are drawn."""
    fill = theme_of("light").behind(colour)
    boxes = [s for s in scene.shapes if isinstance(s, Box) and s.fill == fill]
    found: list[str] = []
    for label in scene.labels:
        left, _, right, _ = label.room
        x, y = (left + right) / 2, label.y - 0.3 * label.size
        if label.role == role and any(
            b.x <= x <= b.x + b.width and b.y <= y <= b.y + b.height for b in boxes
        ):
            found.append(label.text.strip())
    return found


def test_a_layer_figure_shows_kernels_and_outputs_of_torch() -> None:
    text = drawn("layer")
    trace = run("two")
    step = trace.step("conv2d")
    x, w = (step.values[role].tensor() for role in ("input", "weight"))
    assert [number(t) for t in read_texts(text, "input")] == x.ravel().tolist()
    assert [number(t) for t in read_texts(text, "kernel")] == w.ravel().tolist()
    expected = functional.conv2d(x, w)
    assert [number(t) for t in read_texts(text, "output")] == expected.ravel().tolist()


def test_a_gather_figure_is_a_plain_convolution_of_the_spread_input() -> None:
    scene = FIGURES["gather_one"].scene()
    text = svg(scene)
    spread = [number(t) for t in read_texts(text, "input")]
    kernel = [number(t) for t in read_texts(text, "kernel")]
    plain, turned = kernel[:3], kernel[3:]
    assert turned == plain[::-1]
    made = functional.conv1d(torch.tensor([[spread]]), torch.tensor([[turned]])).ravel()
    trace = run("one_transposed")
    bias = trace.step("conv_transpose1d").values["bias"].tensor()
    expected = [number(t) for t in read_texts(text, "output")]
    assert (made + bias).tolist() == expected == trace.output.ravel().tolist()


def test_a_gather_figure_outlines_the_window_of_the_number() -> None:
    scene = FIGURES["gather"].scene()
    trace = run("transposed")
    step = trace.step("conv_transpose2d")
    x, w, b = (step.values[role].tensor() for role in ("input", "weight", "bias"))
    x.requires_grad_()
    y = functional.conv_transpose2d(x, w * 0 + 1, b, stride=2, padding=1, output_padding=1)
    (reads,) = torch.autograd.grad(y[0, 0, 2, 3], x)
    expected = x.detach()[0, 0][reads[0, 0] != 0].tolist()
    assert [number(t) for t in tinted_texts(scene, theme_of("light").window, "input")] == expected


def test_a_scatter_figure_shows_what_one_input_adds_to_the_output() -> None:
    scene = FIGURES["scatter"].scene()
    trace = run("transposed")
    step = trace.step("conv_transpose2d")
    x, w = (step.values[role].tensor().detach() for role in ("input", "weight"))
    alone = torch.zeros_like(x)
    alone[0, 0, 1, 1] = x[0, 0, 1, 1]
    added = functional.conv_transpose2d(alone, w, None, stride=2, padding=1, output_padding=1)
    shown = [number(t) for t in read_texts(svg(scene), "product")]
    rows, columns = np.nonzero(added[0, 0].numpy())
    box = added[0, 0, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    assert shown == box.ravel().tolist()


@pytest.mark.parametrize("name", ["grouped", "depthwise"])
def test_a_groups_figure_joins_the_channels_that_torch_reads(name: str) -> None:
    trace = run(name)
    step = trace.step("conv2d")
    x = step.values["input"].tensor().double().requires_grad_()
    weight = torch.ones_like(step.values["weight"].tensor()).double()
    groups = step.attributes["groups"]
    out = functional.conv2d(x, weight, None, padding=1, groups=groups)
    pairs = set()
    for channel in range(out.shape[1]):
        (reads,) = torch.autograd.grad(out[0, channel].sum(), x, retain_graph=True)
        pairs |= {(int(c), channel) for c in reads[0].sum(dim=(1, 2)).nonzero().ravel()}
    scene = trace_scene(trace, figure="groups")
    assert joined(scene) == pairs


def joined(scene: Scene) -> set[tuple[int, int]]:
    """Pairs of channels that a line joins, read from where its ends are."""
    boxes = {
        role: {round(label.y, 1): int(label.text) for label in scene.labels if label.role == role}
        for role in ("input", "output")
    }
    pairs: set[tuple[int, int]] = set()
    for shape in scene.shapes:
        if isinstance(shape, Stroke):
            for (_, start), (_, end) in shape.lines:
                pairs.add((near(boxes["input"], start), near(boxes["output"], end)))
    return pairs


def near(places: dict[float, int], y: float) -> int:
    return places[min(places, key=lambda place: abs(place - 0.36 * 9 - y))]


def test_a_stack_figure_outlines_the_receptive_field_of_torch() -> None:
    trace = run("digits")
    from convtrace.models.digits import digit, digits

    network = digits().double()
    for parameter in network.parameters():
        parameter.data = parameter.data.abs() + 0.1  # so that no gradient vanishes by chance
    x = (digit().double() + 1).requires_grad_()
    values = {}
    y = x
    for name in ("conv1", "relu1", "conv2", "relu2"):
        y = getattr(network, name)(y)
        values[name] = y
    y = functional.avg_pool2d(y, 2)
    kept = {"input": x, **values}
    gradients = torch.autograd.grad(y[0, 3, 1, 2], list(kept.values()))
    texts = read_texts(svg(FIGURES["stack_digits"].scene()), "field")
    for shown, gradient in zip(texts, gradients, strict=False):
        rows, columns = np.nonzero(gradient[0].abs().sum(0).numpy())
        spans = [(rows.min(), rows.max()), (columns.min(), columns.max())]
        for text, span in zip(shown.removeprefix("reads ").split(", "), spans, strict=True):
            first, _, last = text.partition("…")
            assert (int(first), int(last or first)) == span, shown
    assert trace.steps


def test_a_stack_figure_names_padding_apart_and_ends_where_a_stride_leaves_a_remainder() -> None:
    layers = nn.Sequential(
        nn.Conv1d(1, 1, 3, stride=2, bias=False), nn.Conv1d(1, 1, 3, padding=1, bias=False)
    )
    scene = trace_scene(counted(layers, 1, 1, 10), address="1[0,0,3]")
    texts = svg(scene)
    assert read_texts(texts, "tensor") == ["input", "0", "1"]
    # Of 0 … 3, numbers 2 and 3 are read; they read 4 … 8 of the input, and never its last one.
    assert read_texts(texts, "field") == ["reads 4…8", "reads 2…3", "position 3"]
    assert read_texts(texts, "padding") == ["padding: position 4"]
    korean = svg(trace_scene(run("small"), lang="ko", address="conv1[0,1,0,7]"))
    assert read_texts(korean, "field") == ["읽는 자리 0…1, 6…7", "위치 0, 7"]
    assert read_texts(korean, "padding") == ["패딩: 행 −1", "패딩: 열 8"]


@pytest.mark.parametrize("name", ["stack_holes", "stack_holes_one", "stack"])
def test_a_stack_figure_tints_what_torch_reads_and_nothing_else(name: str) -> None:
    figure = FIGURES[name]
    scene, trace, theme = figure.scene(), run(figure.run), theme_of("light")
    at = ct.Address("conv2", (0, 1, 0, 2)) if name == "stack" else None
    steps = list(trace.steps.values())
    last = trace.step(at.step) if at else steps[-1]
    index = {"stack_holes": (0, 1, 8, 3), "stack_holes_one": (0, 0, 3), "stack": (0, 1, 0, 2)}[name]
    names = read_texts(svg(scene), "tensor")
    planes = [
        s for s in scene.shapes
        if isinstance(s, Box) and (s.fill, s.stroke) == (theme.ground, theme.rule)
    ]  # fmt: skip
    for tensor in names:
        shape = trace.inputs[tensor].shape if tensor in trace.inputs else trace.step(tensor).shape
        for _ in range(min(shape[1] - 1, 2)):
            planes.pop(0)  # the channels behind
        plane = planes.pop(0)
        rows, columns = (shape[-2] if len(shape) > 3 else 1), shape[-1]
        tinted = {
            (row, column)
            for row in range(rows)
            for column in range(columns)
            if colour_at(
                scene,
                plane.x + (column + 0.4) * plane.width / columns,
                plane.y + (row + 0.4) * plane.height / rows,
            )
            == theme.behind(theme.window)
        }
        read = reached_by_torch(trace, tensor, last.name, index)
        assert tinted == {(place[-2] if len(shape) > 3 else 0, place[-1]) for place in read}
    if name != "stack":
        counts = [text.split(" of ") for text in read_texts(svg(scene), "read")]
        assert counts
        assert all(int(count) < int(all_.split()[0]) for count, all_ in counts)


def colour_at(scene: Scene, x: float, y: float) -> str | None:
    """The colour of the last box that was drawn over a point."""
    boxes = [s for s in scene.shapes if isinstance(s, Box) and s.fill]
    over = [b for b in boxes if b.x <= x <= b.x + b.width and b.y <= y <= b.y + b.height]
    return over[-1].fill if over else None


def reached_by_torch(
    trace: ct.Trace, tensor: str, last: str, index: tuple[int, ...]
) -> list[tuple[int, ...]]:
    """Positions of a tensor that a number depends on, as PyTorch differentiates a like network."""
    steps = list(trace.steps.values())
    names = [step.name for step in steps]
    start = names.index(tensor) + 1 if tensor in names else 0
    value = trace.step(tensor).value if start else trace.inputs[tensor]
    x = torch.ones(value.shape, dtype=torch.float64, requires_grad=True)
    y = x
    for step in steps[start : names.index(last) + 1]:
        if step.kind == "convolution":
            a = step.attributes
            weight = torch.ones(step.values["weight"].shape, dtype=torch.float64)
            conv = functional.conv2d if weight.dim() == 4 else functional.conv1d
            padding = tuple(low for low, _ in a["padding"])
            y = conv(y, weight, None, a["stride"], padding, a["dilation"], a["groups"])
        elif "pool" in step.kind:
            y = functional.avg_pool2d(y, 2)
    (gradient,) = torch.autograd.grad(y[index], x)
    return [tuple(map(int, place)) for place in gradient.nonzero()]


def test_a_large_kernel_is_drawn_without_its_middle_and_says_so() -> None:
    scene = FIGURES["layer_large"].scene()
    step = run("large").step("conv2d")
    w = step.values["weight"].tensor()
    kernels = [number(t) for t in read_texts(svg(scene), "kernel")]
    ends = [0, 1, 2, 28, 29, 30]
    corners = w[:3][:, :, ends][:, :, :, ends]  # of three output channels
    titles = [re.fullmatch(r"kernel (\d) → 0", label.text) for label in scene.labels]
    shown = [int(title[1]) for title in titles if title]  # the two input channels that are drawn
    assert kernels == corners[:, shown].ravel().tolist()
    left_out = read_texts(svg(scene), "left-out")
    assert len(left_out) > 3 * len(shown) * (7 + 6)  # a row and a column of each, and of the input
    assert any(
        "stands for the rows and columns in the middle" in label.text for label in scene.labels
    )


def test_a_negative_bias_is_subtracted() -> None:
    bias = run("large").step("conv2d").values["bias"].tensor()[:3].tolist()
    texts = read_texts(drawn("layer_large"), "bias")
    assert texts == [f"{'−' if number < 0 else '+'} {abs(number):g}" for number in bias]
    assert bias[0] < 0


def test_a_map_of_contributions_adds_up_to_what_torch_returned() -> None:
    text = drawn("contributions_digits")
    from convtrace.models.digits import digit, digits

    with torch.no_grad():
        expected = digits()(digit())[0, 8].item()
    parts = [number(t) for t in read_texts(text, "part")]
    (total,) = [number(t) for t in read_texts(text, "total")]
    assert total == pytest.approx(expected, abs=1e-5)
    assert sum(parts) == pytest.approx(total, abs=2e-5)
    assert {t[0] for t in read_texts(text, "term")} == {"+", "−"}
    scale = [number(t) for t in read_texts(text, "scale")]
    largest = run("digits").contributions("fc[0,8]").inputs["input"].abs().max().item()
    assert scale == pytest.approx([-largest, 0, largest], rel=1e-5)


def test_a_map_is_cut_to_the_part_that_has_terms_and_says_so() -> None:
    text = drawn("contributions_wide")
    terms = run("wide").contributions("conv2d[0,0,28,28]").inputs["input"].sum(dim=(0, 1))
    rows, columns = (places.tolist() for places in np.nonzero(terms.numpy()))
    assert (min(rows), max(rows), min(columns), max(columns)) == (27, 29, 27, 29)
    assert "rows 26–30, columns 26–30; all others are 0" in text
    assert len(read_texts(text, "term")) == len(rows)


def test_a_split_without_its_trace_is_drawn_too() -> None:
    split = run("digits").contributions("fc[0,8]")
    scene = split_scene(split)
    assert_readable(scene)
    assert "≈6.72391" in " ".join(label.text for label in scene.labels)


# What is said ------------------------------------------------------------------------------------


def test_a_figure_says_what_it_leaves_out() -> None:
    receipt = svg(receipt_scene(CASES["cut_channels"].receipt()))
    assert "Showing 63 of 4608 terms" in receipt
    layer = drawn("layer_wide")
    assert "Showing 4 of the 64 input channels" in layer
    assert "Showing 3 of 8 output channels." in layer
    assert "Only the part around what matters is shown" in layer
    assert "Steps left out on the way: " in drawn("stack_deep")
    assert "≈ marks numbers that are shown rounded" in drawn("window_digits")
    assert "≈ marks" not in drawn("window")


def test_a_wrong_number_is_told_in_words_too() -> None:
    text = svg(receipt_scene(CASES["mismatch"].receipt()))
    assert "!! MISMATCH: this number is not the sum of these products." in text


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("mono", [False, True])
def test_every_theme_draws_the_same_numbers(theme: str, mono: bool) -> None:
    scene = FIGURES["receipt"].scene(theme=theme, mono=mono)
    plain = FIGURES["receipt"].scene()
    assert [label.text for label in scene.labels] == [label.text for label in plain.labels]
    assert_readable(scene)


def test_without_colour_only_greys_are_left() -> None:
    import re

    text = drawn("layer_digits", mono=True) + drawn("contributions_digits", mono=True)
    colours = set(re.findall(r"#[0-9A-F]{6}", text))
    assert colours
    assert all(c[1:3] == c[3:5] == c[5:7] for c in colours)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"figure": "stak"}, "there is no figure 'stak'"),
        ({"figure": "stak"}, "Did you mean stack?"),
        (
            {"figure": "window", "address": "relu1[0,0,0,0]"},
            "Convolutions of this run: conv1, conv2",
        ),
        ({"figure": "gather"}, "Choose figure='window'"),
        ({"figure": "layer", "address": "conv1[0,0,0,0]", "step": "conv1"}, "Give one of them."),
        ({"figure": "scatter", "address": "fc.weight[0,0]"}, "no convolution reads fc.weight"),
        ({"figure": "stack", "address": "input[0,0,0,0]"}, "nothing lies below it"),
        ({"figure": "stack", "width": 0}, "It is in millimetres"),
        ({"figure": "stack", "width": 20}, "Give at least"),
        ({"figure": "receipt", "address": "conv1[0,0,0,0]", "limit": 0}, "at least 1"),
    ],
)
def test_a_figure_that_cannot_be_drawn_says_what_to_do(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError) as error:
        trace_scene(run("digits"), **options)
    assert message in str(error.value)


def test_a_figure_that_is_too_large_says_what_to_choose_instead() -> None:
    x, w = torch.ones(1, 1, 60, 1, 1), torch.ones(1, 1, 60, 1, 1)
    trace = ct.trace(lambda x: functional.conv3d(x, w), x)
    with pytest.raises(UsageError, match=r"too large to read: 145 × 942 mm\n  --figure rec"):
        trace_scene(trace, figure="layer", address="conv3d[0,0,0,0,0]")
    with pytest.raises(UsageError, match=r"4608 terms in 512 channels\n  limit=16 shows fewer"):
        receipt_scene(CASES["cut_channels"].receipt(), limit=4608)
    wide = ct.trace(torch.nn.Conv2d(64, 64, 1), torch.ones(1, 64, 3, 3))
    with pytest.raises(UsageError, match="64 input channels and 64 output channels; 32 can be"):
        trace_scene(wide, figure="groups")
