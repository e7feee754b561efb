"""Tensors of a saved trace: read from the file when they are asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace import storage
from convtrace.errors import NoValueError
from convtrace.step import Value


class Encoded:
    """Numbers of a type that NumPy lacks.

    Args:
        bits: Their bits.
        dtype: Their type, e.g. `bfloat16`.

    Attributes:
        bits: Their bits.
        dtype: Their type.
        shape: Sizes of the axes.
    """

    def __init__(self, bits: NDArray[Any], dtype: str) -> None:
        self.bits = bits
        self.dtype = dtype
        self.shape = bits.shape

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return the numbers in float64."""
        return storage.decode(self.bits, self.dtype).astype(dtype or np.float64, copy=False)


class Stored(Value):
    """A tensor of a file.

    Args:
        saved: What the file says of it.
        data: Its numbers, as NumPy holds them; None where the file has none.
    """

    __slots__ = ("_dtype", "_trained")

    def __init__(self, saved: storage.SavedTensor, data: NDArray[Any] | None) -> None:
        shape = np.broadcast_to(np.zeros(()), tuple(saved.shape))
        super().__init__(saved.name, shape, saved.origin, -1)
        self._dtype = saved.dtype
        self._trained = saved.trained
        self.data: Any = data
        if data is not None and saved.dtype in storage.ENCODED:
            self.data = Encoded(data, saved.dtype)

    @property
    def dtype(self) -> str:
        """Name of the element type."""
        return self._dtype

    @property
    def is_parameter(self) -> bool:
        """Whether training would change it."""
        return self._trained

    def check(self) -> None:
        """Raise `NoValueError` if the file does not hold the numbers."""
        if self.data is None:
            raise NoValueError(
                f"{self.name} has no numbers in this file\n"
                f"  dtype {self._dtype}: they could not be read when the trace was saved\n"
                "  Trace the model again, with dense tensors on a real device."
            )

    def box(self, slices: tuple[int | slice, ...]) -> NDArray[Any]:
        """Read a box of the tensor; see `Value.box`."""
        self.check()
        if isinstance(self.data, Encoded):
            return np.asarray(storage.decode(self.data.bits[slices], self._dtype))
        return np.asarray(self.data[slices])

    def first_nonfinite(self) -> tuple[int, ...] | None:
        """Return the position of the first NaN or infinity, or None where there is none."""
        if self.data is None:
            return None
        numbers = self.box((slice(None),) * len(self.shape))
        if numbers.dtype.kind not in "fc":
            return None
        found = np.argwhere(~np.isfinite(numbers))
        return tuple(map(int, found[0])) if len(found) else None

    def tensor(self) -> Any:
        """Return the whole as a PyTorch tensor."""
        import torch

        self.check()
        if not isinstance(self.data, Encoded):
            return torch.as_tensor(np.array(self.data))
        bits = np.array(self.data.bits)
        tensor = torch.as_tensor(bits.view(np.int16) if bits.itemsize == 2 else bits)
        return tensor.view(getattr(torch, self._dtype))
