"""What the property tests draw: convolutions with their numbers, and floating-point numbers.

`CONVTRACE_EXAMPLES=20` tries twenty times as many drawn examples as usual.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from typing import Any

import hypothesis
import numpy as np
import torch
from hypothesis import strategies as st
from judges import NestedLoops, Settings, is_number_of
from numpy.typing import NDArray

_SCALE = float(os.environ.get("CONVTRACE_EXAMPLES", "1"))

FLOATS = ("float16", "bfloat16", "float32", "float64")
INTEGERS = ("uint8", "int8", "int16", "int32", "int64")


def examples(count: int) -> hypothesis.settings:
    """Settings that try so many examples, times the scale that the environment asks for."""
    return hypothesis.settings(
        max_examples=max(1, round(count * _SCALE)),
        deadline=None,  # how long an example takes depends on the machine
        suppress_health_check=[
            hypothesis.HealthCheck.too_slow,
            hypothesis.HealthCheck.filter_too_much,  # of the numbers drawn, few are float16 ones
        ],
    )


@dataclass(frozen=True)
class Drawn:
    """A convolution and its numbers, whole ones from -9 to 9.

    Attributes:
        settings: What a judge reads.
        spelled: The same as a caller writes it: one number for all axes, `'same'`, and so on.
        x: `(N, C_in, *spatial)`, or without `N`.
        weight: `(C_out, C_in / groups, *kernel)`; transposed `(C_in, C_out / groups, *kernel)`.
        bias: `(C_out,)`, or None.
    """

    settings: Settings
    spelled: dict[str, Any]
    x: NDArray[np.int64]
    weight: NDArray[np.int64]
    bias: NDArray[np.int64] | None

    @property
    def name(self) -> str:
        """PyTorch's function, which is the name of the step."""
        return f"conv{'_transpose' if self.settings.transposed else ''}{self.weight.ndim - 2}d"

    @property
    def loops(self) -> NestedLoops:
        """The outside judge for it."""
        return NestedLoops(self.x.shape, self.weight.shape, self.settings)

    def tensors(self, dtype: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Input, weight and bias as tensors."""
        kind = getattr(torch, dtype)
        x, weight = (torch.from_numpy(a).to(kind) for a in (self.x, self.weight))
        return x, weight, None if self.bias is None else torch.from_numpy(self.bias).to(kind)

    def crashes(self, dtype: str) -> bool:
        """Whether PyTorch's float16 kernel may end the process (2.13.0 on the CPU, with AMX).

        It does for single inputs, padded, where stride and dilation are both above 1.
        """
        sizes = self.x.shape[-len(self.settings.stride) :]
        axes = zip(sizes, self.settings.stride, self.settings.dilation, strict=True)
        return dtype == "float16" and any(n == 1 < min(s, d) for n, s, d in axes)

    def call(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> Any:
        """Run it in PyTorch."""
        spelled = {key: value for key, value in self.spelled.items() if key != "transposed"}
        with warnings.catch_warnings():
            # PyTorch says once that uneven 'same' padding costs it a copy.
            warnings.filterwarnings("ignore", message="Using padding='same'")
            return getattr(torch.nn.functional, self.name)(x, weight, bias, **spelled)


def whole_numbers(seed: int, shape: tuple[int, ...], low: int = -9, high: int = 9) -> Any:
    """Whole numbers from `low` to `high`."""
    return np.random.default_rng(seed).integers(low, high + 1, size=shape)


def shorten(values: tuple[Any, ...], draw: st.DrawFn) -> Any:
    """Write one value for all axes where they agree, now and then."""
    return values[0] if len(set(values)) == 1 and draw(st.booleans()) else values


@st.composite
def convolutions(
    draw: st.DrawFn,
    *,
    axes: int | None = None,
    transposed: bool | None = None,
    uneven: bool = True,
    dilated: bool = True,
) -> Drawn:
    """Draw a convolution whose kernel fits.

    Args:
        draw: Hypothesis gives it.
        axes: Number of spatial axes; None draws 1, 2 or 3.
        transposed: None draws either.
        uneven: Whether padding may differ between the two ends, as PyTorch's own never does,
            except for `'same'`.
        dilated: Whether taps may stand apart.
    """
    axes = draw(st.sampled_from([2, 1, 3])) if axes is None else axes
    transposed = draw(st.booleans()) if transposed is None else transposed
    small = st.integers(1, 3 if axes < 3 else 2)

    def each(strategy: st.SearchStrategy[int]) -> tuple[int, ...]:
        return tuple(draw(strategy) for _ in range(axes))

    kernel, stride = each(st.integers(1, 3)), each(small)
    dilation = each(small) if dilated else (1,) * axes
    reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    ways = ["symmetric", *(["uneven"] if uneven else [])]
    if not transposed:
        ways += ["valid", "same"]
    way = draw(st.sampled_from(ways))
    extra = (0,) * axes
    spelled_padding: Any
    if way == "same":
        stride = (1,) * axes
        padding = tuple((r // 2, r - r // 2) for r in reach)
        spelled_padding = "same"
    elif way == "valid":
        padding = ((0, 0),) * axes
        spelled_padding = "valid"
    elif way == "uneven":
        padding = tuple((draw(st.integers(0, 3)), draw(st.integers(0, 3))) for _ in range(axes))
        spelled_padding = padding
    else:
        once = each(st.integers(0, 3))
        padding = tuple((p, p) for p in once)
        spelled_padding = shorten(once, draw)
    if transposed:
        extra = tuple(
            draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True)
        )
    sizes = []
    for axis in range(axes):
        low, high = padding[axis]
        if transposed:
            missing = low + high - reach[axis] - extra[axis]
            least = 1 + max(0, -(-missing // stride[axis]))
        else:
            least = max(1, reach[axis] + 1 - low - high)
        sizes.append(draw(st.integers(least, least + 3)))
    groups = draw(st.integers(1, 3))
    reads, writes = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    batch = draw(st.sampled_from([(1,), (2,), ()]))
    seed = draw(st.integers(0, 2**20))
    x_shape = (*batch, groups * reads, *sizes)
    if transposed:
        weight_shape = (groups * reads, writes, *kernel)
    else:
        weight_shape = (groups * writes, reads, *kernel)
    bias = whole_numbers(seed + 2, (groups * writes,)) if draw(st.booleans()) else None
    spelled: dict[str, Any] = {
        "stride": shorten(stride, draw),
        "padding": spelled_padding,
        "dilation": shorten(dilation, draw),
        "groups": groups,
    }
    if transposed:
        spelled |= {"transposed": True, "output_padding": shorten(extra, draw)}
    return Drawn(
        Settings(stride, padding, dilation, extra, groups, transposed),
        spelled,
        whole_numbers(seed, x_shape),
        whole_numbers(seed + 1, weight_shape),
        bias,
    )


def numbers_of(name: str, *, most: float | None = None) -> st.SearchStrategy[float]:
    """Finite numbers of a floating-point format, subnormal ones included."""
    if name in ("bfloat16", "tf32"):
        spare = 16 if name == "bfloat16" else 13
        bits = st.integers(0, 2**32 - 1).map(lambda n: n >> spare << spare)
        drawn = bits.map(lambda n: float(np.array(n, dtype=np.uint32).view(np.float32)))
        finite = drawn.filter(lambda value: bool(np.isfinite(value)))
        special = st.sampled_from([0.0, 1.0, -1.0, 1.0078125, 2.0**-133, -(2.0**-126)])
        strategy = st.one_of(finite, special.filter(lambda value: is_number_of(value, name)))
    else:
        width: Any = {"float16": 16, "float32": 32, "float64": 64}[name]
        strategy = st.floats(allow_nan=False, allow_infinity=False, width=width)
    return strategy if most is None else strategy.filter(lambda value: abs(value) <= most)
