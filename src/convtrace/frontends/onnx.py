"""ONNX files: `convtrace.from_onnx`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convtrace.errors import NoConvolutionError
from convtrace.frontends.onnx_file import load_model, require
from convtrace.frontends.onnx_fused import unfused
from convtrace.frontends.onnx_inputs import expected_inputs, match_inputs
from convtrace.frontends.onnx_run import Run, run_model
from convtrace.graph import Trace
from convtrace.loading.files import shown


def from_onnx(path: str | Path, inputs: Mapping[str, Any] | Any) -> Trace:
    """Run an ONNX file with onnxruntime and record every value, so that any can be explained.

    The steps are the nodes of the file's own graph. onnxruntime runs with its optimisations off,
    as they fuse and remove nodes; `Trace.notes` says so (`unoptimised`). What does not depend on
    the numbers of an input (shapes, folded weights) is a constant, not a step.

    Args:
        path: The file. Weights that it keeps in other files are read from beside it.
        inputs: Arrays by the names that the file gives its inputs, or the one array that it
            takes: NumPy arrays, tensors, or nested lists. They are copied.

    Returns:
        The trace. Steps have the names of their nodes, or `conv`, `conv:2`, … where those have
        none; names of values in the graph are other names of the steps that made them.

    Raises:
        MissingDependencyError: onnx or onnxruntime is not installed.
        MissingFileError: There is no such file, or weights that it refers to are missing.
        FileFormatError: It is truncated, too large, or of another format.
        FileError: It refers to a file outside its own folder.
        UsageError: Names, number or types of the inputs are not those that the file expects.
        ShapeError: A shape is not.
        ModelError: onnxruntime cannot load the model, or stopped while it ran.
        NoConvolutionError: The model ran, but it has no convolution.

    Example:
        >>> import tempfile, numpy, onnx, convtrace as ct
        >>> node = onnx.helper.make_node("Conv", ["x", "w"], ["y"], name="conv1")
        >>> x, y = (onnx.helper.make_tensor_value_info(n, 1, None) for n in "xy")
        >>> w = onnx.numpy_helper.from_array(numpy.ones((1, 1, 1, 2), "float32"), "w")
        >>> graph = onnx.helper.make_graph([node], "example", [x], [y], [w])
        >>> model = onnx.helper.make_model(
        ...     graph, ir_version=10, opset_imports=[onnx.helper.make_opsetid("", 20)]
        ... )
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     onnx.save(model, f"{folder}/model.onnx")
        ...     trace = ct.from_onnx(f"{folder}/model.onnx", {"x": [[[[1.0, 2.0, 3.0]]]]})
        >>> trace.why("conv1[0,0,0,1]").terms[0].source
        Address(step='x', index=(0, 0, 0, 1))
    """
    file = Path(path)
    require("onnxruntime")
    model = load_model(file)
    given = match_inputs(inputs, expected_inputs(model))
    run, inside = unfused(run_model(model, file, given))

    from convtrace.frontends.onnx_steps import CONVOLUTIONS, translate

    if not any(_counts(node.op, node.outputs, run, CONVOLUTIONS) for node in run.nodes):
        raise _no_convolution(file, run)
    translated = translate(run, inside)
    results = {name: run.values[name] for name in run.outputs if name in run.values}
    return Trace(
        lambda: translated.parts,
        notes=["unoptimised", *(["differing"] if translated.differing else [])],
        output=next(iter(results.values())) if len(results) == 1 else results,
        reporter="onnxruntime",
    )


def _counts(op: str, outputs: tuple[str, ...], run: Run, convolutions: frozenset[str]) -> bool:
    """Whether a node is a convolution of the input's numbers."""
    return op in convolutions and not run.dynamic.isdisjoint(outputs)


def _no_convolution(path: Path, run: Run) -> NoConvolutionError:
    ran = list(dict.fromkeys(node.title for node in run.nodes))
    listed = ", ".join(ran[:12]) + (", …" if len(ran) > 12 else "")
    return NoConvolutionError(
        f"{shown(path)} ran, but no convolution did\n"
        f"  operators that ran: {listed}\n"
        "  Pass a model with Conv, ConvTranspose, QLinearConv or ConvInteger in its main graph."
    )
