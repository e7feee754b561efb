"""Running a canonical convolution again, whichever program it came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.nn import functional


def replay_convolution(
    attributes: Mapping[str, Any],
) -> Callable[[Mapping[str, torch.Tensor]], torch.Tensor]:
    """Return what runs a canonical convolution: of `input`, `weight` and perhaps `bias`.

    Args:
        attributes: Canonical attributes. Pads may be uneven, where PyTorch takes even ones only; of
            a transposed convolution they crop the output unevenly. They are read when it runs:
            what is put around a convolution may be added to them later.
    """

    def replay(operands: Mapping[str, torch.Tensor]) -> torch.Tensor:
        pads, transposed = attributes["padding"], attributes["transposed"]
        none = [0] * len(pads)
        uneven = any(low != high for low, high in pads)
        crops = uneven and transposed
        low = none if uneven else [low for low, _ in pads]
        extras = none if crops else list(attributes["output_padding"])
        x, bias = operands["input"], operands.get("bias")
        x = x if attributes["batched"] else x.unsqueeze(0)
        if uneven and not transposed:
            x = functional.pad(x, [pad for pair in pads[::-1] for pad in pair])
        y = torch.ops.aten.convolution.default(
            x,
            operands["weight"],
            None if crops else bias,
            list(attributes["stride"]),
            low,
            list(attributes["dilation"]),
            transposed,
            extras,
            attributes["groups"],
        )
        if crops:
            more = zip(pads, attributes["output_padding"], strict=True)
            y = functional.pad(y, [pad for (a, b), e in [*more][::-1] for pad in (-a, e - b)])
            if bias is not None:
                y = y + bias.reshape(-1, *[1] * len(low))
        return y if attributes["batched"] else y.squeeze(0)

    return replay
