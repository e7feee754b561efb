"""Names in addresses, and complex numbers, of which there are neither contributions nor uses."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import convtrace as ct
from convtrace.naming import address_of

ONE = torch.ones(1, 1, 1)


def traced(function: Callable[[Tensor], Tensor], x: Tensor) -> ct.Trace:
    def model(y: Tensor) -> Tensor:
        F.conv1d(ONE, ONE)  # a trace needs a convolution
        return function(y)

    return ct.trace(model, x)


def test_a_position_can_be_of_any_whole_numbers() -> None:
    assert address_of("conv", torch.tensor([1, 2])) == ct.Address("conv", (1, 2))
    assert address_of(ct.Address("conv", (0,)), (3,)) == ct.Address("conv", (3,))


def test_a_position_of_fractions_is_refused() -> None:
    with pytest.raises(ct.AddressError, match="not a position"):
        address_of("conv", (1.5, 2))  # type: ignore[arg-type]  # what is tested


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_complex_numbers_have_receipts_but_no_contributions_or_uses(dtype: torch.dtype) -> None:
    trace = traced(lambda x: x * 2, torch.tensor([1 + 2j], dtype=dtype))
    assert trace.why("mul[0]").exact == 2 + 4j
    for ask in (lambda: trace.contributions("mul[0]"), lambda: trace.uses("input[0]")):
        with pytest.raises(ct.ConvtraceError, match=r"complex numbers \(complex"):
            ask()


def test_the_walk_stops_where_numbers_become_complex() -> None:
    trace = traced(lambda x: (x * (1 + 2j)).abs(), torch.tensor([1.0, -3.0]))
    assert list(trace.uses("input[1]")) == []
    assert trace.uses("input[1]").opaque == ("mul",)
    split = trace.contributions("abs[1]")
    assert tuple(split.opaque) == ("abs",)
    assert split.total == pytest.approx(3 * 5**0.5)


@pytest.mark.filterwarnings("ignore:ComplexHalf")  # PyTorch says so once in a process
def test_a_complex32_number_can_be_read() -> None:
    x = torch.tensor([1 + 2j]).to(torch.complex32)
    trace = traced(lambda x: x.view(1, 1), x)
    assert trace.value("view[0,0]") == 1 + 2j
    assert trace.why("view[0,0]").exact == 1 + 2j


def test_a_number_without_axes_has_uses() -> None:
    trace = traced(lambda x: x * 3 + 1, torch.tensor(2.0))
    (use,) = trace.uses("input[]")
    assert (str(use.address), use.coefficient, use.product) == ("mul[]", 3.0, 6.0)
    (use,) = trace.uses("input[]", to="add")
    assert (str(use.address), use.product) == ("add[]", 6.0)
