"""Finding the model that a command names: `package.module:object`, `file.py:object`, `digits`."""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import torch
from torch import nn

from convtrace.errors import UsageError
from convtrace.loading.code import import_file, import_module, raised
from convtrace.loading.files import check_file, nearest, shown

BUILTIN = {"digits": ("convtrace.models.digits", "digits", "digit")}
"""Models that ship with convtrace: module, function that makes it, function that makes an input."""

FORMS = (
    "A model is file.py:object, package.module:object, an ONNX file (.onnx), a saved trace "
    "(.convtrace),\n  or the built-in digits; the object is an nn.Module, a function without "
    "arguments that makes one,\n  or a function of tensors."
)

_WEIGHTS = (".pt", ".pth", ".bin", ".ckpt", ".safetensors")


@dataclass(frozen=True)
class ModelSource:
    """Where a model comes from.

    Attributes:
        text: The model as the reader named it.
        file: Its file; None for a module that is imported by name.
        module: The module's dotted name; None for a file.
        attribute: The object's name inside, dotted.
    """

    text: str
    file: Path | None
    module: str | None
    attribute: str

    @contextmanager
    def importable(self) -> Generator[None]:
        """Let imports find what is beside the model, as they do when Python runs its file."""
        folder = str((self.file.parent if self.file else Path.cwd()).resolve())
        sys.path.insert(0, folder)
        try:
            yield
        finally:
            if folder in sys.path:
                sys.path.remove(folder)

    def load(self, seed: int) -> Any:
        """Import the module and make the model.

        Args:
            seed: Seed of torch's random state while weights are drawn.

        Returns:
            An `nn.Module`, or a function that computes with tensors.

        Raises:
            FileFormatError: The file is not Python.
            ModelError: The file raised while it was imported, or the factory raised.
            UsageError: There is no such module or object, or it is not a model.
        """
        torch.manual_seed(seed)  # pyright: ignore[reportUnknownMemberType]
        module = import_file(self.file) if self.file else import_module(self.module or "")
        return _make(self, _find(self, module))


def parse_model(text: str) -> ModelSource:
    """Read the name of a model.

    Raises:
        MissingFileError: The file is not there.
        UsageError: The text names no object, or is not the name of a model.
    """
    if text in BUILTIN:
        module, attribute, _ = BUILTIN[text]
        return ModelSource(text, None, module, attribute)
    place, colon, attribute = text.rpartition(":")
    if not colon or not all(part.isidentifier() for part in attribute.split(".")):
        raise _no_object(text)
    if place.endswith(".py") or "/" in place or "\\" in place:
        path = Path(place)
        check_file(path)
        if path.suffix != ".py":
            raise _not_python(text, path)
        return ModelSource(text, path, None, attribute)
    if not all(part.isidentifier() for part in place.split(".")):
        if Path(place).is_file():
            raise _not_python(text, Path(place))
        raise UsageError(f"not the name of a model: {shown(text)}\n  {FORMS}")
    return ModelSource(text, None, place, attribute)


def default_input(text: str) -> Any:
    """Return the input that ships with a built-in model, or None."""
    if text not in BUILTIN:
        return None
    module, _, example = BUILTIN[text]
    return getattr(importlib.import_module(module), example)()


def _no_object(text: str) -> UsageError:
    path = Path(text)
    if text.endswith(".py") or path.is_file():
        check_file(path)
        if path.suffix != ".py":
            return _not_python(text, path)
        names = _names_in(path)
        hint = f"it defines: {', '.join(names)}" if names else "it defines nothing at its top level"
        example = names[0] if names else "make_model"
        return UsageError(
            f"{shown(text)} names a file but no object in it\n"
            f"  {hint}\n"
            f"  Write {shown(text)}:{example}"
        )
    near = nearest(text, BUILTIN)
    hint = f"Did you mean {near[0]}?\n  " if near else ""
    return UsageError(f"not the name of a model: {shown(text)}\n  {hint}{FORMS}")


def _not_python(text: str, path: Path) -> UsageError:
    if path.suffix.lower() in _WEIGHTS:
        return UsageError(
            f"{shown(path)} holds weights, not a model\n"
            "  Name the code that makes the model, and pass the file as its weights:\n"
            f"  convtrace why file.py:make_model ADDRESS --weights {shown(path)}"
        )
    return UsageError(f"{shown(path)} is not a Python file\n  {FORMS}")


def _names_in(path: Path) -> list[str]:
    """List what a Python file defines at its top level, without running it."""
    try:
        body = ast.parse(path.read_bytes()).body
    except (SyntaxError, ValueError, OSError):
        return []
    names: list[str] = []
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign):
            names += [target.id for target in node.targets if isinstance(target, ast.Name)]
    return [name for name in names if not name.startswith("_")]


def _find(source: ModelSource, module: ModuleType) -> Any:
    found: Any = module
    reached = source.text.rpartition(":")[0] or source.text
    for part in source.attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            names = [name for name in dir(found) if not name.startswith("_")]
            near = nearest(part, names)
            models = [name for name in names if _looks_like_model(getattr(found, name, None))]
            if near:
                hint = f"nearest names: {', '.join(near)}"
            elif models:
                hint = f"models in it: {', '.join(models[:12])}"
            else:
                hint = f"names in it: {', '.join(names[:12]) or 'none'}"
            raise UsageError(
                f"there is no {part!r} in {shown(reached)}\n  {hint}\n"
                "  Write the name as the file spells it."
            ) from None
        reached = f"{reached}.{part}"
    return found


def _looks_like_model(thing: Any) -> bool:
    if isinstance(thing, type):
        return issubclass(thing, nn.Module)
    return isinstance(thing, nn.Module) or inspect.isfunction(thing)


def _make(source: ModelSource, found: Any) -> Any:
    """Return the model that the object is, or makes."""
    if isinstance(found, nn.Module):
        return found
    if not callable(found):
        raise _not_a_model(source, f"it is a {type(found).__name__}")
    is_class = isinstance(found, type)
    if is_class and not issubclass(found, nn.Module):
        raise _not_a_model(source, f"it is a class ({found.__name__}) that is no nn.Module")
    required = _required(found)
    returns = inspect.get_annotations(found).get("return") if inspect.isfunction(found) else None
    makes = is_class or (isinstance(returns, type) and issubclass(returns, nn.Module))
    if required and makes:
        name = source.attribute
        raise UsageError(
            f"{shown(source.text)} needs arguments: {', '.join(required)}\n"
            "  Write a function without arguments that makes the model, and name that one:\n"
            "  def make_model():\n"
            f"      return {name}({', '.join(f'{argument}=…' for argument in required)})"
        )
    if required or required is None:
        return found
    with raised(f"{shown(source.text)} raised", "while it made the model"):
        made = cast(Any, found)()
    if isinstance(made, nn.Module):
        return made
    if isinstance(made, torch.Tensor):
        return found  # a computation without inputs
    if callable(made) and not isinstance(made, type):
        return made
    raise _not_a_model(source, f"calling it gave a {type(made).__name__}")


def _required(function: Any) -> list[str] | None:
    """List the arguments that a callable cannot do without; None where that is unknown."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    return [
        p.name
        for p in parameters
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]


def _not_a_model(source: ModelSource, reason: str) -> UsageError:
    return UsageError(f"{shown(source.text)} is not a model: {reason}\n  {FORMS}")
