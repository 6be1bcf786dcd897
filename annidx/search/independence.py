"""How much of what two aligned pictures have in common is independent: a smooth sky holds little.

Where gradients change slowly, neighbouring cells agree because one of them does, and a few such
agreements come about by chance. What two pictures hold is counted as is usual for the correlation
of two fields that are correlated in themselves (Bartlett 1935; Clifford, Richardson and Hemon
1989): as cells by how many of them vary as one.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from annidx.fingerprints import Floats, averages

POOLED = 3
"""Cells of 3 x 3 count as one: finer detail is not aligned so well that it could agree."""


def independent(first: Floats, second: Floats, within: Floats, area: Floats) -> Floats:
    """Return about how many values of pairs of gradients are independent, (m,) float32.

    Parameters
    ----------
    first, second : (m, 2, n, n) float32
        Gradients of two pictures, one laid on the other; n a multiple of POOLED.
    within : (m, n, n) float32
        1 where they overlap, else 0.
    area : (m,) float32
        Share of the n x n cells that has structure in both: where much of it is in one place, the
        rest tells nothing.
    """
    cells = (first.shape[-1] // POOLED) ** 2
    alike = [_varying_as_one(_pooled(each * within[:, None])) for each in (first, second)]
    return np.asarray(cells * area / np.sqrt(np.maximum(alike[0] * alike[1], 1.0)), np.float32)


def _pooled(fields: Floats) -> Floats:
    side = fields.shape[-1]
    means = averages(side // POOLED, side)
    return np.asarray(means @ (fields @ means.T), np.float32)


def _varying_as_one(fields: Floats) -> Floats:
    """Return how many cells vary as one, (m,): the squared autocorrelation, summed over all lags.

    By Parseval's theorem those are the squares of the power spectrum, zeros put around the fields.
    """
    count, both, side, _ = fields.shape
    down, right = _waves(side)
    halfway = (fields.reshape(-1, side) @ right).reshape(count * both, side, -1)
    found = (down @ halfway).reshape(count, both, 2, 2 * side, 2, side + 1)
    cosines, sines = found[:, :, 0], found[:, :, 1]
    real, imaginary = cosines[..., 0, :] - sines[..., 1, :], sines[..., 0, :] + cosines[..., 1, :]
    power = (real * real + imaginary * imaginary).sum(axis=1)
    twice = np.full(side + 1, 2.0, np.float32)  # each stands for its mirror image, too
    twice[[0, -1]] = 1
    squares, total = np.einsum("mij,j->m", power * power, twice), (power @ twice).sum(axis=1)
    return np.asarray(4 * side**2 * squares / np.maximum(total**2, 1e-12), np.float32)


@cache
def _waves(side: int) -> tuple[Floats, Floats]:
    """Return cosines and sines of all waves over 2 x side cells: down (rows), right (columns)."""
    angles = np.pi / side * np.outer(np.arange(2 * side), np.arange(side))
    down = np.concatenate([np.cos(angles), np.sin(angles)]).astype(np.float32)
    half = angles[: side + 1].T
    return down, np.concatenate([np.cos(half), np.sin(half)], axis=1).astype(np.float32)
