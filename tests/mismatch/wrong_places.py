"""Windows in the wrong places: padding, stride, dilation, transposed geometry."""

from __future__ import annotations

import torch.nn.functional as F

from mismatch.wrong import Question, case, layer


@case("taehoonlee/tensornets/issues/25", "padding.amount", "padding.side", "stride.phase")
def symmetric_padding_where_tensorflow_pads_the_end() -> Question:
    right = layer(3, 8, (3, 3), (12, 12), stride=2, padding=[(0, 1), (0, 1)])
    return right.ask(F.conv2d(right.x, right.weight, right.bias, 2, 1))


@case("pytorch/pytorch/issues/67551", "padding.side")
def same_padding_upper_instead_of_lower() -> Question:
    right = layer(3, 4, (4, 4), (9, 10), padding=[(1, 2), (1, 2)])
    padded = F.pad(right.x, (2, 1, 2, 1))
    return right.ask(F.conv2d(padded, right.weight, right.bias))


@case("vtjeng/MIPVerify.jl/pull/23", "padding.side", "padding.amount", "stride.phase")
def same_padding_at_the_start_only() -> Question:
    right = layer(2, 3, (3, 3), (8, 8), stride=2, padding=[(0, 1), (0, 1)])
    padded = F.pad(right.x, (1, 0, 1, 0))
    return right.ask(F.conv2d(padded, right.weight, right.bias, 2))


@case("microsoft/MMdnn/issues/660", "padding.amount", "padding.side", "stride.phase")
def stride_two_begins_one_pixel_late() -> Question:
    right = layer(3, 4, (3, 3), (14, 14), stride=2, padding=[(1, 1), (1, 1)])
    padded = F.pad(right.x, (0, 2, 0, 2))
    return right.ask(F.conv2d(padded, right.weight, right.bias, 2)[:, :, :7, :7])


@case("tensorflow/tensorflow/issues/10747", "stride.phase", "padding.side")
def caffe_and_tensorflow_stride_at_other_pixels() -> Question:
    right = layer(2, 4, (3,), (21,), stride=2, padding=1)
    return right.ask(F.conv1d(F.pad(right.x, (0, 2)), right.weight, right.bias, 2)[..., :11])


@case("autogluon/autogluon/pull/438", "padding.axes")
def pad_width_and_height_swapped() -> Question:
    right = layer(2, 3, (3, 3), (8, 8), padding=(2, 0))
    wrong = F.conv2d(F.pad(right.x, (2, 2, 0, 0)), right.weight, right.bias)
    return right.ask(wrong)


@case("onnx/onnx/issues/7721", "padding.amount", "padding.missing")
def pads_of_onnx_read_in_the_wrong_order() -> Question:
    right = layer(1, 2, (3, 3), (7, 5), padding=[(1, 1), (0, 0)])
    return right.ask(F.conv2d(F.pad(right.x, (0, 0, 1, 1)), right.weight, right.bias)[:, :, 1:])


@case("ARM-software/ComputeLibrary/issues/78", "padding.side")
def even_kernel_padded_on_the_other_side() -> Question:
    right = layer(2, 2, (2, 2), (6, 6), padding=[(0, 1), (0, 1)])
    return right.ask(F.conv2d(F.pad(right.x, (1, 0, 1, 0)), right.weight, right.bias))


@case("pytorch/executorch/issues/20558", "padding.side")
def same_padding_of_an_even_kernel_in_one_dimension() -> Question:
    right = layer(2, 4, (4,), (16,), padding=[(1, 2)])
    return right.ask(F.conv1d(F.pad(right.x, (2, 1)), right.weight, right.bias))


@case("speechbrain/speechbrain/issues/125", "padding.mode")
def reflection_whatever_the_mode_was() -> Question:
    right = layer(2, 4, (5,), (30,), padding=2)
    wrong = F.conv1d(F.pad(right.x, (2, 2), mode="reflect"), right.weight, right.bias)
    return right.ask(wrong)


@case("pytorch/pytorch/issues/86690", "padding.mode")
def circular_padding_exported_as_zeros() -> Question:
    right = layer(2, 3, padding=1)
    return right.ask(right.run(), padding_mode="circular")


@case("pytorch/pytorch/issues/37844", "padding.mode")
def circular_in_one_direction_only() -> Question:
    right = layer(2, 3, (3, 3), (9, 9), padding=1)
    padded = F.pad(F.pad(right.x, (1, 1, 0, 0), mode="circular"), (0, 0, 1, 1))
    return right.ask(F.conv2d(padded, right.weight, right.bias), padding_mode="circular")


