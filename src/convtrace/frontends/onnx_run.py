"""Running an ONNX graph with onnxruntime, every intermediate value included."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.errors import FileFormatError, ModelError
from convtrace.frontends.onnx_file import require
from convtrace.loading.files import shown


@dataclass(frozen=True)
class Node:
    """One node of the graph.

    Attributes:
        op: Operator type, e.g. `Conv`.
        domain: Its domain; empty for the standard operators.
        name: Name in the file, often a path, sometimes empty.
        inputs: Names of the values it reads, by position; empty where one is left out.
        outputs: Names of the values it makes; empty where nobody wants one.
        attributes: Its attributes, texts decoded, tensors as arrays; inner graphs left out.
        captured: Names that its inner graphs read from outside.
        version: Version of the operator set of its domain.
    """

    op: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    captured: tuple[str, ...]
    version: int

    @property
    def title(self) -> str:
        """The operator with its domain, e.g. `com.microsoft.QLinearAdd`."""
        return f"{self.domain}.{self.op}" if self.domain else self.op


@dataclass(frozen=True)
class Run:
    """What the graph is and what onnxruntime computed.

    Attributes:
        nodes: Nodes in the order of the file, which is an order they can run in.
        inputs: Names of the given inputs.
        initializers: Names of the stored weights.
        outputs: Names of the graph's own outputs.
        values: All numbers by name. Values that are no tensors of numbers are missing.
        dynamic: Names of values that depend on the numbers of an input; the others are the same
            for every input of these shapes.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    initializers: frozenset[str]
    outputs: tuple[str, ...]
    values: Mapping[str, NDArray[Any]]
    dynamic: frozenset[str]


def read_nodes(model: Any) -> tuple[Node, ...]:
    """Read the nodes of a model's graph."""
    onnx = require("onnx")
    versions = {"" if o.domain == "ai.onnx" else o.domain: o.version for o in model.opset_import}
    nodes: list[Node] = []
    for proto in model.graph.node:
        domain = "" if proto.domain == "ai.onnx" else proto.domain
        attributes: dict[str, Any] = {}
        captured: list[str] = []
        for attribute in proto.attribute:
            if attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS):
                for graph in [attribute.g, *attribute.graphs]:
                    captured += _free_names(graph)
            else:
                attributes[attribute.name] = _plain(onnx, attribute)
        nodes.append(
            Node(
                op=proto.op_type,
                domain=domain,
                name=proto.name,
                inputs=tuple(proto.input),
                outputs=tuple(proto.output),
                attributes=attributes,
                captured=tuple(dict.fromkeys(captured)),
                version=versions.get(domain, 1),
            )
        )
    return tuple(nodes)


def run_model(model: Any, path: Path, given: Mapping[str, NDArray[Any]]) -> Run:
    """Run a model, with no optimisation that would fuse or remove an operator.

    Args:
        model: The `onnx.ModelProto`; outputs are added to it.
        path: Where it came from, for messages.
        given: Inputs by name, of the shapes and types that it expects.

    Raises:
        ModelError: onnxruntime cannot load the model, or stopped while it ran.
        FileFormatError: A stored weight is damaged.

    Sources:
        Optimisation levels: https://onnxruntime.ai/docs/performance/model-optimizations/graph-optimizations.html
    """
    onnx, runtime = require("onnx"), require("onnxruntime")
    graph = model.graph
    nodes = read_nodes(model)
    outputs = tuple(output.name for output in graph.output)
    values = {t.name: _array(onnx, path, t) for t in graph.initializer}
    stored = {**values, **{t.values.name: None for t in graph.sparse_initializer}}
    wanted = [name for node in nodes for name in node.outputs if name]
    wanted += [name for name in stored if name not in values]
    for name in dict.fromkeys(wanted):
        if name not in outputs:
            graph.output.append(onnx.ValueInfoProto(name=name))
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        session = runtime.InferenceSession(
            model.SerializeToString(),
            options,
            providers=["CPUExecutionProvider"],
            enable_fallback=0,  # trying again would print
        )
    except Exception as error:
        raise _unloadable(path, nodes, error) from error
    try:
        results = session.run(None, dict(given))
    except Exception as error:
        raise ModelError(
            f"onnxruntime stopped while it ran {shown(path)}\n"
            f"  {_reason(error)}\n"
            f"  inputs: {', '.join(f'{n} {a.dtype} {a.shape}' for n, a in given.items())}\n"
            "  If a node could not compute with these shapes, give others. If onnxruntime lacks\n"
            "  what the node asks for, export the model without it."
        ) from error
    made = zip((output.name for output in session.get_outputs()), results, strict=True)
    values.update({name: a for name, a in made if isinstance(a, np.ndarray)})
    values.update(given)
    return Run(
        nodes=nodes,
        inputs=tuple(given),
        initializers=frozenset(stored) - set(given),
        outputs=outputs,
        values={name: a for name, a in values.items() if a.dtype.kind in "fiub"},
        dynamic=_dynamic(nodes, given),
    )


