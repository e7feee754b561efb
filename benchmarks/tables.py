"""The Markdown tables of the results page: one function for each section."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks import artefacts, contributions, diff, memory, page, receipts
from benchmarks.timing import Timing

Text = Mapping[str, str]
"""The words of the results page in one language, by key."""


def table(heads: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def duration(seconds: float) -> str:
    """Return a time in milliseconds, or in seconds from one on; three digits."""
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"


def timings(text: Text, measured: Mapping[str, Timing]) -> str:
    """Return times, and their ratios to the first."""
    return table(
        [text["what"], text["time"], text["ratio"]],
        [[name, duration(t.seconds), str(t)] for name, t in measured.items()],
    )


def of_receipts(text: Text, rows: list[receipts.Row]) -> str:
    """Return what a receipt takes, by the size of the map."""
    heads = ("size", "forward", "receipt", "receipt_ratio", "window_ratio")
    return table(
        [text[head] for head in heads],
        [
            [
                f"{row.size}×{row.size}",
                duration(row.forward.seconds),
                duration(row.receipt.seconds),
                str(row.receipt),
                f"{row.receipt.seconds / row.window.seconds:.3g}×",
            ]
            for row in rows
        ],
    )


def of_contributions(text: Text, ways: Mapping[str, contributions.Way]) -> str:
    """Return times, ratios and what each way accounts for."""
    return table(
        [text["what"], text["time"], text["ratio"], text["accounted"]],
        [
            [
                name,
                duration(way.timing.seconds),
                str(way.timing),
                "–" if way.accounted is None else f"{way.accounted:.6f}",
            ]
            for name, way in ways.items()
        ],
    )


def of_memory(text: Text, held: memory.Memory) -> str:
    """Return sizes, and their ratios to the activations."""
    sizes = {
        text["activations"]: held.activations,
        text["held"]: held.trace,
        text["objects"]: held.objects,
        text["uses"]: held.uses,
    }
    return table(
        [text["what"], text["bytes"], text["ratio"]],
        [
            [name, f"{size / 1e6:.3g}", f"{size / held.activations:.3g}×"]
            for name, size in sizes.items()
        ],
    )


def of_artefacts(text: Text, made: Mapping[str, Timing]) -> str:
    """Return times beside their targets."""
    targets = artefacts.TARGETS
    return table(
        [text["what"], text["time"], text["target"]],
        [
            [name, duration(t.seconds), f"{targets[name]:g} s" if name in targets else "–"]
            for name, t in made.items()
        ],
    )


def of_diff(text: Text, rows: list[diff.Row]) -> str:
    """Return the forward passes that each diagnosis took, and whether it was right."""
    return table(
        [text["cause"], text["passes"], text["target"], text["named"]],
        [
            [
                " + ".join(row.case.causes) or text[f"diff.{row.case.family}"],
                f"{row.ratio:.3g}×",
                f"{row.target:g}×",
                "✓" if row.hit else ", ".join(row.found) or "–",
            ]
            for row in rows
        ],
    )


def of_page(text: Text, rows: list[page.Row]) -> str:
    """Return what was measured in the browser beside its targets."""
    return table(
        [text["what"], text["value"], text["target"]],
        [
            [
                text[f"page.{row.key}"],
                f"{row.value:.3g}",
                "–" if row.target is None else f"{row.target:g}",
            ]
            for row in rows
        ],
    )
