"""PyTorch's own convolution with the settings of a reference."""

from __future__ import annotations

from typing import Any

from convtrace.frontends.convolution import canonical
from convtrace.mismatch.question.reference import Reference


def run_reference(x: Any, weight: Any, bias: Any, reference: Reference) -> Any:
    """Compute a convolution in PyTorch, in the element type of the tensors."""
    import torch

    attributes, _ = canonical(
        reference.name or "conv",
        tuple(x.shape),
        tuple(weight.shape),
        None if bias is None else tuple(bias.shape),
        **reference.given,
    )
    if not attributes["batched"]:
        x = x[None]
    pads = attributes["padding"]
    sides = [side for pair in reversed(pads) for side in pair]
    low = [0] * len(pads)
    if attributes["transposed"]:
        low = [a for a, _ in pads]
    else:
        mode = "constant" if reference.mode == "zeros" else reference.mode
        x = torch.nn.functional.pad(x, sides, mode=mode)
    with torch.no_grad():
        found = torch.ops.aten.convolution.default(
            x,
            weight,
            None if bias is None else bias.to(weight.dtype),
            list(attributes["stride"]),
            low,
            list(attributes["dilation"]),
            attributes["transposed"],
            list(attributes["output_padding"]),
            attributes["groups"],
        )
    return found if attributes["batched"] else found[0]
