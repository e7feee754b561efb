"""Get what building and testing the page need: the packages of `web/`, and a Chromium.

What cannot be had is said, and the tests that need it are skipped with that reason. In CI it is an
error instead.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from node import WEB, run

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def packages() -> str | None:
    """Install the packages of `web/`; return why that failed."""
    lock = (WEB / "package-lock.json").read_bytes()
    stamp = WEB / "node_modules" / ".installed"
    wanted = hashlib.sha256(lock).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return None
    done = run("npm", "ci", capture_output=True)
    if done.returncode:
        return f"npm ci failed, so the tests of web/ are skipped:\n{done.stderr.strip()[-800:]}"
    stamp.write_text(wanted)
    return None


def browser() -> str | None:
    """Find a Chromium, else install one; return why that failed."""
    if any(map(shutil.which, BROWSERS)) or _playwright_has_one():
        return None
    if shutil.which("apt-get") and os.geteuid() == 0:
        _quietly("apt-get", "update")
        _quietly("apt-get", "install", "--yes", "chromium", "fonts-noto-cjk")
    if any(map(shutil.which, BROWSERS)):
        return None
    _quietly(sys.executable, "-m", "playwright", "install", "chromium")
    if _playwright_has_one():
        return None
    return "no Chromium: install one (package chromium), or the tests in a browser are skipped"


def _playwright_has_one() -> bool:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        return Path(playwright.chromium.executable_path).exists()


def _quietly(*command: str) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(command, env=environment, capture_output=True, check=False)


if __name__ == "__main__":
    problems = [problem for problem in (packages(), browser()) if problem]
    for problem in problems:
        print(problem, file=sys.stderr)
    sys.exit(bool(problems and os.environ.get("CI")))
