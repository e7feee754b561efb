"""The coefficients of a step as a sparse matrix, found with a few products.

The coefficients of a step are a sparse matrix, rows its output numbers, columns the numbers that
it read. PyTorch gives that matrix times a vector of cotangents. Rows that share no column are told
apart in one such product: with a 1 at each of them it returns their coefficients, and with their
row numbers instead it says whose coefficient each one is. So a pool of stride 2 takes a handful of
products, however large it is. What was found is compared with one more product, of random
numbers, and thrown away if it differs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from convtrace.tables import Coefficients

if TYPE_CHECKING:
    import torch

Function = Callable[[Mapping[str, Any]], Any]
"""Computes a tensor from tensors by role."""

_MODULI = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256)
_MOST_PRODUCTS = 4096
_MOST_ROWS = 20_000
"""Rows that are asked for one by one where they cannot be told apart otherwise."""


def numpy_of(tensor: torch.Tensor) -> NDArray[np.float64]:
    """Return a tensor in float64."""
    return tensor.detach().double().cpu().contiguous().numpy()


class _Map:
    """A step as a matrix that can be multiplied from the left.

    Attributes:
        output: What the step makes, in float64.
        shape: Its shape.
        operands: Shapes of the operands that are differentiated by.
    """

    def __init__(
        self, function: Function, operands: Mapping[str, torch.Tensor], leaves: Sequence[str]
    ) -> None:
        import torch

        self._leaves = {role: operands[role].detach().requires_grad_() for role in leaves}
        with torch.enable_grad():
            self._result = function({**operands, **self._leaves})
        self.output = numpy_of(self._result)
        self.shape = tuple(self._result.shape)
        self.operands = {role: tuple(x.shape) for role, x in self._leaves.items()}

    def pull(self, cotangent: NDArray[np.float64]) -> NDArray[np.float64]:
        """Multiply by a cotangent of the output's shape; the result is flat, through all leaves."""
        import torch

        leaves = list(self._leaves.values())
        if not self._result.requires_grad:
            return np.zeros(sum(leaf.numel() for leaf in leaves))
        given = torch.as_tensor(np.array(cotangent), device=self._result.device)
        found = torch.autograd.grad(
            self._result,
            leaves,
            given.to(self._result.dtype),
            allow_unused=True,
            materialize_grads=True,
            retain_graph=True,
        )
        return np.concatenate([numpy_of(part).reshape(-1) for part in found])


def coefficients(
    function: Function,
    operands: Mapping[str, torch.Tensor],
    leaves: Sequence[str],
    *,
    linear: bool,
) -> Coefficients | None:
    """Find all coefficients of a step.

    Args:
        function: Runs the step.
        operands: Its operands in float64, by role.
        leaves: Roles of those that have coefficients.
        linear: Whether the coefficients are the same for all operands.

    Returns:
        The coefficients; None where there are too many to ask for, or where PyTorch contradicts
        itself (NaN).
    """
    import torch

    if not leaves:
        return None
    whole = _Map(function, operands, leaves)
    same = _same_axes(whole) if linear and len(leaves) == 1 and len(operands) == 1 else ()
    for left_out in (same, ()) if same else ((),):
        part = whole
        if left_out:
            (role,) = leaves
            narrow = operands[role]
            for _, axis in left_out:
                narrow = narrow.narrow(axis, 0, 1)
            try:
                part = _Map(function, {role: torch.nan_to_num(narrow)}, leaves)
            except (RuntimeError, ValueError, IndexError):
                continue
        found = _entries(part)
        if found is None:
            continue
        table = _table(whole, part, left_out, *found)
        if table is not None:
            return table
    return None


def _table(
    whole: _Map,
    part: _Map,
    same: tuple[tuple[int, int], ...],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    weights: NDArray[np.float64],
) -> Coefficients | None:
    """Put entries in order, and make sure that they are the matrix."""
    order = np.lexsort((columns, rows))
    rows, columns, weights = rows[order], columns[order], weights[order]
    count = math.prod(part.shape)
    starts = np.zeros(count + 1, dtype=np.int64)
    np.cumsum(np.bincount(rows, minlength=count), out=starts[1:])
    fills = np.where(np.diff(starts) == 0, part.output.reshape(-1), 0.0)
    table = Coefficients(
        shape=whole.shape,
        operands=whole.operands,
        same=same,
        starts=starts,
        columns=columns.astype(np.min_scalar_type(max(int(columns.max(initial=0)), 1))),
        weights=_one_for_all(weights),
        fills=_one_for_all(fills),
    )
    if table.reduced != part.shape or table.reduced_operands != part.operands:
        return None
    return table if _agrees(whole, table, rows, columns, weights) else None


