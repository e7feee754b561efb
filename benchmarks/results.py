"""The results page, `docs/*/benchmarks.md`: a section is replaced, the others stay."""

from __future__ import annotations

import json
import os
import platform
import re
from pathlib import Path

import torch

import convtrace
from benchmarks.tables import Text
from convtrace.writing import write_whole

DOCS = Path(__file__).parent.parent / "docs"


def texts() -> dict[str, Text]:
    """Return the words of the page by language."""
    folder = Path(__file__).parent / "text"
    return {
        file.stem: json.loads(file.read_text(encoding="utf-8"))
        for file in sorted(folder.glob("*.json"))
    }


def head(text: Text) -> str:
    """Return what stands above the sections."""
    machine = (
        f"{platform.machine()}, {os.cpu_count()} CPU, Python {platform.python_version()}, "
        f"PyTorch {torch.__version__}, convtrace {convtrace.__version__}"
    )
    return f"# {text['title']}\n\n{text['intro']}\n\n{text['machine']}: {machine}"


def with_section(page: str, text: Text, section: str, body: str, order: list[str]) -> str:
    """Return the page with one section in place of its former results.

    Args:
        page: The page as it is; empty for none.
        text: Words of the language.
        section: Key of the section; `text[section]` is its heading.
        body: What stands under the heading.
        order: All sections as they follow each other.
    """
    parts = dict(re.findall(r"^## (.*?)\n\n(.*?)(?=\n\n## |\s*\Z)", page, re.MULTILINE | re.DOTALL))
    parts[text[section]] = body
    known = [text[key] for key in order if text[key] in parts]
    return "\n\n".join([head(text), *(f"## {name}\n\n{parts[name]}" for name in known)]) + "\n"


def write(lang: str, text: Text, section: str, body: str, order: list[str]) -> Path:
    """Replace one section of the page of a language; returns the page's file."""
    file = DOCS / lang / "benchmarks.md"
    page = file.read_text(encoding="utf-8") if file.exists() else ""
    write_whole(file, with_section(page, text, section, body, order).encode())
    return file
