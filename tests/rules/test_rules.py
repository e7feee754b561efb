"""Receipts of sums, products, ReLU, linear layers and moves, against PyTorch.

Each model runs a convolution that changes nothing, because a trace needs one, and then what is
tested. Numbers are whole unless rounding is the point, so that every receipt adds up exactly.
"""

import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional
from hypothesis import given
from hypothesis import strategies as st
from judges import nearest
from strategies import FLOATS, examples, whole_numbers

import convtrace as ct

Index = tuple[int, ...]
Function = Callable[[torch.Tensor], torch.Tensor]

pad = torch.nn.functional.pad
CERTIFIED = ("exact", "rounding")


class Then(torch.nn.Module):
    """A convolution that changes nothing, and then a function of its output."""

    def __init__(self, then: Function) -> None:
        super().__init__()
        self.then = then

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one = torch.ones(x.shape[1], 1, *[1] * (x.dim() - 2), dtype=x.dtype)
        convolution = (torch.conv1d, torch.conv2d, torch.conv3d)[x.dim() - 3]
        return self.then(convolution(x, one, groups=x.shape[1]))


def run(then: Function, x: torch.Tensor) -> tuple[ct.Trace, str]:
    """Trace the function; return the trace and the name of its last step."""
    trace = ct.trace(Then(then), x)
    return trace, list(trace.steps)[-1]


def counting(*shape: int) -> torch.Tensor:
    """Numbers that all differ, so that each says where it stands."""
    return torch.arange(1.0, 1 + int(np.prod(shape))).reshape(shape)


def whole(seed: int, *shape: int) -> torch.Tensor:
    """Whole numbers from -9 to 9."""
    return torch.from_numpy(whole_numbers(seed, shape)).float()


def positions(shape: Index, most: int = 40) -> Iterator[Index]:
    """All positions of a small shape, some of a larger one, always the first and the last."""
    every = list(np.ndindex(*shape))
    random = np.random.default_rng(0)
    chosen = random.permutation(len(every))[:most].tolist()
    yield from (every[n] for n in sorted({0, len(every) - 1, *chosen}))


def broadcast_position(shape: Index, to: torch.Size, index: Index) -> Index:
    """What an output position reads of an operand, as PyTorch spreads it."""
    places = torch.arange(int(np.prod(shape))).reshape(shape).expand(to)
    return tuple(int(n) for n in np.unravel_index(int(places[index]), shape))


def assert_whole(receipt: ct.Receipt) -> None:
    """Add the terms and the bias as fractions, and compare with what was reported."""
    total = sum((Fraction(t.weight) * Fraction(t.value) for t in receipt.terms), Fraction(0))
    assert total + Fraction(receipt.bias or 0) == receipt.exact == receipt.reported
    assert (receipt.verdict, receipt.residual) == ("exact", 0)


def assert_sources_hold(trace: ct.Trace, receipt: ct.Receipt) -> None:
    """Follow every address of a receipt."""
    for term in receipt.terms:
        if term.source is not None:
            assert trace.value(term.source) == term.value
        if term.weight_address is not None:
            assert trace.value(term.weight_address) == term.weight
        assert term.product == term.weight * term.value


# Sums --------------------------------------------------------------------------------------------

OTHER = whole(7, 2, 3, 4)
SUMS: dict[str, tuple[Function, list[float], float]] = {
    "x + y": (lambda x: x + OTHER, [1, 1], 0),
    "y + x": (lambda x: OTHER + x, [1, 1], 0),
    "x - y": (lambda x: x - OTHER, [1, -1], 0),
    "y - x": (lambda x: OTHER - x, [1, -1], 0),
    "add, alpha": (lambda x: torch.add(x, OTHER, alpha=3), [1, 3], 0),
    "sub, alpha": (lambda x: torch.sub(x, OTHER, alpha=3), [1, -3], 0),
    "rsub, alpha": (lambda x: torch.rsub(x, OTHER, alpha=3), [-3, 1], 0),
    "x + 5": (lambda x: x + 5, [1], 5),
    "5 + x": (lambda x: 5 + x, [1], 5),
    "x - 5": (lambda x: x - 5, [1], -5),
    "5 - x": (lambda x: 5 - x, [-1], 5),
    "x + 0.5": (lambda x: x + 0.5, [1], 0.5),
    "add of a number, alpha": (lambda x: torch.add(x, 5, alpha=3), [1], 15),
    "rsub of a number, alpha": (lambda x: torch.rsub(x, 5, alpha=3), [-3], 5),
    "x + x": (lambda x: x + x, [1, 1], 0),
    "x += y": (lambda x: x.clone().add_(OTHER), [1, 1], 0),
    "x -= 5": (lambda x: x.clone().sub_(5), [1], -5),
}


