"""The demo: the example that convtrace began with, and every size that its options can make."""

import io
import json
import re
import string
from importlib import resources
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch.nn.functional import conv2d

from convtrace.demo import DemoOptions, demo_code, run_demo, run_stack, tensor_blocks
from convtrace.errors import ConvtraceError, ShapeError, UsageError
from convtrace.models.stack import WEIGHTS

GOLDENS = Path(__file__).parent / "goldens"

LANGUAGES = pytest.mark.parametrize("lang", ["en", "ko"])


def printed(options: DemoOptions | None = None, lang: str = "en", width: int = 88) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    run_demo(console, lang, options)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def assert_golden(name: str, text: str) -> None:
    """Compare with a golden file; a changed copy is written beside it."""
    golden = GOLDENS / name
    changed = golden.with_suffix(f".changed{golden.suffix}")
    if golden.exists() and golden.read_text(encoding="utf-8") == text:
        changed.unlink(missing_ok=True)
        return
    changed.write_text(text, encoding="utf-8")
    pytest.fail(f"{golden.name} differs; if {changed.name} is right, move it over {golden.name}")


def original() -> dict[str, torch.Tensor]:
    """Compute the example that convtrace began with, by PyTorch alone."""
    x = torch.arange(18).float().reshape(1, 2, 3, 3)
    constants = torch.tensor([[0.25, 0.5], [1.0, 2.0]])
    weight = constants[:, :, None, None].repeat(1, 1, 2, 2)
    out1 = conv2d(x, weight)
    return {
        "input": x, "conv1": weight, "out1": out1, "conv2": weight, "out2": conv2d(out1, weight)
    }  # fmt: skip


@LANGUAGES
def test_the_demo_prints_what_its_golden_file_holds(lang: str) -> None:
    assert_golden(f"demo.{lang}.txt", printed(lang=lang))


@LANGUAGES
def test_tensors_are_printed_exactly_as_pytorch_prints_them(lang: str) -> None:
    expected = "".join(
        f"{name}\n{tensor!r}\n{tensor.shape}\n\n" for name, tensor in original().items()
    )
    assert f"\n\n{expected}" in printed(lang=lang)


def test_the_outputs_of_the_example_are_the_published_ones() -> None:
    text = printed()
    assert re.search(r"out1\ntensor\(\[\[\[\[ 24\.,  27\.\],\s+\[ 33\.,  36\.\]\],", text)
    assert re.search(r"\[\[ 96\., 108\.\],\s+\[132\., 144\.\]\]\]\]\)", text)
    assert re.search(r"out2\ntensor\(\[\[\[\[ 270\.\]\],\s+\[\[1080\.\]\]\]\]\)", text)


@LANGUAGES
def test_one_number_of_each_layer_has_its_receipt(lang: str) -> None:
    lines = printed(lang=lang).splitlines()
    assert lines.index("conv1[0,0,0,0] = 24") < lines.index("conv2[0,0,0,0] = 270")
    sums = " ".join(lines[lines.index("conv1[0,0,0,0] = 24") :])
    for part in ("Σ =  2", "Σ = 22", "Σ =  30", "Σ = 240"):
        assert part in sums


@LANGUAGES
def test_the_descent_takes_each_number_of_the_first_layer_apart(lang: str) -> None:
    text = printed(lang=lang)
    assert "\nconv2[0,0,0,0] = 270 = 30 + 240\n" in text
    for line in (
        "24×0.25 + 27×0.25 + 33×0.25 + 36×0.25 = 30",
        "96×0.5 + 108×0.5 + 132×0.5 + 144×0.5 = 240",
        "conv1[0,0,0,0] = 24 = 2 + 22",
        "0×0.25 + 1×0.25 + 3×0.25 + 4×0.25 = 2",
        "input[0,0,0,0] input[0,0,0,1] input[0,0,1,0] input[0,0,1,1]",
        "conv1[0,0,0,1] = 27 = 3 + 24",
        "conv1[0,0,1,0] = 33 = 5 + 28",
        "conv1[0,0,1,1] = 36 = 6 + 30",
        "conv1[0,1,0,0] = 96 = 8 + 88",
        "conv1[0,1,0,1] = 108 = 12 + 96",
        "conv1[0,1,1,0] = 132 = 20 + 112",
        "conv1[0,1,1,1] = 144 = 24 + 120",
        "input[0,1,1,1] input[0,1,1,2] input[0,1,2,1] input[0,1,2,2]",
    ):
        assert text.count(f"{line}\n") == 1 or line.startswith("input"), line
        assert f"{line}\n" in text


