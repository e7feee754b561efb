"""The descent: what it says is true, and what it leaves out it says."""

import io
import re
from fractions import Fraction
from itertools import pairwise

import pytest
import torch
from rich.console import Console
from torch.nn.functional import conv2d, conv_transpose2d

import convtrace as ct
from convtrace.demo import DemoOptions, run_stack
from convtrace.graph import Trace
from convtrace.render.text.descent import descent, equation

NUMBER = r"−?\d+(?:\.\d+)?"
NODE = re.compile(rf"(conv\d+)\[([\d,]+)\] = ({NUMBER})(?: = ([^…\n]*?))?(?: …)?$")
CHANNEL = re.compile(r"channel (\d+) of (\S+): (.*?×.*?) = (\S+)")

WHOLE_NUMBERS = [
    DemoOptions(),
    DemoOptions(bias=True),
    DemoOptions(weights="random", seed=5),
    DemoOptions(weights="random", bias=True, in_channels=3, out_channels=4, height=5, width=4),
    DemoOptions(height=5, width=5, kernel_size=3, padding=1, weights="sobel"),
    DemoOptions(height=6, width=6, layers=3, weights="random"),
    DemoOptions(height=7, width=7, stride=2, dilation=2, padding=2, weights="random"),
    DemoOptions(in_channels=4, out_channels=4, groups=2, weights="random"),
    DemoOptions(in_channels=4, out_channels=4, groups=4, weights="random", bias=True),
    DemoOptions(transposed=True, stride=2, weights="random"),
    DemoOptions(transposed=True, kernel_size=3, padding=1, weights="sharpen"),
]


def draw(trace: Trace, address: str, lang: str = "en", width: int = 500) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(descent(trace, trace.why(address), lang, width), highlight=False)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def draw_options(options: DemoOptions, lang: str = "en", width: int = 500) -> str:
    return draw(run_stack(options), f"conv{options.layers}[0,0,0,0]", lang, width)


def exactly(text: str) -> Fraction:
    return Fraction(text.replace("−", "-"))


def sum_of(text: str) -> Fraction:
    signs = re.sub(r" − ", " + −", text.replace(" (bias)", ""))
    return sum((exactly(part) for part in signs.split(" + ")), Fraction())


def outputs_of(options: DemoOptions, trace: Trace) -> dict[str, torch.Tensor]:
    """Run the layers again, by PyTorch's functions in float64."""
    x = torch.arange(options.in_channels * options.height * options.width, dtype=torch.float64)
    x = x.reshape(1, options.in_channels, options.height, options.width)
    function = conv_transpose2d if options.transposed else conv2d
    found: dict[str, torch.Tensor] = {}
    for name, step in trace.steps.items():
        weight = step.values["weight"].data.detach().double()
        bias = step.values["bias"].data.detach().double() if options.bias else None
        x = function(
            x, weight, bias, stride=options.stride, padding=options.padding,
            dilation=options.dilation, groups=options.groups,
        )  # fmt: skip
        found[name] = x
    return found


@pytest.mark.parametrize("options", WHOLE_NUMBERS, ids=str)
def test_each_number_of_a_descent_is_what_pytorch_computes(options: DemoOptions) -> None:
    trace = run_stack(options)
    outputs = outputs_of(options, trace)
    lines = draw(trace, f"conv{options.layers}[0,0,0,0]").splitlines()
    nodes = [match for line in lines if (match := NODE.search(line))]
    assert len(nodes) >= 2
    for node in nodes:
        index = tuple(map(int, node[2].split(",")))
        assert exactly(node[3]) == outputs[node[1]][index].item()
        if node[4]:
            assert sum_of(node[4]) == exactly(node[3])


@pytest.mark.parametrize("options", WHOLE_NUMBERS, ids=str)
def test_the_products_of_each_channel_sum_to_what_is_written(options: DemoOptions) -> None:
    channels = CHANNEL.findall(draw_options(options))
    assert len(channels) >= 2
    for _, _, products, total in channels:
        factors = [part.split("×") for part in products.split(" + ")]
        plain = [[exactly(one.strip("()")) for one in pair] for pair in factors]
        assert sum((a * b for a, b in plain), Fraction()) == exactly(total)


@pytest.mark.parametrize("options", WHOLE_NUMBERS, ids=str)
def test_pixels_stand_in_the_order_of_their_products(options: DemoOptions) -> None:
    trace = run_stack(options)
    lines = draw(trace, f"conv{options.layers}[0,0,0,0]").splitlines()
    checked = 0
    for line, below in pairwise(lines):
        match = CHANNEL.search(line)
        if match and match[2] == "input":
            values = [exactly(part.split("×")[0].strip("()")) for part in match[3].split(" + ")]
            pixels = re.findall(r"input\[[\d,]+\]", below)
            assert [trace.value(pixel) for pixel in pixels] == values
            checked += 1
    assert checked >= 2