@case("chelsea0x3b/dfdx/issues/667", "padding.mode")
def edges_repeated_instead_of_zeros() -> Question:
    right = layer(3, 4, padding=1)
    padded = F.pad(right.x, (1, 1, 1, 1), mode="replicate")
    return right.ask(F.conv2d(padded, right.weight, right.bias))


@case("larq/compute-engine/pull/267", "padding.value")
def padded_with_ones() -> Question:
    right = layer(3, 4, padding=1)
    return right.ask(F.conv2d(F.pad(right.x, (1, 1, 1, 1), value=1.0), right.weight, right.bias))


@case("larq/compute-engine/pull/267", "padding.value")
def padded_with_a_constant_of_its_own() -> Question:
    right = layer(3, 4, padding=1)
    wrong = F.conv2d(F.pad(right.x, (1, 1, 1, 1), value=0.37), right.weight, right.bias)
    return right.ask(wrong)


@case("zylo117/Yet-Another-EfficientDet-Pytorch/issues/280", "dilation.ignored")
def dilation_ignored_by_same_padding() -> Question:
    right = layer(3, 4, padding=2, dilation=2)
    return right.ask(right.run(dilation=1, padding=1))


@case("tensorflow/tensorflow/issues/56498", "dilation.ignored")
def depthwise_dilation_ignored() -> Question:
    right = layer(4, 4, (3, 3), (9, 9), groups=4, dilation=2, padding=2)
    return right.ask(right.run(dilation=1, padding=1))


@case("tenstorrent/tt-metal/pull/19542", "dilation.swapped")
def dilations_of_the_axes_swapped() -> Question:
    right = layer(2, 3, (3, 3), (13, 13), dilation=(1, 3), padding=(2, 2))
    out = right.run()
    # The right size, with the wrong dilation: what lies outside reads as zero.
    far = F.pad(right.x, (2, 12, 2, 12))
    wrong = F.conv2d(far, right.weight, right.bias, dilation=(3, 1))
    return right.ask(wrong[:, :, : out.shape[2], : out.shape[3]])


@case("pytorch/pytorch/pull/187760", "stride.wrong", "stride.swapped")
def stride_of_the_rows_used_for_columns() -> Question:
    right = layer(2, 3, (3, 3), (15, 16), stride=(2, 3))
    wrong = F.conv2d(right.x, right.weight, right.bias, stride=(2, 2))
    return right.ask(wrong[:, :, :, :5])


@case("mlpack/mlpack/issues/4050", "stride.swapped")
def strides_of_rows_and_columns_swapped() -> Question:
    right = layer(2, 3, (2, 2), (12, 12), stride=(1, 2))
    wrong = F.conv2d(F.pad(right.x, (0, 12, 0, 12)), right.weight, right.bias, stride=(2, 1))
    out = right.run()
    return right.ask(wrong[:, :, : out.shape[2], : out.shape[3]])


@case("starimeL/PytorchConverter/issues/37", "stride.ignored")
def stride_one_instead_of_two_changes_the_shape() -> Question:
    right = layer(2, 3, (3, 3), (9, 9), stride=2, padding=1)
    return right.ask(right.run(stride=1))


@case("pytorch/pytorch/issues/20981", "padding.missing")
def padding_forgotten_changes_the_shape() -> Question:
    right = layer(2, 3, padding=1)
    return right.ask(right.run(padding=0))


@case("QUVA-Lab/e2cnn/pull/23", "padding.amount")
def padding_applied_twice_changes_the_shape() -> Question:
    right = layer(2, 3, padding=1)
    return right.ask(right.run(padding=2))


@case("Oldpan/Faceswap-Deepfake-Pytorch/issues/1", "padding.amount")
def padding_of_columns_also_used_for_rows() -> Question:
    right = layer(2, 3, (2, 1), (10, 1), n=3, padding=0)
    return right.ask(F.conv2d(F.pad(right.x, (0, 0, 0, 1)), right.weight, right.bias))


@case("pytorch/pytorch/issues/8816", "transposed.output_padding")
def output_padding_left_at_zero() -> Question:
    right = layer(2, 3, (3, 3), (5, 6), transposed=True, stride=2, padding=1, output_padding=1)
    return right.ask(F.pad(right.run(output_padding=0), (0, 1, 0, 1)))


