"""The spreadsheet computes again what the framework returned, and follows a changed pixel."""

from __future__ import annotations

import io
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import libreoffice
import numpy as np
import pytest
import torch
from torch import nn

import convtrace as ct
from convtrace.demo import DemoOptions, run_stack
from convtrace.errors import UsageError
from convtrace.models.digits import digit, digits
from convtrace.render.sheet.files import trace_xlsx

# PyTorch says once that uneven 'same' padding costs it a copy.
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same'")

CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "two-layers": (
        lambda: nn.Sequential(
            OrderedDict(conv1=nn.Conv2d(2, 3, 2), relu=nn.ReLU(), conv2=nn.Conv2d(3, 2, 2))
        ),
        (1, 2, 4, 4),
    ),
    "stride": (lambda: nn.Conv2d(2, 2, 3, stride=2, padding=1), (1, 2, 5, 6)),
    "dilation": (lambda: nn.Conv2d(2, 2, (2, 3), dilation=2, padding=(1, 2)), (1, 2, 5, 5)),
    "groups": (lambda: nn.Conv2d(4, 6, 3, groups=2), (2, 4, 4, 4)),
    "depthwise": (lambda: nn.Conv2d(3, 3, 3, groups=3, padding=1), (1, 3, 3, 3)),
    "same": (lambda: nn.Conv2d(1, 2, 2, padding="same"), (1, 1, 3, 3)),
    "transposed": (
        lambda: nn.ConvTranspose2d(2, 4, 3, stride=2, padding=1, output_padding=1, groups=2),
        (1, 2, 3, 3),
    ),
    "one-d": (
        lambda: nn.Sequential(nn.Conv1d(2, 3, 3), nn.ReLU(), nn.ConvTranspose1d(3, 1, 2)),
        (2, 2, 5),
    ),
    "three-d": (lambda: nn.Conv3d(2, 2, 2, stride=(1, 2, 1)), (1, 2, 3, 3, 3)),
    "unbatched": (lambda: nn.Conv2d(2, 2, 2), (2, 3, 3)),
    "reflect": (lambda: nn.Conv2d(1, 2, 3, padding=1, padding_mode="reflect"), (1, 1, 4, 4)),
    "circular": (lambda: nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular"), (1, 1, 3, 3)),
    "classifier": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2, padding=1),
            nn.Conv2d(2, 2, 2), nn.Sigmoid(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(2, 3),
            nn.Tanh(),
        ),
        (1, 1, 5, 5),
    ),
    "gates": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 2, 2), nn.GELU(), nn.LeakyReLU(0.25), nn.Hardtanh(-1, 4), nn.SiLU()
        ),
        (1, 1, 3, 3),
    ),
    "names": (
        lambda: nn.Sequential(OrderedDict({"=1+1": nn.Conv2d(1, 1, 2), "it's/a:b": nn.ReLU()})),
        (1, 1, 3, 3),
    ),
}  # fmt: skip


TOGETHER = ("two-layers", "classifier", "one-d", "names")
"""Cases that are also written on one sheet."""


def model_of(case: str) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """Return a model with whole weights, an input that counts, and another one."""
    make, shape = CASES[case]
    torch.manual_seed(1)
    model = make().double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randint(-3, 4, parameter.shape))
    count = int(np.prod(shape))
    x = torch.arange(1.0, count + 1, dtype=torch.float64).reshape(shape)
    return model, x, torch.randint(-9, 10, shape).double() / 2


def change_pixels(book: bytes, x: torch.Tensor, other: torch.Tensor) -> bytes:
    """Type other pixels into the sheet of the input, which is the one after the guide."""
    new = dict(zip(x.ravel().tolist(), other.ravel().tolist(), strict=True))
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(book)) as read, zipfile.ZipFile(out, "w") as write:
        for item in read.infolist():
            text = read.read(item)
            if item.filename == "xl/worksheets/sheet2.xml":
                cells = re.compile(r'(<c r="\w+" s="INPUT"><v>)([^<]+)(?=</v>)'.replace(
                    "INPUT", _style(text.decode()))
                )  # fmt: skip
                text = cells.sub(lambda m: f"{m[1]}{new[float(m[2])]!r}", text.decode()).encode()
            write.writestr(item, text)
    return out.getvalue()


def _style(sheet: str) -> str:
    """Return the style of the last number of a sheet: that of its cells, not of its margins."""
    return re.findall(r'<c r="\w+" s="(\d+)"><v>', sheet)[-1]