def test_no_address_is_broken_over_two_lines() -> None:
    options = DemoOptions(kernel_size=3, padding=1, height=4, width=4)
    addresses = re.compile(r"\w+\[\d+(?:,\d+){3}\]")
    everything = addresses.findall(draw_options(options, width=500))
    for width in (60, 80, 120):
        text = draw_options(options, width=width)
        assert max(map(len, text.splitlines())) <= width
        assert addresses.findall(text) == everything


def test_higher_layers_open_their_first_number_only_and_say_so() -> None:
    text = draw_options(DemoOptions(height=4, width=4, layers=3))
    opened = [line for line in text.splitlines() if NODE.search(line)]
    assert sum(line.endswith(" …") for line in opened if "conv2[" in line) == 7
    assert not any(line.endswith(" …") for line in opened if "conv1[" in line)
    assert "A line that ends in … is a number that is made in the same way" in text


def test_a_descent_that_opens_everything_has_no_mark_to_explain() -> None:
    assert "…" not in draw_options(DemoOptions())


def test_channels_beyond_the_eighth_are_counted_and_summed() -> None:
    options = DemoOptions(in_channels=11, layers=1, weights="ones")
    # Channel c holds 9c, 9c + 1, 9c + 3 and 9c + 4: 36c + 8. The last three: 36·27 + 24.
    text = draw_options(options)
    assert "= 2068 = 8 + 44 + 80 + 116 + 152 + 188 + 224 + 260 + …" in text
    assert "… showing 8 of 11 channels, the rest sums to 996" in text
    assert "… 채널 11개 중 8개를 보입니다. 나머지의 합은 996입니다" in draw_options(options, "ko")


def test_products_beyond_the_sixteenth_are_counted_and_summed() -> None:
    options = DemoOptions(
        height=5, width=5, kernel_size=5, in_channels=1, layers=1, weights="ones"
    )  # fmt: skip
    text = draw_options(options)
    assert "+ 15×1 + … = 300 (showing 16 of 25 products, the rest sums to 180)" in text
    assert text.count("input[") == 16


def test_numbers_that_are_not_listed_are_counted() -> None:
    text = draw_options(DemoOptions(height=5, width=5, kernel_size=3, weights="ones"))
    assert text.count("… showing 4 of 9 numbers; the others are made in the same way") == 2


def test_products_on_padding_are_counted_apart() -> None:
    text = draw_options(DemoOptions(padding=1, layers=1))
    assert "channel 0 of input: 0×0.25 = 0 (3 on padding, counted as 0)" in text


def test_a_number_that_reads_padding_only_still_has_its_channels() -> None:
    text = draw_options(DemoOptions(padding=2, layers=1))
    assert text.splitlines() == [
        "conv1[0,0,0,0] = 0 = 0 + 0",
        "├── channel 0 of input: 0 (4 on padding, counted as 0)",
        "└── channel 1 of input: 0 (4 on padding, counted as 0)",
    ]


def test_kernel_numbers_of_a_transposed_convolution_that_miss_are_counted_apart() -> None:
    text = draw_options(DemoOptions(transposed=True, layers=1))
    assert "channel 1 of input: 9×0.5 = 4.5 (3 without an input, counted as 0)" in text


def test_rounded_numbers_are_marked() -> None:
    trace = run_stack(DemoOptions(weights="seed", layers=1))
    text = equation(trace.why("conv1[0,0,0,0]"), "en")
    assert re.fullmatch(rf"conv1\[0,0,0,0\] ≈ {NUMBER} [≈=] {NUMBER} [+−] {NUMBER}", text)


def test_minus_signs_are_true_ones_and_never_follow_a_plus() -> None:
    text = draw_options(DemoOptions(weights="random", bias=True))
    assert "−" in text
    assert "-" not in text
    assert "+ −" not in text


def test_one_channel_without_bias_is_not_written_as_a_sum() -> None:
    trace = run_stack(DemoOptions(in_channels=1, layers=1))
    assert equation(trace.why("conv1[0,0,0,0]"), "en") == "conv1[0,0,0,0] = 2"


def test_the_bias_is_a_part_of_its_own() -> None:
    trace = run_stack(DemoOptions(bias=True))
    receipt = trace.why("conv1[0,0,0,0]")
    assert equation(receipt, "en") == "conv1[0,0,0,0] = 25 = 2 + 22 + 1 (bias)"
    assert equation(receipt, "ko") == "conv1[0,0,0,0] = 25 = 2 + 22 + 1 (편향)"


def test_a_nan_in_the_input_is_shown_and_stops_nothing() -> None:
    conv = torch.nn.Conv2d(1, 1, 1, bias=False)
    torch.nn.init.ones_(conv.weight)
    trace = ct.trace(torch.nn.Sequential(conv), torch.tensor([[[[float("nan")]]]]))
    name = next(iter(trace.steps))
    assert "NaN×1 = NaN" in draw(trace, f"{name}[0,0,0,0]")