_SHAPES = frozenset({"Shape", "Size"})
_RANDOM = frozenset(
    "RandomNormal RandomUniform RandomNormalLike RandomUniformLike Bernoulli Multinomial".split()
)


def _dynamic(nodes: tuple[Node, ...], given: Mapping[str, Any]) -> frozenset[str]:
    found = set(given)
    for node in nodes:
        reads = not found.isdisjoint((*node.inputs, *node.captured))
        if (reads and node.op not in _SHAPES) or node.op in _RANDOM:
            found.update(name for name in node.outputs if name)
    return frozenset(found)


def _plain(onnx: Any, attribute: Any) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if attribute.type == onnx.AttributeProto.TENSOR:
        return onnx.numpy_helper.to_array(value)
    if attribute.type == onnx.AttributeProto.STRINGS:
        return tuple(part.decode("utf-8", "replace") for part in value)
    return tuple(value) if attribute.type in _LISTS else value


_LISTS = frozenset({6, 7})
"""`AttributeProto.FLOATS` and `INTS`."""


def _free_names(graph: Any) -> Iterator[str]:
    """Yield the names that an inner graph reads and does not make."""
    own = {value.name for value in (*graph.input, *graph.initializer)}
    own |= {name for node in graph.node for name in node.output}
    for node in graph.node:
        read = list(node.input)
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                read += _free_names(inner)
        yield from (name for name in read if name and name not in own)
    yield from (output.name for output in graph.output if output.name not in own)


def _array(onnx: Any, path: Path, tensor: Any) -> NDArray[Any]:
    """Read a stored weight into an array of its own; floats that NumPy lacks become float32."""
    try:
        array = onnx.numpy_helper.to_array(tensor)
        return np.array(array, order="C") if array.dtype.kind in "fiubOUSc" else _widened(array)
    except (ValueError, TypeError, RuntimeError) as error:
        raise FileFormatError(
            f"{shown(path)}: the weight {tensor.name!r} is damaged\n"
            f"  shape {tuple(tensor.dims)}, {len(tensor.raw_data):,} bytes: {error}\n"
            "  Export the model again."
        ) from error


def _widened(array: NDArray[Any]) -> NDArray[Any]:
    """Widen types that NumPy lacks without loss: bfloat16 and float8 to float32, int4 to int8."""
    whole = "int" in str(array.dtype)
    return array.astype(np.int8 if whole else np.float32)


def _unloadable(path: Path, nodes: tuple[Node, ...], error: Exception) -> ModelError:
    reason = _reason(error)
    named = re.search(r"([\w.]+):(\w+)\(-?\d+\) is not a registered", reason)
    operator = named[2] if named else ""
    culprits = [f"{n.title} {n.name!r}" for n in nodes if n.op == operator]
    hint = "Check that onnxruntime itself can run the file, and update it if the file is newer."
    if culprits:
        hint = (
            f"It has no operator {operator}: {', '.join(culprits[:4])}.\n"
            "  Export the model with standard operators, or update onnxruntime."
        )
    return ModelError(f"onnxruntime cannot load {shown(path)}\n  {reason}\n  {hint}")


def _reason(error: Exception) -> str:
    """Return what onnxruntime says, in one line and without its prefix."""
    text = " ".join(str(error).split())
    return re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", text) or type(error).__name__
