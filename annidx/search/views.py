"""What is tried to find a picture again: its views, flips and turns, crops of it, frames around it.

Stored are vectors of whole pictures (and of what lies inside of their frames) only. A crop is found
from the other side: the vectors of crops of the picture that it may have been cut from are near the
vector of the crop. And a picture that is a crop itself is tried as a part of a larger one, of which
the rest is not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
import numpy.typing as npt

from annidx import fingerprints
from annidx.asking import Views
from annidx.fingerprints import Floats, Stored
from annidx.search import alignment

Rows = npt.NDArray[np.intp]

CROPS = ((0.85, 3), (0.66, 4))
"""Crops of so much of each side, at so many places along each: 25 of them. Measured on held-out
crops of 10 and 20 % a side: the picture is the nearest of 1,400 for .99 and .87 of them."""


@dataclass(frozen=True, slots=True)
class Variants:
    """Vectors that are tried for some pictures, and how each was made.

    Attributes
    ----------
    codes : (m, 64) uint8
        As stored ones.
    owners : (m,) intp
        Which picture each is of.
    views : (m,) intp
        Which stored view of the picture (0 is the whole) it was made of.
    maps : (m, 2, 3) float32
        Where points of a picture that matches (y, x in 0..1 of its own view) lie in that view.
    """

    codes: Stored
    owners: Rows
    views: Rows
    maps: Floats

    def __len__(self) -> int:
        return len(self.codes)


def boxes() -> list[tuple[float, float, float, float]]:
    """Return the crops that are tried, as y0, y1, x0, x1 in 0..1."""
    return [
        (y, y + size, x, x + size)
        for size, count in CROPS
        for y, x in product(np.linspace(0, 1 - size, count).tolist(), repeat=2)
    ]


def variants(
    stored: Stored, grays: Stored, thumbs: Stored, *, views: Views, parts: bool
) -> Variants:
    """Return all that is tried for some pictures.

    Parameters
    ----------
    stored : (n, 256) uint8
        Their fingerprints.
    grays : (n, 4096) uint8
    thumbs : (n, 1200) uint8
    views : {'fast', 'default', 'thorough'}
        'fast': the stored views, upright. 'default': those in all eight turns, and crops upright.
        'thorough': all of it in all eight turns.
    parts : bool
        Also as parts of larger pictures. Not needed where each of two pictures is asked.
    """
    made = [_views(stored, range(1 if views == "fast" else fingerprints.TURNS))]
    if views != "fast":
        turns = range(fingerprints.TURNS if views == "thorough" else 1)
        made.append(_cropped(grays, thumbs, turns))
        if parts:
            made.append(_placed(grays, thumbs, turns))
    return Variants(
        np.concatenate([each.codes for each in made]),
        np.concatenate([each.owners for each in made]),
        np.concatenate([each.views for each in made]),
        np.concatenate([each.maps for each in made]),
    )


def _views(stored: Stored, turns: Sequence[int]) -> Variants:
    owners, views = np.nonzero(fingerprints.present(stored))
    codes = stored.reshape(-1, fingerprints.SLOTS, fingerprints.DIMENSION)[owners, views]
    return _turned(fingerprints.decoded(codes), owners, views, fingerprints.WHOLE, turns)


def _cropped(grays: Stored, thumbs: Stored, turns: Sequence[int]) -> Variants:
    """Crop each picture in each way."""
    count, crops = len(grays), [fingerprints.box_region(*box) for box in boxes()]
    owners = np.repeat(np.arange(count), len(crops))
    regions = np.tile(np.stack(crops), (count, 1, 1))
    planes = _planes(grays)
    vectors = fingerprints.describe(planes[owners], thumbs[owners], regions)
    return _turned(vectors, owners, np.zeros_like(owners), regions, turns)


def _placed(grays: Stored, thumbs: Stored, turns: Sequence[int]) -> Variants:
    """Take each picture for a part of a larger one that is its own mean elsewhere."""
    gray, chroma = _planes(grays), fingerprints.chromas(thumbs)
    gray = gray - gray.mean(axis=(1, 2), keepdims=True)
    mean = chroma.mean(axis=(2, 3), keepdims=True)
    parts, maps = [], []
    for box in boxes():
        rows, columns = _placements(*box, fingerprints.SIDE, fingerprints.GRAY_SIDE)
        placed = rows @ gray @ columns.T
        rows, columns = _placements(*box, fingerprints.CHROMA_SIDE, fingerprints.THUMB_SIDE)
        coloured = rows @ (chroma - mean) @ columns.T + mean
        parts.append(fingerprints.project(fingerprints.features(placed, coloured)))
        maps.append(alignment.inverse(fingerprints.box_region(*box)))
    vectors = np.stack(parts, axis=1).reshape(-1, fingerprints.DIMENSION)
    owners = np.repeat(np.arange(len(gray)), len(maps))
    outer = np.tile(np.stack(maps), (len(gray), 1, 1))
    return _turned(vectors, owners, np.zeros_like(owners), outer, turns)


@cache
def _placements(
    y0: float, y1: float, x0: float, x1: float, cells: int, of: int
) -> tuple[Floats, Floats]:
    """Return weights that put `of` pixels into a part of `cells`, zeros elsewhere; both axes."""
    pixel = np.arange(of) / of
    step = np.arange(cells)[:, None] / cells
    found = []
    for low, high in ((y0, y1), (x0, x1)):
        begin, end = low + (high - low) * pixel, low + (high - low) * (pixel + 1 / of)
        share = np.minimum(end, step + 1 / cells) - np.maximum(begin, step)
        found.append((np.maximum(share, 0) * cells).astype(np.float32))
    return found[0], found[1]


def _planes(grays: Stored) -> Floats:
    side = fingerprints.GRAY_SIDE
    return grays.reshape(-1, side, side).astype(np.float32)


def _turned(
    vectors: Floats, owners: Rows, views: Rows, regions: Floats, turns: Sequence[int]
) -> Variants:
    """Turn variants in each way: the vector of a turned region is that of the region, turned."""
    regions = np.broadcast_to(regions, (len(vectors), 2, 3))
    turned = [np.broadcast_to(fingerprints.turn_map(turn), regions.shape) for turn in turns]
    return Variants(
        np.concatenate([fingerprints.codes(fingerprints.turned(vectors, t)) for t in turns]),
        np.tile(owners, len(turns)),
        np.tile(views, len(turns)),
        np.concatenate([alignment.composed(regions, each) for each in turned]),
    )
