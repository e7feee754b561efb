"""Where NaN or infinity began: the step, the address, and what brought it in."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import convtrace as ct

NAN, INF = math.nan, math.inf


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.conv2 = nn.Conv2d(3, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(torch.relu(self.norm(self.conv1(x))))


@pytest.fixture
def model() -> Network:
    torch.manual_seed(0)
    return Network().eval()


@pytest.fixture
def x() -> Tensor:
    return torch.rand(1, 2, 5, 5) + 0.1


def poison(tensor: Tensor, index: tuple[int, ...], value: float) -> None:
    with torch.no_grad():
        tensor[index] = value


def first(model: nn.Module, x: Tensor) -> ct.Receipt:
    with torch.no_grad():
        found = ct.trace(model, x).first_nonfinite()
    assert found is not None
    return found


def notes(receipt: ct.Receipt) -> set[str]:
    return {key for key, _ in receipt.notes}


ONE = torch.ones(1, 1, 1)
GATES = {
    "relu": torch.relu,
    "relu6": nn.functional.relu6,
    "hardtanh": nn.functional.hardtanh,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "hardsigmoid": nn.functional.hardsigmoid,
    "silu": nn.functional.silu,
    "gelu": nn.functional.gelu,
    "leaky_relu": nn.functional.leaky_relu,
    "softplus": nn.functional.softplus,
    "elu": nn.functional.elu,
    "exp": torch.exp,
    "abs": torch.abs,
    "clamp": lambda x: x.clamp(-2, 3),
}


@pytest.mark.parametrize("value", [INF, -INF])
@pytest.mark.parametrize("gate", GATES)
def test_an_infinite_number_at_a_gate_is_no_mismatch(gate: str, value: float) -> None:
    def model(x: Tensor) -> Tensor:
        nn.functional.conv1d(ONE, ONE)  # a trace needs a convolution
        return GATES[gate](x)

    x = torch.tensor([0.5, value])
    trace = ct.trace(model, x)
    step = next(name for name in trace.steps if name != "conv1d")
    receipt, returned = trace.why(f"{step}[1]"), float(GATES[gate](x)[1])
    assert receipt.inputs.tolist() == [value]
    assert receipt.verdict == ("exact" if math.isfinite(returned) else "nonfinite")
    if math.isfinite(returned):
        assert receipt.exact == returned
        assert receipt.products.tolist() == [0.0]
    assert receipt.text("en") != receipt.text("ko")


def test_a_wrong_result_at_an_infinite_number_is_a_mismatch() -> None:
    def model(x: Tensor) -> Tensor:
        nn.functional.conv1d(ONE, ONE)
        return torch.tanh(x)

    trace = ct.trace(model, torch.tensor([INF]))
    output = trace.output
    output.data.fill_(0.5)  # behind the version counter's back
    assert trace.why("tanh[0]").verdict == "mismatch"


def test_a_shut_gate_says_that_not_even_infinity_passes() -> None:
    def model(x: Tensor) -> Tensor:
        nn.functional.conv1d(ONE, ONE)
        return torch.relu(x)

    text = ct.trace(model, torch.tensor([-INF])).why("relu[0]").text("en")
    assert "−∞ × 0 = 0   input[0]" in text
    assert "not even −∞" in text


def test_a_number_outside_a_functions_domain_is_named_with_its_address() -> None:
    def model(x: Tensor) -> Tensor:
        nn.functional.conv1d(ONE, ONE)
        return torch.log(x)

    text = ct.trace(model, torch.tensor([1.0, -2.0])).why("log[1]").text("en")
    assert "input[1] = −2: −2 × NaN = NaN" in text


def test_a_run_of_finite_numbers_has_none(model: Network, x: Tensor) -> None:
    with torch.no_grad():
        assert ct.trace(model, x).first_nonfinite() is None


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_what_came_in_with_the_input_is_named_there(
    model: Network, x: Tensor, value: float
) -> None:
    poison(x, (0, 1, 2, 3), value)
    found = first(model, x)
    assert str(found.address) == "input[0,1,2,3]"
    assert notes(found) == {"note.given.input"}
    assert found.verdict is None
    assert str(found.reported) == str(value)


def test_the_first_of_several_is_named(model: Network, x: Tensor) -> None:
    poison(x, (0, 1, 4, 4), NAN)
    poison(x, (0, 1, 0, 3), NAN)
    assert str(first(model, x).address) == "input[0,1,0,3]"


@pytest.mark.parametrize("value", [NAN, INF])
@pytest.mark.parametrize("tap", [(1, 1), (2, 0)])
def test_a_weight_is_the_culprit_term(
    model: Network, x: Tensor, value: float, tap: tuple[int, int]
) -> None:
    poison(model.conv2.weight, (1, 2, *tap), value)
    trace = ct.trace(model, x)
    # ReLU passes 0 as well, and infinity times 0 is NaN: either is a number that is not finite.
    found = trace.first_nonfinite()
    assert found is not None
    assert (found.address.step, found.address.index[:2]) == ("conv2", (0, 1))
    assert found.verdict == "nonfinite"
    terms = [str(found.term(position).weight_address) for position in found.culprits]
    assert terms == [f"conv2.weight[1,2,{tap[0]},{tap[1]}]"]
    judged = ~trace.step("conv2").value.tensor().isfinite()
    assert list(found.address.index) == judged.nonzero()[0].tolist()


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_a_bias_is_named_in_a_note(model: Network, x: Tensor, value: float) -> None:
    poison(model.conv1.bias, (2,), value)
    found = first(model, x)
    assert str(found.address) == "conv1[0,2,0,0]"
    assert (found.verdict, found.culprits) == ("nonfinite", ())
    assert notes(found) == {"note.nonfinite_bias"}
    assert str(found.bias_address) == "conv1.bias[2]"


@pytest.mark.parametrize("value", [NAN, INF])
def test_a_norm_with_a_broken_statistic_is_where_it_began(
    model: Network, x: Tensor, value: float
) -> None:
    poison(model.norm.running_mean, (1,), value)
    found = first(model, x)
    assert str(found.address) == "norm[0,1,0,0]"
    assert found.verdict == "nonfinite"


def test_an_overflow_in_half_precision_has_no_culprit_but_says_so() -> None:
    conv = nn.Conv2d(2, 1, 1, bias=False).half()
    nn.init.constant_(conv.weight, 200)
    x = torch.ones(1, 2, 2, 2).half()
    poison(x, (0, 0, 1, 0), 300)
    poison(x, (0, 1, 1, 0), 100)
    found = first(conv, x)
    assert str(found.address) == "conv2d[0,0,1,0]"
    assert (found.verdict, found.culprits) == ("nonfinite", ())
    assert notes(found) == {"note.overflow"}
    assert (found.reported, found.exact) == (INF, 80000)


def test_an_overflow_of_a_sum_of_two_branches_is_found() -> None:
    conv = nn.Conv2d(1, 1, 1, bias=False).half()
    nn.init.constant_(conv.weight, 1)

    def model(x: Tensor) -> Tensor:
        y = conv(x)
        return y + y

    found = first(model, torch.full((1, 1, 1, 2), 40000.0).half())
    assert found.address.step == "add"
    assert (found.verdict, notes(found)) == ("nonfinite", {"note.overflow"})


def test_nan_on_a_tap_that_falls_on_padding_is_the_culprit_where_the_kernel_multiplies_it() -> None:
    """Kernels skip padding or multiply it by 0, as they like: whatever they did is explained."""
    conv = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    poison(conv.weight, (0, 0, 0, 0), NAN)
    with torch.no_grad():
        trace = ct.trace(conv, torch.ones(1, 1, 3, 3))
    found = trace.first_nonfinite()
    assert found is not None
    broken = trace.step("conv2d").value.tensor().isnan()
    assert list(found.address.index) == broken.nonzero()[0].tolist()
    assert found.verdict == "nonfinite"
    (position,) = found.culprits
    assert str(found.term(position).weight_address) == "weight[0,0,0,0]"


def test_only_padding_under_a_nan_weight_is_explained() -> None:
    """Beside the padding there is no number that the weight could meet."""
    conv = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    poison(conv.weight, (0, 0, 0, 0), NAN)
    with torch.no_grad():
        trace = ct.trace(conv, torch.ones(1, 1, 1, 1))
    found = trace.first_nonfinite()
    if found is None:
        assert trace.value("conv2d[0,0,0,0]") == float(conv.weight[0, 0, 1, 1].detach())
    else:
        assert (found.verdict, found.culprits) == ("nonfinite", ((0, 0, 0),))


def test_infinity_times_nothing_in_a_product_is_found_with_its_term() -> None:
    conv = nn.Conv2d(1, 1, 1, bias=False)
    poison(conv.weight, (0, 0, 0, 0), INF)
    found = first(conv, torch.zeros(1, 1, 1, 1))
    assert math.isnan(float(found.reported.real))
    assert found.verdict == "nonfinite"
    assert found.culprits == ((0, 0, 0),)


@pytest.mark.parametrize(
    ("then", "kind"),
    [
        (lambda y: y / 0, "div"),
        (lambda y: torch.exp(y * 1000), "exp"),
        (lambda y: torch.log(y - y), "log"),
        (lambda y: (y - y) / (y - y), "div"),
        (lambda y: torch.softmax(y / 0, 1), "div"),
    ],
)
def test_the_step_that_made_it_is_named(then: Any, kind: str) -> None:
    conv = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.constant_(conv.weight, 1)

    def model(x: Tensor) -> Tensor:
        return then(conv(x)) + 1

    with torch.no_grad():
        trace = ct.trace(model, torch.ones(1, 1, 1, 1))
    found = trace.first_nonfinite()
    assert found is not None
    assert trace.step(found.address.step).kind == kind
    assert found.address.index == (0, 0, 0, 0)
    assert found.verdict != "mismatch"


def test_infinity_that_a_shut_gate_keeps_back_is_found_before_it(model: Network) -> None:
    conv = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.constant_(conv.weight, -1)

    def run(x: Tensor) -> Tensor:
        return torch.relu(conv(x) * 3e38)

    found = first(run, torch.full((1, 1, 1, 1), 10.0))
    assert found.address.step == "mul"
    assert found.reported == -INF


def test_first_of_numbers_in_arrays() -> None:
    trace = ct.from_arrays([[[[1.0, NAN], [3.0, 4.0]]]], [[[[1.0, 10.0]]]])
    found = trace.first_nonfinite()
    assert found is not None
    assert str(found.address) == "input[0,0,0,1]"


BACKWARD = {
    "relu": torch.relu,
    "gelu": nn.functional.gelu,
    "silu": nn.functional.silu,
    "tanh": torch.tanh,
    "hardswish": nn.functional.hardswish,
    "max_pool2d": lambda a: nn.functional.max_pool2d(a, 2),
    "layer_norm": lambda a: nn.functional.layer_norm(a, (3,)),
    "softmax": lambda a: torch.softmax(a, 1),
    "product": lambda a: a * a,
    "log": torch.log,
    "reciprocal": torch.reciprocal,
    "convolution": lambda a: nn.functional.conv2d(a, torch.ones(1, 2, 2, 2), padding=1),
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, NAN) for name in BACKWARD),
        *((name, INF) for name in ("gelu", "silu", "layer_norm", "product", "convolution")),
        *((name, 3e38) for name in ("hardswish", "layer_norm")),
    ],
)
def test_no_gradient_of_a_run_with_nan_or_infinity_is_accused(name: str, value: float) -> None:
    torch.manual_seed(0)
    conv, x = nn.Conv2d(1, 2, 2), torch.randn(1, 1, 4, 4)
    x[0, 0, 1, 1] = value
    trace = ct.trace(lambda x: BACKWARD[name](conv(x)).sum(), x, backward=True)
    for step in (*trace.steps.values(), *trace.gradients.values()):
        shape = torch.tensor(step.shape)
        for index in {(0,) * len(shape), tuple((shape - 1).tolist()), tuple((shape // 2).tolist())}:
            receipt = trace.why(step.name, index)
            assert receipt.verdict != "mismatch", f"{receipt!r}"
            assert receipt.text("en")


def test_a_gradient_beside_a_nan_has_terms_of_its_own() -> None:
    x = torch.tensor([[[1.0, NAN, 2.0]]])
    conv = nn.Conv1d(1, 1, 1)
    trace = ct.trace(lambda x: torch.tanh(conv(x)).sum(), x, backward=True)
    beside, there = trace.why("conv.grad[0,0,0]"), trace.why("conv.grad[0,0,1]")
    assert [str(term.source) for term in beside.terms] == ["tanh.grad[0,0,0]"]
    assert beside.verdict in ("exact", "rounding")
    assert there.verdict == "nonfinite"


@pytest.mark.parametrize("floats", [False, True])
def test_a_query_that_may_look_at_nothing_gets_zero(floats: bool) -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(1, 1, 4, 8) for _ in range(3))
    mask = torch.ones(4, 4, dtype=torch.bool)
    mask[2] = False
    given = torch.zeros(4, 4).masked_fill(~mask, -INF) if floats else mask

    def model(x: Tensor) -> Tensor:
        nn.functional.conv1d(ONE, ONE)
        return nn.functional.scaled_dot_product_attention(x, key, value, attn_mask=given)

    trace = ct.trace(model, query)
    name = "scaled_dot_product_attention"
    if trace.steps[name].status == "opaque":
        pytest.skip("this version of PyTorch runs attention as several operators")
    assert {trace.why(f"{name}[0,0,{row},0]").verdict for row in range(4)} <= {"exact", "rounding"}
    split = trace.contributions(f"{name}[0,0,2,0]")
    assert split.total == split.reported == 0


def test_resampling_that_multiplies_infinity_by_zero_names_it() -> None:
    def model(x: Tensor) -> Tensor:
        nn.functional.conv1d(ONE, ONE)
        return nn.functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)

    x = torch.zeros(1, 1, 2, 2)
    x[0, 0, 0, 1] = INF
    trace = ct.trace(model, x)
    name = next(step for step in trace.steps if step != "conv1d")
    receipts = [trace.why(name, (0, 0, i, j)) for i in range(4) for j in range(4)]
    assert {receipt.verdict for receipt in receipts} <= {"exact", "nonfinite"}
    for receipt in receipts:
        assert math.isnan(receipt.reported) <= bool(receipt.culprits)


def test_a_glu_gate_far_below_zero_is_shut_in_float64_too() -> None:
    def model(x: Tensor) -> Tensor:
        nn.functional.conv1d(ONE, ONE)
        return nn.functional.glu(x)

    x = torch.tensor([[1.0, 2.0, -800.0, -720.0]], dtype=torch.float64)
    trace = ct.trace(model, x)
    assert [trace.why(f"glu[0,{k}]").verdict for k in range(2)] == ["exact", "exact"]


def test_an_overflow_inside_a_norm_is_no_wrong_result() -> None:
    def model(x: Tensor) -> Tensor:
        nn.functional.conv1d(ONE, ONE)
        return nn.functional.layer_norm(x, (3,))

    receipt = ct.trace(model, torch.tensor([[1.0, 3e38, -2.0]])).why("layer_norm[0,0]")
    assert receipt.verdict == ("nonfinite" if math.isnan(receipt.reported) else "rounding")
    if math.isnan(receipt.reported):
        assert notes(receipt) == {"note.overflow"}
