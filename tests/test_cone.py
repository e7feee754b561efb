"""The cone below a number, judged by PyTorch's derivatives."""

from __future__ import annotations

import numpy as np
import pytest
import strategies
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import convtrace as ct
from convtrace.cone import cone


def stack(*layers: nn.Module) -> nn.Sequential:
    """A network of positive weights, so that no derivative vanishes by chance."""
    network = nn.Sequential(*layers).double()
    for parameter in network.parameters():
        parameter.data = parameter.data.abs() + 0.1
    return network


def reached(network: nn.Sequential, x: torch.Tensor, index: tuple[int, ...]) -> np.ndarray:
    """Positions of the input that an output number depends on, one row each."""
    x = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(network(x)[index], x)
    return gradient.nonzero().numpy()


NETWORKS = {
    "plain": (stack(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 3)), (1, 2, 9, 9)),
    "padded": (stack(nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 1, 3, padding=1)), (1, 1, 6, 6)),
    "strided": (stack(nn.Conv2d(1, 2, 3, stride=2), nn.Conv2d(2, 1, 2)), (1, 1, 12, 12)),
    "pooled": (stack(nn.Conv2d(1, 2, 3), nn.AvgPool2d(2), nn.Conv2d(2, 1, 2)), (1, 1, 10, 10)),
    "transposed": (
        stack(nn.ConvTranspose2d(1, 2, 3, stride=2), nn.Conv2d(2, 1, 3)),
        (1, 1, 5, 5),
    ),
    "one": (stack(nn.Conv1d(1, 1, 3, padding=2), nn.Conv1d(1, 1, 3)), (1, 1, 9)),
    "three": (stack(nn.Conv3d(1, 1, 2), nn.Conv3d(1, 1, 2, padding=1)), (1, 1, 4, 4, 4)),
}


@pytest.mark.parametrize("name", NETWORKS)
@strategies.examples(8)
@given(data=st.data())
def test_the_cone_spans_what_torch_differentiates_by(name: str, data: st.DataObject) -> None:
    network, shape = NETWORKS[name]
    x = torch.ones(shape, dtype=torch.float64)
    trace = ct.trace(network, x)
    last = list(trace.steps.values())[-1]
    index = tuple(data.draw(st.integers(0, size - 1)) for size in last.shape)
    found = cone(trace, ct.Address(last.name, index), ["input"])["input"]
    assert found is not None
    places = reached(network, x, index)
    for axis, (low, high) in enumerate(found):
        inside = max(low, 0), min(high, shape[axis] - 1)
        assert inside == (places[:, axis].min(), places[:, axis].max())


def test_the_cone_narrows_from_tensor_to_tensor() -> None:
    network, shape = NETWORKS["plain"]
    trace = ct.trace(network, torch.ones(shape, dtype=torch.float64))
    found = cone(trace, ct.Address("2", (0, 1, 2, 3)), ["input", "0", "1", "2"])
    assert found == {
        "input": ((0, 0), (0, 1), (2, 6), (3, 7)),
        "0": ((0, 0), (0, 2), (2, 4), (3, 5)),
        "1": ((0, 0), (0, 2), (2, 4), (3, 5)),
        "2": ((0, 0), (1, 1), (2, 2), (3, 3)),
    }


def test_a_tensor_that_is_not_read_has_no_cone() -> None:
    def network(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        nn.functional.conv2d(y, torch.ones(1, 1, 1, 1))
        return nn.functional.conv2d(x, torch.ones(1, 1, 2, 2))

    trace = ct.trace(network, torch.ones(1, 1, 3, 3), torch.ones(1, 1, 3, 3))
    found = cone(trace, ct.Address("conv2d:2", (0, 0, 1, 1)), ["input", "input:2"])
    assert found["input"] is not None
    assert found["input:2"] is None
