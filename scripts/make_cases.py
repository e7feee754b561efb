"""Write tests/cases/*.json: small convolutions and what every part of their receipts must say.

The answers come from tests/judges.py, never from convtrace, so that Python and the page are tested
on the same outside judgement. Run it again after adding a case below:

    python scripts/make_cases.py

Each file has one theme and holds a list of cases. A case holds the canonical settings, the
numbers (`x`, `weight`, `bias`, `output`: nested lists; `bias` is null where there is none), and
receipts of chosen outputs. In a receipt, `weights`, `sources`, `values` and `products` have one
entry a term, input channel slowest, last kernel axis fastest. A source is a position in `x`, or
null where the term reads nothing; then its value and product are 0. `channels` and `channel_sums`
have one entry for each input channel that the output reads.
"""

from __future__ import annotations

import json
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
CASES = ROOT / "tests" / "cases"

sys.path.insert(0, str(ROOT / "tests"))

from judges import NestedLoops, Settings  # noqa: E402  (the tests are no installed package)

Index = tuple[int, ...]


def counting(*shape: int, start: int = 0) -> Any:
    """Return 0, 1, 2, … in a shape: every number says where it stands."""
    return np.arange(start, start + int(np.prod(shape))).reshape(shape)


def cycle(*shape: int, through: tuple[int, ...] = (1, -2, 3, 0, 2, -1, 4)) -> Any:
    """Return a few small numbers over and over, in a shape."""
    return np.resize(np.array(through), shape)


def case(
    name: str,
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    at: list[Index] | None = None,
    stride: Index | None = None,
    padding: tuple[tuple[int, int], ...] | None = None,
    dilation: Index | None = None,
    groups: int = 1,
    transposed: bool = False,
    output_padding: Index | None = None,
) -> dict[str, Any]:
    """Describe one convolution, all of its outputs, and the receipts of some (first and last)."""
    x, weight = np.asarray(x), np.asarray(weight)
    bias = None if bias is None else np.asarray(bias)
    axes = weight.ndim - 2
    settings = Settings(
        stride=stride or (1,) * axes,
        padding=padding or ((0, 0),) * axes,
        dilation=dilation or (1,) * axes,
        output_padding=output_padding or (0,) * axes,
        groups=groups,
        transposed=transposed,
    )
    loops = NestedLoops(x.shape, weight.shape, settings)
    output = np.empty(loops.shape, dtype=object)
    for index in loops.indices():
        output[index] = plain(loops.value(index, x, weight, bias))
    chosen = [(0,) * output.ndim, *(at or []), tuple(n - 1 for n in output.shape)]
    return {
        "name": name,
        "settings": {
            "stride": settings.stride,
            "padding": settings.padding,
            "dilation": settings.dilation,
            "groups": groups,
            "transposed": transposed,
            "output_padding": settings.output_padding,
        },
        "x": x.tolist(),
        "weight": weight.tolist(),
        "bias": None if bias is None else bias.tolist(),
        "output": output.tolist(),
        "receipts": [receipt(loops, index, x, weight, bias) for index in dict.fromkeys(chosen)],
    }


def receipt(loops: NestedLoops, index: Index, x: Any, weight: Any, bias: Any) -> dict[str, Any]:
    """Say what the receipt of one output must hold."""
    products = loops.products(index)
    channel = index[-weight.ndim + 1]
    return {
        "address": index,
        "weights": [product.weight for product in products],
        "sources": [product.source for product in products],
        "values": [0 if p.source is None else x.item(p.source) for p in products],
        "products": [plain(number) for number in loops.numbers(index, x, weight)],
        "channels": [source for source, _ in loops.channels[channel]],
        "channel_sums": [plain(number) for number in loops.channel_sums(index, x, weight)],
        "bias": None if bias is None else bias.item(channel),
        "sum": plain(loops.value(index, x, weight, bias)),
    }