@pytest.mark.parametrize(("then", "weights", "bias"), SUMS.values(), ids=SUMS)
def test_a_sum_has_a_term_for_each_operand_with_its_sign_and_factor(
    then: Function, weights: list[float], bias: float
) -> None:
    x = whole(1, 1, 2, 3, 4)
    trace, name = run(then, x)
    judged = then(x.double()).float()
    for index in positions(tuple(judged.shape)):
        receipt = trace.why(name, index)
        assert receipt.reported == judged[index].item()
        assert [term.weight for term in receipt.terms] == weights
        assert (receipt.bias or 0) == bias
        assert receipt.status == "linear"
        assert_whole(receipt)
        assert_sources_hold(trace, receipt)


SHAPES = [(2, 3, 4), (3, 4), (4,), (), (1, 1, 1), (2, 1, 4), (1, 3, 1), (5, 1, 1, 1), (5, 2, 3, 4)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", ["add", "sub", "mul"])
def test_an_operand_is_read_where_pytorch_spreads_it(kind: str, shape: Index) -> None:
    other = torch.nn.Parameter(whole(3, *shape))
    trace, name = run(lambda x: getattr(torch, kind)(x, other), whole(1, 1, 2, 3, 4))
    step = trace.steps[name]
    for index in positions(step.shape):
        receipt = trace.why(name, index)
        size = torch.Size(step.shape)
        here, there = (
            broadcast_position(at, size, index) for at in ((1, 2, 3, 4), tuple(other.shape))
        )
        first = receipt.terms[0]
        assert first.source is not None
        assert first.source.index == here
        second = receipt.terms[0].weight_address if kind == "mul" else receipt.terms[1].source
        assert second is not None
        assert second.index == there
        assert_whole(receipt)
        assert_sources_hold(trace, receipt)


@examples(60)
@given(st.integers(0, 2**20), st.data())
def test_drawn_sums_and_products_are_those_of_pytorch(seed: int, data: st.DataObject) -> None:
    other = whole(seed, *data.draw(st.sampled_from(SHAPES)))
    alpha = data.draw(st.integers(-4, 4))
    then = data.draw(
        st.sampled_from(
            [
                lambda x: torch.add(x, other, alpha=alpha),
                lambda x: torch.sub(other, x, alpha=alpha),
                lambda x: torch.rsub(x, other, alpha=alpha),
                lambda x: torch.rsub(x, alpha),
                lambda x: x * other,
                lambda x: other * x,
                lambda x: x * alpha,
                lambda x: alpha - x,
            ]
        )
    )
    x = whole(seed + 1, 1, 2, 3, 4)
    trace, name = run(then, x)
    judged = then(x.double())
    index = tuple(data.draw(st.integers(0, size - 1)) for size in judged.shape)
    receipt = trace.why(name, index)
    assert receipt.reported == judged[index].item()
    assert_whole(receipt)
    assert_sources_hold(trace, receipt)


@pytest.mark.parametrize("dtype", FLOATS)
def test_sums_and_products_of_every_dtype_are_correctly_rounded(dtype: str) -> None:
    torch.manual_seed(0)
    kind = getattr(torch, dtype)
    x, other = torch.randn(1, 2, 6, 6).to(kind), torch.randn(2, 6, 1).to(kind)
    for then in (lambda x: x + other, lambda x: x - other, lambda x: x * other):
        trace, name = run(then, x)
        for index in positions((1, 2, 6, 6)):
            receipt = trace.why(name, index)
            terms = (Fraction(t.weight) * Fraction(t.value) for t in receipt.terms)
            exact = sum(terms, Fraction(0))
            assert receipt.exact == nearest(exact, "float64")
            assert receipt.reported == nearest(exact, dtype)
            assert receipt.verdict == "exact"


# Each loses half a unit twice: when the number is stored in the dtype, and in the product.
SCALARS = [0.1, 1 / 3, 1 + 2**-23 + 0.99 * 2**-24, 1.7 + 2**-25, 2**-130]


def verdicts_of(then: Function, x: torch.Tensor) -> set[str | None]:
    trace, name = run(then, x)
    return {trace.why(name, index).verdict for index in positions(tuple(x.shape), most=150)}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", ["mul", "add", "sub", "rsub"])
def test_a_python_number_that_the_dtype_rounds_is_certified(kind: str, dtype: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 1, 20, 20).to(getattr(torch, dtype))
    for scalar in SCALARS:
        then = partial(_with_number, getattr(torch, kind), scalar)
        assert verdicts_of(then, x) <= {"exact", "rounding"}, scalar


def _with_number(operation: Any, number: float, x: torch.Tensor) -> torch.Tensor:
    return operation(x, number)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", ["add", "sub", "rsub"])
def test_a_factor_that_the_dtype_rounds_is_certified(kind: str, dtype: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 1, 20, 20).to(getattr(torch, dtype))
    other = torch.randn(20, 20).to(x.dtype)
    operation = getattr(torch, kind)
    for alpha in SCALARS[:4]:
        # Next to one operand the other is almost nothing: all roundings fall on one term.
        for small, large in ((2**-40, 1), (1, 2**-40)):
            then = partial(_with_factor, operation, alpha, other * large)
            assert verdicts_of(then, x * small) <= {"exact", "rounding"}, alpha


def _with_factor(
    operation: Any, alpha: float, other: torch.Tensor, x: torch.Tensor
) -> torch.Tensor:
    return operation(x, other, alpha=alpha)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", ["mul", "add", "sub"])
def test_a_wrong_number_beside_a_python_number_is_noticed(kind: str, dtype: str) -> None:
    x = torch.full((1, 1, 1, 1), 1.375, dtype=getattr(torch, dtype))
    trace, name = run(partial(_with_number, getattr(torch, kind), 0.3), x)
    assert trace.why(name, (0, 0, 0, 0)).verdict in CERTIFIED
    eps = torch.finfo(x.dtype).eps
    replaced = trace.output * (1 + 16 * eps)
    assert replaced.item() != trace.output.item()
    trace.output.untyped_storage().copy_(replaced.untyped_storage())  # behind PyTorch's back
    assert trace.why(name, (0, 0, 0, 0)).verdict == "mismatch"


# Products ----------------------------------------------------------------------------------------


def test_a_product_is_one_term() -> None:
    trace, name = run(lambda x: x * OTHER, whole(1, 1, 2, 3, 4))
    (term,) = trace.why(name, (0, 1, 2, 3)).terms
    assert term.source == ct.Address("conv2d", (0, 1, 2, 3))
    assert term.weight_address is not None
    assert term.weight_address.index == (1, 2, 3)
    assert trace.steps[name].status == "gates"


def test_a_square_is_a_number_times_itself() -> None:
    trace, name = run(lambda x: x * x, counting(1, 1, 2, 2))
    receipt = trace.why(name, (0, 0, 1, 1))
    (term,) = receipt.terms
    assert (term.weight, term.value, receipt.reported) == (4, 4, 16)
    assert term.weight_address == term.source == ct.Address("conv2d", (0, 0, 1, 1))


def test_a_product_with_a_python_number_has_a_weight_without_an_address() -> None:
    trace, name = run(lambda x: x * 3, counting(1, 1, 2, 2))
    (term,) = trace.why(name, (0, 0, 1, 0)).terms
    assert (term.weight, term.value, term.weight_address) == (3, 3, None)


# ReLU --------------------------------------------------------------------------------------------

RELUS: dict[str, Function] = {
    "torch.relu": torch.relu,
    "functional": torch.nn.functional.relu,
    "method": lambda x: x.relu(),
    "in place": lambda x: x.clone().relu_(),
    "module": torch.nn.ReLU(),
    "module in place": torch.nn.ReLU(inplace=True),
}


@pytest.mark.parametrize("then", RELUS.values(), ids=RELUS)
def test_relu_passes_what_is_positive_and_shuts_out_the_rest(then: Function) -> None:
    x = whole(5, 1, 2, 4, 4)
    trace, name = run(then, x)
    for index in positions((1, 2, 4, 4)):
        receipt = trace.why(name, index)
        (term,) = receipt.terms
        assert term.source is not None
        assert term.source.index == index
        assert term.value == x[index].item()
        assert term.weight == (1 if term.value > 0 or term.value == 0 else 0)
        assert receipt.reported == max(term.value, 0)
        assert_whole(receipt)
        assert_sources_hold(trace, receipt)
    assert trace.steps[name].status == "gates"


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        (0.0, "exact"),
        (-0.0, "exact"),
        (1e-45, "exact"),
        (-1e-45, "exact"),
        (float("inf"), "nonfinite"),
        (float("nan"), "nonfinite"),
    ],
)
def test_relu_of_a_special_number_is_judged(value: float, verdict: str) -> None:
    trace, name = run(torch.relu, torch.full((1, 1, 1, 1), value))
    assert trace.why(name, (0, 0, 0, 0)).verdict == verdict


