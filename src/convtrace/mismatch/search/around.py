"""Transposed convolutions whose padding was laid around the input, where it is to be cut off."""

from __future__ import annotations

from collections.abc import Iterator

from convtrace.mismatch.question.problem import Problem


def around(problem: Problem) -> Iterator[Problem]:
    """Yield the transposed convolution without padding of an input that was padded."""
    import torch

    attributes, pads = problem.attributes, problem.attributes["padding"]
    if not attributes["transposed"] or not any(side > 0 for pair in pads for side in pair):
        return
    x = torch.as_tensor(problem.raw["x"])
    x = torch.nn.functional.pad(x, [side for pair in reversed(pads) for side in pair])
    seen = tuple(problem.raw["observed"].shape)
    sizes = (problem.raw["weight"].shape[2:], attributes["stride"], attributes["dilation"])
    extra = attributes.get("output_padding", (0,) * len(pads))
    plain = tuple(
        (n - 1) * s + d * (k - 1) + 1
        for n, k, s, d in zip(x.shape[-len(pads) :], *sizes, strict=True)
    )
    for more in dict.fromkeys((tuple(extra), (0,) * len(pads))):
        shape = (*problem.shape[: -len(pads)], *(n + m for n, m in zip(plain, more, strict=True)))
        if shape == seen:
            none = tuple((0, 0) for _ in pads)
            yield problem.but(
                raw={**problem.raw, "x": x},
                attributes={**attributes, "padding": none, "output_padding": more},
                shape=shape,
            )
