"""Whole pictures laid on each other again, frames and all, once the contents have been aligned.

What a second look found holds for contents; beyond their edges it is extrapolated. Most pairs lie
on each other edge to edge, at most turned by quarters, and that is tried first.
"""

from __future__ import annotations

import numpy as np

from annidx import fingerprints
from annidx.fingerprints import Floats, Stored
from annidx.search import alignment
from annidx.search.alignment import Flags, Rows

_SMOOTHED = 0.7
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
        small = planes.reshape(-1, alignment.COARSE, 2, alignment.COARSE, 2).mean(axis=(2, 4))
        self.coarse = alignment.coarse_fields(np.asarray(small, np.float32))
        self.fine = alignment.fine_fields(planes)
        self.levels = alignment.blurred(planes, _SMOOTHED)
        self.plain, self.ground = plainness(planes)
        self.thumbs = thumbs.reshape(-1, fingerprints.THUMB_SIDE, fingerprints.THUMB_SIDE, 3)


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
    fine, turns = alignment.template(pictures.fine[ones], 32), nearest_turns(maps)
    best = _correlations(fine, pictures.fine[others], turns)
    near = np.abs(_corners(maps, contents) - _corners(turns, contents)).max(axis=(1, 2)) < _NEAR
    best = np.where(near, best, -1.0).astype(np.float32)
    maps = np.where((best > _SURE)[:, None, None], turns, maps)
    left = np.flatnonzero(best <= _SURE)
    if len(left):
        maps[left], best[left] = _refined(
            pictures, ones[left], others[left], maps[left], turns[left], near[left]
        )
    return maps, best


def _refined(
    pictures: Pictures, ones: Rows, others: Rows, maps: Floats, turns: Floats, near: Flags
) -> tuple[Floats, Floats]:
    coarse, fields = alignment.template(pictures.coarse[ones], 16), pictures.coarse[others]
    better = _correlations(coarse, fields, turns) > _correlations(coarse, fields, maps)
    maps = np.where((better & near)[:, None, None], turns, maps)
    maps = alignment.stepped(coarse, fields, maps, 2, 0.1)
    fine, fields = alignment.template(pictures.fine[ones], 32), pictures.fine[others]
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
    known, first = templates * inside, there * inside
    sums = [
        np.einsum("mij,mij->m", a, b)
        for a, b in ((known, there), (known, templates), (first, there))
    ]
    found = sums[0] / np.sqrt(sums[1] * sums[2] + 1e-6)
    return np.asarray(np.where(inside.mean(axis=(1, 2)) > 0.08, found, -1.0), np.float32)


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
