"""Receptive fields, against gradients and NaNs that PyTorch carries through the network."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import examples
from torch import Tensor, nn
from torch.nn import functional as F

import convtrace as ct
from convtrace.intervals import Part, hull
from convtrace.receptive import AxisField, Field, Paths, receptive_fields

# Judges ------------------------------------------------------------------------------------------

Span = tuple[int, int] | None
Network = Callable[[Tensor], Tensor]
Judge = Callable[[Network, Tensor, int, list[int]], list[Span]]


def spans_by_gradient(model: Network, x: Tensor, axis: int, outputs: list[int]) -> list[Span]:
    """For these output positions on `axis`, find the first and last input with a gradient."""
    copies = x.repeat(len(outputs), *[1] * (x.dim() - 1)).requires_grad_()  # one for each output
    y = model(copies).transpose(1, axis).flatten(2).sum(2)
    (gradient,) = torch.autograd.grad(y[range(len(outputs)), outputs].sum(), copies)
    return [_span(hit) for hit in gradient.transpose(1, axis).flatten(2).ne(0).any(2)]


def spans_by_nan(model: Network, x: Tensor, axis: int, outputs: list[int]) -> list[Span]:
    """For these output positions on `axis`, find the first and last input whose NaN arrives."""
    inputs = x.shape[axis]
    copies = x.repeat(inputs, *[1] * (x.dim() - 1))  # one for each input
    copies.transpose(1, axis)[range(inputs), range(inputs)] = torch.nan
    with torch.no_grad():
        arrived = model(copies).transpose(1, axis).flatten(2).isnan().any(2)
    return [_span(hit) for hit in arrived.T[outputs]]


def _span(hit: Tensor) -> Span:
    places = hit.nonzero().flatten().tolist()
    return (places[0], places[-1]) if places else None


def predicted(parts: tuple[Part, ...], position: int, axis: int, shape: tuple[int, ...]) -> Span:
    """Return the interval of an output position on one axis, over all positions on the others."""
    spans: list[Span] = []
    for part in parts:
        low, high = part.fixed or (0, 0)
        for number, law in part.laws:
            span = law.over([position] if number == axis else range(shape[number]))
            if span is None:
                break
            low, high = low + span[0], high + span[1]
        else:
            spans.append((low, high))
    return hull(spans)


def assert_interior_matches(
    model: nn.Module,
    x: Tensor,
    *,
    axis: int = 2,
    judge: Judge = spans_by_gradient,
    margin: int = 30,
) -> int:
    """Compare outputs in the middle whose fields keep clear of all borders; return how many."""
    parts, step = parts_of(model, x, axis)
    shape = tuple(model(x).shape)
    clear: list[int] = []
    for position in range(shape[axis] // 4, shape[axis] - shape[axis] // 4):
        span = predicted(parts, position, axis, shape)
        if span is None or margin <= span[0] <= span[1] < x.shape[axis] - margin:
            clear.append(position)
    chosen = clear[:30]  # more than there are phases
    expected = [predicted(parts, position, axis, shape) for position in chosen]
    assert expected == judge(model, x, axis, chosen), (step, chosen)
    return len(chosen)


def parts_of(model: nn.Module, x: Tensor, axis: int = 2) -> tuple[tuple[Part, ...], str]:
    trace = ct.trace(model, x)
    step = list(trace.steps)[-1]
    parts = Paths(trace).parts(step)
    assert parts is not None
    return parts[axis], step


def positive(model: nn.Module) -> nn.Module:
    """Make every weight positive, so that no two paths cancel."""
    for parameter in model.parameters():
        nn.init.uniform_(parameter, 0.5, 1.5)
    return model.double().eval()


def field_of(model: Any, *inputs: Tensor, step: str | None = None) -> Field:
    trace = ct.trace(model, *inputs)
    (field,) = receptive_fields(trace)[step or list(trace.steps)[-1]]
    return field


def numbers(axis: AxisField) -> tuple[int | None, tuple[Fraction, ...], int | None]:
    return axis.size, axis.strides, axis.start


def assert_field(field: Field, size: int, stride: float | Fraction, start: int) -> None:
    assert field.axes
    for axis in field.axes:
        assert numbers(axis) == (size, (Fraction(stride),), start)


# Drawn stacks ------------------------------------------------------------------------------------


class Residual(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        y = self.inner(x)
        size = min(x.shape[-1], y.shape[-1])
        return x[..., :size] + y[..., :size]


class Resize(nn.Module):
    def __init__(self, factor: float, mode: str) -> None:
        super().__init__()
        self.options = {"scale_factor": factor, "mode": mode}

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, **self.options)


small = st.integers(1, 3)


@st.composite
def convolution(draw: Any) -> nn.Module:
    return nn.Conv1d(
        2, 2, draw(st.integers(1, 4)), draw(small), draw(st.integers(0, 3)), draw(small)
    )


@st.composite
def transposed(draw: Any) -> nn.Module:
    stride, dilation = draw(small), draw(small)
    extra = draw(st.integers(0, max(stride, dilation) - 1))
    kernel, padding = draw(st.integers(1, 4)), draw(st.integers(0, 2))
    return nn.ConvTranspose1d(2, 2, kernel, stride, padding, extra, dilation=dilation)


@st.composite
def pool(draw: Any, which: type[nn.Module]) -> nn.Module:
    kernel = draw(st.integers(1, 4))
    return which(kernel, draw(small), draw(st.integers(0, kernel // 2)))


@st.composite
def residual(draw: Any) -> nn.Module:
    half, dilation = draw(st.integers(0, 2)), draw(small)
    kernel = 2 * half + draw(st.integers(1, 2))
    return Residual(nn.Conv1d(2, 2, kernel, 1, half * dilation, dilation))


LENGTH = 120


def stacks(*more: st.SearchStrategy[nn.Module]) -> st.SearchStrategy[nn.Sequential]:
    layer = st.one_of(convolution(), transposed(), residual(), *more)
    drawn = st.lists(layer, min_size=1, max_size=4)
    return drawn.map(lambda layers: nn.Sequential(nn.Conv1d(1, 2, 1), *layers)).filter(fits)


def fits(model: nn.Module) -> bool:
    """Return whether every kernel fits."""
    try:
        model(torch.rand(1, 1, LENGTH))
    except RuntimeError:
        return False
    return True


@examples(120)
@given(
    model=stacks(
        pool(nn.AvgPool1d),
        st.sampled_from([2, 3, 0.5, 1.5]).map(lambda factor: Resize(factor, "linear")),
        st.sampled_from([2, 3, 0.5]).map(lambda factor: Resize(factor, "nearest")),
    )
)
def test_drawn_stacks_reach_exactly_the_inputs_with_a_gradient(model: nn.Sequential) -> None:
    assume(assert_interior_matches(positive(model), torch.rand(1, 1, LENGTH).double()))


@examples(120)
@given(model=stacks(pool(nn.MaxPool1d)))
def test_drawn_stacks_with_max_pools_reach_exactly_the_inputs_whose_nan_arrives(
    model: nn.Sequential,
) -> None:
    x = torch.rand(1, 1, LENGTH).double()
    assume(assert_interior_matches(positive(model), x, judge=spans_by_nan))


@examples(120)
@given(model=stacks(pool(nn.AvgPool1d)))
def test_drawn_stacks_report_size_stride_and_start_as_the_laws_have_them(
    model: nn.Sequential,
) -> None:
    model, x = model.double(), torch.rand(1, 1, LENGTH).double()
    parts, _ = parts_of(model, x)
    assume(parts)
    ((_, law),) = parts[0].laws
    outputs = model(x).shape[-1]
    spans = [law.at(position) for position in range(min(outputs, law.period))]
    first = law.at(0)
    (axis,) = field_of(model, x).axes
    assert axis.size == max((s[1] - s[0] + 1 for s in spans if s), default=0)
    assert axis.start == (first and first[0])
    if law.period < outputs:  # else it may not be seen to repeat
        assert axis.strides == (law.stride,)


# Steps one by one, in two dimensions --------------------------------------------------------------


class Then(nn.Module):
    """A strided convolution, then a function."""

    def __init__(self, function: Callable[[Tensor], Tensor], channels: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, channels, (3, 2), (2, 1), (1, 0))
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.conv(x))


def windows(y: Tensor) -> Tensor:
    """Cut 4 x 4 windows and put them side by side as channels."""
    n, c, height, width = y.shape
    y = y[..., : height // 4 * 4, : width // 4 * 4]
    y = y.reshape(n, c, height // 4, 4, width // 4, 4).permute(0, 1, 3, 5, 2, 4)
    return y.reshape(n, c * 16, height // 4, width // 4)


def narrow_and_shift(y: Tensor) -> Tensor:
    return y[:, :, 5:, 4:-3:2]


STEPS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "pad": lambda y: F.pad(y, (2, 1, 3, 0)),
    "reflect": lambda y: F.pad(y, (2, 1, 3, 0), mode="reflect"),
    "circular": lambda y: F.pad(y, (2, 1, 3, 0), mode="circular"),
    "crop": lambda y: F.pad(y, (-2, -1, -3, 0)),
    "slice": narrow_and_shift,
    "chunk": lambda y: y.chunk(2, 1)[1],
    "cut along an axis": lambda y: y.split([3, y.shape[2] - 3], 2)[1],
    "join along an axis": lambda y: torch.cat([y, y.roll(7, 2), y], 2),
    "join across": lambda y: torch.cat([y[..., 20:30], y[..., 10:]], 3),
    "flip": lambda y: y.flip(2),
    "channels last": lambda y: F.layer_norm(
        y.permute(0, 2, 3, 1), (4,), torch.arange(4.0).double()
    ).permute(0, 3, 1, 2),
    "upsample": lambda y: F.interpolate(y, scale_factor=2),
    "upsample by a size": lambda y: F.interpolate(y, size=(y.shape[2] * 3, y.shape[3] * 2)),
    "nearest exact": lambda y: F.interpolate(y, scale_factor=3, mode="nearest-exact"),
    "bilinear": lambda y: F.interpolate(y, scale_factor=2, mode="bilinear"),
    "bilinear corners": lambda y: F.interpolate(
        y, size=(y.shape[2] * 2 - 1, y.shape[3] * 3 - 2), mode="bilinear", align_corners=True
    ),
    "bicubic": lambda y: F.interpolate(y, scale_factor=2, mode="bicubic"),
    "pixel shuffle": lambda y: F.pixel_shuffle(y, 2),
    "pixel unshuffle": lambda y: F.pixel_unshuffle(y[..., :40, :40], 2),
    "windows": windows,
    "avg pool ceil": lambda y: F.avg_pool2d(y, 3, 2, 1, ceil_mode=True),
    "adaptive pool": lambda y: F.adaptive_avg_pool2d(y, (12, 10)),
    "pyramid": lambda y: torch.cat(
        [y, F.interpolate(F.adaptive_avg_pool2d(y, 4), size=y.shape[2:])], 1
    ),
    "squeeze and unsqueeze": lambda y: y.unsqueeze(1).squeeze(1),
    "stack": lambda y: torch.stack([y, y.roll(0, 1)], 1).mean(1),
    "sum of channels": lambda y: y.sum(1, keepdim=True),
    "channels apart": lambda y: torch.stack(y.unbind(1), 1),
    "matrix over channels": lambda y: torch.einsum("nchw,dc->ndhw", y, torch.ones(2, 4).double()),
    "transpose back": lambda y: y.transpose(2, 3).contiguous().transpose(-1, -2),
    "broadcast": lambda y: y * y.amax(1, keepdim=True),
}


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("axis", [2, 3])
def test_each_kind_of_step_reaches_exactly_the_inputs_with_a_gradient(name: str, axis: int) -> None:
    model = positive(Then(STEPS[name]))
    x = torch.rand(1, 1, 96, 49, generator=torch.Generator().manual_seed(0)).double()
    assert assert_interior_matches(model, x, axis=axis, margin=4) > 2


def test_a_resize_that_inference_mode_takes_apart_reaches_the_same_inputs() -> None:
    model = positive(Then(lambda y: F.interpolate(y, scale_factor=2, mode="bilinear")))
    x = torch.rand(1, 1, 96, 49).double()
    with torch.inference_mode():
        apart = field_of(model, x)
    for inside, outside in zip(apart.axes, field_of(model, x).axes, strict=True):
        assert (inside.size, inside.strides) == (outside.size, outside.strides)


@pytest.mark.parametrize(
    ("name", "function"),
    {
        "mean": lambda y: y.mean((2, 3)),
        "adaptive pool to one": lambda y: F.adaptive_avg_pool2d(y, 1),
        "squeeze and excite": lambda y: y * torch.sigmoid(y.mean((2, 3), keepdim=True)),
        "group norm": lambda y: F.group_norm(y, 2),
        "instance norm": F.instance_norm,
        "batch norm in training": lambda y: F.batch_norm(y, None, None, training=True),
        "layer norm over all": lambda y: F.layer_norm(y, tuple(y.shape[1:])),
        "softmax over positions": lambda y: y.flatten(2).softmax(-1),
        "attention": lambda y: F.scaled_dot_product_attention(*[y.flatten(2).transpose(1, 2)] * 3),
        "flatten and multiply": lambda y: F.linear(
            y.flatten(1), torch.ones(2, y[0].numel()).double()
        ),
        "oversized pool": lambda y: F.avg_pool2d(y, 99, ceil_mode=True),
    }.items(),
)
def test_what_reads_every_position_reaches_the_whole_input(
    name: str, function: Callable[[Tensor], Tensor]
) -> None:
    field = field_of(Then(function).double(), torch.rand(1, 1, 24, 13).double())
    assert [axis.whole for axis in field.axes] == [True, True], name


# Known networks -----------------------------------------------------------------------------------


def resnet(**config: Any) -> nn.Module:
    from transformers.models.resnet.configuration_resnet import ResNetConfig
    from transformers.models.resnet.modeling_resnet import ResNetModel

    return ResNetModel(ResNetConfig(**config)).eval()


def last_relu(model: nn.Module, x: Tensor) -> Field:
    trace = ct.trace(model, x)
    step = [step.name for step in trace.steps.values() if step.kind == "relu"][-1]
    return receptive_fields(trace)[step][0]


def test_resnet_18_has_the_field_of_the_distill_paper() -> None:
    model = resnet(
        layer_type="basic", depths=[2, 2, 2, 2], hidden_sizes=[64, 128, 256, 512], embedding_size=64
    )
    assert_field(last_relu(model, torch.rand(1, 3, 224, 224)), 435, 32, -217)


@pytest.mark.parametrize(("stride_in_first_convolution", "size"), [(True, 483), (False, 427)])
def test_resnet_50_has_the_field_that_its_place_of_the_stride_gives(
    stride_in_first_convolution: bool, size: int
) -> None:
    model = resnet(downsample_in_bottleneck=stride_in_first_convolution)
    assert_field(last_relu(model, torch.rand(1, 3, 64, 64)), size, 32, -(size // 2))


def test_mobilenet_v1_has_the_field_of_the_distill_paper() -> None:
    from transformers.models.mobilenet_v1.configuration_mobilenet_v1 import MobileNetV1Config
    from transformers.models.mobilenet_v1.modeling_mobilenet_v1 import MobileNetV1Model

    trace = ct.trace(MobileNetV1Model(MobileNetV1Config()).eval(), torch.rand(1, 3, 64, 64))
    step = [step.name for step in trace.steps.values() if step.kind == "hardtanh"][-1]
    assert [axis.size for axis in receptive_fields(trace)[step][0].axes] == [315, 315]


def test_vgg_16_has_the_field_of_the_distill_paper_at_its_last_pool() -> None:
    layers: list[nn.Module] = []
    channels = 3
    for count in (2, 2, 3, 3, 3):
        for _ in range(count):
            layers += [nn.Conv2d(channels, 4, 3, padding=1), nn.ReLU(inplace=True)]
            channels = 4
        layers.append(nn.MaxPool2d(2))
    assert_field(field_of(nn.Sequential(*layers), torch.rand(1, 3, 64, 64)), 212, 32, -90)


def test_a_small_resnet_reaches_exactly_the_inputs_with_a_gradient() -> None:
    class Block(nn.Module):
        def __init__(self, into: int, out: int, stride: int) -> None:
            super().__init__()
            self.one = nn.Conv2d(into, out, 3, stride, 1)
            self.norm = nn.BatchNorm2d(out)
            self.two = nn.Conv2d(out, out, 3, 1, 1)
            self.skip = nn.Conv2d(into, out, 1, stride) if stride > 1 else nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(self.two(torch.relu(self.norm(self.one(x)))) + self.skip(x))

    model = nn.Sequential(nn.Conv2d(1, 2, 7, 2, 3), Block(2, 2, 1), Block(2, 3, 2), Block(3, 3, 1))
    x = torch.rand(1, 1, 160, 5, generator=torch.Generator().manual_seed(0))
    assert assert_interior_matches(positive(model), x.double())
    assert_field(field_of(model, x.double()), 43, 4, -21)


class UNet(nn.Module):
    """Two levels down by pools, two up by transposed convolutions, with skips."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList(nn.Conv2d(c, 2, 3, padding=1) for c in (1, 2))
        self.middle = nn.Conv2d(2, 2, 3, padding=1)
        self.up = nn.ModuleList(nn.ConvTranspose2d(2, 2, 2, 2) for _ in range(2))
        self.merge = nn.ModuleList(nn.Conv2d(4, 2, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        skips: list[Tensor] = []
        for layer in self.down:
            skips.append(torch.relu(layer(x)))
            x = F.avg_pool2d(skips[-1], 2)
        x = torch.relu(self.middle(x))
        for up, merge in zip(self.up, self.merge, strict=True):
            x = torch.relu(merge(torch.cat([skips.pop(), up(x)], 1)))
        return x


def test_a_unet_with_skips_reaches_exactly_the_inputs_with_a_gradient_in_each_phase() -> None:
    x = torch.rand(1, 1, 120, 8, generator=torch.Generator().manual_seed(0)).double()
    model = positive(UNet())
    assert assert_interior_matches(model, x)
    (height, _) = field_of(model, x).axes
    parts, _ = parts_of(model, x)
    sizes = {law.bounds[p][1] - law.bounds[p][0] + 1 for _, law in parts[0].laws for p in range(4)}
    assert height.size == max(sizes)
    assert len(sizes) > 1
    assert height.strides == (1,)


def test_each_axis_and_each_dimension_has_a_field_of_its_own() -> None:
    field = field_of(nn.Conv3d(1, 1, (1, 2, 3), (1, 2, 3), (0, 1, 2)), torch.rand(1, 1, 6, 6, 6))
    assert [numbers(axis) for axis in field.axes] == [(1, (1,), 0), (2, (2,), -1), (3, (3,), -2)]


def test_an_input_without_batch_axis_has_its_spatial_axes_counted_in_it() -> None:
    field = field_of(nn.Conv1d(2, 2, 5), torch.rand(2, 9))
    assert [(axis.axis, axis.size) for axis in field.axes] == [(1, 5)]


def test_an_input_with_channels_last_has_its_spatial_axes_found() -> None:
    conv = nn.Conv2d(3, 2, 3)
    field = field_of(lambda x: conv(x.permute(0, 3, 1, 2)), torch.rand(1, 8, 9, 3))
    assert [(axis.axis, axis.input_size) for axis in field.axes] == [(1, 8), (2, 9)]


def test_a_transposed_convolution_with_gaps_reads_nothing_in_some_phases() -> None:
    field = field_of(nn.ConvTranspose1d(1, 1, 1, stride=3, padding=1), torch.rand(1, 1, 9))
    assert numbers(field.axes[0]) == (1, (Fraction(1, 3),), None)


# What cannot be said in one number ---------------------------------------------------------------


def test_branches_that_move_differently_are_not_aligned_and_name_both_strides() -> None:
    one, two = nn.Conv1d(1, 1, 3, stride=1), nn.Conv1d(1, 1, 3, stride=2)
    positive(nn.ModuleList([one, two]))

    def forward(x: Tensor) -> Tensor:
        return one(x)[..., :10] + two(x)[..., :10]

    x = torch.rand(1, 1, 40).double()
    (axis,) = field_of(forward, x).axes
    spans = spans_by_gradient(forward, x, 2, list(range(10)))
    assert axis.strides == (1, 2)
    assert not axis.aligned
    assert axis.size == max(high - low + 1 for low, high in filter(None, spans))


def test_a_field_that_jumps_back_has_no_stride() -> None:
    conv = nn.Conv1d(1, 2, 3)
    x = torch.rand(1, 1, 20)
    for function in (lambda y: y.roll(5, 2), lambda y: y.flatten(1), lambda y: y.repeat(1, 1, 2)):
        (axis,) = field_of(lambda x, after=function: after(conv(x)), x).axes
        assert (axis.size, axis.strides) == (3, ())


def test_an_axis_that_stands_for_two_has_no_stride() -> None:
    conv = nn.Conv2d(1, 1, 3)
    for axis in field_of(lambda x: conv(x).flatten(2), torch.rand(1, 1, 8, 8)).axes:
        assert (axis.size, axis.strides) == (3, ())


def test_tokens_that_become_an_image_again_have_their_stride_back() -> None:
    conv = nn.Conv2d(1, 4, 2, 2)

    def forward(x: Tensor) -> Tensor:
        tokens = F.layer_norm(conv(x).flatten(2).transpose(1, 2), (4,))
        return tokens.transpose(1, 2).reshape(1, 4, 6, 5)

    assert_field(field_of(forward, torch.rand(1, 1, 12, 10)), 2, 2, 0)


def test_a_step_of_an_unknown_kind_makes_the_field_unknown_from_there_on() -> None:
    conv = nn.Conv1d(1, 1, 3)
    trace = ct.trace(lambda x: torch.relu(torch.cumsum(conv(x), -1)), torch.rand(1, 1, 9))
    assert [fields[0].unknown_since for fields in receptive_fields(trace).values()] == [
        None,
        "cumsum",
        "cumsum",
    ]


def test_a_trace_of_convolutions_only_does_not_claim_to_know_what_ran_between() -> None:
    model = nn.Sequential(nn.Conv1d(1, 1, 3), nn.MaxPool1d(2), nn.Conv1d(1, 1, 3))
    trace = ct.trace(model, torch.rand(1, 1, 12), keep="convolutions")
    first, last = receptive_fields(trace).values()
    assert first[0].axes[0].size == 3
    assert last[0].unknown_since == "2.input"


def test_each_input_has_its_own_field() -> None:
    one, two = nn.Conv1d(1, 1, 3), nn.Conv1d(1, 1, 5)
    trace = ct.trace(lambda x, y: one(x) + two(y), torch.rand(1, 1, 9), torch.rand(1, 1, 11))
    fields = receptive_fields(trace)["add"]
    assert [(field.input, field.axes[0].size) for field in fields] == [("input", 3), ("input:2", 5)]


def test_an_input_that_no_window_slides_along_has_no_field() -> None:
    conv = nn.Conv1d(1, 4, 3)
    trace = ct.trace(
        lambda x, scale: conv(x) * scale[:, :, None], torch.rand(1, 1, 9), torch.rand(1, 4)
    )
    assert [field.input for field in receptive_fields(trace)["mul"]] == ["input"]


def test_two_hundred_residual_blocks_have_one_field_and_not_one_for_each_path() -> None:
    block = Residual(nn.Conv1d(1, 1, 3, padding=1))
    trace = ct.trace(nn.Sequential(*[block] * 200), torch.rand(1, 1, 32))
    (field,) = receptive_fields(trace)[list(trace.steps)[-1]]
    assert numbers(field.axes[0]) == (401, (1,), -200)
