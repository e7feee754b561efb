"""The question in one form: arrays, settings, what follows the sum, and what was observed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.arithmetic import Arithmetic
from convtrace.errors import NoValueError
from convtrace.exact import FORMATS
from convtrace.frontends.arrays import from_arrays
from convtrace.graph import Trace
from convtrace.mismatch.computing.memory import wide
from convtrace.mismatch.computing.setup import Setup, into
from convtrace.mismatch.computing.stages import Add, Stage, rounded
from convtrace.mismatch.computing.statistics import Statistics
from convtrace.mismatch.report import Note
from convtrace.receipt import Receipt

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Problem:
    """One convolution, what follows it, and the output that is doubted.

    Attributes:
        name: Name of the step.
        raw: What was given: `x`, `weight`, `bias` (or None), `observed`, of any library.
        attributes: Canonical settings of the convolution.
        shape: Output shape that they give.
        modes: Padding mode of each axis.
        stages: What follows the bias: norm, activation, requantization.
        arithmetic: Formats of the computation; None where all is integers.
        stored: Widest format of the operands as they are stored.
        explicit: Whether the arithmetic was named by the caller.
        dtype: Element type of the observed output.
        notes: Remarks on how the question was read.
        found: Names of settings that were searched for.
        change_x: Changes of the input's numbers before the products, e.g. less a zero point.
        change_w: The same for the weights.
    """

    name: str
    raw: Mapping[str, Any]
    attributes: Mapping[str, Any]
    shape: tuple[int, ...]
    modes: tuple[str, ...]
    stages: tuple[Stage, ...]
    arithmetic: Arithmetic | None
    stored: str
    explicit: bool
    dtype: str
    notes: tuple[Note, ...] = ()
    found: tuple[str, ...] = ()
    change_x: tuple[Callable[..., Array], ...] = ()
    change_w: tuple[Callable[..., Array], ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @cached_property
    def observed(self) -> Array:
        """The observed output as float64, with a batch axis where the reference has none."""
        array = floats(self.raw["observed"])
        return array if self.attributes["batched"] else array[None]

    @cached_property
    def grids(self) -> frozenset[str]:
        """Formats that hold every observed number: what the output may once have been stored in."""
        values = self.observed.reshape(-1)
        found: set[str] = {self.dtype} & {"bfloat16", "float16", "float32"}
        for name in {"bfloat16", "float16", "float32"} - found:
            few = values[:: max(1, values.size // 256)]
            few = few[np.isfinite(few)]
            if (rounded(few, name) == few).all():
                all_of_it = values[np.isfinite(values)]
                if (rounded(all_of_it, name) == all_of_it).all():
                    found.add(name)
        return frozenset(found)

    @cached_property
    def count(self) -> int:
        """Summands of one number, the bias included."""
        weight = tuple(self.raw["weight"].shape)
        size = int(np.prod(weight[2:])) * (
            weight[0] // self.attributes["groups"] if self.attributes["transposed"] else weight[1]
        )
        return size + (self.raw["bias"] is not None)

    @cached_property
    def setup(self) -> Setup:
        """The reference as a setup."""
        x, weight = floats(self.raw["x"]), floats(self.raw["weight"])
        bias = None if self.raw["bias"] is None else floats(self.raw["bias"])
        narrow = stored(self.raw["x"])
        if not self.attributes["batched"]:
            x, narrow = x[None], None if narrow is None else narrow[None]
        added: tuple[Stage, ...] = () if bias is None else (Add(bias),)
        setup = Setup(
            x=x,
            weight=weight,
            bias=bias,
            stride=self.attributes["stride"],
            low=tuple(low for low, _ in self.attributes["padding"]),
            dilation=self.attributes["dilation"],
            size=self.shape[-len(self.modes) :],
            groups=self.attributes["groups"],
            transposed=self.attributes["transposed"],
            modes=self.modes,
            x_ops=self.change_x,
            w_ops=self.change_w,
            stages=(*added, *self.stages),
            held=self.held,
            seen=(Statistics(x, narrow), Statistics(weight, stored(self.raw["weight"]))),
        )
        ends = zip(self.attributes["padding"], setup.high(), strict=True)
        return setup.but(spare=tuple(max(0, meant - reached) for (_, meant), reached in ends))

    @property
    def held(self) -> str | None:
        """Format that results are stored in between operators, where that loses anything."""
        if self.arithmetic is None:
            return None
        result, accumulate = FORMATS[self.arithmetic.result], FORMATS[self.arithmetic.accumulate]
        return self.arithmetic.result if result.precision < min(accumulate.precision, 24) else None

    def but(self, **changes: Any) -> Problem:
        """Return this problem with some fields changed."""
        return replace(self, **changes)

    @cached_property
    def trace(self) -> Trace:
        """A trace that gives the receipts of this convolution."""
        settings = self.attributes
        x, pads = self.raw["x"], settings["padding"]
        if any(mode != "zeros" for mode in self.modes):
            x, pads = padded(x, self.modes, pads), 0
        plain = not self.stages and not self.change_x and not self.change_w
        return from_arrays(
            x,
            self.raw["weight"],
            self.raw["bias"],
            stride=settings["stride"],
            padding=pads,
            dilation=settings["dilation"],
            groups=settings["groups"],
            transposed=settings["transposed"],
            output_padding=settings["output_padding"],
            observed=self.raw["observed"] if plain else None,
            name=self.name,
            arithmetic=self.arithmetic,
        )

    def why(self, index: tuple[int, ...]) -> Receipt:
        """Return the receipt of one element; `index` has a batch axis."""
        at = index if self.attributes["batched"] else index[1:]
        return self.trace.why(self.name, at)


def padded(x: Any, modes: tuple[str, ...], pads: Any) -> Array:
    """Lay non-zero padding around an input."""
    array = floats(x)
    lead = array.ndim - len(modes)
    for axis, (mode, (low, high)) in enumerate(zip(modes, pads, strict=True)):
        size = array.shape[lead + axis]
        source, met = into(np.arange(-low, size + high), size, mode)
        array = np.take(array, source, axis=lead + axis)
        if met is not None:
            shape = [1] * array.ndim
            shape[lead + axis] = -1
            array = np.where(met.reshape(shape), array, 0.0)
    return array


def floats(array: Any) -> Array:
    """Return an array or tensor of any real type as float64."""
    if hasattr(array, "detach"):
        import torch

        tensor = array.detach()
        if tensor.is_quantized:
            tensor = tensor.dequantize()
        if tensor.layout is not torch.strided or tensor.is_meta:
            raise NoValueError(
                f"a tensor has no numbers to read: layout {tensor.layout}, device {tensor.device}\n"
                "  Make it dense (to_dense()) and put it on a real device."
            )
        if tensor.dtype == torch.float32 and tensor.device.type == "cpu" and not tensor.is_neg():
            return wide(tensor.numpy())
        return tensor.to("cpu", torch.float64).numpy()
    return np.asarray(array).astype(np.float64)


def stored(array: Any) -> Array | None:
    """Return the numbers of an array or tensor as they are, if float32 and one after the other."""
    if hasattr(array, "detach"):
        tensor = array.detach()
        plain = dtype_of(tensor) == "float32" and tensor.device.type == "cpu"
        if not plain or str(tensor.layout) != "torch.strided" or tensor.is_neg():
            return None
        array = tensor.numpy()
    usable = isinstance(array, np.ndarray) and array.dtype == np.float32
    return array if usable and array.flags.c_contiguous else None


def dtype_of(array: Any) -> str:
    """Return the name of an element type, e.g. `float32`."""
    return str(array.dtype).removeprefix("torch.")