def _one_for_all(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    if numbers.size and bool((numbers == numbers.flat[0]).all()):
        return np.array(numbers.flat[0])
    return numbers if numbers.size else np.array(0.0)


def _agrees(
    whole: _Map,
    table: Coefficients,
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    weights: NDArray[np.float64],
) -> bool:
    """Compare a table with PyTorch's product with a random vector."""
    draw = np.random.default_rng(0)
    places = [range(whole.shape[axis]) for axis, _ in table.same]
    several = list(product(*(sorted({0, len(p) // 2, len(p) - 1}) for p in places)))
    cotangent = np.zeros(whole.shape)
    width = sum(map(math.prod, table.reduced_operands.values()))
    expected, sizes = np.zeros(0), np.zeros(0)
    if table.same:
        shape = next(iter(whole.operands.values()))
        expected, sizes = np.zeros(shape), np.zeros(shape)
    for chosen in several:
        random = draw.standard_normal(table.rows)
        parts = random[rows] * weights
        made = np.bincount(columns, weights=parts, minlength=width)
        size = np.bincount(columns, weights=np.abs(parts), minlength=width)
        at: list[Any] = [slice(None)] * len(whole.shape)
        for (axis, _), place in zip(table.same, chosen, strict=True):
            at[axis] = slice(place, place + 1)
        cotangent[tuple(at)] = random.reshape(table.reduced)
        if not table.same:
            expected, sizes = made, size
            continue
        into: list[Any] = [slice(None)] * expected.ndim
        for (_, axis), place in zip(table.same, chosen, strict=True):
            into[axis] = slice(place, place + 1)
        small = next(iter(table.reduced_operands.values()))
        expected[tuple(into)] = made.reshape(small)
        sizes[tuple(into)] = size.reshape(small)
    pulled = whole.pull(cotangent)
    with np.errstate(invalid="ignore"):
        off = np.abs(pulled - expected.reshape(-1))
    return bool(np.isfinite(pulled).all()) and bool((off <= 1e-9 * sizes.reshape(-1)).all())


def _coordinates(shape: tuple[int, ...], axis: int) -> NDArray[np.float64]:
    """Number the positions along one axis of a tensor."""
    along = [1] * len(shape)
    along[axis] = -1
    return np.broadcast_to(np.arange(shape[axis], dtype=np.float64).reshape(along), shape)


def _same_axes(whole: _Map) -> tuple[tuple[int, int], ...]:
    """Find pairs of axes, of output and operand, along which numbers stay where they are."""
    ((_, shape),) = whole.operands.items()
    total = whole.pull(np.ones(whole.shape)).reshape(shape)
    pairs: list[tuple[int, int]] = []
    for axis, size in enumerate(whole.shape):
        if size == 1:
            continue
        place = _coordinates(whole.shape, axis)
        first, second = whole.pull(place), whole.pull(place**2)
        for other in range(pairs[-1][1] + 1 if pairs else 0, len(shape)):
            if shape[other] != size:
                continue
            here = _coordinates(shape, other)
            if _near(first.reshape(shape), total * here) and _near(
                second.reshape(shape), total * here**2
            ):
                pairs.append((axis, other))
                break
    return tuple(pairs)


def _near(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    return bool(np.allclose(one, other, rtol=1e-9, atol=1e-12))


def _entries(
    part: _Map,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]] | None:
    """List row, column and weight of each coefficient."""
    count = math.prod(part.shape)
    moduli = _moduli(part)
    if moduli is None or math.prod(moduli) >= count:
        return _one_by_one(part, count) if count <= _MOST_ROWS else None
    numbers = np.arange(1.0, count + 1).reshape(part.shape)
    rows: list[NDArray[np.int64]] = []
    columns: list[NDArray[np.int64]] = []
    weights: list[NDArray[np.float64]] = []
    for here in _classes(part.shape, moduli):
        ones, owners = np.zeros(part.shape), np.zeros(part.shape)
        ones[here] = 1.0
        owners[here] = numbers[here]
        weight, whose = part.pull(ones), part.pull(owners)
        column = weight.nonzero()[0]
        row = np.rint(whose[column] / weight[column]) - 1
        if not np.isfinite(row).all() or row.min(initial=0) < 0 or row.max(initial=0) >= count:
            return _one_by_one(part, count) if count <= _MOST_ROWS else None
        rows.append(row.astype(np.int64))
        columns.append(column)
        weights.append(weight[column])
    return np.concatenate(rows), np.concatenate(columns), np.concatenate(weights)


def _one_by_one(
    part: _Map, count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    rows: list[NDArray[np.int64]] = [np.zeros(0, dtype=np.int64)]
    columns: list[NDArray[np.int64]] = [np.zeros(0, dtype=np.int64)]
    weights: list[NDArray[np.float64]] = [np.zeros(0)]
    for row in range(count):
        one = np.zeros(count)
        one[row] = 1.0
        weight = part.pull(one.reshape(part.shape))
        column = weight.nonzero()[0]
        rows.append(np.full(len(column), row, dtype=np.int64))
        columns.append(column)
        weights.append(weight[column])
    return np.concatenate(rows), np.concatenate(columns), np.concatenate(weights)


def _classes(shape: tuple[int, ...], moduli: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    """Yield the positions that are alike in every axis, modulo that axis's number."""
    for residues in product(*(range(m) for m in moduli)):
        yield tuple(slice(r, None, m) for r, m in zip(residues, moduli, strict=True))


def _moduli(part: _Map) -> tuple[int, ...] | None:
    """Find, for each axis, how far apart rows have to be to share no column."""
    moduli = [_modulus(part, axis) for axis in range(len(part.shape))]
    if None in moduli:
        return None
    found = tuple(m for m in moduli if m is not None)
    return found if math.prod(found) <= _MOST_PRODUCTS else None


def _modulus(part: _Map, axis: int) -> int | None:
    size = part.shape[axis]
    place = _coordinates(part.shape, axis) + 1.0
    for modulus in [m for m in _MODULI if m < size] + [size]:
        if all(_is_apart(part, place, axis, residue, modulus) for residue in range(modulus)):
            return modulus
    return None


def _is_apart(
    part: _Map, place: NDArray[np.float64], axis: int, residue: int, modulus: int
) -> bool:
    """Whether all rows of a class that share a column have one place on the axis."""
    here: list[Any] = [slice(None)] * len(part.shape)
    here[axis] = slice(residue, None, modulus)
    powers: list[NDArray[np.float64]] = []
    for power in range(3):
        cotangent = np.zeros(part.shape)
        cotangent[tuple(here)] = place[tuple(here)] ** power
        powers.append(part.pull(cotangent))
    total, first, second = powers
    with np.errstate(all="ignore"):
        return bool((np.abs(total * second - first**2) <= 1e-9 * np.abs(total * second)).all())