def test_relu_of_minus_infinity_is_no_mismatch() -> None:
    trace, name = run(torch.relu, torch.full((1, 1, 1, 1), -float("inf")))
    receipt = trace.why(name, (0, 0, 0, 0))
    assert receipt.reported == 0
    assert receipt.verdict == "exact"
    assert (receipt.terms[0].value, receipt.terms[0].product) == (-float("inf"), 0)


# Linear ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leading", [(), (2,), (2, 3), (2, 3, 1)], ids=str)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
def test_a_linear_layer_multiplies_a_row_of_its_weight(leading: Index, bias: bool) -> None:
    layer = torch.nn.Linear(4, 3, bias=bias)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(whole(1, *parameter.shape))
    x = whole(2, *leading, 4)
    flat = x.reshape(1, 1, -1)
    trace = ct.trace(torch.nn.Sequential(Then(lambda y: y.reshape(*leading, 4)), layer), flat)
    judged = layer.double()(x.double())
    for index in positions(tuple(judged.shape)):
        receipt = trace.why("1", index)
        assert receipt.kind == "linear"
        assert receipt.reported == judged[index].item()
        assert [t.weight_address for t in receipt.terms] == [
            ct.Address("1.weight", (index[-1], feature)) for feature in range(4)
        ]
        assert [t.source and t.source.index for t in receipt.terms] == [
            (*index[:-1], feature) for feature in range(4)
        ]
        assert receipt.bias_address == (ct.Address("1.bias", index[-1:]) if bias else None)
        assert_whole(receipt)