@case("Tencent/ncnn/pull/1122", "transposed.output_padding")
def output_padding_filled_with_the_bias() -> Question:
    right = layer(2, 3, (3, 3), (5, 6), transposed=True, stride=2, padding=1, output_padding=1)
    bare = F.pad(right.run(output_padding=0, bias=None), (0, 1, 0, 1))
    return right.ask(bare + right.bias[None, :, None, None])


@case("mila-iqia/myia/pull/338", "transposed.output_padding")
def output_padding_zero_in_rows_only() -> Question:
    right = layer(2, 3, (3, 3), (5, 6), transposed=True, stride=2, padding=1, output_padding=(1, 0))
    return right.ask(F.pad(right.run(output_padding=0), (0, 0, 0, 1)))


@case("Samsung/TICO/issues/420", "transposed.crop_side", "transposed.crop")
def crop_of_a_transposed_convolution_at_the_end() -> Question:
    right = layer(2, 3, (3, 3), (5, 6), transposed=True, stride=2, padding=1)
    full = right.run(padding=0)
    return right.ask(full[:, :, :-2, :-2])


@case("ARM-software/ComputeLibrary/issues/483", "transposed.crop_side", "transposed.crop")
def deconvolution_cropped_as_tensorflow_does_not() -> Question:
    right = layer(4, 3, (3, 3), (6, 5), transposed=True, stride=2, padding=1, output_padding=1)
    full = F.pad(right.run(padding=0, output_padding=0), (0, 1, 0, 1))
    return right.ask(full[:, :, :12, :10])


@case("Samsung/TICO/issues/420", "transposed.input_padded")
def padding_of_a_transposed_convolution_laid_around_its_input() -> Question:
    right = layer(3, 4, (3, 3), (6, 6), transposed=True, stride=2, padding=1)
    return right.ask(right.run(x=F.pad(right.x, (1, 1, 1, 1)), padding=0))


@case("google/flax/issues/2577", "transposed.gaps_filled")
def nearest_upsampling_instead_of_gaps() -> Question:
    right = layer(2, 3, (3, 3), (5, 6), transposed=True, stride=2, padding=1)
    up = right.x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    kernel = right.weight.transpose(0, 1).flip(2, 3)
    out = right.run()
    wrong = F.conv2d(up, kernel, right.bias, padding=1)
    return right.ask(wrong[:, :, : out.shape[2], : out.shape[3]])


@case("torch/nn/pull/857", "dilation.wrong")
def dilation_one_too_many() -> Question:
    right = layer(2, 3, (3,), (30,), dilation=2, padding=2)
    return right.ask(right.run(dilation=3, padding=3))


@case("ARM-software/ComputeLibrary/issues/78", "kernel.taps_lost")
def last_column_of_the_kernel_never_added() -> Question:
    right = layer(2, 3, (3, 3), (8, 8))
    weight = right.weight.clone()
    weight[..., -1] = 0
    return right.ask(right.run(weight=weight))


@case("traveller59/spconv/issues/114", "padding.border_blank")
def border_left_out() -> Question:
    right = layer(2, 3, (3, 3), (8, 8), padding=1)
    return right.ask(F.pad(right.run(padding=0), (1, 1, 1, 1)))


@case("pytorch/pytorch/issues/37844", "padding.axes")
def padding_swapped_where_the_kernel_is_one_high() -> Question:
    right = layer(4, 5, (1, 4), (11, 12), padding=(0, 2))
    return right.ask(right.run(padding=(2, 0)))


@case("torch/nn/issues/908", "dilation.swapped")
def dilation_of_a_transposed_convolution_swapped() -> Question:
    right = layer(3, 4, (3, 3), (6, 6), transposed=True, stride=1, dilation=(1, 2), padding=(1, 2))
    return right.ask(right.run(dilation=(2, 1), padding=(2, 1)))


@case("tinygrad/tinygrad/pull/17805", "padding.amount")
def padding_for_the_dilation_of_the_other_axis() -> Question:
    right = layer(3, 8, (3, 5), (28, 31), dilation=(2, 3), padding=(2, 6))
    return right.ask(right.run(padding=(3, 4)))


@case("tensorflow/tensorflow/issues/14601", "stride.phase")
def every_other_number_from_the_second_on() -> Question:
    right = layer(2, 8, (3,), (33,), stride=2)
    return right.ask(right.run(stride=1)[..., 1::2])
