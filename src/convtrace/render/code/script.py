"""A runnable PyTorch script of a stack of 2-d convolutions.

The script is what a teacher would write: nothing but PyTorch, every step in sight.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from convtrace.models.stack import (
    LARGEST_RANDOM,
    SHARPEN,
    SNIPPET_CONSTANTS,
    SOBEL,
    Layer,
    binomial_row,
    snippet_constant,
)

_MOST_LINES = 8
"""Kernels that are filled one a line; more are filled in a loop."""


def stack_code(
    input_shape: tuple[int, int, int, int], layers: Sequence[Layer], weights: str, seed: int
) -> str:
    """Write a script that runs a stack of convolutions and prints every tensor with its shape.

    Args:
        input_shape: `(N, C_in, H, W)`; the input counts 0, 1, 2, …
        layers: The layers from bottom to top; they are called `conv1`, `conv2`, …
        weights: `snippet`, `random`, `seed`, `identity`, `sobel`, `blur`, `sharpen` or `ones`.
        seed: Seed of PyTorch's random numbers, for `random` and `seed`.

    Returns:
        The text of the script.
    """
    names = [f"conv{number}" for number in range(1, len(layers) + 1)]
    made = [f"{name} = {layer.call}" for name, layer in zip(names, layers, strict=True)]
    weight_code = _weight_code(layers, names, weights, seed)
    return "\n".join(
        [
            f'"""{_title(layers)}"""',
            "",
            "import torch",
            "from torch import nn",
            "",
            "torch.set_grad_enabled(False)  # nothing is trained here, so no gradients are kept",
            "",
            "# The input counts 0, 1, 2, ... Its shape: samples, channels, rows, columns.",
            f"input = torch.arange({math.prod(input_shape)}, dtype=torch.float32)"
            f".reshape({', '.join(map(str, input_shape))})",
            "",
            f"# The layers: nn.{layers[0].class_name}(input channels, output channels, ...).",
            *([_seed_line(seed)] if weights == "seed" else []),
            *made,
            "",
            *weight_code,
            "",
            "",
            "def show(name, tensor):",
            "    print(name)",
            "    print(tensor)",
            "    print(tensor.shape)",
            "    print()",
            "",
            "",
            "# Each layer reads what the layer before it returned.",
            *_run_lines(layers, names),
            "",
        ]
    )


def _title(layers: Sequence[Layer]) -> str:
    if layers[-1].groups > 1:
        return "Every output channel of a grouped convolution sums over the channels of its group."
    return "Every output channel of a convolution sums over all the channels before it."


def _seed_line(seed: int) -> str:
    return f"torch.manual_seed({seed})  # the same random numbers each time"


def _run_lines(layers: Sequence[Layer], names: Sequence[str]) -> list[str]:
    lines = ['show("input", input)']
    below = "input"
    for number, (layer, name) in enumerate(zip(layers, names, strict=True), start=1):
        lines.append(f'show("{name}", {name}.weight.data)')
        if layer.bias:
            lines.append(f'show("{name}.bias", {name}.bias.data)')
        lines.append(f"out{number} = {name}({below})")
        lines.append(f'show("out{number}", out{number})')
        below = f"out{number}"
    return lines


def _weight_code(
    layers: Sequence[Layer], names: Sequence[str], weights: str, seed: int
) -> list[str]:
    if weights == "seed":
        return ["# The weights stay as PyTorch drew them when it made the layers."]
    comment, before, body = _fill_lines(layers, weights, seed)
    if layers[0].bias:
        body = [*body, _bias_line(weights)]
        comment = [*comment, f"# {_bias_comment(weights)}"]
    return [
        *comment,
        *before,
        f"for conv in [{', '.join(names)}]:",
        *(f"    {line}" for line in body),
    ]


def _bias_line(weights: str) -> str:
    if weights == "random":
        return f"conv.bias[:] = {_randint('conv.bias.shape')}"
    return "conv.bias[:] = torch.arange(1, conv.out_channels + 1)"


def _bias_comment(weights: str) -> str:
    if weights == "random":
        return "The biases are drawn in the same way."
    return "The bias of the first output channel is 1, of the second 2, and so on."


def _randint(shape: str) -> str:
    return f"torch.randint({-LARGEST_RANDOM}, {LARGEST_RANDOM + 1}, {shape})"


def _fill_lines(
    layers: Sequence[Layer], weights: str, seed: int
) -> tuple[list[str], list[str], list[str]]:
    """Return the comment, what stands before the loop over the layers, and its body."""
    layer = layers[0]
    match weights:
        case "snippet":
            return _snippet_lines(layers)
        case "random":
            comment = f"Weights: whole numbers from {-LARGEST_RANDOM} to {LARGEST_RANDOM}."
            fill = f"conv.weight[:] = {_randint('conv.weight.shape')}"
            return [f"# {comment}"], [_seed_line(seed)], [fill]
        case "identity":
            comment = "Each output channel copies one input channel: one weight is 1, the rest 0."
            groups = f", groups={layer.groups}" if layer.groups > 1 else ""
            return [f"# {comment}"], [], [f"nn.init.dirac_(conv.weight{groups})"]
        case "sobel":
            comment = "Output channels 0, 2, ... find left to right edges,"
            if layer.transposed and layer.groups > 1:
                comment = "In each group, output channels 0, 2, ... find left to right edges,"
            even, odd = (":, 0::2", ":, 1::2") if layer.transposed else ("0::2", "1::2")
            return (
                [f"# {comment}", "# the others find top to bottom edges."],
                [f"sobel = torch.tensor({_rows(SOBEL)})"],
                [f"conv.weight[{even}] = sobel", f"conv.weight[{odd}] = sobel.T"],
            )
        case "sharpen":
            return (
                ["# Five times the middle minus its four neighbours."],
                [f"sharpen = torch.tensor({_rows(SHARPEN)})"],
                ["conv.weight[:] = sharpen"],
            )
        case "blur":
            return (
                ["# A weighted mean: the weights of a kernel sum to 1, the middle counts most."],
                [f"row = torch.tensor({binomial_row(layer.kernel_size)})"],
                ["conv.weight[:] = torch.outer(row, row)"],
            )
        case _:
            assert weights == "ones", weights
            return ["# Every weight is 1: a plain sum."], [], ["conv.weight[:] = 1"]


def _snippet_lines(layers: Sequence[Layer]) -> tuple[list[str], list[str], list[str]]:
    transposed = layers[0].transposed
    axes = "input channel, output channel" if transposed else "output channel, input channel"
    comment = [
        "# Each kernel is filled with one constant. Weights are addressed",
        f"# [{axes}]; the rows and columns of the kernel follow.",
    ]
    at = "{i}, {o}" if transposed else "{o}, {i}"
    first, second = layers[0].weight_shape[:2]
    outputs, inputs = (second, first) if transposed else (first, second)
    if len({layer.weight_shape for layer in layers}) == 1 and outputs * inputs <= _MOST_LINES:
        lines = [
            f"conv.weight[{at.format(o=o, i=i)}] = {snippet_constant(o, i)}"
            for o in range(outputs)
            for i in range(inputs)
        ]
        return comment, [], lines
    names = "inputs, outputs" if transposed else "outputs, inputs"
    loop = [
        f"{names} = conv.weight.shape[:2]",
        "for o in range(outputs):",
        "    for i in range(inputs):",
        f"        conv.weight[{at.format(o='o', i='i')}] = "
        f"constants[(2 * o + i) % {len(SNIPPET_CONSTANTS)}]",
    ]
    return comment, [f"constants = {list(SNIPPET_CONSTANTS)}"], loop


def _rows(kernel: Sequence[Sequence[float]]) -> str:
    return str([list(row) for row in kernel])
