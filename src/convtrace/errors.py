"""Every error that convtrace raises on purpose.

    ConvtraceError
    ├── AddressError            (ValueError)         the text is not an address
    ├── UnknownStepError        (KeyError)           no step has this name
    ├── OutOfRangeError         (IndexError)         the index lies outside the step's shape
    ├── ShapeError              (ValueError)         shapes or settings disagree
    │   └── EmptyTensorError                         a tensor holds no numbers
    ├── ModelError              (RuntimeError)       the traced model raised; the cause is chained
    ├── NoConvolutionError      (ValueError)         the model ran, but no convolution did
    ├── TensorChangedError      (RuntimeError)       a recorded tensor was overwritten later
    ├── NoValueError            (ValueError)         a tensor has no numbers to read (meta, sparse)
    ├── UsageError              (ValueError)         options of a call or command do not agree
    ├── FileError               (OSError)            a file cannot be used
    │   ├── MissingFileError    (FileNotFoundError)  there is no such file
    │   ├── FileFormatError     (ValueError)         truncated, or of another format
    │   └── UnsafeFileError     (ValueError)         it would have to be unpickled, which runs code
    └── MissingDependencyError  (ImportError)        an optional package is not installed

A message states what disagreed, every value received, where, and what to do next. Messages stay
in English in every language, so that they can be searched for.
"""


class ConvtraceError(Exception):
    """Base of all errors that convtrace raises on purpose."""

    def __str__(self) -> str:
        # KeyError would show its message quoted, with escapes; ours is text for people.
        return str(self.args[0]) if self.args else ""


class AddressError(ConvtraceError, ValueError):
    """The text is not an address such as ``conv1[0,1,0,0]``."""


class UnknownStepError(ConvtraceError, KeyError):
    """No step, input or parameter has this name."""


class OutOfRangeError(ConvtraceError, IndexError):
    """The index is not a position of the tensor it addresses."""


class ShapeError(ConvtraceError, ValueError):
    """Shapes, or a shape and the settings of a layer, disagree."""


class EmptyTensorError(ShapeError):
    """A tensor that should hold numbers has a zero in its shape."""


class ModelError(ConvtraceError, RuntimeError):
    """The model raised while it was traced; the original error is chained."""


class NoConvolutionError(ConvtraceError, ValueError):
    """The model ran to the end, but no convolution ran."""


class TensorChangedError(ConvtraceError, RuntimeError):
    """A tensor of the trace was overwritten after the trace."""


class NoValueError(ConvtraceError, ValueError):
    """A tensor has no numbers that can be read, e.g. on the meta device."""


class UsageError(ConvtraceError, ValueError):
    """The options of a call or a command do not fit together."""


class FileError(ConvtraceError, OSError):
    """A file cannot be used."""


class MissingFileError(FileError, FileNotFoundError):
    """There is no file at this path."""


class FileFormatError(FileError, ValueError):
    """The file is truncated, damaged, or of another format than its name says."""


class UnsafeFileError(FileError, ValueError):
    """Reading the file would unpickle objects, which can run any code."""


class MissingDependencyError(ConvtraceError, ImportError):
    """An optional package is not installed; the message names the command that installs it."""
