"""Nodes that onnxruntime's optimiser has fused, told as the standard operators they are made of.

A file that onnxruntime has optimised and saved holds operators of its own: a convolution with its
activation, a product with its factor. Their last part has the numbers that the file's own operator
made; what lies inside was reported by nobody, and is computed here, part by part.

Sources:
    The operators and their attributes:
    https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convtrace.frontends.onnx_file import require
from convtrace.frontends.onnx_run import Node, Run

DOMAIN = "com.microsoft"

Array = NDArray[Any]


@dataclass
class Parts:
    """Collects the parts of one fused node.

    Attributes:
        node: The fused node.
        version: Version of the standard operator set.
        values: Numbers by name; those of the parts are added.
        dynamic: Names of values that depend on an input's numbers; those of the parts are added.
        nodes: The parts so far.
    """

    node: Node
    version: int
    values: dict[str, Array]
    dynamic: set[str]
    nodes: list[Node]

    def input(self, place: int) -> str:
        """Return the name of an input of the fused node; empty where it is left out."""
        return self.node.inputs[place] if place < len(self.node.inputs) else ""

    def constant(self, word: str, value: Any, like: str) -> str:
        """Add a number of the model's own, in the type of another value."""
        name = f"{self.node.outputs[0]}/{word}"
        self.values[name] = np.asarray(value, dtype=self.values[like].dtype)
        return name

    def add(self, op: str, *inputs: str, last: bool = False, **attributes: Any) -> str:
        """Add a part; the last one has the output of the fused node.

        Raises:
            ValueError: onnxruntime cannot compute it, or the last part comes out in another shape.
        """
        made = self.node.outputs[0] if last else f"{self.node.outputs[0]}/{op}_{len(self.nodes)}"
        name = self.node.name
        if name and not last:
            name = f"{name.rstrip('/')}/{op}"
        part = Node(op, "", name, inputs, (made,), attributes, (), self.version)
        computed = _computed(part, self.values)
        if last and computed.shape != self.values[made].shape:
            raise ValueError(f"{op} makes {computed.shape}, not {self.values[made].shape}")
        if not self.dynamic.isdisjoint(inputs):
            self.dynamic.add(made)
        if not last:
            self.values[made] = computed
        self.nodes.append(part)
        return made


def unfused(run: Run) -> tuple[Run, frozenset[str]]:
    """Part the fused nodes of a run.

    Returns:
        The run, and the names of values that were computed here and not by the file.
    """
    version = max((node.version for node in run.nodes if not node.domain), default=18)
    values, dynamic = dict(run.values), set(run.dynamic)
    nodes: list[Node] = []
    for node in run.nodes:
        part = _PARTED.get(node.op) if node.domain == DOMAIN else None
        wanted = [name for name in node.outputs if name]
        if part is None or len(wanted) != 1 or wanted[0] not in run.values:
            nodes.append(node)
            continue
        parts = Parts(node, version, dict(values), set(dynamic), [])
        try:
            part(parts)
        except Exception:  # noqa: BLE001 - whatever does not part stays the node that it is
            nodes.append(node)
            continue
        nodes += parts.nodes
        values, dynamic = parts.values, parts.dynamic
    if all(a is b for a, b in zip(nodes, run.nodes, strict=False)):
        return run, frozenset()
    inside = frozenset(values) - frozenset(run.values)
    found = replace(run, nodes=tuple(nodes), values=values, dynamic=frozenset(dynamic))
    return found, inside


def _computed(node: Node, values: Mapping[str, Array]) -> Array:
    """Run one standard node alone."""
    onnx, runtime = require("onnx"), require("onnxruntime")
    helper = onnx.helper
    names = [name for name in dict.fromkeys(node.inputs) if name]

    def info(name: str) -> Any:
        kind = helper.np_dtype_to_tensor_dtype(values[name].dtype)
        return helper.make_tensor_value_info(name, kind, values[name].shape)

    made = helper.make_node(node.op, list(node.inputs), list(node.outputs), **node.attributes)
    output = onnx.ValueInfoProto(name=node.outputs[0])
    graph = helper.make_graph([made], "part", [info(name) for name in names], [output])
    opset = helper.make_opsetid("", node.version)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=10)
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    session = runtime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"], enable_fallback=0
    )
    return session.run(None, {name: values[name] for name in names})[0]


# Operators ---------------------------------------------------------------------------------------