MORALS = {
    "en": ("Every output channel sums over all the channels before it.",
           "Every output channel sums over all the channels of its group before it."),
    "ko": ("출력 채널은 저마다 앞 층의 모든 채널에 걸쳐 더한 합입니다.",
           "출력 채널은 저마다 앞 층에서 자기 그룹에 속한 모든 채널에 걸쳐 더한 합입니다."),
}  # fmt: skip


@LANGUAGES
def test_the_last_sentence_is_what_the_example_was_for(lang: str) -> None:
    assert printed(lang=lang).endswith(f"\n{MORALS[lang][0]}\n")


@LANGUAGES
def test_with_groups_the_last_sentence_speaks_of_the_group(lang: str) -> None:
    options = DemoOptions(in_channels=4, out_channels=4, groups=2)
    assert printed(options, lang).endswith(f"\n{MORALS[lang][1]}\n")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (DemoOptions(), "one part for each of the 2 channels of conv1."),
        (DemoOptions(layers=1), "one part for each of the 2 channels of input."),
        (DemoOptions(in_channels=1, layers=1),
         "a single part, because input has a single channel."),
        (DemoOptions(groups=2),
         "a single part, because its group has one of the 2 channels of conv1."),
        (DemoOptions(in_channels=4, out_channels=4, groups=2),
         "one part for each channel of its group, which has 2 of the 4 channels of conv1."),
    ],
    ids=str,
)  # fmt: skip
def test_the_last_example_is_true_for_the_sizes(options: DemoOptions, reason: str) -> None:
    assert reason in printed(options).replace("\n", " ")


def test_without_a_language_the_locale_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "ko_KR.UTF-8")
    console = Console(file=io.StringIO(), width=88)
    run_demo(console)
    assert isinstance(console.file, io.StringIO)
    assert MORALS["ko"][0] in console.file.getvalue()


def test_biases_are_printed_beside_the_weights() -> None:
    blocks = tensor_blocks(run_stack(DemoOptions(bias=True)))
    assert re.findall(r"^\w[\w.]*$", blocks, re.MULTILINE) == [
        "input", "conv1", "conv1.bias", "out1", "conv2", "conv2.bias", "out2"
    ]  # fmt: skip
    assert "conv1.bias\ntensor([1., 2.])\ntorch.Size([2])\n" in blocks


@LANGUAGES
@pytest.mark.parametrize("weights", WEIGHTS)
def test_every_kind_of_weights_runs_and_every_receipt_is_certified(weights: str, lang: str) -> None:
    options = DemoOptions(kernel_size=3, padding=1, weights=weights, bias=True, height=4)
    text = printed(options, lang)
    assert len(re.findall(r"· (?:exact|rounding)", text)) == 2
    assert "MISMATCH" not in text


@pytest.mark.parametrize("transposed", [False, True])
def test_weights_of_the_example_repeat_after_five_kernels(transposed: bool) -> None:
    options = DemoOptions(in_channels=3, out_channels=6, layers=1, transposed=transposed)
    weight = run_stack(options).steps["conv1"].values["weight"].data
    kernels = weight.transpose(0, 1) if transposed else weight
    assert kernels[:, :, 0, 0].tolist() == [
        [0.25, 0.5, 1.0],
        [1.0, 2.0, 4.0],
        [4.0, 0.25, 0.5],
        [0.5, 1.0, 2.0],
        [2.0, 4.0, 0.25],
        [0.25, 0.5, 1.0],
    ]


