"""Uses: where a number goes, judged by columns of the Jacobian from autograd in float64."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import convtrace as ct
from convtrace import projection


class Network(nn.Module):
    """Every layer that freezing leaves what its derivative is: linear ones, ReLU, max pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 4, 3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.up = nn.ConvTranspose2d(4, 4, 3, stride=2, padding=1, groups=2)
        self.norm = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 3)
        nn.init.normal_(self.norm.running_mean)
        nn.init.uniform_(self.norm.running_var, 0.5, 2)
        nn.init.uniform_(self.norm.weight, 0.5, 1.5)

    def steps(self, x: Tensor) -> dict[str, Tensor]:
        """Every output that the tests look at, by the name of its step."""
        made = {"input": x, "conv1": self.conv1(x)}
        made["relu"] = torch.relu(made["conv1"])
        made["conv2"] = self.conv2(made["relu"])
        made["add"] = made["conv2"] + made["relu"]
        made["up"] = self.up(made["add"])
        made["norm"] = self.norm(made["up"])
        made["max_pool2d"] = F.max_pool2d(made["norm"], 2)
        made["mean"] = made["max_pool2d"].mean((2, 3))
        made["fc"] = self.fc(made["mean"])
        return made

    def forward(self, x: Tensor) -> Tensor:
        return self.steps(x)["fc"]


