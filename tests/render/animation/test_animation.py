"""Animations: every number in every frame is PyTorch's, and files hold the frames that they say."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from judges import NestedLoops, Settings, torch_convolution
from PIL import Image, ImageDraw, ImageSequence
from torch import nn

import convtrace as ct
from convtrace.errors import MissingDependencyError, OutOfRangeError, UsageError
from convtrace.graph import Trace
from convtrace.render.animation.files import (
    LAST,
    trace_animated_svg,
    trace_apng,
    trace_gif,
    trace_webp,
)
from convtrace.render.animation.film import make_film
from convtrace.render.animation.gif import gif
from convtrace.render.animation.parts import Film
from convtrace.render.animation.raster import Raster
from convtrace.render.drawing.scene import Anchor, Box, Label
from convtrace.render.drawing.theme import LIGHT, parse
from convtrace.render.pictures import font_files

CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "padding": (lambda: nn.Conv2d(2, 1, 3, padding=1), (1, 2, 5, 5)),
    "stride": (lambda: nn.Conv2d(1, 2, (2, 3), stride=(1, 2)), (1, 1, 4, 5)),
    "dilation": (lambda: nn.Conv2d(1, 1, 2, dilation=2, padding=(1, 0)), (1, 1, 4, 4)),
    "groups": (lambda: nn.Conv2d(4, 2, 2, groups=2, bias=False), (1, 4, 3, 3)),
    "unbatched": (lambda: nn.Conv2d(1, 1, 2), (1, 3, 3)),
    "transposed": (lambda: nn.ConvTranspose2d(2, 1, 3, stride=2, padding=1), (1, 2, 3, 3)),
    "one-d": (lambda: nn.Conv1d(2, 1, 3, padding=1, dilation=2), (1, 2, 7)),
    "one-d transposed": (lambda: nn.ConvTranspose1d(1, 1, 3, stride=2), (1, 1, 4)),
    "three-d": (lambda: nn.Conv3d(2, 1, 2, padding=(1, 0, 1)), (1, 2, 2, 3, 3)),
}


def trace_of(case: str) -> Trace:
    make, shape = CASES[case]
    torch.manual_seed(5)
    model = make()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randint(-3, 4, parameter.shape))
    return ct.trace(model, torch.randint(-4, 10, shape).float())


def film_of(case: str, lang: str = "en", frames: int | None = None) -> Film:
    return make_film(
        trace_of(case), lang=lang, theme="light", step=None, sample=0, channel=0, depth=0,
        frames=frames,
    )  # fmt: skip


def judge(trace: Trace) -> tuple[NestedLoops, np.ndarray, dict[str, Any]]:
    """Return nested loops and PyTorch's output for the convolution of a trace."""
    (step,) = trace.steps.values()
    a = step.attributes
    settings = Settings(
        a["stride"], a["padding"], a["dilation"], a["output_padding"], a["groups"], a["transposed"]
    )
    arrays = {role: value.data.detach().numpy() for role, value in step.values.items()}
    output = torch_convolution(arrays["input"], arrays["weight"], arrays.get("bias"), settings)
    return NestedLoops(arrays["input"].shape, arrays["weight"].shape, settings), output, arrays


def numbers(group: str, role: str) -> list[float]:
    """Read the numbers of one role off a part of an SVG."""
    found = re.findall(f'<text class="{role}"[^>]*>([^<]*)</text>', group)
    return [float(unescape(text).replace("Σ = ", "").replace("−", "-")) for text in found]


