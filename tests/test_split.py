"""Contributions: sums that hold, judged by autograd in float64 where gates are open or shut.

In a network of convolutions, ReLU, max pooling and stored statistics, freezing gates at their value
and at their slope is one and the same, so pixel terms are gradient times input. For smooth gates
it is not, and the tests show the difference.
"""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import convtrace as ct
from convtrace.rules import pull_of
from convtrace.split import Numbers

# Residual by scale: two roundings of float32 (few terms here; real networks are held to 1e-7).
RECORDED, FLOAT64 = 2 * 2.0**-24, 1e-15


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def lively(model: nn.Module) -> nn.Module:
    """Give norms statistics, scales and shifts that are not trivial."""
    for module in model.modules():
        if getattr(module, "running_mean", None) is not None:
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 2)
        if "Norm" in type(module).__name__ and getattr(module, "weight", None) is not None:
            nn.init.uniform_(module.weight, -1.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
    return model


class Around(nn.Module):
    """A convolution, then something, then a second convolution where the shape allows it."""

    def __init__(self, then: Callable[[Tensor], Tensor], axes: int = 2) -> None:
        super().__init__()
        convolution = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1]
        self.conv1 = convolution(2, 4, 3, padding=1)
        self.then = then
        self.conv2 = convolution(4, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.then(self.conv1(x))
        return self.conv2(y) if y.dim() == x.dim() and y.shape[1] == 4 else y


class Excited(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, gate: Callable[[Tensor], Tensor] = torch.sigmoid) -> None:
        super().__init__()
        self.fc1, self.fc2, self.gate = nn.Linear(4, 2), nn.Linear(2, 4), gate

    def forward(self, x: Tensor) -> Tensor:
        gate = self.gate(self.fc2(torch.relu(self.fc1(x.mean((2, 3))))))
        return x * gate[:, :, None, None]


def last_of(trace: ct.Trace) -> str:
    return list(trace.steps)[-1]


def run(model: nn.Module, x: Tensor, *, training: bool = False) -> ct.Trace:
    model.train(training)
    with torch.no_grad():
        return ct.trace(model, x)


def assert_conserves(trace: ct.Trace, count: int = 3) -> None:
    """Assert that some outputs are the sum of their parts, as recorded and in float64."""
    step = trace.step(last_of(trace))
    draw = torch.Generator().manual_seed(0)
    for _ in range(count):
        index = tuple(int(torch.randint(n, (), generator=draw)) for n in step.shape)
        address = ct.Address(step.name, index)
        for dtype, most in ((None, RECORDED), (torch.float64, FLOAT64)):
            split = trace.contributions(address, dtype=dtype)
            parts = [*split.inputs.values(), *split.stops.values()]
            total = sum(float(t.double().sum()) for t in parts) + sum(split.biases.values())
            scale = sum(float(t.double().abs().sum()) for t in parts)
            scale += sum(map(abs, split.biases.values()))
            assert split.total == pytest.approx(total, rel=1e-12, abs=1e-300)
            assert split.scale >= scale * (1 - 1e-12)  # biases of a step may cancel one another
            assert split.residual == split.reported - split.total
            assert abs(split.residual) <= most * split.scale, f"{split!r}"
            assert split.opaque == ()
            assert set(split.inputs) == {"input"}
            if dtype is None:
                assert split.reported == trace.value(address)


BOTH = torch.linspace(-1, 1, 4).reshape(1, 4, 1, 1)

AROUND: dict[str, Callable[[Tensor], Tensor]] = {
    "ReLU": torch.relu,
    "ReLU in place": lambda y: y.relu_(),
    "ReLU6": F.relu6,
    "LeakyReLU": lambda y: F.leaky_relu(y, 0.2),
    "PReLU": nn.PReLU(4),
    "ELU": F.elu,
    "CELU": F.celu,
    "GELU": F.gelu,
    "GELU, tanh": lambda y: F.gelu(y, approximate="tanh"),
    "SiLU": F.silu,
    "Mish": F.mish,
    "sigmoid": torch.sigmoid,
    "log sigmoid": F.logsigmoid,
    "tanh": torch.tanh,
    "hardtanh": F.hardtanh,
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "softplus": F.softplus,
    "clamp": lambda y: y.clamp(-0.5, 0.25),
    "exp": torch.exp,
    "abs": torch.abs,
    "square": lambda y: y**2,
    "sqrt": lambda y: (y.abs() + 1).sqrt(),
    "neg": lambda y: -y,
    "dropout that is off": lambda y: F.dropout(y, training=False),
    "max pool": lambda y: F.max_pool2d(y, 2),
    "max pool, overlapping": lambda y: F.max_pool2d(y, 3, 2, padding=1, ceil_mode=True),
    "average pool": lambda y: F.avg_pool2d(y, 3, 2, padding=1),
    "average pool without padding in its divisor": lambda y: F.avg_pool2d(
        y, 3, 2, padding=1, count_include_pad=False
    ),
    "adaptive average pool": lambda y: F.adaptive_avg_pool2d(y, (3, 2)),
    "adaptive max pool": lambda y: F.adaptive_max_pool2d(y, (3, 2)),
    "LP pool": lambda y: F.lp_pool2d(y.abs() + 1, 2, 2),
    "mean": lambda y: y.mean((2, 3)),
    "sum": lambda y: y.sum((2, 3), keepdim=True),
    "largest": lambda y: y.amax((2, 3)),
    "nearest": lambda y: F.interpolate(y, scale_factor=2),
    "bilinear": lambda y: F.interpolate(y, (9, 7), mode="bilinear"),
    "bilinear, aligned": lambda y: F.interpolate(y, (9, 7), mode="bilinear", align_corners=True),
    "bicubic": lambda y: F.interpolate(y, (9, 7), mode="bicubic"),
    "pad by 0": lambda y: F.pad(y, (1, 2, 0, 1)),
    "pad by a number": lambda y: F.pad(y, (1, 2, 0, 1), value=0.75),
    "pad by reflection": lambda y: F.pad(y, (1, 2, 0, 1), mode="reflect"),
    "pad by repeating": lambda y: F.pad(y, (1, 2, 0, 1), mode="replicate"),
    "pad around": lambda y: F.pad(y, (1, 2, 0, 1), mode="circular"),
    "pad by less than nothing": lambda y: F.pad(y, (-1, 0, 0, -2)),
    "reshape": lambda y: y.reshape(1, 4, 3, 12),
    "permute": lambda y: y.permute(0, 1, 3, 2),
    "roll": lambda y: y.roll((1, 2), (2, 3)),
    "flip": lambda y: y.flip(2),
    "slice": lambda y: y[:, :, 1:, ::2],
    "index": lambda y: y[:, [0, 3, 3, 1]],
    "expand": lambda y: y[:, :, :1].expand(-1, -1, 5, -1),
    "repeat": lambda y: y.repeat(1, 1, 2, 1),
    "pixel shuffle and back": lambda y: F.pixel_unshuffle(F.pixel_shuffle(y, 2), 2),
    "split and stack": lambda y: torch.stack(y.split(2, 1), 2).flatten(1, 2),
    "chunks, concatenated": lambda y: torch.cat(y.chunk(2, 1)[::-1], 1),
    "unfold": lambda y: F.unfold(y, 2),
    "residual": lambda y: y + torch.relu(y),
    "twice itself": lambda y: y + y,
    "add": lambda y: y + BOTH,
    "add a number": lambda y: y + 0.3,
    "sub": lambda y: y - BOTH,
    "from a number": lambda y: 0.3 - y,
    "mul": lambda y: y * BOTH,
    "mul by a number": lambda y: y * -1.7,
    "div": lambda y: y / (BOTH + 2),
    "div by a number": lambda y: y / 3,
    "div by what was computed": lambda y: y / (1 + y.abs().mean((2, 3), keepdim=True)),
    "own square": lambda y: y * y,
    "gated by itself": lambda y: y * torch.sigmoid(y),
    "squeeze and excitation": Excited(),
    "squeeze and excitation, hard": Excited(F.hardsigmoid),
    "matrix product": lambda y: torch.matmul(y, torch.ones(6, 5)),
    "matrix product of two computed": lambda y: torch.matmul(y, y.transpose(2, 3)),
    "batched product": lambda y: torch.bmm(y[0], y[0].transpose(1, 2))[None],
    "concatenation": lambda y: torch.cat([y[:, :2], torch.relu(y[:, 2:])], 1),
    "maximum": lambda y: torch.maximum(y, y.flip(3)),
    "where": lambda y: torch.where(y > 0, y, 0.2 * y),
    "fill": lambda y: y.masked_fill(torch.eye(6, dtype=torch.bool), 0.5),
    "fully connected": nn.Sequential(nn.Flatten(), nn.Linear(144, 5)),
    "transposed convolution": nn.ConvTranspose2d(4, 4, 3, stride=2, padding=1, output_padding=1),
    "grouped transposed convolution": nn.ConvTranspose2d(4, 4, 3, dilation=2, groups=2),
    "grouped convolution": nn.Conv2d(4, 4, 3, groups=4, dilation=2, padding="same"),
    "reflecting convolution": nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
    "batch norm": nn.BatchNorm2d(4),
    "batch norm without scale": nn.BatchNorm2d(4, affine=False),
    "group norm": nn.GroupNorm(2, 4),
    "instance norm": nn.InstanceNorm2d(4, affine=True),
    "instance norm by stored statistics": nn.InstanceNorm2d(4, track_running_stats=True),
    "layer norm": nn.LayerNorm([4, 6, 6]),
    "layer norm of channels": lambda y: F.layer_norm(y.permute(0, 2, 3, 1), (4,)).permute(
        0, 3, 1, 2
    ),
}  # fmt: skip


@pytest.mark.parametrize("then", AROUND.values(), ids=AROUND)
def test_a_number_is_the_sum_of_its_parts(then: Callable[[Tensor], Tensor]) -> None:
    trace = run(lively(Around(copy.deepcopy(then))), torch.randn(1, 2, 6, 6))
    assert_conserves(trace)


GIVEN: dict[str, Callable[[Tensor], Tensor]] = {
    "where": lambda y: torch.where(y > 0, y, BOTH),
    "where, else a number": lambda y: torch.where(y > 0, y, 0.5),
    "maximum": lambda y: torch.maximum(y, BOTH),
    "minimum": lambda y: torch.minimum(BOTH, y),
    "concatenation": lambda y: torch.cat([y[:, :3], BOTH[:, :1].expand(1, 1, 6, 6)], 1),
    "stack": lambda y: torch.stack([y, BOTH.expand(1, 4, 6, 6)], 1),
    "fill by a tensor": lambda y: y.masked_fill(torch.eye(6, dtype=torch.bool), BOTH[0, 3, 0, 0]),
}


@pytest.mark.parametrize("then", GIVEN.values(), ids=GIVEN)
def test_what_a_step_takes_of_given_numbers_counts_as_its_bias(
    then: Callable[[Tensor], Tensor],
) -> None:
    assert_conserves(run(Around(then), torch.randn(1, 2, 6, 6)), count=6)


class Token(nn.Module):
    """A learned token before what was computed, as in a vision transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.token = nn.Conv2d(1, 3, 2, stride=2), nn.Parameter(torch.randn(1, 1, 3))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.token, self.conv(x).flatten(2).transpose(1, 2)], 1)


def test_a_parameter_that_is_only_moved_is_a_bias() -> None:
    model = Token()
    split = run(model, torch.randn(1, 1, 4, 4)).contributions("cat[0,0,1]")
    assert split.biases == {"cat": pytest.approx(float(model.token[0, 0, 1].detach()))}
    assert split.residual == 0


def test_a_sum_with_a_matrix_product_is_split() -> None:
    def then(y: Tensor) -> Tensor:
        return torch.addmm(BOTH[0, :1, 0], y[0, 0], y[0, 1])

    assert_conserves(run(Around(then), torch.randn(1, 2, 6, 6)))


@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_uneven_padding_is_split() -> None:
    model = Around(nn.Conv2d(4, 4, 4, padding="same"))
    assert_conserves(run(model, torch.randn(1, 2, 6, 6)))


@pytest.mark.parametrize(
    "norm",
    [nn.BatchNorm2d(4), nn.GroupNorm(4, 4), nn.InstanceNorm2d(4), nn.BatchNorm2d(4, affine=False)],
)
def test_statistics_of_the_batch_are_a_gate_and_the_sum_holds(norm: nn.Module) -> None:
    trace = run(lively(Around(norm)), torch.randn(3, 2, 6, 6), training=True)
    assert_conserves(trace)


@pytest.mark.parametrize(
    ("axes", "then"),
    [
        (1, lambda y: F.gelu(F.max_pool1d(y, 2))),
        (1, lambda y: F.interpolate(F.avg_pool1d(torch.relu(y), 2), 9, mode="linear")),
        (1, nn.ConvTranspose1d(4, 4, 3, stride=2, dilation=2)),
        (1, nn.BatchNorm1d(4)),
        (3, lambda y: F.silu(F.max_pool3d(y, 2))),
        (3, lambda y: F.interpolate(F.avg_pool3d(y, 2), scale_factor=2, mode="trilinear")),
        (3, nn.ConvTranspose3d(4, 4, 2, stride=2)),
        (3, nn.Sequential(nn.BatchNorm3d(4), nn.ReLU(), nn.InstanceNorm3d(4))),
    ],
)
def test_a_number_of_a_1d_or_3d_network_is_the_sum_of_its_parts(axes: int, then: Any) -> None:
    model = lively(Around(copy.deepcopy(then), axes))
    assert_conserves(run(model, torch.randn(2, 2, *[6] * axes)))


def test_a_number_of_whole_numbers_is_the_sum_of_its_parts_exactly() -> None:
    x = torch.arange(18).reshape(1, 2, 3, 3)
    weight = torch.arange(8).reshape(1, 2, 2, 2) * 2**40
    trace = ct.trace(F.conv2d, x, weight)
    split = trace.contributions("conv2d[0,0,1,1]")
    wanted = sum(
        int(x[0, c, 1 + i, 1 + j] * weight[0, c, i, j])
        for c in range(2)
        for i in range(2)
        for j in range(2)
    )
    assert split.total == split.reported == wanted
    assert split.residual == 0


def test_an_input_without_a_batch_axis_is_split_too() -> None:
    assert_conserves(run(Around(torch.relu), torch.randn(2, 6, 6)))


def test_every_input_has_its_map() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3)

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return F.leaky_relu(self.left(x)) + self.right(y)

    x, y = torch.randn(1, 1, 5, 5), torch.randn(1, 2, 5, 5)
    split = ct.trace(Two(), x, y).contributions("add[0,1,2,0]")
    assert split.inputs["input"].shape == x.shape
    assert split.inputs["input:2"].shape == y.shape
    assert abs(split.residual) <= RECORDED * split.scale
    assert sorted(split.biases) == ["left", "right"]


# Against autograd --------------------------------------------------------------------------------


class Plain(nn.Module):
    """Convolutions, stored statistics, ReLU, max pooling, a skip, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.conv2, self.norm2 = nn.Conv2d(6, 6, 3, padding=1, groups=2), nn.BatchNorm2d(6)
        self.up = nn.ConvTranspose2d(6, 4, 2, stride=2)
        self.fc = nn.Linear(4, 3)
        lively(self)

    def below(self, x: Tensor) -> Tensor:
        return torch.relu(self.norm1(self.conv1(x)))

    def above(self, y: Tensor) -> Tensor:
        z = F.max_pool2d(torch.relu(y + self.norm2(self.conv2(y))), 2)
        return self.fc(F.leaky_relu(self.up(z), 0.1).mean((2, 3)))

    def forward(self, x: Tensor) -> Tensor:
        return self.above(self.below(x))


def gradient(of: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, float]:
    """Return gradient times input, and the number, by autograd."""
    x = x.detach().clone().requires_grad_()
    number = of(x)
    (slope,) = torch.autograd.grad(number, x)
    return slope * x.detach(), float(number.detach())


@pytest.fixture
def plain() -> tuple[ct.Trace, nn.Module, Tensor]:
    model, x = Plain(), torch.randn(2, 2, 8, 8)
    return run(model, x), copy.deepcopy(model).double().eval(), x.double()


def test_pixel_terms_of_a_relu_network_are_gradient_times_input(plain: Any) -> None:
    trace, double, x = plain
    for index in [(0, 0), (1, 2)]:
        expected, number = gradient(lambda x, at=index: double(x)[at], x)
        for dtype, most in ((None, 1e-6), (torch.float64, 1e-14)):
            split = trace.contributions(ct.Address("fc", index), dtype=dtype)
            size = float(expected.abs().max())
            assert torch.allclose(split.inputs["input"].double(), expected, 0, most * size)
            biases = sum(split.biases.values())
            assert biases == pytest.approx(number - float(expected.sum()), abs=most * split.scale)
            assert split.reported == pytest.approx(number, abs=1e-6 if dtype is None else 1e-14)


def test_every_bias_of_a_relu_network_is_its_gradient_times_itself(plain: Any) -> None:
    trace, double, x = plain
    split = trace.contributions("fc[0,1]", dtype=torch.float64)
    layers = {"conv1": double.conv1, "conv2": double.conv2, "up": double.up, "fc": double.fc}
    number = double(x)[0, 1]
    for name, layer in layers.items():
        (slope,) = torch.autograd.grad(number, layer.bias, retain_graph=True)
        expected = float((slope * layer.bias).detach().sum())
        assert split.biases[name] == pytest.approx(expected, abs=1e-13)
    for name in ("norm1", "norm2"):  # the shift is the bias less the scaled mean
        norm = getattr(double, name)
        slopes = torch.autograd.grad(number, (norm.weight, norm.bias), retain_graph=True)
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        expected = float((slopes[1] * (norm.bias - scale * norm.running_mean)).detach().sum())
        assert split.biases[name] == pytest.approx(expected, abs=1e-13)
    assert sorted(split.biases) == sorted([*layers, "norm1", "norm2"])


def test_a_difference_is_the_difference_of_both_splits(plain: Any) -> None:
    trace, double, x = plain
    expected, number = gradient(lambda x: double(x)[0, 1] - double(x)[0, 2], x)
    split = trace.contributions("fc[0,1]", minus="fc[0,2]", dtype=torch.float64)
    assert torch.allclose(split.inputs["input"], expected, 0, 1e-14)
    assert split.reported == pytest.approx(number, abs=1e-14)
    assert abs(split.residual) <= FLOAT64 * split.scale
    one, two = (trace.contributions(f"fc[0,{n}]", dtype=torch.float64) for n in (1, 2))
    assert torch.allclose(
        split.inputs["input"], one.inputs["input"] - two.inputs["input"], 0, 1e-14
    )
    for name, bias in split.biases.items():
        assert bias == pytest.approx(one.biases[name] - two.biases[name], abs=1e-13)
    assert split.target == ((ct.Address("fc", (0, 1)), 1.0), (ct.Address("fc", (0, 2)), -1.0))


def test_a_number_minus_itself_is_nothing(plain: Any) -> None:
    split = plain[0].contributions("fc[0,1]", minus="fc[0,1]")
    assert (split.reported, split.total, split.scale) == (0, 0, 0)


def test_two_numbers_of_different_steps_are_subtracted(plain: Any) -> None:
    trace = plain[0]
    split = trace.contributions("fc[0,1]", minus="conv1[0,0,3,3]", dtype=torch.float64)
    one = trace.contributions("fc[0,1]", dtype=torch.float64)
    two = trace.contributions("conv1[0,0,3,3]", dtype=torch.float64)
    expected = one.inputs["input"] - two.inputs["input"]
    assert torch.allclose(split.inputs["input"], expected, 0, 1e-14)
    assert split.reported == pytest.approx(one.reported - two.reported, abs=1e-14)
    assert abs(split.residual) <= FLOAT64 * split.scale


def test_a_split_that_stops_at_a_step_is_the_gradient_of_the_part_above_it(plain: Any) -> None:
    trace, double, x = plain
    y = double.below(x).detach()
    expected, number = gradient(lambda y: double.above(y)[1, 0], y)
    split = trace.contributions("fc[1,0]", at="relu", dtype=torch.float64)
    assert torch.allclose(split.stops["relu"], expected, 0, 1e-14)
    assert (set(split.inputs), split.opaque) == (set(), ())
    assert sorted(split.biases) == ["conv2", "fc", "norm2", "up"]
    assert split.reported == pytest.approx(number, abs=1e-14)
    assert abs(split.residual) <= FLOAT64 * split.scale


def test_a_split_that_stops_on_one_branch_goes_on_along_the_other(plain: Any) -> None:
    trace = plain[0]
    split = trace.contributions("fc[1,0]", at=["norm2"], dtype=torch.float64)
    assert set(split.stops) == {"norm2"}
    assert set(split.inputs) == {"input"}  # along the skip
    assert "conv2" not in split.biases
    assert "conv1" in split.biases
    assert abs(split.residual) <= FLOAT64 * split.scale


def test_a_split_does_not_stop_at_the_number_that_is_asked_about(plain: Any) -> None:
    trace = plain[0]
    split = trace.contributions("fc[1,0]", at="fc")
    assert split.stops == {}
    assert torch.equal(split.inputs["input"], trace.contributions("fc[1,0]").inputs["input"])


def test_a_split_counts_its_steps(plain: Any) -> None:
    seen: list[None] = []
    plain[0].contributions("conv2[0,0,0,0]", on_step=lambda: seen.append(None))
    assert len(seen) == 4  # conv2, relu, norm1, conv1


# Smooth gates ------------------------------------------------------------------------------------


@pytest.mark.parametrize("gate", [F.gelu, F.silu])
def test_smooth_gates_are_frozen_at_their_value_and_not_at_their_slope(
    gate: Callable[[Tensor], Tensor],
) -> None:
    model = Around(gate)
    x = torch.randn(1, 2, 6, 6)
    trace = run(model, x)
    split = trace.contributions("conv2[0,1,2,3]", dtype=torch.float64)
    double, exact = copy.deepcopy(model).double(), x.double()
    z = double.conv1(exact).detach()
    secant = gate(z) / z
    expected, number = gradient(lambda x: double.conv2(double.conv1(x) * secant)[0, 1, 2, 3], exact)
    assert torch.allclose(split.inputs["input"], expected, 0, 1e-14)
    assert split.reported == pytest.approx(number, abs=1e-14)
    assert abs(split.residual) <= FLOAT64 * split.scale
    slopes, _ = gradient(lambda x: double(x)[0, 1, 2, 3], exact)
    assert float((slopes - expected).abs().max()) > 1e-2 * float(expected.abs().max())


@pytest.mark.parametrize("gate", [F.gelu, F.silu])
def test_gradients_do_not_conserve_where_gates_are_smooth(gate: Callable[[Tensor], Tensor]) -> None:
    """Gradient times input and times every bias: the same sum, but with slopes for gates."""
    double = copy.deepcopy(Around(gate)).double()
    x = torch.randn(1, 2, 6, 6, dtype=torch.float64, requires_grad=True)
    number = double(x)[0, 1, 2, 3]
    leaves = [x, *(p for name, p in double.named_parameters() if name.endswith("bias"))]
    slopes = torch.autograd.grad(number, leaves)
    parts = [(s * leaf).detach() for s, leaf in zip(slopes, leaves, strict=True)]
    total = sum(float(part.sum()) for part in parts)
    scale = sum(float(part.abs().sum()) for part in parts)
    assert abs(float(number.detach()) - total) > 1e-3 * scale


def test_what_a_gate_makes_of_zero_belongs_to_its_step() -> None:
    trace = run(Around(torch.sigmoid), torch.randn(1, 2, 6, 6))
    split = trace.contributions("sigmoid[0,1,2,3]", dtype=torch.float64)
    assert split.biases["sigmoid"] == 0.5


def test_a_gate_at_zero_adds_only_what_it_makes_of_zero() -> None:
    trace = run(Around(F.softplus), torch.zeros(1, 2, 6, 6))
    with torch.no_grad():
        model = Around(F.softplus)
        model.conv1.bias.zero_()
    trace = run(model, torch.zeros(1, 2, 6, 6))
    split = trace.contributions("softplus[0,0,0,0]")
    assert split.biases == {"softplus": pytest.approx(0.6931471805599453, rel=1e-7)}
    assert float(split.inputs["input"].abs().max()) == 0


# Halves and stops --------------------------------------------------------------------------------


def test_a_product_of_two_computed_numbers_is_shared_in_halves_and_named() -> None:
    trace = run(Around(lambda y: y * y.flip(1)), torch.randn(1, 2, 6, 6))
    split = trace.contributions("mul[0,1,2,3]", at=["conv1", "flip"], dtype=torch.float64)
    assert split.halved == ("mul",)
    assert float(split.stops["conv1"].sum()) == pytest.approx(split.reported / 2, rel=1e-14)
    assert float(split.stops["flip"].sum()) == pytest.approx(split.reported / 2, rel=1e-14)


def test_a_gate_takes_nothing_of_a_product() -> None:
    trace = run(Around(Excited()), torch.randn(1, 2, 6, 6))
    split = trace.contributions("then[0,1,2,3]", at="conv1", dtype=torch.float64)
    assert split.halved == ()
    assert torch.nonzero(split.stops["conv1"]).tolist() == [[0, 1, 2, 3]]
    assert split.biases == {}


def test_an_opaque_step_stops_the_split_and_is_named() -> None:
    trace = run(Around(lambda y: F.softmax(y, 1)), torch.randn(1, 2, 6, 6))
    split = trace.contributions("conv2[0,1,2,3]")
    assert split.opaque == ("softmax",)
    assert set(split.stops) == {"softmax"}
    assert split.inputs == {}
    weight = trace.parameters["conv2.weight"].tensor()[1, :, 0, 0]
    expected = weight * trace.step("softmax").value.tensor()[0, :, 2, 3]
    assert torch.allclose(split.stops["softmax"][0, :, 2, 3], expected)
    assert abs(split.residual) <= RECORDED * split.scale


def test_an_opaque_step_that_is_asked_about_is_all_of_its_split() -> None:
    trace = run(Around(lambda y: F.softmax(y, 1)), torch.randn(1, 2, 6, 6))
    split = trace.contributions("softmax[0,1,2,3]")
    assert split.opaque == ("softmax",)
    assert float(split.stops["softmax"].sum()) == split.reported == split.total


def test_attention_over_channels_is_a_gate_that_takes_nothing() -> None:
    trace = run(Around(lambda y: y * F.softmax(y, 1)), torch.randn(1, 2, 6, 6))
    split = trace.contributions("mul[0,1,2,3]", dtype=torch.float64)
    assert (split.opaque, split.halved) == ((), ())
    assert abs(split.residual) <= FLOAT64 * split.scale


# What is refused ---------------------------------------------------------------------------------


def test_an_input_has_no_split(plain: Any) -> None:
    with pytest.raises(ct.UnknownStepError):
        plain[0].contributions("input[0,0,0,0]")


@pytest.mark.parametrize("options", [{}, {"minus": "nowhere[0,0]"}, {"at": "nowhere"}])
def test_an_unknown_step_is_named(plain: Any, options: dict[str, str]) -> None:
    address = "fc[0,0]" if options else "nowhere[0,0]"
    with pytest.raises(ct.UnknownStepError, match="nowhere"):
        plain[0].contributions(address, **options)


@pytest.mark.parametrize("options", [{}, {"minus": "fc[0,3]"}])
def test_a_position_outside_of_the_shape_is_named(plain: Any, options: dict[str, str]) -> None:
    address = "fc[0,0]" if options else "fc[0,3]"
    with pytest.raises(ct.OutOfRangeError, match=r"fc\[0,3\]"):
        plain[0].contributions(address, **options)


def test_random_numbers_cannot_be_had_again_in_float64() -> None:
    trace = run(Around(nn.Dropout(0.5)), torch.randn(1, 2, 6, 6), training=True)
    assert abs((split := trace.contributions("conv2[0,0,0,0]")).residual) <= 1e-7 * split.scale
    with pytest.raises(ct.NoValueError, match=r"dropout|then"):
        trace.contributions("conv2[0,0,0,0]", dtype=torch.float64)


def test_an_overwritten_tensor_is_an_error_and_not_a_wrong_split() -> None:
    model = Around(torch.relu)
    trace = run(model, torch.randn(1, 2, 6, 6))
    with torch.no_grad():
        model.conv1.weight.mul_(2)
    with pytest.raises(ct.TensorChangedError):
        trace.contributions("conv2[0,0,0,0]")


def test_a_split_says_what_it_is_of(plain: Any) -> None:
    split = plain[0].contributions("fc[0,1]", minus="fc[0,2]")
    assert repr(split).startswith("Split(fc[0,1] - fc[0,2] = ")
    assert split.dtype == "as recorded"
    assert plain[0].contributions("fc[0,1]", dtype=torch.float64).dtype == "float64"


# Several numbers ----------------------------------------------------------------------------------


def test_a_list_of_addresses_is_split_number_by_number(plain: Any) -> None:
    trace = plain[0]
    several = trace.contributions(["fc[0,2]", ct.Address("fc", (0, 0))])
    assert [str(split.target[0][0]) for split in several] == ["fc[0,2]", "fc[0,0]"]
    for split, address in zip(several, ("fc[0,2]", "fc[0,0]"), strict=True):
        alone = trace.contributions(address)
        assert torch.equal(split.inputs["input"], alone.inputs["input"])
        assert (split.biases, split.total) == (alone.biases, alone.total)


def test_the_name_of_a_step_in_a_list_stands_for_all_of_its_numbers(plain: Any) -> None:
    trace = plain[0]
    logits = trace.contributions(["fc"], dtype=torch.float64)
    places = [(i, j) for i in range(trace.step("fc").shape[0]) for j in range(3)]
    assert [split.target[0][0].index for split in logits] == places
    numbers = trace.step("fc").value.tensor().flatten()
    totals = torch.tensor([split.total for split in logits])
    assert torch.allclose(totals, numbers, rtol=1e-5)


def test_a_list_may_be_compared_with_one_number(plain: Any) -> None:
    trace = plain[0]
    against = trace.contributions(["fc[0,0]", "fc[0,1]"], minus="fc[0,2]")
    for split, address in zip(against, ("fc[0,0]", "fc[0,1]"), strict=True):
        alone = trace.contributions(address, minus="fc[0,2]")
        assert (split.target, split.total) == (alone.target, alone.total)


def test_a_name_without_a_position_is_no_number(plain: Any) -> None:
    with pytest.raises(ct.AddressError):
        plain[0].contributions("fc")


def test_every_walk_moves_the_progress_bar(plain: Any) -> None:
    moved: list[None] = []
    plain[0].contributions(["fc[0,0]", "fc[0,1]"], on_step=lambda: moved.append(None))
    both = len(moved)
    plain[0].contributions("fc[0,0]", on_step=lambda: moved.append(None))
    assert both == 2 * (len(moved) - both) > 0


def test_each_bias_counts_in_the_scale_though_they_cancel() -> None:
    """Two biases of one convolution cancel; the scale holds both."""
    conv, last = nn.Conv2d(1, 2, 1), nn.Conv2d(2, 1, 1, bias=False)
    with torch.no_grad():
        conv.weight.fill_(1)
        conv.bias.copy_(torch.tensor([3.0, -3.0]))
        last.weight.fill_(1)
    split = run(nn.Sequential(conv, last), torch.ones(1, 1, 1, 1)).contributions("1[0,0,0,0]")
    assert split.total == split.reported == 2
    assert split.biases.get("0", 0.0) == 0
    assert split.scale == 8


def test_a_walk_leaves_the_recorded_numbers_as_they_are(plain: Any) -> None:
    trace = plain[0]
    before = {name: step.value.tensor().clone() for name, step in trace.steps.items()}
    first, second = (trace.contributions("fc[0,1]") for _ in range(2))
    assert torch.equal(first.inputs["input"], second.inputs["input"])
    for name, step in trace.steps.items():
        assert torch.equal(step.value.tensor(), before[name]), name


# One number, the whole step, and nested loops ----------------------------------------------------

Index = tuple[int, ...]
Coefficients = dict[Index, float]


def loops_conv(index: Index, x: Index, weight: Tensor) -> Coefficients:
    """Stride 2, padding 1."""
    n, c, row, col = index
    return {
        (n, k, row * 2 - 1 + i, col * 2 - 1 + j): weight[c, k, i, j].item()
        for k in range(2) for i in range(3) for j in range(3)
        if 0 <= row * 2 - 1 + i < x[2] and 0 <= col * 2 - 1 + j < x[3]
    }  # fmt: skip


def loops_avg(index: Index, x: Index) -> Coefficients:
    """Kernel 3, stride 2, padding 1; the padding counts in the divisor."""
    n, c, row, col = index
    return {
        (n, c, row * 2 - 1 + i, col * 2 - 1 + j): 1 / 9
        for i in range(3) for j in range(3)
        if 0 <= row * 2 - 1 + i < x[2] and 0 <= col * 2 - 1 + j < x[3]
    }  # fmt: skip


def loops_max(index: Index, values: Tensor) -> Coefficients:
    """Kernel 2, stride 2."""
    n, c, row, col = index
    places = [(n, c, 2 * row + i, 2 * col + j) for i in range(2) for j in range(2)]
    return {max(places, key=lambda place: float(values[place])): 1.0}


def loops_bilinear(index: Index, x: Index, size: Index) -> Coefficients:
    """Centres of pixels are aligned, and what lies outside takes the edge."""
    n, c, *places = index
    axes: list[dict[int, float]] = []
    for place, before, after in zip(places, x[2:], size, strict=True):
        at = max((place + 0.5) * before / after - 0.5, 0.0)
        low = int(at)
        high = min(low + 1, before - 1)
        weights = {low: 1 - (at - low)}
        weights[high] = weights.get(high, 0.0) + at - low
        axes.append(weights)
    return {(n, c, i, j): a * b for i, a in axes[0].items() for j, b in axes[1].items()}


class Norm(nn.BatchNorm2d):
    def __init__(self) -> None:
        super().__init__(2)
        lively(self)


LAYERS: dict[str, tuple[nn.Module, Callable[[Index, Tensor, Any], Coefficients]]] = {
    "conv": (
        nn.Conv2d(2, 3, 3, stride=2, padding=1),
        lambda i, x, m: loops_conv(i, tuple(x.shape), m.weight),
    ),
    "linear": (
        nn.Linear(6, 5),
        lambda i, x, m: {(*i[:-1], k): m.weight[i[-1], k].item() for k in range(6)},
    ),
    "average pool": (
        nn.AvgPool2d(3, 2, padding=1), lambda i, x, m: loops_avg(i, tuple(x.shape))
    ),
    "max pool": (nn.MaxPool2d(2), lambda i, x, m: loops_max(i, x)),
    "batch norm": (
        Norm(),
        lambda i, x, m: {
            i: m.weight[i[1]].item() / (float(m.running_var[i[1]]) + m.eps) ** 0.5
        },
    ),
    "nearest": (
        nn.Upsample(size=(9, 7)),
        lambda i, x, m: {(i[0], i[1], i[2] * 6 // 9, i[3] * 6 // 7): 1.0},
    ),
    "bilinear": (
        nn.Upsample(size=(9, 7), mode="bilinear"),
        lambda i, x, m: loops_bilinear(i, tuple(x.shape), (9, 7)),
    ),
}  # fmt: skip


def nonzero(coefficients: Coefficients) -> Coefficients:
    return {place: number for place, number in coefficients.items() if abs(number) > 1e-12}


@pytest.mark.parametrize(("layer", "judge"), LAYERS.values(), ids=LAYERS)
def test_one_number_the_whole_step_and_nested_loops_agree(layer: nn.Module, judge: Any) -> None:
    conv = nn.Conv2d(2, 2, 1)
    trace = run(nn.Sequential(conv, layer), torch.randn(2, 2, 6, 6))
    step = trace.step("1")
    (role,) = (role for role, name in step.operands.items() if name == "0")
    x = step.values[role].tensor()
    draw = torch.Generator().manual_seed(1)
    for number in range(12):
        index = tuple(
            size - 1 if number == 0 else int(torch.randint(size, (), generator=draw))
            for size in step.shape
        )
        loops = nonzero(judge(index, x, layer))
        receipt = trace.why(ct.Address("1", index))
        element = {t.source.index: float(t.weight.real) for t in receipt.terms if t.source}
        assert nonzero(element) == pytest.approx(loops, rel=1e-5, abs=1e-7)
        split = trace.contributions(ct.Address("1", index), at="0", dtype=torch.float64)
        product = split.stops["0"]
        values = trace.step("0").value.tensor().double()
        whole = {
            tuple(place): float(product[tuple(place)] / values[tuple(place)])
            for place in product.nonzero().tolist()
        }
        # The operand was run again in float64, so it is not quite the recorded one.
        assert nonzero(whole) == pytest.approx(loops, rel=1e-4, abs=1e-6)
        cotangent = torch.zeros(step.shape)
        cotangent[index] = 1
        pulled = pull_of(step)(
            Numbers(list(trace.steps.values()), trace.inputs, None).run(step), cotangent
        ).cotangents[role]
        places = {tuple(p): float(pulled[tuple(p)]) for p in pulled.nonzero().tolist()}
        assert nonzero(places) == pytest.approx(loops, rel=1e-5, abs=1e-7)


def test_one_sum_and_the_whole_sum_agree() -> None:
    trace = run(Around(lambda y: torch.add(y, y.flip(1), alpha=3)), torch.randn(1, 2, 6, 6))
    terms = trace.why("add[0,1,2,3]").terms
    assert [(str(t.source), t.weight) for t in terms] == [
        ("conv1[0,1,2,3]", 1),
        ("flip[0,1,2,3]", 3),
    ]
    split = trace.contributions("add[0,1,2,3]", at=["conv1", "flip"])
    for term, name in zip(terms, ["conv1", "flip"], strict=True):
        assert float(split.stops[name].sum()) == pytest.approx(term.product, rel=1e-6)
        assert split.stops[name].nonzero().tolist() == [[0, 1, 2, 3]]