@pytest.fixture(scope="module")
def network() -> tuple[ct.Trace, Network, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Network().eval()
        x = torch.randn(2, 2, 7, 7)
    with torch.no_grad():
        trace = ct.trace(model, x)
    return trace, copy.deepcopy(model).double(), x.double()


def column(network: Network, x: Tensor, source: ct.Address, to: str) -> Tensor:
    """Derivative of a whole step by one number: forward over reverse, twice backwards."""
    made = network.steps(x.clone().requires_grad_())
    parameters = dict(network.named_parameters())
    leaf = parameters.get(source.step)
    leaf = made[source.step] if leaf is None else leaf
    output = made[to]
    cotangent = torch.zeros_like(output, requires_grad=True)
    (pulled,) = torch.autograd.grad(output, leaf, cotangent, create_graph=True)
    (found,) = torch.autograd.grad(pulled[source.index], cotangent)
    return found


def dense(uses: Any, name: str, shape: tuple[int, ...]) -> Tensor:
    found = torch.zeros(shape, dtype=torch.float64)
    found[tuple(torch.as_tensor(uses.positions[name]).T)] = torch.as_tensor(uses.coefficients[name])
    return found


def assert_column(network: Any, address: str, step: str, uses: Any) -> None:
    trace, double, x = network
    source = _parse(address)
    expected = column(double, x, source, step)
    found = dense(uses, step, trace.step(step).shape)
    size = float(expected.abs().max())
    assert size > 0
    assert torch.allclose(found, expected, 0, 2e-6 * size)


def _parse(address: str) -> ct.Address:
    name, _, rest = address.rstrip("]").partition("[")
    return ct.Address(name, tuple(map(int, rest.split(","))))


NEXT = {
    "input[0,1,3,4]": ["conv1"],
    "input[1,0,0,0]": ["conv1"],
    "input[0,0,6,6]": ["conv1"],
    "conv1.weight[3,1,0,2]": ["conv1"],
    "conv1.weight[0,0,1,1]": ["conv1"],
    "conv1.bias[2]": ["conv1"],
    "conv2.weight[3,1,2,0]": ["conv2"],
    "up.weight[3,1,0,1]": ["up"],
    "up.weight[0,0,2,2]": ["up"],
    "up.bias[1]": ["up"],
    "add[1,3,2,1]": ["up"],
    "up[0,2,5,5]": ["norm"],
    "mean[1,2]": ["fc"],
    "fc.weight[2,1]": ["fc"],
    "fc.bias[0]": ["fc"],
}


@pytest.mark.parametrize(("address", "steps"), NEXT.items(), ids=NEXT)
def test_the_next_step_reads_a_number_with_the_column_of_its_jacobian(
    network: Any, address: str, steps: list[str]
) -> None:
    uses = network[0].uses(address)
    assert list(uses.steps) == steps
    for step in steps:
        assert_column(network, address, step, uses)


def test_a_number_that_two_steps_read_has_the_uses_of_both(network: Any) -> None:
    trace = network[0]
    open_ = tuple(map(int, trace.step("relu").value.tensor()[0].nonzero()[0]))
    uses = trace.uses(ct.Address("relu", (0, *open_)))
    assert uses.steps == ("conv2", "add")
    assert uses.coefficients["add"].tolist() == [1]
    assert uses.positions["add"].tolist() == [[0, *open_]]
    assert len(uses) == len(uses.coefficients["conv2"]) + 1


def test_a_number_that_is_read_twice_counts_with_both_coefficients() -> None:
    trace = ct.trace(
        lambda x: F.conv2d(x, torch.ones(1, 1, 1, 1)) + x + 2 * x, torch.ones(1, 1, 2, 2)
    )
    total = trace.uses("input[0,0,1,0]", to=list(trace.steps)[-1])
    assert [(u.address.index, u.coefficient) for u in total] == [((0, 0, 1, 0), 4.0)]


FAR = [
    ("input[0,1,3,4]", "conv2"),
    ("input[1,1,2,2]", "up"),
    ("input[0,0,5,1]", "max_pool2d"),
    ("input[1,1,3,3]", "fc"),
    ("conv1[0,2,1,1]", "norm"),
    ("relu[1,1,2,3]", "add"),
    ("conv1.weight[1,1,1,1]", "conv2"),
    ("conv1.weight[2,0,0,1]", "fc"),
    ("conv1.bias[0]", "up"),
    ("conv2.weight[0,1,1,1]", "fc"),
    ("conv2.bias[3]", "mean"),
    ("up.weight[2,1,1,1]", "fc"),
    ("up.bias[0]", "max_pool2d"),
    ("fc.weight[1,1]", "fc"),
]


@pytest.mark.parametrize(("address", "to"), FAR)
def test_the_projective_field_is_the_column_of_the_jacobian(
    network: Any, address: str, to: str
) -> None:
    uses = network[0].uses(address, to=to)
    assert uses.steps == (to,)
    assert_column(network, address, to, uses)


def test_a_step_may_be_called_by_the_module_that_holds_it(network: Any) -> None:
    trace = network[0]
    by_alias = {alias: step for alias, step in trace.aliases.items() if alias}
    for alias, step in by_alias.items():
        here = trace.uses("input[0,1,3,4]", to=alias)
        assert here.steps == (step,)


# Rows --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["input[0,1,3,4]", "conv1.weight[0,0,1,1]", "conv1.bias[2]"])
def test_a_row_says_what_a_number_brought_in_and_its_share(network: Any, address: str) -> None:
    trace = network[0]
    uses = trace.uses(address)
    value = trace.value(address)
    assert uses.value == value
    for use in uses:
        made = trace.value(use.address)
        assert use.product == use.coefficient * value
        assert use.share == use.product / made
        (term,) = [
            term
            for term in trace.why(use.address).terms
            if str(term.source) == address or str(term.weight_address) == address
        ] or [None]
        if term is None:
            assert (use.coefficient, trace.why(use.address).bias) == (1, value)
        else:
            assert use.product == term.product


def test_a_share_of_nothing_is_nan() -> None:
    conv = nn.Conv2d(1, 1, 1, bias=False)
    trace = ct.trace(conv, torch.zeros(1, 1, 2, 2))
    (use,) = trace.uses("input[0,0,1,1]")
    assert use.product == 0
    assert np.isnan(use.share)


@pytest.mark.parametrize(
    ("address", "to"),
    [("input[0,1,3,4]", None), ("conv1.weight[3,1,0,2]", None), ("input[0,1,3,4]", "norm")],
)
def test_rows_are_in_the_order_of_their_positions(network: Any, address: str, to: Any) -> None:
    uses = network[0].uses(address, to=to)
    indices = [use.address.index for use in uses]
    assert indices == sorted(indices)
    assert len(set(indices)) == len(indices) > 4


def test_rows_are_a_sequence(network: Any) -> None:
    uses = network[0].uses("relu[0,1,1,1]")
    rows = list(uses)
    assert len(rows) == len(uses)
    assert str(rows) == str([uses[n] for n in range(len(uses))])
    assert uses[-1] == rows[-1]
    assert uses[1:4] == rows[1:4]
    with pytest.raises(IndexError):
        uses[len(uses)]


def test_counting_uses_makes_no_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise AssertionError("a row was made")

    trace = ct.trace(nn.Conv2d(1, 2, 3, padding=1), torch.randn(1, 1, 64, 64))
    monkeypatch.setattr(projection.Uses, "_row", refuse)
    uses = trace.uses("weight[1,0,0,0]")
    assert len(uses) == 63 * 63
    assert uses.positions["conv2d"].shape == (63 * 63, 4)
    assert str(63 * 63) in repr(uses)


def test_every_use_of_a_weight_is_an_output_position_it_was_multiplied_in() -> None:
    """Nested loops over the output."""
    conv = nn.Conv2d(2, 2, 3, stride=2, padding=1, dilation=2)
    x = torch.randn(2, 2, 9, 9)
    uses = ct.trace(conv, x).uses("weight[1,0,2,1]")
    expected = {}
    for n in range(2):
        for row in range(4):
            for col in range(4):
                i, j = row * 2 - 1 + 2 * 2, col * 2 - 1 + 1 * 2
                if 0 <= i < 9 and 0 <= j < 9:
                    expected[n, 1, row, col] = float(x[n, 0, i, j])
    assert {use.address.index: use.coefficient for use in uses} == expected


def test_smooth_gates_are_turned_round_at_their_value() -> None:
    trace = ct.trace(lambda x: F.gelu(F.conv2d(x, torch.ones(1, 1, 1, 1))), torch.ones(1, 1, 1, 1))
    (use,) = trace.uses("input[0,0,0,0]", to="gelu")
    assert use.coefficient == pytest.approx(float(F.gelu(torch.tensor(1.0))))


# What is refused, and what has no rule -----------------------------------------------------------


def test_a_step_without_a_rule_is_named() -> None:
    def model(x: Tensor) -> Tensor:
        y = F.conv2d(x, torch.ones(2, 1, 1, 1))
        return F.softmax(y, 1)

    trace = ct.trace(model, torch.ones(1, 1, 1, 1))
    uses = trace.uses("conv2d[0,0,0,0]")
    assert (uses.opaque, len(uses), list(uses)) == (("softmax",), 0, [])
    with pytest.raises(ct.UsageError, match="softmax"):
        trace.uses("input[0,0,0,0]", to="softmax")


def test_a_number_that_nothing_reads_has_no_uses(network: Any) -> None:
    uses = network[0].uses("fc[0,0]")
    assert (len(uses), uses.steps, uses.opaque) == (0, (), ())


def test_a_step_that_does_not_depend_on_the_number_is_an_error(network: Any) -> None:
    with pytest.raises(ct.UsageError, match=r"conv1 does not depend on conv2\[0,0,0,0\]"):
        network[0].uses("conv2[0,0,0,0]", to="conv1")


@pytest.mark.parametrize(
    ("address", "to", "error"),
    [
        ("nowhere[0]", None, ct.UnknownStepError),
        ("input[0,0,0,0]", "nowhere", ct.UnknownStepError),
        ("input[0,0,7,0]", None, ct.OutOfRangeError),
        ("conv1.weight[0,0,0]", None, ct.OutOfRangeError),
        ("input", None, ct.AddressError),
    ],
)
def test_a_wrong_question_gets_an_error(
    network: Any, address: str, to: str | None, error: type[Exception]
) -> None:
    with pytest.raises(error):
        network[0].uses(address, to=to)


RULES: dict[str, Callable[[Tensor], Tensor]] = {
    "average pool": lambda y: F.avg_pool2d(y, 3, 2, padding=1),
    "max pool": lambda y: F.max_pool2d(y, 3, 1, padding=1),
    "nearest": lambda y: F.interpolate(y, scale_factor=2),
    "bilinear": lambda y: F.interpolate(y, (9, 7), mode="bilinear"),
    "reflection": lambda y: F.pad(y, (2, 1, 0, 3), mode="reflect"),
    "permute": lambda y: y.permute(0, 2, 3, 1),
    "concatenation": lambda y: torch.cat([y, y], 1),
    "mean": lambda y: y.mean((2, 3)),
    "leaky": lambda y: F.leaky_relu(y, 0.1),
    "mul": lambda y: y * 3,
    "sub": lambda y: 1 - y,
}


@pytest.mark.parametrize("then", RULES.values(), ids=RULES)
def test_rules_turned_round_are_columns_of_the_jacobian(then: Callable[[Tensor], Tensor]) -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 2, 6, 6)

    def model(x: Tensor) -> Tensor:
        return then(F.conv2d(x, torch.eye(2)[:, :, None, None]))

    trace = ct.trace(model, x)
    name = list(trace.steps)[-1]
    jacobian = torch.autograd.functional.jacobian(then, x.double())
    for index in [(0, 0, 0, 0), (0, 1, 3, 2), (0, 0, 5, 5)]:
        expected = jacobian[(..., *index)]
        uses = trace.uses(ct.Address("conv2d", index), to=name)
        assert torch.allclose(dense(uses, name, expected.shape), expected, 0, 1e-6)


def test_looking_for_uses_moves_the_progress_bar() -> None:
    trace = ct.trace(nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU()), torch.ones(1, 1, 2, 2))
    for to in (None, "1"):
        moved: list[None] = []
        trace.uses("input[0,0,0,0]", to=to, on_step=lambda moved=moved: moved.append(None))
        assert moved
