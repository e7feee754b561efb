"""The judge of traced PyTorch runs: torch itself in float64, and the model run without a trace."""

import math
import random
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import convtrace as ct

CERTIFIED = ("exact", "rounding")


def places(shape: tuple[int, ...], count: int, seed: int = 0) -> Iterator[tuple[int, ...]]:
    """Yield the first position, the last one, and random ones between them."""
    draw = random.Random(f"{seed} {shape}")
    yield (0,) * len(shape)
    yield tuple(size - 1 for size in shape)
    for _ in range(count - 2):
        yield tuple(draw.randrange(size) for size in shape)


def assert_explained(
    model: Callable[..., Any],
    *inputs: Any,
    name: str = "conv2d",
    exact: Tensor,
    pick: Callable[[Any], Tensor] = lambda output: output,
    **kwargs: Any,
) -> ct.Trace:
    """Assert that one convolution has certified receipts, whether all is kept or convolutions only.

    Args:
        model: Runs as it is first; its result is what receipts have to report.
        *inputs: Its arguments.
        name: Name of the convolution.
        exact: Output of the convolution, computed in float64 by the test.
        pick: Takes that output out of what the model returns.
        **kwargs: Further arguments of the model.

    Returns:
        The trace that kept everything.
    """
    returned = pick(model(*inputs, **kwargs))
    short = ct.trace(model, *inputs, keep="convolutions", **kwargs)
    assert_certified(short, name, returned=returned, exact=exact)
    whole = ct.trace(model, *inputs, **kwargs)
    assert_certified(whole, name, returned=returned, exact=exact)
    assert_nothing_mismatches(whole)
    return whole


def assert_certified(
    trace: ct.Trace, name: str, *, returned: Tensor, exact: Tensor, count: int = 6
) -> None:
    """Assert that receipts report what torch returned and add up to what float64 gives."""
    assert trace.step(name).shape == tuple(returned.shape) == tuple(exact.shape)
    for index in places(tuple(exact.shape), count):
        receipt = trace.why(name, index)
        assert_receipt_holds(trace, receipt)
        assert receipt.reported == returned[index].item()
        assert_sum_is(receipt, exact[index].item())


def assert_convolutions_certified(trace: ct.Trace, count: int, seed: int = 0) -> None:
    """Assert that random receipts of convolutions hold, each against its layer in float64."""
    steps = [step for step in trace.steps.values() if step.kind == "convolution"]
    draw = random.Random(seed)
    chosen = [draw.choice(steps) for _ in range(count)]
    for step in {step.name: step for step in chosen}.values():
        exact = in_float64(step)
        assert tuple(exact.shape) == step.shape
        wanted = sum(other is step for other in chosen)
        for index in list(places(step.shape, wanted + 2, seed))[2:]:
            receipt = trace.why(step.name, index)
            assert_receipt_holds(trace, receipt)
            assert_sum_is(receipt, exact[index].item())


def assert_nothing_mismatches(trace: ct.Trace, count: int = 3) -> None:
    """Assert that receipts of every step hold, or say that they certify nothing."""
    for step in trace.steps.values():
        for index in places(step.shape, count):
            receipt = trace.why(step.name, index)
            if receipt.verdict is not None:
                assert_receipt_holds(trace, receipt)


def assert_receipt_holds(trace: ct.Trace, receipt: ct.Receipt) -> None:
    """Assert that a receipt is certified, and that its numbers stand where it says."""
    assert receipt.verdict in CERTIFIED, f"{receipt!r} {receipt.notes}"
    assert receipt.reported == trace.value(receipt.address)
    assert receipt.residual == receipt.reported - receipt.exact
    if receipt.bias_address is not None:
        assert receipt.bias == trace.value(receipt.bias_address)
    for term in receipt.terms:
        if term.source is None:
            assert term.value == 0
            assert term.product == 0
        else:
            assert term.value == trace.value(term.source)
        if term.weight_address is not None:
            assert term.weight == trace.value(term.weight_address)


def assert_sum_is(receipt: ct.Receipt, exact: complex) -> None:
    """Assert that the exact sum is what float64 gives, up to the rounding of float64."""
    size = math.fsum(abs(term.product) for term in receipt.terms) + abs(receipt.bias or 0)
    assert abs(receipt.exact - exact) <= 1e-12 * size, f"{receipt!r} against {exact}"


def in_float64(step: ct.Step) -> Tensor:
    """Compute a convolution in float64 from its operands and its canonical settings."""
    names = ("input", "weight", "bias")
    values = (step.values[name].data.detach() if name in step.values else None for name in names)
    x, weight, bias = (None if v is None else v.double() for v in values)
    assert x is not None
    settings = step.attributes
    x = x if settings["batched"] else x[None]
    pads = settings["padding"]
    if settings["transposed"]:
        padding = [low for low, _ in pads]
    else:
        x = F.pad(x, [side for pair in reversed(pads) for side in pair])
        padding = [0] * len(pads)
    result = torch.convolution(
        x,
        weight,
        bias,
        settings["stride"],
        padding,
        settings["dilation"],
        settings["transposed"],
        settings["output_padding"],
        settings["groups"],
    )
    return result if settings["batched"] else result[0]


def double(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return the tensors in float64, without their history."""
    return tuple(tensor.detach().double() for tensor in tensors)


def exact_conv2d(x: Tensor, conv: nn.Conv2d, **changes: Any) -> Tensor:
    """Compute a zero-padded `nn.Conv2d` in float64."""
    settings: dict[str, Any] = {
        "weight": conv.weight.detach().double(),
        "bias": None if conv.bias is None else conv.bias.detach().double(),
        "stride": conv.stride,
        "padding": conv.padding,
        "dilation": conv.dilation,
        "groups": conv.groups,
        **changes,
    }
    return F.conv2d(x.detach().double(), **settings)


class TwoConvs(nn.Module):
    """Two convolutions with a ReLU between them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 3, 3, padding=1)
        self.conv2 = nn.Conv2d(3, 2, (2, 3), stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(torch.relu(self.conv1(x)))

    def exact(self, x: Tensor) -> Tensor:
        """Output of the second convolution in float64, on what the first one returned."""
        return exact_conv2d(torch.relu(self.conv1(x)), self.conv2)
