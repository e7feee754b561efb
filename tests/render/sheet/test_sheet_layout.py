"""Cells, references and names of sheets."""

from __future__ import annotations

import itertools

import pytest

from convtrace.render.sheet.layout import (
    LONGEST_NAME,
    Layout,
    SheetNames,
    column_name,
    harmless,
    reference,
)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 3, 4), (2, 2, 3, 2), (2, 1, 2, 3, 2)])
def test_every_number_has_a_cell_of_its_own_inside_the_sheet(shape: tuple[int, ...]) -> None:
    layout = Layout("sheet", shape)
    cells = [layout.cell(index) for index in itertools.product(*map(range, shape))]
    assert len(set(cells)) == len(cells)
    rows, columns = layout.size
    assert all(0 <= row < rows and 0 <= column < columns for row, column in cells)


def test_rows_of_a_block_lie_below_each_other_and_columns_beside() -> None:
    layout = Layout("sheet", (1, 2, 3, 4))
    row, column = layout.cell((0, 1, 0, 0))
    assert layout.cell((0, 1, 2, 3)) == (row + 2, column + 3)


def test_columns_go_on_after_z_as_in_a_spreadsheet() -> None:
    assert [column_name(n) for n in (25, 26, 701, 702)] == ["Z", "AA", "ZZ", "AAA"]


def test_a_range_of_one_cell_is_a_cell() -> None:
    assert reference("a", (4, 1), (4, 1)) == "'a'!B5"


def test_long_and_equal_names_stay_apart_and_short_enough() -> None:
    names = SheetNames()
    taken = [names.take("layer" * 10 + end) for end in ("a", "b", "c")] + [names.take("History")]
    assert len({name.lower() for name in taken}) == 4
    assert all(len(name) <= LONGEST_NAME for name in taken)
    assert taken[-1] != "History"


def test_the_length_of_a_name_is_counted_as_a_spreadsheet_does() -> None:
    names = SheetNames()
    for _ in range(2):
        taken = names.take("합성곱" + "🙂" * 40)
        assert 30 <= len(taken.encode("utf-16-le")) // 2 <= LONGEST_NAME
        assert "\ufffd" not in taken


@pytest.mark.parametrize("name", ["=1+1", "+cmd", "-2", "@SUM(A1)", "\t=1", "conv[1]/x:y", ""])
def test_no_name_of_a_sheet_is_a_formula_or_forbidden(name: str) -> None:
    taken = SheetNames().take(name)
    assert taken
    assert taken[0] not in "=+-@'"
    assert not set(taken) & set("[]:*?/\\")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "  =1", "\t=1", "\r=1", "|x", "%x"])
def test_no_text_is_taken_for_a_formula(text: str) -> None:
    assert harmless(text)[0] in "'\\"


def test_ordinary_texts_stay_as_they_are() -> None:
    assert harmless("conv1[0,1,:,:]") == "conv1[0,1,:,:]"
