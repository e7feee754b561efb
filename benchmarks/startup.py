"""Whole processes: how long the command line takes to start, and the demo to run."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.timing import Timing, interleave


def _run(*command: str) -> None:
    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)


def measure(rounds: int = 15) -> dict[str, Timing]:
    """Time whole processes, in turn."""
    return interleave(
        {
            "python -c 'import torch'": lambda: _run("-c", "import torch"),
            "convtrace demo": lambda: _run("-m", "convtrace", "demo"),
            "convtrace --help": lambda: _run("-m", "convtrace", "--help"),
            "python -c pass": lambda: _run("-c", "pass"),
        },
        rounds=rounds,
        title="start-up",
    )
