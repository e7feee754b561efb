"""Memory read in another order: packed channels, rows of another length, strides, shuffles."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mismatch.wrong import Layer, Question, case, layer, numbers


def packed(x: Tensor, block: int) -> Tensor:
    """Return an NCHW array as it lies in memory with blocks of channels last."""
    n, c, rows, columns = x.shape
    return x.reshape(n, c // block, block, rows, columns).permute(0, 1, 3, 4, 2).reshape(x.shape)


def in_groups(x: Tensor, groups: int) -> Tensor:
    """Return channels shuffled as (groups, rest) -> (rest, groups)."""
    shape = x.shape
    return x.reshape(shape[0], groups, -1, *shape[2:]).transpose(1, 2).reshape(shape)


def rows_of(x: Tensor, length: int) -> Tensor:
    """Return an array whose rows are read as if they had another length."""
    *lead, rows, columns = x.shape
    count = x[..., 0, 0].numel()
    flat = torch.arange(count)[:, None, None] * rows * columns
    flat = flat + torch.arange(rows)[:, None] * length + torch.arange(columns)
    return x.reshape(-1)[flat % x.numel()].reshape(*lead, rows, columns)


@case("uxlfoundation/oneDNN/issues/459", "input.layout")
def input_packed_in_eights_read_as_planes() -> Question:
    right = layer(16, 5, (3, 3), (9, 10), padding=1)
    return right.ask(right.run(x=packed(right.x, 8)))


@case("uxlfoundation/oneDNN/issues/459", "output.layout")
def output_left_packed_in_fours() -> Question:
    right = layer(5, 12, (3, 3), (9, 11), n=1)
    return right.ask(packed(right.run(), 4))


@case("uxlfoundation/oneDNN/issues/459", "input.layout")
def planes_read_as_packed_in_fours() -> Question:
    right = layer(8, 6, (1, 3), (7, 10), stride=(1, 2))
    n, c, rows, columns = right.x.shape
    x = right.x.reshape(n, c // 4, rows, columns, 4).permute(0, 1, 4, 2, 3)
    return right.ask(right.run(x=x.reshape(right.x.shape)))


@case("jdermody/brightwire/issues/22", "input.row_length")
def height_taken_for_the_width_of_the_input() -> Question:
    right = layer(3, 5, (3, 3), (8, 13), n=1, padding=1)
    return right.ask(right.run(x=rows_of(right.x, 8)))


@case("jdermody/brightwire/issues/22", "kernel.row_length")
def height_taken_for_the_width_of_the_kernel() -> Question:
    right = layer(4, 6, (3, 5), (12, 12), padding=(1, 2))
    return right.ask(right.run(weight=rows_of(right.weight, 3)))


@case(
    "pytorch/executorch/pull/22952",
    "input.layout",
    "kernel.reshaped",
    together=True,
)
def strides_of_both_operands_ignored() -> Question:
    right = layer(6, 8, (3, 3), (10, 11), n=1, padding=1)
    x = right.x.permute(0, 2, 3, 1).reshape(right.x.shape)
    weight = right.weight.permute(0, 2, 3, 1).reshape(right.weight.shape)
    return right.ask(right.run(x=x, weight=weight))


@case("imedslab/pytorch_bn_fusion/pull/6", "kernel.reshaped")
def weights_read_with_the_channels_swapped() -> Question:
    right = layer(4, 6, (3, 3), (9, 9))
    out, into, *kernel = right.weight.shape
    return right.ask(right.run(weight=right.weight.reshape(into, out, *kernel).transpose(0, 1)))


@case("tensorflow/tensorflow/issues/30044", "kernel.reshaped")
def weights_of_one_dimension_read_as_owi() -> Question:
    right = layer(5, 6, (4,), (31,), stride=2, padding=2)
    out, into, width = right.weight.shape
    weight = right.weight.reshape(out, width, into).transpose(1, 2)
    return right.ask(right.run(weight=weight))


@case("uxlfoundation/oneDNN/issues/352", "output.channels_interleaved")
def outputs_of_a_grouped_deconvolution_crossed() -> Question:
    right = layer(8, 8, (1, 1), (4, 5), groups=2, transposed=True)
    return right.ask(in_groups(right.run(), 2))


@case("microsoft/cliffordlayers/pull/17", "input.channels_interleaved")
def input_shuffled_in_three_parts() -> Question:
    right = layer(12, 6, (3, 3), (9, 9))
    return right.ask(right.run(x=in_groups(right.x, 3)))


@case(
    "microsoft/cliffordlayers/pull/17",
    "input.channels_interleaved",
    "output.channels_interleaved",
    together=True,
)
def shuffled_before_and_after_a_grouped_layer() -> Question:
    right = layer(8, 12, (3, 3), (9, 10), groups=2, padding=1)
    return right.ask(in_groups(right.run(x=in_groups(right.x, 2)), 2))


@case("PINTO0309/openvino2tensorflow/issues/48", "input.channels_shifted")
def halves_of_the_input_concatenated_the_other_way_round() -> Question:
    right = layer(12, 6, (3, 3), (9, 9))
    return right.ask(right.run(x=torch.cat(list(right.x.chunk(2, 1))[::-1], 1)))


@case("naibaf7/libdnn/issues/26", "dilation.zero")
def dilation_zero_where_one_is_none() -> Question:
    right = layer(4, 6, (3, 3), (12, 12), dilation=1)
    alone = right.weight.sum((2, 3), keepdim=True)
    return right.ask(F.conv2d(right.x[:, :, :10, :10], alone, right.bias))


@case("Tencent/ncnn/issues/315", "bias.alone")
def loop_over_taps_never_entered() -> Question:
    right = layer(6, 6, (3, 3), (9, 9), groups=6, dilation=2, padding=2)
    return right.ask(right.bias[None, :, None, None].expand(2, 6, 9, 9).clone())


@case("pytorch/pytorch/issues/20981", "padding.missing")
def padding_forgotten_and_the_rest_left_zero() -> Question:
    right = layer(4, 6, (3, 5), (11, 12), padding=(1, 2))
    return right.ask(F.pad(right.run(padding=0), (0, 4, 0, 2)))


@case("bhuman/CompiledNN/issues/15", "padding.by_channel")
def norm_before_a_padded_layer_folded_into_it() -> Question:
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pixels = torch.rand(1, 3, 14, 13, generator=torch.Generator().manual_seed(7))
    base = layer(3, 8, (3, 3), (14, 13), n=1, padding=1)
    column = (None, slice(None), None, None)
    right = Layer((pixels - mean[column]) / std[column], base.weight, base.bias, base.settings)
    late = (F.pad(pixels, (1, 1, 1, 1)) - mean[column]) / std[column]
    return right.ask(right.run(x=late, padding=0))


@case("google/flax/issues/4138", "kernel.by_channel")
def scale_of_a_weight_norm_not_applied() -> Question:
    right = layer(6, 8, (3, 3), (10, 10), padding=1)
    scale = numbers(8, seed=5).abs() + 0.5
    return right.ask(right.run(weight=right.weight / scale[:, None, None, None]))


@case("openvinotoolkit/open_model_zoo/issues/1872", "input.scaled")
def pixels_up_to_255_in_half_precision() -> Question:
    right = layer(3, 8, (3, 3), (12, 12), n=1, padding=1)
    half = Layer(right.x.half(), right.weight.half(), right.bias.half(), right.settings)
    return half.ask(half.run(x=half.x / 255))


@case("larq/compute-engine/pull/267", "padding.value")
def padded_with_a_constant_in_half_precision() -> Question:
    right = layer(8, 8, (3, 3), (10, 10), padding=1)
    half = Layer(right.x.half(), right.weight.half(), right.bias.half(), right.settings)
    return half.ask(half.run(x=F.pad(half.x, (1, 1, 1, 1), value=-0.75), padding=0))


@case("onnxsim/onnxsim/pull/665", "precision.weights_quantized")
def weights_of_four_bits() -> Question:
    right = layer(16, 8, (3, 3), (10, 10), padding=1)
    step = right.weight.abs().amax((1, 2, 3), keepdim=True) / 7
    weight = (right.weight / step).round().clamp(-8, 7) * step
    return right.ask(right.run(weight=weight), arithmetic="float32")


@case("tensorflow/tensorflow/issues/38845", "precision.input_quantized")
def inputs_quantized_between_layers() -> Question:
    right = layer(8, 8, (3, 3), (10, 10), padding=1)
    step = (right.x.max() - right.x.min()) / 255
    zero = (-right.x.min() / step).round()
    x = (((right.x / step).round() + zero).clamp(0, 255) - zero) * step
    return right.ask(right.run(x=x), arithmetic="float32")