@pytest.mark.parametrize("case", CASES)
def test_every_number_of_every_frame_is_what_nested_loops_and_pytorch_say(case: str) -> None:
    trace = trace_of(case)
    loops, output, arrays = judge(trace)
    svg = trace_animated_svg(trace).decode()
    moments = re.findall(r'<g class="m m\d+"[^>]*>(.*?)</g>', svg, re.DOTALL)
    kept = re.findall(r'<g class="k"[^>]*>(.*?)</g>', svg, re.DOTALL)
    outer = () if output.ndim == arrays["weight"].ndim - 1 else (0,)
    outer = (*outer, 0) + ((0,) if case == "three-d" else ())
    places = list(np.ndindex(output.shape[len(outer) :]))
    assert len(moments) == len(kept) == len(places)
    for place, moment, more in zip(places, moments, kept, strict=True):
        at = (*outer, *place)
        products = loops.products(at)
        made = loops.numbers(at, arrays["input"], arrays["weight"])
        read = [n for p, n in zip(products, made, strict=True) if p.source is not None]
        headline = re.search(r'class="headline"[^>]*>[^<]* = ([^<]*)<', moment)
        assert headline is not None
        assert float(headline[1].replace("−", "-")) == output[at]
        assert numbers(more, "output") == [output[at]]
        assert numbers(moment, "product") == [float(n) for n in read]
        inputs = [arrays["input"].item(p.source) for p in products if p.source is not None]
        assert numbers(moment, "window") == inputs
        sums = loops.channel_sums(at, arrays["input"], arrays["weight"])
        assert numbers(moment, "channel-sum") == [float(n) for n in sums]
        assert 'class="total"' in moment


def labels_of(film: Film, number: int, role: str) -> list[str]:
    shapes = film.frame(number)
    return [shape.text for shape in shapes if isinstance(shape, Label) and shape.role == role]


def value(text: str) -> float:
    return float(text.replace("−", "-"))


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_whatever_is_rounded_in_a_frame_is_marked(lang: str) -> None:
    torch.manual_seed(3)
    trace = ct.trace(nn.Conv2d(2, 1, 2, bias=False), torch.randn(1, 2, 3, 3))
    film = make_film(trace, lang=lang)
    heads = [s.text for s in film.still if isinstance(s, Label) and s.text.endswith(" ≈")]
    assert len(heads) == 2 * 3 + 1  # input, kernel and products of each channel; the output
    assert any("≈" in s.text and len(s.text) > 20 for s in film.still if isinstance(s, Label))
    output = trace.step("conv2d").value.data.detach().flatten().tolist()
    for number, reported in enumerate(output):
        (headline,) = labels_of(film, number, "headline")
        sign, text = headline.split("] ")[1].split()
        assert (sign == "=") == (np.float32(value(text)) == np.float32(reported))
        assert set(labels_of(film, number, "sign")) == {"≈"}
        assert all(text.startswith("Σ ≈ ") for text in labels_of(film, number, "channel-sum"))
        (total,) = labels_of(film, number, "total")
        assert " ≈ " in total


def test_numbers_that_are_shown_in_full_are_not_marked() -> None:
    film = film_of("padding")
    shapes = [*film.still, *(s for n in range(25) for s in film.frame(n))]
    assert not [s for s in shapes if isinstance(s, Label) and "≈" in s.text]


def test_a_product_of_shown_factors_that_is_rounded_makes_the_sign_of_its_channel_round() -> None:
    layer = nn.Conv2d(2, 1, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([0.5, 1.0 / 3]).reshape(1, 2, 1, 1))
    film = make_film(ct.trace(layer, torch.tensor([1.0, 3.0]).reshape(1, 2, 1, 1)))
    assert labels_of(film, 0, "sign") == ["=", "≈"]


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_of_many_channels_the_largest_are_shown_and_what_the_rest_sums_to(lang: str) -> None:
    torch.manual_seed(7)
    layer, x = nn.Conv2d(20, 1, 2), torch.randint(-4, 5, (1, 20, 3, 3)).float()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randint(-3, 4, parameter.shape))
        film = make_film(ct.trace(layer, x), lang=lang)
        sums = nn.functional.unfold(x, 2).reshape(20, 4, 4) * layer.weight.reshape(20, 4, 1)
        sums = sums.sum(1)  # of each channel, at each place
        output = layer(x).flatten().tolist()
    largest = sorted(range(20), key=lambda c: (-sums[c].abs().max().item(), c))[:8]
    hidden = [c for c in range(20) if c not in largest]
    for number in range(4):
        shown = [value(t.split()[-1]) for t in labels_of(film, number, "channel-sum")]
        assert shown == [sums[c, number].item() for c in sorted(largest)]
        rest = sums[hidden, number].sum().item()
        (said,) = labels_of(film, number, "rest")
        found = [value(one) for one in re.findall(r"−?\d+(?:\.\d+)?", said)]
        assert sorted(found) == sorted([8, 20, rest])
        (total,) = labels_of(film, number, "total")
        left, right = total.split(" = ")
        terms = re.findall(r"[−+]? ?\d+", left)
        assert [value(term.replace(" ", "")) for term in terms] == [*shown, rest, layer.bias.item()]
        assert value(right) == output[number]


