"""Run the benchmarks and write the results page in both languages.

    python -m benchmarks                 everything (about ten minutes)
    python -m benchmarks diff page       these sections; the others of the page stay as they are

Each section is measured in a process of its own, so that none pays for what another left in
memory, and written as soon as it is measured.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from benchmarks import (
    artefacts,
    contributions,
    diff,
    memory,
    page,
    receipts,
    recording,
    saved,
    startup,
    tables,
)
from benchmarks.results import texts, write
from benchmarks.tables import Text
from benchmarks.timing import Timing


def _memory(text: Text, held: memory.Memory) -> str:
    note = text["memory_note"].format(positions=held.positions)
    return f"{tables.of_memory(text, held)}\n\n{note}"


def _startup(text: Text, started: dict[str, Timing]) -> str:
    extra = started["convtrace demo"].seconds - started["python -c 'import torch'"].seconds
    said = text["demo"].format(seconds=extra)
    return f"{tables.timings(text, started)}\n\n{said} {text['startup_note']}"


def _noted(key: str, shown: Callable[[Text, Any], str]) -> Callable[[Text, Any], str]:
    """Return a table with the note of its section under it."""
    return lambda text, measured: f"{shown(text, measured)}\n\n{text[f'{key}_note']}"


SECTIONS: dict[str, tuple[Callable[[], Any], Callable[[Text, Any], str]]] = {
    "recording": (recording.measure, _noted("recording", tables.timings)),
    "receipts": (receipts.measure, _noted("receipts", tables.of_receipts)),
    "contributions": (contributions.measure, _noted("contributions", tables.of_contributions)),
    "memory": (memory.measure, _memory),
    "artefacts": (artefacts.measure, _noted("artefacts", tables.of_artefacts)),
    "saved": (saved.measure, _noted("saved", tables.timings)),
    "diff": (diff.measure, _noted("diff", tables.of_diff)),
    "page": (page.measure, _noted("page", tables.of_page)),
    "startup": (startup.measure, _startup),
}
"""What measures each section of the page, and what shows it, as they follow each other."""


def main() -> None:
    """Measure the sections that were asked for and write them."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Run the benchmarks and write docs/*/benchmarks.md. Leave the machine alone "
        "meanwhile: ratios are taken side by side, but a busy machine still blurs them.",
    )
    parser.add_argument(
        "sections",
        nargs="*",
        metavar="SECTION",
        help=f"what to measure; everything if none is given: {', '.join(SECTIONS)}",
    )
    asked = parser.parse_args().sections
    if unknown := [name for name in asked if name not in SECTIONS]:
        parser.error(f"no section {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    names = asked or list(SECTIONS)
    if len(names) > 1:
        for name in names:
            subprocess.run([sys.executable, "-m", "benchmarks", name], check=True)
        return
    measure, shown = SECTIONS[names[0]]
    measured = measure()
    for lang, text in texts().items():
        print(write(lang, text, names[0], shown(text, measured), list(SECTIONS)))


if __name__ == "__main__":
    main()
