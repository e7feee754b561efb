"""Running a model so that it can be differentiated, and the backward pass itself."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Generator, Mapping
from typing import Any

import torch
from torch.utils._pytree import tree_leaves, tree_map_only

from convtrace.errors import UsageError
from convtrace.frontends.torch_backward import BackwardRecorder

Loss = Callable[[Any], torch.Tensor]
"""Turns what the model returned into the one number that is differentiated."""


@contextlib.contextmanager
def differentiating() -> Generator[None]:
    """Record derivatives, also where the caller has turned that off."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def differentiable(arguments: Any, kept: Collection[int]) -> Any:
    """Copy the inputs, so that gradients reach them and nothing reaches the caller's tensors.

    The copies are no leaves: a model may overwrite its input in place, as it may without a
    backward pass. What led to the caller's tensors is not differentiated.

    Args:
        arguments: The model's arguments, nested in tuples, lists and dicts.
        kept: `id` of tensors to leave as they are: parameters that are passed as an input.
    """
    made: dict[int, torch.Tensor] = {}

    def copy(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) in kept or not (tensor.is_floating_point() or tensor.is_complex()):
            return tensor
        if id(tensor) not in made:
            with differentiating():
                made[id(tensor)] = tensor.detach().clone().requires_grad_().clone()
                made[id(tensor)].retain_grad()  # for functions that read the gradient themselves
        return made[id(tensor)]

    return tree_map_only(torch.Tensor, copy, arguments)


def run_backward(output: Any, loss: Loss | None, recorder: BackwardRecorder) -> None:
    """Run the backward pass from what the model returned, unless the model ran it itself.

    Args:
        output: What the model returned.
        loss: Makes one number of it; None where the output is one number, or holds one as `loss`.
        recorder: What recorded the run so far.

    Raises:
        UsageError: There is no such number, or it does not depend on anything that has a gradient.
    """
    value: Any = loss(output) if loss is not None else _loss_in(output)
    if loss is None and recorder.runs:
        fresh = isinstance(value, torch.Tensor) and value.numel() == 1 and value.requires_grad
        if not fresh or recorder.went_through(value):
            return  # the model called `backward`, or asked for what it wanted
    if not isinstance(value, torch.Tensor) or value.numel() != 1:
        shown = (
            f"a tensor of shape {tuple(value.shape)}"
            if isinstance(value, torch.Tensor)
            else f"{type(value).__name__}"
        )
        maker = "loss" if loss is not None else "the model"
        raise UsageError(
            f"a backward pass starts from one number, and {maker} returned {shown}\n"
            "  Pass loss=, a function that makes one number of the model's output:\n"
            "  ct.trace(model, x, backward=True, loss=lambda output: output.sum())"
        )
    if not value.requires_grad:
        raise UsageError(
            "the loss has no gradient: nothing that it was computed from requires one\n"
            f"  its value: {value.item()}, dtype {str(value.dtype).removeprefix('torch.')}\n"
            "  It needs floating-point inputs or parameters that require gradients, and must not "
            "be made\n  under torch.no_grad() or with detach()."
        )
    value.backward()


def sum_of(output: Any) -> Any:
    """Return the loss that an output holds, or else the sum of its numbers."""
    found = _loss_in(output)
    if isinstance(found, torch.Tensor) and found.numel() == 1:
        return found
    leaves = [leaf for leaf in tree_leaves(output) if isinstance(leaf, torch.Tensor)]
    sums = [leaf.sum() for leaf in leaves if leaf.is_floating_point()]
    return sum(sums[1:], sums[0]) if sums else output


def _loss_in(output: Any) -> Any:
    """Return the loss in a model's output, where it holds one beside other things."""
    if isinstance(output, Mapping) and "loss" in output:
        return output["loss"]
    found = getattr(output, "loss", None)
    return output if found is None else found
