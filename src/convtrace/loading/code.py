"""Running the reader's Python code: importing a file or a module, and saying where it raised."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import torch

from convtrace.errors import FileFormatError, ModelError, UsageError
from convtrace.loading.files import reading, shown

_OWN = f"{Path(__file__).parents[1]}{os.sep}"


def import_file(path: Path) -> ModuleType:
    """Run a Python file as a module.

    Raises:
        FileFormatError: It is not valid Python; the message shows the line.
        ModelError: It raised.
    """
    # Under its own name where that is free, so that a file beside it can import it, too.
    name = path.stem
    if not name.isidentifier() or name in sys.modules or name in sys.stdlib_module_names:
        name = f"convtrace_model_{len(sys.modules)}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    with reading(path, "Python code"):
        source = path.read_bytes()
    try:
        code = compile(source, str(path), "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        raise _syntax_error(path, error) from error
    sys.modules[name] = module
    try:
        with raised(f"{shown(path)} raised", "while it was imported"):
            exec(code, vars(module))  # noqa: S102  (the model that the reader named)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def _syntax_error(path: Path, error: Exception) -> FileFormatError:
    line = getattr(error, "lineno", None)
    text = (getattr(error, "text", None) or "").rstrip("\n")
    reason = getattr(error, "msg", None) or str(error)
    where = f", line {line}" if line else ""
    excerpt = ""
    if text.strip():
        column = max((getattr(error, "offset", None) or 1) - 1, 0)
        indent = len(text) - len(text.lstrip())
        excerpt = f"\n    {text.strip()}\n    {' ' * max(column - indent, 0)}^"
    return FileFormatError(
        f"{shown(path)} is not valid Python{where}\n  {reason}{excerpt}\n"
        "  Correct the file; running it with python shows the same error."
    )


def import_module(name: str) -> ModuleType:
    """Import a module by its dotted name.

    Raises:
        UsageError: There is no such module.
        ModelError: It raised.
    """
    try:
        with raised(f"the module {name} raised", "while it was imported"):
            return importlib.import_module(name)
    except ModelError as error:
        cause = error.__cause__
        if (
            isinstance(cause, ModuleNotFoundError)
            and cause.name
            and (name == cause.name or name.startswith(f"{cause.name}."))
        ):
            raise UsageError(
                f"there is no module called {cause.name!r}\n"
                "  looked among the installed packages and in this directory\n"
                "  Install it in the environment of convtrace, run convtrace from the directory "
                "it is in,\n"
                "  or name its file: file.py:object"
            ) from cause
        raise


@contextmanager
def raised(subject: str, moment: str) -> Generator[None]:
    """Turn what the reader's code raises into a `ModelError` that says where."""
    try:
        yield
    except SystemExit as error:
        raise ModelError(
            f"{subject} SystemExit {moment}\n"
            f"  it ended the program with status {error.code!r}; {place_of(error)}\n"
            '  Put what runs the program below `if __name__ == "__main__":`.'
        ) from error
    except Exception as error:
        hint = ""
        if isinstance(error, ModuleNotFoundError) and error.name:
            hint = f"\n  Install {error.name} in the environment of convtrace."
        raise ModelError(
            f"{subject} {type(error).__name__} {moment}\n"
            f"  {str(error).strip() or 'no message'}\n"
            f"  {place_of(error)}{hint}"
        ) from error


def place_of(error: BaseException) -> str:
    """Return where in the reader's code an error was raised, e.g. `raised in net.py, line 3`."""
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, SyntaxError) and error.filename:
        return f"raised by {shown(error.filename)}, line {error.lineno}: {error.text or ''}".strip()
    outside = (f"{Path(torch.__file__).parent}{os.sep}", _OWN, "<")
    theirs = [frame for frame in frames if not frame.filename.startswith(outside)]
    if not theirs:
        return "raised inside torch"
    frame = theirs[-1]
    line = f": {frame.line}" if frame.line else ""
    return f"raised in {shown(frame.filename)}, line {frame.lineno}{line}"
