"""Outputs in which the channels were never added: one for each pair of output and input channel."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from convtrace.mismatch.question.problem import Problem, floats


def unsummed(problem: Problem) -> Iterator[Problem]:
    """Yield the depthwise convolutions that an output with O × I channels may be.

    Yields:
        A problem for each order of the channels, (O, I) and (I, O), with and without the bias.
    """
    shape, attributes = problem.shape, problem.attributes
    seen = tuple(problem.raw["observed"].shape)
    weight = floats(problem.raw["weight"])
    first = 1 if attributes["batched"] else 0
    if attributes["groups"] > 1 or attributes["transposed"] or problem.stages:
        return
    out, read = weight.shape[:2]
    if read < 2 or seen != (*shape[:first], out * read, *shape[first + 1 :]):
        return
    # In a depthwise convolution the outputs of one input channel are neighbours.
    kernels = weight.swapaxes(0, 1).reshape(out * read, 1, *weight.shape[2:])
    for order in ((out, read), (read, out)):
        observed = floats(problem.raw["observed"])
        if order == (out, read):
            parts = observed.reshape(*seen[:first], out, read, *seen[first + 1 :])
            observed = parts.swapaxes(first, first + 1).reshape(seen)
        bias = problem.raw["bias"]
        for each in (None,) if bias is None else (None, np.tile(floats(bias), read)):
            yield problem.but(
                raw={**problem.raw, "weight": kernels, "bias": each, "observed": observed},
                attributes={**attributes, "groups": read},
                shape=seen,
            )
