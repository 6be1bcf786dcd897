"""Aligning two pictures: from a rough guess to the affine map under which they agree best.

Source: Lucas and Kanade (1981) in the inverse compositional form of Baker and Matthews (2004), with
Cauchy weights against what was laid over one of the two, on fields whose local mean and contrast
are even, so that a change of tone or light moves nothing.

A *map* takes points of the first picture (y, x in 0..1) to points of the second, (2, 3) float32.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from annidx.fingerprints import WHOLE, Floats, interpolated, positions

Flags = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp]

COARSE, FINE = 32, 64
"""Sides of the two fields."""
COARSE_GRID, FINE_GRID = 16, 32
"""Sides of the grids on which they are compared."""
ROUNDS: tuple[float, ...] = (0.28, 0.47, 0.57, 0.62)
"""Least correlation of the coarse fields before the first round of two steps, the second, ...

Of 6,987 true pairs of edits each held back less than one in a thousand, and let .84, .33, .12 and
.05 of 27,107 nearest unrelated candidates pass.
"""
AGREED = 0.93
"""Coarse fields that agree so well need no further coarse round."""
FINE_STEPS = 4

_STEPS = 2
_DAMPING = 0.02
_LARGEST_STEP, _LARGEST_FINE_STEP = 0.1, 0.03
_OUTLIER = 0.8  # of a field's unit: half weight


def blurred(planes: Floats, sigma: float) -> Floats:
    """Blur (m, n, n) float32 by a Gaussian of sigma pixels; what lies outside does not count."""
    kernel = _kernel(planes.shape[1], sigma)
    return np.asarray(kernel @ planes @ kernel.T, np.float32)


@cache
def _kernel(side: int, sigma: float) -> Floats:
    at = np.arange(side)
    kernel = np.exp(-((at[:, None] - at) ** 2) / (2 * sigma**2))
    kernel[kernel < 1e-6] = 0  # as denormal floats they would take twenty times as long
    return np.asarray(kernel / kernel.sum(axis=1, keepdims=True), np.float32)


def coarse_fields(grays: Floats) -> Floats:
    """Return the coarse fields of grays at 32 x 32, (m, 32, 32) float32."""
    return _even(blurred(grays, 0.7), 3.0, 4.0)


def fine_fields(grays: Floats) -> Floats:
    """Return the fine fields of grays at 64 x 64, (m, 64, 64) float32."""
    return _even(blurred(grays, 0.8), 4.0, 6.0)


def _even(grays: Floats, sigma: float, least: float) -> Floats:
    """Subtract the local mean and divide by the local contrast, `least` gray levels at least."""
    rest = grays - blurred(grays, sigma)
    contrast = np.sqrt(np.maximum(blurred(rest * rest, sigma), 0.0))
    return np.asarray(rest / (contrast + least), np.float32)


def read(fields: Floats, maps: Floats, side: int) -> tuple[Floats, Floats]:
    """Read fields on a grid of the first pictures that is mapped into them.

    Returns
    -------
    (m, side, side) float32
        What is there.
    (m, side, side) float32
        1 where the map stays inside of the picture, else 0.
    """
    of = fields.shape[1]
    y, x = positions(maps, side)
    inside = (y >= 0) & (y <= 1) & (x >= 0) & (x <= 1)
    y, x = (np.clip(each * of - 0.5, 0.0, of - 1.001) for each in (y, x))
    return interpolated(fields, y, x), inside.astype(np.float32)


def correlations(templates: Floats, fields: Floats, maps: Floats) -> Floats:
    """Return how well fields agree under maps, (m,) in -1..1; templates as :func:`template`."""
    return _correlated(templates, *read(fields, maps, templates.shape[1]))


def _correlated(templates: Floats, there: Floats, inside: Floats) -> Floats:
    both = np.einsum("mij,mij,mij->m", templates, there, inside)
    one = np.einsum("mij,mij,mij->m", templates, templates, inside)
    other = np.einsum("mij,mij,mij->m", there, there, inside)
    return np.asarray(both / np.sqrt(one * other + 1e-6), np.float32)


def template(fields: Floats, side: int) -> Floats:
    """Return fields of the first pictures on their own grid, (m, side, side) float32."""
    step = fields.shape[1] // side
    if step == 1:
        return fields
    cells = fields.reshape(len(fields), side, step, side, step)
    return np.asarray(cells.mean(axis=(2, 4)), np.float32)


def coarsely(ones: Floats, others: Floats, maps: Floats) -> tuple[Rows, Floats]:
    """Align by coarse fields, dropping what does not agree better from round to round.

    Parameters
    ----------
    ones : (m, 16, 16) float32
        Templates of the coarse fields of the first pictures.
    others : (m, 32, 32) float32
        Coarse fields of the second ones.
    maps : (m, 2, 3) float32
        Rough guesses.

    Returns
    -------
    (k,) intp
        Those that passed all rounds, or agreed very well after some.
    (k, 2, 3) float32
        Their maps.
    """
    left, passed, found = np.arange(len(maps)), [], []
    slopes = _slopes(ones)
    for number, least in enumerate(ROUNDS):
        there, inside = read(others, maps, ones.shape[1])
        agreement = _correlated(ones, there, inside)
        done = agreement >= (AGREED if number < len(ROUNDS) - 1 else least)
        passed.append(left[done])
        found.append(maps[done])
        stay = np.flatnonzero((agreement >= least) & ~done)
        left, maps = left[stay], maps[stay]
        ones, others, slopes = ones[stay], others[stay], slopes[stay]
        if not len(left):
            break
        maps = _step(ones, slopes, there[stay], inside[stay], maps, _LARGEST_STEP)
        for _ in range(_STEPS - 1):
            maps = _step(ones, slopes, *read(others, maps, ones.shape[1]), maps, _LARGEST_STEP)
    return np.concatenate(passed), np.concatenate(found)


def finely(ones: Floats, others: Floats, maps: Floats) -> Floats:
    """Align by fine fields: templates (m, 32, 32) and fields (m, 64, 64); return the maps."""
    return stepped(ones, others, maps, FINE_STEPS, _LARGEST_FINE_STEP)


def stepped(templates: Floats, fields: Floats, maps: Floats, steps: int, largest: float) -> Floats:
    """Take some Gauss-Newton steps, none of which changes a number of the map by over `largest`."""
    if len(templates) == 0:
        return maps
    slopes = _slopes(templates)
    for _ in range(steps):
        there, inside = read(fields, maps, templates.shape[1])
        maps = _step(templates, slopes, there, inside, maps, largest)
    return maps


def _step(
    templates: Floats, slopes: Floats, there: Floats, inside: Floats, maps: Floats, largest: float
) -> Floats:
    """Take one step, from what `read` found under the maps."""
    count = len(templates)
    error = (there - templates).reshape(count, -1)
    weights = inside.reshape(count, -1) / (1 + (error / _OUTLIER) ** 2)
    weighted = slopes * weights[:, None]
    normal = weighted @ slopes.transpose(0, 2, 1)
    damping = _DAMPING * np.trace(normal, axis1=1, axis2=2) / 6 + 1e-3
    normal += np.eye(6, dtype=np.float32) * damping[:, None, None]
    wanted = weighted @ error[:, :, None]
    found = np.linalg.solve(normal, wanted)[..., 0]
    return composed(maps, inverse(_moves(np.clip(found, -largest, largest))))


def _slopes(templates: Floats) -> Floats:
    """Return how templates change with the six numbers of a map, (m, 6, side**2) float32."""
    count, side, _ = templates.shape
    down, right = np.zeros_like(templates), np.zeros_like(templates)
    down[:, 1:-1] = (templates[:, 2:] - templates[:, :-2]) * (side / 2)
    right[:, :, 1:-1] = (templates[:, :, 2:] - templates[:, :, :-2]) * (side / 2)
    at = ((np.arange(side, dtype=np.float32) + 0.5) / side - 0.5)[:, None]
    six = [down * at, down * at.T, down, right * at, right * at.T, right]
    return np.stack(six, axis=1).reshape(count, 6, side * side)


def _moves(found: Floats) -> Floats:
    """Return steps as maps, (m, 2, 3); they turn and stretch about the middle."""
    maps = found.reshape(-1, 2, 3) + WHOLE
    maps[:, :, 2] -= (found[:, [0, 3]] + found[:, [1, 4]]) / 2
    return maps


def composed(outer: Floats, inner: Floats) -> Floats:
    """Return maps that apply `inner` and then `outer`, (m, 2, 3) float32."""
    result = outer[..., :2] @ inner
    result[..., 2] += outer[..., 2]
    return np.asarray(result, np.float32)


def inverse(maps: Floats) -> Floats:
    """Return maps the other way round, (m, 2, 3) float32."""
    a, b, y = maps[..., 0, 0], maps[..., 0, 1], maps[..., 0, 2]
    c, d, x = maps[..., 1, 0], maps[..., 1, 1], maps[..., 1, 2]
    result = np.empty_like(maps, np.float32)
    result[..., 0, 0], result[..., 0, 1], result[..., 0, 2] = d, -b, b * x - d * y
    result[..., 1, 0], result[..., 1, 1], result[..., 1, 2] = -c, a, c * y - a * x
    result /= (a * d - b * c)[..., None, None]
    return result
