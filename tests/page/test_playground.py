"""The playground: whatever is set on the page, PyTorch computes the same numbers."""

from __future__ import annotations

import re
from collections.abc import Callable
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from page_reading import channel_sums, numbers, problems
from PIL import Image
from playwright.sync_api import Locator, Page, Position, expect
from torch import Tensor, nn

from convtrace.demo import DemoOptions, run_stack
from convtrace.models.stack import snippet_constant

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("playground") / "demo.html"
    run_stack(DemoOptions()).save(path)
    return path


@pytest.fixture
def page(open_page: Open, file: Path) -> Page:
    page = open_page(file)
    page.get_by_role("button", name="Change it").click()
    return page


def put(page: Page, **settings: Any) -> None:
    """Set fields: `conv1_kernel_size=3` sets the field that is called `conv1 kernel size`."""
    for name, value in settings.items():
        layer, _, field = name.partition("_")
        group = page.get_by_role("group", name=layer, exact=True)
        more = group.get_by_role("button", name="More settings")
        label = f"{layer} {field.replace('_', ' ')}"
        if isinstance(value, bool):
            if more.count() and more.get_attribute("aria-expanded") == "false":
                more.click()
            group.get_by_role("checkbox", name=label).set_checked(value)
            continue
        if more.count() and not group.get_by_label(label, exact=True).count():
            more.click()
        found = group.get_by_label(label, exact=True)
        if found.evaluate("e => e.tagName") == "SELECT":
            found.select_option(str(value))
        else:
            found.fill(str(value))


def fill(module: nn.Module, kernel: str = "snippet") -> nn.Module:
    """Fill a convolution as the playground begins: one constant for each pair of channels."""
    assert isinstance(module, nn.Conv1d | nn.Conv2d | nn.ConvTranspose1d | nn.ConvTranspose2d)
    with torch.no_grad():
        kernels = module.weight.transpose(0, 1) if module.transposed else module.weight
        for o in range(kernels.shape[0]):
            for i in range(kernels.shape[1]):
                kernels[o, i] = snippet_constant(o, i) if kernel == "snippet" else 1
        if module.bias is not None:
            module.bias.copy_(torch.arange(1, len(module.bias) + 1))
    return module


def counting(*shape: int) -> Tensor:
    return torch.arange(float(np.prod(shape))).reshape(shape)


Layers = list[tuple[str, nn.Module]]

CONFIGURATIONS: dict[str, tuple[dict[str, Any], Tensor, Layers]] = {
    "three channels, 5 by 4, a 3 by 3 kernel, padding, stride": (
        {
            "input_channels": 3,
            "input_rows": 5,
            "input_columns": 4,
            "conv1_padding": 1,
            "conv1_kernel_size": 3,
            "conv1_stride": 2,
            "conv1_channels_out": 4,
        },
        counting(1, 3, 5, 4),
        [
            ("conv1", nn.Conv2d(3, 4, 3, padding=1, stride=2, bias=False)),
            ("conv2", nn.Conv2d(4, 2, 2, bias=False)),
        ],
    ),
    "uneven kernels, bias, dilation": (
        {
            "input_rows": 6,
            "input_columns": 6,
            "conv1_kernel_size": "3, 2",
            "conv1_dilation": "2, 1",
            "conv1_bias": True,
        },
        counting(1, 2, 6, 6),
        [
            ("conv1", nn.Conv2d(2, 2, (3, 2), dilation=(2, 1))),
            ("conv2", nn.Conv2d(2, 2, 2, bias=False)),
        ],
    ),
    "groups": (
        {"input_channels": 4, "conv1_channels_out": 4, "conv1_groups": 2},
        counting(1, 4, 3, 3),
        [
            ("conv1", nn.Conv2d(4, 4, 2, groups=2, bias=False)),
            ("conv2", nn.Conv2d(4, 2, 2, bias=False)),
        ],
    ),
    "reflect": (
        {"conv1_padding": 2, "conv1_padding_with": "reflect"},
        counting(1, 2, 3, 3),
        [
            ("conv1", nn.Conv2d(2, 2, 2, padding=2, padding_mode="reflect", bias=False)),
            ("conv2", nn.Conv2d(2, 2, 2, bias=False)),
        ],
    ),
    "circular, then replicate": (
        {
            "conv1_padding": 1,
            "conv1_padding_with": "circular",
            "conv2_padding": 2,
            "conv2_padding_with": "replicate",
        },
        counting(1, 2, 3, 3),
        [
            ("conv1", nn.Conv2d(2, 2, 2, padding=1, padding_mode="circular", bias=False)),
            ("conv2", nn.Conv2d(2, 2, 2, padding=2, padding_mode="replicate", bias=False)),
        ],
    ),
    "transposed with output padding": (
        {"conv1_transposed": True, "conv1_stride": 2, "conv1_output_padding": 1},
        counting(1, 2, 3, 3),
        [
            ("conv1", nn.ConvTranspose2d(2, 2, 2, stride=2, output_padding=1, bias=False)),
            ("conv2", nn.Conv2d(2, 2, 2, bias=False)),
        ],
    ),
    "one axis": (
        {"input_axes": "1", "input_positions": 9, "conv1_stride": 2, "conv2_padding": 1},
        counting(1, 2, 9),
        [
            ("conv1", nn.Conv1d(2, 2, 2, stride=2, bias=False)),
            ("conv2", nn.Conv1d(2, 2, 2, padding=1, bias=False)),
        ],
    ),
}


