"""Check `ct.diff` on wrong convolutions, right ones, and ones whose cause nobody can name.

    python scripts/check_causes.py [--verbose] [--mutate]

The wrong ones are mistakes that people reported (tests/mismatch/wrong*.py cite each). Printed are
the share of causes that were named, the accusations of right outputs, and the wrong causes that
were asserted as proved. `--mutate` breaks the checker itself in several ways, one after the other,
and tells whether a case notices.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from mismatch.outcome import judge_all, mutations, summary


def main(arguments: list[str]) -> int:
    start = time.perf_counter()
    outcomes = judge_all()
    for outcome in outcomes:
        if "--verbose" in arguments or not outcome.good:
            print(outcome)
    figures = summary(outcomes)
    print(figures)
    print(f"{len(outcomes)} cases in {time.perf_counter() - start:.0f} s")
    failed = not figures.acceptable
    if "--mutate" in arguments:
        for name, noticed in mutations():
            print(f"{'noticed' if noticed else 'NOT NOTICED'}: {name}")
            failed |= not noticed
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
