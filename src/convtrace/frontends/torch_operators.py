"""What is known of PyTorch's operators: which convolve, what they overwrite, in which formats."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import torch

CONVOLUTIONS = frozenset(
    {
        "aten::convolution",
        "aten::convolution_overrideable",
        "aten::_convolution",
        "aten::mkldnn_convolution",
        "aten::cudnn_convolution",
        "aten::cudnn_convolution_transpose",
        "aten::miopen_convolution",
        "aten::_slow_conv2d_forward",
        "aten::slow_conv3d_forward",
        "aten::slow_conv_dilated2d",
        "aten::slow_conv_dilated3d",
        "aten::slow_conv_transpose2d",
        "aten::slow_conv_transpose3d",
        "aten::_conv_depthwise2d",
        "aten::conv_depthwise3d",
    }
)
"""Operators that are one convolution each."""

ALIASES = frozenset({"aten::detach", "aten::alias", "aten::lift_fresh", "aten::detach_"})
"""Operators that return another handle to the same numbers."""

HIDDEN = {
    "aten::native_batch_norm": (5, (3, 4)),
    "aten::cudnn_batch_norm": (5, (3, 4)),
    "aten::miopen_batch_norm": (5, (3, 4)),
}
"""Operators that update running statistics without saying so in their schema.

By name: the position of the argument that says whether to, and of the statistics.
"""


def tensors_in(args: Iterable[Any], kwargs: Mapping[str, Any]) -> Iterator[torch.Tensor]:
    """Yield the tensors among the arguments of an operator, which nest one list deep at most."""
    for value in (*args, *kwargs.values()) if kwargs else args:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, list | tuple):
            for part in value:
                if isinstance(part, torch.Tensor):
                    yield part


class Facts(NamedTuple):
    """What has to be known of an operator each time it runs.

    Attributes:
        name: Name without overload, e.g. `aten::convolution`.
        writes: Position and name of each argument that it overwrites.
        hidden: Whether it updates running statistics without saying so.
        convolves: Whether it is a convolution.
        aliases: Whether it returns another handle to the same numbers.
        composite: Whether it is made of other operators, which run instead.
    """

    name: str
    writes: tuple[tuple[int, str], ...]
    hidden: bool
    convolves: bool
    aliases: bool
    composite: bool


@functools.cache
def facts_of(operator: torch._ops.OpOverload) -> Facts:
    """Look up an operator. Reading its schema is slow, and it never changes."""
    name = operator._schema.name
    return Facts(
        name,
        tuple(
            (number, argument.name)
            for number, argument in enumerate(operator._schema.arguments)
            if argument.alias_info is not None and argument.alias_info.is_write
        ),
        hidden=name in HIDDEN,
        convolves=name in CONVOLUTIONS,
        aliases=name in ALIASES,
        composite=torch._C._dispatch_has_kernel_for_dispatch_key(
            operator.name(), "CompositeImplicitAutograd"
        ),
    )


def tensors_written(
    facts: Facts, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Iterator[torch.Tensor]:
    """Yield the tensors that an operator is about to overwrite."""
    values = [args[n] if n < len(args) else kwargs.get(name) for n, name in facts.writes]
    yield from tensors_in(values, {})
    if facts.hidden:
        switch, statistics = HIDDEN[facts.name]
        if args[switch]:
            yield from tensors_in([args[n] for n in statistics], {})


def settings_of(device: str) -> dict[str, Any]:
    """Read the settings that decide the arithmetic of a convolution on a device."""
    backend = torch.backends.cudnn if device == "cuda" else torch.backends.mkldnn
    conv = getattr(backend, "conv", None)
    precision = getattr(conv, "fp32_precision", None)
    if precision is None:  # PyTorch before 2.9 knows TF32 on CUDA only
        allowed = device == "cuda" and getattr(torch.backends.cudnn, "allow_tf32", False)
        precision = "tf32" if allowed else "ieee"
    return {"device": device, "fp32_precision": precision}


def flushes_subnormals() -> bool:
    """Whether subnormal numbers are flushed to zero (`torch.set_flush_denormal`)."""
    number = torch.tensor([2.0**-149, 1.0], dtype=torch.float32, device="cpu")
    return not bool((number[0] * number[1]).item())