def formulas(book: bytes, sheet: int) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(book)) as read:
        return re.findall(r"<f>([^<]*)</f>", read.read(f"xl/worksheets/sheet{sheet}.xml").decode())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if libreoffice.PROGRAM is None:
        pytest.skip(libreoffice.MISSING)
    return tmp_path_factory.mktemp("sheets")


@pytest.fixture(scope="module")
def recalculated(folder: Path) -> dict[str, Any]:
    books: list[Path] = []
    for case in CASES:
        model, x, other = model_of(case)
        book = trace_xlsx(ct.trace(model, x))
        for name, content in (
            (f"{case}.old", book),
            (f"{case}.new", change_pixels(book, x, other)),
        ):
            books.append(folder / f"{name}.xlsx")
            books[-1].write_bytes(content)
        if case in TOGETHER:
            books.append(folder / f"{case}.one.xlsx")
            ct.trace(model, x).save(books[-1], one_sheet=True)
    run_stack(DemoOptions()).save(folder / "demo.xlsx")
    books.append(folder / "demo.xlsx")
    found = libreoffice.recalculate(books, folder)
    return {book.stem: sheets for book, sheets in zip(books, found, strict=True)}


@pytest.mark.parametrize("case", CASES)
def test_libreoffice_computes_what_pytorch_returned(
    case: str, recalculated: dict[str, Any]
) -> None:
    model, x, _ = model_of(case)
    last = list(ct.trace(model, x).steps)[-1]
    assert_output(recalculated[f"{case}.old"], last, model(x))


@pytest.mark.parametrize("case", CASES)
def test_changed_pixels_change_everything_above_as_pytorch_does(
    case: str, recalculated: dict[str, Any]
) -> None:
    model, x, other = model_of(case)
    last = list(ct.trace(model, x).steps)[-1]
    assert_output(recalculated[f"{case}.new"], last, model(other))


def assert_output(sheets: dict[str, Any], name: str, expected: torch.Tensor) -> None:
    found = libreoffice.tensor(sheets, name, tuple(expected.shape))
    np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", TOGETHER)
def test_libreoffice_computes_the_same_where_all_tensors_stand_on_one_sheet(
    case: str, recalculated: dict[str, Any]
) -> None:
    model, x, _ = model_of(case)
    sheets = recalculated[f"{case}.one"]
    assert set(sheets) == {"convtrace", "network"}
    assert_output(sheets, list(ct.trace(model, x).steps)[-1], model(x))


def test_the_arrows_of_libreoffice_lead_through_two_layers_down_to_the_pixels(
    folder: Path, recalculated: dict[str, Any]
) -> None:
    assert recalculated  # which wrote the files, and made a profile
    model, x, _ = model_of("two-layers")
    trace, file = ct.trace(model, x), folder / "two-layers.one.xlsx"
    book = libreoffice.precedents([file], folder)[file.stem]
    tensors = {**trace.inputs, **trace.parameters, **{k: s.value for k, s in trace.steps.items()}}
    cells = {
        ct.Address(name, index): cell
        for name, value in tensors.items()
        for index, cell in book.cells(name, value.shape).items()
    }
    names = {cell: address for address, cell in cells.items()}
    asked = ct.Address("conv2", (0, 1, 1, 1))
    levels = libreoffice.arrows(file, cells[asked], folder)
    assert len(levels) == 3  # conv2, relu, conv1; pressed once more, it draws nothing
    ends = {asked}
    for level, count in zip(levels, (2 * 3 + 1, 1, 2 * 2 + 1), strict=True):
        assert {names[end] for _, end in level} == ends
        assert len(level) == count * len(ends)  # an input and a kernel a channel, and the bias
        below: set[ct.Address] = set()
        for end in ends:
            receipt = trace.why(end)
            terms = {one for term in receipt.terms for one in (term.source, term.weight_address)}
            starts = {names[start] for start, last in level if names[last] == end}
            assert starts <= {*terms, receipt.bias_address}  # a range begins at its first cell
            below |= {term.source for term in receipt.terms if term.source is not None}
        ends = below
    assert {address.step for address in ends} == {"input"}
    assert {names[start].step for start, _ in levels[-1]} == {"input", "conv1.weight", "conv1.bias"}


