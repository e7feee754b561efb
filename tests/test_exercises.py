"""Worksheets: every answer is PyTorch's, no two sheets are alike, and nothing leaves its page."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from judges import NestedLoops, Settings, torch_convolution
from worksheet_reading import Table, read_sheets

from convtrace.cli import main
from convtrace.commands import worksheet as command
from convtrace.errors import UsageError
from convtrace.exercises import KINDS, worksheets
from convtrace.render.drawing.scene import Box, Label, Scene
from convtrace.render.worksheet.files import worksheets_html, worksheets_pdf
from convtrace.render.worksheet.sheet import PAGE, Exercise, Worksheet, pages

LEVELS = (1, 2, 3)


def settings_of(exercise: Exercise) -> Settings:
    a = exercise.step.attributes
    return Settings(
        a["stride"], a["padding"], a["dilation"], a["output_padding"], a["groups"], a["transposed"]
    )


def output_of(exercise: Exercise) -> np.ndarray:
    """Run the convolution of an exercise in PyTorch."""
    arrays = {role: value.data for role, value in exercise.step.values.items()}
    return torch_convolution(
        arrays["input"], arrays["weight"], arrays.get("bias"), settings_of(exercise)
    )


def expected(exercise: Exercise) -> list[float]:
    """Say by PyTorch and by counting what the answer key has to say."""
    output, at = output_of(exercise), exercise.at
    values = {role: value.data for role, value in exercise.step.values.items()}
    x, weight, bias = values["input"], values["weight"], values.get("bias")
    match exercise.kind:
        case "output" | "transposed" | "dilated":
            return output[at[:-2]].ravel().tolist()
        case "channel_sum":
            loops = NestedLoops(x.shape, weight.shape, settings_of(exercise))
            sums = loops.channel_sums(at, x, weight)
            return [*map(float, sums), float(output[at])]
        case "missing_weight":
            return [float(weight[exercise.hidden])]
        case "shape":
            return list(map(float, output.shape[-3:]))
        case "parameters":
            return [float(weight.size), float(0 if bias is None else bias.size)]
    raise AssertionError(exercise.kind)


def written(html: str) -> list[float]:
    """Read the answers off a worksheet, as a person reads the page."""
    sheets = read_sheets(html)
    return [n for sheet in sheets for section in sheet.sections for n in section.answers]


@pytest.mark.parametrize("level", LEVELS)
def test_every_answer_of_the_key_is_what_pytorch_computes(level: int) -> None:
    for seed in range(5):
        sheets = worksheets(level=level, seed=seed)
        (sheet,) = sheets
        answers = [number for exercise in sheet.exercises for number in expected(exercise)]
        assert written(worksheets_html(sheets).decode()) == answers


@pytest.mark.parametrize("lang", ["en", "ko"])
@pytest.mark.parametrize("level", LEVELS)
def test_the_numbers_on_the_sheet_convolved_by_pytorch_are_those_of_the_key(
    level: int, lang: str
) -> None:
    sheets = worksheets(level=level, seed=11, count=2)
    read = read_sheets(worksheets_html(sheets, lang=lang).decode())
    asked, keys = read[:2], read[2:]
    for sheet, page, key in zip(sheets, asked, keys, strict=True):
        pairs = zip(sheet.exercises, page.sections, key.sections, strict=True)
        for exercise, question, answer in pairs:
            if exercise.kind in ("shape", "parameters"):
                assert not question.tables
                continue
            settings, values = settings_of(exercise), exercise.step.values
            bias = values["bias"].data if "bias" in values else None
            assert bias is None or str(bias[0]).replace("-", "−") in question.text
            made = convolve(answer.tables, settings, bias)
            if exercise.kind == "channel_sum":
                *sums, total = answer.answers
                assert total == made[exercise.at[-2:]]
                assert sum(sums) + (0 if bias is None else bias[0]) == total
            elif exercise.kind == "missing_weight":
                assert str(int(made[exercise.at[-2:]])).replace("-", "−") in question.text
                (hidden,) = answer.answers
                kernels = [table for table in question.tables if table.role == "kernel"]
                (place,) = np.argwhere([np.isnan(table.numbers) for table in kernels])
                assert [t for t in answer.tables if t.role == "kernel"][place[0]].numbers[
                    tuple(place[1:])
                ] == hidden
            else:
                assert answer.answers == made.ravel().tolist()
                blank = question.tables[-1]
                assert blank.numbers.shape == made.shape
                assert np.isnan(blank.numbers).all()


def convolve(tables: list[Table], settings: Settings, bias: np.ndarray | None) -> np.ndarray:
    """Convolve, in PyTorch, what the tables of an exercise say; all of one output channel."""
    inputs, kernels = (
        np.stack([table.numbers for table in tables if table.role == role])
        for role in ("window", "kernel")
    )
    weight = kernels[:, None] if settings.transposed else kernels[None]
    return torch_convolution(inputs[None], weight, bias, settings)[0, 0]


def test_a_wrong_answer_would_be_noticed() -> None:
    html = worksheets_html(worksheets(seed=1)).decode()
    other = worksheets_html(worksheets(seed=2)).decode()
    assert written(html) != written(other)


@pytest.mark.parametrize("level", LEVELS)
def test_the_missing_weight_can_be_found_from_what_is_given(level: int) -> None:
    for seed in range(20):
        (sheet,) = worksheets(level=level, seed=seed, kinds=["missing_weight"])
        (exercise,) = sheet.exercises
        before = output_of(exercise)[exercise.at]
        exercise.step.values["weight"].data[exercise.hidden] += 1
        assert output_of(exercise)[exercise.at] != before


def test_thirty_sheets_are_thirty_different_ones_with_their_keys() -> None:
    sheets = worksheets(count=30, level=2, seed=4)
    drawn = [[tuple(scene.labels) for scene in pages([sheet], "en")] for sheet in sheets]
    questions = [[label.text for page in one for label in page] for one in drawn]
    numbers = [[t for t in texts if not t.startswith(("convtrace", "Conv"))] for texts in questions]
    assert all(one != other for one, other in itertools.combinations(numbers, 2))


def test_all_sheets_come_first_and_then_all_keys_on_pages_of_their_own() -> None:
    scenes = list(pages(worksheets(count=3), "en"))
    solved = [scene.title.startswith("Answers") for scene in scenes]
    assert solved == sorted(solved)
    for scene in scenes:
        has_answers = any(label.role == "answer" for label in scene.labels)
        assert has_answers == scene.title.startswith("Answers")
    numbers = [re.search(r"sheet (\d+) of 3", scene.title) for scene in scenes]
    assert {found[1] for found in numbers if found} == {"1", "2", "3"}


def test_the_same_seed_draws_the_same_sheets_whatever_the_count() -> None:
    once = worksheets_html(worksheets(count=2, seed=9))
    assert worksheets_html(worksheets(count=2, seed=9)) == once
    few, many = worksheets(count=1, seed=9), worksheets(count=5, seed=9)
    assert written(worksheets_html(few).decode()) == written(worksheets_html(many[:1]).decode())


@cache
def every_page() -> list[Scene]:
    return [
        page
        for lang, level, seed in itertools.product(("en", "ko"), LEVELS, range(3))
        for page in pages(worksheets(level=level, seed=seed), lang)
    ]


def test_nothing_leaves_its_page_and_no_text_covers_another() -> None:
    for scene in every_page():
        rooms = [label.room for label in scene.labels]
        for left, top, right, bottom in rooms:
            assert 0 < left < right < PAGE[0], scene.title
            assert 0 < top < bottom < PAGE[1], scene.title
        for one, other in itertools.combinations(scene.labels, 2):
            assert not covers(one, other), (scene.title, one.text, other.text)


def covers(one: Label, other: Label) -> bool:
    """Whether two texts share more than the room between lines."""
    a, b = one.room, other.room
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    return wide > 1 and high > 0.35 * min(one.size, other.size)


def test_texts_that_cover_each_other_would_be_noticed() -> None:
    label = Label(10, 20, "text", 10, "#000000")
    assert covers(label, label.moved(5, 2))
    assert not covers(label, label.moved(0, 14))


def test_every_number_of_a_grid_lies_in_its_cell() -> None:
    for scene in every_page():
        boxes = [shape for shape in scene.shapes if isinstance(shape, Box) and shape.height < 40]
        for label in scene.labels:
            if label.role not in ("window", "kernel"):
                continue
            left, _, right, _ = label.room
            inside = [b for b in boxes if b.x <= left and right <= b.x + b.width]
            assert any(b.y <= label.y <= b.y + b.height for b in inside), label.text


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_the_pdf_has_the_text_of_every_page(lang: str, tmp_path: Path) -> None:
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext is not installed; on Debian: apt install poppler-utils")
    sheets = worksheets(level=3, count=2, seed=6)
    (tmp_path / "sheet.pdf").write_bytes(worksheets_pdf(sheets, lang=lang))
    done = subprocess.run(
        ["pdftotext", "-layout", tmp_path / "sheet.pdf", "-"], capture_output=True, check=True
    )
    read = done.stdout.decode().split("\f")[:-1]
    scenes = list(pages(sheets, lang))
    assert len(read) == len(scenes)
    for text, scene in zip(read, scenes, strict=True):
        joined = re.sub(r"[\s\u2007\u2008]", "", text)
        for label in scene.labels:
            assert re.sub(r"[\s\u2007\u2008]", "", label.text) in joined, label.text


def test_the_same_sheets_make_the_same_pdf() -> None:
    sheets = worksheets(seed=3, kinds=["output"])
    assert worksheets_pdf(sheets) == worksheets_pdf(sheets)


def test_html_loads_nothing_and_prints_a_page_on_each_sheet_of_paper() -> None:
    sheets: list[Worksheet] = worksheets(count=2)
    html = worksheets_html(sheets, lang="ko").decode()
    assert not re.search(r"(?:src|href|url|@import|<script)\s*[=(]?", html)
    assert '<html lang="ko">' in html
    assert "article + article { break-before: page }" in html


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_all_sheets_of_the_html_come_first_and_no_answer_is_on_them(lang: str) -> None:
    read = read_sheets(worksheets_html(worksheets(count=3, level=2), lang=lang).decode())
    assert [sheet.solved for sheet in read] == [False] * 3 + [True] * 3
    for sheet in read:
        assert str(1 + read.index(sheet) % 3) in sheet.heading
        assert bool(sheet.fields) != sheet.solved
        for section in sheet.sections:
            assert bool(section.answers) == sheet.solved


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_a_screen_reader_finds_headings_captions_headers_and_names_of_fields(lang: str) -> None:
    html = worksheets_html(worksheets(count=2, level=3), lang=lang).decode()
    assert re.findall(r"<h(\d)", html) == ["1", *(["2", *["3"] * 7] * 4)]
    for sheet in read_sheets(html):
        for section in sheet.sections:
            for table in section.tables:
                rows, columns = table.numbers.shape
                assert table.caption
                assert table.rows == [str(row) for row in range(rows)]
                assert table.columns == [str(column) for column in range(columns)]
        assert all(name.strip() for name in sheet.fields)
        outputs = [t for section in sheet.sections for t in section.tables if t.role == "output"]
        named = [name for name in sheet.fields if re.search(r"\[\d+,\d+\]$", name)]
        assert len(named) == (0 if sheet.solved else sum(t.numbers.size for t in outputs))


def test_names_are_escaped() -> None:
    html = worksheets_html(worksheets(), lang="en").decode()
    assert "<title>Convolutions by hand" in html
    assert not re.search(r"&(?!amp;|lt;|gt;|quot;|#x27;)", html)


def test_bad_options_say_what_there_is() -> None:
    with pytest.raises(UsageError, match=r"pooling(.|\n)*missing_weight"):
        worksheets(kinds=["pooling"])
    with pytest.raises(UsageError, match=r"level = 4"):
        worksheets(level=4)
    with pytest.raises(UsageError, match=r"count = 0"):
        worksheets(count=0)


def test_the_command_knows_the_same_kinds() -> None:
    assert command.KINDS == KINDS


@pytest.mark.parametrize(("suffix", "magic"), [(".pdf", b"%PDF"), (".html", b"<!DOCTYPE html>")])
def test_the_command_writes_a_class(suffix: str, magic: bytes, tmp_path: Path) -> None:
    file = tmp_path / f"class{suffix}"
    done = CliRunner().invoke(
        main, ["worksheet", str(file), "--count", "2", "--kind", "shape", "--lang", "en"]
    )
    assert done.exit_code == 0, done.output
    assert "2 sheets" in done.output
    assert file.read_bytes().startswith(magic)


def test_the_command_refuses_another_suffix_and_writes_nothing(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["worksheet", str(tmp_path / "class.docx")])
    assert done.exit_code == 2
    assert ".html or .pdf" in done.output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("level", LEVELS)
def test_the_number_that_a_key_works_out_lies_on_as_little_padding_as_any(level: int) -> None:
    padded = 0
    for sheet in worksheets(level=level, seed=3, count=10, kinds=("output", "dilated")):
        for exercise in sheet.exercises:
            shapes = [exercise.step.values[role].shape for role in ("input", "weight")]
            loops = NestedLoops(*shapes, settings_of(exercise))
            met = {
                place: sum(p.source is not None for p in loops.products((0, 0, *place)))
                for place in np.ndindex(exercise.step.shape[-2:])
            }
            assert met[exercise.at[-2:]] == max(met.values())
            padded += met[0, 0] < max(met.values())
    assert padded >= 10 * (level > 1)  # the corner, which is worked out no more
