"""Saved traces: how long saving, opening and the first receipt take."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import torch

import convtrace as ct
from benchmarks.timing import Timing, interleave
from convtrace.models.digits import digit, digits


def _run(*command: str) -> None:
    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)


def measure(rounds: int = 15) -> dict[str, Timing]:
    """Time whole processes, in turn. Target: the receipt under 0.3 s, without PyTorch."""
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "saved.convtrace")
        with torch.no_grad():
            ct.trace(digits(), digit()).save(file)
        return interleave(
            {
                "python -c 'import numpy'": lambda: _run("-c", "import numpy"),
                "convtrace why saved.convtrace": lambda: _run(
                    "-m", "convtrace", "why", file, "conv2[0,0,0,0]"
                ),
                "convtrace why digits": lambda: _run(
                    "-m", "convtrace", "why", "digits", "conv2[0,0,0,0]"
                ),
            },
            rounds=rounds,
            title="saved traces",
        )


if __name__ == "__main__":
    for name, timing in measure().items():
        print(f"{name:32} {timing.seconds:.3f} s   {timing}")
