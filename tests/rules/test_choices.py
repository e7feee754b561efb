"""Among which numbers a step chose: judged by making each number huge in turn."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import convtrace as ct
from convtrace.rules.choices import among

ONE = torch.ones(1, 1, 1)


def traced(function: Callable[..., Any], *inputs: Tensor) -> ct.Trace:
    def model(*x: Tensor) -> Tensor:
        F.conv1d(ONE, ONE)  # a trace needs a convolution
        return function(*x)

    return ct.trace(model, *inputs)


def deciding(function: Callable[..., Any], x: Tensor, index: tuple[int, ...], sign: int) -> Tensor:
    """Positions whose number alone can become the one at `index`, shape (count, axes)."""
    found = []
    for place in torch.cartesian_prod(*(torch.arange(n) for n in x.shape)).reshape(-1, x.dim()):
        changed = x.clone()
        changed[tuple(place)] = sign * 1e6
        if function(changed)[index] == sign * 1e6:
            found.append(place)
    return torch.stack(found)


@pytest.mark.parametrize(
    ("function", "shape", "sign"),
    [
        (lambda x: F.max_pool2d(x, 2), (1, 2, 5, 6), 1),
        (lambda x: F.max_pool2d(x, 3, 2, 1), (1, 1, 6, 5), 1),
        (lambda x: F.max_pool2d(x, 2, 3, ceil_mode=True), (1, 1, 7, 7), 1),
        (lambda x: F.max_pool2d(x, (2, 3), 1, (0, 1), (2, 1)), (1, 1, 5, 5), 1),
        (lambda x: F.max_pool3d(x, 2), (1, 1, 4, 2, 4), 1),
        (lambda x: F.adaptive_max_pool2d(x, (3, 2)), (1, 1, 5, 5), 1),
        (lambda x: x.amax((1, 2)), (2, 3, 2), 1),
        (lambda x: x.amin(-1, keepdim=True), (2, 3, 2), -1),
        (lambda x: x.max(1).values, (2, 3, 2), 1),
        (lambda x: x.min(), (2, 3), -1),
    ],
)
def test_the_numbers_that_a_step_chose_among_are_those_that_could_come_out(
    function: Callable[[Tensor], Tensor], shape: tuple[int, ...], sign: int
) -> None:
    torch.manual_seed(0)
    x = torch.randn(shape)
    trace = traced(function, x)
    out = function(x)
    (step,) = (s for n, s in trace.steps.items() if n != "conv1d" and s.shape == out.shape)
    for index in {(0,) * out.dim(), tuple(n - 1 for n in out.shape)}:
        found = among(step, index)
        right = deciding(function, x, index, sign)
        assert found is not None
        assert found.extreme == ("largest" if sign > 0 else "smallest")
        assert found.count == len(right)
        assert (found.first.index, found.last.index) == (tuple(right[0]), tuple(right[-1]))


def test_the_larger_of_two_tensors_was_chosen_among_two() -> None:
    trace = traced(torch.maximum, torch.tensor([[1.0, 5.0]]), torch.tensor([[3.0], [4.0]]))
    found = among(trace.step("maximum"), (1, 0))
    assert found is not None
    assert (found.count, str(found.first), str(found.last)) == (2, "input[0,0]", "input:2[1,0]")


def test_a_step_that_chose_by_a_mask_chose_among_no_numbers() -> None:
    trace = traced(lambda x: torch.where(x > 0, x, -x), torch.tensor([1.0, -2.0]))
    assert among(trace.step("where"), (0,)) is None


@pytest.mark.parametrize(
    ("lang", "sentence"),
    [
        ("en", "The largest of the 4 numbers from input[0,0,2,2] to input[0,0,3,3]"),
        ("ko", "input[0,0,2,2] 자리부터 input[0,0,3,3] 자리까지 4개 값 가운데 가장 큰 값"),
    ],
)
def test_the_receipt_of_a_pool_says_among_how_many(lang: str, sentence: str) -> None:
    trace = traced(lambda x: F.max_pool2d(x, 2), torch.arange(16.0).reshape(1, 1, 4, 4))
    receipt = trace.why("max_pool2d[0,0,1,1]")
    assert sentence in receipt.text(lang).replace("\n", " ")
    assert receipt.exact == 15


def test_equally_large_numbers_are_counted() -> None:
    trace = traced(lambda x: x.amax(0), torch.tensor([7.0, 1.0, 7.0]))
    receipt = trace.why("amax[]")
    assert receipt.weights.tolist() == [0.5, 0.5]
    assert "2 of them are equally large" in receipt.text("en").replace("\n", " ")
