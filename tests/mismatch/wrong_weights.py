"""Weights read the wrong way, channels in the wrong order, groups."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from mismatch.wrong import Question, case, layer


@case("FluxML/NNlib.jl/issues/208", "kernel.flipped")
def true_convolution_instead_of_correlation() -> Question:
    right = layer(padding=1)
    return right.ask(right.run(weight=right.weight.flip(2, 3)))


@case("tensorflow/tensorflow/issues/11864", "kernel.flipped")
def true_convolution_of_one_channel() -> Question:
    right = layer(1, 1, (3, 3), (9, 9), n=1, bias=False)
    return right.ask(right.run(weight=right.weight.flip(2, 3)))


@case("hi-abhi/tensorflow-value-iteration-networks/issues/2", "kernel.flipped")
def theano_weights_not_flipped_back() -> Question:
    right = layer(3, 4, (5, 5), (14, 13), padding=2, stride=2)
    return right.ask(right.run(weight=right.weight.flip(2, 3)))


@case("kornia/kornia/issues/2263", "kernel.flipped")
def rows_of_a_filter_flipped() -> Question:
    right = layer(padding=1)
    return right.ask(right.run(weight=right.weight.flip(2)))


@case("astrorama/SourceXtractorPlusPlus/pull/72", "kernel.flipped")
def columns_of_a_wide_filter_flipped() -> Question:
    right = layer(2, 3, (1, 5), (7, 20))
    return right.ask(right.run(weight=right.weight.flip(3)))


@case("PTB-MR/mrpro/issues/811", "kernel.flipped")
def finite_differences_backwards() -> Question:
    right = layer(1, 2, (3,), (40,), bias=False, padding=1)
    return right.ask(right.run(weight=right.weight.flip(2)))


@case("pytorch/pytorch/issues/117534", "kernel.flipped")
def volume_flipped_in_depth() -> Question:
    right = layer(2, 4, (3, 3, 3), (6, 7, 6))
    return right.ask(right.run(weight=right.weight.flip(2)))


@case("pytorch/pytorch/issues/117534", "kernel.flipped")
def volume_flipped_in_all_axes() -> Question:
    right = layer(2, 4, (2, 3, 3), (6, 7, 6), padding=1)
    return right.ask(right.run(weight=right.weight.flip(2, 3, 4)))


@case("hyseob/PyMDNet/issues/3", "kernel.axes")
def rows_and_columns_of_the_kernel_swapped() -> Question:
    right = layer(4, 5, padding=1)
    return right.ask(right.run(weight=right.weight.transpose(2, 3).contiguous()))


@case("tensorflow/tensorflow/issues/30044", "kernel.reshaped")
def hwio_weights_reshaped_to_oihw() -> Question:
    right = layer(4, 6)
    memory = right.weight.permute(2, 3, 1, 0).contiguous()  # HWIO, as TensorFlow stores it
    return right.ask(right.run(weight=memory.reshape(right.weight.shape)))


@case("openvinotoolkit/openvino/pull/6957", "kernel.reshaped")
def oihw_weights_reshaped_to_hwio() -> Question:
    right = layer(3, 8, (5, 5), (12, 12))
    wrong = right.weight.reshape(5, 5, 3, 8).permute(3, 2, 0, 1)
    return right.ask(right.run(weight=wrong.contiguous()))


@case("apache/tvm/pull/4399", "kernel.reshaped")
def ohwi_weights_read_as_oihw() -> Question:
    right = layer(5, 6)
    memory = right.weight.permute(0, 2, 3, 1).contiguous()
    return right.ask(right.run(weight=memory.reshape(right.weight.shape)))


@case("dmlc/nnvm/pull/218", "kernel.axes")
def input_and_output_channels_of_the_weights_swapped() -> Question:
    right = layer(6, 6, transposed=True, stride=2, padding=1)
    return right.ask(right.run(weight=right.weight.transpose(0, 1).contiguous()))


@case("imedslab/pytorch_bn_fusion/pull/6", "kernel.reshaped")
def transposed_weights_taken_for_oihw() -> Question:
    right = layer(4, 6, transposed=True, stride=2)
    memory = right.weight.transpose(0, 1).contiguous()
    return right.ask(right.run(weight=memory.reshape(right.weight.shape)))


@case("rodrigo2019/keras_yolo2/issues/19", "input.channels_reversed")
def bgr_for_rgb() -> Question:
    right = layer(3, 8, padding=1)
    return right.ask(right.run(x=right.x.flip(1)))


@case("open-mmlab/mmpretrain/issues/1799", "input.channels_reversed")
def bgr_for_rgb_in_the_first_layer_of_mobilenet() -> Question:
    right = layer(3, 16, (3, 3), (20, 20), stride=2, padding=1, bias=False)
    return right.ask(right.run(x=right.x.flip(1)))


@case("imatge-upc/salgan/issues/33", "input.channels_permuted")
def colour_channels_shuffled() -> Question:
    right = layer(3, 5, padding=1)
    return right.ask(right.run(x=right.x[:, [1, 2, 0]]))


@case("JeremyCCHsu/vae-npvc/issues/15", "input.layout")
def nchw_input_reshaped_to_nhwc() -> Question:
    right = layer(4, 6, (3, 3), (8, 10), padding=1)
    n, c, h, w = right.x.shape
    return right.ask(right.run(x=right.x.reshape(n, h, w, c).permute(0, 3, 1, 2)))


@case("alexlee-gk/lpips-tensorflow/issues/2", "input.layout")
def nhwc_memory_read_as_nchw() -> Question:
    right = layer(3, 6, (3, 3), (9, 8))
    memory = right.x.permute(0, 2, 3, 1).contiguous()
    return right.ask(right.run(x=memory.reshape(right.x.shape)))


@case("MegEngine/mgeconvert/pull/78", "output.layout")
def output_flattened_in_nhwc_order() -> Question:
    right = layer(3, 4, (3, 3), (8, 9))
    out = right.run()
    return right.ask(out.permute(0, 2, 3, 1).contiguous().reshape(out.shape))


@case("google/XNNPACK/issues/2657", "output.axes_order")
def output_left_in_nhwc() -> Question:
    right = layer(3, 4, (3, 3), (8, 9))
    return right.ask(right.run().permute(0, 2, 3, 1).contiguous())


@case("pytorch/pytorch/issues/19912", "channels.one")
def only_the_first_input_channel() -> Question:
    right = layer(4, 8, padding=1)
    return right.ask(right.run(x=right.x[:, :1], weight=right.weight[:, :1]))


@case("josephjaspers/blackcat_tensors/issues/59", "channels.one")
def accumulator_overwritten_by_each_channel() -> Question:
    right = layer(5, 4)
    return right.ask(right.run(x=right.x[:, -1:], weight=right.weight[:, -1:]))


@case("josephjaspers/blackcat_tensors/issues/59", "channels.not_summed")
def channels_convolved_but_not_summed() -> Question:
    right = layer(6, 6, padding=1)
    own = torch.stack([right.weight[c, c] for c in range(6)])[:, None]
    return right.ask(right.run(weight=own, groups=6))


@case("josephjaspers/blackcat_tensors/issues/59", "kernel.shared")
def one_kernel_for_all_input_channels() -> Question:
    right = layer(4, 6, padding=1)
    return right.ask(right.run(weight=right.weight[:, :1].expand(-1, 4, -1, -1)))


@case("bhuman/CompiledNN/issues/16", "channels.tail_lost")
def input_channels_after_the_last_full_vector_lost() -> Question:
    right = layer(6, 8)
    return right.ask(right.run(x=right.x[:, :4], weight=right.weight[:, :4]))


@case("CNugteren/myGEMM/issues/1", "kernel.terms_lost")
def flattened_kernel_cut_at_a_multiple_of_thirty_two() -> Question:
    right = layer(5, 6, padding=1)  # 45 products
    row = right.weight.flatten(1).clone()
    row[:, 32:] = 0
    return right.ask(right.run(weight=row.reshape(right.weight.shape)))


@case("triton-lang/triton/issues/630", "kernel.terms_lost")
def kernel_with_channels_last_cut_at_a_multiple_of_sixteen() -> Question:
    right = layer(3, 6)  # 27 products
    last = right.weight.permute(0, 2, 3, 1)
    row = last.flatten(1).clone()
    row[:, 16:] = 0
    return right.ask(right.run(weight=row.reshape(last.shape).permute(0, 3, 1, 2)))


@case("tenstorrent/tt-metal/issues/5087", "channels.tail_lost")
def input_channels_after_a_multiple_of_eight_lost() -> Question:
    right = layer(19, 8, (1, 1), (6, 6))
    return right.ask(right.run(x=right.x[:, :16], weight=right.weight[:, :16]))


@case("Theano/Theano/issues/6297", "depthwise.order")
def depthwise_multiplier_counts_inputs_fastest() -> Question:
    right = layer(4, 8, groups=4, padding=1)
    order = [c % 4 for c in range(8)]
    wrong = right.run(x=right.x[:, order], groups=8)
    return right.ask(wrong)


@case("alibaba/MNN/issues/532", "groups.kernels_interleaved")
def depthwise_kernels_in_multiplier_order() -> Question:
    right = layer(4, 8, groups=4)
    memory = right.weight.reshape(4, 2, 1, 3, 3).transpose(0, 1).reshape(8, 1, 3, 3)
    return right.ask(right.run(weight=memory))


@case("KhronosGroup/NNEF-Tools/issues/69", "output.channels_interleaved")
def depthwise_outputs_in_multiplier_order() -> Question:
    right = layer(3, 9, groups=3, padding=1)
    out = right.run()
    return right.ask(out.reshape(2, 3, 3, *out.shape[2:]).transpose(1, 2).reshape(out.shape))


@case("LBANN/lbann/pull/1036", "groups.ignored")
def every_group_reads_the_first_channels() -> Question:
    right = layer(6, 6, groups=3, padding=1)
    parts = [
        F.conv2d(right.x[:, :2], w, b, padding=1)
        for w, b in zip(right.weight.split(2), right.bias.split(2), strict=True)
    ]
    return right.ask(torch.cat(parts, 1))


@case("microsoft/cliffordlayers/pull/17", "groups.channels_interleaved")
def groups_take_every_second_channel() -> Question:
    right = layer(6, 4, groups=2)
    return right.ask(right.run(x=torch.cat([right.x[:, 0::2], right.x[:, 1::2]], 1)))


@case("tianyic/only_train_once_personal_footprint/issues/39", "output.channels_interleaved")
def channels_shuffled_after_a_grouped_layer() -> Question:
    right = layer(8, 8, (1, 1), (6, 6), groups=2)
    out = right.run()
    return right.ask(out.reshape(2, 2, 4, 6, 6).transpose(1, 2).reshape(out.shape))


@case("Theano/Theano/pull/5973", "groups.reversed")
def groups_in_reverse_order() -> Question:
    right = layer(6, 6, groups=3)
    back = torch.cat(list(right.x.split(2, 1))[::-1], 1)
    return right.ask(right.run(x=back))


@case("google/flax/issues/2577", "kernel.flipped")
def transposed_convolution_without_the_flip() -> Question:
    right = layer(4, 5, (3, 3), (6, 7), transposed=True, stride=2, padding=1)
    return right.ask(right.run(weight=right.weight.flip(2, 3)))


@case("tenstorrent/tt-metal/pull/15995", "kernel.flipped")
def transposed_kernel_mirrored_although_it_was() -> Question:
    right = layer(2, 3, (4,), (15,), transposed=True, stride=2, padding=1)
    return right.ask(right.run(weight=right.weight.flip(2)))


@case("microsoft/cliffordlayers/issues/17", "groups.reversed")
def outputs_of_the_groups_in_reverse_order() -> Question:
    right = layer(6, 6, (3, 3), (8, 7), groups=3, padding=1)
    return right.ask(torch.cat(right.run().chunk(3, 1)[::-1], 1))


@case("tensorflow/tensorflow/issues/50397", "groups.kernels_tiled")
def groups_ignored_and_kernels_repeated() -> Question:
    right = layer(8, 6, (3, 3), (8, 8), groups=2)
    weight = right.weight.repeat(1, 2, 1, 1)
    return right.ask(F.conv2d(right.x, weight, right.bias))


@case("tenstorrent/tt-mlir/issues/6479", "groups.kernels_transposed")
def input_and_output_channels_swapped_in_each_group() -> Question:
    right = layer(6, 6, (3, 3), (8, 8), groups=3, padding=1)
    parts = right.weight.reshape(3, 2, 2, 3, 3).transpose(1, 2)
    return right.ask(right.run(weight=parts.reshape(6, 2, 3, 3)))
