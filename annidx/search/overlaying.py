"""Whole pictures laid on each other again, frames and all, once the contents have been aligned.

What a second look found holds for contents; beyond their edges it is extrapolated. Most pairs lie
on each other edge to edge, at most turned by quarters, and that is tried first.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from annidx import fingerprints
from annidx.fingerprints import Floats, Stored
from annidx.search import alignment
from annidx.search.alignment import Flags, Rows

GRID = 48
"""Aligned pictures are compared on a grid of 48 x 48."""

_SMOOTHED = 0.7
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_LIGHT, _GROUND_STEP = 190.0, 10.0
_BUSY, _LEAST_BUSY = 0.2, 3.0
"""Of the usual spread of a row, and in levels: rows of less are plain."""
_SAME = 0.012
"""So little more may the fine fields agree under a freer map than under a plainer one, which is
taken then: affine maps also fit noise, and lean where a picture has no detail."""
_SURE = 0.97
"""Whole pictures that agree so well as they are, or turned by quarters, need no finer map."""
_NEAR = 0.05
"""Only what a second look saw so near to that is tried as that, in parts of the picture."""


class Pictures:
    """What of some pictures is compared: their whole grays and thumbs.

    Parameters
    ----------
    grays : (n, 4096) uint8
    thumbs : (n, 1200) uint8
    """

    def __init__(self, grays: Stored, thumbs: Stored) -> None:
        side = fingerprints.GRAY_SIDE
        planes = grays.reshape(-1, side, side).astype(np.float32)
        half = fingerprints.averages(alignment.COARSE, side)
        self.coarse = alignment.coarse_fields(np.asarray(half @ planes @ half.T, np.float32))
        self.fine = alignment.fine_fields(planes)
        self.coarse_templates = template(self.coarse, alignment.COARSE_GRID)
        self.fine_templates = template(self.fine, alignment.FINE_GRID)
        self.levels = alignment.blurred(planes, _SMOOTHED)
        grid = _resampling(GRID, side)
        self.gridded: Floats = np.asarray(grid @ self.levels @ grid.T, np.float32)
        self.plain, self.ground = plainness(planes)
        self.fineness, self.lines = fineness(planes), lines(planes)
        self.thumbs = np.asarray(
            thumbs.reshape(-1, fingerprints.THUMB_SIDE, fingerprints.THUMB_SIDE, 3), np.float32
        )
        self.grounds = grounds(self.thumbs)


def template(fields: Floats, side: int) -> Floats:
    """Return fields on a coarser grid, (m, side, side) float32."""
    weights = fingerprints.averages(side, fields.shape[1])
    return np.asarray(weights @ fields @ weights.T, np.float32)


@cache
def _resampling(side: int, of: int) -> Floats:
    """Return the weights that read `of` pixels at `side` places bilinearly, (side, of) float32."""
    at = np.clip((np.arange(side) + 0.5) / side * of - 0.5, 0, of - 1)
    return np.asarray(np.maximum(0, 1 - np.abs(at[:, None] - np.arange(of))), np.float32)


def fineness(planes: Floats) -> Floats:
    """Return how strong the finest detail of pictures is, by their contrast, (n,): writing is."""
    around = planes[:, 2:, 1:-1] + planes[:, :-2, 1:-1] + planes[:, 1:-1, 2:] + planes[:, 1:-1, :-2]
    fine = (4 * planes[:, 1:-1, 1:-1] - around).reshape(len(planes), -1)
    flat = planes.reshape(len(planes), -1)
    strength = np.sqrt(np.einsum("ij,ij->i", fine, fine) / fine.shape[1])
    return np.asarray(strength / (flat.std(axis=1) + 1), np.float32)


def lines(planes: Floats) -> Floats:
    """Return into how many rows, or columns, plain ones part what is in pictures, (n,).

    Things have one or two, lines of writing many.
    """
    found = np.zeros(len(planes), np.float32)
    inner = planes[:, 2:-2, 2:-2]
    for axis in (2, 1):
        spread = inner.std(axis=axis)
        usual = np.sqrt(np.einsum("ij,ij->i", spread, spread) / spread.shape[1])
        busy = spread > np.maximum(_BUSY * usual, _LEAST_BUSY)[:, None]
        begun = busy[:, 0] + (busy[:, 1:] & ~busy[:, :-1]).sum(axis=1)
        found = np.maximum(found, begun).astype(np.float32)
    return found


def grounds(thumbs: Floats) -> Floats:
    """Return where pictures are of the one light colour of their edges, (n, 20, 20) in 0..1."""
    edge = np.concatenate([thumbs[:, [0, -1]], thumbs[:, :, [0, -1]].transpose(0, 2, 1, 3)], axis=2)
    edge = edge.reshape(len(thumbs), -1, 3)
    tone = np.median(edge, axis=1)
    light = (tone @ _LUMA > _LIGHT) & (np.ptp(tone, axis=1) < 40)
    light &= _like(edge, tone[:, None]).mean(axis=1) > 0.6
    return np.asarray(_like(thumbs, tone[:, None, None]) & light[:, None, None], np.float32)


def _like(colours: Floats, tone: Floats) -> Flags:
    return np.asarray(np.abs(colours - tone).max(axis=-1) <= _GROUND_STEP)


def plainness(planes: Floats) -> tuple[Floats, Floats]:
    """Return the share of pictures that is of about one gray, the most frequent, and which gray."""
    grays = planes[:, ::2, ::2].reshape(len(planes), -1)
    bins = np.minimum(grays.astype(np.int32) // 2, 127) + 128 * np.arange(len(grays))[:, None]
    counts = np.bincount(bins.ravel(), minlength=128 * len(grays)).reshape(-1, 128)
    three = counts[:, :-2] + counts[:, 1:-1] + counts[:, 2:]
    share, gray = three.max(axis=1) / grays.shape[1], three.argmax(axis=1) * 2.0 + 3
    return np.asarray(share, np.float32), np.asarray(gray, np.float32)


def aligned(
    pictures: Pictures, ones: Rows, others: Rows, maps: Floats, contents: Floats
) -> tuple[Floats, Floats]:
    """Return refined maps of whole pictures, the plainest that fit, and how well fields agree."""
    fine, turns = pictures.fine_templates[ones], nearest_turns(maps)
    best = _as_they_are(pictures, fine, others, turns)
    near = np.abs(_corners(maps, contents) - _corners(turns, contents)).max(axis=(1, 2)) < _NEAR
    best = np.where(near, best, -1.0).astype(np.float32)
    maps = np.where((best > _SURE)[:, None, None], turns, maps)
    left = np.flatnonzero(best <= _SURE)
    if len(left):
        maps[left], best[left] = _refined(
            pictures, ones[left], others[left], maps[left], turns[left], near[left]
        )
    return maps, best


def _as_they_are(pictures: Pictures, fine: Floats, others: Rows, turns: Floats) -> Floats:
    """Return how well fine fields agree under turns; where nothing turns, nothing is read."""
    second = pictures.fine_templates[others]
    best = _alike(fine, second, np.ones_like(fine[:1]))
    turned = np.flatnonzero((turns != fingerprints.WHOLE).any(axis=(1, 2)))
    if len(turned):
        best[turned] = _correlations(fine[turned], pictures.fine[others[turned]], turns[turned])
    return best


def _refined(
    pictures: Pictures, ones: Rows, others: Rows, maps: Floats, turns: Floats, near: Flags
) -> tuple[Floats, Floats]:
    coarse, fields = pictures.coarse_templates[ones], pictures.coarse[others]
    better = _correlations(coarse, fields, turns) > _correlations(coarse, fields, maps)
    maps = np.where((better & near)[:, None, None], turns, maps)
    maps = alignment.stepped(coarse, fields, maps, 2, 0.1)
    fine, fields = pictures.fine_templates[ones], pictures.fine[others]
    maps = alignment.stepped(fine, fields, maps, 3, 0.03)
    best = _correlations(fine, fields, maps)
    for plainer, allowed in ((upright(maps), True), (turns, near)):
        agreement = _correlations(fine, fields, plainer)
        taken = (agreement > best - _SAME * (1 + 2 * (1 - best))) & allowed
        maps = np.where(taken[:, None, None], plainer, maps)
        best = np.where(taken, np.maximum(agreement, best), best)
    return maps, best


def _corners(maps: Floats, contents: Floats) -> Floats:
    """Return where the corners of contents lie, (m, 2, 4)."""
    square = np.array([[0, 0, 1, 1], [0, 1, 0, 1], [1, 1, 1, 1]], np.float32)
    return np.asarray(alignment.composed(maps, contents) @ square, np.float32)


def _correlations(templates: Floats, fields: Floats, maps: Floats) -> Floats:
    """Return how well fields agree, less when they overlap but a little."""
    there, inside = alignment.read(fields, maps, templates.shape[1])
    found = _alike(templates, there, inside)
    return np.asarray(np.where(inside.mean(axis=(1, 2)) > 0.08, found, -1.0), np.float32)


def _alike(one: Floats, other: Floats, inside: Floats) -> Floats:
    """Return the correlations of fields of mean zero where both are known."""
    known, there = one * inside, other * inside
    both, first, second = (
        np.einsum("mij,mij->m", a, b) for a, b in ((known, other), (known, one), (there, other))
    )
    return np.asarray(both / np.sqrt(first * second + 1e-6), np.float32)


def nearest_turns(maps: Floats) -> Floats:
    """Return the flips and quarter turns of whole pictures that are nearest to maps."""
    turns = np.stack([fingerprints.turn_map(turn) for turn in range(fingerprints.TURNS)])
    likeness = np.einsum("mij,tij->mt", maps[:, :, :2], turns[:, :, :2])
    return np.ascontiguousarray(turns[likeness.argmax(axis=1)])


def upright(maps: Floats) -> Floats:
    """Return maps that stretch and move only (and turn by quarters), the middle left in place."""
    middle = maps[:, :, :2].sum(axis=2) / 2 + maps[:, :, 2]
    result = np.where(np.abs(nearest_turns(maps)[:, :, :2]) > 0.5, maps[:, :, :2], 0)
    moved = middle - result.sum(axis=2) / 2
    return np.concatenate([result, moved[:, :, None]], axis=2).astype(np.float32)