@pytest.mark.parametrize("dtype", FLOATS)
def test_linear_layers_of_every_dtype_are_certified(dtype: str) -> None:
    torch.manual_seed(0)
    kind = getattr(torch, dtype)
    layer = torch.nn.Linear(70, 5).to(kind)
    trace, name = run(lambda x: layer(x.flatten(1)), torch.randn(3, 1, 7, 10).to(kind))
    for index in positions((3, 5)):
        receipt = trace.why(name, index)
        terms = (Fraction(t.weight) * Fraction(t.value) for t in receipt.terms)
        exact = sum(terms, Fraction(receipt.bias or 0))
        assert receipt.exact == nearest(exact, "float64")
        assert receipt.verdict in CERTIFIED
        assert (receipt.verdict == "exact") == (receipt.reported == nearest(exact, dtype))


def test_a_wrong_number_of_a_linear_layer_is_noticed() -> None:
    layer = torch.nn.Linear(4, 3)

    def then(x: torch.Tensor) -> torch.Tensor:
        return layer(x.flatten(1))

    trace, name = run(then, torch.randn(1, 1, 2, 2))
    with torch.no_grad():
        trace.output.detach().numpy()[0, 1] += 1  # behind PyTorch's back
    assert trace.why(name, (0, 0)).verdict in CERTIFIED
    assert trace.why(name, (0, 1)).verdict == "mismatch"


# Moves -------------------------------------------------------------------------------------------