@pytest.mark.parametrize("groups", [1, 2])
def test_identity_copies_its_input(groups: int) -> None:
    options = DemoOptions(
        in_channels=4, out_channels=4, kernel_size=3, padding=1, groups=groups, weights="identity"
    )
    trace = run_stack(options)
    assert torch.equal(trace.output, trace.inputs["input"].data)


def test_the_middle_of_a_blurred_ramp_is_itself_once_a_channel() -> None:
    trace = run_stack(DemoOptions(kernel_size=3, layers=1, weights="blur"))
    assert trace.value("conv1[0,0,0,0]") == 4 + 13


def test_random_weights_are_small_whole_numbers_that_the_seed_decides() -> None:
    first, again, other = (
        run_stack(DemoOptions(weights="random", seed=seed)).steps["conv1"].values["weight"].data
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert set(first.flatten().tolist()) <= set(range(-3, 4))


@pytest.mark.parametrize("weights", WEIGHTS)
def test_the_random_state_is_left_as_it_was(weights: str) -> None:
    before = torch.get_rng_state()
    run_stack(DemoOptions(kernel_size=3, padding=1, weights=weights))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("weights", ["sobel", "sharpen"])
def test_weights_that_need_another_kernel_say_so(weights: str) -> None:
    with pytest.raises(UsageError, match=f"{weights} weights need a kernel of 3 × 3") as caught:
        demo_code(DemoOptions(weights=weights))
    assert "kernel_size = 2" in str(caught.value)
    assert "--kernel-size 3" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (DemoOptions(layers=3), ShapeError, "--layers 2 fits"),
        (DemoOptions(height=1), ShapeError, "not even one layer fits"),
        (DemoOptions(transposed=True, padding=3), ShapeError, "not even one layer fits"),
        (DemoOptions(height=0), ShapeError, "height must be at least 1"),
        (DemoOptions(groups=0), ShapeError, "groups must be at least 1"),
        (DemoOptions(padding=-1), ShapeError, "padding = -1"),
        (DemoOptions(groups=3), ShapeError, "groups must divide the channels"),
        (DemoOptions(weights="zeros"), UsageError, "The demo knows snippet, random"),
        (DemoOptions(layers=21), UsageError, "layers = 21"),
        (DemoOptions(height=10**4, width=10**4), UsageError, "input: (1, 2, 10000, 10000)"),
        (DemoOptions(out_channels=10**6), UsageError, "weight of conv1"),
        (DemoOptions(transposed=True, stride=999), UsageError, "output of conv1"),
    ],
    ids=str,
)
def test_impossible_sizes_are_refused_with_what_to_do(
    options: DemoOptions, error: type[ConvtraceError], message: str
) -> None:
    for refuse in (run_stack, demo_code):
        with pytest.raises(error) as caught:
            refuse(options)
        assert message in str(caught.value)


def sentences(lang: str) -> dict[str, str]:
    text = resources.files("convtrace.catalog").joinpath(f"{lang}.json").read_text("utf-8")

    def flat(tree: dict[str, object], prefix: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for key, value in tree.items():
            if isinstance(value, dict):
                found |= flat(value, f"{prefix}{key}.")
            else:
                found[prefix + key] = str(value)
        return found

    return flat(json.loads(text)["demo"], "")


def test_both_languages_have_the_same_sentences_with_the_same_placeholders() -> None:
    english, korean = sentences("en"), sentences("ko")
    assert list(english) == list(korean)
    for key, message in english.items():
        fields = [
            sorted(field for _, field, _, _ in string.Formatter().parse(text) if field)
            for text in (message, korean[key])
        ]
        assert fields[0] == fields[1], key


def test_no_korean_placeholder_has_a_particle_that_depends_on_its_value() -> None:
    for key, message in sentences("ko").items():
        assert not re.search(r"\}(?:은|는|이|가|을|를|과|와|로|으로)(?:\s|$)", message), key
