"""Figures, animations, spreadsheets and worksheets: how long each takes to make."""

from __future__ import annotations

import functools
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import convtrace as ct
from benchmarks.timing import Timing, interleave
from convtrace.exercises import worksheets
from convtrace.models.digits import digit, digits
from convtrace.render.worksheet.files import worksheets_html, worksheets_pdf

TARGETS = {
    "receipt, .svg": 0.02,
    "25 frames of 5×5, two channels, .gif": 0.2,
    "thirty worksheets, .pdf": 10.0,
    "convtrace why saved.convtrace (a whole process)": 0.3,
}
"""Seconds that these may take at most."""


def measure(rounds: int = 7) -> dict[str, Timing]:
    """Time everything that can be saved, once the packages that it needs are imported."""
    torch.manual_seed(0)
    with torch.no_grad():
        walk = ct.trace(
            torch.nn.Conv2d(2, 1, 3, padding=1), torch.randint(0, 9, (1, 2, 5, 5)).float()
        )
        trained = ct.trace(digits(), digit())
    receipt = trained.why("conv2[0,5,3,3]")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        saved = folder / "saved.convtrace"
        trained.save(saved)
        why = [sys.executable, "-m", "convtrace", "why", str(saved), "conv2[0,0,0,0]"]
        functions: dict[str, Callable[[], Any]] = {
            "receipt, .svg": functools.partial(receipt.save, folder / "why.svg"),
            **{
                f"the same receipt, {suffix}": functools.partial(
                    receipt.save, folder / f"why{suffix}"
                )
                for suffix in (".png", ".pdf", ".tex", ".md")
            },
            **{
                f"{figure} of the digits network, .svg": functools.partial(
                    trained.save, folder / "figure.svg", figure=figure, address="conv2[0,5,3,3]"
                )
                for figure in ("layer", "stack", "contributions")
            },
            "25 frames of 5×5, two channels, .gif": functools.partial(walk.save, folder / "a.gif"),
            **{
                f"the same, {suffix}": functools.partial(walk.save, folder / f"a{suffix}")
                for suffix in (".apng", ".webp", ".mp4", ".webm")
            },
            "digits network, .xlsx": functools.partial(trained.save, folder / "digits.xlsx"),
            "thirty worksheets, .pdf": lambda: worksheets_pdf(worksheets(count=30, level=2)),
            "thirty worksheets, .html": lambda: worksheets_html(worksheets(count=30, level=2)),
            "convtrace why saved.convtrace (a whole process)": functools.partial(
                subprocess.run, why, check=True, capture_output=True
            ),
        }
        return interleave(functions, rounds=rounds, title="artefacts", warmups=1)