def test_fewer_channels_are_shown_where_they_are_tall() -> None:
    film = make_film(ct.trace(nn.Conv2d(6, 1, 3), torch.ones(1, 6, 30, 3)))
    assert len(labels_of(film, 0, "channel-sum")) == 2
    assert "2" in labels_of(film, 0, "rest")[0]
    assert film.height <= 1800


def test_a_frame_of_another_network_would_be_noticed() -> None:
    one = trace_animated_svg(trace_of("padding")).decode()
    other = trace_animated_svg(trace_of("stride")).decode()
    assert numbers(one, "output") != numbers(other, "output")


def test_a_gif_has_a_frame_for_each_output_and_stops_on_the_last() -> None:
    image = Image.open(io.BytesIO(trace_gif(trace_of("padding"), seconds=0.5)))
    assert image.n_frames == 25
    durations = [frame.info["duration"] for frame in ImageSequence.Iterator(image)]
    assert durations == [500] * 24 + [500 * LAST]
    assert image.info["loop"] == 0


def test_a_gif_that_does_not_loop_says_nothing_of_loops() -> None:
    assert "loop" not in Image.open(io.BytesIO(trace_gif(trace_of("one-d"), loop=False))).info


@pytest.mark.parametrize("write", [trace_gif, trace_apng, trace_webp])
def test_decoded_frames_are_the_drawn_ones(write: Callable[..., bytes]) -> None:
    trace = trace_of("transposed")
    film = film_of("transposed")
    drawn = [frame.convert("RGB") for frame in Raster(film, LIGHT, "en", 1.25).frames()]
    file = Image.open(io.BytesIO(write(trace)))
    decoded = [frame.convert("RGB") for frame in ImageSequence.Iterator(file)]
    assert len(decoded) == len(drawn) == 25
    for one, other in zip(decoded, drawn, strict=True):
        assert one.size == other.size
        assert np.array_equal(np.asarray(one), np.asarray(other))
    assert np.abs(np.asarray(decoded[0], dtype=np.int16) - np.asarray(drawn[-1])).max() > 100


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_texts_of_few_colours_look_like_those_that_pillow_writes(lang: str) -> None:
    words = "conv2d[0,1,2] ≈ −0.25" if lang == "en" else "출력 ≈ −0.25"
    anchors: dict[str, Anchor] = {"ls": "start", "rs": "end"}
    for bold, (short, anchor) in itertools.product((False, True), anchors.items()):
        ink = LIGHT.ink if bold else LIGHT.sum
        label = Label(150, 20, words, 9.0, ink, bold, anchor)
        film = Film(300, 30, LIGHT, lang, [label], [[]], [[]])
        (made,) = Raster(film, LIGHT, lang, 2.0).frames()
        judge = Image.new("RGB", made.size, LIGHT.ground)
        draw, face = ImageDraw.Draw(judge), font_files.font(lang, 18.0, bold=bold)
        draw.text((300, 40), words, ink, face, anchor=short)
        gap = np.abs(np.asarray(made.convert("RGB"), dtype=np.int16) - np.asarray(judge))
        assert np.asarray(judge).std() > 10
        assert gap.max() <= 255 / 12  # the edges of letters have twelve steps
        assert gap.mean() < 1


