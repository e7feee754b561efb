"""Python source as text: names that a model gave as identifiers, and arrays with every digit."""

from __future__ import annotations

import json
import keyword
import re
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.render.look import name as printable

WIDTH = 96
"""Characters of a line that holds numbers."""


class Identifiers:
    """Names of variables, each used once."""

    def __init__(self, taken: Sequence[str] = ()) -> None:
        self._taken = set(taken)
        self._known: dict[str, str] = {}

    def of(self, name: str) -> str:
        """Return the variable of a tensor.

        Example:
            >>> names = Identifiers(["np"])
            >>> [names.of(n) for n in ("input", "layer1.0.conv", "0", "np", "relu:2", "class")]
            ['x', 'layer1_0_conv', 'step_0', 'np_2', 'relu_2', 'class_2']
        """
        if name not in self._known:
            wanted = re.sub(r"\W", "_", re.sub(r"^input(:|$)", "x", name), flags=re.ASCII)
            wanted = wanted.strip("_") or "step"
            if wanted[0].isdigit():
                wanted = f"step_{wanted}"
            found, number = wanted, 1
            while found in self._taken or keyword.iskeyword(found):
                number += 1
                found = f"{wanted}_{number}"
            self._taken.add(found)
            self._known[name] = found
        return self._known[name]


def array_text(array: NDArray[Any]) -> str:
    """Write an array as nested lists, every number with the digits that identify it.

    Example:
        >>> print(array_text(np.array([[0.1, 2.0], [3.0, -1.5]], dtype=np.float32)))
        [[0.1, 2.0],
         [3.0, -1.5]]
    """
    text = np.array2string(
        array,
        separator=", ",
        threshold=array.size + 1,
        max_line_width=WIDTH,
        formatter={"float_kind": _float, "int_kind": str, "bool": str},
    )
    return re.sub(r"\n{2,}", "\n", text)


def call(head: str, array: NDArray[Any], tail: str) -> list[str]:
    """Write `head(numbers, tail)` on as many lines as it takes.

    Example:
        >>> call("x = np.array(", np.array([1, 2]), "dtype=np.int64)")
        ['x = np.array([1, 2], dtype=np.int64)']
    """
    text = array_text(array)
    if "\n" not in text and len(head) + len(text) + len(tail) + 2 <= WIDTH:
        return [f"{head}{text}, {tail}"]
    inner = textwrap.indent(text, "    ").splitlines()
    return [head, *inner[:-1], f"{inner[-1]},", f"    {tail[:-1]},", ")"]


def comment(text: str) -> list[str]:
    """Write a remark; what a model is called cannot end it."""
    return [f"# {line}" for line in textwrap.wrap(printable(text), WIDTH - 2)]


def quoted(text: str) -> str:
    r"""Write a text literal.

    Example:
        >>> print(quoted('a "name"'))
        "a \"name\""
    """
    return json.dumps(printable(text), ensure_ascii=False)


def docstring(text: str) -> list[str]:
    """Write the first lines of a script."""
    clean = printable(text).replace("\\", "\\\\").replace('"', "'")
    lines = textwrap.wrap(clean, WIDTH - 3)
    return [f'"""{lines[0]}', *lines[1:], '"""'] if len(lines) > 1 else [f'"""{lines[0]}"""']


def names_used(lines: Sequence[str]) -> list[str]:
    """Return the import of `nan` and `inf` where arrays hold them."""
    found = [w for w in ("inf", "nan") if any(re.search(rf"(?<![\w.\"]){w}\b", x) for x in lines)]
    return [f"from math import {', '.join(found)}"] if found else []


def _float(number: Any) -> str:
    return np.format_float_scientific(number, trim="0") if _is_far(number) else _plain(number)


def _is_far(number: Any) -> bool:
    size = abs(float(number))
    return bool(np.isfinite(size)) and size != 0 and not 1e-5 <= size < 1e16


def _plain(number: Any) -> str:
    return (
        str(float(number))
        if not np.isfinite(number)
        else np.format_float_positional(number, trim="0")
    )
