"""Goldens of scripts, tables, worksheets, sheets and animations, to open and look at.

They freeze what a file looks like. That its numbers are right, the tests of each form say:
`test_code_files.py`, `test_terms_csv.py`, `test_sheet.py`, `test_animation.py` and
`tests/test_exercises.py`. Where a file differs, the new one is written beside it as `….changed.…`.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import convtrace as ct
from convtrace.demo import DemoOptions, run_stack
from convtrace.exercises import worksheets
from convtrace.graph import Trace
from convtrace.render.animation.files import trace_animated_svg
from convtrace.render.code.files import FRAMEWORKS, receipt_py, trace_py
from convtrace.render.documents.terms_csv import receipt_csv
from convtrace.render.sheet.files import trace_xlsx
from convtrace.render.worksheet.files import worksheets_html

GOLDENS = Path(__file__).parent / "goldens" / "artefacts"


def demo() -> Trace:
    return run_stack(DemoOptions(padding=1, bias=True, layers=2))


def walk(transposed: bool) -> Trace:
    x = torch.arange(1.0, 7).reshape(1, 2, 3)
    weight = torch.tensor([[[1.0, -2.0], [0.5, 3.0]]])
    if transposed:
        return ct.from_arrays(x, weight.reshape(2, 1, 2), stride=2, transposed=True)
    return ct.from_arrays(x, weight, padding=1)


def formulas(lang: str) -> bytes:
    """Write down every cell of a workbook, sheet by sheet: text, number or formula."""
    lines: list[str] = []
    with zipfile.ZipFile(io.BytesIO(trace_xlsx(demo(), lang=lang))) as book:
        texts = re.findall("<t[^>]*>([^<]*)</t>", book.read("xl/sharedStrings.xml").decode())
        names = re.findall('<sheet name="([^"]*)"', book.read("xl/workbook.xml").decode())
        for number, name in enumerate(names, 1):
            lines.append(f"== {name} ==")
            sheet = book.read(f"xl/worksheets/sheet{number}.xml").decode()
            for place, kind, inner in re.findall(r'<c r="(\w+)"([^>]*)(?<!/)>(.*?)</c>', sheet):
                value = re.search("<v>([^<]*)</v>", inner)
                formula = re.search("<f>([^<]*)</f>", inner)
                shown = value[1] if value else ""
                shown = texts[int(shown)] if 't="s"' in kind else shown
                lines.append(f"{place}: {'=' + formula[1] + ' → ' if formula else ''}{shown}")
    return ("\n".join(lines) + "\n").encode()


FILES: dict[str, Callable[[], bytes]] = {
    **{
        f"net_{name}.py.txt": lambda name=name: trace_py(demo(), framework=name)
        for name in FRAMEWORKS
    },
    **{
        f"why_{name}.py.txt": lambda name=name: receipt_py(
            demo().why("conv2[0,0,0,0]"), framework=name
        )
        for name in FRAMEWORKS
    },
    "terms.csv": lambda: receipt_csv(demo().why("conv2[0,0,0,0]")),
    **{f"sheet.{lang}.txt": lambda lang=lang: formulas(lang) for lang in ("en", "ko")},
    **{
        f"worksheet_{level}.{lang}.html": lambda level=level, lang=lang: worksheets_html(
            worksheets(level=level, seed=1), lang=lang
        )
        for level, lang in ((1, "en"), (2, "ko"), (3, "en"))
    },
    "walk.ko.svg": lambda: trace_animated_svg(walk(transposed=False), lang="ko"),
    "walk_transposed.en.svg": lambda: trace_animated_svg(walk(transposed=True), theme="dark"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_as_it_was(name: str) -> None:
    content = FILES[name]()
    golden = GOLDENS / name
    if not golden.exists() or golden.read_bytes() != content:
        stem, _, suffix = name.partition(".")
        changed = golden.with_name(f"{stem}.changed.{suffix}")
        changed.parent.mkdir(parents=True, exist_ok=True)
        changed.write_bytes(content)
        pytest.fail(f"{name} is another file now: compare it with {changed.name}")


def test_every_golden_belongs_to_a_test() -> None:
    assert {path.name for path in GOLDENS.iterdir() if ".changed." not in path.name} == set(FILES)
