"""How the fine detail of two aligned pictures agrees, both brought to one sharpness."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from annidx import fingerprints
from annidx.fingerprints import Floats
from annidx.search import alignment
from annidx.search.tones import total

BLOCK = 6
"""Detail is compared in blocks of 6 x 6 cells."""

_HIGH_PASS = 2.0
_SOFTENING = 1.0


def eroded(inside: Floats) -> Floats:
    """Leave away the cells at the edge of an overlap: frames bleed into them."""
    result = inside.copy()
    result[:, 1:] *= inside[:, :-1]
    result[:, :-1] *= inside[:, 1:]
    result[:, :, 1:] *= inside[:, :, :-1]
    result[:, :, :-1] *= inside[:, :, 1:]
    result[:, [0, -1]] = result[:, :, [0, -1]] = 0
    return result


def softened(grays: Floats, maps: Floats) -> Floats:
    """Blur what is read more finely than its partner, whose pixels are larger there."""
    scale = np.sqrt(np.abs(np.linalg.det(maps[:, :, :2])))
    return _blurred(grays, 1 / scale, ((1.18, 1.54, 0.5), (1.54, 2.22, 0.9), (2.22, np.inf, 1.5)))


def softened_to(grays: Floats, detail: Floats) -> Floats:
    """Blur what is much sharper, or noisier, than its partner."""
    return _blurred(grays, detail, ((1.35, 1.8, 0.6), (1.8, 3.0, 0.9), (3.0, np.inf, 1.4)))


def _blurred(
    grays: Floats, excess: Floats, steps: tuple[tuple[float, float, float], ...]
) -> Floats:
    result = grays
    for low, high, sigma in steps:
        which = np.flatnonzero((excess > low) & (excess <= high))
        if len(which):
            result = result if result is not grays else grays.copy()
            result[which] = alignment.blurred(grays[which], sigma)
    return result


def high_passed(first: Floats, second: Floats, inside: Floats) -> tuple[Floats, Floats]:
    """Return what is finer than some cells, of both; what lies outside does not count."""
    share = np.maximum(alignment.blurred(inside, _HIGH_PASS), 0.02)
    one, other = (
        (each - alignment.blurred(each * inside, _HIGH_PASS) / share) * inside
        for each in (first, second)
    )
    return np.asarray(one, np.float32), np.asarray(other, np.float32)


@dataclass(frozen=True, slots=True)
class Textures:
    """How well fine detail agrees, block by block; (m,) float32 each.

    Attributes
    ----------
    agreement : (m,) float32
        Mean of the blocks' correlations, weighted by detail: -1..1.
    core : (m,) float32
        Their median, weighted by the detail of the less detailed one: what was laid over a part
        leaves it as it is, while two bottles, or two slides, agree less in all parts.
    torn : (m,) float32
        Share of the detail in blocks in which it does not agree.
    exchanged : (m,) float32
        The lesser of two parts of it: where the first has more detail, where the second has. What
        was laid over one of two has its detail in that one.
    """

    agreement: Floats
    core: Floats
    torn: Floats
    exchanged: Floats


def textures(first: Floats, second: Floats, inside: Floats) -> Textures:
    """Compare the fine detail of aligned pictures, (m, n, n), where `inside` is 1."""
    one, other = high_passed(first, second, inside)
    both, ones, others = (blocks(each) for each in (one * other, one * one, other * other))
    cells = BLOCK * BLOCK
    lengths = np.sqrt((ones + _SOFTENING * cells) * (others + _SOFTENING * cells))
    agree = np.asarray(both / lengths, np.float32)
    known = blocks(inside) > cells / 2
    weights = _weights(np.maximum(ones, others)) * known
    whole = np.maximum(total(weights), 1e-6)
    torn = weights * (agree < 0.5)
    less, more = (total(torn * way) for way in (ones > others, ones <= others))
    found = (
        total(weights * agree) / whole,
        _median(agree, _weights(np.minimum(ones, others)) * known),
        total(torn) / whole,
        np.minimum(less, more) / whole,
    )
    return Textures(*(np.asarray(each, np.float32) for each in found))


def _weights(energy: Floats) -> Floats:
    """Return what blocks of some summed squares count: a few strong edges shall not decide."""
    strength = np.sqrt(energy / BLOCK**2)
    return np.asarray(np.minimum(strength, 8.0) * (strength > 1.0), np.float32)


def _median(values: Floats, weights: Floats) -> Floats:
    """Return weighted medians of rows; 0 where nothing weighs."""
    order = np.argsort(values, axis=1)
    below = np.take_along_axis(weights, order, axis=1).cumsum(axis=1)
    at = (below < below[:, -1:] / 2).sum(axis=1)[:, None]
    found = np.take_along_axis(np.take_along_axis(values, order, axis=1), at, axis=1)[:, 0]
    return np.asarray(np.where(below[:, -1] > 0, found, 0), np.float32)


def blocks(cells: Floats) -> Floats:
    """Sum cells by blocks, (m, blocks) float32."""
    side = cells.shape[1]
    sums = fingerprints.averages(side // BLOCK, side)
    return np.asarray((sums @ cells @ sums.T).reshape(len(cells), -1) * BLOCK**2, np.float32)