def test_of_references_to_other_sheets_libreoffice_draws_only_that_there_are_some(
    folder: Path, recalculated: dict[str, Any]
) -> None:
    assert recalculated
    file = folder / "two-layers.old.xlsx"
    book = libreoffice.precedents([file], folder)[file.stem]
    cell = book.cells("conv2", (1, 2, 2, 2))[0, 1, 1, 1]
    (arrows, *_) = libreoffice.arrows(file, cell, folder)
    assert len(arrows) == 1  # which is why `one_sheet` is there


@pytest.fixture(scope="module")
def traced(folder: Path, recalculated: dict[str, Any]) -> dict[str, libreoffice.Book]:
    assert recalculated  # which wrote the files, and made a profile
    return libreoffice.precedents([folder / f"{case}.old.xlsx" for case in CASES], folder)


SUMS = ("convolution", "linear", "addmm", "mm", "avg_pool2d")
"""Kinds whose formulas refer to what their terms have addresses of, and to nothing else."""


@pytest.mark.parametrize("case", CASES)
def test_trace_precedents_of_libreoffice_goes_exactly_where_the_terms_of_a_receipt_go(
    case: str, traced: dict[str, libreoffice.Book]
) -> None:
    model, x, _ = model_of(case)
    trace, book = ct.trace(model, x), traced[f"{case}.old"]
    tensors = {**trace.inputs, **trace.parameters, **{k: s.value for k, s in trace.steps.items()}}
    cells = {
        ct.Address(name, index): cell
        for name, value in tensors.items()
        for index, cell in book.cells(name, value.shape).items()
    }
    assert set(book.referred) <= set(cells.values())
    exact = 0
    for step in trace.steps.values():
        for index in np.ndindex(step.shape):
            cell = cells[ct.Address(step.name, index)]
            receipt = trace.why(step.name, index)
            terms = [term for term in receipt.terms if term.source is not None]
            wanted = {term.source for term in terms} | {receipt.bias_address}
            wanted |= {term.weight_address for term in terms}
            referred = book.referred.get(cell, set())
            if step.kind in SUMS:
                assert referred == {cells[one] for one in wanted if one is not None}
                exact += 1
            else:
                assert referred >= {cells[term.source] for term in terms if term.source}
            # Trace Precedents itself: the same rows and columns, and the cell that was asked.
            if referred:
                assert book.traced[cell] == {place[1:] for place in (*referred, cell)}
    assert exact


def test_another_window_would_be_noticed(traced: dict[str, libreoffice.Book]) -> None:
    book = traced["stride.old"]
    output = book.cells("conv2d", (1, 2, 3, 3))
    one, other = (book.referred[output[0, 0, 1, column]] for column in (1, 2))
    assert one != other


def test_comparing_with_other_numbers_would_be_noticed(recalculated: dict[str, Any]) -> None:
    model, _, other = model_of("two-layers")
    with pytest.raises(AssertionError, match="Not equal"):
        assert_output(recalculated["two-layers.old"], "conv2", model(other))


def test_the_demos_270_comes_out_of_a_recalculation(recalculated: dict[str, Any]) -> None:
    conv2 = libreoffice.tensor(recalculated["demo"], "conv2", (1, 2, 1, 1))
    assert conv2.ravel().tolist() == [270, 1080]


def test_a_formula_names_the_window_and_the_kernel_of_each_channel() -> None:
    book = trace_xlsx(run_stack(DemoOptions(bias=True)))
    first, *_ = formulas(book, 5)
    assert first == (
        "SUMPRODUCT('input'!B6:C7,'conv1.weight'!B6:C7)"
        "+SUMPRODUCT('input'!G6:H7,'conv1.weight'!F6:G7)+'conv1.bias'!B6"
    )


def test_taps_on_zero_padding_make_the_formula_shorter() -> None:
    trace = ct.from_arrays([[[[1.0, 2.0], [3.0, 4.0]]]], np.ones((1, 1, 3, 3)), padding=1)
    first, *_ = formulas(trace_xlsx(trace), 4)
    assert first == "SUMPRODUCT('input'!B6:C7,'conv2d.weight'!C7:D8)"


def test_numbers_are_stored_beside_the_formulas_for_viewers_that_do_not_compute() -> None:
    with zipfile.ZipFile(io.BytesIO(trace_xlsx(run_stack(DemoOptions())))) as read:
        sheet = read.read("xl/worksheets/sheet6.xml").decode()
    assert re.findall(r"</f><v>([^<]*)</v>", sheet) == ["270", "1080"]


