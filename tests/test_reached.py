"""What one number can depend on, judged by PyTorch: by NaNs and changes that it carries on."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples
from torch import Tensor, nn
from torch.nn import functional as F

import convtrace as ct
from convtrace.reached import Reached, above, below
from convtrace.step import Step

Network = Callable[[Tensor], Tensor]


class Branches(nn.Module):
    """Adds or joins what several layers make of the same numbers."""

    def __init__(self, *layers: nn.Module, join: bool = False) -> None:
        super().__init__()
        self.layers, self.join = nn.ModuleList(layers), join

    def forward(self, x: Tensor) -> Tensor:
        made = [layer(x) for layer in self.layers]
        return torch.cat(made, 1) if self.join else sum(made[1:], made[0])


class Apply(nn.Module):
    def __init__(self, function: Network) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def conv(*settings: int, **more: object) -> nn.Conv2d:
    return nn.Conv2d(*settings, **more)  # type: ignore[arg-type]  # settings of a test


IMAGE = (1, 2, 6, 5)
NETWORKS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "padded": (nn.Sequential(conv(2, 2, 3, padding=1), conv(2, 1, 3, padding=1)), IMAGE),
    "a remainder of the stride": (
        nn.Sequential(nn.Conv1d(1, 2, 3, stride=2), nn.Conv1d(2, 1, 3, padding=1)),
        (1, 1, 10),
    ),
    "dilated, with gaps": (nn.Sequential(conv(2, 1, 2, dilation=2), conv(1, 2, 2)), IMAGE),
    "groups": (nn.Sequential(conv(2, 4, 2, groups=2), nn.Conv2d(4, 4, 1, groups=4)), IMAGE),
    "transposed": (
        nn.Sequential(nn.ConvTranspose2d(2, 2, 2, stride=3, dilation=2), conv(2, 1, 2)),
        (1, 2, 3, 3),
    ),
    "gaps below a dilation": (
        nn.Sequential(nn.ConvTranspose1d(1, 1, 1, stride=2), nn.Conv1d(1, 1, 2, dilation=2)),
        (1, 1, 5),
    ),
    "max pool": (nn.Sequential(conv(2, 2, 2), nn.MaxPool2d(2, ceil_mode=True)), IMAGE),
    "average pool": (nn.Sequential(conv(2, 2, 1), nn.AvgPool2d(3, 2, padding=1)), IMAGE),
    "adaptive pool": (nn.Sequential(conv(2, 2, 1), nn.AdaptiveAvgPool2d((4, 3))), IMAGE),
    "batch norm": (nn.Sequential(conv(2, 2, 2), nn.BatchNorm2d(2).eval(), nn.ReLU()), IMAGE),
    "group norm": (nn.Sequential(conv(2, 4, 2), nn.GroupNorm(1, 4)), IMAGE),
    "layer norm": (nn.Sequential(conv(2, 2, 2), nn.LayerNorm(4)), IMAGE),
    "flatten, linear": (nn.Sequential(conv(2, 2, 3), nn.Flatten(), nn.Linear(24, 3)), IMAGE),
    "flatten": (nn.Sequential(conv(2, 2, 3), nn.Flatten()), IMAGE),
    "unflatten": (
        nn.Sequential(nn.Conv2d(2, 6, 1), nn.Flatten(2), nn.Unflatten(1, (2, 3))),
        IMAGE,
    ),
    "permute": (nn.Sequential(conv(2, 2, 2), Apply(lambda x: x.permute(0, 3, 1, 2))), IMAGE),
    "slice": (nn.Sequential(conv(2, 2, 1), Apply(lambda x: x[:, :, 1::2, :3])), IMAGE),
    "flip": (nn.Sequential(conv(2, 2, 2), Apply(lambda x: x.flip(3))), IMAGE),
    "roll": (nn.Sequential(conv(2, 2, 2), Apply(lambda x: x.roll(2, 3))), IMAGE),
    "shuffle": (nn.Sequential(conv(2, 4, 2), nn.PixelShuffle(2), conv(1, 1, 2)), IMAGE),
    "unshuffle": (nn.Sequential(conv(2, 1, 1), nn.PixelUnshuffle(2)), (1, 2, 4, 6)),
    "nearest": (nn.Sequential(conv(2, 1, 1), nn.Upsample(scale_factor=2), conv(1, 1, 2)), IMAGE),
    "bilinear": (
        nn.Sequential(conv(2, 1, 1), nn.Upsample(size=(9, 7), mode="bilinear")),
        IMAGE,
    ),
    "constant padding": (nn.Sequential(nn.ZeroPad2d((2, 0, 1, 1)), conv(2, 1, 2)), IMAGE),
    **{
        f"{mode} padding": (nn.Sequential(conv(2, 1, 2, padding=2, padding_mode=mode)), IMAGE)
        for mode in ("reflect", "replicate", "circular")
    },
    "reflection layer": (nn.Sequential(nn.ReflectionPad2d((2, 1, 1, 2)), conv(2, 1, 1)), IMAGE),
    "replication layer": (nn.Sequential(nn.ReplicationPad2d(2), conv(2, 1, 1)), IMAGE),
    "residual": (
        nn.Sequential(conv(2, 2, 1), Branches(nn.Identity(), conv(2, 2, 3, padding=1))),
        IMAGE,
    ),
    "branches apart": (
        Branches(
            nn.Sequential(conv(2, 2, 1), Apply(lambda x: x[:, :, :4, :3])),
            Apply(lambda x: x[:, :, 2:, 2:]),
        ),
        IMAGE,
    ),
    "joined": (Branches(conv(2, 1, 3, padding=1), conv(2, 2, 1), join=True), IMAGE),
    "mean": (nn.Sequential(conv(2, 2, 2), Apply(lambda x: x.mean((2, 3)))), IMAGE),
    "softmax": (nn.Sequential(conv(2, 3, 2), nn.Softmax(1)), IMAGE),
    "matrix product": (
        nn.Sequential(conv(2, 2, 1), Apply(lambda x: x @ x.transpose(2, 3))),
        (1, 2, 3, 4),
    ),
    "patches": (
        nn.Sequential(
            conv(2, 2, 1), nn.Unfold((2, 3), dilation=(1, 2), padding=(1, 0), stride=(2, 1))
        ),
        (1, 2, 5, 6),
    ),
    "running sum": (nn.Sequential(conv(2, 2, 2), Apply(lambda x: torch.cumsum(x, 3))), IMAGE),
    "three axes": (nn.Conv3d(1, 1, 2, padding=1), (1, 1, 3, 2, 3)),
}

# Judges ------------------------------------------------------------------------------------------


def touched(network: Network, x: Tensor, held: Tensor | None = None, *, nan: bool = True) -> Tensor:
    """Say which outputs change with a number: one row for each number of a tensor.

    The number becomes NaN, which no maximum hides; or larger, where a factor 0 should hide it.
    """
    changed = (x if held is None else held).view(-1)
    rows: list[Tensor] = []
    with torch.no_grad():
        whole = network(x)
        for n in range(len(changed)):
            before = changed[n].item()
            changed[n] = torch.nan if nan else before + 1
            made = network(x)
            rows.append(made.isnan() if nan else made != whole)
            changed[n] = before
    return torch.stack(rows)


FACTOR_ZERO = {"bilinear"}
"""Where a number is read with the factor 0, which NaN survives."""


def reached(found: Reached | None, shape: tuple[int, ...]) -> Tensor:
    mask = torch.zeros(shape, dtype=torch.bool)
    for box in found.boxes if found else ():
        for index in itertools.product(*box):
            mask[index] = True
    return mask


def last(trace: ct.Trace) -> Step:
    return list(trace.steps.values())[-1]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_number_reaches_what_changes_it(name: str) -> None:
    network, shape = NETWORKS[name]
    torch.manual_seed(0)
    x = torch.randn(shape)
    trace = ct.trace(network, x)
    top = last(trace)
    seen = touched(network, x, nan=name not in FACTOR_ZERO)
    for index in itertools.product(*map(range, top.shape)):
        found = below(trace, ct.Address(top.name, index)).get("input")
        expected = seen[(slice(None), *index)].view(shape)
        assert torch.equal(reached(found, shape), expected), index


@pytest.mark.parametrize("name", NETWORKS)
def test_every_number_goes_where_it_changes_numbers(name: str) -> None:
    network, shape = NETWORKS[name]
    torch.manual_seed(0)
    x = torch.randn(shape)
    trace = ct.trace(network, x)
    top = last(trace)
    seen = touched(network, x, nan=name not in FACTOR_ZERO)
    for n, index in enumerate(itertools.product(*map(range, shape))):
        found = above(trace, ct.Address("input", index)).get(top.name)
        assert torch.equal(reached(found, top.shape), seen[n]), index


HOLDERS: dict[str, tuple[nn.Module, str, str]] = {
    "kernel": (conv(2, 3, 3, stride=2, padding=2, groups=1), "weight", "weight"),
    "grouped kernel": (conv(2, 4, 2, groups=2), "weight", "weight"),
    "transposed kernel": (
        nn.ConvTranspose2d(2, 4, 2, stride=2, padding=1, groups=2),
        "weight",
        "weight",
    ),
    "bias": (conv(2, 3, 2), "bias", "bias"),
    "batch norm": (nn.Sequential(conv(2, 3, 2), nn.BatchNorm2d(3).eval()), "1.weight", "1.weight"),
    "statistic": (
        nn.Sequential(conv(2, 3, 2), nn.BatchNorm2d(3).eval()),
        "1.running_mean",
        "1.running_mean",
    ),
    "layer norm": (nn.Sequential(conv(2, 3, 2), nn.LayerNorm(4)), "1.weight", "1.weight"),
    "linear": (
        nn.Sequential(conv(2, 2, 3), nn.Flatten(), nn.Linear(24, 3)),
        "2.weight",
        "2.weight",
    ),
    "linear bias": (
        nn.Sequential(conv(2, 2, 3), nn.Flatten(), nn.Linear(24, 3)),
        "2.bias",
        "2.bias",
    ),
}


@pytest.mark.parametrize("name", HOLDERS)
def test_a_number_that_the_model_holds_goes_where_it_changes_numbers(name: str) -> None:
    network, attribute, held = HOLDERS[name]
    torch.manual_seed(0)
    x = torch.randn(IMAGE)
    trace = ct.trace(network, x)
    tensor = network.state_dict()[attribute]
    seen = touched(network, x, tensor, nan=False)
    trace = ct.trace(network, x)
    top = last(trace)
    for n, index in enumerate(itertools.product(*map(range, tensor.shape))):
        found = above(trace, ct.Address(held, index)).get(top.name)
        assert torch.equal(reached(found, top.shape), seen[n]), index


@examples(25)
@given(data=st.data())
def test_below_and_above_are_each_others_inverse(data: st.DataObject) -> None:
    network, shape = NETWORKS[data.draw(st.sampled_from(sorted(NETWORKS)))]
    trace = ct.trace(network, torch.ones(shape))
    top = last(trace)
    out = tuple(data.draw(st.integers(0, size - 1)) for size in top.shape)
    at = tuple(data.draw(st.integers(0, size - 1)) for size in shape)
    down = reached(below(trace, ct.Address(top.name, out)).get("input"), shape)
    up = reached(above(trace, ct.Address("input", at)).get(top.name), top.shape)
    assert down[at] == up[out]


def test_through_a_step_without_a_rule_nothing_can_be_told() -> None:
    network = nn.Sequential(conv(2, 2, 2), nn.Unfold(2), nn.Fold((5, 4), 2), conv(2, 1, 2))
    trace = ct.trace(network, torch.ones(IMAGE))
    found = below(trace, ct.Address(last(trace).name, (0, 0, 0, 0)))
    assert found[list(trace.steps)[2]].known
    assert not found["input"].known
    assert found["input"].spans is None
    assert not above(trace, ct.Address("input", (0, 0, 0, 0)))[last(trace).name].known


def test_gaps_are_no_positions() -> None:
    trace = ct.trace(nn.Conv1d(1, 1, 3, dilation=2), torch.ones(1, 1, 7))
    (box,) = below(trace, ct.Address("conv1d", (0, 0, 1)))["input"].boxes
    assert box[2] == {1, 3, 5}


def test_the_judge_can_find_a_difference() -> None:
    network, x = F.relu, torch.ones(2, 2)
    assert touched(network, x).view(4, 4).eq(torch.eye(4, dtype=torch.bool)).all()


@pytest.mark.parametrize("axes", [1, 2])
@examples(20)
@given(data=st.data())
def test_padding_is_what_torch_reads_of_an_input_that_was_padded_before(
    axes: int, data: st.DataObject
) -> None:
    kernel, stride, dilation, pad = (
        data.draw(st.integers(*ends)) for ends in ((1, 4), (1, 3), (1, 2), (0, 3))
    )
    layer = (nn.Conv1d, nn.Conv2d)[axes - 1](
        1, 1, kernel, stride=stride, dilation=dilation, padding=pad
    )
    x = torch.ones(1, 1, *(9,) * axes)
    trace = ct.trace(layer, x)
    (step,) = trace.steps.values()
    index = tuple(data.draw(st.integers(0, size - 1)) for size in step.shape)
    found = below(trace, ct.Address(step.name, index)).get("input", Reached(()))
    padded = F.pad(x, (pad,) * 2 * axes).requires_grad_()
    convolve = (F.conv1d, F.conv2d)[axes - 1]
    made = convolve(padded, torch.ones_like(layer.weight), stride=stride, dilation=dilation)
    (gradient,) = torch.autograd.grad(made[index], padded)
    read = gradient.nonzero()[:, 2:] - pad
    outside = [{p for p in axis.tolist() if not 0 <= p < 9} for axis in read.T]
    if not found.boxes:  # everything that is read is padding
        assert all(any(not 0 <= p < 9 for p in place) for place in read.tolist())
    else:
        assert [set(one) for one in found.padding[2:]] == (outside if any(outside) else [])


def test_what_a_transposed_or_a_joining_step_reads_outside_is_no_padding() -> None:
    transposed = ct.trace(nn.ConvTranspose1d(1, 1, 3), torch.ones(1, 1, 4))
    (step,) = transposed.steps
    assert below(transposed, ct.Address(step, (0, 0, 0)))["input"].padding == ()
    network = nn.Sequential(nn.Conv1d(1, 1, 1), Apply(lambda x: torch.cat([x, x + 1], 2)))
    joined = ct.trace(network, torch.ones(1, 1, 3))
    assert below(joined, ct.Address("1", (0, 0, 4)))["1.add"].padding == ()