MOVES: dict[str, Function] = {
    "view": lambda x: x.view(1, -1),
    "reshape": lambda x: x.reshape(4, 1, 6),
    "reshape of a transposed tensor": lambda x: x.transpose(1, 3).reshape(-1, 3),
    "flatten": lambda x: x.flatten(1),
    "flatten in the middle": lambda x: x.flatten(1, 2),
    "unflatten": lambda x: x.unflatten(3, (2, 2)),
    "permute": lambda x: x.permute(3, 0, 2, 1),
    "transpose": lambda x: x.transpose(1, 3),
    "t": lambda x: x[0, 0].t(),
    "movedim": lambda x: x.movedim(1, -1),
    "select": lambda x: x[0, 1],
    "select from the end": lambda x: x[..., -1],
    "slice": lambda x: x[:, :, 1:, ::2],
    "narrow": lambda x: x.narrow(3, 1, 2),
    "squeeze": lambda x: x.squeeze(0),
    "unsqueeze": lambda x: x.unsqueeze(2),
    "expand": lambda x: x[:, :1].expand(2, 5, 3, 4),
    "repeat": lambda x: x.repeat(2, 1, 1, 2),
    "repeat_interleave": lambda x: x.repeat_interleave(2, dim=1),
    "flip": lambda x: x.flip(2, 3),
    "roll": lambda x: x.roll((1, -1), (2, 3)),
    "split, second part": lambda x: x.split(3, dim=3)[1],
    "split by sizes": lambda x: x.split([1, 3], dim=3)[1],
    "chunk, last part": lambda x: x.chunk(2, dim=1)[-1],
    "unbind": lambda x: x.unbind(2)[1],
    "unfold": lambda x: x.unfold(3, 2, 1),
    "diagonal": lambda x: x.diagonal(dim1=2, dim2=3),
    "index_select": lambda x: x.index_select(3, torch.tensor([3, 0, 3])),
    "index with a list": lambda x: x[:, [1, 0, 1]],
    "pixel_shuffle": lambda x: torch.pixel_shuffle(x.reshape(1, 4, 2, 3), 2),
    "pixel_unshuffle": lambda x: torch.pixel_unshuffle(x.reshape(1, 1, 4, 6), 2),
    "channel_shuffle": lambda x: torch.channel_shuffle(x.reshape(1, 4, 2, 3), 2),
    "clone": lambda x: x.clone(),
    "contiguous": lambda x: x.transpose(2, 3).contiguous(),
    "channels last": lambda x: x.to(memory_format=torch.channels_last),
    "cat with itself": lambda x: torch.cat([x, x.flip(1)], dim=1),
    "stack with itself": lambda x: torch.stack([x, x.flip(3)], dim=2),
    "two moves in a row": lambda x: x.permute(0, 2, 3, 1).reshape(3, -1)[1:],
}


def descend(trace: ct.Trace, address: ct.Address) -> ct.Address:
    """Follow one number down to the convolution, through steps that only move it."""
    while address.step != "conv2d":
        receipt = trace.why(address)
        (term,) = receipt.terms
        assert (term.weight, term.product) == (1, term.value)
        assert receipt.verdict == "exact"
        assert term.source is not None
        address = term.source
    return address


@pytest.mark.parametrize("then", MOVES.values(), ids=MOVES)
def test_a_moved_number_comes_from_where_its_value_stands(then: Function) -> None:
    x = counting(1, 2, 3, 4)
    trace, name = run(then, x)
    judged = then(x)
    assert trace.steps[name].shape == tuple(judged.shape)
    for index in positions(tuple(judged.shape)):
        found = descend(trace, ct.Address(name, index))
        assert found.index == tuple(torch.nonzero(x == judged[index])[0].tolist())


