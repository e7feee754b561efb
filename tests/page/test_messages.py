"""The sentences of the page: everything that its program asks for is in the catalogue."""

from __future__ import annotations

import re
from pathlib import Path

from convtrace.render.page.files import page_messages

SOURCE = Path(__file__).resolve().parents[2] / "web" / "src"


def asked() -> tuple[set[str], set[str]]:
    """Find keys that the program names in full, and beginnings of keys that it completes."""
    whole: set[str] = set()
    beginnings: set[str] = set()
    for file in [*SOURCE.rglob("*.ts"), *SOURCE.rglob("*.tsx")]:
        text = file.read_text(encoding="utf-8")
        whole |= set(re.findall(r'\bsay\(\s*"([\w.]+)"', text))
        whole |= set(re.findall(r'"(page\.[\w.]*\w)"', text))
        beginnings |= set(re.findall(r"\bsay\(\s*`([\w.]+)\$\{", text))
    return whole, beginnings


def test_every_key_that_the_page_asks_for_exists() -> None:
    whole, _ = asked()
    assert len(whole) > 50
    assert whole <= page_messages()["en"].keys()


def test_every_key_that_the_page_completes_has_a_beginning_that_exists() -> None:
    _, beginnings = asked()
    assert len(beginnings) > 5
    for beginning in beginnings:
        assert any(key.startswith(beginning) for key in page_messages()["en"]), beginning