def computed(x: Tensor, layers: Layers) -> dict[str, Tensor]:
    """Compute every tensor with PyTorch, by the names that the page has for them."""
    found = {"input": x}
    with torch.no_grad():
        for name, layer in layers:
            fill(layer)
            if (mode := str(layer.padding_mode)) != "zeros":
                pads = cast("tuple[int, ...]", layer.padding)
                sizes = [size for size in reversed(pads) for _ in range(2)]
                found[f"{name}.pad"] = nn.functional.pad(x, sizes, mode=mode)
            for parameter, values in layer.named_parameters():
                found[f"{name}.{parameter}"] = values
            x = found[name] = layer(x)
    return found


def assert_shown(page: Page, tensors: dict[str, Tensor], step: str) -> None:
    """Compare every number on the page with PyTorch's; the last one of `step` is among them."""
    shown = numbers(page)
    assert any(address.startswith(f"{step}[") for address in shown), shown
    for address, value in shown.items():
        name, _, index = address[:-1].rpartition("[")
        place = tuple(map(int, index.split(",")))
        assert value == pytest.approx(tensors[name][place].item(), rel=1e-6), address


@pytest.mark.parametrize(
    ("settings", "x", "layers"), CONFIGURATIONS.values(), ids=CONFIGURATIONS.keys()
)
def test_what_is_set_on_the_page_is_what_pytorch_computes(
    page: Page, settings: dict[str, Any], x: Tensor, layers: Layers
) -> None:
    put(page, **settings)
    tensors = computed(x, layers)
    for name, _ in layers:
        page.locator("button.layer", has=page.get_by_text(name, exact=True)).click()
        expect(page.get_by_text("this page computed")).to_be_visible()
        assert_shown(page, tensors, name)
    assert_code_agrees(page)


def code(page: Page, form: str = "PyTorch") -> str:
    button = page.get_by_role("button", name="Code and link")
    if button.get_attribute("aria-expanded") == "false":
        button.click()
    page.get_by_role("button", name=form, exact=True).click()
    return page.locator(".code pre").inner_text()


def assert_code_agrees(page: Page) -> None:
    """Run the code on the page; it prints the number in the heading."""
    printed: list[Any] = []
    exec(code(page), {"print": printed.append})
    heading = page.locator("h1 .value").inner_text().replace("−", "-")
    assert float(printed[0]) == pytest.approx(float(heading), rel=1e-4)
    torch.set_grad_enabled(True)


@pytest.mark.parametrize("kernel", ["identity", "ones", "blur", "sobel", "sharpen", "random"])
def test_the_code_of_each_kernel_computes_the_number_shown(page: Page, kernel: str) -> None:
    put(page, input_rows=6, input_columns=6, conv1_kernel=kernel, conv1_bias=True)
    put(page, input_numbers="random")
    assert_code_agrees(page)


