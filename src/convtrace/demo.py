"""The demo: a small stack of convolutions, run by PyTorch and explained down to its pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from convtrace.errors import ShapeError, UsageError
from convtrace.models.stack import WEIGHTS, Layer, build_stack
from convtrace.render.code.script import stack_code

if TYPE_CHECKING:
    from rich.console import Console
    from torch import Tensor

    from convtrace.graph import Trace
    from convtrace.receipt import Receipt

_MOST_NUMBERS = 1_000_000
_MOST_LAYERS = 20
_RECEIPT_TERMS = 32
"""Limits: numbers in one tensor, layers (each is printed), terms of a receipt that are shown."""

_SQUARE_KERNELS = {"sobel": 3, "sharpen": 3}


@dataclass(frozen=True)
class DemoOptions:
    """What the demo runs. The defaults are the example that convtrace began with.

    Attributes:
        height: Rows of the input.
        width: Columns of the input.
        in_channels: Channels of the input.
        out_channels: Channels that each layer makes.
        kernel_size: Rows and columns of each kernel.
        stride: Elements from one window to the next.
        padding: Rows and columns of zeros on every side.
        dilation: Elements from one tap to the next.
        groups: Number of groups that the channels are cut into.
        layers: Number of layers.
        transposed: Whether the layers are transposed convolutions.
        bias: Whether the layers have a bias: 1, 2, 3, … by output channel, or whatever
            `weights` draws.
        weights: What the kernels hold, one of `models.stack.WEIGHTS`, which says what each is.
            `sobel` and `sharpen` need 3 x 3 kernels.
        seed: Seed of PyTorch's random numbers, for `random` and `seed`.
    """

    height: int = 3
    width: int = 3
    in_channels: int = 2
    out_channels: int = 2
    kernel_size: int = 2
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1
    layers: int = 2
    transposed: bool = False
    bias: bool = False
    weights: str = "snippet"
    seed: int = 0

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """Shape of the input, `(N, C_in, H, W)` with one sample."""
        return 1, self.in_channels, self.height, self.width


def run_demo(
    console: Console,
    lang: str | None = None,
    options: DemoOptions | None = None,
    *,
    page: Callable[[Trace], str] | None = None,
) -> Trace:
    """Run the demo and print everything.

    Args:
        console: Where to print.
        lang: `en` or `ko`; None takes the locale's.
        options: What to run; the original example if None.
        page: Writes the page of what ran, and returns what to say about it. That is said before
            the last sentence, which is what all of it leads to.

    Returns:
        What ran.

    Raises:
        ShapeError: A layer does not fit what it reads.
        UsageError: The options do not fit together.
    """
    from convtrace.catalog import choose_language
    from convtrace.render.text.descent import descent
    from convtrace.render.text.receipt import print_receipt

    options = options or DemoOptions()
    chosen = choose_language(lang)
    trace = run_stack(options)
    names = list(trace.steps)
    top = trace.why(names[-1], (0, 0, 0, 0))
    tell = _Teller(console, chosen)
    one = "_one" if len(names) == 1 else ""
    tell("intro", path=" → ".join(["input", *names]))
    console.print()
    tell("tensors.title", "bold")
    tell(f"tensors.names{one}")
    tell("tensors.shapes" + "_transposed" * options.transposed + "_groups" * (options.groups > 1))
    console.print()
    console.out(tensor_blocks(trace), highlight=False, end="")
    tell(f"receipts.title{one}", "bold")
    tell("receipts.address")
    for name in names:
        console.print()
        print_receipt(trace.why(name, (0, 0, 0, 0)), console, chosen, _RECEIPT_TERMS)
    console.print()
    tell("descent.title", "bold", address=str(top.address))
    tell("descent.how")
    console.print()
    console.print(descent(trace, top, chosen, console.width), highlight=False)
    console.print()
    if page is not None:
        console.print(page(trace), soft_wrap=True, highlight=False)
        console.print()
    _tell_moral(tell, trace, top)
    return trace


@dataclass(frozen=True)
class _Teller:
    """Prints sentences of the catalogue, wrapped like the receipts."""

    console: Console
    lang: str

    def __call__(self, key: str, style: str = "", **values: object) -> None:
        from rich.text import Text

        from convtrace.render.look import WIDTH, Look

        width = min(self.console.width, WIDTH) if self.console.is_terminal else WIDTH
        look = Look(self.lang, width=width)
        for line in look.wrap(look.say(f"demo.{key}", **values)):
            self.console.print(Text(line, style), soft_wrap=True, highlight=False)


def demo_code(options: DemoOptions | None = None) -> str:
    """Write the demo as a PyTorch script that prints the same tensors.

    Args:
        options: What to run; the original example if None.

    Raises:
        ShapeError: A layer does not fit what it reads.
        UsageError: The options do not fit together.
    """
    options = options or DemoOptions()
    layers = _check(options)
    return stack_code(options.input_shape, layers, options.weights, options.seed)


def run_stack(options: DemoOptions) -> Trace:
    """Build the network, run it once, and return the trace; its steps are `conv1`, `conv2`, ….

    PyTorch's own random state is left as it is.

    Raises:
        ShapeError: A layer does not fit what it reads.
        UsageError: The options do not fit together.
    """
    import torch

    from convtrace.frontends.torch import trace

    layers = _check(options)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        network = build_stack(layers, options.weights, options.seed)
        pixels = torch.arange(math.prod(options.input_shape), dtype=torch.float32)
        return trace(network, pixels.reshape(options.input_shape))


def tensor_blocks(trace: Trace) -> str:
    """Write the input, and each layer's weight, bias and output, as PyTorch prints them.

    Returns:
        Blocks of a name, the tensor and its shape, an empty line after each.
    """
    tensors: list[tuple[str, Tensor]] = [("input", trace.inputs["input"].data)]
    for number, step in enumerate(trace.steps.values(), start=1):
        tensors.append((step.name, step.values["weight"].data.detach()))
        if "bias" in step.values:
            tensors.append((f"{step.name}.bias", step.values["bias"].data.detach()))
        tensors.append((f"out{number}", step.value.data))
    return "".join(f"{name}\n{tensor}\n{tensor.shape}\n\n" for name, tensor in tensors)


def _tell_moral(tell: _Teller, trace: Trace, top: Receipt) -> None:
    """Say what the example was made for, as it is true for these sizes."""
    from convtrace.render.look import WIDTH, keep
    from convtrace.render.text.descent import equation

    whole = equation(top, tell.lang)
    below = trace.step(top.address.step).values["input"]
    read, total = len(top.layout.channels), below.shape[1]
    group = "_group" if read < total else ""
    tell(
        f"moral.{'part' if read == 1 else 'parts'}{group}",
        equation=keep(whole) if len(whole) < WIDTH // 2 else whole,
        below=below.name,
        count=read,
        total=total,
    )
    tell("moral.group" if group else "moral.all", "bold")


def _check(options: DemoOptions) -> list[Layer]:
    """Return the layers, or raise unless each fits what it reads."""
    from convtrace.frontends.convolution import canonical

    _check_options(options)
    shape: tuple[int, ...] = options.input_shape
    layers: list[Layer] = []
    for number in range(1, options.layers + 1):
        layer = Layer(
            in_channels=shape[1],
            out_channels=options.out_channels,
            kernel_size=options.kernel_size,
            stride=options.stride,
            padding=options.padding,
            dilation=options.dilation,
            groups=options.groups,
            bias=options.bias,
            transposed=options.transposed,
        )
        _check_size(f"weight of conv{number}", layer.weight_shape)
        try:
            _, shape = canonical(
                f"conv{number}",
                shape,
                layer.weight_shape,
                stride=options.stride,
                padding=options.padding,
                dilation=options.dilation,
                groups=options.groups,
                transposed=options.transposed,
            )
        except ShapeError as error:
            fits = f"--layers {number - 1} fits" if number > 1 else "not even one layer fits"
            raise type(error)(
                f"{error}\n  In this demo {fits}. Change --height, --width, --kernel-size,\n"
                "  --dilation or --padding."
            ) from None
        _check_size(f"output of conv{number}", shape)
        layers.append(layer)
    return layers


def _check_options(options: DemoOptions) -> None:
    sizes = ("height", "width", "in_channels", "out_channels", "kernel_size", "stride", "dilation")
    for name in (*sizes, "groups", "layers"):
        if getattr(options, name) < 1:
            raise ShapeError(f"{name} must be at least 1\n  {name} = {getattr(options, name)}")
    if options.padding < 0:
        raise ShapeError(f"padding must be at least 0\n  padding = {options.padding}")
    if options.in_channels % options.groups or options.out_channels % options.groups:
        raise ShapeError(
            "groups must divide the channels\n"
            f"  in_channels = {options.in_channels}, out_channels = {options.out_channels}, "
            f"groups = {options.groups}\n"
            "  Choose channels that --groups divides, or --groups 1."
        )
    if options.layers > _MOST_LAYERS:
        raise UsageError(
            f"the demo prints every layer: at most {_MOST_LAYERS}\n  layers = {options.layers}\n"
            "  For a larger network: convtrace summary and convtrace why."
        )
    if options.weights not in WEIGHTS:
        raise UsageError(
            f"unknown weights: {options.weights!r}\n  The demo knows {', '.join(WEIGHTS)}."
        )
    needed = _SQUARE_KERNELS.get(options.weights)
    if needed is not None and options.kernel_size != needed:
        raise UsageError(
            f"{options.weights} weights need a kernel of {needed} × {needed}\n"
            f"  kernel_size = {options.kernel_size}\n"
            f"  Add --kernel-size {needed} (and --padding 1, so that the image keeps its size), or "
            "choose\n  other --weights."
        )
    _check_size("input", options.input_shape)


def _check_size(what: str, shape: Sequence[int]) -> None:
    if math.prod(shape) > _MOST_NUMBERS:
        raise UsageError(
            f"the demo is for sizes that one can read: at most {_MOST_NUMBERS:,} numbers a tensor\n"
            f"  {what}: {tuple(shape)}, {math.prod(shape):,} numbers\n"
            "  For a larger network: convtrace summary and convtrace why."
        )
