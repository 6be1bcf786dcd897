"""How the grays of two aligned pictures differ: by one change of tone and light, and the rest."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from annidx.fingerprints import Floats, averages

KNOTS = 8
"""A change of tone is a broken line over the grays of the first picture, of so many knots, times a
gain that varies with place by a quadratic, as vignettes have it, ..."""
FITTED_ON = 24
"""... fitted on averages on a grid of 24 x 24."""
_ROUNDS = 3
_DARKEST, _BRIGHTEST = 6.0, 249.0
_RIDGE = 1e-4


@dataclass(frozen=True, slots=True)
class Tones:
    """How grays differ, the second picture against the first; (m,) float32 each.

    Attributes
    ----------
    brightness : (m,) float32
        Mean of the second by that of the first, on what neither clips: 1.15 is brighter by 15 %.
    contrast : (m,) float32
        Slope of the change of tone by the brightness: 1 for a mere gain; negative of a negative.
    rest : (m,) float32
        Median of what a change of tone leaves, in gray levels of the second.
    range : (m,) float32
        Spread of the grays of the second: its standard deviation.
    light : (m,) float32
        How much the gain varies with place, edges against the middle: 0 not at all.
    """

    brightness: Floats
    contrast: Floats
    rest: Floats
    range: Floats
    light: Floats


def hats(grays: Floats, knots: int) -> Floats:
    """Return how near grays in 0..1 are to each knot of a broken line, one axis more at the end."""
    at = np.arange(knots, dtype=np.float32)
    apart = np.abs(grays[..., None] * (knots - 1) - at)
    return np.asarray(np.maximum(0, 1 - apart), np.float32)


@cache
def places(side: int) -> Floats:
    """Return the quadratic terms of place, (side * side, 5): 0 in the middle."""
    line = np.linspace(-1, 1, side, dtype=np.float32)
    v, u = (each.ravel() for each in np.meshgrid(line, line, indexing="ij"))
    return np.stack([u, v, u * u, v * v, u * v], axis=1).astype(np.float32)


def fitted(first: Floats, second: Floats, inside: Floats) -> tuple[Tones, Floats, Floats]:
    """Fit one change of tone and light.

    Parameters
    ----------
    first, second, inside : (m, n, n) float32
        Grays of 0..255, and 1 where both are known.

    Returns
    -------
    Tones
    (m, n, n) float32
        What it leaves, in levels of the second; 0 where not both are known.
    (m, n, n) float32
        What it makes of the first.
    """
    count = len(first)
    low, high = first.min(axis=(1, 2)), first.max(axis=(1, 2))
    scaled = (first - low[:, None, None]) / np.maximum(high - low, 8.0)[:, None, None]
    pooled = [_pooled(each) for each in (scaled, first, second, inside)]
    x, levels, y, there = (each.reshape(count, -1) for each in pooled)
    known = (there > 0.99).astype(np.float32)
    basis = np.concatenate(
        [hats(x, KNOTS), levels[..., None] * (places(FITTED_ON) / 64)[None]], axis=2
    )
    found, weights = robust(basis, y - levels, known)  # what is not known changes nothing
    full = _full(scaled, first, found)
    rest = np.asarray((second - full) * inside, np.float32)
    slope, brightness = _line(levels, y, weights)
    steep = np.maximum(np.abs(slope), 0.05)
    corner = np.abs(found[:, KNOTS + 2] + found[:, KNOTS + 3]) / 64
    values = (
        brightness,
        slope / brightness,
        _median(rest, inside),
        _spread(y, known),
        corner / steep,
    )
    return Tones(*(np.asarray(each, np.float32) for each in values)), rest, full


def _full(scaled: Floats, first: Floats, found: Floats) -> Floats:
    """Return what a fitted change of tone and light makes of grays."""
    count, side, _ = first.shape
    curves = found[:, :KNOTS] @ hats(np.linspace(0, 1, 256, dtype=np.float32), KNOTS).T
    at = (scaled * 255 + 0.5).astype(np.int32)
    at += (np.arange(count, dtype=np.int32) * 256)[:, None, None]
    result = curves.reshape(-1).take(at, mode="clip")
    result += first  # what was fitted is the change
    gains = found[:, KNOTS:] @ (places(side) / 64).T
    result += gains.reshape(first.shape) * first
    return np.asarray(result, np.float32)


def robust(basis: Floats, wanted: Floats, known: Floats) -> tuple[Floats, Floats]:
    """Fit by least squares in which what does not fit counts little; coefficients and weights.

    Parameters
    ----------
    basis : (m, p, k) float32
    wanted, known : (m, p) float32
    """
    weights = known
    ridge = np.eye(basis.shape[2], dtype=np.float32)
    found = np.zeros((len(basis), basis.shape[2]), np.float32)
    across = np.ascontiguousarray(basis.transpose(0, 2, 1))
    for turn in range(_ROUNDS):
        weighted = across * weights[:, None]
        normal = weighted @ basis
        damping = _RIDGE * np.trace(normal, axis1=1, axis2=2) / basis.shape[2] + 1e-4
        normal += ridge * damping[:, None, None]
        target = (weighted @ wanted[..., None])[..., 0]
        found = np.linalg.solve(normal, target[..., None])[..., 0]
        if turn == _ROUNDS - 1:
            break
        rest = np.abs(wanted - (basis @ found[..., None])[..., 0])
        scale = np.maximum(2.0, 2.0 * mean(rest * weights, weights))
        weights = known / (1 + (rest / scale[:, None]) ** 2)
    return found, weights


def total(cells: Floats) -> Floats:
    """Return the sums over all axes but the first, (m,)."""
    flat = cells.reshape(len(cells), -1)
    return np.asarray(flat @ np.ones(flat.shape[1], np.float32), np.float32)


def mean(values: Floats, weights: Floats) -> Floats:
    """Return the means of weighted values, (m,); both are (m, p)."""
    return np.asarray(total(values) / np.maximum(total(weights), 1e-6), np.float32)


def _pooled(cells: Floats) -> Floats:
    weights = averages(FITTED_ON, cells.shape[1])
    return np.asarray(weights @ cells @ weights.T, np.float32)


def _line(x: Floats, y: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return slope of y over x, and mean of y by that of x, where neither is clipped."""
    clear = (x > _DARKEST) & (x < _BRIGHTEST) & (y > _DARKEST) & (y < _BRIGHTEST)
    used = weights * clear
    few = used.sum(axis=1) < 0.05 * np.maximum(weights.sum(axis=1), 1)
    used = np.where(few[:, None], weights, used)
    mean_x, mean_y = mean(x * used, used), mean(y * used, used)
    dx, dy = x - mean_x[:, None], y - mean_y[:, None]
    slope = mean(dx * dy * used, used) / np.maximum(mean(dx * dx * used, used), 1.0)
    ratio = np.maximum(mean_y, 1.0) / np.maximum(mean_x, 1.0)
    return np.asarray(slope, np.float32), np.asarray(ratio, np.float32)