def plain(number: Fraction) -> int | float:
    """Write a fraction as JSON has numbers."""
    return int(number) if number.denominator == 1 else float(number)


def themes() -> dict[str, tuple[str, list[dict[str, Any]]]]:
    """All cases, by the name of their file."""
    snippet = np.array([[[0.25], [0.5]], [[1.0], [2.0]]])[..., None] * np.ones((2, 2, 2, 2))
    return {
        "plain": (
            "No padding, stride 1: the kernel slides over the input.",
            [
                case("one channel, one tap", [[[[2, 3], [5, 7]]]], [[[[10]]]]),
                case("the kernel is not flipped", counting(1, 1, 3, 3), [[[[1, 10], [100, 1000]]]]),
                case(
                    "each input channel has a kernel of its own, and their sums are added",
                    counting(1, 2, 3, 3),
                    snippet,
                    at=[(0, 1, 0, 0), (0, 0, 1, 0)],
                ),
                case(
                    "the second layer of two reads every channel of the first",
                    [[[[24, 27], [33, 36]], [[96, 108], [132, 144]]]],
                    snippet,
                ),
                case(
                    "two samples, three output channels, a bias",
                    cycle(2, 2, 3, 4),
                    cycle(3, 2, 2, 3, through=(2, 0, -1, 3, 1)),
                    [1, -2, 5],
                    at=[(1, 1, 0, 1)],
                ),
                case("a kernel higher than wide", counting(1, 1, 4, 2), cycle(1, 1, 3, 1)),
            ],
        ),
        "padding": (
            "Terms that fall outside the input read nothing, and their product is 0.",
            [
                case(
                    "one zero on every side",
                    counting(1, 1, 3, 3, start=1),
                    counting(1, 1, 3, 3, start=1),
                    padding=((1, 1), (1, 1)),
                    at=[(0, 0, 1, 1), (0, 0, 0, 2)],
                ),
                case(
                    "another amount on each side",
                    counting(1, 1, 2, 3, start=1),
                    cycle(1, 1, 2, 2),
                    padding=((0, 1), (2, 0)),
                    at=[(0, 0, 1, 0), (0, 0, 0, 3)],
                ),
                case(
                    "same, for an even kernel: the odd zero comes after the last element",
                    counting(1, 1, 3, 3, start=1),
                    [[[[1, 2], [3, 4]]]],
                    padding=((0, 1), (0, 1)),
                ),
                case(
                    "more padding than kernel: some outputs read nothing but the bias",
                    [[[[5]]]],
                    [[[[1, 1], [1, 1]]]],
                    [7],
                    padding=((2, 2), (2, 2)),
                    at=[(0, 0, 1, 1), (0, 0, 2, 1)],
                ),
                case(
                    "two channels, padded",
                    cycle(1, 2, 2, 2),
                    cycle(2, 2, 3, 3),
                    [0, 1],
                    padding=((1, 1), (1, 1)),
                    at=[(0, 1, 0, 1)],
                ),
            ],
        ),
        "stride": (
            "The kernel moves several elements at a time.",
            [
                case(
                    "two rows down, three columns across",
                    counting(1, 1, 5, 6),
                    cycle(1, 1, 2, 2),
                    stride=(2, 3),
                    at=[(0, 0, 1, 0), (0, 0, 0, 1)],
                ),
                case(
                    "the last elements are never read where the steps do not reach them",
                    counting(1, 1, 4, 4),
                    [[[[1, 10], [100, 1000]]]],
                    stride=(3, 3),
                ),
                case(
                    "a stride longer than the kernel leaves elements out",
                    counting(1, 1, 1, 7),
                    [[[[1, 2]]]],
                    stride=(1, 3),
                ),
                case(
                    "with padding",
                    counting(1, 2, 4, 4),
                    cycle(1, 2, 3, 3),
                    [-1],
                    stride=(2, 2),
                    padding=((1, 1), (1, 1)),
                    at=[(0, 0, 0, 1)],
                ),
            ],
        ),
        "dilation": (
            "The taps of the kernel stand apart.",
            [
                case(
                    "every second row, every third column",
                    counting(1, 1, 4, 6),
                    [[[[1, 10], [100, 1000]]]],
                    dilation=(2, 3),
                    at=[(0, 0, 1, 1)],
                ),
                case(
                    "with padding and stride",
                    counting(1, 1, 5, 5),
                    cycle(2, 1, 3, 3),
                    [3, -3],
                    stride=(2, 1),
                    padding=((2, 1), (0, 2)),
                    dilation=(2, 2),
                    at=[(0, 1, 1, 0)],
                ),
                case(
                    "same, dilated",
                    counting(1, 1, 1, 5),
                    [[[[1, 10, 100]]]],
                    padding=((0, 0), (2, 2)),
                    dilation=(1, 2),
                ),
            ],
        ),
        "groups": (
            "An output channel reads only the input channels of its group.",
            [
                case(
                    "two groups of two",
                    counting(1, 4, 2, 2),
                    cycle(2, 2, 2, 2),
                    groups=2,
                    at=[(0, 1, 0, 0)],
                ),
                case(
                    "depthwise: every channel on its own",
                    counting(1, 3, 3, 3),
                    counting(3, 1, 2, 2, start=1),
                    [1, 2, 3],
                    groups=3,
                    at=[(0, 1, 1, 0)],
                ),
                case(
                    "two output channels for each group",
                    counting(1, 2, 2, 2),
                    cycle(4, 1, 1, 2),
                    groups=2,
                    at=[(0, 1, 0, 0), (0, 2, 0, 0)],
                ),
                case(
                    "two output channels and two input channels for each of two groups",
                    cycle(1, 4, 2, 2),
                    counting(4, 2, 1, 1, start=1),
                    groups=2,
                    at=[(0, 1, 0, 1), (0, 2, 1, 0)],
                ),
            ],
        ),
        "transposed": (
            "Every input is spread over the outputs; some taps of an output meet no input.",
            [
                case(
                    "stride 1: every input reaches a window of outputs",
                    [[[[1, 2], [3, 4]]]],
                    [[[[1, 10], [100, 1000]]]],
                    transposed=True,
                    at=[(0, 0, 1, 1), (0, 0, 0, 1)],
                ),
                case(
                    "stride 2: taps fall between two inputs",
                    [[[[1, 2], [3, 4]]]],
                    counting(1, 1, 3, 3, start=1),
                    stride=(2, 2),
                    transposed=True,
                    at=[(0, 0, 2, 2), (0, 0, 1, 2)],
                ),
                case(
                    "padding cuts the output, output padding adds to its end",
                    [[[[1, 2], [3, 4]]]],
                    counting(1, 1, 3, 3, start=1),
                    [5],
                    stride=(2, 2),
                    padding=((1, 1), (1, 1)),
                    output_padding=(1, 0),
                    transposed=True,
                    at=[(0, 0, 3, 0)],
                ),
                case(
                    "output padding beyond the last input holds the bias alone",
                    [[[[1, 2]]]],
                    [[[[3]]]],
                    [9],
                    stride=(1, 2),
                    output_padding=(0, 1),
                    transposed=True,
                ),
                case(
                    "dilated, grouped, two output channels a group",
                    counting(1, 4, 2, 2),
                    cycle(4, 2, 2, 2),
                    stride=(2, 1),
                    dilation=(2, 3),
                    groups=2,
                    transposed=True,
                    at=[(0, 1, 2, 3), (0, 2, 0, 1)],
                ),
                case(
                    "a stride longer than the kernel leaves outputs that read nothing",
                    [[[[1, 2]]]],
                    [[[[1, 1]]]],
                    stride=(1, 3),
                    transposed=True,
                    at=[(0, 0, 0, 2)],
                ),
            ],
        ),
        "one_d": (
            "One spatial axis.",
            [
                case("three taps", [[[1, 2, 3, 4, 5]]], [[[1, 10, 100]]]),
                case(
                    "two channels, stride, padding and dilation",
                    cycle(2, 2, 7),
                    cycle(2, 2, 3),
                    [1, 2],
                    stride=(2,),
                    padding=((1, 2),),
                    dilation=(2,),
                    at=[(1, 0, 1)],
                ),
                case(
                    "transposed",
                    [[[1, 2, 3]]],
                    [[[1, 10, 100]]],
                    stride=(2,),
                    padding=((1, 0),),
                    transposed=True,
                    at=[(0, 0, 2)],
                ),
            ],
        ),
        "three_d": (
            "Three spatial axes: depth, rows, columns.",
            [
                case("a cube of taps", counting(1, 1, 2, 3, 3), counting(1, 1, 2, 2, 2)),
                case(
                    "another setting on each axis",
                    counting(1, 1, 3, 3, 4),
                    cycle(1, 1, 2, 1, 3),
                    [4],
                    stride=(1, 2, 2),
                    padding=((1, 0), (0, 0), (1, 1)),
                    dilation=(2, 1, 1),
                    at=[(0, 0, 1, 1, 0)],
                ),
                case(
                    "transposed",
                    counting(1, 2, 1, 2, 1, start=1),
                    cycle(2, 1, 2, 2, 1),
                    stride=(2, 1, 1),
                    output_padding=(1, 0, 0),
                    transposed=True,
                    at=[(0, 0, 1, 1, 0)],
                ),
            ],
        ),
        "unbatched": (
            "An input without a batch axis; addresses have one position less.",
            [
                case("1-d", [[1, 2, 3]], [[[1, 10]]], [5]),
                case("2-d", counting(2, 3, 3), cycle(2, 2, 2, 2), padding=((1, 0), (0, 1))),
                case("3-d", counting(1, 2, 2, 2), counting(1, 1, 1, 2, 2)),
                case(
                    "transposed",
                    [[[1, 2], [3, 4]]],
                    [[[[1, 10], [100, 1000]]]],
                    stride=(2, 2),
                    transposed=True,
                    at=[(0, 1, 2)],
                ),
            ],
        ),
    }