def _activated(parts: Parts, x: str) -> None:
    """Add the activation of a fused node as its last part."""
    name = parts.node.attributes.get("activation", "")
    given = parts.node.attributes.get("activation_params", ())
    if name == "Clip":
        low, high = (parts.constant(f"limit_{n}", value, x) for n, value in enumerate(given))
        parts.add("Clip", x, low, high, last=True)
        return
    words = {"LeakyRelu": ("alpha",), "HardSigmoid": ("alpha", "beta"), "Elu": ("alpha",)}
    settings = dict(zip(words.get(name, ()), given, strict=False))
    parts.add(name, x, last=True, **settings)
    if name == "Relu":
        _agree(parts, x)


def _agree(parts: Parts, x: str) -> None:
    """Let what lies before a ReLU be what the fused operator had there, as far as that shows.

    It adds in an order of its own, so that its last digits may be others than those found here.
    """
    inside, made = parts.values[x], parts.values[parts.node.outputs[0]]
    largest = float(np.abs(inside[np.isfinite(inside)]).max(initial=0.0))
    near = np.abs(np.maximum(inside, 0) - made) <= _NEAR.get(str(made.dtype), 0.0) * largest
    parts.values[x] = np.where(near, np.where(made > 0, made, np.minimum(inside, 0)), inside)


_NEAR = {"float16": 1e-2, "float32": 1e-5, "float64": 1e-12}
"""How far digits may be off, next to the largest number."""


def _rest(node: Node) -> dict[str, Any]:
    return {n: v for n, v in node.attributes.items() if not n.startswith("activation")}


def _convolution(parts: Parts) -> None:
    """Part FusedConv: a convolution, a summand, an activation."""
    operands = [parts.input(n) for n in range(3)]
    while operands and not operands[-1]:
        operands.pop()
    settings = {name: _plain(value) for name, value in _rest(parts.node).items()}
    made = parts.add("Conv", *operands, **settings)
    if parts.input(3):
        made = parts.add("Add", made, parts.input(3))
    _activated(parts, made)


def _gemm(parts: Parts) -> None:
    """Part FusedGemm: a product and an activation."""
    operands = [parts.input(n) for n in range(3) if parts.input(n)]
    _activated(parts, parts.add("Gemm", *operands, **_rest(parts.node)))


def _matmul(parts: Parts) -> None:
    """Part FusedMatMul: transpositions, a product, a factor."""
    node = parts.node
    operands: list[str] = []
    for place, letter in enumerate("AB"):
        name = parts.input(place)
        if node.attributes.get(f"transBatch{letter}"):
            raise ValueError("batches are transposed")
        if node.attributes.get(f"trans{letter}"):
            axes = parts.values[name].ndim
            name = parts.add("Transpose", name, perm=[*range(axes - 2), axes - 1, axes - 2])
        operands.append(name)
    factor = node.attributes.get("alpha", 1.0)
    made = parts.add("MatMul", *operands, last=factor == 1)
    if factor != 1:
        parts.add("Mul", made, parts.constant("alpha", factor, made), last=True)


def _gelu(approximate: str) -> Callable[[Parts], None]:
    """Part Gelu and its relatives: a summand, and the function."""

    def part(parts: Parts) -> None:
        x = parts.input(0)
        if parts.input(1):
            x = parts.add("Add", x, parts.input(1))
        parts.version = max(parts.version, 20)
        parts.add("Gelu", x, last=True, approximate=approximate)

    return part


def _quick_gelu(parts: Parts) -> None:
    """Part QuickGelu: x · sigmoid(alpha · x)."""
    x = parts.input(0)
    factor = parts.node.attributes.get("alpha", 1.702)
    inner = x if factor == 1 else parts.add("Mul", x, parts.constant("alpha", factor, x))
    parts.add("Mul", x, parts.add("Sigmoid", inner), last=True)


def _skip_norm(parts: Parts) -> None:
    """Part SkipLayerNormalization: a sum, and the norm of it."""
    total = parts.add("Add", parts.input(0), parts.input(1))
    if parts.input(4):
        total = parts.add("Add", total, parts.input(4))
    scales = [name for name in (parts.input(2), parts.input(3)) if name]
    eps = parts.node.attributes.get("epsilon", 1e-12)
    parts.version = max(parts.version, 17)
    parts.add("LayerNormalization", total, *scales, last=True, axis=-1, epsilon=eps)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value


_PARTED: Mapping[str, Callable[[Parts], None]] = MappingProxyType(
    {
        "FusedConv": _convolution,
        "FusedGemm": _gemm,
        "FusedMatMul": _matmul,
        "Gelu": _gelu("none"),
        "BiasGelu": _gelu("none"),
        "FastGelu": _gelu("tanh"),
        "QuickGelu": _quick_gelu,
        "SkipLayerNormalization": _skip_norm,
    }
)
"""What parts a node, by operator type."""
