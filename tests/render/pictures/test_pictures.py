"""Figures as files: PNG, PDF and LaTeX, each read back by another program."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from render.figure_cases import FIGURES, run
from render.figure_judge import SVG, read_texts
from render.receipt_cases import CASES
from torch import nn

import convtrace as ct
from convtrace.errors import MissingDependencyError, UsageError
from convtrace.render.drawing.scene import Label, Scene
from convtrace.render.equations.tex import escape_tex, needs_unicode
from convtrace.render.pictures import fonts
from convtrace.render.pictures.drawn import receipt_scene
from convtrace.render.pictures.pdf import pdf_bytes
from convtrace.render.pictures.png import png_bytes
from convtrace.render.pictures.svg import svg
from convtrace.render.pictures.tikz import tikz_text

LANGUAGES = ("en", "ko")
HOSTILE = 'a_b%$#&{}~^\\input{x}"<script>alert(1)</script>`|*'


def needs(*programs: str) -> None:
    """Skip a test where a program is missing."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed; scripts/install_system.sh installs it")


def needs_korean() -> None:
    try:
        fonts.family_for(["한국어"])
    except MissingDependencyError as error:
        pytest.skip(str(error))


def pdf_text(content: bytes, folder: Path) -> str:
    needs("pdftotext")
    path = folder / "read.pdf"
    path.write_bytes(content)
    done = subprocess.run(["pdftotext", "-layout", path, "-"], capture_output=True, check=True)
    return done.stdout.decode("utf-8")


