"""What ran: recorded tensors (`Value`) and operations (`Step`)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from convtrace.address import Address
from convtrace.arithmetic import Arithmetic
from convtrace.errors import NoValueError, OutOfRangeError, TensorChangedError
from convtrace.tables import Table

Status = Literal["linear", "selects", "gates", "opaque"]
"""`linear`: a sum of terms. `selects`: one source passes through. `gates`: value = gate x source.
`opaque`: shown as a formula; the descent stops there."""

Number = int | float | complex


class Value:
    """A recorded tensor: a PyTorch tensor held by reference, or a NumPy array.

    Args:
        name: Name in addresses, e.g. `conv1` or `conv1.weight`.
        data: The tensor or array. A tensor's version counter is remembered, so that a later
            change is noticed.

    Attributes:
        name: Name in addresses.
        data: The tensor or array itself.
        shape: Sizes of the axes, in elements.
        origin: `step`, `input`, `parameter` or `constant`.
        version: Version to expect; None takes the present one.
    """

    __slots__ = ("_array", "_version", "data", "name", "origin", "shape")

    def __init__(
        self, name: str, data: Any, origin: str = "step", version: int | None = None
    ) -> None:
        self.name = name
        self.data = data
        self.origin = origin
        self.shape: tuple[int, ...] = tuple(int(size) for size in data.shape)
        self._version = version_of(data) if version is None else version
        self._array: NDArray[Any] | None = data if isinstance(data, np.ndarray) else None

    @property
    def dtype(self) -> str:
        """Name of the element type, e.g. `float32`."""
        return str(self.data.dtype).removeprefix("torch.")

    @property
    def is_integer(self) -> bool:
        """Whether the elements are whole numbers or truth values."""
        return self.dtype.startswith(("int", "uint", "bool"))

    @property
    def is_complex(self) -> bool:
        """Whether the elements are complex numbers."""
        return self.dtype.startswith("complex")

    @property
    def is_parameter(self) -> bool:
        """Whether training would change it: a parameter of a module, and no buffer."""
        torch = sys.modules.get("torch")
        return torch is not None and isinstance(self.data, torch.nn.Parameter)

    def check(self) -> None:
        """Raise `TensorChangedError` if the tensor was overwritten since it was recorded."""
        now, expected = version_of(self.data), self._version
        if now != expected:
            raise TensorChangedError(
                f"{self.name} was overwritten after the trace\n"
                f"  recorded at version {expected}, now at version {now}: "
                f"{now - expected} in-place change(s) since\n"
                "  Trace again, or pass a copy (tensor.clone()) to what changes it."
            )

    def box(self, slices: tuple[int | slice, ...]) -> NDArray[Any]:
        """Read a box of the tensor.

        Args:
            slices: One position or one slice with positive step for each axis.

        Returns:
            The numbers, exactly: floating-point formats that NumPy lacks come as float64, all
            others in their own type. It may be a view; do not write to it.

        Raises:
            TensorChangedError: The tensor was overwritten since.
            NoValueError: The tensor has no numbers to read.
        """
        self.check()
        if self._array is None:
            numpy = _numpy_view(self)
            if numpy is None:
                return _fetch(self, slices)
            self._array = numpy
        return np.asarray(self._array[slices])

    def tensor(self) -> Any:
        """Return the whole as a PyTorch tensor, detached.

        Raises:
            TensorChangedError: The tensor was overwritten since.
        """
        import torch

        self.check()
        return torch.as_tensor(self.data).detach()

    def first_nonfinite(self) -> tuple[int, ...] | None:
        """Return the position of the first NaN or infinity, or None where there is none."""
        self.check()
        if isinstance(self.data, np.ndarray):
            if self.data.dtype.kind not in "fc":
                return None
            found = np.argwhere(~np.isfinite(self.data))
            return tuple(map(int, found[0])) if len(found) else None
        tensor = self.data.detach()
        if not (tensor.is_floating_point() or tensor.is_complex()) or tensor.numel() == 0:
            return None
        finite = tensor.isfinite()
        if bool(finite.all()):
            return None
        return tuple(map(int, (~finite).nonzero()[0].tolist()))

    def item(self, index: tuple[int, ...]) -> Number:
        """Read one number.

        Raises:
            OutOfRangeError: `index` is not a position of the tensor.
        """
        check_index(self.name, self.shape, index)
        return self.box(index).item()


class Unobserved(Value):
    """The output of a step whose result nobody reported: each number is computed when asked for.

    Args:
        name: Name in addresses.
        shape: Shape of the output.
        dtype: Element type that the numbers are rounded to.
        compute: Returns the number at a position.
    """

    __slots__ = ("_compute", "_dtype")

    def __init__(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: str,
        compute: Callable[[tuple[int, ...]], Number],
    ) -> None:
        super().__init__(name, np.broadcast_to(np.zeros(()), shape))
        self._dtype = dtype
        self._compute = compute

    @property
    def dtype(self) -> str:
        """Name of the element type."""
        return self._dtype

    def box(self, slices: tuple[int | slice, ...]) -> NDArray[Any]:
        """Compute a box of the output, number by number."""
        places = np.indices(self.shape)[(slice(None), *slices)]
        numbers = [
            self._compute(tuple(map(int, at))) for at in places.reshape(places.shape[0], -1).T
        ]
        return np.array(numbers).reshape(places.shape[1:])

    def item(self, index: tuple[int, ...]) -> Number:
        """Compute one number."""
        return self._compute(index)


class Inside(Unobserved):
    """What lies inside a fused operator: nobody reported it, so that it was computed apart.

    Args:
        name: Name in addresses.
        array: The numbers.
    """

    __slots__ = ()

    def __init__(self, name: str, array: NDArray[Any]) -> None:
        super().__init__(name, array.shape, str(array.dtype), lambda at: array[at].item())
        self.data = array
        self._array = array

    def box(self, slices: tuple[int | slice, ...]) -> NDArray[Any]:
        """Read a box of the numbers."""
        return np.asarray(self.data[slices])


def check_index(name: str, shape: tuple[int, ...], index: tuple[int, ...]) -> None:
    """Raise `OutOfRangeError` unless `index` is a position of `shape`."""
    if len(index) == len(shape) and all(
        0 <= position < size for position, size in zip(index, shape, strict=True)
    ):
        return
    address = Address(name, index)
    if len(index) != len(shape):
        cause = f"{len(index)} position(s) for {len(shape)} axes"
    else:
        axis = next(a for a, p in enumerate(index) if not 0 <= p < shape[a])
        cause = f"position {index[axis]} on axis {axis}, which has {shape[axis]}"
    example = Address(name, tuple(max(size - 1, 0) for size in shape))
    raise OutOfRangeError(
        f"no such number: {address}\n"
        f"  shape of {name}: {shape}\n"
        f"  {cause}\n"
        f"  Positions count from 0; the last one is {example}."
    )


def version_of(data: Any) -> int:
    """Return the version counter of a tensor; -1 for what keeps none."""
    if isinstance(data, np.ndarray) or data.is_inference():
        return -1  # neither keeps a counter
    return int(data._version)


def _numpy_view(value: Value) -> NDArray[Any] | None:
    """Return the tensor as a NumPy view, or None where NumPy cannot hold it."""
    import torch

    tensor = value.data
    if tensor.layout is not torch.strided or tensor.is_meta:
        raise _no_value(value)
    if tensor.device.type != "cpu" or value.dtype not in _NUMPY_DTYPES:
        return None
    try:
        return tensor.detach().resolve_conj().resolve_neg().numpy()
    except (RuntimeError, TypeError) as error:
        raise _no_value(value) from error


def _no_value(value: Value) -> NoValueError:
    return NoValueError(
        f"{value.name} has no numbers to read\n"
        f"  {type(value.data).__name__}, dtype {value.dtype}, layout {value.data.layout}, "
        f"device {value.data.device}\n"
        "  convtrace reads dense tensors: call .to_dense() or .dequantize(), or make the model on "
        "a\n  real device."
    )


def _fetch(value: Value, slices: tuple[int | slice, ...]) -> NDArray[Any]:
    import torch

    if value.dtype.startswith(("qint", "quint")):
        raise _no_value(value)
    window = value.data.detach()[slices]
    if window.dtype == torch.complex32:  # exact in the wider type
        window = window.to(torch.complex64)
    if window.dtype not in (torch.bool, torch.complex64, torch.complex128) and (
        window.is_floating_point()
    ):
        window = window.to("cpu").to(torch.float64)
    return window.cpu().resolve_conj().resolve_neg().numpy()


_NUMPY_DTYPES = frozenset(
    "float16 float32 float64 complex64 complex128 int8 int16 int32 int64 "
    "uint8 uint16 uint32 uint64 bool".split()
)


@dataclass(frozen=True)
class Step:
    """One operation that ran.

    Attributes:
        name: Module path (`layer1.0.conv1`), or function where no module owns it (`conv2d`).
        kind: Canonical kind, e.g. `convolution`; decides which rule answers for the step.
        attributes: Canonical settings. For a convolution: `stride`, `padding` (low and high),
            `dilation`, `output_padding` (tuples, one entry an axis), `groups`, `transposed`,
            `batched`.
        operands: Names of what it read, by role: `input`, `weight`, `bias`, or `0`, `1`, …
        values: The operands themselves, by role.
        value: The output.
        status: What a receipt can say of it (`linear`, `selects`, `gates`, `opaque`).
        module: Class name of the module that ran it, or None.
        arithmetic: Formats of the computation; None where it is not a rounded sum.
        replay: Computes the output again from other operands by role (tensors); None where it
            cannot be had again, e.g. after random numbers.
        sources: For a step that only moves numbers: returns, for every output number, its position
            in the operands `moved`, counted through all of them; negative for a fill value.
        moved: Roles of the operands that the numbers come from.
        table: What running the step again would say of each of its numbers; only in a trace that
            was opened from a file.
    """

    name: str
    kind: str
    attributes: Mapping[str, Any]
    values: Mapping[str, Value]
    value: Value
    status: Status = "opaque"
    module: str | None = None
    arithmetic: Arithmetic | None = None
    replay: Callable[[Mapping[str, Any]], Any] | None = None
    sources: Callable[[], NDArray[np.int64]] | None = None
    moved: tuple[str, ...] = ()
    table: Table | None = None
    operands: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "attributes", MappingProxyType(dict(self.attributes)))
        object.__setattr__(self, "values", MappingProxyType(dict(self.values)))
        names = {role: value.name for role, value in self.values.items()}
        object.__setattr__(self, "operands", MappingProxyType(names))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output."""
        return self.value.shape

    @property
    def dtype(self) -> str:
        """Element type of the output, e.g. `float32`."""
        return self.value.dtype

    def __repr__(self) -> str:
        operands = ", ".join(f"{role}={name}" for role, name in self.operands.items())
        return f"Step({self.name}: {self.kind}({operands}) -> {self.dtype} {self.shape})"
