"""Wrong outputs whose cause is none of those that are known: no cause may be asserted."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from mismatch.wrong import Question, layer, numbers

Row = tuple[str, Question]


def rows() -> Iterator[Row]:
    """Yield name and question."""
    right = layer(6, 12, (3, 3), (16, 18), padding=1)
    out = right.run()
    noise = numbers(*out.shape, seed=9)

    def changed(index: object, values: torch.Tensor | float) -> torch.Tensor:
        wrong = out.clone()
        wrong[index] = values
        return wrong

    yield "noise", right.ask(out + 0.1 * noise)
    yield "small noise", right.ask(out * (1 + 1e-3 * noise))
    yield "another output", right.ask(noise)
    yield (
        "stale tile",
        right.ask(changed((slice(None), slice(None), slice(8, 16), slice(8, 16)), 0.0)),
    )
    tail = (slice(None), slice(None), slice(None), slice(16, None))
    yield "garbage in the vector tail", right.ask(changed(tail, noise[tail]))
    last = (slice(None), slice(8, None))
    yield "garbage in the last channels", right.ask(changed(last, noise[last]))
    yield "one element", right.ask(changed((1, 3, 4, 5), 7.5))
    yield "NaN from nowhere", right.ask(changed((0, 2, 3, 4), float("nan")))
    weight = right.weight + 0.01 * numbers(*right.weight.shape, seed=4)
    yield "other weights", right.ask(right.run(weight=weight))
    one = right.weight.clone()
    one[3, 2, 1, 1] += 0.5
    yield "one weight damaged", right.ask(right.run(weight=one))
    yield (
        "input with noise",
        right.ask(right.run(x=right.x + 0.01 * numbers(*right.x.shape, seed=8))),
    )
    yield "square of the output", right.ask(out**2)
    phase = out.clone()
    phase[:, :, ::2] *= 1.01
    yield "every second row", right.ask(phase)
    draw = torch.Generator().manual_seed(3)
    yield "channels in random order", right.ask(out[:, torch.randperm(12, generator=draw)])
    low = layer(4, 4, (1, 1), (5, 5), n=1)
    yield "noise in a small layer", low.ask(low.run() + 0.3 * numbers(1, 4, 5, 5, seed=2))
    half = right.run().half()
    yield "noise in half precision", right.ask((half.float() + 0.05 * noise).half())
    for number in range(4):
        # All but one element are those of a flipped kernel, so that a flip explains them not all.
        spoiled = right.run(weight=right.weight.flip(2, 3)).clone()
        spoiled.view(-1)[101 + 37 * number] += 0.7
        yield f"a flipped kernel and one number off, at {101 + 37 * number}", right.ask(spoiled)