def test_letters_over_a_line_take_both_grounds() -> None:
    line = Box(0, 8, 40, 4, LIGHT.ink, None)
    still = [line, Label(4, 14, "HHH", 12.0, LIGHT.sum)]
    (made,) = Raster(Film(40, 20, LIGHT, "en", still, [[]], [[]]), LIGHT, "en", 4.0).frames()
    pixels = np.asarray(made.convert("RGB"))
    assert set(map(tuple, pixels[:, 155])) == {parse(LIGHT.ground), parse(LIGHT.ink)}
    assert (pixels == parse(LIGHT.sum)).all(axis=2).sum() > 200  # not hidden by the line


def test_a_frame_that_changes_nothing_keeps_its_place_and_its_time() -> None:
    pixels = np.zeros((20, 30), np.uint8)
    other = pixels.copy()
    other[3:5, 7:11] = 1
    made = gif([pixels, pixels, other], bytes((255, 255, 255, 0, 0, 0)), [5, 7, 9], loop=False)
    image = Image.open(io.BytesIO(made))
    read = [(np.asarray(f.convert("L")), f.info["duration"]) for f in ImageSequence.Iterator(image)]
    assert [time for _, time in read] == [50, 70, 90]
    assert [(frame == 0).sum() for frame, _ in read] == [0, 0, 8]


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_videos_play_for_as_long_as_was_asked(suffix: str, tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="the extra video is not installed")
    file = tmp_path / f"walk{suffix}"
    trace_of("one-d").save(file, seconds=0.2, width=401)
    with av.open(file) as container:
        decoded = list(container.decode(video=0))
        length = container.duration / av.time_base
    pictures = [frame.to_image() for frame in decoded]
    assert pictures[0].size[0] == 402  # even, as videos need
    assert [round(frame.time, 2) for frame in decoded[:5]] == [0, 0.2, 0.4, 0.6, 0.8]
    assert length == pytest.approx((5 - 1 + LAST) * 0.2, abs=0.05)
    first, last = (np.asarray(pictures[at], dtype=np.int16) for at in (0, -1))
    assert np.abs(first - last).max() > 100


def test_frames_can_be_fewer_and_are_spread_over_the_output() -> None:
    film = film_of("padding", frames=5)
    labels = [s for moment in film.moments for s in moment if isinstance(s, Label)]
    heads = [label.text for label in labels if label.role == "headline"]
    assert [re.findall(r"\[([\d,]+)\]", head)[0] for head in heads] == [
        "0,0,0,4", "0,0,1,4", "0,0,2,4", "0,0,3,4", "0,0,4,4",
    ]  # fmt: skip
    outputs = [s for kept in film.kept for s in kept if isinstance(s, Label)]
    assert len(outputs) == 25


def test_channel_and_step_can_be_chosen(tmp_path: Path) -> None:
    trace = trace_of("stride")
    film = trace_animated_svg(trace, channel=1, step="conv2d").decode()
    assert "conv2d[0,1,0,0]" in film
    with pytest.raises(OutOfRangeError, match=r"channel = 2: conv2d has 2"):
        trace.save(tmp_path / "walk.gif", channel=2)


@pytest.mark.parametrize("lang", ["en", "ko"])
@pytest.mark.parametrize("case", CASES)
def test_no_text_leaves_the_picture_or_covers_another(case: str, lang: str) -> None:
    film = film_of(case, lang)
    for number in (0, len(film.moments) - 1):
        labels = [s for s in (*film.still, *film.frame(number)) if isinstance(s, Label)]
        for label in labels:
            left, top, right, bottom = label.room
            assert -0.1 <= left < right <= film.width + 0.1, label
            assert 0 <= top < bottom <= film.height, label
        places = {(label.x, label.y): label for label in labels}  # drawn over: the window's numbers
        for one, other in itertools.combinations(places.values(), 2):
            a, b = one.room, other.room
            wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
            assert not (wide > 0.5 and high > 0.3 * min(one.size, other.size)), (one, other)


