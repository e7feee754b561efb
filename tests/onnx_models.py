"""Small ONNX models for tests, built node by node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from convtrace.graph import Trace
from convtrace.receipt import Receipt

Array = NDArray[Any]


class Builder:
    """Collects nodes and weights; each method returns the name of a value."""

    def __init__(self, seed: int = 0) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.random = np.random.default_rng(seed)

    def weight(self, name: str, array: Any) -> str:
        self.weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def normal(self, name: str, *shape: int, scale: float = 1.0) -> str:
        return self.weight(name, (self.random.normal(size=shape) * scale).astype(np.float32))

    def node(
        self, op: str, *inputs: str, name: str = "", outputs: int = 1, domain: str = "", **more: Any
    ) -> Any:
        number = len(self.nodes)
        made = [f"{op.lower()}_{number}" + (f"_{n}" if n else "") for n in range(outputs)]
        self.nodes.append(
            helper.make_node(op, list(inputs), made, name=name, domain=domain, **more)
        )
        return made[0] if outputs == 1 else made

    def conv(self, x: str, name: str, *shape: int, bias: bool = True, **more: Any) -> str:
        fan = float(np.prod(shape[1:]))
        parts = [x, self.normal(f"{name}.weight", *shape, scale=fan**-0.5)]
        if bias:
            parts.append(self.normal(f"{name}.bias", shape[0]))
        return self.node("Conv", *parts, name=name, **more)

    def norm(self, x: str, name: str, channels: int) -> str:
        parts = [
            self.normal(f"{name}.weight", channels),
            self.normal(f"{name}.bias", channels),
            self.normal(f"{name}.running_mean", channels),
            self.weight(
                f"{name}.running_var",
                self.random.uniform(0.5, 2, channels).astype(np.float32),
            ),
        ]
        return self.node("BatchNormalization", x, *parts, name=name)

    def model(
        self,
        inputs: Mapping[str, Any],
        *outputs: str,
        version: int = 20,
        domains: Mapping[str, int] | None = None,
    ) -> Any:
        """Make the model; `inputs` are arrays, or (dtype, shape)."""
        declared = [
            helper.make_tensor_value_info(name, *_declared(value)) for name, value in inputs.items()
        ]
        results = [onnx.ValueInfoProto(name=name) for name in outputs]
        graph = helper.make_graph(self.nodes, "test", declared, results, self.weights)
        sets = [helper.make_opsetid("", version)]
        sets += [helper.make_opsetid(domain, v) for domain, v in (domains or {}).items()]
        return helper.make_model(graph, opset_imports=sets, ir_version=8)


def _declared(value: Any) -> tuple[int, Any]:
    if isinstance(value, tuple):
        return value
    return helper.np_dtype_to_tensor_dtype(value.dtype), list(value.shape)


def save(model: Any, folder: Path) -> Path:
    path = folder / "model.onnx"
    onnx.save(model, str(path))
    return path


def optimised(path: Path, inputs: Mapping[str, Array]) -> list[Array]:
    """Run a file as onnxruntime runs it by default."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, dict(inputs))


def random_receipts(trace: Trace, count: int, seed: int = 0) -> Iterator[Receipt]:
    """Explain numbers at random addresses, taking turns among the steps that are not opaque."""
    random = np.random.default_rng(seed)
    steps = [step for step in trace.steps.values() if step.status != "opaque"]
    for number in range(count):
        step = steps[number % len(steps)]
        yield trace.why(step.name, tuple(int(random.integers(n)) for n in step.shape))


def assert_certified(receipt: Receipt) -> None:
    assert receipt.verdict in ("exact", "rounding"), f"{receipt!r} {receipt.bound} {receipt.kind}"
