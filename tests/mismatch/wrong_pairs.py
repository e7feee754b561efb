"""Two mistakes at once, as ports of whole networks have them."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from mismatch.wrong import Question, case, layer


@case("tensorflow/tensorflow/issues/11864", "kernel.flipped", "bias.missing", together=True)
def flipped_and_without_bias() -> Question:
    right = layer(padding=1)
    return right.ask(right.run(weight=right.weight.flip(2, 3), bias=None))


@case("rodrigo2019/keras_yolo2/issues/19", "input.channels_reversed", "input.scaled", together=True)
def bgr_and_not_scaled() -> Question:
    right = layer(3, 8, (3, 3), (14, 14), padding=1)
    return right.ask(right.run(x=right.x.flip(1) * 255))


@case("taehoonlee/tensornets/issues/25", "padding.side", "kernel.reshaped", together=True)
def padding_and_weights_of_tensorflow() -> Question:
    right = layer(3, 6, (4, 4), (10, 10), padding=[(1, 2), (1, 2)])
    memory = right.weight.permute(2, 3, 1, 0).contiguous().reshape(right.weight.shape)
    return right.ask(F.conv2d(F.pad(right.x, (2, 1, 2, 1)), memory, right.bias))


@case("pytorch/executorch/pull/17430", "activation.fused", "bias.missing", together=True)
def relu_fused_and_bias_lost() -> Question:
    right = layer(6, 8, padding=1)
    return right.ask(right.run(bias=None).relu())


@case(
    "microsoft/cliffordlayers/pull/17",
    "groups.channels_interleaved",
    "kernel.flipped",
    together=True,
)
def groups_interleaved_and_flipped() -> Question:
    right = layer(6, 4, groups=2, padding=1)
    mixed = torch.cat([right.x[:, 0::2], right.x[:, 1::2]], 1)
    return right.ask(right.run(x=mixed, weight=right.weight.flip(2, 3)))


@case("pytorch/pytorch/issues/8816", "transposed.output_padding", "kernel.flipped", together=True)
def transposed_unflipped_with_zero_output_padding() -> Question:
    right = layer(2, 3, (3, 3), (5, 6), transposed=True, stride=2, padding=1, output_padding=1)
    wrong = right.run(weight=right.weight.flip(2, 3), output_padding=0)
    return right.ask(F.pad(wrong, (0, 1, 0, 1)))


@case("JeremyCCHsu/vae-npvc/issues/15", "input.layout", "bias.channel", together=True)
def input_layout_and_bias_order() -> Question:
    right = layer(4, 6, (3, 3), (8, 10), padding=1)
    x = right.x.reshape(2, 8, 10, 4).permute(0, 3, 1, 2)
    return right.ask(right.run(x=x, bias=right.bias.flip(0)))


@case(
    "zylo117/Yet-Another-EfficientDet-Pytorch/issues/280",
    "dilation.ignored",
    "kernel.axes",
    together=True,
)
def dilation_ignored_and_kernel_transposed() -> Question:
    right = layer(3, 4, padding=2, dilation=2)
    weight = right.weight.transpose(2, 3).contiguous()
    return right.ask(right.run(weight=weight, dilation=1, padding=1))


@case("MegEngine/mgeconvert/pull/78", "output.layout", "kernel.flipped", together=True)
def output_layout_and_flip() -> Question:
    right = layer(3, 4, (3, 3), (8, 9))
    out = right.run(weight=right.weight.flip(2, 3))
    return right.ask(out.permute(0, 2, 3, 1).contiguous().reshape(out.shape))


@case("speechbrain/speechbrain/issues/125", "padding.mode", "activation.fused", together=True)
def reflected_and_activated() -> Question:
    right = layer(2, 4, (5,), (30,), padding=2)
    padded = F.pad(right.x, (2, 2), mode="reflect")
    return right.ask(F.gelu(F.conv1d(padded, right.weight, right.bias)))


@case("starimeL/PytorchConverter/issues/37", "stride.ignored", "bias.missing", together=True)
def stride_and_bias() -> Question:
    right = layer(2, 3, (3, 3), (9, 9), stride=2, padding=1)
    return right.ask(right.run(stride=1, bias=None))


@case(
    "NVIDIA-AI-IOT/Lidar_AI_Solution/issues/200",
    "activation.missing",
    "bias.repeated",
    together=True,
)
def activation_missing_and_bias_twice() -> Question:
    right = layer()
    return right.ask(right.run(bias=2 * right.bias), activation="relu")


@case("rodrigo2019/keras_yolo2/issues/19", "input.scaled", "bias.missing", together=True)
def pixels_up_to_255_and_no_bias_in_a_wide_layer() -> Question:
    right = layer(64, 32, (3, 3), (14, 14), n=1, padding=1)
    return right.ask(right.run(x=right.x * 255, bias=None))