@pytest.mark.parametrize("then", MOVES.values(), ids=MOVES)
def test_a_step_that_moves_numbers_says_that_it_selects(then: Function) -> None:
    trace, name = run(then, counting(1, 2, 3, 4))
    assert trace.steps[name].status == "selects"
    assert trace.why(name, (0,) * len(trace.steps[name].shape)).status == "selects"


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_cat_finds_the_operand_and_the_position_in_it(dim: int) -> None:
    other = 100 + counting(1, 2, 3, 4)
    trace, name = run(lambda x: torch.cat([other, x], dim=dim), counting(1, 2, 3, 4))
    for index in positions(trace.steps[name].shape):
        receipt = trace.why(name, index)
        (term,) = receipt.terms
        assert term.source is not None
        table = {"conv2d": counting(1, 2, 3, 4)}.get(term.source.step, other)
        assert table[term.source.index] == receipt.reported == term.value
        assert (term.source.step == "conv2d") == (receipt.reported <= 24)


def test_indices_that_changed_after_the_trace_are_noticed() -> None:
    places = torch.tensor([3, 0, 3])
    trace, name = run(lambda x: x.index_select(3, places), counting(1, 1, 1, 4))
    places.add_(-1)
    with pytest.raises(ct.TensorChangedError):
        trace.why(name, (0, 0, 0, 1))


PADS: dict[str, Any] = {
    "zeros": {},
    "a number": {"value": 7.0},
    "a fraction that float32 rounds": {"value": 0.1},
    "a negative number": {"value": -1.0},
    "reflect": {"mode": "reflect"},
    "replicate": {"mode": "replicate"},
    "circular": {"mode": "circular"},
}


@pytest.mark.parametrize("options", PADS.values(), ids=PADS)
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_padding_reads_the_number_that_it_repeats_and_nothing_where_it_fills(
    axes: int, options: dict[str, Any]
) -> None:
    x = counting(1, 2, *(3,) * axes)
    widths = [1, 2, 2, 0, 0, 1][: 2 * axes]
    fills = options.get("mode", "constant") == "constant"
    trace, name = run(lambda x: pad(x, widths, **options), x)
    judged = pad(x, widths, **options)
    inside = pad(torch.ones_like(x), widths) == 1
    assert trace.steps[name].kind == "pad"
    for index in positions(tuple(judged.shape), most=60):
        receipt = trace.why(name, index)
        (term,) = receipt.terms
        assert receipt.reported == judged[index].item()
        assert receipt.verdict == "exact"
        assert (term.source is None) == (fills and not inside[index])
        if term.source is None:
            assert (term.value, term.product) == (0, 0)
            assert (receipt.bias or 0) == options.get("value", 0)
            assert not receipt.present.any()
        else:
            assert x[term.source.index] == judged[index] == term.value
            assert receipt.bias is None


def test_negative_padding_cuts() -> None:
    x = counting(1, 1, 3, 4)
    trace, name = run(lambda x: pad(x, (-1, 1, 0, -1)), x)
    assert trace.why(name, (0, 0, 0, 0)).terms[0].source == ct.Address("conv2d", (0, 0, 0, 1))
    assert trace.why(name, (0, 0, 0, 3)).terms[0].source is None


# Casts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", FLOATS)
@pytest.mark.parametrize("after", FLOATS)
def test_a_cast_is_one_term_rounded_once(before: str, after: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 1, 5, 5, dtype=torch.float64).to(getattr(torch, before))
    trace, name = run(lambda x: x.to(getattr(torch, after), copy=True), x)
    for index in positions((1, 1, 5, 5)):
        receipt = trace.why(name, index)
        (term,) = receipt.terms
        assert (term.weight, term.value) == (1, x[index].item())
        assert receipt.verdict in CERTIFIED
        if (before, after) not in (("float64", "float16"), ("float64", "bfloat16")):
            # There PyTorch rounds twice, through float32.
            assert receipt.verdict == "exact"
            assert receipt.reported == nearest(Fraction(term.value), after)


@pytest.mark.parametrize("value", [1.7e308, -1.7e308, 1e300, 1e-310, sys.float_info.max])
def test_a_cast_that_leaves_the_range_is_judged(value: float) -> None:
    trace, name = run(lambda x: x.float(), torch.full((1, 1, 1, 1), value, dtype=torch.float64))
    receipt = trace.why(name, (0, 0, 0, 0))
    assert receipt.terms[0].value == value
    assert receipt.verdict == ("exact" if abs(value) < 1 else "nonfinite")


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "bool"])
def test_a_cast_to_whole_numbers_is_no_mismatch(dtype: str) -> None:
    x = torch.tensor([[[[0.0, 1.75], [2.0, 3.5]]]])
    trace, name = run(lambda x: x.to(getattr(torch, dtype)), x)
    for index in np.ndindex(1, 1, 2, 2):
        receipt = trace.why(name, index)
        assert receipt.reported == x[index].to(getattr(torch, dtype)).item()
        assert receipt.verdict != "mismatch"


