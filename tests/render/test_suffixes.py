"""The table of suffixes in the docs."""

import importlib.util
from pathlib import Path
from typing import Any, cast

import pytest

from convtrace.render.table import RENDERERS

ROOT = Path(__file__).resolve().parents[2]


def _script() -> Any:
    spec = importlib.util.spec_from_file_location(
        "make_suffixes", ROOT / "scripts" / "make_suffixes.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return cast(Any, module)


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_the_page_lists_every_suffix_that_there_is(lang: str) -> None:
    text = (ROOT / "docs" / lang / "saving.md").read_text(encoding="utf-8")
    assert text == _script().page(lang), "run scripts/make_suffixes.py"
    for rows in RENDERERS.values():
        for suffix in rows:
            assert f"| `{suffix}` |" in text