def test_the_animated_svg_keeps_still_for_readers_who_want_no_motion() -> None:
    svg = trace_animated_svg(trace_of("one-d"), loop=False).decode()
    assert "prefers-reduced-motion:reduce" in svg
    assert ".m:not(.m4){visibility:hidden}" in svg
    assert "infinite" not in svg
    assert not re.search(r"<script|href|url\(", svg)


def test_only_convolutions_are_animated_and_the_message_names_them(tmp_path: Path) -> None:
    trace = ct.trace(nn.Sequential(nn.Conv2d(1, 1, 2), nn.ReLU()), torch.ones(1, 1, 3, 3))
    with pytest.raises(UsageError, match=r"1 is a step of kind relu(.|\n)*this trace: 0"):
        trace.save(tmp_path / "walk.gif", step="1")


@pytest.mark.parametrize(
    ("model", "shape", "message"),
    [
        (nn.Conv2d(1, 1, 3), (1, 1, 64, 64), r"3,844 output positions(.|\n)*why\.svg"),
        (
            nn.Conv2d(1, 1, 3, stride=9),
            (1, 1, 40, 40),
            r"reads 1 × 1,600 numbers(.|\n)*at most 8 depths",
        ),
        (nn.Conv3d(1, 1, (9, 1, 1)), (1, 1, 9, 3, 3), r"reads 9 × 9 numbers of each channel"),
        (nn.Conv1d(1, 1, 3), (1, 1, 200), r"points, at most 1800"),
    ],
)
def test_what_is_too_large_to_follow_says_what_to_choose(
    model: nn.Module, shape: tuple[int, ...], message: str, tmp_path: Path
) -> None:
    file = tmp_path / "walk.gif"
    file.write_bytes(b"before")
    with pytest.raises(UsageError, match=message):
        ct.trace(model, torch.zeros(shape)).save(file)
    assert file.read_bytes() == b"before"


@pytest.mark.parametrize(
    "option", [{"frames": 0}, {"seconds": 0}, {"width": 10}, {"seconds": float("nan")}]
)
def test_bad_options_are_named(option: dict[str, Any], tmp_path: Path) -> None:
    (name,) = option
    with pytest.raises(UsageError, match=f"{name} = "):
        trace_of("one-d").save(tmp_path / "walk.gif", **option)


def test_a_missing_korean_font_says_how_to_install_one(monkeypatch: pytest.MonkeyPatch) -> None:
    font_files.font.cache_clear()
    nowhere = {False: [("no-such-font.ttf", 0)], True: [("no-such-font.ttf", 0)]}
    monkeypatch.setattr(font_files, "_KOREAN", nowhere)
    with pytest.raises(MissingDependencyError, match="apt install fonts-noto-cjk"):
        trace_gif(trace_of("one-d"), lang="ko")
    assert trace_gif(trace_of("one-d"), lang="en").startswith(b"GIF89a")
    font_files.font.cache_clear()


def test_without_any_font_of_the_machine_no_letter_is_an_empty_box(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nowhere = {False: [("no-such-font.ttf", 0)], True: [("no-such-font.ttf", 0)]}
    monkeypatch.setattr(font_files, "_KOREAN", nowhere)
    monkeypatch.setattr(font_files, "_LATIN", nowhere)
    font_files.font.cache_clear()
    own = font_files.font("en", 20.0)
    box = bytes(own.getmask("\uffff"))
    assert bytes(own.getmask("−")) == box  # it has no minus sign
    text = font_files.drawable(own, "Σ ≈ −3 × 2 · 합")
    assert text == "sum ~ -3 x 2 . ?"
    assert all(bytes(own.getmask(letter)) != box for letter in text if letter != " ")
    assert trace_gif(trace_of("one-d")).startswith(b"GIF89a")
    font_files.font.cache_clear()
    monkeypatch.undo()
    face = font_files.font("en", 20.0)
    assert font_files.drawable(face, "Σ ≈ −3") == "Σ ≈ −3"