def test_an_edited_weight_gives_a_new_sum_and_undo_the_old_one(page: Page) -> None:
    expect(page.get_by_role("heading", name="conv1[0,0,0,0] = 24")).to_be_visible()
    page.get_by_role("gridcell", name="conv1.weight[0,1,0,0] = 0.5").click()
    page.keyboard.type("−2")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="conv1[0,0,0,0] = 1.5")).to_be_visible()
    assert channel_sums(page) == [2, -0.5]
    assert_code_agrees(page)
    page.keyboard.press("Control+z")
    expect(page.get_by_role("heading", name="conv1[0,0,0,0] = 24")).to_be_visible()
    page.keyboard.press("Control+Shift+z")
    expect(page.get_by_role("heading", name="conv1[0,0,0,0] = 1.5")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("heading", name="conv1[0,0,0,0] = 24")).to_be_visible()


def test_an_edited_input_reaches_the_layer_above(page: Page) -> None:
    page.get_by_role("gridcell", name="input[0,0,0,0] = 0").click()
    page.keyboard.type("4\n")
    page.locator("button.layer", has=page.get_by_text("conv2", exact=True)).click()
    expect(page.get_by_role("heading", name="conv2[0,0,0,0] = 272.25")).to_be_visible()


def test_a_bias_is_edited_where_it_stands(page: Page) -> None:
    put(page, conv1_bias=True)
    page.get_by_role("button", name="conv1.bias[0] = 1").click()
    page.keyboard.type("10\n")
    expect(page.get_by_role("heading", name="conv1[0,0,0,0] = 34")).to_be_visible()


def test_everything_can_be_edited_by_keyboard_alone(page: Page) -> None:
    page.get_by_role("grid", name="channel 0: kernel").get_by_role("gridcell").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.type("8")
    page.keyboard.press("Enter")
    expect(page.get_by_role("gridcell", name="conv1.weight[0,0,0,1] = 8")).to_be_focused()
    expect(page.get_by_role("heading", name="conv1[0,0,0,0] = 31.75")).to_be_visible()
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Escape")
    expect(page.get_by_role("gridcell", name="conv1.weight[0,0,0,1] = 8")).to_be_focused()
    page.get_by_role("textbox", name="conv1 padding").focus()
    page.keyboard.press("ArrowUp")
    expect(page.get_by_role("heading", name="conv1[0,0,0,0] = 4.5")).to_be_visible()


def test_text_that_is_no_number_changes_nothing(page: Page) -> None:
    page.get_by_role("gridcell", name="input[0,0,0,0] = 0").click()
    page.keyboard.type("abc")
    expect(page.get_by_label("New value of input[0,0,0,0]")).to_have_attribute(
        "aria-invalid", "true"
    )
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="conv1[0,0,0,0] = 24")).to_be_visible()


def large(page: Page) -> Locator:
    """Make the input too large for cells; return its map."""
    put(page, input_rows=24, input_columns=20, conv1_kernel_size=3)
    return page.locator(".plane.input canvas").first


def cell_at(canvas: Locator, row: int, column: int) -> Position:
    """Where a cell of the map lies in it, as long as it is not zoomed."""
    box = canvas.bounding_box()
    assert box is not None
    return {"x": (column + 0.5) * box["width"] / 20, "y": (row + 0.5) * box["height"] / 24}


def test_a_number_of_a_map_is_edited_by_mouse(page: Page) -> None:
    canvas = large(page)
    canvas.click(position=cell_at(canvas, 1, 2))
    field = page.get_by_label("New value of input[0,0,1,2]")
    expect(field).to_have_value("22")
    field.fill("1000")
    # 0.25 · (1000 − 22) more: the number lies in the window.
    expect(page.locator("h1")).to_contain_text(f"{sum_before() + 0.25 * 978:g}")
    page.keyboard.press("Escape")
    expect(page.locator("h1")).to_contain_text(f"{sum_before():g}")


def sum_before() -> float:
    """Let PyTorch compute the first output of `large`."""
    layer = fill(nn.Conv2d(2, 2, 3, bias=False))
    with torch.no_grad():
        return layer(counting(1, 2, 24, 20))[0, 0, 0, 0].item()


