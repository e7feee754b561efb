"""What comes before and after the sum: preprocessing, bias, activation, norm, precision."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mismatch.wrong import Layer, Question, case, layer, numbers


@case("deepakcrk/CNN_ForDummies/issues/9", "bias.missing")
def bias_never_added() -> Question:
    right = layer(padding=1)
    return right.ask(right.run(bias=None))


@case("candle-org/MindAct/pull/808", "bias.repeated")
def bias_added_twice() -> Question:
    right = layer(3, 4, (3,), (20,))
    return right.ask(right.run(bias=2 * right.bias))


@case("kraiskil/onnx2c/issues/7", "bias.channel")
def bias_indexed_by_another_loop() -> Question:
    right = layer(3, 5, n=1)
    return right.ask(right.run(bias=right.bias[:1].expand(5)))


@case("kraiskil/onnx2c/issues/7", "bias.axis")
def bias_added_along_the_columns() -> Question:
    right = layer(3, 8, (3, 3), (10, 10))
    return right.ask(right.run(bias=None) + right.bias)


@case("kraiskil/onnx2c/issues/7", "bias.channel")
def bias_of_the_next_channel() -> Question:
    right = layer(3, 6)
    return right.ask(right.run(bias=right.bias.roll(-1)))


@case("VigneshSrinivasan10/interprettensor/issues/2", "bias.repeated")
def bias_added_once_for_each_input_channel() -> Question:
    right = layer(4, 5)
    return right.ask(right.run(bias=4 * right.bias))


@case("pytorch/executorch/pull/17430", "activation.fused")
def relu_fused_although_others_read_the_sum() -> Question:
    right = layer(padding=1)
    return right.ask(right.run().relu())


@case("google-ai-edge/litert-torch/issues/441", "activation.other")
def relu_instead_of_relu6() -> Question:
    right = layer(8, 8, padding=1)
    big = Layer(right.x * 4, right.weight, right.bias, right.settings)
    return big.ask(big.run().relu(), activation="relu6")


@case("NVIDIA-AI-IOT/Lidar_AI_Solution/issues/200", "activation.missing")
def activation_lost_in_fusion() -> Question:
    right = layer()
    return right.ask(right.run(), activation="relu")


@case("kwotsin/TensorFlow-Xception/issues/7", "activation.fused")
def relu_that_leaves_nothing_but_zeros() -> Question:
    right = layer(2, 3)
    low = torch.full((3,), -99.0)
    return Question(right.run(bias=low).relu(), (right.x, right.weight, low), dict(right.settings))


@case("microsoft/onnxruntime/pull/105", "activation.fused")
def leaky_relu_with_its_own_slope() -> Question:
    right = layer()
    return right.ask(F.leaky_relu(right.run(), 0.17))


@case("opencv/opencv/pull/16092", "activation.other")
def swish_for_relu() -> Question:
    right = layer()
    return right.ask(F.silu(right.run()), activation="relu")


@case("XiaoMi/mace/issues/262", "bias.after")
def bias_added_after_the_activation() -> Question:
    right = layer()
    wrong = right.run(bias=None).relu() + right.bias[None, :, None, None]
    return right.ask(wrong, activation="relu")


def _folded(seed: int = 0, eps: float = 1e-3, bias: bool = True) -> tuple[Layer, nn.BatchNorm2d]:
    right = layer(4, 6, padding=1, bias=bias, seed=seed)
    norm = nn.BatchNorm2d(6, eps=eps).eval()
    with torch.no_grad():
        norm.weight.copy_(numbers(6, seed=11).abs() + 0.5)
        norm.bias.copy_(numbers(6, seed=12))
        norm.running_mean.copy_(numbers(6, seed=13))
        norm.running_var.copy_(numbers(6, seed=14).abs() + 0.05)
    return right, norm


def _with(right: Layer, norm: nn.BatchNorm2d, wrong: Tensor, **more: Any) -> Question:
    return right.ask(wrong.detach(), norm=norm, **more)


def _column(values: Tensor) -> Tensor:
    return values[None, :, None, None]


@case("XiaoMi/mace/issues/262", "norm.bias_unscaled")
def bias_not_scaled_when_the_norm_was_folded() -> Question:
    right, norm = _folded()
    wrong = norm(right.run(bias=None)) + _column(right.bias)
    return _with(right, norm, wrong)


@case("tenstorrent/tt-metal/pull/5317", "norm.bias_lost")
def bias_of_the_convolution_lost_when_folding() -> Question:
    right, norm = _folded()
    return _with(right, norm, norm(right.run(bias=None)))


@case("LeelaChessZero/lc0/pull/779", "norm.sign_lost")
def sign_of_gamma_lost_by_a_fold() -> Question:
    right, norm = _folded()
    with torch.no_grad():
        norm.weight[::2] *= -1
    wrong = F.batch_norm(
        right.run(),
        norm.running_mean,
        norm.running_var,
        norm.weight.abs(),
        norm.bias,
        eps=norm.eps,
    )
    return _with(right, norm, wrong)


@case("openxla/xla/issues/46897", "bias.axis")
def bias_added_along_the_samples() -> Question:
    right = layer(3, 4, n=4)
    return right.ask(right.run(bias=None) + right.bias[:, None, None, None])


@case("LeelaChessZero/lc0/pull/779", "norm.epsilon")
def epsilon_of_another_framework() -> Question:
    right, norm = _folded(eps=1e-3)
    wrong = F.batch_norm(
        right.run(), norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=1e-5
    )
    return _with(right, norm, wrong)


@case("NervanaSystems/ngraph/pull/1712", "norm.epsilon")
def epsilon_fixed_in_the_fused_kernel() -> Question:
    right, norm = _folded(eps=1e-5)
    wrong = F.batch_norm(
        right.run(), norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=0.0073
    )
    return _with(right, norm, wrong)


@case("microsoft/onnxruntime/issues/26584", "norm.training")
def norm_left_in_training_mode() -> Question:
    right, norm = _folded()
    wrong = F.batch_norm(right.run(), None, None, norm.weight, norm.bias, True, eps=norm.eps)
    return _with(right, norm, wrong)


@case("SonySemiconductorSolutions/mct-model-optimization/issues/1115", "norm.missing")
def norm_never_folded() -> Question:
    right, norm = _folded()
    return _with(right, norm, right.run())


@case("tenstorrent/tt-metal/pull/5317", "norm.shift_lost")
def mean_and_beta_unaccounted_for() -> Question:
    right, norm = _folded()
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return _with(right, norm, right.run(bias=None) * _column(scale) + _column(right.bias))


@case("plaidml/plaidml/pull/1940", "norm.parts_missing")
def gamma_left_out() -> Question:
    right, norm = _folded()
    wrong = F.batch_norm(
        right.run(), norm.running_mean, norm.running_var, None, norm.bias, eps=norm.eps
    )
    return _with(right, norm, wrong)


@case("microsoft/onnxruntime/issues/26584", "norm.scale_axis")
def norm_folded_along_the_input_channels() -> Question:
    right = layer(6, 6, padding=1)
    _, norm = _folded()
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    bias = (right.bias - norm.running_mean) * scale + norm.bias
    weight = right.weight * scale[None, :, None, None]
    return _with(right, norm, right.run(weight=weight, bias=bias))


@case("es-ude/elastic-ai.creator/pull/303", "activation.before_norm")
def activation_before_the_norm() -> Question:
    right, norm = _folded()
    return _with(right, norm, norm(right.run().relu()), activation="relu")


@case("openvinotoolkit/open_model_zoo/issues/1872", "input.scaled")
def pixels_from_0_to_255() -> Question:
    right = layer(3, 8, (3, 3), (16, 16), padding=1)
    return right.ask(right.run(x=right.x * 255))


@case("openvinotoolkit/open_model_zoo/issues/1872", "input.denormalised", "input.by_channel")
def mean_and_deviation_never_applied() -> Question:
    pixels = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    base = layer(3, 8, (3, 3), (16, 16), padding=1)
    right = Layer((pixels - _column(mean)) / _column(std), base.weight, base.bias, base.settings)
    return right.ask(right.run(x=pixels))


@case("heuritech/convnets-keras/issues/28", "input.by_channel", "input.shifted")
def means_in_the_order_of_rgb_for_bgr() -> Question:
    mean = torch.tensor([123.68, 116.779, 103.939])
    pixels = torch.rand(1, 3, 14, 14, generator=torch.Generator().manual_seed(2)) * 255
    base = layer(3, 8, (3, 3), (14, 14), padding=1)
    right = Layer(pixels - _column(mean), base.weight, base.bias, base.settings)
    return right.ask(right.run(x=pixels - _column(mean.flip(0))))


@case("roboflow/inference/pull/2828", "input.normalised")
def normalised_once_more() -> Question:
    right = layer(3, 6, (3, 3), (12, 12))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return right.ask(right.run(x=(right.x - _column(mean)) / _column(std)))


@case("triton-inference-server/server/pull/1914", "input.mean_subtracted")
def caffe_means_subtracted_a_second_time() -> Question:
    right = layer(3, 6, (3, 3), (12, 12), padding=1)
    mean = torch.tensor([103.939, 116.779, 123.68])
    return right.ask(right.run(x=right.x - _column(mean)))


@case("pytorch/pytorch/issues/107514", "precision.operands")
def tf32_where_float32_was_named() -> Question:
    right = layer(16, 8, padding=1)

    def cut(t: Tensor) -> Tensor:
        bits = t.contiguous().view(torch.int32)
        kept = (bits + 0xFFF + ((bits >> 13) & 1)) & ~0x1FFF
        return kept.view(torch.float32)

    wrong = right.run(x=cut(right.x), weight=cut(right.weight))
    return right.ask(wrong, arithmetic="float32")


@case("HomericIntelligence/Odyssey/pull/3022", "precision.operands")
def weights_stored_in_half_precision() -> Question:
    right = layer(8, 8)
    return right.ask(right.run(weight=right.weight.half().float()), arithmetic="float32")


@case("BytedTsinghua-SIA/CUDA-Agent/issues/16", "precision.operands")
def computed_from_half_precision_operands() -> Question:
    right = layer(8, 8)
    wrong = right.run(x=right.x.half().float(), weight=right.weight.half().float())
    return right.ask(wrong, arithmetic="float32")


@case("ARM-software/ComputeLibrary/pull/1287", "precision.arithmetic")
def accumulated_in_half_precision() -> Question:
    right = layer(8, 4, (3, 3), (8, 8), n=1, bias=False)
    x, w = right.x.half(), right.weight.half()
    columns = F.unfold(x.float(), 3).half()[0]
    total = torch.zeros(4, columns.shape[1], dtype=torch.half)
    for k in range(columns.shape[0]):
        total = total + w.reshape(4, -1)[:, k : k + 1] * columns[k]
    wrong = total.reshape(1, 4, 6, 6)
    half = Layer(x, w, None, {})
    return half.ask(wrong, arithmetic="float16")
