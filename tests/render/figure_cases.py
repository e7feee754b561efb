"""Runs and figures for the tests: small whole numbers, so that every sum is exact."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import nn

import convtrace as ct
from convtrace.graph import Trace
from convtrace.models.digits import digit, digits
from convtrace.render.drawing.scene import Scene
from convtrace.render.pictures.drawn import trace_scene


def counted(layer: nn.Module, *shape: int) -> Trace:
    """Trace a layer whose weights and inputs count through a few whole numbers."""
    with torch.no_grad():
        for parameter in layer.parameters():
            numbers = torch.arange(parameter.numel()) % 7 - 3.0
            parameter.copy_(numbers.reshape(parameter.shape))
        x = (torch.arange(torch.Size(shape).numel()) % 10.0).reshape(shape)
        return ct.trace(layer, x)


RUNS: dict[str, Callable[[], Trace]] = {
    "digits": lambda: ct.trace(digits(), digit()),
    "small": lambda: counted(
        nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(1, 2, 3, padding=1),
                relu1=nn.ReLU(),
                pool=nn.MaxPool2d(2),
                conv2=nn.Conv2d(2, 2, 2),
                flatten=nn.Flatten(),
                fc=nn.Linear(18, 3),
            )
        ),
        *(1, 1, 8, 8),
    ),
    "two": lambda: counted(nn.Conv2d(2, 2, 2, bias=False), 1, 2, 3, 3),
    "spaced": lambda: counted(nn.Conv2d(1, 1, 3, stride=2, padding=1, dilation=2), 1, 1, 7, 7),
    "grouped": lambda: counted(nn.Conv2d(6, 4, 3, groups=2, padding=1), 1, 6, 5, 5),
    "depthwise": lambda: counted(nn.Conv2d(4, 4, 3, groups=4, padding=1), 1, 4, 5, 5),
    "transposed": lambda: counted(
        nn.ConvTranspose2d(2, 2, 3, stride=2, padding=1, output_padding=1), 1, 2, 3, 3
    ),
    "large": lambda: counted(nn.Conv2d(3, 8, 31, stride=2, padding=2), 1, 3, 33, 33),
    "one": lambda: counted(nn.Conv1d(2, 2, 3, padding=1), 1, 2, 8),
    "one_transposed": lambda: counted(nn.ConvTranspose1d(1, 1, 3, stride=2), 1, 1, 4),
    "three": lambda: counted(nn.Conv3d(1, 2, 2, padding=1), 1, 1, 3, 4, 4),
    "wide": lambda: counted(nn.Conv2d(64, 8, 3, padding=1), 1, 64, 56, 56),
    "holes": lambda: counted(
        nn.Sequential(
            nn.Conv2d(1, 2, 3, dilation=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(2, 2, 3, dilation=4, padding=4),
        ),
        *(1, 1, 12, 12),
    ),
    "holes_one": lambda: counted(
        nn.Sequential(nn.Conv1d(1, 3, 2, stride=3), nn.Conv1d(3, 1, 3, dilation=2)), 1, 1, 30
    ),
    "deep": lambda: counted(
        nn.Sequential(
            *(nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.ReLU()) for _ in range(5)),
            nn.MaxPool2d(2),
            nn.Conv2d(2, 2, 3),
        ),
        *(1, 2, 16, 16),
    ),
}


@cache
def run(name: str) -> Trace:
    """Return a run, made once."""
    return RUNS[name]()


@dataclass(frozen=True)
class Figure:
    """A figure of a run."""

    run: str
    figure: str
    options: dict[str, Any] = field(default_factory=dict)

    def scene(self, lang: str = "en", **options: Any) -> Scene:
        """Draw it."""
        return trace_scene(run(self.run), lang=lang, figure=self.figure, **self.options, **options)


FIGURES: dict[str, Figure] = {
    "receipt": Figure("two", "receipt"),
    "receipt_relu": Figure("digits", "receipt", {"address": "relu1[0,1,4,4]"}),
    "receipt_linear": Figure("small", "receipt", {"address": "fc[0,1]"}),
    "receipt_digits": Figure("digits", "receipt", {"address": "fc[0,8]"}),
    "receipt_pixel": Figure("digits", "receipt", {"address": "input[0,0,2,3]"}),
    "layer": Figure("two", "layer"),
    "layer_digits": Figure("digits", "layer", {"address": "conv2[0,5,3,3]"}),
    "layer_grouped": Figure("grouped", "layer", {"step": "conv2d"}),
    "layer_transposed": Figure("transposed", "layer"),
    "layer_one": Figure("one", "layer"),
    "layer_three": Figure("three", "layer"),
    "layer_wide": Figure("wide", "layer"),
    "layer_large": Figure("large", "layer", {"address": "conv2d[0,1,0,1]"}),
    "stack": Figure("small", "stack", {"address": "conv2[0,1,0,2]"}),
    "stack_digits": Figure("digits", "stack", {"address": "pool[0,3,1,2]"}),
    "stack_one": Figure("one", "stack"),
    "stack_three": Figure("three", "stack"),
    "stack_deep": Figure("deep", "stack"),
    "stack_holes": Figure("holes", "stack", {"address": "2[0,1,8,3]"}),
    "stack_holes_one": Figure("holes_one", "stack"),
    "window": Figure("spaced", "window", {"address": "conv2d[0,0,0,1]"}),
    "window_digits": Figure("digits", "window", {"address": "conv1[0,1,0,3]"}),
    "window_one": Figure("one", "window"),
    "window_three": Figure("three", "window"),
    "window_wide": Figure("wide", "window"),
    "groups": Figure("grouped", "groups"),
    "groups_depthwise": Figure("depthwise", "groups"),
    "groups_digits": Figure("digits", "groups", {"step": "conv2"}),
    "scatter": Figure("transposed", "scatter", {"address": "input[0,0,1,1]"}),
    "scatter_plain": Figure("two", "scatter"),
    "scatter_one": Figure("one_transposed", "scatter"),
    "gather": Figure("transposed", "gather", {"address": "conv_transpose2d[0,0,2,3]"}),
    "gather_one": Figure("one_transposed", "gather"),
    "contributions": Figure("small", "contributions", {"address": "fc[0,1]"}),
    "contributions_digits": Figure("digits", "contributions", {"address": "fc[0,8]"}),
    "contributions_wide": Figure("wide", "contributions"),
}
