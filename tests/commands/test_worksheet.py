"""`convtrace worksheet` where something is missing; `test_exercises.py` has the exercises."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from convtrace.cli import main


def test_a_missing_font_says_what_to_install_and_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convtrace.render.pictures.fonts.FAMILIES", ())
    file = tmp_path / "a.pdf"
    file.write_text("before")
    result = CliRunner().invoke(main, ["worksheet", str(file), "--kind", "shape", "--lang", "ko"])
    assert result.exit_code == 2
    assert "Install one that has them" in result.stderr
    assert "pip install" not in result.stderr
    assert file.read_text() == "before"
    assert list(tmp_path.iterdir()) == [file]
