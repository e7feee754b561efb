"""Inputs that are made, fitted to the model, or asked for."""

import pytest
import torch
from torch import nn

from convtrace.errors import UsageError
from convtrace.loading.arrays import Loaded
from convtrace.loading.inputs import fit, missing_input, needs_input, random_input


def test_a_random_input_repeats_and_leaves_the_random_state_alone() -> None:
    before = torch.get_rng_state()
    first, again = random_input((1, 2, 3), 5).tensor, random_input((1, 2, 3), 5).tensor
    assert torch.equal(first, again)
    assert not torch.equal(first, random_input((1, 2, 3), 6).tensor)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_random_input_that_does_not_fit_into_memory_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot make a random input"):
        random_input((10**9, 10**9), 0)


def test_an_input_is_converted_to_the_type_of_the_model_and_says_so() -> None:
    model = nn.Conv2d(1, 1, 1)
    whole = fit(Loaded(torch.tensor([1, 2]), "x.npy"), model)
    third = fit(Loaded(torch.tensor([1 / 3], dtype=torch.float64), "x.npy"), model)
    assert whole.tensor.dtype == third.tensor.dtype == torch.float32
    assert [key for key, _ in whole.notes] == ["cli.note.converted"]
    assert [key for key, _ in third.notes] == ["cli.note.rounded"]
    assert third.notes[0][1]["from_type"] == "float64"


def test_an_input_of_the_right_type_stays_what_it_is() -> None:
    loaded = Loaded(torch.ones(2), "x.npy")
    assert fit(loaded, nn.Conv2d(1, 1, 1)).notes == ()
    assert fit(loaded, lambda x: x) is loaded


def test_whole_numbers_for_an_embedding_stay_whole() -> None:
    model = nn.Sequential(nn.Embedding(4, 2), nn.Conv1d(2, 1, 1))
    assert fit(Loaded(torch.tensor([1, 2]), "x.npy"), model).tensor.dtype == torch.int64


@pytest.mark.parametrize(
    ("model", "hint"),
    [
        (nn.Sequential(nn.Conv2d(5, 1, 1)), "--random 1,5,224,224"),
        (nn.Conv1d(7, 1, 1), "--random 1,7,64"),
        (nn.ConvTranspose3d(2, 1, 1), "--random 1,2,16,64,64"),
        (nn.Sequential(nn.Linear(3, 3), nn.Conv2d(5, 1, 1)), "--random 1,3,224,224"),
        (nn.LazyConv2d(2, 1), "--random 1,C,224,224"),
        (torch.nn.functional.conv2d, "--random 1,3,224,224"),
    ],
)
def test_a_model_without_an_input_is_told_a_shape_that_fits_it(model: object, hint: str) -> None:
    assert hint in str(missing_input("net", model))


def test_a_model_of_two_inputs_is_told_to_repeat_the_option() -> None:
    class Two(nn.Module):
        def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
            return left + right

    assert "2 inputs (left, right)" in str(missing_input("net", Two()))
    assert needs_input(Two())


def test_a_computation_without_arguments_needs_no_input() -> None:
    assert not needs_input(lambda: torch.ones(1))
    assert not needs_input(lambda x=None: x)
    assert needs_input(lambda *x: x)
