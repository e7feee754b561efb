"""What the output is compared with: arrays and settings, a layer, or a step of a trace."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from convtrace.arithmetic import Arithmetic
from convtrace.errors import NoConvolutionError, ShapeError, UsageError
from convtrace.graph import Trace
from convtrace.mismatch.computing.quantization import Quant
from convtrace.mismatch.computing.stages import ACTIVATIONS, Act, Norm, Stage
from convtrace.mismatch.question.problem import floats
from convtrace.step import Step

SETTINGS = ("stride", "padding", "dilation", "groups", "transposed", "output_padding")
MODES = ("zeros", "reflect", "replicate", "circular")


@dataclass
class Reference:
    """A convolution as it was given.

    Attributes:
        x: Input, or None where it was not given with it.
        weight: Weights.
        bias: Bias or None.
        given: Settings that were given, by name.
        mode: Padding mode.
        stages: What follows: norm, activation.
        quant: Scales and zero points of a quantized convolution.
        arithmetic: Formats, where known.
        name: Name of the step.
    """

    x: Any
    weight: Any
    bias: Any = None
    given: dict[str, Any] = field(default_factory=dict[str, Any])
    mode: str = "zeros"
    stages: tuple[Stage, ...] = ()
    quant: Quant | None = None
    arithmetic: Arithmetic | None = None
    name: str | None = None


_ROLES = {
    "x": ("x", "input"),
    "weight": ("weight", "w", "kernel"),
    "bias": ("bias", "b"),
}


def read_reference(reference: Any, x: Any, step: str | None) -> Reference:
    """Read any form of a reference.

    Args:
        reference: `(x, weight)` or `(x, weight, bias)`; a mapping with these and settings; an
            `nn.Module` of one convolution, with a norm and an activation after it if it has them;
            a `Trace`; a `Step`.
        x: Input, for a module.
        step: Which step of a trace.

    Raises:
        UsageError: It is none of these, or something is missing.
        NoConvolutionError: There is no convolution in it.
    """
    if isinstance(reference, Trace):
        return _of_step(_step_of(reference, step))
    if isinstance(reference, Step):
        return _of_step(reference)
    if isinstance(reference, Mapping):
        return _of_mapping(cast("Mapping[str, Any]", reference), x)
    if isinstance(reference, Sequence) and not isinstance(reference, str):
        parts = list(cast("Sequence[Any]", reference))
        if len(parts) == 2 and x is not None and _ndim(parts[1]) <= 1 < _ndim(parts[0]):
            return Reference(x, parts[0], parts[1])
        if len(parts) in (2, 3):
            return Reference(*parts)
        raise UsageError(
            f"a reference of arrays is (x, weight) or (x, weight, bias), not {len(parts)} parts\n"
            "  Give ct.diff(mine, (x, weight, bias), stride=…, padding=…)."
        )
    if _is_module(reference):
        return _of_module(reference, x)
    raise UsageError(
        f"this is no reference: {type(reference).__name__}\n"
        "  Give (x, weight, bias), a mapping of these with settings, an nn.Conv module with x=…,\n"
        "  a step of a trace, or a trace."
    )


def _ndim(array: Any) -> int:
    return len(array.shape) if hasattr(array, "shape") else 0 if array is None else 1


def _is_module(thing: Any) -> bool:
    import sys

    torch = sys.modules.get("torch")
    return torch is not None and isinstance(thing, torch.nn.Module)


def _of_mapping(parts: Mapping[str, Any], x: Any) -> Reference:
    found: dict[str, Any] = {"x": x, "weight": None, "bias": None}
    rest = dict(parts)
    for role, names in _ROLES.items():
        for name in names:
            if name in rest:
                found[role] = rest.pop(name)
    given = {name: rest.pop(name) for name in SETTINGS if rest.get(name) is not None}
    mode = rest.pop("padding_mode", "zeros")
    if rest:
        raise UsageError(
            f"the reference has entries that are not known: {', '.join(sorted(rest))}\n"
            f"  known: x, weight, bias, padding_mode, {', '.join(SETTINGS)}"
        )
    if found["weight"] is None or found["x"] is None:
        missing = "weight" if found["weight"] is None else "x"
        raise UsageError(
            f"the reference has no {missing}\n"
            "  Give a mapping with x, weight, bias (or None) and the settings."
        )
    return Reference(found["x"], found["weight"], found["bias"], given, mode)


def _step_of(trace: Trace, name: str | None) -> Step:
    if name is not None:
        return trace.step(name)
    steps = [s for s in trace.steps.values() if s.kind in ("convolution", "qlinear_conv")]
    if not steps:
        raise NoConvolutionError(
            f"the reference has no convolution: {len(trace.steps)} steps\n"
            f"  {', '.join(list(trace.steps)[:12])}"
        )
    if len(steps) > 1:
        raise UsageError(
            f"the reference has {len(steps)} convolutions: {', '.join(s.name for s in steps[:12])}"
            f"{' …' if len(steps) > 12 else ''}\n"
            "  Name the one that made this output: ct.diff(mine, trace, step='conv1'),\n"
            "  or compare two traces: ct.diff(trace_a, trace_b)."
        )
    return steps[0]


def _of_step(step: Step) -> Reference:
    values, settings = step.values, step.attributes
    if step.kind == "qlinear_conv":
        return _of_quantized(step)
    if step.kind != "convolution":
        raise NoConvolutionError(
            f"{step.name} is no convolution: its kind is {step.kind}\n"
            "  ct.diff explains one convolution; name a step of kind convolution."
        )
    bias = values.get("bias")
    given = {name: settings[name] for name in SETTINGS}
    for value in values.values():
        value.check()
    return Reference(
        values["input"].data,
        values["weight"].data,
        None if bias is None else bias.data,
        given,
        arithmetic=step.arithmetic,
        name=step.name,
    )


def _of_quantized(step: Step) -> Reference:
    values, settings = step.values, step.attributes
    bias = values.get("bias")

    def number(role: str) -> Any:
        value = values.get(role)
        return 0 if value is None else floats(value.data).reshape(-1)

    quant = Quant(
        x_scale=number("input_scale"),
        x_zero=number("input_zero_point"),
        w_scale=number("weight_scale"),
        w_zero=number("weight_zero_point"),
        y_scale=number("output_scale"),
        y_zero=number("output_zero_point"),
        dtype=settings["dtype"],
    )
    given = {name: settings[name] for name in SETTINGS}
    return Reference(
        values["input"].data,
        values["weight"].data,
        None if bias is None else bias.data,
        given,
        quant=quant,
        name=step.name,
    )


def _of_module(module: Any, x: Any) -> Reference:
    from torch import nn

    if x is None:
        raise UsageError(
            "a module as reference needs the input that it was given\n"
            "  Call ct.diff(mine, module, x=x)."
        )
    leaves = [m for m in module.modules() if not list(m.children())]
    leaves = [m for m in leaves if not isinstance(m, (nn.Identity, nn.Dropout, nn.Dropout2d))]
    convolutions = [m for m in leaves if isinstance(m, nn.modules.conv._ConvNd)]
    if not convolutions:
        raise NoConvolutionError(
            f"the reference has no convolution: {type(module).__name__} of {len(leaves)} modules\n"
            "  Give an nn.Conv module, or one with a norm and an activation after it."
        )
    if len(convolutions) > 1 or leaves[0] is not convolutions[0]:
        raise UsageError(
            f"the reference holds more than one convolution and what follows it: "
            f"{', '.join(type(m).__name__ for m in leaves[:8])}\n"
            "  Compare whole models by their traces:\n"
            "  ct.diff(ct.trace(mine, x), ct.trace(model, x))."
        )
    conv = convolutions[0]
    given = {
        "stride": conv.stride,
        "padding": conv.padding,
        "dilation": conv.dilation,
        "groups": conv.groups,
        "transposed": conv.transposed,
        "output_padding": conv.output_padding,
    }
    stages = tuple(stage for m in leaves[1:] for stage in _stage_of(m))
    return Reference(x, conv.weight, conv.bias, given, conv.padding_mode, stages)


def _stage_of(module: Any) -> tuple[Stage, ...]:
    from torch import nn

    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        if module.running_mean is None or module.running_var is None:
            raise UsageError(
                "the reference has a batch norm without running statistics\n"
                "  ct.diff explains batch norms in evaluation mode."
            )
        count = module.num_features
        ones = floats([1.0] * count)
        return (
            Norm(
                floats(module.weight) if module.affine else ones,
                floats(module.bias) if module.affine else 0 * ones,
                floats(module.running_mean),
                floats(module.running_var),
                module.eps,
            ),
        )
    name = _activation_of(module)
    if name is None:
        raise UsageError(
            f"the reference has a module after its convolution that is not known: "
            f"{type(module).__name__}\n"
            f"  known: batch norms, and {', '.join(ACTIVATIONS)}"
        )
    return (Act(name),)


def _activation_of(module: Any) -> str | None:
    kind = type(module).__name__
    if kind == "GELU":
        return "gelu tanh" if module.approximate == "tanh" else "gelu"
    if kind == "LeakyReLU":
        slopes = {0.01: "leaky_relu", 0.1: "leaky_relu 0.1", 0.2: "leaky_relu 0.2"}
        return slopes.get(module.negative_slope)
    names = {
        "ReLU": "relu",
        "ReLU6": "relu6",
        "Sigmoid": "sigmoid",
        "Tanh": "tanh",
        "SiLU": "silu",
        "Hardswish": "hardswish",
        "Hardsigmoid": "hardsigmoid",
        "ELU": "elu",
        "SELU": "selu",
        "Softplus": "softplus",
        "Mish": "mish",
        "Softsign": "softsign",
        "Hardtanh": "hardtanh",
    }
    return names.get(kind)


def norm_of(norm: Any) -> Norm:
    """Read a batch norm: a module, or a mapping with weight, bias, mean, var, eps."""
    if _is_module(norm):
        (stage,) = _stage_of(norm)
        if isinstance(stage, Norm):
            return stage
    if isinstance(norm, Mapping):
        parts = cast("Mapping[str, Any]", norm)

        def part(*names: str) -> Any:
            return next((parts[n] for n in names if parts.get(n) is not None), None)

        mean, var = part("mean", "running_mean"), part("var", "running_var", "variance")
        if mean is not None and var is not None:
            mean, var = floats(mean), floats(var)
            gamma, beta = part("weight", "gamma", "scale"), part("bias", "beta", "shift")
            ones = 0 * mean + 1
            return Norm(
                ones if gamma is None else floats(gamma),
                0 * ones if beta is None else floats(beta),
                mean,
                var,
                float(parts.get("eps", 1e-5)),
            )
    raise UsageError(
        f"norm is no batch norm: {type(norm).__name__}\n"
        "  Give an nn.BatchNorm module, or a mapping with weight, bias, mean, var and eps."
    )


def arguments_of(function: Any) -> int:
    """Count the arguments that a callable needs: 1 for `f(x)`, 3 for `f(x, weight, bias)`."""
    if _is_module(function):
        return 1
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 1
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [p for p in parameters if p.kind in kinds and p.default is inspect.Parameter.empty]
    return min(max(len(needed), 1), 3)


def check_mode(mode: str) -> None:
    """Raise `ShapeError` for a padding mode that is not known."""
    if mode not in MODES:
        raise ShapeError(f"unknown padding_mode: {mode!r}\n  known: {', '.join(MODES)}")