class Hostile(nn.Module):
    """A network whose step and weight have a name that is markup in every language."""

    def __init__(self) -> None:
        super().__init__()
        self.add_module(HOSTILE, nn.Conv2d(1, 1, 2, bias=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._modules[HOSTILE](x)


def hostile() -> ct.Trace:
    """A run of that network."""
    with torch.no_grad():
        return ct.trace(Hostile(), torch.ones(1, 1, 3, 3))


# PNG ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("name", ["receipt", "gather", "stack", "contributions"])
def test_ink_stays_where_texts_were_measured_to_be(name: str, lang: str) -> None:
    needs_korean()
    scene = FIGURES[name].scene(lang)
    texts = tuple(shape for shape in scene.shapes if isinstance(shape, Label))
    scene = Scene(scene.width, scene.height, texts, "#FFFFFF", "", "", lang)
    pixels = np.asarray(Image.open(io.BytesIO(png_bytes(scene, dpi=144))).convert("L"))
    free = np.ones_like(pixels, dtype=bool)
    for label in texts:
        left, top, right, bottom = (2 * side for side in label.room)
        # Letters are smoothed over the next pixel.
        free[int(top) - 1 : int(bottom) + 3, max(int(left) - 1, 0) : int(right) + 2] = False
    assert (pixels < 128).any()
    assert not (free & (pixels < 230)).any()


def test_a_png_is_as_large_as_was_asked() -> None:
    scene = FIGURES["receipt"].scene(width=120)
    image = Image.open(io.BytesIO(png_bytes(scene, dpi=254)))
    assert image.width == 1200
    assert image.height == pytest.approx(1200 * scene.height / scene.width, abs=1)


def test_too_many_pixels_are_refused() -> None:
    scene = FIGURES["receipt"].scene(width=2000)
    with pytest.raises(UsageError, match="is too large\n  Choose fewer dpi"):
        png_bytes(scene, dpi=600)
    with pytest.raises(UsageError, match="It is pixels per inch"):
        png_bytes(scene, dpi=0)


# PDF ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_texts_of_a_pdf_are_those_of_the_figure(lang: str, tmp_path: Path) -> None:
    needs_korean()
    scene = receipt_scene(CASES["padding_stride_dilation"].receipt(), lang=lang)
    text = pdf_text(pdf_bytes(scene), tmp_path)
    words = text.split()
    for label in scene.labels:
        for word in label.text.split():
            assert word in words or word in text, word
    assert "224.5" in words


@pytest.mark.parametrize("lang", LANGUAGES)
def test_rounding_down_is_written_alike_in_every_font(
    lang: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_korean()
    scene = FIGURES["window"].scene(lang)
    law = "⌊(7 + 1 + 1 − 2·(3 − 1) − 1) / 2⌋ + 1 = 3"
    assert any(label.text.endswith(law) for label in scene.labels)
    for found in (fonts.settled(scene, "Noto Sans CJK KR"), fonts.settled(scene, "DejaVu Sans")):
        assert "".join(label.text for label in found.labels).count(law) == 2
    pieces = [label for label in fonts.settled(scene, "Noto Sans CJK KR").labels if label.font]
    assert {label.text for label in pieces} == {"⌊", "⌋"}  # which that font lacks
    text = pdf_text(pdf_bytes(scene), tmp_path)
    assert "".join(text.split()).count(law.replace(" ", "")) == 2
    assert fonts.spelled(scene) is scene
    fonts._with_floor.cache_clear()
    monkeypatch.setattr(fonts, "FAMILIES", ("Noto Sans CJK KR",))
    words = fonts.spelled(scene).labels
    assert any("floor((7 + 1" in label.text and " / 2) + 1" in label.text for label in words)
    fonts._with_floor.cache_clear()


def test_a_pdf_has_the_size_that_was_asked() -> None:
    found = re.search(rb"/MediaBox \[ ?0 0 ([\d.]+) ", pdf_bytes(FIGURES["stack"].scene(width=85)))
    if found is None:
        pytest.skip("this version of cairo packs the page into a stream")
    assert float(found[1]) == pytest.approx(85 / 25.4 * 72, abs=0.5)


def test_a_missing_font_is_told_with_its_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "FAMILIES", ("DejaVu Sans",))
    monkeypatch.setattr(fonts, "_missing", lambda family, text: "값편향")
    scene = FIGURES["receipt"].scene("ko")
    for write in (pdf_bytes, png_bytes):
        with pytest.raises(MissingDependencyError, match="값편향") as error:
            write(scene)
        assert "fonts-noto-cjk" in str(error.value)


@pytest.mark.parametrize(("suffix", "package"), [(".png", "resvg_py"), (".pdf", "cairosvg")])
def test_a_missing_package_is_told_and_the_file_is_left(
    suffix: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / f"why{suffix}"
    file.write_text("before")
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"convtrace.render.pictures{suffix}", raising=False)
    with pytest.raises(MissingDependencyError, match=r"pip install \"convtrace\[figures\]\""):
        run("two").why("conv2d[0,0,0,0]").save(file)
    assert file.read_text() == "before"


# LaTeX -------------------------------------------------------------------------------------------


def compiled(text: str, folder: Path) -> str:
    """Compile a document, with the program that its second line names, and read it back."""
    program = "pdflatex" if "pdflatex" in text.partition("\\documentclass")[0] else "xelatex"
    needs(program, "pdftotext")
    (folder / "figure.tex").write_text(text, encoding="utf-8")
    command = [program, "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape"]
    done = subprocess.run(
        [*command, "figure.tex"], cwd=folder, capture_output=True, timeout=120, check=False
    )
    log = done.stdout.decode("utf-8", "replace")
    assert done.returncode == 0, log[-2000:]
    assert "Missing character" not in log
    return pdf_text((folder / "figure.pdf").read_bytes(), folder)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_tikz_compiles_and_shows_every_number(lang: str, tmp_path: Path) -> None:
    if lang == "ko":
        needs_korean()
    scene = receipt_scene(CASES["padding_stride_dilation"].receipt(), lang=lang)
    text = compiled(tikz_text(scene), tmp_path).replace("−", "-")
    for label in scene.labels:
        if label.role in ("input", "kernel", "products", "sum", "total", "bias"):
            assert label.text.strip().replace("−", "-").replace("·", "") in text, label.text


def test_tikz_of_a_map_compiles(tmp_path: Path) -> None:
    assert "total of all terms" in compiled(tikz_text(FIGURES["contributions"].scene()), tmp_path)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_tikz_of_every_kind_of_figure_compiles(lang: str, tmp_path: Path) -> None:
    """All in one document, one a page, since a compiler takes long to start."""
    names = (
        "receipt receipt_linear layer_transposed layer_large stack_holes window_three groups "
        "scatter gather contributions"
    ).split()
    assert {FIGURES[name].figure for name in names} == {one.figure for one in FIGURES.values()}
    if lang == "ko":
        needs_korean()
    scenes = [FIGURES[name].scene(lang) for name in names]
    program = {"en": "pdflatex", "ko": "xelatex"}[lang]
    font = "\\usepackage{fontspec}\\setmainfont{Noto Sans CJK KR}\\setsansfont{Noto Sans CJK KR}"
    head = (
        f"% {program}\n\\documentclass{{article}}{font if lang == 'ko' else ''}"
        "\\usepackage[paperwidth=90cm,paperheight=90cm,margin=1cm]{geometry}"
        "\\usepackage{tikz}\\pagestyle{empty}\\begin{document}\n"
    )
    pictures = "\n\\newpage\n".join(tikz_text(scene, document=False) for scene in scenes)
    pages = compiled(f"{head}{pictures}\n\\end{{document}}\n", tmp_path).split("\f")
    assert len(pages) == len(scenes) + 1
    for page, scene in zip(pages, scenes, strict=False):
        (headline,) = (label.text for label in scene.labels if label.role == "headline")
        assert re.sub(r"[\s−_-]", "", headline) in re.sub(r"[\s−_-]", "", page)


def test_a_name_that_is_markup_stays_a_name(tmp_path: Path) -> None:
    trace = hostile()
    address = f"{HOSTILE}[0,0,1,1]"
    receipt = trace.why(ct.Address(HOSTILE, (0, 0, 1, 1)))
    scene = receipt_scene(receipt)
    root = ET.fromstring(svg(scene))
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        *("svg", "title", "desc", "rect", "text", "path"),
    }
    assert any(text.startswith(address) for text in read_texts(svg(scene), "headline"))
    shown = compiled(tikz_text(scene), tmp_path)
    assert "script" in shown
    assert "alert(1)" in shown.replace(" ", "")


def test_signs_and_specials_become_commands() -> None:
    assert escape_tex("50% −1 × 2_3") == "50\\% $-$1 $\\times$ 2\\_3"
    assert not needs_unicode(["−1 × 2 ≈ Σ · …"])
    assert needs_unicode(["합계"])


def test_a_picture_without_its_document_can_be_put_into_one(tmp_path: Path) -> None:
    picture = tikz_text(FIGURES["stack"].scene(width=100), document=False)
    assert "documentclass" not in picture
    head = "% pdflatex\n\\documentclass{article}\\usepackage{tikz}\\begin{document}before\n"
    text = compiled(f"{head}{picture}\nafter\\end{{document}}\n", tmp_path)
    assert "before" in text
    assert "after" in text


# All of them -------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".svg", ".png", ".pdf", ".tex", ".md"])
def test_the_same_receipt_gives_the_same_bytes(suffix: str, tmp_path: Path) -> None:
    receipt = CASES["thirds"].receipt()
    files = [tmp_path / f"{number}{suffix}" for number in range(2)]
    for file in files:
        receipt.save(file, lang="en")
    first, second = (file.read_bytes() for file in files)
    assert first == second
    assert len(first) > 1000


@pytest.mark.parametrize("suffix", [".svg", ".png", ".pdf", ".tex", ".npy", ".json"])
def test_a_split_is_saved(suffix: str, tmp_path: Path) -> None:
    split = run("digits").contributions("fc[0,8]")
    file = tmp_path / f"split{suffix}"
    split.save(file)
    assert file.stat().st_size > 200
    if suffix == ".npy":
        terms = np.load(file)
        assert terms.shape == (1, 1, 8, 8)
        assert terms.sum() + sum(split.biases.values()) == pytest.approx(split.total)


def test_a_split_of_several_tensors_must_be_told_which_to_save(tmp_path: Path) -> None:
    split = run("digits").contributions("fc[0,8]", at="relu1")
    split.save(tmp_path / "relu1.npy")
    assert np.load(tmp_path / "relu1.npy").shape == (1, 4, 8, 8)
    with pytest.raises(UsageError, match="there is no 'input'\n  of = one of: 'relu1'"):
        split.save(tmp_path / "input.npy", of="input")