def pretty(value: Any, indent: int = 0, used: int = 0) -> str:
    """Write JSON with short lists on one line.

    Args:
        value: What to write.
        indent: Blanks before the lines that follow the first.
        used: Characters on the first line, before the value.
    """
    short = json.dumps(value)
    if not isinstance(value, dict | list | tuple) or used + len(short) < 98:
        return short
    inner = " " * (indent + 2)
    parts: list[str] = []
    if isinstance(value, dict):
        opening, closing = "{}"
        for key, item in value.items():
            label = f"{json.dumps(key)}: "
            parts.append(label + pretty(item, indent + 2, indent + 2 + len(label)))
    else:
        opening, closing = "[]"
        line = ""
        for item in value:
            text = pretty(item, indent + 2, indent + 2)
            if line and (isinstance(item, dict) or "\n" in text or len(line + text) + indent > 94):
                parts.append(line)
                line = text
            else:
                line = f"{line}, {text}" if line else text
        parts.append(line)
    return f"{opening}\n{inner}" + f",\n{inner}".join(parts) + f"\n{' ' * indent}{closing}"


def files() -> dict[str, str]:
    """The text of every file, by name."""
    return {
        f"{name}.json": pretty({"theme": name, "about": about, "cases": cases}) + "\n"
        for name, (about, cases) in themes().items()
    }


def main() -> None:
    CASES.mkdir(exist_ok=True)
    for name, text in files().items():
        (CASES / name).write_text(text, encoding="utf-8")
        print(f"{CASES.relative_to(ROOT) / name}: {len(json.loads(text)['cases'])} cases")


if __name__ == "__main__":
    main()