def _median(rest: Floats, inside: Floats) -> Floats:
    """Return the median of what is left, where both are known; every second row and column."""
    known = inside[:, ::2, ::2].reshape(len(rest), -1) > 0
    cells = np.where(known, np.abs(rest[:, ::2, ::2]).reshape(len(rest), -1), np.inf)
    middle = np.maximum(known.sum(axis=1) // 2, 0)
    found = np.take_along_axis(np.sort(cells, axis=1), middle[:, None], axis=1)[:, 0]
    return np.asarray(np.where(np.isfinite(found), found, 0), np.float32)


def _spread(y: Floats, known: Floats) -> Floats:
    weighted = y * known
    count = np.maximum(total(known), 1e-6)
    squared = np.einsum("ij,ij->i", y, weighted) / count - (total(weighted) / count) ** 2
    return np.asarray(np.sqrt(np.maximum(squared, 0)), np.float32)


def details(first: Floats, second: Floats, inside: Floats) -> Floats:
    """Return the strength of the finest detail, second by first, the contrast made even, (m,)."""
    known = inside.reshape(len(inside), -1)
    fine = [
        _fine(each, inside) / (_spread(each.reshape(known.shape), known) + 1)
        for each in (first, second)
    ]
    return np.asarray(np.clip(fine[1] / fine[0], 0.01, 100), np.float32)


def _fine(grays: Floats, inside: Floats) -> Floats:
    """Return the strength of the finest detail: what four neighbours do not explain."""
    around = grays[:, 2:, 1:-1] + grays[:, :-2, 1:-1] + grays[:, 1:-1, 2:] + grays[:, 1:-1, :-2]
    known = inside[:, 1:-1, 1:-1]
    rest = (grays[:, 1:-1, 1:-1] * 4 - around) * known
    flat = rest.reshape(len(rest), -1)
    squares = np.einsum("ij,ij->i", flat, flat)
    return np.asarray(np.sqrt(squares / np.maximum(total(known), 1)) + 0.2, np.float32)
