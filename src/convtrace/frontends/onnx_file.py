"""Reading an ONNX file: format, size, weights in other files; nothing in it is trusted."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from convtrace.errors import FileError, FileFormatError, MissingDependencyError, MissingFileError
from convtrace.loading.files import check_file, kind_of, reading, shown, wrong_kind

MAX_BYTES = 2**31 - 1
"""The most bytes of a model, weights in other files included: a protobuf message holds no more."""

_WHAT = "an ONNX model (.onnx)"


def require(package: str) -> Any:
    """Import an optional package.

    Raises:
        MissingDependencyError: It is not installed.
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise MissingDependencyError(
            f"ONNX files need the package {package}, which cannot be imported\n"
            f"  {error}\n"
            '  Install it with: pip install "convtrace[onnx]"'
        ) from error


def load_model(path: Path) -> Any:
    """Read an ONNX file into one message, the weights that it keeps in other files included.

    Args:
        path: The file.

    Returns:
        The `onnx.ModelProto`, its local functions inlined.

    Raises:
        MissingDependencyError: The package onnx is not installed.
        MissingFileError: There is no such file, or one that it refers to is missing.
        FileFormatError: It is truncated, of another format, or too large.
        FileError: It refers to a file outside its own folder.

    Sources:
        External data: https://onnx.ai/onnx/repo-docs/ExternalData.html
    """
    onnx = require("onnx")
    _check_size(path, check_file(path))
    kind = kind_of(path)
    if kind != "unknown":  # an ONNX file begins with the tag of its first field, 0x08
        raise wrong_kind(path, _WHAT, kind)
    with reading(path, _WHAT):
        model = onnx.ModelProto.FromString(path.read_bytes())
        _check_names(model.graph)
    if not model.graph.node or not model.opset_import:
        raise FileFormatError(
            f"{shown(path)} holds no ONNX graph\n"
            f"  {len(model.graph.node)} nodes, {len(model.opset_import)} operator sets\n"
            "  It is cut off, or was never a model. Export it again."
        )
    _embed_external(onnx, model, path)
    if model.functions:
        inliner = require("onnx.inliner")
        model = inliner.inline_local_functions(model)
    return model


def _check_names(graph: Any) -> None:
    """Raise `TypeError` for names that are no text; protobuf only notices when they are read."""
    parts = [*graph.input, *graph.output, *graph.initializer]
    names = [part.name for part in parts]
    for node in graph.node:
        names += [node.name, node.op_type, node.domain, *node.input, *node.output]
        names += [attribute.name for attribute in node.attribute]
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"the name {name!r} is not text")


def _check_size(path: Path, size: int) -> None:
    if size > MAX_BYTES:
        raise FileFormatError(
            f"{shown(path)} is too large: {size:,} bytes with its weights\n"
            f"  convtrace reads models of at most {MAX_BYTES:,} bytes.\n"
            "  Cut out the part that you ask about with onnx.utils.extract_model."
        )


def _embed_external(onnx: Any, model: Any, path: Path) -> None:
    """Read tensors that the model keeps in files beside it."""
    folder = path.resolve().parent
    total = path.stat().st_size
    for tensor in _tensors(onnx, model.graph):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        file = _beside(path, folder, tensor.name, entries.get("location", ""))
        size = file.stat().st_size
        try:
            offset = int(entries.get("offset") or 0)
            length = int(entries.get("length") or size - offset)
        except ValueError:
            offset, length = -1, 0
        if offset < 0 or length < 0 or offset + length > size:
            raise FileFormatError(
                f"{shown(path)}: the data of {tensor.name!r} lies outside {shown(file.name)}\n"
                f"  offset {entries.get('offset')}, length {entries.get('length')}, "
                f"and the file has {size:,} bytes\n"
                "  It is cut off, or belongs to another model. Copy both files again."
            )
        total += length
        _check_size(path, total)
        with file.open("rb") as stream:
            stream.seek(offset)
            tensor.raw_data = stream.read(length)
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]


def _beside(path: Path, folder: Path, name: str, location: str) -> Path:
    """Find a file that the model refers to; it has to lie in the model's own folder."""
    try:
        file = (folder / location).resolve()
        inside = bool(location) and not Path(location).is_absolute() and folder in file.parents
        there = inside and file.is_file()
    except (OSError, ValueError):
        file, inside, there = folder, False, False
    if not inside:
        raise FileError(
            f"{shown(path)} refers to a file outside its own folder\n"
            f"  tensor {name!r}, location {location!r}\n"
            "  Weights are only read from beside the model. Move both into one folder and save the "
            "model again."
        )
    if not there:
        raise MissingFileError(
            f"{shown(path)} keeps weights in a file that is missing\n"
            f"  tensor {name!r}, location {location!r}, looked in {shown(folder)}\n"
            "  Put that file beside the model."
        )
    return file


def _tensors(onnx: Any, graph: Any) -> list[Any]:
    """List the tensors of a graph: initializers, attributes of nodes, those of inner graphs."""
    found = list(graph.initializer)
    for sparse in graph.sparse_initializer:
        found += [sparse.values, sparse.indices]
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                found.append(attribute.t)
            found += attribute.tensors
            for inner in [attribute.g, *attribute.graphs]:
                if inner.node or inner.initializer:
                    found += _tensors(onnx, inner)
    return found
