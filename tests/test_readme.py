"""What tests/test_docs.py does not see: pictures, quoted numbers, and that both languages agree."""

import importlib.util
import itertools
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, cast
from xml.etree import ElementTree as ET

import pytest

from convtrace.catalog import messages

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(path.name for path in (ROOT / "docs" / "en").glob("*.md"))
PAIRS = [("README.md", "README.ko.md"), *((f"docs/en/{n}", f"docs/ko/{n}") for n in PAGES)]
BLOCK = re.compile(r"^```(\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SVG = "{http://www.w3.org/2000/svg}"

both_languages = pytest.mark.parametrize("lang", ["en", "ko"])
every_pair = pytest.mark.parametrize(("english", "korean"), PAIRS, ids=[pair[0] for pair in PAIRS])


def _load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "make_pictures", ROOT / "scripts" / "make_pictures.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


script = cast(Any, _load_script())


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


# Pictures ----------------------------------------------------------------------------------------


@both_languages
def test_the_picture_is_what_the_script_draws(lang: str) -> None:
    name = f"receipt.{lang}.svg"
    assert read(f"docs/images/{name}") == script.picture(lang), (
        "the receipt looks different now: run `python scripts/make_pictures.py`"
    )


@both_languages
def test_the_picture_shows_the_sum_and_its_parts(lang: str) -> None:
    words = [element.text for element in texts(lang)]
    assert words[0] == "conv1[0,0,0,0] = 24"
    assert [words.count(number) for number in ("24", "2", "22")] == [1, 1, 1]


@both_languages
def test_the_picture_needs_nothing_from_elsewhere(lang: str) -> None:
    picture = read(f"docs/images/receipt.{lang}.svg")
    assert set(re.findall(r"https?://[^\"'\s]*", picture)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"@font-face|@import|href|url\(|<script|<image", picture)


@both_languages
def test_words_in_the_picture_do_not_overlap(lang: str) -> None:
    lines: dict[str, list[tuple[float, float]]] = {}
    for element in texts(lang)[1:]:
        left = float(element.attrib["x"])
        width = script.cell_len(element.text) * script.CELL
        assert float(element.get("textLength", width)) == width
        lines.setdefault(element.attrib["y"], []).append((left, left + width))
    for line in lines.values():
        line.sort()
        for (_, right), (left, _) in itertools.pairwise(line):
            assert right < left
    assert max(right for line in lines.values() for _, right in line) <= drawing_width(lang)


def texts(lang: str) -> list[ET.Element]:
    root = ET.fromstring(read(f"docs/images/receipt.{lang}.svg"))
    return list(root.iter(f"{SVG}text"))


def drawing_width(lang: str) -> float:
    return float(ET.fromstring(read(f"docs/images/receipt.{lang}.svg")).attrib["width"])


@both_languages
def test_the_readme_shows_its_picture(lang: str) -> None:
    readme = read("README.md" if lang == "en" else "README.ko.md")
    assert re.search(rf"^!\[[^!]+\]\(docs/images/receipt\.{lang}\.svg\)$", readme, re.MULTILINE)


# Quoted numbers ----------------------------------------------------------------------------------


@both_languages
def test_the_digits_page_quotes_the_report(lang: str) -> None:
    report, page = read("docs/digits-report.txt"), read(f"docs/{lang}/digits.md")
    quoted = [line for line in page.splitlines() if line.startswith("| ")][1:]
    found = [
        re.search(pattern, report, re.MULTILINE)
        for pattern in (
            r"^Parameters: (\d+)$",
            r"^Training images: (\d+)$",
            r"^Test images: (\d+)$",
            r"^Test accuracy: (\d+) of (\d+) = ([\d.]+) %$",
            r"^Weights: digits\.safetensors, (\d+) bytes",
            r"^Shipped digit: image (\d+) .*\(counted from 0\), label (\d), read as (\d)$",
        )
    ]
    assert len(quoted) == len(found)
    for row, match in zip(quoted, found, strict=True):
        assert match is not None
        value = row.split("|")[2].replace("(0부터 셈)", "").replace("counted from 0", "")
        assert re.findall(r"\d+(?:\.\d+)?", value) == list(match.groups())


# Two languages -----------------------------------------------------------------------------------


@every_pair
def test_both_languages_have_the_same_sections(english: str, korean: str) -> None:
    assert outline(read(english)) == outline(read(korean))


def outline(markdown: str) -> list[str]:
    """Return the levels of the headings, and the languages of the code blocks, in order."""
    outside = BLOCK.sub(lambda block: f"@{block[1]}", markdown)
    return re.findall(r"^(#+(?= )|@\S+)", outside, re.MULTILINE)


@every_pair
def test_both_languages_have_the_same_examples(english: str, korean: str) -> None:
    assert list(examples(read(english))) == list(examples(read(korean)))


def examples(markdown: str) -> Iterator[str]:
    """Yield the code of each block without remarks, and the commands without their output."""
    for language, text in BLOCK.findall(markdown):
        if language == "console":
            yield from (
                re.sub(" --lang (en|ko)", "", line)
                for line in re.findall(r"^\$ .*", text, re.MULTILINE)
            )
        elif language in ("python", "pycon", "sh"):
            code = re.sub(r'^ *"""[^"]*"""$| *# .*$', "", text, flags=re.MULTILINE)
            code = re.sub(r'(, )?(lang=)?"(en|ko)"', "", code)
            if ">>> " in code:  # without what it prints: that is in the reader's language
                code = "\n".join(re.findall(r"^(?:>>>|\.\.\.) .*", code, re.MULTILINE))
            yield code


def test_an_example_that_differs_is_found() -> None:
    assert list(examples("```python\nx = 1  # one\n```\n")) == ["x = 1\n"]
    assert list(examples("```python\nx = 2  # 하나\n```\n")) != ["x = 1\n"]
    assert list(examples("```console\n$ convtrace demo --lang ko\n값\n```\n")) == [
        "$ convtrace demo"
    ]


@pytest.mark.parametrize("readme", ["README.md", "README.ko.md"])
def test_the_two_commands_stand_on_the_first_screen(readme: str) -> None:
    first_screen = read(readme).splitlines()[:40]
    for command in ("run", "test"):
        assert any(line.startswith(f"make {command} ") for line in first_screen)


@pytest.mark.parametrize("readme", ["README.md", "README.ko.md"])
def test_every_make_target_of_the_readme_is_one(readme: str) -> None:
    targets = re.findall(r"^([a-z]+):.*## ", read("Makefile"), re.MULTILINE)
    named = re.findall(r"(?:`|^)make ([a-z]+)\b", read(readme), re.MULTILINE)
    assert {"run", "test", "docs"} <= set(named) <= set(targets)


# Glossary ----------------------------------------------------------------------------------------

IN_CATALOGUE = {
    "axis.sample": "sample",
    "axis.channel": "channel",
    "axis.row": "row",
    "axis.column": "column",
    "axis.depth": "depth",
    "axis.place": "position",
    "window.covers": "window",
    "window.dilation.row": "dilation",
    "window.law.row": "stride",
    "transposed.what": "transposed convolution",
    "receipt.heading.kernel": "kernel",
    "receipt.heading.products": "product",
    "receipt.padding": "padding",
    "receipt.group": "group",
    "receipt.bias": "bias",
    "receipt.rest": "term",
    "receipt.kind.linear": "weight",
    "receipt.kind.relu": "factor",
    "receipt.where_step": "step",
    "verdict.sum": "exact sum",
    "verdict.exact": "exact",
    "verdict.rounding": "rounding",
    "verdict.mismatch": "mismatch",
    "verdict.nonfinite": "nonfinite",
    "verdict.ordinary": "residual",
    "verdict.arithmetic": "arithmetic",
    "verdict.culprits": "infinity",
    "note.overflow": "overflow",
    "demo.tensors.names": "layer",
    "demo.tensors.shapes": "shape",
    "demo.receipts.address": "address",
    "cli.row.model": "model",
    "summary.heading.parameters": "parameter",
    "summary.legend.macs": "MAC",
    "summary.legend.field": "receptive field",
    "line.opaque": "receipt",
}
"""Messages, each with an English word that its Korean says in the glossary's word."""


def glossary(lang: str) -> dict[str, str]:
    """Return the Korean word of every English one."""
    text = read(f"docs/{lang}/glossary.md")
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", text, re.MULTILINE)
    pairs = [row[:2] if lang == "en" else row[1::-1] for row in rows if row[2] not in HEADS]
    assert len(pairs) == len(dict(pairs)), "a word stands there twice"
    return dict(pairs)


HEADS = ("meaning", "뜻")


def test_both_glossaries_hold_the_same_words() -> None:
    assert glossary("en") == glossary("ko")
    assert len(glossary("en")) > 50


@pytest.mark.parametrize("key", IN_CATALOGUE)
def test_the_catalogue_uses_the_words_of_the_glossary(key: str) -> None:
    korean = glossary("ko")[IN_CATALOGUE[key]]
    short = korean.removeprefix("계산 ")  # 내역 for 계산 내역, once it is clear whose
    assert korean in messages("ko")[key] or short in messages("ko")[key]
