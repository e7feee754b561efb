"""The script of one receipt: its window, its factors, the sum of each channel, and the total."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from convtrace.receipt import Receipt
from convtrace.render.code.dialect import Dialect
from convtrace.render.code.text import call, comment, docstring, quoted
from convtrace.render.look import name as printable
from convtrace.rules.conv import Window

_MAKE = {"torch": "torch.tensor", "numpy": "np.array", "jax": "jnp.array", "keras": "np.array"}
_IMPORTS = {
    "torch": ["import torch", "import torch.nn.functional as F"],
    "numpy": ["from math import fsum", "", "import numpy as np"],
    "jax": [
        "import jax",
        "import jax.numpy as jnp",
        "from jax import lax",
        "",
        'jax.config.update("jax_enable_x64", True)',
    ],
    "keras": ["import numpy as np", "from keras import ops"],
}


def receipt_lines(receipt: Receipt, dialect: Dialect) -> list[str]:
    """Write the script.

    Args:
        receipt: A receipt with terms.
        dialect: The framework.
    """
    is_window = isinstance(receipt.layout, Window)
    title = f"{receipt.address} = {receipt.reported}: every multiplication, in {dialect.title}."
    bias = [] if receipt.bias is None else _bias(receipt)
    axes = receipt.products.ndim - 1
    if dialect.name == "numpy":
        body = _numpy(receipt, is_window=is_window)
    elif is_window and 1 <= axes <= 3:
        body = [*_ADDED, *_CONVOLUTIONS[dialect.name](axes)]
    else:
        body = [*_ADDED, "total = float(products.sum())"]
    if dialect.name != "numpy" and receipt.bias is not None:
        body.append("total = total + bias")
    made = _MAKE[dialect.name]
    module = made.split(".")[0]
    order = "input channel, then the axes of the kernel" if is_window else "in the order added"
    absent = [] if receipt.present.all() else ["A tap that reads no input multiplies 0."]
    return [
        *docstring(title),
        "",
        *_IMPORTS[dialect.name],
        "",
        *comment(f"What is read from below: {_read(receipt)}."),
        *comment(" ".join([f"Axes: {order}.", *absent])),
        *call(f"inputs = {made}(", _array(receipt.inputs), f"dtype={module}.float64)"),
        *comment("What each of them is multiplied by."),
        *call(f"weights = {made}(", _array(_factors(receipt)), f"dtype={module}.float64)"),
        *bias,
        "",
        *body,
        "",
        f"print({quoted(f'{receipt.address} =')}, total)",
        f"print({quoted(f'{receipt.reporter} returned')}, {_literal(receipt.reported)})",
    ]


def _numpy(receipt: Receipt, *, is_window: bool) -> list[str]:
    """Write the loops of the receipt; fsum adds without rounding in between."""
    names = ["channel", *_axis_names(receipt.products.ndim - 1)]
    if not is_window:
        names[0] = "part"
    lines = ["products = []", f"for {names[0]} in range(inputs.shape[0]):", "    terms = []"]
    for depth, name in enumerate(names[1:], 1):
        lines.append(f"{'    ' * depth}for {name} in range(inputs.shape[{depth}]):")
    inner = "    " * max(len(names), 1)
    at = ", ".join(names)
    lines += [
        f"{inner}terms.append(float(inputs[{at}]) * float(weights[{at}]))",
        f'    print("{names[0]}", {names[0]}, "adds", fsum(terms))',
        "    products += terms",
        f"total = fsum([*products{', bias' if receipt.bias is not None else ''}])",
    ]
    return lines


_ADDED = [
    "products = inputs * weights",
    "for channel, row in enumerate(products):",
    '    print("channel", channel, "adds", float(row.sum()))',
]


def _torch(axes: int) -> list[str]:
    return [
        "# The same by PyTorch's convolution: a window as large as its kernel has one output.",
        f"total = float(F.conv{axes}d(inputs[None], weights[None]).sum())",
    ]


def _jax(axes: int) -> list[str]:
    return [
        "# The same by lax.conv: a window as large as its kernel has one output.",
        f'total = float(lax.conv(inputs[None], weights[None], {(1,) * axes}, "VALID").sum())',
    ]


def _keras(axes: int) -> list[str]:
    return [
        "# The same by Keras, which like TensorFlow keeps channels last: (C, kH, kW) becomes",
        "# (kH, kW, C), and a kernel has its input and output channels at the end.",
        "window = ops.convert_to_tensor(np.moveaxis(inputs, 0, -1)[None])",
        "kernel = ops.convert_to_tensor(np.moveaxis(weights, 0, -1)[..., None])",
        'total = float(ops.sum(ops.conv(window, kernel, padding="valid")))',
    ]


def _bias(receipt: Receipt) -> list[str]:
    assert receipt.bias is not None
    where = f"  # {printable(receipt.bias_address)}" if receipt.bias_address else ""
    return [f"bias = {_literal(receipt.bias)}{where}"]


def _read(receipt: Receipt) -> str:
    """Name the first and the last number that is read."""
    read = [str(term.source) for term in receipt.terms if term.source is not None]
    if not read:
        return "nothing"
    return read[0] if len(read) == 1 else f"{read[0]} to {read[-1]}"


def _factors(receipt: Receipt) -> NDArray[np.float64]:
    """Return the factors; where nothing is read they are 0, so that NaN weights stay out."""
    return np.where(receipt.present | np.isfinite(receipt.weights), receipt.weights, 0)


def _array(numbers: NDArray[np.generic]) -> NDArray[np.float64]:
    return np.asarray(numbers, dtype=np.float64)


def _axis_names(count: int) -> list[str]:
    known = {1: ["place"], 2: ["row", "column"], 3: ["depth", "row", "column"]}
    return known.get(count, [f"axis{n}" for n in range(1, count + 1)])


def _literal(number: object) -> str:
    """Write a number as Python does; NaN and infinity by a call."""
    if isinstance(number, int):
        return repr(number)
    value = float(number)  # pyright: ignore[reportArgumentType]  # a number
    return repr(value) if np.isfinite(value) else f'float("{value!r}")'


_CONVOLUTIONS = {"torch": _torch, "jax": _jax, "keras": _keras}
