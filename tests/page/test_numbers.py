"""Numbers are written alike by Python and by the page: both are compared with one list.

python tests/page/test_numbers.py    writes the list anew, from Python
"""

from __future__ import annotations

import json
import random
import struct
from pathlib import Path
from typing import Any

from convtrace.render.numbers import Scale, about, identify, product_sign, resolve, show, sum_sign

LIST = Path(__file__).resolve().parents[2] / "web" / "tests" / "numbers.json"


def values() -> list[float]:
    """Numbers of many sizes: hand-made ones, float32 and float64 of random bits."""
    chosen = [0.0, -0.0, 1.0, -0.25, 1 / 3, 2 / 3, 0.1, 24.0, 270.0, 1e5, 123456.7, 1234567.0]
    chosen += [9.9999999, 0.999999999, 1e9, 1e10, 1e-4, 9.9e-5, 1.5e-12, 5e-324, 1.7e308, 0.125]
    chosen += [2.5, 0.0005, 1e22, 123456789.125, 1e-7, 2**53 + 2.0, 0.30000000000000004]
    drawn = random.Random(0)
    for _ in range(60):
        chosen.append(struct.unpack("<f", struct.pack("<f", drawn.uniform(-10, 10)))[0])
        chosen.append(drawn.uniform(-1, 1) * 10 ** drawn.randint(-8, 12))
    return chosen


def rows() -> dict[str, Any]:
    """Write every number in every way."""
    numbers = values()
    drawn = random.Random(1)
    columns = [drawn.sample(numbers, 4) for _ in range(40)]
    pairs = [(x, x * (1 + drawn.choice([1e-3, 1e-7, 3e-9, -2e-12]))) for x in numbers if x]
    return {
        "single": [
            [
                x,
                show(x).marked,
                show(x, 3, narrow=False).marked,
                show(x, None).text,
                identify(x).text,
                identify(x, narrow=False).text,
                about(x),
            ]
            for x in numbers
        ],
        "columns": [
            [column, [Scale.of(column, digits).show(x).marked for x in column]]
            for digits in (6,)
            for column in columns
        ],
        "pairs": [
            [list(pair), [one.marked for one in resolve(pair, pair[1] - pair[0], narrow=True)]]
            for pair in pairs
            if pair[0] != pair[1]
        ],
        "signs": [
            [
                column,
                product_sign(show(column[0]), show(column[1]), show(column[0] * column[1])),
                sum_sign([show(x) for x in column[:2]], show(column[0] + column[1])),
            ]
            for column in [[0.5, 3.0], [1 / 3, 3.0], [2.0, 22.0], [0.1, 0.2], *columns[:20]]
        ],
    }


def test_the_list_is_what_python_writes() -> None:
    assert json.loads(LIST.read_text(encoding="utf-8")) == json.loads(json.dumps(rows()))


if __name__ == "__main__":
    LIST.write_text(json.dumps(rows(), ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
