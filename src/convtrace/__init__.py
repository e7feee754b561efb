"""convtrace: every multiplication behind any number in a convolutional network, certified.

    import convtrace as ct

    trace = ct.trace(model, x)            # run once, leave the model as it was
    receipt = trace.why("conv2[0,0,0,0]") # every multiplication that made this number
    print(receipt)

Importing convtrace imports neither PyTorch nor NumPy; they come in when they are first used.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as checkers know it; `typing` itself would take longer than all of this
if TYPE_CHECKING:
    import typing

    from convtrace.address import Address as Address
    from convtrace.arithmetic import Arithmetic as Arithmetic
    from convtrace.errors import AddressError as AddressError
    from convtrace.errors import ConvtraceError as ConvtraceError
    from convtrace.errors import EmptyTensorError as EmptyTensorError
    from convtrace.errors import FileError as FileError
    from convtrace.errors import FileFormatError as FileFormatError
    from convtrace.errors import MissingDependencyError as MissingDependencyError
    from convtrace.errors import MissingFileError as MissingFileError
    from convtrace.errors import ModelError as ModelError
    from convtrace.errors import NoConvolutionError as NoConvolutionError
    from convtrace.errors import NoValueError as NoValueError
    from convtrace.errors import OutOfRangeError as OutOfRangeError
    from convtrace.errors import ShapeError as ShapeError
    from convtrace.errors import TensorChangedError as TensorChangedError
    from convtrace.errors import UnknownStepError as UnknownStepError
    from convtrace.errors import UnsafeFileError as UnsafeFileError
    from convtrace.errors import UsageError as UsageError
    from convtrace.frontends.arrays import from_arrays as from_arrays
    from convtrace.frontends.onnx import from_onnx as from_onnx
    from convtrace.frontends.saved import load as load
    from convtrace.frontends.torch import trace as trace
    from convtrace.graph import Trace as Trace
    from convtrace.mismatch.entry import diff as diff
    from convtrace.mismatch.networks.report import ModelReport as ModelReport
    from convtrace.mismatch.networks.report import Pair as Pair
    from convtrace.mismatch.report import Cause as Cause
    from convtrace.mismatch.report import Report as Report
    from convtrace.projection import Use as Use
    from convtrace.projection import Uses as Uses
    from convtrace.receipt import Receipt as Receipt
    from convtrace.receipt import Term as Term
    from convtrace.split import Split as Split
    from convtrace.step import Step as Step

__version__ = "0.1.0"

_HOMES: dict[str, str] = {
    "Address": "address",
    "Arithmetic": "arithmetic",
    "Cause": "mismatch.report",
    "ModelReport": "mismatch.networks.report",
    "Pair": "mismatch.networks.report",
    "Receipt": "receipt",
    "Report": "mismatch.report",
    "Split": "split",
    "Step": "step",
    "Term": "receipt",
    "Trace": "graph",
    "Use": "projection",
    "Uses": "projection",
    "diff": "mismatch.entry",
    "from_arrays": "frontends.arrays",
    "from_onnx": "frontends.onnx",
    "load": "frontends.saved",
    "trace": "frontends.torch",
    **dict.fromkeys(
        [
            "AddressError",
            "ConvtraceError",
            "EmptyTensorError",
            "FileError",
            "FileFormatError",
            "MissingDependencyError",
            "MissingFileError",
            "ModelError",
            "NoConvolutionError",
            "NoValueError",
            "OutOfRangeError",
            "ShapeError",
            "TensorChangedError",
            "UnknownStepError",
            "UnsafeFileError",
            "UsageError",
        ],
        "errors",
    ),
}

__all__ = sorted(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> typing.Any:
    from importlib import import_module

    if name == "testing":
        return import_module("convtrace.testing")
    if name not in _HOMES:
        raise AttributeError(f"module 'convtrace' has no attribute {name!r}")
    value = getattr(import_module(f"convtrace.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
