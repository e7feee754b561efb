"""`convtrace.diff`: from the question to the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from convtrace.arithmetic import Arithmetic
from convtrace.errors import UsageError
from convtrace.frontends.convolution import Ints
from convtrace.graph import Trace
from convtrace.mismatch.diagnosis import diagnose
from convtrace.mismatch.networks.diagnosis import diff_models
from convtrace.mismatch.networks.report import ModelReport
from convtrace.mismatch.networks.runs import inputs_of
from convtrace.mismatch.question.sides import ask
from convtrace.mismatch.report import Report


def diff(
    mine: Any,
    reference: Any,
    *,
    x: Any = None,
    stride: Ints | None = None,
    padding: str | Ints | Sequence[tuple[int, int]] | None = None,
    dilation: Ints | None = None,
    groups: int | None = None,
    transposed: bool | None = None,
    output_padding: Ints | None = None,
    padding_mode: str | None = None,
    activation: str | None = None,
    norm: Any = None,
    quantization: Any = None,
    arithmetic: Arithmetic | str | None = None,
    step: str | None = None,
    inputs: Sequence[Any] | Mapping[str, Any] = (),
    on_step: Callable[[], None] | None = None,
) -> Report | ModelReport:
    """Say whether an output differs from the right one by rounding or by a bug, and by which bug.

    Args:
        mine: The output that is doubted: an array, a tensor, the path of a `.npy`, `.npz` or
            `.safetensors` file, or a callable that computes it. A callable gets `x`, or also
            `weight` and `bias` if it needs as many arguments, and is run twice. Or a whole `Trace`.
        reference: The convolution: `(x, weight)` or `(x, weight, bias)`, a mapping of these with
            settings, an `nn.Conv` module (a batch norm and an activation may follow it) with `x`, a
            `Trace`, or one step of a trace.
        x: Input, where the reference does not hold it.
        stride: Settings as in `from_arrays`. Those that are not given are searched for where the
            shape of the output asks for it.
        padding: As in `from_arrays`.
        dilation: As in `from_arrays`.
        groups: As in `from_arrays`.
        transposed: As in `from_arrays`.
        output_padding: As in `from_arrays`.
        padding_mode: `zeros`, `reflect`, `replicate` or `circular`.
        activation: What follows the convolution, e.g. `relu`.
        norm: A batch norm in between: a module, or a mapping with weight, bias, mean, var and eps.
        quantization: Scales and zero points of a quantized convolution: a mapping with x_scale,
            x_zero, w_scale, w_zero, y_scale, y_zero.
        arithmetic: What `mine` was computed in: an `Arithmetic`, or `float64`, `float32`, `tf32`,
            `bfloat16` or `float16`. None derives it from the dtypes, and a lower precision that
            explains the output is then `rounding`, with its name.
        step: Which step of the reference trace.
        inputs: What two networks are run on: one for each argument, or by name. `mine` and
            `reference` are then models, traces or ONNX files, and the report a `ModelReport`.
        on_step: Called after each part of the search, e.g. to move a progress bar.

    Returns:
        The report: verdict, causes, worst elements, the right tolerance.

    Raises:
        ShapeError: Shapes disagree and no settings explain the output; the message has the nearest.
        EmptyTensorError: An array is empty.
        NoValueError: An array holds no real numbers.
        ModelError: A callable raised.
        UsageError: The arguments do not fit together.
        FileError: A file cannot be read.

    Example:
        >>> import numpy as np
        >>> import convtrace as ct
        >>> x, weight = np.sin(np.arange(16.0)).reshape(1, 1, 4, 4), [[[[1.0, 2.0], [3.0, 5.0]]]]
        >>> flipped = ct.from_arrays(x, [[[[2.0, 1.0], [5.0, 3.0]]]]).step("conv2d").value.box(())
        >>> report = ct.diff(flipped, (x, weight))
        >>> report.verdict, [(cause.id, cause.proved) for cause in report.causes]
        ('mismatch', [('kernel.flipped', True)])
    """
    settings = {
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
        "transposed": transposed,
        "output_padding": output_padding,
    }
    given = {name: value for name, value in settings.items() if value is not None}
    fed = inputs_of(mine, reference, x, inputs)
    if fed is not None:
        if given:
            raise UsageError(
                f"two networks hold all their settings; got also {', '.join(given)}\n"
                "  Call ct.diff(mine, reference) without them."
            )
        return diff_models(mine, reference, inputs=fed, step=step, on_step=on_step)
    if isinstance(mine, Trace):
        mine = mine.output if step is None else mine.step(step).value.data
    question = ask(
        mine,
        reference,
        x=x,
        given=given,
        mode=padding_mode,
        activation=activation,
        norm=norm,
        quantization=quantization,
        arithmetic=arithmetic,
        step=step,
    )
    return diagnose(question, on_step or (lambda: None))