def test_a_number_of_a_map_is_edited_by_keyboard(page: Page) -> None:
    canvas = large(page)
    canvas.focus()
    for key in ("ArrowDown", "ArrowRight", "7", "5", "Enter"):
        page.keyboard.press(key)
    expect(canvas).to_be_focused()
    expect(canvas).to_have_accessible_name(re.compile(r"input\[0,0,1,1\] = 75\. .*Enter edits"))
    expect(page.locator("h1")).to_contain_text(f"{sum_before() + 0.25 * (75 - 21):g}")
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(canvas).to_have_accessible_name(re.compile(r"input\[0,0,1,1\] = 76"))
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    expect(page.locator("h1")).to_contain_text(f"{sum_before():g}")
    page.keyboard.press("Shift+Enter")
    expect(page.locator("h1")).to_contain_text("input[0,0,1,1] = 21")


def test_a_number_of_a_map_is_edited_by_touch(open_page: Open, file: Path) -> None:
    page = open_page(file, has_touch=True, is_mobile=True, viewport={"width": 390, "height": 844})
    page.get_by_role("button", name="Change it").click()
    page.get_by_role("button", name="Settings").click()
    canvas = large(page)
    canvas.tap(position=cell_at(canvas, 0, 3))
    field = page.get_by_label(re.compile(r"New value of input\[0,0,"))
    field.fill("5")
    page.get_by_role("button", name="Change the sign").click()
    expect(field).to_have_value("−5")
    box = field.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    page.keyboard.press("Enter")
    expect(field).to_have_count(0)
    page.wait_for_function("() => location.hash.includes('=-5')")


@pytest.mark.parametrize(("lang", "theme"), [("en", "dark"), ("ko", "light")])
def test_axe_finds_nothing_while_a_map_is_edited(
    open_page: Open, file: Path, lang: str, theme: str
) -> None:
    page = open_page(file, color_scheme=theme, fragment="#v=1&play=2x24x20~0~conv1:2.k3")
    if lang == "ko":
        page.get_by_role("button", name="한국어").click()
    canvas = page.locator(".plane.input canvas").first
    canvas.click(position=cell_at(canvas, 3, 4))
    expect(page.locator(".map-editor input")).to_be_focused()
    assert problems(page) == []


def test_maps_of_other_pages_still_follow_the_number(page: Page) -> None:
    large(page)
    page.get_by_role("button", name="Close").click()
    expect(page.locator("h1")).to_contain_text("= 24")
    expect(page.locator(".map-editor")).to_have_count(0)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"conv1_kernel_size": 4}, "⌊(3 + 0 + 0 − 1·(4 − 1) − 1) / 1⌋ + 1 = 0"),
        ({"conv1_dilation": 3}, "⌊(3 + 0 + 0 − 3·(2 − 1) − 1) / 1⌋ + 1 = 0"),
        ({"conv1_groups": 3}, "2 / 3 = 0 + 2/3"),
        ({"conv1_padding": 3, "conv1_padding_with": "reflect"}, "3 < 3 does not hold"),
        ({"conv1_padding": 4, "conv1_padding_with": "circular"}, "4 ≤ 3 does not hold"),
        ({"conv1_transposed": True, "conv1_output_padding": 1}, "1 < max(1, 1) does not hold"),
        (
            {"conv1_transposed": True, "conv1_padding": 3},
            "(3 − 1)·1 − 3 − 3 + 1·(2 − 1)",
        ),
        ({"input_rows": 0}, "At least 1"),
        ({"conv1_kernel_size": 0}, "no weights"),
        ({"conv1_stride": 0}, "⌊(…) / stride⌋ + 1"),
        ({"conv1_dilation": 0}, "dilation·(kernel − 1) + 1"),
        ({"conv1_groups": 0}, "divides nothing"),
        ({"conv1_padding": -1}, "−1 would take some away"),
        ({"conv1_kernel_size": "2.5"}, "“2.5” is no whole number"),
        ({"conv1_stride": "two"}, "“two” is no whole number"),
        ({"conv1_stride": "1, 2, 3"}, "or one for each axis"),
        ({"input_channels": 1.5}, "“1.5” is no whole number"),
    ],
)
def test_every_impossible_setting_says_why(page: Page, settings: dict[str, Any], said: str) -> None:
    put(page, **settings)
    expect(page.locator(".problems")).to_contain_text(said)
    expect(page.locator(".problems")).to_contain_text("last settings that were possible")
    expect(page.locator("[aria-invalid=true]").first).to_be_visible()
    expect(page.get_by_role("heading", name="conv1[0,0,0,0] = ")).to_be_visible()
    assert problems(page) == []
    if "whole" not in said and "each axis" not in said:  # those go when the field is left
        page.get_by_role("button", name="한국어").click()
        expect(page.locator(".problems .problem").first).not_to_contain_text("{")


