"""The source of the page: its own tests, its types, and whether the built files are up to date."""

from __future__ import annotations

import filecmp
import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "src" / "convtrace" / "page"
MOST_BYTES = 60_000
"""Bytes of the program and its style sheet, gzipped."""


def node(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a program of `web/`; skip where its packages could not be had, but not in CI."""
    if not (ROOT / "web" / "node_modules" / ".installed").exists():
        reason = "the packages of web/ are not installed: `make page` installs them"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "node.py"), *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_the_tests_of_web_pass() -> None:
    done = node("vitest", "run", "--reporter=dot")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_types_of_web_hold() -> None:
    done = node("tsc")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_built_page_is_what_its_source_builds(tmp_path: Path) -> None:
    done = node("vite", "build", "--outDir", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    built = sorted(path.name for path in tmp_path.iterdir())
    assert built == ["page.css", "page.js"]
    same, _, _ = filecmp.cmpfiles(PAGE, tmp_path, built, shallow=False)
    assert same == built, "run `make page` and commit page.js and page.css"


def test_the_program_is_small() -> None:
    sizes = {
        name: len(gzip.compress((PAGE / name).read_bytes())) for name in ("page.js", "page.css")
    }
    assert sum(sizes.values()) <= MOST_BYTES, sizes