def test_a_number_without_a_lasting_formula_is_written_as_it_is_and_said_so() -> None:
    class Softmax(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.softmax(self.conv(x), 1)

    book = trace_xlsx(ct.trace(Softmax(), torch.ones(1, 1, 2, 2)))
    assert formulas(book, 6) == []
    with zipfile.ZipFile(io.BytesIO(book)) as read:
        texts = read.read("xl/sharedStrings.xml").decode()
    assert "Grey cells (8 of them) hold a number without a formula" in texts


def test_nan_and_infinity_are_errors_of_the_spreadsheet() -> None:
    trace = ct.from_arrays([[[[float("nan"), 1.0]]]], [[[[2.0]]]])
    with zipfile.ZipFile(io.BytesIO(trace_xlsx(trace))) as read:
        assert "#NUM!" in read.read("xl/worksheets/sheet2.xml").decode()
        assert "<v>#NUM!</v>" in read.read("xl/worksheets/sheet4.xml").decode()


def test_names_from_a_model_are_texts_and_never_formulas() -> None:
    model, x, _ = model_of("names")
    book = trace_xlsx(ct.trace(model, x))
    with zipfile.ZipFile(io.BytesIO(book)) as read:
        workbook = read.read("xl/workbook.xml").decode()
        texts = re.findall("<t[^>]*>([^<]*)</t>", read.read("xl/sharedStrings.xml").decode())
    assert re.findall('<sheet name="([^"]*)"', workbook) == [
        "convtrace", "input", "_1+1.weight", "_1+1.bias", "_1+1", "it's_a_b",
    ]  # fmt: skip
    assert not [text for text in texts if text.startswith(tuple("=+-@"))]


def test_the_digits_network_fits_and_every_number_of_it_is_live() -> None:
    book = trace_xlsx(ct.trace(digits(), digit()), lang="ko")
    with zipfile.ZipFile(io.BytesIO(book)) as read:
        live = sum(
            read.read(name).decode().count("<f>")
            for name in read.namelist()
            if "worksheets/sheet" in name
        )
    assert live == 2 * 4 * 8 * 8 + 2 * 16 * 6 * 6 + 2 * 16 * 3 * 3 + 10


def test_the_same_trace_makes_the_same_file() -> None:
    assert trace_xlsx(run_stack(DemoOptions())) == trace_xlsx(run_stack(DemoOptions()))


def test_a_trace_that_is_too_large_says_what_to_choose_instead(tmp_path: Path) -> None:
    trace = ct.trace(nn.Conv2d(3, 64, 3), torch.zeros(1, 3, 64, 64))
    with pytest.raises(UsageError, match=r"246,016 computed numbers(.|\n)*terms\.csv"):
        trace.save(tmp_path / "large.xlsx")
    assert not list(tmp_path.iterdir())


def test_a_formula_that_is_too_long_names_its_number() -> None:
    trace = ct.trace(nn.Conv2d(64, 1, 3, dilation=2), torch.zeros(1, 64, 5, 5))
    with pytest.raises(UsageError, match=r"conv2d\[0,0,0,0\] is too long(.|\n)*576 terms"):
        trace_xlsx(trace)


def test_factors_that_no_cell_holds_are_never_made_a_formula(tmp_path: Path) -> None:
    """ONNX's ConvInteger takes zero points off the numbers at its addresses."""
    onnx_models = pytest.importorskip("onnx_models", reason="the extra onnx is not installed")
    build = onnx_models.Builder()
    x = np.arange(1, 5, dtype=np.uint8).reshape(1, 1, 2, 2)
    kernel = build.weight("w", np.array([[[[1, 2]]]], dtype=np.uint8))
    points = build.weight("zero_x", np.uint8(0)), build.weight("zero_w", np.uint8(3))
    last = build.node("ConvInteger", "x", kernel, *points, name="q")
    file = onnx_models.save(build.model({"x": x}, last), tmp_path)
    trace = ct.from_onnx(file, {"x": x})
    with zipfile.ZipFile(io.BytesIO(trace_xlsx(trace))) as read:
        sheets = [read.read(name).decode() for name in read.namelist() if "sheets/" in name]
    assert not any("<f>" in sheet for sheet in sheets)
    assert any("<v>-4</v>" in sheet for sheet in sheets)  # 1*(1 - 3) + 2*(2 - 3)