def test_half_a_number_is_no_mistake(page: Page) -> None:
    field = page.get_by_role("textbox", name="conv1 kernel size")
    for text in ("", "3,", "3, "):
        field.fill(text)
        expect(page.locator(".problems .problem")).to_have_count(0)
    field.fill("x")
    expect(page.locator(".problems .problem")).to_have_count(1)
    field.blur()
    expect(page.locator(".problems .problem")).to_have_count(0)
    expect(field).to_have_value("2")


def test_everything_is_undone_step_by_step_and_redone(page: Page) -> None:
    page.get_by_role("button", name="Code and link").click()

    def shown() -> str:
        return page.locator(".strip").inner_text() + page.locator(".code pre").inner_text()

    steps: list[Callable[[], object]] = [
        lambda: put(page, input_columns=9),
        lambda: put(page, input_rows=9),
        lambda: put(page, conv1_bias=True),
        lambda: put(page, conv1_kernel="random"),
        lambda: page.get_by_role("button", name="Draw new random numbers").click(),
        lambda: put(page, input_numbers="edge"),
        lambda: put(page, input_axes="1"),
        lambda: page.get_by_role("button", name="Add a layer").click(),
        lambda: page.get_by_role("button", name="Remove the last").click(),
        lambda: put(page, conv1_transposed=True),
        lambda: edit_first_weight(page),
    ]
    states = [shown()]
    for step in steps:
        step()
        page.wait_for_timeout(50)
        states.append(shown())
    same = [n for n, (a, b) in enumerate(pairwise(states)) if a == b]
    assert same == []
    for state in reversed(states[:-1]):
        page.get_by_role("button", name="Undo").click()
        page.wait_for_timeout(50)
        assert shown() == state
    expect(page.get_by_role("button", name="Undo")).to_be_disabled()
    for state in states[1:]:
        page.get_by_role("button", name="Redo").click()
        page.wait_for_timeout(50)
        assert shown() == state
    expect(page.get_by_role("button", name="Redo")).to_be_disabled()


def edit_first_weight(page: Page) -> None:
    page.get_by_role("grid", name="channel 0: kernel").get_by_role("gridcell").first.click()
    page.keyboard.type("−9\n")


def test_edits_are_still_there_after_closing_and_opening_again(page: Page) -> None:
    edit_first_weight(page)
    edited = page.locator("h1").inner_text()
    page.get_by_role("button", name="Close").click()
    expect(page.get_by_role("heading", name="conv1[0,0,0,0] = 24")).to_be_visible()
    page.get_by_role("button", name="Change it").click()
    expect(page.locator("h1")).to_have_text(edited)
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("heading", name="conv1[0,0,0,0] = 24")).to_be_visible()


def test_impossible_settings_are_explained_with_the_formula(page: Page) -> None:
    put(page, conv1_kernel_size=4)
    problem = page.locator(".problem", has_text="does not fit")
    expect(problem).to_contain_text("⌊(3 + 0 + 0 − 1·(4 − 1) − 1) / 1⌋ + 1 = 0")
    expect(problem).to_contain_text("at most 3")
    field = page.get_by_role("textbox", name="conv1 kernel size")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_role("heading", name="conv1[0,0,0,0] = 24")).to_be_visible()
    put(page, conv1_padding=1)
    expect(problem).to_have_count(0)
    expect(page.get_by_role("textbox", name="conv1 kernel size")).to_have_value("4")