def test_whole_numbers_that_are_moved_have_one_source() -> None:
    trace, name = run(lambda x: x.flatten(1), counting(1, 2, 2, 2).long())
    receipt = trace.why(name, (0, 5))
    (term,) = receipt.terms
    assert term.source == ct.Address("conv2d", (0, 1, 0, 1))
    assert (receipt.reported, receipt.verdict) == (6, "exact")


# Complex numbers ---------------------------------------------------------------------------------


def whole_complex(seed: int, *shape: int) -> torch.Tensor:
    """Complex numbers with whole parts."""
    return torch.complex(whole(seed, *shape), whole(seed + 1, *shape))


def run_complex(then: Function, x: torch.Tensor) -> tuple[ct.Trace, str]:
    """Trace the function on a complex tensor; a real convolution runs beside it."""

    def model(x: torch.Tensor) -> torch.Tensor:
        return then(torch.complex(torch.conv2d(x.real, torch.ones(1, 1, 1, 1)), x.imag))

    trace = ct.trace(model, x)
    return trace, list(trace.steps)[-1]


COMPLEX: dict[str, Function] = {
    "a product": lambda x: x * whole_complex(3, 3, 4),
    "a product with a real tensor": lambda x: x * whole(3, 3, 4),
    "a product with a number": lambda x: x * (2 - 3j),
    "a sum": lambda x: x + whole_complex(3, 3, 4),
    "a difference with a factor": lambda x: torch.sub(x, whole_complex(3, 3, 4), alpha=3),
    "a linear layer": lambda x: torch.nn.functional.linear(
        x.reshape(3, 4), whole_complex(3, 2, 4).to(x.dtype), whole_complex(5, 2).to(x.dtype)
    ),
}


@pytest.mark.parametrize("then", COMPLEX.values(), ids=COMPLEX)
def test_complex_terms_add_up_in_both_parts(then: Function) -> None:
    x = whole_complex(1, 1, 1, 3, 4)
    trace, name = run_complex(then, x)
    judged = then(x.to(torch.complex128))
    for index in positions(tuple(judged.shape)):
        receipt = trace.why(name, index)
        total = sum((t.weight * t.value for t in receipt.terms), receipt.bias or 0)
        assert total == receipt.exact == receipt.reported == judged[index].item()
        assert (receipt.verdict, receipt.residual) == ("exact", 0)


@pytest.mark.parametrize("part", [1, 1j])
def test_a_complex_number_that_is_off_in_one_part_is_a_mismatch(part: complex) -> None:
    trace, name = run_complex(COMPLEX["a linear layer"], whole_complex(1, 1, 1, 3, 4))
    trace.output.numpy()[0, 0] += part  # behind PyTorch's back
    receipt = trace.why(name, (0, 0))
    assert (receipt.verdict, receipt.residual) == ("mismatch", part)


def test_a_complex_divisor_turns_its_source() -> None:
    trace, name = run_complex(lambda x: x / (1 + 1j), whole_complex(1, 1, 1, 3, 4))
    receipt = trace.why(name, (0, 0, 1, 2))
    (term,) = receipt.terms
    assert term.weight == 0.5 - 0.5j
    assert receipt.exact == term.value / (1 + 1j)
    assert receipt.verdict in CERTIFIED


# Steps that have no rule -------------------------------------------------------------------------


def test_a_step_without_a_rule_says_so_and_shows_its_value() -> None:
    trace, name = run(torch.special.bessel_j0, counting(1, 1, 2, 2))
    receipt = trace.why(name, (0, 0, 0, 1))
    assert (receipt.status, receipt.verdict, receipt.terms) == ("opaque", None, [])
    assert receipt.reported == trace.output[0, 0, 0, 1].item()
    assert receipt.notes[0][0] == "note.opaque"