def test_an_image_of_the_readers_own_is_read_here(page: Page) -> None:
    pixels = np.arange(9, dtype=np.uint8).reshape(3, 3) * 20
    buffer = BytesIO()
    Image.fromarray(np.stack([pixels] * 3, axis=-1)).save(buffer, "PNG")
    page.locator("input[type=file]").set_input_files(
        {"name": "mine.png", "mimeType": "image/png", "buffer": buffer.getvalue()}
    )
    expect(page.get_by_role("gridcell", name="input[0,0,2,2] = 160")).to_be_visible()
    page.locator("input[type=file]").set_input_files(
        {"name": "no.png", "mimeType": "image/png", "buffer": b"no image"}
    )
    expect(page.get_by_text("no.png cannot be read as an image.")).to_be_visible()
    assert_code_agrees(page)


def test_layers_are_added_and_removed(page: Page) -> None:
    put(page, input_rows=5, input_columns=5)
    page.get_by_role("button", name="Add a layer").click()
    page.locator("button.layer", has=page.get_by_text("conv3", exact=True)).click()
    assert_code_agrees(page)
    page.get_by_role("button", name="Remove the last").click()
    expect(page.locator("h1")).to_contain_text("conv2[")


def test_closing_it_shows_the_numbers_that_the_page_came_with(page: Page) -> None:
    put(page, input_numbers="one_hot")
    page.get_by_role("button", name="Close").click()
    expect(page.get_by_text("torch returned 24")).to_be_visible()


def test_the_playground_speaks_korean(page: Page) -> None:
    page.get_by_role("button", name="한국어").click()
    expect(page.get_by_role("button", name="되돌리기")).to_be_visible()
    page.get_by_role("textbox", name="conv1 커널 크기").fill("9")
    expect(page.locator(".problems .problem").first).to_contain_text("커널 크기를 3 이하로")


def test_a_network_that_is_no_stack_cannot_be_changed(open_page: Open, tmp_path: Path) -> None:
    from convtrace.frontends.torch import trace
    from convtrace.models.digits import digit, digits

    trace(digits(), digit()).save(tmp_path / "digits.html")
    page = open_page(tmp_path / "digits.html")
    expect(page.get_by_role("button", name="Try it yourself")).to_be_visible()
    expect(page.get_by_role("button", name="Change it")).to_have_count(0)


def test_random_weights_of_pytorch_stay_when_they_are_changed(
    open_page: Open, tmp_path: Path
) -> None:
    trace = run_stack(DemoOptions(weights="seed", bias=True, seed=4))
    trace.save(tmp_path / "seed.html")
    page = open_page(tmp_path / "seed.html")
    page.get_by_role("button", name="Change it").click()
    expect(page.get_by_text("this page computed")).to_be_visible()
    for address, value in numbers(page).items():
        assert value == pytest.approx(trace.value(address), rel=1e-5), address
    assert_code_agrees(page)


def test_an_edit_of_a_larger_stack_repaints_soon(page: Page) -> None:
    put(page, input_rows=32, input_columns=32, input_channels=8, conv1_channels_out=8)
    put(page, conv2_channels_out=8, conv1_kernel_size=3, conv2_kernel_size=3)
    page.get_by_role("grid", name="channel 0: kernel").get_by_role("gridcell").first.click()
    spent = page.evaluate(
        """async () => {
          const field = document.querySelector('.editor input');
          const times = [];
          for (let n = 0; n < 7; n += 1) {
            const start = performance.now();
            field.value = String(n + 2);
            field.dispatchEvent(new InputEvent('input', {bubbles: true}));
            await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
            times.push(performance.now() - start);
          }
          return times.sort((a, b) => a - b)[3];
        }"""
    )
    # 50 ms is the aim on a quiet machine; those that run tests may be several times slower.
    assert spent < 250, spent


@pytest.mark.parametrize(("lang", "theme"), [("en", "light"), ("ko", "dark")])
def test_axe_finds_nothing_in_the_playground(
    open_page: Open, file: Path, lang: str, theme: str
) -> None:
    page = open_page(file, color_scheme=theme)
    if lang == "ko":
        page.get_by_role("button", name="한국어").click()
    page.locator(".bar-of-tools button").first.click()
    for button in page.locator(".more").all():
        button.click()
    page.locator(".setting input[type=text]").nth(4).fill("99")
    page.locator("td.editable").first.click()
    assert problems(page) == []
